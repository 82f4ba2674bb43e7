"""
The table of types that travel, beyond msgpack's own: how each is taken apart and put together.

Owns the table. Must not know bytes: it turns values into *trees* of None, bool, int, float, str, bytes, memoryview, dict and list,
in which every list begins with the code of the type that it stands for.

====  ==============  =====================================  ====  ==============  =====================================
code  type            parts                                  code  type            parts
====  ==============  =====================================  ====  ==============  =====================================
0     list            items                                  14    UUID            16 bytes
1     tuple           items                                  15    Path family     flavour, text
2     dict            key, value, key, value, ...            16    date            ordinal
3     set             items                                  17    time            h, min, s, us, fold, tz
4     frozenset       items                                  18    datetime        y, m, d, h, min, s, us, fold, tz
5     int (big)       two's complement, big-endian           19    timedelta       days, seconds, us
6     bytearray       bytes                                  20    timezone        timedelta, name if it has one
7     memoryview      format, bytes; ndim, shape unless 1-d  21    ZoneInfo        key
8     array.array     typecode, bytes                        22    Enum            reference, name
9     numpy array     dtype, shape, order, memory            23    Flag            reference, number
10    numpy scalar    dtype, bytes                           24    NamedTuple      reference, items
11    complex         real, imag                             25    @message class  reference, checksum, fields
12    Decimal         text                                   26    class, function reference (specs only)
13    Fraction        numerator, denominator                 64..  registered      its plain value
27    a buffer        start, length                          28    large bytes     start, length
====  ==============  =====================================  ====  ==============  =====================================

The last row is for messages beside which buffers lie (see ``_cargo``): the first stands where another row says bytes or memory.

The exact type decides: a subclass of a listed type is another type, and is refused unless the table says how to rebuild it.
"""

from __future__ import annotations

import array
import datetime as dt
import decimal
import enum
import fractions
import itertools
import types
import uuid
import zoneinfo
from collections.abc import Callable
from typing import Any, TypeVar, cast

from actors.errors import ProtocolError, SpecError
from actors.mailbox import _buffers, _joins
from actors.mailbox._advice import advice
from actors.mailbox._cargo import LARGE_BUFFER_BYTES, Cargo, take
from actors.mailbox._classes import reference_to
from actors.mailbox._message import Schema, schema_of

__all__ = [
    "BIG_INT",
    "LIGHT",
    "MAX_DEPTH",
    "PLAIN",
    "SCALARS",
    "WITH_REFERENCES",
    "Kinds",
    "Refused",
    "register_type",
    "split_int",
]

_T = TypeVar("_T")

Split = Callable[[Any], list[Any]]
Join = Callable[[list[Any]], object]
Label = Callable[[Any, int], str]

Kind = tuple[int, Split, Label | None]
"""Code, how to take apart, and how to name a part in an error; None for the last where the parts are final."""

SCALARS = frozenset({type(None), bool, int, float, str, bytes})
"""What msgpack writes as it is and gives back equal and of the same type (big ints apart)."""
LIGHT = SCALARS - {bytes}
"""Those of them that are never so large that they would lie beside their message."""

MAX_DEPTH = 256
"""Levels of nesting of a value. Deeper ones are cycles, or would meet Python's recursion limit (1000) in the sender."""

FIRST_FREE_CODE, LAST_CODE = 64, 127

(
    LIST, TUPLE, DICT, SET, FROZENSET, BIG_INT, BYTEARRAY, MEMORYVIEW, ARRAY, NUMPY_ARRAY, NUMPY_SCALAR, COMPLEX, DECIMAL, FRACTION,
    UUID, PATH, DATE, TIME, DATETIME, TIMEDELTA, TIMEZONE, ZONE, ENUM, FLAG, NAMED_TUPLE, MESSAGE, REFERENCE, BUFFER, LARGE_BYTES,
) = range(29)  # fmt: skip

# What hostile parts can raise in a constructor. No bare Exception: a signal handler of the user may raise through this code, and
# that is no fault of the bytes.
_BAD_PARTS = (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, BufferError, RecursionError)


class Refused(Exception):  # noqa: N818 - internal, and always turned into EncodeError
    """A value that cannot travel, on its way up through the containers that hold it."""

    def __init__(self, value: object, why: str) -> None:
        super().__init__(why)
        self.value = value
        self.why = why
        self.trail: list[str] = []


