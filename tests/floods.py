"""
The actors that the tests of back-pressure start: slow ones, and ones that send more than anybody can take.

A module of its own, so that a child process imports no test.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any, Literal

from actors import ActorRef, ActorsError, MailboxFullError, handler
from tests.helpers import wait_for_file
from tests.messengers import Log, Messenger

_PATIENCE_SECONDS = 20.0


class Slow(Messenger):
    """Takes its time over each message, and notes which it has handled."""

    def __init__(self, log: str = "") -> None:
        super().__init__()
        self.path = log

    def on_start(self) -> None:
        self.seen: list[int] = []
        self.log_file = Log(self.path) if self.path else None

    def note(self, number: int) -> None:
        self.seen.append(number)
        if self.log_file is not None:
            self.log_file.append(number)

    @handler
    def work(self, number: int, seconds: float = 0.0, _load: bytes = b"") -> int:
        if seconds:
            threading.Event().wait(seconds)
        self.note(number)
        return number

    @handler
    def take(self, number: int, _load: bytes = b"") -> int:
        self.note(number)
        return number

    @handler
    def wait_for(self, path: str) -> None:
        """Return when the file *path* is there."""
        wait_for_file(path)

    @handler
    def until_cancelled(self) -> float:
        """Return when whoever asked has cancelled it; note when that was."""
        pause = threading.Event()
        while not self.cancelled:
            pause.wait(0.001)
        self.note(-1)
        return time.monotonic()

    @handler
    def all(self) -> list[int]:
        return self.seen

    @handler
    def process(self) -> int:
        return os.getpid()


class Pusher(Messenger):
    """Waits, with each message in its hands, for room at somebody who takes none."""

    def __init__(self, log: str, target: ActorRef[Slow]) -> None:
        super().__init__()
        self.path, self.target = log, target

    def on_start(self) -> None:
        self.log_file = Log(self.path)

    def on_failure(self, error: BaseException) -> Literal["crash", "resume"]:
        return "resume"

    @handler
    def push(self, number: int, _load: bytes = b"") -> int:
        self.log_file.append(number)
        self.target.tell(Slow.work, number, 0.0, bytes(4000))
        return number


class Flooder(Messenger):
    """Sends as fast as it can."""

    @handler
    def flood(self, target: ActorRef[Any], count: int, load: bytes, mine: str, other: str) -> int:
        """Begin when *other* does, and send so often."""
        meet(mine, other)
        for _ in range(count):
            target.tell(Flooder.sink, load)
        return count

    @handler
    def sink(self, _load: bytes) -> None:
        pass

    @handler
    def flood_until_full(self, target: ActorRef[Any], load: bytes, mine: str, other: str) -> None:
        """Send until the inbox stays full; write down how long the last send took, and fail with it once *other* has come so far, too."""
        began = time.monotonic()
        try:
            while True:
                began = time.monotonic()
                target.tell(Flooder.sink, load)
        except MailboxFullError:
            meet(mine, other, f"{time.monotonic() - began}\n")
            raise

    @handler
    def ask_all(self, target: ActorRef[Any], count: int, load: bytes = b"") -> list[tuple[str, bool, str]]:
        """Ask so often at once; return how each ask ended, whether its message may have run, and whom the error names."""
        replies = [target.ask(Slow.work, number, 0.0, load) for number in range(count)]
        return [ending(reply) for reply in replies]

    @handler
    def ping(self) -> str:
        return "pong"


def meet(mine: str, other: str, text: str = "") -> None:
    """Write *mine*, and return when *other* is there."""
    Path(mine).write_text(text)
    pause, give_up = threading.Event(), time.monotonic() + _PATIENCE_SECONDS
    while not Path(other).exists() and time.monotonic() < give_up:
        pause.wait(0.001)


def ending(reply: Any) -> tuple[str, bool, str]:
    """How an ask ended: answered, or the name of the error, whether its message may have run, and whom the error names."""
    error = reply.exception(timeout=_PATIENCE_SECONDS)
    if error is None:
        return "answered", True, ""
    assert isinstance(error, ActorsError)
    return type(error).__name__, bool(getattr(error, "may_have_run", True)), str(getattr(error, "target", ""))
