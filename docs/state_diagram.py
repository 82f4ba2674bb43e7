"""
Draws the states of a child from the machine that decides them: it is let loose on small supervisors, with every event that can
come, and what it does with their first child is written down.

Only events, effects and the state of that child are looked at, so a new event, phase or wish shows by itself: a phase that has no
words here stands in the diagram under the name of its class.
"""

from __future__ import annotations

import itertools
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias, get_args

import attrs

from actors.supervisor import _machine
from actors.supervisor import _state as s
from actors.supervisor._exits import ExitReason
from actors.supervisor._policy import RESTART_TYPES, Backoff, RestartType
from actors.supervisor._spec import Supervisor

BEGIN: Final = "<!-- generated: from here -->"
END: Final = "<!-- generated: up to here -->"

CHILD, SIBLING = 1, 2
CRASH = ExitReason("crash", 1)
NORMAL = ExitReason("normal", 0)
BACKOFF = Backoff(initial=1.0, factor=1.0, jitter=0.0)
EVENTS = 8  # so many in a row; with more nothing new is seen

# What has no influence on what can follow, or only by being counted up.
NOT_LOOKED_AT = ("rule", "incarnation", "issued", "restarts", "reason", "attempt", "since", "fingerprint")
# The nodes and what they mean, in the order of a life.
NODES = {
    "[*]": "not yet a child",
    "down": "no process; its supervisor does not run, or is stopping",
    "waiting": "no process; it is due, and waits for siblings or for its turn",
    "starting": "a process that is not ready",
    "running": "ready",
    "replacing": "ready; the next process is starting",
    "standby": "the next process is ready and takes over when this one has left",
    "stop": "asked to leave",
    "terminate": "SIGTERM was sent",
    "kill": "SIGKILL was sent, and is said again",
    "backoff": "no process; it is restarted later",
    "parked": "no process, until something asks for it",
    "gone": "no process, and never again",
}
LADDER = ("stop", "terminate", "kill")

Edges: TypeAlias = dict[tuple[str, str], set[str]]


@attrs.frozen
class Seen:
    """One transition of the first child: node and wish before, by which event, after, and what was to be done about it."""

    before: tuple[str, str]
    event: str
    after: tuple[str, str]
    effects: tuple[str, ...]


@attrs.frozen
class World:
    """
    A supervisor and its processes.

    Attributes:
        alive: Child and incarnation of each process.
        ready: Those that have said so.
        gone: Whether the first child is.
    """

    state: s.MachineState
    now: float = 0.0
    alive: frozenset[tuple[int, int]] = frozenset()
    ready: frozenset[tuple[int, int]] = frozenset()
    gone: bool = False

    def step(self, event: s.MachineEvent) -> tuple[World, tuple[s.MachineEffect, ...]]:
        """What follows from *event*."""
        state, effects = _machine.step(self.state, event, self.now)
        alive, ready = set(self.alive), set(self.ready)
        if isinstance(event, s.ChildExited):
            alive.discard((event.id, event.incarnation))
        if isinstance(event, s.ChildStarted):
            ready.add((event.id, event.incarnation))
        alive |= {(effect.id, effect.incarnation) for effect in effects if isinstance(effect, s.StartChild)}
        gone = self.gone or any(isinstance(effect, s.ChildGone) and effect.id == CHILD for effect in effects)
        return World(state, self.now, frozenset(alive), frozenset(ready & alive), gone), effects

    def node(self) -> tuple[str, str]:
        """Where the first child is, and what is wanted of it."""
        child = self.state.children.get(CHILD)
        if child is None:
            return ("gone", "gone") if self.gone else ("[*]", "up")
        return self._next(child) or self._phase(child), child.wanted

    def _next(self, child: s.ChildState) -> str | None:
        """With two processes: what the next one makes of it."""
        new = child.replacement
        if new is None or isinstance(new.phase, s.Down):
            return None
        if isinstance(child.phase, s.Down):
            return "kill"  # the old one has left, and the next one is not wanted any more
        return {s.Starting: "replacing", s.Running: "standby"}.get(type(new.phase))

    def _phase(self, child: s.ChildState) -> str:
        phase = child.phase
        if isinstance(phase, s.Stopping):
            return phase.rung
        if not isinstance(phase, s.Down):
            return type(phase).__name__.lower()
        if child.wanted == "parked":
            return "parked"
        if self.state.mode in ("new", "stopping", "finished") or phase.start_at is None:
            return "down"
        return "backoff" if phase.start_at > self.now else "waiting"

    def fingerprint(self) -> object:
        """The same for worlds from which about the same can follow: numbers of incarnations and the time of day are left out."""
        state = self.state
        children = tuple(_shape(child, self.now) for child in state.children.values())
        ready = tuple((each[0], each in self.ready) for each in sorted(self.alive))
        return children, state.mode, state.final, state.kill_at is None, len(state.times), ready


