"""Who is told of a death, and that nothing is kept of those who are dead."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.supervisor._exits import EXIT_KINDS, ExitReason
from actors.supervisor._watches import HOST, Ending, Watches, is_abnormal

A, B, C = (1, 1), (2, 1), (3, 1)
NOBODY = Ending({}, ())


def is_empty(book: Watches) -> bool:
    return not (book._watchers or book._watched or book._links or book._trapping)


def test_an_end_names_each_watch_once() -> None:
    book = Watches()
    book.watch(A, 1, C)
    book.watch(A, 2, C)
    book.watch(HOST, 1, C)
    book.watch(B, 1, A)

    assert book.count(A) == 2
    assert book.end(C) == Ending({A: [1, 2], HOST: [1]}, ())
    assert book.end(C) == NOBODY
    assert book.count(A) == 0
    assert book.end(A) == Ending({B: [1]}, ())
    assert is_empty(book)


def test_a_watch_that_was_taken_back_is_forgotten_on_both_sides() -> None:
    book = Watches()
    book.watch(A, 1, C)
    book.watch(B, 7, C)
    book.unwatch(A, 1)
    book.unwatch(A, 1)
    book.unwatch(A, 5)

    assert book.end(C) == Ending({B: [7]}, ())
    assert book.count(B) == 0


def test_who_ends_watches_nobody_any_more() -> None:
    book = Watches()
    book.watch(A, 1, C)
    book.watch(A, 2, B)

    assert book.end(A) == NOBODY
    assert book.end(C) == NOBODY
    assert is_empty(book)


def test_a_link_is_one_and_goes_both_ways() -> None:
    for first, second in ((A, B), (B, A)):
        book = Watches()
        book.link(A, B)
        book.link(B, A)
        assert book.links_of(A) == 1
        assert book.end(first).linked == (second,)
        assert book.end(second).linked == ()
        assert is_empty(book)


def test_unlinking_takes_the_link_from_both() -> None:
    book = Watches()
    book.link(A, B)
    book.link(A, C)
    book.unlink(B, A[0])
    book.unlink(B, A[0])

    assert book.end(B).linked == ()
    assert book.end(A).linked == (C,)
    assert is_empty(book)


def test_who_watches_or_is_linked_to_one_that_hands_over_goes_on_with_its_successor() -> None:
    book, successor = Watches(), (C[0], 2)
    book.watch(A, 1, C)
    book.watch(HOST, 1, C)
    book.watch(B, 2, successor)
    book.link(A, C)
    book.link(C, B)
    book.link(B, successor)
    book.watch(C, 1, A)
    book.trap(C, on=True)
    book.pass_on(C, successor)

    assert book.end(C) == NOBODY
    assert book.count(C) == 0
    assert not book.traps(C)
    assert not book.traps(successor)
    assert book.end(successor) == Ending({A: [1], HOST: [1], B: [2]}, (B, A))
    assert book.end(A) == book.end(B) == NOBODY
    assert is_empty(book)


def test_a_link_to_one_that_hands_over_is_taken_back_from_its_successor() -> None:
    book, successor = Watches(), (C[0], 2)
    book.watch(A, 1, C)
    book.link(A, C)
    book.pass_on(C, successor)
    book.unwatch(A, 1)
    book.unlink(A, C[0])

    assert book.end(successor) == NOBODY
    assert book.end(A) == NOBODY
    assert is_empty(book)


def test_trapping_ends_with_its_life() -> None:
    book = Watches()
    book.trap(A, on=True)
    book.trap(B, on=True)
    book.trap(B, on=False)

    assert (book.traps(A), book.traps(B)) == (True, False)
    book.end(A)
    assert not book.traps(A)


@pytest.mark.parametrize("kind", EXIT_KINDS)
def test_every_end_but_a_normal_and_a_requested_one_spreads(kind: str) -> None:
    assert is_abnormal(ExitReason(kind)) == (kind not in {"normal", "requested"})  # type: ignore[arg-type]


LIVES = st.tuples(st.integers(1, 4), st.integers(1, 2))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("watch"), LIVES, LIVES),
        st.tuples(st.just("link"), LIVES, LIVES),
        st.tuples(st.just("unwatch"), LIVES, st.integers(0, 20)),
        st.tuples(st.just("unlink"), LIVES, st.integers(1, 4)),
        st.tuples(st.just("end"), LIVES, st.none()),
    ),
    max_size=40,
)


@given(STEPS)
def test_each_watch_is_told_at_most_once_and_nothing_outlives_everybody(
    steps: list[tuple[str, tuple[int, int], object]],
) -> None:
    book, told = Watches(), []
    for number, (what, life, other) in enumerate(steps):
        if what == "watch" and life != other:
            book.watch(life, number, other)  # type: ignore[arg-type]
        elif what == "link" and life != other:
            book.link(life, other)  # type: ignore[arg-type]
        elif what == "unwatch":
            book.unwatch(life, other)  # type: ignore[arg-type]
        elif what == "unlink":
            book.unlink(life, other)  # type: ignore[arg-type]
        elif what == "end":
            told += [(who, number) for who, numbers in book.end(life).watchers.items() for number in numbers]
    for uid in range(1, 5):
        for incarnation in (1, 2):
            book.end((uid, incarnation))

    assert len(told) == len(set(told))
    assert is_empty(book)
