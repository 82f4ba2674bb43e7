"""
What becomes of an actor that has just died, in a few words: what the tree has decided, told where the death is. Pure.

Must not know: how it is performed. What is told may still be overtaken, by a stop of the system for one.
"""

from __future__ import annotations

from collections.abc import Iterable

from actors.supervisor._events import (
    ActorExited,
    ActorGone,
    ActorParked,
    Effect,
    IntensityExceeded,
    PromoteActor,
    RestartScheduled,
    StartActor,
)
from actors.supervisor._nodes import TreeState
from actors.supervisor._policy import Seconds

__all__ = ["prospect"]


def prospect(exited: ActorExited, after: TreeState, effects: Iterable[Effect], now: Seconds) -> str:
    """
    Say what follows from a death.

    Args:
        exited: The death.
        after: The tree, as it is with that.
        effects: What the tree has decided.
        now: When it has.

    Returns:
        Such as ``"restarted in 0.01 s (restart 2 of 5 in 30 s)"``; ``""`` where nothing follows for that actor now.
    """
    for effect in effects:
        match effect:
            case RestartScheduled(uid, _, at, _) if uid == exited.uid:
                return f"restarted {_in_seconds(at - now)}{_count(after, uid, now)}"
            case IntensityExceeded(path):
                wanted, allowed = effect.restarts, f"it allows {effect.max_restarts} in {effect.period:g} s"
                return f"{path} gives up: that would be restart {wanted}, and {allowed}; {effect.then}"
            case StartActor(uid) if uid == exited.uid:
                return "started again"
            case PromoteActor(uid) if uid == exited.uid:
                return "the incarnation that stood by takes over"
            case ActorParked(uid) if uid == exited.uid:
                return "left down"
            case ActorGone(uid) if uid == exited.uid:
                return "gone for good"
            case _:
                pass
    return ""


def _in_seconds(seconds: Seconds) -> str:
    return f"in {seconds:.2g} s" if seconds > 0 else "at once"


def _count(after: TreeState, uid: int, now: Seconds) -> str:
    """Which restart of how many that is, where it counts."""
    machine = after.nodes[after.homes[uid]].machine
    if not machine.times or machine.times[-1] != now:
        return ""
    return f" (restart {len(machine.times)} of {machine.spec.max_restarts} in {machine.spec.period:g} s)"
