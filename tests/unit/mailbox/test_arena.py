from __future__ import annotations

import contextlib
import itertools
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.errors import ProtocolError, SpecError
from actors.mailbox import _arena
from actors.mailbox._arena import ArenaReader, ArenaWriter, Slot, create_arena, slot_size_for, slots_for
from actors.mailbox._arenas import Arenas
from actors.mailbox._layout import PAGE_BYTES, create_file
from tests.unit.mailbox.interrupts import interrupted_at

KIB = 1024
MIB = 1024 * KIB


@pytest.fixture
def fd() -> Iterator[int]:
    fd = create_arena(8 * KIB, 3)
    yield fd
    os.close(fd)


def read(reader: ArenaReader, slot: Slot) -> bytes:
    return reader.get(slot.slot, slot.length, slot.generation)


def release(reader: ArenaReader, slot: Slot) -> bool:
    return reader.release(slot.slot, slot.generation)


@pytest.mark.parametrize(
    ("length", "slot_bytes", "slots"),
    [
        pytest.param(0, 8 * KIB, 64, id="empty"),
        pytest.param(8 * KIB, 8 * KIB, 64, id="just-the-smallest"),
        pytest.param(8 * KIB + 1, 16 * KIB, 64, id="one-more"),
        pytest.param(100 * KIB, 128 * KIB, 32, id="100-KiB"),
        pytest.param(4 * MIB, 4 * MIB, 1, id="4-MiB"),
        pytest.param(64 * MIB, 64 * MIB, 1, id="64-MiB"),
    ],
)
def test_a_size_class_is_a_power_of_two_and_an_arena_4_mib_of_it(length: int, slot_bytes: int, slots: int) -> None:
    assert (slot_bytes, slots) == (slot_size_for(length), slots_for(slot_bytes))


def test_a_message_is_read_as_it_was_put(fd: int) -> None:
    writer, reader = ArenaWriter(7, fd), ArenaReader(fd)
    data = bytes(range(256)) * 20
    slot = writer.put(data)

    assert slot is not None
    assert Slot(7, 0, len(data), 1) == slot
    assert data == read(reader, slot)
    assert data == bytes(reader.view(slot.slot, slot.length, slot.generation))
    assert reader.view(slot.slot, slot.length, slot.generation).readonly
    assert (1, 1) == (writer.in_use(), reader.in_use())


def test_a_message_survives_its_writer(fd: int) -> None:
    writer = ArenaWriter(7, fd)
    slot = writer.put(b"x" * 5000)
    writer.close()

    assert slot is not None
    assert b"x" * 5000 == read(ArenaReader(fd), slot)


def test_a_view_lives_on_after_its_reader_was_closed(fd: int) -> None:
    slot = ArenaWriter(7, fd).put(b"abc")
    reader = ArenaReader(fd)
    assert slot is not None
    view = reader.view(slot.slot, slot.length, slot.generation)
    reader.close()

    assert b"abc" == bytes(view)


def test_a_full_arena_takes_nothing_until_a_slot_is_released(fd: int) -> None:
    writer, reader = ArenaWriter(7, fd), ArenaReader(fd)
    slots = [writer.put(b"x") for _ in range(3)]

    assert writer.put(b"x") is None
    assert slots[1] is not None
    assert release(reader, slots[1])
    assert writer.put(b"y") == Slot(7, 1, 1, 2)


def test_what_is_longer_than_a_slot_is_not_taken(fd: int) -> None:
    assert ArenaWriter(7, fd).put(bytes(8 * KIB + 1)) is None


def test_a_discarded_slot_is_free_again(fd: int) -> None:
    writer = ArenaWriter(7, fd)
    slot = writer.put(b"x")
    assert slot is not None
    writer.discard(slot)

    assert writer.in_use() == 0


def test_releasing_twice_leaves_the_next_message_alone(fd: int) -> None:
    writer, reader = ArenaWriter(7, fd), ArenaReader(fd)
    first = writer.put(b"first")
    assert first is not None
    assert release(reader, first)
    second = writer.put(b"second")
    assert second is not None

    assert not release(reader, first)
    assert b"second" == read(reader, second)


def test_a_name_of_an_earlier_message_is_refused(fd: int) -> None:
    writer, reader = ArenaWriter(7, fd), ArenaReader(fd)
    first = writer.put(b"first")
    assert first is not None
    release(reader, first)
    with pytest.raises(ProtocolError, match="free at generation 1, not 1"):
        read(reader, first)
    writer.put(b"second")

    with pytest.raises(ProtocolError, match="generation 2, not 1"):
        read(reader, first)


