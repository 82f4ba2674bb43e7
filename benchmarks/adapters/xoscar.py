"""
Xoscar: actors in processes of a pool, for asyncio.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import socket
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from benchmarks.adapters._adapter import Adapter

mo: Any = importlib.import_module("xoscar")

R = TypeVar("R")


class Counter(mo.Actor):
    """Adds up what it is sent."""

    total = 0

    def add(self, amount: int) -> int:
        self.total += amount
        return self.total


@functools.cache
def _runner() -> asyncio.Runner:
    return asyncio.Runner()


def _run(coroutine: Coroutine[Any, Any, R]) -> R:
    return _runner().run(coroutine)


@functools.cache
def _pool() -> Any:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    return _run(mo.create_actor_pool(address, n_process=1))


@functools.cache
def _counter() -> Any:
    pool = _pool()
    inside = next(address for address in pool.sub_processes)
    return _run(mo.create_actor(Counter, address=inside))


async def _ask(counter: Any, count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        await counter.add(1)
    return (time.perf_counter() - began) / count * 1e6


async def _tell(counter: Any, count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        await counter.add.tell(1)
    await counter.add(0)
    return count / (time.perf_counter() - began) / 1e3


async def _start(pool: Any, count: int) -> float:
    passed = 0.0
    for _ in range(count):
        began = time.perf_counter()
        address = await pool.append_sub_pool()
        counter = await mo.create_actor(Counter, address=address)
        await counter.add(0)
        passed += time.perf_counter() - began
        await pool.remove_sub_pool(address)
    return passed / count * 1e3


ADAPTER = Adapter(
    "processes, asyncio",
    ask=lambda count: _run(_ask(_counter(), count)),
    tell=lambda count: _run(_tell(_counter(), count)),
    start=lambda count: _run(_start(_pool(), count)),
    close=lambda: _run(_pool().stop()),
)
