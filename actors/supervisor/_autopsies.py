"""
What can be known of an incarnation that has ended: its exit reason with the evidence for it, and its crash report.

In the pump's thread. Owns no decision: the reason is classified by :mod:`actors.supervisor._exits`, out-of-memory kills are ascribed by
:mod:`actors.supervisor._oom`.
"""

from __future__ import annotations

import contextlib
import platform
import signal
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import attrs

from actors._launch import Ending, ending
from actors.errors import ProtocolError
from actors.mailbox._inbox import queued_bytes
from actors.mailbox._layout import FlightState
from actors.mailbox._reader import count_messages
from actors.supervisor import _events as ev
from actors.supervisor import _exits, _view
from actors.supervisor._report import CrashReport, plain_error
from actors.supervisor._stack_text import fold, stack_text
from actors.supervisor._stacks import read_stack

if TYPE_CHECKING:
    from actors._host import Host
    from actors.supervisor._cells import Body, Cell

__all__ = ["Autopsies", "LastWords"]

# Counting messages costs the pump a millisecond for so much of them.
_MOST_COUNTED_BYTES = 64 * 1024
_IN_A_HANDLER = frozenset((FlightState.HANDLING, FlightState.WAITING, FlightState.BLOCKED))
_FAULTS = frozenset(-number for number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGBUS, signal.SIGILL))
_QUIET = frozenset(("normal", "requested"))


@attrs.frozen
class LastWords:
    """
    What an incarnation's recorder says at its death, before anything is done about it. Nothing, where it is nonsense.

    Attributes:
        handler: Of the message in flight, or None.
        since: When that began, in seconds of the monotonic clock; 0.0 where unknown.
        recent: Handlers of its last messages.
        deaths: How often the actor had died of one message before: which one, and the count.
    """

    handler: str | None
    since: float
    recent: tuple[str, ...]
    deaths: tuple[int, int]


