"""
One supervisor decides: ``step(state, event, now) -> (state, effects)`` and nothing else.

House rules:

1. **Every transition of a supervisor lives in this file**, but for what a single process goes through, which has modules of its
   own: ``_ladder`` (how it is made to leave), ``_replacement`` (how another takes over from it) and ``_breaker`` (when it is left
   alone); and for how a supervisor gives up and tries again, ``_intensity``. None of them knows what a child is: an actor or
   another supervisor, it is an id with a rule.
2. **``_apply`` records what happened; ``_converge`` emits the next effects towards what is wanted.** Boot, the three strategies,
   removal, restart by hand, shutdown and escalation are one piece of code: there is no plan that could be half finished.
3. **Time and randomness are arguments.** Deadlines live in the state (:func:`next_deadline`); the shell sleeps and sends ``Tick``.
   Same history, same answer.
4. **Every event about a process, and every effect, carries the incarnation.** An exit of an old process changes nothing.

What a child does (*phase*) and what is wanted of it (*wanted*) are two things. The second says what an exit means:

==========  =====================================================================================================
wanted      an exit means
==========  =====================================================================================================
up          it died by itself: restart type, strategy and intensity decide
replaced    as wanted: the process that stands by serves from now on
restart     as wanted: it starts again at once
parked      as wanted: it stays down until something asks for it (a group restart, a restart by hand)
gone        as wanted: it is removed
==========  =====================================================================================================

*Modes*: new -> booting -> serving -> stopping -> finished, and from finished to booting when the supervisor itself is restarted;
*parked* is serving after it gave up by parking, until it is started again or its time to try again has come. Children start one after the other, each ready before the next, while booting and
under one_for_all and rest_for_one; they stop in reverse, one at a time, under these and when the supervisor stops. Under
one_for_one a child that is slow to start or to stop holds nobody up.

Where it is OTP to the letter and one might not expect it: a transient child that ended as expected is started again when a sibling's
death restarts its group; a temporary one that its group took down is removed; a failed *restart* is a death like any other, while
a failed *first* start fails the supervisor (of a dynamic child: removes it); a sibling that dies while its group is being stopped
counts in no intensity.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, assert_never

import attrs

from actors.supervisor import _breaker, _intensity, _ladder, _replacement
from actors.supervisor._exits import ExitReason
from actors.supervisor._ladder import KILL_AGAIN_AFTER
from actors.supervisor._policy import Seconds, affected, backoff_delay, should_restart
from actors.supervisor._state import (
    AddChild,
    ChildExited,
    ChildId,
    ChildRestartScheduled,
    ChildStarted,
    ChildState,
    Disown,
    Down,
    Finish,
    MachineEffect,
    MachineEvent,
    MachineState,
    Mode,
    Outcome,
    Phase,
    PromoteChild,
    Ready,
    RemoveChild,
    ReplaceChild,
    RestartChild,
    Running,
    StartChild,
    Starting,
    StartRequested,
    Stopping,
    StopRequested,
    Tick,
)
from actors.supervisor._turn import Turn, is_due

__all__ = ["KILL_AGAIN_AFTER", "is_full", "next_deadline", "refusal", "step"]

_ACTIVE: Final[frozenset[Mode]] = frozenset({"booting", "serving", "parked"})


def step(state: MachineState, event: MachineEvent, now: Seconds) -> tuple[MachineState, tuple[MachineEffect, ...]]:
    """
    What follows from *event*.

    Args:
        state: As the last step left it; not changed.
        event: What happened. News of an unknown child or of another incarnation changes nothing.
        now: The present in seconds, from a clock that never goes back.

    Returns:
        The new state, and what is to be done, in order.
    """
    turn = Turn(state, now)
    _apply(turn, event)
    _converge(turn)
    return turn.result(min(_deadlines(turn), default=None)), tuple(turn.effects)


def next_deadline(state: MachineState) -> Seconds | None:
    """When to send the next ``Tick``, if nothing happens before; None: nothing is waited for by time."""
    return state.due


def refusal(state: MachineState) -> str | None:
    """
    Why no child can be added now, as the end of a sentence about the supervisor; None if one can.

    Args:
        state: Any state.
    """
    if state.mode == "stopping":
        return "is stopping"
    if state.mode not in _ACTIVE:
        return "is not running"
    if is_full(state):
        return f"has {len(state.children)} children, and max_children is {state.spec.max_children}"
    return None


def is_full(state: MachineState) -> bool:
    """Whether there is no room for one more child."""
    limit = state.spec.max_children
    return limit is not None and len(state.children) >= limit


# ---------------------------------------------------------------- what happened


def _apply(turn: Turn, event: MachineEvent) -> None:  # noqa: C901 - one row per event
    match event:
        case Tick():
            pass
        case StartRequested():
            _begin(turn)
        case ChildStarted():
            _on_started(turn, event)
        case ChildExited():
            _on_exited(turn, event)
        case AddChild():
            _on_add(turn, event)
        case RemoveChild():
            _on_remove(turn, event.id)
        case RestartChild():
            _on_restart(turn, event.id)
        case ReplaceChild():
            _replacement.request(turn, event.id, event.incarnation)
        case StopRequested():
            _on_stop(turn, event)
        case Disown():
            turn.set(final=True, mode="finished" if turn.state.mode == "new" else turn.state.mode)
        case _:
            assert_never(event)


def _begin(turn: Turn) -> None:
    """A life begins: of a new one, of one that has finished, or again for one that was parked."""
    mode = turn.state.mode
    if mode == "parked":
        turn.set(mode="serving", times=(), revive_at=None)
        for child in tuple(turn.children.values()):
            _intensity.revive(turn, child)
    elif mode == "new" or (mode == "finished" and not turn.state.final):
        turn.set(mode="booting", outcome="stopped", reason=None, kill_at=None, ending=False, times=())
        for child in tuple(turn.children.values()):
            turn.change(child, phase=Down(turn.now), wanted="up", attempt=0, booted=False, **_breaker.CLEAN)


def _on_started(turn: Turn, event: ChildStarted) -> None:
    child = turn.children.get(event.id)
    if child is None:
        return
    if (new := _replacement.find(child, event.incarnation)) is not None:
        _replacement.on_started(turn, child, new)
    elif child.incarnation == event.incarnation and isinstance(child.phase, Starting):
        if child.phase.standby:
            turn.emit(PromoteChild(child.id, child.incarnation))
        turn.change(child, phase=Running(turn.now), booted=True, failed_starts=0)
    elif child.incarnation == event.incarnation:
        _ladder.ready_too_late(turn, child)


def _on_exited(turn: Turn, event: ChildExited) -> None:
    child = turn.children.get(event.id)
    if child is None:
        return
    if (new := _replacement.find(child, event.incarnation)) is not None:
        _settle(turn, _replacement.on_exited(turn, child, new, event))
    elif child.incarnation == event.incarnation and child.has_process:
        _on_own_exit(turn, child, event)


def _on_own_exit(turn: Turn, child: ChildState, event: ChildExited) -> None:
    """The process that served has ended."""
    before, child = child.phase, turn.change(child, phase=Down(), reason=event.reason)
    if _replacement.stands_by(child):
        _replacement.promote(turn, child)
    elif child.wanted == "up" and turn.state.mode != "stopping":
        _on_death(turn, child, before, event)
    else:
        _settle(turn, child)


def _settle(turn: Turn, child: ChildState) -> None:
    """What becomes of a child as soon as no process of it is left."""
    if child.is_alive:
        return
    if child.wanted == "gone":
        turn.remove(child)
    elif turn.state.mode == "stopping":
        _rest(turn, child)
    elif child.wanted == "restart":
        turn.change(child, phase=Down(turn.now), wanted="up")
    elif child.wanted == "parked":
        turn.park(child)


def _rest(turn: Turn, child: ChildState) -> None:
    """It is down while its supervisor stops; what cannot be part of another life is removed."""
    if child.rule.restart == "temporary":
        turn.remove(child)


def _on_death(turn: Turn, child: ChildState, before: Phase, event: ChildExited) -> None:
    """It died by itself, *before* being in that phase."""
    ran = isinstance(before, Running)
    if not child.booted and child.dynamic:
        turn.remove(child)
    elif not child.booted and turn.state.mode == "booting":
        turn.set(mode="stopping", outcome="failed", reason=event.reason)
        _rest(turn, child)
    elif _comes_back(child, event.reason, ran=ran):
        _schedule(turn, child, before, event)
    else:
        _retire(turn, child)


def _comes_back(child: ChildState, reason: ExitReason, *, ran: bool) -> bool:
    if not ran:  # a failed start has ended nothing, whatever its exit code
        return child.rule.restart != "temporary"
    return should_restart(child.rule.restart, reason, child.rule.expected_exits)


def _retire(turn: Turn, child: ChildState) -> None:
    """It has ended for good."""
    is_gone = child.dynamic or child.rule.restart == "temporary"
    _settle(turn, turn.change(child, wanted="gone" if is_gone else "parked"))
    if child.rule.significant and _ends_by(turn, child.id):
        turn.set(ending=True)


def _ends_by(turn: Turn, ended: ChildId) -> bool:
    """Whether auto_shutdown follows from the end of that significant child."""
    if turn.state.spec.auto_shutdown == "all_significant":
        others = (child for child in turn.children.values() if child.id != ended)
        return not any(child.rule.significant and not _has_ended(child) for child in others)
    return turn.state.spec.auto_shutdown == "any_significant"


def _has_ended(child: ChildState) -> bool:
    return child.wanted == "parked" and not _breaker.is_open(child)


def _schedule(turn: Turn, child: ChildState, before: Phase, event: ChildExited) -> None:
    """It is to come back, unless that is once too often."""
    ran, stable = isinstance(before, Running), _was_stable(turn, child, before)
    child = _breaker.counted(child, event.reason, ran=ran, stable=stable)
    child = turn.change(child, attempt=1 if stable else child.attempt + 1)
    if (why := _breaker.verdict(child)) is not None:
        reason = attrs.evolve(event.reason, evidence=(*event.reason.evidence, why))
        _settle(turn, turn.change(child, wanted="parked", reason=reason))
    elif not ran and child.rule.max_start_failures is not None:
        _come_back(turn, child, event, alone=True)
    elif _intensity.allows(turn, event.reason):
        _come_back_with_group(turn, child, event)
    else:
        _intensity.give_up(turn, event.reason)


def _was_stable(turn: Turn, child: ChildState, before: Phase) -> bool:
    after = child.rule.backoff.stable_after
    return isinstance(before, Running) and turn.now - before.since >= (
        turn.state.spec.period if after is None else after
    )


def _come_back_with_group(turn: Turn, child: ChildState, event: ChildExited) -> None:
    order = tuple(turn.children)
    group = [order[index] for index in affected(turn.state.spec.strategy, order.index(child.id), len(order))]
    _come_back(turn, child, event, alone=len(group) == 1)
    for sibling in group:
        if sibling != child.id:
            _take_down(turn, turn.children[sibling])


def _come_back(turn: Turn, child: ChildState, event: ChildExited, *, alone: bool) -> None:
    """Start it after its backoff; at once, where its replacement is starting and no group has to go down before."""
    child = turn.change(child, restarts=child.restarts + 1)
    at = turn.now
    if not (alone and _replacement.adopt(turn, child)):
        at += backoff_delay(child.rule.backoff, child.attempt, event.jitter)
        turn.change(child, phase=Down(at))
    turn.emit(ChildRestartScheduled(child.id, event.incarnation, at, child.attempt))


def _take_down(turn: Turn, sibling: ChildState) -> None:
    """A sibling's death takes it down, to come back in order; one that has ended comes back with the group."""
    if not sibling.is_alive:
        _intensity.revive(turn, sibling)
    elif sibling.rule.restart == "temporary":
        turn.change(sibling, wanted="gone")
    elif sibling.wanted != "gone":
        turn.change(sibling, wanted="restart")


