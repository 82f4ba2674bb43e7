"""
Performs what the tree decides, and tells it what happened: the only place where processes begin and end.

Runs in the pump's thread, all of it, but for the few methods that say otherwise. It never waits and never runs user code. A child's
bytes can do no more here than to fail that child: :class:`~actors.errors.ProtocolError` ends it with kind ``protocol``.

How an incarnation begins is :mod:`actors.supervisor._births`'s affair, how it ends :mod:`actors.supervisor._burials`'s, how one takes
over from another :mod:`actors.supervisor._replacing`'s.
"""

from __future__ import annotations

import contextlib
import functools
import select
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, assert_never

from actors import _descriptors
from actors.errors import ProtocolError
from actors.supervisor import _events as ev
from actors.supervisor import _exits, _tree, _view
from actors.supervisor._births import Births
from actors.supervisor._burials import Burials
from actors.supervisor._cells import Body, Cell
from actors.supervisor._chronicle import Chronicle
from actors.supervisor._meters import Meters
from actors.supervisor._obituaries import Obituaries
from actors.supervisor._pools import Pools
from actors.supervisor._prospect import prospect
from actors.supervisor._replacing import Replacing
from actors.supervisor._requests import Requests
from actors.supervisor._stacks import Stacks
from actors.supervisor._watchers import Watchers

if TYPE_CHECKING:
    from actors._host import Host

__all__ = ["Runner"]

