"""
The rate at which items go through a channel between actors, beside a ``multiprocessing.Queue`` of the same bound between processes.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Sequence

from actors import Actor, ActorRef, ActorSystem, Channel, handler
from benchmarks import _twins
from benchmarks._rounds import Row, arguments, report, take_turns

ITEMS_EACH = 20_000
BOUND = 1000
BOTH_WAYS = (1, 2)
LARGE_BYTES = 1 << 20
FEW = 8
LARGE_ITEMS = 64


class Putter(Actor):
    """Puts as fast as it can."""

    @handler
    def put_many(self, channel: Channel[object], count: int, size: int) -> None:
        item: object = bytes(size) if size else ["add", 1]
        for _ in range(count):
            channel.put(item)


class Getter(Actor):
    """Gets as many as it is told to."""

    @handler
    def get_many(self, channel: Channel[object], count: int) -> None:
        for _ in range(count):
            channel.get()


def passes(
    putters: Sequence[ActorRef[Putter]],
    getters: Sequence[ActorRef[Getter]],
    channel: Channel[object],
    count: int,
    size: int = 0,
) -> float:
    """Have each putter put *count* items, and wait until the getters have got all of them; thousands a second."""
    began = time.perf_counter()
    waiting = [getter.ask(Getter.get_many, channel, count) for getter in getters]
    waiting += [putter.ask(Putter.put_many, channel, count, size) for putter in putters]
    for reply in waiting:
        reply.result()
    return len(putters) * count / (time.perf_counter() - began) / 1e3


def main() -> None:
    chosen = arguments(__doc__)
    count, large = chosen.scaled(ITEMS_EACH), chosen.scaled(LARGE_ITEMS)
    rows = []
    with ActorSystem() as system, contextlib.ExitStack() as twins:
        channel: Channel[object] = system.channel(BOUND)
        putters = [system.spawn(Putter(), name=f"putter-{number}") for number in range(max(BOTH_WAYS))]
        getters = [system.spawn(Getter(), name=f"getter-{number}") for number in range(max(BOTH_WAYS))]
        for number in BOTH_WAYS:
            by_hand = twins.enter_context(_twins.queue_crowd(number, number, BOUND))
            ours, theirs = take_turns(
                chosen.rounds,
                functools.partial(passes, putters[:number], getters[:number], channel, count),
                functools.partial(_twins.passes, *by_hand, count),
            )
            row = Row(f"channel, {number} put, {number} get", "a Queue", "k/s", ours, theirs)
            rows.append(row)
        for bound in (FEW, BOUND):
            of_large: Channel[object] = system.channel(bound)
            by_hand = twins.enter_context(_twins.queue_crowd(1, 1, bound))
            ours, theirs = take_turns(
                chosen.rounds,
                functools.partial(passes, putters[:1], getters[:1], of_large, large, LARGE_BYTES),
                functools.partial(_twins.passes, *by_hand, large, LARGE_BYTES),
            )
            what = f"channel of {bound}, items of 1 MiB"
            rows.append(Row(what, "a Queue", "k/s", ours, theirs))
    report(chosen, rows)


if __name__ == "__main__":
    main()
