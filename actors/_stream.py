"""
The items of a generator handler, on the side of whoever reads them.

The producer may be ahead by :data:`CREDIT` items; reading grants it more, half of that at a time. Closing the stream, or losing it, ends
the generator. Items carry their number: one that is delivered twice, by an interrupted reader or after a crash, is taken once.
"""

from __future__ import annotations

import asyncio
import time
import warnings
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from actors._reply import LoopWaiter, Reply, raise_fresh
from actors._seams import Keeper
from actors.errors import ProtocolError

if TYPE_CHECKING:
    from actors._ref import ActorRef
    from actors.mailbox._answers import AnswerLane, Parking

__all__ = ["CREDIT", "Granter", "ItemStream"]

CREDIT: Final = 16
_GRANT: Final = CREDIT // 2


class Granter(Keeper, Protocol):
    """What a stream needs of its node: the way back to the producer."""

    def grant(self, stream: ItemStream, count: int) -> None:
        """Let the producer send *count* more items. Never blocks."""


class ItemStream(Reply[None]):
    """
    A stream that is read by ``for`` or ``async for``, once, by one reader.

    It ends where the generator does. What the generator raises is raised here after the items before it; so is the death of the
    actor. Leave a loop early with :meth:`close`, or by ``with``.
    """

    def __init__(
        self, ask_id: int, target: ActorRef[Any], node: Granter, lane: AnswerLane | None, deadline: float | None
    ) -> None:
        super().__init__(ask_id, target, node, lane, deadline)
        self._granter = node
        self._items: deque[Any] = deque()
        self._received = 0
        self._read = 0

    # --- for the node -----------------------------------------------------------------------------------------------------

    def item(self, numbered: object) -> None:
        """
        Take one item, ``[number, value]``; one that was taken before is left.

        Raises:
            ProtocolError: It is no such pair, or the producer ignores its credit.
        """
        match numbered:
            case [int(number), value]:
                pass
            case _:
                raise ProtocolError(f"an item of a stream is a number and a value, not {type(numbered).__name__}")
        if number < self._received:
            return
        if number != self._received or number >= self._read + 2 * CREDIT:
            raise ProtocolError(f"item {number} of a stream after {self._received} items, {self._read} of them read")
        self._items.append(value)
        self._received = number + 1
        for listener in tuple(self._listeners):
            listener.reply_done()

    # --- for lanes: what ends a wait --------------------------------------------------------------------------------------

    def done(self) -> bool:
        """Return whether there is something to read: an item, or the end."""
        return bool(self._items or self._outcomes)

    def park(self, until: float | None, listener: Parking | None = None) -> None:
        """Sleep until there is something to read; see :meth:`Reply.park`."""
        if not self._items:
            super().park(until, listener)

    # --- reading ----------------------------------------------------------------------------------------------------------

    def __iter__(self) -> ItemStream:
        return self

    def __next__(self) -> Any:
        while not self.done():
            self._wait_for_item()
        if self._items:
            return self._take()
        self._raise_outcome()
        raise StopIteration

    def __aiter__(self) -> ItemStream:
        return self

    async def __anext__(self) -> Any:
        while not self.done():
            waiter = LoopWaiter(asyncio.get_running_loop())
            self.listen(waiter)
            try:
                if not self.done():
                    self._hand_over()
                    left = None if self.deadline is None else max(0.0, self.deadline - time.monotonic())
                    await asyncio.wait_for(waiter.future, left)
            except TimeoutError:
                self._expire()
            finally:
                self.forget(waiter)
        if self._items:
            return self._take()
        self._raise_outcome()
        raise StopAsyncIteration

    def _wait_for_item(self) -> None:
        if self._lane is not None:
            self._lane.wait(self, self.deadline)
        else:
            self.park(self.deadline)
        if not self.done() and self.deadline is not None and time.monotonic() >= self.deadline:
            self._expire()

    def _take(self) -> Any:
        value = self._items.popleft()
        self._read += 1
        if self._read % _GRANT == 0 and not self._outcomes:
            self._granter.grant(self, _GRANT)
        return value

    def _raise_outcome(self) -> None:
        error = self._outcomes[0][1]
        if error is not None and not self.cancelled():
            raise_fresh(error)

    def close(self) -> None:
        """End the stream here; the generator gets ``GeneratorExit`` at its ``yield``. Harmless when it has ended."""
        self._items.clear()
        self.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if not self._outcomes and self._read < self._received:
            warnings.warn(f"{self!r} was dropped before its end; close it, or read it to the end", ResourceWarning, 2)
            self.cancel()
