"""
A process's end of one channel: its cells, how it waits, and where large items lie.

Any thread, and inside itself: a cell is taken for one exchange, and a call that comes in the middle of another (by a signal handler) takes
another cell. Knows bytes and nothing of how a channel came here.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import struct
import sys
import termios
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from actors import _channel_items, _descriptors
from actors._channel_held import HeldItems
from actors._channel_items import encode
from actors._channel_wait import ChannelWait
from actors.errors import (
    ChannelClosedError,
    ChannelEmptyError,
    ChannelFullError,
    CodecError,
    EncodeError,
    ProtocolError,
    StartError,
)
from actors.mailbox import _channel_layout as at
from actors.mailbox import _codec
from actors.mailbox._cargo import Parcel
from actors.mailbox._channel_core import ChannelCore, HeldCell
from actors.mailbox._lock import RLock
from actors.supervisor._channels import ChannelFacts, map_channel, open_pipe

__all__ = ["ChannelEnd", "EndSource"]

_INLINE: Final = at.INLINE_BYTES
_JOIN_SECONDS: Final = (0.0005, 0.02)
_INT: Final = struct.Struct("i")
_decode = _codec.decode  # read once for each item
_NOTHING: Final = object()
# Ends that hold an item: it is taken until it is done with, though nothing refers to the channel meanwhile.
_holding: Final[set[ChannelEnd]] = set()
_keep: Final = _holding.add


class EndSource(Protocol):
    """What a process must offer so that it can have channels."""

    def lend_cell(self, number: int, kind: int) -> tuple[int, int, int, int]:
        """Return number, identity, slot and count of a cell lent for a channel; ``OSError`` if there are no more."""
        ...

    def drop_channel(self, number: int, cells: list[int]) -> None:
        """This process has let go of a channel, and of these cells of it. Never blocks."""

    def look_later(self, seconds: float, action: Callable[[], object]) -> None:
        """Have *action* called in so many seconds, by somebody else. Never blocks."""

    def is_ending(self, *, waits: bool) -> bool:
        """Whether this process is to stop, and so takes nothing more; with *waits*: does not wait for more."""
        ...

    def standing_by(self) -> contextlib.AbstractContextManager[None]:
        """Around a wait in this thread, which is no hang."""
        ...

    def progressed(self) -> None:
        """This thread has put or got an item: it does not hang."""

    def holding(self) -> bool:
        """This thread holds an item: whether its process dies with the item not done, if it dies."""
        ...


class ChannelEnd:
    """
    One channel as this process has it.

    Args:
        facts: Of the channel.
        descriptors: Its file, the pipe of free slots, that of full ones, and the bell. They are this object's once it is made.
        source: The process.
        inherit: Whether what the user forks may have the mapping.
    """

    def __init__(self, facts: ChannelFacts, descriptors: tuple[int, ...], source: EndSource, *, inherit: bool) -> None:
        self._is_closed = True  # until this object is whole, they are the caller's to close
        self._pid = os.getpid()
        self._descriptors = descriptors
        self._source = source
        self._putting: list[HeldCell] = []
        self._getting: list[HeldCell] = []
        self.stopped = False
        self.facts = facts
        self._joinable = facts.joinable
        self._is_ending, self._holding, self._progressed = source.is_ending, source.holding, source.progressed
        # Around what uses descriptors or memory and has no busy cell that keeps them from being closed. A signal handler may come in.
        self._closing = RLock()
        self._file, self._free, self._full, self._bell = descriptors
        layout = facts.layout
        self._layout = layout
        memory = map_channel(self._file, layout, inherit=inherit)
        self._memory = memory
        self.core = ChannelCore(layout, memory, open_pipe(self._free), open_pipe(self._full))
        self.held = HeldItems(self.core, self._file)
        self._by_thread, self._release, self._done = self.held.by_thread, self.held.release, self.held.done
        # What gets that were interrupted have left: cells that hold an item, and items that were done with.
        self._late: set[HeldCell] = set()
        self._spared: deque[Any] = deque()
        self._waits = ChannelWait(self._bell)
        self._is_closed = False

    # --- put --------------------------------------------------------------------------------------------------------------

    def put(self, item: object, until: float | None) -> None:  # noqa: C901, PLR0912 - a call for each step costs
        """
        Put one item.

        Args:
            item: Any value that can travel.
            until: In ``time.monotonic()`` seconds, when to give up; None: never; 0: at once.

        Raises:
            EncodeError: It cannot travel, or is too large.
            ChannelFullError: No room in time.
            ChannelClosedError: The channel is closed.
            StartError: There is no cell for one more exchange.
        """
        try:
            message = encode(item)
        except EncodeError as error:
            raise EncodeError(f"channel {self.facts.name}: {error}", path=error.path) from error
        core = self.core
        while True:
            for cell in self._putting:
                if not cell.busy:
                    break
            else:
                self._add_cell(at.PUT, self._putting)
                continue
            # Nothing stands between the look and this at which another thread, or a signal handler, could come in.
            cell.busy = True
            break
        try:
            if self.stopped or not cell.clean:
                self.check_stopped()
                core.finish_put(cell)
            cell.clean = False
            if type(message) is bytes and len(message) <= _INLINE:
                core.store(cell, message)
            else:
                self._store_large(cell, message)
            while not (core.intend(cell) and core.publish(cell)):
                if core.is_closed:
                    raise ChannelClosedError(f"channel {self.facts.name} is closed: nothing more can be put")
                if self._source.is_ending(waits=False):
                    raise self._stopping("it waits for a place")
                self._wait(self._free, until, ChannelFullError)
            cell.clean = True
            self._progressed()
        except BaseException:
            if not self._is_closed:
                core.finish_put(cell)
            raise
        finally:
            cell.busy = False
            if self.stopped:
                self._close_if_idle()

    def _store_large(self, cell: HeldCell, message: bytes) -> None:
        counted = message.counted if isinstance(message, Parcel) else len(message)
        ahead = message.offset if isinstance(message, Parcel) else 0
        if counted > self.facts.max_bytes or ahead + len(message) > self._layout.stride:
            raise EncodeError(
                f"item for channel {self.facts.name} has {counted} bytes, more than max_message_bytes="
                f"{self.facts.max_bytes}; put less at a time, or give ActorSystem a larger bound",
                path="item",
            )
        try:
            _channel_items.write(self._file, message, self._layout.stride_at(cell.slot))
        except OSError as error:
            raise ChannelFullError(
                f"channel {self.facts.name}: the machine has no memory for an item of {counted} bytes: {error}"
            ) from error
        self.core.describe_large(cell, len(message), ahead)

    # --- get --------------------------------------------------------------------------------------------------------------

    def get(self, until: float | None) -> Any:  # noqa: C901, PLR0912 - as put
        """
        Get the next item.

        Args:
            until: As for :meth:`put`.

        Raises:
            ChannelEmptyError: Nothing came in time.
            ChannelClosedError: Nothing more will come, or this actor is to stop.
            CodecError: What came cannot be read here.
            StartError: As for :meth:`put`.
        """
        if self._by_thread and not self._joinable:
            self._release()
        if self._spared:
            # Nothing stands between these at which another thread, or a signal handler, could come in.
            item = self._spared[0]
            del self._spared[0]
            return item
        core = self.core
        while True:
            for cell in (*self._late, *self._getting) if self._late else self._getting:
                if not cell.busy:
                    break
            else:
                self._add_cell(at.GET, self._getting)
                continue
            cell.busy = True  # as in put
            break
        holds, failure, item = False, None, _NOTHING
        try:
            if self.stopped:
                self.check_stopped()
            is_late = core.claims[cell.claim_at] != 0 and not core.take_back(cell)
            while self._is_ending(waits=False) or not (is_late or core.take(cell)):
                if self._has_left_over():
                    return self.get(until)
                self._wait_for_item(until)
            try:
                item = self._read(cell)
            except CodecError as error:
                failure = error  # that it was got is true all the same
            if not is_late:
                core.release_place(cell)
            if self._late:
                self._late.discard(cell)
            self._progressed()
            holds = self._hold(cell)
            if failure is not None:
                raise failure
        except BaseException:
            if not (holds or self._is_closed):
                self._take_back(cell, item)
            raise
        finally:
            failure = None  # else it would keep this frame, and with it the channel, alive
            if not holds:
                cell.busy = False
            if self.stopped:
                self._close_if_idle()
        return item

    def _has_left_over(self) -> bool:
        """Whether another thread has left something that comes with the next get, which may be one that waits already."""
        return bool(self._spared) or any(not cell.busy for cell in tuple(self._late))

    def _take_back(self, cell: HeldCell, item: object) -> None:
        """
        After an interruption: what was got goes back, or comes with the next get of this process.

        Args:
            cell: Which has claimed it.
            item: What was read.
        """
        self.held.remove(cell)
        self.let_go_if_done()
        if item is not _NOTHING and not self.core.claims[cell.claim_at]:
            self._spared.append(item)  # done with already
        elif not self.core.take_back(cell):
            self._late.add(cell)

    def _hold(self, cell: HeldCell) -> bool:
        """Keep the item as taken until it is done with; False where nobody could be given it again anyway."""
        if not self._joinable and not self._holding():
            self._done(cell)
            return False
        self.held.add(cell)
        _keep(self)  # after that: see let_go_if_done
        return True

    def let_go_if_done(self) -> None:
        """Let this end go with the last that refers to it if this process holds no item any more."""
        if self.held.is_empty():
            _holding.discard(self)
            if not self.held.is_empty():  # another thread has got one meanwhile
                _keep(self)

    def task_done(self) -> None:
        """
        The item that this thread has got first of those it holds is done with; where it holds none, one that another holds.

        Raises:
            ValueError: Nobody in this process holds any.
        """
        try:
            found = self.held.release_first()
            self.let_go_if_done()
        finally:
            if self.stopped:
                self._close_if_idle()
        if not found:
            raise ValueError(f"task_done() called more often than items of channel {self.facts.name} were got here")

    def _read(self, cell: HeldCell) -> Any:
        start, length, ahead = self.core.item_of(cell)
        if ahead < 0:
            return _decode(self._memory[start : start + length])
        cell.large = ahead + length
        data = memoryview(_channel_items.read(self._file, cell.large, start - ahead))
        return _codec.decode(data[ahead:], beside=data[:ahead] if ahead else None)

    # --- waiting ----------------------------------------------------------------------------------------------------------

    def _wait_for_item(self, until: float | None) -> None:
        """Wait a while, or say that nothing will come."""
        if self._source.is_ending(waits=True):
            raise self._stopping("it takes nothing more from it")
        if self.core.is_closed:
            own = sum(1 for cell in self._getting if self.core.claims[cell.claim_at])
            if self.core.unfinished() <= own:
                raise ChannelClosedError(f"channel {self.facts.name} is closed, and all that was put has been got")
            if held := self.held.own():
                self._wait_with(held, until)
                return
        self._wait(self._full, until, ChannelEmptyError)

    def _wait_with(self, held: tuple[HeldCell, ...], until: float | None) -> None:
        """Wait while this thread holds items, as others may: if all do, one after the other is told that nothing will come."""
        self.core.note_waiting(held, waits=True)
        try:
            if self.core.first_waiting() in {cell.number for cell in held}:
                raise ChannelClosedError(
                    f"channel {self.facts.name} is closed, and who has what is left of it waits for more"
                )
            self._wait(self._full, until, ChannelEmptyError)
        finally:
            self.core.note_waiting(held, waits=False)

    def _wait(self, descriptor: int, until: float | None, late: type[ChannelEmptyError | ChannelFullError]) -> None:
        self.check_stopped()
        left = None if until is None else until - time.monotonic()
        if left is not None and left <= 0:
            what = "nothing came" if late is ChannelEmptyError else f"all {self.facts.maxsize} places stayed taken"
            raise late(f"channel {self.facts.name}: {what} in time")
        self._waits.until_ready(descriptor, left, self._source.standing_by, is_closed=self.core.is_closed)

    def _stopping(self, what: str) -> ChannelClosedError:
        error = ChannelClosedError(f"channel {self.facts.name}: this actor is to stop, and {what}")
        error.stopping = True
        return error

    def check_stopped(self) -> None:
        """
        Return if the system runs.

        Raises:
            ChannelClosedError: It has stopped.
        """
        if self.stopped:
            raise ChannelClosedError(f"channel {self.facts.name}: its system has stopped")

    def join(self, until: float | None) -> bool:
        """Wait until everything that was put is done with; False if it was not in time."""
        seconds, longest = _JOIN_SECONDS
        while self._unfinished() > 0:
            if self._is_ending(waits=True):
                raise self._stopping("it waits for others")
            left = seconds if until is None else min(seconds, until - time.monotonic())
            if left <= 0:
                return False
            with self._source.standing_by():
                select.select([], [], [], left)
            seconds = min(longest, 2 * seconds)
        return True

    def _unfinished(self) -> int:
        with self._closing:
            self.check_stopped()
            return self.core.unfinished()

    # --- the rest ---------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Have nothing more put; wake all who wait."""
        with self._closing:
            self.check_stopped()
            self.core.close()
            self._ring()

    @property
    def is_closed(self) -> bool:
        """Whether nothing more can be put."""
        with self._closing:
            return self.stopped or self.core.is_closed

    def stop(self) -> None:
        """The system has stopped: whoever waits is told, and what this process has of the channel goes."""
        with self._closing:
            self.stopped = True
            _holding.discard(self)
            if not self._is_closed:
                self._ring()
                self._close_if_idle()

    def _close_if_idle(self) -> None:
        """Close everything, unless a thread is in the middle of something: then it does so when it is through."""
        with self._closing:
            held = self.held.numbers()
            if any(cell.busy and cell.number not in held for cell in (*self._putting, *self._getting)):
                return
            if not self._is_closed:
                self._is_closed = True
                self.core.release((*self._putting, *self._getting))
                _descriptors.close(*self._descriptors)

    def _ring(self) -> None:
        """Wake all who wait."""
        with contextlib.suppress(BlockingIOError):  # somebody has rung too often
            os.eventfd_write(self._bell, 1)

    def qsize(self) -> int:
        """How many items stand in the channel."""
        with self._closing:
            self.check_stopped()
            (count,) = _INT.unpack(fcntl.ioctl(self._full, termios.FIONREAD, bytes(_INT.size)))
        return int(count) // at.INDEX_BYTES

    def _add_cell(self, kind: int, cells: list[HeldCell]) -> None:
        """Have one cell more, which anybody may take."""
        try:
            number, identity, slot, count = self._source.lend_cell(self.facts.number, kind)
        except OSError as error:
            raise StartError(str(error)) from error
        if not 0 <= number < self._layout.cells:
            raise ProtocolError(f"channel {self.facts.name}: a cell {number}")
        with self._closing:
            self.check_stopped()
            cells.append(self.core.cell(number, identity, slot, count))

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        # At the end of a process the kernel closes everything, and the supervisor takes back what is still taken.
        if self._is_closed or is_finalizing() or os.getpid() != self._pid:
            return
        self._is_closed = True
        _descriptors.close(*self._descriptors)
        if not self.stopped:
            with contextlib.suppress(Exception):  # as the interpreter ends, what is called here may be gone by parts
                cells = [cell.number for cell in (*self._putting, *self._getting)]
                self._source.drop_channel(self.facts.number, cells)
