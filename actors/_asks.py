"""
The open asks of one process, and how each of them ends: exactly once, by its answer, a failure, a death, its deadline or a cancel.

Knows how answers look, and nothing of how asks are sent: that is :class:`actors._node.Node`, which this is the other half of.
"""

from __future__ import annotations

import contextlib
import heapq
import math
import sys
import time
from collections import deque
from collections.abc import Callable, Container
from typing import Any, TypeAlias

from actors._batch import Batch
from actors._reply import Reply
from actors._routes import Directory
from actors._stream import ItemStream
from actors.errors import ActorDied, ActorsError, AskTimeoutError, MailboxFullError, ProtocolError, SendError, SpecError
from actors.mailbox import _envelope, _failure
from actors.mailbox._arena import ArenaReader
from actors.supervisor import _exits

__all__ = ["OpenAsks", "died"]

# Beyond so many new deadlines, whoever looks at them is woken to forget those of asks that have ended.
_ARMED_AT_MOST = 4096
# A frame that is delivered again holds some hundreds of large answers at most.
_DELIVERED_AT_MOST = 4096

_Delivered: TypeAlias = tuple[tuple[int, int, int], int | None]


class OpenAsks:
    """
    What one process has asked and not been answered yet.

    Args:
        directory: The process it is in.
        gone: Told the uid and the reason where no incarnation of an actor will come.

    Attributes:
        asks: By their ids.
        late_replies: Answers that came after their ask had ended here.
    """

    def __init__(self, directory: Directory, gone: Callable[[int, _exits.ExitReason], object]) -> None:
        self._directory = directory
        self._gone = gone
        self.asks: dict[int, Reply[Any]] = {}
        self.late_replies = 0
        self._delivered: dict[_Delivered, None] = {}
        # Any thread arms deadlines; the one that looks at them sorts them in.
        self._armed: deque[tuple[float, int]] = deque()
        self._deadlines: list[tuple[float, int]] = []
        self._spared: dict[int, set[int]] = {}
        self._moved: dict[int, int] = {}
        # Of actors that were given up and came back: how often, and the first ask id since then.
        self._revived: dict[int, tuple[int, int]] = {}

    # --- ends by an answer or a death ---------------------------------------------------------------------------------------

    def deliver(self, body: bytes, sender: int | None) -> None:
        """
        Take one frame of answers. May be called again with the same frame: asks are forgotten at their first answer.

        Args:
            body: The frame's body.
            sender: The only actor that may have written it, or None where many may.

        Raises:
            ProtocolError: It is no frame of answers.
        """
        for raw in _envelope.read_answers(body):
            if type(raw) is not list:
                self._settle(raw, sender)
                continue
            if raw[0] == _envelope.RESULT:
                # Nearly all answers, without a value class.
                reply = self.asks.get(raw[1])
                if type(reply) is Reply and (sender is None or reply.target.uid == sender):
                    reply.complete(raw[2])
                    self.asks.pop(raw[1], None)
                    continue
            elif raw[0] == _envelope.ITEM:
                batch = self.asks.get(raw[1])
                if type(batch) is Batch and (sender is None or batch.target.uid == sender):
                    batch.item(raw[2])
                    continue
            answer = _envelope.answer_value(raw)
            if type(answer) is _envelope.Large:
                self._deliver_large(answer, sender)
            else:
                self._settle(answer, sender)

    def _deliver_large(self, large: _envelope.Large, sender: int | None) -> None:
        """
        Take an answer that lies in an arena.

        Raises:
            ProtocolError: What its sender says of it cannot be, and it is known who that is.
        """
        name = (large.arena_id, large.slot, large.generation)
        if (name, sender) in self._delivered:
            # By a thread that was interrupted after that.
            if not self._directory.holds.settle(*name):
                with contextlib.suppress(ProtocolError):  # its sender has ended since
                    self._directory.find_arena(large.arena_id, sender).release(large.slot, large.generation)
            return
        try:
            self._deliver_from(self._directory.find_arena(large.arena_id, sender), large, sender)
        except ProtocolError:
            if sender is not None:
                raise
            # Many write here: whose fault it is cannot be known, and it is not the reader's.
            self.late_replies += 1

    def _deliver_from(self, arena: ArenaReader, large: _envelope.Large, sender: int | None) -> None:
        if arena.is_over(large.slot, large.generation):
            # Written once more by the supervisor for an actor that died in the middle of writing it.
            self.late_replies += 1
            return
        name = (large.arena_id, large.slot, large.generation)
        body = arena.get(large.slot, large.length, large.generation, large.offset)
        lease = self._directory.holds.open(arena, *name, large.offset) if large.offset else None
        problem = ""
        try:
            self._settle(_envelope.parse_answer(body, beside=None if lease is None else lease.beside), sender)
        except ProtocolError as error:
            problem = str(error)
        self._note_delivered((name, sender))
        if lease is None:
            arena.release(large.slot, large.generation)
        else:
            lease.settle(answer=True)
        if problem:
            # Made anew: the traceback of the other one would keep what it looked at.
            raise ProtocolError(problem)

    def _note_delivered(self, answer: _Delivered) -> None:
        self._delivered[answer] = None
        while len(self._delivered) > _DELIVERED_AT_MOST:
            with contextlib.suppress(StopIteration, RuntimeError):  # another thread notes, too
                self._delivered.pop(next(iter(self._delivered)), None)

    def _settle(self, answer: Any, sender: int | None) -> None:
        if type(answer) is _envelope.Down or type(answer) is _envelope.Lost:
            if sender is None or answer.uid == sender:
                self._take_news(answer)
            return
        reply = self.asks.get(answer.ask_id)
        if reply is None or (sender is not None and reply.target.uid != sender):
            self.late_replies += 1
            return
        if type(answer) is _envelope.Item and isinstance(reply, ItemStream | Batch):
            reply.item(answer.value)
            return
        if type(answer) is _envelope.End and isinstance(reply, ItemStream):
            reply.complete(None)
        elif type(answer) is _envelope.Result and not isinstance(reply, ItemStream):
            reply.complete(answer.value)
        elif type(answer) is _envelope.Died or type(answer) is _envelope.Dropped:
            reply.fail(_unhandled(reply, answer))
        elif type(answer) is _envelope.Failure:
            self._take_failure(reply, answer.error)
        elif type(answer) is _envelope.Undecodable:
            reply.fail(answer.error)
        else:
            # A handler named by a string: only now it is known whether it is a generator.
            reply.fail(_wrong_kind(reply))
            self._directory.steer(reply.target.uid, "cancel", answer.ask_id, 1)
        self.asks.pop(answer.ask_id, None)

    def _take_failure(self, reply: Reply[Any], error: Any) -> None:
        """The handler failed. At the deadline, which has travelled, that is because what it waited for ended by it, too."""
        if reply.deadline is not None and time.monotonic() >= reply.deadline:
            self.expire(reply)
        else:
            reply.fail(_failure.rebuild(error, target=reply.target.path))

    def _take_news(self, news: Any) -> None:
        """An actor is gone for good; or mail of it was destroyed, and nobody knows how far it had come with that."""
        reason = _exits.from_data(news.reason)
        if type(news) is _envelope.Down:
            self._take_down(news, reason)
            return
        if news.part == 0:
            self._spared[news.uid] = set()
        # Kept until the next news of the kind: this very frame may be delivered again.
        spared = self._spared.setdefault(news.uid, set())
        spared.update(news.spared)
        if news.part + 1 >= news.parts:
            # What was asked over the new pipe, or after the host had destroyed the mail, was not in it.
            below = self._moved.pop(news.uid, None) if news.below is None else news.below
            later = () if below is None else (ask_id for ask_id in list(self.asks) if ask_id >= below)
            self.fail_asks(news.uid, reason, may_have_run=True, spared=spared.union(later))

    def _take_down(self, news: _envelope.Down, reason: _exits.ExitReason) -> None:
        """It may have come back, which is told over another lane: then what was asked since then is not concerned."""
        self._spared.pop(news.uid, None)
        self._moved.pop(news.uid, None)
        revivals, since = self._revived.get(news.uid, (0, 0))
        if news.revivals < revivals:
            self.fail_asks(news.uid, reason, may_have_run=True, spared=range(since, sys.maxsize))
            return
        self._revived.pop(news.uid, None)
        self._gone(news.uid, reason)
        self.fail_asks(news.uid, reason, may_have_run=False)

    def fail_asks(
        self, uid: int, reason: _exits.ExitReason, *, may_have_run: bool, spared: Container[int] = ()
    ) -> None:
        """Fail the open asks to *uid* but the *spared* ones: none of them will be answered."""
        for ask_id, reply in list(self.asks.items()):
            if reply.target.uid == uid and ask_id not in spared:
                reply.fail(died(reply, reason, may_have_run=may_have_run))
                self.asks.pop(ask_id, None)

    def fail_all(self, make_error: Callable[[Reply[Any]], ActorsError]) -> None:
        """End every open ask with an error of its own."""
        for ask_id, reply in list(self.asks.items()):
            reply.fail(make_error(reply))
            self.asks.pop(ask_id, None)

    # --- deadlines --------------------------------------------------------------------------------------------------------

    def _arm(self, deadline: float, ask_id: int) -> None:
        armed = self._armed
        armed.append((deadline, ask_id))
        self._directory.wake_for(-math.inf if len(armed) > _ARMED_AT_MOST else deadline)

    def expire_due(self, now: float) -> float | None:
        """End the asks whose deadline has passed; return the next deadline, or None. Of one thread."""
        self._sort_deadlines()
        deadlines = self._deadlines
        while deadlines:
            deadline, ask_id = deadlines[0]
            reply = self.asks.get(ask_id)
            if reply is not None and deadline > now:
                return deadline
            heapq.heappop(deadlines)
            if reply is not None:
                self.expire(reply)
        return None

    def _sort_deadlines(self) -> None:
        deadlines, asks = self._deadlines, self.asks
        for _ in range(len(self._armed)):
            entry = self._armed.popleft()
            if entry[1] in asks:
                heapq.heappush(deadlines, entry)
        if len(deadlines) > _ARMED_AT_MOST + 4 * len(asks):
            self._deadlines = [entry for entry in deadlines if entry[1] in asks]
            heapq.heapify(self._deadlines)

    def expire(self, reply: Reply[Any]) -> None:
        """End an ask at its deadline."""
        reply.fail(
            AskTimeoutError(
                f"ask to {reply.target.path} timed out at its deadline{_allowed(reply.target.timeout)}; "
                f"the message may still be handled; open asks of this process: {len(self.asks)}",
                target=reply.target.path,
                timeout=reply.target.timeout or 0.0,
            )
        )
        self.asks.pop(reply.ask_id, None)

    def grant(self, stream: ItemStream, count: int) -> None:
        """Let the producer of a stream send more items."""
        self._directory.steer(stream.target.uid, "credit", stream.ask_id, count)

    def cancel(self, reply: Reply[Any]) -> None:
        """Drop a cancelled ask: its message is skipped if it has not been started, else its handler is told."""
        if self.asks.pop(reply.ask_id, None) is not None:
            self._directory.steer(reply.target.uid, "cancel", reply.ask_id, 1)

    def run_callback(self, function: Callable[..., object], *args: object) -> None:
        """Run a user's callback."""
        self._directory.run_callback(function, *args)


