"""
How often an actor died of one and the same message, and of what. Pure.
"""

from __future__ import annotations

from collections import deque

import attrs

from actors.supervisor._exits import ExitReason

__all__ = ["Deaths"]

_MOST_REASONS = 16


@attrs.define(eq=False)
class Deaths:
    """
    The deaths with one message in flight, in a row.

    Attributes:
        book: The recorder whose places these are; another one counts from the beginning again.
        place: Where the message begins among all bytes that were ever given to that recorder; -1 for none.
        count: Deaths with this message in flight.
        reasons: The last of them.
    """

    book: object = None
    place: int = -1
    count: int = 0
    reasons: deque[ExitReason] = attrs.Factory(lambda: deque(maxlen=_MOST_REASONS))

    def note(self, book: object, place: int, reason: ExitReason) -> int:
        """
        Count one more death.

        Args:
            book: The recorder.
            place: Of the message in flight. Not how many were handled before it: two messages may have that in common.
            reason: What the actor died of.

        Returns:
            How many deaths that makes.
        """
        if book is not self.book or place != self.place:
            self.book, self.place, self.count = book, place, 0
            self.reasons.clear()
        self.count += 1
        self.reasons.append(reason)
        return self.count

    def redelivered(self, book: object) -> tuple[int, int]:
        """Return the place of the message that died last in *book*, and how often; whoever begins with another one knows so."""
        return (self.place, self.count) if book is self.book else (-1, 0)
