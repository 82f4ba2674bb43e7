"""
The actors that the tests of delivery start: they tell, ask, keep a log that survives them, and answer in every way.

A module of its own, so that a child process imports no test.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import mmap
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from actors import Actor, ActorRef, ActorsError, Backoff, handler
from tests.helpers import wait_for_file

_SLOT_BYTES = 4


class Log:
    """
    Numbers in a file that is mapped: what was written stays when the writer is killed. One writer at a time.

    Args:
        path: The file; made by :meth:`create`.
    """

    def __init__(self, path: str) -> None:
        with Path(path).open("r+b") as file:
            self._words = memoryview(mmap.mmap(file.fileno(), 0)).cast("I")

    @staticmethod
    def create(path: Path, room: int) -> str:
        path.write_bytes(bytes(_SLOT_BYTES * (room + 1)))
        return str(path)

    @staticmethod
    def read(path: str) -> list[int]:
        words = memoryview(Path(path).read_bytes()).cast("I")
        return words[1 : 1 + words[0]].tolist()

    def append(self, number: int) -> None:
        words = self._words
        count = words[0]
        words[1 + count] = number
        words[0] = count + 1  # one store: the number is in the log, or it is not


class Messenger(Actor):
    """Starts anew at once, as often as its supervisor allows."""

    backoff = Backoff(initial=0.0)


class Receiver(Messenger):
    """Writes down each number it is told, in the log of who told it."""

    def __init__(self, logs: list[str]) -> None:
        super().__init__()
        self.paths = logs

    def on_start(self) -> None:
        self.logs = [Log(path) for path in self.paths]

    @handler
    def put(self, sender: int, number: int, _load: bytes = b"") -> None:
        self.logs[sender].append(number)

    @handler
    def done(self) -> str:
        return "done"


class Sender(Messenger):
    """Tells and asks others, as often as it is told to."""

    @handler
    def send(self, target: ActorRef[Receiver], sender: int, first: int, count: int, load: bytes = b"") -> int:
        for number in range(first, first + count):
            target.tell(Receiver.put, sender, number, load)
        return count

    @handler
    def flood(self, target: ActorRef[Any], name: str, count: int, load: bytes = b"") -> int:
        for _ in range(count):
            target.tell(name, load)
        return count

    @handler
    def ask_often(self, target: ActorRef[Echo], count: int) -> int:
        """Return how many of *count* asks, one after the other, were answered rightly."""
        return sum(target.ask(Echo.echo, number).result(timeout=20) == number for number in range(count))

    @handler
    def ask_many(self, target: ActorRef[Echo], count: int, killer_pid: int) -> tuple[list[str], float]:
        """Ask *count* times, have the target killed, and return how each ended, and the seconds from the kill to the last."""
        replies = [target.ask(Echo.echo, number) for number in range(count)]
        target.flush()
        began = time.monotonic()
        os.kill(killer_pid, signal.SIGKILL)
        return endings(replies), time.monotonic() - began

    @handler
    def sink(self, _load: bytes) -> None:
        pass

    @handler
    def ask_one(self, target: ActorRef[Any], name: str, *args: Any) -> Any:
        return target.ask(name, *args).result()

    @handler
    def ask_and_wait(self, target: ActorRef[Echo], count: int) -> list[int]:
        replies = [target.ask(Echo.echo, number) for number in range(count)]
        concurrent.futures.wait(replies, timeout=20)
        return [reply.result() for reply in concurrent.futures.as_completed(replies, timeout=20)]

    @handler
    async def gather(self, target: ActorRef[Echo], count: int) -> list[int]:
        return list(await asyncio.gather(*(_result(target.ask(Echo.echo, number)) for number in range(count))))

    @handler
    def called_back(self, target: ActorRef[Echo]) -> int:
        """Return what a done-callback was given."""
        seen: list[int] = []
        over = threading.Event()

        def take(reply: Any) -> None:
            seen.append(reply.result())
            over.set()

        target.ask(Echo.echo, 7).add_done_callback(take)
        over.wait(20)
        return seen[0]

    @handler
    def tell_through(self, refs: list[ActorRef[Receiver]], number: int) -> int:
        for ref in refs:
            ref.tell(Receiver.put, 0, number)
        return len(refs)

    @handler
    def ask_itself(self) -> str:
        try:
            self.ref.ask("pinged")
        except ActorsError as error:
            return type(error).__name__
        return "asked"

    @handler
    def pinged(self) -> None:
        pass


async def _result(reply: Any) -> Any:
    return await reply


class Echo(Messenger):
    """Answers with what it is asked, after a gate has opened where it is told of one."""

    def on_start(self) -> None:
        self.ticks: list[float] = []
        self.seen = 0
        self.told: list[Any] = []

    @handler
    def echo(self, value: Any) -> Any:
        return value

    @handler
    def length(self, value: bytes) -> int:
        return len(value)

    @handler
    def grow(self, size: int) -> bytes:
        return bytes(size)

    @handler
    def process(self) -> int:
        return os.getpid()

    @handler
    def wait_for(self, path: str) -> None:
        """Return when the file *path* is there."""
        wait_for_file(path)

    @handler
    def wait_for_stop(self, at_once: bool = False) -> None:
        """Return when this actor has been asked to stop, *at_once* or at all, and knows it."""
        process: Any = self._context._process  # type: ignore[union-attr]
        pause = threading.Event()
        while not (process.ending if at_once else process.stop_reason == "requested"):
            pause.wait(0.001)

    @handler
    def sleep(self, seconds: float) -> None:
        threading.Event().wait(seconds)

    @handler
    def note(self, value: Any) -> None:
        self.told.append(value)

    @handler
    def noted(self) -> list[Any]:
        return self.told

    @handler
    def time_left(self) -> float | None:
        return None if self.deadline is None else self.deadline - time.monotonic()

    @handler
    def fail(self, text: str) -> None:
        raise ValueError(text)

    @handler
    def leave(self, code: int) -> None:
        raise SystemExit(code)

    @handler
    def crash(self, text: str) -> None:
        raise RuntimeError(text)

    @handler
    async def slow_echo(self, value: Any, seconds: float) -> Any:
        await asyncio.sleep(seconds)
        return value

    @handler
    async def leave_a_task(self, count: int) -> None:
        async def work() -> None:
            for _ in range(count):
                await asyncio.sleep(0)
                self.seen += 1

        self.task = asyncio.get_running_loop().create_task(work())

    @handler
    def work_done(self) -> int:
        return self.seen

    @handler
    def begin_ticking(self, seconds: float) -> None:
        self.timer = self.call_every(seconds, Echo.tick)
        self.call_later(seconds, Echo.tick)

    @handler
    def tick(self) -> None:
        self.ticks.append(time.monotonic())

    @handler
    def end_ticking(self) -> int:
        self.timer.cancel()
        return len(self.ticks)

    @handler
    def ticked(self) -> int:
        return len(self.ticks)

    @handler
    def cpu_seconds(self) -> float:
        return time.process_time()


def endings(replies: list[Any]) -> list[str]:
    """How each ask ended: the name of what it raised, with ``!`` if its message may have run, or ``"answered"``."""
    found = []
    for reply in replies:
        error = reply.exception(timeout=20)
        if error is None:
            found.append("answered")
        else:
            found.append(type(error).__name__ + ("!" if error.may_have_run else ""))
    return found
