"""Counts of dead letters add up, whatever is logged when; and deaths are counted for one message alone."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from actors.supervisor._deaths import Deaths
from actors.supervisor._exits import ExitReason
from actors.supervisor._letters import CLAIMABLE, REASONS, DeadLetter, Tally, letter_from, letter_key

CRASH, KILL = ExitReason("crash", 1), ExitReason("signal", -9, "SIGKILL")


def test_the_reasons_are_these_and_an_actor_may_claim_all_but_its_own_deaths() -> None:
    assert REASONS == ("dead", "stopping", "overflow", "expired", "too_large", "undecodable", "crashed", "poison")
    assert set(REASONS) - CLAIMABLE == {"crashed", "poison"}


def test_a_letter_is_made_again_from_its_key() -> None:
    letter = DeadLetter("/a", "poison", 3, "put", 7, 2, (CRASH, KILL))

    assert letter_from(letter_key(letter), 3) == letter


def test_it_is_logged_at_once_and_then_once_a_period() -> None:
    tally = Tally(1.0)
    assert tally.take(100.0) == []
    tally.note(DeadLetter("/a", "dead", 2, "put", 1))
    assert tally.seconds_left(100.0) == 0.0
    assert tally.take(100.0) == [DeadLetter("/a", "dead", 2, "put")]
    tally.note(DeadLetter("/a", "dead", 3))
    assert tally.take(100.5) == []
    assert tally.seconds_left(100.5) == 0.5
    tally.note(DeadLetter("/a", "dead", 4))
    assert tally.take(101.0) == [DeadLetter("/a", "dead", 7)]
    tally.note(DeadLetter("/a", "expired"))
    assert tally.take(101.0, last=True) == [DeadLetter("/a", "expired")]
    assert not tally.waits
    assert tally.total == {"dead": 9, "expired": 1}


def test_many_targets_share_one_line_per_reason() -> None:
    tally = Tally(1.0)
    for number in range(150):
        tally.note(DeadLetter(f"/{number}", "dead", 2))
        tally.note(DeadLetter(f"/{number}", "expired"))
    lines = tally.take(0.0)

    assert len(lines) == 102
    assert {(line.target, line.reason): line.count for line in lines if line.target == "(others)"} == {
        ("(others)", "dead"): 200,
        ("(others)", "expired"): 100,
    }


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(REASONS), st.integers(1, 9), st.floats(0, 2))))
def test_what_is_logged_adds_up_to_what_was_counted(letters: list[tuple[str, str, int, float]]) -> None:
    tally, now, logged = Tally(1.0), 0.0, Counter[str]()
    for target, reason, count, pause in letters:
        now += pause
        tally.note(DeadLetter(target, reason, count))  # type: ignore[arg-type]
        for line in tally.take(now):
            logged[line.reason] += line.count
    for line in tally.take(now, last=True):
        logged[line.reason] += line.count

    assert logged == tally.total


# --- deaths of one message


def test_deaths_in_a_row_with_one_message_are_counted_with_their_reasons() -> None:
    deaths, book = Deaths(), object()

    assert [deaths.note(book, 10, reason) for reason in (CRASH, KILL, CRASH)] == [1, 2, 3]
    assert tuple(deaths.reasons) == (CRASH, KILL, CRASH)
    assert deaths.redelivered(book) == (10, 3)


def test_another_message_begins_at_one() -> None:
    deaths, book = Deaths(), object()
    deaths.note(book, 10, CRASH)

    assert deaths.note(book, 20, KILL) == 1
    assert tuple(deaths.reasons) == (KILL,)


def test_the_same_place_in_another_recorder_is_another_message() -> None:
    deaths, book, other = Deaths(), object(), object()
    deaths.note(book, 10, CRASH)

    assert deaths.redelivered(other) == (-1, 0)
    assert deaths.note(other, 10, CRASH) == 1


def test_the_last_sixteen_reasons_are_kept() -> None:
    deaths, book = Deaths(), object()
    for _ in range(20):
        deaths.note(book, 1, CRASH)

    assert (deaths.count, len(deaths.reasons)) == (20, 16)
