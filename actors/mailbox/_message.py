"""
Message classes: attrs classes and dataclasses that may travel, marked ``@message``.

Owns the mark and the schema of a marked class. Must not know how a value becomes bytes.

Only marked classes travel, so that what can be sent is a decision and never an accident; and only classes whose fields are their
whole state can be marked, so that what arrives equals what was sent. An instance is rebuilt field by field, as ``copy`` does it:
``__init__``, converters, validators and ``__post_init__`` do not run again.
"""

from __future__ import annotations

import functools
import zlib
from typing import Any, Generic, Protocol, TypeVar

import attrs

from actors.errors import SpecError
from actors.mailbox._classes import reference_to

__all__ = ["Schema", "message", "schema_of"]

_C = TypeVar("_C", bound=type)

_MARK = "__actors_message__"
_ATTRS_HASH = "_attrs_cached_hash"  # where attrs keeps the hash of a class made with cache_hash=True; None means "not computed yet"
_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: classes written in Python; the others keep state that no field shows
_STATELESS = frozenset({object, Generic, Protocol})
_set = object.__setattr__  # frozen classes forbid the ordinary way


@attrs.frozen(eq=False)
class Schema:
    """
    What the codec knows of one message class.

    Attributes:
        cls: The class.
        names: Its fields, in order of definition.
        checksum: CRC-32 of the names: two processes that hold different versions of the class notice.
        ignored: What may stand in the ``__dict__`` of an instance: its fields, and what is computed from them.
        caches_hash: Whether attrs keeps the hash in the instance.
    """

    cls: type
    names: tuple[str, ...]
    checksum: int
    ignored: frozenset[str]
    caches_hash: bool

    def reference(self) -> str:
        """Its name for other processes. ``LookupError`` when it cannot be found under that name."""
        return reference_to(self.cls)

    def values(self, instance: Any) -> list[Any]:
        """
        The fields of *instance*, in order.

        Raises:
            AttributeError: A field was never set, or the instance has attributes beside its fields. Says which.
        """
        attributes = getattr(instance, "__dict__", None)
        if attributes and not self.ignored.issuperset(attributes):
            extra = ", ".join(sorted(set(attributes) - self.ignored))
            raise AttributeError(f"it has attributes that are no fields and would be lost: {extra}")
        return [getattr(instance, name) for name in self.names]

    def build(self, values: list[object]) -> object:
        """An instance with these *values*, one per field, without running ``__init__``."""
        instance: Any = object.__new__(self.cls)
        for name, value in zip(self.names, values, strict=True):
            _set(instance, name, value)
        if self.caches_hash:
            _set(instance, _ATTRS_HASH, None)
        return instance


def message(cls: _C) -> _C:
    """
    Let instances of *cls* travel between processes.

    Write it above or below ``@attrs.frozen`` or ``@dataclass``; above, the class is checked at once, below, when the first instance
    is sent. A subclass needs its own mark. The class must stand at the top of a module (or of a class there) that the receiver
    imports too.

    ::

        @message
        @attrs.frozen
        class Order:
            number: int
            items: tuple[str, ...] = ()

    Raises:
        SpecError: Its instances could not arrive as they were sent; names every reason.
    """
    setattr(cls, _MARK, None)
    if _field_names(cls) is None:
        if "<locals>" in cls.__qualname__:
            raise SpecError(_local(cls))
    else:
        schema_of(cls)
    return cls


def schema_of(cls: type) -> Schema | None:
    """
    The schema of a marked class, None for any other class.

    Raises:
        SpecError: Marked, but its instances could not arrive as they were sent.
    """
    mark = cls.__dict__.get(_MARK, cls)
    if mark is cls:
        return None
    # attrs and dataclasses replace a class to give it slots, and copy the mark: a schema of the replaced one is stale.
    if not isinstance(mark, Schema) or mark.cls is not cls:
        mark = _make_schema(cls)
        setattr(cls, _MARK, mark)
    return mark


def _make_schema(cls: type) -> Schema:
    names = _field_names(cls)
    if names is None:
        raise SpecError(f"@message: {cls.__qualname__} is neither an attrs class nor a dataclass")
    problems = _problems(cls, names)
    if problems:
        raise SpecError(*problems)
    cached = {
        name
        for base in cls.__mro__
        for name, value in vars(base).items()
        if isinstance(value, functools.cached_property)
    }
    code = getattr(cls.__hash__, "__code__", None)
    return Schema(
        cls=cls,
        names=names,
        checksum=zlib.crc32(",".join(names).encode("utf-8", "surrogatepass")),
        ignored=frozenset({*names, *cached, _ATTRS_HASH}),
        caches_hash=code is not None and _ATTRS_HASH in code.co_names,
    )


def _field_names(cls: type) -> tuple[str, ...] | None:
    # Looked up in the class itself: a subclass that is no attrs class or dataclass of its own may have state beside the fields.
    if "__attrs_attrs__" in cls.__dict__:
        return tuple(field.name for field in cls.__dict__["__attrs_attrs__"])
    if "__dataclass_fields__" in cls.__dict__:
        # Class variables and init-only ones stand there too; they are no state of an instance.
        fields = cls.__dict__["__dataclass_fields__"].values()
        return tuple(field.name for field in fields if field._field_type.name == "_FIELD")
    return None


def _problems(cls: type, names: tuple[str, ...]) -> list[str]:
    found: list[str] = []
    if "<locals>" in cls.__qualname__:
        found.append(_local(cls))
    for base in cls.__mro__:
        if base in _STATELESS:
            continue
        if not base.__flags__ & _HEAP_TYPE:
            found.append(f"@message: {cls.__qualname__} derives from {base.__name__}, whose state is in no field")
        elif _field_names(base) is None:
            lost = sorted(_slots(base) - {*names, "__dict__", "__weakref__"})
            found += [f"@message: {cls.__qualname__}.{name} is a slot of {base.__name__} and no field" for name in lost]
    return found


def _slots(cls: type) -> set[str]:
    slots = cls.__dict__.get("__slots__", ())
    return {slots} if isinstance(slots, str) else set(slots)


def _local(cls: type) -> str:
    return f"@message: {cls.__qualname__} is local to a function, where no other process finds it; move it to the top of its module"
