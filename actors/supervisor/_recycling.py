"""
When one incarnation is worn: the limits of :class:`~actors.supervisor._spec.Recycle`, spread so that a pool is not replaced at once. Pure.

Owns the arithmetic. Who counts, and what follows, is :mod:`actors.supervisor._replacing`'s affair.
"""

from __future__ import annotations

import math

import attrs

from actors.supervisor._policy import Seconds
from actors.supervisor._spec import Recycle

__all__ = ["NEVER", "Limits", "limits"]


@attrs.frozen
class Limits:
    """
    After how much one incarnation is to be replaced.

    Attributes:
        messages: So many handled; at least 1. None: whatever their number.
        age: So long after it began to serve; infinity: never.
    """

    messages: int | None = None
    age: Seconds = math.inf


NEVER = Limits()
"""Those of an actor that is not recycled."""


def limits(recycle: Recycle | None, u: float) -> Limits:
    """
    The limits of one incarnation.

    Args:
        recycle: What the actor's options say, checked.
        u: A uniform sample in [0, 1), of this incarnation alone.

    Returns:
        Each limit times ``1 + jitter * u``; messages rounded down.
    """
    if recycle is None:
        return NEVER
    spread = 1.0 + recycle.jitter * u
    return Limits(
        messages=None if recycle.messages is None else math.floor(recycle.messages * spread),
        age=math.inf if recycle.age is None else recycle.age * spread,
    )
