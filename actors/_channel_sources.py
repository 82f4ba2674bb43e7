"""
What a process offers to the channels in it: the supervisor's book where that is, and the control lane elsewhere.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from actors import _descriptors
from actors.errors import ProtocolError
from actors.mailbox._layout import FlightState
from actors.supervisor._channels import ChannelFacts

if TYPE_CHECKING:
    from actors._child import ActorProcess
    from actors._host import Host

__all__ = ["ActorChannels", "HostChannels"]

_HOST = (0, 0)
_DROP_SECONDS = 0.0


class HostChannels:
    """
    See :class:`actors._channels.ChannelSource`: the host's side.

    Args:
        host: Everything the system shares.
    """

    def __init__(self, host: Host) -> None:
        self._host = host

    def make_channel(
        self, maxsize: int, name: str, joinable: bool, max_deliveries: int
    ) -> tuple[ChannelFacts, tuple[int, ...]]:
        """See :class:`~actors._channels.ChannelSource`."""
        facts = self._host.channel_book.make(_HOST, maxsize, name, joinable, max_deliveries)
        try:
            return facts, self._open(facts.number)
        except OSError:
            self._host.channel_book.discard(facts.number)
            raise

    def find_channel(self, number: int) -> tuple[ChannelFacts, tuple[int, ...]] | None:
        """See :class:`~actors._channels.ChannelSource`."""
        facts = self._host.channel_book.find(number, _HOST)
        if facts is None:
            return None
        try:
            return facts, self._open(number)
        except OSError:
            self.drop_channel(number, [])
            raise

    def _open(self, number: int) -> tuple[int, ...]:
        duplicates: list[int] = []
        # In this order, as everywhere: whoever has the lock of a fork waits for no other.
        with self._host.channel_book.lent(number) as lent, _descriptors.fork_lock:
            try:
                for one in lent:
                    duplicates.append(os.dup(one))
                    _descriptors.own(duplicates[-1])
            except OSError:
                _descriptors.close(*duplicates)
                raise
        return tuple(duplicates)

    def lend_cell(self, number: int, kind: int) -> tuple[int, int, int, int]:
        """See :class:`~actors._channel_end.EndSource`."""
        return self._host.channel_book.lend(number, _HOST, kind)

    def drop_channel(self, number: int, cells: list[int]) -> None:
        """See :class:`~actors._channel_end.EndSource`."""
        self._host.pump.post(functools.partial(self._host.channel_book.drop, number, _HOST, cells))

    def look_later(self, seconds: float, action: Callable[[], object]) -> None:
        """See :class:`~actors._channel_end.EndSource`."""
        self._host.pump.post(functools.partial(self._host.pump.after, seconds, action))

    def is_ending(self, *, waits: bool) -> bool:  # noqa: ARG002 - whoever waits here is a user's thread
        """See :class:`~actors._channel_end.EndSource`."""
        return False

    def standing_by(self) -> contextlib.AbstractContextManager[None]:
        """See :class:`~actors._channel_end.EndSource`."""
        return contextlib.nullcontext()

    def progressed(self) -> None:
        """See :class:`~actors._channel_end.EndSource`. Nobody watches over the host."""

    def holding(self) -> bool:
        """See :class:`~actors._channel_end.EndSource`. When the host dies, nobody is left to get an item again."""
        return False


class ActorChannels:
    """
    See :class:`actors._channels.ChannelSource`: an actor's side.

    Args:
        process: The actor's.
    """

    def __init__(self, process: ActorProcess) -> None:
        self._process = process
        self._attendant = process.attendant
        self._main = threading.main_thread().ident

    def make_channel(
        self, maxsize: int, name: str, joinable: bool, max_deliveries: int
    ) -> tuple[ChannelFacts, tuple[int, ...]]:
        """See :class:`~actors._channels.ChannelSource`."""
        fields, descriptors = self._attendant.request("new_channel", maxsize, name, joinable, max_deliveries)
        return _facts(fields[1]), descriptors

    def find_channel(self, number: int) -> tuple[ChannelFacts, tuple[int, ...]] | None:
        """See :class:`~actors._channels.ChannelSource`."""
        fields, descriptors = self._attendant.request("channel", number)
        return (_facts(fields[1]), descriptors) if descriptors else None

    def lend_cell(self, number: int, kind: int) -> tuple[int, int, int, int]:
        """See :class:`~actors._channel_end.EndSource`."""
        fields, _none = self._attendant.request("channel_cell", number, kind)
        _ok, cell, identity, slot, count = fields
        return cell, identity, slot, count

    def drop_channel(self, number: int, cells: list[int]) -> None:
        """See :class:`~actors._channel_end.EndSource`."""
        self.look_later(_DROP_SECONDS, functools.partial(self._attendant.notify, "drop_channel", number, cells))

    def look_later(self, seconds: float, action: Callable[[], object]) -> None:
        """See :class:`~actors._channel_end.EndSource`."""
        self._attendant.after(seconds, action)

    def is_ending(self, *, waits: bool) -> bool:
        """See :class:`~actors._channel_end.EndSource`."""
        process = self._process
        return process.ending or (waits and process.draining)

    def standing_by(self) -> contextlib.AbstractContextManager[None]:
        """See :class:`~actors._channel_end.EndSource`."""
        if threading.get_ident() != self._main:
            return contextlib.nullcontext()
        return self._process.standing_by(FlightState.WAITING)

    def progressed(self) -> None:
        """See :class:`~actors._channel_end.EndSource`."""
        self._process.note_progress()

    def holding(self) -> bool:
        """See :class:`~actors._channel_end.EndSource`. What a handler has got is done with when it returns."""
        self._process.directory.channels.held = True
        if threading.get_ident() == self._main:
            self._process.look_up()
        return True


def _facts(data: object) -> ChannelFacts:
    if isinstance(data, list | tuple) and len(data) == len(attrs.fields(ChannelFacts)):
        return ChannelFacts(*data)
    raise ProtocolError(f"no channel: {data!r:.80}")
