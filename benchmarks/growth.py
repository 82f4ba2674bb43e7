"""
How the cost of a message grows with the number of actors, the number of senders, and the size of the message.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence

from actors import Actor, ActorRef, ActorSystem, handler
from benchmarks import _twins
from benchmarks._rounds import Arguments, Row, arguments, report, take_turns

ACTORS = (1, 2, 4, 8, 16, 32, 64)
SENDERS = (1, 2, 4, 8)
SIZES = (64, 256, 1024, 4096, 16 * 1024, 64 * 1024, 256 * 1024, 1024 * 1024)  # bytes

ASKS = 2000
TELLS = 40_000  # by all senders together
MOST_BYTES = 64 * 2**20  # of one size in one round
KIB = 1024


class Node(Actor):
    """Takes part in each of the three."""

    def on_start(self) -> None:
        self.total = 0

    @handler
    def add(self, amount: int) -> int:
        self.total += amount
        return self.total

    @handler
    def take(self, payload: bytes) -> int:
        return len(payload)

    @handler
    def tell_many(self, sink: ActorRef[Node], count: int) -> None:
        for _ in range(count):
            sink.tell(Node.add, 1)
        sink.ask(Node.add, 0).result()  # stands behind all that it told


def asks_in_turn(actors: Sequence[ActorRef[Node]], count: int) -> float:
    """Ask the actors, one after the other and each after the answer of the one before; microseconds an ask."""
    began = time.perf_counter()
    for number in range(count):
        actors[number % len(actors)].ask(Node.add, 1).result()
    return (time.perf_counter() - began) / count * 1e6


def tells(senders: Sequence[ActorRef[Node]], sink: ActorRef[Node], count: int) -> float:
    """Have each sender tell *count* messages and wait until all are handled; thousands a second."""
    began = time.perf_counter()
    for reply in [sender.ask(Node.tell_many, sink, count) for sender in senders]:
        reply.result()
    return len(senders) * count / (time.perf_counter() - began) / 1e3


def send_bytes(actor: ActorRef[Node], payload: bytes, count: int) -> float:
    """Ask with *payload*, each after the answer to the one before; microseconds an ask."""
    began = time.perf_counter()
    for _ in range(count):
        assert actor.ask(Node.take, payload).result() == len(payload)
    return (time.perf_counter() - began) / count * 1e6


def with_actors(chosen: Arguments, number: int) -> Row:
    """Ask *number* actors in turn."""
    count = chosen.scaled(ASKS)
    with ActorSystem() as system, _twins.twins(number, _twins.answer_each) as by_hand:
        actors = [system.spawn(Node()) for _ in range(number)]
        pipes = [twin.pipe for twin in by_hand]
        ours, theirs = take_turns(
            chosen.rounds,
            functools.partial(asks_in_turn, actors, count),
            functools.partial(_twins.asks_in_turn, pipes, count),
        )
    return Row(f"ask, {number} actors in turn", "as many Pipes", "us", ours, theirs)


def with_senders(chosen: Arguments, number: int) -> Row:
    """Have *number* senders tell one actor."""
    count = chosen.scaled(TELLS // number)
    with ActorSystem() as system, _twins.queue_twins(number) as by_hand:
        sink = system.spawn(Node(), name="sink")
        senders = [system.spawn(Node()) for _ in range(number)]
        ours, theirs = take_turns(
            chosen.rounds,
            functools.partial(tells, senders, sink, count),
            functools.partial(_twins.puts, by_hand, count),
        )
    return Row(f"tell, {number} senders", "one Queue", "k/s", ours, theirs)


def with_sizes(chosen: Arguments) -> list[Row]:
    """Ask with payloads of each size."""
    rows = []
    with ActorSystem() as system, _twins.twin(_twins.answer_lengths) as by_hand:
        actor = system.spawn(Node(), name="node")
        for size in SIZES:
            payload, count = bytes(size), chosen.scaled(min(ASKS, MOST_BYTES // size))
            ours, theirs = take_turns(
                chosen.rounds,
                functools.partial(send_bytes, actor, payload, count),
                functools.partial(_twins.send_bytes, by_hand.pipe, payload, count),
            )
            rows.append(Row(f"ask with {_size(size)}", "Pipe + msgpack", "us", ours, theirs))
    return rows


def _size(size: int) -> str:
    if size < KIB:
        return f"{size} B"
    return f"{size // KIB} KiB" if size < KIB**2 else f"{size // KIB**2} MiB"


def main() -> None:
    chosen = arguments(__doc__)
    # A short run shows that it works at the ends of each range.
    pick: Callable[[tuple[int, ...]], tuple[int, ...]] = (lambda each: each) if chosen.scale >= 1 else _few
    rows = [with_actors(chosen, number) for number in pick(ACTORS)]
    rows += [with_senders(chosen, number) for number in pick(SENDERS)]
    report(chosen, [*rows, *with_sizes(chosen)])


def _few(numbers: tuple[int, ...]) -> tuple[int, ...]:
    return numbers[0], numbers[2]


if __name__ == "__main__":
    main()
