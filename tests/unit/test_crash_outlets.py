"""Files of crash reports: named by time, bounded in number, and a warning where the disk takes none."""

from __future__ import annotations

import contextlib
import json
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import attrs
import pytest
import structlog
from structlog.testing import capture_logs

from actors._crash_outlets import CrashFiles, CrashOutlets, file_name
from actors.errors import SpecError
from actors.supervisor._report import CrashReport

REPORT = CrashReport(
    system="s",
    path="/app/readers/reader-1",
    uid=1,
    incarnation=3,
    class_name="m.A",
    kind="crash",
    reason="crashed (exit 3)",
    time="2026-01-31T12:00:00.000007+00:00",
)


@contextlib.contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """A disk that is full, as far as this process can see: no file grows beyond *size* bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def structlog_processors(*processors: structlog.typing.Processor) -> Iterator[None]:
    """A program that has configured its log."""
    structlog.configure(processors=list(processors))
    try:
        yield
    finally:
        structlog.reset_defaults()


def test_a_name_sorts_by_time_and_says_who() -> None:
    assert file_name(REPORT, 12) == "crash-20260131T120000.000007Z-000012-app.readers.reader-1-3.json"
    assert file_name(REPORT, 2) < file_name(REPORT, 10)


@pytest.mark.parametrize("path", ["/app/../../etc/passwd", "/app/a b\n\0", "/app/\udcff\u1234", "/app/" + "x" * 5000])
def test_a_name_is_one_plain_name_whatever_the_path(path: str, tmp_path: Path) -> None:
    CrashFiles(str(tmp_path), 5).write(attrs.evolve(REPORT, path=path))

    (found,) = tmp_path.iterdir()
    assert found.name.isascii()
    assert found.name.startswith("crash-20260131")


def test_the_oldest_go_and_what_is_not_ours_stays(tmp_path: Path) -> None:
    strangers = ["crash.json", "crash-20260131.json", "zzz", "crash-20260131T120000.000007Z-000001-app-1.txt"]
    for name in strangers:
        (tmp_path / name).touch()
    files = CrashFiles(str(tmp_path), 2)
    for number in range(5):
        files.write(attrs.evolve(REPORT, incarnation=number))

    ours = sorted(path.name for path in tmp_path.iterdir() if path.name not in strangers)
    assert [3, 4] == [json.loads((tmp_path / name).read_text())["incarnation"] for name in ours]
    assert len(strangers) + 2 == len(list(tmp_path.iterdir()))


def test_a_clock_that_is_set_back_costs_no_new_report(tmp_path: Path) -> None:
    files = CrashFiles(str(tmp_path), 2)
    for time in ("2038-01-01", "2038-01-02", "2026-01-01", "2026-01-02", "2026-01-03"):
        place = files.write(attrs.evolve(REPORT, time=f"{time}T12:00:00.000007+00:00"))
        assert place is not None
        assert os.path.exists(place)

    assert ["2026-01-02", "2026-01-03"] == sorted(
        json.loads(path.read_text())["time"].partition("T")[0] for path in tmp_path.iterdir()
    )


def test_a_full_disk_is_one_warning_and_leaves_no_half_file(tmp_path: Path) -> None:
    files = CrashFiles(str(tmp_path), 5)
    with capture_logs() as logs:
        with files_of_at_most(10):
            files.write(REPORT)
            files.write(REPORT)
        assert [] == os.listdir(tmp_path)
        files.write(REPORT)
        assert 1 == len(os.listdir(tmp_path))
        with files_of_at_most(10):
            files.write(REPORT)

    assert ["actors.crash_file_failed"] * 2 == [log["event"] for log in logs]
    assert "too large" in logs[0]["reason"]


def test_a_directory_that_cannot_be_made_is_one_warning(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    files = CrashFiles(str(tmp_path / "file" / "below"), 5)
    with capture_logs() as logs:
        files.write(REPORT)
        files.write(REPORT)

    assert 1 == len(logs)


def test_a_directory_that_could_not_be_made_is_found_before_there_is_a_report(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(SpecError, match=r"crash_directory='.*/file/below/it': cannot be made: .*/file is no directory"):
        CrashOutlets(directory=tmp_path / "file" / "below" / "it").check()


def test_a_directory_that_may_not_be_written_is_found_before_there_is_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_, **__: False)  # nothing is forbidden to root

    with pytest.raises(SpecError, match="no permission to write into"):
        CrashOutlets(directory=tmp_path / "reports").check()


def test_a_directory_that_can_be_made_is_not_made_before_it_is_needed(tmp_path: Path) -> None:
    CrashOutlets(directory=tmp_path / "new" / "reports").check()
    CrashOutlets().check()

    assert [] == list(tmp_path.iterdir())


def test_the_log_says_where_the_file_of_a_report_is(tmp_path: Path) -> None:
    with capture_logs() as logs:
        CrashOutlets(directory=tmp_path).publish(REPORT)
        CrashOutlets().publish(REPORT)

    (found,) = tmp_path.iterdir()
    assert [str(found), None] == [log.get("file") for log in logs]


def test_the_hook_is_called_where_neither_file_nor_log_takes_a_report(tmp_path: Path) -> None:
    def refuse(_logger: object, _name: str, _event: object) -> NoReturn:
        raise RuntimeError("a processor of the user's")

    seen: list[CrashReport] = []
    (tmp_path / "file").touch()
    outlets = CrashOutlets(seen.append, directory=tmp_path / "file" / "below")
    with structlog_processors(refuse), pytest.raises(RuntimeError, match="a processor"):
        outlets.publish(REPORT)

    assert [REPORT] == seen


def test_a_directory_that_vanishes_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "reports"
    files = CrashFiles(str(folder), 5)
    files.write(REPORT)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    files.write(REPORT)

    assert 1 == len(list(folder.iterdir()))
