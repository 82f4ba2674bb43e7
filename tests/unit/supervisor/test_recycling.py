from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from actors.supervisor._recycling import NEVER, limits
from actors.supervisor._spec import Recycle


def test_who_is_not_recycled_has_no_limit() -> None:
    assert limits(None, 0.5) is NEVER
    assert limits(Recycle(), 0.5) == NEVER


def test_the_lowest_sample_gives_the_limits_themselves() -> None:
    found = limits(Recycle(messages=1000, age=60.0, jitter=0.5), 0.0)

    assert (found.messages, found.age) == (1000, 60.0)


def test_each_limit_is_up_to_the_jitter_higher_and_messages_are_whole() -> None:
    found = limits(Recycle(messages=3, age=60.0, jitter=0.5), 0.5)

    assert (found.messages, found.age) == (3, 75.0)


def test_one_limit_alone_leaves_the_other_open() -> None:
    assert limits(Recycle(messages=5), 0.0).age == math.inf
    assert limits(Recycle(age=5.0), 0.0).messages is None


@given(
    messages=st.integers(1, 1 << 40),
    age=st.floats(0.001, 1e9),
    jitter=st.floats(0.0, 1.0),
    u=st.floats(0.0, 1.0, exclude_max=True),
)
def test_no_limit_is_below_what_was_said_nor_above_its_spread(
    messages: int, age: float, jitter: float, u: float
) -> None:
    found = limits(Recycle(messages=messages, age=age, jitter=jitter), u)

    assert found.messages is not None
    assert messages <= found.messages <= messages * (1 + jitter) + 1
    assert age <= found.age <= age * (1 + jitter) * 1.0000001
