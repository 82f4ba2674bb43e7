"""
A drop that a dead process had begun: what it concerned, and its end. For the supervisor; every number is a claim.

Owns the reading of DROP_FROM and DROP_TO. Must not know what stands in a frame. The side of the living process is
:mod:`actors.mailbox._queue`.
"""

from __future__ import annotations

from actors.errors import ProtocolError
from actors.mailbox import _layout as at
from actors.mailbox._frames import HEADER_BYTES, MAX_BODY_BYTES
from actors.mailbox._layout import OFFSET_BITS, OFFSET_MASK
from actors.mailbox._move import Move

__all__ = ["finish", "unfinished"]

_MAX_DROPPED = 1 << 62


def unfinished(words: memoryview, inbox: memoryview) -> tuple[bytes, ...]:
    """
    The frames, or parts of them, with the messages that were being dropped; empty when none were.

    Args:
        words: The header.
        inbox: The inbox, in order but for the drop.

    Raises:
        ProtocolError: The file was written over.
    """
    if not words[at.DROPPING]:
        return ()
    end = _read_end(words, inbox)
    start, offset = _place(words[at.DROP_FROM], inbox, end)
    keep = _place(words[at.DROP_TO], inbox, end)[1]
    found = []
    while offset < keep:
        stop = _frame_stop(inbox, start, end)
        found.append(bytes(inbox[max(offset, start + HEADER_BYTES) : min(stop, keep)]))
        start = offset = stop
    return tuple(body for body in found if body)


def finish(words: memoryview, inbox: memoryview) -> None:
    """
    Take out and count the messages that were being dropped, if any were.

    Raises:
        ProtocolError: The file was written over.
    """
    if not words[at.DROPPING]:
        return
    end = _read_end(words, inbox)
    first = _place(words[at.DROP_FROM], inbox, end)
    keep = _place(words[at.DROP_TO], inbox, end)
    if words[at.DROP_TOTAL] > _MAX_DROPPED or first[1] > keep[1]:
        raise ProtocolError(f"recorder: {words[at.DROP_TOTAL]} dropped with those from {first[1]} to {keep[1]}")
    if words[at.NEXT] & OFFSET_MASK < words[at.DROP_FROM] & OFFSET_MASK:
        _behind_flight(words, inbox, end, words[at.DROP_FROM] & OFFSET_MASK, keep).perform(words, inbox)
        return
    words[at.DROPPED] = words[at.DROP_TOTAL]
    words[at.NEXT] = words[at.DROP_TO]
    words[at.DROPPING] = 0


def _behind_flight(words: memoryview, inbox: memoryview, end: int, flight_stop: int, keep: tuple[int, int]) -> Move:
    """The move that takes out what stands behind the message in flight."""
    flight = words[at.HANDLING] - 1
    if not 0 <= flight < flight_stop:
        raise ProtocolError(f"recorder: handles offset {flight}, and drops from {flight_stop} on")
    start, offset = keep
    queue, head = end, 0
    if offset < end:
        queue = start if offset == start else offset - HEADER_BYTES
        head = _frame_stop(inbox, start, end) - queue - HEADER_BYTES
    read, handled = at.count_at(words, end), at.count_at(words, flight)
    return Move(end, flight, flight_stop, queue, head, read, handled).check(len(inbox))


def _read_end(words: memoryview, inbox: memoryview) -> int:
    end = int(words[at.READ_END])
    if end > len(inbox):
        raise ProtocolError(f"recorder: {end} bytes read into an inbox of {len(inbox)}")
    return end


def _place(word: int, inbox: memoryview, end: int) -> tuple[int, int]:
    """Start of the frame and offset in it: the start of the next one where it is the end of one."""
    start, offset = word >> OFFSET_BITS, word & OFFSET_MASK
    if not start <= offset <= end:
        raise ProtocolError(f"recorder: drops at {offset} of a frame at {start}, of {end} bytes read")
    if offset == end:
        return end, end
    stop = _frame_stop(inbox, start, end)
    if offset == stop:
        return offset, offset
    if start != offset and not start + HEADER_BYTES <= offset < stop:
        raise ProtocolError(f"recorder: drops at {offset} outside of its frame {start} to {stop}")
    return start, offset


def _frame_stop(inbox: memoryview, start: int, end: int) -> int:
    header = bytes(inbox[start : start + HEADER_BYTES])
    length = int.from_bytes(header, "big", signed=True)
    if not 1 <= length <= MAX_BODY_BYTES or start + HEADER_BYTES + length > end:
        raise ProtocolError(f"recorder: frame of {length} bytes at {start} does not end within {end} read")
    return start + HEADER_BYTES + length
