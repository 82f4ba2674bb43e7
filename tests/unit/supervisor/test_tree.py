from __future__ import annotations

from typing import Any

import attrs
import pytest

from actors.supervisor import _tree
from actors.supervisor._events import (
    ActorExited,
    ActorGone,
    ActorParked,
    ActorReady,
    AddActor,
    AddSupervisor,
    Effect,
    Event,
    GaveUp,
    HandOver,
    IntensityExceeded,
    KillActor,
    PromoteActor,
    RefusalKind,
    Refused,
    ReplaceActor,
    RestartActor,
    RestartScheduled,
    RestartSupervisor,
    Shutdown,
    Start,
    StartActor,
    StopActor,
    StopActorProcess,
    StopSupervisor,
    SupervisorGone,
    SupervisorStarted,
    TerminateActor,
    Tick,
    TreeFinished,
    TreeStarted,
)
from actors.supervisor._exits import ExitReason
from actors.supervisor._policy import Backoff
from actors.supervisor._spec import Park, Supervisor
from tests.supervised import BOOT_FAILURE, CRASH, NORMAL, REQUESTED, Worker, World, worker

MANY = 1000


def nested(**inner: Any) -> Supervisor:
    """/app: 1 a, then /app/sub: 2 x and 3 y, then 4 z."""
    sub = Supervisor("sub", **{"children": (worker("x"), worker("y")), "max_restarts": 0, **inner})
    return Supervisor("app", children=(worker("a"), sub, worker("z")), max_restarts=MANY)


def running(tree: Supervisor) -> World:
    world = World(tree)
    world.tell(Start())
    world.ready_all()
    return world


def kinds(effects: list[Effect]) -> list[str]:
    return [type(effect).__name__ for effect in effects]


def ended(effects: list[Effect]) -> TreeFinished:
    assert isinstance(effects[-1], TreeFinished)
    return effects[-1]


def phases(world: World) -> dict[str, str]:
    return {info.path: info.phase for info in _tree.actors(world.state).values()}


def modes(world: World) -> dict[str, str]:
    return {path: info.mode for path, info in _tree.supervisors(world.state).items()}


# ---------------------------------------------------------------- building


def test_uids_follow_the_start_order_depth_first() -> None:
    assert [(1, "/app/a"), (2, "/app/sub/x"), (3, "/app/sub/y"), (4, "/app/z")] == [
        (planned.uid, planned.path) for planned in _tree.plan(nested(), 1)
    ]


def test_a_child_that_starts_after_another_has_its_place_behind_it() -> None:
    tree = Supervisor("app", children=(worker("a", after=("b",)), worker("b")))

    assert ["/app/b", "/app/a"] == [planned.path for planned in _tree.plan(tree, 1)]
    assert [StartActor(1, 1)] == World(tree).tell(Start())


def test_the_plan_and_the_tree_agree() -> None:
    world = World(nested(), 10)

    assert {p.path: p.uid for p in _tree.plan(nested(), 10)} == world.paths()
    assert all(_tree.find(world.state, path) == uid for path, uid in world.paths().items())


def test_a_subtree_is_planned_below_its_parent() -> None:
    assert ["/app/more/x"] == [
        p.path for p in _tree.plan(Supervisor("more", children=(worker("x"),)), 7, parent_path="/app")
    ]


# ---------------------------------------------------------------- start


def test_a_tree_starts_in_order_across_its_nodes() -> None:
    world = World(nested())

    assert [StartActor(1, 1)] == world.tell(Start())
    assert [StartActor(2, 1)] == world.ready(1)
    assert [StartActor(3, 1)] == world.ready(2)
    assert [SupervisorStarted("/app/sub"), StartActor(4, 1)] == world.ready(3)
    assert [TreeStarted()] == world.ready(4)


def test_an_empty_tree_is_started_at_once() -> None:
    tree = Supervisor("app", children=(Supervisor("one", children=(Supervisor("two"),)),))

    assert [SupervisorStarted("/app/one/two"), SupervisorStarted("/app/one"), TreeStarted()] == World(tree).tell(
        Start()
    )


