"""
One message: which handler, its arguments, what becomes of its result or its exception.

Under ``ask`` an exception is data for the caller; under ``tell`` there is no one to tell, so the actor crashes unless its
``on_failure`` says otherwise. What a handler told others leaves before its message counts as handled.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from actors._handlers import HandlerInfo
from actors._stream import CREDIT
from actors._timers import Timer
from actors.errors import ActorsError, ChannelClosedError, MailboxFullError, ProtocolError, SendError
from actors.mailbox import _envelope, _failure
from actors.mailbox._cargo import largest_parcel
from actors.mailbox._envelope import INCARNATION_SHIFT, lane_number
from actors.mailbox._frames import MAX_BODY_BYTES
from actors.mailbox._layout import FlightState
from actors.supervisor import _exits
from actors.supervisor._letters import DeadLetterReason

if TYPE_CHECKING:
    from actors._child import ActorProcess

__all__ = ["Crash", "Dispatcher"]

_ROOM_LOOK_SECONDS = 0.002


class Crash(BaseException):
    """A handler failed with nobody to tell: the actor ends. Not an Exception, so that no user code between can take it."""

    def __init__(self, report: dict[str, Any], handler: str) -> None:
        super().__init__(handler)
        self.report = report
        self.handler = handler


class Dispatcher:
    """
    Runs the handlers of one actor.

    Attributes:
        reader: Decodes the frames of the inbox.
        plain: Of each handler that is neither async nor a generator: its function and what stands for it in the recorder.
    """

    def __init__(self, process: ActorProcess) -> None:
        self._process = process
        self._actor = process.actor
        self._recorder = process.recorder
        self._answering = process.answering
        self._node = process.node
        self._table = type(process.actor)._handlers
        self._indices = {name: index for index, name in enumerate(self._table)}
        self.plain = {
            name: (info.function, self._indices[name] + 1) for name, info in self._table.items() if info.kind == "sync"
        }
        self._recorder.name_handlers(list(self._table))
        self.reader = _envelope.MessageReader()

    def handle(self, message: Any, more: bool) -> None:
        """
        Handle one message.

        Args:
            message: As :class:`~actors.mailbox._envelope.MessageReader` yields it.
            more: Whether another one stands behind it in the same frame.

        Raises:
            Crash: Its handler failed, and there is nobody to tell.
            SystemExit: Its handler chose to leave.
        """
        if type(message) is list:
            if message[0] == _envelope.TELL:
                self._tell(message[1], message[2], message[3] if len(message) > 3 else None)
            elif message[0] == _envelope.ASK:
                self._ask(message, more)
            else:
                self._handle_large(message, more)
        else:
            self._undecodable(message)

    def _handle_large(self, large: list[Any], more: bool) -> None:
        _kind, arena_id, number, length, generation, offset = large
        process = self._process
        if length + offset > largest_parcel(process.max_bytes):
            # No send of ours lets it through: whoever wrote this knows no bound, so it is not even looked at.
            self._dead_letter("too_large", None)
            return
        lease = None
        try:
            arena = process.directory.find_arena(arena_id)
            body = arena.get(number, length, generation, offset)
            if offset:
                lease = process.directory.holds.open(arena, arena_id, number, generation, offset)
            message = _envelope.read_message(body, beside=None if lease is None else lease.beside)
            if type(message) is list and message[0] == _envelope.LARGE:
                raise ProtocolError("a large message stands for another large message")
        except ActorsError:
            # Whoever sent it wrote nonsense, or is gone together with what the message was in.
            self._dead_letter("undecodable", None)
        else:
            self.handle(message, more)
            # What its handler has kept of it keeps the slot, from here on by a mark of its own.
            del message
            if lease is None:
                arena.release(number, generation)
        if lease is not None:
            lease.settle()

    def _tell(self, name: str, args: list[Any], kwargs: dict[str, Any] | None) -> None:
        info = self._table.get(name)
        if info is None:
            self._dead_letter("undecodable", name)
            return
        try:
            result = self._call(info, args, kwargs)
            if info.kind == "generator":
                # Nobody reads its items; what it does between them is the point.
                self._exhaust(result)
        except SystemExit:
            raise
        except BaseException as error:  # noqa: BLE001 - a handler may raise anything; it becomes the crash report
            self.fail(error, name)

    def handle_own(self, name: str, value: Any) -> None:
        """
        Run a handler of this actor for something that came by no inbox, as a message of its own.

        Raises:
            Crash: It failed.
            SystemExit: It chose to leave.
        """
        self._tell(name, [value], None)

    def _exhaust(self, generator: Iterator[Any]) -> None:
        self._process.busy = True
        for _item in generator:
            self._recorder.note_progress(time.monotonic())
        self._process.busy = False
        self._node.flush_all()

    def fail(self, error: BaseException, name: str) -> None:
        """
        Nobody can be told of *error*: crash, unless the actor's hook says otherwise.

        Raises:
            Crash: It ends.
        """
        self._process.end_copy()
        if isinstance(error, ChannelClosedError) and error.stopping:
            # It waited for a channel as it was asked to stop: what ends the wait ends the handler.
            self._process.busy = False
            return
        try:
            verdict = self._actor.on_failure(error)
        except BaseException as again:  # noqa: BLE001 - a hook that fails decides nothing: the actor crashes with both
            again.__context__ = error
            raise Crash(_failure.describe(again), name) from None
        finally:
            self._process.busy = False
        if verdict != "resume":
            raise Crash(_failure.describe(error), name) from None
        self._let_out(error)

    def _ask(self, message: list[Any], more: bool) -> None:
        _kind, name, args, kwargs, caller, ask_id, deadline = message
        process = self._process
        if deadline is not None and deadline <= time.monotonic():
            self._dead_letter("expired", name)
            return
        if not process.flow.begin(caller, ask_id, CREDIT):
            return
        process.deadline = deadline
        try:
            if name == _envelope.BARRIER:
                answer = _envelope.encode_result(ask_id, None)
            elif (info := self._table.find(name, process.ref.path)).kind == "generator":
                whole = self._stream(self._call(info, args, kwargs), caller, ask_id)
                answer = _envelope.encode_end(ask_id) if whole else _cut_short(ask_id)
            else:
                result = self._call(info, args, kwargs)
                answer = self._fitting(_envelope.encode_result(ask_id, result), caller, ask_id)
        except SystemExit:
            raise
        except BaseException as error:  # noqa: BLE001 - a handler may raise anything; it goes to whoever asked
            answer = self._failure(caller, ask_id, error)
            self._let_out(error)
            process.busy = False
        process.deadline = None
        process.flow.end()
        if more or not self._answering.leave_at_once(caller, ask_id, answer):
            self.answer(caller, ask_id, answer)
            self._answering.leave(more=more)

    def answer(self, caller: int, ask_id: int, answer: bytes) -> None:
        """Publish one answer; waits only while a megabyte of answers is taken by nobody."""
        while not self._answering.put(caller, ask_id, answer):
            with self._process.standing_by(FlightState.CREDIT):
                self._answering.wait_idle(0.1)

    def give(self, asked: tuple[int, int], value: list[Any]) -> None:
        """
        Publish one part of the answer to the ask being handled, before its handler goes on.

        Args:
            asked: As :meth:`actors._flow.Flow.asked` says.
            value: Which part it is, and what.

        Raises:
            EncodeError: It cannot travel, or is too large.
        """
        caller, ask_id = asked
        self.answer(caller, ask_id, self._fitting(_envelope.encode_item(ask_id, value), caller, ask_id))
        self._answering.leave_soon()

    def _stream(self, generator: Iterator[Any], caller: int, ask_id: int) -> bool:
        """Send the items of a generator as far as its caller has room; False if it was cut short, by its reader or by a stop."""
        process = self._process
        whole = True
        process.busy = True
        with contextlib.closing(generator):  # type: ignore[type-var]
            for number, value in enumerate(generator):
                item = _envelope.encode_item(ask_id, [number, value])
                self._answering.leave(more=process.flow.has_credit)
                if not self._take_credit():
                    whole = False
                    break
                # Only now: nobody would give back the memory of one that is not sent.
                self.answer(caller, ask_id, self._fitting(item, caller, ask_id))
                self._answering.leave(more=process.flow.has_credit)
        process.busy = False
        self._node.flush_all()
        return whole

    def _take_credit(self) -> bool:
        """An item is made, which is progress; wait until its reader has room for it. False if nobody waits for it any more."""
        process = self._process
        if process.flow.has_credit:
            self._recorder.note_progress(time.monotonic())
            return process.flow.take(process.deadline)
        with process.standing_by(FlightState.CREDIT):
            return process.flow.take(process.deadline)

    def _fitting(self, answer: bytes, caller: int, ask_id: int) -> bytes:
        if type(answer) is bytes and len(answer) <= MAX_BODY_BYTES:
            return answer
        return self._enlarge(answer, lane_number(caller, ask_id >> INCARNATION_SHIFT))

    def _let_out(self, error: BaseException) -> None:
        """Let out what a handler that failed had told others before; its own failure is what counts."""
        with contextlib.suppress(SendError):
            # Who has waited for room in vain does not wait again.
            self._node.flush_all(0.0 if isinstance(error, MailboxFullError) else math.inf)

    def _failure(self, caller: int, ask_id: int, error: BaseException) -> bytes:
        self._process.end_copy()
        data = _failure.describe(error)
        answer = _envelope.encode_failure(ask_id, data)
        if len(answer) <= MAX_BODY_BYTES:
            return answer
        try:
            return self._enlarge(answer, lane_number(caller, ask_id >> INCARNATION_SHIFT))
        except ActorsError:
            # It is larger than any message may be, or there is no memory for it: what fits a frame says enough.
            return _envelope.encode_failure(ask_id, _failure.shorten(data, MAX_BODY_BYTES))

    def _enlarge(self, answer: bytes, lane: int) -> bytes:
        while (stored := self._node.store_answer(answer, lane)) is None:
            # Every slot holds an answer that its caller has not read yet.
            self._answering.flush()
            self._process.directory.pause(_ROOM_LOOK_SECONDS)
        return stored

    def _call(self, info: HandlerInfo, args: list[Any], kwargs: dict[str, Any] | None) -> Any:
        """Run the handler, and let out what it told others."""
        process, recorder = self._process, self._recorder
        recorder.begin_handler(self._indices[info.name], time.monotonic())
        process.busy = True
        result = info.function(self._actor, *args, **kwargs) if kwargs else info.function(self._actor, *args)
        if info.kind == "async":
            result = process.run_coroutine(result)
        process.busy = False
        if self._node.unsent:
            self._node.flush_all()
        return result

    def run_timer(self, timer: Timer) -> None:
        """
        Fire one timer, as a message of its own.

        Raises:
            Crash: It failed.
        """
        self._recorder.begin_handler(self._indices.get(timer.name, -1), time.monotonic())
        self._process.busy = True
        try:
            result = timer.action()
            if hasattr(result, "__await__"):
                self._process.run_coroutine(result)
            self._process.busy = False
            self._node.flush_all()
        except SystemExit:
            raise
        except BaseException as error:  # noqa: BLE001 - a handler may raise anything; it becomes the crash report
            self.fail(error, "timer")

    def _dead_letter(self, reason: DeadLetterReason, handler: str | None) -> None:
        ref = self._process.ref
        self._process.directory.dead_letter(ref.path, reason, 1, handler=handler, uid=ref.uid)

    def _undecodable(self, message: Any) -> None:
        """Its bytes are fine, but name a class that this process does not know: only this message fails."""
        self._dead_letter("undecodable", message.name)
        if message.kind == _envelope.ASK:
            self.answer(message.caller, message.ask_id, self._failure(message.caller, message.ask_id, message.error))
            self._answering.leave(more=False)


def _cut_short(ask_id: int) -> bytes:
    """What the reader of a stream is told that ends before its generator has: never that it is at its end."""
    reason = _exits.ExitReason("requested", evidence=("it was stopped in the middle of a stream",))
    return _envelope.encode_died(ask_id, _exits.to_data(reason), may_have_run=True)
