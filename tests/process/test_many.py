"""As many actors as the machine allows, and one clear error beyond; and what is left of those that end by the hundred."""

from __future__ import annotations

import errno
import gc
import os
import re
import signal
import tempfile
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from actors import ActorSystem, Backoff, StartError, Supervisor
from actors.supervisor._cells import Body
from tests import scripts
from tests.helpers import eventually
from tests.process.test_start_errors import _needs_another_user
from tests.troupe import Worker

SECONDS = 20.0

MANY = """
    import os, resource, sys, time
    from actors import ActorSystem, Supervisor, child
    from tests.troupe import Worker

    if __name__ == "__main__":
        method, count = sys.argv[1], int(sys.argv[2])
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
        tree = Supervisor("app", children=[child(Worker(), name=f"w{number}") for number in range(count)])
        began = time.monotonic()
        with ActorSystem(tree, start_method=method) as system:
            started = time.monotonic()
            refs = [system.whereis(f"/app/w{number}") for number in range(count)]
            for _ in range(10):
                replies = [ref.ask(Worker.add, 1) for ref in refs]
                last = [reply.result(timeout=60) for reply in replies]
            assert last == [10] * count
            assert len({reply.result(timeout=60) for reply in [ref.ask(Worker.pid_of) for ref in refs]}) == count
            answered = time.monotonic()
            descriptors = len(os.listdir("/proc/self/fd"))
        ended = time.monotonic()
        print(f"{count} actors by {method}: started in {started - began:.2f} s, eleven answers of each in {answered - started:.2f} s, "
              f"stopped in {ended - answered:.2f} s; {descriptors} descriptors, processor of the host {time.process_time():.2f} s")
"""


def run_many(folder: Path, start_method: str, count: int, timeout: float) -> None:
    ended = scripts.run(scripts.write(folder, MANY), start_method, count, timeout=timeout)

    assert ended.code == 0, ended.err
    print(ended.out)


def test_sixty_actors_start_answer_and_stop(start_method: str, tmp_path: Path) -> None:
    run_many(tmp_path, start_method, 60, 45.0)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_three_hundred_actors_start_answer_and_stop(start_method: str, tmp_path: Path) -> None:
    run_many(tmp_path, start_method, 300, 500.0)


