from __future__ import annotations

from typing import Any

import pytest

from actors.supervisor import _state as s
from actors.supervisor._machine import KILL_AGAIN_AFTER, refusal
from actors.supervisor._policy import Backoff, RestartType, Strategy
from actors.supervisor._spec import Park
from tests.supervised import BOOT_FAILURE, CRASH, KILLED, NORMAL, REQUESTED, Bench, number, rule

MANY = 1000


def running(*rules: s.ChildRule, **supervisor: Any) -> Bench:
    """A bench whose children all run, and whose limit is far away."""
    bench = Bench(*rules, **{"max_restarts": MANY, **supervisor})
    bench.boot()
    return bench


# ---------------------------------------------------------------- start


def test_children_start_in_order_each_ready_before_the_next() -> None:
    bench = Bench(rule(), rule(), rule())

    assert bench.tell(s.StartRequested()) == ["start a1"]
    assert bench.ready("a") == ["start b1"]
    assert bench.wait(1.0) == []
    assert bench.ready("b") == ["start c1"]
    assert bench.ready("c") == ["ready"]


def test_a_supervisor_without_children_is_ready_at_once() -> None:
    assert Bench().boot() == ["ready"]


def test_a_second_start_changes_nothing() -> None:
    bench = running(rule())

    assert bench.tell(s.StartRequested()) == []


def test_a_failed_first_start_stops_the_started_in_reverse_and_fails_the_supervisor() -> None:
    bench = Bench(rule(), rule(), rule(), rule())
    bench.tell(s.StartRequested())
    bench.ready("a")
    bench.ready("b")

    assert bench.exit("c", BOOT_FAILURE) == ["stop b1"]
    assert bench.exit("b", REQUESTED) == ["stop a1"]
    assert bench.exit("a", REQUESTED) == ["finish failed boot_failure"]
    assert bench["d"].incarnation == 0


@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
def test_a_failed_first_start_fails_the_supervisor_whatever_the_restart_type(restart: RestartType) -> None:
    bench = Bench(rule(restart=restart))
    bench.tell(s.StartRequested())

    assert bench.exit("a", NORMAL)[-1] == "finish failed normal"


def test_a_child_that_dies_after_it_was_ready_is_restarted_while_others_still_boot() -> None:
    bench = Bench(rule(), rule())
    bench.tell(s.StartRequested())
    bench.ready("a")

    assert bench.exit("a") == ["again a1 attempt 1", "start a2"]
    assert bench.ready("b") == []
    assert bench.ready("a") == ["ready"]


def test_a_child_not_ready_in_time_is_killed_and_that_is_a_failed_start() -> None:
    bench = Bench(rule(start_timeout=3.0))
    bench.tell(s.StartRequested())

    assert bench.due == 3.0
    assert bench.wait(2.9) == []
    assert bench.wait(0.1) == ["kill a1 boot_timeout"]
    assert bench.exit("a", KILLED) == ["finish failed requested"]


def test_a_late_restart_is_killed_and_counts() -> None:
    bench = running(rule(start_timeout=3.0), max_restarts=1)
    bench.exit("a")

    assert bench.wait(3.0) == ["kill a2 boot_timeout"]
    assert bench.exit("a", KILLED) == ["exhausted 2 requested", "finish failed requested"]


def test_a_child_without_a_start_timeout_may_take_for_ever() -> None:
    bench = Bench(rule(start_timeout=None))
    bench.tell(s.StartRequested())

    assert bench.due is None
    assert bench.wait(1e6) == []


# ---------------------------------------------------------------- restart types


@pytest.mark.parametrize(
    ("restart", "reason", "said"),
    [
        ("permanent", CRASH, ["again a1 attempt 1", "start a2"]),
        ("permanent", NORMAL, ["again a1 attempt 1", "start a2"]),
        ("permanent", REQUESTED, ["again a1 attempt 1", "start a2"]),
        ("transient", CRASH, ["again a1 attempt 1", "start a2"]),
        ("transient", NORMAL, ["parked a normal"]),
        ("transient", REQUESTED, ["parked a requested"]),
        ("temporary", CRASH, ["gone a crash"]),
        ("temporary", NORMAL, ["gone a normal"]),
    ],
)
@pytest.mark.parametrize("strategy", ["one_for_one", "rest_for_one", "one_for_all"])
def test_a_death_is_answered_by_the_restart_type(
    restart: RestartType, reason: Any, said: list[str], strategy: Strategy
) -> None:
    bench = running(rule(restart=restart), strategy=strategy)

    assert bench.exit("a", reason) == said


@pytest.mark.parametrize("restart", ["permanent", "transient"])
def test_a_failed_restart_is_tried_again_whatever_its_exit_code(restart: RestartType) -> None:
    bench = running(rule(restart=restart))
    bench.exit("a", CRASH)

    assert bench.exit("a", NORMAL) == ["again a2 attempt 2", "start a3"]


