"""
What can be asked of a tree: where an actor is, how a supervisor does. Reads the state, changes nothing.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

from actors.supervisor._exits import ExitReason
from actors.supervisor._nodes import Node, TreeState
from actors.supervisor._policy import Seconds, Strategy
from actors.supervisor._spec import Supervisor, default_name, free_name
from actors.supervisor._state import ChildState, Down, Running, Starting

__all__ = [
    "ActorInfo",
    "ActorPhase",
    "SupervisorInfo",
    "SupervisorMode",
    "actor_info",
    "actors",
    "find",
    "name_for",
    "supervisors",
]

ActorPhase: TypeAlias = Literal["waiting", "starting", "running", "stopping", "parked", "down"]
SupervisorMode: TypeAlias = Literal["waiting", "starting", "running", "stopping", "parked", "down"]


@attrs.frozen
class ActorInfo:
    """
    One actor that is not gone.

    Attributes:
        path: Its address in the tree.
        phase: ``waiting`` for its turn, its backoff or its supervisor's restart; ``starting``; ``running``; ``stopping`` with
            its exit yet to come; ``parked`` until something asks for it; ``down``: its supervisor is not started or is stopping.
        incarnation: Of the process that serves, or of the last that did; 0: none yet.
        restarts: Own deaths that were answered by a restart.
        reason: Of its last exit, or None.
        start_at: When it is due, in phase ``waiting``; None: as soon as its turn comes.
        replacing: Another process of it is there: one that is to take over, as soon as it is ready, or one that was to.
    """

    path: str
    phase: ActorPhase
    incarnation: int
    restarts: int
    reason: ExitReason | None
    start_at: Seconds | None
    replacing: bool = False


@attrs.frozen
class SupervisorInfo:
    """
    One supervisor.

    Attributes:
        path: Its address in the tree.
        mode: ``waiting`` for its restart; ``starting``; ``running``; ``parked`` after it gave up, or after it ended by
            auto_shutdown; ``stopping``; ``down``: not started, or ended with the tree.
        restarts: Restarts within the window when it last looked.
        children: Names in start order.
        spec: What it was built from.
        reason: The death it gave up at, or None.
    """

    path: str
    mode: SupervisorMode
    strategy: Strategy
    restarts: int
    children: tuple[str, ...]
    spec: Supervisor
    reason: ExitReason | None


def actors(state: TreeState) -> dict[int, ActorInfo]:
    """
    All actors that are not gone, by uid.

    Args:
        state: Any state.
    """
    return {
        child.id: _actor(state, node, child)
        for node in state.nodes.values()
        for child in node.machine.children.values()
        if child.id > 0
    }


def actor_info(state: TreeState, uid: int) -> ActorInfo | None:
    """
    One actor, or None if it is gone or never was.

    Args:
        state: Any state.
        uid: Of the actor.
    """
    home = state.homes.get(uid)
    if home is None:
        return None
    node = state.nodes[home]
    return _actor(state, node, node.machine.children[uid])


def find(state: TreeState, path: str) -> int | None:
    """
    Uid of the actor at *path*, or None.

    Args:
        state: Any state.
        path: Such as ``"/app/readers/reader-1"``.
    """
    home, _, name = path.rpartition("/")
    node = state.nodes.get(home)
    names = {} if node is None else node.names
    return next((uid for uid, own in names.items() if own == name and uid > 0), None)


def name_for(state: TreeState, parent_path: str, actor: object) -> str:
    """
    What an unnamed *actor* would be called under *parent_path*: its class's name in lower case, with a suffix if that is taken.

    Args:
        state: Any state.
        parent_path: Path of a supervisor; of an unknown one: the name without a suffix.
        actor: An actor that is not started.
    """
    node = state.nodes.get(parent_path)
    taken = () if node is None else tuple(node.names.values())
    return free_name(default_name(actor), taken)


def supervisors(state: TreeState) -> dict[str, SupervisorInfo]:
    """
    All supervisors that are not gone, by path, each before those below it.

    Args:
        state: Any state.
    """
    return {path: _supervisor(state, node) for path, node in state.nodes.items()}


def _actor(state: TreeState, node: Node, child: ChildState) -> ActorInfo:
    start_at = child.phase.start_at if isinstance(child.phase, Down) and child.wanted == "up" else None
    return ActorInfo(
        node.path_of(child.id),
        _phase(state, node, child),
        child.incarnation,
        child.restarts,
        child.reason,
        start_at,
        replacing=child.replacement is not None and child.replacement.is_alive,
    )


def _phase(state: TreeState, node: Node, child: ChildState) -> ActorPhase:
    if isinstance(child.phase, Running) and child.wanted == "up":
        return "running"
    if child.wanted == "replaced" and node.machine.mode != "stopping":
        return "running"  # whoever it is that serves it
    if isinstance(child.phase, Starting) and child.wanted == "up":
        return "starting"
    if child.is_alive:
        return "stopping"
    if child.wanted == "parked":
        return "parked"
    above = _mode(state, node)
    if above == "parked" and node.machine.mode != "parked":
        return "parked"
    return "down" if above in ("stopping", "down") else "waiting"


def _supervisor(state: TreeState, node: Node) -> SupervisorInfo:
    machine = node.machine
    return SupervisorInfo(
        path=node.path,
        mode=_mode(state, node),
        strategy=machine.spec.strategy,
        restarts=len(machine.times),
        children=tuple(node.names[child_id] for child_id in machine.children),
        spec=machine.spec,
        reason=machine.reason,
    )


def _mode(state: TreeState, node: Node) -> SupervisorMode:
    match node.machine.mode:
        case "booting":
            return "starting"
        case "serving":
            return "running"
        case "stopping" | "parked" as mode:
            return mode
        case _:
            return _mode_of_one_that_is_down(state, node)


def _mode_of_one_that_is_down(state: TreeState, node: Node) -> SupervisorMode:
    """What its own supervisor has in mind with it."""
    if node.parent is None:
        return "down"
    parent = state.nodes[node.parent]
    above = _mode(state, parent)
    if parent.machine.children[node.id].wanted == "parked":
        return "parked"
    return above if above in ("stopping", "down") or parent.machine.mode in ("new", "finished") else "waiting"
