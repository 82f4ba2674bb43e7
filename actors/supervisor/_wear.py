"""
Whether an actor holds too much memory, and when to look again. Messages and age are :mod:`actors.supervisor._recycling`'s affair.

Memory is resident bytes as the kernel counts them, shared pages included. Looks come as often as the next limit is near: one that
is far away is looked at once a second, one that can be reached within a tenth of a second ten times. So a leak is seen within two
tenths of a second of its limit, however far that was at the last look, up to the speed at which memory can be filled at all.

Must not know: processes, clocks, chance, what is done about it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, Literal, TypeAlias

import attrs

from actors.supervisor._spec import Options

__all__ = ["SOONEST_SECONDS", "Gauge", "Limits", "Verdict", "begin", "look", "size"]

Verdict: TypeAlias = Literal["none", "replace", "too_low", "kill"]

SOONEST_SECONDS: Final = 0.1
LATEST_SECONDS: Final = 1.0
# A process that begins to leak right after a look may do it so fast; one that is seen to leak, this many times faster than seen.
FASTEST_LEAK: Final = 512 << 20
FASTER: Final = 4
# A replacement that was asked for and did not come about (it failed to start) is asked for again. And where a limit is below what
# the actor takes when it has done nothing yet, each incarnation lasts at least so long.
AGAIN_SECONDS: Final = 10.0

_KIB: Final = 1024


@attrs.frozen(kw_only=True)
class Limits:
    """
    What one incarnation may come to; None where there is no limit.

    Attributes:
        soft: Resident bytes above which it is replaced.
        hard: Resident bytes above which it is killed.
    """

    soft: float | None = None
    hard: float | None = None

    @classmethod
    def of(cls, options: Options, chance: float) -> Limits | None:
        """
        The limits of an actor; None if it has none.

        Args:
            options: Of the actor.
            chance: In [0, 1), drawn once per incarnation: which part of the recycling's jitter is added.
        """
        recycle = options.recycle
        if recycle is None:
            found = cls(soft=options.memory_soft, hard=options.memory_hard)
        else:
            stretched = None if recycle.rss is None else recycle.rss * (1.0 + recycle.jitter * chance)
            found = cls(soft=_least((options.memory_soft, stretched)), hard=options.memory_hard)
        return None if found == cls() else found


def _least(limits: Iterable[float | None]) -> float | None:
    return min((limit for limit in limits if limit is not None), default=None)


@attrs.frozen(kw_only=True)
class Gauge:
    """
    What is known of one incarnation.

    Attributes:
        limits: What it may come to.
        looked: When it was looked at last.
        rss: Resident bytes then.
        due: When it is to be looked at next.
        asked: When a replacement was asked for or put off, or None.
        why: Which limit was passed, as a sentence; ``""`` for none.
    """

    limits: Limits
    looked: float
    due: float
    rss: int = 0
    asked: float | None = None
    why: str = ""


def begin(limits: Limits, now: float) -> Gauge:
    """
    Begin with a process that has just been made.

    Args:
        limits: What it may come to.
        now: The time.
    """
    return Gauge(limits=limits, looked=now, due=now)


def look(gauge: Gauge, rss: int, now: float, *, serves: bool, base: int = 0) -> tuple[Gauge, Verdict]:
    """
    Judge one look.

    Args:
        gauge: As the last look left it.
        rss: Resident bytes.
        now: The time.
        serves: Whether it is ready and not stopping: any other is not replaced.
        base: Resident bytes as it began to serve.

    Returns:
        The gauge with the time of the next look, and what to do. A replacement is asked for once, and again every ten seconds while
        the incarnation lives on; ``"too_low"`` puts off the first request. After a kill there is no next look.
    """
    limits = gauge.limits
    seen = attrs.evolve(gauge, looked=now, rss=rss, due=now + _pause(gauge, rss, now))
    if limits.hard is not None and rss > limits.hard:
        return attrs.evolve(seen, why=f"{size(rss)} resident, above memory_hard={size(limits.hard)}"), "kill"
    if not serves or limits.soft is None or rss <= limits.soft:
        return seen, "none"
    if gauge.asked is not None and now < gauge.asked + AGAIN_SECONDS:
        return seen, "none"
    above = attrs.evolve(seen, asked=now, why=f"{size(rss)} resident, above {size(limits.soft)}")
    return above, "too_low" if gauge.asked is None and base > limits.soft else "replace"


def _pause(gauge: Gauge, rss: int, now: float) -> float:
    """How long the nearest limit ahead cannot be reached, between a tenth of a second and a second."""
    limits, passed = gauge.limits, max(now - gauge.looked, 0.001)
    growth = max(FASTEST_LEAK, FASTER * (rss - gauge.rss) / passed)
    waits = [(limit - rss) / growth for limit in (limits.soft, limits.hard) if limit is not None and limit >= rss]
    return max(SOONEST_SECONDS, min((LATEST_SECONDS, *waits)))


def size(number: float) -> str:
    """
    A number of bytes as people read it: ``"512 MiB"``, ``"1.5 GiB"``.

    Args:
        number: Bytes, 0 or above.
    """
    if number < _KIB:
        return f"{number:.0f} bytes"
    power = min(4, int(math.log(number, _KIB)))
    return f"{number / _KIB**power:.4g} {('KiB', 'MiB', 'GiB', 'TiB')[power - 1]}"
