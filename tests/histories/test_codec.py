"""Any value comes back as it was sent, and no bytes do more than raise ProtocolError."""

from __future__ import annotations

import contextlib
import datetime as dt
import decimal
import random
import tracemalloc
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.errors import ProtocolError
from actors.mailbox._codec import decode, encode
from actors.mailbox._envelope import encode_ask, encode_result, encode_tell, parse, parse_answers
from actors.mailbox._failure import rebuild
from actors.mailbox._frames import FrameParser, frame, pack_frames, walk

TEXT = st.text(st.characters(exclude_categories=()))
KEYS = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT | st.binary() | st.dates() | st.uuids() | st.fractions(),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=4,
)
LEAVES = (
    KEYS
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | st.decimals(allow_nan=False)
    | st.datetimes(timezones=st.none() | st.timezones() | st.just(dt.UTC))
    | st.times()
    | st.timedeltas()
    | st.binary().map(bytearray)
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(KEYS, inner, max_size=4)
        | st.sets(KEYS, max_size=4)
    ),
    max_leaves=12,
)


def shape(value: Any) -> Any:
    """The types of a value, all the way down."""
    if type(value) in {list, tuple}:
        return (type(value), [shape(item) for item in value])
    if type(value) is dict:
        return (dict, [(shape(key), shape(item)) for key, item in value.items()])
    return type(value)


@given(VALUES)
@settings(max_examples=400, deadline=None)
def test_any_value_arrives_equal_and_of_the_same_type(value: object) -> None:
    arrived = decode(encode(value))

    assert arrived == value
    assert shape(arrived) == shape(value)


@given(st.lists(VALUES, max_size=3), st.dictionaries(TEXT, VALUES, max_size=2))
@settings(max_examples=100, deadline=None)
def test_any_call_arrives(args: list[object], kwargs: dict[str, object]) -> None:
    (told,) = parse(encode_tell("put", tuple(args), kwargs))
    (asked,) = parse(encode_ask("put", tuple(args), kwargs, 1, 2, None))

    assert told.args == asked.args == tuple(args)  # type: ignore[union-attr]
    assert told.kwargs == asked.kwargs == kwargs  # type: ignore[union-attr]


def attempt(data: bytes) -> None:
    """Everything that reads bytes of others, on *data*: nothing but ProtocolError may leave."""
    for read in (decode, parse, parse_answers, FrameParser(4096).feed):
        try:
            value = read(data)
        except ProtocolError:
            continue
        if read is decode:
            rebuild(value, target="")
    with contextlib.suppress(ProtocolError):
        walk(memoryview(data), 0, len(data))


@given(st.binary(max_size=300))
@settings(max_examples=500, deadline=None)
def test_any_bytes_raise_a_protocol_error_at_most(data: bytes) -> None:
    attempt(data)


@given(VALUES, st.randoms(use_true_random=False))
@settings(max_examples=500, deadline=None)
def test_any_mutation_of_good_bytes_raises_a_protocol_error_at_most(value: object, dice: random.Random) -> None:
    data = bytearray(encode_tell("put", (value,)) + encode_result(5, value) + encode(value))
    for _ in range(dice.randint(1, 6)):
        at = dice.randrange(len(data))
        change = dice.randrange(4)
        if change == 0:
            data[at] = dice.randrange(256)
        elif change == 1:
            data[at] ^= 1 << dice.randrange(8)
        elif change == 2:
            del data[at : at + dice.randint(1, 3)]
            data += b"\x00"
        else:
            data[at:at] = bytes(dice.choices(range(256), k=dice.randint(1, 3)))
    attempt(bytes(data))


@given(st.lists(st.binary(min_size=1, max_size=900), max_size=40), st.integers(1, 5000), st.integers(0, 8))
@settings(max_examples=100, deadline=None)
def test_packed_frames_are_found_by_walking_and_parsing(messages: list[bytes], step: int, cut: int) -> None:
    frames = pack_frames(messages)
    data = b"".join(frames)
    parser = FrameParser(4092)
    bodies = [body for at in range(0, len(data), step) for body in parser.feed(data[at : at + step])]

    assert b"".join(bodies) == b"".join(messages)
    assert list(map(frame, bodies)) == frames
    assert all(len(one) <= 4096 for one in frames)
    assert walk(memoryview(data + bytes(cut)), 0, len(data) + cut) == len(data)


def test_hostile_bytes_allocate_no_more_than_a_fixed_multiple_of_their_length() -> None:
    bombs = [
        b"\xdd\x00\x01\x00\x00" + b"\x90" * 100,
        b"\xdd\xff\xff\xff\xff" * 300,
        b"\xc6\x7f\xff\xff\xff" * 10,
        b"\xc7\xff\x01" + b"\xdc\x00\xf0" * 80,
    ]
    for bomb in bombs:
        tracemalloc.start()
        attempt(bomb)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

        assert peak < 1_000_000, f"{len(bomb)} bytes made {peak}"


def test_a_decimal_is_read_in_any_context() -> None:
    with decimal.localcontext() as context:
        context.prec = 3
        context.traps[decimal.Inexact] = True

        assert decode(encode(decimal.Decimal("1.23456789"))) == decimal.Decimal("1.23456789")