def test_a_temporary_child_that_fails_to_start_again_by_hand_is_gone() -> None:
    bench = running(rule(restart="temporary"))
    bench.restart("a")
    bench.exit("a", REQUESTED)

    assert bench.exit("a", BOOT_FAILURE) == ["gone a boot_failure"]


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
@pytest.mark.parametrize(("restart", "reason"), [("transient", NORMAL), ("temporary", CRASH)])
def test_a_child_that_does_not_come_back_takes_nobody_down(
    strategy: Strategy, restart: RestartType, reason: Any
) -> None:
    bench = running(rule(), rule(restart=restart), rule(), strategy=strategy)
    bench.exit("b", reason)

    assert bench.alive == "ac"


# ---------------------------------------------------------------- strategies


@pytest.mark.parametrize(
    ("strategy", "failed", "stops", "starts"),
    [
        ("one_for_one", "a", "", "a"),
        ("one_for_one", "b", "", "b"),
        ("one_for_one", "c", "", "c"),
        ("rest_for_one", "a", "cb", "abc"),
        ("rest_for_one", "b", "c", "bc"),
        ("rest_for_one", "c", "", "c"),
        ("one_for_all", "a", "cb", "abc"),
        ("one_for_all", "b", "ca", "abc"),
        ("one_for_all", "c", "ba", "abc"),
    ],
)
def test_a_strategy_stops_in_reverse_and_starts_in_order(
    strategy: Strategy, failed: str, stops: str, starts: str
) -> None:
    bench = running(rule(), rule(), rule(), strategy=strategy)
    said = [*bench.exit(failed), *bench.exit_all(), *bench.ready_all()]

    assert said == [
        f"again {failed}1 attempt 1",
        *(f"stop {letter}1" for letter in stops),
        *(f"start {letter}2" for letter in starts),
    ]


def test_a_group_stops_one_at_a_time() -> None:
    bench = running(rule(), rule(), rule(), strategy="one_for_all")

    assert bench.exit("b") == ["again b1 attempt 1", "stop c1"]
    assert bench.exit("c", REQUESTED) == ["stop a1"]
    assert bench.exit("a", REQUESTED) == ["start a2"]


def test_a_sibling_that_dies_while_its_group_is_stopped_counts_in_no_intensity() -> None:
    bench = running(rule(), rule(), rule(), strategy="one_for_all", max_restarts=1)
    bench.exit("c")

    assert bench.exit("a", CRASH) == []
    assert bench.exit("b", CRASH) == ["start a2"]


def test_a_temporary_sibling_is_taken_down_and_removed() -> None:
    bench = running(rule(), rule(restart="temporary"), rule(), strategy="one_for_all")
    bench.exit("a")
    bench.exit("c", REQUESTED)

    assert bench.exit("b", REQUESTED) == ["gone b requested", "start a2"]
    assert "b" not in bench


def test_a_transient_sibling_that_has_ended_comes_back_with_its_group() -> None:
    bench = running(rule(), rule(restart="transient"), strategy="one_for_all")
    bench.exit("b", NORMAL)

    assert bench.exit("a") == ["again a1 attempt 1", "start a2"]
    assert bench.ready("a") == ["start b2"]


def test_a_transient_sibling_that_has_ended_stays_so_outside_the_group() -> None:
    bench = running(rule(restart="transient"), rule(), strategy="rest_for_one")
    bench.exit("a", NORMAL)

    assert bench.exit("b") == ["again b1 attempt 1", "start b2"]


def test_a_sibling_that_is_being_removed_does_not_come_back_with_its_group() -> None:
    bench = running(rule(), rule(), strategy="one_for_all")
    bench.remove("b")
    bench.exit("a")

    assert bench.exit("b", REQUESTED) == ["gone b requested", "start a2"]


def test_a_failed_restart_takes_the_group_down_again() -> None:
    bench = running(rule(), rule(), strategy="one_for_all")
    bench.exit("b")
    bench.exit("a", REQUESTED)
    bench.ready("a")

    assert bench.exit("b", BOOT_FAILURE) == ["again b2 attempt 2", "stop a2"]


def test_a_failed_restart_in_the_middle_of_a_rest_for_one_leaves_the_elder_alone() -> None:
    bench = running(rule(), rule(), rule(), strategy="rest_for_one")
    bench.exit("a")
    bench.exit_all()
    bench.ready("a")

    assert bench.exit("b", BOOT_FAILURE) == ["again b2 attempt 1", "start b3"]
    assert bench.ready_all() == ["start c2"]
    assert [bench[letter].incarnation for letter in "abc"] == [2, 3, 2]


def test_a_failed_restart_in_the_middle_of_a_group_can_be_once_too_often() -> None:
    bench = running(rule(), rule(), rule(), strategy="one_for_all", max_restarts=1)
    bench.exit("c")
    bench.exit_all()
    bench.ready("a")

    assert bench.exit("b", BOOT_FAILURE) == ["exhausted 2 boot_failure", "stop a2"]
    assert bench.exit("a", REQUESTED) == ["finish failed boot_failure"]


