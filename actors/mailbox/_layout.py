"""
What stands where in a recorder's file, and how shared memory files are made and mapped.

Owns the byte offsets, the sealing and the mapping. Must not know what the offsets are used for, nor any actor.

A recorder's file, in this order, each part a whole number of pages::

    header page   words of 8 bytes: sizes (written once), then the words that change; then the names of the handlers
    replies       two halves, one of them active
    log           ring of log records (reserved)
    inbox         what was read from the pipe: mailbox_bytes + pipe_bytes

Every word changes by one 8-byte store, so a process that is killed leaves either the old value or the new one.
"""

from __future__ import annotations

import enum
import fcntl
import mmap
import os
import sys

import attrs

from actors.errors import ProtocolError, SpecError
from actors.mailbox._frames import HEADER_BYTES

__all__ = [
    "BASE",
    "DROPPED",
    "DROPPING",
    "DROP_FROM",
    "DROP_TO",
    "DROP_TOTAL",
    "GAP",
    "GAP_AT",
    "HANDLED",
    "HANDLER",
    "HANDLING",
    "INCARNATION",
    "MOVE_FLIGHT",
    "MOVE_HANDLED",
    "MOVE_QUEUE",
    "MOVE_READ",
    "MOVING",
    "NAMES_OFFSET",
    "NEXT",
    "OFFSET_BITS",
    "OFFSET_MASK",
    "PAGE_BYTES",
    "PROGRESS",
    "READ_END",
    "RECENT",
    "RECENT_WORDS",
    "REPLIES",
    "RESETTING",
    "SINCE",
    "STATE",
    "FlightState",
    "Layout",
    "clear",
    "count_at",
    "create_file",
    "finish_reset",
    "map_file",
    "round_up",
]

PAGE_BYTES = 4096
"""Parts begin at multiples of this. Not the page of the machine: the file is mapped as a whole."""

# The words that change. The actor's process writes them; the supervisor does while no process of the actor lives.
READ_END = 16
"""Inbox offset just past the last whole frame that was read and published."""
NEXT = 17
"""Two offsets in one store: where the frame starts (upper half), and the next message that is not handled (lower half)."""
HANDLING = 18
"""Inbox offset of the message being handled, plus 1; one is in flight while this is greater than the offset of NEXT."""
RESETTING = 19
"""0, or (while the inbox is being emptied) the new BASE plus 1."""
BASE = 20
"""Bytes that stood before the inbox's first one: added to an offset (see GAP) it counts since the beginning."""
HANDLED = 21
"""Messages handled, over all incarnations."""
REPLIES = 22
"""Active half of the reply region (bit 32) and the end of what is published in it (lower half)."""
STATE = 23
"""A :class:`FlightState`."""
HANDLER = 24
"""Index of the handler's name plus 1, or 0 for none."""
SINCE = 25
"""When the handler began: float, seconds of the monotonic clock."""
PROGRESS = 26
"""When the handler reported progress last: float, seconds of the monotonic clock."""
INCARNATION = 27
"""1, 2, 3...: which process of the actor writes here."""
GAP = 28
"""
Bytes that were dropped behind a message in flight, less a header that was added, plus 4; 0 for none. An offset of GAP_AT or
above counts so many more.
"""
GAP_AT = 29
"""Where that message ends."""
DROPPED = 30
"""Messages dropped to make room for newer ones, over all incarnations."""
DROPPING = 31
"""1 while those from DROP_FROM to DROP_TO are being dropped, else 0."""
RECENT = 32
"""The first word of a ring: the handlers of the last messages as in HANDLER, each at the place that HANDLED had when it began."""
RECENT_WORDS = 16
"""Length of that ring; a power of two."""

# What is being dropped, and what is being moved: of no meaning while nothing is.
DROP_FROM = 48
"""Start of a frame (upper half) and the first message of it that is dropped (lower half), as in NEXT."""
DROP_TO = 49
"""The same of the first message that is kept; the end of what was read for none."""
DROP_TOTAL = 50
"""What DROPPED will be."""
MOVING = 51
"""0, or (while what is left is moved to the front of the inbox) READ_END as it was before, plus 1."""
MOVE_FLIGHT = 52
"""Where the message in flight begins (upper half) and ends (lower half); 0 for none."""
MOVE_QUEUE = 53
"""Where the header of the first frame that is moved begins or is to stand (upper half), and the length of that frame's body."""
MOVE_READ = 54
"""Bytes read since the beginning: a move changes where they stand, and not how many they are."""
MOVE_HANDLED = 55
"""Bytes that stood before the message in flight since the beginning."""