@pytest.mark.parametrize(
    ("slot", "length", "generation"),
    [(-1, 1, 1), (3, 1, 1), (0, -1, 1), (0, 8 * KIB + 1, 1), (0, 1, 0), (0, 1, -1), (0, 1, 1 << 70), (1 << 70, 1, 1)],
)
def test_a_name_out_of_range_is_refused(fd: int, slot: int, length: int, generation: int) -> None:
    writer, reader = ArenaWriter(7, fd), ArenaReader(fd)
    writer.put(b"x")

    with pytest.raises(ProtocolError):
        reader.get(slot, length, generation)
    with pytest.raises(ProtocolError):
        reader.view(slot, length, generation)


@pytest.mark.parametrize("slot", [-1, 3, 1 << 70])
def test_a_slot_out_of_range_is_not_released(fd: int, slot: int) -> None:
    with pytest.raises(ProtocolError):
        ArenaReader(fd).release(slot, 1)


@pytest.mark.parametrize("length", [0, 1])
def test_an_arena_of_no_slots_or_bytes_is_refused(length: int) -> None:
    with pytest.raises(SpecError):
        create_arena(length, 0)
    with pytest.raises(SpecError):
        create_arena(0, length)


def test_a_file_that_is_no_arena_is_refused() -> None:
    for size in (100, 2 * PAGE_BYTES):
        fd = create_file("no-arena", size)
        with pytest.raises(ProtocolError):
            ArenaReader(fd)
        os.close(fd)


def test_an_arena_cannot_be_truncated_by_anybody(fd: int) -> None:
    for size in (0, 1 << 20):
        with pytest.raises(PermissionError):
            os.ftruncate(fd, size)


def test_a_header_of_random_bytes_raises_nothing_but_protocol_errors() -> None:
    dice = random.Random(7)
    fd = create_arena(8 * KIB, 3)
    writer, reader = ArenaWriter(7, fd), ArenaReader(fd)
    for _ in range(2000):
        writer._data[64:128] = dice.randbytes(64)
        slot = writer.put(b"x")
        with contextlib.suppress(ProtocolError):
            reader.get(dice.randrange(4), dice.randrange(9000), dice.choice((0, 1, 1 << 62)))
        if slot is not None:
            assert b"x" == read(reader, slot)
            assert reader.release(slot.slot, slot.generation)
    os.close(fd)


# ---- a sender's arenas ---------------------------------------------------------------------------------------------


class Maker:
    """Makes arenas as the supervisor would, and keeps a reader of each."""

    def __init__(self) -> None:
        self.readers: dict[int, ArenaReader] = {}
        self.retired: list[int] = []
        self._ids = itertools.count(1)  # several threads may have one made at a time

    def __call__(self, slot_bytes: int, slots: int) -> tuple[int, int]:
        fd = create_arena(slot_bytes, slots)
        arena_id = next(self._ids)
        self.readers[arena_id] = ArenaReader(fd)
        return arena_id, fd

    def read(self, slot: Slot | None) -> bytes:
        assert slot is not None
        return read(self.readers[slot.arena_id], slot)

    def release(self, slot: Slot | None) -> None:
        assert slot is not None
        assert release(self.readers[slot.arena_id], slot)


@pytest.fixture
def maker() -> Maker:
    return Maker()


def test_each_size_class_has_arenas_of_its_own(maker: Maker) -> None:
    arenas = Arenas(maker)
    small, large = arenas.put(bytes(5000)), arenas.put(b"y" * 100_000)

    assert bytes(5000) == maker.read(small)
    assert b"y" * 100_000 == maker.read(large)
    assert [8 * KIB, 128 * KIB] == [reader.slot_bytes for reader in maker.readers.values()]


def test_a_released_slot_is_used_again_before_another_arena_is_made(maker: Maker) -> None:
    arenas = Arenas(maker)
    for _ in range(1000):
        maker.release(arenas.put(bytes(5000)))

    assert 1 == len(maker.readers)
    assert arenas.held_bytes == PAGE_BYTES + 8 * KIB


def test_another_arena_is_made_when_all_slots_are_in_use(maker: Maker) -> None:
    arenas = Arenas(maker)
    slots = [arenas.put(bytes(5000)) for _ in range(65)]

    assert None not in slots
    assert [64, 1] == [reader.in_use() for reader in maker.readers.values()]
    assert 65 == arenas.in_use()


def test_nothing_is_taken_beyond_the_bound(maker: Maker) -> None:
    arenas = Arenas(maker, bound_bytes=40 * KIB)
    slots = []
    while (slot := arenas.put(bytes(8 * KIB))) is not None:
        slots.append(slot)

    assert 4 == len(slots)
    assert arenas.held_bytes <= 40 * KIB
    maker.release(slots[2])
    assert arenas.put(bytes(8 * KIB)) is not None


def test_a_message_beyond_the_bound_is_never_taken(maker: Maker) -> None:
    assert Arenas(maker, bound_bytes=MIB).put(bytes(MIB)) is None
    assert maker.readers == {}


