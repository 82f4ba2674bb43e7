"""
Actors for what programs make of ``multiprocessing``, each of which can be killed in the middle. A module of its own, so that a child
process imports no test.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import attrs

from actors import Actor, ActorRef, Channel, SharedArray, handler, message

__all__ = ["Count", "Ledger", "Partner", "Settings", "Words", "die", "name_of"]


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def name_of(number: int) -> str:
    """A name; it dies of 1."""
    if number == 1:
        die()
    return f"number {number}"


@message
@attrs.frozen
class Settings:
    """Values of fixed types."""

    size: int
    title: str


class Count(Actor):
    """A number, instead of a ``Value``."""

    def on_start(self) -> None:
        self.value = 0

    @handler
    def add(self, number: int) -> int:
        self.value += number
        return self.value


class Ledger(Actor):
    """What a lock would keep whole. It dies in the middle of a transfer of 0."""

    def on_start(self) -> None:
        self.balance = {"ann": 10, "bob": 0}

    @handler
    def transfer(self, amount: int) -> int:
        self.balance["ann"] -= amount
        if not amount:
            die()
        self.balance["bob"] += amount
        return sum(self.balance.values())


class Words(Actor):
    """A dict, instead of a manager's. It dies of the word "die"."""

    def on_start(self) -> None:
        self.counts: dict[str, int] = {}

    @handler
    def count(self, word: str) -> dict[str, int]:
        if word == "die":
            die()
        self.counts[word] = self.counts.get(word, 0) + 1
        return self.counts


class Partner(Actor):
    """Does one thing of each kind, and dies at a place of your choice."""

    @handler
    def consume(self, tasks: Channel[int], results: Channel[int], fatal: int) -> int:
        """Square what comes, and die while *fatal* is taken."""
        count = 0
        for task in tasks:
            if task == fatal:
                die()
            results.put(task * task)
            count += 1
            if tasks.joinable:
                tasks.task_done()
        return count

    @handler
    def produce(self, tasks: Channel[int], count: int) -> None:
        """Put some, and die without anything more."""
        for number in range(count):
            tasks.put(number)
        die()

    @handler
    def answer(self, question: str, dies: bool) -> str:
        if dies:
            die()
        return question.upper()

    @handler
    def letters(self, word: str) -> Iterator[str]:
        """The letters of a word; it dies of a question mark."""
        for letter in word:
            if letter == "?":
                die()
            yield letter

    @handler
    def click(self, count: ActorRef[Count], times: int, dies: bool) -> None:
        for _ in range(times):
            count.ask(Count.add, 1).result(timeout=20)
        if dies:
            die()

    @handler
    def write(self, numbers: SharedArray, place: int, dies: bool) -> None:
        numbers.array[place] = place + 1
        if dies:
            die()

    @handler
    def make_shared(self, told: Channel[Any]) -> None:
        """Make an array and say a few settings, pass both on, and die."""
        made = self.shared_array(3)
        made.array[:] = 7
        told.put((made, Settings(3, "sevens")))
        die()

    @handler
    def wait_for(self, start: Channel[None], results: Channel[str]) -> None:
        """Wait for an event."""
        results.put("in place")
        for _ in start:
            pass
        results.put("off")

    @handler
    def set_off(self, start: Channel[None]) -> None:
        """Set it, and die."""
        start.close()
        die()
