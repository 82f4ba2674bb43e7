"""Channels: the memory, the steps, and what is made of what the dead leave."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.errors import ProtocolError, SpecError
from actors.mailbox import _channel_layout as at
from actors.mailbox._channel_cells import Cell, Whereabouts
from actors.mailbox._channel_core import ChannelCore, Pipe, pack_index
from actors.mailbox._channel_keeper import ChannelKeeper
from actors.mailbox._channel_layout import ChannelLayout
from tests.unit.mailbox.channel_world import Interrupted, Killed, Step, User, World

KIB = 1024
MIB = KIB * KIB
FREE, SETTLE, KILL, INTERRUPT, PUT, GET = range(6)


class History:
    """Users of one world, whose operations stand open at any step."""

    def __init__(self, maxsize: int) -> None:
        self.world = World(maxsize)
        self.users = [User(self.world) for _ in range(4)]
        self._settling: list[Step] = []
        self._number = 0

    def take(self, number: int, what: int, steps: int) -> None:
        """Let one user go on by so many steps, or die, or be interrupted; or the supervisor go on with what is left of the dead."""
        user = self.users[number]
        if what == SETTLE:
            for _ in range(steps):
                self._settle_on()
        elif what == KILL:
            self._kill(number, user)
        elif user.step is not None and what == INTERRUPT:
            self._go(user, Interrupted())
        else:
            for _ in range(steps):
                if user.step is None:
                    self._begin(user, what)
                self._go(user)

    def _begin(self, user: User, what: int) -> None:
        self._number += 1
        item = f"{self._number}".encode()
        user.step = Step(user.get if what in {GET, INTERRUPT} else lambda: user.put(item))

    def _go(self, user: User, error: BaseException | None = None) -> None:
        assert user.step is not None
        user.step.go(error)
        if user.step.over:
            user.step = None

    def _settle_on(self) -> None:
        if self._settling:
            self._settling[0].go()
            if self._settling[0].over:
                self._settling.pop(0)

    def _kill(self, number: int, user: User) -> None:
        if user.step is not None:
            self._go(user, Killed())
            user.die()
            if self._settling and self._settling[0].begun:
                # The supervisor lends and takes back one at a time.
                self._settling.pop(0).finish()
            self.users[number] = User(self.world)
            self._settling.append(Step(lambda: self.world.settle(user)))

    def end(self) -> None:
        """Let everybody come to an end."""
        for user in self.users:
            while user.step is not None:
                self._go(user)
        while self._settling:
            self._settle_on()
        for user in self.users:
            user.release()
            self.world.settle(user, in_order=True)


MOVES = st.tuples(
    st.integers(0, 3), st.sampled_from([SETTLE, KILL, INTERRUPT, PUT, PUT, PUT, GET, GET, GET]), st.integers(1, 12)
)


@settings(max_examples=100, deadline=None)
@given(moves=st.lists(MOVES, min_size=5, max_size=40), maxsize=st.integers(1, 3))
def test_whoever_dies_at_any_step_nothing_is_lost_and_nothing_comes_twice(
    moves: list[tuple[int, int, int]], maxsize: int
) -> None:
    history = History(maxsize)
    for move in moves:
        history.take(*move)
    history.end()
    history.world.check()


@settings(max_examples=25, deadline=None)
@given(moves=st.lists(MOVES, min_size=5, max_size=25), maxsize=st.integers(1, 3))
def test_what_one_has_put_comes_in_its_order_where_nobody_dies(moves: list[tuple[int, int, int]], maxsize: int) -> None:
    history = History(maxsize)
    putter, getter = history.users[:2]
    for _user, what, steps in moves:
        history.take(0 if what == PUT else 1, PUT if what == PUT else GET, steps)
    for user in (putter, getter):
        while user.step is not None:
            history.take(history.users.index(user), FREE, 1)
    while getter.get():
        pass
    assert history.world.delivered == history.world.accepted


@pytest.mark.parametrize("what", [PUT, GET], ids=["put", "get"])
@pytest.mark.parametrize("error", [Killed, Interrupted], ids=["killed", "interrupted again"])
def test_who_is_interrupted_and_then_killed_or_interrupted_loses_nothing(what: int, error: type[BaseException]) -> None:
    for first in range(14):
        for second in range(14):
            history = History(2)
            user = history.users[0]
            assert history.users[1].put(b"before")
            history.take(0, what, first)
            if user.step is None:
                continue
            history.take(0, INTERRUPT, 1)
            for _ in range(second):
                if user.step is not None:
                    history.take(0, FREE, 1)
            if user.step is not None:
                history.take(0, KILL if error is Killed else INTERRUPT, 1)
            history.end()
            history.world.check()


def test_an_item_that_many_died_of_is_done_with() -> None:
    world = World(2, max_deliveries=2)
    giver = User(world)
    assert giver.put(b"poison")
    for expected in (0, 1):
        user = User(world)
        assert user.get()
        assert user.core.unfinished() == 1
        world.delivered.clear()
        world.settle(user)
        assert world.poison == expected
    assert giver.core.unfinished() == 0
    assert not User(world).get()
    world.keeper.repay()
    assert len(world.free) == 2


def test_what_a_consumer_held_that_ended_in_order_comes_again_and_nobody_has_died_with_it() -> None:
    world = World(2, max_deliveries=1)
    giver = User(world)
    assert giver.put(b"item")
    for _ in range(3):
        user = User(world)
        assert user.get()
        user.die()
        world.settle(user, in_order=True)
        assert giver.core.unfinished() == 1
    assert world.poison == 0
    user = User(world)
    assert user.get()
    world.settle(user)

    assert world.poison == 1
    assert not world.full


def test_all_that_one_process_held_is_found_by_one_look_however_much_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(20)
    giver = User(world)
    for number in range(20):
        assert giver.put(b"%d" % number)
    core, held = world.core(), []
    for number in range(20):
        lent = world.keeper.lend(at.GET)
        assert lent is not None
        held.append(core.cell(lent.number, lent.identity, lent.slot, lent.count))
        assert core.take(held[-1])
        if number % 2:
            core.release_place(held[-1])
        if number % 3 == 0:
            core.done(held[-1])
    look, looks = world.keeper._look, list[Any]()

    def count() -> Any:
        looks.append(look())
        return looks[-1]

    monkeypatch.setattr(world.keeper, "_look", count)
    world.keeper.settle([cell.number for cell in held], in_order=False)
    world.settle(giver)

    assert len(looks) == 1
    assert world.keeper.excess == 7
    last = User(world)
    got = set()
    while last.get():
        got.add(last.holds)
    assert got == {b"%d" % number for number in range(20) if number % 3}


def test_what_a_consumer_was_done_with_before_it_ended_does_not_come_again() -> None:
    for in_order in (True, False):
        world = World(2)
        user = User(world)
        assert user.put(b"item")
        assert user.get()
        user.release()
        world.settle(user, in_order=in_order)
        world.check()


def test_nothing_can_be_put_into_what_is_closed() -> None:
    world = World(2)
    user = User(world)
    assert user.put(b"item")
    assert user.core.is_closed is False
    user.core.close()

    assert [user.core.is_closed] == [True]
    assert not user.put(b"late")
    assert user.core.unfinished() == 1


def test_cells_are_lent_as_long_as_there_are_any() -> None:
    world = World(1)
    lent = [world.keeper.lend(at.PUT) for _ in range(world.layout.cells)]
    assert None not in lent
    assert world.keeper.lend(at.PUT) is None
    assert lent[3] is not None
    world.keeper.settle([lent[3].number], in_order=False)

    assert world.keeper.lend(at.GET) is None  # a cell counts items put, or items done, for ever
    again = world.keeper.lend(at.PUT)
    assert again is not None
    assert again.number == lent[3].number
    assert again.identity > lent[3].identity


def test_one_of_those_who_wait_with_all_that_is_left_is_the_first() -> None:
    world = World(3)
    users = [User(world) for _ in range(3)]
    for user, item in zip(users, (b"1", b"2", b"3"), strict=True):
        assert user.put(item)
        assert user.get()
    core = users[0].core
    assert core.first_waiting() == -1
    for user in users:
        assert core.first_waiting() == -1
        user.core.note_waiting([user.getting], waits=True)
    assert core.first_waiting() == users[0].getting.number

    users[0].core.note_waiting([users[0].getting], waits=False)
    assert core.first_waiting() == -1  # it works on its item
    users[0].release()
    assert core.first_waiting() == users[1].getting.number
    users[1].die()
    world.settle(users[1])
    assert core.first_waiting() == -1  # its item stands in the channel
    assert users[0].get()
    users[0].release()
    users[2].release()
    assert core.first_waiting() == -1


@pytest.mark.parametrize(("word", "value"), [(at.OWN, 0), (at.OWN, (1 << 64) - 1), (at.CLAIM, 1 << 20)])
def test_a_cell_that_was_written_over_is_left_alone(word: int, value: int) -> None:
    world = World(2)
    user = User(world)
    world.memory.cast("Q")[user.putting.base + word] = value
    world.settle(user)

    assert len(world.free) == 2
    assert user.putting.slot not in world.keeper._spares


def test_a_pipe_that_was_written_into_gives_no_slot_that_there_is_not() -> None:
    world = World(2)
    world.free.appendleft(pack_index(10_000))
    world.free.appendleft(pack_index(0))
    world.keeper.excess = 2
    spares = list(world.keeper._spares)
    world.keeper.repay()
    assert (world.keeper.excess, world.keeper._spares) == (0, spares)

    user = User(world)
    world.free.appendleft(pack_index(10_000))
    with pytest.raises(ProtocolError, match="slot 10000 of 72"):
        user.put(b"item")


def test_the_length_of_an_item_is_a_claim() -> None:
    world = World(2)
    user = User(world)
    assert user.put(b"item")
    words = world.memory.cast("Q")
    slot = int.from_bytes(world.full[0], "little")
    assert user.core.take(user.getting)
    for length, beside in ((at.INLINE_BYTES + 1, 0), (1 << 63, 1 << 63), (4096 | at.LARGE_FLAG, 100)):
        words[world.layout.slot_word(slot) + at.LENGTH] = length
        words[world.layout.slot_word(slot) + at.BESIDE] = beside
        with pytest.raises(ProtocolError, match=f"an item of {length & at.LENGTH_MASK} "):
            user.core.item_of(user.getting)


def test_a_large_item_is_described_by_where_it_lies() -> None:
    world = World(2)
    user = User(world)
    slot = user.putting.slot
    user.core.describe_large(user.putting, 30, 64)
    assert user.core.intend(user.putting)
    assert user.core.publish(user.putting)
    assert user.core.take(user.getting)

    assert user.core.item_of(user.getting) == (world.layout.stride_at(slot) + 64, 30, 64)


def test_what_was_got_and_has_given_its_place_away_is_held_on() -> None:
    world = World(1)
    user = User(world)
    assert user.put(b"item")
    assert user.core.take(user.getting)
    user.core.release_place(user.getting)
    assert user.core.take_back(user.getting) is False
    user.core.done(user.getting)
    assert user.core.take_back(user.getting) is True


def test_a_large_channel_is_filled_by_few_writes_each_of_which_a_pipe_takes_whole() -> None:
    layout = ChannelLayout(3 * at.PER_PAGE + 1, 64, 4096)
    written: list[bytes] = []

    def write(data: bytes) -> int:
        written.append(data)
        return len(data)

    pipe = Pipe(lambda _view: None, write)
    ChannelKeeper(
        ChannelCore(layout, memoryview(bytearray(layout.mapped_bytes)), pipe, pipe), lambda: ((), ()), 3
    ).fill()

    assert [len(data) for data in written] == [4096, 4096, 4096, at.INDEX_BYTES]
    assert b"".join(written) == b"".join(map(pack_index, range(1, layout.maxsize + 1)))


def test_memory_that_is_let_go_of_can_be_closed() -> None:
    layout = ChannelLayout(2, 64, 4096)
    memory = bytearray(layout.mapped_bytes)
    none = Pipe(lambda _view: None, len)
    core = ChannelCore(layout, memoryview(memory), none, none)
    keeper = ChannelKeeper(core, lambda: ((), ()), 3)
    keeper.fill()
    lent = keeper.lend(at.PUT)
    assert lent is not None
    cell = core.cell(lent.number, lent.identity, lent.slot, lent.count)
    core.release([cell])

    memory.clear()  # refuses while anything refers to it


def test_a_slot_is_looked_for_where_it_may_be() -> None:
    for free, full, claims, stamp, left in (
        ({1}, (), (), 7, True),
        ((), {1}, (), 7, True),
        ((), (), {1}, 7, True),
        ((), (), (), 8, True),
        ({2}, {3}, {4}, 7, False),
    ):
        assert Whereabouts(free, full, claims, lambda _slot, stamp=stamp: stamp).has_left(1, 7) is left  # type: ignore[misc]


def test_a_cell_is_read_with_what_stands_in_it() -> None:
    own = 5 << at.COUNT_SHIFT | 3
    assert Cell.read(9, own, 0, 5, 10) == Cell(9, 3, 5, 0)
    assert Cell.read(9, own, 4, at.RETURNING, 10) == Cell(9, 3, 5, 4, returning=True)
    assert Cell.read(9, own, 11, 5, 10) is None


# --- the layout -------------------------------------------------------------------------------------------------------------


def test_parts_of_the_memory_do_not_overlap() -> None:
    layout = ChannelLayout.plan(1000, at.pipe_bytes_for(1000), 64 * MIB)
    assert (layout.maxsize, layout.cells, layout.slots) == (1000, 4096, 5096)
    assert layout.cell_word(0) * 8 == 4096
    assert (layout.cell_word(layout.cells - 1) + at.CELL_WORDS) * 8 <= layout.slots_at == layout.slot_word(1) * 8
    assert layout.slot_word(layout.slots) * 8 + at.SLOT_BYTES <= layout.mapped_bytes == layout.stride_at(1)
    assert layout.stride_at(layout.slots) + layout.stride == layout.file_bytes
    assert layout.stride > 64 * MIB


def test_pipes_hold_every_slot_there_is() -> None:
    for maxsize in (1, 1000, 8192, at.MOST_MAXSIZE):
        size = at.pipe_bytes_for(maxsize)
        layout = ChannelLayout.plan(maxsize, size, MIB)
        assert layout.slots <= at.capacity_of(size)
        assert size <= MIB
    assert ChannelLayout.plan(0, at.pipe_bytes_for(0), MIB).maxsize == 8192


def test_small_pipes_make_a_small_channel_or_say_so() -> None:
    assert ChannelLayout.plan(0, 8 * KIB, MIB).maxsize == 512
    assert ChannelLayout.plan(961, 8 * KIB, MIB).cells == 64
    with pytest.raises(SpecError, match="enough for 961 at most"):
        ChannelLayout.plan(962, 8 * KIB, MIB)
    with pytest.raises(SpecError, match="enough for 0 at most"):
        ChannelLayout.plan(0, 4 * KIB, MIB)
