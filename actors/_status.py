"""
How a process ended, told by the kernel and not by its parent: for when the parent is a forkserver that is stopped or dead.
"""

from __future__ import annotations

import fcntl
import signal
import struct

__all__ = ["parse_stat_status", "read_status"]

# struct pidfd_info of <linux/pidfd.h>: a mask first, the wait status last of 64 bytes. Linux 6.15 keeps it for who holds a pidfd.
_INFO_BYTES = 64
_PIDFD_GET_INFO = 0xC0000000 | _INFO_BYTES << 16 | 0xFF0B
_PIDFD_INFO_EXIT = 1 << 3
_MASK = struct.Struct("<Q")
_STATUS = struct.Struct("<i")
# Counted from the state, which is the first field after the name.
_EXIT_CODE_FIELD = 49


def read_status(pid: int, pidfd: int) -> int | None:
    """
    Return the raw wait status of a process that has ended, or None where the kernel does not say.

    A zombie shows it to its own user; once it is reaped, Linux 6.15 and later still tell it by the pidfd.

    Args:
        pid: The process.
        pidfd: Opened while it lived.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            line = stream.read()
        # Sent to a zombie it does nothing; it fails once somebody has reaped it, and then that line may be another's.
        signal.pidfd_send_signal(pidfd, 0)
    except OSError:
        return _remembered(pidfd)
    return parse_stat_status(line)


def parse_stat_status(line: bytes) -> int | None:
    """
    Return the raw wait status in a zombie's ``/proc/PID/stat``; None if it lives, or where nothing is certain.

    The kernel writes 0 for those whom it does not tell, so that 0 is no evidence.

    Args:
        line: What the file says. The name in it may hold anything, brackets and spaces too.
    """
    fields = line.rpartition(b")")[2].split()
    if len(fields) <= _EXIT_CODE_FIELD or fields[0] != b"Z":
        return None
    return int(fields[_EXIT_CODE_FIELD]) or None


def _remembered(pidfd: int) -> int | None:
    info = bytearray(_INFO_BYTES)
    _MASK.pack_into(info, 0, _PIDFD_INFO_EXIT)
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, info)
    except OSError:
        return None
    if not _MASK.unpack_from(info)[0] & _PIDFD_INFO_EXIT:
        return None
    status: int = _STATUS.unpack_from(info, _INFO_BYTES - _STATUS.size)[0]
    return status
