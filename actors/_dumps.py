"""
The stack file of an actor, from inside: where Python writes every thread's stack when the process dies of a fault, or is asked to.

Written by :mod:`faulthandler`, in C and inside the signal handler: it needs neither the GIL nor memory, so that a handler stuck in C
code shows the line it is stuck in. The other side is :mod:`actors.supervisor._stacks`.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal

__all__ = ["STACK_SIGNAL", "begin", "end"]

STACK_SIGNAL = signal.SIGRTMIN + 12
"""Asks for the stacks. No program's own: those that take a realtime signal begin at the lowest."""


def begin(descriptor: int) -> None:
    """
    In an actor's process: write stacks to *descriptor* from now on.

    Args:
        descriptor: The stack file; open as long as the process lives, and not for the programs it starts.
    """
    os.set_inheritable(descriptor, False)
    end()  # what the process was forked from may have it on: then only the file would be changed, and not the handlers
    faulthandler.enable(file=descriptor, all_threads=True)
    faulthandler.register(STACK_SIGNAL, file=descriptor, all_threads=True, chain=False)


def end() -> None:
    """Write nothing more: in a copy of an actor's process, whose faults are not the actor's."""
    with contextlib.suppress(OSError, RuntimeError):
        faulthandler.unregister(STACK_SIGNAL)
    faulthandler.disable()
