"""
What runs inside an actor's process: become ready, take one message after the other, and leave when told to.

The order of the steps around a message is the promise of delivery: what its handler told others is written before it counts as
handled, its answer stands in the reply region before the next one begins, and a request to stop is looked at between any two.
How one message is handled is :mod:`actors._dispatch`'s affair; what goes on meanwhile, :mod:`actors._attendant`'s.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import select
import time
from collections.abc import Iterator
from typing import Any, Literal

from actors import _descriptors, _dumps, _lifeline, _seams
from actors._actor import Actor
from actors._actor_node import ActorNode
from actors._answering import Answering
from actors._attendant import Attendant
from actors._context import Context
from actors._coroutines import Coroutines
from actors._directory import ActorDirectory
from actors._dispatch import SHORT_TELL, Crash, Dispatcher
from actors._flow import Flow
from actors._intake import Intake
from actors._launch import Boot
from actors._node import Node
from actors._ref import ActorRef
from actors._snapshot import apply_snapshot
from actors._timers import Timers
from actors._watching import Watching
from actors.errors import ProtocolError
from actors.mailbox import _failure
from actors.mailbox._control import ControlLane
from actors.mailbox._inbox import reopen_reader
from actors.mailbox._layout import FlightState
from actors.mailbox._patience import Patience
from actors.mailbox._recorder import Recorder
from actors.supervisor._exits import ExitReason

__all__ = ["ActorProcess", "serve"]

_FAREWELL_SECONDS = 1.0
_NEVER = math.inf
_LONGEST_WAIT = 86_400.0


def serve(actor: Actor, boot: Boot, lane: ControlLane) -> None:
    """
    Be *actor* until it ends; the body of its process.

    Raises:
        SystemExit: With the exit code of a crash, or the one that a handler chose.
    """
    process = ActorProcess(actor, Attendant(lane, boot.host_pid), boot.max_bytes)
    os.register_at_fork(after_in_child=lambda: process.become_a_copy(boot))
    process.run()


class _InboxBroken(BaseException):
    """Somebody has written what is no frame into the inbox, and all that was read before is handled."""


class ActorProcess:
    """
    One incarnation at work.

    Attributes:
        actor: The object whose handlers run.
        attendant: The control thread.
        setup: What the supervisor said of this incarnation.
        node: What it tells and asks.
        deadline: Of the message being handled, in ``time.monotonic()`` seconds, or None.
        attempt: How often the message being handled was given to incarnations before that died of it.
        busy: Whether a handler or a hook runs.
        ending: Whether no further message may start.
        is_copy: Whether this process is a fork that a handler has made.
        stop_reason: ``"requested"`` once the supervisor asked to stop, else ``"normal"``.
        has_mailbox: Whether recorder, inbox, answering and dispatcher are there. Not in one that stands by to take over.
    """

    def __init__(self, actor: Actor, attendant: Attendant, max_bytes: int) -> None:
        self.actor = actor
        self.attendant = attendant
        self.max_bytes = max_bytes
        self.timers = Timers()
        self.coroutines: Coroutines | None = None
        self.deadline: float | None = None
        self.attempt = 0
        self._redelivered: tuple[int, int] | None = None
        self.busy = False
        self.ending = False
        self.flow = Flow()
        self.stop_reason: Literal["normal", "requested"] = "normal"
        self.has_mailbox = False
        self._lent: tuple[int, ...] | None = None
        self._worn_at = math.inf
        self._draining = False
        self._interrupted = False
        self._body_at = 0
        self.is_copy = False
        self._patience = Patience()
        self._wake_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    # --- life -------------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """
        Become ready, serve, and leave.

        Raises:
            SystemExit: See :func:`serve`.
        """
        self.attendant.handlers["stop"] = self._stop_requested
        self.attendant.handlers["serve"] = self._may_serve
        self.attendant.handlers["steer"] = self.flow.steer
        self.attendant.handlers["caller_gone"] = self.flow.caller_gone
        self._take_setup()
        _seams.register_node(self.ref.system, ActorNode(self))
        try:
            self._become_ready()
            if self._stand_by():
                self._serve()
        except Crash as crash:
            self.attendant.notify("crash", crash.report, crash.handler)
            self._leave(ExitReason("crash", exit_code=1, error=crash.report))
            raise SystemExit(1) from None
        except _InboxBroken as broken:
            self.attendant.notify("inbox_broken", str(broken))
            self._leave(ExitReason("protocol", exit_code=1, evidence=(str(broken),)))
            raise SystemExit(1) from None
        except SystemExit as leaving:
            self._leave(_chosen(leaving))
            raise
        self._leave(ExitReason(self.stop_reason, exit_code=0))

    def _take_setup(self) -> None:
        """Wait for what the supervisor has to say of this incarnation, and build the parts."""
        arrived: list[tuple[dict[str, Any], tuple[int, ...]]] = []
        reader, writer = os.pipe2(os.O_CLOEXEC)

        def take(fields: tuple[Any, ...], descriptors: tuple[int, ...]) -> None:
            arrived.append((fields[0], descriptors))
            os.close(writer)

        self.attendant.handlers["setup"] = take
        self.attendant.start()
        os.read(reader, 1)
        os.close(reader)
        self._build(*arrived[0])

    def _build(self, setup: dict[str, Any], mailbox: tuple[int, ...]) -> None:
        self.setup = setup
        self._redelivered = tuple(setup["redelivered"])
        self.ref: ActorRef[Any] = ActorRef(system=setup["system"], uid=setup["uid"], path=setup["path"])
        self._poller = select.poll()
        self._poller.register(self._wake_fd, select.POLLIN)
        self.directory = ActorDirectory(self)
        self.node = Node(
            self.directory,
            uid=setup["uid"],
            incarnation=setup["incarnation"],
            max_bytes=self.max_bytes,
            max_open_asks=setup["max_open_asks"],
        )
        self.watching = Watching(self)
        self.node.inherited_deadline = lambda: self.deadline if self.busy else None
        self.attendant.next_deadline = self.node.expire_due
        if not setup["standby"]:
            self._take_mailbox(*mailbox)
            self.recorder.note_state(FlightState.STARTING)

    def _take_mailbox(self, inbox: int, recorder: int, answers: int) -> None:
        """From now on the messages are this incarnation's to handle: nobody else is left who would."""
        self.inbox = reopen_reader(inbox)
        self.recorder = Recorder(recorder)
        _descriptors.close(inbox, recorder)
        self.answering = Answering(self.recorder, self.attendant, answers)
        self.attendant.handlers["caller_gone"] = self._caller_gone
        self.attendant.handlers["lane"] = self._lane_arrived
        self._poller.register(self.inbox, select.POLLIN)
        self.dispatcher = Dispatcher(self)
        self.intake = Intake(self)
        if self.setup["says_cancelling"]:
            self.flow.place = lambda: self.recorder.handled
            self.flow.report = functools.partial(self.attendant.notify, "cancelling")
        if self.setup["worn_after"] is not None:
            self._worn_at = self.recorder.handled + self.setup["worn_after"]
        self.has_mailbox = True

    def _stand_by(self) -> bool:
        """Wait until the incarnation before this one has left its mailbox; False if this one is to leave without."""
        while not self.has_mailbox:
            if self._lent is not None:
                self._take_mailbox(*self._lent)
            elif self.ending or self._draining:
                return False
            else:
                self._poller.poll()
                self._read_wake()
        return True

    def _may_serve(self, fields: tuple[Any, ...], mailbox: tuple[int, ...]) -> None:
        """In the attendant: the incarnation before this one has left."""
        self._redelivered = tuple(fields[0])
        self._lent = mailbox
        self.interrupt()

    def _become_ready(self) -> None:
        try:
            apply_snapshot(self.actor, self.setup["snapshot"])
            self.actor._context = Context(self)
            self.busy = True
            self.actor.on_start()
            self.node.flush_all()
        except BaseException as error:  # noqa: BLE001 - whatever the user's hook raises is the reason the starter is told
            self.attendant.notify("start_failed", _failure.describe(error))
            self.attendant.drain_out(_FAREWELL_SECONDS)
            raise SystemExit(1) from None
        self.busy = False
        self.attendant.notify("ready")

    def _caller_gone(self, fields: tuple[object, ...], passed: tuple[int, ...]) -> None:
        """In the attendant: an incarnation of a caller has ended."""
        self.flow.caller_gone(fields, passed)
        self.answering.caller_gone(fields, passed)

    def _lane_arrived(self, fields: tuple[object, ...], passed: tuple[int, ...]) -> None:
        """In the attendant: the lane of a caller, or that it was gone before it could be answered."""
        if not passed:
            self.flow.caller_gone(fields, passed)
        self.answering.lane_arrived(fields, passed)

    def become_a_copy(self, boot: Boot) -> None:
        """
        In a process that a handler has forked: it is no actor, whatever it was copied from.

        It may do what the handler does with it, and dies with the host. Where it would go on as the actor (the handler returns or
        raises), it ends: two processes would answer the same messages out of one mailbox.
        """
        self.is_copy = True
        _dumps.end()
        self.attendant.disown()
        if hasattr(self, "node"):
            self.node.flush_all = self.end_copy  # type: ignore[method-assign]
            self.node.unsent = True  # so that it is called behind each handler
        try:
            boot.lifeline = _lifeline.hold(boot.lifeline)
        except (OSError, SystemExit):
            # The host is gone; or a handler has closed what was not its own.
            os._exit(1)

    def end_copy(self, patience: float = 0.0) -> None:  # noqa: ARG002 - stands in for Node.flush_all
        """End this process if it is a copy of the actor's, without waiting: see :meth:`become_a_copy`."""
        if self.is_copy:
            os._exit(0)

    def _leave(self, reason: ExitReason) -> None:
        """Run ``on_stop``, and let everything out that others will take."""
        if self.is_copy:
            os._exit(reason.exit_code or 0)
        if self.has_mailbox:
            self.recorder.note_progress(time.monotonic())
            self.recorder.note_state(FlightState.STOPPING)
        self.busy = True
        try:
            self.actor.on_stop(reason)
            if self.coroutines is not None:
                self.coroutines.close()
            self.node.flush_all()
        except BaseException as error:  # noqa: BLE001 - the actor ends whatever its hook raises; the supervisor is told
            self.attendant.notify("hook_failed", "on_stop", _failure.describe(error))
        if self.has_mailbox:
            self.answering.wait_idle(_FAREWELL_SECONDS)
            self.intake.report()
        self.directory.report_dead_letters()
        self.attendant.drain_out(_FAREWELL_SECONDS)

    def _stop_requested(self, fields: tuple[object, ...], _passed: tuple[int, ...]) -> None:
        """In the attendant: the supervisor asks to stop now, after what is queued (``drain``), or to let another one ``hand over``."""
        self.stop_reason = "requested"
        if fields[0] == "drain":
            self._draining = True
        else:
            self.ending = True
        if fields[0] == "now":
            self.flow.interrupt()
        self.interrupt()

    def interrupt(self) -> None:
        """Have the main thread look up before the next message. Any thread."""
        self._interrupted = True
        with contextlib.suppress(BlockingIOError):
            os.eventfd_write(self._wake_fd, 1)

    def look_up(self) -> None:
        """In the main thread: handle nothing more of the frame at hand, which is found again wherever it is moved to."""
        self._interrupted = True

    # --- the loop ---------------------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        recorder = self.recorder
        while not self.ending:
            self._interrupted = False
            if self._handle_own():
                continue
            if self.intake.due <= time.monotonic():
                self.intake.look()
            frame = recorder.next_frame()
            if frame is None:
                if not self._read_on():
                    return
                continue
            self._handle_frame(*frame)
            if recorder.handled >= self._worn_at:
                self._say_worn()

    def _handle_own(self) -> bool:
        """Handle what stands before the next message, if anything does: the news of a death, a timer."""
        if self.watching.fatal:
            raise self._not_without()
        if self.watching.waits and self._handle_news(empty=False):
            return True
        timer = self.timers.pop(time.monotonic())
        if timer is not None:
            self.dispatcher.run_timer(timer)
        return timer is not None

    def _read_on(self) -> bool:
        """All that was read is handled: read more, or wait for it; False if what was queued was all that there is to do."""
        recorder = self.recorder
        recorder.reset_if_empty()
        # A look costs less than a read that finds nothing, which is what comes between two asks.
        if (self._draining or self._poller.poll(0)) and self._fill():
            return True
        if recorder.broken is not None:
            raise _InboxBroken(recorder.broken)
        if self.watching.waits and self._handle_news(empty=True):
            return True
        if not self._draining:
            self._idle()
            return True
        return False

    def _fill(self) -> bool:
        """Read, where all that was read before is handled."""
        if self.recorder.fill(self.inbox):
            self.intake.filled()
            return True
        return False

    def _say_worn(self) -> None:
        """It has handled as many messages as it may; it goes on until another one is ready to take over."""
        self._worn_at = math.inf
        self.attendant.notify("worn")

    def _handle_news(self, *, empty: bool) -> bool:
        """Handle the news of one death, if it is its turn."""
        news = self.watching.take(empty=empty)
        if news is not None:
            handler, down = news
            self.dispatcher.handle_own(handler, down)
        return news is not None

    def _not_without(self) -> Crash:
        """An actor that this one was linked to is dead: so it ends, too."""
        return Crash(next(iter(self.watching.fatal.values())), "")

    def _handle_frame(self, base: int, body: bytes) -> None:
        """Handle the messages of one frame, up to an interruption; the rest is found again by ``next_frame``."""
        recorder, reader, dispatch, timers = self.recorder, self.dispatcher.reader, self.dispatcher.handle, self.timers
        begin, finish, plain, run_plain = (
            recorder.begin,
            recorder.finish,
            self.dispatcher.plain,
            self.dispatcher.run_plain,
        )
        offset, stop = base, base + len(body)
        intake, self._body_at = self.intake, base
        reader.feed(body)
        messages = iter(reader)
        if self._redelivered:
            self._note_attempt()
        while offset < stop:
            # Before it is decoded: a message may kill this process by that alone.
            begin(offset)
            try:
                message: Any = next(messages, None)
            except ProtocolError as error:
                self._say_undecodable(error)
                message = None
            if message is None:
                finish(stop)
                return
            offset = base + reader.consumed
            # Nearly all messages: a tell of a plain handler, without keywords.
            known = plain.get(message[1]) if type(message) is list and len(message) == SHORT_TELL else None
            if known is not None:
                run_plain(*known, message[2])
            else:
                dispatch(message, offset < stop)
            finish(offset)
            self.attempt = 0
            if self.coroutines is not None:
                self.coroutines.turn()
            if self._interrupted or self.ending or (timers.first < _NEVER and timers.first <= time.monotonic()):
                return
            if intake.watches and intake.due <= time.monotonic():
                return

    def _note_attempt(self) -> None:
        """The first message of this incarnation is about to be handled: say how many others died of it."""
        place, count = self._redelivered or (-1, 0)
        self.attempt = count if place == self.recorder.handled_bytes else 0
        self._redelivered = None

    def _say_undecodable(self, error: ProtocolError) -> None:
        """The rest of a frame is junk that somebody wrote."""
        self.directory.dead_letter(self.ref.path, "undecodable", 1, uid=self.ref.uid)
        self.actor.log.warning("actors.undecodable", reason=str(error))

    def _idle(self) -> None:
        """Nothing to handle: let everything out, then wait for a message, a timer or the attendant."""
        self.answering.leave(more=False)
        self.recorder.note_state(FlightState.IDLE)
        if self.coroutines is not None and self.coroutines.busy():
            self.coroutines.wait((self.inbox, self._wake_fd), self.timers.wait_seconds(time.monotonic()))
            self._read_wake()
        # The read also finds what one that was interrupted has left.
        elif not self._look() and not self._fill() and self.recorder.broken is None:
            self._sleep()

    def _look(self) -> bool:
        """Look a few times whether something has come, and let others have the core meanwhile."""
        poll, give_way, looks = self._poller.poll, os.sched_yield, self._patience.looks
        if not looks:
            return False
        found, began = False, time.monotonic()
        for count in range(looks):
            give_way()
            if events := poll(0):
                found, looks = True, count
                if events[0][0] == self._wake_fd:
                    self._read_wake()
                break
        self._patience.looked(looks, time.monotonic() - began)
        return found

    def _sleep(self) -> None:
        """Wait until something has come, or a timer is due."""
        began = time.monotonic()
        seconds = self.timers.wait_seconds(began)
        events = self._poller.poll(None if seconds is None else min(seconds, _LONGEST_WAIT) * 1000 + 1)
        self._patience.slept(time.monotonic() - began)
        for descriptor, _event in events:
            if descriptor == self._wake_fd:
                self._read_wake()

    def _read_wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake_fd)

    def run_coroutine(self, coroutine: Any) -> Any:
        """Run an ``async def`` handler to its end."""
        if self.coroutines is None:
            self.coroutines = Coroutines()
        return self.coroutines.run(coroutine)

    @contextlib.contextmanager
    def standing_by(self, state: FlightState) -> Iterator[None]:
        """While the main thread waits for others, which is no hang: say so; what it handles counts from the end of it."""
        if not self.has_mailbox:  # it stands by, and handles nothing
            yield
            return
        recorder = self.recorder
        before = recorder.state
        recorder.note_state(state)
        try:
            yield
        finally:
            # In this order: whoever looks between the two sees no old time in a handler that works.
            recorder.note_progress(time.monotonic())
            recorder.note_state(before)

    def can_read_ahead(self) -> bool:
        """Return whether the inbox can be read while a handler waits for room elsewhere."""
        return self.has_mailbox and self.intake.can_take(self._flight_stop())

    def read_ahead(self) -> None:
        """Take what stands in the inbox while a handler waits, so that two actors that fill each other's inbox go on."""
        self.intake.take(self._flight_stop())

    def _flight_stop(self) -> int:
        """Return where the message that is being handled ends: 0 if none is, -1 if that is not known yet."""
        if not self.recorder.in_flight:
            return 0
        stop = self._body_at + self.dispatcher.reader.consumed
        return stop if self.recorder.in_flight < stop else -1


def _chosen(leaving: SystemExit) -> ExitReason:
    """Return the reason of an exit that a handler chose by ``sys.exit``."""
    code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    return ExitReason("normal" if code == 0 else "crash", exit_code=code)
