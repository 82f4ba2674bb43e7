"""
The standard library: ``Pipe`` with msgpack, ``Process`` under forkserver, and ``multiprocessing.Pool``.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
from collections.abc import Callable

from benchmarks import _twins
from benchmarks.adapters._adapter import WORKERS, Adapter, milliseconds, square, tasks_per_second

_stack = contextlib.ExitStack()


@functools.cache
def _answering() -> _twins.Twin:
    return _stack.enter_context(_twins.twin(_twins.answer_each))


@functools.cache
def _counting() -> _twins.Twin:
    return _stack.enter_context(_twins.twin(_twins.count_each))


def _start() -> Callable[[], object]:
    return _twins.start_ready(_twins.idle).stop


def _map(count: int) -> float:
    with multiprocessing.get_context("fork").Pool(WORKERS) as pool:
        pool.map(square, range(WORKERS), chunksize=1)
        return tasks_per_second(count, lambda numbers: pool.map(square, numbers, chunksize=1))


ADAPTER = Adapter(
    "Pipe, forkserver, Pool",
    ask=lambda count: _twins.ping_pong(_answering().pipe, count),
    tell=lambda count: _twins.tells(_counting().pipe, count),
    start=lambda count: milliseconds(count, _start),
    map=_map,
    close=_stack.close,
)
