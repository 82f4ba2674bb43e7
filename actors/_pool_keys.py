"""
From the key of a message to a slot: the same in every process, today and tomorrow. Pure.
"""

from __future__ import annotations

from typing import Any, Final
from zlib import crc32

from actors.errors import EncodeError, SpecError
from actors.mailbox import _codec
from actors.supervisor._slots import SLOTS

__all__ = ["slot_of"]

# Two of them that are equal may be written in two ways: no place for either.
_UNSTEADY: Final = (frozenset, set, dict, list, bytearray)


def slot_of(key: Any) -> int:
    """
    The slot of *key*; equal keys of one type have the same, whichever process asks.

    Args:
        key: A value that can travel and is hashable, but no frozenset.

    Raises:
        SpecError: It cannot be a key.
    """
    kind = type(key)
    if kind is str:
        return crc32(key.encode("utf-8", "surrogatepass")) % SLOTS
    if kind is int:
        return crc32(b"%d" % key) % SLOTS
    if kind is bytes:
        return crc32(key) % SLOTS
    if not _is_steady(key):
        raise SpecError(
            f"a key of type {kind.__name__} is not hashed alike everywhere; use a string, a number or a tuple of them"
        )
    try:
        return crc32(_codec.encode(key, what="key")) % SLOTS
    except EncodeError as error:
        raise SpecError(f"{error}; so it cannot be a key") from error


def _is_steady(key: object) -> bool:
    if isinstance(key, tuple):
        return all(map(_is_steady, key))
    return not isinstance(key, _UNSTEADY)
