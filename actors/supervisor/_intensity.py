"""
How many restarts a supervisor stands, and what becomes of it then: it fails, or it is parked and tries again.

Owns the window of restarts and the mode *parked*. Must not know: which death counts.
"""

from __future__ import annotations

from actors.supervisor import _breaker
from actors.supervisor._exits import ExitReason
from actors.supervisor._policy import restarts_within
from actors.supervisor._spec import Park
from actors.supervisor._state import ChildState, Down, Exhausted
from actors.supervisor._turn import Turn, is_due

__all__ = ["allows", "give_up", "revive", "try_again"]


def allows(turn: Turn, reason: ExitReason) -> bool:
    """Count one more restart, and say whether it is still allowed."""
    spec, now = turn.state.spec, turn.now
    times = restarts_within((*turn.state.times, now), now, spec.period)
    turn.set(times=times)
    if len(times) > spec.max_restarts:
        turn.emit(Exhausted(len(times), reason))
    return len(times) <= spec.max_restarts


def give_up(turn: Turn, reason: ExitReason) -> None:
    """That death was one too many: the supervisor fails, or it is parked."""
    park = _parking(turn.state.spec.on_exhausted)
    if park is None or turn.state.mode == "booting":
        turn.set(mode="stopping", outcome="failed", reason=reason)
        return
    revive_at = None if park.retry_after is None else turn.now + park.retry_after
    turn.set(mode="parked", times=(), reason=reason, revive_at=revive_at)
    for child in tuple(turn.children.values()):
        if child.is_alive and child.wanted != "gone":
            turn.change(child, wanted="gone" if child.rule.restart == "temporary" else "parked")
        elif not child.is_alive and child.wanted != "parked":
            turn.park(child)


def _parking(on_exhausted: object) -> Park | None:
    if on_exhausted == "park":
        return Park()
    return on_exhausted if isinstance(on_exhausted, Park) else None


def try_again(turn: Turn) -> None:
    """A parked supervisor starts its children again when its time has come, but for those that are left alone."""
    if turn.state.mode != "parked" or not is_due(turn.state.revive_at, turn.now):
        return
    turn.set(mode="serving", times=(), revive_at=None)
    for child in tuple(turn.children.values()):
        if not _breaker.is_open(child):
            revive(turn, child)


def revive(turn: Turn, child: ChildState) -> None:
    """One that was parked is to run again, with a clean record."""
    if child.wanted != "parked":
        return
    if child.is_alive:
        turn.change(child, wanted="restart", attempt=0, **_breaker.CLEAN)
    else:
        turn.change(child, phase=Down(turn.now), wanted="up", attempt=0, **_breaker.CLEAN)
