"""
How much each worker of a pool has to do, as far as one process knows: what it has asked and told there and is not handled yet.

An ask says itself when it is over. Tells say nothing; so behind them goes a message that is answered in its turn, one at a time to each
worker: its answer says that all told before it is handled. At a high rate that is one message for many, at a low one it does not matter.
Nobody else is asked, and nothing is looked up.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import attrs

from actors.errors import ActorsError

if TYPE_CHECKING:
    from actors._node import Node
    from actors._ref import ActorRef
    from actors._reply import Reply

__all__ = ["Loads"]


@attrs.define(eq=False)
class _Load:
    """
    What one worker has of this process.

    Attributes:
        asks: An entry for each open ask.
        told: Tells so far.
        handled: How many of them are handled, as far as known.
        marker: The message that asks about it, while it is under way.
    """

    asks: list[None] = attrs.Factory(list)
    told: int = 0
    handled: int = 0
    marker: Reply[Any] | None = None


@attrs.define(eq=False)
class _AskEnds:
    """Takes one ask out when it has ended; may be told twice."""

    asks: list[None]
    open: list[None] = attrs.Factory(lambda: [None])

    def reply_done(self) -> None:
        """See :class:`actors._reply.Listener`."""
        with contextlib.suppress(IndexError):
            self.open.pop()
            self.asks.pop()


@attrs.define(eq=False)
class _MarkerEnds:
    """Notes how many tells are handled when the message behind them is answered, or will never be."""

    load: _Load
    told: int

    def reply_done(self) -> None:
        """See :class:`actors._reply.Listener`."""
        self.load.handled = max(self.load.handled, self.told)
        self.load.marker = None


class Loads:
    """
    The loads of the workers of one pool. Any thread; two of them at once may count one tell too few.

    Args:
        node: What sends here.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._loads: dict[int, _Load] = {}

    def of(self, member: ActorRef[Any]) -> int:
        """How many messages of this process *member* has not handled, as far as known."""
        load = self._loads.get(member.uid)
        return 0 if load is None else len(load.asks) + load.told - load.handled

    def asked(self, member: ActorRef[Any], reply: Reply[Any]) -> None:
        """Note an ask."""
        load = self._loads.setdefault(member.uid, _Load())
        load.asks.append(None)
        ends = _AskEnds(load.asks)
        reply.listen(ends)
        if reply.done():
            ends.reply_done()

    def told(self, member: ActorRef[Any]) -> None:
        """Note a tell."""
        load = self._loads.setdefault(member.uid, _Load())
        load.told += 1
        # One that is done and still there was not heard of: a signal handler raised before anybody listened to it.
        if load.marker is not None and not load.marker.done():
            return
        with contextlib.suppress(ActorsError):  # full, or gone: the next tell tries again
            told = load.told
            load.marker = marker = self._node.barrier(member.options(on_full="reject"))
            ends = _MarkerEnds(load, told)
            marker.listen(ends)
            if marker.done():
                ends.reply_done()

    def forget(self, uids: Iterable[int]) -> None:
        """They have left."""
        for uid in uids:
            self._loads.pop(uid, None)
