"""
What an actor wants to do later: a heap of calls and their times. Pure: the time is an argument.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable

import attrs

__all__ = ["Timer", "Timers"]

# So many are never looked through for those that were taken back.
_FEW = 64


@attrs.define(eq=False)
class Timer:
    """
    One call to come.

    Attributes:
        action: What is called.
        every: Seconds between two calls, or None for a single one.
        at: When it is due, in ``time.monotonic()`` seconds.
        name: Of the handler that is called; ``""`` for none.
        active: Whether it is still to come.
    """

    action: Callable[[], object]
    every: float | None
    at: float
    name: str = ""
    active: bool = True

    def cancel(self) -> bool:
        """Take it back; False when it was over already."""
        was_active, self.active = self.active, False
        return was_active


class Timers:
    """
    The timers of one actor, used by its main thread.

    Attributes:
        first: When the next one is due; infinity for none.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._full = _FEW
        self.first = math.inf

    def add(self, action: Callable[[], object], delay: float, every: float | None, now: float, name: str = "") -> Timer:
        """Call *action*, which is the handler *name*, in *delay* seconds, and then every *every* seconds where given."""
        timer = Timer(action, every, now + delay, name)
        self._push(timer)
        return timer

    def _push(self, timer: Timer) -> None:
        if len(self._heap) >= self._full:
            # Who arms and cancels one at each message would else keep all of them, with their arguments, until they are due.
            self._heap = [entry for entry in self._heap if entry[2].active]
            heapq.heapify(self._heap)
            self._full = max(_FEW, 2 * len(self._heap))
        heapq.heappush(self._heap, (timer.at, next(self._order), timer))
        self.first = self._heap[0][0]

    def pop(self, now: float) -> Timer | None:
        """Return a timer that is due, or None. A repeated one is armed again: firings that were missed are skipped, not caught up."""
        while self._heap and self._heap[0][0] <= now:
            _at, _order, timer = heapq.heappop(self._heap)
            self.first = self._heap[0][0] if self._heap else math.inf
            if not timer.active:
                continue
            if timer.every is None:
                timer.active = False
            else:
                missed = math.floor((now - timer.at) / timer.every) if timer.every > 0 else 0
                timer.at += (missed + 1) * timer.every
                self._push(timer)
            return timer
        return None

    def wait_seconds(self, now: float) -> float | None:
        """Return how long nothing is due, or None for ever."""
        return None if self.first == math.inf else max(0.0, self.first - now)
