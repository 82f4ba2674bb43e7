"""Programs of their own for tests: written to a folder, run, and looked at from outside."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import attrs

from tests.leaks import living_processes

__all__ = ["Ended", "family", "run", "start", "write"]

ROOT = Path(__file__).parent.parent


@attrs.frozen
class Ended:
    """How a program ended."""

    code: int
    out: str
    err: str


def write(folder: Path, text: str, name: str = "program.py") -> Path:
    """Write a program whose *text* may be indented."""
    path = folder / name
    path.write_text(textwrap.dedent(text))
    return path


def start(script: Path, *arguments: object) -> subprocess.Popen[str]:
    """Start a program in a session of its own; it can import this project."""
    search = [str(ROOT), str(script.parent), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": ":".join(filter(None, search))}
    return subprocess.Popen(
        [sys.executable, str(script), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        env=environment,
        start_new_session=True,
    )


def run(script: Path, *arguments: object, timeout: float = 30.0) -> Ended:
    """Run a program to its end; one that takes longer than *timeout* seconds is killed, and fails the test."""
    with start(script, *arguments) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    return Ended(process.returncode, out, err)


def family(session: int, title: str | None = None) -> list[str]:
    """
    What is alive of the session that :func:`start` made, one line each; zombies are not alive.

    Args:
        session: Pid of the program.
        title: Only processes that call themselves so.
    """
    found = []
    for process in living_processes():
        try:
            belongs = os.getsid(process.pid) == session
            comm = Path(f"/proc/{process.pid}/comm").read_text().strip()
        except OSError:
            continue
        if belongs and process.state not in "ZX" and title in {None, comm}:
            found.append(str(process))
    return found
