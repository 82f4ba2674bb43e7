"""
What lies beside a message: large buffers, which are copied once, straight into the slot of an arena that carries the message.

Owns the places of buffers. Must not know how values become bytes, nor what an arena is.

A slot holds the buffers first, each at a multiple of 64 bytes, and then the body: the message as msgpack, in which ``[code, start,
length]`` stands for a buffer. Numbers in a body are claims: :func:`take` checks them against what is really there.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from actors.errors import ProtocolError
from actors.mailbox._frames import MAX_BODY_BYTES, MAX_FRAME_BYTES

__all__ = [
    "ALARM",
    "LARGE_BUFFER_BYTES",
    "Bulky",
    "Cargo",
    "Parcel",
    "Piece",
    "Source",
    "largest_parcel",
    "size_of",
    "take",
]

LARGE_BUFFER_BYTES = 16 * 1024
"""Buffers of so many bytes lie beside the message. Below, a copy costs less than the book-keeping."""

_ALIGNMENT = 64  # of a cache line, and what numpy asks for at most

Source = memoryview | Callable[[memoryview], object]
"""The bytes, in format ``"B"``, or what writes them into a view of just their length."""

Piece = tuple[int, int, Source]
"""Where it begins, how long it is, what it is."""


class Bulky(Exception):  # noqa: N818 - internal, and always caught where it is asked for
    """A value holds a large buffer: encode it again, with a :class:`Cargo`."""


@attrs.define
class Cargo:
    """
    The buffers of one message, as they are found.

    Attributes:
        pieces: In the order of their places.
        payload: Bytes of all buffers, without the gaps between them.
    """

    pieces: list[Piece] = attrs.Factory(list)
    payload: int = 0
    _size: int = 0

    def add(self, source: Source, length: int) -> list[int]:
        """
        Take a buffer; it must not change until it is copied.

        Returns:
            Where it begins and its length.
        """
        start = self.size
        self.pieces.append((start, length, source))
        self.payload += length
        self._size = start + length
        return [start, length]

    @property
    def size(self) -> int:
        """Bytes from the start of the slot to the end of the last buffer, and the gap behind it: where the body begins."""
        return -(-self._size // _ALIGNMENT) * _ALIGNMENT


class _Alarm(Cargo):
    def add(self, source: Source, length: int) -> list[int]:  # noqa: ARG002 - as Cargo's
        raise Bulky


ALARM = _Alarm()
"""Takes nothing: the first large buffer raises :class:`Bulky`."""


class Parcel(bytes):
    """
    One encoded message and what lies beside it.

    Attributes:
        pieces: The buffers.
        offset: Where the message begins, behind the buffers.
        payload: Bytes of all buffers.
    """

    pieces: tuple[Piece, ...]
    offset: int
    payload: int

    @classmethod
    def make(cls, message: bytes, cargo: Cargo) -> Parcel:
        """One of a message and the buffers that it refers to."""
        parcel = cls(message)
        parcel.pieces, parcel.offset, parcel.payload = tuple(cargo.pieces), cargo.size, cargo.payload
        return parcel

    @property
    def counted(self) -> int:
        """What the bound of a message counts: its buffers, and the rest if that alone fits no frame."""
        return self.payload + (len(self) if len(self) > MAX_BODY_BYTES else 0)


def size_of(message: bytes | bytearray | memoryview) -> int:
    """Bytes of a message and of all that lies beside it, gaps included."""
    return len(message) + (message.offset if isinstance(message, Parcel) else 0)


def largest_parcel(max_bytes: int) -> int:
    """How long a parcel is at most whose message keeps to *max_bytes*: its gaps, and a body that fits a frame, are not counted."""
    return max_bytes + max_bytes * _ALIGNMENT // LARGE_BUFFER_BYTES + 2 * MAX_FRAME_BYTES


def take(beside: memoryview, place: list[object]) -> memoryview:
    """
    The buffer at a place that a body names.

    Raises:
        ProtocolError: It is not within what lies beside the message.
    """
    match place:
        case [int(start), int(length)] if 0 <= start <= len(beside) and 0 <= length <= len(beside) - start:
            return beside[start : start + length]
    raise ProtocolError(f"a buffer at {repr(place)[:60]} of {len(beside)} bytes")
