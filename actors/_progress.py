"""
Progress bars of pools, on request. Rich is imported here, and only then.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actors._async_result import MapResult

__all__ = ["Counter", "Shower", "shower"]

_LOOK_SECONDS = 0.1


class Counter:
    """What counts, and shows nothing."""

    def advance(self) -> None:
        """One more is done."""

    def close(self) -> None:
        """Nothing follows."""


class _Bar(Counter):
    def __init__(self, progress: Any, name: str, total: int | None) -> None:
        self._progress = progress
        self._task = progress.add_task(name, total=total)
        self._open = True
        progress.start()

    def advance(self) -> None:
        if self._open:
            self._progress.advance(self._task)

    def to(self, done: int) -> None:
        self._progress.update(self._task, completed=done)

    def close(self) -> None:
        if self._open:
            self._open = False
            self._progress.stop()


class Shower:
    """
    Shows how far calls have come, or nothing.

    Args:
        name: What stands before the bar; None for no bar.
    """

    def __init__(self, name: str | None) -> None:
        self._name = name

    def counter(self, iterable: Iterable[Any]) -> Counter:
        """What counts the results of *iterable*."""
        if self._name is None:
            return Counter()
        try:
            total: int | None = len(iterable)  # type: ignore[arg-type]
        except TypeError:
            total = None
        return self._bar(self._name, total)

    def whole(self, result: MapResult[Any]) -> Any:
        """The outcome of a whole map, waiting for it."""
        if self._name is None:
            return result.get()
        bar = self._bar(self._name, result.count)
        try:
            while not result.ready():
                result.wait(_LOOK_SECONDS)
                bar.to(result.count - result.left)
            return result.get()
        finally:
            bar.close()

    @staticmethod
    def _bar(name: str, total: int | None) -> _Bar:
        rich = importlib.import_module("rich.progress")
        # What the program prints may be read by another one.
        return _Bar(rich.Progress(console=importlib.import_module("rich.console").Console(stderr=True)), name, total)


def shower(progress: bool | str) -> Shower:
    """
    What shows a bar if that was asked for.

    Args:
        progress: Whether, or under what name.

    Raises:
        ImportError: Rich is not installed; says what to do.
    """
    if progress is False:
        return Shower(None)
    try:
        importlib.import_module("rich.progress")
    except ImportError as error:
        raise ImportError(
            "progress=True shows a bar by rich, which is not installed: pip install rich (the extra 'progress')"
        ) from error
    return Shower("calls" if progress is True else progress)
