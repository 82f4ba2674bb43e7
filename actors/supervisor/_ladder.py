"""
How a process is made to leave: asked, then SIGTERM, then SIGKILL, each rung when the one before it has had its time.

Owns the rungs and their deadlines. Must not know: who has to go, and what the exit will mean.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from actors.supervisor._policy import Seconds
from actors.supervisor._state import ChildState, KillChild, Phase, Starting, StopChild, Stopping, TerminateChild
from actors.supervisor._turn import Turn, is_due

__all__ = ["KILL_AGAIN_AFTER", "begin_stop", "climb", "kill_once", "killed_if_late", "killing", "ready_too_late"]

# A kill can meet a process that is still being made (a start takes up to 300 ms with a new forkserver); saying it again costs
# nothing, and a second is below what a person waits for.
KILL_AGAIN_AFTER: Final[Seconds] = 1.0

_Why: TypeAlias = Literal["shutdown", "boot_timeout"]


def begin_stop(turn: Turn, child: ChildState) -> ChildState:
    """Ask the process that serves to leave; kill it at once where its rule gives it no time."""
    shutdown = child.rule.shutdown
    if shutdown == 0:
        return turn.change(child, phase=killing(turn, child, child.incarnation, "shutdown"))
    if child.wanted != "replaced":  # then it has been asked to hand over
        turn.emit(StopChild(child.id, child.incarnation))
    if shutdown is None:
        # It may leave when it likes, once it is ready; until then it may hang in its start, which has a limit of its own.
        return turn.change(
            child, phase=Stopping("stop", child.phase.deadline if isinstance(child.phase, Starting) else None)
        )
    return turn.change(child, phase=Stopping("stop", turn.now + shutdown))


def ready_too_late(turn: Turn, child: ChildState) -> None:
    """It is ready, and was asked to leave before: what limits its start limits it no more."""
    if child.rule.shutdown is None and isinstance(child.phase, Stopping) and child.phase.rung == "stop":
        turn.change(child, phase=Stopping("stop", None))


def climb(turn: Turn, child: ChildState) -> None:
    """Take the process that serves one rung further, if it is late."""
    late = killed_if_late(turn, child, child.incarnation, child.phase)
    if late is not None:
        turn.change(child, phase=late)
        return
    match child.phase:
        case Stopping("stop", deadline) if is_due(deadline, turn.now):
            turn.emit(TerminateChild(child.id, child.incarnation))
            turn.change(child, phase=Stopping("terminate", turn.now + child.rule.term_grace))
        case Stopping("terminate", deadline) if is_due(deadline, turn.now):
            turn.change(child, phase=killing(turn, child, child.incarnation, "shutdown"))
        case _:
            pass


def killed_if_late(turn: Turn, child: ChildState, incarnation: int, phase: Phase) -> Stopping | None:
    """
    Kill a process that is not ready in time, or say a kill again.

    Args:
        turn: The step.
        child: Whose process it is.
        incarnation: Of the process: the one that serves, or the one that is to take over.
        phase: Of the process.

    Returns:
        Its phase from now on; None: it is not late.
    """
    match phase:
        case Starting(deadline) if is_due(deadline, turn.now):
            return killing(turn, child, incarnation, "boot_timeout")
        case Stopping("kill", deadline, why) if is_due(deadline, turn.now):
            return killing(turn, child, incarnation, why)
        case _:
            return None


def killing(turn: Turn, child: ChildState, incarnation: int, why: _Why) -> Stopping:
    """Kill that process, and return its phase from now on."""
    turn.emit(KillChild(child.id, incarnation, why))
    return Stopping("kill", turn.now + KILL_AGAIN_AFTER, why)


def kill_once(turn: Turn, child: ChildState) -> None:
    """Kill the process that serves, unless that has been said."""
    if child.has_process and not (isinstance(child.phase, Stopping) and child.phase.rung == "kill"):
        turn.change(child, phase=killing(turn, child, child.incarnation, "shutdown"))
