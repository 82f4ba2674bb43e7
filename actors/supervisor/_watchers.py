"""
Looks after actors that may hang: whose handler gets nowhere, or goes on though its ask was cancelled.

Runs in the pump's thread and only by its times: one look per ``handler_timeout`` at an actor that works or is idle, none at all
at actors without the option. What a look means is :mod:`actors.supervisor._watchdog`'s decision.

A kill has to hit the message that it is meant for and never the next one, which may begin between the last look and the signal.
So the process is first stopped (SIGSTOP), looked at once more while nothing in it can move, and then killed or let go on.
"""

from __future__ import annotations

import functools
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from actors._probe import main_thread_state
from actors.errors import ProtocolError
from actors.mailbox._inbox import queued_bytes
from actors.supervisor import _watchdog
from actors.supervisor._cells import Body, Cell
from actors.supervisor._pump import Alarm
from actors.supervisor._stack_text import top_frame

if TYPE_CHECKING:
    from actors._host import Host
    from actors.supervisor._runner import Runner

__all__ = ["TakeStack", "Watchers"]

TakeStack = Callable[[Cell, Body, Callable[[str], object]], object]
"""Has the Python stack of a process handed over in the pump's thread, ``""`` where there is none to be had. Never blocks."""

# The stack is written by the process itself; one that is stopped does not.
_STACK_SECONDS = 0.25
_STACK_LOOK_SECONDS = 0.01
# A stop signal takes effect within microseconds, but for a process that waits in the kernel and would not be interrupted.
_FREEZE_SECONDS = 0.1
_FREEZE_LOOK_SECONDS = 0.001
_FROZEN = frozenset(("T", "t"))
_ENDED = frozenset(("Z", "X"))
_OVER = frozenset(("idle", "starting"))


@attrs.define(eq=False)
class _Guard:
    """
    What watches one actor, over its incarnations.

    Attributes:
        alarm: When its hang watch looks next.
        cancel_alarm: When the grace of a cancelled ask is over.
        body: The incarnation that is watched.
        watch: What is known of it; None where hangs are not looked for.
        cancelled: Which message was cancelled, as how many were handled before it, or None.
        cancelled_at: When that was.
        report: Emits the warning of a hang whose stack has not come yet.
    """

    alarm: Alarm
    cancel_alarm: Alarm
    body: Body | None = None
    watch: _watchdog.Watch | None = None
    cancelled: int | None = None
    cancelled_at: float = 0.0
    report: Callable[[str], object] | None = None


