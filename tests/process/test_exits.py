"""All twelve kinds of death, made to happen with real processes: each is told apart, with its status and its proof."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import attrs
import pytest

from actors import Actor, ActorRef, ActorSystem, CrashReport, ExitReason, StartError
from actors._zygote import zygote
from actors.supervisor._exits import EXIT_KINDS
from tests.broken_import import Imported
from tests.casualties import Casualty, DiesOnStart, LeavesOnStart, RaisesOnStart, WaitsOnStart, reason_of
from tests.helpers import eventually

SECONDS = 10.0
PEAK = "its resident memory is the peak that the kernel reports"
READ = "its resident memory was read before the kill"


@attrs.define
class Scene:
    """A running system, and what has been told of deaths in it."""

    system: ActorSystem
    method: str
    folder: Path
    reports: list[CrashReport] = attrs.Factory(list)

    def spawn(self, actor: Actor | None = None, **options: Any) -> ActorRef[Any]:
        return self.system.spawn(actor or Casualty(), restart="temporary", **options)

    def pid_of(self, ref: ActorRef[Any]) -> int:
        return int(ref.ask("pid_of").result(timeout=SECONDS))

    def renew_forkserver(self) -> None:
        """Have a new one, with the environment as it is now."""
        if self.method == "forkserver":
            zygote.stop()
            self.pid_of(self.spawn())

    def kill(self, ref: ActorRef[Any], why: str) -> None:
        """What a watcher of the supervisor does."""
        runner = self.system._life.running().runner
        cell = runner.cells[ref.uid]
        assert cell.body is not None
        body = cell.body
        self.system._life.call(lambda _host: runner.kill(cell, body, why))

    def reason_of(self, ref: ActorRef[Any]) -> ExitReason:
        return reason_of(self.system, ref)


def told(handler: str, *arguments: object) -> Callable[[Scene], ExitReason]:
    def provoke(scene: Scene) -> ExitReason:
        ref = scene.spawn()
        ref.tell(handler, *arguments)
        return scene.reason_of(ref)

    return provoke


def signalled(number: int) -> Callable[[Scene], ExitReason]:
    def provoke(scene: Scene) -> ExitReason:
        ref = scene.spawn()
        os.kill(scene.pid_of(ref), number)
        return scene.reason_of(ref)

    return provoke


def killed_for(why: str) -> Callable[[Scene], ExitReason]:
    def provoke(scene: Scene) -> ExitReason:
        ref = scene.spawn()
        ref.tell("wait")
        eventually(lambda: ref.statistics().handler == "wait", SECONDS)
        scene.kill(ref, why)
        return scene.reason_of(ref)

    return provoke


def stopped(scene: Scene) -> ExitReason:
    ref = scene.spawn()
    ref.stop()
    return scene.reason_of(ref)


def stopped_in_vain(scene: Scene) -> ExitReason:
    ref = scene.spawn(shutdown=0.0)
    ref.stop()
    return scene.reason_of(ref)


def started(actor: Callable[[], Actor], **options: Any) -> Callable[[Scene], ExitReason]:
    def provoke(scene: Scene) -> ExitReason:
        with pytest.raises(StartError) as failed:
            scene.spawn(actor(), **options)
        reason: ExitReason | None = failed.value.reason
        assert reason is not None
        return reason

    return provoke


def not_imported(scene: Scene) -> ExitReason:
    if scene.method == "fork":
        pytest.skip("a fork has imported what its host has")
    os.environ["ACTORS_TEST_BREAKS_IMPORT"] = "1"
    try:
        scene.renew_forkserver()
        return started(Imported)(scene)
    finally:
        del os.environ["ACTORS_TEST_BREAKS_IMPORT"]
        scene.renew_forkserver()


def never_ready(scene: Scene) -> ExitReason:
    return started(lambda: WaitsOnStart(str(scene.folder / "sign")), start_timeout=2.0)(scene)


def status_lost(scene: Scene) -> ExitReason:
    # As on kernels that do not remember the status of a process which somebody else has reaped.
    with mock.patch("actors.supervisor._burials.read_status", return_value=None):
        return not_told(scene)


def not_told(scene: Scene) -> ExitReason:
    """Nobody says how it ended: the forkserver is dead, or somebody else reaps."""
    ref = scene.spawn()
    pid = scene.pid_of(ref)
    if scene.method == "forkserver":
        zygote.kill()
        os.kill(pid, signal.SIGKILL)
        reason = scene.reason_of(ref)
        scene.renew_forkserver()
        return reason
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps, and nobody learns the status
    try:
        os.kill(pid, signal.SIGKILL)
        return scene.reason_of(ref)
    finally:
        signal.signal(signal.SIGCHLD, before)


@attrs.frozen
class Case:
    """One way to end, and what is to be said of it."""

    kind: str
    provoke: Callable[[Scene], ExitReason]
    exit_code: int | None
    signal: str | None
    proof: str
    rss: str | None = PEAK


CASES = {
    "exit 0": Case("normal", told("leave", 0), 0, None, "exit code 0"),
    "stops itself": Case("normal", told("stop_itself"), 0, None, "exit code 0"),
    "stopped": Case("requested", stopped, 0, None, "left when asked to"),
    "killed to stop": Case("requested", stopped_in_vain, -9, "SIGKILL", "killed at the end of a stop", READ),
    "exception": Case("crash", told("fail", "broken"), 1, None, "wrote a crash report"),
    "exit 3": Case("crash", told("leave", 3), 3, None, "exit code above 0, and no exception"),
    "import error": Case("boot_failure", not_imported, 1, None, "not ready yet"),
    "on_start raises": Case("boot_failure", started(RaisesOnStart), 1, None, "not ready yet"),
    "on_start is killed": Case("boot_failure", started(DiesOnStart), -9, "SIGKILL", "not ready yet"),
    "on_start leaves": Case("boot_failure", started(LeavesOnStart), 9, None, "not ready yet"),
    "never ready": Case("boot_timeout", never_ready, -9, "SIGKILL", "killed: not ready in time", READ),
    "hangs": Case("hang", killed_for("hang"), -9, "SIGKILL", "killed for hanging", READ),
    "too large": Case("memory_limit", killed_for("memory_limit"), -9, "SIGKILL", "killed for its memory", READ),
    "SIGKILL from outside": Case("signal", signalled(signal.SIGKILL), -9, "SIGKILL", "ended by a signal"),
    "SIGSEGV from outside": Case("signal", signalled(signal.SIGSEGV), -11, "SIGSEGV", "ended by a signal"),
    "garbage": Case("protocol", told("write_garbage"), -9, "SIGKILL", "its bytes were no messages", READ),
    "host gone": Case("supervisor_lost", told("leave_at_once", 113), 113, None, "left because its host was gone"),
    "status lost": Case("unknown", status_lost, None, None, "no status to be had", None),
}


@pytest.fixture
def scene(start_method: Any, tmp_path: Path) -> Iterator[Scene]:
    reports: list[CrashReport] = []
    with ActorSystem(start_method=start_method, on_crash=reports.append) as system:
        yield Scene(system, start_method, tmp_path, reports)


def status_of(exit_code: int | None) -> int | None:
    return None if exit_code is None else exit_code << 8 if exit_code >= 0 else -exit_code


@pytest.mark.conformance
@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])
def test_a_death_has_its_kind_its_status_and_its_proof(case: Case, scene: Scene) -> None:
    reason = case.provoke(scene)

    assert case.kind == reason.kind, reason
    assert case.exit_code == reason.exit_code
    assert status_of(case.exit_code) == (None if reason.status is None else reason.status & ~0x80)  # 0x80: dumped core
    assert case.signal == reason.signal
    assert case.proof == reason.evidence[0]
    if case.rss is None:
        assert reason.rss is None
    else:
        assert case.rss in reason.evidence
        assert reason.rss is not None
        assert 1 << 20 < reason.rss < 1 << 32
    quiet = case.kind in {"normal", "requested"}
    eventually(lambda: quiet or scene.reports, SECONDS)
    assert ([] if quiet else [(reason.kind, reason.status)]) == [(r.kind, r.status) for r in scene.reports]


def test_every_kind_is_made_to_happen() -> None:
    happen_elsewhere = {"oom_kernel"}  # test_oom.py

    assert {case.kind for case in CASES.values()} | happen_elsewhere == set(EXIT_KINDS)
