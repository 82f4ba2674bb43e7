"""
The actors that the tests of large data start: they keep what they are given, give what they are asked for, and lie about where it is.

A module of its own, so that a child process imports no test.
"""

from __future__ import annotations

import mmap
import os
import resource
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from actors import ActorRef, ActorsError, SharedArray, handler
from actors.mailbox import _envelope
from actors.mailbox._frames import frame
from tests.messengers import Messenger

DOUBLES = 20_000  # of an array that lies beside its message


class Keeper(Messenger):
    """Keeps what it is given until it is told to drop it."""

    def on_start(self) -> None:
        self.kept: list[Any] = []

    @handler
    def keep(self, value: Any) -> int:
        self.kept.append(value)
        return len(self.kept)

    @handler
    def keep_and_die(self, value: Any) -> None:
        self.kept.append(value)
        os._exit(3)

    @handler
    def look(self, value: Any) -> tuple[str, int]:
        return type(value).__name__, memoryview(value).nbytes

    @handler
    def is_whole(self, number: int) -> bool:
        """Whether every array is of one number, which is its place from *number* on."""
        return all(bool((array == number + place).all()) for place, array in enumerate(self.kept))

    @handler
    def echo(self, value: Any) -> Any:
        return value

    @handler
    def writes(self, value: Any) -> str:
        """What happens to who writes into what it was given."""
        try:
            value[0] = 1
        except (ValueError, TypeError) as error:
            return str(error)
        return "written"

    @handler
    def drop(self) -> None:
        self.kept.clear()

    @handler
    def holds(self) -> int:
        """How many slots of others this process holds."""
        process: Any = self._context._process  # type: ignore[union-attr]
        return len(process.directory.holds)

    @handler
    def process(self) -> int:
        return os.getpid()

    @handler
    def give(self, count: int, number: float) -> Any:
        return np.full(count, number)

    @handler
    def pass_on(self, target: ActorRef[Any], count: int, first: int, times: int) -> int:
        for number in range(first, first + times):
            target.tell(Keeper.keep, np.full(count, float(number)))
        return times

    @handler
    def ask_for(self, target: ActorRef[Any], count: int, number: float) -> int:
        self.kept.append(target.ask(Keeper.give, count, number).result())
        return len(self.kept)

    @handler
    def ask_and_forget(self, target: ActorRef[Any], count: int, times: int) -> None:
        self.asked = [target.ask(Keeper.give, count, 0.0) for _ in range(times)]
        target.flush()

    @handler
    def fill(self, shared: SharedArray, number: float) -> float:
        """Write into memory that is shared, and say what stood there."""
        before = float(shared.array.sum())
        shared.array[:] = number
        return before

    @handler
    def keep_view(self, shared: SharedArray) -> None:
        self.kept.append(shared.array[1:3])

    @handler
    def kept_sum(self) -> float:
        return float(sum(array.sum() for array in self.kept))

    @handler
    def make_shared(self, count: int, number: float) -> SharedArray:
        made = self.shared_array(count)
        made.array[:] = number
        return made

    @handler
    def make_and_pass_on(self, target: ActorRef[Any], count: int) -> None:
        """Send what nothing here refers to any more a moment later."""
        target.tell(Keeper.keep_view, self.make_shared(count, 1.0))

    @handler
    def address(self, shared: SharedArray) -> int:
        return int(shared.array.__array_interface__["data"][0])

    @handler
    def claim(self, kind: str, number: int) -> str:
        """Say or ask of the supervisor what no shared array of ours does."""
        process: Any = self._context._process  # type: ignore[union-attr]
        if kind == "drop_share":
            process.attendant.notify(kind, number)
            while True:
                os.sched_yield()
        try:
            return str(process.attendant.request(kind, number)[0])
        except ActorsError as error:
            return str(error)

    @handler
    def name_of(self, system: str, number: int, size: int) -> Any:
        """A shared array that this process never had."""
        return SharedArray(system, number, b"", (size,), np.dtype("f8"))

    @handler
    def wait_for(self, path: str) -> None:
        while not Path(path).exists():
            os.sched_yield()

    @handler
    def fork_and_look(self, array: Any) -> int:
        """What a process adds up that this handler forks, modulo 256."""
        pid = os.fork()
        if pid == 0:
            os._exit(int(array.sum()) % 256)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    @handler
    def send_with_no_memory(self, target: ActorRef[Any], size: int) -> str:
        """What a send says where this process may have no more memory."""
        array = np.ones(size, dtype=np.uint8)
        before = resource.getrlimit(resource.RLIMIT_AS)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * mmap.PAGESIZE + size // 2, before[1]))
        try:
            target.tell(Keeper.keep, array)
        except ActorsError as error:
            return f"{type(error).__name__}: {error}"
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)
        return "sent"

    @handler
    def lie(self, changes: dict[str, int]) -> None:
        """Write a reference to what lies here into the answer pipe, but for *changes*, which no send of ours makes."""
        process: Any = self._context._process  # type: ignore[union-attr]
        slot = process.node._arenas.put(bytes(DOUBLES * 8))
        large = attrs.asdict(slot) | changes
        os.write(process.answering._callers[0].descriptor, frame(_envelope.encode_large(**large)))
        while True:
            os.sched_yield()

    @handler
    def scribble(self, number: int) -> None:
        """Write over the header of the arena that this process sends from."""
        process: Any = self._context._process  # type: ignore[union-attr]
        for arena in process.node._arenas._arenas.values():
            arena._data[:4096] = bytes([number]) * 4096
        os._exit(1)
