"""
What an adapter is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import attrs

__all__ = ["Adapter", "asks", "milliseconds", "square", "tasks_per_second", "tells"]

Measure = Callable[[int], float]

ASKS = 1000
TELLS = 10_000
TASKS = 2000
STARTS = 3
WORKERS = 2


@attrs.frozen
class Adapter:
    """
    What one framework can do of the work that all are compared by; None for what it does not offer.

    Attributes:
        about: In what its actors or workers run, and what else one must know to compare it.
        ask: Asks an actor in a process of its own to add 1 to its sum, so many times, each after the answer to the one before;
            microseconds each.
        tell: Tells it so many times and waits until the last is counted; thousands a second.
        start: Makes one more actor or worker in a process of its own, and waits for its first answer, so many times; milliseconds each.
        map: Squares so many numbers with two workers, one task each; thousands a second.
        close: Called at the end.
    """

    about: str
    ask: Measure | None = None
    tell: Measure | None = None
    start: Measure | None = None
    map: Measure | None = None
    close: Callable[[], object] = lambda: None

    def measures(self, scale: float) -> Iterator[tuple[str, float]]:
        """Measure each thing, and yield it at once: what follows may hang."""
        counts = {"ask": ASKS, "tell": TELLS, "start": STARTS, "map": TASKS}
        for work, count in counts.items():
            measure: Measure | None = getattr(self, work)
            if measure is not None:
                if work != "start":
                    measure(max(1, round(count * scale / 10)))  # what is made at first use costs nobody
                yield work, measure(max(1, round(count * scale)))


def square(number: int) -> int:
    """The task."""
    return number * number


def asks(count: int, ask: Callable[[], object]) -> float:
    """Call *ask* *count* times; microseconds each."""
    began = time.perf_counter()
    for _ in range(count):
        ask()
    return (time.perf_counter() - began) / count * 1e6


def tells(count: int, tell: Callable[[], object], wait: Callable[[], object]) -> float:
    """Call *tell* *count* times, and *wait* until the last is handled; thousands a second."""
    began = time.perf_counter()
    for _ in range(count):
        tell()
    wait()
    return count / (time.perf_counter() - began) / 1e3


def milliseconds(count: int, start: Callable[[], Callable[[], object]]) -> float:
    """Call *start* *count* times, which returns what ends it again, out of the time; milliseconds each."""
    passed = 0.0
    for _ in range(count):
        began = time.perf_counter()
        end = start()
        passed += time.perf_counter() - began
        end()
    return passed / count * 1e3


def tasks_per_second(count: int, run: Callable[[range], object]) -> float:
    """Have *run* square *count* numbers; thousands a second."""
    began = time.perf_counter()
    run(range(count))
    return count / (time.perf_counter() - began) / 1e3
