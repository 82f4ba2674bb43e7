from __future__ import annotations

import bisect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.mailbox._bucket import TokenBucket

RATES = st.floats(0.01, 1000.0)
BURSTS = st.integers(1, 20)
PAUSES = st.lists(st.floats(0.0, 5.0), max_size=60)


def test_a_full_bucket_gives_its_burst_at_once_and_then_one_by_one() -> None:
    bucket = TokenBucket(rate=2.0, burst=3)

    assert [bucket.take(10.0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert bucket.take(10.5) == 0.0
    assert bucket.take(10.75) == 0.25


def test_a_bucket_that_rests_is_full_again_and_no_fuller() -> None:
    bucket = TokenBucket(rate=1.0, burst=2)
    while not bucket.take(0.0):
        pass

    assert [bucket.take(1000.0) for _ in range(3)] == [0.0, 0.0, 1.0]


def test_what_is_refused_takes_nothing() -> None:
    bucket = TokenBucket(rate=1.0, burst=1)
    bucket.take(0.0)

    assert [bucket.take(0.5) for _ in range(3)] == [0.5, 0.5, 0.5]
    assert bucket.take(1.0) == 0.0


@given(rate=RATES, burst=BURSTS, pauses=PAUSES)
def test_in_any_window_no_more_pass_than_the_burst_and_the_rate_allow(
    rate: float, burst: int, pauses: list[float]
) -> None:
    bucket, now = TokenBucket(rate, burst), 0.0
    passed: list[float] = []
    for pause in pauses:
        now += pause / rate
        while bucket.take(now) == 0.0:
            passed.append(now)

    for first, began in enumerate(passed):
        for ended in passed[first:]:
            count = bisect.bisect_right(passed, ended) - first
            assert count <= burst + rate * (ended - began) + 1e-6


@given(rate=RATES, burst=BURSTS, pauses=PAUSES)
def test_a_token_is_there_when_it_was_promised_and_not_before(rate: float, burst: int, pauses: list[float]) -> None:
    bucket, now = TokenBucket(rate, burst), 0.0
    for pause in pauses:
        now += pause / rate
        while not (seconds := bucket.take(now)):
            pass
        assert 0.0 < seconds <= 1.0 / rate * 1.000001
        assert bucket.take(now + seconds * 0.99 - 1e-6) > 0.0
        now += seconds * 1.000001 + 1e-9
        assert bucket.take(now) == pytest.approx(0.0)
