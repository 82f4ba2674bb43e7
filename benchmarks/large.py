"""
Large numpy arrays: from the host to an actor and back, and in memory that both share from the beginning, beside ``Pipe.send``.
"""

from __future__ import annotations

import functools
import time

import numpy as np
import numpy.typing as npt

from actors import Actor, ActorRef, ActorSystem, SharedArray, handler
from benchmarks import _twins
from benchmarks._rounds import Row, Target, arguments, report, take_turns

MEBIBYTES = 64
TIMES = 5
SHARED_TIMES = 1000

Array = npt.NDArray[np.float64]


class Reader(Actor):
    """Looks at what it is sent."""

    @handler
    def ends(self, array: Array) -> tuple[float, float]:
        return float(array[0]), float(array[-1])

    @handler
    def shared_ends(self, shared: SharedArray) -> tuple[float, float]:
        array = shared.array
        return float(array[0]), float(array[-1])

    @handler
    def sum(self, array: Array) -> float:
        return float(array.sum())


def sends(reader: ActorRef[Reader], name: str, array: Array, times: int) -> float:
    """Send *array* and wait until it was looked at, *times* times; MiB a second."""
    began = time.perf_counter()
    for _ in range(times):
        reader.ask(name, array).result()
    return array.nbytes * times / (time.perf_counter() - began) / 2**20


def shares(reader: ActorRef[Reader], shared: SharedArray, times: int) -> float:
    """Send a shared array and wait until it was looked at, *times* times; microseconds each."""
    began = time.perf_counter()
    for _ in range(times):
        reader.ask(Reader.shared_ends, shared).result()
    return (time.perf_counter() - began) / times * 1e6


def main() -> None:
    chosen = arguments(__doc__)
    array = np.arange(chosen.scaled(MEBIBYTES << 17), dtype=np.float64)
    with ActorSystem() as system, _twins.twin(_twins.look_at_arrays) as by_hand:
        reader = system.spawn(Reader(), name="reader")
        small, large = system.shared_array(1000), system.shared_array(array.shape)
        sent, summed, pipe, pipe_summed = take_turns(
            chosen.rounds,
            functools.partial(sends, reader, "ends", array, TIMES),
            functools.partial(sends, reader, "sum", array, TIMES),
            functools.partial(_twins.sends, by_hand.pipe, "ends", array, TIMES),
            functools.partial(_twins.sends, by_hand.pipe, "sum", array, TIMES),
        )
        large_shared, small_shared = take_turns(
            chosen.rounds,
            functools.partial(shares, reader, large, chosen.scaled(SHARED_TIMES)),
            functools.partial(shares, reader, small, chosen.scaled(SHARED_TIMES)),
        )
    size = f"{array.nbytes / 2**20:.3g} MiB"
    rows = [
        Row(f"{size} array, host to actor", "Pipe.send", "MiB/s", sent, pipe, Target("at least", 8.0)),
        Row(f"{size} array, and added up there", "Pipe.send", "MiB/s", summed, pipe_summed, Target("at least", 4.0)),
    ]
    rows.append(
        Row(
            f"{size} shared array, sent",
            "a shared array of 8 KB",
            "us",
            large_shared,
            small_shared,
            Target("at most", 1.2),
        )
    )
    report(chosen, rows)


if __name__ == "__main__":
    main()
