"""Buffers beside a message: where they lie, and what a body may say of them."""

from __future__ import annotations

import array
import mmap
from typing import Any

import pytest

np: Any = pytest.importorskip("numpy")

from actors.errors import EncodeError, ProtocolError  # noqa: E402
from actors.mailbox import _codec, _envelope  # noqa: E402
from actors.mailbox._cargo import (  # noqa: E402
    ALARM,
    LARGE_BUFFER_BYTES,
    Bulky,
    Cargo,
    Parcel,
    largest_parcel,
    size_of,
    take,
)

LARGE = bytes(range(256)) * (LARGE_BUFFER_BYTES // 256)
SMALL = LARGE[:-1]


def written(parcel: Parcel) -> memoryview:
    """What a slot holds before the message."""
    beside = bytearray(parcel.offset)
    with memoryview(beside) as view:
        for start, length, source in parcel.pieces:
            target = view[start : start + length]
            if callable(source):
                source(target)
            else:
                target[:] = source
    return memoryview(beside).toreadonly()


def sent(*args: Any, **kwargs: Any) -> tuple[bytes, list[Any]]:
    """The bytes of a tell and what arrives."""
    data = _envelope.encode_tell("handler", args, kwargs)
    beside = written(data) if isinstance(data, Parcel) else None
    message: Any = _envelope.read_message(bytes(data), beside=beside)
    return data, [*message[2], *(message[3].values() if len(message) > 3 else ())]


BULKY = [
    pytest.param(LARGE, id="bytes"),
    pytest.param(bytearray(LARGE), id="bytearray"),
    pytest.param(memoryview(LARGE), id="memoryview"),
    pytest.param(memoryview(LARGE).cast("I"), id="memoryview-of-ints"),
    pytest.param(memoryview(LARGE).cast("B", (64, len(LARGE) // 64)), id="memoryview-of-two-dimensions"),
    pytest.param(memoryview(LARGE * 2)[::2], id="memoryview-of-every-other"),
    pytest.param(array.array("d", [1.5] * 4096), id="array"),
    pytest.param((LARGE, SMALL), id="tuple"),
    pytest.param([LARGE], id="list"),
    pytest.param({"x": bytearray(LARGE)}, id="dict"),
    pytest.param([1, [2, {"x": (3, [LARGE])}]], id="a-tuple-within"),
]


@pytest.mark.parametrize("value", BULKY)
def test_a_large_buffer_lies_beside_its_message_and_arrives_equal(value: Any) -> None:
    data, found = sent(value)

    assert isinstance(data, Parcel)
    assert len(data) < 2 * LARGE_BUFFER_BYTES
    assert data.payload >= LARGE_BUFFER_BYTES
    assert found == [value]
    assert type(found[0]) is type(value)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(SMALL, id="bytes"),
        pytest.param(bytearray(SMALL), id="bytearray"),
        pytest.param(memoryview(SMALL), id="memoryview"),
        pytest.param(array.array("B", SMALL), id="array"),
        pytest.param((SMALL, None), id="tuple"),
        pytest.param([LARGE] * 17, id="many-in-a-list"),
        pytest.param([[LARGE]], id="deep-in-plain-lists"),
    ],
)
def test_what_is_small_or_hard_to_find_stands_in_its_message(value: Any) -> None:
    data, found = sent(value)

    assert type(data) is bytes
    assert found == [value]


NUMPY = [
    pytest.param(np.arange(9000.0), id="contiguous"),
    pytest.param(np.asfortranarray(np.arange(9000.0).reshape(90, 100)), id="fortran-order"),
    pytest.param(np.arange(90_000, dtype="u2").reshape(300, 300)[::2, ::-3], id="strided"),
    pytest.param(np.zeros(900, dtype=[("a", "f8"), ("b", "S20")]), id="structured"),
]


@pytest.mark.parametrize("value", NUMPY)
def test_a_large_array_arrives_read_only_on_the_memory_beside_its_message(value: Any) -> None:
    data, found = sent(value, also=(value, 1))

    assert isinstance(data, Parcel)
    assert all(start % 64 == 0 for start, _length, _source in data.pieces)
    assert (found[0] == value).all()
    assert (found[1][0] == value).all()
    assert found[0].dtype == value.dtype
    assert not found[0].flags.writeable


def test_a_small_array_stands_in_its_message() -> None:
    data, found = sent(np.arange(3.0))

    assert type(data) is bytes
    assert found[0].tolist() == [0.0, 1.0, 2.0]


def test_other_objects_with_a_buffer_arrive_as_views_of_their_bytes() -> None:
    mapping = mmap.mmap(-1, len(LARGE))
    mapping[:] = LARGE
    data, found = sent(mapping)

    assert isinstance(data, Parcel)
    assert found == [LARGE]


def test_an_array_of_objects_is_refused_with_its_path() -> None:
    with pytest.raises(EncodeError, match=r"kwargs\[\"a\"\]\.x|kwargs\[\"a\"\]\[\"x\"\]"):
        sent(a={"x": np.full(9000, None)})


def test_a_reply_and_an_item_carry_buffers_too() -> None:
    for encode, value in ((_envelope.encode_result, LARGE), (_envelope.encode_item, [7, (LARGE,)])):
        data = encode(1, value)
        assert isinstance(data, Parcel)
        answer: Any = _envelope.parse_answer(bytes(data), beside=written(data))
        assert answer.value == value


def test_without_what_lies_beside_it_a_message_is_none() -> None:
    data = _envelope.encode_tell("handler", (LARGE,))
    with pytest.raises(ProtocolError, match="no type has the code"):
        _envelope.read_message(bytes(data))
    with pytest.raises(ProtocolError, match="a buffer at"):
        _envelope.read_message(bytes(data), beside=memoryview(b"short"))
    opaque: Any = _envelope.read_message(bytes(data), opaque=True, beside=memoryview(b""))
    assert opaque[1] == "handler"


@pytest.mark.parametrize("place", [[0, 5], [-1, 1], [1, -1], [5, 0], [4, 1], [0], ["0", 1], [0, 1, 2], [1 << 80, 1]])
def test_a_place_out_of_range_is_refused(place: list[object]) -> None:
    with pytest.raises(ProtocolError, match="a buffer at"):
        take(memoryview(b"four"), place)


def test_a_place_in_range_is_taken() -> None:
    assert bytes(take(memoryview(b"four"), [1, 2])) == b"ou"
    assert bytes(take(memoryview(b"four"), [4, 0])) == b""


def test_buffers_lie_behind_each_other_at_multiples_of_64() -> None:
    cargo = Cargo()
    assert cargo.size == 0
    assert [cargo.add(memoryview(b"x" * n), n) for n in (1, 64, 65)] == [[0, 1], [64, 64], [128, 65]]
    assert (cargo.size, cargo.payload) == (256, 130)
    with pytest.raises(Bulky):
        ALARM.add(memoryview(b""), 0)


def test_what_the_bound_counts() -> None:
    cargo = Cargo()
    cargo.add(memoryview(LARGE), len(LARGE))
    little, much = Parcel.make(b"x", cargo), Parcel.make(bytes(5000), cargo)

    assert (little.counted, much.counted) == (len(LARGE), len(LARGE) + 5000)
    assert (size_of(little), size_of(b"xyz")) == (len(LARGE) + 1, 3)
    assert size_of(much) <= largest_parcel(much.counted)


def test_what_is_no_message_has_its_buffers_inside() -> None:
    assert _codec.decode(_codec.encode((LARGE, np.arange(9000.0).tobytes())), opaque=False) == (
        LARGE,
        np.arange(9000.0).tobytes(),
    )
    assert _codec.decode(_codec.encode([bytearray(LARGE)])) == [bytearray(LARGE)]