def _shape(value: object, now: float) -> object:
    """*value* with each moment as whether it has come."""
    if isinstance(value, float):
        return value <= now
    kind: type[Any] = type(value)
    if not attrs.has(kind):
        return value
    names = [field.name for field in attrs.fields(kind) if field.name not in NOT_LOOKED_AT]
    return kind.__name__, *(_shape(getattr(value, name), now) for name in names)


# ---------------------------------------------------------------- exploring


def _worlds() -> Iterator[World]:
    """Small supervisors of every kind, before their start; in some the first child is added later."""
    alone = Supervisor("node", max_restarts=1)
    group = attrs.evolve(alone, strategy="one_for_all")
    for restart in RESTART_TYPES:
        yield _world(alone, restart)
        yield _world(group, restart)
        yield _world(alone, restart, added=True)
    yield _world(attrs.evolve(alone, on_exhausted="park"))
    yield _world(attrs.evolve(group, on_exhausted="park"))


def _world(spec: Supervisor, restart: RestartType = "permanent", *, added: bool = False) -> World:
    rule = s.ChildRule(restart=restart, backoff=BACKOFF)
    ids = (SIBLING,) if added else (CHILD, SIBLING)
    return World(s.MachineState(spec, {each: s.ChildState(each, rule) for each in ids}))


def _happenings(world: World) -> Iterator[tuple[str, World, s.MachineEvent]]:
    """Everything that can come next, in words; where time has to pass for it, in the world that is so much older."""
    if world.state.mode in ("new", "parked", "finished"):
        yield "supervisor starts", world, s.StartRequested()
    for child_id, incarnation in sorted(world.alive):
        yield from _of_a_process(world, child_id, incarnation)
    if CHILD in world.state.children:
        yield "remove", world, s.RemoveChild(CHILD)
        yield "restart", world, s.RestartChild(CHILD)
    elif not world.gone and SIBLING in world.state.children:
        yield "add", world, s.AddChild(CHILD, world.state.children[SIBLING].rule)
    yield "supervisor stops", world, s.StopRequested()
    if world.state.mode != "serving":
        yield "no other life", world, s.Disown()
    due = _machine.next_deadline(world.state)
    if due is not None:
        yield "time", attrs.evolve(world, now=due), s.Tick()


def _of_a_process(world: World, child_id: int, incarnation: int) -> Iterator[tuple[str, World, s.MachineEvent]]:
    """Ready, and the exits that make a difference; of the child's own process that serves also being replaced."""
    is_old = child_id == CHILD and incarnation == world.state.children[CHILD].incarnation
    who = "sibling " if child_id == SIBLING else "" if is_old else "next "
    if (child_id, incarnation) not in world.ready:
        yield f"{who}ready", world, s.ChildStarted(child_id, incarnation)
    yield f"{who}crash", world, s.ChildExited(child_id, incarnation, CRASH)
    if is_old:
        yield "end", world, s.ChildExited(child_id, incarnation, NORMAL)
        yield "replace", world, s.ReplaceChild(child_id, incarnation)


def explore() -> tuple[Seen, ...]:
    """Every transition of the first child in worlds of every kind, as they are met, breadth first."""
    found: dict[Seen, None] = {}
    for first in _worlds():
        known = {first.fingerprint()}
        coming = deque([(first, 0)])
        while coming:
            world, depth = coming.popleft()
            for what, older, event in _happenings(world):
                after, effects = older.step(event)
                own = tuple(type(effect).__name__ for effect in effects if getattr(effect, "id", None) == CHILD)
                found[Seen(world.node(), what, after.node(), own)] = None
                mark = after.fingerprint()
                if depth < EVENTS and mark not in known:
                    known.add(mark)
                    coming.append((after, depth + 1))
    return tuple(found)