def test_later_siblings_wait_for_the_backoff_of_an_earlier_one_in_a_group() -> None:
    bench = running(rule(backoff=Backoff(initial=2.0)), rule(), strategy="rest_for_one", period=10.0)
    bench.exit("a")
    bench.exit("b", REQUESTED)

    assert bench.wait(1.9) == []
    assert bench.wait(0.1) == ["start a2"]
    assert bench.ready("a") == ["start b2"]


def test_a_slow_start_holds_nobody_up_under_one_for_one() -> None:
    bench = running(rule(), rule())
    bench.exit("a")

    assert bench.exit("b") == ["again b1 attempt 1", "start b2"]


def test_a_slow_stop_holds_nobody_up_under_one_for_one() -> None:
    bench = running(rule(), rule(shutdown=None), rule(shutdown=None))

    assert bench.remove("b") == ["stop b1"]
    assert bench.remove("c") == ["stop c1"]
    assert bench.exit("a") == ["again a1 attempt 1", "start a2"]


# ---------------------------------------------------------------- after


def test_a_child_waits_for_those_it_starts_after() -> None:
    bench = running(rule(backoff=Backoff(initial=2.0)), rule(after=(1,)), period=10.0)
    bench.exit("a")

    assert bench.exit("b") == ["again b1 attempt 1"]
    assert bench.due == 2.0
    assert bench.wait(2.0) == ["start a2"]
    assert bench.ready("a") == ["start b2"]


@pytest.mark.parametrize("leave", ["ended", "removed", "never there"])
def test_an_elder_that_is_not_to_run_holds_nobody_up(leave: str) -> None:
    bench = running(rule(restart="transient"), rule(after=(26,) if leave == "never there" else (1,)))
    if leave == "ended":
        bench.exit("a", NORMAL)
    if leave == "removed":
        bench.remove("a")
        bench.exit("a", REQUESTED)

    assert bench.exit("b") == ["again b1 attempt 1", "start b2"]


def test_an_elder_that_is_on_its_way_down_is_waited_for() -> None:
    bench = running(rule(), rule(after=(1,)))
    bench.restart("a")
    bench.exit("b")

    assert bench.exit("a", REQUESTED) == ["start a2"]
    assert bench.ready("a") == ["start b2"]


# ---------------------------------------------------------------- intensity


@pytest.mark.parametrize(("gap", "gives_up"), [(5.0, True), (5.1, False)], ids=["edge in", "edge out"])
def test_the_window_of_the_intensity_is_inclusive(gap: float, gives_up: bool) -> None:
    bench = running(rule(), max_restarts=1, period=5.0)
    bench.exit("a")
    bench.ready("a")
    bench.now += gap

    assert ("exhausted 2 crash" in bench.exit("a")) is gives_up


def test_deaths_of_different_children_add_up() -> None:
    bench = running(rule(), rule(), max_restarts=1)
    bench.exit("a")

    assert bench.exit("b")[0] == "exhausted 2 crash"


def test_deaths_that_are_spread_out_never_add_up() -> None:
    bench = running(rule(), max_restarts=1, period=5.0)
    for _ in range(20):
        bench.now += 5.1
        assert not [said for said in bench.exit("a") if "exhausted" in said]
        bench.ready("a")


def test_a_successful_restart_does_not_reset_the_count() -> None:
    bench = running(rule(), max_restarts=2)
    bench.exit("a")
    bench.ready("a")
    bench.exit("a")
    bench.ready("a")

    assert bench.exit("a") == ["exhausted 3 crash", "finish failed crash"]


def test_no_restart_is_allowed_where_the_limit_is_0() -> None:
    bench = running(rule(), max_restarts=0)

    assert bench.exit("a")[0] == "exhausted 1 crash"


def test_a_supervisor_that_gives_up_stops_its_children_in_reverse() -> None:
    bench = running(rule(), rule(), rule(), max_restarts=0)

    assert bench.exit("b") == ["exhausted 1 crash", "stop c1"]
    assert bench.exit("c", REQUESTED) == ["stop a1"]
    assert bench.exit("a", REQUESTED) == ["finish failed crash"]


def test_failed_restarts_count() -> None:
    bench = running(rule(), max_restarts=2)
    bench.exit("a")
    bench.exit("a", BOOT_FAILURE)

    assert bench.exit("a", BOOT_FAILURE) == ["exhausted 3 boot_failure", "finish failed boot_failure"]


def test_a_restart_by_hand_and_a_removal_count_in_no_intensity() -> None:
    bench = running(rule(), rule(), max_restarts=0)
    bench.restart("a")
    bench.remove("b")

    assert bench.exit("a", REQUESTED) == ["start a2"]
    assert bench.exit("b", REQUESTED) == ["gone b requested"]


