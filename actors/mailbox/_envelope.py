"""
Envelopes: what two processes say to each other, as values and as bytes.

Owns the shape of every message. Must not know frames, pipes, or what a handler is. Each message is one msgpack array:

=========  ==========================================================================  ===========================
message    array                                                                       lane
=========  ==========================================================================  ===========================
Tell       ``[0, name, args]`` or ``[0, name, args, kwargs]``                          inbox
Ask        ``[1, name, args, kwargs or nil, caller, ask_id, deadline or nil]``         inbox
Large      ``[2, arena_id, slot, length, generation, offset]``                         inbox, answers
Result     ``[0, ask_id, value]``                                                      answers
Failure    ``[1, ask_id, error]``                                                      answers
Item       ``[3, ask_id, value]``                                                      answers
End        ``[4, ask_id]``                                                             answers
Died       ``[5, ask_id, reason, may_have_run]``                                       answers
Down       ``[6, uid, reason, revivals]``                                              answers
Lost       ``[7, uid, reason, spared, part, parts, below]``                            answers
Dropped    ``[8, ask_id]``                                                             answers
=========  ==========================================================================  ===========================

*caller* is the uid of the actor that asks, 0 for the host. *ask_id* is the caller's incarnation << 40 | a counter. *deadline* is
CLOCK_MONOTONIC seconds, which all processes of a machine share. A Large stands for one encoded message of the same lane that lies
in an arena, at *offset* in its slot; before it lie the buffers that it refers to (see ``_cargo``). An Ask without a name is a
*barrier*: answered in its turn, it says that all messages before it are handled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actors.errors import EncodeError
from actors.mailbox._cargo import LARGE_BUFFER_BYTES, Cargo, Parcel
from actors.mailbox._codec import pack_plain, pack_scalars, pack_wrapped, wrap
from actors.mailbox._reader import (
    AnswerReader,
    MessageReader,
    parse,
    parse_answer,
    parse_answers,
    peek_message,
    read_answer,
    read_answers,
    read_message,
)
from actors.mailbox._shapes import (
    ASK,
    DIED,
    DOWN,
    DROPPED,
    END,
    FAILURE,
    ITEM,
    LARGE,
    LOST,
    RESULT,
    TELL,
    Ask,
    Died,
    Down,
    Dropped,
    End,
    Failure,
    Item,
    Large,
    Lost,
    Result,
    Tell,
    Undecodable,
    answer_value,
)
from actors.mailbox._values import LIGHT, Refused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

INCARNATION_SHIFT: Final = 40
"""An ask id carries its caller's incarnation above this bit."""
_INCARNATION_BITS: Final = 23
_INCARNATION_MASK: Final = (1 << _INCARNATION_BITS) - 1
_UID_MASK: Final = (1 << 64 - _INCARNATION_BITS) - 1

__all__ = [
    "ASK",
    "BARRIER",
    "DIED",
    "DOWN",
    "DROPPED",
    "END",
    "FAILURE",
    "INCARNATION_SHIFT",
    "ITEM",
    "LARGE",
    "LOST",
    "RESULT",
    "TELL",
    "AnswerReader",
    "Ask",
    "Died",
    "Down",
    "Dropped",
    "End",
    "Failure",
    "Item",
    "Large",
    "Lost",
    "MessageReader",
    "Result",
    "Tell",
    "Undecodable",
    "answer_value",
    "encode_ask",
    "encode_died",
    "encode_down",
    "encode_dropped",
    "encode_end",
    "encode_failure",
    "encode_item",
    "encode_large",
    "encode_lost",
    "encode_result",
    "encode_tell",
    "lane_number",
    "lane_owner",
    "parse",
    "parse_answer",
    "parse_answers",
    "peek_message",
    "read_answer",
    "read_answers",
    "read_message",
]

BARRIER: Final = ""
"""The name in an Ask that no handler can have."""


def encode_tell(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None = None) -> bytes:
    """
    The bytes of a Tell; a parcel where large buffers lie beside it.

    Args:
        name: Of the handler.
        args: Positional values.
        kwargs: Values by keyword; none if empty or None.

    Raises:
        EncodeError: A value cannot travel. Says the path, such as ``args[0]["x"]``.
    """
    if not kwargs:
        for arg in args:
            if type(arg) not in LIGHT and (type(arg) is not bytes or len(arg) >= LARGE_BUFFER_BYTES):
                break
        else:
            if data := pack_scalars([TELL, name, [*args]]):
                return data
    values = list(args)
    if kwargs:
        return pack_plain([TELL, name, values, dict(kwargs)], [*args, *kwargs.values()]) or _pack_slowly(
            [TELL, name], values, kwargs
        )
    return pack_plain([TELL, name, values], args) or _pack_slowly([TELL, name], values, None)


