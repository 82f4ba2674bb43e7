"""What users see, the same under every start method."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from actors import (
    ActorDied,
    ActorNotRunningError,
    ActorRef,
    ActorSystem,
    Backoff,
    HandlerError,
    RestartIntensityError,
    SpecError,
    Supervisor,
    child,
)
from tests.helpers import eventually
from tests.troupe import Parent, Stubborn, Worker

pytestmark = pytest.mark.conformance

AT_ONCE = Backoff(initial=0.001, maximum=0.001, jitter=0.0)
PATIENT = {"max_restarts": 20, "period": 1.0}
SECONDS = 10.0


def pid_of(ref: ActorRef[Any]) -> int:
    return int(ref.ask("pid_of").result(timeout=SECONDS))


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def pids(system: ActorSystem) -> dict[str, int | None]:
    return {info.path.rsplit("/", 1)[-1]: info.pid for info in system.actors()}


def wait_for_others(system: ActorSystem, before: dict[str, int | None], restarted: set[str]) -> dict[str, int | None]:
    """Wait until exactly *restarted* have a new process and all are ready; return the pids."""

    def settled() -> bool:
        infos = system.actors()
        new = {info.path.rsplit("/", 1)[-1] for info in infos if info.pid != before[info.path.rsplit("/", 1)[-1]]}
        return new == restarted and all(info.pid and info.state in {"idle", "handling"} for info in infos)

    eventually(settled, SECONDS, state=lambda: (before, system.actors()))
    return pids(system)


# --- messages ---------------------------------------------------------------------------------------------------------------


def test_an_actor_is_told_and_asked(system: ActorSystem) -> None:
    worker = system.spawn(Worker(10), name="worker")

    worker.tell(Worker.add, 5)

    assert 16 == worker.ask(Worker.add, 1).result(timeout=SECONDS)
    assert 18 == worker.ask(Worker.add_later, 2).result(timeout=SECONDS)
    assert pid_of(worker) != os.getpid()


def test_an_error_in_an_ask_goes_to_the_caller_and_the_actor_lives(system: ActorSystem) -> None:
    worker = system.spawn(Worker(), name="worker")
    pid = pid_of(worker)

    with pytest.raises(HandlerError, match="no such luck") as caught:
        worker.ask(Worker.fail, "no such luck").result(timeout=SECONDS)

    assert isinstance(caught.value, ValueError)
    assert pid == pid_of(worker)


def test_an_error_in_a_tell_crashes_the_actor_and_it_comes_back(system: ActorSystem) -> None:
    worker = system.spawn(Worker(10), name="worker", backoff=AT_ONCE)
    pid = pid_of(worker)

    worker.tell(Worker.fail, "nobody to tell")

    assert 11 == worker.ask(Worker.add, 1).result(timeout=SECONDS)
    assert pid != pid_of(worker)
    assert 2 == worker.incarnation


@pytest.mark.parametrize(
    ("name", "argument", "expected"),
    [
        pytest.param("die_by", signal.SIGKILL, "SIGKILL", id="SIGKILL"),
        pytest.param("leave", 3, "exit code 3", id="sys.exit(3)"),
        pytest.param("leave_at_once", 7, "exit code 7", id="os._exit(7)"),
        pytest.param("segfault", None, "SIGSEGV", id="SIGSEGV"),
    ],
)
def test_a_caller_is_told_how_the_actor_died_and_the_next_one_serves(
    system: ActorSystem, name: str, argument: int | None, expected: str
) -> None:
    worker = system.spawn(Worker(), name="worker", backoff=AT_ONCE)
    pid = pid_of(worker)

    with pytest.raises(ActorDied, match=expected) as caught:
        worker.ask(name, *([] if argument is None else [int(argument)])).result(timeout=SECONDS)

    assert caught.value.may_have_run
    assert pid != pid_of(worker)


# --- strategies and restart types -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "restarted"),
    [
        pytest.param("one_for_one", {"b"}, id="one_for_one"),
        pytest.param("rest_for_one", {"b", "c"}, id="rest_for_one"),
        pytest.param("one_for_all", {"a", "b", "c"}, id="one_for_all"),
    ],
)
def test_the_strategy_says_who_is_restarted(start_method: Any, strategy: Any, restarted: set[str]) -> None:
    children = [child(Worker(), name=name, backoff=AT_ONCE) for name in "abc"]
    with ActorSystem(Supervisor("app", strategy=strategy, children=children), start_method=start_method) as system:
        before = pids(system)
        kill(before["b"] or 0)

        after = wait_for_others(system, before, restarted)

    assert set(after) == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("restart", "code", "comes_back"),
    [
        pytest.param("permanent", 0, True, id="permanent, normal end"),
        pytest.param("permanent", 1, True, id="permanent, crash"),
        pytest.param("transient", 0, False, id="transient, normal end"),
        pytest.param("transient", 1, True, id="transient, crash"),
        pytest.param("temporary", 1, False, id="temporary, crash"),
    ],
)
def test_the_restart_type_says_whether_an_actor_comes_back(
    system: ActorSystem, restart: Any, code: int, comes_back: bool
) -> None:
    worker = system.spawn(Worker(), name="worker", restart=restart, backoff=AT_ONCE)
    worker.tell(Worker.leave, code)

    if comes_back:
        eventually(lambda: worker.incarnation == 2 and pid_of(worker), SECONDS)
    else:
        eventually(lambda: not worker.is_alive(), SECONDS, state=system.actors)
        with pytest.raises(ActorNotRunningError):
            worker.tell(Worker.add, 1)


def test_too_many_restarts_end_the_supervisor_and_count_as_one_failure_above(start_method: Any) -> None:
    inner = Supervisor(
        "inner", children=[child(Worker(), name="x", backoff=AT_ONCE), child(Worker(), name="y")], max_restarts=1
    )
    tree = Supervisor("app", children=[child(Worker(), name="other"), inner], max_restarts=5)
    with ActorSystem(tree, start_method=start_method) as system:
        before = pids(system)
        for _ in range(2):
            pid = pids(system)["x"]
            kill(pid or 0)
            eventually(lambda pid=pid: pids(system)["x"] not in {None, pid}, SECONDS, state=system.actors)  # type: ignore[misc]

        after = wait_for_others(system, before, {"x", "y"})

    assert before["other"] == after["other"]


def test_a_root_that_gives_up_says_so_when_the_system_is_left(start_method: Any) -> None:
    tree = Supervisor(
        "app", children=[child(Worker(), name="x", backoff=AT_ONCE), child(Worker(), name="y")], max_restarts=0
    )
    with (
        pytest.raises(RestartIntensityError, match="/app gave up.*SIGKILL"),
        ActorSystem(tree, start_method=start_method) as system,
    ):
        last = [info.pid or 0 for info in system.actors()]
        kill(last[0])
        eventually(lambda: not system.is_running(), SECONDS)

    assert all(is_gone(pid) for pid in last)


# --- order ------------------------------------------------------------------------------------------------------------------


def test_children_start_in_order_each_ready_before_the_next_and_stop_in_reverse(
    start_method: Any, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    inner = Supervisor("inner", children=[child(Worker(log=str(log)), name=name) for name in "bc"])
    tree = Supervisor(
        "app", children=[child(Worker(log=str(log)), name="a"), inner, child(Worker(log=str(log)), name="d")]
    )
    with ActorSystem(tree, start_method=start_method):
        started = log.read_text().split("\n")[:-1]

    stopped = log.read_text().split("\n")[4:-1]
    paths = ["/app/a", "/app/inner/b", "/app/inner/c", "/app/d"]
    assert started == [f"start {path}" for path in paths]
    assert stopped == [f"stop:requested {path}" for path in reversed(paths)]


@pytest.mark.parametrize(
    ("ignores_sigterm", "least"),
    [pytest.param(False, 0.2, id="ends by SIGTERM"), pytest.param(True, 0.4, id="ends by SIGKILL")],
)
def test_a_stubborn_actor_is_ended_by_the_stop_ladder(start_method: Any, ignores_sigterm: bool, least: float) -> None:
    with ActorSystem(start_method=start_method) as system:
        other = system.spawn(Worker(), name="other")
        stubborn = system.spawn(Stubborn(), name="stubborn", shutdown=0.2, term_grace=0.2)
        pid = pid_of(stubborn)
        stubborn.tell(Stubborn.hang, ignores_sigterm)
        eventually(lambda: stubborn.statistics().handler == "hang", SECONDS)
        began = time.monotonic()

        stubborn.stop()
        eventually(lambda: is_gone(pid), SECONDS)

        assert time.monotonic() - began >= least - 0.02
        assert pid_of(other)


def test_what_an_actor_has_started_is_killed_with_it(start_method: Any) -> None:
    with ActorSystem(start_method=start_method) as system:
        stubborn = system.spawn(Stubborn(), name="stubborn", shutdown=0.0)
        helper = stubborn.ask(Stubborn.start_helper).result(SECONDS)
        pid = pid_of(stubborn)

        stubborn.stop()
        eventually(lambda: is_gone(pid) and is_gone(helper), SECONDS)


@pytest.mark.filterwarnings("ignore:.*shutdown_deadline:actors.SpecWarning")  # what it is about
def test_the_whole_tree_stops_within_the_deadline_whatever_its_actors_do(start_method: Any) -> None:
    system = ActorSystem(start_method=start_method, shutdown_deadline=0.5)
    with pytest.raises(KeyboardInterrupt), system:
        refs = [system.spawn(Stubborn(), name=f"s{n}", shutdown=30.0) for n in range(3)]
        last = [pid_of(ref) for ref in refs]
        for ref in refs:
            ref.tell(Stubborn.hang, True)
        began = time.monotonic()
        raise KeyboardInterrupt

    assert time.monotonic() - began < 2.0
    assert all(is_gone(pid) for pid in last)


def test_the_delay_between_restarts_grows(system: ActorSystem) -> None:
    worker = system.spawn(Worker(), name="worker", backoff=Backoff(initial=0.1, factor=3.0, maximum=5.0, jitter=0.0))
    gaps = []
    for number in (1, 2):
        pid = pid_of(worker)
        began = time.monotonic()
        kill(pid)
        eventually(lambda pid=pid, number=number: worker.incarnation == number + 1 and pid_of(worker) != pid, SECONDS)  # type: ignore[misc]
        gaps.append(time.monotonic() - began)

    assert gaps[0] >= 0.1
    assert gaps[1] >= 0.3


# --- dynamic children -------------------------------------------------------------------------------------------------------


def test_children_come_and_go_while_the_tree_runs(start_method: Any) -> None:
    tree = Supervisor("app", children=[Supervisor("pool", strategy="one_for_one")])
    with ActorSystem(tree, start_method=start_method) as system:
        pool = system.supervisor("/app/pool")
        first, second = (pool.spawn(Worker(), name=name) for name in ("first", "second"))
        pid = pid_of(first)
        with pytest.raises(SpecError, match="first"):
            pool.spawn(Worker(), name="first")

        first.stop()
        eventually(lambda: is_gone(pid) and not first.is_alive(), SECONDS)
        again = pool.spawn(Worker(5), name="first")

        assert 6 == again.ask(Worker.add, 1).result(timeout=SECONDS)
        assert again != first
        with pytest.raises(ActorNotRunningError):
            first.tell(Worker.add, 1)
        assert system.whereis("first") == again
        assert system.whereis("/app/pool/second") == second

        pid = pid_of(second)
        pool.restart("second")
        eventually(lambda: pid_of(second) != pid, SECONDS)


def test_whereis_of_nobody_says_who_is_there(system: ActorSystem) -> None:
    system.spawn(Worker(), name="worker")

    with pytest.raises(ActorNotRunningError, match="no actor is called 'nobody'.*/system/worker"):
        system.whereis("nobody")


def test_what_an_actor_starts_ends_with_it(system: ActorSystem) -> None:
    parent = system.spawn(Parent(), name="parent", backoff=AT_ONCE)
    worker: ActorRef[Worker] = parent.ask(Parent.start_one, "theirs").result(timeout=SECONDS)
    assert 1 == worker.ask(Worker.add, 1).result(timeout=SECONDS)
    pid = pid_of(worker)

    kill(pid_of(parent))

    eventually(lambda: is_gone(pid) and not worker.is_alive(), SECONDS, state=system.actors)
    assert pid_of(parent)


# --- the end ----------------------------------------------------------------------------------------------------------------


def test_a_drained_stop_handles_what_is_queued(start_method: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with ActorSystem(start_method=start_method) as system:
        worker = system.spawn(Worker(log=str(log)), name="worker")
        worker.tell(Worker.wait, 0.2)
        replies = [worker.ask(Worker.add, 1) for _ in range(100)]
        worker.stop(drain=True)

        assert list(range(1, 101)) == [reply.result(timeout=SECONDS) for reply in replies]
        eventually(lambda: not worker.is_alive(), SECONDS)

    assert log.read_text().endswith("stop:requested /system/worker\n")


def test_leaving_the_block_handles_what_was_told(start_method: Any, tmp_path: Path) -> None:
    with ActorSystem(start_method=start_method) as system:
        worker = system.spawn(Worker(), name="worker")
        worker.tell(Worker.wait, 0.2)
        reply = worker.ask(Worker.add, 7)

    assert 7 == reply.result(timeout=0)
