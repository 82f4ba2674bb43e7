"""
What becomes of messages when their actor dies: the one in flight is named, answers that were published are delivered, what is queued
waits for the next incarnation or, when there will be none, ends here as dead letters.

News of a death travels in the very lane that the answers come through, behind them: an answer that was given is never overtaken by
the news that nobody will answer. Runs in the pump's thread.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import attrs

from actors import _descriptors
from actors.errors import ProtocolError
from actors.mailbox import _envelope, _failure, _overflow
from actors.mailbox._frames import MAX_BODY_BYTES, frame
from actors.mailbox._inbox import queued_bytes, write_frame
from actors.mailbox._recorder_view import RecorderView, Settled
from actors.supervisor import _exits
from actors.supervisor._cells import Body, Cell, make_recorder
from actors.supervisor._inboxes import asks_in, lost_news, replace_inbox
from actors.supervisor._letters import DeadLetter, DeadLetterReason

if TYPE_CHECKING:
    from actors._host import Host

__all__ = ["Mail"]

# Tombstones are read by so many frames at a time, so that one full of mail delays nobody.
_FRAMES_PER_TURN = 64
_RETRY_SECONDS = 0.002
# Of a reason that is too long for a frame.
_EVIDENCE_CHARACTERS = 80
_MOST_EVIDENCE = 4


class Mail:
    """
    The undertaker of a system's messages.

    Args:
        host: Everything the system shares.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._pump = host.pump
        self._tombs: dict[int, Cell] = {}

    # --- after a death ----------------------------------------------------------------------------------------------------

    def settle(self, cell: Cell, body: Body, reason: _exits.ExitReason) -> None:
        """The process of *body*, which served, is gone: deliver what it had answered, and name the message that was in flight."""
        try:
            settled = cell.view.settle()
            for lane, answer in _checked(cell.view.unsent_replies()):
                self._answer(cell, *_envelope.lane_owner(lane), answer)
            cell.view.forget_replies()
            if settled.dropping:
                settled = self._finish_drop(cell, settled)
            self.count_dropped(cell)
            if settled.in_flight is not None:
                self._end_in_flight(cell, settled, reason, wanted=not body.spent)
            if body.inbox_broken or settled.broken is not None:
                self._replace_inbox(cell, settled.broken or body.broken or "")
        except ProtocolError as error:
            self._replace_recorder(cell, error)

    def _finish_drop(self, cell: Cell, settled: Settled) -> Settled:
        """It was dropping its oldest messages: tell who asked, in its name, and count them."""
        dropped = _overflow.sort_out(settled.dropping)
        for large in dropped.larges:
            caught = self._drop_large(*large)
            dropped.asks += [] if caught is None else [caught]
        for caller, ask_id in dropped.asks:
            self._answer(cell, caller, ask_id >> _envelope.INCARNATION_SHIFT, _envelope.encode_dropped(ask_id))
        cell.view.finish_drop()
        return attrs.evolve(cell.view.settle(), broken=settled.broken)

    def _drop_large(
        self, arena_id: int, slot: int, length: int, generation: int, offset: int
    ) -> tuple[int, int] | None:
        """Release a large message that is dropped, and return who waits for it."""
        with contextlib.suppress(ProtocolError):  # released already, when its asker had been told
            arena = self._host.arenas.reader(arena_id)
            with arena.view(slot, length, generation, offset) as data:
                waits = _overflow.asker(data)
            arena.release(slot, generation)
            return waits
        return None

    def count_dropped(self, cell: Cell, named: Iterable[tuple[str | None, int]] = (), total: int | None = None) -> None:
        """
        Count what an actor has dropped for newer messages and what was not counted yet: each once, whoever says so and how often.

        Args:
            cell: The actor.
            named: Which of them were for which handler, as it says.
            total: Up to which number it says so; None for all that its recorder counts.
        """
        dropped = cell.view.flight().dropped
        for handler, claimed in named:
            self._count_some(cell, min(claimed, dropped - cell.dropped), handler)
        self._count_some(cell, (dropped if total is None else min(total, dropped)) - cell.dropped, None)

    def _count_some(self, cell: Cell, count: int, handler: str | None) -> None:
        if count > 0:
            cell.dropped += count
            self._letter(cell, "overflow", count, handler)

    def _end_in_flight(self, cell: Cell, settled: Settled, reason: _exits.ExitReason, *, wanted: bool) -> None:
        """It is handed to the next incarnation as often as the actor's options say, if anybody wants it; then it ends here."""
        assert settled.in_flight is not None
        attempts = cell.deaths.note(cell.view, settled.in_flight_place, reason)
        if wanted and attempts <= cell.options.redeliver and self._keep_slot(settled.in_flight):
            cell.view.redeliver_in_flight()
            return
        why: DeadLetterReason = "poison" if wanted and cell.options.redeliver else "crashed"
        self._give_up_in_flight(cell, settled.in_flight, reason, why)

    def _end_handed_on(self, cell: Cell) -> None:
        """
        No incarnation will come: the message that was handed on to one has run, and is named, unlike those behind it.

        Of one that ended in good order nothing was handed on.
        """
        with contextlib.suppress(ProtocolError):
            place, count = cell.deaths.redelivered(cell.view)
            if not count or not cell.view.take_back_in_flight(place):
                return
            in_flight = cell.view.settle().in_flight
            if in_flight is not None:
                self._give_up_in_flight(cell, in_flight, cell.deaths.reasons[-1], "crashed")

    def _give_up_in_flight(
        self, cell: Cell, in_flight: bytes, reason: _exits.ExitReason, why: DeadLetterReason
    ) -> None:
        # Opaque: what killed a process by being decoded must not be decoded here.
        reader = _envelope.MessageReader(opaque=True)
        try:
            reader.feed(in_flight)
            message = next(iter(reader))
        except ProtocolError:
            cell.view.skip_in_flight(len(in_flight))
            self._letter(cell, "undecodable", 1)
            return
        cell.view.skip_in_flight(reader.consumed)
        self._end(cell, message, reason, may_have_run=True, why=why)

    def _keep_slot(self, in_flight: bytes) -> bool:
        """
        The dead one may have noted the slot of this message as its own; now it is the next one's.

        Returns:
            Whether there is anything to hand on: False for a slot that was given back, whose message was handled and not yet counted so.
        """
        reader = _envelope.MessageReader(opaque=True)
        with contextlib.suppress(ProtocolError):
            reader.feed(in_flight)
            for message in itertools.islice(reader, 1):
                if isinstance(message, list) and message[0] == _envelope.LARGE:
                    _kind, arena_id, slot, _length, generation, _offset = message
                    arena = self._host.arenas.reader(arena_id)
                    arena.mark(slot, generation, 0)
                    return not arena.is_over(slot, generation)
        return True

    def _replace_inbox(self, cell: Cell, why: str) -> None:
        """Somebody wrote what is no frame into its inbox: what stood in the pipe is lost, what was read is served."""
        try:
            count = replace_inbox(cell, self._host.arenas)
        except OSError:
            # No descriptor is left: the pipe stays, and fails the next incarnation too.
            return
        self._host.log("error", "actors.inbox_replaced", path=cell.path, uid=cell.uid, reason=why, undecodable=count)
        self._letter(cell, "undecodable", count)
        spared = asks_in(cell.view.queued_frames(), self._host.arenas)
        reason = _exits.ExitReason("protocol", evidence=("its inbox was written to by somebody else", why))
        self._tell_lost(cell, reason, spared)

    def _tell_lost(self, cell: Cell, reason: _exits.ExitReason, spared: dict[int, list[int]]) -> None:
        """Mail of *cell* was destroyed: tell all who may have asked it."""
        below = self._host.node.next_id()
        for caller, incarnation in ((0, 0), *cell.holders):
            for news in lost_news(cell.uid, reason, spared.get(caller, []), None if caller else below):
                self._answer(cell, caller, incarnation, news)
        self._host.memory.forget_mark(cell.uid)

    def _replace_recorder(self, cell: Cell, error: ProtocolError) -> None:
        """It was written over: what it held is lost, and said to be."""
        self._letter(cell, "undecodable", 1)
        self._host.log("error", "actors.recorder_lost", path=cell.path, uid=cell.uid, reason=str(error))
        self._tell_lost(cell, _lost(error), {})
        with _descriptors.fork_lock:
            recorder = make_recorder(cell.options, cell.view.pipe_bytes)
            _descriptors.own(recorder)
        cell.view.close()
        _descriptors.close(cell.recorder)
        cell.recorder, cell.view, cell.dropped = recorder, RecorderView(recorder), 0

    def _end(
        self, cell: Cell, message: Any, reason: _exits.ExitReason, *, may_have_run: bool, why: DeadLetterReason
    ) -> None:
        """The message in flight will not be handled (again): tell its asker, and count it where nobody asked, or it is poison."""
        if message[0] == _envelope.LARGE:
            self._end_large(cell, message, reason, may_have_run=may_have_run, why=why)
            return
        if message[0] == _envelope.ASK:
            caller, ask_id = message[4], message[5]
            incarnation = ask_id >> _envelope.INCARNATION_SHIFT
            self._answer(cell, caller, incarnation, _died(ask_id, reason, may_have_run=may_have_run))
        if message[0] == _envelope.TELL or why == "poison":
            deaths = cell.deaths
            self._letter(cell, why, 1, message[1], attempts=deaths.count, reasons=tuple(deaths.reasons))

    def _end_large(
        self, cell: Cell, large: list[Any], reason: _exits.ExitReason, *, may_have_run: bool, why: DeadLetterReason
    ) -> None:
        _kind, arena_id, slot, length, generation, offset = large
        try:
            arena = self._host.arenas.reader(arena_id)
            message: Any = _envelope.read_message(arena.get(slot, length, generation, offset), opaque=True)
            arena.release(slot, generation)
        except ProtocolError:
            # Released already: it was handled, and not yet counted so.
            return
        if message[0] != _envelope.LARGE:
            self._end(cell, message, reason, may_have_run=may_have_run, why=why)

    # --- answers in somebody's name ---------------------------------------------------------------------------------------

    def _answer(self, cell: Cell, caller: int, incarnation: int, answer: bytes) -> None:
        """Write an answer of *cell* into the lane of its caller: the host's answer pipe, or the reply lane of an incarnation."""
        if caller == 0:
            waited = bool(cell.backlog)
            cell.answer(frame(answer))
            if cell.backlog and not waited:
                self._pump.after(_RETRY_SECONDS, functools.partial(self._retry_answers, cell))
            return
        body = self._host.runner.find_body(caller, incarnation)
        if body is not None and body.reply_lane >= 0:
            body.backlog.append(frame(answer))
            if len(body.backlog) == 1:  # else a retry is on its way
                self._flush_lane(body)

    def _retry_answers(self, cell: Cell) -> None:
        if cell.answers_write >= 0 and not cell.flush_answers():
            self._pump.after(_RETRY_SECONDS, functools.partial(self._retry_answers, cell))

    def _flush_lane(self, body: Body) -> None:
        while body.backlog and body.reply_lane >= 0:
            try:
                if not write_frame(body.reply_lane, body.backlog[0]):
                    self._pump.after(_RETRY_SECONDS, functools.partial(self._flush_lane, body))
                    return
            except BrokenPipeError:
                body.backlog.clear()
                return
            body.backlog.popleft()

    # --- when no incarnation will come ------------------------------------------------------------------------------------

    def bury(self, cell: Cell, reason: _exits.ExitReason) -> None:
        """No incarnation will ever come: end its asks everywhere, and read its inbox until nobody can write to it."""
        self._pump.unwatch(cell.inbox_read)  # where it was parked
        self._end_handed_on(cell)
        self._announce(cell, reason)
        self._end_unsent(cell, cell.close_inbox_writer())
        self._tombs[cell.uid] = cell
        self._count_queued(cell, reason)
        self._drain(cell, reason)

    def park(self, cell: Cell, reason: _exits.ExitReason) -> None:
        """No incarnation will come by itself. The way in stays, and what comes by it is dead."""
        cell.gone = reason
        self._end_handed_on(cell)
        self._announce(cell, reason)
        self._end_unsent(cell, cell.route.outbox.take_back())
        self._count_queued(cell, reason)
        self._pump.watch(cell.inbox_read, functools.partial(self._drain_parked, cell, reason))

    def unpark(self, cell: Cell, incarnation: int) -> None:
        """An incarnation comes after all: those who gave the actor up may send again."""
        if cell.gone is None:
            return
        self._host.log("info", "actors.child_unparked", path=cell.path, uid=cell.uid, incarnation=incarnation)
        self._pump.unwatch(cell.inbox_read)
        cell.revivals += 1
        self._host.node.came_back(cell.uid, cell.revivals)
        cell.gone = cell.route.gone = None
        for other in self._host.runner.cells.values():
            for body in other.bodies:
                self._host.runner.tell_body(body, "back", cell.uid, cell.revivals)

    def _announce(self, cell: Cell, reason: _exits.ExitReason) -> None:
        cell.route.gone, cell.route.joinable = reason, None
        self._host.remember(cell.uid, reason)
        data = _exits.to_data(reason)
        down = _down(cell.uid, reason, cell.revivals)
        self._answer(cell, 0, 0, down)
        self._news_to_holders(cell, down)
        runner = self._host.runner
        for uid, incarnation in cell.holders:
            body = runner.find_body(uid, incarnation)
            if body is not None:
                runner.tell_body(body, "down", cell.uid, data)
        cell.holders.clear()

    def _news_to_holders(self, cell: Cell, news: bytes) -> None:
        for uid, incarnation in cell.holders:
            self._answer(cell, uid, incarnation, news)

    def _count_queued(self, cell: Cell, reason: _exits.ExitReason) -> None:
        try:
            for body in cell.view.queued_frames():
                self._end_frame(cell, body, reason)
            cell.view.discard_queued()
        except ProtocolError:
            self._letter(cell, "undecodable", 1)

    def _end_frame(self, cell: Cell, body: bytes, reason: _exits.ExitReason) -> None:
        """All messages of one frame are dead, or another actor's by now."""
        why: DeadLetterReason = "stopping" if reason.kind == "requested" else "dead"
        self._end_messages(cell, [body], why, self._host.pools.heirs.of(cell.uid))

    def _end_unsent(self, cell: Cell, waiting: list[bytes]) -> None:
        """Messages that had not left the host yet are dead. Nobody inherits them: what is queued would come behind them."""
        self._end_messages(cell, waiting, "dead", None)

    def _end_messages(
        self,
        cell: Cell,
        bodies: list[bytes],
        why: DeadLetterReason,
        divert: Callable[[bytes, str | None], object] | None,
    ) -> None:
        """Whoever asked is told by the news of the death, not one by one."""
        told: Counter[str | None] = Counter()
        for body in bodies:
            self._end_body(cell, body, told, divert)
        for handler, count in told.items():
            self._letter(cell, why, count, handler)

    def _end_body(
        self, cell: Cell, body: bytes, told: Counter[str | None], divert: Callable[[bytes, str | None], object] | None
    ) -> None:
        start, reader = 0, _envelope.MessageReader(opaque=True)
        try:
            reader.feed(body)
            for message in reader:
                kind, handler = self._look_into(message, keep_tell=divert is not None)
                if kind != _envelope.ASK and divert is not None:
                    divert(body[start : reader.consumed], handler)
                elif kind != _envelope.ASK:
                    told[handler] += 1
                start = reader.consumed
        except ProtocolError:
            self._letter(cell, "undecodable", 1)

    def _look_into(self, message: Any, *, keep_tell: bool) -> tuple[int, str | None]:
        """Return the kind of a dead message and the handler it names; a large one is released, unless another actor gets it."""
        if message[0] != _envelope.LARGE:
            return message[0], message[1]
        _kind, arena_id, slot, length, generation, offset = message
        kind, handler = _envelope.TELL, None
        with contextlib.suppress(ProtocolError):
            arena = self._host.arenas.reader(arena_id)
            with arena.view(slot, length, generation, offset) as data:
                kind, handler = _envelope.peek_message(data)
            if not keep_tell or kind == _envelope.ASK:
                arena.release(slot, generation)
        return kind, handler

    def _drain_parked(self, cell: Cell, reason: _exits.ExitReason) -> None:
        try:
            for body in cell.view.drain(cell.inbox_read, _FRAMES_PER_TURN):
                self._end_frame(cell, body, reason)
        except ProtocolError:
            self._letter(cell, "undecodable", 1)

    def _drain(self, cell: Cell, reason: _exits.ExitReason) -> None:
        """One turn at a tombstone; it goes when nobody holds a way in, and the host has read the news."""
        if cell.uid not in self._tombs:
            return
        try:
            frames = cell.view.drain(cell.inbox_read, _FRAMES_PER_TURN)
        except ProtocolError:
            frames = []
            self._letter(cell, "undecodable", 1)
        for body in frames:
            self._end_frame(cell, body, reason)
        self._host.read_answers(cell)
        if cell.view.drained_to_end and not cell.backlog and queued_bytes(cell.answers_write) == 0:
            self._pump.unwatch(cell.lane.fileno())
            self._host.node.routes.pop(cell.uid, None)  # who sends again is told by the directory
            del self._tombs[cell.uid]
            cell.close()
            return
        self._pump.after(0.0 if frames else 0.02, functools.partial(self._drain, cell, reason))

    def close(self) -> None:
        """Give back what tombstones hold; nobody is left to write to them."""
        for cell in self._tombs.values():
            self._pump.unwatch(cell.lane.fileno())
            cell.close()
        self._tombs.clear()

    # --- dead letters -----------------------------------------------------------------------------------------------------

    def _letter(
        self, cell: Cell, reason: DeadLetterReason, count: int, handler: str | None = None, **more: Any
    ) -> None:
        """Count messages of *cell* that nobody will handle."""
        self._host.letters.take(DeadLetter(cell.path, reason, count, handler, cell.uid, **more))


