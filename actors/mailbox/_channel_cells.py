"""
What a process that has died was in the middle of with a channel, told from the words it has left. Pure.

A slot is in exactly one place: in the pipe of free slots, in the pipe of full ones, or in the hands of one *cell*. A cell owns one slot
at rest. Who puts fills the slot that it owns, takes a free one in exchange, and gives the filled one away; who gets takes a full one, and
gives the one that it owns away. Each taking is one read of the kernel's, straight into the word CLAIM of the cell, and each giving one write: either has
happened or not, whatever is killed. Whether a *giving* has happened is what has to be found out.

Whoever takes a slot writes its identity into the slot's STAMP before it gives anything away. So a slot was given away if, looked for
in this order, it stands in the pipe, or is claimed by another cell, or bears another's stamp: one that was given away before the first look
and had left the pipe by then was in another's claim; one that had left that by the second look bears that one's stamp.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import attrs

from actors.mailbox import _channel_layout as at

__all__ = ["Cell", "Verdict", "Whereabouts", "settle_get", "settle_put"]


@attrs.frozen
class Cell:
    """
    What stands in a cell.

    Attributes:
        identity: Of whom it was lent to; never used again.
        slot: The slot that it owns at rest.
        count: Items that it has put, or is done with.
        claim: The slot that was read from a pipe, or 0. The same as *slot* when that exchange is over.
        returning: Whether the claim is on its way back.
    """

    identity: int
    slot: int
    count: int
    claim: int
    returning: bool = False

    @classmethod
    def read(cls, identity: int, own: int, claim: int, intent: int, slots: int) -> Cell | None:
        """The cell of these words; None if they cannot be, for they are another process's to write."""
        slot = own & at.SLOT_MASK
        if not (1 <= slot <= slots and 0 <= claim <= slots):
            return None
        return cls(identity, slot, own >> at.COUNT_SHIFT, claim, intent == at.RETURNING)

    @property
    def at_rest(self) -> bool:
        """Whether nothing was begun that is not over."""
        return self.claim in {0, self.slot}


@attrs.frozen
class Whereabouts:
    """
    Where slots were seen, looked at in the order of these attributes.

    Attributes:
        free: In the pipe of free slots.
        full: In the pipe of full ones.
        claims: In the claims of all other cells.
        stamp: Gives a slot's stamp.
    """

    free: Collection[int]
    full: Collection[int]
    claims: Collection[int]
    stamp: Callable[[int], int]

    def has_left(self, slot: int, identity: int) -> bool:
        """Whether the slot that was *identity*'s is in other hands by now."""
        return slot in self.free or slot in self.full or slot in self.claims or self.stamp(slot) != identity


@attrs.frozen
class Verdict:
    """
    What is to be done about a cell whose process has ended.

    Attributes:
        spare: A slot to be kept for the next cell, or 0.
        place: A slot to be put into the pipe of free ones, or 0: a place for an item.
        again: The slot of an item that another consumer is to get, or 0.
        excess: Whether a place has to be taken out for it, since this consumer had given one back.
        count: What the cell has put, or is done with, after all.
    """

    spare: int
    place: int
    again: int
    excess: bool
    count: int


def settle_put(cell: Cell, seen: Whereabouts) -> Verdict:
    """What a producer has left: its item is in the channel, or it is not and never was."""
    if cell.at_rest:
        return Verdict(cell.slot, 0, 0, excess=False, count=cell.count)
    if cell.returning:
        place = 0 if seen.has_left(cell.claim, cell.identity) else cell.claim
        return Verdict(cell.slot, place, 0, excess=False, count=cell.count)
    if seen.has_left(cell.slot, cell.identity):
        return Verdict(cell.claim, 0, 0, excess=False, count=cell.count + 1)
    return Verdict(cell.slot, cell.claim, 0, excess=False, count=cell.count)


def settle_get(cell: Cell, seen: Whereabouts, *, is_done: bool) -> Verdict:
    """
    What a consumer has left: an item that it held, and was not done with, goes to another.

    Args:
        cell: Its cell.
        seen: Where slots are.
        is_done: Whether what it held counts as done, since too many have died of it.
    """
    if cell.at_rest:
        return Verdict(cell.slot, 0, 0, excess=False, count=cell.count)
    if cell.returning:
        again = 0 if seen.has_left(cell.claim, cell.identity) else cell.claim
        return Verdict(cell.slot, 0, again, excess=False, count=cell.count)
    given = seen.has_left(cell.slot, cell.identity)
    if is_done:
        place = 0 if given else cell.slot
        return Verdict(cell.claim, place, 0, excess=False, count=cell.count + 1)
    return Verdict(0 if given else cell.slot, 0, cell.claim, excess=given, count=cell.count)
