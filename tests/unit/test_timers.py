from __future__ import annotations

import math
import weakref

import pytest

from actors._timers import Timer, Timers


@pytest.fixture
def timers() -> Timers:
    return Timers()


def add(timers: Timers, delay: float, every: float | None = None, now: float = 100.0) -> Timer:
    return timers.add(lambda: None, delay, every, now)


def test_timers_come_in_the_order_of_their_times(timers: Timers) -> None:
    late, early, same = add(timers, 2.0), add(timers, 1.0), add(timers, 1.0)

    assert [timers.pop(102.0) for _ in range(4)] == [early, same, late, None]


def test_a_timer_is_not_due_before_its_time(timers: Timers) -> None:
    timer = add(timers, 1.0)

    assert timers.pop(100.999) is None
    assert timers.pop(101.0) is timer
    assert timers.first == math.inf


def test_waiting_is_until_the_first_one(timers: Timers) -> None:
    assert timers.wait_seconds(100.0) is None
    add(timers, 3.0)
    add(timers, 1.0)

    assert timers.wait_seconds(100.5) == 0.5
    assert timers.wait_seconds(200.0) == 0.0


def test_a_repeated_timer_keeps_its_rhythm_and_skips_what_it_missed(timers: Timers) -> None:
    timer = add(timers, 1.0, every=1.0)

    assert timers.pop(101.25) is timer
    assert timers.first == 102.0
    assert timers.pop(107.5) is timer
    assert timers.first == 108.0
    assert timers.pop(107.9) is None


def test_a_timer_of_no_period_does_not_starve_others(timers: Timers) -> None:
    always, other = add(timers, 0.0, every=0.0), add(timers, 0.0)

    assert {timers.pop(100.0), timers.pop(100.0)} == {always, other}


def test_a_cancelled_timer_never_comes(timers: Timers) -> None:
    once, often = add(timers, 1.0), add(timers, 1.0, every=1.0)

    assert once.cancel()
    assert not once.cancel()
    assert timers.pop(101.0) is often
    assert often.cancel()
    assert timers.pop(200.0) is None
    assert timers.first == math.inf


def test_a_timer_that_has_fired_cannot_be_cancelled(timers: Timers) -> None:
    timer = add(timers, 1.0)
    timers.pop(101.0)

    assert not timer.cancel()


def test_timers_that_were_taken_back_are_not_kept_until_they_are_due() -> None:
    timers = Timers()
    kept = [timers.add(object, float(delay), None, 0.0) for delay in range(100, 0, -1)]
    seen = [taken_back(timers) for _ in range(10_000)]

    assert sum(one() is not None for one in seen) < 1000
    assert kept[::-1] == [timers.pop(1000.0) for _ in kept]
    assert 1000.0 < timers.first


def taken_back(timers: Timers) -> weakref.ref[Timer]:
    timer = timers.add(object, 3600.0, None, 0.0)
    timer.cancel()
    return weakref.ref(timer)
