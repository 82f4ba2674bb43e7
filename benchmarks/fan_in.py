"""
The rate at which one actor takes what two others tell it, beside two writers on one ``multiprocessing.Queue``.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence

from actors import Actor, ActorRef, ActorSystem, handler
from benchmarks import _twins
from benchmarks._rounds import Row, Target, arguments, report, take_turns

MESSAGES_EACH = 50_000
WRITERS = 2


class Sink(Actor):
    """Adds up what it is told."""

    def on_start(self) -> None:
        self.total = 0

    @handler
    def add(self, amount: int) -> None:
        self.total += amount

    @handler
    def sum(self) -> int:
        return self.total


class Source(Actor):
    """Tells a sink as fast as it can."""

    @handler
    def tell_many(self, sink: ActorRef[Sink], count: int) -> None:
        for _ in range(count):
            sink.tell(Sink.add, 1)
        sink.ask(Sink.sum).result()  # stands behind all that it told


def tells(sources: Sequence[ActorRef[Source]], sink: ActorRef[Sink], count: int) -> float:
    """Have each source tell *count* messages and wait until all are handled; thousands a second."""
    began = time.perf_counter()
    for reply in [source.ask(Source.tell_many, sink, count) for source in sources]:
        reply.result()
    return len(sources) * count / (time.perf_counter() - began) / 1e3


def main() -> None:
    chosen = arguments(__doc__)
    count = chosen.scaled(MESSAGES_EACH)
    with ActorSystem() as system, _twins.queue_twins(WRITERS) as by_hand:
        sink = system.spawn(Sink(), name="sink")
        sources = [system.spawn(Source(), name=f"source-{number}") for number in range(WRITERS)]
        ours, theirs = take_turns(
            chosen.rounds,
            functools.partial(tells, sources, sink, count),
            functools.partial(_twins.puts, by_hand, count),
        )
    report(chosen, [Row("fan-in, 2 tell 1", "two writers on a Queue", "k/s", ours, theirs, Target("at least", 10.0))])


if __name__ == "__main__":
    main()
