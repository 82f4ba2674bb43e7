"""One action at one time that may be moved; the pump is a list of timers here, and the clock a number."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

import pytest

from actors.supervisor._pump import Alarm, Pump


class Timers:
    """A pump's timers, by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.due: list[tuple[float, Callable[[], object]]] = []
        self.fired: list[float] = []
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        self.alarm = Alarm(cast(Pump, self), lambda: self.fired.append(self.now))

    def after(self, seconds: float, action: Callable[[], object]) -> None:
        self.due.append((self.now + seconds, action))

    def run_until(self, now: float) -> None:
        while ready := [entry for entry in self.due if entry[0] <= now]:
            entry = min(ready, key=lambda each: each[0])
            self.due.remove(entry)
            self.now = max(self.now, entry[0])
            entry[1]()
        self.now = now


@pytest.fixture
def timers(monkeypatch: Any) -> Timers:
    return Timers(monkeypatch)


def test_it_goes_off_once_at_its_time(timers: Timers) -> None:
    timers.alarm.set(105.0)
    timers.run_until(104.9)
    assert [] == timers.fired

    timers.run_until(120.0)

    assert [105.0] == timers.fired


def test_it_can_be_moved_both_ways_and_goes_off_at_the_last_time_alone(timers: Timers) -> None:
    timers.alarm.set(110.0)
    timers.alarm.set(105.0)
    timers.alarm.set(107.0)
    timers.run_until(120.0)

    assert [107.0] == timers.fired


def test_moving_it_on_costs_no_timers(timers: Timers) -> None:
    for number in range(1000):
        timers.alarm.set(110.0 + number)
    assert 1 == len(timers.due)

    timers.run_until(2000.0)

    assert [1109.0] == timers.fired


def test_it_can_be_cleared_and_set_again(timers: Timers) -> None:
    timers.alarm.set(105.0)
    timers.alarm.clear()
    timers.run_until(110.0)
    assert [] == timers.fired

    timers.alarm.set(111.0)
    timers.run_until(112.0)

    assert [111.0] == timers.fired
