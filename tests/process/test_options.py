"""Options of supervisors and children over real processes, each once; that every rule holds is for the tests of the pure machine."""

from __future__ import annotations

import os
import threading
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest
import structlog

from actors import (
    ActorDied,
    ActorNotRunningError,
    ActorRef,
    ActorSystem,
    Backoff,
    ExitReason,
    RestartIntensityError,
    SpecError,
    Supervisor,
    TooManyChildrenError,
    child,
    handler,
)
from tests.helpers import eventually
from tests.troupe import Worker

SECONDS = 20.0
AT_ONCE = Backoff(initial=0.0, maximum=0.0, jitter=0.0)


def end(ref: ActorRef[Any], code: int) -> None:
    """End the actor's process with an exit code, and wait until that is known."""
    assert isinstance(ref.ask(Worker.leave_at_once, code).exception(timeout=SECONDS), ActorDied)


def states(system: ActorSystem) -> dict[str, str]:
    return {actor.path: actor.state for actor in system.actors()}


# --- ends that are wanted ---------------------------------------------------------------------------------------------------


def test_the_end_of_any_significant_child_ends_the_supervisor_normally(start_method: Any) -> None:
    tree = Supervisor(
        "app",
        auto_shutdown="any_significant",
        children=[
            child(Worker(), name="job", restart="transient", significant=True),
            child(Worker(), name="helper"),
        ],
    )
    system = ActorSystem(tree, start_method=start_method).start()
    end(system.whereis("job"), 0)

    eventually(lambda: not system.is_running(), SECONDS, state=system.actors)
    system.run_forever()  # returns at once, and raises nothing: this end was wanted


def test_the_end_of_all_significant_children_ends_the_supervisor_and_no_fewer(start_method: Any) -> None:
    group = Supervisor(
        "group",
        auto_shutdown="all_significant",
        children=[
            child(Worker(), name="one", restart="transient", significant=True, backoff=AT_ONCE),
            child(Worker(), name="two", restart="temporary", significant=True),
            child(Worker(), name="helper"),
        ],
    )
    with ActorSystem(
        Supervisor("app", children=[group, child(Worker(), name="other")]), start_method=start_method
    ) as system:
        one, two, helper = (system.whereis(name) for name in ("one", "two", "helper"))
        end(one, 3)  # not an end: it comes back
        assert 1 == one.ask(Worker.add, 1).result(timeout=SECONDS)
        end(one, 0)
        eventually(lambda: states(system).get("/app/group/one") == "parked", SECONDS, state=system.actors)
        assert 1 == helper.ask(Worker.add, 1).result(timeout=SECONDS)
        end(two, 9)  # temporary: whatever the code, this was its end

        eventually(lambda: not helper.is_alive() or states(system)["/app/group/helper"] == "parked", SECONDS)
        assert 1 == system.whereis("other").ask(Worker.add, 1).result(timeout=SECONDS)


def test_a_transient_child_ends_for_good_by_an_exit_code_that_is_expected(start_method: Any) -> None:
    tree = Supervisor(
        "app",
        children=[child(Worker(), name="job", restart="transient", expected_exits=(0, 75), backoff=AT_ONCE)],
    )
    with ActorSystem(tree, start_method=start_method) as system:
        job: ActorRef[Worker] = system.whereis("job")
        end(job, 1)
        assert 1 == job.ask(Worker.add, 1).result(timeout=SECONDS)
        end(job, 75)

        eventually(lambda: {"/app/job": "parked"} == states(system), SECONDS, state=system.actors)
        assert 2 == job.incarnation
        with pytest.raises(ActorNotRunningError, match="exit code 75"):
            job.ask(Worker.add, 1)


# --- order ------------------------------------------------------------------------------------------------------------------


class OneLife(Worker):
    restart = "temporary"


class Slow(Worker):
    """Is ready when somebody writes into its fifo."""

    def __init__(self, log: str, fifo: str) -> None:
        super().__init__(log=log)
        self.fifo = fifo

    def on_start(self) -> None:
        Path(self.fifo).read_text()
        super().on_start()


