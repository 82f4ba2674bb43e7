"""
A queue between processes: many put, many get, nobody holds a lock.

Owns the public object and how it travels.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Generic, NoReturn, Self, TypeVar

from actors import _seams
from actors._channel_end import ChannelEnd
from actors.errors import ChannelClosedError, ProtocolError, SpecError, StartError
from actors.mailbox._channel_layout import MOST_MAXSIZE
from actors.mailbox._classes import UnknownTypeError
from actors.mailbox._codec import register_type

__all__ = ["Channel", "make_channel"]

T = TypeVar("T")

_CODE = 70  # of the codec's type codes; part of the wire format
_AT_ONCE = 0.0
_DELIVERIES = 3


class Channel(Generic[T]):
    """
    A bounded queue between any number of processes and threads.

    Made by :meth:`ActorSystem.channel` or, in an actor, by :meth:`Actor.channel`. Send it in a message, or give it to an actor's
    constructor: whoever has it puts and gets. Items are what messages may contain; each goes to one consumer, in the order in which
    they were put.

    An item that an actor got is *taken* until it is done with: when its thread gets the next one, when the handler returns, or at
    :meth:`task_done`. If the actor dies before, another consumer gets it. Where ``joinable=True``, only :meth:`task_done` says so, and
    :meth:`join` waits for all of them. What the host gets is done with at once.

    No process holds a lock, wherever it is killed or stopped, and there is nothing to drain before it ends.

    ::

        channel = system.channel(maxsize=100)
        for number in range(4):
            system.spawn(Worker(channel), name=f"worker-{number}")  # works from on_start, so after each restart too
        for task in tasks:
            channel.put(task)
        channel.close()

    Attributes:
        name: What errors and the log call it.
        maxsize: Most items that stand in it.
        joinable: Whether an item is taken until :meth:`task_done`.
    """

    __slots__ = ("__weakref__", "_end", "_number", "_system", "joinable", "maxsize", "name")

    def __init__(
        self, system: str, number: int, name: str, maxsize: int, joinable: bool, end: ChannelEnd | None
    ) -> None:
        self._system = system
        self._number = number
        self.name = name
        self.maxsize = maxsize
        self.joinable = joinable
        self._end = end

    # --- put and get ------------------------------------------------------------------------------------------------------

    def put(self, item: T, block: bool = True, timeout: float | None = None) -> None:
        """
        Put one item, and wait for a place if there is none.

        Args:
            item: Any value that can stand in a message, at most ``max_message_bytes`` large.
            block: Whether to wait.
            timeout: How long, in seconds, from 0; None: for ever.

        Raises:
            ChannelFullError: No place in time.
            ChannelClosedError: It is closed, or its system has stopped.
            EncodeError: The item cannot travel. Nothing was put.
            StartError: A thousand others put at this moment. See :meth:`get`.
        """
        self._reach().put(item, _until(block, timeout))

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """
        Get the next item, and wait for one if there is none.

        Args:
            block: Whether to wait.
            timeout: How long, in seconds, from 0; None: for ever.

        Raises:
            ChannelEmptyError: Nothing came in time.
            ChannelClosedError: It is closed and everything is done with, its system has stopped, or this actor is to stop.
            StartError: This process holds a thousand items that are not done with (1024 with the threads that put and get), or all
                consumers and producers together hold as many as the channel has room for, 4096 as a rule. No item was taken.
        """
        item: T = self._reach().get(_until(block, timeout))
        return item

    def put_nowait(self, item: T) -> None:
        """Put one item if there is a place for it: ``put(item, block=False)``."""
        self._reach().put(item, _AT_ONCE)

    def get_nowait(self) -> T:
        """Get an item if there is one: ``get(block=False)``."""
        item: T = self._reach().get(_AT_ONCE)
        return item

    def __iter__(self) -> Iterator[T]:
        """Get one item after the other, until the channel is closed and everything is done with."""
        while True:
            try:
                item = self.get()
            except ChannelClosedError:
                return
            yield item

    # --- done -------------------------------------------------------------------------------------------------------------

    def task_done(self) -> None:
        """
        Say that the first of the items that this thread got, and has not said it of, is done with; if it has none, one that another
        thread of this process got.

        Raises:
            ValueError: There is none. (Where the channel is not joinable, an item may be done with already: that is no error.)
        """
        try:
            self._reach().task_done()
        except ValueError:
            if self.joinable:
                raise

    def join(self, timeout: float | None = None) -> bool:
        """
        Wait until every item that was put is done with.

        Args:
            timeout: How long, in seconds, from 0; None: for ever.

        Returns:
            Whether it is so; False if it was not in time.

        Raises:
            SpecError: The channel is not joinable.
            ChannelClosedError: Its system has stopped, or this actor is to stop.
        """
        if not self.joinable:
            raise SpecError(f"channel {self.name} cannot be joined: make it with joinable=True")
        return self._reach().join(_until(True, timeout))

    def close(self) -> None:
        """
        Have nothing more put, by anybody. What was put is still got. May be repeated.

        Whoever waits to put gets a :class:`ChannelClosedError` at once; whoever waits to get, as soon as everything is done with. Where items
        are left in it and nobody has it any more, it stays for who is told of it later, up to 128 such channels of 256 MiB together.
        """
        if self._end is not None:
            self._reach().close()

    # --- looks ------------------------------------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether nothing more can be put."""
        return self._end is None or self._end.is_closed

    def qsize(self) -> int:
        """How many items stand in it now. One that came back from a dead consumer may stand in it beyond *maxsize* for a moment."""
        return 0 if self._end is None else self._reach().qsize()

    def empty(self) -> bool:
        """Whether nothing stands in it now."""
        return self.qsize() == 0

    def full(self) -> bool:
        """Whether as many items stand in it now as may."""
        return self.qsize() >= self.maxsize

    def _reach(self) -> ChannelEnd:
        if self._system not in _seams.nodes:
            _seams.find_node(self._system, f"channel {self.name}")
        if self._end is None:
            raise ChannelClosedError(f"channel {self.name} was closed, and is not there any more")
        return self._end

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Channel cannot be pickled: send it in a message, or give it to an actor's constructor")

    def __repr__(self) -> str:
        state = " closed" if self.closed else ""
        return f"<Channel {self.name} of {self._system}: maxsize={self.maxsize}{state}>"


