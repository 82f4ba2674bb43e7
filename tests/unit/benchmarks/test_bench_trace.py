"""The time line of an ask: its steps add up to the whole, in the order in which they came."""

from __future__ import annotations

import pytest

from benchmarks._rounds import take_turns
from benchmarks._trace import Note, steps_of_ask

ASKER: list[Note] = [("encode", 1000, 3000), ("write", 5000, 9000), ("read", 27_000, 28_000)]
ACTOR: list[Note] = [
    ("read", 12_000, 13_000),
    ("handler", 16_000, 17_000),
    ("encode", 18_000, 19_000),
    ("write", 21_000, 24_000),
]


def test_the_steps_of_an_ask_add_up_to_the_whole() -> None:
    steps = steps_of_ask(0, 30_000, ASKER, ACTOR)

    assert steps is not None
    assert steps == {
        "check and encode": 3.0,
        "register the ask": 2.0,
        "write": 4.0,
        "wake the actor": 3.0,
        "read": 1.0,
        "decode and dispatch": 3.0,
        "handler": 1.0,
        "let out, and encode the answer": 2.0,
        "publish the answer": 2.0,
        "write the answer": 3.0,
        "wake the asker": 3.0,
        "read the answer": 1.0,
        "decode and complete": 2.0,
    }
    assert sum(steps.values()) == 30.0


def test_whoever_is_awake_before_the_write_returns_ends_it() -> None:
    awake = [("read", 6000, 7000), *ACTOR[1:]]

    steps = steps_of_ask(0, 30_000, ASKER, awake)

    assert steps is not None
    assert (steps["write"], steps["wake the actor"]) == (1.0, 0.0)
    assert sum(steps.values()) == 30.0


def test_a_write_that_returns_after_the_answer_was_read_is_found_by_its_beginning() -> None:
    late = [*ACTOR[:-1], ("write", 21_000, 99_000)]

    steps = steps_of_ask(0, 30_000, ASKER, late)

    assert steps is not None
    assert (steps["write the answer"], steps["wake the asker"]) == (6.0, 0.0)


@pytest.mark.parametrize("missing", range(len(ACTOR)))
def test_without_one_of_its_notes_there_is_no_time_line(missing: int) -> None:
    assert steps_of_ask(0, 30_000, ASKER, ACTOR[:missing] + ACTOR[missing + 1 :]) is None


def test_notes_of_other_asks_change_nothing() -> None:
    others: list[Note] = [("read", 50_000, 51_000), ("handler", 52_000, 53_000)]

    assert steps_of_ask(0, 30_000, ASKER, ACTOR + others) == steps_of_ask(0, 30_000, ASKER, ACTOR)


def test_sides_take_turns_after_a_round_that_does_not_count() -> None:
    order: list[str] = []

    def side(name: str) -> float:
        order.append(name)
        return float(order.count(name))

    taken = take_turns(3, lambda: side("a"), lambda: side("b"))

    assert order == ["a", "b", "b", "a", "a", "b", "b", "a"]
    assert taken == [(2.0, 3.0, 4.0), (2.0, 3.0, 4.0)]
