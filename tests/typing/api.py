"""What the type checkers must infer of the public API. Checked, never run."""

from __future__ import annotations

import concurrent.futures
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, assert_type

from actors import Actor, ActorRef, Down, Reply, handler


class Counter(Actor):
    restart = "transient"
    shutdown = None

    def __init__(self, start: int = 0) -> None:
        super().__init__()
        self.start_at = start

    @handler
    def add(self, amount: int, *, twice: bool = False) -> int:
        assert_type(self.ref.ask(Counter.add, amount), Reply[int])
        self.call_later(1.0, Counter.add, 1, twice=True)
        self.call_every(1.0, Counter.add, 1)
        return amount

    @handler
    async def fetch(self, key: str) -> bytes:
        return key.encode()

    @handler
    def items(self, n: int) -> Iterator[str]:
        yield str(n)

    @handler
    def on_down(self, down: Down) -> None:
        assert_type(down.incarnation, int)

    def follow(self, other: ActorRef[Counter]) -> None:
        assert_type(self.spawn(Counter(1), name="x"), ActorRef[Counter])
        self.watch(other, Counter.on_down).cancel()
        assert_type(self.deadline, float | None)


class Small(Counter):
    @handler
    def reset(self) -> None: ...


class Sink(Actor, ABC):
    @handler
    @abstractmethod
    def put(self, item: int) -> None: ...


class ListSink(Sink):
    def put(self, item: int) -> None: ...


def sends(counter: ActorRef[Counter], small: ActorRef[Small]) -> None:
    counter.tell(Counter.add, 5)
    counter.tell(Counter.add, 5, twice=True)
    counter.tell(Counter.fetch, "x")
    counter.tell("add", 5)
    assert_type(counter.ask(Counter.add, 5), Reply[int])
    assert_type(counter.ask(Counter.add, 5).result(timeout=1), int)
    assert_type(counter.ask(Counter.fetch, "x"), Reply[bytes])
    assert_type(counter.ask("add", 5), Reply[Any])
    assert_type(counter.options(timeout=1.0, on_full="reject", send_timeout=None), ActorRef[Counter])
    assert_type(counter.options(timeout=1.0).ask(Counter.add, 1), Reply[int])
    assert_type(small.ask(Counter.add, 5), Reply[int])
    small.tell(Small.reset)
    for item in counter.stream(Counter.items, 3):
        assert_type(item, str)
    assert_type(counter.is_alive(), bool)
    assert_type(counter.incarnation, int)
    assert_type(counter.statistics().handled, int)
    counter.stop(drain=True)


def takes_a_sink(sink: ActorRef[Sink]) -> None:
    sink.tell(Sink.put, 1)


def protocols(sink: ActorRef[ListSink], small: ActorRef[Small]) -> None:
    takes_a_sink(sink)
    base: ActorRef[Counter] = small
    anyone: ActorRef[Actor] = base
    anyone.tell("add", 1)


async def awaits(counter: ActorRef[Counter]) -> None:
    assert_type(await counter.ask(Counter.add, 5), int)
    assert_type(await counter.ask(Counter.fetch, "x"), bytes)


def futures(reply: Reply[int]) -> None:
    future: concurrent.futures.Future[int] = reply
    assert_type(future.result(), int)
    reply.add_done_callback(lambda done: print(done.result()))
    assert_type(reply.cancel(), bool)
