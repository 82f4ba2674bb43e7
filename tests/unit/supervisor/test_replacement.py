from __future__ import annotations

from typing import Any

import pytest

from actors.supervisor import _state as s
from actors.supervisor._ladder import KILL_AGAIN_AFTER
from actors.supervisor._policy import Backoff, Strategy
from tests.supervised import CRASH, KILLED, NORMAL, REQUESTED, Bench, number, rule


def replacing(*rules: s.ChildRule, **supervisor: Any) -> Bench:
    """A bench whose first child is being replaced: ``a2`` is starting, ``a1`` serves."""
    bench = Bench(*(rules or (rule(),)), **supervisor)
    bench.boot()
    assert bench.replace("a") == ["start a2 standby"]
    return bench


def handing_over(*rules: s.ChildRule, **supervisor: Any) -> Bench:
    """The same, further on: ``a2`` stands by, ``a1`` has been asked to leave."""
    bench = replacing(*rules, **supervisor)
    assert bench.next_ready("a") == ["hand over a1"]
    return bench


# ---------------------------------------------------------------- as it should go


def test_the_next_one_is_ready_before_the_old_one_leaves_and_serves_after_it() -> None:
    bench = Bench(rule(), max_restarts=0)
    bench.boot()

    assert bench.replace("a") == ["start a2 standby"]
    assert bench.next_ready("a") == ["hand over a1"]
    assert bench.exit("a", REQUESTED) == ["promote a2"]
    assert (s.Running(bench.now), 2, None) == (bench["a"].phase, bench["a"].incarnation, bench["a"].replacement)


@pytest.mark.parametrize("reason", [REQUESTED, NORMAL, CRASH, KILLED])
def test_a_replacement_spends_nothing_however_the_old_one_leaves(reason: Any) -> None:
    bench = handing_over(max_restarts=0)
    bench.exit("a", reason)

    assert ((), 0, 0) == (bench.state.times, bench["a"].attempt, bench["a"].restarts)
    assert reason == bench["a"].reason


def test_it_runs_since_it_was_promoted() -> None:
    bench = replacing(rule(backoff=Backoff(initial=0.0, stable_after=10.0)))
    bench.now += 8.0
    bench.next_ready("a")
    bench.now += 1.0
    bench.exit("a", REQUESTED)
    bench.now += 9.0

    assert bench.exit("a") == ["again a2 attempt 1", "start a3"]
    bench.ready("a")
    bench.now += 9.0
    assert bench.exit("a") == ["again a3 attempt 2", "start a4"]


def test_one_that_was_replaced_can_be_replaced_again() -> None:
    bench = handing_over()
    bench.exit("a", REQUESTED)

    assert bench.replace("a") == ["start a3 standby"]


def test_the_old_one_climbs_the_ladder_if_it_does_not_hand_over() -> None:
    bench = handing_over(rule(shutdown=5.0, term_grace=2.0))

    assert bench.due == 5.0
    assert bench.wait(5.0) == ["terminate a1"]
    assert bench.wait(2.0) == ["kill a1 shutdown"]
    assert bench.wait(KILL_AGAIN_AFTER) == ["kill a1 shutdown"]
    assert bench.exit("a", KILLED) == ["promote a2"]


def test_a_shutdown_of_0_kills_the_old_one_at_once() -> None:
    bench = replacing(rule(shutdown=0))

    assert bench.next_ready("a") == ["hand over a1", "kill a1 shutdown"]


def test_a_shutdown_of_none_lets_the_old_one_take_its_time() -> None:
    bench = handing_over(rule(shutdown=None))

    assert bench.due is None
    assert bench.wait(1e6) == []


@pytest.mark.parametrize("strategy", ["one_for_one", "rest_for_one", "one_for_all"])
def test_siblings_do_not_notice_under_any_strategy(strategy: Strategy) -> None:
    bench = Bench(rule(), rule(), rule(after=(2,)), strategy=strategy, max_restarts=0)
    bench.boot()

    assert bench.replace("b") == ["start b2 standby"]
    assert bench.next_ready("b") == ["hand over b1"]
    assert bench.exit("b", REQUESTED) == ["promote b2"]


