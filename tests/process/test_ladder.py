"""The stop ladder over real processes: each rung in its time, and all of them within the one deadline; starts that have to wait."""

from __future__ import annotations

import os
import resource
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from actors import Actor, ActorRef, ActorSystem, Backoff, RestartIntensityError, Supervisor, child, handler
from tests.helpers import eventually
from tests.troupe import Stubborn, Worker

AT_ONCE = Backoff(initial=0.0, maximum=0.001, jitter=0.0)
SECONDS = 10.0


class Deaf(Worker):
    """Lets no SIGTERM through, whatever it does."""

    def on_start(self) -> None:
        super().on_start()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def on_stop(self, reason: object) -> None:
        threading.Event().wait()


class Polite(Actor):
    """Writes down every signal that it gets."""

    def __init__(self, log: str) -> None:
        super().__init__()
        self.log_path = log

    def on_start(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            signal.signal(number, self._note)

    def _note(self, number: int, _frame: object) -> None:
        with Path(self.log_path).open("a") as stream:
            stream.write(f"{number}\n")

    @handler
    def work(self, seconds: float) -> str:
        threading.Event().wait(seconds)
        return "done"


def pid_of(ref: ActorRef[Any]) -> int:
    return int(ref.ask("pid_of").result(timeout=SECONDS))


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def wait_for_handler(ref: ActorRef[Any], name: str) -> None:
    eventually(lambda: ref.statistics().handler == name, SECONDS)


def wait_for_end(pid: int) -> None:
    eventually(lambda: is_gone(pid), SECONDS)


def rungs(logs: list[Any], path: str) -> list[str]:
    steps = ("actors.stopping", "actors.stop_escalated", "actors.child_exited")
    return [log.get("rung", "exit") for log in logs if log["event"] in steps and log["path"] == path]


def limits_over(logs: list[Any], path: str) -> list[str]:
    return [log["reason"] for log in logs if log["event"] == "actors.stop_escalated" and log["path"] == path]


def test_a_cooperative_actor_gets_no_signal_also_when_a_long_handler_holds_it_up(
    start_method: Any, tmp_path: Path
) -> None:
    note = tmp_path / "signals"
    with capture_logs() as logs, ActorSystem(start_method=start_method) as system:
        ref = system.spawn(Polite(str(note)), name="polite", shutdown=SECONDS, backoff=AT_ONCE)
        reply = ref.ask(Polite.work, 0.5)
        eventually(lambda: ref.statistics().handler == "work", SECONDS)
        ref.stop()
        assert "done" == reply.result(timeout=SECONDS)
        eventually(lambda: not ref.is_alive(), SECONDS)

    assert ["request", "exit"] == rungs(logs, "/system/polite")
    assert not note.exists()


def test_each_rung_has_a_time_of_its_own(start_method: Any) -> None:
    took: dict[str, float] = {}
    with capture_logs() as logs, ActorSystem(start_method=start_method) as system:
        for name, kind, ignore in (("yields", Stubborn, False), ("refuses", Stubborn, True), ("deaf", Deaf, True)):
            ref = system.spawn(kind(), name=name, shutdown=0.4, term_grace=0.3)
            pid = pid_of(ref)
            if kind is Stubborn:
                ref.tell("hang", ignore)
                wait_for_handler(ref, "hang")
            began = time.monotonic()
            ref.stop()
            wait_for_end(pid)
            took[name] = time.monotonic() - began
        eventually(lambda: not system.actors(), SECONDS)

    assert ["request", "SIGTERM", "exit"] == rungs(logs, "/system/yields")
    assert ["request", "SIGTERM", "SIGKILL", "exit"] == rungs(logs, "/system/refuses")
    assert ["request", "SIGTERM", "SIGKILL", "exit"] == rungs(logs, "/system/deaf")
    assert ["shutdown=0.4 s is over", "term_grace=0.3 s is over"] == limits_over(logs, "/system/refuses")
    seconds = [log["seconds"] for log in logs if log["event"] == "actors.stop_escalated"]
    assert min(seconds) >= 0.4
    assert {0, 1} == {log["queued_messages"] for log in logs if log["event"] == "actors.stop_escalated"}
    assert 0.4 <= took["yields"] < 4.0
    assert 0.7 <= took["refuses"] < 7.0
    assert 0.7 <= took["deaf"] < 7.0
    assert {"requested"} == {log["kind"] for log in logs if log["event"] == "actors.child_exited"}


def test_no_time_for_a_request_means_a_kill_at_once(start_method: Any) -> None:
    with capture_logs() as logs, ActorSystem(start_method=start_method) as system:
        ref = system.spawn(Deaf(), name="deaf", shutdown=0, term_grace=SECONDS)
        pid = pid_of(ref)
        ref.stop()
        eventually(lambda: is_gone(pid), SECONDS)
        eventually(lambda: not system.actors(), SECONDS)

    assert ["SIGKILL", "exit"] == rungs(logs, "/system/deaf")
    assert ["shutdown=0: it is killed at once"] == limits_over(logs, "/system/deaf")


def test_the_last_rung_takes_what_an_actor_has_started_along(start_method: Any) -> None:
    with ActorSystem(start_method=start_method) as system:
        ref = system.spawn(Stubborn(), name="stubborn", shutdown=0.1, term_grace=0.1)
        pid, helper = pid_of(ref), ref.ask(Stubborn.start_helper).result(timeout=SECONDS)
        ref.tell(Stubborn.hang, True)
        eventually(lambda: ref.statistics().handler == "hang", SECONDS)
        ref.stop()
        eventually(lambda: is_gone(pid) and is_gone(helper), SECONDS)


def test_a_tree_of_actors_that_refuse_every_rung_ends_within_its_deadline(start_method: Any) -> None:
    inner = Supervisor("inner", children=[child(Deaf(), name=f"i{number}") for number in range(10)])
    tree = Supervisor("app", children=[*(child(Deaf(), name=f"d{number}") for number in range(10)), inner])
    with pytest.raises(LookupError), ActorSystem(tree, start_method=start_method, shutdown_deadline=1.0) as system:
        pids = [pid_of(system.whereis(f"{where}{number}")) for number in range(10) for where in "di"]
        began = time.monotonic()
        raise LookupError

    took = time.monotonic() - began
    print(f"{start_method}: 20 actors that refuse every rung, deadline 1 s, ended after {took:.2f} s")
    assert 1.0 <= took < 10.0
    assert all(map(is_gone, pids))


def test_a_tree_with_an_actor_that_is_stopped_dead_ends_within_its_deadline(start_method: Any) -> None:
    tree = Supervisor("app", children=[child(Worker(), name=f"w{number}") for number in range(3)])
    with (
        capture_logs() as logs,
        pytest.raises(LookupError),
        ActorSystem(tree, start_method=start_method, shutdown_deadline=1.0) as system,
    ):
        pids = [pid_of(system.whereis(f"w{number}")) for number in range(3)]
        os.kill(pids[1], signal.SIGSTOP)
        began = time.monotonic()
        raise LookupError

    assert ["shutdown_deadline=1 s is over"] == limits_over(logs, "/app/w1")
    assert 1.0 <= time.monotonic() - began < 10.0
    assert all(map(is_gone, pids))


# --- starts that have to wait -----------------------------------------------------------------------------------------------


@contextmanager
def no_descriptors() -> Iterator[None]:
    """This process may open no file that is not open already."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")), limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_restart_waits_while_the_host_has_no_descriptors_and_counts_for_nothing(start_method: Any) -> None:
    tree = Supervisor("app", max_restarts=1, period=60.0)
    with capture_logs() as logs, ActorSystem(tree, start_method=start_method) as system:
        worker = system.spawn(Worker(), name="worker", backoff=AT_ONCE)
        pid = pid_of(worker)
        with no_descriptors():
            os.kill(pid, signal.SIGKILL)
            eventually(lambda: "actors.start_postponed" in [log["event"] for log in logs], SECONDS)
            waiting = worker.ask(Worker.add, 1)
        assert 1 == waiting.result(timeout=SECONDS)
        assert pid != pid_of(worker)

    (postponed,) = [log for log in logs if log["event"] == "actors.start_postponed"]
    assert ("/app/worker", 2, "warning") == (postponed["path"], postponed["incarnation"], postponed["log_level"])
    assert "descriptors" in postponed["reason"]
    kinds = [log["kind"] for log in logs if log["event"] == "actors.child_exited"]
    assert ["signal", "requested"] == kinds


def test_a_shortage_that_lasts_counts_in_the_end(start_method: Any) -> None:
    tree = Supervisor("app", max_restarts=1, period=60.0)
    system = ActorSystem(tree, start_method=start_method).start()
    worker = system.spawn(
        Worker(), name="worker", backoff=AT_ONCE, start_timeout=4.0 if start_method == "spawn" else 0.5
    )
    pid = pid_of(worker)
    with no_descriptors():
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: not system.is_running(), SECONDS)

    with pytest.raises(RestartIntensityError):
        system.stop()


def test_a_stop_does_not_wait_for_a_restart_that_waits_for_descriptors(start_method: Any) -> None:
    with capture_logs() as logs, ActorSystem(start_method=start_method) as system:
        worker = system.spawn(Worker(), name="worker", backoff=AT_ONCE)
        pid = pid_of(worker)
        with no_descriptors():
            os.kill(pid, signal.SIGKILL)
            eventually(lambda: "actors.start_postponed" in [log["event"] for log in logs], SECONDS)
            began = time.monotonic()
            worker.stop()
            eventually(lambda: not system.actors(), SECONDS)
            assert time.monotonic() - began < 1.0