LIMITED = """
    import os, resource, sys, time
    from actors import ActorSystem, Backoff, StartError, Supervisor
    from tests.troupe import Worker

    if __name__ == "__main__":
        method, limit = sys.argv[1:3]
        number = resource.RLIMIT_NPROC if limit == "processes" else resource.RLIMIT_NOFILE
        if limit == "processes":
            os.setgid(54323)
            os.setuid(54323)
            resource.setrlimit(number, (1000, 1000))
        soft, hard = resource.getrlimit(number)
        patient = dict(backoff=Backoff(initial=0.05, factor=1.0, jitter=0.0))
        with ActorSystem(Supervisor("app", max_restarts=1000, period=100.0), start_method=method) as system:
            refs = [system.spawn(Worker(), name=f"w{one}", **patient) for one in range(4)]
            pids = [ref.ask(Worker.pid_of).result(timeout=20) for ref in refs]
            soft, hard = resource.getrlimit(number)
            resource.setrlimit(number, (3, hard))
            try:
                system.spawn(Worker(), name="late", **patient)
            except StartError as error:
                print(error)
            os.kill(pids[0], 9)
            while [info for info in system.actors() if info.path == "/app/w0" and info.pid == pids[0]]:
                time.sleep(0.01)
            time.sleep(0.3)  # it is tried again and again
            assert [ref.ask(Worker.pid_of).result(timeout=20) for ref in refs[1:]] == pids[1:]
            resource.setrlimit(number, (soft, hard))
            assert refs[0].ask(Worker.pid_of).result(timeout=20) not in pids
            assert [ref.ask(Worker.pid_of).result(timeout=20) for ref in refs[1:]] == pids[1:]
            print("restarted")
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can read."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        pytest.param("descriptors", r"it needs \d+ descriptors, \d+ of at most 3 are in use", id="ulimit -n"),
        pytest.param(
            "processes", r"needs 2 processes and threads, and user 54323 has \d+ of at most 3;", id="ulimit -u"
        ),
    ],
)
def test_a_limit_that_is_met_by_a_restart_is_named_and_the_restart_tried_again(
    open_folder: Path, start_method: str, limit: str, expected: str
) -> None:
    if limit == "processes":
        _needs_another_user()
    ended = scripts.run(scripts.write(open_folder, LIMITED), start_method, limit)

    assert ended.code == 0, ended.err + ended.out
    late, *_rest, restarted = ended.out.strip().split("\n")
    assert re.search(expected, late), late
    assert restarted == "restarted"
    of_it = [line for line in ended.err.split("\n") if "path=/app/w0" in line]
    postponed = [line for line in of_it if "start_postponed" in line]
    assert len(postponed) == 1
    assert re.search(expected, postponed[0]), postponed
    assert not any("kind=boot_failure" in line for line in of_it)


@pytest.mark.parametrize(
    ("where", "error"),
    [
        ("actors._limits.check_processes", StartError("it needs 2 processes")),
        ("actors.supervisor._starter.launch", BlockingIOError(errno.EAGAIN, "fork")),
        ("actors.supervisor._starter.launch", OSError(errno.ENOMEM, "fork")),
    ],
    ids=["counted", "refused", "memory"],
)
def test_a_restart_for_which_there_is_no_process_is_tried_again_and_not_counted(
    monkeypatch: pytest.MonkeyPatch, where: str, error: Exception
) -> None:
    refused = threading.Semaphore(0)

    def refuse(*_: object) -> None:
        refused.release()
        raise error

    with capture_logs() as logs, ActorSystem(Supervisor("app", max_restarts=1, period=60.0)) as system:
        worker = system.spawn(Worker(), name="worker", backoff=Backoff(initial=0.0, maximum=0.001, jitter=0.0))
        with monkeypatch.context() as patch:
            patch.setattr(where, refuse)
            worker.tell(Worker.fail, "as told")
            for _ in range(4):
                assert refused.acquire(timeout=SECONDS)
        assert 1 == worker.ask(Worker.add, 1).result(timeout=SECONDS)
        assert 2 == worker.incarnation

    assert [log["log_level"] for log in logs if log["event"] == "actors.start_postponed"] == ["warning"]


def test_a_restart_that_is_given_up_for_lack_of_processes_leaves_no_mark_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "fork")

    with ActorSystem(Supervisor("app", max_restarts=1, period=60.0)) as system:
        worker = system.spawn(Worker(), name="worker", backoff=Backoff(initial=0.0, maximum=0.001, jitter=0.0))
        host = system._life.host
        assert host is not None
        with capture_logs() as logs, monkeypatch.context() as patch:
            patch.setattr("actors.supervisor._starter.launch", refuse)
            worker.tell(Worker.fail, "as told")
            eventually(lambda: any(log["event"] == "actors.start_postponed" for log in logs), SECONDS)
            worker.stop()
            eventually(lambda: not worker.is_alive(), SECONDS)

        eventually(lambda: not host.sweeper._living, SECONDS, state=lambda: host.sweeper._living)


def test_nothing_holds_an_incarnation_that_is_buried(start_method: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bodies: weakref.WeakSet[Body] = weakref.WeakSet()
    made = Body.__init__

    def make(body: Body, *args: Any, **kwargs: Any) -> None:
        made(body, *args, **kwargs)
        bodies.add(body)

    monkeypatch.setattr(Body, "__init__", make)
    tree = Supervisor("app", max_restarts=1000, period=1.0)
    with ActorSystem(tree, start_method=start_method) as system:
        worker = system.spawn(Worker(), name="worker", backoff=Backoff(initial=0.0, maximum=0.001, jitter=0.0))
        for _ in range(10):
            pid = worker.ask(Worker.pid_of).result(timeout=SECONDS)
            os.kill(pid, signal.SIGKILL)
            eventually(lambda pid=pid: system.actors()[0].pid not in {pid, None}, SECONDS)  # type: ignore[misc]
        assert worker.ask(Worker.pid_of).result(timeout=SECONDS)
        # Less than any timer of theirs runs; the last one may still be on somebody's stack.
        eventually(lambda: gc.collect() >= 0 and len(bodies) <= 2, 1.0, state=lambda: len(bodies))
