"""
What a receiver holds of others' arenas: a slot is given back when its message is handled and no view of it lives any more.

Owns the life of a slot between its frame and its release. Must not know what a message says.

Two things keep a slot: the message that lies in it, until :meth:`Lease.settle`, and the views of its buffers that the message's values
stand on, wherever they have gone. While the message is being handled, the recorder says so, and the supervisor knows what to do if
this process is killed. A view that outlives the message is noted in the slot itself: its *mark* says which incarnation is to be rid of
it, before the message counts as handled. So there is no moment at which a killed receiver's slots are nobody's.

A view ends in any thread, also inside a signal handler and while the interpreter shuts down: the end of one takes no lock.
"""

from __future__ import annotations

import contextlib
import os
import weakref
from collections import deque
from typing import Any

from actors.errors import ProtocolError
from actors.mailbox._arena import ArenaReader

__all__ = ["ANSWER_MARK", "HELD_BYTES", "Holds", "Lease"]

HELD_BYTES = 128 * 1024 * 1024
"""So much one process keeps of others' memory by views. Beyond it, what arrives is copied: no sender stalls for what others collect."""

ANSWER_MARK = 1 << 63
"""Added to the mark of a slot with an answer, which its *sender* frees when the caller is gone; the others are the supervisor's to free."""

_Name = tuple[int, int, int]


class _Spare(weakref.ref[Any]):
    """
    A second note of the end of a view. Its callback is C: a signal handler that raises in the middle of the other one cannot undo it.
    """

    __slots__ = ("lease",)
    lease: Lease


class Lease:
    """
    One message's slot, as its receiver holds it.

    Attributes:
        beside: What lies beside the message; the values that are made of it stand on it. None once it is settled.
    """

    __slots__ = ("_arena", "_counted", "_end", "_holds", "_length", "_name", "_settled", "_spare", "beside")

    def __init__(self, holds: Holds, name: _Name, arena: ArenaReader, length: int) -> None:
        self._holds = holds
        self._name = name
        self._arena = arena
        self._length = length
        self._settled = False
        self._counted = False
        self._end: weakref.ref[Any] | None = None
        self._spare: _Spare | None = None
        self.beside: memoryview | None = None

    @property
    def is_new(self) -> bool:
        """Whether :meth:`begin` was not done yet."""
        return self.beside is None and not self._settled

    def begin(self) -> None:
        """
        Look at what lies beside the message. Again from the beginning if it is interrupted.

        Raises:
            ProtocolError: There is no such message.
        """
        holds, length = self._holds, self._length
        lent = self._arena.lend(self._name[1], length, self._name[2])
        view = memoryview(lent).cast("B")[:length].toreadonly()
        if not holds.may_keep(length):
            self.beside = memoryview(bytes(view))
            return
        end, spare = weakref.ref(lent, self._ended), _Spare(lent, holds.ends.append)
        # From here to the end of the append, which is C, CPython lets no signal handler and no other thread in.
        spare.lease = self
        self._end, self._spare, self.beside, self._counted = end, spare, view, True
        holds.changes.append(length)

    def _ended(self, _lent: object) -> None:
        """The last view is gone. In any thread."""
        self.end()
        # All is done: what would do it again lets go of the arena.
        with contextlib.suppress(ValueError):
            self._holds.ends.remove(self._spare)
        self._spare = None

    def end(self) -> None:
        """Count the last view as gone, and give the slot back if the message is settled. May be done again."""
        if self._counted:
            self._counted = False
            self._holds.changes.append(-self._length)
        if self._settled:
            self._release()

    def settle(self, *, answer: bool = False) -> None:
        """
        The message is handled, or delivered: its slot is given back now, or when the last view of it ends.

        Args:
            answer: Whether it was an answer, whose slot has its sender's mark already.
        """
        self.beside = None
        if not answer and self._lives():
            self._holds.mark(self._arena, self._name)
        # Whoever comes second of this and the end of the last view gives the slot back.
        self._settled = True
        if not self._lives():
            self._release()

    def _lives(self) -> bool:
        return self._end is not None and self._end() is not None

    def _release(self) -> None:
        self._holds.release(self._arena, self._name)


class Holds:
    """
    All that one process holds. Any thread, and inside itself.

    Args:
        mark: What says that a slot is this incarnation's; 0 for the host, with whom everything ends.

    Attributes:
        ends: Of views that are gone; looked at again before something new is held.
        changes: Bytes that are held more, or less, since they were counted. Two threads, or a thread and a view that ends within it,
            append as they like.
    """

    def __init__(self, mark: int) -> None:
        self._mark = mark
        self._leases: dict[_Name, Lease] = {}
        self._held = 0
        self.changes: deque[int] = deque()
        self.ends: deque[Any] = deque()
        self._pid = os.getpid()

    def open(self, arena: ArenaReader, arena_id: int, slot: int, generation: int, length: int) -> Lease:
        """
        Hold a message's slot, until it is settled. The same one again is the same lease.

        Args:
            arena: Where it lies.
            arena_id: The arena's.
            slot: Which of its slots.
            generation: Which message of it.
            length: Bytes that lie beside the message.

        Raises:
            ProtocolError: There is no such message.
        """
        self._look_again()
        name = (arena_id, slot, generation)
        lease = self._leases.get(name)
        if lease is None:
            lease = self._leases[name] = Lease(self, name, arena, length)
        if lease.is_new:
            try:
                lease.begin()
            except ProtocolError:
                self._leases.pop(name, None)
                raise
        return lease

    def _look_again(self) -> None:
        """Do what the end of a view did not come to. Each is noted until all of it is done."""
        while self.ends:
            with contextlib.suppress(IndexError, ValueError):  # another thread looks, too
                spare = self.ends[0]
                spare.lease.end()
                self.ends.remove(spare)

    def settle(self, arena_id: int, slot: int, generation: int) -> bool:
        """Settle the lease of an answer, if there is one: whoever delivered it was interrupted before. Returns whether there was."""
        lease = self._leases.get((arena_id, slot, generation))
        if lease is not None:
            lease.settle(answer=True)
        return lease is not None

    def __len__(self) -> int:
        return len(self._leases)

    # --- for leases -------------------------------------------------------------------------------------------------------

    def may_keep(self, length: int) -> bool:
        """Whether *length* bytes more may be held; the first ones may in any case."""
        with contextlib.suppress(IndexError):  # another thread counts, too
            while self.changes:
                # No call stands between these two, see Lease.begin().
                self._held += self.changes[0]
                del self.changes[0]
        return self._held <= 0 or self._held + length <= HELD_BYTES

    def mark(self, arena: ArenaReader, name: _Name) -> None:
        """Say in the slot itself who holds it."""
        if self._mark:
            arena.mark(name[1], name[2], self._mark)

    def release(self, arena: ArenaReader, name: _Name) -> None:
        """Give a slot back. May be done again."""
        if os.getpid() == self._pid:  # else this is a copy of the process, and the slot is the original's
            with contextlib.suppress(
                ValueError
            ):  # closed: its sender has ended, and nobody looks at its words any more
                arena.release(name[1], name[2])
        self._leases.pop(name, None)
