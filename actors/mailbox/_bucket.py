"""
How many sends pass in how much time: a token bucket. Pure: the time is an argument.

The whole state is one number, the time at which the bucket is full again; so there is nothing to refill, and a bucket that is not used
costs nothing. (Known as the generic cell rate algorithm.)
"""

from __future__ import annotations

import math

import attrs

__all__ = ["TokenBucket"]


@attrs.define
class TokenBucket:
    """
    Lets at most *burst* + *rate* times *t* sends pass in any *t* seconds. Full at first.

    Attributes:
        rate: Tokens that come back each second; above 0.
        burst: Tokens that it holds; at least 1.
        full_at: When it is full again, if nothing is taken before; on the clock of the caller, which never goes back.
    """

    rate: float
    burst: int
    full_at: float = -math.inf

    def take(self, now: float) -> float:
        """
        Take one token, if there is one.

        Args:
            now: The time, in seconds.

        Returns:
            0.0 if it was taken; else in how many seconds there is one, and nothing was taken.
        """
        # No call stands between what is read and what is stored: no signal handler comes between.
        full_at = self.full_at if self.full_at > now else now  # noqa: FURB136
        early = full_at - now - (self.burst - 1) / self.rate
        if early > 0.0:
            return early
        self.full_at = full_at + 1.0 / self.rate
        return 0.0
