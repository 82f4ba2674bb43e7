"""An actor finds others by path or name: from on_start, from a handler, over restarts, and in vain."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from actors import (
    Actor,
    ActorDied,
    ActorNotRunningError,
    ActorRef,
    ActorSystem,
    Backoff,
    HandlerError,
    PoolRef,
    StartError,
    Supervisor,
    child,
    handler,
    pool,
)
from tests.troupe import Worker

pytestmark = pytest.mark.conformance

SECONDS = 20.0
AT_ONCE = Backoff(initial=0.0, maximum=0.0, jitter=0.0)


class Seeker(Actor):
    """Finds one when it starts, and others when it is asked to."""

    def __init__(self, first: str) -> None:
        super().__init__()
        self.first = first

    def on_start(self) -> None:
        self.found: ActorRef[Worker] = self.whereis(self.first)
        self.total = self.found.ask(Worker.add, 1).result(timeout=SECONDS)

    @handler
    def total_at_start(self) -> int:
        return self.total

    @handler
    def add(self, amount: int) -> int:
        return self.found.ask(Worker.add, amount).result(timeout=SECONDS)

    @handler
    def find(self, name: Any) -> ActorRef[Any]:
        return self.whereis(name)


def tree(first: str = "db") -> Supervisor:
    deep = Supervisor("deep", children=[child(Worker(50), name="db")])
    return Supervisor(
        "app",
        strategy="rest_for_one",
        children=[child(Worker(7), name="db", backoff=AT_ONCE), deep, child(Seeker(first), name="seeker")],
    )


@pytest.mark.parametrize(("first", "total"), [("db", 8), ("/app/db", 8), ("/app/deep/db", 51), ("deep/db", 51)])
def test_an_earlier_sibling_is_found_and_asked_while_an_actor_starts(start_method: Any, first: str, total: int) -> None:
    with ActorSystem(tree(first), start_method=start_method) as system:
        assert total == system.whereis("seeker").ask(Seeker.total_at_start).result(timeout=SECONDS)


def test_what_an_actor_finds_is_what_the_system_finds(start_method: Any) -> None:
    with ActorSystem(tree(), start_method=start_method) as system:
        seeker: ActorRef[Seeker] = system.whereis("seeker")
        late = system.spawn(Worker(), name="late")

        assert system.whereis("/app/db") == seeker.ask(Seeker.find, "db").result(timeout=SECONDS)
        assert system.whereis("deep/db") == seeker.ask(Seeker.find, "deep/db").result(timeout=SECONDS)
        assert late == seeker.ask(Seeker.find, "late").result(timeout=SECONDS)
        assert seeker == seeker.ask(Seeker.find, "seeker").result(timeout=SECONDS)


def test_what_was_found_stays_valid_over_restarts(start_method: Any) -> None:
    spec = Supervisor(
        "app", children=[child(Worker(7), name="db", backoff=AT_ONCE), child(Seeker("db"), after=("db",))]
    )
    with ActorSystem(spec, start_method=start_method) as system:
        seeker: ActorRef[Seeker] = system.whereis("seeker")
        died = system.whereis("db").ask(Worker.die_by, int(signal.SIGKILL)).exception(timeout=SECONDS)

        assert isinstance(died, ActorDied)
        assert 9 == seeker.ask(Seeker.add, 2).result(timeout=SECONDS)


def test_nobody_of_that_name_is_an_error_that_says_who_is_there(start_method: Any) -> None:
    with ActorSystem(tree(), start_method=start_method) as system:
        seeker: ActorRef[Seeker] = system.whereis("seeker")

        with pytest.raises(
            HandlerError, match="ActorNotRunningError: no actor is called 'nobody'; there are: /app/db, "
        ):
            seeker.ask(Seeker.find, "nobody").result(timeout=SECONDS)
        with pytest.raises(HandlerError, match=r"SpecError: whereis\(5\): must be a path or a name"):
            seeker.ask(Seeker.find, 5).result(timeout=SECONDS)
        with pytest.raises(StartError, match="no actor is called 'nobody'"):
            system.spawn(Seeker("nobody"), name="lost")
        assert 1 == seeker.incarnation


class PoolSeeker(Actor):
    """Finds a pool when it starts, and others when it is asked to."""

    def on_start(self) -> None:
        self.workers: PoolRef[Worker] = self.find_pool("workers")
        self.total = self.workers.ask(Worker.add, 1).result(timeout=SECONDS)

    @handler
    def add(self, amount: int) -> int:
        return self.workers.ask(Worker.add, amount).result(timeout=SECONDS)

    @handler
    def find(self, path: Any) -> PoolRef[Any]:
        return self.find_pool(path)

    @handler
    def find_actor(self, name: str) -> ActorRef[Any]:
        return self.whereis(name)


def pooled() -> Supervisor:
    return Supervisor("app", strategy="rest_for_one", children=[pool(Worker(7), 1), child(PoolSeeker(), name="seeker")])


def test_an_actor_finds_a_pool_as_the_system_does_and_uses_it(start_method: Any) -> None:
    with ActorSystem(pooled(), start_method=start_method) as system:
        seeker: ActorRef[PoolSeeker] = system.whereis("seeker")
        late = system.spawn_pool(pool(Worker(), 1, name="late"))

        assert 10 == seeker.ask(PoolSeeker.add, 2).result(timeout=SECONDS)
        for path in ("workers", "/app/workers", "app/workers", "/workers"):
            assert system.find_pool(path) == seeker.ask(PoolSeeker.find, path).result(timeout=SECONDS)
        assert late == seeker.ask(PoolSeeker.find, "late").result(timeout=SECONDS)


def test_who_takes_a_pool_for_an_actor_is_told_how_it_is_found(start_method: Any) -> None:
    with ActorSystem(pooled(), start_method=start_method) as system:
        seeker: ActorRef[PoolSeeker] = system.whereis("seeker")

        with pytest.raises(HandlerError, match=r"/app/workers is a pool: use find_pool\('workers'\)"):
            seeker.ask(PoolSeeker.find_actor, "workers").result(timeout=SECONDS)
        with pytest.raises(HandlerError, match=r"/app/seeker is an actor: use whereis\('seeker'\)"):
            seeker.ask(PoolSeeker.find, "seeker").result(timeout=SECONDS)
        with pytest.raises(HandlerError, match="no pool is called 'nobody'; there are: /app/workers"):
            seeker.ask(PoolSeeker.find, "nobody").result(timeout=SECONDS)
        with pytest.raises(HandlerError, match=r"SpecError: find_pool\(5\): must be a path or a name"):
            seeker.ask(PoolSeeker.find, 5).result(timeout=SECONDS)
        with pytest.raises(ActorNotRunningError, match=r"/app/workers is a pool: use find_pool\('/app/workers'\)"):
            system.whereis("/app/workers")
        with pytest.raises(ActorNotRunningError, match=r"/app/seeker is an actor: use whereis\('seeker'\)"):
            system.find_pool("seeker")
