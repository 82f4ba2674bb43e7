"""
Looks at the kernel's out-of-memory counters while actors live, so that a death can be put down to one. In the pump's thread.

The counter is that of the control group the actor's own process is in, read while it lives: it may be another than the host's.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import attrs

from actors import _oom_counter
from actors.supervisor._oom import PROOF_SECONDS, OomLedger

if TYPE_CHECKING:
    from actors._oom_counter import Counter
    from actors.supervisor._pump import Pump

__all__ = ["OomWatch"]


@attrs.define(eq=False)
class _Group:
    counter: Counter
    ledger: OomLedger = attrs.Factory(OomLedger)
    members: int = 0


class OomWatch:
    """
    The counters of all control groups that actors live in.

    Args:
        pump: Whose thread this runs in.
    """

    def __init__(self, pump: Pump) -> None:
        self._groups: dict[str, _Group] = {}
        self._due = 0.0
        pump.deadlines.append(self._tick)

    def enter(self, pid: int) -> str | None:
        """A process begins: return the name of its counter, for :meth:`leave`; None where none can be read."""
        counter = _oom_counter.counter_of(pid)
        if counter is None:
            return None
        group = self._groups.setdefault(counter.name, _Group(counter))
        group.members += 1
        group.ledger.look(counter.read(), time.monotonic())
        return counter.name

    def leave(self, name: str | None, died: float, *, suspect: bool) -> int | None:
        """
        A process has ended.

        Args:
            name: What :meth:`enter` gave.
            died: When its end was seen, in ``time.monotonic()`` seconds.
            suspect: Whether it ended by a SIGKILL that nobody of us sent.

        Returns:
            How many out-of-memory kills are to be put down to it; None where nobody counts them.
        """
        group = self._groups.get(name or "")
        if group is None:
            return None
        reading = group.counter.read()
        group.ledger.look(reading, time.monotonic())
        group.members -= 1
        if group.members == 0:
            del self._groups[group.counter.name]
        if suspect and reading is None:
            return None
        return group.ledger.claim(died) if suspect else 0

    def _tick(self, now: float) -> float | None:
        # A kill that is not seen while it is fresh could be taken for the reason of a later death.
        if not self._groups:
            return None
        if now >= self._due:
            self._due = now + PROOF_SECONDS / 2
            for group in self._groups.values():
                group.ledger.look(group.counter.read(), now)
        return self._due