def test_a_failed_first_start_deep_in_the_tree_fails_the_whole_tree() -> None:
    world = World(nested())
    world.tell(Start())
    world.ready(1)
    world.ready(2)
    world.exit(3, ExitReason("boot_failure", 1, error={"type": "ImportError"}))
    said = [*world.leave_all()]

    assert world.gone == {1, 2, 3, 4}
    finished = said[-1]
    assert isinstance(finished, TreeFinished)
    assert ("failed", {"type": "ImportError"}) == (
        finished.outcome,
        finished.last_reason and finished.last_reason.error,
    )
    assert finished.last_reason is not None
    assert ("/app/sub gave up",) == finished.last_reason.evidence


def test_who_never_ran_is_gone_as_requested() -> None:
    world = World(nested())
    world.tell(Start())
    said = [*world.exit(1, BOOT_FAILURE), *world.leave_all()]

    assert ActorGone(4, ExitReason("requested", evidence=("it was never started",))) in said


# ---------------------------------------------------------------- restart and escalation


def test_a_death_is_answered_in_its_own_node() -> None:
    world = running(nested(max_restarts=1))

    assert [RestartScheduled(2, 1, world.now, 1), StartActor(2, 2)] == world.exit(2)


def test_a_supervisor_that_gives_up_is_a_failed_child_of_its_own_supervisor() -> None:
    world = running(nested())

    assert [
        IntensityExceeded("/app/sub", 1, 0, 5.0, CRASH, "escalates to /app"),
        StopActorProcess(3, 1),
    ] == world.exit(2)
    assert {"/app": "running", "/app/sub": "stopping"} == modes(world)
    assert [StartActor(2, 2)] == world.exit(3, REQUESTED)
    assert [StartActor(3, 2)] == world.ready(2)
    assert [SupervisorStarted("/app/sub")] == world.ready(3)
    assert not world.gone


def test_children_added_at_run_time_are_gone_with_their_supervisor_and_the_static_come_back() -> None:
    world = running(nested())
    world.tell(AddActor("/app/sub", worker("more"), 9, "more"))
    world.ready(9)
    world.exit(2)
    world.leave_all()
    world.ready_all()

    assert world.gone == {9}
    assert {1: 1, 2: 2, 3: 2, 4: 1} == world.alive


def test_limits_of_nested_supervisors_multiply_and_the_root_ends_the_tree() -> None:
    sub = Supervisor("sub", children=(worker("x"),), max_restarts=1)
    world = running(Supervisor("app", children=(sub,), max_restarts=1))
    for _ in range(3):
        world.exit(1)
        world.ready_all()
    said = world.exit(1)

    assert ["IntensityExceeded", "IntensityExceeded", "ActorGone", "SupervisorGone", "TreeFinished"] == kinds(said)
    assert isinstance(said[-1], TreeFinished)
    assert "failed" == said[-1].outcome
    assert said[-1].last_reason is not None
    assert ("/app/sub gave up",) == said[-1].last_reason.evidence


@pytest.mark.parametrize("reason", [NORMAL, REQUESTED])
def test_a_supervisor_that_gives_up_over_normal_exits_has_failed_all_the_same(reason: ExitReason) -> None:
    world = running(nested(children=(worker("x"),)))

    assert ["IntensityExceeded", "StartActor"] == kinds(world.exit(2, reason))


def test_a_supervisor_below_is_restarted_at_once() -> None:
    sub = Supervisor("sub", children=(worker("x", backoff=Backoff(initial=1.0)),), max_restarts=0)
    world = running(Supervisor("app", children=(sub,), max_restarts=MANY))

    assert [StartActor(1, 2)] == world.exit(1)[1:]


