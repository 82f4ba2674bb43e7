"""The book of a system's channels: which of them stay, and what is made of what the ended leave."""

from __future__ import annotations

import gc
import os
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn, cast

import attrs
import pytest

from actors import _descriptors
from actors._channel_sources import HostChannels
from actors._channels import Channels
from actors.errors import ChannelClosedError, SpecError
from actors.supervisor._channels import ChannelBook, ChannelFacts
from actors.supervisor._letters import DeadLetter
from tests.unit.test_channel_end import HOST, Bench, Host, Source


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.book.close()


def leave(bench: Bench, name: str, *items: object) -> ChannelFacts:
    """Fill a channel, close it and let go of it."""
    facts = bench.book.make(HOST, len(items), name, joinable=False, max_deliveries=3)
    end = bench.end(1, facts=facts)
    for item in items:
        end.put(item, 0.0)
    end.close()
    bench.book.drop(facts.number, HOST, [])
    return facts


@attrs.define(eq=False)
class Finder(Source):
    """A process that finds channels by their numbers."""

    lent: tuple[int, ...] = ()

    def find_channel(self, number: int) -> tuple[ChannelFacts, tuple[int, ...]] | None:
        facts = self.book.find(number, self.user)
        assert facts is not None
        with self.book.lent(number) as lent:
            self.lent = tuple(os.dup(one) for one in lent)
        return facts, self.lent

    def make_channel(self, *_: object, **__: object) -> NoReturn:
        raise NotImplementedError


@pytest.mark.parametrize("error", [OSError, SpecError], ids=["no memory", "too short a file"])
def test_one_that_cannot_be_mapped_has_its_descriptors_closed_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    closed: list[int] = []
    really_close = _descriptors.close

    def refuse(*_: object, **__: object) -> NoReturn:
        raise error

    def close(*descriptors: int) -> None:
        closed.extend(descriptors)
        really_close(*(one for one in descriptors if closed.count(one) == 1))

    monkeypatch.setattr("actors._channel_end.map_channel", refuse)
    finder = Finder(bench.book, (1, 1))
    channels = Channels(finder, inherit=False)
    with monkeypatch.context() as patched:
        patched.setattr("actors._descriptors.close", close)
        with pytest.raises(error):
            channels.find(bench.facts.number)
        gc.collect()

    assert [closed.count(one) for one in finder.lent] == [1, 1, 1, 1]
    assert set(bench.book._made[bench.facts.number].users) == {HOST}


def test_a_closed_channel_that_no_process_has_keeps_its_items(bench: Bench) -> None:
    facts = leave(bench, "left", 1, 2)
    end = bench.end(2, facts=facts)
    assert [end.get(0.0), end.get(0.0)] == [1, 2]
    end.held.release()
    end.let_go_if_done()
    del end

    assert bench.book.find(facts.number, HOST) is None
    assert bench.host.said == []


def test_so_many_are_kept_that_no_process_has(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.supervisor._channels._MOST_ORPHANS", 2)
    first, second = (leave(bench, name, 1, 2, 3) for name in ("first", "second"))
    bench.end(2, facts=first)  # now it is the younger one
    leave(bench, "third", 1)

    assert bench.host.said == [DeadLetter("second", "dead", 3)]
    assert bench.book.find(second.number, HOST) is None
    assert len(bench.book) == 3


def test_so_many_bytes_are_kept_and_one_channel_at_least(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.supervisor._channels._MOST_ORPHAN_BYTES", 500_000)
    leave(bench, "small", 1)
    leave(bench, "large", bytes(1_000_000))
    assert bench.host.said == [DeadLetter("small", "dead", 1)]
    leave(bench, "small again", 1)

    assert bench.host.said[1:] == [DeadLetter("large", "dead", 1)]


def test_what_is_left_in_them_is_a_dead_letter_when_the_system_ends(bench: Bench) -> None:
    leave(bench, "one", 1, 2)
    leave(bench, "two", 1)
    bench.book.free_orphans()

    assert bench.host.said == [DeadLetter("one", "dead", 2), DeadLetter("two", "dead", 1)]
    assert len(bench.book) == 1


def test_who_has_the_lock_of_a_fork_waits_for_no_other(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others hold the book's lock while they wait for that one: two that make channels would wait for each other for ever."""
    held: list[bool] = []
    lent = bench.book.lent

    def look(number: int) -> Any:
        held.append(cast("Any", _descriptors.fork_lock)._is_owned())
        return lent(number)

    monkeypatch.setattr(bench.book, "lent", look)
    cast("Any", bench.host).channel_book = bench.book
    channels = HostChannels(cast("Any", bench.host))
    _facts, made = channels.make_channel(1, "made", False, 3)
    _descriptors.close(*made)

    assert held == [False]


def mapped() -> dict[str, str]:
    """Of each mapping of a channel in this process: where it lies, and the kernel's flags of it."""
    found: dict[str, str] = {}
    place = ""
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if line.split(" ", 1)[0].count("-") == 1:  # the first line of one: from where to where
            place = line if "/memfd:actors-channel" in line else ""
        elif line.startswith("VmFlags:") and place:
            found[place] = line
    return found


@pytest.mark.parametrize("method", ["forkserver", "spawn", "fork"])
def test_no_actor_that_is_forked_keeps_the_memory_of_a_channel_of_its_host(method: str) -> None:
    before = mapped()
    host = Host()
    host.method = method
    book = ChannelBook(cast("Any", host))
    book.make(HOST, 1, "", joinable=False, max_deliveries=3)
    made = mapped().items() - before.items()
    book.close()

    assert ["dc" in flags.split() for _place, flags in made] == [method == "fork"]  # do not copy


def test_two_threads_that_find_one_at_a_time_have_the_same(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    channels, found = Channels(Finder(bench.book, (1, 1)), inherit=False), list[object]()
    other = threading.Thread(target=lambda: found.append(channels.find(bench.facts.number)))

    class Slow(weakref.KeyedRef[int, Any]):
        def __new__(cls, *args: Any) -> Any:
            if other.ident is None:
                other.start()
                other.join(0.2)  # all of it, unless it has to wait for this thread
            return super().__new__(cls, *args)

    monkeypatch.setattr(weakref, "KeyedRef", Slow)
    end = channels.find(bench.facts.number)
    other.join()

    assert found == [end]


def test_after_its_end_a_system_makes_and_lends_none_and_has_no_descriptor(bench: Bench) -> None:
    finder = Finder(bench.book, (1, 1))
    channels = Channels(finder, inherit=False)
    channels.close()
    late = channels.find(bench.facts.number)
    assert late is not None
    with pytest.raises(ChannelClosedError, match="its system has stopped"):
        late.get(None)
    bench.book.close()
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match="its system has stopped"):
        bench.book.make(HOST, 1, "late", joinable=False, max_deliveries=3)
    with pytest.raises(OSError, match="its system has stopped"), bench.book.lent(bench.facts.number):
        pass

    assert os.listdir("/proc/self/fd") == before
    assert len(bench.book) == 0