class Watchers:
    """
    The watch over all actors of a system.

    Args:
        host: Everything the system shares.
        runner: Who kills.
        take_stack: How the stack of a process is taken.
    """

    def __init__(self, host: Host, runner: Runner, take_stack: TakeStack) -> None:
        self._host = host
        self._pump = host.pump
        self._runner = runner
        self._guards: dict[int, _Guard] = {}
        self._take_stack = take_stack

    def serving(self, cell: Cell, body: Body) -> None:
        """This incarnation is ready, and takes messages from now on."""
        if cell.options.handler_timeout is None:
            return
        guard = self._guard(cell, body)
        guard.watch = _watchdog.begin(cell.options.handler_timeout, cell.options.hang_grace, time.monotonic())
        guard.alarm.set(guard.watch.due)

    def cancelling(self, cell: Cell, body: Body, place: int) -> None:
        """The ask that is being handled was cancelled; *place* messages were handled before it. Said by the child: a claim."""
        if cell.options.cancel_grace is None:
            return
        guard = self._guard(cell, body)
        if guard.cancelled != place:
            guard.cancelled, guard.cancelled_at = place, time.monotonic()
            guard.cancel_alarm.set(guard.cancelled_at + cell.options.cancel_grace)

    def forget(self, uid: int) -> None:
        """No incarnation will come."""
        guard = self._guards.pop(uid, None)
        if guard is not None:
            guard.alarm.clear()
            guard.cancel_alarm.clear()

    def _guard(self, cell: Cell, body: Body) -> _Guard:
        guard = self._guards.get(cell.uid)
        if guard is None:
            guard = self._guards[cell.uid] = _Guard(
                Alarm(self._pump, functools.partial(self._look, cell)),
                Alarm(self._pump, functools.partial(self._look_at_cancelled, cell)),
            )
        if guard.body is not body:
            guard.body, guard.watch, guard.cancelled, guard.report = body, None, None, None
            guard.alarm.clear()
            guard.cancel_alarm.clear()
        return guard

    def _watched(self, cell: Cell) -> tuple[_Guard, Body] | None:
        """Return the guard and the incarnation it watches, if that still serves: a stop is its own ladder's affair."""
        guard = self._guards.get(cell.uid)
        body = cell.body
        if guard is None or body is None or guard.body is not body:
            return None
        return None if body.dead or body.stop_sent or body.killed_for is not None else (guard, body)

    # --- hangs ------------------------------------------------------------------------------------------------------------

    def _look(self, cell: Cell) -> None:
        found = self._watched(cell)
        watch = None if found is None else found[0].watch
        if found is None or watch is None:
            return
        guard, body = found
        sample = self._sample(cell, body)
        if sample is None:
            return
        now = time.monotonic()
        guard.watch, action = _watchdog.look(watch, sample, now)
        guard.alarm.set(guard.watch.due)
        if action == "suspect":
            guard.report = functools.partial(self._log_suspected, cell, body, sample, now - _since(guard.watch, now))
            self._take_stack(cell, body, functools.partial(self._stack_came, cell, body))
        elif action == "recovered":
            self._report(guard)
            self._runner.chronicle.log_incarnation("info", "actors.hang_recovered", cell, body, handler=sample.handler)
        elif action == "kill":
            self._kill_hung(cell, body, guard, sample, now)

    def _sample(self, cell: Cell, body: Body) -> _watchdog.Sample | None:
        """Look at the flight recorder; a child that wrote nonsense into it ends alone."""
        try:
            flight = cell.view.flight()
        except ProtocolError as error:
            self._runner.violated(cell, body, str(error))
            return None
        return _watchdog.Sample(
            state=flight.state.name.lower(),
            handler=flight.handler,
            progress=flight.progress,
            handled=flight.handled,
            read_bytes=flight.read_bytes,
            handled_bytes=flight.handled_bytes,
            queued_bytes=queued_bytes(cell.inbox_read),
        )

    def _stack_came(self, cell: Cell, body: Body, stack: str) -> None:
        guard = self._guards.get(cell.uid)
        if guard is not None and guard.body is body:
            self._report(guard, stack)

    def _report(self, guard: _Guard, stack: str = "") -> None:
        """Emit the warning of a hang, once: with its stack, or without it when it did not come in time."""
        report, guard.report = guard.report, None
        if report is not None:
            report(stack)

    def _log_suspected(self, cell: Cell, body: Body, sample: _watchdog.Sample, seconds: float, stack: str) -> None:
        self._runner.chronicle.log_incarnation(
            "warning",
            "actors.hang_suspected",
            cell,
            body,
            handler=sample.handler,
            state=sample.state,
            seconds=round(seconds, 3),
            at=top_frame(stack) or None,
            stack=stack or None,
        )

    def _kill_hung(self, cell: Cell, body: Body, guard: _Guard, sample: _watchdog.Sample, now: float) -> None:
        assert guard.watch is not None
        latest = (guard.watch.suspected or now) + _STACK_SECONDS
        if guard.report is not None and now < latest:
            # The grace is shorter than it takes to get the stack, which only a living process can write.
            guard.alarm.set(min(now + _STACK_LOOK_SECONDS, latest))
            return
        guard.alarm.clear()
        self._report(guard)
        since = _since(guard.watch, now)

        def still() -> str:
            later = self._sample(cell, body)
            if later is None or later.mark != sample.mark or later.state in {"blocked", "credit"}:
                return ""
            return _watchdog.describe(later, now - since)

        def spare() -> None:
            self._runner.chronicle.log_incarnation("info", "actors.hang_recovered", cell, body, handler=sample.handler)
            self.serving(cell, body)

        self._freeze_and_kill(cell, body, still, spare)

    # --- asks that were cancelled -----------------------------------------------------------------------------------------

    def _look_at_cancelled(self, cell: Cell) -> None:
        found = self._watched(cell)
        place = None if found is None else found[0].cancelled
        grace = cell.options.cancel_grace
        if found is None or place is None or grace is None:
            return
        guard, body = found

        def still() -> str:
            later = self._sample(cell, body)
            if later is None or later.handled != place or later.state in _OVER:
                return ""
            return f"{later.handler or 'its handler'} did not react to a cancel within {grace:g} s"

        why = still()
        if not why:
            guard.cancelled = None
            return
        ignored = functools.partial(self._cancel_ignored, cell, body, guard, place, still, why)
        self._pump.after(_STACK_SECONDS, functools.partial(ignored, ""))
        self._take_stack(cell, body, ignored)

    def _cancel_ignored(
        self, cell: Cell, body: Body, guard: _Guard, place: int, still: Callable[[], str], why: str, stack: str
    ) -> None:
        """Its stack has come, or has not come in time: the first of the two ends it."""
        if self._watched(cell) != (guard, body) or guard.cancelled != place:
            return
        self._runner.chronicle.log_incarnation(
            "warning", "actors.cancel_ignored", cell, body, reason=why, at=top_frame(stack) or None, stack=stack or None
        )

        def unwanted() -> str:
            found = still()
            # Nobody waits for it: it is not handed to the next incarnation, whatever `redeliver` says.
            body.spent = bool(found)
            return found

        guard.cancelled = None
        self._freeze_and_kill(cell, body, unwanted, lambda: None)

    # --- the kill ---------------------------------------------------------------------------------------------------------

    def _freeze_and_kill(self, cell: Cell, body: Body, still: Callable[[], str], spare: Callable[[], object]) -> None:
        """Stop the process, and kill it if *still* says why; else let it go on and call *spare*."""
        body.signal(signal.SIGSTOP)
        self._when_frozen(cell, body, still, spare, time.monotonic() + _FREEZE_SECONDS)

    def _when_frozen(
        self, cell: Cell, body: Body, still: Callable[[], str], spare: Callable[[], object], give_up: float
    ) -> None:
        if body.dead or body.killed_for is not None:
            return
        # None says nothing: it has ended, which its pidfd will say, or the host has no descriptor left to look.
        state = None if body.pid is None else main_thread_state(body.pid)
        if state in _ENDED:
            return
        if state not in _FROZEN and time.monotonic() < give_up:
            again = functools.partial(self._when_frozen, cell, body, still, spare, give_up)
            self._pump.after(_FREEZE_LOOK_SECONDS, again)
            return
        why = still()
        if why:
            body.offence = why
            self._runner.kill(cell, body, "hang")
        elif body.killed_for is None:
            body.signal(signal.SIGCONT)
            spare()


def _since(watch: _watchdog.Watch, now: float) -> float:
    return now if watch.since is None else watch.since