# ---------------------------------------------------------------- backoff


def test_delays_grow_with_each_failure_and_use_the_jitter_of_the_exit() -> None:
    bench = running(rule(backoff=Backoff(initial=1.0, factor=2.0, maximum=10.0, jitter=0.5)), period=60.0)
    bench.exit("a", jitter=0.0)
    first = bench.due
    bench.wait(1.0)
    bench.exit("a", jitter=0.5)

    assert (first, bench.due) == (1.0, 2.5)
    assert bench["a"].restarts == 2


@pytest.mark.parametrize(
    ("stable_after", "ran", "attempt"),
    [(None, 5.0, 1), (None, 4.9, 2), (2.0, 2.0, 1), (2.0, 1.9, 2), (0.0, 0.0, 1)],
)
def test_failures_are_forgotten_after_a_stable_run(stable_after: float | None, ran: float, attempt: int) -> None:
    bench = running(rule(backoff=Backoff(initial=0.0, stable_after=stable_after)), period=5.0)
    bench.exit("a")
    bench.now += 100.0  # time before it was ready is no run
    bench.ready("a")
    bench.now += ran

    assert bench.exit("a")[0] == f"again a2 attempt {attempt}"


def test_a_failed_start_is_no_stable_run() -> None:
    bench = running(rule(backoff=Backoff(initial=0.0, stable_after=0.0), start_timeout=None))
    bench.exit("a")
    bench.now += 100.0

    assert bench.exit("a", BOOT_FAILURE)[0] == "again a2 attempt 2"


def test_a_restart_by_hand_needs_no_backoff_and_clears_the_record() -> None:
    bench = running(rule(backoff=Backoff(initial=2.0)), period=60.0)
    bench.exit("a")

    assert bench.restart("a") == ["start a2"]
    assert bench.exit("a") == ["again a2 attempt 1"]


# ---------------------------------------------------------------- the ladder


def test_a_stop_climbs_the_ladder_and_the_kill_is_said_again_until_the_exit() -> None:
    bench = running(rule(shutdown=5.0, term_grace=2.0))

    assert bench.remove("a") == ["stop a1"]
    assert bench.due == 5.0
    assert bench.wait(4.9) == []
    assert bench.wait(0.1) == ["terminate a1"]
    assert bench.due == 2.0
    assert bench.wait(1.9) == []
    assert bench.wait(0.1) == ["kill a1 shutdown"]
    assert bench.due == KILL_AGAIN_AFTER
    assert bench.wait(KILL_AGAIN_AFTER) == ["kill a1 shutdown"]
    assert bench.wait(KILL_AGAIN_AFTER) == ["kill a1 shutdown"]
    assert bench.exit("a", KILLED) == ["gone a requested"]
    assert bench.due is None


def test_a_kill_for_a_late_start_is_said_again_with_its_reason() -> None:
    bench = Bench(rule(start_timeout=3.0))
    bench.tell(s.StartRequested())
    bench.wait(3.0)

    assert bench.wait(KILL_AGAIN_AFTER) == ["kill a1 boot_timeout"]


def test_a_shutdown_of_0_kills_at_once() -> None:
    bench = running(rule(shutdown=0))

    assert bench.remove("a") == ["kill a1 shutdown"]


def test_a_shutdown_of_none_waits_for_ever() -> None:
    bench = running(rule(shutdown=None))

    assert bench.remove("a") == ["stop a1"]
    assert bench.due is None
    assert bench.wait(1e6) == []


def test_a_shutdown_of_none_waits_for_a_start_as_long_as_that_may_take() -> None:
    bench = running(rule(shutdown=None, start_timeout=30.0, term_grace=2.0))
    bench.exit("a")
    bench.wait(10.0)

    assert bench.remove("a") == ["stop a2"]
    assert bench.due == 20.0
    assert bench.wait(20.0) == ["terminate a2"]
    assert bench.wait(2.0) == ["kill a2 shutdown"]


def test_a_shutdown_of_none_waits_for_ever_once_the_start_is_over() -> None:
    bench = running(rule(shutdown=None, start_timeout=30.0))
    bench.exit("a")
    bench.remove("a")

    assert bench.ready("a") == []
    assert bench.due is None
    assert bench.wait(1e6) == []


def test_a_child_that_is_starting_is_stopped_by_the_same_ladder() -> None:
    bench = running(rule(shutdown=5.0))
    bench.exit("a")

    assert bench.remove("a") == ["stop a2"]
    assert bench.ready("a") == []
    assert bench.wait(5.0) == ["terminate a2"]


# ---------------------------------------------------------------- children at run time


def test_a_child_can_be_added() -> None:
    bench = running(rule())

    assert bench.add("b") == ["start b1"]
    assert bench.ready("b") == []
    assert bench.exit("b") == ["again b1 attempt 1", "start b2"]


