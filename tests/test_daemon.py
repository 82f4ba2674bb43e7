"""The daemon of the examples, from outside: jobs are put into its folder, its log is read, and its exit code says how it ended."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

ROOT = Path(__file__).parent.parent


@contextmanager
def running(folder: Path) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default"}
    command = [sys.executable, str(ROOT / "examples" / "daemon.py"), str(folder)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def events(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    """What it logs, line by line, until it ends."""
    assert process.stdout is not None
    for line in process.stdout:
        yield cast("dict[str, Any]", json.loads(line))


def until(log: Iterator[dict[str, Any]], event: str) -> dict[str, Any]:
    return next(found for found in log if found["event"] == event)


def put(folder: Path, **jobs: str) -> None:
    """Put jobs into the folder, each whole at once."""
    for name, text in jobs.items():
        (folder / name).write_text(text)
        (folder / name).rename(folder / f"{name}.job")


def outcomes(log: Iterator[dict[str, Any]], count: int) -> dict[str, str]:
    """The result of each job, or the class of its error."""
    ended = (found for found in log if found["event"] in {"jobs.done", "jobs.failed"})
    found = [next(ended) for _ in range(count)]
    return {job["job"]: str(job.get("result") or job["error"]) for job in found}


def test_the_daemon_does_its_jobs_though_others_kill_their_workers(tmp_path: Path) -> None:
    with running(tmp_path) as process:
        log = events(process)
        until(log, "jobs.ready")
        put(tmp_path, a="double 21", b="double trouble", c="crash", d="leak", e="hang", f="double 4")

        assert outcomes(log, 6) == {
            "a": "42",
            "b": "HandlerValueError",
            "c": "ActorDied",
            "d": "ActorDied",
            "e": "ActorDied",
            "f": "8",
        }

        process.send_signal(signal.SIGTERM)
        until(log, "jobs.stopped")
        assert process.wait(timeout=30) == 0

    kinds = sorted(json.loads(path.read_text())["kind"] for path in (tmp_path / "crashes").iterdir())
    assert kinds == ["hang", "memory_limit", "signal"]
    assert sorted(path.name for path in (tmp_path / "failed").iterdir()) == ["b.job", "c.job", "d.job", "e.job"]
    with sqlite3.connect(tmp_path / "results.db") as results:
        assert dict(results.execute("select job, result from results")) == {"a": "42", "f": "8"}
    results.close()


def test_the_daemon_ends_with_a_code_of_its_own_where_restarts_do_not_help(tmp_path: Path) -> None:
    with running(tmp_path) as process:
        log = events(process)
        until(log, "jobs.ready")
        put(tmp_path, **{f"job-{number}": "exit" for number in range(6)})

        until(log, "actors.restart_intensity_exceeded")
        until(log, "jobs.gave_up")
        assert process.wait(timeout=30) == os.EX_SOFTWARE


def test_the_daemon_says_so_where_it_cannot_start(tmp_path: Path) -> None:
    with running(tmp_path / "missing") as process:
        reason = until(events(process), "jobs.not_started")["reason"]

        assert "unable to open database file" in reason
        assert process.wait(timeout=30) == os.EX_CONFIG
