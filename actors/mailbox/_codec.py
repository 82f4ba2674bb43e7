"""
Values to bytes and back. The only import of msgpack.

Owns the bytes of a value and the speed of getting there. Must not know messages, frames or processes.

A value of msgpack's own types, exactly, is plain msgpack, written by one call into C. Everything else is wrapped where it
stands into an extension of code 1, which holds the *tree* of the value (see ``_values``). So a message pays for what it
contains: plain parts cost what msgpack costs, on both sides.

Decoding imports no module (numpy and the data of a time zone apart, when one arrives), calls no constructor of a user's class, allocates nothing that the
length of the input does not cover (msgpack itself makes room for at most 10,000 items per level before it has seen them, 1,024
levels at most), and raises :class:`~actors.errors.ProtocolError` only.
"""

from __future__ import annotations

import functools
from gc import get_referents
from typing import TYPE_CHECKING, Any

import msgpack

from actors.errors import EncodeError, ProtocolError
from actors.mailbox._cargo import ALARM, LARGE_BUFFER_BYTES, Bulky, Cargo
from actors.mailbox._classes import UnknownTypeError
from actors.mailbox._message import message
from actors.mailbox._shapes import OPAQUE
from actors.mailbox._values import LIGHT, PLAIN, SCALARS, WITH_REFERENCES, Refused, register_type, split_int

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "BAD_BYTES",
    "UnknownTypeError",
    "decode",
    "encode",
    "message",
    "new_unpacker",
    "pack_plain",
    "pack_scalars",
    "pack_wrapped",
    "register_type",
    "wrap",
]

_TREE = 1

_BUFFER_BYTES = 16 * 1024  # of a packer: what one starts with; it grows as needed
_KEEP_BYTES = (
    1024 * 1024
)  # a packer that has grown beyond this is let go, or one large message would be paid for in memory for ever

_CONTAINERS = frozenset({list, dict})
# What is looked at for large buffers before it is packed, and how far into it. Everything else comes by the table anyway.
_BUFFERS = frozenset({bytes, bytearray, memoryview})
_LOOKED_INTO = _BUFFERS | _CONTAINERS
_MOST_ITEMS = 16
# Types that msgpack writes by itself, but not so that they come back: each must go through the table instead.
_MISTAKEN = frozenset({bytearray, memoryview, msgpack.ExtType, msgpack.Timestamp})
# The bytes that begin a bin or an ext. Where none occurs, msgpack wrote nothing of a mistaken type.
_SUSPICIOUS = bytes([0xC4, 0xC5, 0xC6, 0xC7, 0xC8, 0xC9, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8])

# What msgpack raises for bytes that are no msgpack, unhashable map keys included. No bare Exception: a signal handler of the user
# may raise through this code, and that is no fault of the bytes.
BAD_BYTES = (
    msgpack.OutOfData,
    ValueError,
    TypeError,
    OverflowError,
    BufferError,
    RecursionError,
    AttributeError,
    LookupError,
)

_Ext = msgpack.ExtType
_new_tuple = tuple.__new__


def _make_ext(tree: Any) -> msgpack.ExtType:
    # Not through ExtType.__new__, whose checks cost four times as much as the object.
    return _new_tuple(_Ext, (_TREE, _pack_tree(tree)))


def _wrap_unknown(value: object) -> object:
    return _make_ext(PLAIN.tree(value))


def _wrap_small(value: object) -> object:
    return _make_ext(PLAIN.tree(value, 0, ALARM))


# Packers at rest, each as its bound method. One is taken out for a call and put back after it, never shared: a signal handler or
# a __del__ may encode in the middle of an encode, on this thread or another. Whoever fails does not put back. Both steps are one
# bytecode-atomic list operation, and there are never more packers than calls that once ran at the same time.
_packers: list[Callable[[object], bytes]] = []
_tree_packers: list[Callable[[object], bytes]] = []
_take, _put_back = _packers.pop, _packers.append  # looking these up at each call costs 40 ns of 300
_take_for_tree, _put_back_for_tree = _tree_packers.pop, _tree_packers.append


def _new_packer(default: Callable[[Any], object], unicode_errors: str | None = None) -> Callable[[object], bytes]:
    options: dict[str, Any] = {"buf_size": _BUFFER_BYTES}  # apart, since the stubs do not know this one
    return msgpack.Packer(default=default, strict_types=True, unicode_errors=unicode_errors, **options).pack


