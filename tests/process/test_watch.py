"""Each watch gives one Down: whatever the watched died of, whenever it was watched, and after all that it had said before."""

from __future__ import annotations

import contextlib
import functools
import queue
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from actors import ActorNotRunningError, ActorRef, ActorSystem, Backoff, Down, SpecError, Supervisor
from tests.helpers import eventually, kill
from tests.watchers import Unready, Watcher


def noted(ref: ActorRef[Watcher]) -> list[Any]:
    return ref.ask(Watcher.noted).result(timeout=20)


def pair(system: ActorSystem, **options: Any) -> tuple[ActorRef[Watcher], ActorRef[Watcher]]:
    return system.spawn(Watcher(), name="watcher"), system.spawn(Watcher(), name="target", **options)


def test_a_watch_says_once_that_the_incarnation_has_ended(system: ActorSystem) -> None:
    watcher, target = pair(system)
    watcher.ask(Watcher.follow, target).result(timeout=20)
    kill(system, target)
    eventually(lambda: noted(watcher) == [("/system/target", 1, "signal")], 20.0)
    kill(system, target)
    eventually(lambda: target.incarnation == 3, 20.0)

    assert noted(watcher) == [("/system/target", 1, "signal")]


@pytest.mark.parametrize(
    ("end", "kind"), [("fail", "crash"), ("leave", "normal"), ("stop", "requested")], ids=["crash", "normal", "stop"]
)
def test_every_end_is_told(system: ActorSystem, end: str, kind: str) -> None:
    watcher, target = pair(system, restart="temporary")
    watcher.ask(Watcher.follow, target).result(timeout=5)
    if end == "stop":
        target.stop()
    else:
        target.tell(end, *(["x"] if end == "fail" else []))

    eventually(lambda: noted(watcher) == [("/system/target", 1, kind)])


def test_two_watches_are_two_downs_and_a_handler_may_be_a_coroutine(system: ActorSystem) -> None:
    watcher, target = pair(system)
    watcher.ask(Watcher.follow, target, 2).result(timeout=5)
    watcher.ask(Watcher.follow, target, 1, "on_down_later").result(timeout=5)
    kill(system, target)

    down = ("/system/target", 1, "signal")
    eventually(lambda: noted(watcher) == [down, down, (*down, "later")])


def test_one_that_is_gone_for_good_is_told_of_at_once(system: ActorSystem) -> None:
    watcher, target = pair(system, restart="temporary")
    kill(system, target)
    eventually(lambda: not target.is_alive())
    watcher.ask(Watcher.follow, target, 2).result(timeout=5)

    eventually(lambda: noted(watcher) == [("/system/target", 1, "signal")] * 2)


def test_one_between_two_incarnations_is_told_of_at_once(start_method: Any) -> None:
    with ActorSystem(Supervisor("system", max_restarts=1, period=300.0), start_method=start_method) as system:
        watcher, target = pair(system, backoff=Backoff(initial=20.0))
        kill(system, target)
        eventually(lambda: next(i.state for i in system.actors() if i.uid == target.uid) == "down")
        watcher.ask(Watcher.follow, target).result(timeout=5)

        eventually(lambda: noted(watcher) == [("/system/target", 1, "signal")])


def test_watching_again_in_the_handler_follows_every_incarnation(start_method: Any) -> None:
    with ActorSystem(Supervisor("system", max_restarts=100, period=60.0), start_method=start_method) as system:
        watcher, target = pair(system, backoff=Backoff(initial=0.2, factor=1.0, jitter=0.0))
        watcher.ask(Watcher.follow, target, 1, "on_down_again").result(timeout=5)
        for number in (1, 2, 3):
            assert target.ask(Watcher.pid_of).result(timeout=20)
            kill(system, target)
            eventually(functools.partial(has_noted, watcher, number))
        assert target.ask(Watcher.pid_of).result(timeout=20)
        target.stop()
        ends = [(1, "signal"), (2, "signal"), (3, "signal"), (4, "requested")]
        eventually(lambda: noted(watcher) == [("/system/target", *end) for end in ends])