NAMES_OFFSET = 1024
"""The handlers' names: a length byte and that many bytes each, up to the end of the header page."""

OFFSET_BITS = 32
OFFSET_MASK = (1 << OFFSET_BITS) - 1

_MAGIC = int.from_bytes(b"actorREC", "little")
_VERSION = 1
_LOG_BYTES = 16 * PAGE_BYTES
_MAX_REGION_BYTES = 1 << 31  # offsets are 32 bits wide
_MIN_REPLY_BYTES = 4 * PAGE_BYTES  # each half takes the longest reply and its header
_ZEROS = memoryview(bytes(64 * 1024))


class FlightState(enum.IntEnum):
    """What an actor's process says it is doing."""

    STARTING = 0
    """Made, and not yet ready: importing, or in ``on_start``."""
    IDLE = 1
    """Waiting for a message."""
    HANDLING = 2
    """Inside a handler."""
    WAITING = 3
    """Inside a handler, waiting for a reply."""
    BLOCKED = 4
    """Inside a handler, waiting for room in another actor's inbox."""
    STOPPING = 5
    """In ``on_stop``, or beyond."""
    CREDIT = 6
    """Inside a handler, waiting until whoever reads its answers has taken some."""


@attrs.frozen
class Layout:
    """
    Where the parts of one recorder's file begin and how long they are. All in bytes, from the start of the file.

    Attributes:
        reply_offset: Start of the reply region.
        reply_bytes: Its length, both halves together; a multiple of two pages.
        log_offset: Start of the log ring.
        log_bytes: Its length.
        inbox_offset: Start of the inbox buffer.
        inbox_bytes: Its length: what may be read ahead plus one pipe.
        pipe_bytes: Capacity of the inbox's pipe: a read begins only when that much is free.
    """

    reply_offset: int
    reply_bytes: int
    log_offset: int
    log_bytes: int
    inbox_offset: int
    inbox_bytes: int
    pipe_bytes: int

    @classmethod
    def plan(cls, *, mailbox_bytes: int, pipe_bytes: int, reply_bytes: int) -> Layout:
        """
        The layout for these sizes, each rounded up to whole pages.

        Raises:
            SpecError: A size is below 1 byte or its region above 2 GiB.
        """
        sizes = {"mailbox_bytes": mailbox_bytes, "pipe_bytes": pipe_bytes, "reply_bytes": reply_bytes}
        problems = [
            f"{name} must be 1 to {_MAX_REGION_BYTES // 2} bytes, got {size}"
            for name, size in sizes.items()
            if not 1 <= size <= _MAX_REGION_BYTES // 2
        ]
        if problems:
            raise SpecError(*problems)
        replies = round_up(max(reply_bytes, _MIN_REPLY_BYTES), 2 * PAGE_BYTES)
        log_offset = PAGE_BYTES + replies
        inbox = round_up(mailbox_bytes + pipe_bytes)
        return cls(PAGE_BYTES, replies, log_offset, _LOG_BYTES, log_offset + _LOG_BYTES, inbox, pipe_bytes)

    @property
    def file_bytes(self) -> int:
        """Length of the whole file."""
        return self.inbox_offset + self.inbox_bytes

    def write(self, words: memoryview) -> None:
        """Note these sizes in the header."""
        for index, word in enumerate(self._words()):
            words[index] = word

    def check(self, words: memoryview) -> None:
        """
        Make sure that the header still says what this layout says.

        Raises:
            ProtocolError: It does not: somebody wrote over it.
        """
        said = tuple(words[index] for index in range(len(self._words())))
        if said != self._words():
            raise ProtocolError(f"recorder: sizes in the header were overwritten: {said}, expected {self._words()}")

    @classmethod
    def read(cls, words: memoryview, file_bytes: int) -> Layout:
        """
        The layout that a header names.

        Args:
            words: The header page as unsigned words of 8 bytes.
            file_bytes: Length of the file as the kernel has it, not as the header claims.

        Raises:
            ProtocolError: Not a recorder, or sizes that do not add up to *file_bytes*.
        """
        magic, version, *sizes = (words[index] for index in range(2 + len(attrs.fields(cls))))
        if magic != _MAGIC or version != _VERSION:
            raise ProtocolError(f"recorder: magic {magic:#x}, version {version}; expected {_MAGIC:#x}, {_VERSION}")
        found = cls(*sizes)
        if max(sizes) > file_bytes or found != cls._closest(found) or found.file_bytes != file_bytes:
            raise ProtocolError(f"recorder: sizes {sizes} do not make a file of {file_bytes} bytes")
        return found

    @classmethod
    def _closest(cls, found: Layout) -> Layout | None:
        mailbox_bytes = found.inbox_bytes - found.pipe_bytes
        if min(mailbox_bytes, found.pipe_bytes, found.reply_bytes) < 1:
            return None
        try:
            return cls.plan(mailbox_bytes=mailbox_bytes, pipe_bytes=found.pipe_bytes, reply_bytes=found.reply_bytes)
        except SpecError:
            return None

    def _words(self) -> tuple[int, ...]:
        return (_MAGIC, _VERSION, *attrs.astuple(self))


