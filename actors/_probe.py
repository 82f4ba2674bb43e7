"""
What the kernel says of a process that lives, read from ``/proc``. Each answer is None once the process has ended.
"""

from __future__ import annotations

import contextlib
import os
import resource

import attrs

__all__ = ["SignalState", "cpu_seconds", "has_open", "main_thread_state", "resident_bytes", "signal_state"]

_PAGE_BYTES = resource.getpagesize()
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
# Fields of /proc/PID/stat behind the command, which may hold blanks: user and system time, of itself.
_USER_TIME, _SYSTEM_TIME = 11, 12


@attrs.frozen
class SignalState:
    """
    Whether a process can run a signal handler now.

    Attributes:
        state: One letter: ``R`` runs, ``S`` sleeps, ``D`` waits in the kernel, ``T`` is stopped, ``t`` is traced, ``Z`` has ended.
        caught: The signals it has handlers for, signal 1 in the lowest bit.
    """

    state: str
    caught: int

    @property
    def is_stopped(self) -> bool:
        """Whether it runs nothing at all before somebody lets it go on."""
        return self.state in ("T", "t")

    @property
    def has_ended(self) -> bool:
        """Whether it has ended and is not reaped."""
        return self.state in ("Z", "X")

    def catches(self, number: int) -> bool:
        """Whether it has a handler for signal *number*."""
        return bool(self.caught >> (number - 1) & 1)


def has_open(pid: int, descriptor: int) -> bool:
    """Return whether process *pid* has the file open that is *descriptor* here; False as well where that cannot be read."""
    ours = os.fstat(descriptor)
    try:
        for number in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(ours, os.stat(f"/proc/{pid}/fd/{number}")):
                    return True
    except OSError:
        return False
    return False


def resident_bytes(pid: int) -> int | None:
    """
    How much memory of the process is in RAM, in bytes; pages it shares with others count in full. None where that cannot be read.

    Args:
        pid: The process. Whoever asks makes sure that the number is still its own.
    """
    data = _read(f"/proc/{pid}/statm").split()
    return int(data[1]) * _PAGE_BYTES if len(data) > 1 else None


def cpu_seconds(pid: int) -> float | None:
    """
    User and system time of the process so far, in seconds, with the resolution of the kernel's clock (10 ms).

    Args:
        pid: The process, as in :func:`resident_bytes`.
    """
    fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    if len(fields) <= _SYSTEM_TIME:
        return None
    return (int(fields[_USER_TIME]) + int(fields[_SYSTEM_TIME])) / _TICKS_PER_SECOND


def main_thread_state(pid: int) -> str | None:
    """
    What the main thread of the process does, as a letter of :attr:`SignalState.state`.

    None where it is gone, and where this process has no descriptor left to look: no proof that it is gone.

    Args:
        pid: The process, as in :func:`resident_bytes`.
    """
    return _read(f"/proc/{pid}/stat").rpartition(b")")[2].strip()[:1].decode() or None


def signal_state(pid: int) -> SignalState | None:
    """
    Whether the process can run a signal handler now.

    Args:
        pid: The process, as in :func:`resident_bytes`.
    """
    fields = dict(line.split(b":", 1) for line in _read(f"/proc/{pid}/status").splitlines() if b":" in line)
    if b"State" not in fields or b"SigCgt" not in fields:
        return None
    return SignalState(fields[b"State"].split()[0].decode(), int(fields[b"SigCgt"], 16))


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except OSError:  # it has ended; or there is no descriptor left to look
        return b""
