"""
The rate of tells of small messages in an ordinary loop, beside one ``send_bytes`` for each message.
"""

from __future__ import annotations

import functools
import time

from actors import Actor, ActorRef, ActorSystem, handler
from benchmarks import _twins
from benchmarks._rounds import Row, Target, arguments, report, take_turns

TELLS = 100_000


class Counter(Actor):
    """Adds up what it is told."""

    def on_start(self) -> None:
        self.total = 0

    @handler
    def add(self, amount: int) -> None:
        self.total += amount

    @handler
    def sum(self) -> int:
        return self.total


class Teller(Actor):
    """Tells another actor as fast as it can."""

    @handler
    def tell_many(self, counter: ActorRef[Counter], count: int) -> float:
        return tells(counter, count)


def tells(counter: ActorRef[Counter], count: int) -> float:
    """Tell *count* messages and wait until the last is handled; thousands a second."""
    began = time.perf_counter()
    for _ in range(count):
        counter.tell(Counter.add, 1)
    counter.ask(Counter.sum).result()
    return count / (time.perf_counter() - began) / 1e3


def main() -> None:
    chosen = arguments(__doc__)
    count = chosen.scaled(TELLS)
    with ActorSystem() as system, _twins.twin(_twins.count_each) as by_hand:
        counter = system.spawn(Counter(), name="counter")
        teller = system.spawn(Teller(), name="teller")
        host, between, theirs = take_turns(
            chosen.rounds,
            functools.partial(tells, counter, count),
            lambda: teller.ask(Teller.tell_many, counter, count).result(),
            functools.partial(_twins.tells, by_hand.pipe, count),
        )
    pipe = "Pipe + msgpack, one by one"
    rows = [
        Row("tell, host to actor", pipe, "k/s", host, theirs, Target("at least", 5.0)),
        Row("tell, actor to actor", pipe, "k/s", between, theirs, Target("at least", 5.0)),
    ]
    report(chosen, rows)


if __name__ == "__main__":
    main()