def encode_ask(
    name: str,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any] | None,
    caller: int,
    ask_id: int,
    deadline: float | None,
) -> bytes:
    """
    The bytes of an Ask; a parcel where large buffers lie beside it.

    Args:
        name: Of the handler.
        args: Positional values.
        kwargs: Values by keyword; none if empty or None.
        caller: The uid of the actor that asks, 0 for the host.
        ask_id: The caller's incarnation << 40 | counter.
        deadline: CLOCK_MONOTONIC seconds, None for no deadline.

    Raises:
        EncodeError: A value cannot travel. Says the path, such as ``kwargs["limit"].items[3]``.
    """
    if not kwargs:
        for arg in args:
            if type(arg) not in LIGHT and (type(arg) is not bytes or len(arg) >= LARGE_BUFFER_BYTES):
                break
        else:
            if data := pack_scalars([ASK, name, [*args], None, caller, ask_id, deadline]):
                return data
    values = list(args)
    if kwargs:
        envelope = [ASK, name, values, dict(kwargs), caller, ask_id, deadline]
        everything = [*args, *kwargs.values()]
        return pack_plain(envelope, everything) or _pack_slowly([ASK, name], values, kwargs, caller, ask_id, deadline)
    envelope = [ASK, name, values, None, caller, ask_id, deadline]
    return pack_plain(envelope, args) or _pack_slowly([ASK, name], values, None, caller, ask_id, deadline)


def encode_large(arena_id: int, slot: int, length: int, generation: int, offset: int = 0) -> bytes:
    """The bytes of a Large; all numbers 0 to 2**64 - 1."""
    return pack_wrapped([LARGE, arena_id, slot, length, generation, offset])


def encode_result(ask_id: int, value: object) -> bytes:
    """
    The bytes of a Result; a parcel where large buffers lie beside it.

    Raises:
        EncodeError: The value cannot travel. Says the path, such as ``result.items[3]``.
    """
    return pack_plain([RESULT, ask_id, value], (value,)) or _pack_answer(RESULT, ask_id, value, "result")


def encode_failure(ask_id: int, error: Mapping[str, Any]) -> bytes:
    """
    The bytes of a Failure.

    Args:
        ask_id: Of the ask that failed.
        error: The exception as data; see ``_failure.describe``.

    Raises:
        EncodeError: The data is not plain.
    """
    data = dict(error)
    return pack_plain([FAILURE, ask_id, data]) or pack_wrapped([FAILURE, ask_id, wrap(data, "error")])


def encode_item(ask_id: int, value: object) -> bytes:
    """The bytes of an Item of a stream, as of a Result."""
    if type(value) is list and LIGHT.issuperset(map(type, value)) and (data := pack_scalars([ITEM, ask_id, value])):
        return data
    return pack_plain([ITEM, ask_id, value], (value,)) or _pack_answer(ITEM, ask_id, value, "item")


def encode_end(ask_id: int) -> bytes:
    """The bytes of the End of a stream."""
    return pack_wrapped([END, ask_id])


def encode_died(ask_id: int, reason: Mapping[str, Any], *, may_have_run: bool) -> bytes:
    """The bytes of a Died; *reason* is plain data."""
    return pack_wrapped([DIED, ask_id, wrap(dict(reason), "reason"), may_have_run])


def encode_dropped(ask_id: int) -> bytes:
    """The bytes of a Dropped."""
    return pack_wrapped([DROPPED, ask_id])


def encode_down(uid: int, reason: Mapping[str, Any], revivals: int) -> bytes:
    """The bytes of a Down; *reason* is plain data."""
    return pack_wrapped([DOWN, uid, wrap(dict(reason), "reason"), revivals])


def encode_lost(
    uid: int, reason: Mapping[str, Any], spared: Sequence[int], part: int, parts: int, below: int | None
) -> bytes:
    """The bytes of one part of a Lost; *reason* is plain data, *spared* ask ids, *below* an ask id or None."""
    return pack_wrapped([LOST, uid, wrap(dict(reason), "reason"), list(spared), part, parts, below])


def lane_number(caller: int, incarnation: int) -> int:
    """
    One number, 0 to 2**64 - 1, for the lane by which one incarnation of an actor is answered; 0 for the host's.

    Two incarnations of an actor may live at a time, while one hands over to the next, and each asks for itself.

    Args:
        caller: The uid of the actor, 0 for the host. A claim that is out of range gives a number that is nobody's, or another's.
        incarnation: Which of its processes; of an ask: ``ask_id >> INCARNATION_SHIFT``.
    """
    return (caller & _UID_MASK) << _INCARNATION_BITS | incarnation & _INCARNATION_MASK


def lane_owner(lane: int) -> tuple[int, int]:
    """The uid and the incarnation of a :func:`lane_number`."""
    return lane >> _INCARNATION_BITS, lane & _INCARNATION_MASK


def _pack_slowly(head: list[Any], args: list[Any], kwargs: Mapping[str, Any] | None, *rest: Any) -> bytes:
    """The bytes of a Tell or Ask each of whose values goes through the table; *rest* follows the kwargs of an Ask."""
    cargo = Cargo()
    envelope = [*head, [wrap(value, f"args[{index}]", cargo) for index, value in enumerate(args)]]
    if kwargs or rest:
        named = {key: wrap(value, f'kwargs["{key}"]', cargo) for key, value in kwargs.items()} if kwargs else None
        envelope.append(named)
    try:
        return _parcel(pack_wrapped([*envelope, *rest]), cargo)
    except (Refused, ValueError) as error:
        raise EncodeError(f"a message to {head[1]!r} cannot travel: {error}") from error


def _pack_answer(kind: int, ask_id: int, value: object, what: str) -> bytes:
    cargo = Cargo()
    return _parcel(pack_wrapped([kind, ask_id, wrap(value, what, cargo)]), cargo)


def _parcel(body: bytes, cargo: Cargo) -> bytes:
    return Parcel.make(body, cargo) if cargo.pieces else body