def test_a_child_added_while_booting_waits_for_its_turn_and_holds_the_boot_not_up() -> None:
    bench = Bench(rule())
    bench.tell(s.StartRequested())

    assert bench.add("b") == []
    assert bench.ready("a") == ["ready", "start b1"]


def test_an_added_child_whose_first_start_fails_is_removed_and_nothing_else_happens() -> None:
    bench = running(rule(), strategy="one_for_all", max_restarts=0)
    bench.add("b")

    assert bench.exit("b", BOOT_FAILURE) == ["gone b boot_failure"]
    assert bench.alive == "a"


def test_an_added_child_whose_first_start_fails_while_others_boot_is_only_removed() -> None:
    bench = Bench(rule(start_timeout=None), strategy="one_for_all")
    bench.tell(s.StartRequested())
    bench.ready("a")
    bench.add("b")

    assert bench.exit("b", BOOT_FAILURE) == ["gone b boot_failure"]
    assert bench.state.mode == "serving"


def test_an_added_child_that_ends_as_expected_is_removed() -> None:
    bench = running()
    bench.add("a", restart="transient")
    bench.ready("a")

    assert bench.exit("a", NORMAL) == ["gone a normal"]


@pytest.mark.parametrize("strategy", ["rest_for_one", "one_for_all"])
def test_an_added_child_belongs_to_the_group(strategy: Strategy) -> None:
    bench = running(rule(), strategy=strategy)
    bench.add("b")
    bench.ready("b")

    assert [*bench.exit("a"), *bench.exit_all(), *bench.ready_all()] == [
        "again a1 attempt 1",
        "stop b1",
        "start a2",
        "start b2",
    ]


def test_a_temporary_child_that_never_ran_is_not_removed_with_its_group() -> None:
    bench = running(rule(), strategy="one_for_all")
    bench.exit("a")
    bench.add("b", restart="temporary")
    bench.exit("a", BOOT_FAILURE)

    assert bench.ready("a") == ["start b1"]


def test_there_can_be_too_many_children() -> None:
    bench = running(rule(), max_children=2)
    bench.add("b")

    assert refusal(bench.state) == "has 2 children, and max_children is 2"
    assert bench.add("c") == []
    assert "c" not in bench


def test_none_can_be_added_unless_it_runs() -> None:
    bench = Bench(rule())
    new = refusal(bench.state)
    bench.boot()
    serving = refusal(bench.state)
    bench.stop()
    stopping = refusal(bench.state)
    bench.exit("a", REQUESTED)

    assert (new, serving, stopping, refusal(bench.state)) == ("is not running", None, "is stopping", "is not running")


def test_a_removed_child_is_stopped_and_gone() -> None:
    bench = running(rule(), rule())

    assert bench.remove("a") == ["stop a1"]
    assert bench.remove("a") == []
    assert bench.exit("a", REQUESTED) == ["gone a requested"]
    assert bench.remove("a") == []


def test_a_child_in_backoff_is_removed_at_once() -> None:
    bench = running(rule(backoff=Backoff(initial=2.0)), period=60.0)
    bench.exit("a")

    assert bench.remove("a") == ["gone a crash"]
    assert bench.wait(10.0) == []


def test_a_child_that_waits_for_its_turn_is_removed_at_once() -> None:
    bench = Bench(rule(), rule())
    bench.tell(s.StartRequested())

    assert bench.remove("b") == ["gone b requested"]
    assert bench.ready("a") == ["ready"]


def test_a_boot_goes_on_without_a_child_that_is_removed_in_it() -> None:
    bench = Bench(rule(), rule())
    bench.tell(s.StartRequested())

    assert bench.remove("a") == ["stop a1"]
    assert bench.exit("a", REQUESTED) == ["gone a requested", "start b1"]


def test_a_restart_by_hand_stops_and_starts_that_child_alone() -> None:
    bench = running(rule(), rule(), strategy="one_for_all")

    assert bench.restart("a") == ["stop a1"]
    assert bench.exit("a", CRASH) == ["start a2"]
    assert bench.alive == "ab"


def test_a_boot_waits_for_a_child_that_is_restarted_by_hand_in_it() -> None:
    bench = Bench(rule())
    bench.tell(s.StartRequested())
    bench.restart("a")

    assert bench.exit("a", REQUESTED) == ["start a2"]
    assert bench.ready("a") == ["ready"]


def test_a_restart_by_hand_brings_back_a_child_that_has_ended() -> None:
    bench = running(rule(restart="transient"))
    bench.exit("a", NORMAL)

    assert bench.restart("a") == ["start a2"]


@pytest.mark.parametrize("why", ["unknown", "being removed", "stopping"])
def test_some_children_cannot_be_restarted(why: str) -> None:
    bench = running(rule(), rule())
    if why == "being removed":
        bench.remove("a")
    if why == "stopping":
        bench.stop()
    before = bench.state

    assert bench.tell(s.RestartChild(7 if why == "unknown" else 1)) == []
    assert bench.state == before


# ---------------------------------------------------------------- stop


