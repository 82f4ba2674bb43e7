"""
Functions in a pool of processes, some of which crash or hang: only the calls that do are lost.

Run it with ``python examples/function_pool.py``.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import as_completed
from itertools import count, islice

from actors import ActorExecutor, AskTimeoutError, Pool, WorkerDied


def largest_factor(number: int) -> int:
    """The largest prime that divides *number*."""
    factor = 2
    while factor * factor <= number:
        if number % factor == 0:
            number //= factor
        else:
            factor += 1
    return number


def moody(number: int) -> int:
    """As a library in C may be: it crashes for some values, and for others it never returns."""
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    while number == 5:
        pass
    return number


def try_moods(executor: ActorExecutor) -> Iterator[str]:
    """Call *moody* with several values, and say what came of each."""
    futures = {executor.options(timeout=2.0).submit(moody, number): number for number in range(1, 7)}
    for future in as_completed(futures):
        try:
            yield f"{futures[future]}: {future.result()} came back"
        except WorkerDied as died:
            yield f"{futures[future]}: its worker was killed by {died.reason.signal}"
        except AskTimeoutError:
            yield f"{futures[future]}: took too long, and its worker was killed"


def main() -> None:
    with ActorExecutor(max_workers=2) as executor:
        print("factors:", list(executor.map(largest_factor, [600851475143, 2**31 - 1, 360])))
        print("\n".join(sorted(try_moods(executor))))
    with Pool(2) as pool:
        print("of an endless row:", list(islice(pool.imap(largest_factor, count(100)), 5)))


if __name__ == "__main__":
    main()
