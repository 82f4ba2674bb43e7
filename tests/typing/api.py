"""What the type checkers must infer of the public API. Checked, never run."""

from __future__ import annotations

import concurrent.futures
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from typing import Any, Literal, assert_type

from actors import (
    Actor,
    ActorPool,
    ActorRef,
    ActorsError,
    ActorSystem,
    Breaker,
    Channel,
    Down,
    LimitedRef,
    PoolRef,
    Reply,
    Tasks,
    handler,
    limit,
    pool,
)


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
        assert_type(self.spawn_pool(pool(Counter(1), 3, routing="key_hash")), PoolRef[Counter])
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


async def pools(system: ActorSystem) -> None:
    assert_type(pool(Counter(1), 3), ActorPool[Counter])
    ref = system.spawn_pool(pool(Counter(1), 3, routing="key_hash", redeliver=1))
    assert_type(ref, PoolRef[Counter])
    ref.tell(Counter.add, 5)
    ref.broadcast(Counter.add, 5, twice=True)
    assert_type(ref.ask(Counter.add, 5), Reply[int])
    assert_type(await ref.ask(Counter.fetch, "x"), bytes)
    assert_type(ref.scatter(Counter.add, 5), list[Reply[int]])
    assert_type(ref.scatter(Counter.fetch, "x"), list[Reply[bytes]])
    assert_type(ref.options(key="x", timeout=1.0), PoolRef[Counter])
    assert_type(ref.members, tuple[ActorRef[Counter], ...])
    assert_type(system.find_pool("counters"), PoolRef[Any])
    for item in ref.stream(Counter.items, 3):
        assert_type(item, str)
    anyone: PoolRef[Actor] = ref
    anyone.tell("add", 1)


async def limits(counter: ActorRef[Counter], workers: PoolRef[Small]) -> None:
    limited = limit(counter, rate=100, burst=10, concurrency=4, breaker=Breaker(failures=3), wait=1.0)
    assert_type(limited, LimitedRef[Counter])
    assert_type(limit(workers, rate=0.5), LimitedRef[Small])
    limited.tell(Counter.add, 5, twice=True)
    limited.tell("add", 5)
    assert_type(limited.ask(Counter.add, 5), Reply[int])
    assert_type(await limited.ask(Counter.fetch, "x"), bytes)
    assert_type(limited.ask("add", 5), Reply[Any])
    assert_type(limited.options(timeout=1.0, wait=2, on_full="reject"), LimitedRef[Counter])
    assert_type(limited.options(timeout=1.0).ask(Counter.add, 1).result(timeout=1), int)
    assert_type(limited.breaker_state, Literal["closed", "open", "half_open"])
    for item in limited.stream(Counter.items, 3):
        assert_type(item, str)
    anyone: LimitedRef[Actor] = limited
    anyone.tell("add", 1)


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


def area(width: int, height: int = 1, *, scale: float = 1.0) -> float:
    return width * height * scale


def plain(width: int) -> str:
    return str(width)


async def fetch(key: str) -> bytes:
    return key.encode()


async def tasks(system: ActorSystem) -> None:
    assert_type(system.tasks("tasks", max_children=8), Tasks)
    some = system.tasks().options(timeout=1.0, shutdown=None)
    assert_type(some, Tasks)
    assert_type(some.run(area, 2, 3, scale=0.5), Reply[float])
    assert_type(some.run(fetch, "x"), Reply[bytes])
    assert_type(await some.run(fetch, "x"), bytes)
    assert_type(some.map(plain, [1, 2], max_concurrency=2), Generator[str, None, None])
    assert_type(some.map(plain, [1, 2], on_error="skip"), Generator[str, None, None])
    assert_type(some.map(fetch, ["x"]), Generator[bytes, None, None])
    assert_type(some.map(plain, [1], on_error="return"), Generator[str | ActorsError, None, None])
    some.map(plain, [1]).close()


def channels(system: ActorSystem, actor: Counter) -> None:
    channel: Channel[int] = system.channel(maxsize=10, name="numbers", joinable=True)
    channel.put(1, timeout=1.0)
    assert_type(channel.get(), int)
    assert_type(channel.get_nowait(), int)
    assert_type(channel.join(1.0), bool)
    for item in channel:
        assert_type(item, int)
    assert_type(actor.channel(), Channel[Any])
