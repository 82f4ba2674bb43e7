"""
The rate at which one actor takes what two others tell it, beside two writers on one ``multiprocessing.Queue``.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Iterator, Sequence

import msgpack

from actors import Actor, ActorRef, ActorSystem, handler
from benchmarks import _twins
from benchmarks._rounds import Row, Target, arguments, report, take_turns

MESSAGES_EACH = 50_000


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


@contextlib.contextmanager
def queue_twins() -> Iterator[tuple[_twins.Twin, _twins.Twin, _twins.Twin]]:
    """One process that reads a queue and two that write it."""
    messages = _twins.queue()
    with (
        _twins.twin(_twins.read_queue, messages) as reader,
        _twins.twin(_twins.write_queue, messages) as one,
        _twins.twin(_twins.write_queue, messages) as other,
    ):
        yield reader, one, other
    messages.close()


def puts(reader: _twins.Twin, writers: Sequence[_twins.Twin], count: int) -> float:
    """Have each writer put *count* messages and wait until all are taken; thousands a second."""
    began = time.perf_counter()
    reader.pipe.send_bytes(msgpack.packb(["read", count * len(writers)]))
    for writer in writers:
        writer.pipe.send_bytes(msgpack.packb(["write", count]))
    msgpack.unpackb(reader.pipe.recv_bytes())
    return len(writers) * count / (time.perf_counter() - began) / 1e3


def main() -> None:
    chosen = arguments(__doc__)
    count = chosen.scaled(MESSAGES_EACH)
    with ActorSystem() as system, queue_twins() as (reader, *writers):
        sink = system.spawn(Sink(), name="sink")
        sources = [system.spawn(Source(), name=f"source-{number}") for number in (1, 2)]
        ours, theirs = take_turns(
            chosen.rounds,
            functools.partial(tells, sources, sink, count),
            functools.partial(puts, reader, writers, count),
        )
    report(chosen, [Row("fan-in, 2 tell 1", "two writers on a Queue", "k/s", ours, theirs, Target("at least", 10.0))])


if __name__ == "__main__":
    main()
