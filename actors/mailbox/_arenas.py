"""
All arenas that one process sends from: warm where they are used, given back where they are not.

Owns the choice of a slot, the bound and the return of memory. Must not know who makes arenas, nor who reads from them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from actors.mailbox import _layout as at
from actors.mailbox._arena import ArenaWriter, Buffer, Slot, slot_size_for, slots_for
from actors.mailbox._cargo import size_of
from actors.mailbox._layout import PAGE_BYTES

__all__ = ["IDLE_SECONDS", "Arenas"]

DEFAULT_BOUND_BYTES = 256 * 1024 * 1024
IDLE_SECONDS = 5.0
"""Memory that was not used for so long goes back to the system."""

Later = Callable[[float, Callable[[], object]], object]


class Arenas:
    """
    A class of arenas per slot size, more of them as needed, up to a bound.

    Any thread, and inside itself. It holds no lock; two threads that find everything in use may both have an arena made. The first
    free slot of the first arena is taken, so those behind are idle as soon as a burst is over.

    Args:
        make: Has an arena made of ``(slot_bytes, slots)`` and gives its id and a descriptor, which is closed here once
            it is mapped. It may block; what it raises leaves :meth:`put`.
        bound_bytes: How much memory the arenas may take together. A bound of what is written, not of the slots' sizes.
        retired: Told the id of each arena that was given up, so that its other holders can forget it.
        later: Has a function called after so many seconds, in any thread; None where memory is given back by need alone.
    """

    def __init__(
        self,
        make: Callable[[int, int], tuple[int, int]],
        *,
        bound_bytes: int = DEFAULT_BOUND_BYTES,
        retired: Callable[[int], None] = lambda _: None,
        later: Later | None = None,
    ) -> None:
        self._make = make
        self._bound_bytes = bound_bytes
        self._retired = retired
        self._later = later
        self._armed = later is None
        self._arenas: dict[int, ArenaWriter] = {}
        self._used: dict[int, float] = {}

    @property
    def held_bytes(self) -> int:
        """Memory that the arenas take together."""
        return sum(arena.touched_bytes for arena in list(self._arenas.values()))

    def in_use(self) -> int:
        """How many slots hold a message that nobody has released."""
        return sum(arena.in_use() for arena in list(self._arenas.values()))

    def put(self, data: Buffer, mark: int = 0) -> Slot | None:
        """
        Copy *data* into a slot of its size class.

        Args:
            data: One encoded message, of any length; a memoryview has format ``"B"``.
            mark: The slot's mark.

        Returns:
            What the frame has to carry, or None when the bound is reached and nothing is free.

        Raises:
            OSError: The machine has no memory for it.
            Whatever *make* raises.
        """
        slot_bytes = slot_size_for(size_of(data))
        needed = PAGE_BYTES + at.round_up(size_of(data))
        while True:
            try:
                slot = self._put(data, slot_bytes, mark)
                if slot is not None:
                    return slot
                if needed <= self._bound_bytes - self.held_bytes:
                    self._grow(slot_bytes)
                elif not self.trim():
                    return None
            except OSError:
                # What lies idle may be just what is missing.
                if not self.trim():
                    raise

    def _put(self, data: Buffer, slot_bytes: int, mark: int) -> Slot | None:
        budget = self._bound_bytes - self.held_bytes
        for arena in list(self._arenas.values()):
            slot = arena.put(data, budget, mark) if arena.slot_bytes == slot_bytes else None
            if slot is not None:
                self._used[arena.arena_id] = time.monotonic()
                self._look_later()
                return slot
        return None

    def _look_later(self) -> None:
        if not self._armed and self._later is not None:
            self._armed = True
            try:
                self._later(IDLE_SECONDS, self.look)
            except BaseException:  # of a signal handler: the next send arranges it
                self._armed = False
                raise

    def discard(self, slot: Slot) -> None:
        """Free a slot whose frame was never written."""
        arena = self._arenas.get(slot.arena_id)
        if arena is not None:
            arena.discard(slot)

    def discard_marked(self, mark: int) -> None:
        """Free every slot with that mark: what lies there is addressed to nobody any more."""
        for arena in list(self._arenas.values()):
            arena.free_marked(mark)

    def trim(self) -> list[int]:
        """Give up every arena that has no slot in use, and say which those were."""
        return [arena_id for arena_id, arena in list(self._arenas.items()) if self._give_up(arena_id, arena)]

    def look(self, now: float | None = None) -> None:
        """Give back what was not used for :data:`IDLE_SECONDS`, and look again later if anything is left."""
        self._armed = self._later is None
        since = (time.monotonic() if now is None else now) - IDLE_SECONDS
        for arena_id, arena in list(self._arenas.items()):
            if self._used.get(arena_id, 0.0) <= since and not self._give_up(arena_id, arena):
                arena.cool()
        if self._arenas:
            self._look_later()

    def _give_up(self, arena_id: int, arena: ArenaWriter) -> bool:
        # Not closed: another thread may be looking at it. The memory goes with the last reference.
        if not arena.retire() or self._arenas.pop(arena_id, None) is None:
            return False
        self._used.pop(arena_id, None)
        self._retired(arena_id)
        return True

    def close(self) -> None:
        """Give the memory back. What was sent stays with the receivers' mappings."""
        self._arenas.clear()

    def _grow(self, slot_bytes: int) -> None:
        arena_id, fd = self._make(slot_bytes, slots_for(slot_bytes))
        try:
            self._arenas[arena_id] = ArenaWriter(arena_id, fd)
        except BaseException:
            self._retired(arena_id)
            raise
        finally:
            os.close(fd)
