"""
Every arena of a system: who sends from it, who may read it, and when nobody can refer to it any more.

An arena is made for one incarnation of its sender. When that has ended, its slots that are still in use belong to messages that
stand in somebody's inbox; it is dropped when they are all released, or when every actor has gone past what stood in its inbox at
that moment: then a slot still marked was never sent. Any thread may ask; the pump alone drops.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable

import attrs

from actors import _descriptors
from actors.errors import ProtocolError
from actors.mailbox._arena import ArenaReader, create_arena
from actors.mailbox._layout import round_up
from actors.mailbox._lock import RLock
from actors.supervisor._trails import Trail

__all__ = ["ArenaBook"]

# A slot is at least this large, and one of them at most as large as the largest message, rounded up.
_SMALLEST_SLOT_BYTES = 4096
_MOST_SLOTS = 64
# A sender's own bound is one of bytes; this one keeps a broken one from taking the host's descriptors.
_MOST_ARENAS = 256


@attrs.define(eq=False)
class _Entry:
    descriptor: int
    owner: tuple[int, int]
    reader: ArenaReader
    holders: set[int] = attrs.Factory(set)
    trail: Trail | None = None


class ArenaBook:
    """
    The arenas of one system.

    Args:
        max_bytes: The largest message, in bytes.
        inherit: Whether what the user forks may read what the host was given; not where actors are forked, who would keep it.
    """

    def __init__(self, max_bytes: int, *, inherit: bool = False) -> None:
        self._max_bytes = max_bytes
        self._inherit = inherit
        self._entries: dict[int, _Entry] = {}
        self._ids = itertools.count(1)
        self._lock = RLock()  # a signal handler may come in, and send as well

    def make(self, owner: tuple[int, int], slot_bytes: int, slots: int) -> tuple[int, int]:
        """
        Make an arena for *owner*, a uid and an incarnation.

        Returns:
            Its id and its descriptor, which stays the book's.

        Raises:
            ProtocolError: Sizes that no sender of ours asks for.
            OSError: The machine refused.
        """
        if not (
            _SMALLEST_SLOT_BYTES <= slot_bytes <= 2 * self._max_bytes + _SMALLEST_SLOT_BYTES
            and 1 <= slots <= _MOST_SLOTS
        ):
            raise ProtocolError(f"an arena of {slots!r} slots of {slot_bytes!r} bytes is out of range")
        with self._lock:
            held = sum(entry.owner == owner for entry in self._entries.values())
            if held >= _MOST_ARENAS:
                raise ProtocolError(f"{held} arenas are more than one sender may have")
            with _descriptors.fork_lock:
                descriptor = create_arena(slot_bytes, slots)
                try:
                    # Mapped now: later there may be no descriptor left for it, and others write over the sizes in its header.
                    reader = ArenaReader(descriptor, (round_up(slot_bytes), slots), inherit=self._inherit)
                except BaseException:
                    os.close(descriptor)
                    raise
                _descriptors.own(descriptor)
            arena_id = next(self._ids)
            self._entries[arena_id] = _Entry(descriptor, owner, reader)
        return arena_id, descriptor

    def lend(self, arena_id: int, holder: int) -> int | None:
        """Note that *holder* maps the arena, and return its descriptor; None if there is no such arena any more."""
        with self._lock:
            entry = self._entries.get(arena_id)
            if entry is None:
                return None
            entry.holders.add(holder)
            return entry.descriptor

    def reader(self, arena_id: int, sender: int | None = None) -> ArenaReader:
        """
        Return the arena mapped for reading here.

        Args:
            arena_id: Which.
            sender: The uid whose it has to be, or None.

        Raises:
            ProtocolError: There is no such arena, or it is another sender's.
        """
        with self._lock:
            entry = self._entries.get(arena_id)
            if entry is None:
                raise ProtocolError(f"there is no arena {arena_id!r}")
            if sender is not None and entry.owner[0] != sender:
                raise ProtocolError(f"arena {arena_id} is not of the actor with uid {sender}")
            return entry.reader

    def release_marked(self, mark: int) -> None:
        """Release every slot with that mark: the incarnation that held them has ended."""
        for entry in list(self._entries.values()):
            if entry.holders:
                entry.reader.release_marked(mark)

    def orphan(self, owner: tuple[int, int], marks: Callable[[], dict[int, int]]) -> bool:
        """
        The incarnation *owner* has ended: its arenas go when nothing refers to them.

        Args:
            owner: A uid and an incarnation.
            marks: Gives for each actor how many bytes it has been sent so far.

        Returns:
            Whether there are any.
        """
        with self._lock:
            entries = [entry for entry in self._entries.values() if entry.owner == owner and entry.trail is None]
            if entries:
                now = marks()
                for entry in entries:
                    entry.trail = Trail(dict(now))
            return bool(entries)

    def forget_mark(self, uid: int) -> None:
        """What *uid* was sent so far will not all be handled: some of it is lost."""
        with self._lock:
            for entry in self._entries.values():
                if entry.trail is not None:
                    entry.trail.forget(uid)

    def sweep(self, handled: Callable[[int], int | None], *, quiet: bool) -> tuple[list[tuple[int, set[int]]], bool]:
        """
        Drop the orphaned arenas that nothing refers to.

        Args:
            handled: How many bytes an actor has handled; None if it is gone.
            quiet: Whether no answer waits to be read anywhere.

        Returns:
            Id and holders of each dropped arena, and whether orphans are left.
        """
        dropped: list[tuple[int, set[int]]] = []
        left = False
        for arena_id, entry in list(self._entries.items()):
            if entry.trail is None:
                continue
            if entry.reader.in_use() == 0 or entry.trail.is_past(handled, quiet=quiet):
                self._drop(arena_id)
                dropped.append((arena_id, entry.holders))
            else:
                left = True
        return dropped, left

    def retire(self, arena_id: int, owner: tuple[int, int]) -> set[int]:
        """
        Drop an arena that *owner* sends from no more and that nobody has to read from; return who has mapped it.

        Raises:
            ProtocolError: It is not that sender's.
        """
        with self._lock:
            entry = self._entries.get(arena_id)
        if entry is None or entry.owner != owner:
            raise ProtocolError(f"arena {arena_id!r} is not of {owner}")
        self._drop(arena_id)
        return entry.holders

    def _drop(self, arena_id: int) -> None:
        with self._lock:
            entry = self._entries.pop(arena_id)
        entry.reader.close()
        _descriptors.close(entry.descriptor)

    def close(self) -> None:
        """Drop every arena."""
        for arena_id in list(self._entries):
            self._drop(arena_id)

    def __len__(self) -> int:
        return len(self._entries)

    def in_use(self) -> int:
        """How many slots of all arenas hold a message, or are held by who keeps a view of one. Any thread."""
        total = 0
        for entry in list(self._entries.values()):
            with contextlib.suppress(ValueError):  # it was dropped at this moment: nothing was in use
                total += entry.reader.in_use()
        return total
