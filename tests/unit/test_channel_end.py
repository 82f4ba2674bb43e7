"""A process's end of a channel, interrupted by a signal handler at every place, and by threads."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

import actors
from actors._channel_end import ChannelEnd
from actors._channel_held import HeldItems
from actors.errors import (
    ChannelClosedError,
    ChannelEmptyError,
    ChannelFullError,
    EncodeError,
    ProtocolError,
    StartError,
)
from actors.mailbox import _channel_layout as at
from actors.mailbox._channel_core import HeldCell
from actors.supervisor._channels import ChannelBook, ChannelFacts
from tests.unit.mailbox.interrupts import interrupted_at

MAXSIZE = 3
MAX_BYTES = 1024 * 1024
FILES = {
    str(Path(actors.__file__).parent / name)
    for name in ("_channel_end.py", "_channel_wait.py", "_channel_held.py", "mailbox/_channel_core.py")
}
HOST = (0, 0)


class Host:
    """What a book needs of its host: everything that it says is kept."""

    max_bytes = MAX_BYTES
    method = "spawn"

    def __init__(self) -> None:
        self.pump = self.letters = self
        self.said: list[Any] = []
        self.later: list[Callable[[], object]] = []

    def after(self, _seconds: float, action: Callable[[], object]) -> None:
        self.later.append(action)

    def take(self, letter: Any) -> None:
        self.said.append(letter)

    def log(self, _level: str, event: str, **keys: object) -> None:
        self.said.append((event, keys))


@attrs.define(eq=False)
class Source:
    """The process of one end, as far as the end can see."""

    book: ChannelBook
    user: tuple[int, int]
    holds: bool = True
    ending: bool = False

    def lend_cell(self, number: int, kind: int) -> tuple[int, int, int, int]:
        return self.book.lend(number, self.user, kind)

    def drop_channel(self, number: int, cells: list[int]) -> None:
        self.book.drop(number, self.user, cells)

    def look_later(self, seconds: float, action: Callable[[], object]) -> None:
        action()

    def is_ending(self, *, waits: bool) -> bool:
        return self.ending

    def standing_by(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def progressed(self) -> None:
        """Nobody watches."""

    def holding(self) -> bool:
        return self.holds


class Bench:
    """A book of one channel, and ends of it."""

    def __init__(self, *, joinable: bool = False) -> None:
        self.host = Host()
        self.book = ChannelBook(self.host)  # type: ignore[arg-type]
        self.facts = self.book.make(HOST, MAXSIZE, "bench", joinable, 3)
        self.sources: list[Source] = []

    def end(self, user: int, *, holds: bool = True, facts: ChannelFacts | None = None) -> ChannelEnd:
        source = Source(self.book, (user, 1), holds)
        self.sources.append(source)
        facts = self.book.find((facts or self.facts).number, source.user)
        assert facts is not None
        with self.book.lent(facts.number) as lent:
            return ChannelEnd(facts, tuple(os.dup(one) for one in lent), source, inherit=False)

    def settle(self, end: ChannelEnd) -> None:
        end.stop()
        self.book.forget(end._source.user, in_order=False)  # type: ignore[attr-defined]
        while self.host.later:
            self.host.later.pop()()

    def check(self, *ends: ChannelEnd) -> None:
        """Every place is there, and every slot once."""
        for end in ends:
            end.held.release()
            self.settle(end)
        made = self.book._made[self.facts.number]
        assert made.keeper.excess == 0
        free, full = self.book._look(made.free, made.full)
        assert (len(free), len(full)) == (MAXSIZE, 0)
        cells = {slot for lent in made.keeper._lent.values() for slot in [lent.slot]}
        assert sorted([*free, *made.keeper._spares, *cells]) == list(range(1, self.facts.layout.slots + 1))
        assert made.keeper.core.unfinished() == 0


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.book.close()


def get_all(end: ChannelEnd) -> list[Any]:
    got = []
    with contextlib.suppress(ChannelEmptyError):
        while True:
            got.append(end.get(0.0))
    return got


def steps(call: Callable[[], object]) -> Iterator[int]:
    """Interrupt *call* at one place after the other, until it comes to its end."""
    step = 1
    while interrupted_at(step, call, FILES):
        yield step
        step += 1
    yield 0


SMALL, LARGE = "small", b"x" * 5000


@pytest.mark.parametrize("item", [SMALL, LARGE], ids=["small", "large"])
def test_a_put_that_is_interrupted_has_put_once_or_not_at_all(bench: Bench, item: object) -> None:
    end, other = bench.end(1), bench.end(2)
    end.put("first", 0.0)
    assert get_all(other) == ["first"]
    seen = set()
    for _step in steps(lambda: end.put(item, 0.0)):
        got = get_all(other)
        assert got in ([], [item])
        seen.add(len(got))
        for number in range(MAXSIZE):
            end.put(number, 0.0)
        with pytest.raises(ChannelFullError):
            end.put("one too many", 0.0)
        assert get_all(other) == list(range(MAXSIZE))
    assert seen == {0, 1}
    bench.check(end, other)


@pytest.mark.parametrize("item", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("holds", [True, False], ids=["actor", "host"])
def test_an_item_whose_get_was_interrupted_comes_with_the_next(
    bench: Bench, item: object, holds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors._channel_held._KEPT_BYTES", 0)
    end, other = bench.end(1, holds=holds), bench.end(2)
    got: list[object] = []
    other.put(item, 0.0)
    for step in steps(lambda: got.append(end.get(0.0))):
        if step:
            got.extend(get_all(end))
        assert got == [item]
        got.clear()
        for number in range(MAXSIZE):
            other.put(number, 0.0)
        with pytest.raises(ChannelFullError):
            other.put("one too many", 0.0)
        assert get_all(end) == list(range(MAXSIZE))
        other.put(item, 0.0)
    assert get_all(other) == [item]
    bench.check(end, other)


@pytest.mark.parametrize("holds", [True, False], ids=["actor", "host"])
def test_an_item_comes_though_its_get_is_interrupted_twice(holds: bool) -> None:
    """At each pair of places."""
    kept = first = 0
    is_interrupted = True
    while is_interrupted:
        first, second, goes_on = first + 1, 0, True
        while is_interrupted and goes_on:
            second, bench, got = second + 1, Bench(), list[object]()
            end, other = bench.end(1, holds=holds), bench.end(2)

            def get(end: ChannelEnd = end, got: list[object] = got) -> None:
                got.append(end.get(0.0))

            other.put("item", 0.0)
            is_interrupted = interrupted_at(first, get, FILES)
            kept += bool(end._late)
            goes_on = is_interrupted and interrupted_at(second, get, FILES)
            got += get_all(end)
            assert got == ["item"], (first, second)
            end.stop()
            assert end._is_closed
            bench.book.close()
    assert kept > 3


@pytest.mark.parametrize("kept", [True, False], ids=["in its cell", "done with"])
def test_a_get_that_waits_brings_what_another_thread_was_interrupted_with(bench: Bench, kept: bool) -> None:
    end, other = bench.end(1), bench.end(2)
    other.put("item", 0.0)
    step = 1
    while interrupted_at(step, lambda: end.get(0.0), FILES) and not end._late:
        assert get_all(end) == ["item"]
        other.put("item", 0.0)
        step += 1
    (late,) = end._late
    late.busy = True  # so far by the thread that is interrupted

    class Waiting(Source):
        def standing_by(self) -> contextlib.AbstractContextManager[None]:
            if kept:
                late.busy = False
            else:
                end._spared.append("item")
            return contextlib.nullcontext()

    end._source = Waiting(bench.book, (1, 1))
    assert end.get(None) == "item"
    late.busy = False
    assert get_all(end) == ([] if kept else ["item"])
    bench.check(end, other)


def test_who_dies_after_an_interrupted_get_leaves_the_item_to_others() -> None:
    step = 1
    while True:
        bench = Bench()
        end, other = bench.end(1), bench.end(2)
        other.put("item", 0.0)
        other.put("next", 0.0)
        went_on = interrupted_at(step, lambda end=end: end.get(0.0), FILES)  # type: ignore[misc]
        bench.settle(end)
        assert sorted(get_all(other)) == ["item", "next"]
        bench.check(other)
        bench.book.close()
        if not went_on:
            break
        step += 1
    assert step > 10


def test_an_item_whose_get_was_interrupted_goes_back_when_nothing_refers_to_the_channel() -> None:
    step, went_on = 0, True
    while went_on:
        step += 1
        bench = Bench()
        ends = [bench.end(1)]
        other = bench.end(2)
        other.put("item", 0.0)
        went_on = interrupted_at(step, lambda ends=ends: ends[0].get(0.0), FILES)  # type: ignore[misc]
        ends.clear()
        assert get_all(other) == ["item"] * went_on
        bench.book.close()
    assert step > 10


@pytest.mark.parametrize("what", ["release", "task_done"])
def test_an_end_that_is_interrupted_can_be_said_again(what: str) -> None:
    bench = Bench(joinable=what == "task_done")
    end, other = bench.end(1), bench.end(2)

    def done() -> None:
        with contextlib.suppress(ValueError):
            (end.task_done if what == "task_done" else end.held.release)()

    for number in range(200):
        other.put(LARGE if number % 2 else SMALL, 0.0)
        end.get(0.0)
        went_on = interrupted_at(number + 1, done, FILES)
        done()
        assert bench.book._made[1].keeper.core.unfinished() == 0
        if not went_on:
            break
    assert 3 < number < 199
    bench.check(end, other)
    bench.book.close()


def test_two_threads_at_a_time_are_done_with_two_items() -> None:
    bench = Bench(joinable=True)
    end = bench.end(1)
    for number in range(2):
        end.put(number, 0.0)
        end.get(0.0)
    both, done = threading.Barrier(2), end.held.done

    def done_slowly(cell: HeldCell) -> None:
        done(cell)
        both.wait()

    end.held.done = done_slowly  # type: ignore[method-assign]
    threads = [threading.Thread(target=end.task_done) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert end.join(0.0)
    assert not any(cell.busy for cell in end._getting)
    bench.check(end)
    bench.book.close()


@pytest.mark.parametrize("raises", [False, True], ids=["returns", "raises"])
def test_a_signal_handler_in_the_middle_of_task_done_loses_no_item(raises: bool) -> None:
    bench = Bench(joinable=True)
    end = bench.end(1)
    step, went_on = 0, True
    while went_on:
        step += 1
        for number in range(2):
            end.put(number, 0.0)
            end.get(0.0)
        if raises:
            went_on = interrupted_at(step, end.task_done, FILES)
            while end.held.numbers():
                end.task_done()
        else:
            went_on = interrupted_at(step, end.task_done, FILES, end.task_done)
            if not went_on:
                end.task_done()
        assert end.join(0.0), step
    assert step > 3
    bench.check(end)
    bench.book.close()


def test_a_call_in_the_middle_of_another_takes_a_cell_of_its_own(bench: Bench) -> None:
    end, other = bench.end(1), bench.end(2)
    step, went_on, total = 1, True, 0
    while went_on:
        went_on = interrupted_at(step, lambda: end.put("outer", 0.0), FILES, lambda: end.put("inner", 0.0))
        got = get_all(other)
        assert sorted(got) == (["inner", "outer"] if went_on else ["outer"])
        total += len(got)
        step += 1
    assert total > 20
    bench.check(end, other)


def test_one_waits_for_a_place_and_for_an_item_and_is_told_of_the_end(bench: Bench) -> None:
    end, other = bench.end(1), bench.end(2)
    for number in range(MAXSIZE):
        end.put(number, None)
    got: list[object] = []

    def get_three() -> None:
        with contextlib.suppress(ChannelClosedError):
            while True:
                got.append(other.get(None))

    putting = threading.Thread(target=end.put, args=("late", None))
    putting.start()
    getting = threading.Thread(target=get_three)
    getting.start()
    putting.join()
    end.close()
    getting.join()

    assert got == [*range(MAXSIZE), "late"]
    assert end.join(None) is True
    with pytest.raises(ChannelClosedError):
        end.put("more", None)
    bench.check(end, other)


def test_those_who_wait_with_all_that_is_left_end_one_after_the_other() -> None:
    bench = Bench(joinable=True)
    ends = [bench.end(1), bench.end(2)]
    for number in range(2):
        ends[0].put(number, None)
    both = threading.Barrier(3)
    left: list[int] = []

    def work(end: ChannelEnd) -> None:
        end.get(None)
        both.wait()
        with contextlib.suppress(ChannelClosedError):
            end.get(None)
        left.append(end.core.unfinished())
        end.task_done()

    threads = [threading.Thread(target=work, args=(end,)) for end in ends]
    for thread in threads:
        thread.start()
    both.wait()
    ends[0].close()
    for thread in threads:
        thread.join()

    assert left == [2, 1]
    bench.check(*ends)
    bench.book.close()


def test_who_is_to_stop_waits_for_nothing(bench: Bench) -> None:
    end = bench.end(1)
    for number in range(MAXSIZE):
        end.put(number, 0.0)
    bench.sources[0].ending = True
    with pytest.raises(ChannelClosedError, match="waits for a place"):
        end.put("more", None)
    with pytest.raises(ChannelClosedError, match="takes nothing more"):
        end.get(None)
    bench.sources[0].ending = False
    assert get_all(end) == list(range(MAXSIZE))
    bench.check(end)


def test_an_end_that_was_stopped_says_so_and_has_let_go(bench: Bench) -> None:
    end = bench.end(1, holds=False)
    end.put("item", 0.0)
    assert end.get(0.0) == "item"
    end.stop()
    end.stop()
    for use in (lambda: end.put("item", None), lambda: end.get(None), end.check_stopped):
        with pytest.raises(ChannelClosedError, match="has stopped"):
            use()
    assert end._is_closed


def test_one_that_waits_while_its_end_is_stopped_lets_go_itself(bench: Bench) -> None:
    end = bench.end(1)
    waits = threading.Event()

    class Telling(Source):
        def standing_by(self) -> contextlib.AbstractContextManager[None]:
            waits.set()
            return contextlib.nullcontext()

    end._source = Telling(bench.book, (1, 1))
    errors: list[BaseException] = []

    def get() -> None:
        try:
            end.get(None)
        except ChannelClosedError as error:
            errors.append(error)

    thread = threading.Thread(target=get)
    thread.start()
    waits.wait()
    end.stop()
    thread.join()

    assert len(errors) == 1
    assert end._is_closed


def test_an_item_that_cannot_be_read_was_got(bench: Bench) -> None:
    end, other = bench.end(1), bench.end(2)
    end.put("bad", 0.0)
    words, layout = bench.book._made[1].keeper.core.words, bench.facts.layout
    slot = next(slot for slot in range(1, layout.slots) if words[layout.slot_word(slot) + at.LENGTH])
    words[layout.slot_word(slot) + at.LENGTH] = at.INLINE_BYTES + 1
    end.put("good", 0.0)
    with pytest.raises(ProtocolError):
        other.get(0.0)
    assert other.get(0.0) == "good"
    words[layout.slot_word(slot) + at.LENGTH] = 0
    bench.check(end, other)


def test_an_item_may_be_as_large_as_a_message_and_no_larger(bench: Bench) -> None:
    end = bench.end(1)
    end.put(bytes(MAX_BYTES), 0.0)
    assert end.get(0.0) == bytes(MAX_BYTES)
    with pytest.raises(EncodeError, match="more than max_message_bytes"):
        end.put([bytes(MAX_BYTES // 2)] * 3, 0.0)
    bench.check(end)


def test_cells_beyond_what_one_may_have_are_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.supervisor._channels._MOST_CELLS_PER_USER", 1)
    end = bench.end(1)
    end.put("item", 0.0)
    with pytest.raises(
        StartError, match=r"bench: this process holds 1 of its items, .* say task_done\(\) of some first"
    ):
        end.get(0.0)
    monkeypatch.setattr(bench.book._made[bench.facts.number].keeper, "lend", lambda _kind: None)
    with pytest.raises(StartError, match="all its consumers and producers hold 4096 items"):
        bench.end(2).get(0.0)
    monkeypatch.undo()
    with pytest.raises(ProtocolError, match="not in use by"):
        bench.book.lend(bench.facts.number, (9, 9), at.PUT)
    assert get_all(bench.end(2)) == ["item"]


def test_an_end_that_holds_an_item_stays_until_it_is_done_with(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(joinable=True)
    end = bench.end(1)
    for number in range(2):
        end.put(number, 0.0)
        end.get(0.0)
    kept = weakref.ref(end)
    end.task_done()
    del end

    seen = iter((True, False))
    monkeypatch.setattr(HeldItems, "is_empty", lambda _self: next(seen))
    again = kept()
    assert again is not None
    again.let_go_if_done()  # as another thread gets one
    monkeypatch.undo()
    del again
    last = kept()
    assert last is not None
    last.task_done()
    assert last.join(0.0)
    del last
    assert kept() is None
    bench.book.close()


def test_an_end_that_nobody_refers_to_is_dropped(bench: Bench) -> None:
    end, other = bench.end(1), bench.end(2)
    end.put("item", 0.0)
    assert other.get(0.0) == "item"
    other.close()
    other.held.release()
    other.let_go_if_done()
    del other
    made = bench.book._made[bench.facts.number]
    assert set(made.users) == {HOST, (1, 1)}
    assert made.keeper.core.unfinished() == 0
    bench.book.drop(bench.facts.number, (2, 1), [])  # again, as who lies might
    bench.book.drop(99, HOST, [])
    bench.book.drop(bench.facts.number, HOST, [])
    del end

    assert len(bench.book) == 0
    assert bench.book.find(bench.facts.number, HOST) is None


def test_what_fails_while_a_channel_is_made_leaves_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr("actors.supervisor._channels.map_channel", _refuse)
    with pytest.raises(OSError, match="no memory"):
        bench.book.make(HOST, 5, "", joinable=False, max_deliveries=3)
    assert len(os.listdir("/proc/self/fd")) == before
    for arguments in ((-1, "", 3), (1, None, 3), (1, "", 0)):
        with pytest.raises(ProtocolError):
            bench.book.make(HOST, arguments[0], arguments[1], False, arguments[2])  # type: ignore[arg-type]
    monkeypatch.setattr("actors.supervisor._channels._MOST_PER_USER", 1)
    with pytest.raises(OSError, match="1 channels"):
        bench.book.make(HOST, 5, "", joinable=False, max_deliveries=3)


def _refuse(*_: object, **__: object) -> None:
    raise OSError("no memory")