# A kill for these is put off until the stack is taken: it is what explains them.
_STACK_FIRST = frozenset(("boot_timeout", "hang", "memory_limit"))
# How long a start that nobody wants any more may take before the forkserver is held to hang on it.
_FREE_SECONDS = 2.0
# A control lane that is closed is the first sign of an end; a process that lives on without it has broken the protocol.
_CLOSED_SECONDS = 5.0
# What a notice can raise while it is taken, if it is not of the shape that is expected.
_MALFORMED = (ProtocolError, TypeError, ValueError, LookupError, AttributeError, OverflowError)


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
        self.chronicle = Chronicle(host)
        self.obituaries = Obituaries(host, self)
        self.requests = Requests(host, self)
        self.births = Births(host, self)
        self.burials = Burials(host, self)
        self.replacing = Replacing(host, self)
        self.stacks = Stacks(host.pump)
        self.watchers = Watchers(host, self, self.stacks.take)
        self.meters = Meters(host, self)
        self.pools = Pools(host, self)
        self._drains: bool | None = None  # of a stop of the whole tree; None until there is one
        self.on_ready: dict[int, Callable[[Cell], object]] = {}
        self.on_gone: dict[int, Callable[[Cell, _exits.ExitReason], object]] = {}
        self.refused: Callable[[ev.Refused], object] = lambda _refused: None
        self.finished: Callable[[ev.TreeFinished], object] = lambda _finished: None
        self.started: Callable[[], object] = lambda: None
        self._queue: list[ev.Event] = []
        self._stepping = False
        self._foreseen: tuple[ev.Event, _tree.TreeState, tuple[_tree.TreeState, tuple[ev.Effect, ...]]] | None = None
        self._pump.deadlines.append(lambda _now: _tree.next_deadline(self.state))

    def when_started(
        self, cell: Cell, ready: Callable[[Cell], object], gone: Callable[[Cell, _exits.ExitReason], object]
    ) -> None:
        """Call *ready* when the actor is ready for the first time, or *gone* when that will not be: at once, if it is so already."""
        if cell.gone is not None:
            gone(cell, cell.gone)
        elif cell.body is not None and cell.body.ready:
            ready(cell)
        else:
            self.on_ready[cell.uid], self.on_gone[cell.uid] = ready, gone

    # --- events in, effects out -------------------------------------------------------------------------------------------

    def handle(self, event: ev.Event) -> None:
        """Let the tree decide, and perform what it says. Events that arise meanwhile are taken in turn."""
        self._queue.append(event)
        if self._stepping:
            return
        self._stepping = True
        try:
            while self._queue:
                self.state, effects = self._decide(self._queue.pop(0))
                for effect in effects:
                    self._perform(effect)
        finally:
            self._stepping = False

    def foresee(self, exited: ev.ActorExited) -> str:
        """Say what will follow from a death that :meth:`handle` is about to be told; ``""`` where other events come first."""
        if self._stepping:
            return ""
        now = time.monotonic()
        self._foreseen = exited, self.state, _tree.step(self.state, exited, now)
        return prospect(exited, *self._foreseen[2], now)

    def _decide(self, event: ev.Event) -> tuple[_tree.TreeState, tuple[ev.Effect, ...]]:
        foreseen, self._foreseen = self._foreseen, None
        if foreseen is not None and foreseen[0] is event and foreseen[1] is self.state:
            return foreseen[2]
        return _tree.step(self.state, event, time.monotonic())

    def tick(self, now: float) -> None:
        """Tell the tree that a deadline of its has come."""
        due = _tree.next_deadline(self.state)
        if due is not None and due <= now:
            self.handle(ev.Tick())

    def _perform(self, effect: ev.Effect) -> None:  # noqa: C901, PLR0912 - one row per effect
        match effect:
            case ev.StartActor(uid, incarnation, standby):
                self.births.start(self.cells[uid], incarnation, standby=standby)
            case ev.HandOver(uid, incarnation):
                self._with_body(uid, incarnation, self.replacing.hand_over)
            case ev.PromoteActor(uid, incarnation):
                self._with_body(uid, incarnation, self.replacing.promote)
            case ev.StopActorProcess(uid, incarnation):
                if not self._give_up(uid, incarnation, requested=True):
                    self._with_body(uid, incarnation, self._ask_to_stop)
            case ev.TerminateActor(uid, incarnation):
                self._with_body(uid, incarnation, self._terminate)
            case ev.KillActor(uid, incarnation, why):
                self._give_up(uid, incarnation, requested=why == "shutdown")
                self._with_body(uid, incarnation, lambda cell, body: self.kill(cell, body, why))
            case ev.ActorGone(uid, reason):
                self._gone(uid, reason)
            case ev.ActorParked(uid, reason):
                self._park(self.cells[uid], reason)
            case ev.RestartScheduled(uid):
                self.chronicle.restart(self.cells[uid], effect)
            case ev.IntensityExceeded():
                self._call_back(effect.path, effect.reason)
                self.chronicle.exhausted(effect)
            case ev.TreeStarted():
                self.started()
            case ev.TreeFinished():
                self.finished(effect)
            case ev.Refused():
                self.refused(effect)
            case ev.SupervisorStarted(path):
                self.pools.started(path)
            case ev.SupervisorGone(path):
                self.pools.ended(path)
            case _:
                assert_never(effect)

    def _call_back(self, path: str, reason: _exits.ExitReason) -> None:
        """A supervisor gives up: run its own hook for that, where it has one, in the callback thread."""
        info = _view.supervisors(self.state).get(path)
        hook = None if info is None else info.spec.on_exhausted
        if callable(hook):
            self._host.callbacks.run(hook, path, reason)

    def _give_up(self, uid: int, incarnation: int, *, requested: bool) -> bool:
        """Give up a restart that waits for descriptors; False if there is none."""
        cell = self.cells.get(uid)
        return cell is not None and self.births.give_up(cell, incarnation, requested=requested)

    def _with_body(self, uid: int, incarnation: int, action: Callable[[Cell, Body], object]) -> None:
        cell, body = self.cells.get(uid), self.find_body(uid, incarnation)
        if cell is not None and body is not None and not body.dead:
            action(cell, body)

    def find_body(self, uid: int, incarnation: int) -> Body | None:
        """Return an incarnation of an actor, if it is here."""
        cell = self.cells.get(uid)
        return None if cell is None else cell.find(incarnation)

    def _park(self, cell: Cell, reason: _exits.ExitReason) -> None:
        self._host.log("warning", "actors.child_parked", path=cell.path, uid=cell.uid, reason=_exits.describe(reason))
        self.pools.given_up(cell)
        self._host.mail.park(cell, reason)
        self.pools.parked(cell)

    # --- while it lives ---------------------------------------------------------------------------------------------------

    def serves(self, cell: Cell, body: Body) -> None:
        """It has begun to take messages: from now on it is watched, and grows old."""
        self.meters.serves(cell, body)
        self.watchers.serving(cell, body)
        self.replacing.serves(body)
        self.pools.serves(cell)

    def control(self, cell: Cell, body: Body) -> None:
        """The control lane is ready: send what waits, take what came."""
        if body.lane.flush():
            self._pump.modifier(body.lane.fileno(), select.EPOLLIN)()
        self.take_notices(cell, body)

    def take_notices(self, cell: Cell, body: Body) -> None:
        try:
            notices, closed = body.lane.receive()
        except ProtocolError as error:
            self.violated(cell, body, str(error))
            self._pump.unwatch(body.lane.fileno())
            return
        while notices:
            kind, fields, descriptors = notices.pop(0)
            try:
                self.requests.take(cell, body, kind, fields, descriptors)
            except _MALFORMED as error:
                # Whatever a child writes, shaped or not: it fails that child alone.
                self.violated(cell, body, f"control lane: {kind!r}: {error}")
                self._pump.unwatch(body.lane.fileno())
                for _kind, _fields, left in notices:
                    _descriptors.close(*left)
                return
        if body.lane.error is not None:
            self.violated(cell, body, str(body.lane.error))
            closed = True
        if closed:
            self._pump.unwatch(body.lane.fileno())
            if not body.dead:
                # By number: what the host held for the thousands that end meanwhile is not kept until then.
                self._pump.after(_CLOSED_SECONDS, functools.partial(self._lives_on, cell.uid, body.incarnation))

    def _lives_on(self, uid: int, incarnation: int) -> None:
        cell, body = self.cells.get(uid), self.find_body(uid, incarnation)
        if cell is None or body is None or body.dead or body.process is None:
            return
        if body.report is not None or body.stop_sent:
            # It has said why it leaves, and something of the user's holds it up: the reason stays what it said.
            body.kill_group()
        else:
            self.violated(cell, body, "it closed its control lane, and lives on")

    def tell_body(self, body: Body, kind: str, *fields: object, descriptors: tuple[int, ...] = ()) -> None:
        """Send a notice to a child; what it does not take waits, and too much of it ends the child."""
        try:
            if not body.lane.send(kind, *fields, descriptors=descriptors):
                with contextlib.suppress(FileNotFoundError):  # given up already, for what it said
                    self._pump.modifier(body.lane.fileno(), select.EPOLLIN | select.EPOLLOUT)()
        except ProtocolError:
            body.broken = body.broken or "it does not read its control lane"
            body.signal(signal.SIGKILL)

    def answer(self, body: Body, number: int, *fields: object, descriptors: tuple[int, ...] = ()) -> None:
        """Answer a child's request with that *number*."""
        self.tell_body(body, "answer", number, *fields, descriptors=descriptors)

    def steer(self, uid: int, what: str, caller: int, ask_id: int, count: int) -> None:
        """Pass on what a caller has to say to an actor about an ask of its; whoever will handle it has to know."""
        cell = self.cells.get(uid)
        for body in () if cell is None else cell.bodies:
            self.tell_body(body, "steer", what, caller, ask_id, count)

    def violated(self, cell: Cell, body: Body, why: str) -> None:
        """The child broke the protocol: it ends, alone."""
        if not body.dead and body.broken is None:
            body.broken = why
            self.kill(cell, body, "protocol")

    # --- stopping ---------------------------------------------------------------------------------------------------------

    def shut_down(self, deadline: float, *, drain: bool) -> None:
        """Stop the whole tree. What was once asked for without *drain* stays so."""
        self._drains = drain and self._drains is not False
        self.handle(ev.Shutdown(deadline))
        if not self._drains:
            for cell in list(self.cells.values()):
                self._hurry(cell)

    def stop_actor(self, uid: int, *, drain: bool) -> None:
        """Stop an actor for good; where that was begun with *drain*, and is asked for again without, behind the message being handled."""
        cell = self.cells.get(uid)
        if cell is None:
            return
        if drain:
            cell.drain = True
        self.handle(ev.StopActor(uid))
        if not drain:
            self._hurry(cell)

    def _hurry(self, cell: Cell) -> None:
        """Handle nothing more of what is queued."""
        cell.drain = False
        for body in cell.bodies:
            if body.drains and not body.dead:
                body.drains = False
                self.tell_body(body, "stop", "now")

    def _ask_to_stop(self, cell: Cell, body: Body) -> None:
        body.stop_asked = time.monotonic()
        self.chronicle.rung(cell, body, "request")
        # One that stood by while the one before it died is asked to stop before it serves: what it may have to drain is its own now.
        self.replacing.promote(cell, body)
        body.drains = cell.drain or bool(self._drains)
        self.tell_body(body, "stop", "drain" if body.drains else "now")

    def _terminate(self, cell: Cell, body: Body) -> None:
        def terminate(stack: str) -> None:
            if not body.dead and body.killed_for is None:
                self.chronicle.rung(cell, body, "SIGTERM", stack)
                body.signal(signal.SIGTERM)

        self.stacks.take(cell, body, terminate)

    def kill(self, cell: Cell, body: Body, why: str) -> None:
        """
        SIGKILL, now or as soon as it is known whom; a start that holds on to its helper is freed.

        Before a kill that only the stack can explain the stack is taken, which puts it off by 50 ms at most.
        """
        if body.killed_for is None:
            body.killed_for = why
            body.rss = body.measure()
            if why == "boot_timeout":
                body.offence = f"start_timeout={cell.options.start_timeout:g} s is over"
            if why == "shutdown" and cell.standby is not body:  # one that stands by has nothing to be asked for first
                self.chronicle.rung(cell, body, "SIGKILL")
        if why in _STACK_FIRST:
            self.stacks.take(cell, body, lambda _stack: self._kill_now(cell, body, why))
        else:
            self._kill_now(cell, body, why)

    def _kill_now(self, cell: Cell, body: Body, why: str) -> None:
        if body not in cell.bodies or body.dead or body.kill_group():
            return
        boot = body.boot
        if body.process is not None or boot is None:
            return
        # The start call is under way, or waits for its turn. Ending the forkserver frees it and costs the next start, so it has to
        # be worth it: a start that was too slow, or one that is still not over after a while.
        boot.cancelled = True
        if why == "boot_timeout":
            self._host.starter.cancel(boot)
        else:
            body.timers.append(self._pump.after(_FREE_SECONDS, lambda: self._free(body)))

    def _free(self, body: Body) -> None:
        if body.boot is not None and body.process is None and not body.start_failed:
            self._host.starter.cancel(body.boot)

    def _gone(self, uid: int, reason: _exits.ExitReason) -> None:
        cell = self.cells.pop(uid)
        cell.gone = reason
        self.watchers.forget(uid)
        self.on_ready.pop(uid, None)
        told = self.on_gone.pop(uid, None)
        above = None if cell.parent is None else self.cells.get(cell.parent.uid)
        for body in () if above is None else above.bodies:
            body.spawned.discard(uid)
        self.pools.given_up(cell)
        self._host.mail.bury(cell, reason)
        self.obituaries.gone(cell, reason)
        self.pools.gone(cell, reason)
        if told is not None:
            told(cell, reason)
