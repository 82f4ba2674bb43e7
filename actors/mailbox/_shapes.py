"""
The shapes of messages: kinds, frozen values, and the check that an array is one of them.

Owns what ``_envelope`` documents as a table. Must not know bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from actors.mailbox._classes import UnknownTypeError

__all__ = [
    "ASK",
    "DIED",
    "DOWN",
    "DROPPED",
    "END",
    "FAILURE",
    "ITEM",
    "LARGE",
    "LOST",
    "OPAQUE",
    "RESULT",
    "TELL",
    "Answer",
    "Ask",
    "Died",
    "Down",
    "Dropped",
    "End",
    "Failure",
    "InboxMessage",
    "Item",
    "Large",
    "Lost",
    "Result",
    "Tell",
    "Undecodable",
    "answer_value",
    "inbox_value",
    "is_answer",
    "is_inbox_message",
    "undecodable_answer",
    "undecodable_message",
]

TELL, ASK, LARGE = 0, 1, 2
RESULT, FAILURE, ITEM, END, DIED, DOWN, LOST, DROPPED = 0, 1, 3, 4, 5, 6, 7, 8

_ASK_SIZE = 7
_DEADLINES = frozenset({float, int, type(None)})
_LARGE_SIZE = 6
_LOST_SIZE = 7


class _Opaque:
    """What stands in for a value that was not looked at."""

    def __repr__(self) -> str:
        return "OPAQUE"


OPAQUE = _Opaque()


@attrs.frozen
class Tell:
    """A message that nobody waits for."""

    name: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class Ask:
    """A message whose sender waits for the answer; fields as in :func:`encode_ask`."""

    name: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    caller: int
    ask_id: int
    deadline: float | None


@attrs.frozen
class Large:
    """
    A message that lies in slot *slot* of arena *arena_id*: *length* bytes from *offset*, if the slot is at *generation* still.

    Before *offset* lie the buffers that it refers to.
    """

    arena_id: int
    slot: int
    length: int
    generation: int
    offset: int = 0


@attrs.frozen
class Result:
    """The answer to ask *ask_id*."""

    ask_id: int
    value: object


@attrs.frozen
class Failure:
    """Ask *ask_id* raised; *error* is the exception as data."""

    ask_id: int
    error: Mapping[str, Any]


@attrs.frozen
class Item:
    """One item of the stream *ask_id*."""

    ask_id: int
    value: object


@attrs.frozen
class End:
    """The stream *ask_id* has no more items."""

    ask_id: int


@attrs.frozen
class Died:
    """
    The supervisor's word that ask *ask_id* will not be answered: its actor has died.

    Attributes:
        ask_id: Of the ask.
        reason: The exit reason as plain data.
        may_have_run: Whether it was being handled.
    """

    ask_id: int
    reason: Mapping[str, Any]
    may_have_run: bool


@attrs.frozen
class Down:
    """
    The supervisor's word that no open ask to an actor will be answered.

    Attributes:
        uid: The actor.
        reason: The exit reason as plain data.
        revivals: How often it had come back before after it had been given up.
    """

    uid: int
    reason: Mapping[str, Any]
    revivals: int


@attrs.frozen
class Lost:
    """
    Mail of an actor was destroyed: of the open asks to it only the spared ones will be answered. Comes in parts.

    Attributes:
        uid: The actor.
        reason: The exit reason of the incarnation, as plain data.
        spared: Ids of this caller's asks that had been read, and are still to be handled.
        part: Which part this is, from 0.
        parts: How many there are; the last one says that the others are lost.
        below: Asks with this id and above were made later and are not meant; None: unknown, all are.
    """

    uid: int
    reason: Mapping[str, Any]
    spared: list[int]
    part: int
    parts: int
    below: int | None


@attrs.frozen
class Dropped:
    """Ask *ask_id* was dropped for newer messages, and not handled."""

    ask_id: int


@attrs.frozen
class Undecodable:
    """
    A message that is well formed, and holds a value of a class that this process does not know.

    Attributes:
        kind: TELL or ASK on an inbox; RESULT, FAILURE or ITEM among answers.
        name: Of the handler; ``""`` among answers.
        caller: The uid of the actor that asks; 0 if nobody does, or the host.
        ask_id: Of the ask; 0 for a Tell.
        error: Names the class.
    """

    kind: int
    name: str
    caller: int
    ask_id: int
    error: UnknownTypeError


InboxMessage = Tell | Ask | Large | Undecodable
Answer = Result | Failure | Large | Item | End | Died | Down | Lost | Dropped | Undecodable


def is_inbox_message(message: Any) -> bool:
    """Whether *message* is the array of a Tell, Ask or Large, as far as its fixed fields say."""
    if type(message) is not list or not message or type(message[0]) is not int:
        return False
    kind, size = message[0], len(message)
    if kind == TELL:
        if size == 3:
            return type(message[1]) is str and type(message[2]) is list
        return size == 4 and type(message[1]) is str and type(message[2]) is list and _are_kwargs(message[3])
    if kind == ASK:
        return size == _ASK_SIZE and _is_ask(*message)
    return kind == LARGE and _is_large(message)


def is_answer(message: Any) -> bool:
    """Whether *message* is the array of an answer, as far as its fixed fields say."""
    if type(message) is not list or not message or type(message[0]) is not int:
        return False
    kind, size = message[0], len(message)
    if kind in (RESULT, ITEM):
        return size == 3 and _is_id(message[1])
    if kind == FAILURE:
        return size == 3 and _is_id(message[1]) and (type(message[2]) is dict or message[2] is OPAQUE)
    if kind == LARGE:
        return _is_large(message)
    if kind == DIED:
        return size == 4 and _is_id(message[1]) and type(message[2]) is dict and type(message[3]) is bool
    if kind == DOWN:
        return size == 4 and _is_id(message[1]) and type(message[2]) is dict and _is_id(message[3])
    if kind == LOST:
        return size == _LOST_SIZE and _is_lost(*message)
    return kind in (END, DROPPED) and size == 2 and _is_id(message[1])


def _is_ask(
    _kind: int, name: object, args: object, kwargs: object, caller: object, ask_id: object, deadline: object
) -> bool:
    return (
        type(name) is str
        and type(args) is list
        and (kwargs is None or _are_kwargs(kwargs))
        and _is_id(caller)
        and _is_id(ask_id)
        and type(deadline) in _DEADLINES
    )


def _is_lost(
    _kind: int, uid: object, reason: object, spared: object, part: object, parts: object, below: object
) -> bool:
    return (
        type(reason) is dict
        and type(spared) is list
        and all(map(_is_id, (uid, part, parts, *spared)))
        and (below is None or _is_id(below))
    )


def _is_id(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_large(message: list[Any]) -> bool:
    return len(message) == _LARGE_SIZE and all(map(_is_id, message))


def _are_kwargs(value: object) -> bool:
    return type(value) is dict and {str}.issuperset(map(type, value))


def inbox_value(message: list[Any]) -> Tell | Ask | Large:
    """The value of an array that :func:`is_inbox_message` accepted."""
    kind, *fields = message
    if kind == LARGE:
        return Large(*fields)
    name, args, *rest = fields
    if kind == TELL:
        return Tell(name, tuple(args), *rest)
    kwargs, caller, ask_id, deadline = rest
    return Ask(name, tuple(args), kwargs or {}, caller, ask_id, deadline)


_ANSWERS: dict[int, type[Result | Failure | Large | Item | End | Died | Down | Lost | Dropped]] = {
    RESULT: Result,
    FAILURE: Failure,
    LARGE: Large,
    ITEM: Item,
    END: End,
    DIED: Died,
    DOWN: Down,
    LOST: Lost,
    DROPPED: Dropped,
}


def answer_value(message: list[Any]) -> Result | Failure | Large | Item | End | Died | Down | Lost | Dropped:
    """The value of an array that :func:`is_answer` accepted."""
    kind, *fields = message
    return _ANSWERS[kind](*fields)


def undecodable_message(message: list[Any], error: UnknownTypeError) -> Undecodable:
    """What can be said of a Tell or Ask whose values cannot be made here."""
    if message[0] == TELL:
        return Undecodable(TELL, message[1], 0, 0, error)
    _, name, _, _, caller, ask_id, _ = message
    return Undecodable(ASK, name, caller, ask_id, error)


def undecodable_answer(message: list[Any], error: UnknownTypeError) -> Undecodable:
    """What can be said of an answer whose value cannot be made here."""
    return Undecodable(message[0], "", 0, message[1], error)
