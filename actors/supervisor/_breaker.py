"""
When a child that keeps failing is left alone: after so many failed starts, or so many deaths with one fingerprint.

Owns the counts. Both limits are options of a child, and None, which is OTP's way: then a child comes back until its supervisor
gives up. A child that is parked by a breaker spends no intensity, and its siblings go on, under every strategy: taking the group
down would start them beside one that is not there. It comes back with clean counts when it is restarted by hand, or when a sibling's
death restarts its group.

Must not know: what parking is, who is told.
"""

from __future__ import annotations

from typing import Any

import attrs

from actors.supervisor._exits import ExitReason
from actors.supervisor._fingerprint import fingerprint
from actors.supervisor._state import ChildState

__all__ = ["CLEAN", "counted", "is_open", "verdict"]

CLEAN: dict[str, Any] = {"failed_starts": 0, "fingerprint": None, "same_crashes": 0}
"""What a child's counts are when it begins anew."""


def counted(child: ChildState, reason: ExitReason, *, ran: bool, stable: bool) -> ChildState:
    """
    *child* with its death in the counts.

    Args:
        child: That has died by itself, and is to come back.
        reason: Why.
        ran: Whether it had been ready; a failed start otherwise.
        stable: Whether it had run so long that what was before is forgotten.
    """
    failed_starts = 0 if ran else child.failed_starts + 1
    if child.rule.max_same_crashes is None:
        return attrs.evolve(child, failed_starts=failed_starts)
    found = fingerprint(reason)
    before = child.same_crashes if found == child.fingerprint and not stable else 0
    same = 0 if found is None else before + 1
    return attrs.evolve(child, failed_starts=failed_starts, fingerprint=found, same_crashes=same)


def is_open(child: ChildState) -> bool:
    """Whether its counts say that it is left alone."""
    return verdict(child) is not None


def verdict(child: ChildState) -> str | None:
    """Why *child* is left alone, as evidence; None: it comes back."""
    crashes, starts = child.rule.max_same_crashes, child.rule.max_start_failures
    if crashes is not None and child.same_crashes >= crashes:
        return f"{_in_a_row(child.same_crashes, 'death')} with one fingerprint: {child.fingerprint}"
    if starts is not None and child.failed_starts >= starts:
        return _in_a_row(child.failed_starts, "failed start")
    return None


def _in_a_row(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'} in a row"
