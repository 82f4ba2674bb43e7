"""Actors that tests start, where their processes can import them."""

from __future__ import annotations

import itertools
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from actors import Actor, ActorRef, ExitReason, handler
from actors._child import ActorProcess

__all__ = ["Busy", "Chain", "Child", "Flooder", "Mute", "Parent", "Stubborn", "Worker"]


class Worker(Actor):
    """Does what it is told: say its pid, keep a number, crash in many ways."""

    def __init__(self, start: int = 0, log: str | None = None) -> None:
        super().__init__()
        self.first = start
        self.log_path = log

    def on_start(self) -> None:
        self.total = self.first
        self._note("start")

    def on_stop(self, reason: ExitReason) -> None:
        self._note(f"stop:{reason.kind}")

    def _note(self, what: str) -> None:
        if self.log_path is not None:
            with Path(self.log_path).open("a") as stream:
                stream.write(f"{what} {self.ref.path}\n")

    @handler
    def pid_of(self) -> int:
        return os.getpid()

    @handler
    def add(self, amount: int) -> int:
        self.total += amount
        return self.total

    @handler
    async def add_later(self, amount: int) -> int:
        return self.add(amount)

    @handler
    def fail(self, text: str) -> None:
        raise ValueError(text)

    @handler
    def leave(self, code: int) -> None:
        sys.exit(code)

    @handler
    def leave_at_once(self, code: int) -> None:
        os._exit(code)

    @handler
    def die_by(self, number: int) -> None:
        os.kill(os.getpid(), number)
        signal.pause()

    @handler
    def segfault(self) -> None:
        import ctypes

        ctypes.string_at(0)

    @handler
    def wait(self, seconds: float) -> None:
        threading.Event().wait(seconds)


class Parent(Actor):
    """Starts children of its own."""

    @handler
    def start_one(self, name: str) -> ActorRef[Worker]:
        return self.spawn(Worker(), name=name)

    @handler
    def pid_of(self) -> int:
        return os.getpid()


class Chain(Actor):
    """Starts another of its kind, which starts another; the last one computes for ever."""

    @handler
    def grow(self, depth: int) -> None:
        if depth:
            below = self.spawn(Chain(), name=f"{self.ref.path.rsplit('/', 1)[-1]}-below", restart="temporary")
            below.ask(Chain.grow, depth - 1).result(timeout=20)
        else:
            self.ref.tell(Chain.compute)

    @handler
    def compute(self) -> None:
        sum(itertools.repeat(0))


class Child(Actor):
    """Tells what it finds around it before any user code has changed it."""

    @handler
    def signals(self) -> dict[int, str]:
        return {int(number): str(signal.getsignal(number)) for number in signal.valid_signals()}

    @handler
    def wakeup_descriptor(self) -> int:
        return signal.set_wakeup_fd(-1)

    @handler
    def blocked(self) -> list[int]:
        return [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())]

    @handler
    def descriptors(self) -> dict[int, str]:
        found = {}
        for entry in list(Path("/proc/self/fd").iterdir()):
            try:
                found[int(entry.name)] = str(entry.readlink())
            except OSError:
                continue
        return found

    @handler
    def title(self) -> str:
        return Path("/proc/self/comm").read_text().strip()

    @handler
    def descriptor_limit(self) -> int:
        return resource.getrlimit(resource.RLIMIT_NOFILE)[0]

    @handler
    def standard_input(self) -> str:
        return sys.stdin.read()


class Stubborn(Worker):
    """Ignores requests to stop: by hanging in a handler, and by SIGTERM if asked to."""

    @handler
    def start_helper(self) -> int:
        """Start a process that outlives SIGTERM of this one, and return its pid."""
        return subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]).pid

    @handler
    def hang(self, ignore_sigterm: bool) -> None:
        if ignore_sigterm:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(1000.0)


class Busy(Worker):
    """Holds the GIL in C code for ever."""

    @handler
    def compute(self) -> None:
        sum(itertools.repeat(0))


class Mute(Worker):
    """Writes the beginning of a header on its control lane, and stops dead."""

    @handler
    def write_half_a_header(self) -> None:
        process: ActorProcess = self._context._process  # type: ignore[union-attr]
        os.write(process.attendant.lane.fileno(), b"\0\0\0")
        os.kill(os.getpid(), signal.SIGSTOP)


class Flooder(Worker):
    """Sends notices to its supervisor without end."""

    @handler
    def flood(self) -> None:
        process: ActorProcess = self._context._process  # type: ignore[union-attr]
        lane = process.attendant.lane
        while True:
            if not lane.send("dead_letter", "/nobody", "dead", 1):
                select.select([], [lane.fileno()], [])
