"""
Messages out of bytes: the hot path of whoever reads a lane.

Owns the boundaries of messages inside a body. Must not know where the bytes come from.

Messages come as the raw arrays that were sent, with their shape checked; :func:`parse` and :func:`parse_answers` make frozen
values of them where speed does not matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors.errors import ProtocolError
from actors.mailbox._codec import BAD_BYTES, UnknownTypeError, decode, new_unpacker
from actors.mailbox._frames import MAX_BODY_BYTES
from actors.mailbox._shapes import (
    ASK,
    LARGE,
    TELL,
    Answer,
    InboxMessage,
    Undecodable,
    answer_value,
    inbox_value,
    is_answer,
    is_inbox_message,
    undecodable_answer,
    undecodable_message,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "UNREADABLE",
    "AnswerReader",
    "MessageReader",
    "count_messages",
    "parse",
    "parse_answer",
    "parse_answers",
    "peek_message",
    "read_answer",
    "read_answers",
    "read_message",
]

UNREADABLE = (UnknownTypeError, *BAD_BYTES)
"""What the raw decoder raises: see :meth:`_Reader.raw`."""

_PEEK_BYTES = 4096  # the name of a handler is shorter
_SHOWN_BYTES = 16
_SHOWN_CHARACTERS = 120


class _Reader:
    """Messages out of bodies, one after the other."""

    __slots__ = ("_base", "_body", "_limit", "_opaque", "_open", "_unpacker", "consumed")

    consumed: int
    """Bytes of the body up to the end of the message that was yielded last."""

    _is_message: Callable[[Any], bool]
    _undecodable: Callable[[list[Any], UnknownTypeError], Undecodable]

    def __init__(self, limit: int = MAX_BODY_BYTES, *, opaque: bool = False) -> None:
        """
        A reader of bodies of at most *limit* bytes.

        Args:
            limit: The longest body, in bytes. Memory of that size is kept, so read a large message with :func:`read_message` or
                :func:`read_answer` instead.
            opaque: Whether values that are not plain are left alone, as ``OPAQUE``: no code of a class of the user runs, and no
                message is undecodable.
        """
        self._limit = limit
        self._opaque = opaque
        self.reset()

    def reset(self) -> None:
        """Forget the body that was fed."""
        self._body: bytes | memoryview = b""
        self._open = False
        self.consumed = 0
        self._start_at(0)

    def feed(self, body: bytes | memoryview) -> None:
        """
        Take the next body. What was not read of the one before is forgotten.

        Raises:
            ProtocolError: Longer than the limit.
        """
        if len(body) > self._limit:
            raise ProtocolError(f"a body of {len(body)} bytes, allowed are {self._limit}")
        if self._open:
            # It was left in the middle of a body, perhaps by an exception, and is not used again.
            self.reset()
        self._open = True
        self._body = body
        self.consumed = 0
        self._base = self._unpacker.tell()
        self._unpacker.feed(body)

    def __iter__(self) -> Iterator[list[Any] | Undecodable]:
        """
        Read on behind ``consumed``, to the end of the body. An interrupted iteration can be taken up by a new one.

        Yields:
            Each message as the array that came, its shape checked, or :class:`Undecodable`; ``consumed`` stands behind it.

        Raises:
            ProtocolError: No message. Says where in the body, and its first bytes.
        """
        is_message, size = self._is_message, len(self._body)
        unpack, tell, base = self.raw()
        while self.consumed < size:
            try:
                message = unpack()
            except UnknownTypeError as error:
                undecodable = self._step_over(error)
                unpack, tell, base = self.raw()
                yield undecodable
                continue
            except BAD_BYTES as error:
                raise self._bad(error) from error
            if not is_message(message):
                raise self._bad(_unknown_shape(message))
            self.consumed = tell() - base
            yield message
        self._open = False

    def raw(self) -> tuple[Callable[[], Any], Callable[[], int], int]:
        """
        What reads on behind ``consumed``, for a loop to which a call for each message is too much.

        Whoever reads so keeps ``consumed``, calls :meth:`step_over` for what comes out of the first function, looks at the shape of
        what it gives, and ends with :meth:`close`.

        Returns:
            What gives the next array; what tells where that ends; what it tells at the beginning of the body.
        """
        if self._unpacker.tell() != self._base + self.consumed:
            self._start_at(self.consumed)
        return self._unpacker.unpack, self._unpacker.tell, self._base

    def close(self) -> None:
        """The body was read to its end."""
        self._open = False

    def step_over(self, error: Exception) -> Undecodable:
        """
        Step over the message behind ``consumed``, whose reading raised one of ``BAD_BYTES`` or ``UnknownTypeError``.

        Raises:
            ProtocolError: It is none. Says where in the body, and its first bytes.
        """
        if isinstance(error, UnknownTypeError):
            return self._step_over(error)
        raise self._bad(error) from error

    def _start_at(self, consumed: int) -> None:
        self._unpacker = new_unpacker(self._limit, opaque=self._opaque)
        self._unpacker.feed(self._body[consumed:])
        self._base = -consumed

    def _step_over(self, error: UnknownTypeError) -> Undecodable:
        # Read once more with its values left alone, to learn where it ends and who waits for an answer.
        opaque = new_unpacker(self._limit, opaque=True)
        opaque.feed(self._body[self.consumed :])
        try:
            message = opaque.unpack()
        except BAD_BYTES as cause:
            raise self._bad(cause) from cause
        if not self._is_message(message):
            raise self._bad(_unknown_shape(message))
        self.consumed += opaque.tell()
        self._start_at(self.consumed)
        return self._undecodable(message, error)

    def _bad(self, error: Exception) -> ProtocolError:
        shown = bytes(self._body[self.consumed : self.consumed + _SHOWN_BYTES]).hex(" ")
        where = f"no message at byte {self.consumed} of a body of {len(self._body)}"
        return ProtocolError(f"{where}: {type(error).__name__}: {str(error)[:_SHOWN_CHARACTERS]}; it begins {shown}")


class MessageReader(_Reader):
    """
    Messages out of the frames of an inbox: Tell, Ask and Large.

    ::

        reader.feed(body)
        for message in reader:
            ...  # the next one stands at offset_of_body + reader.consumed
    """

    __slots__ = ()

    _is_message = staticmethod(is_inbox_message)
    _undecodable = staticmethod(undecodable_message)


class AnswerReader(_Reader):
    """Messages out of the frames of an answer pipe or reply lane: Result, Failure, Large, Item and End."""

    __slots__ = ()

    _is_message = staticmethod(is_answer)
    _undecodable = staticmethod(undecodable_answer)


def read_message(
    data: bytes | memoryview, *, opaque: bool = False, beside: memoryview | None = None
) -> list[Any] | Undecodable:
    """
    The one inbox message in *data*, of any length: what lies in a slot of an arena.

    Args:
        data: Its bytes.
        opaque: Whether values that are not plain are left alone, as ``OPAQUE``.
        beside: The buffers that lie beside it.

    Raises:
        ProtocolError: Not exactly one message.
    """
    return _read_one(data, is_inbox_message, undecodable_message, opaque=opaque, beside=beside)


def peek_message(data: bytes | memoryview) -> tuple[int, str]:
    """
    The kind of the first inbox message in *data*, and the handler it names, from its first bytes alone; ``""`` for a Large.

    Raises:
        ProtocolError: It does not begin like a message.
    """
    unpacker = new_unpacker(_PEEK_BYTES, opaque=True)
    unpacker.feed(data[:_PEEK_BYTES])
    try:
        unpacker.read_array_header()
        kind: object = unpacker.unpack()
        name: object = "" if kind == LARGE else unpacker.unpack()
    except BAD_BYTES as error:
        raise ProtocolError(f"no message begins so: {type(error).__name__}: {error}") from error
    if type(kind) is not int or kind not in {TELL, ASK, LARGE} or not isinstance(name, str):
        raise ProtocolError(f"no message begins with {type(kind).__name__}, {type(name).__name__}")
    return kind, name


def read_answer(data: bytes | memoryview, *, beside: memoryview | None = None) -> list[Any] | Undecodable:
    """
    The one answer in *data*, of any length.

    Args:
        data: Its bytes.
        beside: The buffers that lie beside it.

    Raises:
        ProtocolError: Not exactly one answer.
    """
    return _read_one(data, is_answer, undecodable_answer, beside=beside)


def parse_answer(data: bytes | memoryview, *, beside: memoryview | None = None) -> Answer:
    """As :func:`read_answer`, as a frozen value."""
    answer = read_answer(data, beside=beside)
    return answer if isinstance(answer, Undecodable) else answer_value(answer)


def count_messages(body: bytes | memoryview) -> int:
    """
    How many messages a body holds. Their values are stepped over: nothing is made of them.

    Raises:
        ProtocolError: It does not end with one.
    """
    unpacker, count = new_unpacker(max(len(body), 1), opaque=True), 0
    unpacker.feed(body)
    try:
        while unpacker.tell() < len(body):
            unpacker.skip()
            count += 1
    except BAD_BYTES as error:
        raise ProtocolError(
            f"message {count} of a body of {len(body)} bytes is none: {type(error).__name__}"
        ) from error
    return count


def parse(body: bytes | memoryview) -> list[InboxMessage]:
    """
    All messages in the body of a frame of an inbox, as frozen values.

    Raises:
        ProtocolError: It contains something else.
    """
    reader = MessageReader(max(len(body), 1))
    reader.feed(body)
    return [message if isinstance(message, Undecodable) else inbox_value(message) for message in reader]


def parse_answers(body: bytes | memoryview) -> list[Answer]:
    """
    All messages in the body of a frame of an answer pipe or reply lane, as frozen values.

    Raises:
        ProtocolError: It contains something else.
    """
    reader = AnswerReader(max(len(body), 1))
    reader.feed(body)
    return [message if isinstance(message, Undecodable) else answer_value(message) for message in reader]


# Readers at rest: as the packers of ``_codec``, taken out for a call, and not put back by whoever fails.
_answer_readers: list[AnswerReader] = []
_take, _put_back = _answer_readers.pop, _answer_readers.append


def read_answers(body: bytes | memoryview) -> list[list[Any] | Undecodable]:
    """
    All messages in the body of a frame of an answer pipe or reply lane, as the arrays that came.

    Raises:
        ProtocolError: It contains something else, or is longer than a frame.
    """
    try:
        reader = _take()
    except IndexError:
        reader = AnswerReader()
    reader.feed(body)
    answers = list(reader)
    _put_back(reader)
    return answers


def _read_one(
    data: bytes | memoryview,
    is_message: Callable[[Any], bool],
    undecodable: Callable[[list[Any], UnknownTypeError], Undecodable],
    *,
    opaque: bool = False,
    beside: memoryview | None = None,
) -> list[Any] | Undecodable:
    unknown: UnknownTypeError | None = None
    try:
        message: Any = decode(data, opaque=opaque, beside=beside)
    except UnknownTypeError as error:
        unknown = error
        message = decode(data, opaque=True)
    if not is_message(message):
        raise ProtocolError(str(_unknown_shape(message)))
    return message if unknown is None else undecodable(message, unknown)


def _unknown_shape(message: object) -> TypeError:
    return TypeError(f"an unknown shape: {_shown(message)}")


def _shown(message: object) -> str:
    # Not repr() of it all: the message may be large, deep, or hold values whose repr() is the user's code.
    if type(message) is not list:
        return type(message).__name__
    return f"{len(message)} items, {', '.join(type(item).__name__ for item in message[:8])}"
