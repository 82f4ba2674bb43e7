"""What a receiver holds: a slot is free when its message is settled and its last view is gone, in whichever order."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from actors.errors import ProtocolError
from actors.mailbox import _arena, _holds
from actors.mailbox._arena import ArenaReader, ArenaWriter, Slot, create_arena
from actors.mailbox._arenas import Arenas
from actors.mailbox._cargo import Cargo, Parcel
from actors.mailbox._holds import ANSWER_MARK, Holds, Lease

LOAD = bytes(range(256)) * 128


def parcel(load: bytes = LOAD) -> Parcel:
    cargo = Cargo()
    cargo.add(memoryview(load), len(load))
    return Parcel.make(b"message", cargo)


@attrs.frozen
class Pair:
    """Both ends of an arena, and what the receiver holds."""

    writer: ArenaWriter
    reader: ArenaReader
    holds: Holds

    def lease(self, slot: Slot | None = None) -> tuple[Slot, Lease]:
        taken = slot or self.writer.put(parcel())
        assert taken is not None
        return taken, self.holds.open(self.reader, 7, taken.slot, taken.generation, taken.offset)


@pytest.fixture
def pair() -> Iterator[Pair]:
    fd = create_arena(64 * 1024, 3)
    yield Pair(ArenaWriter(7, fd), ArenaReader(fd), Holds(42))
    os.close(fd)


def test_a_message_without_views_is_released_when_it_is_settled(pair: Pair) -> None:
    slot, lease = pair.lease()
    assert bytes(lease.beside or b"") == LOAD
    assert pair.reader.get(slot.slot, slot.length, slot.generation, slot.offset) == b"message"
    assert pair.reader.in_use() == 1
    lease.settle()

    assert pair.reader.in_use() == 0
    assert len(pair.holds) == 0


def test_a_view_keeps_its_slot_and_marks_it(pair: Pair) -> None:
    _slot, lease = pair.lease()
    view = lease.beside
    assert view is not None
    part = view[10:20]
    del view
    lease.settle()
    assert pair.reader.in_use() == 1
    assert bytes(part) == LOAD[10:20]
    pair.reader.release_marked(41)
    assert pair.reader.in_use() == 1
    del part

    assert pair.reader.in_use() == 0
    assert len(pair.holds) == 0


def test_a_view_that_ends_before_its_message_is_handled_releases_nothing(pair: Pair) -> None:
    _slot, lease = pair.lease()
    lease.beside = None
    assert pair.reader.in_use() == 1
    lease.settle()

    assert pair.reader.in_use() == 0


def test_the_mark_of_a_dead_receiver_frees_its_slots_alone(pair: Pair) -> None:
    _first, lease = pair.lease()
    view = lease.beside
    lease.settle()
    pair.writer.put(b"another")
    pair.reader.release_marked(42)

    assert pair.reader.in_use() == 1
    taken = pair.writer.put(b"again")
    assert taken is not None
    del view
    assert pair.reader.get(taken.slot, taken.length, taken.generation) == b"again"


def test_an_answer_keeps_the_mark_that_its_sender_gave_it(pair: Pair) -> None:
    slot = pair.writer.put(parcel(), mark=ANSWER_MARK | 5)
    _slot, lease = pair.lease(slot)
    view = lease.beside
    lease.settle(answer=True)
    pair.reader.release_marked(42)
    assert pair.reader.in_use() == 1
    pair.writer.free_marked(ANSWER_MARK | 6)
    assert pair.reader.in_use() == 1
    pair.writer.free_marked(ANSWER_MARK | 5)

    assert pair.reader.in_use() == 0
    del view


def test_the_same_message_again_is_the_same_lease(pair: Pair) -> None:
    slot, lease = pair.lease()

    assert pair.lease(slot)[1] is lease
    pair.holds.settle(7, slot.slot, slot.generation)
    pair.holds.settle(7, slot.slot, slot.generation)
    assert pair.reader.in_use() == 0


def test_what_is_not_there_is_not_held(pair: Pair) -> None:
    slot, lease = pair.lease()
    with pytest.raises(ProtocolError):
        pair.holds.open(pair.reader, 7, 2, 1, 100)
    with pytest.raises(ProtocolError):
        pair.holds.open(pair.reader, 7, slot.slot, slot.generation + 1, 100)
    lease.settle()

    assert len(pair.holds) == 0


def test_beyond_what_may_be_held_a_message_is_copied(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_holds, "HELD_BYTES", 2 * len(LOAD))
    kept: list[Any] = []
    for _ in range(3):
        _slot, lease = pair.lease()
        kept.append(lease.beside)
        lease.settle()
    assert pair.reader.in_use() == 2
    assert [bytes(view) for view in kept] == [LOAD] * 3
    kept.clear()
    _slot, lease = pair.lease()
    kept.append(lease.beside)
    lease.settle()

    assert pair.reader.in_use() == 1


def test_a_view_that_ends_after_its_arena_was_closed_hurts_nobody(pair: Pair) -> None:
    _slot, lease = pair.lease()
    view = lease.beside
    lease.settle()
    pair.reader.close()
    assert bytes(view or b"") == LOAD
    del view

    assert len(pair.holds) == 0


def test_a_copy_of_the_process_releases_nothing(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    _slot, lease = pair.lease()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    lease.settle()

    assert pair.reader.in_use() == 1


def test_the_host_marks_nothing(pair: Pair) -> None:
    holds = Holds(0)
    slot = pair.writer.put(parcel())
    assert slot is not None
    lease = holds.open(pair.reader, 7, slot.slot, slot.generation, slot.offset)
    view = lease.beside
    lease.settle()
    pair.reader.release_marked(0)  # every slot that nobody has marked

    assert pair.reader.in_use() == 0
    del view


def test_views_that_end_in_many_threads_give_every_slot_back(pair: Pair) -> None:
    def work() -> None:
        for _ in range(300):
            slot = pair.writer.put(parcel())
            if slot is not None:
                lease = pair.lease(slot)[1]
                view = lease.beside
                lease.settle()
                del view

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert pair.reader.in_use() == 0
    assert pair.holds.may_keep(1 << 40), "nothing counts as held"


# ---- memory that is given back ---------------------------------------------------------------------------------------


def test_what_was_over_is_told_from_what_never_was(pair: Pair) -> None:
    slot, lease = pair.lease()
    assert not pair.reader.is_over(slot.slot, slot.generation)
    lease.settle()

    assert pair.reader.is_over(slot.slot, slot.generation)
    assert not pair.reader.is_over(slot.slot, slot.generation + 1)
    assert not pair.reader.is_over(slot.slot, 0)
    assert not pair.reader.is_over(99, 1)


def resident(fd: int) -> int:
    """Bytes that a file takes."""
    return os.fstat(fd).st_blocks * 512


def test_free_slots_behind_the_last_one_in_use_are_cooled() -> None:
    fd = create_arena(64 * 1024, 4)
    writer, reader = ArenaWriter(7, fd), ArenaReader(fd)
    slots = [writer.put(LOAD) for _ in range(4)]
    before = resident(fd)
    for slot in (slots[0], slots[2], slots[3]):
        assert slot is not None
        reader.release(slot.slot, slot.generation)
    writer.cool()

    assert writer.in_use() == 1
    assert resident(fd) == before - 2 * len(LOAD)
    assert writer.touched_bytes == 4096 + 2 * len(LOAD)
    again = [writer.put(LOAD) for _ in range(3)]
    assert all(slot is not None and reader.get(slot.slot, len(LOAD), slot.generation) == LOAD for slot in again)
    os.close(fd)


class Looks:
    """Makes arenas, and looks when it is told to."""

    def __init__(self) -> None:
        self.retired: list[int] = []
        self.later: list[Any] = []
        self.readers: dict[int, ArenaReader] = {}

    def make(self, slot_bytes: int, slots: int) -> tuple[int, int]:
        fd = create_arena(slot_bytes, slots)
        number = len(self.readers) + 1
        self.readers[number] = ArenaReader(fd)
        return number, fd

    def arenas(self) -> Arenas:
        return Arenas(self.make, retired=self.retired.append, later=lambda _seconds, action: self.later.append(action))


def test_what_is_idle_goes_back_and_what_is_used_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = Looks()
    arenas = looks.arenas()
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    for load in (bytes(10_000), bytes(100_000)):
        slot = arenas.put(load)
        assert slot is not None
        looks.readers[slot.arena_id].release(slot.slot, slot.generation)
    assert len(looks.later) == 1
    now[0] += 4.0
    kept = arenas.put(bytes(10_000))
    now[0] += 3.0
    looks.later.pop()()

    assert looks.retired == [2]
    assert len(looks.later) == 1
    now[0] += 10.0
    looks.later.pop()()
    assert looks.retired == [2], "one that is in use stays"
    assert kept is not None
    looks.readers[1].release(kept.slot, kept.generation)
    looks.later.pop()()
    assert looks.retired == [2, 1]
    assert looks.later == []
    assert arenas.held_bytes == 0


def test_a_look_that_cannot_be_arranged_is_arranged_by_the_next_send() -> None:
    looks = Looks()
    fails = [True]

    def later(_seconds: float, action: Any) -> None:
        if fails.pop():
            raise KeyboardInterrupt
        looks.later.append(action)

    arenas = Arenas(looks.make, later=later)
    with pytest.raises(KeyboardInterrupt):
        arenas.put(b"x")
    fails.append(False)
    arenas.put(b"x")

    assert len(looks.later) == 1


class Mapping:
    """A mapping whose machine has no memory left."""

    def __init__(self, error: OSError) -> None:
        self.error = error

    def madvise(self, *_: int) -> None:
        raise self.error


def test_an_arena_that_cannot_be_mapped_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = Looks()
    arenas = looks.arenas()

    def refuse(_arena_id: int, _fd: int) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr("actors.mailbox._arenas.ArenaWriter", refuse)
    with pytest.raises(OSError, match="Cannot allocate"):
        arenas.put(LOAD)

    assert looks.retired == [1]


@pytest.mark.parametrize(("number", "says"), [(14, "no memory"), (12, "Cannot allocate")])
def test_no_memory_is_an_error_that_leaves_the_slot_free(number: int, says: str) -> None:
    looks = Looks()
    arenas = looks.arenas()
    arenas._grow(64 * 1024)
    writer = arenas._arenas[1]
    real, writer._mapping = writer._mapping, Mapping(OSError(number, os.strerror(number)))  # type: ignore[assignment]
    looks.make = lambda *_: pytest.fail("nothing is to be made")  # type: ignore[method-assign]
    with pytest.raises(OSError, match=says):
        writer.put(LOAD)
    assert writer.in_use() == 0
    assert writer.touched_bytes == 4096
    writer._mapping = real
    assert writer.put(LOAD) is not None


def test_an_old_kernel_gets_its_memory_as_it_is_written() -> None:
    looks = Looks()
    arenas = looks.arenas()
    arenas._grow(64 * 1024)
    arenas._arenas[1]._mapping = Mapping(OSError(22, "Invalid argument"))  # type: ignore[assignment]

    assert arenas.put(LOAD) is not None


def test_what_lies_idle_makes_room_where_the_machine_has_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = Looks()
    arenas = looks.arenas()
    idle = arenas.put(bytes(10_000))
    assert idle is not None
    looks.readers[1].release(idle.slot, idle.generation)
    make, tries = looks.make, []

    def refuse_once(slot_bytes: int, slots: int) -> tuple[int, int]:
        tries.append(slot_bytes)
        if len(tries) == 1:
            raise OSError(28, "No space left on device")
        return make(slot_bytes, slots)

    arenas._make = refuse_once
    assert arenas.put(bytes(100_000)) is not None
    assert looks.retired == [1]
    with pytest.raises(OSError, match="No space"):
        monkeypatch.setattr(_arena.ArenaWriter, "retire", lambda _self: False)
        tries.clear()
        arenas.put(bytes(1_000_000))