def test_one_that_is_starting_is_watched_and_a_start_that_fails_is_an_end(system: ActorSystem, tmp_path: Path) -> None:
    watcher, fails = system.spawn(Watcher(), name="watcher"), tmp_path / "fails"
    fails.touch()
    starting = system.spawn(
        Unready(str(tmp_path / "gate"), str(fails)), name="starting", wait=False, backoff=Backoff(initial=0.0)
    )
    eventually(lambda: starting.incarnation == 1)
    watcher.ask(Watcher.follow, starting).result(timeout=5)
    assert noted(watcher) == []
    (tmp_path / "gate").touch()

    eventually(lambda: noted(watcher) == [("/system/starting", 1, "boot_failure")])


def test_what_the_dead_one_had_written_is_handled_before_its_down(start_method: Any, tmp_path: Path) -> None:
    with ActorSystem(Supervisor("system", max_restarts=100, period=1.0), start_method=start_method) as system:
        tell_and_die_often(system, tmp_path)


def tell_and_die_often(system: ActorSystem, tmp_path: Path) -> None:
    watcher, target = pair(system)
    watcher.ask(Watcher.follow, target).result(timeout=5)
    for number in range(10):
        holding = watcher.ask(Watcher.hold, str(tmp_path / f"gate{number}"))
        target.tell(Watcher.tell_and_die, watcher, 1000)
        eventually(functools.partial(is_past, target, number + 1), 20.0)
        (tmp_path / f"gate{number}").touch()
        holding.result(timeout=5)
        eventually(functools.partial(has_noted, watcher, 1001 * (number + 1)), 20.0)
        watcher.ask(Watcher.follow, target).result(timeout=5)
        assert noted(watcher)[-1001:-1] == list(range(1000))
        assert noted(watcher)[-1] == ("/system/target", number + 1, "signal")


def is_past(ref: ActorRef[Any], incarnation: int) -> bool:
    return ref.incarnation > incarnation


def has_noted(ref: ActorRef[Watcher], count: int) -> bool:
    return len(noted(ref)) == count


def test_an_actor_that_is_flooded_hears_of_it_all_the_same(system: ActorSystem) -> None:
    watcher, target = pair(system)
    watcher.ask(Watcher.follow, target).result(timeout=5)
    over = threading.Event()

    def flood() -> None:
        while not over.is_set():
            watcher.tell(Watcher.note, 0)

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        kill(system, target)
        eventually(lambda: ("/system/target", 1, "signal") in noted(watcher), 20.0)
    finally:
        over.set()
        thread.join()


def test_what_was_taken_back_is_not_told(system: ActorSystem, tmp_path: Path) -> None:
    watcher, target = pair(system)
    watcher.ask(Watcher.follow, target, 3).result(timeout=5)
    assert watcher.ask(Watcher.cancel_all).result(timeout=5) == [True] * 3
    assert watcher.ask(Watcher.cancel_all).result(timeout=5) == [False] * 3
    watcher.ask(Watcher.follow, target).result(timeout=5)
    cancelled = watcher.ask(Watcher.cancel_when, str(tmp_path / "gate"))
    kill(system, target)
    (tmp_path / "gate").touch()

    assert cancelled.result(timeout=20) == [False] * 3 + [True]
    assert noted(watcher) == []
    host = system._life.host
    assert host is not None
    assert not host.runner.obituaries._book._watchers


def test_a_watcher_that_is_started_again_has_no_watches(system: ActorSystem) -> None:
    watcher, target = pair(system)
    watcher.ask(Watcher.follow, target, 100).result(timeout=5)
    kill(system, watcher)
    eventually(lambda: watcher.incarnation == 2)
    kill(system, target)
    eventually(lambda: target.incarnation == 2)

    assert noted(watcher) == []
    host = system._life.host
    assert host is not None
    eventually(lambda: not host.runner.obituaries._book._watchers)


def test_a_handler_of_the_news_that_fails_crashes_the_watcher(system: ActorSystem) -> None:
    watcher, target = pair(system)
    watcher.ask(Watcher.follow, target, 1, "on_down_badly").result(timeout=5)
    downs: queue.SimpleQueue[Down] = queue.SimpleQueue()
    system.watch(watcher, downs.put)
    kill(system, target)
    down = downs.get(timeout=5)

    assert down.reason.kind == "crash"
    assert "cannot bear the end of /system/target" in str(down.reason)


