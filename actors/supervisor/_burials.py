"""
The end of an incarnation: what it said last, how its process ended, and what becomes of what it leaves.

A death is taken in this order: what it still said on the control lane, its exit status, the recorder (which message was in flight),
the answers it had published, the news to whoever asked; then the tree decides what comes next.
"""

from __future__ import annotations

import os
import random
import time
from typing import TYPE_CHECKING

from actors._launch import exit_code
from actors._status import read_status
from actors._zygote import zygote
from actors.mailbox._envelope import lane_number
from actors.supervisor import _events as ev
from actors.supervisor import _exits
from actors.supervisor._autopsies import Autopsies
from actors.supervisor._cells import Body, Cell
from actors.supervisor._report import one_line
from actors.supervisor._watches import is_abnormal

if TYPE_CHECKING:
    from actors._host import Host
    from actors.supervisor._runner import Runner

__all__ = ["Burials"]

# How long an exit status may take to come after the end itself, as it does under a busy forkserver.
_STATUS_SECONDS = 2.0
# How long a forkserver takes at most, as a rule; then it is looked whether it is stopped.
_FORKSERVER_SECONDS = 0.05


class Burials:
    """
    Takes deaths, in the pump's thread.

    Args:
        host: Everything the system shares.
        runner: Who is told.
    """

    def __init__(self, host: Host, runner: Runner) -> None:
        self._host = host
        self._pump = host.pump
        self._runner = runner
        self.autopsies = Autopsies(host)

    def ended(self, cell: Cell, body: Body) -> None:
        """Its process has ended: read what it said last, then look for its status."""
        if body.dead:
            return
        body.died = time.monotonic()
        self._runner.take_notices(cell, body)
        body.dead = True
        self._pump.unwatch(body.pidfd)
        self._pump.unwatch(body.sentinel)
        self.look_for_status(cell, body)

    def look_for_status(self, cell: Cell, body: Body) -> None:
        if body not in cell.bodies:
            return
        body.dead = True
        assert body.process is not None
        code, known = exit_code(body.process)
        if code is not None:
            self.bury(cell, body, code, status_known=True)
        elif not known:
            self._bury_unreaped(cell, body)
        elif not body.status_wanted:
            # A forkserver passes it on, which takes another moment than the end itself.
            body.status_wanted = True
            self._pump.watch(body.sentinel, lambda: self.look_for_status(cell, body))
            body.timers.append(self._pump.after(_FORKSERVER_SECONDS, lambda: self._ask_the_kernel(cell, body)))
            body.timers.append(self._pump.after(_STATUS_SECONDS, lambda: self._bury_unreaped(cell, body)))

    def _ask_the_kernel(self, cell: Cell, body: Body) -> None:
        """The forkserver takes long. If it is only slow, it will say more than the kernel does; if it is stopped, it says nothing."""
        if body in cell.bodies and zygote.is_stopped() and _status(body) is not None:
            self._bury_unreaped(cell, body)

    def _bury_unreaped(self, cell: Cell, body: Body) -> None:
        """Nobody has passed its status on, or will: take what the kernel says."""
        if body in cell.bodies:
            body.wait_status = _status(body)
            if body.wait_status is None:
                self.bury(cell, body, None, status_known=False)
                return
            body.note("its status was read from the kernel: nobody had passed it on")
            self.bury(cell, body, os.waitstatus_to_exitcode(body.wait_status), status_known=True)

    def bury(self, cell: Cell, body: Body, code: int | None, *, status_known: bool) -> None:
        if body not in cell.bodies:
            return
        reason = self.autopsies.reason(body, code, status_known=status_known)
        self.log_exit(cell, body.incarnation, body.pid, reason)
        self._pump.unwatch(body.lane.fileno())
        self._pump.unwatch(body.pidfd)
        self._pump.unwatch(body.sentinel)
        exited = ev.ActorExited(cell.uid, body.incarnation, reason, random.random())
        with self._host.letters.held():
            self._settle(cell, body, exited)
        successor = cell.standby
        if successor is not None and successor.ready and body.handing_over and not is_abnormal(reason):
            self._runner.obituaries.handed_over(cell, body.incarnation, successor.incarnation)
        else:
            self._runner.obituaries.ended(cell, body.incarnation, reason)
        self._release(cell, body)
        self._runner.handle(exited)

    def _settle(self, cell: Cell, body: Body, exited: ev.ActorExited) -> None:
        """What becomes of its messages and its memory, and the report of it."""
        reason = exited.reason
        words = self.autopsies.last_words(cell, body)
        if cell.forget(body):
            cell.last = reason
            self._host.mail.settle(cell, body, reason)
        # After the message in flight was looked at: it may lie in one of these slots, and come again.
        self._host.arenas.release_marked(lane_number(cell.uid, body.incarnation))
        self._host.memory.orphan(cell.uid, body.incarnation)
        self._host.memory.forget_user(cell.uid, body.incarnation)
        self._host.channel_book.forget((cell.uid, body.incarnation), in_order=reason.kind == "requested")
        self.autopsies.report(cell, body, exited, words)

    def _release(self, cell: Cell, body: Body) -> None:
        """Close what it had, and let go whoever depends on it."""
        body.close()
        holder = (cell.uid, body.incarnation)
        if body.boot is not None:
            self._host.sweeper.note_end(body.boot.mark)
        for other in self._runner.cells.values():
            if holder in other.holders:
                other.holders.discard(holder)
                for reader in other.bodies:
                    # Whatever it was streaming to the dead has nobody to read it.
                    self._runner.tell_body(reader, "caller_gone", *holder)
        for uid in tuple(body.spawned):
            self._runner.handle(ev.StopActor(uid))
        for number in body.pools:
            self._runner.pools.stop(number, drain=False)

    def log_exit(self, cell: Cell, incarnation: int, pid: int | None, reason: _exits.ExitReason) -> None:
        level = "info" if reason.kind in {"normal", "requested"} else "error"
        if level == "error":
            self._host.last_failed = cell.path
        elif reason.kind == "normal" and cell.options.restart == "permanent" and not cell.may_leave:
            level = "warning"  # it is to run for ever
        self._host.log(
            level,
            "actors.child_exited",
            path=cell.path,
            uid=cell.uid,
            incarnation=incarnation,
            pid=pid,
            kind=reason.kind,
            exit_code=reason.exit_code,
            reason=one_line(_exits.describe(reason)),
        )


def _status(body: Body) -> int | None:
    return None if body.pid is None or body.pidfd < 0 else read_status(body.pid, body.pidfd)
