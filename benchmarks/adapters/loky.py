"""
Loky: an executor of processes.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from benchmarks.adapters._adapter import WORKERS, Adapter, milliseconds, square, tasks_per_second

loky: Any = importlib.import_module("loky")


def _start() -> Callable[[], object]:
    executor = loky.ProcessPoolExecutor(max_workers=1)
    executor.submit(square, 1).result()
    shutdown: Callable[[], object] = executor.shutdown
    return shutdown


def _map(count: int) -> float:
    executor = loky.get_reusable_executor(max_workers=WORKERS)
    return tasks_per_second(count, lambda numbers: list(executor.map(square, numbers, chunksize=1)))


ADAPTER = Adapter("processes, an executor", start=lambda count: milliseconds(count, _start), map=_map)
