"""One report for each abnormal death: complete, JSON-able, written once, and never a burden to anybody else."""

from __future__ import annotations

import itertools
import json
import os
import platform
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
import structlog
from structlog.testing import capture_logs

from actors import ActorRef, ActorSystem, Backoff, CrashReport, SpecError, StartError, Supervisor
from tests.casualties import Casualty, RaisesOnStart, Speechless, reason_of
from tests.helpers import eventually
from tests.leaks import open_descriptors

SECONDS = 10.0
AT_ONCE = Backoff(initial=0.0, maximum=0.001, jitter=0.0)

Reports = list[CrashReport]


@pytest.fixture
def reports() -> Reports:
    return []


@pytest.fixture
def system(start_method: Any, reports: Reports) -> Iterator[ActorSystem]:
    with ActorSystem(start_method=start_method, on_crash=reports.append) as running:
        yield running


def spawn(system: ActorSystem, **options: Any) -> ActorRef[Casualty]:
    return system.spawn(Casualty(), **{"restart": "temporary", **options})


def pid_of(ref: ActorRef[Casualty]) -> int:
    return ref.ask(Casualty.pid_of).result(timeout=SECONDS)


def one(reports: Reports) -> CrashReport:
    eventually(lambda: reports, SECONDS)
    assert len(reports) == 1
    return reports[0]


def test_a_report_says_all_that_is_known(start_method: Any, reports: Reports) -> None:
    inner = Supervisor("inner", max_restarts=10)
    tree = Supervisor("app", children=[inner])
    began = datetime.now(UTC)
    with ActorSystem(tree, start_method=start_method, on_crash=reports.append) as system:
        ref = system.supervisor("/app/inner").spawn(Casualty(), name="one", backoff=AT_ONCE)
        pid = pid_of(ref)
        for _ in range(3):
            ref.tell(Casualty.fine)
        ref.tell(Casualty.wait)
        for _ in range(5):
            ref.tell(Casualty.fine, "secret")
        eventually(lambda: ref.statistics().handler == "wait", SECONDS)
        ref.flush()
        os.kill(pid, signal.SIGKILL)
        report = one(reports)
        assert pid != pid_of(ref)

    assert (system.name, "/app/inner/one", ref.uid, 1) == (report.system, report.path, report.uid, report.incarnation)
    assert "tests.casualties.Casualty" == report.class_name
    assert ("signal", -9, 9, "SIGKILL") == (report.kind, report.exit_code, report.status, report.signal)
    assert "was killed by SIGKILL (exit -9)" == report.reason
    assert (None, "") == (report.error, report.stack)
    assert "wait" == report.handler
    assert report.handler_seconds is not None
    assert 0.0 < report.handler_seconds < SECONDS
    assert ("pid_of", "fine", "fine", "fine", "wait") == report.recent
    assert 5 == report.queued_messages
    assert 50 < (report.queued_bytes or 0) < 500
    assert 5 == report.handled  # with the one that it died of
    assert report.uptime is not None
    assert report.handler_seconds < report.uptime < 2 * SECONDS
    assert 0 == report.restarts
    assert report.rss == report.peak_rss
    assert (report.peak_rss or 0) > 1 << 20
    assert 0.0 < (report.cpu_seconds or 0.0) < SECONDS
    assert "ended by a signal" == report.evidence[0]
    assert ("/app/inner", "/app") == report.ancestors
    assert (platform.node(), pid, start_method) == (report.host, report.pid, report.start_method)
    assert platform.python_version() == report.python_version
    assert began <= datetime.fromisoformat(report.time) <= datetime.now(UTC)
    assert 1 == report.attempts
    assert "restarted at once (restart 1 of 10 in 5 s)" == report.then
    assert "secret" not in json.dumps(report.to_dict(), allow_nan=False)


def test_an_exception_comes_with_its_traceback_and_its_handler(system: ActorSystem, reports: Reports) -> None:
    spawn(system).tell(Casualty.fail, "broken")
    report = one(reports)

    assert ("crash", 1, "crashed: ValueError: broken (exit 1)") == (report.kind, report.exit_code, report.reason)
    assert report.error is not None
    assert ("ValueError", "broken") == (report.error["type"], report.error["text"])
    assert "in fail" in report.error["traceback"]
    assert ("fail", 1) == (report.handler, report.attempts)


