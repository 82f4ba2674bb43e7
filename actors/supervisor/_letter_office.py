"""
Where dead letters end: counted, logged at most once a second, and told to those who want to know.

Any thread brings them, also from within a signal handler or a ``__del__`` that comes in the middle of another. Subscribers run in the
callback thread; what one of them has not taken yet is kept as counts, so that a flood of the same letters costs it one call.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from actors.mailbox._lock import RLock
from actors.supervisor._letters import DeadLetter, LetterKey, Tally, letter_from, letter_key

if TYPE_CHECKING:
    from actors._host import Host

__all__ = ["DeadLetterOffice", "Subscription"]

_LOG_SECONDS = 1.0
# Kinds of letters that wait for one subscriber; each is as small as a path.
_MOST_WAITING = 10_000
# Told in one go; then other callbacks have their turn.
_CALLS_PER_TURN = 100


class Subscription:
    """
    One subscriber to dead letters.

    Attributes:
        dropped: How many letters it was not told of, because ten thousand different ones waited already.
    """

    def __init__(self, run: Callable[..., bool], callback: Callable[[DeadLetter], object]) -> None:
        self._run = run
        self._callback = callback
        # Entered again by a signal handler in the middle of itself, in the same thread.
        self._lock = RLock()
        self._waiting: dict[LetterKey, int] = {}
        self._scheduled = False
        self.active = True
        self.dropped = 0

    def cancel(self) -> bool:
        """Tell it no more. False when it was cancelled before."""
        with self._lock:
            was_active, self.active = self.active, False
            self._waiting.clear()
            return was_active

    def put(self, letter: DeadLetter) -> None:
        """Have it told of a letter. Any thread; never waits."""
        key = letter_key(letter)
        with self._lock:
            if not self.active:
                return
            if key not in self._waiting and len(self._waiting) >= _MOST_WAITING:
                self.dropped += letter.count
                return
            self._waiting[key] = self._waiting.get(key, 0) + letter.count
            if not self._scheduled:
                self._scheduled = self._run(self._deliver)

    def _deliver(self) -> None:
        """In the callback thread. An exception of the callback is shown there, and costs that one letter."""
        try:
            for _ in range(_CALLS_PER_TURN):
                letter = self._next()
                if letter is None:
                    return
                self._callback(letter)
        finally:
            with self._lock:
                self._scheduled = bool(self._waiting) and self._run(self._deliver)

    def _next(self) -> DeadLetter | None:
        with self._lock:
            if not self._waiting:
                return None
            key = next(iter(self._waiting))
            return letter_from(key, self._waiting.pop(key))


class DeadLetterOffice:
    """
    The dead letters of a system.

    Args:
        host: Everything the system shares.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._tally = Tally(_LOG_SECONDS)
        # A signal handler or a ``__del__`` may come with one in the middle of another: it is noted, and counted by the outer call.
        self._lock = RLock()
        self._noted: deque[DeadLetter] = deque()
        self._counting = False
        self._armed = False
        self._held = False
        self._subscriptions: tuple[Subscription, ...] = ()

    @property
    def total(self) -> Counter[str]:
        """Dead letters so far, by reason."""
        return self._tally.total

    def take(self, letter: DeadLetter) -> None:
        """Count a letter, and have it told and logged. Any thread; never waits."""
        self._noted.append(letter)
        with self._lock:
            if self._counting:
                return
            due: list[DeadLetter] = []
            while self._noted:
                self._counting = True
                try:
                    due += self._count_noted()
                finally:
                    self._counting = False
        self._log(due)
        self._arm()

    def _count_noted(self) -> list[DeadLetter]:
        while self._noted:
            letter = self._noted.popleft()
            self._tally.note(letter)
            for subscription in self._subscriptions:
                subscription.put(letter)
        return [] if self._held else self._tally.take(time.monotonic())

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """
        Log nothing before the block is left: what letters came of is told before them. In the pump's thread, which never waits.

        They are counted and told to subscribers all the same.
        """
        self._held = True
        try:
            yield
        finally:
            self._held = False
            with self._lock:
                due = self._tally.take(time.monotonic())
            self._log(due)
            self._arm()

    def _arm(self) -> None:
        """Make sure that what was counted and not logged will be, though no other letter comes."""
        if self._tally.waits and not self._armed:
            self._armed = True
            seconds = self._tally.seconds_left(time.monotonic())
            self._host.pump.post(functools.partial(self._host.pump.after, seconds, self._log_rest))

    def _log_rest(self) -> None:
        self._armed = False
        with self._lock:
            due = self._tally.take(time.monotonic())
        self._log(due)
        self._arm()

    def _log(self, letters: list[DeadLetter]) -> None:
        for letter in letters:
            self._host.log(
                "warning",
                "actors.dead_letters",
                path=letter.target,
                reason=letter.reason,
                count=letter.count,
                handler=letter.handler,
            )

    def subscribe(self, callback: Callable[[DeadLetter], object]) -> Subscription:
        """Have *callback* told of every letter from now on, in the callback thread."""
        subscription = Subscription(self._host.callbacks.run, callback)
        with self._lock:
            alive = [one for one in self._subscriptions if one.active]
            self._subscriptions = (*alive, subscription)
        return subscription

    def close(self) -> None:
        """Log what was not logged yet: nobody will come with another."""
        with self._lock:
            due = self._tally.take(time.monotonic(), last=True)
        self._log(due)
