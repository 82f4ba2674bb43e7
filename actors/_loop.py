"""
The loop of an actor: one message after the other, what is due between two of them, and sleep when there is nothing.

A stream of tells costs what the interpreter costs for each, so for the commonest message, a tell of a plain handler without keywords,
everything is written out in :meth:`Loop._handle_frame`: what ``Recorder.begin``, ``begin_handler`` and ``finish`` note is stored there by
the same rules, and nothing is called but the decoder, the clock and the handler. Every other message goes the way of
:meth:`actors._dispatch.Dispatcher.handle`.
"""

from __future__ import annotations

import math
import os
import time
from typing import TYPE_CHECKING, Any, Final

from actors._dispatch import Crash
from actors.errors import ProtocolError
from actors.mailbox import _layout as at
from actors.mailbox._envelope import TELL
from actors.mailbox._layout import OFFSET_MASK, FlightState
from actors.mailbox._patience import Patience
from actors.mailbox._reader import UNREADABLE
from actors.mailbox._shapes import Undecodable, is_inbox_message

if TYPE_CHECKING:
    from actors._child import ActorProcess

__all__ = ["InboxBroken", "Loop"]

# How many items the array of a Tell without keywords has; no other message has so many.
_SHORT_TELL: Final = 3
_NEVER: Final = math.inf
_LONGEST_WAIT: Final = 86_400.0

# Read once per message.
_HANDLING, _NEXT, _HANDLED = at.HANDLING, at.NEXT, at.HANDLED
_STATE, _HANDLER, _SINCE, _RECENT = at.STATE, at.HANDLER, at.SINCE, at.RECENT
_RECENT_MASK: Final = at.RECENT_WORDS - 1
_IN_A_HANDLER: Final = int(FlightState.HANDLING)
_monotonic = time.monotonic


class InboxBroken(BaseException):
    """Somebody has written what is no frame into the inbox, and all that was read before is handled."""


