"""
Where each microsecond of an ask goes: the time line of its steps in both processes, and what decoding costs by itself.
"""

from __future__ import annotations

import bisect
import time
from collections.abc import Callable, Sequence
from statistics import median

import msgpack

from actors import Actor, ActorRef, ActorSystem, handler
from actors.mailbox import _envelope
from benchmarks import _twins, ask
from benchmarks._rounds import Row, arguments, report, take_turns
from benchmarks._trace import Note, Tracer, steps_of_ask

ASKS = 2000
DECODES = 2000
ENOUGH = 0.5  # of the asks must have a whole time line, else what is shown would be about the others

WHOLE = "the whole, without notes"


class Traced(Actor):
    """Notes when it reads, encodes, writes, and what its handler takes."""

    def on_start(self) -> None:
        self.total = 0
        self.tracer = Tracer()
        self.tracer.install()

    @handler
    def add(self, amount: int) -> int:
        began = time.perf_counter_ns()
        self.total += amount
        total = self.total
        self.tracer.add("handler", began, time.perf_counter_ns())
        return total

    @handler
    def take_notes(self) -> list[Note]:
        return self.tracer.take()


def trace(actor: ActorRef[Traced], tracer: Tracer, count: int) -> dict[str, float]:
    """Ask *count* times; the median microseconds of each step."""
    actor.ask(Traced.take_notes).result()
    tracer.take()
    asked: list[tuple[int, int]] = []
    for _ in range(count):
        began = time.perf_counter_ns()
        actor.ask(Traced.add, 1).result()
        asked.append((began, time.perf_counter_ns()))
    mine, its = _by_ask(tracer.take(), asked), _by_ask(actor.ask(Traced.take_notes).result(), asked)
    lines = [steps_of_ask(*asked[number], mine[number], its[number]) for number in range(count)]
    whole = [line for line in lines if line is not None]
    if len(whole) < ENOUGH * count:
        raise SystemExit(
            f"breakdown: only {len(whole)} of {count} asks have a whole time line; "
            "the package writes, reads or encodes by calls that _trace.py does not know"
        )
    return {step: median(line[step] for line in whole) for step in whole[0]}


def _by_ask(notes: Sequence[Note], asked: Sequence[tuple[int, int]]) -> list[list[Note]]:
    begins = [began for began, _ended in asked]
    found: list[list[Note]] = [[] for _ in asked]
    for note in notes:
        number = bisect.bisect_right(begins, note[1]) - 1
        if number >= 0:
            found[number].append(note)
    return found


def decode_ask(count: int) -> float:
    """Decode a small ask as the actor does; microseconds each."""
    body = _envelope.encode_ask("add", (1,), None, 0, 1 << _envelope.INCARNATION_SHIFT, None)
    reader = _envelope.MessageReader()

    def decode() -> object:
        reader.feed(body)
        return next(iter(reader))

    return _each(count, decode)


def decode_answer(count: int) -> float:
    """Decode its answer as the asker does; microseconds each."""
    body = _envelope.encode_result(1 << _envelope.INCARNATION_SHIFT, 1)
    return _each(count, lambda: _envelope.parse_answers(body))


def codec_alone(count: int) -> float:
    """What msgpack itself takes to pack and unpack an ask and an answer; microseconds for the four."""
    message, answer = [1, "add", [1], None, 0, 1 << 40, None], [0, 1 << 40, 1]
    pack, unpack = msgpack.Packer().pack, msgpack.unpackb
    return _each(count, lambda: (unpack(pack(message)), unpack(pack(answer))))


def _each(count: int, work: Callable[[], object]) -> float:
    began = time.perf_counter_ns()
    for _ in range(count):
        work()
    return (time.perf_counter_ns() - began) / count / 1e3


def main() -> None:
    chosen = arguments(__doc__)
    count, decodes = chosen.scaled(ASKS), chosen.scaled(DECODES)
    with ActorSystem() as system, _twins.twin(_twins.answer_each) as by_hand:
        counter = system.spawn(ask.Counter(), name="counter")
        whole, theirs, *alone = take_turns(
            chosen.rounds,
            lambda: ask.asks(counter, count),
            lambda: _twins.ping_pong(by_hand.pipe, count),
            lambda: decode_ask(decodes),
            lambda: decode_answer(decodes),
            lambda: codec_alone(decodes),
        )
        actor = system.spawn(Traced(), name="traced")
        tracer = Tracer()
        tracer.install()  # behind the others: from here on each call of this process takes longer
        trace(actor, tracer, count)
        rounds = [trace(actor, tracer, count) for _ in range(chosen.rounds)]
    rows = [Row(step, None, "us", tuple(each[step] for each in rounds)) for step in rounds[0]]
    of_which = ("of it: decode the ask", "of it: decode the answer", "msgpack alone, both messages packed and unpacked")
    rows += [Row(name, None, "us", numbers) for name, numbers in zip(of_which, alone, strict=True)]
    report(chosen, [*rows, Row(WHOLE, "Pipe + msgpack, ping-pong", "us", whole, theirs)])


if __name__ == "__main__":
    main()
