"""
What users want of a tree at run time, and why it may be refused: adding, restarting, stopping actors and supervisors.

Pure, a part of one step of :mod:`~actors.supervisor._tree`: a wish becomes events of its node, or a reason why not.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, assert_never

import attrs

from actors.supervisor import _machine
from actors.supervisor._events import (
    AddActor,
    AddSupervisor,
    Event,
    RefusalKind,
    Refused,
    RestartActor,
    RestartSupervisor,
    StopSupervisor,
)
from actors.supervisor._nodes import Node, grow, homes_of
from actors.supervisor._state import (
    SUPERVISOR_RULE,
    AddChild,
    ChildId,
    ChildRule,
    RemoveChild,
    RestartChild,
    StartRequested,
    StopRequested,
)

if TYPE_CHECKING:
    from actors.supervisor._tree import Turn

__all__ = ["grant"]


def grant(turn: Turn, event: AddActor | AddSupervisor | RestartActor | RestartSupervisor | StopSupervisor) -> None:
    """
    Do what a user wants, or refuse it: then nothing has changed.

    Args:
        turn: The step of the tree that this is a part of.
        event: The wish.
    """
    match event:
        case AddActor():
            why = _add_actor(turn, event)
        case AddSupervisor():
            why = _add_supervisor(turn, event)
        case RestartActor():
            why = _restart_actor(turn, event.uid)
        case RestartSupervisor():
            why = _restart_supervisor(turn, event.path)
        case StopSupervisor():
            why = _stop_supervisor(turn, event.path)
        case _:
            assert_never(event)
    if why is not None:
        turn.emit(Refused(event, why, _kind_of_refusal(turn, event)))


def _kind_of_refusal(turn: Turn, event: Event) -> RefusalKind:
    """Being full is looked at right after whether the supervisor runs at all, so that it is the reason whenever it holds."""
    if isinstance(event, AddActor | AddSupervisor):
        node = turn.nodes.get(event.parent_path)
        if node is not None and _leaving(turn, node) is None and _machine.is_full(node.machine):
            return "max_children"
    return "refused"


def _add_actor(turn: Turn, event: AddActor) -> str | None:
    why = _no_room(turn, event.parent_path, event.name)
    if why is not None:
        return why
    node = turn.nodes[event.parent_path]
    if event.uid in turn.homes:
        return f"uid {event.uid} is taken by a child of {turn.homes[event.uid]}"
    ids = {name: child_id for child_id, name in node.names.items()}
    if unknown := [name for name in event.child.options.after if name not in ids]:
        return f"after names {unknown[0]!r}, which is no child of {node.path}"
    after = tuple(ids[name] for name in event.child.options.after)
    turn.nodes[node.path] = attrs.evolve(node, names={**node.names, event.uid: event.name})
    turn.homes[event.uid] = node.path
    turn.tell(node.path, AddChild(event.uid, ChildRule.of(event.child.options, after)))
    return None


def _add_supervisor(turn: Turn, event: AddSupervisor) -> str | None:
    why = _no_room(turn, event.parent_path, event.spec.name)
    if why is not None:
        return why
    node = turn.nodes[event.parent_path]
    ids = itertools.count(turn.next_id, -1)
    own_id = next(ids)
    below = grow(event.spec, node.path, own_id, itertools.count(event.first_uid), ids)
    homes = homes_of(below)
    if taken := sorted(homes.keys() & turn.homes.keys()):
        return f"uid {taken[0]} is taken by a child of {turn.homes[taken[0]]}"
    turn.nodes |= {new.path: new for new in below}
    turn.homes |= homes
    turn.next_id = next(ids)
    turn.nodes[node.path] = attrs.evolve(node, names={**node.names, own_id: event.spec.name})
    turn.tell(node.path, AddChild(own_id, SUPERVISOR_RULE))
    return None


def _restart_actor(turn: Turn, uid: int) -> str | None:
    home = turn.homes.get(uid)
    if home is None:
        return f"there is no actor with uid {uid}"
    return _restart_child(turn, turn.nodes[home], uid)


def _restart_supervisor(turn: Turn, path: str) -> str | None:
    node = turn.nodes.get(path)
    if node is None:
        return f"there is no supervisor {path}"
    if node.machine.mode == "parked":  # it lives, only its children do not
        turn.tell(path, StartRequested())
        return None
    if node.parent is None:
        return f"{path} is the root: it ends with its tree"
    return _restart_child(turn, turn.nodes[node.parent], node.id)


def _restart_child(turn: Turn, node: Node, child_id: ChildId) -> str | None:
    why = _leaving(turn, node)
    if why is None and node.machine.children[child_id].wanted == "gone":
        why = f"{node.path_of(child_id)} is being removed"
    if why is None:
        turn.tell(node.path, RestartChild(child_id))
    return why


def _stop_supervisor(turn: Turn, path: str) -> str | None:
    node = turn.nodes.get(path)
    if node is None:
        return f"there is no supervisor {path}"
    if node.parent is None:
        turn.tell(path, StopRequested())
    else:
        turn.tell(node.parent, RemoveChild(node.id))
    return None


def _no_room(turn: Turn, path: str, name: str) -> str | None:
    """Why the supervisor at *path* cannot take a child called *name*."""
    node = turn.nodes.get(path)
    if node is None:
        return f"there is no supervisor {path}"
    if why := _leaving(turn, node):
        return why
    if why := _machine.refusal(node.machine):
        return f"{path} {why}"
    if name in node.names.values():
        return f"{path} has a child named {name!r} already"
    return None


def _leaving(turn: Turn, node: Node) -> str | None:
    """Why nothing can be started under *node*: it, or one above it, is not running or on its way down."""
    if node.machine.mode not in ("booting", "serving", "parked"):
        return f"{node.path} {'is stopping' if node.machine.mode == 'stopping' else 'is not running'}"
    if node.parent is None:
        return None
    parent = turn.nodes[node.parent]
    if parent.machine.children[node.id].wanted != "up":
        return f"{node.path} is stopping"
    return _leaving(turn, parent)
