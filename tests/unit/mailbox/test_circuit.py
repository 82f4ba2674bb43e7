from __future__ import annotations

import concurrent.futures
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import (
    ActorDied,
    ActorNotRunningError,
    ArgumentsError,
    AskTimeoutError,
    DeadlockError,
    EncodeError,
    HandlerError,
    MailboxFullError,
    SpecError,
)
from actors.mailbox import _failure
from actors.mailbox._circuit import TRANSITIONS, Breaker, BreakerState, Circuit, Verdict, judge

BREAKER = Breaker(failures=3, window=10.0, reset_after=5.0, probes=2)


def begin(circuit: Circuit, now: float) -> int | None:
    """The round of a send that begins, or None where none may."""
    if circuit.wait(now) > 0.0:
        return None
    round_ = circuit.next_round
    circuit.begin()
    assert circuit.round == round_
    return round_


def end(circuit: Circuit, verdict: Verdict, now: float = 0.0) -> None:
    round_ = begin(circuit, now)
    assert round_ is not None
    circuit.end(round_, verdict, now, "it broke")


def state(circuit: Circuit) -> BreakerState:
    """Its state, of which type checkers remember nothing."""
    return circuit.state


def opened(now: float = 0.0) -> Circuit:
    circuit = Circuit(BREAKER)
    for _ in range(3):
        end(circuit, "failed", now)
    assert circuit.state == "open"
    return circuit


# --- closed -------------------------------------------------------------------------------------------------------------


def test_it_opens_at_the_last_failure_that_it_allows_and_says_what_that_was() -> None:
    circuit = Circuit(BREAKER)
    end(circuit, "failed")
    end(circuit, "failed")

    assert state(circuit) == "closed"
    end(circuit, "failed")
    assert (circuit.state, circuit.reason) == ("open", "it broke")


def test_failures_that_are_further_apart_than_the_window_do_not_open_it() -> None:
    circuit = Circuit(BREAKER)
    for now in (0.0, 5.0, 10.5, 16.0, 21.0):
        end(circuit, "failed", now)

    assert state(circuit) == "closed"
    end(circuit, "failed", 25.9)
    assert state(circuit) == "open"


@pytest.mark.parametrize("verdict", ["passed", "neither"])
def test_what_does_not_fail_neither_counts_nor_forgives(verdict: Verdict) -> None:
    circuit = Circuit(BREAKER)
    for each in ("failed", verdict, "failed", verdict):
        end(circuit, each)

    assert state(circuit) == "closed"
    end(circuit, "failed")
    assert state(circuit) == "open"


# --- open and half-open ----------------------------------------------------------------------------------------------------


def test_open_it_lets_nothing_through_until_it_has_rested() -> None:
    circuit = opened(100.0)

    assert circuit.wait(100.0) == 5.0
    assert circuit.wait(104.0) == 1.0
    assert circuit.wait(105.0) == 0.0
    assert circuit.state == "open"


def test_half_open_it_lets_exactly_its_probes_through() -> None:
    circuit = opened()

    assert [begin(circuit, 5.0) is not None for _ in range(4)] == [True, True, False, False]
    assert circuit.state == "half_open"
    assert circuit.wait(5.0) == math.inf


def test_it_closes_when_all_probes_have_passed_and_not_before() -> None:
    circuit = opened()
    first, second = begin(circuit, 5.0), begin(circuit, 5.0)
    assert first is not None
    assert second is not None

    circuit.end(first, "passed", 6.0)
    assert (circuit.state, circuit.wait(6.0)) == ("half_open", math.inf)
    circuit.end(second, "passed", 6.0)
    assert circuit.state == "closed"


def test_a_probe_that_fails_opens_it_for_another_rest_whatever_the_other_one_says() -> None:
    circuit = opened()
    first, second = begin(circuit, 5.0), begin(circuit, 5.0)
    assert first is not None
    assert second is not None

    circuit.end(first, "failed", 7.0, "still broken")
    circuit.end(second, "passed", 7.0)

    assert (circuit.state, circuit.reason, circuit.wait(7.0)) == ("open", "still broken", 5.0)


def test_a_probe_that_says_nothing_makes_room_for_another() -> None:
    circuit = opened()
    rounds = [begin(circuit, 5.0), begin(circuit, 5.0)]
    assert rounds[0] is not None

    circuit.end(rounds[0], "neither", 6.0)

    assert circuit.wait(6.0) == 0.0
    assert circuit.state == "half_open"


def test_a_probe_that_never_began_opens_no_room_below_none() -> None:
    circuit = opened()
    round_ = begin(circuit, 5.0)
    assert round_ is not None
    for _ in range(3):
        circuit.end(round_, "neither", 5.0)

    assert [begin(circuit, 5.0) is not None for _ in range(3)] == [True, True, False]


