"""
Whether everybody has gone past what stood in its inbox at a moment: then nothing that was sent before it can be read any more.

Pure: what an actor has handled is an argument.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

__all__ = ["Trail"]

_GRACE_LOOKS = 10


@attrs.define
class Trail:
    """
    What may still come up of what was sent until now.

    Attributes:
        marks: For each actor how many bytes it had been sent; those that have handled as many are taken out.
        looks: How often it was seen in a row that no answer is on its way.
    """

    marks: dict[int, int]
    looks: int = 0

    def forget(self, uid: int) -> None:
        """What *uid* was sent will not all be handled: some of it is lost."""
        self.marks.pop(uid, None)

    def is_past(self, handled: Callable[[int], int | None], *, quiet: bool) -> bool:
        """
        Look once more.

        Args:
            handled: How many bytes an actor has handled; None if it is gone.
            quiet: Whether no answer waits to be read anywhere.
        """
        for uid, mark in list(self.marks.items()):
            done = handled(uid)
            if done is None or done >= mark:
                del self.marks[uid]
        if self.marks:
            return False
        # What was answered may still be on its way to a caller that reads slowly, or does not read at all now.
        self.looks = self.looks + 1 if quiet else 0
        return self.looks > _GRACE_LOOKS
