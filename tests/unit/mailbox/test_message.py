"""The mark @message: what may carry it, and that a marked value arrives as it was sent."""

from __future__ import annotations

import functools
import sys
from dataclasses import InitVar, dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

import attrs
import pytest

from actors.errors import EncodeError, ProtocolError, SpecError
from actors.mailbox._codec import UnknownTypeError, decode, encode, message

T = TypeVar("T")


@message
@attrs.frozen
class Above:
    number: int
    items: tuple[Any, ...] = ()


@attrs.frozen
@message
class Below:
    number: int


@attrs.define(slots=False)
@message
class WithDict:
    _private: int
    late: int = attrs.field(init=False)

    @functools.cached_property
    def double(self) -> int:
        return self._private * 2


@message
@attrs.frozen(cache_hash=True)
class Hashed:
    name: str


@message
@attrs.frozen(cache_hash=True, slots=False)
class HashedWithDict:
    name: str


def _next(number: int) -> int:
    return number + 1


@message
@attrs.frozen
class Strict:
    number: int = attrs.field(converter=_next)


@message
@dataclass
class Plain(Generic[T]):
    limit: ClassVar[int] = 3
    value: T
    extra: InitVar[int] = 5
    items: list[int] = field(default_factory=list)

    def __post_init__(self, extra: int) -> None:
        self.items.append(extra)


@message
@dataclass(frozen=True, slots=True)
class Slotted:
    value: int


@dataclass(slots=True)
@message
class SlottedBelow:
    value: int


@message
@dataclass(frozen=True)
class Child(Slotted):
    more: int = 0


class Outer:
    @message
    @attrs.frozen
    class Inner:
        x: int


@attrs.frozen
class Unmarked(Above):
    more: int = 0


class Derived(Above):
    pass


@message
class Forgotten:
    pass


class Base:
    __slots__ = ("hidden",)


