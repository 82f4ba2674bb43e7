"""
Which messages of a full mailbox are dropped, and who is to be told of each. Pure.

Owns the choice of the oldest and what is kept of a message that nobody will handle. Must not know where messages stand, nor do
anything about them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import attrs

from actors.errors import ProtocolError
from actors.mailbox._frames import HEADER_BYTES
from actors.mailbox._reader import MessageReader, count_messages, peek_message, read_message
from actors.mailbox._shapes import ASK, LARGE

__all__ = ["Bounds", "Dropped", "asker", "choose_oldest", "count_waiting", "sort_out"]

_OFFSET_BITS = 32


@attrs.frozen
class Bounds:
    """
    How much an actor reads ahead of its handlers.

    Attributes:
        most_bytes: Bytes of frames; 1 or above.
        most_messages: Messages; 1 or above, or None for any number.
        drops: Whether the oldest make room for what is newer.
    """

    most_bytes: int
    most_messages: int | None = None
    drops: bool = False

    @property
    def counts(self) -> bool:
        """Whether messages have to be counted."""
        return self.most_messages is not None

    def leave_room(self, waiting_bytes: int, waiting: int) -> bool:
        """Whether more may be read while so much waits."""
        return waiting_bytes < self.most_bytes and (self.most_messages is None or waiting < self.most_messages)

    def excess(self, waiting: int) -> int:
        """How many messages are too many."""
        return 0 if self.most_messages is None else max(0, waiting - self.most_messages)

    def are_met(self, waiting_bytes: int, waiting: int) -> bool:
        """Whether no more than that waits."""
        return waiting_bytes <= self.most_bytes and not self.excess(waiting)


@attrs.define
class Dropped:
    """
    Messages that nobody will handle.

    Attributes:
        count: How many they are.
        handlers: How many of them name which handler; None where that is not known.
        asks: Caller and id of those that somebody waits for.
        larges: Of those that lie in an arena: arena, slot, length, generation, offset.
    """

    count: int = 0
    handlers: Counter[str | None] = attrs.Factory(Counter)
    asks: list[tuple[int, int]] = attrs.Factory(list)
    larges: list[tuple[int, int, int, int, int]] = attrs.Factory(list)

    def add(self, message: Any) -> None:
        """Count one: an array that was sent, opaque; None for bytes that are none."""
        self.count += 1
        if message is None:
            self.handlers[None] += 1
        elif message[0] == LARGE:
            _kind, arena_id, slot, length, generation, offset = message
            self.larges.append((arena_id, slot, length, generation, offset))
            self.handlers[None] += 1
        else:
            self.handlers[message[1]] += 1
            if message[0] == ASK:
                self.asks.append((message[4], message[5]))


def choose_oldest(
    pieces: Iterable[tuple[int, int, bytes]], end: int, most_bytes: int, fewer: int
) -> tuple[int, Dropped]:
    """
    Choose as many of the oldest messages as it takes to meet the bounds.

    Args:
        pieces: The frames that wait, or parts of them: where the frame starts, where its first message begins, and the bytes from there.
        end: Where what waits ends.
        most_bytes: How many bytes may wait.
        fewer: How many messages have to go at least.

    Returns:
        Where the first message stands that is kept (start of its frame in the upper half, offset in the lower; *end* for none), and
        those before it.
    """
    dropped, reader = Dropped(), MessageReader(opaque=True)
    for start, offset, body in pieces:
        for message, begin in _messages(reader, body):
            place = offset + begin
            if place == start + HEADER_BYTES:
                place = start  # the header of a frame stays with its first message
            if end - place <= most_bytes and dropped.count >= fewer:
                return start << _OFFSET_BITS | place, dropped
            dropped.add(message)
    return end << _OFFSET_BITS | end, dropped


def sort_out(bodies: Iterable[bytes]) -> Dropped:
    """All messages of these frames, or parts of them."""
    dropped, reader = Dropped(), MessageReader(opaque=True)
    for body in bodies:
        for message, _begin in _messages(reader, body):
            dropped.add(message)
    return dropped


def count_waiting(bodies: Iterable[bytes]) -> int:
    """How many messages these frames hold; what is no message counts as one, up to the end of its frame."""
    total = 0
    for body in bodies:
        try:
            total += count_messages(body)
        except ProtocolError:
            total += sort_out([body]).count
    return total


def asker(data: bytes | memoryview) -> tuple[int, int] | None:
    """
    Caller and id of a large message that somebody waits for; None for one that nobody does.

    Raises:
        ProtocolError: It is no message.
    """
    if peek_message(data)[0] != ASK:
        return None
    message: Any = read_message(data, opaque=True)
    return message[4], message[5]


def _messages(reader: MessageReader, body: bytes) -> Iterator[tuple[Any, int]]:
    """Each message of a frame, and where in *body* it begins; None for the rest of it once that is no message."""
    begin = 0
    try:
        reader.feed(body)
        for message in reader:
            yield message, begin
            begin = reader.consumed
    except ProtocolError:
        yield None, begin