def make_channel(system: str, maxsize: int, name: str, *, joinable: bool, max_deliveries: int) -> Channel[Any]:
    """
    A new one, empty.

    Args:
        system: Name of the system.
        maxsize: Most items; 0 for 8192.
        name: For errors and the log.
        joinable: Whether an item is taken until ``task_done``.
        max_deliveries: To how many consumers an item is given at most that each died with it.

    Raises:
        SpecError: An argument is out of range, or the pipes that this user gets are too small.
        StartError: The machine has no room for it.
    """
    if type(maxsize) is not int or not 0 <= maxsize <= MOST_MAXSIZE:
        raise SpecError(f"channel: maxsize={maxsize!r:.40}: must be a number from 0 to {MOST_MAXSIZE}")
    if type(max_deliveries) is not int or not 1 <= max_deliveries <= 1000:
        raise SpecError(f"channel: max_deliveries={max_deliveries!r:.40}: must be a number from 1 to 1000")
    if not isinstance(name, str):
        raise SpecError(f"channel: name={name!r:.80}: must be a string")
    end = _seams.find_node(system, "a channel").channels.make(maxsize, name, joinable, max_deliveries)
    return _channel(system, end)


def _channel(system: str, end: ChannelEnd) -> Channel[Any]:
    facts = end.facts
    return Channel(system, facts.number, facts.name, facts.maxsize, facts.joinable, end)


def _until(block: bool, timeout: float | None) -> float | None:
    if not block:
        return _AT_ONCE
    if timeout is None:
        return None
    try:
        possible = timeout >= 0  # which is true of no NaN
    except TypeError:
        raise TypeError(f"timeout={timeout!r}: must be None or a number of seconds") from None
    if not possible:
        raise ValueError(f"timeout={timeout}: must be a number of seconds, and not negative")
    return time.monotonic() + timeout


def _to_plain(channel: Channel[Any]) -> object:
    return (channel._system, channel._number, channel.name, channel.maxsize, channel.joinable)


def _from_plain(data: object) -> Channel[Any]:
    match data:
        case (str(system), int(number), str(name), int(maxsize), bool(joinable)):
            node = _seams.nodes.get(system)
            if node is None:
                raise UnknownTypeError(
                    f"channel {name[:200]} is of system {system[:80]!r}, of which this process is no part"
                )
            try:
                end = node.channels.find(number)
            except (OSError, StartError) as error:
                raise UnknownTypeError(f"channel {name[:200]}: this process has no room for it: {error}") from error
            return Channel(system, number, name, maxsize, joinable, None) if end is None else _channel(system, end)
    raise ProtocolError(f"no channel: {data!r:.80}")


register_type(Channel, _CODE, _to_plain, _from_plain)
