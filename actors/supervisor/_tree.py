"""
The whole tree of supervisors, decided in values. Owns how news travels between the nodes.

Each node is one :mod:`~actors.supervisor._machine`; nothing is decided twice. Effects about actors leave the tree; effects about
supervisors become events of their node, and what a node says of itself becomes news of a child in its parent:

=======================  =============================================================
effect of a node         becomes
=======================  =============================================================
start that supervisor    it begins (another life)
stop, kill it            it stops; at once, for a kill
it is gone               it is disowned: its actors are gone as they go down
it is ready              ``ChildStarted`` in its parent; at the root: ``TreeStarted``
it has finished          ``ChildExited`` in its parent; at the root: ``TreeFinished``
its limit is exceeded    ``IntensityExceeded``; the whole tree ends if so declared
=======================  =============================================================

A path is ``"/app/readers/reader-1"``, the root's name first. A nested supervisor that is restarted starts its static actors again
with the same uids, incarnations counting on; its dynamic children are gone, and so are temporary ones that have ended.

Must not know: processes, pids, pipes, clocks. Events and effects are in ``_events``; what can be asked of a tree is in ``_view``.
"""

from __future__ import annotations

from collections import deque
from typing import Final, assert_never

import attrs

from actors.supervisor import _machine, _wishes
from actors.supervisor._events import (
    ActorExited,
    ActorGone,
    ActorParked,
    ActorReady,
    AddActor,
    AddSupervisor,
    Effect,
    Event,
    GaveUp,
    HandOver,
    IntensityExceeded,
    KillActor,
    PromoteActor,
    Refused,
    ReplaceActor,
    RestartActor,
    RestartScheduled,
    RestartSupervisor,
    Shutdown,
    Start,
    StartActor,
    StopActor,
    StopActorProcess,
    StopSupervisor,
    SupervisorGone,
    SupervisorStarted,
    TerminateActor,
    TreeFinished,
    TreeStarted,
)
from actors.supervisor._exits import ExitReason
from actors.supervisor._nodes import ROOT_ID, Node, Planned, TreeState, build, plan
from actors.supervisor._policy import Seconds
from actors.supervisor._state import (
    ChildExited,
    ChildGone,
    ChildId,
    ChildParked,
    ChildRestartScheduled,
    ChildStarted,
    Disown,
    Exhausted,
    Finish,
    HandOverChild,
    KillChild,
    MachineEffect,
    MachineEvent,
    PromoteChild,
    Ready,
    RemoveChild,
    ReplaceChild,
    StartChild,
    StartRequested,
    StopChild,
    StopRequested,
    TerminateChild,
    Tick,
)
from actors.supervisor._view import (
    ActorInfo,
    ActorPhase,
    SupervisorInfo,
    SupervisorMode,
    actor_info,
    actors,
    find,
    name_for,
    supervisors,
)

# The one module the shell imports for the tree: events, effects, building, stepping, looking.
__all__ = [
    "ActorExited",
    "ActorGone",
    "ActorInfo",
    "ActorParked",
    "ActorPhase",
    "ActorReady",
    "AddActor",
    "AddSupervisor",
    "Effect",
    "Event",
    "HandOver",
    "IntensityExceeded",
    "KillActor",
    "Node",
    "Planned",
    "PromoteActor",
    "Refused",
    "ReplaceActor",
    "RestartActor",
    "RestartScheduled",
    "RestartSupervisor",
    "Shutdown",
    "Start",
    "StartActor",
    "StopActor",
    "StopActorProcess",
    "StopSupervisor",
    "SupervisorGone",
    "SupervisorInfo",
    "SupervisorMode",
    "SupervisorStarted",
    "TerminateActor",
    "Tick",
    "TreeFinished",
    "TreeStarted",
    "TreeState",
    "actor_info",
    "actors",
    "build",
    "find",
    "name_for",
    "next_deadline",
    "plan",
    "step",
    "supervisors",
]

# A chain of supervisors that give up would otherwise grow its evidence for ever.
_MAX_EVIDENCE: Final = 16


def step(state: TreeState, event: Event, now: Seconds) -> tuple[TreeState, tuple[Effect, ...]]:
    """
    What follows from *event* in the whole tree.

    Args:
        state: As the last step left it; not changed.
        event: What happened, or what a user wants. News of an unknown uid or of another incarnation changes nothing.
        now: The present in seconds, from a clock that never goes back.

    Returns:
        The new state, and what is to be done, in order.
    """
    turn = Turn(state, now, event.jitter if isinstance(event, ActorExited) else 0.0)
    _receive(turn, event)
    turn.settle()
    return turn.result(), tuple(turn.effects)