def _on_add(turn: Turn, event: AddChild) -> None:
    if refusal(turn.state) is None:
        turn.children[event.id] = ChildState(event.id, event.rule, dynamic=True, phase=Down(turn.now))


def _on_remove(turn: Turn, child_id: ChildId) -> None:
    child = turn.children.get(child_id)
    if child is None:
        return
    if child.is_alive:
        turn.change(child, wanted="gone")
    else:
        turn.remove(child)


def _on_restart(turn: Turn, child_id: ChildId) -> None:
    child = turn.children.get(child_id)
    if child is None or child.wanted == "gone" or turn.state.mode not in _ACTIVE:
        return
    if child.is_alive:
        turn.change(child, wanted="restart", attempt=0, **_breaker.CLEAN)
    else:
        turn.change(child, phase=Down(turn.now), wanted="up", attempt=0, **_breaker.CLEAN)


def _on_stop(turn: Turn, event: StopRequested) -> None:
    deadlines = [at for at in (turn.state.kill_at, event.deadline) if at is not None]
    turn.set(kill_at=min(deadlines, default=None))
    if turn.state.mode not in ("stopping", "finished"):
        outcome: Outcome = "stopped" if event.failed is None else "failed"
        turn.set(mode="stopping", outcome=outcome, reason=event.failed)


