"""An actor that hurts itself, in every way that a handler can. A module of its own, so that a child process imports no test."""

from __future__ import annotations

import atexit
import contextlib
import os
import resource
import select
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from actors import Actor, handler
from actors._child import ActorProcess

__all__ = ["HARMS", "Harmer"]


def process_of(actor: Actor) -> ActorProcess:
    process: ActorProcess = actor._context._process  # type: ignore[union-attr]
    return process


def _descriptors_of(word: str) -> list[int]:
    found = []
    for entry in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if word in os.readlink(f"/proc/self/fd/{entry}"):
                found.append(int(entry))
    return found


def _close_recorder(_actor: Actor) -> None:
    for descriptor in _descriptors_of("memfd:actors-"):
        os.close(descriptor)


def _fork(_actor: Actor) -> None:
    if os.fork() == 0:
        signal.pause()


def _fork_and_return(_actor: Actor) -> None:
    os.fork()


def _fork_and_leave(_actor: Actor) -> None:
    """Be the parent of a zombie."""
    if os.fork() == 0:
        os._exit(0)


def _thread(*, daemon: bool) -> Callable[[Actor], None]:
    def start(_actor: Actor) -> None:
        threading.Thread(target=threading.Event().wait, daemon=daemon).start()

    return start


def _write(descriptor: Callable[[Actor], int], data: bytes) -> Callable[[Actor], None]:
    def write(actor: Actor) -> None:
        os.write(descriptor(actor), data)

    return write


def _scribble(actor: Actor) -> None:
    """Fill its own recorder with ones."""
    words = process_of(actor).recorder.words
    for place in range(8, len(words)):
        words[place] = (1 << 64) - 1


def _lose_folder(_actor: Actor) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)


def _join_parents_group(_actor: Actor) -> None:
    os.setpgid(0, os.getpgid(os.getppid()))


def _leave_session(_actor: Actor) -> None:
    """What a leader of a group may not; then as one that leads none."""
    with contextlib.suppress(PermissionError):
        os.setsid()
    _join_parents_group(_actor)
    os.setsid()


def _wake_by_signals(_actor: Actor) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    os.close(reader)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    os.kill(os.getpid(), signal.SIGCHLD)


def _forget_modules(_actor: Actor) -> None:
    for name in list(sys.modules):
        if name.startswith(("actors", "json", "asyncio", "concurrent")):
            sys.modules[name] = None  # type: ignore[assignment]


def _break_select(_actor: Actor) -> None:
    sys.modules["select"] = sys.modules["os"]


def _recurse(actor: Actor) -> None:
    _recurse(actor)


def _limit(number: int, value: int) -> Callable[[Actor], None]:
    return lambda _actor: resource.setrlimit(number, (value, value))


def _run_on_without_descriptors(actor: Actor) -> None:
    """Where such a thread is ended by the C library, that first of all opens one more of its files."""
    pause = threading.Event()
    threading.Thread(target=lambda: [pause.wait(0.0001) for _ in iter(int, 1)], daemon=True).start()
    _limit(resource.RLIMIT_NOFILE, 3)(actor)


def _lane(actor: Actor) -> int:
    return process_of(actor).attendant.lane.fileno()


def _answers(actor: Actor) -> int:
    return process_of(actor).answering._callers[0].descriptor


HARMS: dict[str, Callable[[Actor], object]] = {
    "ignores SIGTERM": lambda _actor: signal.signal(signal.SIGTERM, signal.SIG_IGN),
    "ignores SIGCHLD": lambda _actor: signal.signal(signal.SIGCHLD, signal.SIG_IGN),
    "blocks every signal": lambda _actor: signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals()),
    "has a wake-up descriptor that is broken": _wake_by_signals,
    "closes all its descriptors": lambda _actor: os.closerange(3, 256),
    "closes its control lane": lambda actor: os.close(_lane(actor)),
    "closes its inbox": lambda actor: os.close(process_of(actor).inbox),
    "closes its recorder": _close_recorder,
    "closes its answer pipe": lambda actor: os.close(_answers(actor)),
    "closes its life line": lambda actor: os.close(actor._boot.lifeline),  # type: ignore[union-attr]
    "closes its standard streams": lambda _actor: os.closerange(0, 3),
    "closes sys.stdout and sys.stderr": lambda _actor: (sys.stdout.close(), sys.stderr.close()),
    "forks": _fork,
    "forks and both return": _fork_and_return,
    "has a zombie": _fork_and_leave,
    "has a daemon thread that never ends": _thread(daemon=True),
    "has a thread that never ends": _thread(daemon=False),
    "has a hundred threads": lambda actor: [_thread(daemon=True)(actor) for _ in range(100)],
    "leaves by os._exit": lambda _actor: os._exit(3),
    "writes garbage on its control lane": _write(_lane, b"\xff" * 100),
    "writes half a frame on its control lane": _write(_lane, b"\0\0\1\0half"),
    "writes garbage into its answer pipe": _write(_answers, b"\xff" * 100),
    "writes garbage into its recorder": _scribble,
    "may open ten descriptors": _limit(resource.RLIMIT_NOFILE, 10),
    "may open nothing, and has a thread that runs on": _run_on_without_descriptors,
    "may start no process": _limit(resource.RLIMIT_NPROC, 1),
    "has a working folder that is removed": _lose_folder,
    "has an umask that allows nothing": lambda _actor: os.umask(0o777),
    "joins its parent's group": _join_parents_group,
    "leads a session of its own": _leave_session,
    "forgets its modules": _forget_modules,
    "takes one module for another": _break_select,
    "recurses without end": _recurse,
    "hangs at its exit": lambda _actor: atexit.register(threading.Event().wait),
    "stops itself": lambda _actor: os.kill(os.getpid(), signal.SIGSTOP),
}


class Harmer(Actor):
    """Does to itself what it is told."""

    @handler
    def harm(self, how: str) -> None:
        HARMS[how](self)

    @handler
    def echo(self, value: int) -> int:
        return value

    @handler
    def wait(self, seconds: float) -> float:
        began = time.monotonic()
        select.select([], [], [], seconds)
        return time.monotonic() - began

    @handler
    def touch(self, path: str) -> None:
        Path(path).touch()