class Kinds:
    """
    A table of types: the one for messages, or the one for specs, in which classes and functions travel by reference.

    Immutable for the reader, filled as types are met; two threads that fill the same row write the same thing.
    """

    __slots__ = ("_joins", "_kinds", "_references")

    def __init__(self, kinds: dict[type, Kind], joins: dict[int, Join], *, references: bool) -> None:
        self._kinds = kinds
        self._joins = joins
        self._references = references

    def tree(self, value: Any, depth: int = 0, cargo: Cargo | None = None) -> Any:
        """
        The tree of *value*.

        Args:
            value: Of the types of this table.
            depth: How deep it stands.
            cargo: What takes large buffers, or None where they stand in the tree.

        Raises:
            Refused: A type that cannot travel, or nesting deeper than ``MAX_DEPTH``.
            Bulky: As the cargo says.
        """
        light = SCALARS if cargo is None else LIGHT
        if type(value) in light:
            return value
        if type(value) is bytes:
            assert cargo is not None
            return (
                value if len(value) < LARGE_BUFFER_BYTES else [LARGE_BYTES, *cargo.add(memoryview(value), len(value))]
            )
        if depth >= MAX_DEPTH:
            raise Refused(value, f"nested deeper than {MAX_DEPTH} levels, or a value that contains itself")
        code, split, label = self._kinds.get(type(value)) or self._find(value)
        if cargo is not None and code in _LOADS:
            loaded = self._load(code, value, cargo)
            if loaded is not None:
                return loaded
        parts = _split(split, value)
        if label is None or light.issuperset(map(type, parts)):
            return [code, *parts]
        node: list[Any] = [code]
        append = node.append
        try:
            for part in parts:
                append(part if type(part) in light else self.tree(part, depth + 1, cargo))
        except Refused as refused:
            refused.trail.append(label(value, len(node) - 1))
            raise
        return node

    def _load(self, code: int, value: Any, cargo: Cargo) -> list[Any] | None:
        """The node of a value whose memory lies beside the message; None for one that is small."""
        parts = _split(_LOADS[code], value)
        if not parts:
            return None
        *head, source, length = parts
        return [code, *(self.tree(part) for part in head), [BUFFER, *cargo.add(source, length)]]

    def join_beside(self, beside: memoryview, node: list[Any]) -> object:
        """
        As :meth:`join`, of a message with buffers beside it.

        Args:
            beside: What begins with the buffers.
            node: One node.
        """
        if len(node) == 3:
            if node[0] == BUFFER:
                return take(beside, node[1:])
            if node[0] == LARGE_BYTES:
                return bytes(take(beside, node[1:]))
        return self.join(node)

    def join(self, node: list[Any]) -> object:
        """
        The value of one node, whose children are values already.

        Raises:
            ProtocolError: No node of a tree, or parts that make no such value.
            UnknownTypeError: It names a class that is not here, or is not what it claims.
        """
        code = node[0] if node else None
        join = self._joins.get(code) if type(code) is int else None
        if join is None:
            raise ProtocolError(f"no type has the code {repr(code)[:32]}")
        try:
            del node[0]
            return join(node)
        except _BAD_PARTS as error:
            raise ProtocolError(
                f"parts of a value of code {code} do not fit: {type(error).__name__}: {str(error)[:200]}"
            ) from error

    def add(self, cls: type, code: int, split: Split, join: Join) -> None:
        """Teach the table one more type."""
        self._kinds[cls] = (code, split, _no_label)
        self._joins[code] = join

    def code_of(self, cls: type) -> int | None:
        """The code under which *cls* travels, None if it is unknown so far."""
        kind = self._kinds.get(cls)
        return None if kind is None else kind[0]

    def owner_of(self, code: int) -> type | None:
        """The registered class that travels under *code*."""
        return next((cls for cls, kind in self._kinds.items() if kind[0] == code), None)

    def _find(self, value: Any) -> Kind:
        cls = type(value)
        try:
            kind = _kind_of_class(cls)
        except (SpecError, LookupError) as error:
            raise Refused(value, str(error)) from None
        if (
            kind is None
            and self._references
            and isinstance(value, type | types.FunctionType | types.BuiltinFunctionType)
        ):
            kind = (REFERENCE, _split_reference, None)
        if kind is None:
            kind = _kind_of_buffer(value, references=self._references)
        self._kinds[cls] = kind
        return kind