class Loop:
    """
    What the main thread of an actor does from ready to its end.

    Args:
        process: The actor's, with its mailbox.
        redelivered: Where the message stands that others died of, in bytes handled before it, and how many did.
        worn_after: How many messages this incarnation may handle before it is to be replaced, or None.
    """

    def __init__(self, process: ActorProcess, redelivered: tuple[int, int], worn_after: int | None) -> None:
        self._process = process
        self._recorder = process.recorder
        self._dispatcher = process.dispatcher
        self._intake = process.intake
        self._redelivered: tuple[int, int] | None = redelivered
        self._worn_at = math.inf if worn_after is None else self._recorder.handled + worn_after
        self._patience = Patience()
        self._body_at = 0

    def run(self) -> None:
        """
        Serve until the actor is to end, or has handled what it was to.

        Raises:
            Crash: A handler failed, and there was nobody to tell.
            InboxBroken: The inbox cannot be read any further.
            SystemExit: A handler chose to leave.
        """
        process, recorder, intake = self._process, self._recorder, self._intake
        while True:
            process.interrupted = False
            if process.directory.channels.held:
                process.directory.channels.release()
            if process.ending:
                return
            if self._handle_own():
                continue
            if intake.due <= _monotonic():
                intake.look()
            frame = recorder.next_frame()
            if frame is None:
                if not self._read_on():
                    return
                continue
            self._handle_frame(*frame)
            if recorder.handled >= self._worn_at:
                self._say_worn()

    # --- between messages -------------------------------------------------------------------------------------------------

    def _handle_own(self) -> bool:
        """Handle what stands before the next message, if anything does: the news of a death, a timer."""
        process = self._process
        if process.watching.fatal:
            # An actor that this one was linked to is dead: so it ends, too.
            raise Crash(next(iter(process.watching.fatal.values())), "")
        if process.watching.waits and self._handle_news(empty=False):
            return True
        timer = process.timers.pop(_monotonic())
        if timer is not None:
            self._dispatcher.run_timer(timer)
        return timer is not None

    def _handle_news(self, *, empty: bool) -> bool:
        """Handle the news of one death, if it is its turn."""
        news = self._process.watching.take(empty=empty)
        if news is not None:
            handler, down = news
            self._dispatcher.handle_own(handler, down)
        return news is not None

    def _say_worn(self) -> None:
        """It has handled as many messages as it may; it goes on until another one is ready to take over."""
        self._worn_at = math.inf
        self._process.attendant.notify("worn")

    # --- a frame of messages ----------------------------------------------------------------------------------------------

    def _handle_frame(self, base: int, body: bytes) -> None:  # noqa: C901, PLR0912, PLR0915 - see the head of this module
        """Handle the messages of one frame, up to an interruption; the rest is found again by ``next_frame``."""
        process, recorder, reader, intake = self._process, self._recorder, self._dispatcher.reader, self._intake
        actor, node, timers, plain = process.actor, process.node, process.timers, self._dispatcher.plain
        words, times = recorder.words, recorder.times
        offset, stop, handled, last = base, base + len(body), words[_HANDLED], 0
        self._body_at = base
        reader.feed(body)
        unpack, tell, start = reader.raw()
        if self._redelivered:
            self._note_attempt()
        while offset < stop:
            # Before it is decoded: a message may kill this process by that alone.
            words[_HANDLING] = offset + 1
            try:
                message = unpack()
                reader.consumed = consumed = tell() - start
            except UNREADABLE as error:
                message = self._step_over(error)
                unpack, tell, start = reader.raw()
                consumed = reader.consumed
            offset = base + consumed
            known = None
            if (
                type(message) is list
                and len(message) == _SHORT_TELL
                and message[0] == TELL
                and type(message[1]) is str
                and type(message[2]) is list
            ):
                known = plain.get(message[1])
            if known is not None:
                function, number = known
                times[_SINCE] = _monotonic()
                words[_RECENT + (handled & _RECENT_MASK)] = number
                if number != last:
                    words[_HANDLER] = last = number
                    words[_STATE] = _IN_A_HANDLER
                try:
                    function(actor, *message[2])
                    if node.unsent:
                        node.flush_all()
                except SystemExit:
                    raise
                except BaseException as error:  # noqa: BLE001 - a handler may raise anything; it becomes the crash report
                    self._dispatcher.fail(error, message[1])
                    last = 0
            elif self._dispatch(message, offset < stop):
                last = 0
            else:
                recorder.finish(stop)
                return
            words[_NEXT] = recorder.frame_bits + offset
            words[_HANDLED] = handled = handled + 1
            process.attempt = 0
            if process.coroutines is not None:
                process.coroutines.turn()
            due = timers.first if not intake.watches else min(timers.first, intake.due)
            if process.interrupted or (due < _NEVER and due <= _monotonic()):
                return
        reader.close()

    def _dispatch(self, message: Any, more: bool) -> bool:
        """Handle a message of any kind; False for junk that somebody wrote, as is all that stands behind it."""
        if message is None:
            return False
        if not (type(message) is Undecodable or is_inbox_message(message)):
            self._say_undecodable(ProtocolError(f"a {type(message).__name__} of an unknown shape is no message"))
            return False
        self._dispatcher.handle(message, more)
        return True

    def _step_over(self, error: Exception) -> Any:
        """Return what can be said of a message that cannot be read; None for junk."""
        try:
            return self._dispatcher.reader.step_over(error)
        except ProtocolError as junk:
            self._say_undecodable(junk)
            return None

    def _say_undecodable(self, error: ProtocolError) -> None:
        process = self._process
        process.directory.dead_letter(process.ref.path, "undecodable", 1, uid=process.ref.uid)
        process.actor.log.warning("actors.undecodable", reason=str(error))

    def _note_attempt(self) -> None:
        """The first message of this incarnation is about to be handled: say how many others died of it."""
        place, count = self._redelivered or (-1, 0)
        self._process.attempt = count if place == self._recorder.handled_bytes else 0
        self._redelivered = None

    def flight_stop(self) -> int:
        """Return where the message that is being handled ends: 0 if none is, -1 if that is not known yet."""
        recorder = self._recorder
        if not recorder.in_flight:
            return 0
        # As in finish(): where it stands by now, if it was moved since it was begun.
        stop = recorder.frame_bits + self._body_at + self._dispatcher.reader.consumed & OFFSET_MASK
        return stop if recorder.in_flight < stop else -1

    # --- when all that was read is handled --------------------------------------------------------------------------------

    def _read_on(self) -> bool:
        """Read more, or wait for it; False if what was queued was all that there is to do."""
        process, recorder = self._process, self._recorder
        recorder.reset_if_empty()
        # A look costs less than a read that finds nothing, which is what comes between two asks.
        if (process.draining or process.poller.poll(0)) and self._fill():
            return True
        if recorder.broken is not None:
            raise InboxBroken(recorder.broken)
        if process.watching.waits and self._handle_news(empty=True):
            return True
        if not process.draining:
            self._idle()
            return True
        return False

    def _fill(self) -> bool:
        if self._recorder.fill(self._process.inbox):
            self._intake.filled()
            return True
        return False

    def _idle(self) -> None:
        """Nothing to handle: let everything out, then wait for a message, a timer or the attendant."""
        process = self._process
        process.answering.leave(more=False)
        self._recorder.note_state(FlightState.IDLE)
        if process.coroutines is not None and process.coroutines.busy():
            process.coroutines.wait((process.inbox, process.wake_fd), process.timers.wait_seconds(_monotonic()))
            process.read_wake()
        # The read also finds what one that was interrupted has left.
        elif not self._look() and not self._fill() and self._recorder.broken is None:
            self._sleep()

    def _look(self) -> bool:
        """Look a few times whether something has come, and let others have the core meanwhile."""
        poll, give_way, looks = self._process.poller.poll, os.sched_yield, self._patience.looks
        if not looks:
            return False
        found, began = False, _monotonic()
        for count in range(looks):
            give_way()
            if events := poll(0):
                found, looks = True, count
                self._take_back(events)
                break
        self._patience.looked(looks, _monotonic() - began)
        return found

    def _sleep(self) -> None:
        """Wait until something has come, or a timer is due."""
        began = _monotonic()
        seconds = self._process.timers.wait_seconds(began)
        events = self._process.poller.poll(None if seconds is None else min(seconds, _LONGEST_WAIT) * 1000 + 1)
        self._patience.slept(_monotonic() - began)
        self._take_back(events)

    def _take_back(self, events: list[tuple[int, int]]) -> None:
        if any(descriptor == self._process.wake_fd for descriptor, _event in events):
            self._process.read_wake()
