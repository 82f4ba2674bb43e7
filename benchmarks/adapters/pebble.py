"""
Pebble: a pool of processes whose tasks can be ended.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

from benchmarks.adapters._adapter import WORKERS, Adapter, milliseconds, square, tasks_per_second

pebble: Any = importlib.import_module("pebble")


@functools.cache
def _pool() -> Any:
    return pebble.ProcessPool(max_workers=WORKERS)


def _end(pool: Any) -> None:
    pool.stop()
    pool.join()


def _start() -> Callable[[], object]:
    pool = pebble.ProcessPool(max_workers=1)
    pool.submit(square, None, 1).result()
    return lambda: _end(pool)


def _map(count: int) -> float:
    return tasks_per_second(count, lambda numbers: list(_pool().map(square, numbers, chunksize=1).result()))


ADAPTER = Adapter(
    "processes, a pool",
    start=lambda count: milliseconds(count, _start),
    map=_map,
    close=lambda: _end(_pool()),
)
