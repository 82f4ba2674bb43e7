"""
Whether an actor is worn: by the memory it holds, the messages it has handled, its age. And when to look again.

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

__all__ = ["Gauge", "Limits", "Verdict", "begin", "look", "size"]

Verdict: TypeAlias = Literal["none", "replace", "kill"]

SOONEST_SECONDS: Final = 0.1
LATEST_SECONDS: Final = 1.0
# A process that begins to leak right after a look may do it so fast; one that is seen to leak, this many times faster than seen.
FASTEST_LEAK: Final = 512 << 20
FASTER: Final = 4
# A replacement that was asked for and did not come about (it failed to start) is asked for again.
AGAIN_SECONDS: Final = 10.0

_KIB: Final = 1024


@attrs.frozen(kw_only=True)
class Limits:
    """
    What one incarnation may come to; None where there is no limit.

    Attributes:
        soft: Resident bytes above which it is replaced.
        hard: Resident bytes above which it is killed.
        messages: How many it handles before it is replaced.
        age: Seconds it serves before it is replaced.
    """

    soft: float | None = None
    hard: float | None = None
    messages: float | None = None
    age: float | None = None

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
            stretch = 1.0 + recycle.jitter * chance
            found = cls(
                soft=_least((options.memory_soft, _times(recycle.rss, stretch))),
                hard=options.memory_hard,
                messages=_times(recycle.messages, stretch),
                age=_times(recycle.age, stretch),
            )
        return None if found == cls() else found


def _times(limit: float | None, stretch: float) -> float | None:
    return None if limit is None else limit * stretch


def _least(limits: Iterable[float | None]) -> float | None:
    return min((limit for limit in limits if limit is not None), default=None)


@attrs.frozen(kw_only=True)
class Gauge:
    """
    What is known of one incarnation.

    Attributes:
        limits: What it may come to.
        began: When it was looked at first as one that serves; until then, the last look.
        looked: When it was looked at last.
        rss: Resident bytes then.
        handled: Messages handled then, since it began.
        due: When it is to be looked at next.
        asked: When a replacement was asked for, or None.
        why: Which limit was passed, as a sentence; ``""`` for none.
    """

    limits: Limits
    began: float
    looked: float
    due: float
    rss: int = 0
    handled: int = 0
    asked: float | None = None
    why: str = ""


def begin(limits: Limits, now: float) -> Gauge:
    """
    Begin with a process that has just been made.

    Args:
        limits: What it may come to.
        now: The time.
    """
    return Gauge(limits=limits, began=now, looked=now, due=now)


def look(gauge: Gauge, rss: int, handled: int, now: float, *, serves: bool) -> tuple[Gauge, Verdict]:
    """
    Judge one look.

    Args:
        gauge: As the last look left it.
        rss: Resident bytes.
        handled: Messages it has handled.
        now: The time.
        serves: Whether it is ready and not stopping: any other is not replaced, and its age does not count.

    Returns:
        The gauge with the time of the next look, and what to do. A replacement is asked for once, and again every ten seconds while
        the incarnation lives on. After a kill there is no next look.
    """
    limits = gauge.limits
    began = gauge.began if serves else now
    due = now + _pause(attrs.evolve(gauge, began=began), rss, handled, now)
    seen = attrs.evolve(gauge, began=began, looked=now, rss=rss, handled=handled, due=due)
    if limits.hard is not None and rss > limits.hard:
        return attrs.evolve(seen, why=f"{size(rss)} resident, above memory_hard={size(limits.hard)}"), "kill"
    why = _worn(limits, rss, handled, now - began) if serves else ""
    if not why or (gauge.asked is not None and now < gauge.asked + AGAIN_SECONDS):
        return seen, "none"
    return attrs.evolve(seen, asked=now, why=why), "replace"


def _worn(limits: Limits, rss: int, handled: int, age: float) -> str:
    if limits.soft is not None and rss > limits.soft:
        return f"{size(rss)} resident, above {size(limits.soft)}"
    if limits.messages is not None and handled >= limits.messages:
        return f"{handled} messages handled, of {limits.messages:.0f}"
    if limits.age is not None and age >= limits.age:
        return f"{age:.3g} s old, of {limits.age:.3g} s"
    return ""


def _pause(gauge: Gauge, rss: int, handled: int, now: float) -> float:
    """How long the nearest limit ahead cannot be reached, between a tenth of a second and a second."""
    limits, passed = gauge.limits, max(now - gauge.looked, 0.001)
    growth = max(FASTEST_LEAK, FASTER * (rss - gauge.rss) / passed)
    waits = [(limit - rss) / growth for limit in (limits.soft, limits.hard) if limit is not None and limit >= rss]
    if limits.messages is not None and handled > gauge.handled:
        waits.append((limits.messages - handled) * passed / (handled - gauge.handled))
    if limits.age is not None:
        waits.append(gauge.began + limits.age - now)
    return max(SOONEST_SECONDS, min((LATEST_SECONDS, *(wait for wait in waits if wait >= 0.0))))


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
