"""Memory that travels: views, arrays, numpy."""

from __future__ import annotations

import array
import ctypes
import importlib
import mmap
import sys
from typing import Any

import pytest

from actors.errors import EncodeError, ProtocolError
from actors.mailbox import _buffers
from actors.mailbox._codec import UnknownTypeError, decode, encode

np: Any = pytest.importorskip("numpy")

VIEWS = [
    pytest.param(memoryview(b"abc"), id="bytes"),
    pytest.param(memoryview(b""), id="empty"),
    pytest.param(memoryview(bytearray(b"abcdef"))[::2], id="strided"),
    pytest.param(memoryview(array.array("d", [1.5, 2.5])), id="doubles"),
    pytest.param(memoryview(array.array("i")), id="no ints"),
    pytest.param(memoryview(bytes(range(12))).cast("B", (3, 4)), id="two dimensions"),
    pytest.param(memoryview(b"abcd").cast("i", ()), id="no dimension"),
]

ARRAYS = [
    pytest.param(np.arange(6), id="ints"),
    pytest.param(np.arange(6.0, dtype="f4").reshape(2, 3), id="C order"),
    pytest.param(np.asfortranarray(np.arange(6.0).reshape(2, 3)), id="F order"),
    pytest.param(np.arange(20).reshape(4, 5)[::2, ::2], id="strided"),
    pytest.param(np.array(5), id="0-d"),
    pytest.param(np.zeros((3, 0, 2)), id="zero size"),
    pytest.param(np.array([True, False]), id="bool"),
    pytest.param(np.array([1 + 2j]), id="complex"),
    pytest.param(np.array(["a", "bcd"]), id="str"),
    pytest.param(np.array([b"a", b"bcd"]), id="bytes"),
    pytest.param(np.array(["2020-01-01", "NaT"], dtype="M8[ns]"), id="datetime64"),
    pytest.param(np.array([5], dtype="m8[3s]"), id="timedelta64"),
    pytest.param(np.arange(3, dtype=">i4"), id="big-endian"),
    pytest.param(np.zeros(2, dtype=[("a", "<i4"), ("b", "<f8", (2,))]), id="structured"),
    pytest.param(np.zeros(2, dtype=[("a", [("b", "<i2")]), (("title", "c"), "S3")]), id="nested structure"),
    pytest.param(np.zeros(2, dtype=np.dtype([("a", "i1"), ("b", "f8")], align=True)), id="padded structure"),
    pytest.param(np.zeros(3, dtype="V5"), id="void"),
    pytest.param(np.ndarray((2,), dtype="V0"), id="nothing"),
]

SCALARS = [
    pytest.param(np.float64(1.5), id="float64"),
    pytest.param(np.int8(-3), id="int8"),
    pytest.param(np.bool_(True), id="bool"),
    pytest.param(np.str_("hi"), id="str"),
    pytest.param(np.str_(""), id="empty str"),
    pytest.param(np.bytes_(b"hi"), id="bytes"),
    pytest.param(np.datetime64("2020-01-01", "us"), id="datetime64"),
    pytest.param(np.zeros(1, dtype=[("a", "<i4")])[0], id="record"),
]


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_arrives_equal_and_read_only(view: memoryview) -> None:
    arrived = decode(encode(view))

    assert isinstance(arrived, memoryview)
    assert (arrived.format, arrived.shape, arrived.tolist()) == (view.format, view.shape, view.tolist())
    assert arrived.readonly


@pytest.mark.parametrize(
    "view", [memoryview(np.arange(3, dtype=">i4")), memoryview(np.zeros((3, 0)))], ids=["foreign format", "no items"]
)
def test_a_view_that_cannot_be_rebuilt_is_refused(view: memoryview) -> None:
    with pytest.raises(EncodeError, match=r"\[1\]: memoryview cannot travel.*cannot be rebuilt"):
        encode([0, view])


@pytest.mark.parametrize("typecode", sorted(set(array.typecodes) - {"u", "w"}))
def test_an_array_arrives_as_an_array(typecode: str) -> None:
    value = array.array(typecode, [1, 2, 3])

    arrived = decode(encode(value))

    assert isinstance(arrived, array.array)
    assert (arrived.typecode, arrived) == (typecode, value)


def test_any_other_buffer_arrives_as_a_view_of_its_bytes() -> None:
    mapped = mmap.mmap(-1, 16)
    mapped[:3] = b"abc"
    numbers = (ctypes.c_int32 * 2)(1, 2)

    with mapped:
        assert bytes(decode(encode(mapped)))[:3] == b"abc"  # type: ignore[call-overload]
    assert bytes(decode(encode(numbers))) == bytes(numbers)  # type: ignore[call-overload]