def test_a_child_starts_after_those_it_names_are_ready_each_time(start_method: Any, tmp_path: Path) -> None:
    log, fifo = tmp_path / "log", tmp_path / "fifo"
    os.mkfifo(fifo)
    tree = Supervisor(
        "app",
        children=[
            child(Worker(log=str(log)), name="user", after=("base",), backoff=AT_ONCE),
            child(Slow(str(log), str(fifo)), name="base", backoff=AT_ONCE),
        ],
    )

    def lines() -> list[str]:
        return log.read_text().splitlines() if log.exists() else []

    let = threading.Thread(target=lambda: fifo.write_text(""))
    let.start()
    with ActorSystem(tree, start_method=start_method) as system:
        let.join(SECONDS)
        assert ["start /app/base", "start /app/user"] == lines()

        base, user = system.whereis("base"), system.whereis("user")
        end(base, 3)
        eventually(lambda: states(system)["/app/base"] == "starting", SECONDS, state=system.actors)
        assert 1 == user.ask(Worker.add, 1).result(timeout=SECONDS), "that its elder restarts is nothing to it"
        end(user, 3)
        eventually(lambda: system.actors() and states(system)["/app/user"] == "down", SECONDS, state=system.actors)
        assert ["start /app/base", "start /app/user"] == lines()
        fifo.write_text("")

        assert 1 == user.ask(Worker.add, 1).result(timeout=SECONDS)
        assert ["start /app/base", "start /app/user"] * 2 == lines()


# --- dynamic children -------------------------------------------------------------------------------------------------------


def test_dynamic_children_have_a_limit_and_names_of_their_own(start_method: Any) -> None:
    pool = Supervisor("pool", max_children=2)
    with ActorSystem(Supervisor("app", children=[pool]), start_method=start_method) as system:
        workers = system.supervisor("pool")
        first = workers.spawn(Worker(1), name="first")
        with pytest.raises(SpecError, match="'first'"):
            workers.spawn(Worker(), name="first")
        workers.spawn(Worker(2), name="second")
        with pytest.raises(TooManyChildrenError, match="/app/pool has 2 children, and max_children is 2"):
            workers.spawn(Worker(3), name="third")

        first.stop()
        eventually(lambda: not first.is_alive(), SECONDS)
        again = workers.spawn(Worker(4), name="first")
        assert first != again
        assert first.path == again.path
        assert 4 == again.ask(Worker.add, 0).result(timeout=SECONDS)
        with pytest.raises(ActorNotRunningError):
            first.ask(Worker.add, 0)
        assert ["/app/pool/first", "/app/pool/second"] == sorted(states(system))


# --- giving up --------------------------------------------------------------------------------------------------------------


def exhausting(**options: Any) -> Supervisor:
    return Supervisor(
        "part",
        max_restarts=1,
        period=60.0,
        children=[child(Worker(), name="bad", backoff=AT_ONCE), child(Worker(), name="near", backoff=AT_ONCE)],
        **options,
    )


def exhaust(bad: ActorRef[Any]) -> None:
    for _ in range(2):
        end(bad, 3)


def test_a_part_that_gives_up_by_parking_leaves_the_rest_serving_and_is_revived_by_hand(start_method: Any) -> None:
    tree = Supervisor("app", children=[exhausting(on_exhausted="park"), child(Worker(), name="other")])
    with ActorSystem(tree, start_method=start_method) as system:
        bad, near, other = (system.whereis(name) for name in ("bad", "near", "other"))
        exhaust(bad)

        parked = {"/app/part/bad": "parked", "/app/part/near": "parked"}
        eventually(lambda: parked.items() <= states(system).items(), SECONDS, state=system.actors)
        assert [None, None] == [actor.pid for actor in system.actors() if actor.state == "parked"]
        assert 1 == other.ask(Worker.add, 1).result(timeout=SECONDS)
        with pytest.raises(ActorNotRunningError, match="exit code 3"):
            bad.ask(Worker.add, 1)

        for name in ("bad", "near"):
            system.supervisor("part").restart(name)
        assert [1, 1] == [ref.ask(Worker.add, 1).result(timeout=SECONDS) for ref in (bad, near)]
        assert "parked" not in states(system).values()


