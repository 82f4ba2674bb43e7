"""
Looks at actors that may hold too much memory, and has them replaced or killed.

Runs in the pump's thread and only by its times; looks at no actor that has no limit. What a look means, and when the next one is due,
is :mod:`actors.supervisor._wear`'s decision.

``memory_hard`` is a backstop of ours, not the kernel's: it is looked at from outside, a few times a second. Who needs a limit that
cannot be passed at all sets one that the kernel keeps (``resource.setrlimit`` in ``on_start``, a control group).
"""

from __future__ import annotations

import functools
import random
import signal
import time
from typing import TYPE_CHECKING

import attrs

from actors.supervisor import _wear
from actors.supervisor._cells import Body, Cell

if TYPE_CHECKING:
    from actors._host import Host
    from actors.supervisor._runner import Runner

__all__ = ["Meters"]


@attrs.define(eq=False)
class _Meter:
    """
    What looks at one incarnation.

    Attributes:
        body: The incarnation.
        gauge: What is known of it.
    """

    body: Body
    gauge: _wear.Gauge


class Meters:
    """
    The meters of a system.

    Args:
        host: Everything the system shares.
        runner: Who kills and decides.
    """

    def __init__(self, host: Host, runner: Runner) -> None:
        self._host = host
        self._runner = runner

    def introduced(self, cell: Cell, body: Body) -> None:
        """The process of this incarnation is known: look at it from now on, as long as it lives."""
        limits = _wear.Limits.of(cell.options, random.random())
        if limits is None or body.pid is None:
            return
        self._look(cell, _Meter(body, _wear.begin(limits, time.monotonic())))

    def serves(self, cell: Cell, body: Body) -> None:
        """It begins to take messages: what it holds now is what it takes anyway."""
        if cell.options.memory_soft is not None or cell.options.recycle is not None:
            body.base_rss = body.measure() or 0

    def _look(self, cell: Cell, meter: _Meter) -> None:
        body = meter.body
        if body.dead or body.killed_for is not None:
            return
        rss = _resident_bytes(body)
        if rss is None:
            # It has ended, which its pidfd will say; or the host has no descriptor left to look.
            self._host.pump.after(_wear.SOONEST_SECONDS, functools.partial(self._look, cell, meter))
            return
        serves = body.ready and not body.stop_sent and cell.body is body
        now = time.monotonic()
        meter.gauge, verdict = _wear.look(meter.gauge, rss, now, serves=serves, base=body.base_rss)
        if verdict == "kill":
            body.offence = meter.gauge.why
            self._runner.kill(cell, body, "memory_limit")
            return
        self._host.pump.after(meter.gauge.due - now, functools.partial(self._look, cell, meter))
        if verdict == "too_low":
            self._log("warning", "actors.memory_soft_too_low", cell, body, meter.gauge)
        elif verdict == "replace":
            self._log("info", "actors.memory_soft", cell, body, meter.gauge)
            self._runner.replacing.ask(cell, body, meter.gauge.why)

    def _log(self, level: str, event: str, cell: Cell, body: Body, gauge: _wear.Gauge) -> None:
        self._runner.chronicle.log_incarnation(level, event, cell, body, rss=gauge.rss, reason=gauge.why)


def _resident_bytes(body: Body) -> int | None:
    """Return what the kernel counts for this very process; None where it has ended, or nobody can look."""
    rss = body.measure()
    try:
        # While it lives its number is its own: what was just read was its, and not a later process's.
        signal.pidfd_send_signal(body.pidfd, 0)
    except OSError:
        return None
    return rss