def register_type(cls: type[_T], code: int, to_plain: Callable[[_T], object], from_plain: Callable[[Any], _T]) -> None:
    """
    Let instances of *cls*, exactly, travel as another value.

    Args:
        cls: The class. Registering the same class and code again replaces the functions.
        code: 64 to 127, the same in every process.
        to_plain: Gives a value that can travel.
        from_plain: Gives the instance again; runs on bytes from other processes, and may raise ``ProtocolError``,
            ``ValueError``, ``TypeError`` or ``LookupError``.

    Raises:
        SpecError: The code is out of range or taken, or the class travels under another one.
    """
    if not FIRST_FREE_CODE <= code <= LAST_CODE:
        raise SpecError(f"register_type: code is {FIRST_FREE_CODE} to {LAST_CODE}, got {code} for {cls.__qualname__}")
    for known in (PLAIN, WITH_REFERENCES):
        if known.code_of(cls) not in {None, code} or known.owner_of(code) not in {None, cls}:
            raise SpecError(f"register_type: {cls.__qualname__} or the code {code} is registered already")
    for table in (PLAIN, WITH_REFERENCES):
        table.add(cls, code, lambda value: [to_plain(value)], lambda parts: from_plain(_joins.only(parts)))


def split_int(value: int) -> list[Any]:
    """The node of an int beyond 64 bits."""
    return [BIG_INT, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)]


# ---------------------------------------------------------------------------------------------------------------- taking apart


def _split(split: Split, value: Any) -> list[Any]:
    try:
        return split(value)
    except (ValueError, AttributeError, LookupError) as error:
        raise Refused(value, str(error)) from error


def _by_index(_value: Any, index: int) -> str:
    return f"[{index}]"


def _by_element(_value: Any, _index: int) -> str:
    return ".elements"  # a set has no order that would name one of them


