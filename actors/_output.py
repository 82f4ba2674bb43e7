"""
What was printed and is not written yet: of the program as processes begin, and of an actor at its end.

Where it cannot be written (a full disk, a pipe that nobody reads any more) Python ends the process with an exit code of its own, and
``multiprocessing`` with another: an actor that has done all it was to do would look like one that crashed.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TextIO

from actors._internals import util

__all__ = ["flush", "flush_first"]


def flush_first() -> None:
    """
    Have what this program has printed stand before what the processes print that begin now, as ``multiprocessing`` does.

    In the thread of the user's that begins them, which may as well wait for room in a pipe: no restart waits for that.
    """
    with contextlib.suppress(OSError):  # whoever prints is told
        util._flush_std_streams()


def flush() -> dict[str, OSError]:
    """
    Write what stands in the buffers of standard output and standard error. What cannot be written is lost, and keeps nobody any more.

    Returns:
        What went wrong, by the name of the stream.
    """
    failed: dict[str, OSError] = {}
    for name in ("stdout", "stderr"):
        stream: TextIO | None = getattr(sys, name)
        try:
            # Not there, closed, or something else of the user's: as multiprocessing forgives it.
            with contextlib.suppress(AttributeError, ValueError):
                stream.flush()  # type: ignore[union-attr]
        except OSError as error:
            failed[name] = error
            _let_go(stream)
    return failed


def _let_go(stream: TextIO | None) -> None:
    """Have the rest of it go nowhere, so that whoever flushes the stream after this finds nothing wrong."""
    with contextlib.suppress(OSError, AttributeError, ValueError):
        nothing = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.dup2(nothing, stream.fileno(), inheritable=True)  # type: ignore[union-attr]
        finally:
            os.close(nothing)
        stream.flush()  # type: ignore[union-attr]