VALUES = [
    Above(1, ("a", Below(2))),
    Below(3),
    Hashed("x"),
    HashedWithDict("x"),
    Strict(3),
    Plain(5),
    Slotted(1),
    SlottedBelow(2),
    Child(1, 2),
    Outer.Inner(4),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_marked_value_arrives_equal_and_of_the_same_type(value: object) -> None:
    arrived = decode(encode(value))

    assert arrived == value
    assert type(arrived) is type(value)


def test_an_attrs_hash_that_was_kept_is_computed_again() -> None:
    for value in (Hashed("x"), HashedWithDict("x")):
        hash(value)

        assert hash(decode(encode(value))) == hash(Hashed("x")) or hash(decode(encode(value))) == hash(value)


def test_a_message_may_be_a_key_and_hold_others() -> None:
    value = {Above(1, (Above(2),)): {Slotted(1)}}

    assert decode(encode(value)) == value


def test_what_is_cached_in_an_instance_stays_behind() -> None:
    value = WithDict(3)
    value.late = 4

    assert value.double == 6
    assert "double" not in vars(decode(encode(value)))
    assert decode(encode(value)) == value


def test_a_field_that_was_never_set_is_refused() -> None:
    with pytest.raises(EncodeError, match="late"):
        encode(WithDict(3))


def test_attributes_beside_the_fields_are_refused() -> None:
    value = Plain(1)
    value.lost = 1  # type: ignore[attr-defined]

    with pytest.raises(EncodeError, match="no fields and would be lost: lost"):
        encode(value)


def test_an_error_names_the_field() -> None:
    with pytest.raises(EncodeError) as caught:
        encode({"x": [Above(1, (1, Above(2, (object(),))))]}, what="args[0]")

    assert caught.value.path == 'args[0]["x"][0].items[1].items[0]'
    assert "items[0]: object cannot travel" in str(caught.value)


@pytest.mark.parametrize("value", [Unmarked(1), Derived(1)], ids=["attrs", "plain"])
def test_a_subclass_needs_its_own_mark(value: object) -> None:
    with pytest.raises(EncodeError, match="@message"):
        encode(value)


def test_a_marked_class_that_never_became_one_is_refused_when_sent() -> None:
    with pytest.raises(EncodeError, match="neither an attrs class nor a dataclass"):
        encode(Forgotten())


def test_a_local_class_cannot_be_marked() -> None:
    with pytest.raises(SpecError, match="move it to the top of its module"):

        @message
        @attrs.frozen
        class Local:
            x: int

    with pytest.raises(SpecError, match="move it to the top of its module"):

        @attrs.frozen
        @message
        class LocalBelow:
            x: int


def make(bases: tuple[type, ...], **names: Any) -> type:
    return type("Made", bases, {"__module__": __name__, "__qualname__": "Made", **names})


def test_a_class_with_state_outside_its_fields_cannot_be_marked() -> None:
    for bases, why in [((list,), "derives from list"), ((Exception,), "derives from Exception")]:
        with pytest.raises(SpecError, match=why):
            message(attrs.make_class("Made", ["x"], bases=bases, slots=False, class_body={"__qualname__": "Made"}))
    with pytest.raises(SpecError, match=r"Made\.hidden is a slot of Base and no field"):
        message(attrs.make_class("Made", ["x"], bases=(Base,), class_body={"__qualname__": "Made"}))
    with pytest.raises(SpecError, match=r"Made\.one is a slot"):
        message(
            attrs.make_class("Made", ["x"], bases=(make((), __slots__="one"),), class_body={"__qualname__": "Made"})
        )


def test_a_class_that_its_name_does_not_lead_to_is_refused() -> None:
    stranger = message(
        attrs.make_class("Above", ["number"], class_body={"__qualname__": "Above", "__module__": __name__})
    )
    stranger.__module__ = __name__
    with pytest.raises(EncodeError, match="belongs to something else"):
        encode(stranger(1))
    stranger.__qualname__ = "Nothing"
    with pytest.raises(EncodeError, match="has no 'Nothing'"):
        encode(stranger(1))


def swapped(value: object, old: bytes, new: bytes) -> bytes:
    data = encode(value)
    assert old in data
    assert len(old) == len(new)
    return data.replace(old, new)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        pytest.param(b"test_message:Above", b"test_nowhere:Above", "has not imported", id="module not imported"),
        pytest.param(b"test_message:Above", b"test_message:Abova", "has no 'Abova'", id="no such name"),
        pytest.param(b"test_message:Above", b"test_message:VALUE", "has no 'VALUE'", id="no such name either"),
        pytest.param(b"test_message:Above", b"test_message:attrs", "not a object class", id="a module"),
        pytest.param(b"test_message:Above", b"test_message:Outer", "not marked", id="a class without the mark"),
        pytest.param(b"test_message:Above", b"test_message:Below", "has other fields", id="another message"),
    ],
)
def test_bytes_that_name_another_class_fail_as_an_unknown_type(old: bytes, new: bytes, why: str) -> None:
    with pytest.raises(UnknownTypeError, match=why):
        decode(swapped(Above(1), old, new))


def test_bytes_that_name_a_class_that_is_marked_in_vain_fail_as_an_unknown_type() -> None:
    class_name = f"{__name__}:Child"
    forgotten = f"{__name__}:Forgotten"
    data = encode(Child(1))
    prefix, suffix = data.split(class_name.encode())
    body = prefix[
        prefix.index(b"\x94" if b"\x94" in prefix else b"\x95") :
    ]  # the array, without the ext header around it
    tree = body[:-2] + bytes([0xD9, len(forgotten)]) + forgotten.encode() + suffix

    with pytest.raises(UnknownTypeError, match="neither an attrs class"):
        decode(bytes([0xC7, len(tree), 1]) + tree)


def test_decoding_runs_no_module_getattr_and_imports_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    module = type(sys)("lazy")
    vars(module)["__getattr__"] = lambda name: pytest.fail(f"asked for {name}")
    monkeypatch.setitem(sys.modules, "lazy", module)
    before = set(sys.modules)
    for reference in ("lazy:Thing", "this:s", "sys:modules", "sys:modules.x"):
        with pytest.raises(ProtocolError):
            decode(tree_of(25, reference, 0))

    assert set(sys.modules) == before


def tree_of(code: int, *parts: Any) -> bytes:
    import msgpack

    return bytes(msgpack.packb(msgpack.ExtType(1, msgpack.packb([code, *parts]))))
