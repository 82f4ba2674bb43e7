"""
Fake processes under the real, pure supervisor: what a pump would do, without a process, a thread or a clock.

:class:`Bench` drives one supervisor, :class:`World` a whole tree. Children of a bench are called by letters, ``"a"`` first, and
effects read as short sentences: ``"start a1"`` is incarnation 1 of the first child.
"""

from __future__ import annotations

import string

import attrs

from actors.supervisor import _machine, _tree
from actors.supervisor import _state as s
from actors.supervisor._events import (
    ActorExited,
    ActorGone,
    ActorParked,
    ActorReady,
    Effect,
    Event,
    HandOver,
    KillActor,
    PromoteActor,
    ReplaceActor,
    StartActor,
    StopActorProcess,
    TerminateActor,
    Tick,
)
from actors.supervisor._exits import ExitReason
from actors.supervisor._policy import Backoff
from actors.supervisor._spec import Child, Supervisor, child

NORMAL = ExitReason("normal", 0)
CRASH = ExitReason("crash", 1)
REQUESTED = ExitReason("requested", 0)
KILLED = ExitReason("requested", -9, "SIGKILL")
BOOT_FAILURE = ExitReason("boot_failure", 1)

AT_ONCE = Backoff(initial=0.0)


class Worker:
    """Stands for an actor: to the supervisor any object is one."""


def worker(name: str, **options: object) -> Child:
    """A child with no backoff, unless the options say otherwise."""
    return child(Worker(), **{"name": name, "backoff": AT_ONCE, **options})


def rule(**changes: object) -> s.ChildRule:
    """A rule with no backoff, unless the changes say otherwise."""
    return attrs.evolve(s.ChildRule(backoff=AT_ONCE), **changes)  # type: ignore[arg-type]


class Bench:
    """
    One supervisor and a hand that feeds it.

    Args:
        rules: Of its static children, ``a``, ``b``, ``c``...
        supervisor: What the spec says besides.
    """

    def __init__(self, *rules: s.ChildRule, **supervisor: object) -> None:
        spec = Supervisor("node", **supervisor)  # type: ignore[arg-type]
        children = {number: s.ChildState(number, each) for number, each in enumerate(rules, 1)}
        self.state = s.MachineState(spec, children)
        self.now = 100.0

    def tell(self, event: s.MachineEvent) -> list[str]:
        """Step, and say what is to be done."""
        self.state, effects = _machine.step(self.state, event, self.now)
        return [sentence(effect) for effect in effects]

    def boot(self) -> list[str]:
        """Start it, and say ready for each child that starts, in turn."""
        return [*self.tell(s.StartRequested()), *self.ready_all()]

    def ready_all(self) -> list[str]:
        """Say ready for whatever is starting until nothing is."""
        said: list[str] = []
        while starting := [c for c in self.state.children.values() if isinstance(c.phase, s.Starting)]:
            said += self.tell(s.ChildStarted(starting[0].id, starting[0].incarnation))
        return said

    def ready(self, letter: str) -> list[str]:
        """The current incarnation is ready."""
        return self.tell(s.ChildStarted(number(letter), self[letter].incarnation))

    def exit(self, letter: str, reason: ExitReason = CRASH, jitter: float = 0.0) -> list[str]:
        """The current incarnation is dead."""
        return self.tell(s.ChildExited(number(letter), self[letter].incarnation, reason, jitter))

    def replace(self, letter: str) -> list[str]:
        """The current incarnation is to be replaced."""
        return self.tell(s.ReplaceChild(number(letter), self[letter].incarnation))

    def next_ready(self, letter: str) -> list[str]:
        """What is to take over is ready."""
        return self.tell(s.ChildStarted(number(letter), self[letter].issued))

    def next_exit(self, letter: str, reason: ExitReason = BOOT_FAILURE, jitter: float = 0.0) -> list[str]:
        """What was to take over is dead."""
        return self.tell(s.ChildExited(number(letter), self[letter].issued, reason, jitter))

    def exit_all(self) -> list[str]:
        """Whatever is stopping leaves, until nothing is."""
        said: list[str] = []
        while stopping := [c for c in self.state.children.values() if isinstance(c.phase, s.Stopping)]:
            said += self.tell(s.ChildExited(stopping[0].id, stopping[0].incarnation, REQUESTED))
        return said

    def wait(self, seconds: float) -> list[str]:
        """Time passes, then it is looked at."""
        self.now += seconds
        return self.tell(s.Tick())

    def remove(self, letter: str) -> list[str]:
        """Remove a child."""
        return self.tell(s.RemoveChild(number(letter)))

    def restart(self, letter: str) -> list[str]:
        """Restart a child by hand."""
        return self.tell(s.RestartChild(number(letter)))

    def add(self, letter: str, **changes: object) -> list[str]:
        """Add a child at run time."""
        return self.tell(s.AddChild(number(letter), rule(**changes)))

    def stop(self, deadline: float | None = None) -> list[str]:
        """Stop the supervisor."""
        return self.tell(s.StopRequested(deadline))

    @property
    def due(self) -> float | None:
        """Seconds until the next deadline."""
        at = _machine.next_deadline(self.state)
        return None if at is None else round(at - self.now, 6)

    def __getitem__(self, letter: str) -> s.ChildState:
        return self.state.children[number(letter)]

    def __contains__(self, letter: str) -> bool:
        return number(letter) in self.state.children

    @property
    def alive(self) -> str:
        """Letters of the children that have a process."""
        return "".join(letter_of(c.id) for c in self.state.children.values() if c.is_alive)


