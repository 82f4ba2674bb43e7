"""
The rate at which a numpy array of 64 MiB reaches an actor, beside ``Pipe.send`` of the same array.
"""

from __future__ import annotations

import functools
import time
from typing import Any

import numpy as np

from actors import Actor, ActorRef, ActorSystem, handler
from benchmarks import _twins
from benchmarks._rounds import Row, Target, arguments, report, take_turns

MIB = 2**20
ARRAY_MIB = 64
SENDS = 4  # each number is the mean of so many


class Sink(Actor):
    """Looks at the arrays it is sent."""

    @handler
    def take(self, array: Any) -> int:
        return int(array[-1])


def sends(sink: ActorRef[Sink], array: Any, count: int) -> float:
    """Send *array* *count* times, each after the answer to the one before; MiB a second."""
    began = time.perf_counter()
    for _ in range(count):
        sink.ask(Sink.take, array).result()
    return count * float(array.nbytes) / MIB / (time.perf_counter() - began)


def main() -> None:
    chosen = arguments(__doc__)
    mib = chosen.scaled(ARRAY_MIB)
    array = np.ones(mib * MIB, dtype=np.uint8)
    with ActorSystem(max_message_bytes=2 * array.nbytes) as system, _twins.twin(_twins.take_arrays) as by_hand:
        by_hand.farewell = _twins.STOP_PICKLED
        sink = system.spawn(Sink(), name="sink")
        ours, theirs = take_turns(
            chosen.rounds,
            functools.partial(sends, sink, array, SENDS),
            functools.partial(_twins.send_arrays, by_hand.pipe, array, SENDS),
        )
    work = f"{mib} MiB numpy array, host to actor"
    report(chosen, [Row(work, "Pipe.send", "MiB/s", ours, theirs, Target("at least", 8.0))])


if __name__ == "__main__":
    main()
