"""
How an incarnation comes into being: its control lane, the start call, the hold on its process, its first words.

A start goes through two threads and two processes; whichever step comes first, each is met here, in the pump's thread: the start call
that returns or fails, the child that says hello, the child that dies before either.
"""

from __future__ import annotations

import functools
import os
import random
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs

from actors import _descriptors, _limits, _marks, _probe
from actors._launch import Boot, exit_code
from actors.errors import ActorsError
from actors.mailbox import _failure
from actors.mailbox._control import ControlLane
from actors.supervisor import _events as ev
from actors.supervisor import _exits
from actors.supervisor._cells import DESCRIPTORS_PER_START, Body, Cell
from actors.supervisor._recycling import limits
from actors.supervisor._stacks import make_stack_file

if TYPE_CHECKING:
    from actors._actor import Actor
    from actors._host import Host
    from actors.supervisor._runner import Runner

__all__ = ["Births"]

_CONTROL_LIMIT = 128 << 20
# A child hands over one pidfd, once.
_PASSED_LIMIT = 8
# For a process there was no descriptor left to hold it by, and so to signal it: between two tries.
_HOLD_AGAIN_SECONDS = 0.02
# Between two tries of a restart that found no descriptors.
_FIRST_PAUSE_SECONDS = 0.05
_MOST_PAUSE_SECONDS = 1.0


@attrs.define(eq=False)
class _Shortage:
    """
    A restart that waits for descriptors of the host, or for a process.

    They are the host's affair and not the actor's: while they are short for a moment, no restart is counted against it. It is tried
    again for as long as a start may take; then the start has failed.

    Attributes:
        incarnation: Which one is to be started.
        give_up: When it has failed.
        error: What the last try met.
        pause: Seconds before the next try.
        waits: Whether that is still to come; else it is being made.
    """

    incarnation: int
    give_up: float
    error: BaseException
    pause: float = _FIRST_PAUSE_SECONDS
    waits: bool = True