def number(letter: str) -> int:
    """The id of a bench's child."""
    return string.ascii_lowercase.index(letter) + 1


def letter_of(child_id: int) -> str:
    """What a bench's child is called."""
    return string.ascii_lowercase[child_id - 1]


def sentence(effect: s.MachineEffect) -> str:
    """An effect as a test reads it."""
    match effect:
        case s.StartChild(uid, incarnation, standby):
            return f"start {letter_of(uid)}{incarnation}{' standby' if standby else ''}"
        case s.HandOverChild(uid, incarnation):
            return f"hand over {letter_of(uid)}{incarnation}"
        case s.PromoteChild(uid, incarnation):
            return f"promote {letter_of(uid)}{incarnation}"
        case s.StopChild(uid, incarnation):
            return f"stop {letter_of(uid)}{incarnation}"
        case s.TerminateChild(uid, incarnation):
            return f"terminate {letter_of(uid)}{incarnation}"
        case s.KillChild(uid, incarnation, why):
            return f"kill {letter_of(uid)}{incarnation} {why}"
        case s.ChildGone(uid, reason):
            return f"gone {letter_of(uid)} {reason.kind}"
        case s.ChildParked(uid, reason):
            return f"parked {letter_of(uid)} {reason.kind}"
        case s.ChildRestartScheduled(uid, incarnation, _, attempt):
            return f"again {letter_of(uid)}{incarnation} attempt {attempt}"
        case s.Exhausted(restarts, reason):
            return f"exhausted {restarts} {reason.kind}"
        case s.Ready():
            return "ready"
        case s.Finish(outcome, reason):
            return f"finish {outcome} {reason.kind if reason else '-'}"