def next_deadline(state: TreeState) -> Seconds | None:
    """When to send the next ``Tick``, if nothing happens before; None: nothing is waited for by time."""
    dues = (_machine.next_deadline(node.machine) for node in state.nodes.values())
    return min((due for due in dues if due is not None), default=None)


# ---------------------------------------------------------------- one step


class Turn:
    """One step in the making: the only thing in here that changes in place, and nobody sees it."""

    def __init__(self, state: TreeState, now: Seconds, jitter: float) -> None:
        self.root = state.root
        self.nodes = dict(state.nodes)
        self.homes = dict(state.homes)
        self.next_id = state.next_id
        self.gave_up = state.gave_up
        self.now = now
        self.jitter = jitter
        self.effects: list[Effect] = []
        self.end: TreeFinished | None = None
        self._queue: deque[tuple[str, MachineEvent]] = deque()

    def emit(self, effect: Effect) -> None:
        self.effects.append(effect)

    def tell(self, path: str, event: MachineEvent) -> None:
        """Let the node at *path* have *event*, after all that is on its way already."""
        self._queue.append((path, event))

    def settle(self) -> None:
        """Until no node has news for another. Ends: a node tells only nodes above or below of what is new to them."""
        while self._queue:
            path, event = self._queue.popleft()
            if path in self.nodes:
                self._let(path, event)
        if self.end is not None:  # the last effect there is, also after the news from below that the end brought
            self.emit(self.end)

    def _let(self, path: str, event: MachineEvent) -> None:
        node = self.nodes[path]
        machine, effects = _machine.step(node.machine, event, self.now)
        self.nodes[path] = node = attrs.evolve(node, machine=machine)
        for effect in effects:
            _route(self, self.nodes[path], effect)
        _disown_below(self, self.nodes[path])
        if machine.mode == "finished" and machine.final and node.parent is not None:
            del self.nodes[path]
            self.emit(SupervisorGone(path))

    def result(self) -> TreeState:
        return TreeState(self.root, self.nodes, self.homes, self.next_id, self.gave_up)


def _disown_below(turn: Turn, node: Node) -> None:
    """Tell the supervisors below that will have no other life, so that their actors are gone as soon as they are down."""
    leaving = node.machine.final and node.machine.mode == "stopping"
    for child in node.machine.children.values():
        if child.id < ROOT_ID and (leaving or child.wanted == "gone"):
            below = turn.nodes.get(node.path_of(child.id))
            if below is not None and not below.machine.final:
                turn.tell(below.path, Disown())


# ---------------------------------------------------------------- events of the tree


def _receive(turn: Turn, event: Event) -> None:  # noqa: C901 - one row per event
    match event:
        case Start():
            turn.tell(turn.root, StartRequested())
        case ActorReady(uid, incarnation):
            turn.tell(turn.homes.get(uid, ""), ChildStarted(uid, incarnation))
        case ActorExited(uid, incarnation, reason, jitter):
            turn.tell(turn.homes.get(uid, ""), ChildExited(uid, incarnation, reason, jitter))
        case StopActor(uid):
            turn.tell(turn.homes.get(uid, ""), RemoveChild(uid))
        case Shutdown(deadline):
            turn.tell(turn.root, StopRequested(deadline))
        case ReplaceActor(uid, incarnation):
            turn.tell(turn.homes.get(uid, ""), ReplaceChild(uid, incarnation))
        case Tick():
            for path, node in turn.nodes.items():
                if node.machine.due is not None and node.machine.due <= turn.now:
                    turn.tell(path, event)
        case AddActor() | AddSupervisor() | RestartActor() | RestartSupervisor() | StopSupervisor():
            _wishes.grant(turn, event)
        case _:
            assert_never(event)


# ---------------------------------------------------------------- effects of a node


def _route(turn: Turn, node: Node, effect: MachineEffect) -> None:
    match effect:
        case Ready():
            _on_ready(turn, node)
        case Finish():
            _on_finish(turn, node, effect)
        case Exhausted():
            _on_exhausted(turn, node, effect)
        case _ if effect.id > ROOT_ID:
            _route_actor(turn, node, effect)
        case _:
            _route_supervisor(turn, node, effect)


_OfChild = (
    StartChild
    | HandOverChild
    | PromoteChild
    | StopChild
    | TerminateChild
    | KillChild
    | ChildGone
    | ChildParked
    | ChildRestartScheduled
)


