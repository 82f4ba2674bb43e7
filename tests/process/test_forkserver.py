"""The forkserver is a helper: whatever becomes of it, no actor is touched, and the next start has one."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from actors import ActorRef, ActorSystem, Backoff, StartError, _descriptors, _status
from actors._internals import spawn
from actors._launch import exit_code
from actors._zygote import zygote
from actors.supervisor import _burials
from actors.supervisor._births import Births
from actors.supervisor._cells import Body
from tests import scripts
from tests.helpers import eventually
from tests.troupe import Worker

SECONDS = 20.0
ACTORS = 20
AT_ONCE = Backoff(initial=0.0, maximum=0.001, jitter=0.0)


@pytest.fixture
def system() -> Iterator[ActorSystem]:
    with ActorSystem() as running:
        yield running


def forkserver() -> int:
    assert zygote.pid is not None
    return zygote.pid


def pid_of(ref: ActorRef[Any]) -> int:
    return int(ref.ask("pid_of").result(timeout=SECONDS))


def troupe(system: ActorSystem) -> dict[ActorRef[Worker], int]:
    refs = [system.spawn(Worker(), name=f"w{number}", backoff=AT_ONCE) for number in range(ACTORS)]
    return {ref: pid_of(ref) for ref in refs}


def replacements(logs: list[Any]) -> list[int]:
    return [log["pid"] for log in logs if log["event"] == "actors.forkserver_replaced"]


def processes_called(name: str) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and (folder / "comm").read_text() == f"{name}\n":
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def test_a_killed_forkserver_is_replaced_and_no_actor_restarted_or_doubled(system: ActorSystem) -> None:
    with capture_logs() as logs:
        pids, old = troupe(system), forkserver()
        os.kill(old, signal.SIGKILL)
        another = system.spawn(Worker(), name="another")

        assert pid_of(another)
        assert forkserver() != old
        assert {ref: pid_of(ref) for ref in pids} == pids
        assert {info.incarnation for info in system.actors()} == {1}
        eventually(lambda: replacements(logs) == [old], state=lambda: logs)
        assert pid_of(system.spawn(Worker(), name="yet-another"))
    assert replacements(logs) == [old]


def test_a_stopped_forkserver_delays_one_restart_and_touches_nobody(system: ActorSystem) -> None:
    with capture_logs() as logs:
        pids, old = troupe(system), forkserver()
        victim = system.spawn(Worker(), name="victim", backoff=AT_ONCE)
        pid = pid_of(victim)
        os.kill(old, signal.SIGSTOP)
        began = time.monotonic()
        os.kill(pid, signal.SIGKILL)

        assert pid_of(victim) != pid
        print(f"restarted {(time.monotonic() - began) * 1000:.0f} ms after the end, with a forkserver stopped")
        assert {ref: pid_of(ref) for ref in pids} == pids
        eventually(lambda: replacements(logs) == [old], state=lambda: logs)
    assert replacements(logs) == [old]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=lambda number: number.name)
def test_a_death_that_no_forkserver_reports_is_never_given_a_false_status(
    system: ActorSystem, number: signal.Signals
) -> None:
    with capture_logs() as logs:
        workers = [system.spawn(Worker(), name=f"w{one}", restart="temporary") for one in range(4)]
        old = forkserver()
        os.kill(old, number)
        began = time.monotonic()
        os.kill(pid_of(workers[0]), signal.SIGKILL)
        workers[1].tell(Worker.leave_at_once, 7)
        workers[2].tell(Worker.fail, "as reported")
        workers[3].tell(Worker.segfault)
        for worker in workers:
            eventually(lambda worker=worker: not worker.is_alive(), SECONDS)  # type: ignore[misc]
        seconds = time.monotonic() - began
        assert pid_of(system.spawn(Worker(), name="next"))

    seen = {
        log["path"][-2:]: (log["kind"], log.get("exit_code")) for log in logs if log["event"] == "actors.child_exited"
    }
    told = {"w0": ("signal", -9), "w1": ("crash", 7), "w2": ("crash", 1), "w3": ("signal", -11)}
    for name, ending in seen.items():
        assert ending in {told[name], ("unknown", None), ("crash", None)}, name
    if number is signal.SIGSTOP:
        # Not reaped yet, so that the kernel shows it.
        assert seen == told
    print(f"{number.name}: {seen}, after {seconds * 1000:.0f} ms")


def test_where_the_kernel_says_nothing_the_end_is_unknown(system: ActorSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_burials, "read_status", lambda _pid, _pidfd: None)
    with capture_logs() as logs:
        worker = system.spawn(Worker(), name="worker", restart="temporary")
        os.kill(forkserver(), signal.SIGKILL)
        os.kill(pid_of(worker), signal.SIGKILL)
        eventually(lambda: not worker.is_alive(), SECONDS)
        assert pid_of(system.spawn(Worker(), name="next"))

    assert [log["kind"] for log in logs if log["event"] == "actors.child_exited"][:1] == ["unknown"]
    assert _status.read_status is not None


def test_a_forkserver_that_ends_in_the_middle_of_a_start_costs_that_start_nothing_but_time(
    system: ActorSystem,
) -> None:
    with capture_logs() as logs:
        system.spawn(Worker(), name="first")
        for number in range(5):
            old = forkserver()
            # Stopped, it cannot answer: the start is under way until it is killed.
            os.kill(old, signal.SIGSTOP)
            ref = system.spawn(Worker(), name=f"late-{number}", wait=False)
            reply = ref.ask(Worker.pid_of)
            os.kill(old, signal.SIGKILL)

            pid = reply.result(timeout=SECONDS)
            assert ref.incarnation == 1
            assert processes_called(f"late-{number}") == [pid]
    assert len(replacements(logs)) == 5


def test_a_forkserver_that_ends_behind_a_start_costs_the_new_process_nothing(
    system: ActorSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = Births._hold

    def launched(self: Births, cell: Any, body: Body, process: Any, error: Any) -> None:
        """The news of the start is quicker than the hello of the process, and that of the forkserver's end quicker than both."""
        if body.claimed is not None:
            _descriptors.close(body.claimed[1])
            body.claimed = None
        os.kill(forkserver(), signal.SIGKILL)
        eventually(lambda: exit_code(process) == (None, False), SECONDS)
        launch(self, cell, body, process, error)

    def note_hold(self: Births, cell: Any, body: Body) -> None:
        held.append(cell.path)
        hold(self, cell, body)

    launch, held = Births._launched, list[str]()
    monkeypatch.setattr(Births, "_launched", launched)
    monkeypatch.setattr(Births, "_hold", note_hold)
    worker = system.spawn(Worker(), name="worker")
    monkeypatch.undo()

    assert held == ["/system/worker"]
    assert processes_called("worker") == [pid_of(worker)]
    assert worker.incarnation == 1


