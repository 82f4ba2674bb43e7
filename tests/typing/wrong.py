"""What the type checkers must refuse: every line that ends in "refused", and no other. Checked, never run."""

from __future__ import annotations

from actors import Actor, ActorRef, ActorSystem, Breaker, Down, PoolRef, handler, limit, pool


class Counter(Actor):
    @handler
    def add(self, amount: int) -> int:
        return amount

    @handler
    async def fetch(self, key: str) -> bytes:
        return key.encode()

    @handler
    def on_down(self, down: Down) -> None: ...

    def inside(self) -> None:
        self.call_later(1.0, Counter.add, "x")  # refused
        self.call_every(1.0, Other.close_it)  # refused
        self.watch(self.ref, Counter.add)  # refused
        self.spawn_pool(Counter())  # refused


class Other(Actor):
    @handler
    def close_it(self) -> None: ...


class Odd(Actor):
    restart = "sometimes"  # refused


def sends(counter: ActorRef[Counter], base: ActorRef[Actor]) -> None:
    counter.ask(Counter.add, "x")  # refused
    counter.ask(Counter.add)  # refused
    counter.ask(Counter.add, 1, 2)  # refused
    counter.ask(Counter.add, amuont=1)  # refused
    counter.tell(Counter.add, "x")  # refused
    counter.tell(Other.close_it)  # refused
    counter.ask(Other.close_it)  # refused
    counter.ask(Counter.fetch, 1)  # refused
    base.ask(Counter.add, 1)  # refused
    counter.stream(Counter.add, 1)  # refused
    counter.tell(5)  # refused
    text: str = counter.ask(Counter.add, 1).result()  # refused
    key: str = counter.ask(Counter.fetch, "x").result()  # refused
    counter.options(timout=1.0)  # refused
    counter.options(on_full="drop_oldest")  # refused
    counter.options(timeout="1")  # refused
    narrowed: ActorRef[Counter] = base  # refused
    print(text, key, narrowed)


def area(width: int, height: int = 1) -> int:
    return width * height


def tasks(system: ActorSystem) -> None:
    some = system.tasks("tasks", max_children=2)
    some.run(area, "x")  # refused
    some.run(area)  # refused
    some.run(area, 1, timeout=1.0)  # refused
    some.options(timeout="1")  # refused
    some.map(area, ["x"])  # refused
    some.map(area, [1], on_error="ignore")  # refused


def pools(ref: PoolRef[Counter], system: ActorSystem) -> None:
    ref.tell(Counter.add, "x")  # refused
    ref.ask(Other.close_it)  # refused
    ref.scatter(Counter.add)  # refused
    ref.broadcast(Counter.add, 1, 2)  # refused
    ref.options(on_full="drop_oldest")  # refused
    pool(Counter(), 3, routing="random")  # refused
    system.spawn_pool(Counter())  # refused


def limits(ref: ActorRef[Counter]) -> None:
    limited = limit(ref, rate=1.0)
    limited.tell(Counter.add, "x")  # refused
    limited.ask(Other.close_it)  # refused
    limited.options(timeout="1")  # refused
    limited.scatter(Counter.add, 1)  # refused
    limit(ref, 5.0)  # refused
    limit(limited, rate=1.0)  # refused
    Breaker(5)  # refused