def _by_key(value: dict[Any, Any], index: int) -> str:
    key = next(itertools.islice(value, index // 2, None))
    return f"[{_quoted(key)}]" if index % 2 else f".keys[{_quoted(key)}]"


def _quoted(key: object) -> str:
    return f'"{key}"' if type(key) is str else repr(key)[:80]


def _by_field(value: Any, index: int) -> str:
    return f".{value._fields[index - 1]}"


def _no_label(_value: Any, _index: int) -> str:
    return ""


def _split_dict(value: dict[Any, Any]) -> list[Any]:
    return list(itertools.chain.from_iterable(value.items()))


def _split_time(value: dt.time) -> list[Any]:
    return [value.hour, value.minute, value.second, value.microsecond, value.fold, value.tzinfo]


def _split_datetime(value: dt.datetime) -> list[Any]:
    return [value.year, value.month, value.day, *_split_time(cast("Any", value))]


def _split_zone(value: zoneinfo.ZoneInfo) -> list[Any]:
    if value.key is None:
        raise ValueError("a ZoneInfo made from a file has no key to find it again")
    return [value.key]


def _split_enum(value: Any) -> list[Any]:
    return [reference_to(type(value)), value.name]


def _split_named_tuple(value: Any) -> list[Any]:
    if getattr(value, "__dict__", None):
        raise AttributeError(f"it has attributes beside its fields: {', '.join(vars(value))}")
    return [reference_to(type(value)), *value]


def _split_reference(value: Any) -> list[Any]:
    return [reference_to(value)]


# ---------------------------------------------------------------------------------------------------------------- finding a row


def _kind_of_class(cls: Any) -> Kind | None:
    schema = schema_of(cls)
    if schema is not None:
        return _kind_of_message(schema)
    if _buffers.is_numpy_array(cls):
        return (NUMPY_ARRAY, _buffers.split_numpy_array, _no_label)
    if _buffers.is_numpy_scalar(cls):
        return (NUMPY_SCALAR, _buffers.split_numpy_scalar, _no_label)
    if issubclass(cls, enum.Enum):
        return _kind_of_enum(cls)
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return (NAMED_TUPLE, _split_named_tuple, _by_field)
    known = next((base for base in cls.__mro__[1:] if _is_listed(base)), None)
    if known is not None:
        raise LookupError(
            f"a subclass of {known.__name__} would lose its type; send {known.__name__}(value), or mark a @message class"
        )
    return None


def _is_listed(cls: type) -> bool:
    return cls in SCALARS or cls in _KINDS or _buffers.is_numpy_base(cls)


def _kind_of_message(schema: Schema) -> Kind:
    def split(value: Any) -> list[Any]:
        return [schema.reference(), schema.checksum, *schema.values(value)]

    def label(_value: Any, index: int) -> str:
        return f".{schema.names[index - 2]}"

    return (MESSAGE, split, label)


def _kind_of_enum(cls: type[enum.Enum]) -> Kind:
    if not issubclass(cls, enum.Flag):
        return (ENUM, _split_enum, None)
    return (FLAG, lambda value: [reference_to(type(value)), int(value.value)], None)


def _kind_of_buffer(value: Any, *, references: bool) -> Kind:
    try:
        memoryview(value).release()
    except TypeError:
        raise Refused(value, advice(value, references=references)) from None
    return (MEMORYVIEW, _buffers.split_buffer, None)


# ------------------------------------------------------------------------------------------------------------------------ the table

_LOADS: dict[int, Split] = {
    BYTEARRAY: _buffers.load_bytearray,
    MEMORYVIEW: _buffers.load_view,
    ARRAY: _buffers.load_array,
    NUMPY_ARRAY: _buffers.load_numpy_array,
}
"""How to take apart what may lie beside a message: the parts before its memory, the memory, its length; nothing where it is small."""

_KINDS: dict[type, Kind] = {
    list: (LIST, list, _by_index),
    tuple: (TUPLE, list, _by_index),
    dict: (DICT, _split_dict, _by_key),
    set: (SET, list, _by_element),
    frozenset: (FROZENSET, list, _by_element),
    bytearray: (BYTEARRAY, lambda value: [bytes(value)], None),
    memoryview: (MEMORYVIEW, _buffers.split_view, None),
    array.array: (ARRAY, _buffers.split_array, None),
    complex: (COMPLEX, lambda value: [value.real, value.imag], None),
    decimal.Decimal: (DECIMAL, lambda value: [str(value)], None),
    fractions.Fraction: (FRACTION, lambda value: [value.numerator, value.denominator], None),
    uuid.UUID: (UUID, lambda value: [value.bytes], None),
    **{cls: (PATH, lambda value: [_joins.PATHS.index(type(value)), str(value)], None) for cls in _joins.PATHS},
    dt.date: (DATE, lambda value: [value.toordinal()], None),
    dt.time: (TIME, _split_time, _no_label),
    dt.datetime: (DATETIME, _split_datetime, _no_label),
    dt.timedelta: (TIMEDELTA, lambda value: [value.days, value.seconds, value.microseconds], None),
    dt.timezone: (TIMEZONE, lambda value: list(value.__getinitargs__()), _no_label),
    zoneinfo.ZoneInfo: (ZONE, _split_zone, None),
}

_JOINS: dict[int, Join] = {
    LIST: _joins.join_list,
    TUPLE: tuple,
    DICT: _joins.join_dict,
    SET: set,
    FROZENSET: frozenset,
    BIG_INT: _joins.join_big_int,
    BYTEARRAY: _joins.join_bytearray,
    MEMORYVIEW: _buffers.join_view,
    ARRAY: _buffers.join_array,
    NUMPY_ARRAY: _buffers.join_numpy_array,
    NUMPY_SCALAR: _buffers.join_numpy_scalar,
    COMPLEX: _joins.join_complex,
    DECIMAL: _joins.join_decimal,
    FRACTION: _joins.join_fraction,
    UUID: _joins.join_uuid,
    PATH: _joins.join_path,
    DATE: _joins.join_date,
    TIME: _joins.join_time,
    DATETIME: _joins.join_datetime,
    TIMEDELTA: _joins.join_timedelta,
    TIMEZONE: _joins.join_timezone,
    ZONE: _joins.join_zone,
    ENUM: _joins.join_enum,
    FLAG: _joins.join_flag,
    NAMED_TUPLE: _joins.join_named_tuple,
    MESSAGE: _joins.join_message,
}

PLAIN = Kinds(dict(_KINDS), dict(_JOINS), references=False)
"""Types that travel in messages."""

WITH_REFERENCES = Kinds(dict(_KINDS), {**_JOINS, REFERENCE: _joins.join_reference}, references=True)
"""Types that travel in specs: also classes and functions, which the receiver may import."""
