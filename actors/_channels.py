"""
The channels of one process: found once, kept as long as anything refers to them.
"""

from __future__ import annotations

import functools
import threading
import weakref
from typing import Protocol

from actors import _descriptors
from actors._channel_end import ChannelEnd, EndSource
from actors.errors import StartError
from actors.mailbox._lock import RLock
from actors.supervisor._channels import ChannelFacts, close_file

__all__ = ["ChannelSource", "Channels"]

_LINGER_SECONDS = 0.5


class ChannelSource(EndSource, Protocol):
    """What a process must offer so that it can make and find channels."""

    def make_channel(
        self, maxsize: int, name: str, joinable: bool, max_deliveries: int
    ) -> tuple[ChannelFacts, tuple[int, ...]]:
        """Make one, and return what it is and four descriptors, which are the caller's."""
        ...

    def find_channel(self, number: int) -> tuple[ChannelFacts, tuple[int, ...]] | None:
        """Return the same of one that there is; None if there is none any more."""
        ...


class Channels:
    """
    The channels of one process. Any thread.

    Args:
        source: The process.
        inherit: Whether what the user forks may have their memory.
    """

    def __init__(self, source: ChannelSource, *, inherit: bool) -> None:
        self._source = source
        self._inherit = inherit
        self._ends: weakref.WeakValueDictionary[int, ChannelEnd] = weakref.WeakValueDictionary()
        self._noting = RLock()
        self._recent: dict[int, ChannelEnd] = {}
        self._is_over = False
        self.held = False

    def make(self, maxsize: int, name: str, joinable: bool, max_deliveries: int) -> ChannelEnd:
        """
        Make one.

        Raises:
            StartError: The machine has no memory or descriptors for it.
            SpecError: The pipes that this user gets are too small for it.
        """
        try:
            facts, descriptors = self._source.make_channel(maxsize, name, joinable, max_deliveries)
            return self._open(facts, descriptors, is_new=True)
        except OSError as error:
            raise StartError(f"the machine has no room for a channel: {error}") from error

    def find(self, number: int) -> ChannelEnd | None:
        """Return one that another process has named; None if it is not there any more, for it was closed."""
        end = self._ends.get(number)
        if end is None:
            found = self._source.find_channel(number)
            if found is None:
                return None
            end = self._open(*found)
        if number not in self._recent:
            # Finding it again costs a hundred times as much as the message that names it once more.
            self._recent[number] = end
            self._source.look_later(_LINGER_SECONDS, functools.partial(self._recent.pop, number, None))
        return end

    def _open(self, facts: ChannelFacts, descriptors: tuple[int, ...], *, is_new: bool = False) -> ChannelEnd:
        try:
            end = ChannelEnd(facts, descriptors, self._source, inherit=self._inherit)
        except BaseException:
            if is_new:
                close_file(descriptors[0])  # nobody else will ever do it
            _descriptors.close(*descriptors)
            self._source.drop_channel(facts.number, [])
            raise
        with self._noting:  # the mapping looks and writes in two steps, and would keep one of two ends
            end = self._ends.setdefault(facts.number, end)
        if self._is_over:
            end.stop()  # the system has stopped meanwhile
        return end

    def release(self) -> None:
        """A handler has returned: what it had got by the way is done with, and what threads had got that have ended."""
        self.held = False
        main = threading.get_ident()
        for end in list(self._ends.values()):
            if not end.facts.joinable:
                end.held.release()
                if end.held.release_ended(main):
                    self.held = True  # looked at again when the next one returns
                end.let_go_if_done()

    def close(self) -> None:
        """The system has stopped: whoever waits is told."""
        self._is_over = True
        for end in list(self._ends.values()):
            end.stop()
        self._recent.clear()