class World:
    """
    A whole tree and the fake processes it has.

    Attributes:
        alive: Incarnation of the living process of each uid that serves, or is to as soon as it is ready.
        standby: Incarnation of the living process of each uid that was started to take over, and has not yet.
        is_ready: Uids whose process in *alive* is ready.
        said: Every effect so far.
        gone: Uids that are gone.

    Every effect is checked against what the world knows: no second process of a uid but one that stands by, nothing for a process
    that is not there, no message for two.
    """

    def __init__(self, tree: Supervisor, next_uid: int = 1) -> None:
        self.state = _tree.build(tree, next_uid)
        self.now = 100.0
        self.alive: dict[int, int] = {}
        self.standby: dict[int, int] = {}
        self.is_ready: set[int] = set()
        self.stands_by: set[int] = set()
        self.leaving: set[tuple[int, int]] = set()
        self.last: dict[int, int] = {}
        self.said: list[Effect] = []
        self.gone: set[int] = set()

    def tell(self, event: Event) -> list[Effect]:
        """Step, perform on the fake processes, and give the effects."""
        self.state, effects = _tree.step(self.state, event, self.now)
        for effect in effects:
            self._perform(effect)
        self.said += effects
        return list(effects)

    def _perform(self, effect: Effect) -> None:
        match effect:
            case StartActor(uid, incarnation, standby):
                self._start(uid, incarnation, standby=standby)
            case HandOver(uid, incarnation):
                assert self.alive.get(uid) == incarnation, "handed over by one that is not there"
                assert uid in self.stands_by, "handed over to one that is not ready"
                self.leaving.add((uid, incarnation))
            case PromoteActor(uid, incarnation):
                assert uid not in self.alive, "two that serve"
                assert uid in self.stands_by, "promoted before it is ready"
                assert self.standby.pop(uid) == incarnation, "promoted what is not there"
                self.stands_by.remove(uid)
                self.alive[uid] = incarnation
                self.is_ready.add(uid)
            case StopActorProcess(uid, incarnation) | TerminateActor(uid, incarnation):
                assert self.alive.get(uid) == incarnation or self.standby.get(uid) == incarnation, "stopped: not there"
                self.leaving.add((uid, incarnation))
            case KillActor(uid, incarnation):
                assert self.alive.get(uid) == incarnation or self.standby.get(uid) == incarnation, "killed: not there"
                self.leaving.add((uid, incarnation))
            case ActorGone(uid):
                assert uid not in self.gone, "gone twice"
                assert uid not in self.alive, "gone before its exit"
                assert uid not in self.standby, "gone before the exit of one that stood by"
                self.gone.add(uid)
            case ActorParked(uid):
                assert uid not in self.alive, "parked before its exit"
                assert uid not in self.standby, "parked before the exit of one that stood by"
            case _:
                pass

    def _start(self, uid: int, incarnation: int, *, standby: bool) -> None:
        assert uid not in self.gone, "started after it was gone"
        assert uid not in self.standby, "two processes of one uid"
        assert standby == (uid in self.alive), "two processes of one uid"
        assert not standby or uid in self.is_ready, "replaced before it was ready"
        assert incarnation == self.last.get(uid, 0) + 1
        self.last[uid] = incarnation
        (self.standby if standby else self.alive)[uid] = incarnation

    def ready(self, uid: int) -> list[Effect]:
        """The living process of *uid* is ready."""
        self.is_ready.add(uid)
        return self.tell(ActorReady(uid, self.alive[uid]))

    def exit(self, uid: int, reason: ExitReason = CRASH, jitter: float = 0.0) -> list[Effect]:
        """The living process of *uid* dies."""
        self.is_ready.discard(uid)
        return self.tell(ActorExited(uid, self.alive.pop(uid), reason, jitter))

    def replace(self, uid: int) -> list[Effect]:
        """The living process of *uid* is worn."""
        return self.tell(ReplaceActor(uid, self.alive[uid]))

    def next_ready(self, uid: int) -> list[Effect]:
        """The process of *uid* that is to take over is ready."""
        self.stands_by.add(uid)
        return self.tell(ActorReady(uid, self.standby[uid]))

    def next_exit(self, uid: int, reason: ExitReason = BOOT_FAILURE, jitter: float = 0.0) -> list[Effect]:
        """The process of *uid* that was to take over dies."""
        self.stands_by.discard(uid)
        return self.tell(ActorExited(uid, self.standby.pop(uid), reason, jitter))

    def ready_all(self) -> list[Effect]:
        """Every process that starts becomes ready, until none is starting."""
        said: list[Effect] = []
        while True:
            if starting := [uid for uid in self.alive if uid not in self.is_ready]:
                said += self.ready(starting[0])
            elif coming := [uid for uid in self.standby if uid not in self.stands_by]:
                said += self.next_ready(coming[0])
            else:
                return said

    def leave_all(self) -> list[Effect]:
        """Every process that is asked or made to stop leaves, or is about to be, until none is."""
        said: list[Effect] = []
        while True:
            infos = _tree.actors(self.state).items()
            if stopping := [u for u, i in infos if u in self.alive and (i.phase == "stopping" or self._is_leaving(u))]:
                said += self.exit(stopping[0], REQUESTED)
            elif dropped := [item for item in self.standby.items() if item in self.leaving]:
                said += self.next_exit(dropped[0][0], KILLED)
            else:
                return said

    def _is_leaving(self, uid: int) -> bool:
        return (uid, self.alive[uid]) in self.leaving

    def wait(self, seconds: float) -> list[Effect]:
        """Time passes, then it is looked at."""
        self.now += seconds
        return self.tell(Tick())

    def paths(self) -> dict[str, int]:
        """Uid of each actor by path."""
        return {info.path: uid for uid, info in _tree.actors(self.state).items()}
