"""
Items of channels as bytes: encoded, and where they are large written into a file and read from it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from actors.errors import ProtocolError
from actors.mailbox import _codec
from actors.mailbox._cargo import Cargo, Parcel
from actors.mailbox._values import LIGHT

__all__ = ["encode", "punch", "read", "write"]

_PUNCH_HOLE = 3  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE


def write(file: int, message: bytes, start: int) -> None:
    """
    Write a message, and what lies beside it, from *start* on.

    Raises:
        OSError: The machine has no memory for it.
    """
    ahead = 0
    if isinstance(message, Parcel):
        ahead = message.offset
        for place, length, piece in message.pieces:
            _write(file, piece if isinstance(piece, memoryview) else _written(piece, length), start + place)
    _write(file, memoryview(message), start + ahead)


def _write(file: int, data: memoryview, start: int) -> None:
    flat = data.cast("B")
    while flat:
        count = os.pwrite(file, flat, start)
        flat, start = flat[count:], start + count


def encode(item: object) -> bytes:
    """
    The bytes of an item; a parcel where large buffers lie beside it.

    Raises:
        EncodeError: It cannot travel.
    """
    if type(item) in LIGHT:
        data = _codec.pack_scalars(item)
        if data is not None:
            return data
    data = _codec.pack_plain(item)
    if data is not None:
        return data
    cargo = Cargo()
    body = _codec.pack_wrapped(_codec.wrap(item, "item", cargo))
    return Parcel.make(body, cargo) if cargo.pieces else body


def _written(source: Callable[[memoryview], object], length: int) -> memoryview:
    view = memoryview(bytearray(length))
    source(view)
    return view


def read(file: int, count: int, start: int) -> bytes:
    """
    So many bytes of a file.

    Raises:
        ProtocolError: It is shorter.
    """
    data = os.pread(file, count, start)
    if len(data) == count:
        return data
    parts = [data]
    while count := count - len(parts[-1]):
        start += len(parts[-1])
        parts.append(os.pread(file, count, start))
        if not parts[-1]:
            raise ProtocolError("channel: its file is shorter than it was")
    return b"".join(parts)


_libc: Any = None


def punch(file: int, start: int, length: int) -> None:
    """Give memory back to the system; where that is refused, the next item that lies there uses it again."""
    import ctypes  # noqa: PLC0415 - only for who gets large items

    global _libc  # noqa: PLW0603 - found once
    if _libc is None:
        _libc = ctypes.CDLL(None, use_errno=True)
        _libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    _libc.fallocate(file, _PUNCH_HOLE, start, -(-length // 4096) * 4096)
