"""Linked actors end together when one ends abnormally; one that traps exits gets a message instead."""

from __future__ import annotations

import itertools
import os
import queue
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors import ActorRef, ActorSystem, Backoff, Down, Supervisor
from tests.helpers import eventually, kill
from tests.watchers import Watcher


@pytest.fixture
def calm(start_method: Any) -> Iterator[ActorSystem]:
    """A system whose root never gives up."""
    with ActorSystem(Supervisor("app", max_restarts=100_000, period=1.0), start_method=start_method) as system:
        yield system


def noted(ref: ActorRef[Watcher]) -> list[Any]:
    return ref.ask(Watcher.noted).result(timeout=20)


def spawn(system: ActorSystem, name: str, **options: Any) -> ActorRef[Watcher]:
    return system.spawn(Watcher(), name=name, **{"restart": "temporary", **options})


def downs_of(system: ActorSystem, *refs: ActorRef[Any]) -> queue.SimpleQueue[Down]:
    downs: queue.SimpleQueue[Down] = queue.SimpleQueue()
    for ref in refs:
        system.watch(ref, downs.put)
    return downs


@pytest.mark.parametrize("dies", ["who links", "who is linked to"])
def test_an_abnormal_end_takes_the_other_down(system: ActorSystem, dies: str) -> None:
    one, other = spawn(system, "one"), spawn(system, "other")
    one.ask(Watcher.tie, other).result(timeout=20)
    first, second = (one, other) if dies == "who links" else (other, one)
    downs = downs_of(system, second)
    kill(system, first)
    down = downs.get(timeout=20)

    assert down.reason.kind == "crash"
    assert down.reason.exit_code == 1
    text = f"{second.path} was linked to {first.path} (incarnation 1), which was killed by SIGKILL (exit -9)"
    assert down.reason.error is not None
    assert down.reason.error["text"] == text


def test_whoever_is_taken_down_is_restarted_by_its_own_supervisor_without_the_link(calm: ActorSystem) -> None:
    one, other = spawn(calm, "one", restart="permanent"), spawn(calm, "other", restart="permanent")
    one.ask(Watcher.tie, other).result(timeout=5)
    kill(calm, one)
    eventually(lambda: (one.incarnation, other.incarnation) == (2, 2))
    assert other.ask(Watcher.pid_of).result(timeout=5)
    kill(calm, one)
    eventually(lambda: one.incarnation == 3)

    assert one.ask(Watcher.pid_of).result(timeout=5)
    assert other.ask(Watcher.pid_of).result(timeout=5)
    assert other.incarnation == 2


@pytest.mark.parametrize("end", ["leave", "stop"])
def test_a_normal_end_does_not_spread(system: ActorSystem, end: str) -> None:
    one, other = spawn(system, "one"), spawn(system, "other")
    one.ask(Watcher.tie, other).result(timeout=5)
    downs = downs_of(system, other)
    if end == "stop":
        other.stop()
    else:
        other.tell(Watcher.leave)
    downs.get(timeout=5)

    assert one.ask(Watcher.pid_of).result(timeout=5)
    assert one.is_alive()


def test_one_that_traps_exits_gets_a_message_of_every_end(system: ActorSystem) -> None:
    trapper = system.spawn(Watcher(traps=True), name="trapper")
    names = ["crash", "normal", "killed"]
    others = [spawn(system, name) for name in names]
    for other in others:
        trapper.ask(Watcher.tie, other).result(timeout=5)
    others[0].tell(Watcher.fail, "x")
    eventually(lambda: len(noted(trapper)) == 1)
    others[1].tell(Watcher.leave)
    eventually(lambda: len(noted(trapper)) == 2)
    kill(system, others[2])

    kinds = ["crash", "normal", "signal"]
    eventually(lambda: noted(trapper) == [(f"/system/{n}", 1, kind) for n, kind in zip(names, kinds, strict=True)])
    assert trapper.incarnation == 1


def test_trapping_can_be_ended(system: ActorSystem) -> None:
    trapper, one, other = system.spawn(Watcher(traps=True), restart="temporary"), spawn(system, "a"), spawn(system, "b")
    for ref in (one, other):
        trapper.ask(Watcher.tie, ref).result(timeout=5)
    kill(system, one)
    eventually(lambda: len(noted(trapper)) == 1)
    trapper.ask(Watcher.trap, False).result(timeout=5)
    downs = downs_of(system, trapper)
    kill(system, other)

    assert downs.get(timeout=5).reason.kind == "crash"


@pytest.mark.parametrize("traps", [False, True])
def test_a_link_to_one_that_has_ended_is_as_if_it_had_just_died(system: ActorSystem, traps: bool) -> None:
    one = system.spawn(Watcher(traps=traps), name="one", restart="temporary")
    other = spawn(system, "other")
    other.stop()
    eventually(lambda: not other.is_alive())
    downs = downs_of(system, one)
    one.tell(Watcher.tie, other)

    if traps:
        eventually(lambda: noted(one) == [("/system/other", 1, "requested")])
    else:
        assert "was linked to /system/other (incarnation 1), which stopped as requested" in str(
            downs.get(timeout=5).reason
        )


def test_links_made_in_on_start_hold_and_go_with_each_incarnation(calm: ActorSystem) -> None:
    base = calm.spawn(Watcher(), name="base")
    above = calm.spawn(Watcher(links=[base]), name="above")
    for number in (1, 2, 3):
        kill(calm, base)
        eventually(lambda: above.incarnation > number)  # noqa: B023 - asked at once
        assert base.ask(Watcher.pid_of).result(timeout=5)
        assert above.ask(Watcher.pid_of).result(timeout=5)


