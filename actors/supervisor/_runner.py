"""
Performs what the tree decides, and tells it what happened: the only place where processes begin and end.

Runs in the pump's thread, all of it, but for the few methods that say otherwise. It never waits and never runs user code. A child's
bytes can do no more here than to fail that child: :class:`~actors.errors.ProtocolError` ends it with kind ``protocol``.

A death is taken in this order: what it still said on the control lane, its exit status, the recorder (which message was in
flight), the answers it had published, the news to whoever asked; then the tree decides what comes next.
"""

from __future__ import annotations

import functools
import itertools
import os
import random
import select
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, assert_never

from actors import _descriptors
from actors._launch import Boot, exit_code
from actors.errors import ActorsError, ProtocolError
from actors.mailbox import _failure
from actors.mailbox._control import ControlLane
from actors.supervisor import _events as ev
from actors.supervisor import _exits, _tree, _view
from actors.supervisor._cells import Body, Cell, check_descriptors
from actors.supervisor._requests import Requests

if TYPE_CHECKING:
    from actors._actor import Actor
    from actors._host import Host

__all__ = ["Runner"]

_CONTROL_LIMIT = 128 << 20
_STATUS_SECONDS = 2.0
_FIRST_LOOK = 0.0005


class Runner:
    """
    The shell around one tree.

    Args:
        host: Everything the system shares: pump, starter, mail, arenas, log.
        state: The tree, not started.

    Attributes:
        cells: The actors that are not gone, by uid. Other threads may look.
    """

    def __init__(self, host: Host, state: _tree.TreeState) -> None:
        self._host = host
        self._pump = host.pump
        self.state = state
        self.cells: dict[int, Cell] = {}
        self._requests = Requests(host, self)
        self.draining = False
        self.on_ready: dict[int, Callable[[Cell], object]] = {}
        self.on_gone: dict[int, Callable[[Cell, _exits.ExitReason], object]] = {}
        self.refused: Callable[[ev.Refused], object] = lambda _refused: None
        self.finished: Callable[[ev.TreeFinished], object] = lambda _finished: None
        self.started: Callable[[], object] = lambda: None
        self._queue: list[ev.Event] = []
        self._stepping = False
        self._pump.deadlines.append(lambda _now: _tree.next_deadline(self.state))
        self._tick_armed = itertools.count()

    # --- events in, effects out -------------------------------------------------------------------------------------------

    def handle(self, event: ev.Event) -> None:
        """Let the tree decide, and perform what it says. Events that arise meanwhile are taken in turn."""
        self._queue.append(event)
        if self._stepping:
            return
        self._stepping = True
        try:
            while self._queue:
                self.state, effects = _tree.step(self.state, self._queue.pop(0), time.monotonic())
                for effect in effects:
                    self._perform(effect)
        finally:
            self._stepping = False

    def tick(self, now: float) -> None:
        """Tell the tree that a deadline of its has come."""
        due = _tree.next_deadline(self.state)
        if due is not None and due <= now:
            self.handle(ev.Tick())

    def _perform(self, effect: ev.Effect) -> None:
        match effect:
            case ev.StartActor(uid, incarnation):
                self._start(self.cells[uid], incarnation)
            case ev.StopActorProcess(uid, incarnation):
                self._with_body(uid, incarnation, self._ask_to_stop)
            case ev.TerminateActor(uid, incarnation):
                self._with_body(uid, incarnation, self._terminate)
            case ev.KillActor(uid, incarnation, why):
                self._with_body(uid, incarnation, lambda cell, body: self.kill(cell, body, why))
            case ev.ActorGone(uid, reason):
                self._gone(uid, reason)
            case ev.ActorParked(uid, reason):
                self._host.mail.park(self.cells[uid], reason)
            case ev.RestartScheduled(uid, incarnation, at, attempt):
                self._log_restart(uid, incarnation, at, attempt)
            case ev.IntensityExceeded(path, restarts, period, reason):
                self._host.log(
                    "error",
                    "actors.restart_intensity_exceeded",
                    path=path,
                    restarts=restarts,
                    period=period,
                    reason=_exits.describe(reason),
                )
            case ev.TreeStarted():
                self.started()
            case ev.TreeFinished():
                self.finished(effect)
            case ev.Refused():
                self.refused(effect)
            case ev.SupervisorStarted() | ev.SupervisorGone():
                pass
            case _:
                assert_never(effect)

    def _with_body(self, uid: int, incarnation: int, action: Callable[[Cell, Body], object]) -> None:
        cell = self.cells.get(uid)
        if cell is not None and cell.body is not None and cell.body.incarnation == incarnation and not cell.body.dead:
            action(cell, cell.body)

    def _log_restart(self, uid: int, incarnation: int, at: float, attempt: int) -> None:
        self._host.log(
            "info",
            "actors.restart_scheduled",
            path=self.cells[uid].path,
            uid=uid,
            incarnation=incarnation,
            delay=round(max(0.0, at - time.monotonic()), 3),
            attempt=attempt,
        )

    # --- starting ---------------------------------------------------------------------------------------------------------

    def _start(self, cell: Cell, incarnation: int) -> None:
        host = self._host
        host.mail.unpark(cell)
        try:
            check_descriptors(cell.path)
            body = self._make_body(cell, incarnation)
        except (OSError, ActorsError) as error:
            self._never_started(cell, incarnation, _failure.describe(error))
            return
        cell.body = body
        cell.view.set_incarnation(incarnation)
        boot = Boot(
            module=cell.cls.__module__,
            qualname=cell.cls.__qualname__,
            name=cell.path.rsplit("/", 1)[-1],
            control=body.boot_control,
            lifeline=host.lifeline,
            host_pid=os.getpid(),
            soft_limit=_descriptors.original_limit(),
            max_bytes=host.max_bytes,
        )
        self._pump.watch(body.lane.fileno(), lambda: self._control(cell, body))
        host.starter.submit(cell.cls, boot, functools.partial(self._outcome, cell, body))

    def _make_body(self, cell: Cell, incarnation: int) -> Body:
        with _descriptors.fork_lock:
            ours, theirs = self._host.control_pair()
            _descriptors.own(ours, theirs)
        return Body(incarnation, ControlLane(ours, limit=_CONTROL_LIMIT), theirs)

    def _outcome(self, cell: Cell, body: Body, process: Actor | None, error: BaseException | None) -> None:
        """In the starter: post how a start went."""
        self._pump.post(lambda: self._launched(cell, body, process, error))

    def _launched(self, cell: Cell, body: Body, process: Actor | None, error: BaseException | None) -> None:
        _descriptors.close(body.boot_control)
        body.boot_control = -1
        if process is None:
            body.report = body.report or _failure.describe(error or ProtocolError("no reason"))
            if body.pidfd < 0:
                # Nobody is there: a child that was half made finds its control lane closed, and leaves.
                self._bury(cell, body, None, status_known=True)
            else:
                body.signal(signal.SIGKILL)
                body.start_failed = str(error)
                self._look_for_status(cell, body)
            return
        body.process = process
        popen: Any = vars(process)["_popen"]
        body.pid, body.sentinel = popen.pid, popen.sentinel
        if body.dead:
            self._look_for_status(cell, body)
        elif body.pidfd < 0:
            self._pump.watch(body.sentinel, lambda: self._ended(cell, body))
            if body.killed_for is not None:
                self.kill(cell, body, body.killed_for)

    def _never_started(self, cell: Cell, incarnation: int, report: dict[str, Any]) -> None:
        reason = _exits.classify(
            None,
            ready=False,
            stop_requested=False,
            killed_for=None,
            crash_report=report,
            protocol_error=None,
            oom_kills=0,
            status_known=True,
        )
        self._log_exit(cell, incarnation, None, reason)
        cell.last = reason
        self.handle(ev.ActorExited(cell.uid, incarnation, reason, random.random()))  # noqa: S311 - jitter is no secret

    # --- while it lives ---------------------------------------------------------------------------------------------------

    def _control(self, cell: Cell, body: Body) -> None:
        """The control lane is ready: send what waits, take what came."""
        if body.lane.flush():
            self._pump.modifier(body.lane.fileno(), select.EPOLLIN)()
        self._take_notices(cell, body)

    def _take_notices(self, cell: Cell, body: Body) -> None:
        try:
            notices, closed = body.lane.receive()
            for kind, fields, descriptors in notices:
                self._requests.take(cell, body, kind, fields, descriptors)
        except (ProtocolError, TypeError, ValueError, KeyError) as error:
            # Whatever a child writes, shaped or not: it fails that child alone.
            self.violated(cell, body, f"control lane: {error}")
            closed = True
        if closed:
            self._pump.unwatch(body.lane.fileno())

    def tell_body(self, body: Body, kind: str, *fields: object, descriptors: tuple[int, ...] = ()) -> None:
        """Send a notice to a child; what it does not take waits, and too much of it ends the child."""
        try:
            if not body.lane.send(kind, *fields, descriptors=descriptors):
                self._pump.modifier(body.lane.fileno(), select.EPOLLIN | select.EPOLLOUT)()
        except (ProtocolError, OSError):
            body.broken = body.broken or "it does not read its control lane"
            body.signal(signal.SIGKILL)

    def violated(self, cell: Cell, body: Body, why: str) -> None:
        """The child broke the protocol: it ends, alone."""
        if not body.dead and body.broken is None:
            body.broken = why
            self.kill(cell, body, "protocol")

    def introduced(self, cell: Cell, body: Body, pidfd: int) -> None:
        """The child has said its pid: from now on only the pidfd is waited for and signalled."""
        if body.pidfd >= 0 or body.dead:
            _descriptors.close(pidfd)
            return
        with _descriptors.fork_lock:
            _descriptors.own(pidfd)
        body.pidfd = pidfd
        if body.sentinel >= 0:
            self._pump.unwatch(body.sentinel)
        self._pump.watch(pidfd, lambda: self._ended(cell, body))
        if body.killed_for is not None:
            body.signal(signal.SIGKILL)

    def ready(self, cell: Cell, body: Body) -> None:
        """``on_start`` is over."""
        body.ready = True
        self._host.log(
            "info", "actors.child_started", path=cell.path, uid=cell.uid, incarnation=body.incarnation, pid=body.pid
        )
        self.handle(ev.ActorReady(cell.uid, body.incarnation))
        ready = self.on_ready.pop(cell.uid, None)
        if ready is not None:
            self.on_gone.pop(cell.uid, None)
            ready(cell)

    # --- stopping ---------------------------------------------------------------------------------------------------------

    def _ask_to_stop(self, cell: Cell, body: Body) -> None:
        body.stop_sent = True
        self.tell_body(body, "stop", self.draining or cell.drain)

    def _terminate(self, cell: Cell, body: Body) -> None:
        self._log_rung(cell, body, "SIGTERM")
        body.signal(signal.SIGTERM)

    def kill(self, cell: Cell, body: Body, why: str) -> None:
        """SIGKILL, now or as soon as it is known whom; a start that holds on to its helper is freed."""
        if body.killed_for is None:
            body.killed_for = why
            if why == "shutdown":
                self._log_rung(cell, body, "SIGKILL")
        if body.signal(signal.SIGKILL):
            return
        if body.process is None:
            self._host.starter.free()
        elif body.pid is not None and exit_code(body.process) == (None, True):
            # Not introduced yet: no stranger can have its pid, because nobody has reaped it.
            os.kill(body.pid, signal.SIGKILL)

    def _log_rung(self, cell: Cell, body: Body, rung: str) -> None:
        self._host.log(
            "warning",
            "actors.stop_escalated",
            path=cell.path,
            uid=cell.uid,
            incarnation=body.incarnation,
            pid=body.pid,
            rung=rung,
        )

    # --- the end of an incarnation ----------------------------------------------------------------------------------------

    def _ended(self, cell: Cell, body: Body) -> None:
        """Its process has ended: read what it said last, then look for its status."""
        if body.dead:
            return
        if body.pidfd < 0 and body.process is not None and exit_code(body.process) == (None, True):
            # A sentinel that is closed, or readable, before the process has ended.
            self._pump.after(_FIRST_LOOK, lambda: self._ended(cell, body))
            self._pump.unwatch(body.sentinel)
            return
        self._take_notices(cell, body)
        body.dead = True
        self._pump.unwatch(body.pidfd if body.pidfd >= 0 else body.sentinel)
        self._look_for_status(cell, body)

    def _look_for_status(self, cell: Cell, body: Body) -> None:
        if cell.body is not body:
            return
        body.dead = True
        if body.process is None:
            if body.start_failed is not None:
                self._bury(cell, body, None, status_known=False)
            return  # the start call is not over; its outcome comes
        code, known = exit_code(body.process)
        if code is None and known:
            # With a forkserver the status takes another moment than the end itself.
            delay = _FIRST_LOOK * 2 ** min(body.looks, 6)
            body.looks += 1
            if body.looks < _STATUS_SECONDS / (_FIRST_LOOK * 64):
                self._pump.after(delay, lambda: self._look_for_status(cell, body))
                return
            known = False
        self._bury(cell, body, code, status_known=known)

    def _bury(self, cell: Cell, body: Body, code: int | None, *, status_known: bool) -> None:
        if cell.body is not body:
            return
        killed_for = None if body.killed_for == "protocol" else body.killed_for
        reason = _exits.classify(
            code,
            ready=body.ready,
            stop_requested=body.stop_sent,
            killed_for=killed_for,  # type: ignore[arg-type]
            crash_report=body.report,
            protocol_error=body.broken,
            oom_kills=0,
            status_known=status_known,
        )
        self._log_exit(cell, body.incarnation, body.pid, reason)
        self._pump.unwatch(body.lane.fileno())
        if body.pidfd >= 0:
            self._pump.unwatch(body.pidfd)
        cell.last = reason
        cell.body = None
        self._host.mail.settle(cell, body, reason)
        body.close()
        for uid in body.spawned:
            self.handle(ev.StopActor(uid))
        self.handle(ev.ActorExited(cell.uid, body.incarnation, reason, random.random()))  # noqa: S311 - as above

    def _log_exit(self, cell: Cell, incarnation: int, pid: int | None, reason: _exits.ExitReason) -> None:
        expected = reason.kind in {"normal", "requested"}
        if not expected:
            self._host.last_failed = cell.path
        error = reason.error or {}
        self._host.log(
            "info" if expected else "error",
            "actors.child_exited",
            path=cell.path,
            uid=cell.uid,
            incarnation=incarnation,
            pid=pid,
            kind=reason.kind,
            exit_code=reason.exit_code,
            reason=_exits.describe(reason),
            traceback=error.get("traceback"),
        )

    def _gone(self, uid: int, reason: _exits.ExitReason) -> None:
        cell = self.cells.pop(uid)
        cell.gone = reason
        self.on_ready.pop(uid, None)
        told = self.on_gone.pop(uid, None)
        self._host.mail.bury(cell, reason)
        if told is not None:
            told(cell, reason)
