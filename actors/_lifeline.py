"""
No actor outlives its host: the kernel kills it, whatever it is doing.

The host keeps the only write end of one pipe and never writes. Each actor opens the read end anew and asks the kernel to send it
SIGKILL when something happens to that pipe; the only thing that can happen is that the last writer is gone. C code that holds the
GIL does not delay it, and it works under all start methods alike (``PR_SET_PDEATHSIG`` follows the thread, or the forkserver).
"""

from __future__ import annotations

import fcntl
import os
import signal

from actors import _descriptors

__all__ = ["announce", "hold", "make"]

_F_SETSIG = getattr(fcntl, "F_SETSIG", 10)


def make() -> tuple[int, int]:
    """Return the life line's read and write end, both close-on-exec."""
    with _descriptors.fork_lock:
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        _descriptors.own(read_end, write_end)
    return read_end, write_end


def hold(read_end: int) -> int:
    """
    In the actor: die with the host from now on. Closes *read_end* and returns the descriptor that replaces it.

    Raises:
        SystemExit: The host is gone already.
    """
    # An open file of its own: the owner and the signal are attributes of the open file, which all siblings would share.
    mine = os.open(f"/proc/self/fd/{read_end}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    os.close(read_end)
    fcntl.fcntl(mine, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(mine, _F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(mine, fcntl.F_SETFL, os.O_NONBLOCK | os.O_ASYNC)
    try:
        gone = os.read(mine, 1) == b""
    except BlockingIOError:
        gone = False
    if gone:
        raise SystemExit(1)
    return mine


def announce(held: int, number: signal.Signals) -> None:
    """
    Choose the signal that the kernel sends when the host ends.

    Args:
        held: What :func:`hold` returned, in the same process.
        number: The signal, instead of SIGKILL.
    """
    fcntl.fcntl(held, _F_SETSIG, number)
