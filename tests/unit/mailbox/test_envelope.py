"""Messages and bytes. The table is the golden file of the wire format."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs
import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import EncodeError, ProtocolError
from actors.mailbox import _envelope as env
from actors.mailbox._codec import message
from actors.mailbox._envelope import (
    ASK,
    RESULT,
    TELL,
    AnswerReader,
    Ask,
    Died,
    Down,
    End,
    Failure,
    Item,
    Large,
    Lost,
    MessageReader,
    Result,
    Tell,
    Undecodable,
    encode_ask,
    encode_died,
    encode_down,
    encode_end,
    encode_failure,
    encode_item,
    encode_large,
    encode_lost,
    encode_result,
    encode_tell,
    lane_number,
    lane_owner,
    parse,
    parse_answers,
    read_answer,
    read_message,
)
from actors.mailbox._frames import MAX_BODY_BYTES
from actors.mailbox._reader import count_messages

ID = (3 << 40) | 7


@message
@attrs.frozen
class Order:
    number: int


INBOX = [
    pytest.param(encode_tell("add", (5,)), b"\x93\x00\xa3add\x91\x05", Tell("add", (5,)), id="tell"),
    pytest.param(encode_tell("add", (), {}), b"\x93\x00\xa3add\x90", Tell("add", ()), id="tell without args"),
    pytest.param(
        encode_tell("add", (1,), {"to": "x"}),
        b"\x94\x00\xa3add\x91\x01\x81\xa2to\xa1x",
        Tell("add", (1,), {"to": "x"}),
        id="tell by keyword",
    ),
    pytest.param(
        encode_tell("add", ((1, 2),)),
        b"\x93\x00\xa3add\x91\xd6\x01\x93\x01\x01\x02",
        Tell("add", ((1, 2),)),
        id="tell of a tuple",
    ),
    pytest.param(
        encode_tell("add", (bytearray(b"x"), 1), {"k": bytearray()}),
        b"\x94\x00\xa3add\x92\xc7\x05\x01\x92\x06\xc4\x01x\x01\x81\xa1k\xd6\x01\x92\x06\xc4\x00",
        Tell("add", (bytearray(b"x"), 1), {"k": bytearray()}),
        id="tell of what msgpack mistakes",
    ),
    pytest.param(
        encode_ask("get", ("k",), None, 9, ID, 1.5),
        b"\x97\x01\xa3get\x91\xa1k\xc0\x09\xcf\x00\x00\x03\x00\x00\x00\x00\x07\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00",
        Ask("get", ("k",), {}, 9, ID, 1.5),
        id="ask",
    ),
    pytest.param(
        encode_ask("get", (), {"k": 1}, 0, 1, None),
        b"\x97\x01\xa3get\x90\x81\xa1k\x01\x00\x01\xc0",
        Ask("get", (), {"k": 1}, 0, 1, None),
        id="ask by keyword",
    ),
    pytest.param(
        encode_ask("get", ("\ud800",), None, 0, 1, None),
        b"\x97\x01\xa3get\x91\xa3\xed\xa0\x80\xc0\x00\x01\xc0",
        Ask("get", ("\ud800",), {}, 0, 1, None),
        id="ask of a lone surrogate",
    ),
    pytest.param(
        encode_ask("get", (), {"k": bytearray()}, 0, 1, None),
        b"\x97\x01\xa3get\x90\x81\xa1k\xd6\x01\x92\x06\xc4\x00\x00\x01\xc0",
        Ask("get", (), {"k": bytearray()}, 0, 1, None),
        id="ask of what msgpack mistakes",
    ),
    pytest.param(
        encode_large(1, 2, 70000, 4, 64),
        b"\x96\x02\x01\x02\xce\x00\x01\x11\x70\x04\x40",
        Large(1, 2, 70000, 4, 64),
        id="large",
    ),
]

ANSWERS = [
    pytest.param(encode_result(7, 16), b"\x93\x00\x07\x10", Result(7, 16), id="result"),
    pytest.param(
        encode_result(7, bytearray()),
        b"\x93\x00\x07\xd6\x01\x92\x06\xc4\x00",
        Result(7, bytearray()),
        id="result mistaken",
    ),
    pytest.param(
        encode_failure(7, {"type": "X"}), b"\x93\x01\x07\x81\xa4type\xa1X", Failure(7, {"type": "X"}), id="failure"
    ),
    pytest.param(
        encode_failure(7, {"t": "\ud800"}),
        b"\x93\x01\x07\xd7\x01\x93\x02\xa1t\xa3\xed\xa0\x80",
        Failure(7, {"t": "\ud800"}),
        id="failure with a lone surrogate",
    ),
    pytest.param(encode_large(1, 2, 3, 4), b"\x96\x02\x01\x02\x03\x04\x00", Large(1, 2, 3, 4), id="large"),
    pytest.param(encode_item(7, None), b"\x93\x03\x07\xc0", Item(7, None), id="item"),
    pytest.param(
        encode_item(7, bytearray()), b"\x93\x03\x07\xd6\x01\x92\x06\xc4\x00", Item(7, bytearray()), id="item mistaken"
    ),
    pytest.param(encode_end(7), b"\x92\x04\x07", End(7), id="end"),
    pytest.param(
        encode_died(7, {"kind": "x"}, may_have_run=True),
        b"\x94\x05\x07\xc7\x09\x01\x93\x02\xa4kind\xa1x\xc3",
        Died(7, {"kind": "x"}, may_have_run=True),
        id="died",
    ),
    pytest.param(encode_down(7, {}, 3), b"\x94\x06\x07\xd5\x01\x91\x02\x03", Down(7, {}, 3), id="down"),
    pytest.param(
        encode_lost(7, {}, [8, 9], 0, 1, None),
        b"\x97\x07\x07\xd5\x01\x91\x02\x92\x08\x09\x00\x01\xc0",
        Lost(7, {}, [8, 9], 0, 1, None),
        id="lost",
    ),
]


@pytest.mark.parametrize(("encoded", "wire", "value"), INBOX)
def test_an_inbox_message_has_these_bytes_and_this_value(encoded: bytes, wire: bytes, value: object) -> None:
    assert encoded == wire
    assert parse(wire) == [value]


@pytest.mark.parametrize(("encoded", "wire", "value"), ANSWERS)
def test_an_answer_has_these_bytes_and_this_value(encoded: bytes, wire: bytes, value: object) -> None:
    assert encoded == wire
    assert parse_answers(wire) == [value]


def test_a_body_holds_any_number_of_messages() -> None:
    wires, values = [case.values[1] for case in INBOX], [case.values[2] for case in INBOX]

    assert parse(b"".join(wires)) == values  # type: ignore[arg-type]
    assert parse_answers(b"".join(case.values[1] for case in ANSWERS)) == [case.values[2] for case in ANSWERS]  # type: ignore[misc]
    assert parse(b"") == []


@pytest.mark.parametrize(
    ("args", "kwargs", "path"),
    [
        pytest.param((1, {"a": [object()]}), {}, 'args[1]["a"][0]', id="args"),
        pytest.param((1,), {"limit": (object(),)}, 'kwargs["limit"][0]', id="kwargs"),
    ],
)
def test_a_value_that_cannot_travel_is_named_by_its_path_in_the_call(
    args: tuple[Any, ...], kwargs: dict[str, Any], path: str
) -> None:
    with pytest.raises(EncodeError) as told:
        encode_tell("add", args, kwargs)
    with pytest.raises(EncodeError) as asked:
        encode_ask("add", args, kwargs, 0, 1, None)

    assert told.value.path == asked.value.path == path


def test_a_keyword_that_is_no_plain_text_is_refused() -> None:
    class Text(str):
        __slots__ = ()

    with pytest.raises(EncodeError, match="a message to 'add' cannot travel"):
        encode_tell("add", (), {Text("x"): 1})


def test_a_result_or_item_that_cannot_travel_is_named() -> None:
    with pytest.raises(EncodeError, match=r"result\[0\]: object"):
        encode_result(1, [object()])
    with pytest.raises(EncodeError, match="item: object"):
        encode_item(1, object())


BAD_INBOX: list[Any] = [
    5,
    [],
    ["x"],
    [True, "add", []],
    [9],
    [0],
    [0, "add"],
    [0, b"add", []],
    [0, "add", {}],
    [0, "add", [], None],
    [0, "add", [], {1: 2}],
    [0, 5, [], {}],
    [0, "add", 5, {}],
    [0, "add", [], {}, 1],
    [1, "add", [], None, 0, 1],
    [1, 5, [], None, 0, 1, None],
    [1, "add", 5, None, 0, 1, None],
    [1, "add", [], 5, 0, 1, None],
    [1, "add", [], None, -1, 1, None],
    [1, "add", [], None, 0, 1.5, None],
    [1, "add", [], None, 0, 1, "soon"],
    [1, "add", [], None, 0, 1, True],
    [2, 1, 2, 3],
    [2, 1, 2, 3, -4],
    [2, 1, 2, 3, None],
]

BAD_ANSWERS: list[Any] = [
    5,
    [],
    [None],
    [9, 1],
    [0, 1],
    [0, "x", 1],
    [0, -1, 1],
    [1, 1, "text"],
    [1, 1],
    [2, 1],
    [3, 1],
    [4, 1, 1],
    [4, -1],
    [5, 1, {}],
    [5, 1, "x", True],
    [6, 1, {}],
    [6, 1, {}, -1],
]


@pytest.mark.parametrize("raw", BAD_INBOX, ids=str)
def test_an_array_of_another_shape_is_no_inbox_message(raw: object) -> None:
    good = encode_tell("add", ())
    with pytest.raises(ProtocolError, match=f"at byte {len(good)} of a body"):
        parse(good + msgpack.packb(raw))
    with pytest.raises(ProtocolError, match="unknown shape"):
        read_message(msgpack.packb(raw))


@pytest.mark.parametrize("raw", BAD_ANSWERS, ids=str)
def test_an_array_of_another_shape_is_no_answer(raw: object) -> None:
    with pytest.raises(ProtocolError, match="at byte 0 of a body"):
        parse_answers(msgpack.packb(raw))
    with pytest.raises(ProtocolError, match="unknown shape"):
        read_answer(msgpack.packb(raw))


def test_messages_are_counted_without_making_anything_of_them() -> None:
    unknown = encode_tell("add", (Order(1),)).replace(b"Order", b"Ordex")
    body = encode_tell("add", (1,)) + unknown + encode_ask("add", (), None, 0, ID, None)

    assert [0, 1, 3] == [count_messages(part) for part in (b"", unknown, body)]
    for junk in (body[:-1], b"\xc1", body + b"\xc1"):
        with pytest.raises(ProtocolError):
            count_messages(junk)


def test_a_body_that_ends_inside_a_message_is_a_protocol_error() -> None:
    with pytest.raises(ProtocolError, match="OutOfData"):
        parse(encode_tell("add", (1, 2))[:-1])


def test_a_deadline_may_be_a_whole_number() -> None:
    assert parse(encode_ask("get", (), None, 0, 1, 5)) == [Ask("get", (), {}, 0, 1, 5)]


# ------------------------------------------------------------------------------------------------------------------------------ readers


def test_a_reader_says_where_each_message_ends() -> None:
    parts = [encode_tell("a", (1,)), encode_ask("b", (), None, 0, 1, None), encode_tell("c", ((),))]
    reader = MessageReader()
    for _ in range(3):
        reader.feed(memoryview(b"".join(parts)))

        assert [(raw[1], reader.consumed) for raw in reader if not isinstance(raw, Undecodable)] == [
            ("a", len(parts[0])),
            ("b", len(parts[0] + parts[1])),
            ("c", len(b"".join(parts))),
        ]


def test_a_reader_that_was_left_in_the_middle_goes_on_there_or_starts_afresh() -> None:
    body = b"".join(encode_tell("add", (number,)) for number in range(4))
    reader = MessageReader()
    reader.feed(body)
    next(iter(reader))

    assert [raw[2] for raw in reader if not isinstance(raw, Undecodable)] == [[1], [2], [3]]

    reader.feed(body)
    next(iter(reader))
    reader.feed(body)

    assert [raw[2] for raw in reader if not isinstance(raw, Undecodable)] == [[0], [1], [2], [3]]


def test_a_reader_that_was_interrupted_behind_a_message_it_did_not_hand_over_reads_it_again() -> None:
    body = b"".join(encode_tell("add", (number,)) for number in range(3))
    reader = MessageReader()
    reader.feed(body)
    reader._unpacker.unpack()  # what a signal handler that raises leaves behind

    assert [raw[2] for raw in reader if not isinstance(raw, Undecodable)] == [[0], [1], [2]]


def test_a_reader_works_on_after_a_protocol_error() -> None:
    reader = MessageReader()
    reader.feed(b"\xc1")
    with pytest.raises(ProtocolError):
        list(reader)
    with pytest.raises(ProtocolError):
        list(reader)
    reader.feed(encode_tell("add", ()))

    assert list(reader) == [[0, "add", []]]


def test_a_reader_refuses_a_body_beyond_its_limit() -> None:
    with pytest.raises(ProtocolError, match=f"{MAX_BODY_BYTES + 1} bytes, allowed are {MAX_BODY_BYTES}"):
        MessageReader().feed(bytes(MAX_BODY_BYTES + 1))


def test_a_reader_that_is_reset_has_no_messages() -> None:
    reader = AnswerReader()
    reader.feed(encode_end(1))
    reader.reset()

    assert list(reader) == []


def unknown(data: bytes) -> bytes:
    assert data.count(b":Order") == 1
    return data.replace(b":Order", b":Ordex")


def test_only_the_message_that_names_an_unknown_class_fails() -> None:
    parts = [
        encode_tell("a", (1, (2,))),
        unknown(encode_tell("b", (Order(1), (2,)))),
        unknown(encode_ask("c", ((3,),), {"x": Order(1)}, 9, ID, 1.5)),
        encode_tell("d", ((4,),)),
    ]
    reader = MessageReader()
    reader.feed(b"".join(parts))
    seen: list[tuple[Any, int]] = [(raw, reader.consumed) for raw in reader]

    assert [consumed for _, consumed in seen] == [len(b"".join(parts[: n + 1])) for n in range(4)]
    assert [seen[0][0], seen[3][0]] == [[0, "a", [1, (2,)]], [0, "d", [(4,)]]]
    tell, ask = seen[1][0], seen[2][0]
    assert (tell.kind, tell.name, tell.caller, tell.ask_id) == (TELL, "b", 0, 0)
    assert (ask.kind, ask.name, ask.caller, ask.ask_id) == (ASK, "c", 9, ID)
    assert "Ordex" in str(tell.error)


def test_an_answer_that_names_an_unknown_class_fails_alone() -> None:
    first, second, _ = parse_answers(
        unknown(encode_result(7, [Order(1)])) + unknown(encode_item(8, Order(2))) + encode_end(8)
    )

    assert isinstance(first, Undecodable)
    assert isinstance(second, Undecodable)
    assert (first.kind, first.ask_id, second.ask_id) == (RESULT, 7, 8)
    failed = parse_answers(unknown(msgpack.packb([1, 5, msgpack.ExtType(1, encode_result(1, Order(1))[6:])])))

    assert isinstance(failed[0], Undecodable)


def test_an_unknown_class_in_something_that_is_no_message_is_a_protocol_error() -> None:
    value = encode_result(1, Order(1))[2:].removeprefix(b"\x01")
    with pytest.raises(ProtocolError, match="unknown shape"):
        parse(unknown(b"\x92\x07" + value))
    with pytest.raises(ProtocolError, match="OutOfData"):
        parse(unknown(b"\x93\x00" + value))


@pytest.mark.parametrize("size", [10, 5_000_000])
def test_one_large_message_is_read_alone(size: int) -> None:
    assert read_message(encode_tell("put", ("x" * size, (1,)))) == [0, "put", ["x" * size, (1,)]]
    assert read_answer(memoryview(encode_result(1, "x" * size))) == [0, 1, "x" * size]


def test_a_large_message_of_an_unknown_class_is_undecodable() -> None:
    told = read_message(unknown(encode_tell("put", (Order(1),))))
    answered = read_answer(unknown(encode_result(5, Order(1))))

    assert isinstance(told, Undecodable)
    assert (told.name, told.kind) == ("put", TELL)
    assert isinstance(answered, Undecodable)
    assert answered.ask_id == 5


def test_two_messages_are_not_one() -> None:
    with pytest.raises(ProtocolError, match="ExtraData"):
        read_message(encode_tell("a", ()) * 2)


@given(uid=st.integers(0, (1 << 41) - 1), incarnation=st.integers(0, (1 << 23) - 1))
def test_a_lane_number_is_of_one_incarnation_alone(uid: int, incarnation: int) -> None:
    lane = lane_number(uid, incarnation)

    assert 0 <= lane < 1 << 64
    assert lane_owner(lane) == (uid, incarnation)


@given(uid=st.integers(-(1 << 80), 1 << 80), incarnation=st.integers(-(1 << 80), 1 << 80))
def test_a_caller_that_cannot_be_has_a_lane_number_all_the_same(uid: int, incarnation: int) -> None:
    assert 0 <= lane_number(uid, incarnation) < 1 << 64


# --- without looking at the values


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        (env.encode_tell("put", (1,)), (env.TELL, "put")),
        (env.encode_ask("get", (bytes(10_000),), None, 3, 4, None), (env.ASK, "get")),
        (env.encode_tell("put", ({1, 2},), {"x": Decimal(1)}), (env.TELL, "put")),
        (env.encode_large(1, 2, 3, 4), (env.LARGE, "")),
    ],
)
def test_kind_and_handler_are_known_from_the_first_bytes(data: bytes, seen: tuple[int, str]) -> None:
    assert env.peek_message(data) == seen
    assert env.peek_message(memoryview(data)) == seen


@pytest.mark.parametrize(
    "data", [b"", b"\x05", b"junk", b"\x93\x07\xa1x\x90", b"\x93\x00\x05\x90", b"\x93\xa1x\xa1y\x90", b"\x93\xc1"]
)
def test_what_does_not_begin_like_a_message_has_neither(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        env.peek_message(data)


def test_an_opaque_reader_leaves_values_alone_and_knows_where_messages_end() -> None:
    first, second = env.encode_tell("put", ({1, 2},), {"x": Decimal(1)}), env.encode_ask("get", (3,), None, 1, 2, None)
    reader = env.MessageReader(opaque=True)
    reader.feed(first + second)
    messages: list[Any] = []
    ends = []
    for one in reader:
        messages.append(one)
        ends.append(reader.consumed)

    assert ends == [len(first), len(first) + len(second)]
    assert [message[:2] for message in messages] == [[env.TELL, "put"], [env.ASK, "get"]]
    assert repr(messages[0][2]) == "[OPAQUE]"
    assert messages[1][2] == [3]
    assert repr(env.read_message(first, opaque=True)) == repr(messages[0])


@pytest.mark.parametrize(
    "args",
    [(2**70, 1), ("\ud800",), ("x" * (3 << 20),), (None, True, -5, 1.5, "ü", b"x")],
    ids=["a large int", "a lone surrogate", "three megabytes", "one of each"],
)
def test_scalars_of_every_size_arrive_and_leave_no_trace(args: tuple[Any, ...]) -> None:
    for _again in range(2):
        assert env.read_message(encode_tell("add", args)) == [0, "add", list(args)]
        ask = env.read_message(encode_ask("add", args, None, 1, 2, 3.0))
        assert ask == [1, "add", list(args), None, 1, 2, 3.0]
    assert encode_tell("add", (5,)) == b"\x93\x00\xa3add\x91\x05"
