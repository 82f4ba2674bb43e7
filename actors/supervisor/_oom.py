"""
Which death the kernel's out-of-memory killer caused: readings of its counter, and deaths, joined by time.

Owns that judgement and nothing else. Must not know where a reading comes from, nor any process. A kill is counted before its victim ends,
so a counter that rose shortly before a death by SIGKILL proves it. One that rose earlier, or that another death has used up, proves
nothing: the same group may hold processes that are no actors.
"""

from __future__ import annotations

from typing import Final

import attrs

__all__ = ["PROOF_SECONDS", "OomLedger"]

PROOF_SECONDS: Final = 2.0
"""How much older than a death an increase may be. Readings are taken twice as often."""

_MOST_OPEN: Final = 10_000


@attrs.define
class OomLedger:
    """
    The kills that one counter has counted and that no death has claimed.

    Attributes:
        reading: What the counter said last; None before the first reading.
        open: When each kill was first seen, oldest first, in seconds of the clock that the caller uses.
    """

    reading: int | None = None
    open: list[float] = attrs.Factory(list)

    def look(self, reading: int | None, now: float) -> None:
        """
        Take a reading.

        Args:
            reading: How many kills there were so far; None where the counter cannot be read now. One that is lower than the last
                belongs to a new counter, which begins here.
            now: When it was taken.
        """
        if reading is None:
            return
        known = reading if self.reading is None else self.reading
        self.reading = reading
        self.open += [now] * min(max(0, reading - known), _MOST_OPEN)
        self.open = [seen for seen in self.open if seen >= now - PROOF_SECONDS][-_MOST_OPEN:]

    def claim(self, died: float) -> int:
        """
        Ascribe a kill to a death by SIGKILL that nobody of ours sent, and use it up.

        Args:
            died: When the end of the process was seen.

        Returns:
            1, or 0 where no kill can be ascribed to it.
        """
        for seen in self.open:
            if seen >= died - PROOF_SECONDS:
                self.open.remove(seen)
                return 1
        return 0
