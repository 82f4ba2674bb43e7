from __future__ import annotations

from typing import Any

import pytest

from actors.supervisor import _state as s
from actors.supervisor._exits import ExitReason
from actors.supervisor._policy import Backoff, Strategy
from tests.supervised import BOOT_FAILURE, CRASH, KILLED, NORMAL, REQUESTED, Bench, rule

OTHER_CRASH = ExitReason("crash", 2)
MANY = 1000


def booted(*rules: s.ChildRule, **supervisor: Any) -> Bench:
    bench = Bench(*rules, **supervisor)
    bench.boot()
    return bench


def crash(bench: Bench, *reasons: ExitReason) -> list[str]:
    """The first child runs and dies, once for each reason; what the last death led to."""
    said: list[str] = []
    for reason in reasons:
        bench.ready("a")
        said = bench.exit("a", reason)
    return said


# ---------------------------------------------------------------- starts that fail


def test_failed_restarts_spend_the_intensity_unless_they_have_a_budget() -> None:
    bench = booted(rule(), max_restarts=2)
    bench.exit("a")
    bench.exit("a", BOOT_FAILURE)

    assert bench.exit("a", BOOT_FAILURE)[0] == "exhausted 3 boot_failure"


def test_a_child_is_parked_after_so_many_failed_starts_in_a_row() -> None:
    bench = booted(rule(max_start_failures=3), rule(), max_restarts=1)
    bench.exit("a")

    assert bench.exit("a", BOOT_FAILURE) == ["again a2 attempt 2", "start a3"]
    assert bench.exit("a", BOOT_FAILURE) == ["again a3 attempt 3", "start a4"]
    assert bench.exit("a", BOOT_FAILURE) == ["parked a boot_failure"]
    assert 1 == len(bench.state.times)
    assert bench["a"].reason == ExitReason("boot_failure", 1, evidence=("3 failed starts in a row",))
    assert "b" == bench.alive


def test_failed_starts_wait_for_the_backoff() -> None:
    bench = booted(rule(max_start_failures=3, backoff=Backoff(initial=1.0, jitter=0.0)))
    bench.exit("a")
    bench.wait(1.0)
    bench.exit("a", BOOT_FAILURE)

    assert bench.due == 2.0


def test_one_that_was_ready_once_begins_to_count_anew() -> None:
    bench = booted(rule(max_start_failures=2), max_restarts=MANY)
    for _ in range(3):
        bench.exit("a")
        assert bench.exit("a", BOOT_FAILURE)[-1].startswith("start a")
        bench.ready("a")

    assert 0 == bench["a"].failed_starts


def test_a_start_that_is_late_has_failed() -> None:
    bench = booted(rule(max_start_failures=1, start_timeout=3.0))
    bench.exit("a")
    bench.wait(3.0)

    assert bench.exit("a", KILLED) == ["parked a requested"]


def test_a_replacement_that_became_the_restart_counts_as_one() -> None:
    bench = booted(rule(max_start_failures=1))
    bench.replace("a")
    bench.exit("a")

    assert bench.exit("a", BOOT_FAILURE) == ["parked a boot_failure"]


def test_a_replacement_that_fails_counts_as_none() -> None:
    bench = booted(rule(max_start_failures=1))
    bench.replace("a")

    assert bench.next_exit("a") == ["start a3 standby"]


@pytest.mark.parametrize("strategy", ["rest_for_one", "one_for_all"])
def test_a_failed_restart_with_a_budget_takes_no_sibling_down_again(strategy: Strategy) -> None:
    bench = booted(rule(), rule(max_start_failures=2), rule(), strategy=strategy, max_restarts=1)
    bench.exit("b")
    bench.exit_all()
    if strategy == "one_for_all":
        bench.ready("a")

    assert bench.exit("b", BOOT_FAILURE) == ["again b2 attempt 2", "start b3"]
    assert bench.exit("b", BOOT_FAILURE) == ["parked b boot_failure", "start c2"]


def test_a_failed_first_start_fails_the_supervisor_whatever_the_budget() -> None:
    bench = Bench(rule(max_start_failures=5))
    bench.tell(s.StartRequested())

    assert bench.exit("a", BOOT_FAILURE) == ["finish failed boot_failure"]


def test_a_failed_first_start_removes_an_added_child_whatever_the_budget() -> None:
    bench = booted()
    bench.add("a", max_start_failures=5)

    assert bench.exit("a", BOOT_FAILURE) == ["gone a boot_failure"]


# ---------------------------------------------------------------- deaths with one fingerprint


@pytest.mark.parametrize("reason", [CRASH, ExitReason("signal", -11, "SIGSEGV"), ExitReason("hang", -9, "SIGKILL")])
def test_a_child_is_parked_after_so_many_deaths_with_one_fingerprint(reason: ExitReason) -> None:
    bench = booted(rule(max_same_crashes=3), rule(), max_restarts=2)

    assert crash(bench, reason, reason) == ["again a2 attempt 2", "start a3"]
    assert crash(bench, reason) == [f"parked a {reason.kind}"]
    assert 2 == len(bench.state.times)
    assert bench["a"].reason is not None
    assert bench["a"].reason.evidence[0].startswith(f"3 deaths in a row with one fingerprint: {reason.kind} ")
    assert (s.Running(100.0), "serving") == (bench["b"].phase, bench.state.mode)


def test_evidence_that_was_there_stays_first() -> None:
    bench = booted(rule(max_same_crashes=1))
    bench.exit("a", ExitReason("crash", 1, evidence=("wrote a crash report",)))

    assert bench["a"].reason is not None
    assert ("wrote a crash report", "1 death in a row with one fingerprint: crash exit 1") == bench["a"].reason.evidence