def test_a_group_restart_takes_nested_supervisors_down_and_up_in_order() -> None:
    sub = Supervisor("sub", children=(worker("x"), worker("y")))
    world = running(Supervisor("app", strategy="one_for_all", children=(worker("a"), sub, worker("z"))))
    said = [*world.exit(1), *world.leave_all(), *world.ready_all()]

    assert [
        StopActorProcess(4, 1),
        StopActorProcess(3, 1),
        StopActorProcess(2, 1),
        StartActor(1, 2),
        StartActor(2, 2),
        StartActor(3, 2),
        StartActor(4, 2),
    ] == [e for e in said if isinstance(e, StopActorProcess | StartActor)]


def test_evidence_of_a_long_chain_is_bounded() -> None:
    tree = Supervisor("s0", children=(worker("x"),), max_restarts=0)
    for level in range(1, 40):
        tree = Supervisor(f"s{level}", children=(tree,), max_restarts=0)
    last = running(tree).exit(1)[-1]

    assert isinstance(last, TreeFinished)
    assert last.last_reason is not None
    assert len(last.last_reason.evidence) == 16


# ---------------------------------------------------------------- on_exhausted


def test_an_exhausted_supervisor_may_end_the_whole_tree() -> None:
    world = running(nested(on_exhausted="shutdown"))
    world.exit(2)
    said = world.leave_all()

    assert TreeFinished("failed", CRASH, GaveUp("/app/sub", 0, 5.0)) == said[-1]
    assert world.gone == {1, 2, 3, 4}


def test_who_gave_up_is_said_with_the_limits_of_its_own() -> None:
    tree = nested(max_restarts=1, period=9.0, on_exhausted="shutdown")
    world = running(attrs.evolve(tree, max_restarts=7))
    world.exit(2)
    world.ready_all()
    world.exit(2)

    assert TreeFinished("failed", CRASH, GaveUp("/app/sub", 1, 9.0)) == world.leave_all()[-1]


def test_the_first_to_give_up_is_the_one_that_is_named() -> None:
    world = running(nested(on_exhausted="shutdown"))
    world.exit(2)
    gave_up = world.state.gave_up
    world.tell(Shutdown(world.now))

    assert GaveUp("/app/sub", 0, 5.0) == gave_up
    assert gave_up == ended(world.leave_all()).gave_up


def test_nobody_gave_up_in_a_tree_that_was_stopping_already() -> None:
    world = running(nested(on_exhausted="shutdown"))
    world.tell(Shutdown())
    world.exit(2)

    assert TreeFinished("stopped", None) == world.leave_all()[-1]


def test_nobody_gave_up_where_a_first_start_failed() -> None:
    world = World(Supervisor("app", children=(worker("a"),)))
    world.tell(Start())

    assert TreeFinished("failed", BOOT_FAILURE, None) == world.exit(1, BOOT_FAILURE)[-1]


def test_an_exhausted_root_ends_the_tree_whether_by_shutdown_or_escalation() -> None:
    for on_exhausted in ("shutdown", "escalate", print):
        world = running(Supervisor("app", children=(worker("a"),), max_restarts=0, on_exhausted=on_exhausted))

        assert [
            IntensityExceeded("/app", 1, 0, 5.0, CRASH, "the tree ends"),
            ActorGone(1, CRASH),
            TreeFinished("failed", CRASH, GaveUp("/app", 0, 5.0)),
        ] == world.exit(1)


def test_a_parked_supervisor_holds_its_actors_down_while_everything_else_goes_on() -> None:
    world = running(nested(on_exhausted="park"))

    assert ["IntensityExceeded", "ActorParked", "StopActorProcess"] == kinds(world.exit(2))
    assert [ActorParked(3, REQUESTED)] == world.exit(3, REQUESTED)
    assert {"/app": "running", "/app/sub": "parked"} == modes(world)
    assert {"/app/a": "running", "/app/sub/x": "parked", "/app/sub/y": "parked", "/app/z": "running"} == phases(world)
    assert [StartActor(2, 2), StartActor(3, 2)] == world.tell(RestartSupervisor("/app/sub"))