def _checked(replies: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Return them, each known to be an answer: what a dead child left must not break the lane of who asked it."""
    for _caller, answer in replies:
        _envelope.parse_answers(answer)
    return replies


def _down(uid: int, reason: _exits.ExitReason, revivals: int) -> bytes:
    news = _envelope.encode_down(uid, _exits.to_data(reason), revivals)
    return news if len(news) <= MAX_BODY_BYTES else _envelope.encode_down(uid, _short(reason), revivals)


def _died(ask_id: int, reason: _exits.ExitReason, *, may_have_run: bool) -> bytes:
    news = _envelope.encode_died(ask_id, _exits.to_data(reason), may_have_run=may_have_run)
    if len(news) <= MAX_BODY_BYTES:
        return news
    return _envelope.encode_died(ask_id, _short(reason), may_have_run=may_have_run)


def _short(reason: _exits.ExitReason) -> dict[str, object]:
    """Return the reason as data that fits a frame, whatever its traceback."""
    error = None if reason.error is None else _failure.shorten(dict(reason.error), MAX_BODY_BYTES // 2)
    evidence = tuple(text[:_EVIDENCE_CHARACTERS] for text in reason.evidence[:_MOST_EVIDENCE])
    return _exits.to_data(attrs.evolve(reason, error=error, evidence=evidence))


def _lost(error: ProtocolError) -> _exits.ExitReason:
    return _exits.ExitReason("protocol", evidence=(str(error),))
