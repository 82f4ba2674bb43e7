"""
The stacks of an actor's process, taken from outside while it lives: what it is doing when it has to be killed.

A signal asks for them, :mod:`faulthandler` answers in the actor (:mod:`actors._dumps`), in shared memory that the host made. That takes
a millisecond, also where C code holds the GIL; a process that gives none is waited for 50 ms. What stands in the file is a claim: it
is read with a bound, decoded leniently and shown, and nothing else.

Runs in the pump's thread, which never waits: who takes a stack is called back.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from actors import _probe
from actors._dumps import STACK_SIGNAL
from actors.mailbox._layout import create_file
from actors.supervisor._stack_text import stack_text

if TYPE_CHECKING:
    from actors.supervisor._cells import Body, Cell
    from actors.supervisor._pump import Pump

__all__ = ["STACK_BYTES", "Stacks", "make_stack_file", "read_stack"]

STACK_BYTES = 64 * 1024
"""Of a stack file: some 700 frames, all threads together. What is beyond is left out."""

_WAIT_SECONDS = 0.05
_LOOK_SECONDS = 0.004
# One that was taken so shortly ago says what the next one would.
_FRESH_SECONDS = 1.0
# With these ends the stack of a thread: of the main one, of one that Python started, of one that is deeper than 100 frames.
_ENDINGS = ("in <module>\n", "in _bootstrap\n", "  ...\n", "<no Python frame>\n")


class Stacks:
    """
    Takes the stacks of live processes.

    Args:
        pump: Whose thread this runs in.
    """

    def __init__(self, pump: Pump) -> None:
        self._pump = pump

    def take(self, cell: Cell, body: Body, then: Callable[[str], object]) -> None:
        """
        Ask the process for its stacks, and go on with *then* when they are there: at once where none can come, after 50 ms at most.

        What came is kept in ``body.stack``; why nothing came, in ``body.notes``.

        Args:
            cell: Whose.
            body: Its incarnation.
            then: Called in the pump's thread with the text, the interrupted thread first, ``""`` for none. The process may have ended
                meanwhile.
        """
        if body.stack and time.monotonic() - body.stack_taken < _FRESH_SECONDS:
            then(body.stack)
        elif body.stack_takers:
            body.stack_takers.append(then)
        elif not self._ask(body):
            then("")
        else:
            body.stack_takers.append(then)
            give_up = time.monotonic() + _WAIT_SECONDS
            self._pump.after(_LOOK_SECONDS, lambda: self._look(cell, body, "", give_up))

    def _ask(self, body: Body) -> bool:
        """Send the signal, where its process can answer it."""
        if body.dead or body.pidfd < 0 or body.pid is None or body.stack_file < 0:
            return False
        state = _probe.signal_state(body.pid)
        if state is None or state.has_ended:
            return False
        if state.is_stopped:
            body.note("no stack: the process is stopped")
            return False
        if not state.catches(STACK_SIGNAL):
            # Sent all the same it would end the process, and look like somebody else's doing.
            body.note("no stack: the process has not begun, or has become another program")
            return False
        _rewind(body.stack_file)
        return body.signal(STACK_SIGNAL)

    def _look(self, cell: Cell, body: Body, before: str, give_up: float) -> None:
        found = read_stack(body.stack_file)
        over = body.dead or time.monotonic() >= give_up or (found == before and _is_whole(found))
        if not over:
            self._pump.after(_LOOK_SECONDS, lambda: self._look(cell, body, found, give_up))
            return
        found = stack_text(found)
        body.stack, body.stack_taken = found or body.stack, time.monotonic()
        body.note("its stack was taken" if found else "no stack came")
        takers, body.stack_takers = body.stack_takers, []
        for then in takers:
            then(found)


def make_stack_file() -> int:
    """
    Descriptor of a new stack file, sealed and empty. The caller closes it.

    Raises:
        OSError: No descriptor or memory left.
    """
    return create_file("actors-stack", STACK_BYTES)


def read_stack(descriptor: int) -> str:
    """
    What stands in a stack file, up to its first zero byte; ``""`` where nothing does, and for a negative *descriptor*.

    Args:
        descriptor: Of :func:`make_stack_file`.
    """
    if descriptor < 0:
        return ""
    return os.pread(descriptor, STACK_BYTES, 0).partition(b"\0")[0].decode("utf-8", "replace")


def _rewind(descriptor: int) -> None:
    """Empty the file, and have its writer begin at the top: the position belongs to the open file, which both sides share."""
    written = min(os.lseek(descriptor, 0, os.SEEK_CUR), STACK_BYTES)
    os.pwrite(descriptor, bytes(written), 0)
    os.lseek(descriptor, 0, os.SEEK_SET)


def _is_whole(text: str) -> bool:
    """Whether the thread that took the signal, the main thread as a rule and then the last one, is there to its end."""
    return "Current thread" in text and text.endswith(_ENDINGS)