@pytest.mark.parametrize(
    ("on_exhausted", "then"),
    [
        ("escalate", "escalates to /app"),
        ("shutdown", "the tree ends"),
        ("park", "is parked until it is restarted by hand"),
        (Park(retry_after=7.5), "is parked, and tries again in 7.5 s"),
    ],
    ids=str,
)
def test_who_gives_up_says_how_often_it_had_to_restart_and_what_follows(on_exhausted: Any, then: str) -> None:
    said = running(nested(on_exhausted=on_exhausted)).exit(2)

    assert IntensityExceeded("/app/sub", 1, 0, 5.0, CRASH, then) in said


def test_a_parked_root_can_be_restarted() -> None:
    world = running(Supervisor("app", children=(worker("a"),), max_restarts=0, on_exhausted="park"))
    world.exit(1)

    assert [StartActor(1, 2)] == world.tell(RestartSupervisor("/app"))


def test_parking_a_supervisor_parks_everything_below_it() -> None:
    deep = Supervisor("deep", children=(worker("d"), worker("job", restart="transient")))
    tree = Supervisor("app", children=(deep, worker("a")), max_restarts=0, on_exhausted="park")
    world = running(tree)
    job = [e for e in world.exit(2, NORMAL) if isinstance(e, ActorParked)]
    said = [*world.exit(3), *world.leave_all()]

    assert [ActorParked(2, NORMAL)] == job
    assert [3, 1] == [e.uid for e in said if isinstance(e, ActorParked)]
    assert "parked" == modes(world)["/app/deep"]
    assert "parked" == phases(world)["/app/deep/d"]


def test_parking_reaches_supervisors_below_supervisors() -> None:
    deepest = Supervisor("deepest", children=(worker("d"),))
    tree = Supervisor(
        "app", children=(Supervisor("deep", children=(deepest,)), worker("a")), max_restarts=0, on_exhausted="park"
    )
    world = running(tree)
    world.exit(2)
    world.leave_all()

    assert {"/app": "parked", "/app/deep": "parked", "/app/deep/deepest": "parked"} == modes(world)
    assert {"parked"} == set(phases(world).values())


# ---------------------------------------------------------------- auto_shutdown


def test_a_supervisor_that_ended_by_auto_shutdown_is_not_restarted_but_may_be_by_hand() -> None:
    job = worker("job", restart="transient", significant=True)
    world = running(nested(children=(worker("x"), job), auto_shutdown="any_significant"))
    said = [*world.exit(3, NORMAL), *world.exit(2, REQUESTED)]

    assert [ActorParked(3, NORMAL), StopActorProcess(2, 1), ActorParked(2, REQUESTED)] == said
    assert "parked" == modes(world)["/app/sub"]
    assert [StartActor(2, 2)] == world.tell(RestartSupervisor("/app/sub"))


def test_a_root_that_ends_by_auto_shutdown_has_stopped() -> None:
    job = worker("job", restart="transient", significant=True)
    world = running(Supervisor("app", children=(job,), auto_shutdown="any_significant"))

    assert ["ActorParked", "ActorGone", "TreeFinished"] == kinds(world.exit(1, NORMAL))
    assert TreeFinished("stopped", None) == world.said[-1]


# ---------------------------------------------------------------- stop


def test_a_shutdown_is_in_reverse_across_all_nodes_and_each_is_gone_as_soon_as_it_is_down() -> None:
    world = running(nested())

    assert [StopActorProcess(4, 1)] == world.tell(Shutdown())
    assert [ActorGone(4, REQUESTED), StopActorProcess(3, 1)] == world.exit(4, REQUESTED)
    assert [ActorGone(3, REQUESTED), StopActorProcess(2, 1)] == world.exit(3, REQUESTED)
    assert [ActorGone(2, REQUESTED), SupervisorGone("/app/sub"), StopActorProcess(1, 1)] == world.exit(2, REQUESTED)
    assert [ActorGone(1, REQUESTED), TreeFinished("stopped", None)] == world.exit(1, REQUESTED)


