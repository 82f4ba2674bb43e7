"""
How many calls a pool of two processes makes, beside ``multiprocessing.Pool`` and ``ProcessPoolExecutor``.
"""

from __future__ import annotations

import functools
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np

from actors import ActorExecutor, Pool
from benchmarks._rounds import Row, Target, arguments, report, take_turns

WORKERS = 2
ONE_EACH = 40_000
ONE_EACH_SLOWLY = 4_000  # of ProcessPoolExecutor, which is ten times slower
CHUNKED = 2_000_000
BLOCKS = 24
BLOCK_BYTES = 8 << 20
METHOD = "fork"  # the processes of all sides are started before the clock is


def square(number: int) -> int:
    """The task."""
    return number * number


def double(block: Any) -> Any:
    """The task with much to carry."""
    block *= 2
    return block


def rate(run: Callable[[], object], count: int) -> float:
    """Thousands a second."""
    began = time.perf_counter()
    run()
    return count / (time.perf_counter() - began) / 1e3


def map_each(pool: Any, count: int) -> float:
    """One task each, all results at once."""
    return rate(lambda: pool.map(square, range(count), chunksize=1), count)


def imap_each(pool: Any, count: int) -> float:
    """One task each, the results one by one."""
    return rate(lambda: sum(pool.imap(square, range(count))), count)


def execute_each(executor: Any, count: int) -> float:
    """One task each."""
    return rate(lambda: sum(executor.map(square, range(count))), count)


def map_chunks(pool: Any, count: int) -> float:
    """In the chunks of ``Pool.map``."""
    return rate(lambda: pool.map(square, range(count)), count)


def map_blocks(pool: Any, blocks: list[Any]) -> float:
    """MiB a second, there and back."""
    began = time.perf_counter()
    pool.map(double, blocks, chunksize=1)
    return 2 * len(blocks) * BLOCK_BYTES / (time.perf_counter() - began) / (1 << 20)


def main() -> None:
    chosen = arguments(__doc__)
    each, few, many = chosen.scaled(ONE_EACH), chosen.scaled(ONE_EACH_SLOWLY), chosen.scaled(CHUNKED)
    blocks = [np.full(BLOCK_BYTES // 8, 1.0) for _ in range(max(4, chosen.scaled(BLOCKS)))]
    context: Any = multiprocessing.get_context(METHOD)
    partial = functools.partial
    with context.Pool(WORKERS) as theirs, ProcessPoolExecutor(WORKERS, context) as executor:
        theirs.map(square, range(WORKERS), chunksize=1)
        list(executor.map(square, range(WORKERS)))
        with Pool(WORKERS, context=context) as ours, ActorExecutor(WORKERS, context) as mine:
            turns = take_turns(
                chosen.rounds,
                partial(map_each, ours, each),
                partial(map_each, theirs, each),
                partial(imap_each, ours, each),
                partial(imap_each, theirs, each),
                partial(execute_each, mine, each),
                partial(execute_each, executor, few),
                partial(map_chunks, ours, many),
                partial(map_chunks, theirs, many),
                partial(map_blocks, ours, blocks),
                partial(map_blocks, theirs, blocks),
            )
    pool = "multiprocessing.Pool"
    rows = [
        Row("map, tiny tasks, one each", pool, "k/s", turns[0], turns[1], Target("at least", 2.0)),
        Row("imap, tiny tasks, one each", pool, "k/s", turns[2], turns[3], Target("at least", 2.0)),
        Row("map of an executor, one each", "ProcessPoolExecutor", "k/s", turns[4], turns[5], Target("at least", 5.0)),
        Row("map, tiny tasks, in chunks", pool, "k/s", turns[6], turns[7], Target("at least", 1.0)),
        Row("map, blocks of 8 MiB", pool, "MiB/s", turns[8], turns[9], Target("at least", 3.0)),
    ]
    report(chosen, rows)


if __name__ == "__main__":
    main()
