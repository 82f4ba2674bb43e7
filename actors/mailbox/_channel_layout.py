"""
The shared memory of a channel: where its words and items lie. Pure.

==============  ================================================================================================
what            where
==============  ================================================================================================
header          one page: sizes, whether it is closed, how many cells were ever lent
cells           64 bytes each: what one consumer or producer holds, see :mod:`actors.mailbox._channel_cells`
slots           1 KiB each: four words, then the item if it is small
strides         for each slot as much as the largest item takes; not mapped, and no memory until it is written
==============  ================================================================================================

Slots are numbered from 1, so that 0 is none.
"""

from __future__ import annotations

from typing import Final

import attrs

from actors.errors import SpecError
from actors.mailbox._cargo import largest_parcel

__all__ = [
    "BESIDE",
    "CELL_WORDS",
    "CLAIM",
    "CLOSED",
    "COUNT_SHIFT",
    "DELIVERY_MASK",
    "DELIVERY_SHIFT",
    "GET",
    "IDENTITY",
    "INDEX_BYTES",
    "INLINE_BYTES",
    "INTENT",
    "KIND",
    "LARGE_FLAG",
    "LENGTH",
    "LENGTH_MASK",
    "LENT",
    "MOST_MAXSIZE",
    "OWN",
    "PER_PAGE",
    "PUT",
    "RETURNING",
    "SLOT_BYTES",
    "SLOT_MASK",
    "SLOT_WORDS",
    "STAMP",
    "WAITING",
    "ChannelLayout",
    "capacity_of",
    "pipe_bytes_for",
]

_PAGE_BYTES: Final = 4096
INDEX_BYTES: Final = 4
PER_PAGE: Final = _PAGE_BYTES // INDEX_BYTES  # as many as one write takes, or leaves

# Words of the header.
CLOSED: Final = 8
LENT: Final = 16

# Words of a cell.
CELL_WORDS: Final = 8
IDENTITY: Final = 0
OWN: Final = 1
CLAIM: Final = 2
INTENT: Final = 3
KIND: Final = 4
WAITING: Final = 5  # the slot that it holds while it waits for another item, or 0

PUT: Final = 1
GET: Final = 2

# In the word OWN: how many items were put or done by this cell, and the slot that it owns.
COUNT_SHIFT: Final = 24
SLOT_MASK: Final = (1 << COUNT_SHIFT) - 1
# In the word INTENT: what was claimed is on its way back to where it came from.
RETURNING: Final = 1 << 62

# Words of a slot.
SLOT_WORDS: Final = 4
STAMP: Final = 0
LENGTH: Final = 1
BESIDE: Final = 2
# In the word LENGTH: the length, how many consumers died of the item, and whether it lies in its stride. So one store begins an item.
LENGTH_MASK: Final = (1 << 40) - 1
DELIVERY_SHIFT: Final = 40
DELIVERY_MASK: Final = (1 << 20) - 1
LARGE_FLAG: Final = 1 << 62

SLOT_BYTES: Final = 1024
INLINE_BYTES: Final = SLOT_BYTES - 8 * SLOT_WORDS

MOST_MAXSIZE: Final = 200_000
_DEFAULT_MAXSIZE: Final = 8192
_MOST_CELLS: Final = 4096
_LEAST_CELLS: Final = 64


def capacity_of(pipe_bytes: int) -> int:
    """
    How many indices a pipe of that size takes in any state.

    Its first page may be read in part, and is free again when all of it is read.
    """
    return (pipe_bytes // _PAGE_BYTES - 1) * PER_PAGE + 1


def pipe_bytes_for(maxsize: int) -> int:
    """How large a pipe has to be, at least, for a channel of *maxsize* items and as many cells as one may have."""
    slots = (maxsize or _DEFAULT_MAXSIZE) + _MOST_CELLS
    return (-(-(slots - 1) // PER_PAGE) + 1) * _PAGE_BYTES


@attrs.frozen
class ChannelLayout:
    """
    Where everything lies.

    Attributes:
        maxsize: Most items that stand in the channel.
        cells: Most consumers and producers.
        stride: Bytes that a large item takes at most.
    """

    maxsize: int
    cells: int
    stride: int

    @classmethod
    def plan(cls, maxsize: int, pipe_bytes: int, max_bytes: int) -> ChannelLayout:
        """
        The layout for what the pipes can hold.

        Args:
            maxsize: Items wanted; 0 for as many as are usual, 8192.
            pipe_bytes: Size of the smaller of the two pipes.
            max_bytes: The largest item.

        Raises:
            SpecError: The pipes that this user gets are too small for it.
        """
        capacity = capacity_of(pipe_bytes)
        chosen = maxsize or max(1, min(_DEFAULT_MAXSIZE, max(capacity - _MOST_CELLS, capacity // 2)))
        cells = min(_MOST_CELLS, capacity - chosen)
        if cells < _LEAST_CELLS:
            raise SpecError(
                f"maxsize={maxsize}: a pipe of {pipe_bytes} bytes, which is what this user gets now "
                f"(/proc/sys/fs/pipe-user-pages-soft), is enough for {max(0, capacity - _LEAST_CELLS)} at most"
            )
        return cls(chosen, cells, _round_up(largest_parcel(max_bytes)))

    @property
    def slots(self) -> int:
        """How many slots there are: one for each item and one for each cell."""
        return self.maxsize + self.cells

    @property
    def slots_at(self) -> int:
        """Where the slots begin, in bytes."""
        return _PAGE_BYTES + _round_up(self.cells * CELL_WORDS * 8)

    @property
    def mapped_bytes(self) -> int:
        """How much of the file is mapped: all but the strides."""
        return self.slots_at + _round_up(self.slots * SLOT_BYTES)

    @property
    def file_bytes(self) -> int:
        """Size of the whole file."""
        return self.mapped_bytes + self.slots * self.stride

    def cell_word(self, cell: int) -> int:
        """The first word of a cell, from 0."""
        return _PAGE_BYTES // 8 + cell * CELL_WORDS

    def slot_word(self, slot: int) -> int:
        """The first word of a slot, from 1."""
        return (self.slots_at + (slot - 1) * SLOT_BYTES) // 8

    def stride_at(self, slot: int) -> int:
        """Where a large item lies in the file, in bytes."""
        return self.mapped_bytes + (slot - 1) * self.stride


def _round_up(size: int) -> int:
    return -(-size // _PAGE_BYTES) * _PAGE_BYTES
