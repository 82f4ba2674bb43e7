"""Which death a rise of the kernel's counter proves: one that came right after it, and one for each kill."""

from __future__ import annotations

import pytest

from actors.supervisor._oom import PROOF_SECONDS, OomLedger


def ledger(*looks: tuple[int | None, float]) -> OomLedger:
    made = OomLedger()
    for reading, now in looks:
        made.look(reading, now)
    return made


def test_what_was_counted_before_the_first_look_proves_nothing() -> None:
    assert ledger((7, 0.0)).claim(0.0) == 0


def test_a_kill_proves_one_death() -> None:
    counted = ledger((7, 0.0), (8, 1.0))

    assert [1, 0] == [counted.claim(1.0), counted.claim(1.0)]


def test_two_kills_prove_two_deaths() -> None:
    counted = ledger((0, 0.0), (2, 1.0))

    assert [1, 1, 0] == [counted.claim(1.5) for _ in range(3)]


@pytest.mark.parametrize(("died", "proven"), [(1.0 + PROOF_SECONDS, 1), (1.1 + PROOF_SECONDS, 0), (0.5, 1)])
def test_a_kill_that_is_older_than_the_death_proves_nothing(died: float, proven: int) -> None:
    assert proven == ledger((0, 0.0), (1, 1.0)).claim(died)


def test_a_kill_that_was_forgotten_leaves_the_fresh_one() -> None:
    counted = ledger((0, 0.0), (1, 1.0), (2, 9.0))

    assert [1, 0] == [counted.claim(9.0), counted.claim(9.0)]


def test_an_old_one_that_was_not_looked_at_again_is_passed_over() -> None:
    counted = OomLedger(reading=2, open=[1.0, 9.0])

    assert [1, 0] == [counted.claim(9.0), counted.claim(9.0)]


def test_a_counter_that_cannot_be_read_now_changes_nothing() -> None:
    counted = ledger((3, 0.0), (None, 1.0), (4, 2.0))

    assert 1 == counted.claim(2.0)


def test_a_lower_count_is_of_a_new_counter() -> None:
    counted = ledger((9, 0.0), (2, 1.0))
    assert 0 == counted.claim(1.0)

    counted.look(3, 2.0)
    assert 1 == counted.claim(2.0)


def test_a_counter_that_jumps_does_not_fill_the_memory() -> None:
    assert len(ledger((0, 0.0), (1 << 60, 1.0)).open) <= 10_000