# ---------------------------------------------------------------- towards what is wanted


def _converge(turn: Turn) -> None:
    _intensity.try_again(turn)
    _complete_boot(turn)
    _remove_the_lost(turn)
    _replacement.drop_unwanted(turn)
    _climb_ladders(turn)
    _stop_next(turn)
    _start_next(turn)
    _replacement.begin_next(turn)
    _finish(turn)


def _complete_boot(turn: Turn) -> None:
    if turn.state.mode == "booting" and all(c.dynamic or _has_booted(c) for c in turn.children.values()):
        turn.set(mode="serving")
        turn.emit(Ready())
    if turn.state.mode in ("serving", "parked") and turn.state.ending:
        turn.set(mode="stopping", outcome="ended")


def _has_booted(child: ChildState) -> bool:
    return isinstance(child.phase, Running) if child.wanted == "up" else child.wanted in ("parked", "gone")


def _remove_the_lost(turn: Turn) -> None:
    """Whoever is down while the supervisor stops, and is no part of another life, is gone."""
    if turn.state.mode not in ("stopping", "finished"):
        return
    for child in tuple(turn.children.values()):
        if not child.is_alive and (turn.state.final or child.dynamic):
            turn.remove(child)


def _climb_ladders(turn: Turn) -> None:
    """Whoever is late is taken one rung further; past the supervisor's own deadline everyone is killed."""
    for child_id in tuple(turn.children):
        _ladder.climb(turn, turn.children[child_id])
        _replacement.take_the_late(turn, turn.children[child_id])
        if is_due(turn.state.kill_at, turn.now):
            _ladder.kill_once(turn, turn.children[child_id])


