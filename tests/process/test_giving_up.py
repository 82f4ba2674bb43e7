"""What becomes of actors that keep failing, over real processes: who gave up is said, who is parked stays down, and the rest goes on."""

from __future__ import annotations

import os
import signal
from collections.abc import MutableMapping, Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from actors import (
    ActorInfo,
    ActorNotRunningError,
    ActorRef,
    ActorSystem,
    Backoff,
    Park,
    RestartIntensityError,
    SpecError,
    Supervisor,
    TooManyChildrenError,
    child,
)
from actors.supervisor import _view
from tests.casualties import Casualty
from tests.helpers import eventually
from tests.troupe import Worker

AT_ONCE = Backoff(initial=0.0, maximum=0.001, jitter=0.0)
SECONDS = 10.0


def info_of(system: ActorSystem, name: str) -> ActorInfo:
    return next(info for info in system.actors() if info.path.endswith(f"/{name}"))


def ref_of(system: ActorSystem, name: str) -> ActorRef[Any]:
    ref = system.whereis(name)
    assert ref is not None
    return ref


def kill(system: ActorSystem, name: str) -> None:
    """End the process of that actor, and wait until another incarnation runs or there is no process."""
    before = info_of(system, name)
    assert before.pid is not None
    os.kill(before.pid, signal.SIGKILL)
    eventually(lambda: info_of(system, name).pid != before.pid, SECONDS, state=system.actors)


def is_parked(system: ActorSystem, ref: ActorRef[Any]) -> bool:
    info = _view.actor_info(system._life.running().runner.state, ref.uid)
    return info is not None and info.phase == "parked"


def test_a_supervisor_below_that_ends_the_tree_is_named_with_its_own_limits(start_method: Any) -> None:
    inner = Supervisor(
        "inner",
        children=[child(Worker(), name="x", backoff=AT_ONCE)],
        max_restarts=0,
        period=9.0,
        on_exhausted="shutdown",
    )
    tree = Supervisor("app", children=[child(Worker(), name="other"), inner], max_restarts=7)
    with (
        pytest.raises(RestartIntensityError, match=r"/app/inner gave up.*\(0 in 9 s\).*SIGKILL") as caught,
        ActorSystem(tree, start_method=start_method) as system,
    ):
        os.kill(info_of(system, "x").pid or 0, signal.SIGKILL)
        eventually(lambda: not system.is_running(), SECONDS)

    assert (0, 9.0) == (caught.value.restarts, caught.value.period)


def test_an_error_that_comes_of_a_tree_that_has_given_up_says_so(start_method: Any) -> None:
    tree = Supervisor("app", children=[child(Worker(), name="x", backoff=AT_ONCE)], max_restarts=0)
    system = ActorSystem(tree, start_method=start_method)
    with pytest.raises(ActorNotRunningError) as caught, system:
        worker = ref_of(system, "x")
        worker.tell(Worker.leave_at_once, 7)
        eventually(lambda: not system.is_running(), SECONDS)
        worker.tell(Worker.add, 1)

    assert "supervisor /app gave up" in caught.value.__notes__[0]


def test_what_happened_is_logged_in_its_order_the_cause_before_what_it_leads_to(start_method: Any) -> None:
    tree = Supervisor("app", children=[child(Casualty(), name="one", backoff=AT_ONCE)], max_restarts=1, period=9.0)
    with (
        capture_logs() as logs,
        pytest.raises(RestartIntensityError),
        ActorSystem(tree, start_method=start_method) as system,
    ):
        one = ref_of(system, "one")
        for _ in range(3):
            one.tell(Casualty.leave_at_once, 3)
        eventually(lambda: not system.is_running(), SECONDS)

    told = [log["event"].removeprefix("actors.") for log in logs if log["log_level"] in ("warning", "error")]
    (given_up,) = [log for log in logs if log["event"] == "actors.restart_intensity_exceeded"]
    assert ["child_exited", "crash_report", "dead_letters", "child_exited", "crash_report"] == told[:5]
    assert "restart_intensity_exceeded" == told[5]
    assert (2, 1, 9.0) == (given_up["restarts"], given_up["max_restarts"], given_up["period"])
    assert "the tree ends" == given_up["then"]


