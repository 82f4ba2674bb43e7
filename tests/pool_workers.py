"""Actors of the tests of pools: workers that write down what they handle, and senders."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import attrs

from actors import Actor, ActorNotRunningError, handler
from tests.helpers import wait_for_file


@attrs.frozen
class Line:
    """One message that was handled."""

    worker: str
    incarnation: int
    sender: int
    key: str
    number: int


class Keyed(Actor):
    """Writes each message down by one write to a file of its own, so that nothing of it is lost with the worker."""

    def __init__(self, book: str = "") -> None:
        super().__init__()
        self.book = book

    def on_start(self) -> None:
        if self.book:
            path = f"{self.book}.{self.ref.path.rpartition('/')[2]}.{os.getpid()}"
            self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        self.seen = 0
        context: Any = self._context
        self.number = int(context._process.setup["incarnation"])

    @handler
    def note(self, sender: int, key: str, number: int, _load: str = "") -> None:
        self.seen += 1
        if self.book:
            name = self.ref.path.rpartition("/")[2]
            line = f"{time.monotonic_ns()} {name} {self.number} {sender} {key} {number}\n"
            os.write(self.file, line.encode())

    @handler
    def count(self) -> int:
        return self.seen

    @handler
    def who(self) -> str:
        return self.ref.path.rpartition("/")[2]

    @handler
    def pid_of(self) -> int:
        return os.getpid()

    @handler
    def hold(self, path: str) -> str:
        """Be busy until the file *path* is there; say so in a file beside it."""
        held = Path(f"{path}.held")
        held.with_suffix(f".{os.getpid()}").write_text(self.who())
        held.with_suffix(f".{os.getpid()}").rename(held)
        wait_for_file(path)
        return self.who()

    @handler
    def spend(self, seconds: float) -> str:
        """Be busy for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pass
        return self.who()

    @handler
    def names(self, count: int) -> Any:
        """Stream the own name."""
        for _ in range(count):
            yield self.who()

    @handler
    def die(self) -> None:
        os._exit(3)


class PoolSender(Actor):
    """Sends to a pool from a process of its own."""

    def on_start(self) -> None:
        self.next: dict[str, int] = {}

    @handler
    def send(self, ref: Any, sender: int, keys: list[str], count: int) -> int:
        """Tell *count* messages more of each key."""
        for _ in range(count):
            for key in keys:
                number = self.next.get(key, 0)
                ref.tell(Keyed.note, sender, key, number)
                self.next[key] = number + 1
        return sum(self.next.values())

    @handler
    def ask_all(self, ref: Any) -> list[str]:
        return [reply.result(timeout=10) for reply in ref.scatter(Keyed.who)]

    @handler
    def ask_some(self, ref: Any, count: int) -> list[str]:
        return [ref.ask(Keyed.who).result(timeout=10) for _ in range(count)]

    @handler
    def ask_own(self, ref: Any) -> tuple[str, str]:
        """Ask the pool that this actor is one of; return the own path and who answered."""
        return self.ref.path, ref.ask(PoolSender.path_of).result(timeout=10)

    @handler
    def path_of(self) -> str:
        return self.ref.path

    @handler
    def resize(self, ref: Any, size: int) -> int:
        ref.resize(size)
        return int(ref.size)

    @handler
    def try_tell(self, ref: Any) -> str:
        """Say what a tell meets, once the pool is known to be gone."""
        while True:
            try:
                ref.tell(Keyed.who)
            except ActorNotRunningError as error:
                return str(error)

    @handler
    def stop_pool(self, ref: Any) -> None:
        ref.stop()


def read_lines(book: Path) -> list[Line]:
    """What all workers have written down, in the order of time."""
    rows = [row.split(" ") for path in book.parent.glob(f"{book.name}.*") for row in path.read_text().splitlines()]
    rows.sort(key=lambda row: int(row[0]))
    return [
        Line(worker, int(incarnation), int(sender), key, int(number))
        for _, worker, incarnation, sender, key, number in rows
    ]