@pytest.mark.parametrize("strategy", ["one_for_one", "rest_for_one", "one_for_all"])
def test_a_sibling_can_be_restarted_and_removed_meanwhile(strategy: Strategy) -> None:
    bench = handing_over(rule(), rule(), strategy=strategy)

    assert bench.restart("b") == ["stop b1"]
    assert bench.exit("b", REQUESTED) == ["start b2"]
    assert bench.ready("b") == []
    assert bench.remove("b") == ["stop b2"]
    assert bench.exit("b", REQUESTED) == ["gone b requested"]


# ---------------------------------------------------------------- who is replaced, and when


def test_one_at_a_time_in_the_order_of_asking() -> None:
    bench = Bench(rule(), rule(), rule())
    bench.boot()
    bench.replace("c")
    bench.now += 0.1

    assert bench.replace("b") == []
    bench.now += 0.1
    assert bench.replace("a") == []
    assert bench.due == 29.8  # the start timeout of c's
    assert bench.next_ready("c") == ["hand over c1"]
    assert bench.exit("c", REQUESTED) == ["promote c2", "start b2 standby"]
    assert bench.next_ready("b") == ["hand over b1"]
    assert bench.exit("b", REQUESTED) == ["promote b2", "start a2 standby"]


def test_who_waits_for_its_turn_and_is_to_go_down_loses_it() -> None:
    bench = replacing(rule(), rule())
    bench.replace("b")
    bench.remove("b")
    bench.exit("b", REQUESTED)
    bench.next_ready("a")

    assert bench.exit("a", REQUESTED) == ["promote a2"]
    assert "b" not in bench


def test_who_dies_while_it_waits_for_its_turn_is_fresh_again() -> None:
    bench = replacing(rule(), rule())
    bench.replace("b")

    assert bench.exit("b") == ["again b1 attempt 1", "start b2"]
    bench.ready("b")
    bench.next_ready("a")
    assert bench.exit("a", REQUESTED) == ["promote a2"]


def test_asking_twice_is_asking_once() -> None:
    bench = replacing()

    assert bench.replace("a") == []
    bench.next_ready("a")
    assert bench.replace("a") == []
    assert bench.exit("a", REQUESTED) == ["promote a2"]


@pytest.mark.parametrize("why", ["unknown", "stale", "coming", "starting", "stopping", "down", "parked", "mode"])
def test_nobody_else_is_replaced(why: str) -> None:
    bench = Bench(rule(restart="transient", backoff=Backoff(initial=1.0)), rule(), on_exhausted="park")
    bench.boot()
    event = s.ReplaceChild(1, 1)
    if why == "unknown":
        event = s.ReplaceChild(9, 1)
    elif why == "stale":
        event = s.ReplaceChild(1, 0)
    elif why == "coming":
        event = s.ReplaceChild(1, 2)
    elif why == "starting":
        bench.exit("a")
        bench.wait(2.0)
        event = s.ReplaceChild(1, 2)
    elif why == "stopping":
        bench.restart("a")
    elif why == "down":
        bench.exit("a")
    elif why == "parked":
        bench.exit("a", NORMAL)
    else:
        for _ in range(4):
            bench.exit("b")
            bench.ready_all()
        bench.exit_all()
        bench.restart("a")
        bench.ready_all()
        event = s.ReplaceChild(1, bench["a"].incarnation)
        assert bench.state.mode == "parked"
    before = bench.state

    assert bench.tell(event) == []
    assert bench.state == before


def test_nobody_is_replaced_while_the_supervisor_boots() -> None:
    bench = Bench(rule(), rule())
    bench.tell(s.StartRequested())
    bench.ready("a")

    assert bench.replace("a") == []
    assert bench.ready("b") == ["ready"]


# ---------------------------------------------------------------- the next one fails


def test_the_old_one_goes_on_if_the_next_one_fails_to_start_and_it_is_tried_again_after_the_backoff() -> None:
    bench = replacing(rule(backoff=Backoff(initial=1.0, factor=2.0, jitter=0.5)), max_restarts=0)

    assert bench.next_exit("a") == []
    assert bench.alive == "a"
    assert bench.due == 1.0
    assert bench.wait(1.0) == ["start a3 standby"]
    assert bench.next_exit("a", jitter=0.5) == []
    assert bench.due == 2.5
    assert bench.wait(2.5) == ["start a4 standby"]
    assert bench.next_ready("a") == ["hand over a1"]
    assert bench.exit("a", REQUESTED) == ["promote a4"]
    assert ((), 0) == (bench.state.times, bench["a"].restarts)