def test_a_stop_is_in_reverse_one_at_a_time() -> None:
    bench = running(rule(), rule(), rule())

    assert bench.stop() == ["stop c1"]
    assert bench.exit("c", REQUESTED) == ["stop b1"]
    assert bench.exit("b", CRASH) == ["stop a1"]
    assert bench.exit("a", REQUESTED) == ["finish stopped -"]
    assert bench.stop() == []


def test_a_stop_while_booting_starts_nobody_else() -> None:
    bench = Bench(rule(), rule())
    bench.tell(s.StartRequested())

    assert bench.stop() == ["stop a1"]
    assert bench.ready("a") == []
    assert bench.exit("a", REQUESTED) == ["finish stopped -"]


def test_a_stop_before_the_start_finishes_at_once() -> None:
    assert Bench(rule()).stop() == ["finish stopped -"]


def test_a_child_in_backoff_stays_down_in_a_stop() -> None:
    bench = running(rule(backoff=Backoff(initial=2.0)), rule(), period=60.0)
    bench.exit("a")
    bench.stop()

    assert bench.wait(2.0) == []


def test_at_the_deadline_everything_left_is_killed() -> None:
    bench = running(rule(shutdown=None), rule(shutdown=60.0), rule(shutdown=60.0))
    bench.stop(bench.now + 10.0)

    assert bench.due == 10.0
    assert bench.wait(9.9) == []
    assert bench.wait(0.1) == ["kill a1 shutdown", "kill b1 shutdown", "kill c1 shutdown"]
    assert bench.due == KILL_AGAIN_AFTER


def test_who_is_being_killed_is_not_killed_twice_at_the_deadline() -> None:
    bench = running(rule(), rule(shutdown=0))
    bench.stop(bench.now + 0.5)

    assert bench.wait(0.5) == ["kill a1 shutdown"]


@pytest.mark.parametrize(
    ("first", "second", "due"), [(10.0, 3.0, 3.0), (3.0, 10.0, 3.0), (None, 3.0, 3.0), (3.0, None, 3.0)]
)
def test_the_earliest_deadline_holds(first: float | None, second: float | None, due: float) -> None:
    bench = running(rule(shutdown=None))
    for seconds in (first, second):
        bench.stop(None if seconds is None else bench.now + seconds)

    assert bench.due == due


def test_a_stop_can_be_a_failure() -> None:
    bench = running(rule())
    bench.tell(s.StopRequested(failed=CRASH))

    assert bench.exit("a", REQUESTED) == ["finish failed crash"]


def test_a_stop_while_it_gives_up_leaves_it_a_failure() -> None:
    bench = running(rule(), rule(), max_restarts=0)
    bench.exit("a")
    bench.stop()

    assert bench.exit("b", REQUESTED) == ["finish failed crash"]


def test_a_child_that_was_being_removed_is_gone_in_a_stop() -> None:
    bench = running(rule())
    bench.stop()
    bench.remove("a")

    assert bench.exit("a", REQUESTED) == ["gone a requested", "finish stopped -"]


def test_added_and_temporary_children_are_gone_in_a_stop() -> None:
    bench = running(rule(), rule(restart="temporary"))
    bench.add("c")
    bench.stop()

    assert bench.exit_all() == [
        "gone c requested",
        "stop b1",
        "gone b requested",
        "stop a1",
        "finish stopped -",
    ]


# ---------------------------------------------------------------- auto_shutdown


def significant(**changes: object) -> s.ChildRule:
    return rule(**{"significant": True, "restart": "transient", **changes})


def test_any_significant_child_that_ends_ends_the_supervisor() -> None:
    bench = running(rule(), significant(), significant(), auto_shutdown="any_significant")

    assert bench.exit("b", NORMAL) == ["parked b normal", "stop c1"]
    assert bench.exit_all() == ["stop a1", "finish ended -"]


def test_all_significant_children_have_to_end() -> None:
    bench = running(rule(), significant(), significant(restart="temporary"), auto_shutdown="all_significant")

    assert bench.exit("b", NORMAL) == ["parked b normal"]
    assert bench.exit("c", CRASH) == ["gone c crash", "stop a1"]


@pytest.mark.parametrize("auto_shutdown", ["any_significant", "all_significant"])
def test_a_significant_child_that_comes_back_ends_nothing(auto_shutdown: str) -> None:
    bench = running(significant(), auto_shutdown=auto_shutdown)

    assert bench.exit("a", CRASH) == ["again a1 attempt 1", "start a2"]


def test_the_end_of_another_child_ends_nothing() -> None:
    bench = running(rule(restart="transient"), significant(), auto_shutdown="any_significant")

    assert bench.exit("a", NORMAL) == ["parked a normal"]


def test_a_significant_child_that_is_removed_ends_nothing() -> None:
    bench = running(significant(), auto_shutdown="all_significant")
    bench.remove("a")

    assert bench.exit("a", NORMAL) == ["gone a normal"]
    assert bench.state.mode == "serving"