def test_what_began_in_an_earlier_state_counts_for_nothing() -> None:
    circuit = Circuit(BREAKER)
    old = [begin(circuit, 0.0) for _ in range(6)]
    assert old[0] is not None
    for _ in range(3):
        circuit.end(old[0], "failed", 0.0)
    began = begin(circuit, 5.0)
    assert began is not None

    circuit.end(old[0], "failed", 5.0)
    circuit.end(old[0], "passed", 5.0)
    circuit.end(old[0], "passed", 5.0)
    assert (circuit.state, circuit.probing, circuit.passed) == ("half_open", 1, 0)

    circuit.end(began, "passed", 5.0)
    end(circuit, "passed", 5.0)
    for _ in range(3):
        circuit.end(old[0], "failed", 5.0)
    assert circuit.state == "closed"


def test_closed_again_it_counts_from_none() -> None:
    circuit = opened()
    end(circuit, "passed", 5.0)
    end(circuit, "passed", 5.0)
    end(circuit, "failed", 5.0)
    end(circuit, "failed", 5.0)

    assert circuit.state == "closed"


# --- any history --------------------------------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(st.sampled_from(["begin", "passed", "failed", "neither"]), st.floats(0.0, 6.0), st.integers(0, 30)),
    max_size=120,
)
BREAKERS = st.builds(
    Breaker,
    failures=st.integers(1, 4),
    window=st.floats(0.5, 20.0),
    reset_after=st.floats(0.5, 10.0),
    probes=st.integers(1, 3),
)


@given(breaker=BREAKERS, steps=STEPS)
def test_over_any_history_it_moves_by_the_table_and_lets_through_what_its_state_allows(
    breaker: Breaker, steps: list[tuple[Any, float, int]]
) -> None:
    circuit, now = Circuit(breaker), 0.0
    under_way: list[int] = []
    states: list[BreakerState] = ["closed"]
    opened_at, probes = 0.0, 0
    for what, pause, which in steps:
        now += pause
        before, round_ = circuit.state, circuit.round
        if what == "begin":
            began = begin(circuit, now)
            assert (began is not None) or before != "closed"
            assert (began is not None) or before != "open" or now < opened_at + breaker.reset_after
            if began is not None:
                under_way.append(began)
        elif under_way:
            circuit.end(under_way.pop(which % len(under_way)), what, now)
        if circuit.state != before:
            assert circuit.round == round_ + 1
            assert circuit.state in [after for (state, _), after in TRANSITIONS.items() if state == before]
            states.append(circuit.state)
            if circuit.state == "open":
                opened_at = now
            if before == "open":
                assert now >= opened_at + breaker.reset_after
        else:
            assert circuit.round == round_
        probes = under_way.count(circuit.round) if circuit.state == "half_open" else 0
        assert probes + circuit.passed <= breaker.probes
        assert circuit.probing == probes


def test_the_table_has_a_way_out_of_every_state_and_one_state_for_each_event() -> None:
    assert {state for state, _ in TRANSITIONS} == {"closed", "open", "half_open"}
    assert set(TRANSITIONS.values()) == {"closed", "open", "half_open"}
    assert len({event for _, event in TRANSITIONS}) == len(TRANSITIONS)


# --- the numbers, and what is a failure ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [ActorDied("x"), AskTimeoutError("x"), MailboxFullError("x"), ActorNotRunningError("x")]
)
def test_deaths_deadlines_full_inboxes_and_actors_that_are_gone_are_failures(error: Exception) -> None:
    assert judge(error, Breaker()) == "failed"


@pytest.mark.parametrize(
    "error",
    [
        concurrent.futures.CancelledError(),
        KeyboardInterrupt(),
        EncodeError("x"),
        ArgumentsError("x"),
        DeadlockError("x"),
    ],
)
def test_a_cancel_an_interrupt_and_the_callers_own_mistakes_are_neither(error: BaseException) -> None:
    assert judge(error, Breaker(handler_errors=True)) == "neither"


def test_an_error_of_a_handler_is_an_answer_unless_it_is_to_count() -> None:
    error = _failure.rebuild({"type": "TimeoutError", "text": "the disk"}, target="/app/disk")

    assert isinstance(error, HandlerError)
    assert judge(error, Breaker()) == "passed"
    assert judge(error, Breaker(handler_errors=True)) == "failed"
    assert judge(None, Breaker()) == "passed"


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ({"failures": 0}, r"Breaker\(failures=0\): must be a whole number, at least 1"),
        ({"probes": 1.5}, r"probes=1.5"),
        ({"failures": True}, "failures=True"),
        ({"window": 0.0}, r"Breaker\(window=0.0\): must be seconds, above 0"),
        ({"reset_after": math.nan}, "reset_after=nan"),
        ({"reset_after": "soon"}, "reset_after='soon'"),
        ({"window": True}, "window=True"),
    ],
)
def test_a_breaker_whose_numbers_make_no_sense_is_refused(numbers: dict[str, Any], text: str) -> None:
    with pytest.raises(SpecError, match=text):
        Breaker(**numbers)


def test_every_number_that_makes_no_sense_is_named() -> None:
    with pytest.raises(SpecError) as caught:
        Breaker(failures=0, probes=0, window=-1, reset_after=-1)
    assert len(caught.value.problems) == 4