def test_a_number_that_was_used_for_a_failed_one_is_not_used_again() -> None:
    bench = replacing(rule(backoff=Backoff(initial=1.0)))
    bench.next_exit("a")

    assert bench.exit("a") == ["again a1 attempt 1"]
    assert bench.wait(1.1) == ["start a3"]


def test_one_that_failed_waits_behind_the_others() -> None:
    bench = replacing(rule(backoff=Backoff(initial=1.0)), rule())
    bench.now += 0.5
    bench.replace("b")

    assert bench.next_exit("a") == ["start b2 standby"]
    assert bench.wait(2.0) == []
    bench.next_ready("b")
    assert bench.exit("b", REQUESTED) == ["promote b2", "start a3 standby"]


def test_one_that_is_not_ready_in_time_is_killed_and_has_failed() -> None:
    bench = replacing(rule(start_timeout=3.0))

    assert bench.due == 3.0
    assert bench.wait(3.0) == ["kill a2 boot_timeout"]
    assert bench.wait(KILL_AGAIN_AFTER) == ["kill a2 boot_timeout"]
    assert bench.next_ready("a") == []
    assert bench.next_exit("a", KILLED) == ["start a3 standby"]


def test_without_a_start_timeout_it_may_take_for_ever() -> None:
    bench = replacing(rule(start_timeout=None))

    assert bench.due is None


def test_one_that_dies_standing_by_is_followed_by_an_ordinary_start() -> None:
    bench = handing_over(max_restarts=0)

    assert bench.next_exit("a", CRASH) == []
    assert bench.exit("a", REQUESTED) == ["start a3"]
    assert bench.ready("a") == []


def test_a_temporary_one_whose_successor_dies_standing_by_does_not_come_back() -> None:
    bench = handing_over(rule(restart="temporary"))
    bench.next_exit("a", CRASH)

    assert bench.exit("a", REQUESTED) == ["gone a requested"]


# ---------------------------------------------------------------- the old one dies by itself


def test_a_replacement_that_is_starting_becomes_the_restart() -> None:
    bench = replacing(rule(backoff=Backoff(initial=1.0)), max_restarts=1)

    assert bench.exit("a") == ["again a1 attempt 1"]
    assert 1 == len(bench.state.times)
    assert bench.ready("a") == ["promote a2"]
    assert (s.Running(bench.now), 1) == (bench["a"].phase, bench["a"].restarts)
    assert bench.exit("a")[0] == "exhausted 2 crash"


def test_a_restart_that_was_a_replacement_has_its_own_start_timeout_and_may_fail() -> None:
    bench = replacing(rule(start_timeout=3.0))
    bench.wait(1.0)
    bench.exit("a")

    assert bench.due == 2.0
    assert bench.wait(2.0) == ["kill a2 boot_timeout"]
    assert bench.exit("a", KILLED) == ["again a2 attempt 2", "start a3"]
    assert bench.ready("a") == []


@pytest.mark.parametrize("strategy", ["rest_for_one", "one_for_all"])
def test_a_group_that_goes_down_takes_the_replacement_with_it(strategy: Strategy) -> None:
    bench = replacing(rule(), rule(), strategy=strategy)

    assert bench.exit("a") == ["again a1 attempt 1", "kill a2 shutdown", "stop b1"]
    assert bench.exit("b", REQUESTED) == []
    assert bench.next_exit("a", KILLED) == ["start a3"]
    assert bench.ready("a") == ["start b2"]


@pytest.mark.parametrize("strategy", ["rest_for_one", "one_for_all"])
def test_a_group_of_one_need_not_go_down(strategy: Strategy) -> None:
    bench = Bench(rule(), strategy=strategy)
    bench.boot()
    bench.replace("a")

    assert bench.exit("a") == ["again a1 attempt 1"]
    assert bench.ready("a") == ["promote a2"]