def test_random_ends_of_the_forkserver_while_actors_start(system: ActorSystem) -> None:
    refs = []
    for number in range(20):
        refs.append(system.spawn(Worker(), name=f"r{number}", wait=False, start_timeout=10.0, backoff=AT_ONCE))
        if number % 4 == 3:
            assert pid_of(refs[-3])
            os.kill(forkserver(), signal.SIGKILL)
    pids = [pid_of(ref) for ref in refs]

    assert len(set(pids)) == len(refs)
    assert all(processes_called(f"r{number}") == [pid] for number, pid in enumerate(pids))


# --- what is imported before the first fork


def test_a_module_that_leaves_a_thread_running_is_not_imported_before_a_fork(tmp_path: Path) -> None:
    scripts.write(
        tmp_path,
        """
        import threading
        threading.Thread(target=threading.Event().wait, daemon=True, name="poller").start()
        """,
        "restless.py",
    )
    scripts.write(
        tmp_path,
        """
        import restless
        from actors import Actor, handler

        class Quiet(Actor):
            @handler
            def ready(self) -> bool:
                return True
        """,
        "quiet.py",
    )
    script = scripts.write(
        tmp_path,
        """
        import importlib, os
        from actors import ActorSystem, Supervisor
        from actors._zygote import zygote

        if __name__ == "__main__":
            tree = Supervisor("app", children=[importlib.import_module("quiet").Quiet()])
            with ActorSystem(tree) as system:
                print(system.whereis("quiet").ask("ready").result(timeout=20))
                for entry in system.preload_report():
                    assert entry["error"] is None and entry["seconds"] >= 0 and entry["megabytes"] < 1000
                    print(entry["module"].split(" ")[0], *entry["threads"])
                print(len(os.listdir(f"/proc/{zygote.pid}/task")), "thread")
        """,
    )
    ended = scripts.run(script)

    assert ended.code == 0, ended.err
    assert ended.out.splitlines() == ["True", "quiet poller", "actors", "actors._child", "__main__", "1 thread"]
    assert "event=actors.preload_refused module=quiet threads=['poller']" in ended.err


def test_a_program_that_cannot_be_run_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    zygote.stop()
    monkeypatch.setattr(spawn, "get_executable", lambda: b"/bin/false")

    with (
        ActorSystem() as system,
        pytest.raises(StartError, match="5 times in a row; see whether /bin/false can be run"),
    ):
        system.spawn(Worker())


def test_arguments_and_paths_may_be_no_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    zygote.stop()
    monkeypatch.setattr(sys, "argv", [Path("program"), b"one"])
    monkeypatch.setattr(sys, "path", [*sys.path, Path("/nowhere"), b"/nowhere", None])

    with ActorSystem() as system:
        assert 1 == system.spawn(Worker()).ask(Worker.add, 1).result(timeout=SECONDS)


@pytest.mark.parametrize("folder", ["d" * 120, "missing"])
def test_it_needs_no_folder_for_temporary_files(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if folder != "missing":
        (tmp_path / folder).mkdir()
    zygote.stop()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / folder))

    with ActorSystem() as system:
        assert 1 == system.spawn(Worker()).ask(Worker.add, 1).result(timeout=SECONDS)
