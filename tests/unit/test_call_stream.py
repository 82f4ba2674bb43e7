"""Many calls of one function: fed, made by a pool that is not there, and read."""

from __future__ import annotations

import gc
import itertools
import os
import sys
import threading
from collections import deque
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from actors import _calls
from actors._call_stream import OrderedResults, UnorderedResults
from actors.errors import DeadlockError
from tests.helpers import eventually

SECONDS = 20.0
FUNCTION: _calls.Function = (b"f", True)


class _Force:
    """Stands for the workers of a pool."""

    def __init__(self) -> None:
        self.plan = SimpleNamespace(size=2)
        self.pokes = threading.Semaphore(0)
        self.is_own = False
        self.closed = False
        self.owner = os.getpid()

    def poke(self, _source: object) -> None:
        self.pokes.release()

    def tell_later(self, _sink: object) -> None:
        pass

    def refuse_own_thread(self) -> None:
        if self.is_own:
            raise DeadlockError("this thread would have to bring it")


class _Late(Exception):
    pass


def make(kind: type[OrderedResults | UnorderedResults], items: list[int] | None, force: _Force | None = None) -> Any:
    return kind(
        cast("Any", force or _Force()),
        FUNCTION,
        _calls.CALL,
        lambda item: _calls.code_call((item,)),
        items,
        timeout=None,
        retries=0,
        unsendable=lambda error, _shown: error,
    )


def read_all(stream: Any) -> list[Any]:
    found = []
    while (one := stream.take_next(SECONDS, _Late)) is not None:
        found.append(one[1])
    return found


KINDS = pytest.mark.parametrize("kind", [OrderedResults, UnorderedResults])


def test_results_come_in_the_order_of_their_items_or_as_they_are_there() -> None:
    for kind, expected in ((OrderedResults, [0, 1, 2]), (UnorderedResults, [2, 0, 1])):
        stream = make(kind, [5, 6, 7])
        for index in (2, 0, 1):
            stream.succeed(index, index)
        assert read_all(stream) == expected
        assert stream.take_next(0, _Late) is None


@KINDS
def test_what_is_not_there_in_time_is_late_and_comes_later(kind: Any) -> None:
    stream = make(kind, [5])
    with pytest.raises(_Late):
        stream.take_next(0, _Late)
    with pytest.raises(_Late):
        stream.take_next(0.001, _Late)
    stream.fail(0, KeyError())
    success, error = stream.take_next(0, _Late)

    assert (success, type(error)) == (False, KeyError)


def test_who_would_have_to_bring_it_cannot_wait_for_it() -> None:
    force = _Force()
    stream = make(OrderedResults, [5], force)
    force.is_own = True
    with pytest.raises(DeadlockError):
        stream.take_next(None, _Late)


@KINDS
def test_a_reader_that_is_interrupted_at_any_line_can_go_on(kind: Any) -> None:
    """As by a signal handler that raises: at each line in turn."""
    for at in range(1, 1000):
        stream = make(kind, list(range(3)))
        for index in range(3):
            stream.succeed(index, index)
        got, lines = list[int](), 0

        def trace(_frame: Any, event: str, _arg: Any) -> Any:
            nonlocal lines
            lines += event == "line"
            if lines == at:  # noqa: B023 - called in this very turn
                lines += 1
                raise InterruptedError
            return trace

        before = sys.gettrace()
        gc.disable()  # what is raised in a callback of the collector goes nowhere
        sys.settrace(trace)
        try:
            got.append(stream.take_next(0, _Late)[1])
        except InterruptedError:
            pass
        finally:
            sys.settrace(before)
            gc.enable()
        over = bool(got)
        got += read_all(stream)

        assert got in ([0, 1, 2], [1, 2]), (at, got)
        if over:
            return
    pytest.fail("it never came to its end")


@KINDS
def test_many_readers_get_each_result_once(kind: Any) -> None:
    stream, count = make(kind, None), 2000
    stream.feed(iter(range(count)))
    found: list[list[int]] = [[] for _ in range(6)]
    readers = [threading.Thread(target=lambda mine=mine: mine.extend(read_all(stream))) for mine in found]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for reader in readers:
            reader.start()
        made = 0
        while made < count:
            for job in stream.take(50):
                stream.succeed(job.index, job.index)
                made += 1
            stream.flush()
        for reader in readers:
            reader.join(SECONDS)
    finally:
        sys.setswitchinterval(before)

    assert sorted(number for mine in found for number in mine) == list(range(count))


class _Emptied(deque[int]):
    """What the pool's thread empties right before each item."""

    def append(self, item: int) -> None:
        self.clear()
        super().append(item)


def test_a_source_that_is_emptied_as_more_comes_is_told_of() -> None:
    force = _Force()
    stream = make(OrderedResults, None, force)
    stream._items = _Emptied()
    stream.feed(iter(range(3)))
    for _ in range(4):  # each item, and the end
        assert force.pokes.acquire(timeout=SECONDS)


def test_an_iterator_that_never_goes_on_keeps_nobody_from_ending() -> None:
    force, never = _Force(), threading.Event()
    stream = make(OrderedResults, None, force)

    def items() -> Iterator[int]:
        yield from ()
        never.wait(SECONDS)

    stream.feed(items())
    assert not stream.over
    stream.close()

    assert force.pokes.acquire(timeout=SECONDS)
    assert stream.over
    never.set()


@KINDS
def test_no_more_is_read_than_there_is_room_for(kind: Any) -> None:
    stream, read = make(kind, None), list[int]()

    def items() -> Iterator[int]:
        for number in itertools.count():
            read.append(number)
            yield number

    def makes_two() -> bool:
        for job in stream.take(100):
            stream.succeed(job.index, job.index)
        return len(stream._results) >= 2

    stream.feed(items())
    for taken in range(0, 40, 2):
        eventually(makes_two, SECONDS)
        assert len(read) <= taken + stream._room + 1
        assert [stream.take_next(0, _Late), stream.take_next(0, _Late)] == [[True, taken], [True, taken + 1]]
    stream.unbind()
    before = len(read)
    eventually(lambda: len(read) > before + 10 * stream._room, SECONDS)
    stream.close()


@pytest.mark.parametrize("first", ["closed", "left"])
def test_what_nobody_can_read_is_made_as_its_pool_is_closed(first: str) -> None:
    force = _Force()
    stream = make(UnorderedResults, None, force)
    stream.feed(iter(range(100)))
    eventually(lambda: stream._feeder_waits, SECONDS)
    force.closed = first == "closed"
    (stream.look_whether_left if force.closed else stream.leave)()
    assert stream.waiting < 100
    force.closed = True
    (stream.leave if first == "closed" else stream.look_whether_left)()
    eventually(lambda: stream.waiting == 100 and stream._exhausted, SECONDS)


def test_what_will_not_be_made_is_dropped_without_looking_at_it() -> None:
    stream = make(OrderedResults, cast("Any", [threading.Lock()] * 3))
    jobs = stream.drop()

    assert [(job.index, job.coded) for job in jobs] == [(0, []), (1, []), (2, [])]
    assert stream.over
    assert stream.drop() == []