class Autopsies:
    """
    Examines the dead.

    Args:
        host: Everything the system shares.
    """

    def __init__(self, host: Host) -> None:
        self._host = host

    def reason(self, body: Body, code: int | None, *, status_known: bool) -> _exits.ExitReason:
        """
        Why *body* has ended. Once for each.

        Args:
            body: Its process has ended, or was never made.
            code: Its exit code, or None.
            status_known: False where its status is lost.
        """
        usage = _ending_of(body)
        body.died = body.died or time.monotonic()
        killed = body.killed_for is not None or body.broken is not None
        oom_kills = self._oom_kills(body, suspect=code == -signal.SIGKILL and not killed)
        rss = body.rss
        if rss is not None:
            body.note("its resident memory was read before the kill")
        elif usage is not None:
            rss = usage.peak_rss
            body.note("its resident memory is the peak that the kernel reports")
        reason = _exits.classify(
            code,
            ready=body.ready,
            stop_requested=body.stop_sent,
            killed_for=None if body.killed_for == "protocol" else body.killed_for,  # type: ignore[arg-type]
            crash_report=body.report,
            protocol_error=body.broken,
            oom_kills=oom_kills,
            status_known=status_known,
            status=body.wait_status if usage is None else usage.status,
            rss=rss,
            offence=body.offence,
            notes=body.notes,
        )
        return attrs.evolve(reason, stack=fold(body.stack)) if reason.kind == "boot_timeout" else reason

    def _oom_kills(self, body: Body, *, suspect: bool) -> int:
        kills = self._host.oom.leave(body.oom_group, body.died, suspect=suspect)
        body.oom_group = None
        if suspect and kills is None:
            body.note("no counter of out-of-memory kills can be read")
        elif suspect and kills == 0:
            body.note("no out-of-memory kill was counted in its group")
        return kills or 0

    def last_words(self, cell: Cell, body: Body) -> LastWords:
        """Read what the recorder says; before its messages are settled. Of one that stood by it says nothing."""
        handler, since = None, 0.0
        if cell.standby is body:
            return LastWords(handler, since, (), (cell.deaths.place, cell.deaths.count))
        with contextlib.suppress(ProtocolError):
            flight = cell.view.flight()
            if flight.state in _IN_A_HANDLER:
                handler, since = flight.handler, flight.since
        return LastWords(handler, since, cell.view.recent(), (cell.deaths.place, cell.deaths.count))

    def report(self, cell: Cell, body: Body, exited: ev.ActorExited, words: LastWords) -> None:
        """Tell of an abnormal death; after its messages were settled, before anything of it is closed, and before the tree is told."""
        reason = exited.reason
        if reason.kind in _QUIET:
            return
        usage = _ending_of(body)
        named = (body.report or {}).get("handler")
        handler = words.handler or (named if isinstance(named, str) else None)
        lasted = body.died - words.since if handler is not None and words.since else None
        report = attrs.evolve(
            self._report(cell, exited),
            stack=_stack_of(body, reason),
            handler=handler,
            handler_seconds=None if lasted is None or lasted < 0 else lasted,
            recent=words.recent,
            uptime=body.died - body.born,
            peak_rss=None if usage is None else usage.peak_rss,
            cpu_seconds=None if usage is None else usage.cpu_seconds,
            pid=body.pid,
            attempts=cell.deaths.count if (cell.deaths.place, cell.deaths.count) != words.deaths else 0,
        )
        self._host.crashed(report)

    def report_unborn(self, cell: Cell, exited: ev.ActorExited) -> None:
        """Tell of an incarnation for which no process could be made."""
        self._host.crashed(self._report(cell, exited))

    def _report(self, cell: Cell, exited: ev.ActorExited) -> CrashReport:
        reason = exited.reason
        info = _view.actor_info(self._host.runner.state, cell.uid)
        handled, waiting = None, None
        with contextlib.suppress(ProtocolError):
            flight = cell.view.flight()
            handled, waiting = flight.handled, flight.read_bytes - flight.handled_bytes
        in_pipe = queued_bytes(cell.inbox_read)
        return CrashReport(
            system=self._host.name,
            path=cell.path,
            uid=cell.uid,
            incarnation=exited.incarnation,
            class_name=f"{cell.cls.__module__}.{cell.cls.__qualname__}",
            kind=reason.kind,
            reason=_exits.describe(reason),
            exit_code=reason.exit_code,
            status=reason.status,
            signal=reason.signal,
            error=plain_error(reason.error),
            queued_messages=None if waiting is None or in_pipe else _count_queued(cell, waiting),
            queued_bytes=None if waiting is None else waiting + in_pipe,
            unread_bytes=in_pipe,
            handled=handled,
            restarts=0 if info is None else info.restarts,
            then=self._host.runner.foresee(exited),
            rss=reason.rss,
            evidence=reason.evidence,
            ancestors=_ancestors(cell.path),
            host=platform.node(),
            start_method=self._host.method,
            python_version=platform.python_version(),
            time=datetime.now(UTC).isoformat(timespec="microseconds"),
        )


def _ending_of(body: Body) -> Ending | None:
    return None if body.process is None else ending(body.process)


def _stack_of(body: Body, reason: _exits.ExitReason) -> str:
    """The stack that belongs to this death: written at a fault, or taken before the kill. An older one explains nothing."""
    if reason.exit_code in _FAULTS:
        return stack_text(read_stack(body.stack_file))
    return stack_text(body.stack) if body.killed_for is not None else ""


def _count_queued(cell: Cell, size: int) -> int | None:
    if size > _MOST_COUNTED_BYTES:
        return None
    try:
        return sum(count_messages(frame) for frame in cell.view.queued_frames())
    except ProtocolError:
        return None


def _ancestors(path: str) -> tuple[str, ...]:
    """The supervisors above a path, the nearest first."""
    parts = path.strip("/").split("/")
    return tuple("/" + "/".join(parts[:length]) for length in range(len(parts) - 1, 0, -1))
