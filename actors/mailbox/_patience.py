"""
How often to look for what may come at once, before sleeping. Pure: times are arguments.

Waking a process that sleeps costs its waker 20-40 us; a look with a yield of the core costs about 1 us. So whoever waits looks some
tens of times first, where that pays: where what it waits for comes soon, and where yielding is quick. On a machine with more work
than cores a yield lasts as long as others work, and the looks would only delay what a sleeper is woken for at once.
"""

from __future__ import annotations

from typing import Final

import attrs

__all__ = ["Patience"]

MOST_LOOKS: Final = 64
# What comes within so many seconds was worth looking for.
SOON_SECONDS: Final = 0.0001
# Looks that took so long on average were no looks: others had the core.
BUSY_SECONDS: Final = 0.00001
# So many sleeps later it is tried again.
REST: Final = 64


@attrs.define
class Patience:
    """
    What was learned from the last waits of one waiter.

    Attributes:
        looks: How often to look before the next sleep; 0 to 64.
        rest: How many sleeps without a look are left until looking is tried again.
    """

    looks: int = MOST_LOOKS
    rest: int = 0

    def looked(self, count: int, seconds: float) -> None:
        """
        Learn from a run of looks, whether they found something or not.

        Args:
            count: How many; 0 or more.
            seconds: How long they took together.
        """
        if seconds > max(SOON_SECONDS, count * BUSY_SECONDS):
            self.looks, self.rest = 0, REST

    def slept(self, seconds: float) -> None:
        """
        Learn from a sleep, which looks had not spared.

        Args:
            seconds: How long it was.
        """
        if self.rest:
            self.rest -= 1
        elif seconds < SOON_SECONDS:
            self.looks = min(MOST_LOOKS, 2 * self.looks or 1)
        else:
            self.looks = max(1, self.looks // 2)
