"""Actors of the tests of limits: one that is to be protected, and ones that send to it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from typing import Any

from actors import (
    Actor,
    ActorRef,
    ActorsError,
    Breaker,
    CircuitOpenError,
    LimitedRef,
    RateLimitedError,
    handler,
    limit,
)
from tests.helpers import wait_for_file


class Downstream(Actor):
    """Answers, waits and fails as it is told."""

    handled = 0

    @handler
    def echo(self, value: Any) -> Any:
        self.handled += 1
        return value

    @handler
    def count(self) -> int:
        return self.handled

    @handler
    def hold(self, path: str) -> str:
        wait_for_file(path)
        return "let go"

    @handler
    def die(self) -> None:
        os._exit(3)

    @handler
    def numbers(self, count: int) -> Iterator[int]:
        yield from range(count)

    @handler
    def refuse(self, limited: LimitedRef[Downstream]) -> None:
        """Raise what a limit raises."""
        for _ in range(1000):
            limited.tell(Downstream.echo, 1)


class Caller(Actor):
    """Has a limited ref from its constructor, and is sent others."""

    def __init__(self, downstream: LimitedRef[Downstream]) -> None:
        super().__init__()
        self.downstream = downstream

    @handler
    def tell_as_many_as_pass(self) -> int:
        return passed(self.downstream)

    @handler
    def tell_through(self, limited: LimitedRef[Downstream]) -> int:
        return passed(limited)

    @handler
    def make_and_tell(self, ref: ActorRef[Downstream]) -> int:
        return passed(limit(ref, rate=0.001, burst=4))

    @handler
    def ask_and_wait(self, count: int) -> list[int]:
        """Ask more at once than there are places: each waits for one of those before it."""
        patient = self.downstream.options(wait=30.0)
        replies = [patient.ask(Downstream.echo, number) for number in range(count)]
        return [reply.result(timeout=30.0) for reply in replies]

    @handler
    async def ask_in_the_loop(self, count: int) -> int:
        return sum([await self.downstream.ask(Downstream.echo, number) for number in range(count)])

    @handler
    def break_it(self, ref: ActorRef[Downstream]) -> tuple[str, float, str]:
        """Have the breaker open; what it says then, and how long that took at best."""
        limited = limit(ref, breaker=Breaker(failures=1, reset_after=60.0))
        with contextlib.suppress(ActorsError):
            limited.ask(Downstream.die).result(timeout=30.0)
        seconds, text = 60.0, ""
        for _ in range(20):
            began = time.perf_counter()
            try:
                limited.ask(Downstream.echo, 1)
            except CircuitOpenError as error:
                text = str(error)
            seconds = min(seconds, time.perf_counter() - began)
        return limited.breaker_state, seconds, text


def passed(limited: LimitedRef[Downstream]) -> int:
    """How many sends pass before one is refused."""
    for count in range(1000):
        try:
            limited.tell(Downstream.echo, count)
        except RateLimitedError:
            return count
    return 1000
