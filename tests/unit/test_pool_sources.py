"""What the host and an actor offer to pools, by a host and an attendant that exist only here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest

from actors import ActorNotRunningError, AskTimeoutError, SpecError, _pool_sources
from actors._pool_sources import ActorPoolSource, HostPoolSource


class Answer:
    """A reply that is done after so many looks."""

    def __init__(self, looks: float = 0) -> None:
        self.looks = looks
        self.waited: list[float] = []

    def done(self) -> bool:
        self.looks -= 1
        return self.looks < 0

    def exception(self, seconds: float) -> None:
        self.waited.append(seconds)
        if self.looks > 0:
            raise AskTimeoutError("not yet", target="/x", timeout=seconds)


@attrs.define
class World:
    """A host and the parts of it that a source uses, in one; and an actor's process."""

    name: str = "made-up"
    in_pump: bool = False
    in_callback: bool = False
    runs: bool = True
    posts: bool = True
    resizes: list[tuple[int, int]] = attrs.Factory(list)
    on_resize: Callable[[Any], object] = lambda done: done.set_result(None)
    said: list[tuple[object, ...]] = attrs.Factory(list)
    tables: list[tuple[object, ...]] = attrs.Factory(list)
    answer: tuple[object, ...] = ("ok",)
    handlers: dict[str, Any] = attrs.Factory(dict)
    pauses: list[float] = attrs.Factory(list)

    @property
    def pump(self) -> World:
        return self

    callbacks = pools = leaving = directory = attendant = pump

    def is_current(self) -> bool:
        return self.in_pump or self.in_callback

    def is_running(self) -> bool:
        return self.runs

    def post(self, action: Callable[[], object]) -> bool:
        if self.posts:
            action()
        return self.posts

    def fields(self, number: int) -> tuple[object, ...]:
        return (number, "table")

    def let_go(self, *said: object) -> None:
        self.said.append(("let go", *said))

    def stop(self, *said: object) -> None:
        self.said.append(("stop", *said))

    def look_later(self, seconds: float, action: Callable[[], object]) -> None:
        self.said.append(("later", seconds))
        action()

    after = look_later

    def resize(self, number: int, size: int, done: Any) -> None:
        self.resizes.append((number, size))
        self.on_resize(done)

    def update(self, fields: tuple[object, ...]) -> None:
        self.tables.append(fields)

    def request(self, *said: object, **_timeout: float) -> tuple[tuple[object, ...], tuple[int, ...]]:
        self.said.append(said)
        return self.answer, ()

    def notify(self, *said: object) -> None:
        self.said.append(said)

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)


def host() -> tuple[HostPoolSource, World]:
    world = World()
    return HostPoolSource(world), world  # type: ignore[arg-type]


def actor() -> tuple[ActorPoolSource, World]:
    world = World()
    return ActorPoolSource(world), world  # type: ignore[arg-type]


def test_the_host_knows_tables_and_tells_its_pump() -> None:
    source, world = host()
    source.pool_left(7, 3)
    source.stop_pool(7, drain=True)
    ran: list[bool] = []
    source.look_later(0.5, lambda: ran.append(True))

    assert source.find_pool(7) == (7, "table")
    assert world.said == [("let go", 7, 3, (0, 0)), ("stop", 7, True), ("later", 0.5)]
    assert ran == [True]


def test_the_host_waits_for_a_reply_no_longer_than_it_was_told() -> None:
    source, _world = host()
    for looks in (0, 5):
        reply: Any = Answer(looks)
        source.wait_reply(reply, 0.25)
        assert reply.waited == [0.25]


def test_the_host_resizes_and_is_told_how_it_went() -> None:
    source, world = host()
    source.resize_pool(7, 3)
    assert world.resizes == [(7, 3)]

    world.on_resize = lambda done: done.set_exception(SpecError("no such size"))
    with pytest.raises(SpecError, match="no such size"):
        source.resize_pool(7, 3)
    # An error that looks like the end of a wait.
    world.on_resize = lambda done: done.set_exception(TimeoutError("of a worker"))
    with pytest.raises(TimeoutError, match="of a worker"):
        source.resize_pool(7, 3)


@pytest.mark.parametrize("where", ["in_pump", "in_callback"])
def test_who_would_wait_for_itself_may_not_resize(where: str) -> None:
    source, world = host()
    setattr(world, where, True)
    with pytest.raises(SpecError, match="from a callback"):
        source.resize_pool(7, 3)
    assert world.resizes == []


def test_a_resize_ends_with_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_pool_sources, "_PUMP_SECONDS", 0.001)
    source, world = host()
    world.posts = False
    with pytest.raises(ActorNotRunningError, match="has stopped"):
        source.resize_pool(7, 3)

    looks = iter((True, True, False))
    world.posts, world.on_resize = True, lambda _done: None
    monkeypatch.setattr(World, "is_running", lambda _world: next(looks))
    with pytest.raises(ActorNotRunningError, match="has stopped"):
        source.resize_pool(7, 3)
    assert list(looks) == []


def test_an_actor_asks_its_supervisor() -> None:
    source, world = actor()
    world.answer = ("ok", 7, 1, "/pool")
    assert source.find_pool(7) == (7, 1, "/pool")
    world.answer = ("gone",)
    assert source.find_pool(8) is None
    source.pool_left(7, 3)
    source.resize_pool(7, 4)
    source.stop_pool(7, drain=False)
    source.look_later(0.5, lambda: None)
    world.handlers["pool"]((7, 2, "/pool"), ())

    assert world.said == [
        ("pool", 7),
        ("pool", 8),
        ("pool_left", 7, 3),
        ("resize_pool", 7, 4),
        ("stop_pool", 7, False),
        ("later", 0.5),
    ]
    assert world.tables == [(7, 2, "/pool")]


def test_an_actor_that_waits_for_a_reply_reads_its_own_inbox_until_it_is_there_or_late() -> None:
    source, world = actor()
    reply: Any = Answer(3)
    source.wait_reply(reply, 10.0)
    assert len(world.pauses) == 3

    late: Any = Answer(1e9)
    source.wait_reply(late, 0.0)
    assert len(world.pauses) == 3
