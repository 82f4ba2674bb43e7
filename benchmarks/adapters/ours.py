"""
This package.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from actors import ActorRef, ActorSystem, Pool, Supervisor, child
from benchmarks import ask, tell
from benchmarks.adapters._adapter import WORKERS, Adapter, milliseconds, square, tasks_per_second


@functools.cache
def _system() -> ActorSystem:
    # What stands in the tree is what the forkserver preloads.
    children = [child(ask.Counter(), name="answering"), child(tell.Counter(), name="counting")]
    return ActorSystem(Supervisor("bench", children=children)).start()


@functools.cache
def _answering() -> ActorRef[ask.Counter]:
    return _system().whereis("answering")


@functools.cache
def _counting() -> ActorRef[tell.Counter]:
    return _system().whereis("counting")


def _start() -> Callable[[], object]:
    ref = _system().spawn(ask.Counter())
    ref.ask(ask.Counter.add, 0).result()
    return ref.stop


@functools.cache
def _pool() -> Pool:
    pool = Pool(WORKERS, system=_system())
    pool.map(square, range(WORKERS), chunksize=1)
    return pool


def _map(count: int) -> float:
    return tasks_per_second(count, lambda numbers: _pool().map(square, numbers, chunksize=1))


def _stop() -> None:
    if _pool.cache_info().currsize:
        _pool().terminate()
    _system().stop()


ADAPTER = Adapter(
    "processes, forkserver",
    ask=lambda count: ask.asks(_answering(), count),
    tell=lambda count: tell.tells(_counting(), count),
    start=lambda count: milliseconds(count, _start),
    map=_map,
    close=_stop,
)
