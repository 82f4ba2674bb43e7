"""
The channels of a system: their files, pipes and keepers, and who has a hand in them.

A channel stays until it is closed, no process has it any more and nothing stands in it. One that is closed and has items, and that no process
has, is an *orphan*: it may be named by a message on its way, or belong to an actor that is restarted. So many of them are kept.
Any thread may make, find and lend; the pump alone takes back.
"""

from __future__ import annotations

import array
import contextlib
import errno
import functools
import itertools
import os
import sys
from collections.abc import Collection, Iterator
from mmap import MADV_DONTFORK, mmap
from typing import TYPE_CHECKING, Any

import attrs

from actors import _descriptors
from actors.errors import ProtocolError, SpecError
from actors.mailbox import _channel_layout as at
from actors.mailbox._channel_core import ChannelCore, Pipe
from actors.mailbox._channel_keeper import ChannelKeeper
from actors.mailbox._channel_layout import ChannelLayout
from actors.mailbox._inbox import make_inbox, pipe_capacity
from actors.mailbox._layout import create_file
from actors.mailbox._lock import RLock
from actors.supervisor._letters import DeadLetter

if TYPE_CHECKING:
    from actors._host import Host

__all__ = ["ChannelBook", "ChannelFacts", "close_file", "map_channel", "open_pipe", "reopen_both"]

User = tuple[int, int]
"""A uid and an incarnation; zeros for the host."""

_MOST_PER_USER = 1024
_MOST_CELLS_PER_USER = 1024
_MOST_DELIVERIES = 1_000_000
# Channels that are closed, and that no process has, but items are left in: so many, of so many bytes, one at least.
_MOST_ORPHANS = 128
_MOST_ORPHAN_BYTES = 256 << 20
_REPAY_SECONDS = 0.05
_SPLICE_F_NONBLOCK = 2
_libc: Any = None


@attrs.frozen
class ChannelFacts:
    """
    What does not change about a channel.

    Attributes:
        number: Which, unique in the system.
        name: What errors and the log call it.
        maxsize: Most items that stand in it.
        cells: Most consumers and producers.
        stride: Bytes that a large item takes at most.
        joinable: Whether an item is held until ``task_done``.
        max_bytes: The largest item.
    """

    number: int
    name: str
    maxsize: int
    cells: int
    stride: int
    joinable: bool
    max_bytes: int

    @property
    def layout(self) -> ChannelLayout:
        """Where everything lies."""
        return ChannelLayout(self.maxsize, self.cells, self.stride)


@attrs.define
class _Uses:
    """What one process has of a channel: as often as it has asked for it, and its cells."""

    count: int = 0
    cells: set[int] = attrs.Factory(set)


@attrs.define(eq=False)
class _Made:
    facts: ChannelFacts
    file: int
    free: int
    full: int
    bell: int
    maker: User
    keeper: ChannelKeeper
    users: dict[User, _Uses] = attrs.Factory(dict)

    def close(self) -> None:
        _descriptors.close(self.file, self.free, self.full, self.bell)


