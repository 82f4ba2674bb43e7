"""
The supervisor's hold on one channel: it lends cells, and takes them back from those that have died. Pure.

What stands in a cell is another process's word: it is range-checked, and what is wrong in it can spoil this channel, and nothing else.
"""

from __future__ import annotations

import array
from collections.abc import Callable, Collection

import attrs

from actors.mailbox import _channel_layout as at
from actors.mailbox._channel_cells import Cell, Verdict, Whereabouts, settle_get, settle_put
from actors.mailbox._channel_core import ChannelCore, pack_index

__all__ = ["ChannelKeeper", "Lent"]

_SUPERVISOR = 0  # its stamp
_COUNT_MASK = (1 << 64 - at.COUNT_SHIFT) - 1


@attrs.frozen
class Lent:
    """
    A cell as it is lent.

    Attributes:
        number: Which.
        kind: ``PUT`` or ``GET``.
        identity: What its holder stamps slots with.
        slot: The slot that it begins with.
        count: What it had put, or was done with, under those before.
    """

    number: int
    kind: int
    identity: int
    slot: int
    count: int


class ChannelKeeper:
    """
    Cells and spare slots of one channel. One thread at a time.

    Args:
        core: The channel.
        look: Gives what stands in the pipe of free slots and in that of full ones, and takes nothing out.
        max_deliveries: To how many consumers an item is given at most that each died with it.

    Attributes:
        excess: How many items stand in the channel beyond its bound, for they were given back by the dead.
    """

    def __init__(
        self, core: ChannelCore, look: Callable[[], tuple[Collection[int], Collection[int]]], max_deliveries: int
    ) -> None:
        self.core = core
        self._look = look
        self._max_deliveries = max_deliveries
        self._spares: list[int] = []
        self._resting: dict[int, list[tuple[int, int]]] = {at.PUT: [], at.GET: []}
        self._used = 0
        self._identities = 0
        self._lent: dict[int, Lent] = {}
        self.excess = 0
        self._taken = bytearray(at.INDEX_BYTES)

    def fill(self) -> None:
        """Make every place free: once, before anybody has a cell."""
        layout = self.core.layout
        for first in range(1, layout.maxsize + 1, at.PER_PAGE):
            places = range(first, min(first + at.PER_PAGE, layout.maxsize + 1))
            self.core.free.give(array.array("I", places).tobytes())
        self._spares.extend(range(layout.slots, layout.maxsize, -1))

    def lend(self, kind: int) -> Lent | None:
        """
        Lend a cell; None if all are lent.

        Args:
            kind: ``PUT`` or ``GET``.
        """
        resting = self._resting[kind]
        if not self._spares or (not resting and self._used >= self.core.layout.cells):
            return None
        if resting:
            number, count = resting.pop()
        else:
            number, count = self._used, 0
            self._used += 1
        self._identities += 1
        lent = Lent(number, kind, self._identities, self._spares.pop(), count)
        words, base = self.core.words, self.core.layout.cell_word(number)
        words[self.core.layout.slot_word(lent.slot) + at.STAMP] = lent.identity
        words[base + at.IDENTITY] = lent.identity
        self._write(number, kind, lent.slot, count)
        words[base + at.KIND] = kind
        words[at.LENT] = self._used
        self._lent[number] = lent
        return lent

    def settle(self, numbers: Collection[int], *, in_order: bool) -> int:
        """
        Take cells back whose process has ended, or lets go of the channel.

        Args:
            numbers: The cells.
            in_order: Whether its holder was asked to end, or lives: then nobody has died with the item that it held.

        Returns:
            How many items too many consumers have died of; they are done with.
        """
        # One look for all of them, which may be a thousand: their process makes no step any more, and what is settled bears another stamp.
        seen: list[Whereabouts] = []
        return sum(self._settle(self._lent.pop(number), seen, in_order=in_order) for number in numbers)

    def repay(self) -> None:
        """Take out the places that items given back have taken beyond the bound, as far as there are any."""
        view = memoryview(self._taken)
        while self.excess and self.core.free.take(view):
            slot = view.cast("I")[0]
            if 1 <= slot <= self.core.layout.slots:
                self._keep(slot)
            self.excess -= 1

    def _settle(self, lent: Lent, seen: list[Whereabouts], *, in_order: bool) -> int:
        cell = self._read(lent)
        if cell is None:
            return 0  # written over: what it had is lost to this channel
        fatal = False
        if lent.kind == at.PUT:
            verdict = settle_put(cell, self._whereabouts(cell, seen))
        else:
            fatal = not (in_order or cell.at_rest or cell.returning) and self._count_delivery(cell.claim)
            verdict = settle_get(cell, self._whereabouts(cell, seen), is_done=fatal)
        self._apply(lent, verdict)
        return int(fatal)

    def _apply(self, lent: Lent, verdict: Verdict) -> None:
        core = self.core
        if verdict.spare:
            self._keep(verdict.spare)
        for slot, pipe in ((verdict.place, core.free), (verdict.again, core.full)):
            if slot:
                core.words[core.layout.slot_word(slot) + at.STAMP] = _SUPERVISOR
                pipe.give(pack_index(slot))
        self.excess += verdict.excess
        self._write(lent.number, lent.kind, 0, verdict.count)
        self._resting[lent.kind].append((lent.number, verdict.count))

    def _count_delivery(self, slot: int) -> bool:
        words, word = self.core.words, self.core.layout.slot_word(slot) + at.LENGTH
        deliveries = (words[word] >> at.DELIVERY_SHIFT & at.DELIVERY_MASK) + 1
        words[word] = (words[word] & ~(at.DELIVERY_MASK << at.DELIVERY_SHIFT)) | deliveries << at.DELIVERY_SHIFT
        return deliveries >= self._max_deliveries

    def _read(self, lent: Lent) -> Cell | None:
        words, base = self.core.words, self.core.layout.cell_word(lent.number)
        claim = self.core.claims[(base + at.CLAIM) * 2]
        return Cell.read(lent.identity, words[base + at.OWN], claim, words[base + at.INTENT], self.core.layout.slots)

    def _write(self, number: int, kind: int, slot: int, count: int) -> None:
        words, base = self.core.words, self.core.layout.cell_word(number)
        words[base + at.CLAIM] = 0
        words[base + at.OWN] = (count & _COUNT_MASK) << at.COUNT_SHIFT | slot
        words[base + at.INTENT] = count if kind == at.PUT else 0
        words[base + at.WAITING] = 0

    def _keep(self, slot: int) -> None:
        self.core.words[self.core.layout.slot_word(slot) + at.STAMP] = _SUPERVISOR
        self._spares.append(slot)

    def _whereabouts(self, cell: Cell, seen: list[Whereabouts]) -> Whereabouts:
        if cell.at_rest:
            return Whereabouts((), (), (), self._stamp)
        if not seen:
            free, full = self._look()
            # After the pipes: what has left them by then was claimed before.
            seen.append(Whereabouts(free, full, set(map(self._claim_of, self._lent)), self._stamp))
        return seen[0]

    def _claim_of(self, number: int) -> int:
        """What a cell has claimed; 0 while that is on its way back, when its stamp says enough."""
        words, claims, base = self.core.words, self.core.claims, self.core.layout.cell_word(number)
        at_word = (base + at.CLAIM) * 2
        claim = claims[at_word]
        returning = words[base + at.INTENT] == at.RETURNING
        return 0 if returning or claims[at_word] != claim else claim

    def _stamp(self, slot: int) -> int:
        return self.core.words[self.core.layout.slot_word(slot) + at.STAMP]
