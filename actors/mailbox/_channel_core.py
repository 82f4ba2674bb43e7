"""
The steps of a put and a get, in the order that keeps every item findable whatever is killed between two of them. Pure.

Every change of shared memory is one store of eight bytes or one system call. The comments name what a step must not come before;
:mod:`actors.mailbox._channel_cells` is the other half: it reads what was left.

A signal handler may raise between any two steps, too. What has been given away is then known from a *receipt*, a list that the same call
into C fills that writes to the pipe; :meth:`ChannelCore.finish_put` and :meth:`ChannelCore.take_back` do the rest.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Final

from actors.errors import ProtocolError
from actors.mailbox import _channel_layout as at
from actors.mailbox._channel_layout import ChannelLayout

__all__ = ["ChannelCore", "HeldCell", "Pipe", "pack_index"]

_ORDER: Final = sys.byteorder

# Read once for each item.
_WORDS_PER_SLOT: Final = at.SLOT_BYTES // 8
_SLOT_WORDS, _LENGTH, _LENGTH_MASK, _INLINE_BYTES = at.SLOT_WORDS, at.LENGTH, at.LENGTH_MASK, at.INLINE_BYTES
_CLOSED, _INTENT, _OWN, _COUNT_SHIFT, _INDEX_BYTES = at.CLOSED, at.INTENT, at.OWN, at.COUNT_SHIFT, at.INDEX_BYTES


def pack_index(slot: int) -> bytes:
    """A slot as it stands in a pipe."""
    return slot.to_bytes(at.INDEX_BYTES, _ORDER)


class Pipe:
    """
    One of the two pipes.

    Args:
        take: Reads one index into the view it is given; something false where there is none.
        give: Writes the bytes it is given, whole.
    """

    __slots__ = ("give", "take")

    def __init__(self, take: Callable[[memoryview], int | None], give: Callable[[bytes], int]) -> None:
        self.take = take
        self.give = give


class HeldCell:
    """
    A cell that was lent to this process.

    Attributes:
        number: Which.
        identity: Its own, for the stamps.
        base: Its first word.
        slot: The slot that it owns at rest.
        count: Items put or done with.
        target: Where the kernel writes what it claims.
        receipt: Not empty when what is to be given away in this exchange has been.
        busy: Whether a thread is in the middle of an exchange with it.
        clean: Whether the last put came to its end by itself.
        large: Bytes of the large item that is held.
    """

    __slots__ = (
        "base",
        "busy",
        "claim_at",
        "clean",
        "count",
        "identity",
        "large",
        "number",
        "receipt",
        "slot",
        "target",
    )

    def __init__(self, number: int, identity: int, slot: int, count: int, base: int, claims: memoryview) -> None:
        self.number = number
        self.identity = identity
        self.slot = slot
        self.count = count
        self.base = base
        self.claim_at = (base + at.CLAIM) * 2
        self.target = claims[self.claim_at : self.claim_at + 1].cast("B")
        self.receipt: list[int] = []
        self.busy = False
        self.clean = True
        self.large = 0


class ChannelCore:
    """
    One channel as a process has it.

    Args:
        layout: Of its memory.
        memory: The mapped part of it.
        free: The pipe of free slots.
        full: The pipe of full ones.
    """

    def __init__(self, layout: ChannelLayout, memory: memoryview, free: Pipe, full: Pipe) -> None:
        self.layout = layout
        self.bytes = memory
        self.words = memory.cast("Q")
        self.claims = memory.cast("I")
        self.free = free
        self.full = full
        self._slots = layout.slots
        self._slots_word = layout.slot_word(0)  # there is no such slot
        self._take_free, self._give_free = free.take, free.give
        self._take_full, self._give_full = full.take, full.give

    def cell(self, number: int, identity: int, slot: int, count: int) -> HeldCell:
        """The cell that the supervisor has lent by these numbers."""
        return HeldCell(number, identity, slot, count, self.layout.cell_word(number), self.claims)

    @property
    def is_closed(self) -> bool:
        """Whether nothing more may be put."""
        return bool(self.words[at.CLOSED])

    @property
    def slots_in_use(self) -> int:
        """How many slots go round: one for each item that may stand in the channel, and one for each cell that was ever lent."""
        return self.layout.maxsize + self.words[at.LENT]

    def close(self) -> None:
        """Have nothing more put."""
        self.words[at.CLOSED] = 1

    def release(self, cells: Iterable[HeldCell]) -> None:
        """Let go of the memory; nothing else may be called any more."""
        for view in (*(cell.target for cell in cells), self.claims, self.words, self.bytes):
            view.release()

    def unfinished(self) -> int:
        """How many items were put and are not done with; never fewer than there were at one moment of this call."""
        put, done = self.totals()
        return put - done

    def totals(self) -> tuple[int, int]:
        """
        How many items were ever put, and how many are done with.

        What is done is counted first: whatever is put or done meanwhile makes the difference larger, not smaller.
        """
        words, layout = self.words, self.layout
        bases = [layout.cell_word(cell) for cell in range(min(words[at.LENT], layout.cells))]
        done = sum(words[base + at.OWN] >> at.COUNT_SHIFT for base in bases if words[base + at.KIND] == at.GET)
        put = 0
        for base in bases:
            if words[base + at.KIND] == at.PUT:
                intent = words[base + at.INTENT]
                count = words[base + at.OWN] >> at.COUNT_SHIFT
                put += count if intent == at.RETURNING else max(intent, count)
        return int(put), int(done)

    # --- put --------------------------------------------------------------------------------------------------------------

    def store(self, cell: HeldCell, message: bytes) -> None:
        """Write a small item into the slot that the cell owns."""
        word = self._slots_word + cell.slot * _WORDS_PER_SLOT
        start = (word + _SLOT_WORDS) * 8
        length = len(message)
        self.bytes[start : start + length] = message
        self.words[word + _LENGTH] = length

    def describe_large(self, cell: HeldCell, length: int, beside: int) -> None:
        """Note that the item in the cell's slot lies in its stride: *beside* bytes, then *length* bytes of message."""
        word = self.layout.slot_word(cell.slot)
        self.words[word + at.BESIDE] = beside
        self.words[word + at.LENGTH] = length | at.LARGE_FLAG

    def intend(self, cell: HeldCell) -> bool:
        """Say that an item is about to come; False if the channel is closed. Whoever looks whether all is done waits for it."""
        words = self.words
        cell.receipt.clear()
        words[cell.base + _INTENT] = cell.count + 1
        if words[_CLOSED]:
            words[cell.base + _INTENT] = cell.count
            return False
        return True

    def publish(self, cell: HeldCell) -> bool:
        """Take a place and give the item that was stored; False if there is no place, and then the intent is over."""
        words, claims, claim_at = self.words, self.claims, cell.claim_at
        if not self._take_free(cell.target):
            words[cell.base + _INTENT] = cell.count
            return False
        claim = claims[claim_at]
        words[self._stamp_of(claim)] = cell.identity  # before the item is given: see _channel_cells
        cell.receipt.extend(map(self._give_full, (cell.slot.to_bytes(_INDEX_BYTES, _ORDER),)))
        cell.count = count = cell.count + 1
        words[cell.base + _OWN] = count << _COUNT_SHIFT | claim
        cell.slot = claim
        claims[claim_at] = 0
        return True

    def finish_put(self, cell: HeldCell) -> None:
        """Bring an interrupted put to one of its ends: the item is in the channel, or its place is given back. May be done again."""
        words, claim = self.words, self.claims[cell.claim_at]
        own = words[cell.base + at.OWN]
        if claim and claim != own & at.SLOT_MASK:
            if words[cell.base + at.INTENT] == at.RETURNING or not cell.receipt:
                self._give_back(cell, claim, self.free)
            else:
                words[cell.base + at.OWN] = own = (own >> at.COUNT_SHIFT) + 1 << at.COUNT_SHIFT | claim
        cell.count, cell.slot = own >> at.COUNT_SHIFT, own & at.SLOT_MASK
        self.claims[cell.claim_at] = 0
        words[cell.base + at.INTENT] = cell.count

    def _give_back(self, cell: HeldCell, claim: int, pipe: Pipe) -> None:
        words = self.words
        if words[cell.base + at.INTENT] != at.RETURNING:
            words[self._stamp_of(claim)] = cell.identity
            cell.receipt.clear()
            words[cell.base + at.INTENT] = at.RETURNING
        if not cell.receipt:
            cell.receipt.extend(map(pipe.give, (pack_index(claim),)))

    # --- get --------------------------------------------------------------------------------------------------------------

    def take(self, cell: HeldCell) -> bool:
        """Claim the next item; False if there is none."""
        cell.receipt.clear()
        if not self._take_full(cell.target):
            return False
        self.words[self._stamp_of(self.claims[cell.claim_at])] = cell.identity
        return True

    def item_of(self, cell: HeldCell) -> tuple[int, int, int]:
        """
        The item that the cell has claimed.

        Returns:
            Where it begins, its length, and how many bytes before it belong to it; -1 for a small item, which lies in the mapped part.

        Raises:
            ProtocolError: Somebody has written over the channel's memory.
        """
        slot = self.claims[cell.claim_at]
        word = self._stamp_of(slot)
        described = self.words[word + _LENGTH]
        length = described & _LENGTH_MASK
        if described < at.LARGE_FLAG and length <= _INLINE_BYTES:
            return (word + _SLOT_WORDS) * 8, length, -1
        ahead = self.words[word + at.BESIDE]
        if not described & at.LARGE_FLAG or length + ahead > self.layout.stride:
            raise ProtocolError(f"channel: an item of {length} and {ahead} bytes in slot {slot}")
        return self.layout.stride_at(slot) + ahead, length, ahead

    def release_place(self, cell: HeldCell) -> None:
        """Give the slot that the cell owned for the place of the item that it holds."""
        cell.receipt.extend(map(self._give_free, (cell.slot.to_bytes(_INDEX_BYTES, _ORDER),)))

    def done(self, cell: HeldCell) -> None:
        """The item that the cell holds is done with. May be done again."""
        words, claim = self.words, self.claims[cell.claim_at]
        own = words[cell.base + at.OWN]
        if claim and claim != own & at.SLOT_MASK:
            words[cell.base + at.OWN] = own = (own >> at.COUNT_SHIFT) + 1 << at.COUNT_SHIFT | claim
        cell.count, cell.slot = own >> at.COUNT_SHIFT, own & at.SLOT_MASK
        self.claims[cell.claim_at] = 0

    def note_waiting(self, cells: Iterable[HeldCell], *, waits: bool) -> None:
        """Say whether whoever holds the items of these cells waits for more."""
        for cell in cells:
            self.words[cell.base + at.WAITING] = self.claims[cell.claim_at] if waits else 0

    def first_waiting(self) -> int:
        """The first cell that waits for more if all items that are not done with are held by such; else -1."""
        words, layout = self.words, self.layout
        unfinished = self.unfinished()  # before the looks: what is done with meanwhile was waited with by nobody
        waiting: dict[int, int] = {}
        for number in range(min(words[at.LENT], layout.cells)):
            base = layout.cell_word(number)
            claim = self.claims[(base + at.CLAIM) * 2]
            if claim and claim != words[base + at.OWN] & at.SLOT_MASK and words[base + at.WAITING] == claim:
                waiting.setdefault(claim, number)
        return min(waiting.values()) if waiting and len(waiting) >= unfinished else -1

    def take_back(self, cell: HeldCell) -> bool:
        """
        Put an item that was claimed, and not handed out, at the end of the channel. May be done again.

        Returns:
            False if its place was given to another item already: then the cell goes on holding it.
        """
        claim = self.claims[cell.claim_at]
        returning = self.words[cell.base + at.INTENT] == at.RETURNING
        if claim and claim != self.words[cell.base + at.OWN] & at.SLOT_MASK:
            if cell.receipt and not returning:
                return False
            self._give_back(cell, claim, self.full)
        self.claims[cell.claim_at] = 0
        self.words[cell.base + at.INTENT] = 0
        return True

    def _stamp_of(self, slot: int) -> int:
        if not 1 <= slot <= self._slots:
            raise ProtocolError(f"channel: slot {slot} of {self._slots}: somebody has written over its memory")
        return self._slots_word + slot * _WORDS_PER_SLOT
