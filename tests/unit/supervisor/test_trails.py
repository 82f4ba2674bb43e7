"""When everybody has gone past what stood in its inbox."""

from __future__ import annotations

import pytest

from actors.supervisor._trails import Trail


def looks_until_past(trail: Trail, done: dict[int, int], *, quiet: bool = True, most: int = 100) -> int:
    """After how many looks it is past; *most* where it is not by then."""
    return next((look for look in range(most) if trail.is_past(done.get, quiet=quiet)), most)


@pytest.mark.parametrize(
    ("done", "quiet", "looks"),
    [
        pytest.param({1: 10, 2: 21}, True, 10, id="all-have-handled-as-much"),
        pytest.param({1: 9, 2: 20}, True, 100, id="one-has-not"),
        pytest.param({1: 10}, True, 10, id="one-is-gone"),
        pytest.param({1: 10, 2: 20}, False, 100, id="answers-are-on-their-way"),
    ],
)
def test_it_is_past_when_all_are_and_no_answer_was_seen_for_a_while(
    done: dict[int, int], quiet: bool, looks: int
) -> None:
    assert looks_until_past(Trail({1: 10, 2: 20}), done, quiet=quiet) == looks


def test_an_answer_on_its_way_begins_the_wait_anew() -> None:
    trail = Trail({})
    assert looks_until_past(trail, {}, most=5) == 5
    assert not trail.is_past(dict[int, int]().get, quiet=False)

    assert looks_until_past(trail, {}) == 10


def test_who_lost_its_mail_is_waited_for_no_more() -> None:
    trail = Trail({1: 10})
    assert looks_until_past(trail, {1: 0}) == 100
    trail.forget(1)
    trail.forget(2)

    assert looks_until_past(trail, {1: 0}) == 10
