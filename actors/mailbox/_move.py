"""
What is left to handle, moved to the front of a recorder's inbox, so that there is room behind it again.

Owns the plan of a move, how it is noted in the header, and how it is carried out. Must not know why anything is moved, nor what
stands in a frame.

::

    before   │ handled │ in flight │ dropped │ queue │ zeros            │
    after    │ in flight │ queue │ zeros                                │

A move is noted before it begins and can be done again from the note alone: the queue never overlaps the place that it is moved to,
and where the message in flight lies is noted anew as soon as it was copied. Messages dropped in between are counted in the same move.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

import attrs

from actors.errors import ProtocolError
from actors.mailbox import _layout as at
from actors.mailbox._frames import HEADER_BYTES, MAX_BODY_BYTES
from actors.mailbox._layout import OFFSET_BITS, OFFSET_MASK

if TYPE_CHECKING:
    from actors.mailbox._recorder import Recorder

__all__ = ["Move"]

_pack_header = Struct("!i").pack
_MAX_COUNT = 1 << 63


@attrs.frozen
class Move:
    """
    One move. All offsets are of the inbox, in bytes.

    Attributes:
        end: Where what was read ends.
        flight: Where the message in flight begins, not its frame; 0 for none.
        flight_stop: Where it ends; 0 for none.
        queue: Where the header of the first frame of the queue begins; if that frame is not moved as a whole, four bytes before the
            first message that is. *end* for an empty queue.
        head: Length of that frame's body, as far as it is moved; 0 for an empty queue.
        read: Bytes read since the beginning.
        handled: Bytes that stood before the message in flight since the beginning; where none is, before the queue.
    """

    end: int
    flight: int
    flight_stop: int
    queue: int
    head: int
    read: int
    handled: int

    @property
    def target(self) -> int:
        """Where the frame of the message in flight is to begin: at the front, or where it stands if it stands near that."""
        length = self.flight_stop - self.flight
        return 0 if HEADER_BYTES + length <= self.flight or not length else self.flight - HEADER_BYTES

    @property
    def front(self) -> int:
        """Where the queue is to begin."""
        length = self.flight_stop - self.flight
        return self.target + HEADER_BYTES + length if length else 0

    @property
    def stop(self) -> int:
        """Where what was read is to end."""
        return self.front + self.end - self.queue

    @property
    def fits(self) -> bool:
        """Whether it can be done: the queue is short enough to be copied in front of itself."""
        return self.stop <= self.queue

    @classmethod
    def read_back(cls, words: memoryview, inbox_bytes: int) -> Move:
        """
        The move that a header notes.

        Raises:
            ProtocolError: It notes nonsense.
        """
        flight, queue = words[at.MOVE_FLIGHT], words[at.MOVE_QUEUE]
        found = cls(
            words[at.MOVING] - 1,
            flight >> OFFSET_BITS,
            flight & OFFSET_MASK,
            queue >> OFFSET_BITS,
            queue & OFFSET_MASK,
            words[at.MOVE_READ],
            words[at.MOVE_HANDLED],
        )
        return found.check(inbox_bytes)

    def check(self, inbox_bytes: int) -> Move:
        """
        This move, once its numbers, which may be claims, are known to make one.

        Raises:
            ProtocolError: They do not.
        """
        if not (self.end <= inbox_bytes and self._is_sound()):
            raise ProtocolError(f"recorder: no move within {inbox_bytes} bytes: {self}")
        return self

    def _is_sound(self) -> bool:
        length = self.flight_stop - self.flight
        in_flight = (
            HEADER_BYTES <= self.flight < self.flight_stop and length <= MAX_BODY_BYTES
            if self.flight_stop
            else not self.flight
        )
        queued = (
            1 <= self.head <= MAX_BODY_BYTES and self.queue + HEADER_BYTES + self.head <= self.end
            if self.head
            else self.queue == self.end
        )
        behind = self.flight_stop <= self.queue + HEADER_BYTES
        return in_flight and queued and behind and self.fits and self._counts_up()

    def _counts_up(self) -> bool:
        if self.read > _MAX_COUNT:
            return False
        if not self.flight:
            return self.handled == self.read - self.stop >= 0
        body = self.target + HEADER_BYTES
        return body <= self.handled <= self.read - (self.stop - body) + HEADER_BYTES

    def perform(self, words: memoryview, inbox: memoryview, recorder: Recorder | None = None) -> None:
        """
        Carry it out, from the beginning or from wherever it came to before.

        Between the mark and its end stands no call and no loop: CPython lets a signal handler, or another thread, in at those only.

        Args:
            words: The header.
            inbox: The inbox, of which nothing behind :attr:`end` is in use.
            recorder: That of the process that handles the message in flight: what it says to be finished by where it stood before is
                found by where it stands.
        """
        end, flight, flight_stop, queue = self.end, self.flight, self.flight_stop, self.queue
        target, front, stop = self.target, self.front, self.stop
        body, first = target + HEADER_BYTES, front + HEADER_BYTES
        flight_header, queue_header = _pack_header(flight_stop - flight), _pack_header(self.head)
        base = self.handled - body if flight else self.read - stop
        gap = self.read - base - stop + HEADER_BYTES if flight else 0
        bits = 0
        if flight and recorder is not None:
            before = -(-recorder.frame_bits & OFFSET_MASK)  # how far it was moved already, always towards the front
            bits = (target << OFFSET_BITS) + before + front - flight_stop
        zeros = memoryview(bytes(end - stop))  # pages that nobody writes take no memory
        words[at.MOVE_FLIGHT] = flight << OFFSET_BITS | flight_stop
        words[at.MOVE_QUEUE] = queue << OFFSET_BITS | self.head
        words[at.MOVE_READ] = self.read
        words[at.MOVE_HANDLED] = self.handled
        words[at.MOVING] = end + 1
        if words[at.READ_END] == end:
            if flight:
                inbox[body:front] = inbox[flight:flight_stop]
                words[at.MOVE_FLIGHT] = body << OFFSET_BITS | front
                inbox[target:body] = flight_header
                words[at.NEXT] = target << OFFSET_BITS | body
                words[at.HANDLING] = body + 1
            else:
                words[at.HANDLING] = 0
                words[at.NEXT] = 0
            if queue < end:
                inbox[first:stop] = inbox[queue + HEADER_BYTES : end]
                inbox[front:first] = queue_header
            words[at.BASE] = base
            words[at.GAP_AT] = front
            words[at.GAP] = gap
            if words[at.DROPPING]:
                words[at.DROPPED] = words[at.DROP_TOTAL]
                words[at.DROPPING] = 0
            words[at.READ_END] = stop
        if recorder is not None:
            recorder.frame_bits = bits
        inbox[stop:end] = zeros
        words[at.MOVING] = 0