def test_a_callable_hears_of_giving_up_and_the_failure_goes_on_upwards(start_method: Any) -> None:
    heard: list[tuple[str, str, str]] = []

    def hear(path: str, reason: ExitReason) -> None:
        heard.append((path, reason.kind, threading.current_thread().name))

    tree = Supervisor("app", max_restarts=0, children=[exhausting(on_exhausted=hear)])
    system = ActorSystem(tree, start_method=start_method).start()
    exhaust(system.whereis("bad"))

    eventually(lambda: not system.is_running(), SECONDS, state=system.actors)
    with pytest.raises(RestartIntensityError, match="supervisor /app gave up"):
        system.stop()
    assert [("/app/part", "crash")] == [(path, kind) for path, kind, _thread in heard]
    assert "callbacks" in heard[0][2]


def test_a_part_whose_end_is_declared_to_be_that_of_all_ends_the_tree(start_method: Any) -> None:
    tree = Supervisor("app", children=[exhausting(on_exhausted="shutdown"), child(Worker(), name="other")])
    system = ActorSystem(tree, start_method=start_method).start()
    exhaust(system.whereis("bad"))

    eventually(lambda: not system.is_running(), SECONDS, state=system.actors)
    with pytest.raises(RestartIntensityError):
        system.stop()


def test_a_part_that_escalates_is_restarted_as_a_whole(start_method: Any) -> None:
    tree = Supervisor("app", children=[exhausting(), child(Worker(), name="other")])
    with ActorSystem(tree, start_method=start_method) as system:
        bad, near, other = (system.whereis(name) for name in ("bad", "near", "other"))
        pid = other.ask(Worker.pid_of).result(timeout=SECONDS)
        exhaust(bad)

        assert 1 == bad.ask(Worker.add, 1).result(timeout=SECONDS)
        eventually(lambda: (3, 2) == (bad.incarnation, near.incarnation), SECONDS, state=system.actors)
        assert 1 == near.ask(Worker.add, 1).result(timeout=SECONDS)
        assert pid == other.ask(Worker.pid_of).result(timeout=SECONDS)


def test_the_class_of_an_actor_gives_its_options_and_spawn_overrides_them(start_method: Any) -> None:
    with ActorSystem(start_method=start_method) as system:
        own = system.spawn(OneLife(), name="own")
        other = system.spawn(OneLife(), name="other", restart="permanent", backoff=AT_ONCE)
        end(own, 3)
        end(other, 3)

        assert 1 == other.ask(Worker.add, 1).result(timeout=SECONDS)
        eventually(lambda: ["/system/other"] == list(states(system)), SECONDS, state=system.actors)


# --- what an actor's process is to be like ----------------------------------------------------------------------------------


class Logs(Worker):
    """Configures logging in its own process, and keeps what it said."""

    def on_start(self) -> None:
        super().on_start()
        self.said: list[dict[str, Any]] = []

        def keep(_logger: object, _level: str, event: MutableMapping[str, Any]) -> str:
            self.said.append(dict(event))
            raise structlog.DropEvent

        structlog.configure(processors=[keep])

    @handler
    def say(self, text: str) -> list[dict[str, Any]]:
        self.log.info(text)
        return self.said


def test_what_on_start_configures_counts_for_the_log_of_the_actor(start_method: Any) -> None:
    with ActorSystem(start_method=start_method) as system:
        logs = system.spawn(Logs(), name="logs")

        assert logs.ask(Logs.say, "hello").result(timeout=SECONDS) == [
            {"event": "hello", "path": "/system/logs", "incarnation": 1}
        ]