@pytest.mark.parametrize("value", ARRAYS)
def test_a_numpy_array_arrives_with_dtype_shape_and_order(value: Any) -> None:
    arrived: Any = decode(encode({"x": (value,)}))
    arrived = arrived["x"][0]

    assert type(arrived) is np.ndarray
    assert (arrived.dtype, arrived.shape) == (value.dtype, value.shape)
    assert arrived.tobytes() == value.tobytes()
    assert arrived.flags.c_contiguous or not value.flags.c_contiguous
    assert arrived.flags.f_contiguous or not value.flags.f_contiguous
    assert not arrived.flags.writeable


@pytest.mark.parametrize("value", SCALARS)
def test_a_numpy_scalar_arrives_equal_and_of_the_same_type(value: Any) -> None:
    arrived: Any = decode(encode([value]))

    assert (type(arrived[0]), arrived[0].dtype.kind, arrived[0]) == (type(value), value.dtype.kind, value)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        pytest.param(np.array([None]), "holds Python objects", id="object"),
        pytest.param(np.zeros(1, dtype=[("a", "O")]), "holds Python objects", id="object field"),
        pytest.param(np.ma.array([1]), "subclass of ndarray", id="masked"),
        pytest.param(
            np.zeros(1, dtype=np.dtype({"names": ["a", "b"], "formats": ["i4", "i4"], "offsets": [0, 0]})),
            "numpy|overlap",
            id="overlapping fields",
        ),
    ],
)
def test_an_array_that_would_not_arrive_the_same_is_refused(value: Any, why: str) -> None:
    with pytest.raises(EncodeError, match=why):
        encode(value)


def test_a_dtype_that_its_description_does_not_give_again_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_buffers, "read_dtype", lambda description: np.dtype("V2"))  # as for ml_dtypes' bfloat16

    with pytest.raises(EncodeError, match="would arrive as"):
        encode(np.zeros(1, dtype="f2,f4"))


def test_a_dtype_nested_too_deeply_is_refused() -> None:
    dtype: Any = np.dtype([("a", "<i4")])
    for _ in range(30):
        dtype = np.dtype([("a", dtype)])

    with pytest.raises(EncodeError, match="cannot be described"):
        encode(np.zeros(1, dtype=dtype))


def node(code: int, *parts: Any) -> bytes:
    import msgpack

    return bytes(msgpack.packb(msgpack.ExtType(1, msgpack.packb([code, *parts]))))


def view_node(data: bytes) -> list[Any]:
    return [7, "B", data]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(node(7, "B", "text"), id="view of text"),
        pytest.param(node(7, "i", b"abc"), id="view that does not divide"),
        pytest.param(node(7, "B", b"abc", 2**62), id="view of a wild shape"),
        pytest.param(node(7), id="view of nothing"),
        pytest.param(node(8, "i", 10**12), id="array of a number"),
        pytest.param(node(8, "O", b"abcd"), id="array of objects"),
        pytest.param(node(8, ["i"], b"abcd"), id="array of a list"),
        pytest.param(node(8, "i", b"abc"), id="array that does not divide"),
        pytest.param(node(9, "O", [1, 1], "C", view_node(b"12345678")), id="numpy objects"),
        pytest.param(node(9, "<i4,<i4", [1, 1], "C", view_node(b"12345678")), id="numpy's other syntax"),
        pytest.param(node(9, "<i4", [1, 2**62], "C", view_node(b"1234")), id="numpy wild shape"),
        pytest.param(node(9, "<i4", [1, -1], "C", view_node(b"1234")), id="numpy negative shape"),
        pytest.param(node(9, "<i4", [1, 1], "C", view_node(b"12345678")), id="numpy too much memory"),
        pytest.param(node(9, "<i4", [1, 1], "Q", view_node(b"1234")), id="numpy wild order"),
        pytest.param(node(9, "<i4", [1, 1], "C", b"1234"), id="numpy bytes for memory"),
        pytest.param(node(9, "<i4", [0, 1], "C", view_node(b"1234")), id="numpy list for shape"),
        pytest.param(node(9, [0], [1, 1], "C", view_node(b"1234")), id="numpy no fields"),
        pytest.param(node(9, [0, 5], [1, 1], "C", view_node(b"1234")), id="numpy no field"),
        pytest.param(node(10, "<i4", b"123"), id="numpy scalar too short"),
        pytest.param(node(10, "<i4", 5), id="numpy scalar of a number"),
    ],
)
def test_hostile_parts_raise_a_protocol_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(data)


def test_an_array_that_comes_where_numpy_is_missing_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(np.arange(3))
    monkeypatch.setitem(sys.modules, "numpy", None)

    with pytest.raises(UnknownTypeError, match="pip install numpy"):
        decode(data)


def test_numpy_is_imported_when_the_first_array_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(np.arange(3))
    imported: list[str] = []

    def import_module(name: str) -> Any:
        imported.append(name)
        return np

    monkeypatch.delitem(sys.modules, "numpy")
    monkeypatch.setattr(importlib, "import_module", import_module)

    assert decode(data).tolist() == [0, 1, 2]  # type: ignore[attr-defined]
    assert "numpy" in imported