def test_how_often_it_died_of_the_same_message_is_counted(start_method: Any, reports: Reports) -> None:
    with ActorSystem(Supervisor("app", max_restarts=10), start_method=start_method, on_crash=reports.append) as system:
        ref = spawn(system, restart="permanent", redeliver=2, backoff=AT_ONCE)
        ref.tell(Casualty.leave_at_once, 4)
        pid = ref.ask(Casualty.pid_of).result(timeout=50.0)
        # An answer comes before its message counts as handled.
        eventually(lambda: ref.statistics().state == "idle", SECONDS)
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: len(reports) == 4, SECONDS)

    assert [1, 2, 3, 0] == [report.attempts for report in reports]
    assert [0, 1, 2, 3] == [report.restarts for report in reports]


def test_nothing_is_reported_of_an_end_that_was_wanted(system: ActorSystem, reports: Reports) -> None:
    quiet = [spawn(system, shutdown=0.0), spawn(system), spawn(system)]
    quiet[0].stop()
    quiet[1].stop()
    quiet[2].tell(Casualty.leave, 0)
    for ref in quiet:
        reason_of(system, ref)
    spawn(system).tell(Casualty.leave, 3)

    assert ("crash", "gone for good") == (one(reports).kind, reports[0].then)


def test_a_start_that_fails_is_reported(system: ActorSystem, reports: Reports) -> None:
    with pytest.raises(StartError):
        system.spawn(RaisesOnStart())
    report = one(reports)

    assert "boot_failure" == report.kind
    assert report.error is not None
    assert "no configuration" == report.error["text"]
    assert (None, ()) == (report.handler, report.recent)


# --- hostile ----------------------------------------------------------------------------------------------------------------


def test_junk_in_its_recorder_leaves_a_report_without_what_it_said(system: ActorSystem, reports: Reports) -> None:
    spawn(system).tell(Casualty.spoil_its_recorder)
    report = one(reports)

    assert ("crash", 5) == (report.kind, report.exit_code)
    assert (None, None, 0) == (report.handler, report.handler_seconds, report.attempts)
    assert len(json.dumps(report.to_dict(), allow_nan=False)) < 10_000


def test_an_exception_that_cannot_be_shown_is_reported(system: ActorSystem, reports: Reports) -> None:
    spawn(system).tell(Casualty.fail_speechless)
    report = one(reports)

    assert report.error is not None
    assert f"{Speechless.__module__}.{Speechless.__qualname__}" == report.error["type"]


def test_a_long_text_is_one_short_line_in_the_log_and_whole_in_the_report(
    system: ActorSystem, reports: Reports
) -> None:
    text = "long \n\udc80" * 2000
    with capture_logs() as logs:
        spawn(system).tell(Casualty.fail, text)
        report = one(reports)

    lines = [log["reason"] for log in logs if log["event"] == "actors.child_exited"]
    assert len(lines) == 1
    assert len(lines[0]) < 600
    assert "\n" not in lines[0]
    assert report.error is not None
    assert text == report.error["text"]
    assert json.loads(json.dumps(report.to_dict()).encode("ascii"))["error"]["text"] == text.replace("\udc80", "?")