def test_at_the_deadline_of_a_shutdown_everything_left_is_killed() -> None:
    world = running(nested(children=(worker("x", shutdown=None), worker("y", shutdown=60.0))))
    world.tell(Shutdown(world.now + 3.0))
    world.exit(4, REQUESTED)

    assert 3.0 == (_tree.next_deadline(world.state) or 0) - world.now
    assert {KillActor(1, 1, "shutdown"), KillActor(2, 1, "shutdown"), KillActor(3, 1, "shutdown")} == set(
        world.wait(3.0)
    )


def test_a_later_shutdown_with_an_earlier_deadline_holds() -> None:
    world = running(Supervisor("app", children=(worker("a", shutdown=None),)))
    world.tell(Shutdown())
    world.tell(Shutdown(world.now))

    assert KillActor(1, 1, "shutdown") == world.said[-1]


def test_an_actor_climbs_its_ladder() -> None:
    world = running(Supervisor("app", children=(worker("a", shutdown=1.0, term_grace=1.0),)))

    assert [StopActorProcess(1, 1)] == world.tell(StopActor(1))
    assert [TerminateActor(1, 1)] == world.wait(1.0)
    assert [KillActor(1, 1, "shutdown")] == world.wait(1.0)
    assert [ActorGone(1, REQUESTED)] == world.exit(1, REQUESTED)
    assert [] == world.tell(StopActor(1))


def test_a_shutdown_before_the_start_finishes_at_once() -> None:
    world = World(nested())
    said = world.tell(Shutdown())

    assert TreeFinished("stopped", None) == said[-1]
    assert {1, 2, 3, 4} == world.gone
    assert [] == world.tell(Start())


def test_nothing_happens_after_the_end() -> None:
    world = running(nested())
    world.tell(Shutdown())
    world.leave_all()
    before = world.state
    for event in (Start(), Shutdown(0.0), Tick(), StopActor(1), ActorReady(1, 1), ActorExited(1, 1, CRASH)):
        assert [] == world.tell(event)

    assert before.nodes["/app"].machine.mode == world.state.nodes["/app"].machine.mode
    assert None is _tree.next_deadline(world.state)


def test_a_stopped_subtree_is_removed_and_its_name_is_free_again() -> None:
    world = running(nested())

    assert [StopActorProcess(3, 1)] == world.tell(StopSupervisor("/app/sub"))
    assert [ActorGone(3, REQUESTED), StopActorProcess(2, 1)] == world.exit(3, REQUESTED)
    assert [ActorGone(2, REQUESTED), SupervisorGone("/app/sub")] == world.exit(2, REQUESTED)
    assert [StartActor(9, 1)] == world.tell(AddSupervisor("/app", Supervisor("sub", children=(worker("x"),)), 9))


def test_a_subtree_of_subtrees_is_removed_whole() -> None:
    inner = Supervisor("inner", children=(worker("x"), Supervisor("empty")))
    tree = Supervisor("app", children=(Supervisor("outer", children=(inner, worker("y"))), worker("z")))
    world = running(tree)
    said = [*world.tell(StopSupervisor("/app/outer")), *world.leave_all()]

    assert {"/app/outer", "/app/outer/inner", "/app/outer/inner/empty"} == {
        e.path for e in said if isinstance(e, SupervisorGone)
    }
    assert {"/app": "running"} == modes(world)
    assert {1, 2} == world.gone


def test_a_subtree_that_is_being_restarted_can_still_be_removed() -> None:
    world = running(nested())
    world.exit(2)
    world.tell(StopSupervisor("/app/sub"))

    assert [ActorGone(3, REQUESTED), SupervisorGone("/app/sub")] == world.exit(3, REQUESTED)
    assert {2, 3} == world.gone


def test_stopping_the_root_stops_the_tree() -> None:
    world = running(nested())
    world.tell(StopSupervisor("/app"))

    assert TreeFinished("stopped", None) == world.leave_all()[-1]


def test_a_subtree_that_is_down_is_gone_at_once() -> None:
    sub = Supervisor(
        "sub", children=(worker("x", restart="transient", significant=True),), auto_shutdown="any_significant"
    )
    world = running(Supervisor("app", children=(sub,)))
    world.exit(1, NORMAL)

    assert [ActorGone(1, NORMAL), SupervisorGone("/app/sub")] == world.tell(StopSupervisor("/app/sub"))


