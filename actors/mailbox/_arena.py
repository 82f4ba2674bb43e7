"""
Where messages lie that do not fit a frame: slots of equal size in a shared memory file that one process fills.

Owns the slots' words and the copies. Must not know what a message says, nor who makes, hands out and forgets arenas.

An arena's file is a header page and then the slots. In the header one word of 8 bytes per slot says ``generation << 1 | in use``.
The writer sets the word of a free slot to the next generation, copies, and then sends the frame that names both; whoever is done
with the message clears the lowest bit, if the generation is still the one it knows. So a slot needs no lock. What a writer that
was killed before it sent the frame had taken stays taken, for as long as its arena lives. The frame that names slot and generation decides the order: nothing is chunked, nothing reassembled.

Everyone who has the file can write all of it. A reader checks ranges and generations and raises
:class:`~actors.errors.ProtocolError` where they do not fit; give receivers that do not trust each other arenas of their own.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable

import attrs

from actors.errors import ProtocolError, SpecError
from actors.mailbox import _layout as at
from actors.mailbox._layout import PAGE_BYTES

__all__ = [
    "ArenaReader",
    "ArenaWriter",
    "Arenas",
    "Slot",
    "create_arena",
    "slot_size_for",
    "slots_for",
]

ARENA_BYTES = 4 * 1024 * 1024
"""What the slots of one arena take together, if more than one fits."""
DEFAULT_BOUND_BYTES = 256 * 1024 * 1024

_MIN_SLOT_BYTES = 8 * 1024  # a frame holds 4 KiB; smaller slots would only make more classes
_MAX_SLOTS = 64  # per arena: a search looks at each word
_WORDS = 8  # index of the first slot's word in the header
_MAGIC = int.from_bytes(b"actorARE", "little")
_GENERATION_MASK = (1 << 62) - 1  # fits a signed word after the shift, whatever the codec makes of it

_Buffer = bytes | bytearray | memoryview


@attrs.frozen
class Slot:
    """
    One message in an arena: what a frame carries instead of it.

    Attributes:
        arena_id: Which arena, unique in the system.
        slot: Which of its slots, from 0.
        length: Bytes of the message.
        generation: How often the slot was taken, so that an old name is known from a new one.
    """

    arena_id: int
    slot: int
    length: int
    generation: int


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

    def __init__(self, fd: int) -> None:
        self._mapping = at.map_file(fd, inherit=False)
        self._data = memoryview(self._mapping)
        self._words = self._data[:PAGE_BYTES].cast("Q")
        magic, self.slot_bytes, self.slots = self._words[0], self._words[1], self._words[2]
        size = len(self._data)
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

    def put(self, data: _Buffer, budget_bytes: int = sys.maxsize) -> Slot | None:
        """
        Copy *data* into the first free slot: those in front are warm.

        Args:
            data: At most a slot's size.
            budget_bytes: How much memory may be written that never was before.

        Returns:
            What the frame has to carry, or None when no slot is free or *data* is longer than a slot.
        """
        length = len(data)
        if length > self.slot_bytes:
            return None
        mark = at.round_up(length) - budget_bytes
        for slot in range(self.slots):
            if not self._words[_WORDS + slot] & 1 and self._high_water[slot] >= mark:
                taken = self._put_into(slot, data, length)
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

    def _put_into(self, slot: int, data: _Buffer, length: int) -> Slot | None:
        # The word is set first, so that nobody else takes the slot; no reader knows of it before the frame is written. No call
        # stands between the look and the store, nor in `except`: CPython lets a signal handler, or another thread, in at
        # calls, at the ends of loops and where functions begin.
        words, index = self._words, _WORDS + slot
        start = PAGE_BYTES + slot * self.slot_bytes
        if words[index] & 1 or self._retired:
            return None
        generation = self._generations[slot] + 1 & _GENERATION_MASK
        try:
            words[index] = generation << 1 | 1
            self._generations[slot] = generation
            self._taken += 1
            self._note_touched(slot, at.round_up(length))
            self._data[start : start + length] = data
            return Slot(self.arena_id, slot, length, generation)
        except BaseException:  # whatever a signal handler raised: nobody will ever name this message
            if words[index] == generation << 1 | 1:
                words[index] = generation << 1
            raise

    def _note_touched(self, slot: int, size: int) -> None:
        if size > self._high_water[slot]:
            self._high_water[slot] = size
            self._touched_bytes = PAGE_BYTES + sum(self._high_water)


class ArenaReader(_Arena):
    """
    A receiver's hold on an arena, or the supervisor's for a receiver that is dead.

    Args:
        fd: The file of :func:`create_arena`; may be closed afterwards.

    Raises:
        ProtocolError: Not an arena.
    """

    def get(self, slot: int, length: int, generation: int) -> bytes:
        """
        A copy of the message.

        Raises:
            ProtocolError: There is no such slot, it is shorter, or holds another message (also: while it was copied).
        """
        data = bytes(self._range(slot, length, generation))
        self._check(slot, generation)
        return data

    def view(self, slot: int, length: int, generation: int) -> memoryview:
        """
        The message itself, read-only. It holds what it says until the slot is released, and the memory for as long as it lives.

        Raises:
            ProtocolError: There is no such slot, it is shorter, or holds another message.
        """
        return self._range(slot, length, generation).toreadonly()

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

    def _range(self, slot: int, length: int, generation: int) -> memoryview:
        if not 0 <= slot < self.slots or not 0 <= length <= self.slot_bytes:
            raise ProtocolError(f"arena: {length} bytes in slot {slot} of {self.slots}, each {self.slot_bytes} bytes")
        self._check(slot, generation)
        start = PAGE_BYTES + slot * self.slot_bytes
        return self._data[start : start + length]

    def _check(self, slot: int, generation: int) -> None:
        word = self._words[_WORDS + slot]
        if word != generation << 1 | 1:
            raise ProtocolError(
                f"arena: slot {slot} is {'in use' if word & 1 else 'free'} at generation {word >> 1}, not {generation}"
            )


class Arenas:
    """
    All arenas that one process sends from: a class of arenas per slot size, more of them as needed, up to a bound.

    Any thread, and inside itself. It holds no lock; two threads that find everything in use may both have an arena made.

    Args:
        make: Has an arena made of ``(slot_bytes, slots)`` and gives its id and a descriptor, which is closed here once
            it is mapped. It may block; what it raises leaves :meth:`put`.
        bound_bytes: How much memory the arenas may take together. A bound of what is written, not of the slots' sizes.
        retired: Told the id of each arena that was given up, so that its other holders can forget it.
    """

    def __init__(
        self,
        make: Callable[[int, int], tuple[int, int]],
        *,
        bound_bytes: int = DEFAULT_BOUND_BYTES,
        retired: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._make = make
        self._bound_bytes = bound_bytes
        self._retired = retired
        self._arenas: dict[int, ArenaWriter] = {}

    @property
    def held_bytes(self) -> int:
        """Memory that the arenas take together."""
        return sum(arena.touched_bytes for arena in list(self._arenas.values()))

    def in_use(self) -> int:
        """How many slots hold a message that nobody has released."""
        return sum(arena.in_use() for arena in list(self._arenas.values()))

    def put(self, data: _Buffer) -> Slot | None:
        """
        Copy *data* into a slot of its size class.

        Args:
            data: One encoded message, of any length; a memoryview has format ``"B"``.

        Returns:
            What the frame has to carry, or None when the bound is reached and nothing is free.

        Raises:
            Whatever *make* raises.
        """
        slot_bytes = slot_size_for(len(data))
        needed = PAGE_BYTES + at.round_up(len(data))
        while True:
            budget = self._bound_bytes - self.held_bytes
            for arena in list(self._arenas.values()):
                slot = arena.put(data, budget) if arena.slot_bytes == slot_bytes else None
                if slot is not None:
                    return slot
            if needed <= budget:
                self._grow(slot_bytes)
            elif not self.trim():
                return None

    def discard(self, slot: Slot) -> None:
        """Free a slot whose frame was never written."""
        arena = self._arenas.get(slot.arena_id)
        if arena is not None:
            arena.discard(slot)

    def trim(self) -> list[int]:
        """Give up every arena that has no slot in use, and say which those were."""
        gone = []
        for arena_id, arena in list(self._arenas.items()):
            # Not closed: another thread may be looking at it. The memory goes with the last reference.
            if arena.retire() and self._arenas.pop(arena_id, None) is not None:
                gone.append(arena_id)
                self._retired(arena_id)
        return gone

    def close(self) -> None:
        """Give the memory back. What was sent stays with the receivers' mappings."""
        self._arenas.clear()

    def _grow(self, slot_bytes: int) -> None:
        arena_id, fd = self._make(slot_bytes, slots_for(slot_bytes))
        try:
            self._arenas[arena_id] = ArenaWriter(arena_id, fd)
        finally:
            os.close(fd)


def _release(words: memoryview, slot: int, generation: int) -> bool:
    held = bool(words[_WORDS + slot] == generation << 1 | 1)
    if held:
        words[_WORDS + slot] = generation << 1
    return held
