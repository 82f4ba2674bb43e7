"""Whether a pool grows or shrinks: by tables, and over any history of looks."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from actors.supervisor._pool_spec import Autoscale
from actors.supervisor._scaling import Sample, ScaleState, decide, look_seconds

SCALE = Autoscale(minimum=1, maximum=4, grow_above=10, for_seconds=1.0, shrink_after=5.0, cooldown=2.0)


def run(looks: list[tuple[float, int, int]], size: int = 2, scale: Autoscale = SCALE) -> list[int]:
    """The size after each look, given as time, queued messages and busy workers."""
    sizes: list[int] = []
    state = ScaleState()
    for now, queued, busy in looks:
        state, size, why = decide(scale, state, Sample(size, queued, busy), now)
        assert bool(why) == (size != (sizes[-1] if sizes else 2))
        sizes.append(size)
    return sizes


def test_it_grows_when_too_much_was_queued_for_long_enough() -> None:
    assert run([(0.0, 21, 2), (0.5, 21, 2), (0.9, 21, 2), (1.0, 21, 2)]) == [2, 2, 2, 3]


def test_one_look_with_less_begins_the_time_anew() -> None:
    assert run([(0.0, 21, 2), (0.5, 20, 2), (1.0, 21, 2), (1.9, 21, 2), (2.0, 21, 2)]) == [2, 2, 2, 2, 3]


def test_it_shrinks_when_a_worker_was_not_needed_for_long_enough() -> None:
    assert run([(0.0, 0, 1), (4.9, 0, 1), (5.0, 0, 0)]) == [2, 2, 1]
    assert run([(0.0, 0, 1), (4.9, 0, 2), (5.0, 0, 1)]) == [2, 2, 2]
    assert run([(0.0, 0, 1), (4.9, 1, 1), (5.0, 0, 1)]) == [2, 2, 2]


def test_after_a_change_the_next_one_waits_for_the_cooldown_and_for_new_evidence() -> None:
    looks = [(0.0, 99, 2), (1.0, 99, 2), (2.0, 99, 3), (2.9, 99, 3), (3.0, 99, 3), (4.0, 99, 4), (9.0, 99, 4)]

    assert run(looks) == [2, 3, 3, 3, 4, 4, 4]


def test_it_returns_within_its_bounds_one_by_one() -> None:
    assert decide(SCALE, ScaleState(), Sample(0, 0, 0), 0.0)[1:] == (1, "fewer than the minimum of 1")
    assert decide(SCALE, ScaleState(), Sample(6, 0, 0), 0.0)[1:] == (5, "more than the maximum of 4")


def test_it_is_looked_at_some_times_in_the_shortest_of_the_times() -> None:
    assert look_seconds(SCALE) == 0.25
    assert look_seconds(Autoscale(maximum=2, for_seconds=0.0)) == 0.02
    assert look_seconds(Autoscale(maximum=2, for_seconds=60.0, shrink_after=60.0, cooldown=60.0)) == 1.0


LOOKS = st.lists(st.tuples(st.floats(0.01, 3.0), st.integers(0, 100), st.integers(0, 5)), max_size=60)


@given(looks=LOOKS, start=st.integers(1, 4))
def test_it_never_leaves_its_bounds_and_never_changes_twice_within_a_cooldown(
    looks: list[tuple[float, int, int]], start: int
) -> None:
    state, size, now = ScaleState(), start, 0.0
    changes: list[float] = []
    for pause, queued, busy in looks:
        now += pause
        state, after, _why = decide(SCALE, state, Sample(size, queued, min(busy, size)), now)
        assert abs(after - size) <= 1
        assert SCALE.minimum <= after <= SCALE.maximum
        if after != size:
            changes.append(now)
        size = after
    assert all(later - earlier >= SCALE.cooldown for earlier, later in itertools.pairwise(changes))


@given(queued=st.integers(1, 20), looks=st.lists(st.floats(0.01, 3.0), max_size=60))
def test_a_steady_load_between_the_two_limits_changes_nothing(queued: int, looks: list[float]) -> None:
    state, now = ScaleState(), 0.0
    for pause in looks:
        now += pause
        state, size, _why = decide(SCALE, state, Sample(2, queued, 2), now)
        assert size == 2
