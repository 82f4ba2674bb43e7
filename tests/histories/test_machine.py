"""
Any history of a whole tree, against a world of fake processes: the promises that hold whatever happens in whatever order.

The world (``tests.supervised``) checks each effect as it comes: never two processes of one uid, incarnations without a gap, nothing for
a process that is not there, gone once and after the last exit. The rules here are about whole histories.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.supervisor import _tree
from actors.supervisor._events import (
    ActorExited,
    ActorGone,
    ActorReady,
    AddActor,
    AddSupervisor,
    IntensityExceeded,
    KillActor,
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
    Tick,
    TreeFinished,
    TreeStarted,
)
from actors.supervisor._exits import ExitReason
from actors.supervisor._policy import RESTART_TYPES, STRATEGIES, Backoff
from actors.supervisor._spec import AUTO_SHUTDOWNS, ON_EXHAUSTED, Child, Park, Supervisor
from tests.supervised import BOOT_FAILURE, CRASH, KILLED, NORMAL, REQUESTED, World, worker

EXITS = (NORMAL, CRASH, CRASH, BOOT_FAILURE, REQUESTED, KILLED)


def workers(name: str) -> st.SearchStrategy[Child]:
    return st.builds(
        lambda **options: worker(name, **options),
        restart=st.sampled_from(RESTART_TYPES),
        shutdown=st.sampled_from((0, 1.0, None)),
        term_grace=st.sampled_from((0.5, 1.0)),
        start_timeout=st.sampled_from((1.0, 3.0)),
        significant=st.booleans(),
        backoff=st.sampled_from((Backoff(initial=0.0), Backoff(initial=0.2, maximum=1.0))),
        max_start_failures=st.sampled_from((None, 1, 2)),
        max_same_crashes=st.sampled_from((None, 1, 2)),
    )


def supervisors(name: str, depth: int) -> st.SearchStrategy[Supervisor]:
    children = st.lists(st.integers(0, 3 if depth else 2), max_size=3).flatmap(
        lambda kinds: st.tuples(
            *(supervisors(f"s{n}", depth - 1) if kind == 3 else workers(f"w{n}") for n, kind in enumerate(kinds))
        )
    )
    return st.builds(
        lambda **fields: Supervisor(name, **fields),
        strategy=st.sampled_from(STRATEGIES),
        children=children,
        max_restarts=st.integers(0, 3),
        period=st.sampled_from((1.0, 5.0)),
        max_children=st.sampled_from((None, 4)),
        auto_shutdown=st.sampled_from(AUTO_SHUTDOWNS),
        on_exhausted=st.sampled_from((*ON_EXHAUSTED, Park(2.0))),
    )


class Story:
    """A history that is being told: the choices come from hypothesis, the consequences from the tree."""

    def __init__(self, data: st.DataObject) -> None:
        self.data = data
        self.world = World(data.draw(supervisors("app", 2)))
        self.next_uid = 1000
        self.known = set(self.world.paths().values())

    def choose(self, options: Any) -> Any:
        return self.data.draw(st.sampled_from(tuple(options)))

    def go_on(self) -> None:
        """One more thing happens, and time may pass before it."""
        world = self.world
        if self.data.draw(st.booleans()):
            world.now += self.choose((0.1, 0.5, 1.0, 3.0))
        happening = self.choose(
            ("exit", "exit", "ready", "ready", "ready", "tick", "stale", "ask", "worn", "worn", "next", "next")
        )
        if happening == "exit" and world.alive:
            world.exit(self.choose(sorted(world.alive)), self.choose(EXITS), self.choose((0.0, 0.9)))
        elif happening == "ready" and world.alive:
            world.ready(self.choose(sorted(world.alive)))
        elif happening == "stale" and world.last:
            self.tell_old_news(self.choose(sorted(world.last)))
        elif happening == "ask":
            self.ask()
        elif happening == "worn" and world.alive:
            world.replace(self.choose(sorted(world.alive)))
        elif happening == "next" and world.standby:
            uid = self.choose(sorted(world.standby))
            _ = world.next_ready(uid) if self.choose((True, True, False)) else world.next_exit(uid, self.choose(EXITS))
        else:
            world.tell(Tick())
        self.see_that_nothing_is_left_to_do()

    def tell_old_news(self, uid: int) -> None:
        world = self.world
        world.tell(Tick())
        before = world.state
        living = {world.alive.get(uid), world.standby.get(uid)}
        old = self.choose(sorted({*range(world.last[uid] + 2)} - living))

        assert [] == world.tell(ActorExited(uid, old, CRASH))
        assert [] == world.tell(ActorReady(uid, old))
        assert [] == world.tell(ReplaceActor(uid, old))
        assert before == world.state

    def ask(self) -> None:
        """A user wants something, possibly something that cannot be had."""
        paths, uids = sorted(_tree.supervisors(self.world.state)), sorted(_tree.actors(self.world.state)) or [1]
        self.next_uid += 10
        wish = self.choose(("add", "add", "add supervisor", "stop", "stop supervisor", "restart", "restart supervisor"))
        path, uid, name = self.choose(paths), self.choose(uids), self.choose(("x", "y", "w0"))
        if wish == "add":
            self.world.tell(AddActor(path, self.data.draw(workers(name)), self.next_uid, name))
        elif wish == "add supervisor":
            self.world.tell(AddSupervisor(path, self.data.draw(supervisors(name, 1)), self.next_uid))
        elif wish == "stop":
            self.world.tell(StopActor(uid))
        elif wish == "stop supervisor":
            self.world.tell(StopSupervisor(path))
        elif wish == "restart":
            self.world.tell(RestartActor(uid))
        else:
            self.world.tell(RestartSupervisor(path))

    def see_that_nothing_is_left_to_do(self) -> None:
        """Looking twice at the same time changes nothing, and what is waited for lies ahead."""
        world = self.world
        self.known |= set(_tree.actors(world.state))
        world.tell(Tick())
        before = world.state

        assert [] == world.tell(Tick())
        assert before == world.state
        due = _tree.next_deadline(world.state)
        assert due is None or due > world.now
        for uid in world.stands_by - set(world.alive):
            assert (uid, world.standby[uid]) in world.leaving, "ready to serve, nobody else does, and it is not told"
        # One whose elder has died meanwhile is an ordinary restart.
        homes = [world.state.homes[uid] for uid in world.standby if uid in world.alive]
        assert len(homes) == len(set(homes)), "two children of one supervisor are replaced at a time"

    def end(self) -> None:
        """The tree is told to stop; its processes leave only when they are killed, and a kill may meet nothing at first."""
        world = self.world
        world.tell(Shutdown(world.now + self.choose((0.0, 2.0, 30.0))))
        for _ in range(200):
            if any(isinstance(effect, TreeFinished) for effect in world.said):
                return
            killed = {(e.uid, e.incarnation) for e in world.said if isinstance(e, KillActor)}
            hits = self.choose((True, True, False))
            if hits and (serving := sorted(killed & set(world.alive.items()))):
                world.exit(self.choose(serving)[0], KILLED)
            elif hits and (standby := sorted(killed & set(world.standby.items()))):
                world.next_exit(self.choose(standby)[0], KILLED)
            else:
                due = _tree.next_deadline(world.state)
                assert due is not None, "stopping, and nothing is waited for"
                world.now = max(world.now, due)
                world.tell(Tick())
        raise AssertionError("it never finished")


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_any_history_of_a_tree_ends_with_nothing_lost(data: st.DataObject) -> None:
    story = Story(data)
    world = story.world
    world.tell(Start())
    if data.draw(st.booleans()):
        world.ready_all()
    for _ in range(data.draw(st.integers(0, 25))):
        story.go_on()
    story.end()

    assert not world.alive
    assert not world.standby
    assert story.known | set(world.last) == world.gone
    assert {} == _tree.actors(world.state)
    assert isinstance([e for e in world.said if not isinstance(e, Refused)][-1], TreeFinished)
    assert 1 == sum(isinstance(e, TreeFinished) for e in world.said)
    assert 1 >= sum(isinstance(e, TreeStarted) for e in world.said)
    assert None is _tree.next_deadline(world.state)
    assert [] == world.tell(Tick())


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_temporary_actor_runs_once_in_any_history(data: st.DataObject) -> None:
    spec = data.draw(supervisors("app", 0))
    world = World(spec)
    temporary = {p.uid for p in _tree.plan(spec, 1) if p.child.options.restart == "temporary"}
    world.tell(Start())
    if data.draw(st.booleans()):
        world.ready_all()
    for _ in range(30):
        world.now += data.draw(st.sampled_from((0.1, 1.0)))
        if not world.alive:
            break
        uid = data.draw(st.sampled_from(sorted(world.alive)))
        if data.draw(st.booleans()):
            world.exit(uid, data.draw(st.sampled_from(EXITS)))
        else:
            world.ready(uid)
        world.tell(Tick())

    assert {uid for uid in temporary if world.last.get(uid, 0) > 1} == set()


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_supervisor_restarts_more_often_than_its_limit_allows(data: st.DataObject) -> None:
    spec = data.draw(supervisors("app", 0))
    world = World(spec)
    world.tell(Start())
    world.ready_all()
    moments: list[float] = []
    for _ in range(40):
        if not world.alive:
            break
        world.now += data.draw(st.sampled_from((0.0, 0.25, 0.5, 1.0)))
        said = world.exit(data.draw(st.sampled_from(sorted(world.alive))), data.draw(st.sampled_from(EXITS)))
        moments += [world.now for e in said if isinstance(e, RestartScheduled)]
        gave_up = any(isinstance(e, IntensityExceeded) for e in said)
        in_window = [at for at in moments if at >= world.now - spec.period]

        assert len(in_window) <= spec.max_restarts
        if gave_up:
            assert len(in_window) == spec.max_restarts
            break
        world.tell(Tick())
        world.ready_all()


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_group_is_up_in_order_and_down_in_reverse_in_any_history(data: st.DataObject) -> None:
    strategy = data.draw(st.sampled_from(STRATEGIES[1:]))
    count = data.draw(st.integers(2, 4))
    children = tuple(worker(f"w{n}", restart=data.draw(st.sampled_from(RESTART_TYPES))) for n in range(count))
    world = World(Supervisor("app", strategy=strategy, children=children, max_restarts=1000))
    world.tell(Start())
    if data.draw(st.booleans()):
        world.ready_all()
    for _ in range(40):
        if not world.alive:
            break
        uid = data.draw(st.sampled_from(sorted(world.alive)))
        said = (
            world.ready(uid)
            if data.draw(st.booleans())
            else world.exit(uid, data.draw(st.sampled_from((CRASH, NORMAL))))
        )
        for effect in said:
            if isinstance(effect, StartActor):
                assert not [other for other in world.alive if other > effect.uid], "an elder starts after its younger"
                assert {other for other in world.alive if other < effect.uid} <= world.is_ready
            elif isinstance(effect, StopActorProcess):
                assert not [other for other in world.alive if other > effect.uid], "an elder stops before its younger"


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_the_same_history_gives_the_same_answer(data: st.DataObject) -> None:
    spec = data.draw(supervisors("app", 1))
    script = data.draw(st.lists(st.tuples(st.integers(1, 6), st.booleans(), st.sampled_from(EXITS)), max_size=20))

    def play() -> list[object]:
        world = World(spec)
        world.tell(Start())
        for uid, is_exit, reason in script:
            world.now += 0.3
            world.tell(Tick())
            if uid in world.alive:
                _ = world.exit(uid, reason) if is_exit else world.ready(uid)
        return list(world.said)

    assert play() == play()


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_refused_request_changes_nothing(data: st.DataObject) -> None:
    story = Story(data)
    world = story.world
    world.tell(Start())
    for _ in range(15):
        story.go_on()
        before, count = world.state, len(world.said)
        story.ask()
        if any(isinstance(e, Refused) for e in world.said[count:]):
            assert before == world.state


def test_reasons_of_death_reach_whoever_asks_in_the_end() -> None:
    world = World(Supervisor("app", children=(worker("a", restart="temporary"), worker("b"))))
    world.tell(Start())
    world.ready_all()
    world.exit(1, ExitReason("hang", -9, "SIGKILL"))
    reasons: dict[int, list[str]] = defaultdict(list)
    for effect in world.said:
        if isinstance(effect, ActorGone):
            reasons[effect.uid].append(effect.reason.kind)

    assert {1: ["hang"]} == reasons
