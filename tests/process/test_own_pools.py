"""Pools that an actor spawns: beside it in the tree, used by everybody, and gone with the incarnation that made them."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from actors import (
    Actor,
    ActorNotRunningError,
    ActorRef,
    ActorSystem,
    Autoscale,
    Backoff,
    Park,
    PoolRef,
    SpecError,
    SpecWarning,
    StartError,
    Supervisor,
    handler,
    pool,
)
from tests.helpers import eventually, kill
from tests.pool_workers import Keyed, PoolSender

SECONDS = 30.0


class Unready(Actor):
    def on_start(self) -> None:
        raise RuntimeError("no workers today")


class Child(Actor):
    @handler
    def parent_path(self) -> str:
        assert self.parent is not None
        return self.parent.path


class Master(Actor):
    """Spawns pools, and says what it got."""

    backoff = Backoff(initial=0.0)

    def on_start(self) -> None:
        self.pools: list[PoolRef[Any]] = []

    @handler
    def make(self, size: int, name: str, options: dict[str, Any]) -> PoolRef[Keyed]:
        made = self.spawn_pool(pool(Keyed(), size, name=name, **options))
        self.pools.append(made)
        return made

    @handler
    def make_children(self) -> PoolRef[Child]:
        return self.spawn_pool(pool(Child(), 2, on_exhausted=Park(retry_after=5.0)))

    @handler
    def make_scaled(self) -> PoolRef[Keyed]:
        scale = Autoscale(minimum=1, maximum=3)
        return self.spawn_pool(pool(Keyed(), 2, name="scaled", autoscale=scale, given_up="reroute", redeliver=1))

    @handler
    def use(self, count: int) -> list[str]:
        return [self.pools[-1].ask(Keyed.who).result(timeout=SECONDS) for _ in range(count)]

    @handler
    def fail_to_make(self, what: str) -> str:
        """Say what a pool that cannot be meets."""
        specs: dict[str, Any] = {
            "unready": lambda: pool(Unready(), 2, max_start_failures=1),
            "no pool": Keyed,
            "size": lambda: pool(Keyed(), 0),
            "routing": lambda: pool(Keyed(), 2, routing="best"),  # type: ignore[arg-type]
            "option": lambda: pool(Keyed(), 2, redeliver=-1),
            "function": lambda: pool(Keyed(), 2, on_exhausted=print),
            "taken": lambda: pool(Keyed(), 1, name="master"),
        }
        try:
            self.spawn_pool(specs[what]())
        except (SpecError, StartError) as error:
            return f"{type(error).__name__}: {error}"
        return "made"

    @handler
    def doubted(self, what: str) -> list[str]:
        """Say what warnings a spawn gives, and where."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            if what == "actor":
                self.spawn(Keyed(), name="doubtful", redeliver=4, max_same_crashes=9, shutdown=99.0)
            elif what == "pool":
                self.spawn_pool(pool(Keyed(), 3, name="doubtful-pool", redeliver=5))
            else:
                self.spawn(Keyed(), name="plain")
        assert {each.filename.rpartition("/")[2] for each in caught} <= {"test_own_pools.py"}
        return [f"{each.category.__name__}: {each.message}" for each in caught]

    @handler
    def refuse_doubts(self) -> str:
        """Say what a spawn meets where its warnings are errors."""
        with warnings.catch_warnings():
            warnings.simplefilter("error", SpecWarning)
            try:
                self.spawn(Keyed(), name="doubted", redeliver=4)
            except SpecWarning as doubt:
                return str(doubt)
        return "spawned"

    @handler
    def break_a_rule(self) -> str:
        try:
            self.spawn(Keyed(), name="broken", redeliver="often")
        except (SpecError, StartError) as error:
            return str(error)
        return "spawned"


def paths(system: ActorSystem) -> set[str]:
    return {info.path for info in system.actors()}


def test_an_actor_spawns_a_pool_beside_itself_and_everybody_uses_it(system: ActorSystem) -> None:
    master, other = system.spawn(Master()), system.spawn(PoolSender(), name="other")
    above = master.path.rpartition("/")[0]
    ref = master.ask(Master.make, 3, "workers", {}).result(timeout=SECONDS)

    assert isinstance(ref, PoolRef)
    assert ref.path == f"{above}/workers"
    assert ref.size == 3
    assert system.find_pool(ref.path) == ref
    assert {f"{ref.path}/{number}" for number in (1, 2, 3)} <= paths(system)
    assert set(master.ask(Master.use, 6).result(timeout=SECONDS)) == {"1", "2", "3"}
    assert sorted(reply.result(timeout=SECONDS) for reply in ref.scatter(Keyed.who)) == ["1", "2", "3"]
    assert sorted(other.ask(PoolSender.ask_all, ref).result(timeout=SECONDS)) == ["1", "2", "3"]
    assert other.ask(PoolSender.resize, ref, 1).result(timeout=SECONDS) == 1
    ref.resize(2)
    assert ref.size == 2


def test_it_routes_as_it_says(system: ActorSystem) -> None:
    master = system.spawn(Master())
    ref = master.ask(Master.make, 3, "keyed", {"routing": "key_hash", "key": "key"}).result(timeout=SECONDS)
    for number in range(20):
        ref.tell(Keyed.note, 0, "the same", number)

    assert sorted(reply.result(timeout=SECONDS) for reply in ref.scatter(Keyed.count)) == [0, 0, 20]