def _allowed(timeout: float | None) -> str:
    # The deadline may also be an outer ask's, which ends earlier.
    return "" if timeout is None else f" of at most {timeout:g} s"


def died(reply: Reply[Any], reason: _exits.ExitReason, *, may_have_run: bool) -> ActorDied:
    """Return the error of an ask whose target is dead."""
    path = reply.target.path
    what = "the message was being handled" if may_have_run else "the message was not started"
    return ActorDied(f"{path} {_exits.describe(reason)}; {what}", target=path, reason=reason, may_have_run=may_have_run)


def _unhandled(reply: Reply[Any], answer: _envelope.Died | _envelope.Dropped) -> SendError:
    """Return the error of an ask that its target will not answer."""
    if isinstance(answer, _envelope.Dropped):
        return _dropped(reply)
    return died(reply, _exits.from_data(answer.reason), may_have_run=answer.may_have_run)


def _dropped(reply: Reply[Any]) -> MailboxFullError:
    """Return the error of an ask that its target dropped unhandled."""
    path = reply.target.path
    return MailboxFullError(
        f"the mailbox of {path} was full, and the message was dropped for newer ones (on_full='drop_oldest'); it was not "
        "handled. Send less, make its handlers faster, or give it a larger mailbox",
        target=path,
    )


def _wrong_kind(reply: Reply[Any]) -> SpecError:
    if isinstance(reply, ItemStream):
        return SpecError(f"the handler of {reply.target.path} that was streamed is no generator: use ref.ask(...)")
    return SpecError(f"the handler of {reply.target.path} that was asked is a generator: use ref.stream(...)")
