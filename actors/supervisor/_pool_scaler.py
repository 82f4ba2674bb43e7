"""
Looks at the pools that scale by themselves. What a look means is :mod:`actors.supervisor._scaling`'s decision. In the pump's thread.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from actors.errors import ProtocolError
from actors.mailbox._inbox import queued_bytes
from actors.mailbox._layout import FlightState
from actors.supervisor import _scaling
from actors.supervisor._cells import Cell
from actors.supervisor._pool_book import PoolBook

if TYPE_CHECKING:
    from actors._host import Host
    from actors.supervisor._runner import Runner

__all__ = ["Scaler"]

_BUSY: Final = frozenset((FlightState.HANDLING, FlightState.WAITING, FlightState.BLOCKED, FlightState.CREDIT))
# Of a message, where none was handled yet; and of the smallest there are.
_USUAL_BYTES: Final = 64.0
_LEAST_BYTES: Final = 8.0


class Scaler:
    """
    Sees to it that pools grow and shrink.

    Args:
        host: Everything the system shares.
        runner: Whose actors the workers are.
        resize: Gives a pool another size, and says why.
    """

    def __init__(self, host: Host, runner: Runner, resize: Callable[[PoolBook, int, str], object]) -> None:
        self._host = host
        self._runner = runner
        self._resize = resize

    def begin(self, book: PoolBook) -> None:
        """Look at a pool from now on, if it is to scale."""
        scale = book.spec.autoscale
        if scale is not None:
            self._host.pump.after(_scaling.look_seconds(scale), functools.partial(self._look, book))

    def _look(self, book: PoolBook) -> None:
        scale = book.spec.autoscale
        if book.gone or scale is None:
            return
        if not book.in_state("starting"):
            seen = self._sample(book)
            book.scaled, size, why = _scaling.decide(scale, book.scaled, seen, time.monotonic())
            if size != seen.size:
                self._resize(book, size, why)
        self.begin(book)

    def _sample(self, book: PoolBook) -> _scaling.Sample:
        queued = busy = 0
        workers = book.in_state("in", "out")
        for worker in workers:
            waiting, handling = _look_at(self._runner.cells[worker.uid])
            queued += waiting
            busy += handling
        return _scaling.Sample(len(workers), queued, busy)


def _look_at(cell: Cell) -> tuple[int, bool]:
    """
    Return how many messages wait for a worker, and whether it is handling one.

    What it has read is counted; what stands in its pipe is reckoned from the mean of those it has handled.
    """
    try:
        flight, read = cell.view.flight(), cell.view.count_waiting()
    except ProtocolError:  # it writes nonsense into its own recorder
        return 0, False
    handling = flight.state in _BUSY
    mean = max(_LEAST_BYTES, flight.handled_bytes / flight.handled) if flight.handled else _USUAL_BYTES
    return max(0, read - handling) + math.ceil(queued_bytes(cell.inbox_read) / mean), handling