def _pack_tree(tree: object) -> bytes:
    try:
        pack = _take_for_tree()
    except IndexError:
        pack = _new_packer(split_int)
    try:
        data = pack(tree)
    except UnicodeEncodeError:
        return _new_packer(split_int, "surrogatepass")(tree)
    if len(data) <= _KEEP_BYTES:
        _put_back_for_tree(pack)
    return data


# One for all callers: with scalars alone in the value, packing runs in C to its end, and nothing can come between.
_scalar_packer = [msgpack.Packer(strict_types=True).pack]


def pack_scalars(value: object) -> bytes | None:
    """
    The bytes of lists of values whose types are exactly those of ``SCALARS``; None where one needs another way after all.

    Half the cost of :func:`pack_plain`, which takes anything.

    Args:
        value: Its caller has looked at every type in it.
    """
    try:
        data = _scalar_packer[0](value)
    except (OverflowError, ValueError):  # an int beyond 64 bits, a lone surrogate, too much
        return None
    if len(data) > _KEEP_BYTES:
        _scalar_packer[0] = msgpack.Packer(strict_types=True).pack
    return data


def pack_plain(value: object, args: Sequence[object] | None = None) -> bytes | None:  # noqa: C901 - a call for each step costs
    """
    The bytes of *value* on the fast path, None where it needs the slow one.

    Args:
        value: A value of the user, or an envelope: a list of scalars and of values of the user.
        args: All the values of the user in an envelope, where they are one sequence; None for all of *value*.

    Returns:
        None if a value cannot travel, is mistaken by msgpack for another type, has lone surrogates or a large buffer: :func:`wrap`
        each value of the user then, and pack again with :func:`pack_wrapped`.
    """
    if args is None:
        args = (value,)
    plain = True
    for arg in args:
        if type(arg) not in LIGHT:
            if type(arg) is not bytes:
                plain = False
            if type(arg) in _LOOKED_INTO and _is_bulky(arg):
                return None
    try:
        pack = _take()
    except IndexError:
        pack = _new_packer(_wrap_small)
    try:
        data = pack(value)
    except (Refused, ValueError, BufferError, RecursionError, Bulky):
        return None
    if len(data) <= _KEEP_BYTES:
        _put_back(pack)
    if plain:
        return data
    if len(data) != len(data.translate(None, _SUSPICIOUS)) and not _is_understood(args):
        return None
    return data


def _is_bulky(value: Any) -> bool:
    """
    Whether msgpack would copy a large buffer.

    Of lists and dicts only small ones are looked into, and one level: each message pays for this look. What is missed is copied once more.
    """
    kind = type(value)
    if kind is memoryview:
        return bool(value.nbytes >= LARGE_BUFFER_BYTES)
    if kind not in _CONTAINERS:
        return len(value) >= LARGE_BUFFER_BYTES
    if len(value) > _MOST_ITEMS:
        return False
    items = value.values() if kind is dict else value
    if _BUFFERS.isdisjoint(map(type, items)):
        return False
    return any(type(item) in _BUFFERS and _is_bulky(item) for item in items)


def pack_wrapped(value: object) -> bytes:
    """
    The bytes of a value that was wrapped, or of an envelope whose values were.

    Raises:
        ValueError: Larger than msgpack can say (4 GiB).
    """
    return _new_packer(_wrap_unknown, "surrogatepass")(value)


def wrap(value: object, what: str, cargo: Cargo | None = None) -> object:
    """
    *value* as something that msgpack writes correctly in any place.

    Args:
        value: A value of the user.
        what: How an error names it.
        cargo: What takes its large buffers, or None where they stand in the message.

    Raises:
        EncodeError: It cannot travel. Says the path to the bad part, beginning with *what*, and its type.
    """
    if type(value) in SCALARS and (cargo is None or type(value) is not bytes or len(value) < LARGE_BUFFER_BYTES):
        return value
    return _wrap(value, what, references=False, cargo=cargo)


def _wrap(value: object, what: str, *, references: bool, cargo: Cargo | None = None) -> msgpack.ExtType:
    try:
        return _make_ext((WITH_REFERENCES if references else PLAIN).tree(value, 0, cargo))
    except Refused as refused:
        path = what + "".join(reversed(refused.trail))
        kind = type(refused.value)
        name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        raise EncodeError(
            f"{path}: {name} cannot travel between processes: {refused.why}", path=path
        ) from refused.__cause__
    except RecursionError:
        raise EncodeError(f"{what}: nested too deeply for what is left of the stack here", path=what) from None
    except ValueError as error:
        raise EncodeError(f"{what}: {error}", path=what) from error