class Births:
    """
    Starts incarnations, in the pump's thread.

    Args:
        host: Everything the system shares.
        runner: Who is told.
    """

    def __init__(self, host: Host, runner: Runner) -> None:
        self._host = host
        self._pump = host.pump
        self._runner = runner
        self._shortages: dict[int, _Shortage] = {}

    def start(self, cell: Cell, incarnation: int, *, standby: bool = False) -> None:
        """
        Begin the start of an incarnation; of one that stands by, beside the one that serves.

        A restart for which there are no descriptors or processes is tried again, see :class:`_Shortage`.
        """
        host = self._host
        host.mail.unpark(cell, incarnation)
        try:
            _limits.check_descriptors(cell.path, DESCRIPTORS_PER_START)
            _limits.check_processes(cell.path)
            body = self._make_body(incarnation)
            body.limits = limits(cell.options.recycle, random.random())
        except (OSError, ActorsError) as error:
            # One that would stand by is tried again by the tree: the one it is to replace goes on.
            if standby or not (_is_shortage(error) and self._postpone(cell, incarnation, error)):
                self._never_started(cell, incarnation, _refused(cell.path, error))
            return
        if standby:
            cell.standby = body
            self._runner.replacing.begins(cell, body)
        else:
            cell.body = body
            cell.view.set_incarnation(incarnation)
        boot = Boot(
            module=cell.cls.__module__,
            qualname=cell.cls.__qualname__,
            name=cell.path.rsplit("/", 1)[-1],
            control=body.boot_control,
            lifeline=host.lifeline,
            stack=body.stack_file,
            host_pid=os.getpid(),
            soft_limit=_descriptors.original_limit(),
            max_bytes=host.max_bytes,
            mark=_marks.make_mark(host.name, cell.uid, incarnation),
        )
        body.boot = boot
        host.sweeper.note_start(boot.mark)
        self._pump.watch(body.lane.fileno(), lambda: self._runner.control(cell, body))
        host.starter.submit(cell.cls, boot, functools.partial(self._outcome, cell, body))

    def _make_body(self, incarnation: int) -> Body:
        with _descriptors.fork_lock:
            stack_file = make_stack_file()
            _descriptors.own(stack_file)
            try:
                ours, theirs = self._host.control_pair()
            except OSError:
                _descriptors.close(stack_file)
                raise
            _descriptors.own(ours, theirs)
        lane = ControlLane(ours, limit=_CONTROL_LIMIT, passed=_PASSED_LIMIT)
        return Body(incarnation, lane, theirs, stack_file=stack_file)

    def _outcome(self, cell: Cell, body: Body, process: Actor | None, error: BaseException | None) -> None:
        """In the starter: post how a start went."""
        self._pump.post(lambda: self._launched(cell, body, process, error))

    def _launched(self, cell: Cell, body: Body, process: Actor | None, error: BaseException | None) -> None:
        _descriptors.close(body.boot_control)
        body.boot_control = -1
        if process is None:
            self._not_launched(cell, body, error)
            return
        self._shortages.pop(cell.uid, None)
        body.process = process
        popen: Any = vars(process)["_popen"]
        body.pid, body.sentinel = popen.pid, popen.sentinel
        assert body.boot is not None
        self._host.sweeper.note_start(body.boot.mark, popen.pid)
        claimed, body.claimed = body.claimed, None
        if claimed is not None and claimed[0] == popen.pid:
            self.introduced(cell, body, claimed[1])
        else:
            self._hold(cell, body)
        if claimed is not None and claimed[0] != popen.pid:
            _descriptors.close(claimed[1])
            self._runner.violated(cell, body, f"its first frame hands over process {claimed[0]}, and it is {popen.pid}")

    def _postpone(self, cell: Cell, incarnation: int, error: BaseException) -> bool:
        """Try a restart again in a while; False where it was tried for long enough, or is the first start, whose user is told."""
        now = time.monotonic()
        shortage = self._shortages.get(cell.uid)
        if shortage is None or shortage.incarnation != incarnation:
            if incarnation == 1:
                return False
            shortage = self._shortages[cell.uid] = _Shortage(incarnation, now + cell.options.start_timeout, error)
            self._host.log(
                "warning",
                "actors.start_postponed",
                path=cell.path,
                uid=cell.uid,
                incarnation=incarnation,
                seconds=cell.options.start_timeout,
                reason=str(_limits.explain(cell.path, error)),
            )
        elif now >= shortage.give_up:
            del self._shortages[cell.uid]
            return False
        shortage.error, shortage.waits = error, True
        pause, shortage.pause = shortage.pause, min(_MOST_PAUSE_SECONDS, 2 * shortage.pause)
        self._pump.after(
            max(0.0, min(pause, shortage.give_up - now)), functools.partial(self._try_again, cell, shortage)
        )
        return True

    def _try_again(self, cell: Cell, shortage: _Shortage) -> None:
        if self._shortages.get(cell.uid) is shortage:
            shortage.waits = False
            self.start(cell, shortage.incarnation)

    def give_up(self, cell: Cell, incarnation: int, *, requested: bool) -> bool:
        """Try a restart no more that waits for the machine; False if there is none."""
        shortage = self._shortages.get(cell.uid)
        if shortage is None or shortage.incarnation != incarnation or not shortage.waits:
            return False
        self._never_started(cell, incarnation, _refused(cell.path, shortage.error), requested=requested)
        return True

    def _not_launched(self, cell: Cell, body: Body, error: BaseException | None) -> None:
        postponable = body is cell.body and body.claimed is None and body.killed_for is None and not body.stop_sent
        if error is not None and _is_shortage(error) and postponable and self._postpone(cell, body.incarnation, error):
            self._pump.unwatch(body.lane.fileno())
            cell.body = None
            body.close()
            return
        self._shortages.pop(cell.uid, None)
        if error is not None and body.report is None and body.killed_for is None:
            body.report = _refused(cell.path, error)
        body.start_failed = True
        # Nobody is there: a child that was half made finds its control lane closed, and leaves; else the sweep finds it.
        self._runner.burials.bury(cell, body, None, status_known=body.claimed is None)

    def _hold(self, cell: Cell, body: Body) -> None:
        """The start call is over before the child has said hello: take hold of its process by a pidfd of our own."""
        assert body.process is not None
        assert body.pid is not None
        try:
            with _descriptors.fork_lock:
                pidfd = os.pidfd_open(body.pid)
                _descriptors.own(pidfd)
        except OSError as error:
            exists = not isinstance(error, ProcessLookupError)
            if _has_ended(body.process, lambda: exists):
                self._runner.burials.ended(cell, body)
                return
            # It has been reaped, and its status is on the way; or no descriptor is left for it: its sentinel has to do, until there is one.
            self._pump.unwatch(body.sentinel)
            if exit_code(body.process)[1]:
                self._pump.watch(body.sentinel, lambda: self._runner.burials.ended(cell, body))
            body.timers.append(self._pump.after(_HOLD_AGAIN_SECONDS, lambda: self._hold_again(cell, body)))
            return
        # Reaped maybe before it was opened: then that pid is somebody else's by now.
        if _has_ended(body.process, functools.partial(_probe.has_open, body.pid, body.stack_file)):
            _descriptors.close(pidfd)
            self._runner.burials.ended(cell, body)
            return
        self.introduced(cell, body, pidfd)

    def _hold_again(self, cell: Cell, body: Body) -> None:
        if body in cell.bodies and not body.dead and body.pidfd < 0:
            self._hold(cell, body)

    def _never_started(self, cell: Cell, incarnation: int, report: dict[str, Any], *, requested: bool = False) -> None:
        self._shortages.pop(cell.uid, None)
        self._host.sweeper.note_unborn(_marks.make_mark(self._host.name, cell.uid, incarnation))
        reason = _exits.classify(
            None,
            ready=False,
            stop_requested=requested,
            killed_for=None,
            crash_report=None if requested else report,
            protocol_error=None,
            oom_kills=0,
            status_known=True,
        )
        self._runner.burials.log_exit(cell, incarnation, None, reason)
        exited = ev.ActorExited(cell.uid, incarnation, reason, random.random())
        self._runner.burials.autopsies.report_unborn(cell, exited)
        cell.last = reason
        self._runner.obituaries.ended(cell, incarnation, reason)
        self._runner.handle(exited)

    def introduced(self, cell: Cell, body: Body, pidfd: int) -> None:
        """
        The child has said its pid: from now on only the pidfd is waited for and signalled.

        Not before the start call has said the same pid: until then it is the claim of a child, and may be anybody's.
        """
        with _descriptors.fork_lock:
            _descriptors.own(pidfd)
        if body.process is None and body.claimed is None:
            assert body.pid is not None
            body.claimed = (body.pid, pidfd)
            return
        if body.pidfd >= 0 or body.dead or body.process is None:
            _descriptors.close(pidfd)
            return
        body.pidfd = pidfd
        if body.pid is not None:
            body.oom_group = self._host.oom.enter(body.pid)
        self._pump.unwatch(body.sentinel)
        self._pump.watch(pidfd, lambda: self._runner.burials.ended(cell, body))
        self._runner.meters.introduced(cell, body)
        if body.killed_for is not None:
            body.signal(signal.SIGKILL)

    def ready(self, cell: Cell, body: Body) -> None:
        """``on_start`` is over."""
        body.ready = True
        if cell.body is body:
            self._runner.serves(cell, body)
        self._runner.chronicle.log_incarnation("info", "actors.child_started", cell, body)
        self._runner.handle(ev.ActorReady(cell.uid, body.incarnation))
        ready = self._runner.on_ready.pop(cell.uid, None)
        if ready is not None:
            self._runner.on_gone.pop(cell.uid, None)
            ready(cell)


def _has_ended(process: Actor, is_there: Callable[[], bool]) -> bool:
    """Whether *process* is known to have ended. Where its status is lost, with its forkserver, only who looks for it can say."""
    code, known = exit_code(process)
    return code is not None or not (known or is_there())


def _is_shortage(error: BaseException) -> bool:
    return _limits.is_shortage(error, DESCRIPTORS_PER_START)


def _refused(path: str, error: BaseException) -> dict[str, Any]:
    """Describe why a start was refused here: as said to a user, to whom our own lines say nothing."""
    return {**_failure.describe(_limits.explain(path, error)), "traceback": ""}