def round_up(size: int, unit: int = PAGE_BYTES) -> int:
    """The smallest multiple of *unit* that is at least *size*."""
    return -(-size // unit) * unit


def create_file(name: str, size: int) -> int:
    """
    Descriptor of a new shared memory file that nobody can make longer or shorter. The caller closes it.

    The length is sealed because a mapped file that somebody truncates kills everyone who touches it (SIGBUS). It has no
    name in any directory: the kernel frees it when its last descriptor and mapping are gone, whatever was killed.

    Args:
        name: For ``/proc/PID/maps`` only.
        size: Bytes, all zero. Pages take memory when they are first written.

    Raises:
        OSError: No descriptor or memory left.
    """
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, size)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    except BaseException:
        os.close(fd)
        raise
    return fd


def map_file(fd: int, *, inherit: bool) -> mmap.mmap:
    """
    The whole of a shared memory file, readable and writable. *fd* may be closed afterwards.

    Args:
        fd: A file of :func:`create_file`.
        inherit: Whether a forked child has the mapping too. If not, touching it there is a SIGSEGV.

    Raises:
        ProtocolError: Shorter than a header.
    """
    size = os.fstat(fd).st_size
    if size < PAGE_BYTES:
        raise ProtocolError(f"shared memory file of {size} bytes; the header alone takes {PAGE_BYTES}")
    if sys.version_info >= (3, 13):
        mapping = mmap.mmap(fd, size, trackfd=False)  # else mmap keeps a duplicate: one descriptor more per actor
    else:
        mapping = mmap.mmap(fd, size)
    if not inherit:
        mapping.madvise(mmap.MADV_DONTFORK)
    return mapping


def clear(buffer: memoryview, start: int, stop: int) -> None:
    """Write zeros over ``buffer[start:stop]``: the pages stay and stay warm, as a punched hole's would not."""
    for at in range(start, stop, len(_ZEROS)):
        end = min(stop, at + len(_ZEROS))
        buffer[at:end] = _ZEROS[: end - at]


def count_at(words: memoryview, offset: int) -> int:
    """How many bytes stood before inbox *offset* since the beginning."""
    gap = words[GAP] - HEADER_BYTES if words[GAP] and offset >= words[GAP_AT] else 0
    return int(words[BASE] + offset + gap)


def finish_reset(words: memoryview, base: int) -> None:
    """
    Note in the header that the inbox is empty, after its bytes were cleared. May be done again from any point of it.

    READ_END comes after all that is derived from it and the mark last: whoever finds the mark clears up to READ_END and
    calls this once more.

    Args:
        words: The header.
        base: What the mark said: RESETTING less 1.
    """
    words[BASE] = base
    words[GAP] = 0
    words[HANDLING] = 0
    words[NEXT] = 0
    words[READ_END] = 0
    words[RESETTING] = 0
