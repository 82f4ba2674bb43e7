"""
What the log says of incarnations, and of decisions: that one comes back, that a supervisor gives up, that a stop takes another rung. In the
pump's thread.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from actors.supervisor import _events as ev
from actors.supervisor import _exits
from actors.supervisor._cells import Body, Cell
from actors.supervisor._report import one_line
from actors.supervisor._rungs import limit_over

if TYPE_CHECKING:
    from actors._host import Host

__all__ = ["Chronicle"]


class Chronicle:
    """
    Logs what was decided.

    Args:
        host: Everything the system shares.
    """

    def __init__(self, host: Host) -> None:
        self._host = host

    def log_incarnation(self, level: str, event: str, cell: Cell, body: Body, **keys: object) -> None:
        """Log an event of one incarnation, by its path, uid, number and pid."""
        self._host.log(level, event, path=cell.path, uid=cell.uid, incarnation=body.incarnation, pid=body.pid, **keys)

    def restart(self, cell: Cell, effect: ev.RestartScheduled) -> None:
        """Log that an actor will come back."""
        self._host.log(
            "info",
            "actors.restart_scheduled",
            path=cell.path,
            uid=effect.uid,
            incarnation=effect.incarnation,
            delay=round(max(0.0, effect.at - time.monotonic()), 3),
            attempt=effect.attempt,
        )

    def exhausted(self, effect: ev.IntensityExceeded) -> None:
        """Log that a supervisor gives up."""
        self._host.log(
            "error",
            "actors.restart_intensity_exceeded",
            path=effect.path,
            restarts=effect.restarts,
            max_restarts=effect.max_restarts,
            period=effect.period,
            then=effect.then,
            reason=one_line(_exits.describe(effect.reason)),
        )

    def rung(self, cell: Cell, body: Body, rung: str, stack: str = "") -> None:
        """Log that a rung of the ladder of a stop is taken: ``request``, or the name of a signal."""
        if rung == "request":
            self.log_incarnation("debug", "actors.stopping", cell, body, rung=rung)
            return
        now = time.monotonic()
        self.log_incarnation(
            "warning",
            "actors.stop_escalated",
            cell,
            body,
            rung=rung,
            seconds=round(now - body.stop_asked, 3) if body.stop_asked else None,
            queued_messages=cell.view.count_waiting() if cell.body is body else None,
            reason=limit_over(
                rung,
                shutdown=cell.options.shutdown,
                term_grace=cell.options.term_grace,
                since_term=now - body.terminated if body.terminated else None,
                deadline=self._host.shutdown_deadline,
            ),
            stack=stack or None,
        )
        if rung == "SIGTERM":
            body.terminated = body.terminated or now