def test_idle_arenas_of_another_size_make_room_under_the_bound(maker: Maker) -> None:
    arenas = Arenas(maker, bound_bytes=200 * KIB, retired=maker.retired.append)
    maker.release(arenas.put(bytes(128 * KIB)))

    assert b"x" * 150_000 == maker.read(arenas.put(b"x" * 150_000))
    assert [1] == maker.retired


def test_trim_gives_up_idle_arenas_alone(maker: Maker) -> None:
    arenas = Arenas(maker, retired=maker.retired.append)
    arenas.put(bytes(5000))
    maker.release(arenas.put(bytes(50_000)))

    assert [2] == arenas.trim()
    assert [] == arenas.trim()
    assert [2] == maker.retired


def test_a_retired_arena_takes_nothing_more(maker: Maker) -> None:
    arena = ArenaWriter(*maker(8 * KIB, 2))

    assert arena.retire()
    assert arena.put(b"x") is None
    assert arena.retire()


def test_an_arena_in_use_does_not_retire_and_goes_on(maker: Maker) -> None:
    arena = ArenaWriter(*maker(8 * KIB, 2))
    slot = arena.put(b"x")

    assert not arena.retire()
    assert arena.put(b"y") == Slot(1, 1, 1, 1)
    assert slot is not None


def test_discarding_a_slot_frees_it_and_an_unknown_one_is_ignored(maker: Maker) -> None:
    arenas = Arenas(maker)
    slot = arenas.put(bytes(5000))
    assert slot is not None
    arenas.discard(slot)
    arenas.discard(Slot(99, 0, 1, 1))

    assert arenas.in_use() == 0


def test_a_failing_maker_leaves_no_arena(maker: Maker) -> None:
    def fail(slot_bytes: int, slots: int) -> tuple[int, int]:
        raise OSError(24, "Too many open files")

    arenas = Arenas(fail)
    with pytest.raises(OSError, match="Too many"):
        arenas.put(bytes(5000))

    assert arenas.held_bytes == 0


def test_no_descriptor_is_kept(maker: Maker) -> None:
    fd = maker(8 * KIB, 1)[1]
    os.close(fd)
    before = len(list(Path("/proc/self/fd").iterdir()))
    arenas = Arenas(maker)
    arenas.put(bytes(5000))
    maker.readers[2].close()
    arenas.close()
    del arenas

    assert before == len(list(Path("/proc/self/fd").iterdir()))


def test_threads_never_share_a_slot(maker: Maker) -> None:
    arenas = Arenas(maker, bound_bytes=MIB)
    wrong: list[bytes] = []

    def send(letter: bytes) -> None:
        for _ in range(300):
            slot = arenas.put(letter * 6000)
            if slot is None:
                continue
            if maker.read(slot) != letter * 6000:
                wrong.append(letter)
            maker.release(slot)

    threads = [threading.Thread(target=send, args=(letter,)) for letter in (b"a", b"b", b"c", b"d")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [] == wrong
    assert 0 == arenas.in_use()


def test_an_exception_at_any_moment_of_a_put_leaves_no_slot_taken(maker: Maker) -> None:
    arena = ArenaWriter(*maker(8 * KIB, 2))
    step = 1
    while interrupted_at(step, lambda: arena._put_into(0, b"x", 1, 0), [_arena.__file__]):
        assert 0 == arena.in_use(), step
        step += 1

    assert step > 2
    assert 1 == arena.in_use()


def test_a_put_within_a_put_never_takes_its_slot(maker: Maker) -> None:
    step = 1
    while True:
        arena_id, fd = maker(8 * KIB, 2)
        arena, reader = ArenaWriter(arena_id, fd), maker.readers[arena_id]
        os.close(fd)
        taken: list[Slot | None] = []

        def put(arena: ArenaWriter = arena, taken: list[Slot | None] = taken) -> None:
            taken.append(arena.put(bytes([len(taken)])))

        if not interrupted_at(step, put, [_arena.__file__], put):
            break
        step += 1
        slots = [slot for slot in taken if slot is not None]

        assert {b"\0", b"\1"} >= {read(reader, slot) for slot in slots}
        assert 2 == len({slot.slot for slot in slots}), step

    assert step > 5


def test_an_arena_that_retires_while_something_is_put_takes_it_or_refuses_it(maker: Maker) -> None:
    step = 1
    while True:
        arena_id, fd = maker(8 * KIB, 1)
        arena = ArenaWriter(arena_id, fd)
        os.close(fd)
        taken: list[Slot | None] = []

        def put(arena: ArenaWriter = arena, taken: list[Slot | None] = taken) -> None:
            taken.append(arena.put(b"x"))

        retired: list[bool] = []
        if not interrupted_at(step, lambda a=arena, r=retired: r.append(a.retire()), [_arena.__file__], put):  # type: ignore[misc]
            break
        step += 1

        assert [taken == [None]] == retired, step

    assert step > 3