@pytest.mark.parametrize(
    "between",
    [OTHER_CRASH, NORMAL, REQUESTED, ExitReason("unknown")],
    ids=["another", "normal", "requested", "unknown"],
)
def test_a_death_of_another_kind_begins_anew(between: ExitReason) -> None:
    bench = booted(rule(max_same_crashes=2), max_restarts=MANY)

    assert crash(bench, CRASH, between, CRASH)[-1].startswith("start a")
    assert crash(bench, CRASH) == ["parked a crash"]


def test_deaths_without_a_name_are_never_the_same() -> None:
    bench = booted(rule(max_same_crashes=1), max_restarts=MANY)

    assert crash(bench, NORMAL, NORMAL, NORMAL)[-1].startswith("start a")


def test_different_deaths_are_for_the_intensity() -> None:
    bench = booted(rule(max_same_crashes=2), max_restarts=2)

    assert crash(bench, CRASH, OTHER_CRASH, CRASH)[0] == "exhausted 3 crash"


@pytest.mark.parametrize(("ran", "parked"), [(9.9, True), (10.0, False)])
def test_a_stable_run_begins_anew(ran: float, parked: bool) -> None:
    bench = booted(rule(max_same_crashes=2, backoff=Backoff(initial=0.0, stable_after=10.0)), max_restarts=MANY)
    crash(bench, CRASH)
    bench.ready("a")
    bench.now += ran

    assert parked == (bench.exit("a") == ["parked a crash"])
    assert (2 if parked else 1) == bench["a"].same_crashes


def test_failed_starts_are_deaths_too() -> None:
    bench = booted(rule(max_same_crashes=2, max_start_failures=9))
    bench.exit("a")
    bench.exit("a", BOOT_FAILURE)

    assert bench.exit("a", BOOT_FAILURE) == ["parked a boot_failure"]


def test_a_child_that_does_not_come_back_anyway_is_retired_as_ever() -> None:
    bench = booted(rule(max_same_crashes=1, restart="temporary"), rule(max_same_crashes=1, restart="transient"))

    assert bench.exit("a") == ["gone a crash"]
    assert bench.exit("b", NORMAL) == ["parked b normal"]
    assert () == (bench["b"].reason or CRASH).evidence


def test_without_a_limit_nothing_is_counted() -> None:
    bench = booted(rule(), max_restarts=MANY)
    crash(bench, CRASH, CRASH, CRASH)

    assert (None, 0) == (bench["a"].fingerprint, bench["a"].same_crashes)


# ---------------------------------------------------------------- who is parked by it


@pytest.mark.parametrize("strategy", ["one_for_one", "rest_for_one", "one_for_all"])
def test_siblings_go_on_under_every_strategy(strategy: Strategy) -> None:
    bench = booted(rule(max_same_crashes=1), rule(after=(1,)), strategy=strategy, max_restarts=0)

    assert bench.exit("a") == ["parked a crash"]
    assert "b" == bench.alive


def test_an_added_child_is_parked_and_not_removed() -> None:
    bench = booted()
    bench.add("a", max_same_crashes=1)
    bench.ready("a")

    assert bench.exit("a") == ["parked a crash"]
    assert bench.restart("a") == ["start a2"]
    bench.ready("a")
    bench.exit("a")
    assert bench.stop() == ["gone a crash", "finish stopped -"]


def test_a_restart_by_hand_clears_the_counts() -> None:
    bench = booted(rule(max_same_crashes=2, max_start_failures=2), max_restarts=MANY)
    crash(bench, CRASH, CRASH)
    bench.restart("a")

    assert (None, 0, 0) == (bench["a"].fingerprint, bench["a"].same_crashes, bench["a"].failed_starts)
    assert crash(bench, CRASH)[-1] == "start a4"


def test_a_restart_by_hand_of_a_running_child_clears_the_counts() -> None:
    bench = booted(rule(max_same_crashes=2), max_restarts=MANY)
    crash(bench, CRASH)
    bench.ready("a")
    bench.restart("a")
    bench.exit("a", REQUESTED)

    assert crash(bench, CRASH)[-1] == "start a4"


def test_it_comes_back_with_its_group() -> None:
    bench = booted(rule(max_same_crashes=1), rule(), strategy="one_for_all")
    bench.exit("a")

    assert bench.exit("b") == ["again b1 attempt 1", "start a2"]
    assert 0 == bench["a"].same_crashes


def test_it_comes_back_with_another_life_of_its_supervisor() -> None:
    bench = booted(rule(max_same_crashes=1))
    bench.exit("a")
    bench.stop()

    assert bench.tell(s.StartRequested()) == ["start a2"]
    assert 0 == bench["a"].same_crashes


def test_a_replacement_goes_down_with_it() -> None:
    bench = booted(rule(max_same_crashes=1))
    bench.replace("a")

    assert bench.exit("a") == ["kill a2 shutdown"]
    assert bench.next_exit("a", KILLED) == ["parked a crash"]


@pytest.mark.parametrize("auto_shutdown", ["any_significant", "all_significant"])
def test_being_parked_by_it_is_no_end(auto_shutdown: str) -> None:
    careful = rule(restart="transient", significant=True, max_same_crashes=1)
    bench = booted(careful, rule(restart="transient", significant=True), auto_shutdown=auto_shutdown)

    assert bench.exit("a") == ["parked a crash"]
    ends = bench.exit("b", NORMAL) == ["parked b normal", "finish ended -"]
    assert ends == (auto_shutdown == "any_significant")


def test_a_boot_goes_on_without_it() -> None:
    bench = Bench(rule(max_same_crashes=1), rule())
    bench.tell(s.StartRequested())
    bench.ready("a")

    assert bench.exit("a") == ["parked a crash"]
    assert bench.ready("b") == ["ready"]
