"""
One process takes over from another while the child goes on: recycling with hand-over, the exchange of one that ails.

Owns what happens to :class:`~actors.supervisor._state.Replacement`:

==========================  =================================================================================================
news                        what follows
==========================  =================================================================================================
asked for                   it waits for its turn: at most one child of a supervisor is replaced at a time, in order of asking
its turn                    the next incarnation starts, to stand by
it is ready                 the one that serves is asked to hand over, and its stop ladder begins
the old one has left        the new one is promoted: it runs. No intensity is spent, no attempt counted
it fails to start           the old one goes on; once more, with a new incarnation, after the child's backoff, behind those that wait
it dies, standing by        the old one is leaving already: an ordinary start follows, as after a restart by hand
the old one dies by itself  a death as any other. If it takes nobody else down, whoever is starting is its restart (:func:`adopt`)
anything else is wanted     it is killed at once: it has served nothing
the child is to end when    it is promoted all the same, then stopped: what is queued and is to be handled before the end would
it stands by already        else have nobody to handle it, as the old one takes no more
==========================  =================================================================================================

A child is gone, parked or started anew only when both its processes have ended.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from actors.supervisor._ladder import begin_stop, killed_if_late, killing
from actors.supervisor._policy import Seconds, backoff_delay
from actors.supervisor._state import (
    ChildExited,
    ChildId,
    ChildState,
    Down,
    HandOverChild,
    PromoteChild,
    Replacement,
    Running,
    StartChild,
    Starting,
    Stopping,
)
from actors.supervisor._turn import Turn, is_due

__all__ = [
    "adopt",
    "begin_next",
    "deadlines",
    "drop_unwanted",
    "find",
    "on_exited",
    "on_started",
    "promote",
    "request",
    "stands_by",
    "take_the_late",
]


def request(turn: Turn, child_id: ChildId, incarnation: int) -> None:
    """That incarnation is to be replaced, if it runs and is wanted to."""
    child = turn.children.get(child_id)
    if child is None or child.incarnation != incarnation or child.replacement is not None:
        return
    if turn.state.mode == "serving" and child.wanted == "up" and isinstance(child.phase, Running):
        turn.change(child, replacement=Replacement(Down(turn.now)))


def find(child: ChildState, incarnation: int) -> Replacement | None:
    """What is to take over, if news of *incarnation* is about its process."""
    new = child.replacement
    return new if new is not None and new.is_alive and new.incarnation == incarnation else None


def on_started(turn: Turn, child: ChildState, new: Replacement) -> None:
    """It stands by: let the old one hand over. Too late, if it is being killed."""
    if isinstance(new.phase, Starting):
        turn.emit(HandOverChild(child.id, child.incarnation))
        begin_stop(turn, turn.change(child, wanted="replaced", replacement=attrs.evolve(new, phase=Running(turn.now))))


def on_exited(turn: Turn, child: ChildState, new: Replacement, event: ChildExited) -> ChildState:
    """It has ended, before it served. What that means for a child that is down now is for the caller."""
    if not _is_wanted(turn, child):
        return turn.change(child, replacement=None)
    if child.wanted == "replaced":
        return turn.change(child, replacement=None, wanted="gone" if child.rule.restart == "temporary" else "restart")
    attempt = new.attempt + 1
    at = turn.now + backoff_delay(child.rule.backoff, attempt, event.jitter)
    return turn.change(child, replacement=Replacement(Down(at), attempt=attempt))


def stands_by(child: ChildState) -> bool:
    """Whether one that is ready waits for the old one to leave, which has been asked to."""
    return child.replacement is not None and isinstance(child.replacement.phase, Running)


def promote(turn: Turn, child: ChildState) -> None:
    """The old one has left; the new one, which stands by, serves from now on."""
    new = child.replacement
    assert new is not None
    wanted = "up" if child.wanted == "replaced" else child.wanted
    turn.emit(PromoteChild(child.id, new.incarnation))
    turn.change(child, phase=Running(turn.now), wanted=wanted, incarnation=new.incarnation, replacement=None)


def adopt(turn: Turn, child: ChildState) -> bool:
    """The old one has died, and its restart is starting already: then that is the child's process. Says whether it is so."""
    new = child.replacement
    if new is None or not isinstance(new.phase, Starting):
        return False
    phase = attrs.evolve(new.phase, standby=True)
    turn.change(child, phase=phase, incarnation=new.incarnation, replacement=None)
    return True


def _is_wanted(turn: Turn, child: ChildState) -> bool:
    if turn.state.mode != "serving":
        return False
    return child.wanted == "replaced" or (child.wanted == "up" and isinstance(child.phase, Running))


def _goes_through(turn: Turn, child: ChildState) -> bool:
    """Whether the child is to end for good in the middle of a hand-over, and there is time for that."""
    ends = turn.state.mode == "stopping" or child.wanted == "gone"
    return ends and stands_by(child) and not is_due(turn.state.kill_at, turn.now)


def drop_unwanted(turn: Turn) -> None:
    """Kill what is to take over from a child that is to go down, or is down."""
    for child in tuple(turn.children.values()):
        new = child.replacement
        if new is None or _is_wanted(turn, child) or _goes_through(turn, child):
            continue
        if not new.is_alive:
            turn.change(child, replacement=None)
        elif not isinstance(new.phase, Stopping):
            phase = killing(turn, child, new.incarnation, "shutdown")
            turn.change(child, replacement=attrs.evolve(new, phase=phase))


def take_the_late(turn: Turn, child: ChildState) -> None:
    """Kill it, if it is not ready in time; say a kill again."""
    new = child.replacement
    late = None if new is None else killed_if_late(turn, child, new.incarnation, new.phase)
    if new is not None and late is not None:
        turn.change(child, replacement=attrs.evolve(new, phase=late))


def begin_next(turn: Turn) -> None:
    """Start the replacement that has waited longest, unless one is under way."""
    due: list[tuple[Seconds, ChildState, Replacement]] = []
    for child in turn.children.values():
        match child.replacement:
            case Replacement(Down(at)) as new:
                if at is not None and is_due(at, turn.now):
                    due.append((at, child, new))
            case None:
                pass
            case _:
                return
    if due:
        _at, child, new = min(due, key=lambda asked: asked[0])
        _start(turn, child, new)


def _start(turn: Turn, child: ChildState, new: Replacement) -> None:
    timeout, incarnation = child.rule.start_timeout, child.issued + 1
    turn.emit(StartChild(child.id, incarnation, standby=True))
    phase = Starting(None if timeout is None else turn.now + timeout)
    turn.change(child, issued=incarnation, replacement=attrs.evolve(new, phase=phase, incarnation=incarnation))


def deadlines(child: ChildState, now: Seconds) -> Iterable[Seconds]:
    """When time alone changes something about the replacement of *child*; one that is due already waits for its turn."""
    match child.replacement:
        case Replacement(Starting(at) | Stopping(_, at)) if at is not None:
            yield at
        case Replacement(Down(at)) if at is not None and at > now:
            yield at
        case _:
            pass
