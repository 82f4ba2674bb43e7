"""
What callers say to an actor about the ask it is handling: more credit for its stream, or that nobody waits any more.

Written by the attendant, read by the main thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from actors.mailbox._envelope import INCARNATION_SHIFT
from actors.mailbox._lock import RLock

__all__ = ["Flow"]

# Asks that were cancelled before they were started; so many are remembered, the oldest are handled after all.
_MOST_SKIPPED = 10_000


class Flow:
    """
    The ask being handled, as its caller sees it.

    Attributes:
        cancelled: Whether its caller has cancelled it.
        place: Says how many messages were handled before it.
        report: Told that number, in the attendant, when the ask being handled is cancelled.
    """

    def __init__(self) -> None:
        self._lock = RLock()  # taken by itself, as the condition's way to take it can be interrupted
        self._changed = threading.Condition(self._lock)
        self._current: tuple[int, int] | None = None
        self._credit = 0
        self._stopping = False
        self._skipped: dict[tuple[int, int], None] = {}
        self.cancelled = False
        self.place: Callable[[], int] = lambda: 0
        self.report: Callable[[int], object] = lambda _place: None

    def begin(self, caller: int, ask_id: int, credit: int) -> bool:
        """The ask is about to be handled; False if it was cancelled before."""
        with self._lock:
            if (caller, ask_id) in self._skipped:
                del self._skipped[caller, ask_id]
                return False
            self._current, self._credit, self.cancelled = (caller, ask_id), credit, False
            return True

    def asked(self) -> tuple[int, int]:
        """Return who asked what is being handled, and the number of that ask; zeros where it is no ask."""
        return self._current or (0, 0)

    def end(self) -> None:
        """It is handled."""
        with self._lock:
            self._current, self.cancelled = None, False

    @property
    def has_credit(self) -> bool:
        """Whether the next item can leave at once."""
        return self._credit > 0

    def take(self, until: float | None) -> bool:
        """Use one item's credit, waiting for it; False if it was cancelled, or it is *until*."""
        with self._lock:
            while self._credit <= 0 and not self.cancelled:
                if self._stopping:
                    self.cancelled = True
                    return False
                left = None if until is None else until - time.monotonic()
                if left is not None and left <= 0:
                    return False
                self._changed.wait(None if left is None else min(left, threading.TIMEOUT_MAX))
            self._credit -= 1
            return not self.cancelled

    def grant(self, caller: int, ask_id: int, count: int) -> None:
        """The caller has room for *count* more items."""
        with self._lock:
            if self._current == (caller, ask_id):
                self._credit += count
                self._changed.notify_all()

    def cancel(self, caller: int, ask_id: int) -> None:
        """The caller does not wait for it any more."""
        with self._lock:
            if self._current == (caller, ask_id):
                self._cancel_current()
                return
            self._skipped[caller, ask_id] = None
            while len(self._skipped) > _MOST_SKIPPED:
                del self._skipped[next(iter(self._skipped))]

    def steer(self, fields: tuple[Any, ...], _descriptors: tuple[int, ...]) -> None:
        """In the attendant: a caller's word, passed on by the supervisor."""
        what, caller, ask_id, count = fields
        if what == "credit":
            self.grant(caller, ask_id, count)
        else:
            self.cancel(caller, ask_id)

    def caller_gone(self, fields: tuple[Any, ...], _descriptors: tuple[int, ...]) -> None:
        """In the attendant: an incarnation of a caller has ended."""
        caller, incarnation = fields
        with self._lock:
            current = self._current
            if current is not None and current[0] == caller and current[1] >> INCARNATION_SHIFT == incarnation:
                self._cancel_current()

    def _cancel_current(self) -> None:
        """With the lock held, so that the ask cannot end meanwhile: nobody waits for it any more."""
        told, self.cancelled = self.cancelled, True
        self._changed.notify_all()
        if not told:
            self.report(self.place())

    def go_on(self) -> None:
        """It is not to stop after all."""
        with self._lock:
            self._stopping = False

    def interrupt(self) -> None:
        """The actor is to stop: a stream that waits for credit, now or later, does not hold it up."""
        with self._lock:
            self._stopping = True
            if self._current is not None and self._credit <= 0:
                self.cancelled = True
                self._changed.notify_all()
