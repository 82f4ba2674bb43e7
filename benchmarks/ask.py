"""
The time of one ask of a small message, beside a ping-pong over ``multiprocessing.Pipe`` with msgpack.
"""

from __future__ import annotations

import functools
import time

from actors import Actor, ActorRef, ActorSystem, handler
from benchmarks import _twins
from benchmarks._rounds import Row, Target, arguments, report, take_turns

ASKS = 3000


class Counter(Actor):
    """Adds up what it is asked to."""

    def on_start(self) -> None:
        self.total = 0

    @handler
    def add(self, amount: int) -> int:
        self.total += amount
        return self.total


class Asker(Actor):
    """Asks another actor, one message after the other."""

    @handler
    def ask_many(self, counter: ActorRef[Counter], count: int) -> float:
        return asks(counter, count)


def asks(counter: ActorRef[Counter], count: int) -> float:
    """Ask *count* times, each after the answer to the one before; microseconds each."""
    began = time.perf_counter()
    for _ in range(count):
        counter.ask(Counter.add, 1).result()
    return (time.perf_counter() - began) / count * 1e6


def main() -> None:
    chosen = arguments(__doc__)
    count = chosen.scaled(ASKS)
    with ActorSystem() as system, _twins.twin(_twins.answer_each) as by_hand:
        counter = system.spawn(Counter(), name="counter")
        asker = system.spawn(Asker(), name="asker")
        host, between, theirs = take_turns(
            chosen.rounds,
            functools.partial(asks, counter, count),
            lambda: asker.ask(Asker.ask_many, counter, count).result(),
            functools.partial(_twins.ping_pong, by_hand.pipe, count),
        )
    pipe = "Pipe + msgpack, ping-pong"
    rows = [
        Row("ask, host to actor", pipe, "us", host, theirs, Target("at most", 0.75)),
        Row("ask, actor to actor", pipe, "us", between, theirs, Target("at most", 1.0)),
    ]
    report(chosen, rows)


if __name__ == "__main__":
    main()
