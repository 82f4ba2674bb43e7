"""
Programs that are run with a time limit and leave nothing behind, and who descends from whom, as /proc shows it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

__all__ = ["adopt_orphans", "descendants", "last_line", "run_alone"]

_PR_SET_CHILD_SUBREAPER = 36


def descendants(process: int) -> list[int]:
    """The processes below *process*, each after its parent."""
    children: dict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                children[_parent(entry)].append(int(entry.name))
    found = [process]
    for each in found:
        found += children[each]
    return found[1:]


def _parent(entry: Path) -> int:
    # The name of a program stands in brackets and may hold anything; the parent is the second field behind it.
    return int((entry / "stat").read_text().rpartition(")")[2].split()[1])


def adopt_orphans() -> None:
    """From now on whatever loses its parent below this process becomes a child of it, so that :func:`run_alone` finds it."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def run_alone(command: Sequence[str], seconds: float, output: Path) -> int | None:
    """
    Run a program and end with it whatever it has started. For a process of one thread that waits for no other child.

    Args:
        command: As for ``subprocess``.
        seconds: How long it may take.
        output: Where it writes both its streams.

    Returns:
        Its exit code; None where its time was over.
    """
    with output.open("wb") as stream:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, start_new_session=True
        )
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            _end_descendants()
            if process.returncode is None:
                process.returncode = -signal.SIGKILL  # it was reaped there


def last_line(output: Path) -> str:
    """The last line of what a program wrote: of a traceback, what was wrong."""
    lines = output.read_text(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else "no word"


def _end_descendants() -> None:
    while below := descendants(os.getpid()):
        for process in below:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, 0)