def test_a_cycle_ends_all_of_it_once(system: ActorSystem) -> None:
    refs = [spawn(system, name) for name in "abc"]
    for one, other in zip(refs, [*refs[1:], refs[0]], strict=True):
        one.ask(Watcher.tie, other).result(timeout=5)
    downs = downs_of(system, *refs)
    kill(system, refs[0])
    found = [downs.get(timeout=5) for _ in refs]

    assert sorted(down.reason.kind for down in found) == ["crash", "crash", "signal"]
    eventually(lambda: not any(ref.is_alive() for ref in refs))
    assert downs.empty()


def test_a_chain_of_fifty_links_ends_from_one_end_to_the_other(start_method: Any) -> None:
    with ActorSystem(start_method="fork" if start_method == "fork" else "forkserver") as system:
        refs = [spawn(system, f"link-{number}") for number in range(50)]
        for one, other in itertools.pairwise(refs):
            one.ask(Watcher.tie, other).result(timeout=5)
        downs = downs_of(system, *refs)
        kill(system, refs[0])
        found = [downs.get(timeout=20).ref for _ in refs]

        assert found == refs
        host = system._life.host
        assert host is not None
        book = host.runner.obituaries._book
        eventually(lambda: not (book._links or host.runner.obituaries._bodies or host.runner.obituaries._doomed))


def test_a_handler_that_runs_is_finished_first(system: ActorSystem, tmp_path: Path) -> None:
    one, other = spawn(system, "one"), spawn(system, "other")
    one.ask(Watcher.tie, other).result(timeout=5)
    downs = downs_of(system, one)
    holding, queued = one.ask(Watcher.hold, str(tmp_path / "gate")), one.ask(Watcher.pid_of)
    eventually(lambda: one.statistics().handler == "hold")
    kill(system, other)
    eventually(lambda: not other.is_alive())
    assert one.is_alive()
    (tmp_path / "gate").touch()

    assert holding.result(timeout=5) == "held"
    assert downs.get(timeout=5).reason.kind == "crash"
    assert type(queued.exception(timeout=5)).__name__ == "ActorDied"


@pytest.mark.parametrize(
    ("how", "shutdown", "signal_name"),
    [("hold", 0.1, "SIGTERM"), ("hold_off_sigterm", 0.1, "SIGKILL"), ("hold", 0.0, "SIGKILL")],
)
def test_a_handler_that_takes_too_long_is_ended_by_the_usual_signals(
    system: ActorSystem, tmp_path: Path, how: str, shutdown: float, signal_name: str
) -> None:
    one, other = spawn(system, "one", shutdown=shutdown, term_grace=0.1), spawn(system, "other")
    one.ask(Watcher.tie, other).result(timeout=5)
    downs = downs_of(system, one)
    holding = one.ask(how, str(tmp_path / "never"))
    eventually(lambda: one.statistics().handler == how)
    began = time.monotonic()
    kill(system, other)
    down = downs.get(timeout=20)

    assert (down.reason.kind, down.reason.signal) == ("crash", signal_name)
    assert "was linked to /system/other" in str(down.reason)
    assert time.monotonic() - began < 4.0
    assert type(holding.exception(timeout=5)).__name__ == "ActorDied"


def test_what_was_unlinked_does_not_end_the_other(system: ActorSystem) -> None:
    one, other = spawn(system, "one"), spawn(system, "other")
    one.ask(Watcher.tie, other).result(timeout=5)
    other.ask(Watcher.untie, one).result(timeout=5)
    kill(system, other)
    eventually(lambda: not other.is_alive())

    assert one.ask(Watcher.pid_of).result(timeout=5)
    assert one.is_alive()


@pytest.mark.parametrize("traps", [False, True])
def test_unlinking_takes_back_a_death_that_has_arrived(system: ActorSystem, traps: bool) -> None:
    one = system.spawn(Watcher(traps=traps), restart="temporary", shutdown=0.5, name="one")
    other, third = spawn(system, "other"), spawn(system, "third")
    for ref in (other, third):
        one.ask(Watcher.tie, ref).result(timeout=5)
    untying = one.ask(Watcher.untie_when_told, other)
    eventually(lambda: one.statistics().handler == "untie_when_told")
    kill(system, other)
    assert untying.result(timeout=5)
    assert noted(one) == []
    downs = downs_of(system, one)
    kill(system, third)
    if traps:
        eventually(lambda: noted(one) == [("/system/third", 1, "signal")])
    else:
        assert "was linked to /system/third" in str(downs.get(timeout=5).reason)


def test_one_that_waits_for_its_restart_is_not_taken_down(calm: ActorSystem) -> None:
    one = spawn(calm, "one", restart="permanent", backoff=Backoff(initial=0.0))
    other = spawn(calm, "other", restart="permanent", backoff=Backoff(initial=0.0))
    one.ask(Watcher.tie, other).result(timeout=5)
    for pid in [info.pid for info in calm.actors()]:
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: one.incarnation == 2 and other.incarnation == 2)
    assert one.ask(Watcher.pid_of).result(timeout=5)
    assert other.ask(Watcher.pid_of).result(timeout=5)
    assert (one.incarnation, other.incarnation) == (2, 2)
