"""Actors that end in every way an actor can end, where their processes can import them."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import mmap
import os
import re
import signal
import threading
from pathlib import Path
from typing import Any

from actors import Actor, ActorRef, ActorSystem, ExitReason, handler
from actors._child import ActorProcess
from actors._dumps import STACK_SIGNAL
from tests.helpers import eventually

__all__ = ["Casualty", "DiesOnStart", "LeavesOnStart", "RaisesOnStart", "Speechless", "WaitsOnStart", "reason_of"]


def reason_of(system: ActorSystem, ref: ActorRef[Any]) -> ExitReason:
    """Wait until an actor that does not come back is gone; return why."""
    host = system._life.running()
    eventually(lambda: host.reason_of(ref.uid), 10.0, what=f"{ref.path} is gone")
    reason = host.reason_of(ref.uid)
    assert reason is not None
    return reason


class Speechless(Exception):
    """Cannot say what it is about."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


class Casualty(Actor):
    """Ends as it is told."""

    @handler
    def pid_of(self) -> int:
        return os.getpid()

    @handler
    def fine(self, _what: object = None) -> None:
        pass

    @handler
    def fail(self, text: str) -> None:
        raise ValueError(text)

    @handler
    def fail_speechless(self) -> None:
        raise Speechless

    @handler
    def leave(self, code: int) -> None:
        raise SystemExit(code)

    @handler
    def leave_at_once(self, code: int) -> None:
        os._exit(code)

    @handler
    def stop_itself(self) -> None:
        self.stop()

    @handler
    def wait(self) -> None:
        threading.Event().wait(1000.0)

    @handler
    def hold_the_gil(self) -> None:
        re.match(r"(a+)+$", "a" * 64 + "b")  # the line that is stuck

    @handler
    def segfault(self) -> None:
        ctypes.string_at(0)  # the line that faults

    @handler
    def fork_and_fault(self) -> int:
        """Have a copy of this process fault; return its exit code."""
        pid = os.fork()
        if pid == 0:
            ctypes.string_at(0)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    @handler
    def write_garbage(self) -> None:
        process: ActorProcess = self._context._process  # type: ignore[union-attr]
        os.write(process.attendant.lane.fileno(), b"\0\0\0\4\xc1\xc1\xc1\xc1")
        threading.Event().wait(1000.0)

    @handler
    def take_the_signal(self) -> None:
        faulthandler.unregister(STACK_SIGNAL)
        signal.signal(STACK_SIGNAL, lambda *_: None)

    @handler
    def forget_the_signal(self) -> None:
        faulthandler.unregister(STACK_SIGNAL)

    @handler
    def spoil_its_stack_file(self) -> list[str]:
        """Write junk all over it, and try to make it shorter and longer; return what the kernel said to that."""
        found = []
        descriptor = self._boot.stack  # type: ignore[union-attr]
        for size in (0, 1 << 20):
            try:
                os.ftruncate(descriptor, size)
            except OSError as error:
                found.append(type(error).__name__)
        size = os.fstat(descriptor).st_size
        with mmap.mmap(descriptor, size) as memory:
            memory[:] = b"\xff" * size
        with contextlib.suppress(OSError):
            os.lseek(descriptor, 1 << 40, os.SEEK_SET)
        return found

    @handler
    def spoil_its_recorder(self) -> None:
        process: ActorProcess = self._context._process  # type: ignore[union-attr]
        process.recorder.words.cast("B")[128:] = b"\xff" * (4096 - 128)
        os._exit(5)

    @handler
    def eat(self, mebibytes: int) -> None:
        hoard = [bytearray(b"x" * (1 << 20)) for _ in range(mebibytes)]
        self.hoard = hoard


class RaisesOnStart(Casualty):
    """Fails to start."""

    def on_start(self) -> None:
        raise LookupError("no configuration")


class DiesOnStart(Casualty):
    """Is killed while it starts."""

    def on_start(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class LeavesOnStart(Casualty):
    """Leaves while it starts."""

    def on_start(self) -> None:
        os._exit(9)


class WaitsOnStart(Casualty):
    """Is never ready; writes a file before it waits."""

    def __init__(self, sign: str) -> None:
        super().__init__()
        self.sign = sign

    def on_start(self) -> None:
        Path(self.sign).touch()
        threading.Event().wait(1000.0)
