"""
Actors that are replaced while they serve, and the book in which all their incarnations write down what they handle.

A module of its own, so that a child process imports no test.
"""

from __future__ import annotations

import mmap
import os
import signal
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from actors import Actor, ActorDied, ActorRef, Backoff, handler
from tests.messengers import Echo, Receiver

_LINE = struct.Struct("<IIIIdd")
_COUNT = struct.Struct("<Q")
QUICK = Backoff(initial=0.01, factor=1.0, jitter=0.0)


@attrs.frozen
class Line:
    """One message that was handled: from whom, which, by which incarnation, from when to when."""

    sender: int
    number: int
    incarnation: int
    pid: int
    began: float
    ended: float


class Book:
    """
    What was handled, in a file that is mapped. A line is there when the message was handled to its end.

    Two that write at a time write over each other's lines, which shows.

    Args:
        path: The file; made by :meth:`create`.
    """

    def __init__(self, path: str) -> None:
        with Path(path).open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), 0)

    @staticmethod
    def create(path: Path, room: int) -> str:
        path.write_bytes(bytes(_COUNT.size + room * _LINE.size))
        return str(path)

    @staticmethod
    def read(path: str) -> list[Line]:
        data = Path(path).read_bytes()
        (count,) = _COUNT.unpack_from(data)
        return [Line(*_LINE.unpack_from(data, _COUNT.size + index * _LINE.size)) for index in range(count)]

    def note(self, sender: int, number: int, incarnation: int, began: float) -> None:
        (count,) = _COUNT.unpack_from(self._page)
        place = _COUNT.size + count * _LINE.size
        _LINE.pack_into(self._page, place, sender, number, incarnation, os.getpid(), began, time.monotonic())
        _COUNT.pack_into(self._page, 0, count + 1)


def wait_for_file(path: Path) -> None:
    """Return when it is there."""
    pause = threading.Event()
    while not path.exists():
        pause.wait(0.001)


class Recycled(Receiver):
    """Writes down each number it is told, and by which of its incarnations."""

    backoff = QUICK

    def __init__(self, book: str) -> None:
        super().__init__([])
        self.path = book

    def on_start(self) -> None:
        self.book = Book(self.path)
        process: Any = self._context._process  # type: ignore[union-attr]
        self.number = int(process.setup["incarnation"])

    @handler
    def put(self, sender: int, number: int, _load: bytes = b"") -> None:
        began = time.monotonic()
        self.book.note(sender, number, self.number, began)

    @handler
    def count(self, sender: int, number: int, load: bytes = b"") -> tuple[int, int]:
        self.put(sender, number)
        return number, len(load)

    @handler
    def which(self) -> int:
        return self.number

    @handler
    def pid_of(self) -> int:
        return os.getpid()

    @handler
    def kill_yourself(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    @handler
    def items(self, count: int) -> Iterator[tuple[int, int]]:
        for number in range(count):
            yield self.number, number

    @handler
    def wait_for(self, path: str) -> int:
        wait_for_file(Path(path))
        return self.number


class Slow(Recycled):
    """As the other, but is not ready before a file is there, from its second incarnation on."""

    def __init__(self, book: str, gate: str) -> None:
        super().__init__(book)
        self.gate = gate

    def on_start(self) -> None:
        super().on_start()
        if self.number > 1:
            wait_for_file(Path(self.gate))


class Ticker(Echo):
    """Ticks, and writes down by which process."""

    def __init__(self, log: str) -> None:
        super().__init__()
        self.log_path = log

    def on_start(self) -> None:
        self.call_every(0.005, Ticker.tick)

    @handler
    def tick(self) -> None:
        with Path(self.log_path).open("a") as stream:
            stream.write(f"{os.getpid()}\n")


class Asker(Actor):
    """Asks another actor before it is ready, and when it is asked; tells it, too."""

    backoff = QUICK

    def __init__(self, friend: ActorRef[Echo]) -> None:
        super().__init__()
        self.friend = friend

    def on_start(self) -> None:
        self.friend.tell(Echo.note, os.getpid())
        replies = [self.friend.ask(Echo.echo, number) for number in range(50)]
        self.found = [reply.result(timeout=20) for reply in replies]
        self.large = self.friend.ask(Echo.echo, bytes(100_000)).result(timeout=20)

    @handler
    def prepared(self) -> tuple[list[int], int]:
        return self.found, len(self.large)

    @handler
    def pass_on(self, value: Any) -> Any:
        return self.friend.ask(Echo.echo, value).result()

    @handler
    def pid_of(self) -> int:
        return os.getpid()


class Mourner(Actor):
    """Asks an actor to its death before it is ready, from the second incarnation on."""

    backoff = QUICK

    def __init__(self, friend: ActorRef[Recycled]) -> None:
        super().__init__()
        self.friend = friend

    def on_start(self) -> None:
        self.ending = ""
        process: Any = self._context._process  # type: ignore[union-attr]
        if process.setup["incarnation"] > 1:
            try:
                self.friend.ask(Recycled.kill_yourself).result(timeout=20)
            except ActorDied as error:
                self.ending = type(error).__name__

    @handler
    def mourned(self) -> str:
        return self.ending


class Frail(Actor):
    """Does not become ready while a file is there: it fails or hangs, as the file says."""

    backoff = QUICK

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def on_start(self) -> None:
        try:
            word = Path(self.path).read_text()
        except FileNotFoundError:
            return
        if word == "fail":
            raise RuntimeError("not today")
        if word == "stop":
            self.stop()
        else:
            threading.Event().wait()

    @handler
    def pid_of(self) -> int:
        return os.getpid()


class Chief(Actor):
    """Has a helper of its own in each incarnation."""

    backoff = QUICK

    def on_start(self) -> None:
        self.helper = self.spawn(Echo())

    @handler
    def helper_pid(self) -> int:
        return self.helper.ask(Echo.process).result()
