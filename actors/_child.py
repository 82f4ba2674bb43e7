"""
What runs inside an actor's process: become ready, take one message after the other, and leave when told to.

The order of the steps around a message is the promise of delivery: what its handler told others is written before it counts as
handled, its answer stands in the reply region before the next one begins, and a request to stop is looked at between any two.
How one message is handled is :mod:`actors._dispatch`'s affair; what goes on meanwhile, :mod:`actors._attendant`'s.
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import threading
import time
from collections.abc import Iterator
from typing import Any, Literal

from actors import _descriptors, _dumps, _lifeline, _output, _seams
from actors._actor import Actor
from actors._actor_node import ActorNode
from actors._answering import Answering
from actors._attendant import Attendant
from actors._context import Context
from actors._coroutines import Coroutines
from actors._directory import ActorDirectory
from actors._dispatch import Crash, Dispatcher
from actors._flow import Flow
from actors._intake import Intake
from actors._launch import Boot
from actors._loop import InboxBroken, Loop
from actors._node import Node
from actors._pool_router import Routers
from actors._pool_sources import ActorPoolSource
from actors._ref import ActorRef
from actors._snapshot import apply_snapshot
from actors._timers import Timers
from actors._watching import Watching
from actors.mailbox import _failure
from actors.mailbox._control import ControlLane
from actors.mailbox._inbox import reopen_reader
from actors.mailbox._layout import FlightState
from actors.mailbox._recorder import Recorder
from actors.supervisor._exits import ExitReason

__all__ = ["ActorProcess", "serve"]

_FAREWELL_SECONDS = 1.0


def serve(actor: Actor, boot: Boot, lane: ControlLane) -> None:
    """
    Be *actor* until it ends; the body of its process.

    Raises:
        SystemExit: With the exit code of a crash, or the one that a handler chose.
    """
    process = ActorProcess(actor, Attendant(lane, boot.host_pid), boot.max_bytes)
    os.register_at_fork(after_in_child=lambda: process.become_a_copy(boot))
    process.run()


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
        draining: Whether it is to end when all that is queued is handled.
        interrupted: Whether the loop is to look up before the next message.
        is_copy: Whether this process is a fork that a handler has made.
        stop_reason: ``"requested"`` once the supervisor asked to stop, else ``"normal"``.
        has_begun: Whether ``on_start`` has returned: then ``on_stop`` is to follow.
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
        self._redelivered = (-1, 0)
        self.busy = False
        self.ending = False
        self.flow = Flow()
        self.stop_reason: Literal["normal", "requested"] = "normal"
        self.has_mailbox = False
        self.has_begun = False
        self._lent: tuple[int, ...] | None = None
        self.draining = False
        self.interrupted = False
        self.is_copy = False
        self.wake_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

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
                self.loop.run()
        except Crash as crash:
            self.attendant.notify("crash", crash.report, crash.handler)
            self._leave(ExitReason("crash", exit_code=1, error=crash.report))
            raise SystemExit(1) from None
        except InboxBroken as broken:
            self.attendant.notify("inbox_broken", str(broken))
            self._leave(ExitReason("protocol", exit_code=1, evidence=(str(broken),)))
            raise SystemExit(1) from None
        except SystemExit as leaving:
            self._leave(_chosen(leaving))
            raise
        self._leave(ExitReason(self.stop_reason, exit_code=0), in_order=True)

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
        self.poller = select.poll()
        self.poller.register(self.wake_fd, select.POLLIN)
        self.directory = ActorDirectory(self)
        self.node = Node(
            self.directory,
            uid=setup["uid"],
            incarnation=setup["incarnation"],
            max_bytes=self.max_bytes,
            max_open_asks=setup["max_open_asks"],
        )
        self.pools = Routers(self.node, ActorPoolSource(self), setup["system"])
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
        self.answering = Answering(self.recorder, self.attendant, answers, self.node.forget_answers)
        self.attendant.handlers["caller_gone"] = self._caller_gone
        self.attendant.handlers["lane"] = self._lane_arrived
        self.poller.register(self.inbox, select.POLLIN)
        self.dispatcher = Dispatcher(self)
        self.intake = Intake(self)
        self.loop = Loop(self, self._redelivered, self.setup["worn_after"])
        if self.setup["says_cancelling"]:
            self.flow.place = lambda: self.recorder.handled
            self.flow.report = functools.partial(self.attendant.notify, "cancelling")
        self.has_mailbox = True

    def _stand_by(self) -> bool:
        """Wait until the incarnation before this one has left its mailbox; False if this one is to leave without."""
        while not self.has_mailbox:
            if self._lent is not None:
                self._take_mailbox(*self._lent)
            elif self.ending or self.draining:
                return False
            else:
                self.poller.poll()
                self.read_wake()
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
            self.attendant.notify("start_failed", _failed_start(error))
            self.attendant.drain_out(_FAREWELL_SECONDS)
            raise SystemExit(1) from None
        self.busy = False
        self.has_begun = True
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

    def _leave(self, reason: ExitReason, *, in_order: bool = False) -> None:
        """
        Run ``on_stop``, and let everything out that others will take.

        Args:
            reason: Why it ends.
            in_order: Whether no handler was left in its middle: then what was got from a channel is done with when ``on_stop`` returns.
        """
        if self.is_copy:
            os._exit(reason.exit_code or 0)
        if self.has_mailbox:
            self.recorder.note_progress(time.monotonic())
            self.recorder.note_state(FlightState.STOPPING)
        self.busy = True
        try:
            if self.has_begun:
                self.actor.on_stop(reason)
            if in_order:
                self.directory.channels.release()
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
        failed = _output.flush()
        for name, problem in failed.items():
            self.attendant.notify("hook_failed", f"flush of {name}", _failure.describe(problem))
        if failed:
            self.attendant.drain_out(_FAREWELL_SECONDS)

    def _stop_requested(self, fields: tuple[object, ...], _passed: tuple[int, ...]) -> None:
        """In the attendant: the supervisor asks to stop now, after what is queued (``drain``), or to let another one ``hand over``."""
        self.stop_reason = "requested"
        if fields[0] == "drain":
            self.draining = True
        else:
            self.ending = True
        if fields[0] == "now":
            self.flow.interrupt()
        self.interrupt()

    def note_progress(self) -> None:
        """Note that the handler is getting on. Only in its own thread and process: others may live on when it hangs."""
        if threading.current_thread() is threading.main_thread() and self.has_mailbox and not self.is_copy:
            self.recorder.note_progress(time.monotonic())

    def interrupt(self) -> None:
        """Have the main thread look up before the next message. Any thread."""
        self.interrupted = True
        with contextlib.suppress(BlockingIOError):
            os.eventfd_write(self.wake_fd, 1)

    def look_up(self) -> None:
        """In the main thread: handle nothing more of the frame at hand, which is found again wherever it is moved to."""
        self.interrupted = True

    def end(self) -> None:
        """In the main thread: start no further message."""
        self.ending = self.interrupted = True

    def read_wake(self) -> None:
        """Take back what :meth:`interrupt` has written."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.wake_fd)

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
        return self.has_mailbox and self.intake.can_take(self.loop.flight_stop())

    def read_ahead(self) -> None:
        """Take what stands in the inbox while a handler waits, so that two actors that fill each other's inbox go on."""
        self.intake.take(self.loop.flight_stop())


def _chosen(leaving: SystemExit) -> ExitReason:
    """Return the reason of an exit that a handler chose by ``sys.exit``."""
    code = _code(leaving)
    return ExitReason("normal" if code == 0 else "crash", exit_code=code)


def _code(leaving: SystemExit) -> int:
    return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)


def _failed_start(error: BaseException) -> dict[str, Any]:
    """Describe why a start has failed; of ``sys.exit``, whose own text is a bare number, in words."""
    data = _failure.describe(error)
    if isinstance(error, SystemExit):
        said = f": {data['text']}" if isinstance(error.code, str) else ""
        data["text"] = f"on_start left with code {_code(error)}{said}"
    return data