def test_never_means_never() -> None:
    bench = running(significant(), auto_shutdown="never")

    assert bench.exit("a", NORMAL) == ["parked a normal"]


def test_a_supervisor_ends_only_after_everything_has_started() -> None:
    bench = Bench(significant(), rule(), auto_shutdown="any_significant")
    bench.tell(s.StartRequested())
    bench.ready("a")

    assert bench.exit("a", NORMAL) == ["parked a normal"]
    assert bench.ready("b") == ["ready", "stop b1"]
    assert bench.exit("b", REQUESTED) == ["finish ended -"]


# ---------------------------------------------------------------- park


def test_a_supervisor_that_parks_stops_its_children_in_reverse_and_stays() -> None:
    bench = running(rule(), rule(), rule(), max_restarts=0, on_exhausted="park")

    assert bench.exit("b") == ["exhausted 1 crash", "parked b crash", "stop c1"]
    assert bench.exit("c", REQUESTED) == ["parked c requested", "stop a1"]
    assert bench.exit("a", CRASH) == ["parked a crash"]
    assert (bench.state.mode, bench.due) == ("parked", None)


def test_parking_removes_the_temporary_and_leaves_the_parked_and_the_going_alone() -> None:
    rules = rule(), rule(restart="temporary"), rule(restart="transient"), rule()
    bench = running(*rules, max_restarts=0, on_exhausted="park")
    bench.exit("c", NORMAL)
    bench.remove("d")
    bench.exit("a")

    assert bench.exit("d", REQUESTED) == ["gone d requested"]
    assert bench.exit("b", REQUESTED) == ["gone b requested"]


def test_one_child_of_a_parked_supervisor_can_be_restarted() -> None:
    bench = running(rule(), rule(), max_restarts=0, on_exhausted="park")
    bench.exit("a")
    bench.exit("b", REQUESTED)

    assert bench.restart("b") == ["start b2"]


def test_a_start_brings_all_of_a_parked_supervisor_back() -> None:
    bench = running(rule(), rule(), rule(), max_restarts=1, on_exhausted="park", strategy="one_for_all")
    bench.exit("a")
    bench.exit_all()
    bench.ready_all()
    bench.exit("a")
    bench.exit("c", REQUESTED)

    assert bench.tell(s.StartRequested()) == []
    assert bench.exit("b", REQUESTED) == ["start a3"]
    assert bench.ready_all() == ["start b3", "start c3"]
    assert bench.exit("c")[0] == "again c3 attempt 1"


def test_a_start_of_a_parked_supervisor_leaves_children_that_were_restarted_by_hand_alone() -> None:
    bench = running(rule(), rule(), max_restarts=0, on_exhausted="park")
    bench.exit("a")
    bench.exit("b", REQUESTED)
    bench.restart("b")
    bench.ready("b")

    assert bench.tell(s.StartRequested()) == ["start a2"]


def test_a_supervisor_that_gives_up_while_it_boots_fails_instead_of_parking() -> None:
    bench = Bench(rule(), rule(), max_restarts=0, on_exhausted="park")
    bench.tell(s.StartRequested())
    bench.ready("a")

    assert bench.exit("a") == ["exhausted 1 crash", "stop b1"]
    assert bench.exit("b", REQUESTED) == ["finish failed crash"]


def parked(*rules: s.ChildRule, retry_after: float | None = 60.0, **supervisor: Any) -> Bench:
    """A bench whose supervisor has given up over its first child and is parked; everything is down."""
    bench = Bench(*(rules or (rule(), rule())), max_restarts=0, on_exhausted=Park(retry_after), **supervisor)
    bench.boot()
    bench.exit("a")
    bench.exit_all()
    assert ("parked", "") == (bench.state.mode, bench.alive)
    return bench


def test_a_parked_supervisor_tries_again_after_its_time() -> None:
    bench = parked()

    assert bench.due == 60.0
    assert bench.wait(59.9) == []
    assert bench.wait(0.1) == ["start a2", "start b2"]
    assert ("serving", ()) == (bench.state.mode, bench.state.times)
    assert bench.ready_all() == []
    assert bench.due is None


def test_one_that_gives_up_again_waits_as_long_again() -> None:
    bench = parked(rule())
    bench.wait(60.0)
    bench.ready("a")

    assert bench.exit("a") == ["exhausted 1 crash", "parked a crash"]
    assert bench.due == 60.0
    assert bench.wait(60.0) == ["start a3"]


def test_a_park_without_a_time_is_for_ever() -> None:
    bench = parked(retry_after=None)

    assert bench.due is None
    assert bench.wait(1e6) == []
    assert bench.tell(s.StartRequested()) == ["start a2", "start b2"]


def test_a_start_by_hand_comes_first() -> None:
    bench = parked()
    bench.tell(s.StartRequested())
    bench.ready_all()

    assert bench.due is None
    assert bench.wait(60.0) == []


