from __future__ import annotations

from actors.mailbox._patience import BUSY_SECONDS, MOST_LOOKS, REST, SOON_SECONDS, Patience

LONG, SHORT = 1.0, SOON_SECONDS / 2


def test_looking_is_given_up_by_halves_where_nothing_comes_soon() -> None:
    patience = Patience()
    looks = []
    for _ in range(8):
        patience.slept(LONG)
        looks.append(patience.looks)

    assert [32, 16, 8, 4, 2, 1, 1, 1] == looks


def test_sleeps_that_were_short_have_it_look_more_often() -> None:
    patience = Patience(looks=1)
    looks = []
    for _ in range(8):
        patience.slept(SHORT)
        looks.append(patience.looks)

    assert [2, 4, 8, 16, 32, 64, MOST_LOOKS, MOST_LOOKS] == looks


def test_quick_looks_change_nothing() -> None:
    patience = Patience()
    patience.looked(MOST_LOOKS, MOST_LOOKS * BUSY_SECONDS / 4)
    patience.looked(1, SHORT)

    assert Patience() == patience


def test_where_others_have_the_core_nobody_looks_for_a_while() -> None:
    patience = Patience()
    patience.looked(3, 0.004)
    assert 0 == patience.looks
    for _ in range(REST):
        assert 0 == patience.looks
        patience.slept(SHORT)

    patience.slept(SHORT)
    assert 1 == patience.looks


def test_after_its_rest_it_looks_once_also_where_sleeps_are_long() -> None:
    patience = Patience(looks=0)
    patience.slept(LONG)

    assert 1 == patience.looks
