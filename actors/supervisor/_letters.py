"""
Dead letters as values: why a message was not handled, how many of a kind there were, and when it is time to log them. Pure.
"""

from __future__ import annotations

from collections import Counter
from typing import Final, Literal, TypeAlias, get_args

import attrs

from actors.supervisor._exits import ExitReason

__all__ = ["CLAIMABLE", "REASONS", "DeadLetter", "DeadLetterReason", "LetterKey", "Tally", "letter_from", "letter_key"]

DeadLetterReason: TypeAlias = Literal[
    "dead", "stopping", "overflow", "expired", "too_large", "undecodable", "crashed", "poison"
]

REASONS: Final[tuple[DeadLetterReason, ...]] = get_args(DeadLetterReason)

CLAIMABLE: Final = frozenset(REASONS) - {"crashed", "poison"}
"""What an actor's process can say of messages. Of what it died only its supervisor knows."""

# One event per target, reason and handler; what is beyond so many of them shares one per reason.
_MOST_LOGGED = 100
_OTHERS: Final = "(others)"


@attrs.frozen
class DeadLetter:
    """
    Messages that nobody will handle.

    Attributes:
        target: Path of the actor they were for.
        reason: ``"dead"``: it is gone for good, or parked. ``"stopping"``: it was asked to stop, and they stood behind. ``"overflow"``:
            its inbox was full, and ``on_full`` says to drop. ``"expired"``: their deadline had passed before they were started.
            ``"too_large"``: larger than ``max_message_bytes``, and not sent by ``tell`` or ``ask``, which refuse that.
            ``"undecodable"``: their bytes are no message here, or name a handler or class that is not here. ``"crashed"``: the
            actor died while it handled it. ``"poison"``: the same, as often as ``redeliver`` allows and once more.
        count: How many of them.
        handler: The handler they name, where that is known.
        uid: Of the actor; 0 where that is not known.
        attempts: For ``crashed`` and ``poison``, how often it was handed to an incarnation; else 0.
        reasons: Why each of these incarnations ended, the last 16 of them.
    """

    target: str
    reason: DeadLetterReason
    count: int = 1
    handler: str | None = None
    uid: int = 0
    attempts: int = 0
    reasons: tuple[ExitReason, ...] = ()


LetterKey: TypeAlias = tuple[str, DeadLetterReason, str | None, int, int, tuple[ExitReason, ...]]
"""All of a letter but its count."""


def letter_key(letter: DeadLetter) -> LetterKey:
    """Return what two letters have in common that can be told as one."""
    return letter.target, letter.reason, letter.handler, letter.uid, letter.attempts, letter.reasons


def letter_from(key: LetterKey, count: int) -> DeadLetter:
    """Return the letter of *key*, for *count* messages."""
    target, reason, handler, uid, attempts, reasons = key
    return DeadLetter(target, reason, count, handler, uid, attempts, reasons)


class Tally:
    """
    The count of dead letters, and of what was not logged yet.

    Args:
        period: Seconds from one time of logging to the next.

    Attributes:
        total: Dead letters so far, by reason.
    """

    def __init__(self, period: float) -> None:
        self._period = period
        self._unlogged: Counter[tuple[str, DeadLetterReason, str | None]] = Counter()
        self._next = 0.0
        self.total: Counter[str] = Counter()

    def note(self, letter: DeadLetter) -> None:
        """Count one letter."""
        self.total[letter.reason] += letter.count
        key = letter.target, letter.reason, letter.handler
        if key not in self._unlogged and len(self._unlogged) >= _MOST_LOGGED:
            key = _OTHERS, letter.reason, None
        self._unlogged[key] += letter.count

    @property
    def waits(self) -> bool:
        """Whether there is anything that was not logged."""
        return bool(self._unlogged)

    def seconds_left(self, now: float) -> float:
        """Return how long nothing is to be logged, in seconds from *now*."""
        return max(0.0, self._next - now)

    def take(self, now: float, *, last: bool = False) -> list[DeadLetter]:
        """
        Return what is to be logged at *now*: all that was counted and not logged, or nothing if it is too early.

        Args:
            now: ``time.monotonic()``.
            last: Whether there will be no other time.
        """
        if not self._unlogged or (self._next > now and not last):
            return []
        unlogged, self._unlogged, self._next = self._unlogged, Counter(), now + self._period
        return [DeadLetter(path, reason, count, handler) for (path, reason, handler), count in unlogged.items()]
