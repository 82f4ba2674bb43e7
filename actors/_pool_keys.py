"""
From the key of a message to a slot: the same in every process, today and tomorrow. Pure.
"""

from __future__ import annotations

import datetime as dt
import decimal
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
        return crc32(_codec.encode(_canonical(key), what="key")) % SLOTS
    except EncodeError as error:
        raise SpecError(f"{error}; so it cannot be a key") from error


def _is_steady(key: object) -> bool:
    if isinstance(key, tuple):
        return all(map(_is_steady, key))
    return not isinstance(key, _UNSTEADY)


def _canonical(key: Any) -> Any:
    """The one of all values of its type that are equal to *key* by which they are hashed: they may be written in different ways."""
    match key:
        case tuple():
            return tuple.__new__(type(key), map(_canonical, key))
        case float():
            return key + 0.0  # -0.0 is 0.0
        case complex():
            return complex(key.real + 0.0, key.imag + 0.0)
        case decimal.Decimal() if key.is_finite():
            return _shortest(key)
        case dt.datetime():
            return _moment(key)
        case dt.time():
            return _time_of_day(key)
        case _:
            return key


def _shortest(key: decimal.Decimal) -> decimal.Decimal:
    """1.0 and 1.00 are equal. Exact, unlike ``normalize``, which rounds to the precision of a context."""
    if not key:
        return decimal.Decimal(0)
    parts = key.as_tuple()
    end = len(parts.digits)
    while not parts.digits[end - 1]:
        end -= 1
    return decimal.Decimal((parts.sign, parts.digits[:end], key.adjusted() + 1 - end))


def _moment(key: dt.datetime) -> Any:
    """The same moment has a name in each time zone. As a distance, which has no end as years have."""
    plain = key.replace(fold=0)
    offset = plain.utcoffset()
    if offset is None:
        return plain
    since: dt.timedelta = plain.replace(tzinfo=None) - dt.datetime.min  # noqa: DTZ901 - naive, as the other
    return ["moment", since - offset]


def _time_of_day(key: dt.time) -> Any:
    plain = key.replace(fold=0)
    offset = plain.utcoffset()
    if offset is None:
        return plain
    since = dt.timedelta(hours=key.hour, minutes=key.minute, seconds=key.second, microseconds=key.microsecond)
    return ["time", since - offset]