def _must_go_down(turn: Turn, child: ChildState) -> bool:
    if not child.is_alive or turn.state.mode == "stopping":
        return child.is_alive
    if child.wanted == "up":
        return not child.has_process  # what was to take over from it is being killed
    return child.wanted != "replaced"  # that one leaves by itself, and is in nobody's way


def _stop_next(turn: Turn) -> None:
    """Begin the stop of the last child that must go down; where order does not matter, of all of them."""
    in_order = turn.state.spec.strategy != "one_for_one" or turn.state.mode == "stopping"
    for child in reversed(tuple(turn.children.values())):
        if not _must_go_down(turn, child):
            continue
        if child.has_process and not isinstance(child.phase, Stopping):
            _ladder.begin_stop(turn, child)
        if in_order or child.wanted == "parked":
            break


def _start_next(turn: Turn) -> None:
    """Start the first child that is due; where order does not matter, all that are."""
    if turn.state.mode not in _ACTIVE:
        return
    in_order = turn.state.spec.strategy != "one_for_one" or turn.state.mode == "booting"
    if in_order and any(_must_go_down(turn, child) for child in turn.children.values()):
        return
    for child in tuple(turn.children.values()):
        if child.wanted != "up":
            continue
        if not child.is_alive and _is_its_turn(turn, child):
            _start(turn, child)
        if in_order and not isinstance(child.phase, Running):
            break


def _is_its_turn(turn: Turn, child: ChildState) -> bool:
    if not (isinstance(child.phase, Down) and is_due(child.phase.start_at, turn.now)):
        return False
    elders = (turn.children.get(elder) for elder in child.rule.after)
    return all(e is None or e.wanted == "parked" or (isinstance(e.phase, Running) and e.wanted == "up") for e in elders)


def _start(turn: Turn, child: ChildState) -> None:
    timeout, incarnation = child.rule.start_timeout, child.issued + 1
    turn.emit(StartChild(child.id, incarnation))
    phase = Starting(None if timeout is None else turn.now + timeout)
    turn.change(child, phase=phase, incarnation=incarnation, issued=incarnation)


def _finish(turn: Turn) -> None:
    if turn.state.mode == "stopping" and not any(child.is_alive for child in turn.children.values()):
        turn.set(mode="finished")
        turn.emit(Finish(turn.state.outcome, turn.state.reason))


def _deadlines(turn: Turn) -> Iterable[Seconds]:
    """All moments at which time alone changes something. What is due already waits for an event, not for the time."""
    kill_at, revive_at, mode = turn.state.kill_at, turn.state.revive_at, turn.state.mode
    if mode == "stopping" and kill_at is not None and kill_at > turn.now:
        yield kill_at
    if mode == "parked" and revive_at is not None:
        yield revive_at
    for child in turn.children.values():
        yield from _replacement.deadlines(child, turn.now)
        match child.phase:
            case Starting(at) | Stopping(_, at) if at is not None:
                yield at
            case Down(at) if at is not None and at > turn.now and child.wanted == "up" and mode in _ACTIVE:
                yield at
            case _:
                pass