# ---------------------------------------------------------------- replacement


def test_an_actor_is_replaced_and_seen_to_run_all_the_while() -> None:
    world = running(Supervisor("app", children=(worker("a"), Supervisor("sub", children=(worker("b"),)))))

    def seen() -> tuple[object, ...]:
        info = _tree.actor_info(world.state, 2)
        assert info is not None
        return info.phase, info.incarnation, info.replacing

    assert [StartActor(2, 2, standby=True)] == world.replace(2)
    assert ("running", 1, True) == seen()
    assert [HandOver(2, 1)] == world.next_ready(2)
    assert ("running", 1, True) == seen()
    assert [PromoteActor(2, 2)] == world.exit(2, REQUESTED)
    assert ("running", 2, False) == seen()


def test_an_actor_that_is_replaced_stops_with_its_tree() -> None:
    world = running(Supervisor("app", children=(worker("a"),)))
    world.replace(1)
    world.next_ready(1)

    assert [] == world.tell(Shutdown())
    assert "stopping" == _tree.actors(world.state)[1].phase
    assert [PromoteActor(1, 2), StopActorProcess(1, 2)] == world.exit(1, REQUESTED)
    assert [ActorGone(1, REQUESTED), TreeFinished("stopped", None)] == world.leave_all()


def test_replacing_an_unknown_actor_changes_nothing() -> None:
    world = World(Supervisor("app"))
    world.tell(Start())

    assert [] == world.tell(ReplaceActor(7, 1))


# ---------------------------------------------------------------- requests


def test_an_actor_can_be_added_anywhere() -> None:
    world = running(nested())

    assert [StartActor(9, 1)] == world.tell(AddActor("/app/sub", worker("more", after=("x",)), 9, "more"))
    assert 9 == _tree.find(world.state, "/app/sub/more")


def test_an_added_actor_whose_first_start_fails_is_gone_and_its_name_is_free_again() -> None:
    world = running(nested())
    world.tell(AddActor("/app/sub", worker("more"), 9, "more"))

    assert [ActorGone(9, BOOT_FAILURE)] == world.exit(9, BOOT_FAILURE)
    assert [StartActor(10, 1)] == world.tell(AddActor("/app/sub", worker("more"), 10, "more"))


def test_a_subtree_can_be_added_and_fails_alone() -> None:
    world = running(nested())
    spec = Supervisor("more", children=(worker("x"), Supervisor("deep", children=(worker("y"),))))
    world.tell(AddSupervisor("/app", spec, 9))
    world.ready(9)
    world.exit(10, BOOT_FAILURE)

    assert set() == world.gone
    assert ["ActorGone", "SupervisorGone"] == kinds(world.exit(9, REQUESTED))[:2]
    assert {9, 10} == world.gone
    assert {"/app": "running", "/app/sub": "running"} == modes(world)


def test_an_added_subtree_becomes_ready() -> None:
    world = running(nested())
    world.tell(AddSupervisor("/app/sub", Supervisor("more", children=(worker("x"), Supervisor("deep"))), 9))

    assert [SupervisorStarted("/app/sub/more/deep"), SupervisorStarted("/app/sub/more")] == world.ready(9)


def test_an_actor_can_be_restarted() -> None:
    world = running(nested())

    assert [StopActorProcess(2, 1)] == world.tell(RestartActor(2))
    assert [StartActor(2, 2)] == world.exit(2, REQUESTED)


def test_a_supervisor_can_be_restarted() -> None:
    world = running(nested())
    world.tell(RestartSupervisor("/app/sub"))
    world.leave_all()
    world.ready_all()

    assert {1: 1, 2: 2, 3: 2, 4: 1} == world.alive


def added(**changes: Any) -> AddActor:
    return AddActor(**{"parent_path": "/app", "child": worker("new"), "uid": 9, "name": "new", **changes})


