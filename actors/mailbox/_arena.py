"""
Where messages lie that do not fit a frame: slots of equal size in a shared memory file that one process fills.

Owns the slots' words and the copies. Must not know what a message says, nor who makes, hands out and forgets arenas.

An arena's file is a header page and then the slots. In the header one word of 8 bytes per slot says ``generation << 1 | in use``, and
another one, its *mark*, who is to be rid of it (see ``_holds``). The writer sets the word of a free slot to the next generation,
copies, and then sends the frame that names both; whoever is done with the message clears the lowest bit, if the generation is still
the one it knows. So a slot needs no lock. What a writer that was killed before it sent the frame had taken stays taken, for as long as
its arena lives. The frame that names slot and generation decides the order: nothing is chunked, nothing reassembled.

Everyone who has the file can write all of it. A reader checks ranges and generations and raises
:class:`~actors.errors.ProtocolError` where they do not fit; give receivers that do not trust each other arenas of their own.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import mmap
import sys
from typing import Any

import attrs

from actors.errors import ProtocolError, SpecError
from actors.mailbox import _layout as at
from actors.mailbox._cargo import Parcel, Source, size_of
from actors.mailbox._layout import PAGE_BYTES

__all__ = [
    "ArenaReader",
    "ArenaWriter",
    "Buffer",
    "Slot",
    "create_arena",
    "slot_size_for",
    "slots_for",
]

ARENA_BYTES = 4 * 1024 * 1024
"""What the slots of one arena take together, if more than one fits."""

_MIN_SLOT_BYTES = 8 * 1024  # a frame holds 4 KiB; smaller slots would only make more classes
_MAX_SLOTS = 64  # per arena: a search looks at each word
_WORDS = 8  # index of the first slot's word in the header
_MARKS = _WORDS + _MAX_SLOTS  # index of the first slot's mark
_MAGIC = int.from_bytes(b"actorARE", "little")
_GENERATION_MASK = (1 << 62) - 1  # fits a signed word after the shift, whatever the codec makes of it

_POPULATE_WRITE = 23  # MADV_POPULATE_WRITE; mmap has no name for it
_COPY_BYTES = 8 * 1024 * 1024  # the interpreter lets other threads in between two of these

Buffer = bytes | bytearray | memoryview


@attrs.frozen
class Slot:
    """
    One message in an arena: what a frame carries instead of it.

    Attributes:
        arena_id: Which arena, unique in the system.
        slot: Which of its slots, from 0.
        length: Bytes of the message.
        generation: How often the slot was taken, so that an old name is known from a new one.
        offset: Where the message begins in the slot, behind what lies beside it.
    """

    arena_id: int
    slot: int
    length: int
    generation: int
    offset: int = 0


def slot_size_for(length: int) -> int:
    """Bytes of a slot for a message of *length* bytes: the next power of two, at least 8 KiB."""
    return 1 << (max(length, _MIN_SLOT_BYTES) - 1).bit_length()


def slots_for(slot_bytes: int) -> int:
    """How many slots of that size an arena has: 4 MiB of them, 1 to 64."""
    return max(1, min(_MAX_SLOTS, ARENA_BYTES // slot_bytes))


def create_arena(slot_bytes: int, slots: int) -> int:
    """
    Descriptor of a new arena's file, sealed, all slots free. The caller closes it.

    Args:
        slot_bytes: Size of each slot; at least 1, made a multiple of 4 KiB. Takes memory only where it is written.
        slots: How many; 1 to 64.

    Raises:
        SpecError: Out of these ranges.
        OSError: No descriptor or memory left.
    """
    if slot_bytes < 1 or not 1 <= slots <= _MAX_SLOTS:
        raise SpecError(f"an arena has 1 to {_MAX_SLOTS} slots of at least 1 byte, got {slots} of {slot_bytes}")
    slot_bytes = at.round_up(slot_bytes)
    fd = at.create_file("actors-arena", PAGE_BYTES + slots * slot_bytes)
    with at.map_file(fd, inherit=False) as mapping, memoryview(mapping) as whole, whole.cast("Q") as words:
        words[0], words[1], words[2] = _MAGIC, slot_bytes, slots
    return fd


class _Arena:
    """The mapped file: sizes read once and checked against its length, words and bytes of the slots."""

    def __init__(self, fd: int, sizes: tuple[int, int] | None = None, *, inherit: bool = False) -> None:
        self._mapping = at.map_file(fd, inherit=inherit)
        self._data = memoryview(self._mapping)
        self._words = self._data[:PAGE_BYTES].cast("Q")
        size = len(self._data)
        if sizes is not None:
            # Known by who made the file: whatever the header says by now.
            self.slot_bytes, self.slots = sizes
            return
        magic, self.slot_bytes, self.slots = self._words[0], self._words[1], self._words[2]
        if (
            magic != _MAGIC
            or not 1 <= self.slots <= _MAX_SLOTS
            or self.slot_bytes % PAGE_BYTES
            or PAGE_BYTES + self.slots * self.slot_bytes != size
        ):
            raise ProtocolError(f"arena: magic {magic:#x}, {self.slots} slots of {self.slot_bytes} in {size} bytes")

    def in_use(self) -> int:
        """How many slots hold a message that nobody has released."""
        return sum(word & 1 for word in self._words[_WORDS : _WORDS + self.slots])

    def close(self) -> None:
        """Give the memory back; what was viewed stays until the last view is gone."""
        self._words.release()
        self._data.release()
        with contextlib.suppress(BufferError):  # a view is out: the mapping goes with it
            self._mapping.close()


class ArenaWriter(_Arena):
    """
    The sender's hold on an arena. Any thread, and inside itself (signal handlers): slots are taken without a lock.

    Args:
        arena_id: What its slots are named by.
        fd: The file of :func:`create_arena`; may be closed afterwards.

    Raises:
        ProtocolError: Not an arena.
    """

    def __init__(self, arena_id: int, fd: int) -> None:
        super().__init__(fd)
        self.arena_id = arena_id
        # Generations and high-water marks are kept here: what others write into the file cannot confuse the sender.
        self._generations = [word >> 1 for word in self._words[_WORDS : _WORDS + self.slots]]
        self._high_water = [0] * self.slots  # bytes of whole pages
        self._touched_bytes = PAGE_BYTES
        self._taken = 0  # how many slots ever were
        self._retired = False

    @property
    def touched_bytes(self) -> int:
        """Memory that was ever written: what the arena costs."""
        return self._touched_bytes

    def put(self, data: Buffer, budget_bytes: int = sys.maxsize, mark: int = 0) -> Slot | None:
        """
        Copy *data* into the first free slot: those in front are warm.

        Args:
            data: At most a slot's size.
            budget_bytes: How much memory may be written that never was before.
            mark: The slot's mark.

        Returns:
            What the frame has to carry, or None when no slot is free or *data* is longer than a slot.

        Raises:
            OSError: The machine has no memory for it.
        """
        length = size_of(data)
        if length > self.slot_bytes:
            return None
        least = at.round_up(length) - budget_bytes
        for slot in range(self.slots):
            if not self._words[_WORDS + slot] & 1 and self._high_water[slot] >= least:
                taken = self._put_into(slot, data, length, mark)
                if taken is not None:
                    return taken
        return None

    def discard(self, slot: Slot) -> None:
        """Free a slot whose frame was never written."""
        _release(self._words, slot.slot, slot.generation)

    def retire(self) -> bool:
        """Whether no slot is in use, and from now on none ever will be: the arena may be forgotten by everybody."""
        taken = self._taken
        if not self._retired and not self.in_use() and taken == self._taken:  # a signal handler may have put something
            self._retired = True
        return self._retired

    def free_marked(self, mark: int) -> None:
        """Free every slot with that mark: what lies there is addressed to nobody any more."""
        for slot in range(self.slots):
            word = self._words[_WORDS + slot]
            if word & 1 and self._words[_MARKS + slot] == mark:
                _release(self._words, slot, word >> 1)

    def cool(self) -> None:
        """Give the memory of the free slots behind the last one in use back to the system."""
        for slot in reversed(range(self.slots)):
            high = self._high_water[slot]
            if self._words[_WORDS + slot] & 1:
                break
            if high and self._take(slot, 0):
                # Taken like any other, so that nobody puts a message there meanwhile.
                start = PAGE_BYTES + slot * self.slot_bytes
                self._mapping.madvise(mmap.MADV_REMOVE, start, high)
                self._high_water[slot] = 0
                self._words[_WORDS + slot] = self._generations[slot] << 1
        self._touched_bytes = PAGE_BYTES + sum(self._high_water)

    def _take(self, slot: int, mark: int) -> bool:
        # No call stands between the look and the store: CPython lets a signal handler, or another thread, in at calls, at the ends
        # of loops and where functions begin.
        words, index = self._words, _WORDS + slot
        generation = self._generations[slot] + 1 & _GENERATION_MASK
        if words[index] & 1 or self._retired:
            return False
        words[_MARKS + slot] = mark
        words[index] = generation << 1 | 1
        self._generations[slot] = generation
        self._taken += 1
        return True

    def _put_into(self, slot: int, data: Buffer, length: int, mark: int) -> Slot | None:
        # The word is set first, so that nobody else takes the slot; no reader knows of it before the frame is written. As in _take(),
        # no call stands between the look and the store, nor in `except`.
        words, index = self._words, _WORDS + slot
        if words[index] & 1 or self._retired:
            return None
        generation = self._generations[slot] + 1 & _GENERATION_MASK
        try:
            words[_MARKS + slot] = mark
            words[index] = generation << 1 | 1
            self._generations[slot] = generation
            self._taken += 1
            self._warm(slot, at.round_up(length))
            self._copy(PAGE_BYTES + slot * self.slot_bytes, data)
            return Slot(self.arena_id, slot, len(data), generation, length - len(data))
        except BaseException:  # whatever a signal handler raised: nobody will ever name this message
            if words[index] == generation << 1 | 1:
                words[index] = generation << 1
            raise

    def _warm(self, slot: int, size: int) -> None:
        """
        Have memory for *size* bytes of a slot: where there is none, that is said now, and not by a signal in the middle of a copy.

        Raises:
            OSError: The machine has none.
        """
        before = self._high_water[slot]
        if size <= before:
            return
        start = PAGE_BYTES + slot * self.slot_bytes
        self._high_water[slot] = size  # before it is: what an interruption leaves is counted too much, never too little
        self._touched_bytes = PAGE_BYTES + sum(self._high_water)
        for step in range(before, size, _COPY_BYTES):
            try:
                self._mapping.madvise(_POPULATE_WRITE, start + step, min(_COPY_BYTES, size - step))
            except OSError as error:
                if error.errno == errno.EINVAL:  # a kernel before 5.14: memory comes as it is written
                    return
                self._high_water[slot] = before
                self._touched_bytes = PAGE_BYTES + sum(self._high_water)
                if error.errno == errno.EFAULT:  # what the kernel calls a page that it could not get
                    raise OSError(errno.ENOMEM, "no memory for a message") from error
                raise

    def _copy(self, start: int, data: Buffer) -> None:
        if isinstance(data, Parcel):
            for place, length, source in data.pieces:
                _write(self._data[start + place : start + place + length], source)
            start += data.offset
        self._data[start : start + len(data)] = data


class ArenaReader(_Arena):
    """
    A receiver's hold on an arena, or the supervisor's for a receiver that is dead.

    Args:
        fd: The file of :func:`create_arena`; may be closed afterwards.

    Raises:
        ProtocolError: Not an arena.
    """

    def get(self, slot: int, length: int, generation: int, offset: int = 0) -> bytes:
        """
        A copy of the message.

        Raises:
            ProtocolError: There is no such slot, it is shorter, or holds another message (also: while it was copied).
        """
        data = bytes(self._range(slot, length, generation, offset))
        self._check(slot, generation)
        return data

    def lend(self, slot: int, length: int, generation: int) -> Any:
        """
        The slot itself, as an object with the buffer protocol, of which weak references can be made: it ends when the last view of it does.

        Raises:
            ProtocolError: There is no such slot, it is shorter, or holds another message.
        """
        self._range(slot, length, generation)
        return _lent_type(self.slot_bytes).from_buffer(self._mapping, PAGE_BYTES + slot * self.slot_bytes)

    def is_over(self, slot: int, generation: int) -> bool:
        """Whether a message lay there once and was released."""
        word = self._words[_WORDS + slot] if 0 <= slot < self.slots else 0
        return 0 < generation <= word >> 1 and word != generation << 1 | 1

    def mark(self, slot: int, generation: int, mark: int) -> None:
        """Set the mark of a slot, if it holds that message."""
        if 0 <= slot < self.slots and self._words[_WORDS + slot] == generation << 1 | 1:
            self._words[_MARKS + slot] = mark

    def release_marked(self, mark: int) -> None:
        """Give back every slot with that mark: who held it is dead."""
        for slot in range(self.slots):
            word = self._words[_WORDS + slot]
            if word & 1 and self._words[_MARKS + slot] == mark:
                _release(self._words, slot, word >> 1)

    def view(self, slot: int, length: int, generation: int, offset: int = 0) -> memoryview:
        """
        The message itself, read-only. It holds what it says until the slot is released, and the memory for as long as it lives.

        Raises:
            ProtocolError: There is no such slot, it is shorter, or holds another message.
        """
        return self._range(slot, length, generation, offset).toreadonly()

    def release(self, slot: int, generation: int) -> bool:
        """
        Give the slot back to its sender.

        Returns:
            Whether it was that message's until now. A slot that was released before is left alone.

        Raises:
            ProtocolError: There is no such slot.
        """
        if not 0 <= slot < self.slots:
            raise ProtocolError(f"arena: slot {slot} of {self.slots}")
        return _release(self._words, slot, generation)

    def _range(self, slot: int, length: int, generation: int, offset: int = 0) -> memoryview:
        if not 0 <= slot < self.slots or length < 0 or offset < 0 or offset + length > self.slot_bytes:
            raise ProtocolError(
                f"arena: {length} bytes at {offset} in slot {slot} of {self.slots}, each {self.slot_bytes} bytes"
            )
        self._check(slot, generation)
        start = PAGE_BYTES + slot * self.slot_bytes + offset
        return self._data[start : start + length]

    def _check(self, slot: int, generation: int) -> None:
        word = self._words[_WORDS + slot]
        if word != generation << 1 | 1:
            raise ProtocolError(
                f"arena: slot {slot} is {'in use' if word & 1 else 'free'} at generation {word >> 1}, not {generation}"
            )


@functools.lru_cache(maxsize=64)  # sizes are powers of two, but for what a stranger writes into a header
def _lent_type(size: int) -> Any:
    import ctypes  # noqa: PLC0415 - only for who receives large buffers

    # ctypes' own arrays know no weak references; a class of ours does.
    return type("Lent", (ctypes.c_ubyte * size,), {})


def _write(target: memoryview, source: Source) -> None:
    if callable(source):
        source(target)
        return
    for step in range(0, len(target), _COPY_BYTES):
        target[step : step + _COPY_BYTES] = source[step : step + _COPY_BYTES]


def _release(words: memoryview, slot: int, generation: int) -> bool:
    # No call stands between the look and the store: two threads may give back the same slot, and its sender may take it at once.
    index, held, free = _WORDS + slot, generation << 1 | 1, generation << 1
    if words[index] == held:
        words[index] = free
        return True
    return False
