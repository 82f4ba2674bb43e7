"""
What an actor has read and not handled: how much it is, room behind it, and the oldest of it dropped for what is newer.

The recorder only ever adds to its inbox and empties it as a whole; this goes between. Of the actor's own process, and of the thread that
handles messages. Must not know what stands in a frame: where a message ends is said to it.

A drop goes: :meth:`Queue.begin_drop` notes which messages it concerns and how many have been dropped with them; who waits for one of them
is told, by the caller; :meth:`Queue.commit_drop` takes them out and counts them. After a SIGKILL between the two the supervisor does what
is left. While a message is in flight its successors can only be taken out by a move, see :mod:`actors.mailbox._move`.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct

from actors.mailbox import _layout as at
from actors.mailbox._frames import HEADER_BYTES
from actors.mailbox._layout import OFFSET_BITS, OFFSET_MASK, PAGE_BYTES
from actors.mailbox._move import Move
from actors.mailbox._recorder import Recorder

__all__ = ["Piece", "Queue", "buffer_bytes"]

Piece = tuple[int, int, bytes]
"""A frame or the rest of one: where the frame starts, where its first message in question begins, and the bytes from there."""

_MOVING_PAGES = 4  # the message in flight and its frame, twice
_unpack_length = Struct("!i").unpack_from


def buffer_bytes(mailbox_bytes: int, *, drops: bool) -> int:
    """
    How many bytes a recorder is to read ahead so that an actor can keep the last *mailbox_bytes*.

    Args:
        mailbox_bytes: What it may keep.
        drops: Whether it drops the oldest for what is newer: then what it keeps must find room in front of itself.
    """
    return 2 * mailbox_bytes + _MOVING_PAGES * PAGE_BYTES if drops else mailbox_bytes


class Queue:
    """
    The messages that wait in one recorder.

    Args:
        recorder: Of this process.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._words = recorder.words
        self._inbox = recorder._inbox
        self._pipe_bytes = recorder._pipe_bytes

    @property
    def dropped(self) -> int:
        """Messages dropped, over all incarnations."""
        return int(self._words[at.DROPPED])

    @property
    def dropping(self) -> bool:
        """Whether a drop was begun and not committed."""
        return bool(self._words[at.DROPPING])

    @property
    def end(self) -> int:
        """Where it ends."""
        return int(self._words[at.READ_END])

    def waiting_bytes(self, flight_stop: int = 0) -> int:
        """How many bytes wait; *flight_stop* as for :meth:`first`."""
        return self.end - (flight_stop or int(self._words[at.NEXT] & OFFSET_MASK))

    def last(self) -> int:
        """Where what is read next will begin, in the manner of NEXT."""
        return self.end << OFFSET_BITS | self.end

    def first(self, flight_stop: int = 0) -> int:
        """
        Where it begins, in the manner of NEXT: start of the frame in the upper half, offset of the message in the lower.

        Args:
            flight_stop: Where the message in flight ends; 0 if none is.
        """
        word = int(self._words[at.NEXT])
        if not flight_stop:
            return word
        start, offset = word >> OFFSET_BITS, word & OFFSET_MASK
        if offset == self._frame_stop(start):
            start = offset
        return start << OFFSET_BITS | flight_stop

    def pieces(self, first: int) -> Iterator[Piece]:
        """The frames from *first*, a place as of :meth:`first`, to the end."""
        start, offset = first >> OFFSET_BITS, first & OFFSET_MASK
        while offset < self.end:
            if offset == self._frame_stop(start):
                start = offset
            if offset == start:
                offset += HEADER_BYTES
            stop = self._frame_stop(start)
            yield start, offset, bytes(self._inbox[offset:stop])
            start = offset = stop

    def _frame_stop(self, start: int) -> int:
        return int(start + HEADER_BYTES + _unpack_length(self._inbox, start)[0])

    def _plan(self, flight_stop: int, first: int) -> Move:
        """The move of the message in flight and of what begins at *first*."""
        end = self.end
        start, offset = first >> OFFSET_BITS, first & OFFSET_MASK
        queue, head = end, 0
        if offset < end:
            if offset == self._frame_stop(start):
                start = offset
            queue = offset if offset == start else offset - HEADER_BYTES
            head = self._frame_stop(start) - queue - HEADER_BYTES
        words = self._words
        flight = words[at.HANDLING] - 1 if flight_stop else 0
        read = at.count_at(words, end)
        handled = at.count_at(words, flight) if flight_stop else read - (end - queue)
        return Move(end, flight, flight_stop, queue, head, read, handled)

    def can_take_out(self, flight_stop: int, keep: int) -> bool:
        """Whether all between the message in flight and *keep*, a place as of :meth:`first`, could be taken out now."""
        return self._is_at_rest() and self._plan(flight_stop, keep).fits

    def can_make_room(self, flight_stop: int = 0) -> bool:
        """Whether a read would find room after a move."""
        return self._room(flight_stop) is not None

    def make_room(self, flight_stop: int = 0) -> bool:
        """Move what is left to the front, if that gives room for a read; return whether it did."""
        move = self._room(flight_stop)
        if move is not None:
            move.perform(self._words, self._inbox, self._recorder)
        return move is not None

    def _room(self, flight_stop: int) -> Move | None:
        """The move that would give room for a read."""
        words = self._words
        # The first message after a death may stand alone before a gap. Its place counts, so nothing is moved before it is handled.
        before_gap = not flight_stop and words[at.GAP] and words[at.NEXT] & OFFSET_MASK < words[at.GAP_AT]
        if before_gap or not self._is_at_rest():
            return None
        move = self._plan(flight_stop, self.first(flight_stop))
        return move if move.fits and len(self._inbox) - move.stop >= self._pipe_bytes else None

    def _is_at_rest(self) -> bool:
        """Whether no read and no emptying is under way, or was interrupted and is to be finished first."""
        end = self.end
        behind = bytes(self._inbox[end : end + HEADER_BYTES])
        return not (self._recorder._busy or self._words[at.RESETTING] or any(behind))

    def begin_drop(self, first: int, keep: int, count: int) -> None:
        """
        Note that messages are being dropped.

        Args:
            first: Where the oldest of them stands, as :meth:`first` says.
            keep: The same of the first that is kept; the end for none.
            count: How many they are.
        """
        words = self._words
        total = words[at.DROPPED] + count
        words[at.DROP_FROM] = first
        words[at.DROP_TO] = keep
        words[at.DROP_TOTAL] = total
        words[at.DROPPING] = 1

    def commit_drop(self, flight_stop: int = 0) -> None:
        """
        Take the messages out that are being dropped, and count them.

        Args:
            flight_stop: Where the message in flight ends, right before them; 0 if none is any more.
        """
        words = self._words
        if flight_stop:
            self._plan(flight_stop, words[at.DROP_TO]).perform(words, self._inbox, self._recorder)
            return
        words[at.DROPPED] = words[at.DROP_TOTAL]
        words[at.NEXT] = words[at.DROP_TO]
        words[at.DROPPING] = 0
