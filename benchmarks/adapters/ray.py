"""
Ray on one machine.
"""

from __future__ import annotations

import functools
import importlib
import tempfile
from collections.abc import Callable
from typing import Any

from benchmarks.adapters._adapter import WORKERS, Adapter, asks, milliseconds, square, tasks_per_second, tells

ray: Any = importlib.import_module("ray")

CORES_FOR_ACTORS = 8  # that it may believe in: it keeps one of them for each actor


class Counter:
    """Adds up what it is sent."""

    def __init__(self) -> None:
        self.total = 0

    def add(self, amount: int) -> int:
        self.total += amount
        return self.total


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    # Not at import: its workers import this module, too.
    return tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True)


@functools.cache
def _ray() -> Any:
    options = {
        "include_dashboard": False,
        "log_to_driver": False,
        "logging_level": "ERROR",
        "_temp_dir": _folder().name,
    }
    ray.init(num_cpus=CORES_FOR_ACTORS, **options)
    return ray


def _make() -> Any:
    return _ray().remote(Counter).remote()


@functools.cache
def _counter() -> Any:
    return _make()


def _start() -> Callable[[], object]:
    made = _make()
    _ray().get(made.add.remote(0))
    return lambda: _ray().kill(made)


def _tell(count: int) -> float:
    counter = _counter()
    return tells(count, lambda: counter.add.remote(1), lambda: _ray().get(counter.add.remote(0)))


def _map(count: int) -> float:
    task = _ray().remote(num_cpus=CORES_FOR_ACTORS / WORKERS / 2)(square)
    return tasks_per_second(count, lambda numbers: _ray().get([task.remote(number) for number in numbers]))


def _close() -> None:
    ray.shutdown()
    _folder().cleanup()


ADAPTER = Adapter(
    "processes, some started ahead",
    ask=lambda count: asks(count, lambda: _ray().get(_counter().add.remote(1))),
    tell=_tell,
    start=lambda count: milliseconds(count, _start),
    map=_map,
    close=_close,
)
