"""
The supervisors of a tree by path, their children by name, and how they are built from a spec. Owns uids, paths and names.

To a node its children are ids: an actor's id is its uid (1 and above), a supervisor's a negative number that nobody else sees.

Must not know: what events and effects mean, what a node decides.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import attrs

from actors.supervisor._events import GaveUp
from actors.supervisor._policy import start_order
from actors.supervisor._spec import Child, Supervisor, named_children
from actors.supervisor._state import SUPERVISOR_RULE, ChildId, ChildRule, ChildState, MachineState

__all__ = ["ROOT_ID", "Node", "Planned", "TreeState", "build", "grow", "homes_of", "plan"]

ROOT_ID: Final = 0


@attrs.frozen
class Planned:
    """One actor of a spec that is to be built."""

    uid: int
    path: str
    child: Child


@attrs.frozen
class Node:
    """
    One supervisor in the tree.

    Attributes:
        parent: Path of its supervisor, or None for the root.
        id: What its parent knows it by.
        incarnation: Its life, as its parent counts.
        names: Of its children by id; of actors and supervisors alike.
    """

    path: str
    parent: str | None
    id: ChildId
    machine: MachineState
    names: Mapping[ChildId, str]
    incarnation: int = 0

    def path_of(self, child_id: ChildId) -> str:
        """Path of one child."""
        return f"{self.path}/{self.names[child_id]}"


@attrs.frozen
class TreeState:
    """
    The whole tree. Look at it through ``_view``.

    Attributes:
        root: Path of the root.
        nodes: Supervisors by path.
        homes: Path of the supervisor of each actor by uid; gone actors are not in it.
        next_id: For the next supervisor that is added; below 0.
        gave_up: The first supervisor whose giving up is to end the tree, or None.
    """

    root: str
    nodes: Mapping[str, Node]
    homes: Mapping[int, str]
    next_id: ChildId
    gave_up: GaveUp | None = None


def plan(tree: Supervisor, next_uid: int, *, parent_path: str = "") -> list[Planned]:
    """
    The actors of *tree* with the uids that :func:`build`, or ``AddSupervisor(first_uid=next_uid)``, gives them.

    Args:
        tree: A checked spec.
        next_uid: Uid of the first actor; the others follow without a gap.
        parent_path: Path of the supervisor it is to be added to; ``""`` for a tree of its own.

    Returns:
        In start order, depth first.
    """
    planned: list[Planned] = []
    path = f"{parent_path}/{tree.name}"
    for name, item in _in_start_order(tree):
        if isinstance(item, Supervisor):
            planned += plan(item, next_uid + len(planned), parent_path=path)
        else:
            planned.append(Planned(next_uid + len(planned), f"{path}/{name}", item))
    return planned


def build(tree: Supervisor, next_uid: int = 1) -> TreeState:
    """
    The state before ``Start``.

    Args:
        tree: A checked spec.
        next_uid: Uid of the first actor, 1 or above; see :func:`plan`.
    """
    ids = itertools.count(-1, -1)
    nodes = {node.path: node for node in grow(tree, None, ROOT_ID, itertools.count(next_uid), ids)}
    root = next(iter(nodes.values()))
    # The root has one life: nobody restarts it, so what goes down with it is gone.
    nodes[root.path] = attrs.evolve(root, machine=attrs.evolve(root.machine, final=True))
    return TreeState(root.path, nodes, homes_of(nodes.values()), next(ids))


# ---------------------------------------------------------------- building


def _in_start_order(spec: Supervisor) -> list[tuple[str, Child | Supervisor]]:
    named = named_children(spec)
    after = {name: item.options.after if isinstance(item, Child) else () for name, item in named.items()}
    return [(name, named[name]) for name in start_order(after)]


def grow(
    spec: Supervisor, parent: str | None, own_id: ChildId, uids: Iterator[int], ids: Iterator[ChildId]
) -> list[Node]:
    """
    The node of *spec*, then those below it.

    Args:
        spec: A checked spec.
        parent: Path of its supervisor, or None for the root.
        own_id: What its parent knows it by.
        uids: Where the actors' uids come from, in the order of :func:`plan`.
        ids: Where the ids of the supervisors below come from.
    """
    path = f"{parent or ''}/{spec.name}"
    below: list[Node] = []
    children: dict[str, ChildState] = {}
    for name, item in _in_start_order(spec):
        if isinstance(item, Supervisor):
            child_id = next(ids)
            children[name] = ChildState(child_id, SUPERVISOR_RULE)
            below += grow(item, path, child_id, uids, ids)
        else:
            after = tuple(children[elder].id for elder in item.options.after)
            uid = next(uids)
            children[name] = ChildState(uid, ChildRule.of(item.options, after))
    machine = MachineState(spec, {child.id: child for child in children.values()})
    return [Node(path, parent, own_id, machine, {c.id: name for name, c in children.items()}), *below]


def homes_of(nodes: Iterable[Node]) -> dict[int, str]:
    """Path of the supervisor of each actor in *nodes*, by uid."""
    return {uid: node.path for node in nodes for uid in node.names if uid > ROOT_ID}
