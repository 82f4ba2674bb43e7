from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.supervisor import _wear
from actors.supervisor._spec import Options, Recycle
from actors.supervisor._wear import Gauge, Limits, begin, look, size

MIB = 1 << 20
START = 100.0


def gauge(**limits: float) -> Gauge:
    return begin(Limits(**limits), START)


# --- limits -----------------------------------------------------------------------------------------------------------------


def test_an_actor_without_limits_has_nothing_to_look_at() -> None:
    assert Limits.of(Options(), 0.5) is None
    assert Limits.of(Options(recycle=Recycle(messages=5, age=1.0)), 0.5) is None


def test_the_caps_are_taken_as_they_are_and_recycling_is_stretched_by_its_jitter() -> None:
    options = Options(memory_soft=1000, memory_hard=2000, recycle=Recycle(messages=100, age=10.0, rss=800, jitter=0.5))

    assert Limits(soft=800, hard=2000) == Limits.of(options, 0.0)
    assert Limits(soft=1000, hard=2000) == Limits.of(options, 0.5)
    assert Limits(soft=1000) == Limits.of(Options(memory_soft=1000), 0.9)
    assert Limits(soft=1100) == Limits.of(Options(recycle=Recycle(rss=1000, jitter=0.1)), 1.0)


# --- what is done -----------------------------------------------------------------------------------------------------------


def test_below_its_limits_nothing_is_done() -> None:
    _, verdict = look(gauge(soft=100, hard=200), 100, START, serves=True)

    assert "none" == verdict


def test_above_the_soft_limit_it_is_replaced_and_the_reason_said() -> None:
    seen, verdict = look(gauge(soft=100 * MIB), 101 * MIB, START, serves=True, base=100 * MIB)

    assert ("replace", "101 MiB resident, above 100 MiB") == (verdict, seen.why)


def test_above_the_hard_limit_it_is_killed_also_while_it_starts_or_stops() -> None:
    for serves in (True, False):
        seen, verdict = look(gauge(soft=100, hard=200 * MIB), 201 * MIB, START, serves=serves)

        assert ("kill", "201 MiB resident, above memory_hard=200 MiB") == (verdict, seen.why)


def test_one_that_does_not_serve_is_not_replaced() -> None:
    assert look(gauge(soft=100), 200, START, serves=False)[1] == "none"


def test_a_replacement_is_asked_for_once_and_again_when_it_did_not_come() -> None:
    assert ["replace", "none", "none", "replace", "none"] == above(base=100)


def test_one_that_holds_too_much_as_it_begins_to_serve_is_not_replaced_at_once() -> None:
    assert ["too_low", "none", "none", "replace", "none"] == above(base=101)


def above(base: int) -> list[str]:
    seen = gauge(soft=100)
    verdicts: list[str] = []
    for seconds in (0.0, 1.0, 9.9, 10.0, 11.0):
        seen, verdict = look(seen, 200, START + seconds, serves=True, base=base)
        verdicts.append(verdict)
    return verdicts


# --- when it is looked at again -----------------------------------------------------------------------------------------------


def pause(before: Gauge, rss: int, now: float) -> float:
    return look(before, rss, now, serves=True)[0].due - now


@pytest.mark.parametrize(
    ("away", "seconds"),
    [(4096 * MIB, 1.0), (256 * MIB, 0.5), (MIB, 0.1), (0, 0.1)],
    ids=["far", "nearer", "near", "at the limit"],
)
def test_the_nearer_a_limit_the_sooner_it_is_looked_at_again(away: int, seconds: float) -> None:
    before = Gauge(limits=Limits(hard=float(away + 50 * MIB)), looked=START, due=START, rss=50 * MIB)

    assert seconds == pytest.approx(pause(before, 50 * MIB, START + 1.0))


def test_one_that_grows_fast_is_looked_at_before_it_can_be_there() -> None:
    before = Gauge(limits=Limits(hard=9000.0 * MIB), looked=START, due=START, rss=0)

    assert 0.5 == pytest.approx(pause(before, 1000 * MIB, START + 0.25), rel=0.01)


def test_a_limit_that_is_passed_is_looked_at_no_more_often_for_that() -> None:
    before = Gauge(limits=Limits(soft=100.0), looked=START, due=START, rss=200, asked=START)

    assert 1.0 == pause(before, 200, START + 1.0)


@given(cap=st.integers(64, 4096), rate=st.integers(1, 512), begins=st.floats(0.0, 5.0), base=st.integers(1, 60))
def test_a_leak_of_half_a_gibibyte_a_second_is_caught_within_two_tenths_of_a_second(
    cap: int, rate: int, begins: float, base: int
) -> None:
    seen = gauge(hard=float(cap * MIB))
    crossing = START + begins + (cap - base) / rate
    verdict, now = "none", START
    while verdict == "none":
        now = seen.due
        rss = int((base + max(0.0, now - START - begins) * rate) * MIB)
        seen, verdict = look(seen, rss, now, serves=True)

    assert "kill" == verdict
    assert now - crossing <= 0.2
    assert _wear.SOONEST_SECONDS == 0.1


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 bytes"),
        (1000, "1000 bytes"),
        (1024, "1 KiB"),
        (1536 * MIB, "1.5 GiB"),
        (500 * MIB, "500 MiB"),
        (1 << 60, "1.049e+06 TiB"),
    ],
)
def test_sizes_are_written_for_people(number: int, text: str) -> None:
    assert text == size(number)
