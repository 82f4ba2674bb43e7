"""
A channel in one process, whose users take their steps in any order that a test chooses, and die between any two.

Each user's operation runs in a thread that waits before each step until it is told to go on: one runs at a time.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from actors.mailbox import _channel_layout as at
from actors.mailbox._channel_core import ChannelCore, HeldCell, Pipe
from actors.mailbox._channel_keeper import ChannelKeeper
from actors.mailbox._channel_layout import ChannelLayout

__all__ = ["Interrupted", "Killed", "Step", "User", "World"]


class Killed(BaseException):
    """The process is no more."""


class Interrupted(BaseException):
    """A signal handler has raised."""


class Step:
    """One operation, a step at a time."""

    def __init__(self, action: Callable[[], object]) -> None:
        self._go, self._stopped = threading.Semaphore(0), threading.Semaphore(0)
        self._error: BaseException | None = None
        self._failed: BaseException | None = None
        self.begun = self.over = False
        self._action = action
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        _current.step = self
        self._go.acquire()
        try:
            self._action()
        except Killed:
            pass
        except BaseException as error:
            self._failed = error
        self.over = True
        self._stopped.release()

    def go(self, error: BaseException | None = None) -> None:
        """Let it take its next step, or raise *error* instead."""
        self.begun = True
        self._error = error
        self._go.release()
        self._stopped.acquire()
        if self.over:
            self._thread.join()
        if self._failed is not None:
            raise self._failed

    def pause(self) -> None:
        """Before a step, in its thread."""
        self._stopped.release()
        self._go.acquire()
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def finish(self) -> None:
        while not self.over:
            self.go()


class _Current(threading.local):
    step: Step | None = None


_current = _Current()


def _pause() -> None:
    if _current.step is not None:
        _current.step.pause()


class _Words:
    """Memory each use of which is a step."""

    def __init__(self, view: memoryview) -> None:
        self._view = view

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self._view[index]
        _pause()
        return self._view[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        _pause()
        self._view[index] = value


class _Queue(deque[bytes]):
    def take(self, view: memoryview) -> int | None:
        _pause()
        if not self:
            return None
        view[:] = self.popleft()
        return len(view)

    def give(self, indices: bytes) -> int:
        _pause()
        self.extend(indices[start : start + at.INDEX_BYTES] for start in range(0, len(indices), at.INDEX_BYTES))
        return len(indices)

    def slots(self) -> list[int]:
        return [int.from_bytes(index, "little") for index in self]


class World:
    """One channel, its keeper and its users."""

    def __init__(self, maxsize: int, max_deliveries: int = 1000) -> None:
        self.layout = ChannelLayout(maxsize, 70, 4096)
        self.memory = memoryview(bytearray(self.layout.mapped_bytes))
        self.free, self.full = _Queue(), _Queue()
        self.keeper = ChannelKeeper(self.core(), self._look, max_deliveries)
        self.keeper.fill()
        self.accepted: list[bytes] = []
        self.doubtful: list[bytes] = []
        self.delivered: list[bytes] = []
        self.died_with: list[bytes] = []
        self.poison = 0

    def core(self) -> ChannelCore:
        core = ChannelCore(
            self.layout, self.memory, Pipe(self.free.take, self.free.give), Pipe(self.full.take, self.full.give)
        )
        core.words, core.claims = _Words(core.words), _Words(core.claims)  # type: ignore[assignment]
        return core

    def _look(self) -> tuple[frozenset[int], frozenset[int]]:
        _pause()
        free = frozenset(self.free.slots())
        _pause()
        return free, frozenset(self.full.slots())

    def settle(self, user: User, *, in_order: bool = False) -> None:
        self.poison += self.keeper.settle([user.putting.number, user.getting.number], in_order=in_order)

    def check(self) -> None:
        """Nothing is lost, nothing comes twice, and every slot is in one place."""
        last = User(self)
        while last.get():
            pass
        last.release()
        assert last.core.unfinished() == 0
        self.keeper.settle([last.putting.number, last.getting.number], in_order=True)
        self.keeper.repay()
        assert not self.full
        assert self.keeper.excess == 0
        assert len(self.free) == self.layout.maxsize
        assert sorted([*self.free.slots(), *self.keeper._spares]) == list(range(1, self.layout.slots + 1))
        finished = sorted(self.delivered)
        assert len(finished) == len(set(finished))
        assert set(self.accepted) <= set(finished) <= {*self.accepted, *self.doubtful}


def _until_done(action: Callable[[], Any]) -> Any:
    """As a process does with its next call: what was interrupted again is finished then."""
    while True:
        try:
            return action()
        except Interrupted:
            continue


class User:
    """A process that puts and gets."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.core = world.core()
        cells = [world.keeper.lend(kind) for kind in (at.PUT, at.GET)]
        self.putting, self.getting = (self._cell(lent) for lent in cells)
        self.step: Step | None = None
        self.is_dead = False
        self.holds: bytes | None = None

    def _cell(self, lent: Any) -> HeldCell:
        return self.core.cell(lent.number, lent.identity, lent.slot, lent.count)

    def put(self, item: bytes) -> bool:
        core, cell = self.core, self.putting
        self.world.doubtful.append(item)
        try:
            core.store(cell, item)
            if core.intend(cell) and core.publish(cell):
                self.world.accepted.append(item)
                return True
            self.world.doubtful.remove(item)
            return False
        except Interrupted:
            _until_done(lambda: core.finish_put(cell))
            return False

    def get(self) -> bool:
        core, cell = self.core, self.getting
        try:
            self.release()
        except Interrupted:
            return False
        try:
            if not core.take(cell):
                return False
            start, length, beside = core.item_of(cell)
            assert beside == -1
            item = bytes(self.world.memory[start : start + length])
            core.release_place(cell)
            self.holds = item
            self.world.delivered.append(item)
        except Interrupted:
            if not _until_done(lambda: core.take_back(cell)):
                start, length, _beside = _until_done(lambda: core.item_of(cell))
                self.holds = bytes(self.world.memory[start : start + length])
                self.world.delivered.append(self.holds)
        return True

    def release(self) -> None:
        if self.holds is not None:
            self.core.done(self.getting)
            self.holds = None

    def die(self) -> None:
        """Whatever it holds goes to another, unless it was just about to be done with it."""
        cell = self.getting
        claim = self.world.memory.cast("I")[cell.claim_at]
        own = self.world.memory.cast("Q")[cell.base + at.OWN] & at.SLOT_MASK
        if self.holds is not None and claim not in {0, own}:
            self.world.delivered.remove(self.holds)
        self.is_dead = True
