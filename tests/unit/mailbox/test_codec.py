"""Values and bytes: what travels, what is refused, and what bytes can do at worst."""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import enum
import fractions
import gc
import math
import pathlib
import signal
import threading
import uuid
import zoneinfo
from typing import Any, NamedTuple

import attrs
import msgpack
import pytest

from actors.errors import EncodeError, ProtocolError, SpecError
from actors.mailbox import _codec, _values
from actors.mailbox._classes import find, load, reference_to
from actors.mailbox._codec import UnknownTypeError, decode, encode, register_type, wrap


class Color(enum.Enum):
    RED = 1
    ALSO_RED = 1  # noqa: PIE796 - an alias
    BLUE = "b"


class Level(enum.IntEnum):
    LOW = 1


class Right(enum.Flag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: int
    y: Any = 0


class Named(Point):
    """A subclass with a dictionary, as people write them."""

    def norm(self) -> int:
        return self.x + int(self.y)


class MyInt(int):
    pass


class MyBytes(bytes):
    pass


class MyList(list):  # type: ignore[type-arg]
    pass


class MyDict(dict):  # type: ignore[type-arg]
    pass


class MyDate(dt.datetime):
    pass


OldPoint = collections.namedtuple("OldPoint", "x y")  # noqa: PYI024 - people have them
UTC = dt.UTC
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
EAST = dt.timezone(dt.timedelta(hours=5, microseconds=7), "EAST")

VALUES: list[object] = [
    None,
    True,
    False,
    0,
    -1,
    2**63 - 1,
    2**64 - 1,
    2**64,
    -(2**63),
    -(2**63) - 1,
    10**5000,
    -(10**5000),
    1.5,
    -0.0,
    math.inf,
    "",
    "text",
    "\ud800 alone",
    "\0",
    b"",
    b"\xc4\xff",
    [],
    [[], [[]]],
    {},
    {"a": {"b": [1, {}]}},
    {1: 2, None: 3, 1.5: 4, b"x": 5, True + 1: 6},
    {(1, (2, "x")): 1, frozenset({1}): 2, dt.date(2020, 1, 1): 3},
    (),
    (1, [2, (3,)], {"x": (4,)}),
    set(),
    {1, "a", (2, 3), frozenset({4})},
    frozenset(),
    frozenset({1, b"x"}),
    bytearray(b"abc"),
    [bytearray(b"abc"), {"x": bytearray()}],
    complex(1.5, -0.0),
    decimal.Decimal("1.10"),
    decimal.Decimal("-Infinity"),
    decimal.Decimal("1E+999999"),
    fractions.Fraction(3, 7),
    fractions.Fraction(-(10**50), 7),
    uuid.UUID(int=5),
    pathlib.Path("/tmp/x"),
    pathlib.PurePosixPath("a/b"),
    pathlib.PureWindowsPath("C:\\x"),
    dt.date(2020, 2, 29),
    dt.time(1, 2, 3, 4),
    dt.time(1, 2, 3, 4, tzinfo=UTC, fold=1),
    dt.datetime(2020, 1, 2, 3, 4, 5, 6),  # noqa: DTZ001 - naive on purpose
    dt.datetime(2020, 1, 2, 3, 4, 5, 6, UTC),
    dt.datetime(2020, 10, 25, 2, 30, tzinfo=BERLIN, fold=1),
    dt.datetime(2020, 1, 2, tzinfo=EAST),
    dt.timedelta(days=-3, microseconds=5),
    dt.timedelta.max,
    UTC,
    EAST,
    dt.timezone(dt.timedelta(hours=1)),
    BERLIN,
    Color.RED,
    Color.BLUE,
    Level.LOW,
    Right.READ,
    Right.READ | Right.WRITE,
    Right(0),
    Point(1, [2]),
    Point(1, Point(2)),
    Named(1, 2),
    OldPoint(1, 2),
    [[1], {"x": msgpack.ExtType(1, b"")}],
]


def name_of(number: int, value: object) -> str:
    """A test id: unique, readable, the same in every run."""
    return f"{type(value).__name__} {number}"


def same(one: Any, other: Any) -> bool:
    """Equal, of the same type, all the way down."""
    if type(one) is not type(other):
        return False
    if type(one) in {list, tuple}:
        return len(one) == len(other) and all(map(same, one, other))
    if type(one) is dict:
        return (
            list(map(type, one)) == list(map(type, other)) and one == other and all(same(one[k], other[k]) for k in one)
        )
    if type(one) is float:
        return math.copysign(1, one) == math.copysign(1, other) and one == other
    return bool(one == other)


@pytest.mark.parametrize("value", [pytest.param(value, id=name_of(n, value)) for n, value in enumerate(VALUES)])
@pytest.mark.parametrize("references", [False, True], ids=["message", "spec"])
def test_a_value_arrives_equal_and_of_the_same_type(value: object, references: bool) -> None:
    assert same(decode(encode(value, references=references), references=references), value)
    assert same(decode(encode([{"x": (value,)}], references=references), references=references), [{"x": (value,)}])


def test_nan_arrives() -> None:
    arrived = decode(encode((math.nan, [math.nan], decimal.Decimal("sNaN12"))))

    assert str(arrived) == "(nan, [nan], Decimal('sNaN12'))"


def test_fold_and_zone_arrive() -> None:
    arrived = decode(encode(dt.datetime(2020, 10, 25, 2, 30, tzinfo=BERLIN, fold=1)))

    assert isinstance(arrived, dt.datetime)
    assert (arrived.fold, arrived.tzinfo) == (1, BERLIN)
    assert decode(encode(UTC)) is UTC


def test_plain_values_are_plain_msgpack() -> None:
    value = [None, True, 1, 1.5, "x", b"x", {"a": [1]}]

    assert encode(value) == msgpack.packb(value)


ITERATOR = iter(())
STRANGERS: list[tuple[object, str, str]] = [
    (object(), "value", "object cannot travel"),
    ([1, object()], "value[1]", "object cannot travel"),
    ({"a": {"b": object()}}, 'value["a"]["b"]', "object cannot travel"),
    ({(1, object()): 1}, "value.keys[(1, <object", "object cannot travel"),
    ((1, (2, object())), "value[1][1]", "object cannot travel"),
    ({"x": [1, {2: {3, (4, ITERATOR)}}]}, 'value["x"][1][2].elements[1]', "tuple_iterator cannot travel"),
    (Point(1, object()), "value.y", "object cannot travel"),
    (MyInt(1), "value", "a subclass of int would lose its type"),
    (MyBytes(b"x"), "value", "a subclass of bytes would lose its type"),
    ([MyList()], "value[0]", "a subclass of list would lose its type"),
    (MyDict(), "value", "a subclass of dict would lose its type"),
    (MyDate(2020, 1, 1), "value", "a subclass of datetime would lose its type"),
    (msgpack.Timestamp(1), "value", "Timestamp cannot travel"),
    ([msgpack.Timestamp(1)], "value[0]", "Timestamp cannot travel"),
    (ValueError("x"), "value", "ValueError cannot travel"),
    (int, "value", "type cannot travel"),
    (len, "value", "builtin_function_or_method cannot travel"),
    (dt.datetime(2020, 1, 1, tzinfo=type("Zone", (dt.tzinfo,), {})()), "value", "Zone cannot travel"),
]


@pytest.mark.parametrize(
    ("value", "path", "why"), [pytest.param(*case, id=name_of(n, case[0])) for n, case in enumerate(STRANGERS)]
)
def test_any_other_value_is_refused_by_path_and_type(value: object, path: str, why: str) -> None:
    with pytest.raises(EncodeError) as caught:
        encode(value)

    assert caught.value.path.startswith(path)
    assert why in str(caught.value)
    assert str(caught.value).startswith(path)


def test_a_named_tuple_with_attributes_of_its_own_is_refused() -> None:
    value = Named(1)
    value.lost = 1  # type: ignore[attr-defined]

    with pytest.raises(EncodeError, match="beside its fields: lost"):
        encode(value)


def test_a_local_enum_is_refused() -> None:
    class Local(enum.Enum):
        A = 1

    with pytest.raises(EncodeError, match="no name at the top of a module"):
        encode(Local.A)


def test_a_zone_from_a_file_is_refused(tmp_path: pathlib.Path) -> None:
    paths = [pathlib.Path(root) / "Europe/Berlin" for root in zoneinfo.TZPATH]
    with next(path for path in paths if path.exists()).open("rb") as file:
        zone = zoneinfo.ZoneInfo.from_file(file)

    with pytest.raises(EncodeError, match="has no key"):
        encode(zone)


def nested(depth: int, wrap_: type) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = wrap_([value])
    return value


@pytest.mark.parametrize("depth", [200, 1000, 1020])
def test_what_is_deep_and_can_be_encoded_can_be_decoded(depth: int) -> None:
    assert str(decode(encode(nested(min(depth, 200), tuple)))) == str(nested(min(depth, 200), tuple))
    data = encode(nested(depth, list))

    assert encode(decode(data)) == data


@pytest.mark.parametrize("wrap_", [list, tuple], ids=["lists", "tuples"])
def test_a_value_nested_beyond_reason_is_refused(wrap_: type) -> None:
    with pytest.raises(EncodeError, match="nested"):
        encode(nested(2000, wrap_))


def test_a_value_that_contains_itself_is_refused() -> None:
    loop: list[Any] = []
    loop += [loop, loop]

    with pytest.raises(EncodeError, match="contains itself"):
        encode(loop)


def test_too_little_stack_is_an_encode_error() -> None:
    value = nested(250, tuple)

    def encode_on_the_edge(left: int) -> str:
        if left:
            return encode_on_the_edge(left - 1)
        try:
            encode(value)
        except EncodeError as error:
            return str(error)
        return "encoded"

    assert "stack" in encode_on_the_edge(800)


def test_a_value_too_large_for_msgpack_is_an_encode_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_large(tree: object) -> bytes:
        raise ValueError("list is too large")

    monkeypatch.setattr(_codec, "_pack_tree", too_large)
    with pytest.raises(EncodeError, match="value: list is too large"):
        encode((1,))


# ------------------------------------------------------------------------------------------------------------------------ re-entrance


def test_a_packer_that_failed_or_grew_large_is_not_kept() -> None:
    encode(1)
    before = list(_codec._packers)
    with pytest.raises(EncodeError):
        encode(object())
    encode("x" * 2_000_000)
    encode((b"x" * 2_000_000,))

    assert len(_codec._packers) < max(len(before), 1) + 1
    assert all(pack not in _codec._packers for pack in before)


def test_an_encode_in_the_middle_of_an_encode_harms_neither() -> None:
    inner: list[bytes] = []

    @attrs.define
    class Nesting:
        value: int

    def to_plain(value: Nesting) -> list[Any]:
        inner.append(encode([1, {"inside": (2, "x" * 1000)}]))
        return [value.value]

    register_type(Nesting, 100, to_plain, lambda plain: Nesting(plain[0]))
    value = [["x" * 100] * 100, Nesting(5), ["y" * 100] * 100]

    assert decode(encode(value)) == value
    assert set(map(decode_text, inner)) == {str([1, {"inside": (2, "x" * 1000)}])}


def decode_text(data: bytes) -> str:
    return str(decode(data))


def test_encoding_is_safe_against_a_signal_handler_and_threads_that_encode_too() -> None:
    value = [{"a": [1, 2, (3, 4)]}, "x" * 500, {5, 6}]
    expected = encode(value)
    wrong: list[bytes] = []

    def check(*_: object) -> None:
        data = encode(value)
        if data != expected:
            wrong.append(data)

    def run() -> None:
        for _ in range(2000):
            check()

    before = signal.signal(signal.SIGALRM, check)
    signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
    try:
        threads = [threading.Thread(target=run) for _ in range(3)]
        for thread in threads:
            thread.start()
        run()
        for thread in threads:
            thread.join()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    assert wrong == []


def test_encoding_in_a_destructor_during_collection_is_safe() -> None:
    class Last:
        def __del__(self) -> None:
            seen.append(encode(["bye", (1,)]))

    seen: list[bytes] = []
    for _ in range(200):
        loop = [Last()]
        loop.append(loop)  # type: ignore[arg-type]
        del loop
    value = [[{"x": n}] for n in range(5000)]

    assert decode(encode(value)) == value
    gc.collect()
    assert set(seen) == {encode(["bye", (1,)])}


# -------------------------------------------------------------------------------------------------------------------- registered types


@attrs.frozen
class Address:
    number: int


def test_a_registered_type_travels_as_its_plain_value() -> None:
    register_type(Address, 101, lambda address: (address.number,), lambda plain: Address(plain[0]))
    register_type(Address, 101, lambda address: (address.number,), lambda plain: Address(plain[0]))

    assert decode(encode({Address(1): [Address(2)]})) == {Address(1): [Address(2)]}
    with pytest.raises(ProtocolError, match="do not fit"):
        decode(tree_of(101, [0]))


@pytest.mark.parametrize(
    ("cls", "code"),
    [(Point, 63), (Point, 128), (Point, 101), (Address, 102), (dict, 103)],
    ids=["code too low", "code too high", "code taken", "class registered", "a listed class"],
)
def test_a_registration_that_collides_is_refused(cls: type, code: int) -> None:
    register_type(Address, 101, lambda address: (address.number,), lambda plain: Address(plain[0]))
    with pytest.raises(SpecError, match="register_type"):
        register_type(cls, code, list, list)


# -------------------------------------------------------------------------------------------------------------------------- references


def test_classes_and_functions_travel_in_specs_only() -> None:
    value = [Point, find, len, MyDate.utcnow, {"x": Color}, Color.RED]
    del value[3]

    assert decode(encode(value, references=True), references=True) == value
    with pytest.raises(EncodeError, match="cannot travel"):
        encode(Point)
    with pytest.raises(ProtocolError, match="code 26"):
        decode(encode(Point, references=True))


class Holder:
    @staticmethod
    def static() -> None: ...


def test_a_static_method_is_found_by_its_name() -> None:
    assert decode(encode(Holder.static, references=True), references=True) is Holder.static


def test_a_module_is_imported_for_a_spec() -> None:
    assert load("this_module_is:missing".replace("this_module_is", "json.tool").replace("missing", "main"))


@pytest.mark.parametrize("reference", ["no_such_module:x", "json:nothing", ":x"])
def test_a_reference_that_cannot_be_loaded_says_why(reference: str) -> None:
    with pytest.raises(UnknownTypeError, match="cannot be loaded here"):
        load(reference)


def test_a_function_without_a_name_of_its_own_is_refused() -> None:
    with pytest.raises(EncodeError, match=r'value\["f"\]: function cannot travel.*no name at the top'):
        encode({"f": lambda: None}, references=True)
    with pytest.raises(LookupError, match="no name"):
        reference_to(5)


@pytest.mark.parametrize("reference", [5, "no colon", None])
def test_what_is_no_reference_is_a_protocol_error(reference: object) -> None:
    with pytest.raises(ProtocolError, match="expected a reference"):
        find(reference)


# ------------------------------------------------------------------------------------------------------------------------ hostile bytes


def tree_of(code: Any, *parts: Any) -> bytes:
    return bytes(msgpack.packb(msgpack.ExtType(1, msgpack.packb([code, *parts]))))


HERE = __name__
HOSTILE = [
    pytest.param(b"", id="nothing"),
    pytest.param(b"\xc1", id="the byte that is never used"),
    pytest.param(b"\x01\x02", id="two values"),
    pytest.param(b"\xdd\xff\xff\xff\xff", id="4 Gi items announced"),
    pytest.param(b"\xdf\xff\xff\xff\xff", id="4 Gi pairs announced"),
    pytest.param(b"\xc6\xff\xff\xff\xff", id="4 GiB announced"),
    pytest.param(b"\xdd\x00\x00\x10\x00" * 2000, id="nested arrays announced"),
    pytest.param(b"\x91" * 5000, id="nested too deeply"),
    pytest.param(b"\x81\x90\x01", id="a list as key"),
    pytest.param(b"\xa1\xff", id="no UTF-8"),
    pytest.param(b"\xc7\x00\x02", id="an extension of another code"),
    pytest.param(b"\xc7\x01\x01\x90", id="an empty node"),
    pytest.param(b"\xc7\x05\x01\x92\x01\xc7\x00\x01", id="a tree in a tree"),
    pytest.param(b"\xd7\xff\xff\xff\xff\xff\xff\xff\xff\xff", id="a wrong timestamp"),
    pytest.param(tree_of(99), id="an unknown code"),
    pytest.param(tree_of("x"), id="a code that is no int"),
    pytest.param(tree_of(True), id="a code that is a bool"),
    pytest.param(tree_of(26, "os:system"), id="a reference in a message"),
    pytest.param(tree_of(2, 1), id="a dict of one"),
    pytest.param(tree_of(2, [0], 1), id="a dict with a list as key"),
    pytest.param(tree_of(3, [0]), id="a set of lists"),
    pytest.param(tree_of(5, 10**9), id="an int of a number"),
    pytest.param(tree_of(5), id="an int of nothing"),
    pytest.param(tree_of(6, 10**12), id="a bytearray of a size"),
    pytest.param(tree_of(11, "1", "2"), id="a complex of texts"),
    pytest.param(tree_of(12, "abc"), id="a wrong Decimal"),
    pytest.param(tree_of(12, 5), id="a Decimal of a number"),
    pytest.param(tree_of(13, 1, 0), id="a Fraction over zero"),
    pytest.param(tree_of(13, 1.5, 2), id="a Fraction of a float"),
    pytest.param(tree_of(14, b"short"), id="a short UUID"),
    pytest.param(tree_of(15, 9, "x"), id="a path of no flavour"),
    pytest.param(tree_of(15, 0, 5), id="a path of a number"),
    pytest.param(tree_of(16, 10**10), id="a late date"),
    pytest.param(tree_of(17, 25, 0, 0, 0, 0, None), id="a wrong time"),
    pytest.param(tree_of(18, 2020, 13, 1, 0, 0, 0, 0, 0, None), id="a wrong datetime"),
    pytest.param(tree_of(18, 2020, 1, 1, 0, 0, 0, 0, 0, "UTC"), id="a datetime with a text as zone"),
    pytest.param(tree_of(19, 10**15, 0, 0), id="a long timedelta"),
    pytest.param(tree_of(20, 5), id="a timezone of a number"),
    pytest.param(tree_of(21, "../../etc/passwd"), id="a zone outside"),
    pytest.param(tree_of(21, "No/Where"), id="no such zone"),
    pytest.param(tree_of(22, f"{HERE}:Color", "GREEN"), id="no such member"),
    pytest.param(tree_of(22, f"{HERE}:Point", "x"), id="an Enum that is none"),
    pytest.param(tree_of(22, "os:system", "x"), id="an Enum that is a function"),
    pytest.param(tree_of(22, "builtins:nothing", "x"), id="an Enum that is not there"),
    pytest.param(tree_of(23, f"{HERE}:Right", 64), id="no such Flag"),
    pytest.param(tree_of(23, f"{HERE}:Right", "1"), id="a Flag of a text"),
    pytest.param(tree_of(24, f"{HERE}:Point", 1), id="a NamedTuple too short"),
    pytest.param(tree_of(24, "builtins:tuple", 1), id="a NamedTuple that is none"),
    pytest.param(tree_of(25, f"{HERE}:Point", 0), id="a message that is none"),
]


@pytest.mark.parametrize("data", HOSTILE)
@pytest.mark.parametrize("kind", [bytes, memoryview], ids=["bytes", "memoryview"])
def test_hostile_bytes_raise_a_protocol_error_and_nothing_else(data: bytes, kind: Any) -> None:
    with pytest.raises(ProtocolError):
        decode(kind(data))


def test_a_protocol_error_says_length_and_first_bytes() -> None:
    with pytest.raises(ProtocolError, match=r"3 bytes are no value: .*; they begin c1 02 03"):
        decode(b"\xc1\x02\x03")


def test_a_timestamp_of_msgpack_decodes_to_a_number_and_never_to_a_foreign_type() -> None:
    assert decode(msgpack.packb(msgpack.Timestamp(5, 7))) == 5_000_000_007


def test_values_can_be_left_alone() -> None:
    assert repr(decode(encode([1, (2,)]), opaque=True)) == "[1, OPAQUE]"


def test_wrapping_leaves_scalars_alone() -> None:
    assert wrap("x", "args[0]") == "x"


def test_the_code_of_an_unknown_type_is_none() -> None:
    assert _values.PLAIN.code_of(object) is None
