"""
Frames: length-prefixed runs of bytes, exactly what ``multiprocessing.connection.Connection.send_bytes`` writes.

Owns the header and its limits. Must not know what stands inside a frame, nor read or write anything: bytes in, bytes out.

::

    ┌──────────────────────────┬────────────────────────┐
    │ length n: 4 bytes, signed│ body: n bytes, n >= 1  │
    │ big-endian               │                        │
    └──────────────────────────┴────────────────────────┘

An empty frame is never written, so a header of zero always means "nothing more here": buffers are kept zeroed behind what was
read, and walking the headers finds every whole frame again without any offset that had to be noted.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from actors.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "HEADER_BYTES",
    "MAX_BODY_BYTES",
    "MAX_FRAME_BYTES",
    "FrameParser",
    "frame",
    "pack_frames",
    "walk",
    "walk_sound",
]

HEADER_BYTES = 4

MAX_FRAME_BYTES = 4096
"""PIPE_BUF on Linux: a write up to this size to a pipe is atomic (POSIX), so many writers need no lock and leave no half frame."""

MAX_BODY_BYTES = MAX_FRAME_BYTES - HEADER_BYTES

_HEADER = Struct("!i")
_pack_header = _HEADER.pack
_unpack_header = _HEADER.unpack_from

_SHOWN_BYTES = 16


def frame(body: bytes) -> bytes:
    """
    *body* with its header.

    Args:
        body: At least one byte, at most 2**31 - 1.

    Raises:
        ValueError: *body* is empty. An empty frame would read as the end of a zeroed buffer.
    """
    if not body:
        raise ValueError("a frame holds at least 1 byte, got 0")
    return _pack_header(len(body)) + body


def pack_frames(messages: Iterable[bytes]) -> list[bytes]:
    """
    Frames that hold all *messages* in their order, as few as greedy filling gives.

    Args:
        messages: Encoded messages, each 1 to ``MAX_BODY_BYTES`` long.

    Returns:
        Frames of at most ``MAX_FRAME_BYTES``. No message is split.

    Raises:
        ValueError: A message is empty or does not fit a frame.
    """
    frames: list[bytes] = []
    batch: list[bytes] = []
    size = 0
    for message in messages:
        length = len(message)
        if not 1 <= length <= MAX_BODY_BYTES:
            raise ValueError(f"a message in a frame is 1 to {MAX_BODY_BYTES} bytes long, got {length}")
        if size + length > MAX_BODY_BYTES:
            frames.append(_pack_header(size) + b"".join(batch))
            batch = []
            size = 0
        batch.append(message)
        size += length
    if batch:
        frames.append(_pack_header(size) + b"".join(batch))
    return frames


def walk(buffer: memoryview, start: int, stop: int) -> int:
    """
    Where the last whole frame ends.

    Args:
        buffer: Bytes (format ``"B"``), zeroed behind what was read into it.
        start: Offset of a header, or of the zeroes behind the last frame.
        stop: Offset to look no further than; at most ``len(buffer)``.

    Returns:
        Offset just past the last whole frame, *start* if there is none. The walk stops at a zero header, and where fewer than
        4 bytes or less than a whole frame remain.

    Raises:
        ProtocolError: A header below 0 or above ``MAX_BODY_BYTES``. Says offset, length and the first bytes.
    """
    last_header = stop - HEADER_BYTES
    while start <= last_header:
        (length,) = _unpack_header(buffer, start)
        if length <= 0 or length > MAX_BODY_BYTES:
            if length == 0:
                break
            raise _bad_length(start, length, MAX_BODY_BYTES, bytes(buffer[start : min(stop, start + _SHOWN_BYTES)]))
        end = start + HEADER_BYTES + length
        if end > stop:
            break
        start = end
    return start


def walk_sound(buffer: memoryview, start: int, stop: int) -> tuple[int, str | None]:
    """
    Where the last whole frame ends, and what is wrong behind it.

    Args:
        buffer: As for :func:`walk`.
        start: Offset of a header, or of the zeroes behind the last frame.
        stop: Offset to look no further than.

    Returns:
        Offset just past the last whole frame, and None if nothing stands there, else what does: bytes that are no frame.
    """
    last_header = stop - HEADER_BYTES
    while start <= last_header:
        (length,) = _unpack_header(buffer, start)
        end = start + HEADER_BYTES + length
        if not 1 <= length <= MAX_BODY_BYTES or end > stop:
            break
        start = end
    rest = bytes(buffer[start:stop]).rstrip(b"\0")
    if not rest:
        return start, None
    return start, f"{len(rest)} bytes at offset {start} are no whole frame: {rest[:_SHOWN_BYTES].hex(' ')}"


class FrameParser:
    """
    Frames out of a stream that arrives in pieces of any size: the reading side of a control lane.

    Nothing is allocated for a frame before its length was checked, and then only what has arrived.
    """

    __slots__ = ("_buffer", "_limit")

    def __init__(self, limit: int) -> None:
        """
        An empty parser.

        Args:
            limit: Longest body to accept, in bytes; at least 1.
        """
        self._limit = limit
        self._buffer = bytearray()

    @property
    def pending(self) -> int:
        """Bytes that arrived and belong to a frame that is not whole yet."""
        return len(self._buffer)

    def feed(self, data: bytes | bytearray | memoryview) -> list[bytes]:
        """
        The bodies that became whole with *data*, in order.

        Args:
            data: The next bytes of the stream, any number of them.

        Raises:
            ProtocolError: A length below 1 or above the limit. The stream has no boundaries any more: every later call raises too.
        """
        buffer = self._buffer
        buffer += data
        bodies: list[bytes] = []
        start, size = 0, len(buffer)
        while size - start >= HEADER_BYTES:
            (length,) = _unpack_header(buffer, start)
            if not 1 <= length <= self._limit:
                del buffer[:start]
                del buffer[_SHOWN_BYTES:]  # the header stays and fails each later call; what follows it is not kept
                raise _bad_length(start, length, self._limit, bytes(buffer))
            end = start + HEADER_BYTES + length
            if end > size:
                break
            bodies.append(bytes(buffer[start + HEADER_BYTES : end]))
            start = end
        del buffer[:start]
        return bodies


def _bad_length(offset: int, length: int, limit: int, shown: bytes) -> ProtocolError:
    return ProtocolError(
        f"frame at offset {offset} claims {length} bytes, allowed are 1 to {limit}; it begins {shown.hex(' ')}"
    )
