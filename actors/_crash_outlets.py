"""
Where crash reports go: one log event, a file if a directory was named, the user's hook. In the callback thread, each on its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable
from datetime import datetime

from actors import _log
from actors.errors import SpecError
from actors.supervisor._report import CrashReport

__all__ = ["KEPT", "CrashFiles", "CrashOutlets", "outlet_problems"]

KEPT = 100
"""How many files stay where nothing is said."""

_MOST_KEPT = 1_000_000
# crash-20260131T120000.123456Z-000001-app.reader-3.json: sorts by time.
_OURS = re.compile(r"crash-\d{8}T\d{6}\.\d{6}Z-\d{6,}-[\w.+-]*-\d+\.json")
_PART = ".part"
_UNSAFE = re.compile(r"[^\w.+-]", re.ASCII)
_MOST_CHARACTERS = 100


class CrashOutlets:
    """
    The outlets of one system.

    Args:
        hook: Called with each report, or None.
        directory: Where each report becomes a file, or None.
        keep: How many files stay.
    """

    def __init__(
        self,
        hook: Callable[[CrashReport], object] | None = None,
        directory: str | os.PathLike[str] | None = None,
        keep: int = KEPT,
    ) -> None:
        self._hook = hook
        self._files = None if directory is None else CrashFiles(os.path.abspath(directory), keep)

    def check(self) -> None:
        """
        Look whether files can be written, before there is one to write; makes nothing.

        Raises:
            SpecError: They cannot.
        """
        problem = None if self._files is None else self._files.problem()
        if problem is not None:
            raise SpecError(problem)

    def publish(self, report: CrashReport) -> None:
        """
        Let a report out, by every outlet, whatever becomes of another one.

        Raises:
            Exception: The user's hook or a processor of the log raised it, or stderr takes nothing; the other outlets are done.
        """
        file = None
        try:
            file = None if self._files is None else self._files.write(report)
        finally:
            try:
                _log.emit_report(report, file)
            finally:
                if self._hook is not None:
                    self._hook(report)


class CrashFiles:
    """
    A directory with one JSON file for each report, and never more than so many.

    Args:
        directory: Its absolute path; made when the first report is written.
        keep: How many files of ours stay there, whichever system wrote them; at least 1.
    """

    def __init__(self, directory: str, keep: int) -> None:
        self._directory = directory
        self._keep = keep
        self._number = 0
        self._failing = False

    def problem(self) -> str | None:
        """Why no file can be written there now, nor the directory be made; None where nothing is in the way."""
        nearest = self._directory
        while not os.path.lexists(nearest):
            nearest = os.path.dirname(nearest)
        if not os.path.isdir(nearest):
            return f"crash_directory={self._directory!r}: cannot be made: {nearest} is no directory"
        if not os.access(nearest, os.W_OK | os.X_OK, effective_ids=True):
            return f"crash_directory={self._directory!r}: cannot be written: no permission to write into {nearest}"
        return None

    def write(self, report: CrashReport) -> str | None:
        """
        Write one report, and remove the oldest beyond what is kept.

        Returns:
            The path of its file; None where none could be written, which one warning says.
        """
        try:
            os.makedirs(self._directory, exist_ok=True)
            place = self._write(report)
            self._remove_oldest(os.path.basename(place))
        except OSError as error:
            # A full disk, a directory that is gone or not ours: the log has the report, and says once that the file is missing.
            if not self._failing:
                _log.emit(
                    "warning",
                    "actors.crash_file_failed",
                    path=report.path,
                    incarnation=report.incarnation,
                    directory=self._directory,
                    reason=str(error),
                )
            self._failing = True
            return None
        self._failing = False
        return place

    def _write(self, report: CrashReport) -> str:
        self._number += 1
        place = os.path.join(self._directory, file_name(report, self._number))
        part = os.path.join(self._directory, f".{os.path.basename(place)}.{os.getpid()}{_PART}")
        try:
            with open(part, "x", encoding="utf-8") as stream:
                json.dump(report.to_dict(), stream, allow_nan=False, indent=1, ensure_ascii=False)
                stream.write("\n")
            os.rename(part, place)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(part)
            raise
        return place

    def _remove_oldest(self, newest: str) -> None:
        # What claims to be from later was written before the clock was set back: it is the first to go, and not what is new.
        names = (name for name in os.listdir(self._directory) if _OURS.fullmatch(name))
        found = sorted(names, key=lambda name: (name <= newest, name))
        for name in found[: -self._keep]:
            with contextlib.suppress(FileNotFoundError):  # another system was faster
                os.unlink(os.path.join(self._directory, name))


def file_name(report: CrashReport, number: int) -> str:
    """
    Name of the file of a report: time, a number against equal times, path and incarnation.

    Args:
        report: Any report.
        number: 1, 2, 3...: how many the system has written.
    """
    stamp = datetime.fromisoformat(report.time).strftime("%Y%m%dT%H%M%S.%fZ")
    path = _UNSAFE.sub("_", report.path.strip("/").replace("/", "."))[-_MOST_CHARACTERS:]
    return f"crash-{stamp}-{number:06}-{path}-{report.incarnation}.json"


def outlet_problems(hook: object, directory: object, keep: object) -> list[str]:
    """
    What is wrong with the options that say where reports go; empty for nothing.

    Args:
        hook: ``on_crash``.
        directory: ``crash_directory``.
        keep: ``crash_keep``.
    """
    problems = []
    if hook is not None and not callable(hook):
        problems.append(f"on_crash={hook!r}: must be callable with a CrashReport")
    if directory is not None:
        path = os.fspath(directory) if isinstance(directory, str | os.PathLike) else None
        if not isinstance(path, str) or not path or "\0" in path:
            problems.append(f"crash_directory={directory!r}: must be the path of a directory")
        elif os.path.exists(path) and not os.path.isdir(path):
            problems.append(f"crash_directory={directory!r}: is there, and no directory")
    if isinstance(keep, bool) or not isinstance(keep, int) or not 1 <= keep <= _MOST_KEPT:
        problems.append(f"crash_keep={keep!r}: must be an int from 1 to {_MOST_KEPT:_}")
    elif directory is None and keep != KEPT:
        problems.append(f"crash_keep={keep!r}: means nothing without crash_directory; give both, or neither")
    return problems
