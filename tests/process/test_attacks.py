"""What reviewers tried against a running system, and what held only after it was mended."""

from __future__ import annotations

import math
import os
import resource
import select
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors import Actor, ActorDied, ActorRef, ActorSystem, handler
from actors._child import ActorProcess
from tests.helpers import eventually


class Target(Actor):
    """Answers whoever calls."""

    @handler
    def echo(self, value: Any) -> Any:
        return value

    @handler
    def wait(self, seconds: float) -> None:
        threading.Event().wait(seconds)

    @handler
    def count(self, items: int) -> Iterator[int]:
        yield from range(items)

    @handler
    def open_descriptors(self) -> int:
        return len(list(Path("/proc/self/fd").iterdir()))


class Rogue(Actor):
    """Forks in its handlers, and asks without listening."""

    @handler
    def call(self, ref: ActorRef[Target]) -> Any:
        return ref.ask(Target.echo, 1).result(timeout=10)

    @handler
    def pid_of(self) -> int:
        return os.getpid()

    @handler
    def fork(self, raises: bool) -> int:
        pid = os.fork()
        if pid == 0 and raises:
            raise ValueError("in the copy")
        return pid

    @handler
    def ask_and_never_listen(self, uid: int) -> None:
        process: ActorProcess = self._context._process  # type: ignore[union-attr]
        attendant = process.attendant
        attendant._actions[attendant.lane.fileno()] = threading.Event().wait
        while True:
            if not attendant.lane.send("resolve", 1 << 40, uid):
                select.select([], [attendant.lane.fileno()], [])


@pytest.fixture
def system() -> Iterator[ActorSystem]:
    with ActorSystem() as running:
        yield running


def test_an_actor_keeps_nothing_of_callers_that_have_gone(system: ActorSystem) -> None:
    target = system.spawn(Target())
    before = target.ask(Target.open_descriptors).result(timeout=5)
    for number in range(20):
        caller = system.spawn(Rogue(), name=f"caller-{number}", restart="temporary")
        assert caller.ask(Rogue.call, target).result(timeout=5) == 1
        caller.stop()
    eventually(lambda: target.ask(Target.open_descriptors).result(timeout=5) <= before)


@pytest.mark.parametrize("raises", [False, True], ids=["returns", "raises"])
def test_a_copy_of_an_actor_that_leaves_its_handler_ends(system: ActorSystem, raises: bool) -> None:
    rogue = system.spawn(Rogue())
    copy = rogue.ask(Rogue.fork, raises).result(timeout=5)
    assert copy > 0
    state = Path(f"/proc/{copy}/stat")
    eventually(lambda: not state.exists() or b") Z" in state.read_bytes())
    pids = {rogue.ask(Rogue.pid_of).result(timeout=5) for _ in range(20)}
    assert len(pids) == 1
    assert rogue.incarnation == 1


def test_a_child_that_asks_and_never_listens_takes_none_of_the_hosts_descriptors(system: ActorSystem) -> None:
    target, rogue = system.spawn(Target()), system.spawn(Rogue(), restart="temporary")
    rogue.tell(Rogue.ask_and_never_listen, target.uid)
    eventually(lambda: not rogue.is_alive(), 10.0)
    assert target.ask(Target.echo, 1).result(timeout=5) == 1


@pytest.mark.parametrize("seconds", [math.inf, 1e300, 1e10])
def test_a_time_that_no_clock_reaches_is_only_long(system: ActorSystem, seconds: float) -> None:
    target = system.spawn(Target())
    assert target.options(timeout=seconds).ask(Target.wait, 0.01).exception(timeout=5) is None
    assert target.options(timeout=seconds).ask(Target.echo, 1).result(timeout=5) == 1


def test_a_stream_that_a_stop_cuts_short_does_not_look_whole(system: ActorSystem) -> None:
    target = system.spawn(Target())
    stream = target.stream(Target.count, 1000)
    assert next(iter(stream)) == 0
    target.stop()
    with pytest.raises(ActorDied):
        list(stream)


def test_a_signal_handler_may_drop_a_message_while_another_is_being_dropped(system: ActorSystem) -> None:
    target = system.spawn(Target(), on_full="drop_newest")
    target.tell(Target.wait, 1.5)
    sent = 0

    def tell_more(*_: object) -> None:
        nonlocal sent
        sent += 1
        target.tell(Target.echo, b"x" * 3000)

    before = signal.signal(signal.SIGALRM, tell_more)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        while sent < 300:
            target.tell(Target.echo, b"x" * 3000)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert system.dead_letters()["overflow"] > 0
    assert target.options(on_full="block").ask(Target.echo, 1).result(timeout=10) == 1


def test_a_host_without_descriptors_refuses_a_way_and_goes_on(system: ActorSystem) -> None:
    target, rogue = system.spawn(Target()), system.spawn(Rogue())
    assert rogue.ask(Rogue.pid_of).result(timeout=5) > 0
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))  # all numbers below are in use
    try:
        assert "the host cannot" in str(rogue.ask(Rogue.call, target).exception(timeout=5))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert rogue.ask(Rogue.call, target).result(timeout=5) == 1