# ---------------------------------------------------------------- drawing


def drawing(seen: tuple[Seen, ...]) -> str:
    """
    What stands between the markers: the diagram, the table of what an exit means, and what is done on the way.

    Args:
        seen: As :func:`explore` gives it.
    """
    edges: Edges = defaultdict(set)
    for one in seen:
        if one.before[0] != one.after[0]:
            edges[one.before[0], one.after[0]].add(one.event)
    return "\n".join([*_diagram(edges), "", *_words(edges), "", *_table_of_exits(seen), "", *_table_of_effects(seen)])


def _order(node: str) -> tuple[int, str]:
    return (list(NODES).index(node) if node in NODES else len(NODES)), node


def _diagram(edges: Edges) -> Iterator[str]:
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield "    state stopping {"
    for before, after in itertools.pairwise(LADDER):
        yield f"        {before} --> {after} : {_by(edges[before, after])}"
    yield "    }"
    for (before, after), events in sorted(_folded(edges).items(), key=lambda edge: [_order(node) for node in edge[0]]):
        yield f"    {before} --> {after} : {_by(events)}"
    yield "```"


def _folded(edges: Edges) -> Edges:
    """The ladder as one state, where it does not matter how far down a child is."""
    folded: Edges = defaultdict(set)
    for (before, after), events in edges.items():
        if before in LADDER and after in LADDER:
            continue
        is_common = before in LADDER and all(events & edges.get((rung, after), set()) for rung in LADDER)
        folded["stopping" if is_common else before, after] |= events
    return folded


def _by(events: set[str]) -> str:
    """Events as a label; the two kinds of an exit are one where both lead there."""
    if {"crash", "end"} <= events:
        events = events - {"crash", "end"} | {"exit"}
    return ", ".join(sorted(events))


def _words(edges: Mapping[tuple[str, str], object]) -> Iterator[str]:
    yield "| state | the child |"
    yield "| --- | --- |"
    for node in sorted({node for edge in edges for node in edge} - {"[*]"}, key=_order):
        yield f"| {node} | {NODES.get(node, node)} |"


def _table_of_exits(seen: tuple[Seen, ...]) -> Iterator[str]:
    """Wish by place: where the exit of the process that serves leads."""
    columns = {
        "starting": ("starting",),
        "running": ("running", "replacing"),
        "standby": ("standby",),
        "stopping": LADDER,
    }
    yield f"| wanted | {' | '.join(f'its exit while {column}' for column in columns)} |"
    yield f"| --- |{' --- |' * len(columns)}"
    for wish in get_args(s.Wanted):
        cells = (
            {
                one.after[0]
                for one in seen
                if one.before[1] == wish and one.before[0] in at and one.event in ("crash", "end")
            }
            for at in columns.values()
        )
        yield f"| {wish} | {' | '.join(', '.join(sorted(cell, key=_order)) or '-' for cell in cells)} |"


def _table_of_effects(seen: tuple[Seen, ...]) -> Iterator[str]:
    """Effect by effect: on which ways it is given."""
    ways: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for one in seen:
        for effect in one.effects:
            ways[effect].add((one.before[0], one.after[0]))
    yield "| effect | on the way from - to |"
    yield "| --- | --- |"
    for effect in sorted(ways):
        by_target: dict[str, set[str]] = defaultdict(set)
        for before, after in ways[effect]:
            by_target[after].add(before)
        told = (
            f"{', '.join(sorted(by_target[after], key=_order))} - {after}" for after in sorted(by_target, key=_order)
        )
        yield f"| `{effect}` | {'; '.join(told).replace('[*]', 'new')} |"


def page(text: str) -> str:
    """
    *text* with what stands between the markers made new.

    Raises:
        SystemExit: The markers do not stand there once each, in order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"docs/state_diagram.py: the page does not have {BEGIN!r} and, after it, {END!r}")
    return f"{before}{BEGIN}\n{drawing(explore())}\n{END}{after}"
