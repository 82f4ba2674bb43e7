"""Generator handlers, over real processes: credit, ends, deaths."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator

import pytest

from actors import Actor, ActorDied, ActorRef, ActorSystem, SpecError, handler
from tests.helpers import eventually


class Source(Actor):
    def on_start(self) -> None:
        self.made = 0
        self.closed = 0

    @handler
    def numbers(self, count: int) -> Iterator[int]:
        try:
            for number in range(count):
                self.made += 1
                yield number
        finally:
            self.closed += 1

    @handler
    def blocks(self, count: int, size: int) -> Iterator[bytes]:
        for number in range(count):
            yield bytes([number % 256]) * size

    @handler
    def broken(self, after: int) -> Iterator[int]:
        yield from range(after)
        raise ValueError("the well is dry")

    @handler
    def died(self, after: int) -> Iterator[int]:
        yield from range(after)
        os.kill(os.getpid(), signal.SIGKILL)

    @handler
    def seen(self) -> tuple[int, int]:
        return self.made, self.closed


class Reader(Actor):
    def __init__(self, source: ActorRef[Source]) -> None:
        super().__init__()
        self.source = source

    @handler
    def total(self, count: int) -> int:
        return sum(self.source.stream(Source.numbers, count))

    @handler
    def begin(self) -> int:
        self.stream = self.source.stream(Source.numbers, 10**9)
        return next(iter(self.stream))


@pytest.fixture
def source(system: ActorSystem) -> ActorRef[Source]:
    return system.spawn(Source(), name="source")


@pytest.mark.conformance
def test_items_arrive_in_order_and_end_where_the_generator_does(source: ActorRef[Source]) -> None:
    assert list(range(1000)) == list(source.stream(Source.numbers, 1000))
    assert [] == list(source.stream(Source.numbers, 0))


def test_items_are_read_by_async_for(source: ActorRef[Source]) -> None:
    async def read() -> list[int]:
        return [number async for number in source.stream(Source.numbers, 100)]

    assert list(range(100)) == asyncio.run(read())


def test_an_actor_reads_a_stream_of_another(system: ActorSystem, source: ActorRef[Source]) -> None:
    reader = system.spawn(Reader(source))

    assert sum(range(500)) == reader.ask(Reader.total, 500).result(timeout=30)


def test_a_slow_reader_holds_the_producer(source: ActorRef[Source]) -> None:
    with source.stream(Source.numbers, 10**9) as items:
        assert 0 == next(iter(items))
        statistics = source.statistics()
    made, _closed = source.ask(Source.seen).result(timeout=30)

    assert statistics.handler == "numbers"
    assert 1 <= made <= 40


def test_a_reader_that_closes_ends_the_generator(source: ActorRef[Source]) -> None:
    with source.stream(Source.numbers, 10**9) as items:
        for number in items:
            if number == 100:
                break

    assert 1 == source.ask(Source.seen).result(timeout=30)[1]


def test_large_items_arrive_whole(source: ActorRef[Source]) -> None:
    sizes = [len(block) for block in source.stream(Source.blocks, 40, 200_000)]

    assert [200_000] * 40 == sizes


def test_large_items_that_are_not_read_keep_no_memory(system: ActorSystem, source: ActorRef[Source]) -> None:
    host = system._life.host
    assert host is not None
    with source.stream(Source.blocks, 1000, 200_000) as items:
        assert 200_000 == len(next(iter(items)))
        eventually(lambda: source.statistics().state == "credit")

    source.ask(Source.seen).result(timeout=30)
    eventually(lambda: host.arenas.in_use() == 0, what="no slot is in use")


def test_what_the_generator_raises_comes_after_its_items(source: ActorRef[Source]) -> None:
    items = iter(source.stream(Source.broken, 3))

    assert [0, 1, 2] == [next(items) for _ in range(3)]
    with pytest.raises(ValueError, match="the well is dry"):
        next(items)


def test_the_death_of_the_producer_comes_after_its_items(source: ActorRef[Source]) -> None:
    items = source.stream(Source.died, 5)
    got: list[int] = []

    with pytest.raises(ActorDied) as caught:
        got.extend(items)

    assert caught.value.reason.kind == "signal"
    assert caught.value.may_have_run
    assert [0, 1, 2, 3, 4] == got


def test_the_death_of_the_reader_ends_the_generator(system: ActorSystem, source: ActorRef[Source]) -> None:
    reader = system.spawn(Reader(source), name="reader")
    assert 0 == reader.ask(Reader.begin).result(timeout=30)
    (pid,) = (info.pid for info in system.actors() if info.path.endswith("/reader"))
    assert pid is not None

    os.kill(pid, signal.SIGKILL)

    assert 1 == source.ask(Source.seen).result(timeout=30)[1]


def test_a_stream_that_waits_for_its_reader_does_not_hold_up_a_stop(
    system: ActorSystem, source: ActorRef[Source]
) -> None:
    items = source.stream(Source.numbers, 10**9)
    assert 0 == next(iter(items))

    source.stop()

    eventually(lambda: not source.is_alive(), timeout=4.0, what="the source stops within its shutdown time")
    items.close()


def test_the_wrong_way_to_call_a_handler_is_said(source: ActorRef[Source]) -> None:
    with pytest.raises(SpecError, match="is no generator"):
        next(iter(source.stream("seen")))
    with pytest.raises(SpecError, match=r"use ref\.stream"):
        source.ask("numbers", 3).result(timeout=30)


def test_two_threads_read_two_streams_of_two_actors(system: ActorSystem, source: ActorRef[Source]) -> None:
    other = system.spawn(Source(), name="other")
    totals: list[int] = []
    threads = [
        threading.Thread(target=lambda ref=ref: totals.append(sum(ref.stream(Source.numbers, 300))))
        for ref in (source, other)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert [sum(range(300))] * 2 == totals


def test_a_cancelled_ask_is_skipped_if_it_was_not_started(source: ActorRef[Source]) -> None:
    stream = source.stream(Source.numbers, 10**9)
    assert 0 == next(iter(stream))
    waiting = source.ask(Source.numbers.__name__, 5)

    assert waiting.cancel()
    stream.close()

    made, closed = source.ask(Source.seen).result(timeout=30)
    assert closed == 1
    assert made <= 40