def test_a_group_starts_anew_only_when_the_replacement_is_down_too() -> None:
    bench = Bench(rule(), rule(), strategy="one_for_all")
    bench.boot()
    bench.replace("b")

    assert bench.exit("b") == ["again b1 attempt 1", "kill b2 shutdown"]
    assert bench.next_exit("b", KILLED) == ["stop a1"]
    assert bench.exit("a", REQUESTED) == ["start a2"]
    assert bench.ready("a") == ["start b3"]


def test_one_that_is_late_already_is_no_restart() -> None:
    bench = replacing(rule(start_timeout=3.0))
    bench.wait(3.0)

    assert bench.exit("a") == ["again a1 attempt 1"]
    assert bench.next_exit("a", KILLED) == ["start a3"]


@pytest.mark.parametrize(
    ("restart", "dynamic", "end"),
    [
        ("transient", False, "parked a normal"),
        ("transient", True, "gone a normal"),
        ("temporary", False, "gone a normal"),
    ],
)
def test_one_that_ends_for_good_is_parked_or_gone_when_both_are_down(restart: Any, dynamic: bool, end: str) -> None:
    bench = Bench(*(() if dynamic else (rule(restart=restart),)))
    bench.boot()
    if dynamic:
        bench.add("a", restart=restart)
        bench.ready("a")
    bench.replace("a")

    assert bench.exit("a", NORMAL) == ["kill a2 shutdown"]
    assert bench.next_exit("a", KILLED) == [end]


@pytest.mark.parametrize("restart", ["transient", "temporary"])
def test_the_end_of_a_significant_child_ends_the_supervisor_also_while_it_is_replaced(restart: Any) -> None:
    bench = replacing(rule(restart=restart, significant=True), rule(), auto_shutdown="all_significant")

    assert bench.exit("a", NORMAL) == ["kill a2 shutdown", "stop b1"]
    assert bench.exit("b", REQUESTED) == []
    assert bench.next_exit("a", KILLED)[-1] == "finish ended -"


def test_a_supervisor_that_gives_up_takes_the_replacement_with_it() -> None:
    bench = replacing(max_restarts=0)

    assert bench.exit("a") == ["exhausted 1 crash", "kill a2 shutdown"]
    assert bench.next_exit("a", KILLED) == ["finish failed crash"]


def test_a_supervisor_that_parks_takes_the_replacement_with_it() -> None:
    bench = replacing(rule(), rule(), max_restarts=0, on_exhausted="park")

    assert bench.exit("b") == ["exhausted 1 crash", "parked b crash", "kill a2 shutdown", "stop a1"]
    assert bench.exit("a", REQUESTED) == []
    assert bench.next_exit("a", KILLED) == ["parked a requested"]


# ---------------------------------------------------------------- something else is wanted


STAGES = {"starting": replacing, "standing by": handing_over}


@pytest.mark.parametrize("old_first", [True, False])
@pytest.mark.parametrize(
    ("stage", "wish", "end"),
    [
        ("starting", "remove", "gone a requested"),
        ("starting", "restart", "start a3"),
        ("starting", "stop", "finish stopped -"),
        ("standing by", "restart", "start a3"),
    ],
)
def test_both_end_before_the_wish_is_fulfilled(stage: str, old_first: bool, wish: str, end: str) -> None:
    bench = STAGES[stage]()
    asked_already = stage == "standing by"

    said = getattr(bench, wish)(*(() if wish == "stop" else ("a",)))
    assert said == ["kill a2 shutdown", *(() if asked_already else ("stop a1",))]
    if old_first:
        assert bench.exit("a", REQUESTED) == []
        assert bench.next_exit("a", KILLED) == [end]
    else:
        assert bench.next_exit("a", KILLED) == []
        assert bench.exit("a", REQUESTED) == [end]


@pytest.mark.parametrize(("wish", "end"), [("remove", ["gone a requested"]), ("stop", ["finish stopped -"])])
def test_one_that_stands_by_takes_over_and_is_stopped_when_the_child_is_to_end(wish: str, end: list[str]) -> None:
    bench = handing_over()

    assert getattr(bench, wish)(*(() if wish == "stop" else ("a",))) == []
    assert bench.exit("a", REQUESTED) == ["promote a2", "stop a2"]
    assert bench.exit("a", REQUESTED) == end