def test_children_that_are_still_stopping_are_started_anew() -> None:
    bench = Bench(rule(), rule(shutdown=None), max_restarts=0, on_exhausted=Park(1.0))
    bench.boot()
    bench.exit("a")

    assert bench.wait(1.0) == ["start a2"]
    assert bench.exit("b", REQUESTED) == ["start b2"]


def test_a_child_that_a_breaker_had_parked_waits_for_a_hand() -> None:
    bench = parked(rule(), rule(), rule(max_same_crashes=1))
    bench.tell(s.StartRequested())
    bench.ready_all()
    bench.exit("c")
    bench.exit("a")
    bench.exit_all()

    assert bench.wait(60.0) == ["start a3", "start b3"]
    assert bench.restart("c") == ["start c3"]


def test_a_parked_supervisor_that_is_stopped_does_not_try_again() -> None:
    bench = parked()

    assert bench.stop() == ["finish stopped -"]
    assert bench.due is None
    assert bench.wait(60.0) == []


def test_another_life_forgets_that_it_was_to_try_again() -> None:
    bench = parked()
    bench.stop()
    bench.tell(s.StartRequested())
    bench.ready_all()

    assert bench.wait(60.0) == []


# ---------------------------------------------------------------- another life


def test_another_life_starts_all_static_children_anew() -> None:
    bench = running(rule(restart="transient"), rule(), max_restarts=1)
    bench.add("c")
    bench.exit("a", NORMAL)
    bench.exit("b")
    bench.ready("b")
    bench.exit("b")
    bench.exit_all()

    assert "c" not in bench
    assert bench.boot() == ["start a2", "start b3", "ready"]
    assert bench.exit("b")[0] == "again b3 attempt 1"


def test_a_first_start_that_fails_in_another_life_fails_it_again() -> None:
    bench = running(rule(), max_restarts=0)
    bench.exit("a")
    bench.tell(s.StartRequested())

    assert bench.exit("a", BOOT_FAILURE) == ["finish failed boot_failure"]


def test_who_is_disowned_before_its_first_life_is_gone() -> None:
    bench = Bench(rule())

    assert bench.tell(s.Disown()) == ["gone a requested"]
    assert bench.tell(s.StartRequested()) == []


def test_who_is_disowned_after_a_life_is_gone() -> None:
    bench = running(rule(), max_restarts=0)
    bench.exit("a")

    assert bench.tell(s.Disown()) == ["gone a crash"]


def test_who_is_disowned_while_stopping_is_gone_as_soon_as_it_is_down() -> None:
    bench = running(rule(), rule())
    bench.stop()
    bench.exit("b", REQUESTED)

    assert bench.tell(s.Disown()) == ["gone b requested"]
    assert bench.exit("a", REQUESTED) == ["gone a requested", "finish stopped -"]


# ---------------------------------------------------------------- old news


def test_news_of_an_old_incarnation_changes_nothing() -> None:
    bench = running(rule())
    bench.exit("a")
    before = bench.state

    assert bench.tell(s.ChildExited(1, 1, CRASH)) == []
    assert bench.tell(s.ChildStarted(1, 1)) == []
    assert bench.state == before


def test_news_of_a_coming_incarnation_changes_nothing() -> None:
    bench = running(rule())
    before = bench.state

    assert bench.tell(s.ChildExited(1, 2, CRASH)) == []
    assert bench.state == before


def test_news_of_an_unknown_child_changes_nothing() -> None:
    bench = running(rule())
    before = bench.state

    assert bench.tell(s.ChildExited(number("z"), 1, CRASH)) == []
    assert bench.tell(s.ChildStarted(number("z"), 1)) == []
    assert bench.state == before


def test_an_exit_that_is_told_twice_counts_once() -> None:
    bench = running(rule(backoff=Backoff(initial=2.0)), period=60.0)
    bench.exit("a")
    before = bench.state

    assert bench.exit("a") == []
    assert bench.state == before


def test_a_child_that_is_ready_twice_is_ready_since_the_first_time() -> None:
    bench = running(rule())
    before = bench.state
    bench.now += 1.0

    assert bench.ready("a") == []
    assert bench.state == before


# ---------------------------------------------------------------- deadlines


def test_what_is_due_but_has_to_wait_for_others_makes_nobody_wake_up() -> None:
    bench = running(rule(start_timeout=None), rule(), strategy="one_for_all")
    bench.exit("a")
    bench.exit("b", REQUESTED)

    assert bench.due is None


def test_the_earliest_of_all_deadlines_is_next() -> None:
    bench = running(rule(backoff=Backoff(initial=4.0)), rule(shutdown=3.0), rule(start_timeout=2.0), period=60.0)
    bench.exit("a")
    four = bench.due
    bench.remove("b")
    three = bench.due
    bench.exit("c")

    assert (four, three, bench.due) == (4.0, 3.0, 2.0)
