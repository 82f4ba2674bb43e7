"""
What tests wait with and look for. No test sleeps: it waits for something, with a deadline that fails with the state printed.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

POLL_SECONDS = 0.01


def wait_for_file(path: str) -> None:
    """Return when the file *path* is there. For handlers, which tests hold up so."""
    pause = threading.Event()
    while not Path(path).exists():
        pause.wait(0.001)


def eventually(
    predicate: Callable[[], object], timeout: float = 5.0, *, state: Callable[[], object] | None = None, what: str = ""
) -> None:
    """
    Wait until *predicate* is true.

    The only place of the tests where time passes without an event: for what other processes and the kernel do.

    Args:
        predicate: Asked every 10 ms and once more at the deadline.
        timeout: Seconds.
        state: Gives what the failure prints; without it the last value of *predicate*.
        what: What is waited for, for the failure.

    Raises:
        AssertionError: At the deadline.
    """
    pause = threading.Event()
    deadline = time.monotonic() + timeout
    while True:
        late = time.monotonic() >= deadline
        value = predicate()
        if value:
            return
        if late:
            seen = state() if state is not None else value
            raise AssertionError(
                f"not within {timeout} s: {what or getattr(predicate, '__name__', predicate)}; state: {seen!r}"
            )
        pause.wait(POLL_SECONDS)


def kill(system: Any, ref: Any) -> int:
    """SIGKILL the process of *ref*, once it has one; return its pid."""
    found: list[int] = []

    def has_process() -> bool:
        found.extend(info.pid for info in system.actors() if info.uid == ref.uid and info.pid is not None)
        return bool(found)

    eventually(has_process, what=f"{ref} has a process")
    os.kill(found[0], signal.SIGKILL)
    return found[0]