def test_what_cannot_be_watched_is_refused_at_the_call(system: ActorSystem) -> None:
    watcher, target = pair(system)
    foreign: ActorRef[Any] = ActorRef("elsewhere", 1, "/elsewhere/a")

    for what, args, text in [
        ("watch", (watcher, "on_down"), "SpecError: watch(/system/watcher): that is this actor itself"),
        ("watch", (foreign, "on_down"), "SpecError: watch(/elsewhere/a): it is of system 'elsewhere'"),
        ("watch", (5, "on_down"), "SpecError: watch(5): must be an ActorRef"),
        ("watch", (target, "nothing"), "HandlerNotFoundError: "),
        ("watch", (target, "noted"), "ArgumentsError: "),
        ("link", (watcher,), "SpecError: link(/system/watcher): that is this actor itself"),
        ("link", (foreign,), "SpecError: link(/elsewhere/a)"),
        ("unlink", (watcher,), "SpecError: unlink(/system/watcher)"),
        ("trap_exits", ("nothing",), "HandlerNotFoundError: "),
    ]:
        assert watcher.ask(Watcher.refused, what, *args).result(timeout=5).startswith(text)
    for wrong, callback, text in [
        (foreign, print, "of system"),
        (5, print, "must be"),
        (target, 5, "must be"),
    ]:
        with pytest.raises(SpecError, match=text):
            system.watch(wrong, callback)  # type: ignore[arg-type]


def test_ten_thousand_watches_on_one_actor_delay_nobody_beyond_a_tick(system: ActorSystem) -> None:
    watcher, target = pair(system)
    sibling = system.spawn(Watcher(), name="sibling")
    watcher.ask(Watcher.follow, target, 10_000).result(timeout=20)
    downs: queue.SimpleQueue[Down] = queue.SimpleQueue()
    for _ in range(10_000):
        system.watch(target, downs.put)
    slowest, ended = 0.0, threading.Event()
    system.watch(target, lambda _down: ended.set())
    kill(system, target)
    while not ended.is_set():
        began = time.monotonic()
        assert sibling.ask(Watcher.pid_of).result(timeout=5) > 0
        sibling.is_alive()
        slowest = max(slowest, time.monotonic() - began)

    eventually(lambda: len(noted(watcher)) == 10_000, 20.0)
    assert downs.qsize() == 10_000
    assert slowest < 1.0


# --- the host watches


def test_the_host_is_called_back_once_for_each_watch(system: ActorSystem) -> None:
    target = system.spawn(Watcher(), restart="temporary")
    downs: queue.SimpleQueue[Down] = queue.SimpleQueue()
    watches = [system.watch(target, downs.put) for _ in range(3)]
    assert watches[0].cancel()
    kill(system, target)

    found = [downs.get(timeout=20) for _ in range(2)]
    assert [(down.ref, down.incarnation, down.reason.signal) for down in found] == [(target, 1, "SIGKILL")] * 2
    eventually(lambda: not target.is_alive())
    system.watch(target, downs.put)
    assert downs.get(timeout=5).incarnation == 1
    assert not any(watch.cancel() for watch in watches)


def test_a_callback_that_waits_for_its_turn_can_be_taken_back(system: ActorSystem) -> None:
    target, gate = system.spawn(Watcher(), restart="temporary"), threading.Event()
    entered = threading.Event()
    downs: queue.SimpleQueue[Down] = queue.SimpleQueue()

    def wait(_down: Down) -> None:
        entered.set()
        gate.wait(20)

    system.watch(target, wait)
    late = system.watch(target, downs.put)
    kill(system, target)
    assert entered.wait(5)
    assert late.cancel()
    gate.set()
    assert not late.cancel()
    eventually(lambda: not target.is_alive())
    assert downs.empty()


def test_a_system_that_ends_tells_all_watchers(start_method: Any) -> None:
    downs: queue.SimpleQueue[Down] = queue.SimpleQueue()
    with ActorSystem(Supervisor("app"), start_method=start_method) as system:
        refs = [system.spawn(Watcher(), name=f"target-{number}") for number in range(3)]
        for ref in refs:
            system.watch(ref, downs.put)
    with contextlib.suppress(queue.Empty):
        assert {downs.get(timeout=5).reason.kind for _ in refs} == {"requested"}
    assert downs.empty()
    with pytest.raises(ActorNotRunningError):
        system.watch(refs[0], downs.put)