class ChannelBook:
    """
    The channels of one system.

    Args:
        host: Everything the system shares.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._made: dict[int, _Made] = {}
        self._orphans: dict[int, int] = {}  # with their bytes, the oldest first
        self._numbers = itertools.count(1)
        self._lock = RLock()
        self._scratch: tuple[int, int] | None = None
        self._repaying = False
        self._is_over = False

    def __len__(self) -> int:
        return len(self._made)

    def make(self, user: User, maxsize: int, name: str, joinable: bool, max_deliveries: int) -> ChannelFacts:
        """
        Make one for its first user.

        Args:
            user: Who.
            maxsize: Most items; 0 for as many as are usual.
            name: For errors and the log; its number where that is empty.
            joinable: Whether an item is held until ``task_done``.
            max_deliveries: To how many consumers an item is given at most that each died with it.

        Raises:
            ProtocolError: Something out of range, for which no sender of ours asks.
            SpecError: The pipes that this user gets are too small.
            OSError: The machine refused, or they would be too many.
        """
        if type(maxsize) is not int or not 0 <= maxsize <= at.MOST_MAXSIZE or not isinstance(name, str):
            raise ProtocolError(f"a channel of {maxsize!r:.40} items, named {name!r:.80}")
        if type(max_deliveries) is not int or not 1 <= max_deliveries <= _MOST_DELIVERIES:
            raise ProtocolError(f"a channel with max_deliveries={max_deliveries!r:.40}")
        with self._lock:
            if self._is_over:
                raise OSError(errno.ESHUTDOWN, "its system has stopped")
            if sum(made.maker == user for made in self._made.values()) >= _MOST_PER_USER:
                raise OSError(errno.EMFILE, f"{_MOST_PER_USER} channels are what one process may make")
            number = next(self._numbers)
            made = self._make(user, number, maxsize, name[:200] or f"channel-{number}", bool(joinable), max_deliveries)
            made.users[user] = _Uses(1)
            self._made[number] = made
        return made.facts

    def _make(self, user: User, number: int, maxsize: int, name: str, joinable: bool, max_deliveries: int) -> _Made:
        wanted = at.pipe_bytes_for(maxsize)
        opened: list[int] = []
        try:
            with _descriptors.fork_lock:
                opened.append(_make_pipe(wanted))
                opened.append(_make_pipe(wanted))
                opened.append(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
                size = min(pipe_capacity(opened[0]), pipe_capacity(opened[1]), self._scratch_bytes(wanted))
                layout = ChannelLayout.plan(maxsize, size, self._host.max_bytes)
                opened.append(create_file("actors-channel", layout.file_bytes))
                _descriptors.own(*opened)
            free, full, bell, file = opened
            # As whatever the host maps: a forked actor would keep all of the file for as long as it lives.
            memory = map_channel(file, layout, inherit=self._host.method != "fork")
            core = ChannelCore(layout, memory, open_pipe(free), open_pipe(full))
            keeper = ChannelKeeper(core, functools.partial(self._look, free, full), max_deliveries)
            keeper.fill()
        except BaseException:
            _descriptors.close(*opened)
            raise
        facts = ChannelFacts(number, name, layout.maxsize, layout.cells, layout.stride, joinable, self._host.max_bytes)
        return _Made(facts, file, free, full, bell, user, keeper)

    def _scratch_bytes(self, wanted: int) -> int:
        """Size of the pipe into which the others are looked, made as large as they may be."""
        if self._scratch is None or pipe_capacity(self._scratch[0]) < wanted:
            with _descriptors.fork_lock:
                read_end, write_end = make_inbox(wanted)
                _descriptors.own(read_end, write_end)
            _descriptors.close(*(self._scratch or ()))
            self._scratch = read_end, write_end
        return pipe_capacity(self._scratch[0])

    def find(self, number: int, user: User) -> ChannelFacts | None:
        """Note a user of a channel; None if there is no such channel any more."""
        with self._lock:
            made = self._made.get(number)
            if made is None:
                return None
            self._orphans.pop(number, None)
            made.users.setdefault(user, _Uses()).count += 1
            return made.facts

    @contextlib.contextmanager
    def lent(self, number: int) -> Iterator[tuple[int, int, int, int]]:
        """
        The file, the pipe of free slots, that of full ones, and the bell, for one user: its pipes are open files of their own.

        Raises:
            OSError: The machine refused, or the system has stopped meanwhile.
        """
        with self._lock:
            made = self._made.get(number)
            if made is None:
                raise OSError(errno.ESHUTDOWN, "its system has stopped")
            pipes: list[int] = []
            try:
                with _descriptors.fork_lock:
                    for pipe in (made.free, made.full):
                        pipes.append(reopen_both(pipe))
                        _descriptors.own(pipes[-1])
                yield (made.file, *pipes, made.bell)  # type: ignore[misc]
            finally:
                _descriptors.close(*pipes)

    def discard(self, number: int) -> None:
        """Take one back that nobody has been told of."""
        with self._lock:
            made = self._made.pop(number, None)
            if made is not None:
                made.close()

    def lend(self, number: int, user: User, kind: int) -> tuple[int, int, int, int]:
        """
        Lend a cell to a user.

        Returns:
            Number, identity, slot and count.

        Raises:
            ProtocolError: It is no user of that channel, or no such kind is known.
            OSError: There are no more.
        """
        with self._lock:
            made = self._made.get(number)
            if made is None or user not in made.users or kind not in {at.PUT, at.GET}:
                raise ProtocolError(f"channel {number!r} is not in use by {user}, or has no cells of kind {kind!r}")
            cells = made.users[user].cells
            if len(cells) >= _MOST_CELLS_PER_USER:
                raise OSError(
                    f"channel {made.facts.name}: this process holds {len(cells)} of its items, or is putting and getting as many; "
                    "say task_done() of some first"
                )
            lent = made.keeper.lend(kind)
            if lent is None:
                raise OSError(
                    f"channel {made.facts.name}: all its consumers and producers hold {made.facts.cells} items, or are putting "
                    "and getting as many; say task_done() of some first"
                )
            cells.add(lent.number)
            return lent.number, lent.identity, lent.slot, lent.count

    def totals(self) -> dict[int, tuple[int, int]]:
        """Of each channel: how many items were put into it so far, and how many of them are done with."""
        with self._lock:
            return {number: made.keeper.core.totals() for number, made in self._made.items()}

    # --- in the pump's thread ---------------------------------------------------------------------------------------------

    def drop(self, number: int, user: User, cells: Collection[int]) -> None:
        """A user lets go of a channel, as often as it has asked for it, and of these cells. Harmless where it is no user."""
        with self._lock:
            made = self._made.get(number)
            uses = None if made is None else made.users.get(user)
            if made is None or uses is None:
                return
            own = uses.cells.intersection(cells)
            uses.cells -= own
            uses.count -= 1
            if uses.count <= 0:
                own |= uses.cells
                del made.users[user]
            self._settle(made, own, in_order=True)

    def forget(self, user: User, *, in_order: bool) -> None:
        """
        A process has ended: what it had claimed goes back, and an item that it held to another consumer.

        Args:
            user: The process.
            in_order: Whether it was asked to end: then it does not count as one that has died with the item.
        """
        with self._lock:
            for made in list(self._made.values()):
                uses = made.users.pop(user, None)
                if uses is not None:
                    self._settle(made, uses.cells, in_order=in_order)

    def _settle(self, made: _Made, cells: Collection[int], *, in_order: bool) -> None:
        poison = 0
        try:
            poison = made.keeper.settle(cells, in_order=in_order)
        except (ProtocolError, OSError, ValueError, LookupError, OverflowError) as error:
            # Whatever a child wrote there: it can spoil this channel, and nothing else.
            self._host.log("error", "actors.channel_spoiled", name=made.facts.name, reason=str(error))
        if poison:
            self._host.letters.take(DeadLetter(made.facts.name, "poison", poison, None, 0))
        if made.keeper.core.is_closed and not made.users:
            self._leave(made)
        elif made.keeper.excess:
            self._repay_later()

    def _leave(self, made: _Made) -> None:
        """Nothing more can be put, and no process has it: it goes, or stays for who is told of it later."""
        if not self._snapshot(made.full):
            self._free(made)
            return
        self._orphans[made.facts.number] = os.fstat(made.file).st_blocks * 512
        while len(self._orphans) > 1 and (
            len(self._orphans) > _MOST_ORPHANS or sum(self._orphans.values()) > _MOST_ORPHAN_BYTES
        ):
            self._free(self._made[next(iter(self._orphans))])

    def _free(self, made: _Made) -> None:
        """Nothing more can be put, and nobody will get what is left."""
        self._orphans.pop(made.facts.number, None)
        left = min(max(0, made.keeper.core.unfinished()), made.facts.layout.slots)
        if left:
            self._host.letters.take(DeadLetter(made.facts.name, "dead", left, None, 0))
        self._made.pop(made.facts.number, None)
        made.close()

    def _repay_later(self) -> None:
        if not self._repaying:
            self._repaying = True
            self._host.pump.after(_REPAY_SECONDS, self._repay)

    def _repay(self) -> None:
        self._repaying = False
        with self._lock:
            for made in self._made.values():
                made.keeper.repay()
            if any(made.keeper.excess for made in self._made.values()):
                self._repay_later()

    def _look(self, free: int, full: int) -> tuple[frozenset[int], frozenset[int]]:
        return self._snapshot(free), self._snapshot(full)

    def _snapshot(self, pipe: int) -> frozenset[int]:
        """What stands in a pipe at one moment; nothing is taken out."""
        assert self._scratch is not None
        read_end, write_end = self._scratch
        data = os.read(read_end, count) if (count := _tee(pipe, write_end)) else b""
        return frozenset(array.array("I", data[: len(data) // at.INDEX_BYTES * at.INDEX_BYTES]))

    # --- the end ----------------------------------------------------------------------------------------------------------

    def free_orphans(self) -> None:
        """The system ends: what stands in a closed channel that no process has is got by nobody."""
        with self._lock:
            for number in tuple(self._orphans):
                self._free(self._made[number])

    def close(self) -> None:
        """Give everything back."""
        with self._lock:
            self._is_over = True
            for made in self._made.values():
                made.close()
            self._made.clear()
            _descriptors.close(*(self._scratch or ()))
            self._scratch = None


def map_channel(file: int, layout: ChannelLayout, *, inherit: bool) -> memoryview:
    """
    The part of a channel's file that is mapped.

    Raises:
        SpecError: The file is shorter than that.
        OSError: No memory.
    """
    if os.fstat(file).st_size < layout.mapped_bytes:
        raise SpecError("the file of a channel is too short")
    options: dict[str, Any] = {"trackfd": False} if sys.version_info >= (3, 13) else {}
    mapping = mmap(file, layout.mapped_bytes, **options)
    if not inherit:
        mapping.madvise(MADV_DONTFORK)
    return memoryview(mapping)


def close_file(file: int) -> None:
    """Close a channel whose file cannot be mapped here, as :meth:`ChannelCore.close` does."""
    os.pwrite(file, (1).to_bytes(8, sys.byteorder), at.CLOSED * 8)


def open_pipe(descriptor: int) -> Pipe:
    """The reads and writes of a pipe, each one call into C. Whoever has opened it closes it."""
    # A read that finds nothing is None here, where os.readv would raise.
    raw = open(descriptor, "rb", buffering=0, closefd=False)  # noqa: SIM115 - owns nothing
    return Pipe(raw.readinto, functools.partial(os.write, descriptor))


def reopen_both(descriptor: int) -> int:
    """Both ends of a pipe as one descriptor, an open file of its own, non-blocking."""
    return os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)


def _make_pipe(size: int) -> int:
    read_end, write_end = make_inbox(size)
    try:
        return reopen_both(read_end)
    finally:
        os.close(read_end)
        os.close(write_end)


def _tee(source: int, target: int) -> int:
    import ctypes  # noqa: PLC0415 - only for who has a channel whose user has died

    global _libc  # noqa: PLW0603 - found once
    if _libc is None:
        _libc = ctypes.CDLL(None, use_errno=True)
    count = int(_libc.tee(source, target, pipe_capacity(source), _SPLICE_F_NONBLOCK))
    if count >= 0:
        return count
    code = ctypes.get_errno()
    if code == errno.EAGAIN:
        return 0
    raise OSError(code, os.strerror(code))