def encode(value: object, *, what: str = "value", references: bool = False) -> bytes:
    """
    The bytes of *value*, from which :func:`decode` gives an equal value of the same type.

    Args:
        value: Of the types listed in ``_values``, nested up to 256 levels.
        what: How an error names the value.
        references: Whether classes and functions may stand in it, as references by name. For specs only.

    Raises:
        EncodeError: It cannot travel. Says the path to the bad part and its type.
    """
    if references:
        return pack_wrapped(_wrap(value, what, references=True))
    data = pack_plain(value)
    return pack_wrapped(wrap(value, what)) if data is None else data


def decode(
    data: bytes | bytearray | memoryview,
    *,
    references: bool = False,
    opaque: bool = False,
    beside: memoryview | None = None,
) -> object:
    """
    The value that :func:`encode` was given.

    Args:
        data: One encoded value and nothing else.
        references: Whether classes and functions may stand in it, whose modules are imported then. Never for bytes that came
            from another program.
        opaque: Whether values that are not plain msgpack are left alone, as ``OPAQUE``.
        beside: Where the buffers lie that it refers to; views and arrays in the value stand on it.

    Raises:
        ProtocolError: No encoded value. Says the length and the first bytes. No other exception leaves, whatever the bytes.
        UnknownTypeError: The bytes are fine, but name a class that is not here or not what they claim.
    """
    hook: Callable[[int, bytes], object]
    hook = _leave_opaque if opaque else _join_with_references if references else _join
    if beside is not None and not opaque:
        hook = functools.partial(_join_tree, join=functools.partial(PLAIN.join_beside, beside))
    try:
        return msgpack.unpackb(
            data,
            ext_hook=hook,
            strict_map_key=False,
            timestamp=2,
            unicode_errors="surrogatepass",
        )
    except BAD_BYTES as error:
        shown = bytes(memoryview(data)[:16]).hex(" ")
        raise ProtocolError(f"{len(data)} bytes are no value: {_reason(error)}; they begin {shown}") from error


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:200]}"


def _join(code: int, data: bytes) -> object:
    return _join_tree(code, data, PLAIN.join)


def _join_with_references(code: int, data: bytes) -> object:
    return _join_tree(code, data, WITH_REFERENCES.join)


def _join_tree(code: int, data: bytes, join: Callable[[list[Any]], object]) -> object:
    if code != _TREE:
        raise ProtocolError(f"an extension of code {code}, expected {_TREE}")
    return msgpack.unpackb(
        data, list_hook=join, ext_hook=_no_ext, strict_map_key=False, timestamp=2, unicode_errors="surrogatepass"
    )


def _no_ext(code: int, data: bytes) -> object:
    raise ProtocolError(f"an extension of code {code} and {len(data)} bytes inside the tree of a value")


def new_unpacker(limit: int, *, opaque: bool = False) -> msgpack.Unpacker:
    """
    A reader of many values in a row.

    Args:
        limit: Most bytes that are fed and not read yet.
        opaque: Whether values that are not plain msgpack are left alone, as ``OPAQUE``: to find where a message ends whose
            values cannot be made here.
    """
    return msgpack.Unpacker(
        max_buffer_size=limit,
        ext_hook=_leave_opaque if opaque else _join,
        strict_map_key=False,
        timestamp=2,
        unicode_errors="surrogatepass",
    )


def _leave_opaque(_code: int, _data: bytes) -> object:
    return OPAQUE


def _is_understood(level: Sequence[Any]) -> bool:
    """
    Whether msgpack wrote nothing in the values of *level* that it takes for another type.

    Level by level through lists and dicts, at C speed: 15 ns an item, however they are nested. They were encoded already, so
    there is no cycle, and no more of them than what was written.
    """
    while level:
        kinds = set(map(type, level))
        if not kinds.isdisjoint(_MISTAKEN):
            return False
        if kinds <= SCALARS:
            return True
        if not kinds <= _CONTAINERS:
            level = [item for item in level if type(item) in _CONTAINERS]
        level = get_referents(*level)
    return True