def test_too_many_children_have_an_error_of_their_own_and_room_comes_back(start_method: Any) -> None:
    with ActorSystem(Supervisor("app", max_children=1), start_method=start_method) as system:
        first = system.spawn(Worker(), name="first")
        with pytest.raises(TooManyChildrenError, match="/app/second cannot be added: /app has 1 children") as caught:
            system.spawn(Worker(), name="second")
        with pytest.raises(SpecError) as taken:
            system.spawn(Worker(), name="first")
        first.stop()
        eventually(lambda: not system.actors(), SECONDS, state=system.actors)
        system.spawn(Worker(), name="second")

    assert isinstance(caught.value, SpecError)
    assert isinstance(taken.value, TooManyChildrenError)  # being full comes before the name


def test_a_child_that_dies_in_the_same_way_again_and_again_is_parked_and_the_rest_goes_on(start_method: Any) -> None:
    options: dict[str, Any] = {"max_same_crashes": 2, "backoff": AT_ONCE}
    tree = Supervisor(
        "app", children=[child(Worker(), name="x", **options), child(Worker(), name="other")], max_restarts=1
    )
    with capture_logs() as logs, ActorSystem(tree, start_method=start_method) as system:
        x, other = ref_of(system, "x"), ref_of(system, "other")
        x.tell(Worker.fail, "one message")
        eventually(lambda: info_of(system, "x").state == "idle" and info_of(system, "x").incarnation == 2, SECONDS)
        x.tell(Worker.fail, "another message")
        eventually(lambda: is_parked(system, x), SECONDS, state=system.actors)
        parked = _view.actor_info(system._life.running().runner.state, x.uid)
        system.supervisor("/app").restart("x")
        eventually(lambda: info_of(system, "x").pid is not None, SECONDS, state=system.actors)

        assert other.ask(Worker.add, 1).result(timeout=SECONDS) == 1
        assert x.ask(Worker.add, 1).result(timeout=SECONDS) == 1
        assert info_of(system, "other").incarnation == 1

    assert parked is not None
    assert parked.reason is not None
    evidence = parked.reason.evidence[-1]
    assert evidence.startswith("2 deaths in a row with one fingerprint: crash ValueError")
    assert "tests/troupe.py:fail" in evidence
    (log,) = [log for log in logs if log["event"] == "actors.child_parked"]
    assert ("/app/x", "warning") == (log["path"], log["log_level"])
    assert "ValueError" in log["reason"]
    assert [("/app/x", 3, "info")] == returns(logs)


def returns(logs: Sequence[MutableMapping[str, Any]]) -> list[tuple[object, ...]]:
    """Who was parked and came back: path, incarnation, level."""
    found = [log for log in logs if log["event"] == "actors.child_unparked"]
    return [(log["path"], log["incarnation"], log["log_level"]) for log in found]


def test_a_parked_supervisor_tries_again_by_itself(start_method: Any) -> None:
    inner = Supervisor(
        "inner",
        children=[child(Worker(), name="x", backoff=AT_ONCE), child(Worker(), name="y")],
        max_restarts=0,
        on_exhausted=Park(retry_after=0.3),
    )
    tree = Supervisor("app", children=[inner, child(Worker(), name="other")], max_restarts=0)
    with capture_logs() as logs, ActorSystem(tree, start_method=start_method) as system:
        x = ref_of(system, "x")
        kill(system, "x")
        eventually(lambda: not x.is_alive(), SECONDS, state=system.actors)
        eventually(x.is_alive, SECONDS, state=system.actors)

        assert x.ask(Worker.add, 1).result(timeout=SECONDS) == 1
        assert ref_of(system, "y").ask(Worker.add, 1).result(timeout=SECONDS) == 1
        assert info_of(system, "other").incarnation == 1

    assert [("/app/inner/x", 2, "info"), ("/app/inner/y", 2, "info")] == sorted(returns(logs))
