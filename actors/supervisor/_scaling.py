"""
Whether a pool grows or shrinks, decided from what was seen. Looking and resizing are :mod:`actors.supervisor._pools`'s affair.

Must not know: processes, clocks, what a worker is.
"""

from __future__ import annotations

import math
from typing import Final

import attrs

from actors.supervisor._policy import Seconds
from actors.supervisor._pool_spec import Autoscale

__all__ = ["Sample", "ScaleState", "decide", "look_seconds"]

SOONEST_SECONDS: Final = 0.02
LATEST_SECONDS: Final = 1.0
_LOOKS: Final = 4  # in the shortest of the times that are to be noticed


@attrs.frozen
class Sample:
    """
    What one look has seen.

    Attributes:
        size: How many workers take messages.
        queued: Messages that wait for a worker, of all of them.
        busy: Workers that are handling a message.
    """

    size: int
    queued: int
    busy: int


@attrs.frozen
class ScaleState:
    """
    What is remembered between two looks.

    Attributes:
        high_since: Since when every look has found too much queued; None: the last one did not.
        idle_since: Since when every look has found a worker that was not needed.
        changed: When the size was changed last.
    """

    high_since: Seconds | None = None
    idle_since: Seconds | None = None
    changed: Seconds = -math.inf


def look_seconds(scale: Autoscale) -> Seconds:
    """
    How long to wait between two looks.

    Args:
        scale: What was asked for.
    """
    shortest = min(scale.for_seconds, scale.shrink_after, scale.cooldown) / _LOOKS
    return min(LATEST_SECONDS, max(SOONEST_SECONDS, shortest))


def decide(scale: Autoscale, state: ScaleState, seen: Sample, now: Seconds) -> tuple[ScaleState, int, str]:
    """
    Judge one look.

    Args:
        scale: What was asked for.
        state: As the last look left it.
        seen: What this one found.
        now: The time.

    Returns:
        The state for the next look, the size to have from now on, which is that of *seen* or one more or less, and why it changes, in
        a sentence; ``""`` where it does not.
    """
    size = seen.size
    if size < scale.minimum:
        return ScaleState(changed=now), size + 1, f"fewer than the minimum of {scale.minimum}"
    if size > scale.maximum:
        return ScaleState(changed=now), size - 1, f"more than the maximum of {scale.maximum}"
    is_high = seen.queued > scale.grow_above * size
    is_idle = seen.queued == 0 and seen.busy < size
    state = attrs.evolve(
        state,
        high_since=_since(state.high_since, now) if is_high else None,
        idle_since=_since(state.idle_since, now) if is_idle else None,
    )
    if now - state.changed < scale.cooldown:
        return state, size, ""
    if state.high_since is not None and size < scale.maximum and now - state.high_since >= scale.for_seconds:
        why = f"{seen.queued} messages queued for {size} workers, for {now - state.high_since:.3g} s"
        return ScaleState(changed=now), size + 1, why
    if state.idle_since is not None and size > scale.minimum and now - state.idle_since >= scale.shrink_after:
        why = f"at most {size - 1} of {size} workers were needed for {now - state.idle_since:.3g} s"
        return ScaleState(changed=now), size - 1, why
    return state, size, ""


def _since(before: Seconds | None, now: Seconds) -> Seconds:
    return now if before is None else before
