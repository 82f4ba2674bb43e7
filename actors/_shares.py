"""
Shared memory as one process has it mapped: found once, kept as long as anything stands on it, given back when nothing does.

Knows bytes and numbers, and nothing of arrays.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import mmap
import os
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from actors.errors import StartError
from actors.mailbox._layout import map_file

__all__ = ["ShareSource", "Shares"]

# What has ended is given back together, after what was sent before it has left.
_DROP_SECONDS = 0.02
_LINGER_SECONDS = 0.5
_POPULATE_WRITE = 23  # MADV_POPULATE_WRITE; mmap has no name for it
_STEP_BYTES = 8 * 1024 * 1024


class ShareSource(Protocol):
    """What a process must offer so that memory can be shared in it."""

    def make_share(self, size: int) -> tuple[int, int]:
        """Return the number and a descriptor of new memory; the descriptor is the caller's."""
        ...

    def find_share(self, number: int) -> int | None:
        """Return a descriptor of that memory, which is the caller's; None if there is none any more."""
        ...

    def drop_share(self, number: int) -> None:
        """One use less. Never blocks."""

    def all_has_left(self) -> bool:
        """Whether nothing that was sent waits to be written."""
        ...

    def look_later(self, seconds: float, action: Callable[[], object]) -> None:
        """Have *action* called in so many seconds, by somebody else. Never blocks."""


class Shares:
    """
    The shared memory of one process. Any thread.

    Args:
        source: The process it is in.
        inherit: Whether what the user forks may go on with it.
    """

    def __init__(self, source: ShareSource, *, inherit: bool) -> None:
        self._source = source
        self._inherit = inherit
        self._memory: dict[int, weakref.ref[Any]] = {}
        self._over: deque[int] = deque()
        self._recent: dict[int, Any] = {}
        self._former: dict[int, Any] = {}
        self._turning = False
        self._pid = os.getpid()

    def make(self, size: int) -> tuple[int, Any]:
        """
        New memory, all zero.

        Args:
            size: Bytes; at least 1.

        Returns:
            Its number and itself: an object with the buffer protocol, which keeps it as long as it lives.

        Raises:
            StartError: The machine has no memory for it.
        """
        try:
            number, descriptor = self._source.make_share(size)
            memory = self._map(number, descriptor, size)
        except OSError as error:
            raise StartError(f"the machine has no shared memory of {size} bytes: {error}") from error
        return number, memory

    def find(self, number: int) -> Any | None:
        """Return memory that another process has named; None if it is not there any more. Blocks where it was not seen before."""
        known = self._memory.get(number)
        memory = None if known is None else known()
        if memory is None:
            descriptor = self._source.find_share(number)
            if descriptor is None:
                return None
            memory = self._map(number, descriptor, 0)
        self._linger(number, memory)
        return memory

    def _linger(self, number: int, memory: Any) -> None:
        """Keep it a little: finding it again costs a hundred times as much as the message that names it once more."""
        self._recent[number] = memory
        if not self._turning:
            self._turning = True
            self._source.look_later(_LINGER_SECONDS, self._turn)

    def _turn(self) -> None:
        """Let go of what was not named since the turn before this one."""
        self._former, self._recent = self._recent, {}
        self._turning = bool(self._former)
        if self._turning:
            self._source.look_later(_LINGER_SECONDS, self._turn)

    def close(self) -> None:
        """Keep nothing that nobody else refers to."""
        self._recent, self._former = {}, {}

    def _map(self, number: int, descriptor: int, fresh_bytes: int) -> Any:
        import ctypes  # noqa: PLC0415 - only for who shares memory

        try:
            mapping = map_file(descriptor, inherit=self._inherit)
        except BaseException:
            self._over.append(number)
            self._source.look_later(_DROP_SECONDS, self._drop)
            raise
        finally:
            os.close(descriptor)
        # ctypes' own arrays know no weak references; a class of ours does.
        kind: Any = type("SharedMemory", (ctypes.c_ubyte * len(mapping),), {})
        memory = kind.from_buffer(mapping)
        self._memory[number] = weakref.ref(memory, functools.partial(self._ended, number))
        _populate(mapping, fresh_bytes)
        return memory

    def _ended(self, number: int, reference: object) -> None:
        """Nothing stands on it any more. In any thread."""
        if self._memory.get(number) is reference:
            self._memory.pop(number, None)
        if os.getpid() == self._pid:
            self._over.append(number)
            self._source.look_later(_DROP_SECONDS, self._drop)

    def _drop(self) -> None:
        """Say what has ended, behind every message that may name it."""
        if self._over and not self._source.all_has_left():
            self._source.look_later(_DROP_SECONDS, self._drop)
            return
        for _ in range(len(self._over)):
            with contextlib.suppress(IndexError):
                self._source.drop_share(self._over.popleft())


def _populate(mapping: mmap.mmap, size: int) -> None:
    """Have the memory now: where there is none, that is an error here, and not a signal in the middle of a write."""
    for start in range(0, size, _STEP_BYTES):
        try:
            mapping.madvise(_POPULATE_WRITE, start, min(_STEP_BYTES, size - start))
        except OSError as error:
            if error.errno == errno.EINVAL:  # a kernel before 5.14: memory comes as it is written
                return
            raise