REFUSED: list[tuple[Event, str]] = [
    (added(parent_path="/nowhere"), "there is no supervisor /nowhere"),
    (added(name="a"), "/app has a child named 'a' already"),
    (added(name="sub"), "/app has a child named 'sub' already"),
    (added(uid=2), "uid 2 is taken by a child of /app/sub"),
    (added(child=worker("new", after=("y",))), "after names 'y', which is no child of /app"),
    (added(parent_path="/app/full"), "/app/full has 1 children, and max_children is 1"),
    (AddSupervisor("/nowhere", Supervisor("new"), 9), "there is no supervisor /nowhere"),
    (AddSupervisor("/app", Supervisor("a"), 9), "/app has a child named 'a' already"),
    (AddSupervisor("/app", Supervisor("new", children=(worker("x"),)), 4), "uid 4 is taken by a child of /app/full"),
    (RestartActor(77), "there is no actor with uid 77"),
    (RestartSupervisor("/nowhere"), "there is no supervisor /nowhere"),
    (RestartSupervisor("/app"), "/app is the root: it ends with its tree"),
    (StopSupervisor("/nowhere"), "there is no supervisor /nowhere"),
]


@pytest.mark.parametrize(("request_", "why"), REFUSED, ids=[f"{type(event).__name__}: {why}" for event, why in REFUSED])
def test_what_cannot_be_done_is_refused_with_a_reason_and_changes_nothing(request_: Any, why: str) -> None:
    sub = Supervisor("sub", children=(worker("x"), worker("y")))
    full = Supervisor("full", children=(worker("w"),), max_children=1)
    world = running(Supervisor("app", children=(worker("a"), sub, full)))
    before = world.state

    kind: RefusalKind = "max_children" if "max_children" in why else "refused"
    assert [Refused(request_, why, kind)] == world.tell(request_)
    assert before == world.state


def refused(world: World, request_: Event) -> str:
    (said,) = world.tell(request_)
    assert isinstance(said, Refused)
    return said.why


def test_nothing_is_added_or_restarted_before_the_start() -> None:
    world = World(nested())

    assert "/app is not running" == refused(world, added())
    assert "/app/sub is not running" == refused(world, RestartActor(2))


def test_nothing_is_added_or_restarted_in_a_tree_that_stops() -> None:
    world = running(nested())
    world.tell(Shutdown())

    assert "/app is stopping" == refused(world, added())
    assert "/app is stopping" == refused(world, RestartSupervisor("/app/sub"))


def test_nothing_is_added_below_a_supervisor_that_is_about_to_stop() -> None:
    outer = Supervisor("outer", strategy="one_for_all", children=(Supervisor("inner"), worker("y")))
    world = running(Supervisor("app", children=(outer,)))
    world.tell(StopSupervisor("/app/outer/inner"))
    world.tell(StopSupervisor("/app/outer"))

    assert "/app/outer is stopping" == refused(world, added(parent_path="/app/outer"))


def test_nothing_is_added_below_a_supervisor_whose_turn_to_stop_is_yet_to_come() -> None:
    sub = Supervisor("sub", children=(worker("x"),))
    world = running(Supervisor("app", strategy="one_for_all", children=(sub, worker("y"), worker("z"))))
    world.exit(2)

    assert "/app/sub is stopping" == refused(world, added(parent_path="/app/sub"))


def test_nothing_is_restarted_while_it_is_removed() -> None:
    world = running(nested())
    world.tell(StopActor(1))

    assert "/app/a is being removed" == refused(world, RestartActor(1))


# ---------------------------------------------------------------- old news


@pytest.mark.parametrize(
    "event",
    [
        ActorReady(1, 0),
        ActorReady(1, 1),
        ActorReady(77, 1),
        ActorExited(1, 0, CRASH),
        ActorExited(77, 1, CRASH),
        StopActor(77),
        Tick(),
    ],
    ids=repr,
)
def test_old_and_unknown_news_changes_nothing(event: Event) -> None:
    world = running(nested())
    before = world.state

    assert [] == world.tell(event)
    assert before == world.state