def test_a_hook_that_raises_hurts_nobody(start_method: Any, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def hook(_report: CrashReport) -> None:
        raise RuntimeError("the hook is broken")

    with ActorSystem(start_method=start_method, on_crash=hook, crash_directory=tmp_path) as system:
        for _ in range(2):
            spawn(system).tell(Casualty.leave, 3)
        eventually(lambda: len(list(tmp_path.glob("*.json"))) == 2, SECONDS)

    assert "the hook is broken" in capfd.readouterr().err


@pytest.mark.parametrize("crashes", [100, pytest.param(1000, marks=[pytest.mark.soak, pytest.mark.timeout(600)])])
def test_many_crashes_in_a_row_leave_what_is_kept_and_nothing_else(crashes: int, tmp_path: Path) -> None:
    (tmp_path / "mine.json").touch()
    count = [0]

    def hook(_report: CrashReport) -> None:
        count[0] += 1

    tree = Supervisor("app", max_restarts=10_000, period=60.0)
    with ActorSystem(tree, start_method="fork", on_crash=hook, crash_directory=tmp_path, crash_keep=7) as system:
        ref = spawn(system, restart="permanent", backoff=AT_ONCE)
        pid_of(ref)
        before = len(open_descriptors())
        for _ in range(crashes):
            ref.tell(Casualty.leave_at_once, 3)
        ref.ask(Casualty.pid_of).result(timeout=0.5 * crashes)
        eventually(lambda: count[0] == crashes, SECONDS)
        eventually(lambda: len(open_descriptors()) <= before, SECONDS)

    names = sorted(path.name for path in tmp_path.iterdir())
    assert 8 == len(names)
    assert "mine.json" == names[-1]
    kept = [json.loads((tmp_path / name).read_text()) for name in names[:-1]]
    assert list(range(crashes - 6, crashes + 1)) == [report["incarnation"] for report in kept]


# --- where reports go -------------------------------------------------------------------------------------------------------


def test_a_file_holds_the_report(start_method: Any, reports: Reports, tmp_path: Path) -> None:
    folder = tmp_path / "made" / "when needed"
    with ActorSystem(start_method=start_method, on_crash=reports.append, crash_directory=folder) as system:
        spawn(system).tell(Casualty.fail, "broken")
        report = one(reports)

    (path,) = folder.iterdir()
    assert path.name.endswith("Z-000001-system.casualty-1.json")
    assert report.to_dict() == json.loads(path.read_text())


def test_a_directory_that_goes_away_is_one_warning(start_method: Any, reports: Reports, tmp_path: Path) -> None:
    folder = tmp_path / "reports"
    with (
        capture_logs() as logs,
        ActorSystem(start_method=start_method, on_crash=reports.append, crash_directory=folder) as system,
    ):
        folder.touch()  # a file where the directory is to be
        for number in range(3):
            spawn(system).tell(Casualty.leave, 3)
            eventually(lambda count=number + 1: len(reports) == count, SECONDS)  # type: ignore[misc]

    assert 1 == len([log for log in logs if log["event"] == "actors.crash_file_failed"])


def test_a_directory_that_cannot_be_is_refused_by_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    system = ActorSystem(crash_directory=tmp_path / "file" / "below")

    with pytest.raises(SpecError, match="crash_directory"):
        system.start()

    assert not system.is_running()


def test_one_event_has_the_fields_of_the_report(system: ActorSystem, reports: Reports) -> None:
    with capture_logs() as logs:
        spawn(system).tell(Casualty.fail, "broken")
        report = one(reports)

    (event,) = [log for log in logs if log["event"] == "actors.crash_report"]
    (line,) = [log for log in logs if log["event"] == "actors.child_exited"]
    assert "error" == event["log_level"]
    assert "ValueError" == event["error"]["type"]
    assert "in fail" in event["stack"]
    missing = {field.name for field in attrs.fields(CrashReport)} - set(event)
    assert {"status", "signal"} >= {name for name in missing if getattr(report, name) is not None}
    assert "traceback" not in line


def test_a_program_that_has_configured_nothing_gets_a_readable_text(
    system: ActorSystem, reports: Reports, capfd: pytest.CaptureFixture[str]
) -> None:
    structlog.reset_defaults()  # what other tests have configured
    spawn(system).tell(Casualty.fail, "broken")
    one(reports)

    lines = capfd.readouterr().err.splitlines()
    begin = next(number for number, line in enumerate(lines) if "event=actors.crash_report" in line)
    stamp = lines[begin].split()[0].removeprefix("timestamp=")
    assert datetime.fromisoformat(stamp).utcoffset() == timedelta(0)
    block = list(itertools.takewhile(lambda line: not line.startswith("timestamp="), lines[begin + 1 :]))
    assert "handler   fail" in block[0]
    assert "    Traceback (most recent call last):" in block
    assert "    ValueError: broken" in block
    assert all(line.startswith("    ") or not line for line in block)


@pytest.mark.parametrize(
    "options",
    [
        {"on_crash": "nothing to call"},
        {"crash_directory": 7},
        {"crash_directory": b"bytes"},
        {"crash_directory": ""},
        {"crash_directory": "/dev/null"},
        {"crash_keep": 0},
        {"crash_keep": True},
        {"crash_keep": 1.5},
        {"crash_keep": 10**9},
    ],
)
def test_options_that_cannot_be_are_refused_at_once(options: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=next(iter(options))):
        ActorSystem(**options)
