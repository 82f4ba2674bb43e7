"""
One step of a supervisor in the making. Owns :class:`Turn`, the only thing that changes in place, and nobody outside sees it.

Must not know: what follows from what; that is for ``_machine`` and the modules beside it.
"""

from __future__ import annotations

from typing import Any, Final

import attrs

from actors.supervisor._exits import ExitReason
from actors.supervisor._policy import Seconds
from actors.supervisor._state import ChildGone, ChildParked, ChildState, Down, MachineEffect, MachineState

__all__ = ["Turn", "is_due"]

_NEVER_RAN: Final = ExitReason("requested", evidence=("it was never started",))


class Turn:
    """
    A state that is being changed, and what is to be done about it.

    Args:
        state: As the last step left it.
        now: The present in seconds.
    """

    def __init__(self, state: MachineState, now: Seconds) -> None:
        self.state = state
        self.children = dict(state.children)
        self.now = now
        self.effects: list[MachineEffect] = []

    def emit(self, effect: MachineEffect) -> None:
        self.effects.append(effect)

    def set(self, **changes: Any) -> None:
        self.state = attrs.evolve(self.state, **changes)

    def change(self, child: ChildState, **changes: Any) -> ChildState:
        changed = attrs.evolve(child, **changes)
        self.children[child.id] = changed
        return changed

    def remove(self, child: ChildState) -> None:
        del self.children[child.id]
        self.emit(ChildGone(child.id, child.reason or _NEVER_RAN))

    def park(self, child: ChildState) -> None:
        self.change(child, phase=Down(), wanted="parked")
        self.emit(ChildParked(child.id, child.reason or _NEVER_RAN))

    def result(self, due: Seconds | None) -> MachineState:
        return attrs.evolve(self.state, children=self.children, due=due)


def is_due(at: Seconds | None, now: Seconds) -> bool:
    """Whether *at* has come; None never comes."""
    return at is not None and at <= now