def test_a_tick_reaches_only_the_nodes_that_wait_for_it() -> None:
    sub = Supervisor("sub", children=(worker("x", backoff=Backoff(initial=1.0)),), period=60.0)
    world = running(Supervisor("app", children=(sub, worker("a", backoff=Backoff(initial=3.0))), period=60.0))
    world.exit(1)
    world.exit(2)

    assert [StartActor(1, 2)] == world.wait(1.0)
    assert [StartActor(2, 2)] == world.wait(2.0)


# ---------------------------------------------------------------- looking


def test_an_actor_is_seen_in_each_phase() -> None:
    world = World(Supervisor("app", children=(worker("a", restart="transient", backoff=Backoff(initial=1.0)),)))
    seen = []

    def look() -> None:
        info = _tree.actor_info(world.state, 1)
        assert info is not None
        seen.append((info.phase, info.incarnation, info.restarts, info.start_at))

    look()
    world.tell(Start())
    look()
    world.ready(1)
    look()
    world.exit(1)
    look()
    world.wait(1.0)
    world.ready(1)
    world.tell(RestartActor(1))
    look()
    world.exit(1, REQUESTED)
    world.ready(1)
    world.exit(1, NORMAL)
    look()

    assert [
        ("down", 0, 0, None),
        ("starting", 1, 0, None),
        ("running", 1, 0, None),
        ("waiting", 1, 1, 101.0),
        ("stopping", 2, 1, None),
        ("parked", 3, 1, None),
    ] == seen


def test_actors_of_a_supervisor_that_stops_are_down_and_of_one_that_starts_waiting() -> None:
    world = running(nested())
    world.exit(2)
    stopping = phases(world)["/app/sub/x"]
    world.exit(3, REQUESTED)

    assert "down" == stopping
    assert "waiting" == phases(world)["/app/sub/y"]
    assert {"/app": "running", "/app/sub": "starting"} == modes(world)


def test_a_supervisor_that_has_failed_waits_for_its_turn_in_its_group() -> None:
    sub = Supervisor("sub", children=(worker("x"),), max_restarts=0)
    tree = Supervisor("app", strategy="one_for_all", children=(worker("a"), sub), max_restarts=MANY)
    world = running(tree)
    world.exit(2)

    assert {"/app": "running", "/app/sub": "waiting"} == modes(world)
    assert "waiting" == phases(world)["/app/sub/x"]
    world.tell(Shutdown())
    assert "/app/sub" not in modes(world)


def test_what_is_gone_cannot_be_seen() -> None:
    world = running(nested())

    assert None is _tree.actor_info(world.state, 77)
    assert None is _tree.find(world.state, "/nowhere/x")
    assert None is _tree.find(world.state, "/app/sub")
    assert None is _tree.find(world.state, "/app/b")


def test_a_supervisor_shows_its_children_and_how_often_they_were_restarted() -> None:
    world = running(nested(max_restarts=5))
    world.exit(2)
    info = _tree.supervisors(world.state)["/app/sub"]

    assert (("x", "y"), 1, "one_for_one", "sub", None) == (
        info.children,
        info.restarts,
        info.strategy,
        info.spec.name,
        info.reason,
    )
    assert ("a", "sub", "z") == _tree.supervisors(world.state)["/app"].children


def test_supervisors_wait_for_their_turn_and_are_down_before_the_start() -> None:
    tree = Supervisor("app", children=(worker("a"), Supervisor("one", children=(Supervisor("two"),))))
    world = World(tree)
    before = modes(world)
    world.tell(Start())

    assert {"/app": "down", "/app/one": "down", "/app/one/two": "down"} == before
    assert {"/app": "starting", "/app/one": "waiting", "/app/one/two": "waiting"} == modes(world)


def test_an_unnamed_actor_is_called_by_its_class_and_what_is_free() -> None:
    world = running(Supervisor("app", children=(worker("worker"),)))

    assert "worker-2" == _tree.name_for(world.state, "/app", Worker())
    assert "worker" == _tree.name_for(world.state, "/nowhere", Worker())