def test_scaling_and_all_options_travel(system: ActorSystem) -> None:
    master = system.spawn(Master())
    ref = master.ask(Master.make_scaled).result(timeout=SECONDS)

    assert ref.size == 2
    with pytest.raises(SpecError, match=r"autoscale.minimum=1 to autoscale.maximum=3"):
        ref.resize(4)
    book = system._life.host.pools._by_path[ref.path]  # type: ignore[union-attr]
    assert (book.spec.given_up, book.spec.worker.options.redeliver) == ("reroute", 1)


def test_the_parent_of_each_worker_is_the_actor_that_spawned_the_pool(system: ActorSystem) -> None:
    master = system.spawn(Master())
    ref = master.ask(Master.make_children).result(timeout=SECONDS)
    ref.resize(3)

    assert [reply.result(timeout=SECONDS) for reply in ref.scatter(Child.parent_path)] == [master.path] * 3


def test_a_worker_that_dies_comes_back(system: ActorSystem) -> None:
    master = system.spawn(Master())
    ref = master.ask(Master.make, 2, "workers", {}).result(timeout=SECONDS)
    kill(system, ref.members[0])

    assert [reply.result(timeout=SECONDS) for reply in ref.scatter(Keyed.who)] == ["1", "2"]
    assert master.incarnation == 1


def test_it_ends_with_the_incarnation_that_made_it_and_the_next_one_may_make_it_again(system: ActorSystem) -> None:
    master, other = system.spawn(Master()), system.spawn(PoolSender(), name="other")
    ref = master.ask(Master.make, 2, "workers", {}).result(timeout=SECONDS)
    other.ask(PoolSender.ask_all, ref).result(timeout=SECONDS)
    kill(system, master)
    eventually(lambda: not ref.is_alive(), SECONDS)

    assert "it was stopped" in other.ask(PoolSender.try_tell, ref).result(timeout=SECONDS)
    with pytest.raises(ActorNotRunningError):
        ref.ask(Keyed.who)
    eventually(lambda: not any(path.startswith(f"{ref.path}/") for path in paths(system)), SECONDS)
    again = master.ask(Master.make, 2, "workers", {}).result(timeout=SECONDS)
    assert again != ref
    assert again.ask(Keyed.who).result(timeout=SECONDS) in {"1", "2"}


def test_it_ends_when_the_actor_is_stopped_and_by_itself_when_it_is_told_to(system: ActorSystem) -> None:
    master = system.spawn(Master())
    first = master.ask(Master.make, 1, "first", {}).result(timeout=SECONDS)
    second = master.ask(Master.make, 1, "second", {}).result(timeout=SECONDS)
    first.stop()
    eventually(lambda: not first.is_alive())
    assert second.is_alive()
    master.stop()
    eventually(lambda: not second.is_alive(), SECONDS)
    eventually(lambda: not paths(system), SECONDS)


def test_an_actor_that_is_killed_while_its_pool_starts_leaves_none_of_it(system: ActorSystem) -> None:
    master = system.spawn(Master(), restart="temporary")
    reply = master.ask(Master.make, 8, "many", {})
    eventually(lambda: any("/many/" in path for path in paths(system)), SECONDS)
    kill(system, master)

    assert reply.exception(timeout=SECONDS) is not None
    eventually(lambda: not paths(system), SECONDS)


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("unready", "StartError: .*no workers today"),
        ("no pool", r"SpecError: spawn_pool takes a pool\(\.\.\.\), not a Keyed"),
        ("size", "SpecError: .*size=0"),
        ("routing", "SpecError: .*routing='best'"),
        ("option", "SpecError: .*redeliver=-1"),
        ("function", "SpecError: .*would run in the host"),
        ("taken", "StartError: .*master"),
    ],
)
def test_a_pool_that_cannot_be_says_so_and_leaves_nothing(system: ActorSystem, what: str, says: str) -> None:
    master = system.spawn(Master(), name="master")
    found = master.ask(Master.fail_to_make, what).result(timeout=SECONDS)

    with pytest.raises(AssertionError, match=says):
        raise AssertionError(found)
    eventually(lambda: paths(system) == {master.path}, SECONDS)
    assert master.ask(Master.make, 1, "fine", {}).result(timeout=SECONDS).size == 1
    assert master.incarnation == 1


def test_what_an_actor_spawns_is_doubted_as_what_the_host_spawns(start_method: Any) -> None:
    tree = Supervisor("app", max_restarts=2, period=7.0)
    with ActorSystem(tree, start_method=start_method, shutdown_deadline=20.0) as system:
        master: ActorRef[Master] = system.spawn(Master())
        crashes, redeliver, shutdown = master.ask(Master.doubted, "actor").result(timeout=SECONDS)
        (of_pool,) = master.ask(Master.doubted, "pool").result(timeout=SECONDS)

        assert crashes.startswith(
            "SpecWarning: /app/doubtful: max_same_crashes=9 is not reached by quick crashes: app gives up"
        )
        assert "at the death after 2 restarts in 7 s" in redeliver
        assert "shutdown_deadline=20" in shutdown
        assert of_pool.startswith("SpecWarning: /app/doubtful-pool/1: redeliver=5 is not reached")
        assert master.ask(Master.doubted, "nothing").result(timeout=SECONDS) == []
        assert "redeliver=4 is not reached" in master.ask(Master.refuse_doubts).result(timeout=SECONDS)
        assert "/app/doubted" not in paths(system)
        assert "redeliver" in master.ask(Master.break_a_rule).result(timeout=SECONDS)


def test_the_workers_of_a_pool_that_the_host_spawns_are_doubted_once(system: ActorSystem) -> None:
    with pytest.warns(SpecWarning) as caught:
        system.spawn_pool(pool(Keyed(), 2, redeliver=5))

    assert len(caught) == 1
    assert "/keyeds/1: redeliver=5 is not reached" in str(caught[0].message)
