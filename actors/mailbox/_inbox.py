"""
The pipe that many write and one reads: made, measured, re-opened and written here.

Owns the system calls of the data lane but the read (that is the recorder's). Must not know what a frame contains.

A write of at most ``PIPE_BUF`` bytes is atomic (POSIX): it needs no lock, and a writer killed at any moment leaves no
half frame. Linux never spreads such a write over two of the pipe's pages either, so that taking everything out of the
pipe in one read always ends on a frame boundary.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import termios

from actors.errors import InternalError
from actors.mailbox._frames import MAX_FRAME_BYTES

__all__ = ["make_inbox", "pipe_capacity", "queued_bytes", "reopen_reader", "reopen_writer", "write_frame"]

_INT = struct.Struct("i")


def make_inbox(capacity: int = 64 * 1024) -> tuple[int, int]:
    """
    A new pipe: its read end and its write end, both non-blocking and closed on exec. The caller closes them.

    Args:
        capacity: Bytes wanted. What you get may be more or less (an unprivileged user has 64 pipes of 1 MiB, then
            small ones): read it with :func:`pipe_capacity`.

    Raises:
        OSError: No descriptor left.
    """
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    with contextlib.suppress(OSError):  # over the user's share of pipe pages: a smaller pipe works as well
        if pipe_capacity(read_fd) != capacity:
            fcntl.fcntl(read_fd, fcntl.F_SETPIPE_SZ, capacity)
    return read_fd, write_fd


def pipe_capacity(fd: int) -> int:
    """Bytes that the pipe holds at most. Either end may be asked."""
    return fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ)


def reopen_writer(fd: int) -> int:
    """
    A write end with an open file of its own, non-blocking: O_NONBLOCK is shared by all holders of a passed descriptor.

    Succeeds also when nobody holds a read end any more; the first write says so.
    """
    return _reopen(fd, os.O_WRONLY)


def reopen_reader(fd: int) -> int:
    """A read end with an open file of its own, non-blocking."""
    return _reopen(fd, os.O_RDONLY)


def write_frame(fd: int, frame: bytes) -> bool:
    """
    Whether the pipe took *frame*, all of it.

    Args:
        fd: A non-blocking write end.
        frame: Header and body; at most ``MAX_FRAME_BYTES``.

    Returns:
        False when there is no room. A pipe that polls writable may still answer so: another writer was faster, or
        the frame is larger than the free part.

    Raises:
        BrokenPipeError: The read end is closed. Nothing was delivered.
        InternalError: *frame* is longer than what a pipe writes in one piece.
    """
    if len(frame) > MAX_FRAME_BYTES:
        raise InternalError(f"a frame of {len(frame)} bytes would be torn; at most {MAX_FRAME_BYTES} fit")
    try:
        os.write(fd, frame)
    except BlockingIOError:
        return False
    return True


def queued_bytes(fd: int) -> int:
    """Bytes that stand in the pipe now. Either end may be asked."""
    answer = fcntl.ioctl(fd, termios.FIONREAD, bytes(_INT.size))
    (count,) = _INT.unpack(answer)
    return int(count)


def _reopen(fd: int, access: int) -> int:
    return os.open(f"/proc/self/fd/{fd}", access | os.O_NONBLOCK | os.O_CLOEXEC)
