"""Which calls a worker of a pool gets next, and how many."""

from __future__ import annotations

import math
from typing import Any

import pytest

from actors import _calls
from actors._dealing import Dealer
from actors._jobs import Job, Source, pack

QUICK, SLOW, NEW = (b"quick", True), (b"slow", True), (b"new", True)


class Told:
    """A sink that wants all calls but some."""

    def __init__(self, unwanted: tuple[int, ...] = ()) -> None:
        self.unwanted = unwanted

    def begin(self, index: int) -> bool:
        return index not in self.unwanted

    def succeed(self, index: int, value: Any) -> None: ...

    def fail(self, index: int, error: BaseException) -> None: ...

    def unsendable(self, index: int, error: BaseException, shown: str) -> None: ...

    def flush(self) -> None: ...


class Items(Source):
    """A source of calls of which more may come."""

    def __init__(self, count: int, *, over: bool = True) -> None:
        self.function: tuple[bytes, bool] = QUICK
        self.how: int = _calls.CALL
        self.timeout: float | None = None
        self.count = count
        self.ends = over
        self.aborted: BaseException | None = None

    def drop(self) -> list[Job]:
        return self.take(self.count)

    def take(self, most: int) -> list[Job]:
        count = min(most, self.count)
        self.count -= count
        return [job(QUICK) for _ in range(count)]

    @property
    def over(self) -> bool:
        return self.ends and not self.count

    @property
    def waiting(self) -> int:
        return self.count

    def abort(self, error: BaseException) -> None:
        self.aborted = error


def job(function: tuple[bytes, bool] = QUICK, index: int = 0, **options: Any) -> Job:
    return Job(options.pop("sink", Told()), index, function, _calls.CALL, [_calls.PLAIN, []], **options)


@pytest.fixture
def dealer() -> Dealer:
    made = Dealer(2)
    made.note_seconds([(QUICK[0], _calls.CALL)], 1e-6)
    made.note_seconds([(SLOW[0], _calls.CALL)], 1.0)
    return made


def test_quick_calls_share_a_message_and_are_shared_among_the_workers(dealer: Dealer) -> None:
    dealer.sources.extend(job() for _ in range(100))

    assert [50, 25, 13, 6] == [len(dealer.choose(math.inf)) for _ in range(4)]


def test_a_message_takes_a_budget_and_has_a_bound(dealer: Dealer) -> None:
    dealer.note_seconds([(b"some", _calls.CALL)], 0.0005)
    dealer.sources.extend(job((b"some", True)) for _ in range(100))
    few = dealer.choose(math.inf)
    dealer.sources.clear()
    dealer.sources.append(Items(10_000))

    assert 4 <= len(few) <= 5
    assert 1000 == len(dealer.choose(math.inf))
    assert 3 == len(dealer.choose(3))


@pytest.mark.parametrize("first", [job(NEW), job(SLOW), job(timeout=5.0)])
def test_a_call_that_may_be_long_has_a_message_of_its_own(dealer: Dealer, first: Job) -> None:
    dealer.sources.extend([first, job(), job()])

    assert [first] == dealer.choose(math.inf)


def test_a_call_that_may_be_long_does_not_follow_quick_ones(dealer: Dealer) -> None:
    quick, new, last = job(), job(NEW), job()
    dealer.sources.extend([quick, new, last, job(), job(), job()])

    assert [quick] == dealer.choose(math.inf)
    assert [new] == dealer.choose(math.inf)
    assert last in dealer.choose(math.inf)


def test_what_was_put_back_comes_first_and_in_its_order(dealer: Dealer) -> None:
    one, two, alone = job(), job(), job(alone=True)
    dealer.sources.extend([job(), job(), job()])
    dealer.put_back([one, two, alone])

    assert [one, two] == dealer.choose(math.inf)[:2]
    assert [alone] == dealer.choose(math.inf)


def test_calls_that_nobody_wants_are_left_out(dealer: Dealer) -> None:
    dealer.sources.extend([job(index=1, sink=Told((1,))), job(index=2), job(index=3, sink=Told((3,)))])
    found = [each.index for _ in range(3) for each in dealer.choose(math.inf)]

    assert found == [2]
    assert not dealer.waits


def test_a_source_that_has_nothing_now_lets_others_pass(dealer: Dealer) -> None:
    empty, other = Items(0, over=False), Items(2)
    dealer.sources.extend([empty, other])

    assert 1 == len(dealer.choose(math.inf))
    assert 1 == len(dealer.choose(math.inf))
    assert [] == dealer.choose(math.inf)
    assert [empty] == dealer.take_sources()
    assert [] == dealer.choose(math.inf)


def test_chunks_are_coded_ahead_one_for_each_worker_at_most(dealer: Dealer) -> None:
    chunks = Items(2)
    chunks.how = _calls.MAP
    dealer.prepare()
    dealer.sources.extend([chunks, Items(5)])
    for _ in range(4):
        dealer.prepare()

    assert len(dealer.redo) == 2
    assert len(dealer.sources) == 1
    dealer.redo.clear()
    dealer.prepare()
    assert not dealer.redo


def test_all_that_waits_can_be_taken_out(dealer: Dealer) -> None:
    back, source = job(), Items(3)
    dealer.put_back([back])
    dealer.sources.append(source)
    jobs, sources = dealer.drain()

    assert len(jobs) == 4
    assert jobs[0] is back
    assert sources == [source]
    assert not dealer.waits


def test_how_long_calls_take_is_a_mean_of_the_latest_and_of_few_functions(dealer: Dealer) -> None:
    dealer.note_seconds([(SLOW[0], _calls.CALL)], 0.0)
    assert dealer._seconds[hash(SLOW[0]), _calls.CALL] == 0.5
    dealer.note_seconds([(str(number).encode(), 0) for number in range(1001)], 1.0)
    assert dealer._seconds == {}


def test_a_message_names_each_function_once_and_has_its_buffers_in_order() -> None:
    large = memoryview(b"large")
    calls = [job(), job(NEW), job()]
    calls[1].coded = [_calls.PICKLED, None, large, large]
    functions, packed, buffers = pack(calls)

    assert functions == [[b"quick", True], [b"new", True]]
    assert packed == [[0, 0, 0, [], 0], [1, 0, 1, None, 2], [0, 0, 0, [], 0]]
    assert buffers == [large, large]


def test_a_call_that_was_put_back_is_not_made_if_nobody_wants_it_any_more(dealer: Dealer) -> None:
    told = Told()
    dealer.put_back([job(index=0, sink=told), job(index=1, sink=told), job(index=2, sink=told)])
    told.unwanted = (0, 1)

    assert [each.index for each in dealer.choose(math.inf)] == [2]
    assert not dealer.waits
