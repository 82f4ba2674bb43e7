"""
MPIRE: a pool of processes.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

from benchmarks.adapters._adapter import WORKERS, Adapter, milliseconds, square, tasks_per_second

mpire: Any = importlib.import_module("mpire")


@functools.cache
def _pool() -> Any:
    return mpire.WorkerPool(n_jobs=WORKERS, keep_alive=True)


def _start() -> Callable[[], object]:
    pool = mpire.WorkerPool(n_jobs=1, keep_alive=True)
    pool.map(square, [1])
    terminate: Callable[[], object] = pool.terminate
    return terminate


ADAPTER = Adapter(
    "processes, a pool",
    start=lambda count: milliseconds(count, _start),
    map=lambda count: tasks_per_second(count, lambda numbers: _pool().map(square, numbers, chunk_size=1)),
    close=lambda: _pool().terminate(),
)
