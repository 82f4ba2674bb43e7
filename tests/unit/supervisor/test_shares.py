"""Who uses which shared memory, and when it is dropped."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from actors.errors import ProtocolError
from actors.supervisor import _shares
from actors.supervisor._shares import ShareBook

HOST, ACTOR = (0, 0), (1, 1)


@pytest.fixture
def book() -> Iterator[ShareBook]:
    made = ShareBook()
    yield made
    made.close()
    assert len(made) == 0


def nobody() -> dict[int, int]:
    return {}


def sweep(book: ShareBook, times: int = 11) -> bool:
    """Look so often; whether anything is left that nobody uses."""
    return [book.sweep(dict[int, int]().get, quiet=True) for _ in range(times)][-1]


def test_it_is_there_as_long_as_one_user_is(book: ShareBook) -> None:
    number, descriptor = book.make(HOST, 5000)
    assert os.fstat(descriptor).st_size == 8192
    assert book.find(number, ACTOR) == descriptor
    assert not book.drop(number, HOST, nobody)
    sweep(book)
    assert len(book) == 1
    assert book.drop(number, ACTOR, nobody)
    assert sweep(book, 10)
    assert not sweep(book, 1)

    assert len(book) == 0
    assert book.find(number, HOST) is None


def test_uses_are_counted(book: ShareBook) -> None:
    number, _descriptor = book.make(HOST, 1)
    book.find(number, HOST)
    assert not book.drop(number, HOST, nobody)
    assert book.drop(number, HOST, nobody)


def test_who_ends_has_dropped_everything(book: ShareBook) -> None:
    book.make(ACTOR, 1)
    number, _descriptor = book.make(ACTOR, 1)
    book.find(number, ACTOR)
    book.find(number, HOST)
    assert book.forget(ACTOR, nobody)
    assert not book.forget(ACTOR, nobody)
    sweep(book)

    assert len(book) == 1
    assert book.drop(number, HOST, nobody)


def test_what_may_stand_in_an_inbox_is_kept_and_can_be_found_again(book: ShareBook) -> None:
    number, descriptor = book.make(HOST, 1)
    book.drop(number, HOST, lambda: {7: 100})
    assert all(book.sweep({7: 99}.get, quiet=True) for _ in range(50))
    assert book.find(number, ACTOR) == descriptor
    assert not book.sweep({7: 200}.get, quiet=True)
    book.drop(number, ACTOR, lambda: {7: 300})
    book.forget_mark(7)
    sweep(book)

    assert len(book) == 0


@pytest.mark.parametrize("user", [HOST, ACTOR])
def test_what_is_not_in_use_cannot_be_dropped(book: ShareBook, user: tuple[int, int]) -> None:
    number, _descriptor = book.make((2, 1), 1)
    with pytest.raises(ProtocolError):
        book.drop(number, user, nobody)
    with pytest.raises(ProtocolError):
        book.drop(number + 1, user, nobody)
    book.forget_mark(1)

    assert book.drop(number, (2, 1), nobody)


@pytest.mark.parametrize("size", [0, -1, 1 << 60, "1", None])
def test_sizes_out_of_range_are_refused(book: ShareBook, size: int) -> None:
    with pytest.raises(ProtocolError):
        book.make(HOST, size)


def test_one_process_makes_so_many_and_no_more(book: ShareBook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_shares, "_MOST_PER_USER", 2)
    for _ in range(2):
        book.make(ACTOR, 1)
    with pytest.raises(OSError, match="2 pieces"):
        book.make(ACTOR, 1)
    book.make(HOST, 1)
