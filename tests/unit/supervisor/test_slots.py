"""Which worker has which slot: all of them, evenly, and few move."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from actors.supervisor._slots import SLOTS, assign

WORKERS = st.lists(st.integers(1, 1000), min_size=1, max_size=40, unique=True)


def test_without_workers_nobody_has_a_slot() -> None:
    assert assign((), ()) == ()
    assert assign(assign((), (1, 2)), ()) == ()


@given(before=WORKERS, now=WORKERS)
def test_every_slot_has_a_worker_that_is_there_and_all_have_as_many(before: list[int], now: list[int]) -> None:
    owners = assign(assign((), before), now)

    assert len(owners) == SLOTS
    counts = Counter(owners)
    assert set(counts) == set(now)
    assert max(counts.values()) - min(counts.values()) <= 1


@given(stay=WORKERS, come=st.integers(1001, 1020))
def test_who_comes_takes_its_share_and_nothing_else_moves(stay: list[int], come: int) -> None:
    before = assign((), stay)

    after = assign(before, [*stay, come])

    assert {new for old, new in zip(before, after, strict=True) if old != new} == {come}


@given(workers=st.lists(st.integers(1, 1000), min_size=2, max_size=40, unique=True), data=st.data())
def test_who_leaves_gives_its_share_and_nothing_else_moves(workers: list[int], data: st.DataObject) -> None:
    leaves = data.draw(st.sampled_from(workers))
    before = assign((), workers)

    after = assign(before, [worker for worker in workers if worker != leaves])

    assert {old for old, new in zip(before, after, strict=True) if old != new} == {leaves}


def test_the_same_workers_keep_what_they_have() -> None:
    before = assign((), (1, 2, 3))

    assert assign(before, (3, 2, 1)) == before
