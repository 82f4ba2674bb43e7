"""What is told of what follows from a death, against what a tree decides."""

from __future__ import annotations

from typing import Any

import pytest

from actors.supervisor import _tree
from actors.supervisor._events import ActorExited, ReplaceActor, RestartActor, Shutdown, Start, StopActor
from actors.supervisor._policy import Backoff
from actors.supervisor._prospect import prospect
from actors.supervisor._spec import Supervisor
from tests.supervised import BOOT_FAILURE, CRASH, World, worker


def running(**options: Any) -> World:
    supervisor = {key: options.pop(key) for key in ("max_restarts", "on_exhausted") if key in options}
    tree = Supervisor("app", children=(worker("a", **options), worker("b")), period=9.0, **supervisor)
    world = World(tree)
    world.tell(Start())
    world.ready_all()
    return world


def told(world: World, uid: int = 1, reason: Any = CRASH) -> str:
    exited = ActorExited(uid, world.alive[uid], reason)
    said = prospect(exited, *_tree.step(world.state, exited, world.now), world.now)
    world.exit(uid, reason)
    return said


def test_a_restart_is_told_with_its_time_and_its_count() -> None:
    world = running(max_restarts=2, backoff=Backoff(initial=0.25, factor=2.0, jitter=0.0))

    assert "restarted in 0.25 s (restart 1 of 2 in 9 s)" == told(world)
    assert "restarted at once (restart 2 of 2 in 9 s)" == told(world, 2)


def test_a_restart_that_counts_in_no_intensity_is_told_without() -> None:
    world = running(max_start_failures=3)
    told(world)
    world.now += 1.0

    assert "restarted at once" == told(world, 1, BOOT_FAILURE)


def test_one_restart_too_many_is_told_with_what_follows() -> None:
    said = told(running(max_restarts=0))

    assert "/app gives up: that would be restart 1, and it allows 0 in 9 s; the tree ends" == said


def test_one_that_does_not_come_back_is_told_so() -> None:
    assert "gone for good" == told(running(restart="temporary"))
    assert "left down" == told(running(max_same_crashes=1))


def test_one_that_was_to_go_down_anyway_is_told_what_was_wanted() -> None:
    world = running()
    world.tell(RestartActor(1))
    assert "started again" == told(world)

    world = running()
    world.tell(StopActor(1))
    assert "gone for good" == told(world)


def test_one_whose_successor_stands_by_is_told_so() -> None:
    world = running()
    world.tell(ReplaceActor(1, 1))
    world.next_ready(1)

    assert "the incarnation that stood by takes over" == told(world)


@pytest.mark.parametrize("uid", [1, 2])
def test_nothing_is_told_where_nothing_follows_for_it(uid: int) -> None:
    world = running()
    exited = ActorExited(uid, 7, CRASH)  # an incarnation that is not there
    assert "" == prospect(exited, *_tree.step(world.state, exited, world.now), world.now)

    world.tell(Shutdown())
    other = ActorExited(2, 1, CRASH)
    assert "" == prospect(ActorExited(1, 1, CRASH), *_tree.step(world.state, other, world.now), world.now)