@pytest.mark.parametrize(("wish", "end"), [("remove", ["gone a requested"]), ("stop", ["finish stopped -"])])
def test_one_that_dies_standing_by_when_the_child_is_to_end_is_not_missed(wish: str, end: list[str]) -> None:
    bench = handing_over()
    getattr(bench, wish)(*(() if wish == "stop" else ("a",)))

    assert bench.next_exit("a", CRASH) == []
    assert bench.exit("a", REQUESTED) == end


def test_one_that_stands_by_is_stopped_in_its_turn_when_the_supervisor_stops() -> None:
    bench = handing_over(rule(), rule())

    assert bench.stop() == ["stop b1"]
    assert bench.exit("a", REQUESTED) == ["promote a2"]
    assert bench.exit("b", REQUESTED) == ["stop a2"]
    assert bench.exit("a", REQUESTED) == ["finish stopped -"]


def test_at_the_deadline_of_a_stop_one_that_has_been_promoted_for_it_is_killed() -> None:
    bench = handing_over()
    bench.stop(bench.now + 1.0)

    assert bench.exit("a", REQUESTED) == ["promote a2", "stop a2"]
    assert bench.wait(1.0) == ["kill a2 shutdown"]


def test_a_temporary_one_is_gone_in_a_stop_when_both_are_down() -> None:
    bench = replacing(rule(restart="temporary"))
    bench.stop()

    assert bench.exit("a", REQUESTED) == []
    assert bench.next_exit("a", KILLED) == ["gone a requested", "finish stopped -"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_group_that_is_taken_down_by_a_sibling_takes_the_replacement_down(stage: str) -> None:
    bench = STAGES[stage](rule(), rule(), strategy="one_for_all")
    bench.exit("b")
    bench.next_exit("a", KILLED)

    assert bench.exit("a", REQUESTED) == ["start a3"]
    assert bench.ready("a") == ["start b2"]


def test_a_kill_of_the_replacement_is_said_again() -> None:
    bench = replacing(rule(shutdown=None))
    bench.remove("a")

    assert bench.due == KILL_AGAIN_AFTER
    assert bench.wait(KILL_AGAIN_AFTER) == ["kill a2 shutdown"]


def test_at_the_deadline_of_a_stop_the_old_one_is_killed_too() -> None:
    bench = handing_over(rule(shutdown=None))

    assert bench.stop(bench.now) == ["kill a2 shutdown", "kill a1 shutdown"]


def test_a_replacement_that_is_being_killed_and_says_it_is_ready_is_too_late() -> None:
    bench = replacing()
    bench.restart("a")

    assert bench.next_ready("a") == []


def test_one_that_is_being_removed_is_removed_whoever_asks_what() -> None:
    bench = replacing()
    bench.remove("a")
    bench.exit("a", REQUESTED)

    assert bench.restart("a") == []
    assert bench.remove("a") == []
    assert bench.next_exit("a", KILLED) == ["gone a requested"]


def test_a_parked_one_whose_replacement_is_still_there_can_be_restarted() -> None:
    bench = replacing(rule(restart="transient"))
    bench.exit("a", NORMAL)

    assert bench.restart("a") == []
    assert bench.next_exit("a", KILLED) == ["start a3"]


# ---------------------------------------------------------------- old news


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("incarnation", [0, 3])
def test_news_of_another_incarnation_changes_nothing(stage: str, incarnation: int) -> None:
    bench = STAGES[stage]()
    before = bench.state

    assert bench.tell(s.ChildStarted(1, incarnation)) == []
    assert bench.tell(s.ChildExited(1, incarnation, CRASH)) == []
    assert bench.state == before


def test_an_exit_of_the_replacement_that_is_told_twice_counts_once() -> None:
    bench = replacing(rule(backoff=Backoff(initial=1.0)))
    bench.next_exit("a")
    before = bench.state

    assert bench.tell(s.ChildExited(number("a"), 2, CRASH)) == []
    assert bench.tell(s.ChildExited(number("a"), 0, CRASH)) == []
    assert bench.state == before


def test_a_replacement_that_is_ready_twice_is_ready_once() -> None:
    bench = handing_over()

    assert bench.next_ready("a") == []