def _route_actor(turn: Turn, node: Node, effect: _OfChild) -> None:
    match effect:
        case StartChild(uid, incarnation, standby):
            turn.emit(StartActor(uid, incarnation, standby))
        case HandOverChild(uid, incarnation):
            turn.emit(HandOver(uid, incarnation))
        case PromoteChild(uid, incarnation):
            turn.emit(PromoteActor(uid, incarnation))
        case StopChild(uid, incarnation):
            turn.emit(StopActorProcess(uid, incarnation))
        case TerminateChild(uid, incarnation):
            turn.emit(TerminateActor(uid, incarnation))
        case KillChild(uid, incarnation, why):
            turn.emit(KillActor(uid, incarnation, why))
        case ChildRestartScheduled(uid, incarnation, at, attempt):
            turn.emit(RestartScheduled(uid, incarnation, at, attempt))
        case ChildParked(uid, reason):
            turn.emit(ActorParked(uid, reason))
        case ChildGone(uid, reason):
            del turn.homes[uid]
            _forget_name(turn, node, uid)
            turn.emit(ActorGone(uid, reason))
        case _:
            assert_never(effect)


def _route_supervisor(turn: Turn, node: Node, effect: _OfChild) -> None:
    path = node.path_of(effect.id)
    match effect:
        case StartChild(_, incarnation):
            turn.nodes[path] = attrs.evolve(turn.nodes[path], incarnation=incarnation)
            turn.tell(path, StartRequested())
        case StopChild():
            turn.tell(path, StopRequested())
        case KillChild():
            turn.tell(path, StopRequested(turn.now))
        case ChildParked(_, reason):
            _park_below(turn, turn.nodes[path], reason)
        case ChildGone():
            turn.tell(path, Disown())
            _forget_name(turn, node, effect.id)
        case TerminateChild() | HandOverChild() | PromoteChild() | ChildRestartScheduled():
            # SUPERVISOR_RULE has no rung before the kill; only actors are replaced; that it comes back is told by its actors.
            pass
        case _:
            assert_never(effect)


def _forget_name(turn: Turn, node: Node, child_id: ChildId) -> None:
    current = turn.nodes[node.path]
    names = {other: name for other, name in current.names.items() if other != child_id}
    turn.nodes[node.path] = attrs.evolve(current, names=names)


def _park_below(turn: Turn, node: Node, reason: ExitReason) -> None:
    """Its actors are down and stay so until it is started again; those that were parked before are known to be."""
    for child in node.machine.children.values():
        if child.id < ROOT_ID:
            _park_below(turn, turn.nodes[node.path_of(child.id)], reason)
        elif child.wanted != "parked":
            turn.emit(ActorParked(child.id, child.reason or reason))


def _on_ready(turn: Turn, node: Node) -> None:
    if node.parent is None:
        turn.emit(TreeStarted())
    else:
        turn.emit(SupervisorStarted(node.path))
        turn.tell(node.parent, ChildStarted(node.id, node.incarnation))


def _on_exhausted(turn: Turn, node: Node, effect: Exhausted) -> None:
    spec = node.machine.spec
    ends_tree = spec.on_exhausted == "shutdown" or (node.parent is None and node.machine.mode != "parked")
    then = "the tree ends" if ends_tree else _aftermath(node, turn.now)
    turn.emit(IntensityExceeded(node.path, effect.restarts, spec.max_restarts, spec.period, effect.reason, then))
    if ends_tree and turn.gave_up is None:
        turn.gave_up = GaveUp(node.path, spec.max_restarts, spec.period)
    if spec.on_exhausted == "shutdown":
        turn.tell(turn.root, StopRequested(failed=effect.reason))


def _aftermath(node: Node, now: Seconds) -> str:
    """What follows from giving up where the tree does not end, in a few words."""
    machine = node.machine
    if machine.mode != "parked":
        return f"escalates to {node.parent}"
    if machine.revive_at is None:
        return "is parked until it is restarted by hand"
    return f"is parked, and tries again in {machine.revive_at - now:g} s"


def _on_finish(turn: Turn, node: Node, effect: Finish) -> None:
    if node.parent is None:
        failed = effect.outcome == "failed"
        turn.end = TreeFinished("failed" if failed else "stopped", effect.reason, turn.gave_up if failed else None)
    else:
        reason = _as_exit(node.path, effect)
        turn.tell(node.parent, ChildExited(node.id, node.incarnation, reason, turn.jitter))


def _as_exit(path: str, effect: Finish) -> ExitReason:
    """How the end of a supervisor looks to its own supervisor: a failure keeps what is known of the death behind it."""
    if effect.outcome == "stopped":
        return ExitReason("requested")
    if effect.outcome == "ended" or effect.reason is None:
        return ExitReason("normal", 0, evidence=(f"{path} ended: its significant children have",))
    reason = effect.reason
    # An actor may end normally once too often; for the supervisor above that is a failure all the same.
    kind = "crash" if reason.kind in ("normal", "requested") else reason.kind
    # Behind the rule and what explains it, which stand first.
    evidence = (*reason.evidence[: _MAX_EVIDENCE - 1], f"{path} gave up")
    return ExitReason(kind, None, reason.signal, reason.error, evidence, stack=reason.stack)
