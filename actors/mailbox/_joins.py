"""
Values put together from their parts: the way back through the table in ``_values``.

Owns what the parts of a value must be. Must not trust them: they come from other processes. Every function takes the parts, whose own
parts are values already, and raises ``ProtocolError``, ``UnknownTypeError`` or whatever the constructor of the standard library says of
wrong parts; :meth:`~actors.mailbox._values.Kinds.join` makes a ``ProtocolError`` of that. No class of the user is called.
"""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import fractions
import pathlib
import uuid
import zoneinfo
from typing import Any, TypeVar

from actors.errors import ProtocolError, SpecError
from actors.mailbox._classes import UnknownTypeError, find, load
from actors.mailbox._message import schema_of

__all__ = [
    "PATHS",
    "join_big_int",
    "join_bytearray",
    "join_complex",
    "join_date",
    "join_datetime",
    "join_decimal",
    "join_dict",
    "join_enum",
    "join_flag",
    "join_fraction",
    "join_list",
    "join_message",
    "join_named_tuple",
    "join_path",
    "join_reference",
    "join_time",
    "join_timedelta",
    "join_timezone",
    "join_uuid",
    "join_zone",
    "only",
]

_T = TypeVar("_T")


def only(parts: list[Any]) -> Any:
    """The one part."""
    (part,) = parts
    return part


def _exactly(part: Any, cls: type) -> Any:
    if type(part) is not cls:
        raise ProtocolError(f"expected {cls.__name__}, got {type(part).__name__}")
    return part


def join_list(parts: list[Any]) -> object:
    """A list."""
    return parts


def join_dict(parts: list[Any]) -> object:
    """A dict, from keys and values in turn."""
    return dict(zip(parts[::2], parts[1::2], strict=True))


def join_big_int(parts: list[Any]) -> object:
    """An int of any size."""
    return int.from_bytes(_exactly(only(parts), bytes), "big", signed=True)


def join_bytearray(parts: list[Any]) -> object:
    """A bytearray of its own memory."""
    memory = only(parts)
    return bytearray(memory if type(memory) is memoryview else _exactly(memory, bytes))


def join_complex(parts: list[Any]) -> object:
    """A complex number."""
    real, imag = parts
    return complex(_exactly(real, float), _exactly(imag, float))


def join_decimal(parts: list[Any]) -> object:
    """A Decimal, exact in any context."""
    return decimal.Decimal(_exactly(only(parts), str))


def join_fraction(parts: list[Any]) -> object:
    """A Fraction."""
    numerator, denominator = parts
    if _exactly(denominator, int) < 1:
        raise ProtocolError("the denominator of a fraction is below 1")
    # Not through __new__: reducing a fraction takes time quadratic in its length, and the sender's is reduced.
    fraction: Any = object.__new__(fractions.Fraction)
    fraction._numerator, fraction._denominator = _exactly(numerator, int), denominator
    return fraction


def join_uuid(parts: list[Any]) -> object:
    """A UUID."""
    return uuid.UUID(bytes=_exactly(only(parts), bytes))


PATHS: tuple[type[pathlib.PurePath], ...] = (type(pathlib.Path()), pathlib.PurePosixPath, pathlib.PureWindowsPath)


def join_path(parts: list[Any]) -> object:
    """A path of one of the flavours in ``PATHS``."""
    flavour, text = parts
    return PATHS[abs(_exactly(flavour, int))](_exactly(text, str))


def join_date(parts: list[Any]) -> object:
    """A date."""
    return dt.date.fromordinal(only(parts))


def join_time(parts: list[Any]) -> object:
    """A time."""
    hour, minute, second, microsecond, fold, zone = parts
    return dt.time(hour, minute, second, microsecond, zone, fold=fold)


def join_datetime(parts: list[Any]) -> object:
    """A datetime."""
    year, month, day, hour, minute, second, microsecond, fold, zone = parts
    return dt.datetime(year, month, day, hour, minute, second, microsecond, zone, fold=fold)


def join_timedelta(parts: list[Any]) -> object:
    """A timedelta."""
    days, seconds, microseconds = parts
    return dt.timedelta(_exactly(days, int), _exactly(seconds, int), _exactly(microseconds, int))


def join_timezone(parts: list[Any]) -> object:
    """A timezone; UTC is the one that the module datetime has."""
    zone = dt.timezone(*parts)
    return dt.UTC if parts == [dt.timedelta()] else zone


def join_zone(parts: list[Any]) -> object:
    """A ZoneInfo, whose data is read from this machine when it is the first of its key."""
    key = _exactly(only(parts), str)
    try:
        return zoneinfo.ZoneInfo(key)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UnknownTypeError(f"this machine does not know the time zone {key[:80]!r}: {str(error)[:200]}") from error


def _class(reference: object, base: type[_T]) -> type[_T]:
    found = find(reference)
    if not isinstance(found, type) or not issubclass(found, base):
        raise UnknownTypeError(f"{reference!r} is not a {base.__name__} class here")
    return found


def join_enum(parts: list[Any]) -> object:
    """A member of an Enum."""
    reference, name = parts
    member = _class(reference, enum.Enum).__members__.get(_exactly(name, str))
    if member is None:
        raise UnknownTypeError(f"{reference} has no member {name[:80]!r} here")
    return member


def join_flag(parts: list[Any]) -> object:
    """A value of a Flag."""
    reference, number = parts
    cls = _class(reference, enum.Flag)
    try:
        value = cls(_exactly(number, int))
    except ValueError as error:
        raise UnknownTypeError(f"{reference} has no value {number} here") from error
    # Not every class raises: Python 3.11.2, for one, drops the bits that no member has in silence.
    if type(value) is not cls or value.value != number:
        raise UnknownTypeError(f"{reference} has no value {number} here")
    return value


def join_named_tuple(parts: list[Any]) -> object:
    """A NamedTuple, without calling its class."""
    reference, *items = parts
    cls: Any = _class(reference, tuple)
    fields = getattr(cls, "_fields", None)
    if type(fields) is not tuple or len(fields) != len(items):
        raise UnknownTypeError(f"{reference} is not a named tuple of {len(items)} items here")
    return tuple.__new__(cls, items)


def join_message(parts: list[Any]) -> object:
    """An instance of a class marked ``@message``, without calling its class."""
    reference, checksum, *values = parts
    try:
        schema = schema_of(_class(reference, object))
    except SpecError as error:
        raise UnknownTypeError(str(error)) from error
    if schema is None:
        raise UnknownTypeError(f"{reference} is not marked with @message here")
    if schema.checksum != checksum or len(schema.names) != len(values):
        raise UnknownTypeError(f"{reference} has other fields here: {', '.join(schema.names)}")
    return schema.build(values)


def join_reference(parts: list[Any]) -> object:
    """A class or function. Imports its module."""
    return load(only(parts))
