"""An actor that leaves processes behind, in every way there is. A module of its own, so that a child process imports no test."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

from actors import Actor, handler

__all__ = ["COPIES", "WAYS", "Litterer"]


def _sleep() -> None:
    os.execvp("sleep", ["sleep", "1000"])


def _pause() -> None:
    while True:
        signal.pause()


def _program_in_the_group() -> int:
    return subprocess.Popen(["sleep", "1000"]).pid


def _program_in_a_session() -> int:
    return subprocess.Popen(["sleep", "1000"], start_new_session=True).pid


def _forked(work: Callable[[], None]) -> int:
    """Fork a process that does *work* in a session of its own."""
    pid = os.fork()
    if pid == 0:
        os.setsid()
        work()
        os._exit(0)
    return pid


def _daemon(work: Callable[[], None]) -> int:
    """The two forks of a daemon: its parent is gone when this returns."""
    reader, writer = os.pipe()

    def fork_again() -> None:
        pid = os.fork()
        if pid == 0:
            work()
        os.write(writer, b"%d" % pid)

    os.waitpid(_forked(fork_again), 0)
    found = int(os.read(reader, 20))
    os.close(reader)
    os.close(writer)
    return found


def _close_all_and_pause() -> None:
    os.closerange(0, 1024)
    _pause()


def _leave_all_and_pause() -> None:
    os.setsid()
    _pause()


def _process_of_multiprocessing(method: str | None, work: Callable[[], None]) -> int:
    context: Any = multiprocessing.get_context(method)
    process = context.Process(target=work)
    process.start()
    return int(process.pid)


# What was never executed anew, and so has our life line.
COPIES = {
    "a copy in a session": lambda: _forked(_pause),
    "a process of multiprocessing": lambda: _process_of_multiprocessing("fork", _pause),
    "a process of multiprocessing in a session": lambda: _process_of_multiprocessing("fork", _leave_all_and_pause),
}
WAYS: dict[str, Callable[[], int]] = {
    "a program in the group": _program_in_the_group,
    "a program in a session": _program_in_a_session,
    "a program whose parent is gone": lambda: _daemon(_sleep),
    "a copy whose parent is gone, without descriptors": lambda: _daemon(_close_all_and_pause),
    "a spawned process of multiprocessing": lambda: _process_of_multiprocessing("spawn", _leave_all_and_pause),
    **COPIES,
}


class Litterer(Actor):
    """Starts what outlives it, and ends in every way."""

    @handler
    def leave(self, ways: list[str]) -> dict[str, int]:
        return {way: WAYS[way]() for way in ways}

    @handler
    def leave_short_lived(self, count: int) -> None:
        """Leave daemons that end by themselves, in the actor's group."""
        for _ in range(count):
            if os.fork() == 0:
                if os.fork() == 0:
                    time.sleep(0.05)
                os._exit(0)
            os.wait()

    @handler
    def pid_of(self) -> int:
        return os.getpid()

    @handler
    def hang(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _pause()

    @handler
    def segfault(self) -> None:
        import ctypes

        ctypes.string_at(0)

    @handler
    def starts(self) -> Iterator[int]:
        """Give the pid of one program after the other, without end."""
        while True:
            yield _program_in_a_session()
