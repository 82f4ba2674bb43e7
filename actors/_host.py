"""
What the parts of a running system share in the host: pump, starter, callbacks, mail, memory, and the cell of every actor.
"""

from __future__ import annotations

import functools
import math
import signal
import socket
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from actors import _descriptors, _lifeline, _limits, _log
from actors._asks import died
from actors._callbacks import Callbacks
from actors._channel_sources import HostChannels
from actors._channels import Channels
from actors._crash_outlets import CrashOutlets
from actors._host_directory import HostDirectory, HostsOwn
from actors._host_watches import HostWatches
from actors._pool_router import Routers
from actors._pool_sources import HostPoolSource
from actors._ref import ActorRef
from actors._seams import ActorStatistics
from actors._shares import Shares
from actors._snapshot import find_class, incarnate, read_snapshot
from actors._start_error import refusal_error, start_error
from actors._sweep import Sweeper
from actors._zygote import zygote
from actors.errors import (
    InternalError,
    ProtocolError,
    StartError,
)
from actors.mailbox._holds import Holds
from actors.mailbox._inbox import pipe_capacity, queued_bytes
from actors.supervisor import _events as ev
from actors.supervisor import _exits, _tree, _view
from actors.supervisor._cells import Body, Cell, read_flight_state
from actors.supervisor._channels import ChannelBook
from actors.supervisor._check import check_child
from actors.supervisor._letter_office import DeadLetterOffice
from actors.supervisor._mail import Mail
from actors.supervisor._memory import SharedMemory
from actors.supervisor._oom_watch import OomWatch
from actors.supervisor._pump import Pump
from actors.supervisor._report import CrashReport
from actors.supervisor._runner import Runner
from actors.supervisor._spec import Child, Options
from actors.supervisor._starter import Starter
from actors.supervisor._wire import options_from_data

__all__ = ["Host", "refusal_error", "start_error"]

# How many actors that are gone can still say why.
_REMEMBERED = 10_000
_READ_AGAIN_SECONDS = 0.1
_RENEW_AGAIN_SECONDS = 0.05
_STARTER_SECONDS = 2.0
_SWEEPER_SECONDS = 5.0
_OPEN_ASKS = 1 << 20


class Host:
    """
    The machinery of one system.

    Args:
        name: Of the system, unique on the machine.
        state: The tree, not started.
        method: The start method.
        max_bytes: The largest message, in bytes.
        failed: Called in the pump's thread if it failed.
        outlets: Where crash reports go.
        subreaper: Whether this process adopts what actors leave behind.
    """

    def __init__(
        self,
        name: str,
        state: _tree.TreeState,
        method: str,
        max_bytes: int,
        failed: Callable[[BaseException], object],
        outlets: CrashOutlets,
        *,
        subreaper: bool = False,
    ) -> None:
        self.name = name
        self.method = method
        self._outlets = outlets
        self.max_bytes = max_bytes
        self.shutdown_deadline = math.inf  # of the whole system; said by who makes it
        self.sweeper = Sweeper(f"{name}-sweeper", subreaper=subreaper)
        self.callbacks = Callbacks(f"{name}-callbacks")
        self.pump = Pump(f"{name}-pump", failed)
        self.starter = Starter(method, self._forkserver_replaced)
        self.oom = OomWatch(self.pump)
        self.lifeline, self._lifeline_write = _lifeline.make()
        self.memory = SharedMemory(self, inherit=method != "fork")
        self.arenas, self.share_book = self.memory.arenas, self.memory.share_book
        self.channel_book = ChannelBook(self)
        self.holds = Holds(0)
        self.directory = HostDirectory(self)
        self.shares = Shares(self.directory, inherit=method != "fork")
        self.channels = Channels(HostChannels(self), inherit=method != "fork")
        self.letters = DeadLetterOffice(self)
        self.mail = Mail(self)
        self.watches = HostWatches(self)
        self.runner = Runner(self, state)
        self.node = HostsOwn(self, uid=0, incarnation=0, max_bytes=max_bytes, max_open_asks=_OPEN_ASKS)
        self.pools = self.runner.pools
        self.routers = Routers(self.node, HostPoolSource(self), name)
        self.pump.deadlines.append(self.node.expire_due)
        self.pump.deadlines.append(self._tick)
        self._ended: OrderedDict[int, _exits.ExitReason] = OrderedDict()
        self._next_uid = 1 + max(_view.actors(state), default=0)
        self.last_failed = ""

    def _tick(self, now: float) -> float | None:
        self.runner.tick(now)
        return None

    def _forkserver_replaced(self, pid: int) -> None:
        reason = "it had ended, or a start hung on it; actors that live are not touched"
        self.log("warning", "actors.forkserver_replaced", pid=pid, reason=reason)

    def control_pair(self) -> tuple[int, int]:
        """Make the two ends of a control lane: the duplex ``multiprocessing.Pipe``, as descriptors."""
        ours, theirs = socket.socketpair()
        return ours.detach(), theirs.detach()

    def log(self, level: str, event: str, **keys: object) -> None:
        """Emit one log event in the callback thread. Any thread."""
        self.callbacks.run(functools.partial(_log.emit, level, event, **keys))

    def crashed(self, report: CrashReport) -> None:
        """Let a crash report out, in the callback thread. Any thread."""
        self.callbacks.run(self._outlets.publish, report)

    # --- actors -----------------------------------------------------------------------------------------------------------

    def make_cell(self, uid: int, path: str, options: Options, snapshot: bytes, parent: Any = None) -> Cell:
        """
        Open what an actor needs. In the pump's thread, or before it runs.

        Raises:
            StartError: No descriptors left, or its class is not imported here.
        """
        spec = read_snapshot(snapshot)
        kind = find_class(spec.module, spec.qualname)
        try:
            cell = Cell.make(
                uid=uid,
                path=path,
                options=options,
                kind=kind,
                snapshot=snapshot,
                parent=parent,
                pump=self.pump,
                deliver=self._deliver,
                on_broken=self._answers_broken,
            )
        except OSError as error:
            raise StartError(str(_limits.explain(path, error)), target=path) from error
        self.pump.watch(cell.lane.fileno(), functools.partial(self.read_answers, cell))
        self.runner.cells[uid] = cell
        return cell

    def add(self, parent_path: str, child: Child, snapshot: bytes, name: str | None, parent: Any = None) -> Cell:
        """
        Add one actor below a supervisor, and begin its start. In the pump's thread.

        Raises:
            StartError: No descriptors left.
            TooManyChildrenError: The supervisor has ``max_children`` already.
            SpecError: The supervisor refused, with its reason: a name that is taken, or it stops.
        """
        runner = self.runner
        uid, self._next_uid = self._next_uid, self._next_uid + 1
        chosen = name or _view.name_for(runner.state, parent_path, child.actor)
        cell = self.make_cell(uid, f"{parent_path}/{chosen}", child.options, snapshot, parent)
        refusal: list[ev.Refused] = []
        before, runner.refused = runner.refused, refusal.append
        try:
            runner.handle(ev.AddActor(parent_path, child, uid, chosen))
        finally:
            runner.refused = before
        if refusal:
            runner.cells.pop(uid, None)
            self.pump.unwatch(cell.lane.fileno())
            cell.close()
            raise refusal_error(refusal[0], f"{cell.path} cannot be added: ")
        return cell

    def spawn_for(
        self,
        cell: Cell,
        body: Body,
        snapshot: bytes,
        name: str | None,
        options: dict[str, Any],
        answer: Callable[..., object],
    ) -> None:
        """
        An actor spawns another, beside itself in the tree; it ends with its parent's incarnation at the latest.

        Raises:
            ActorsError: It cannot be.
        """
        spec = read_snapshot(snapshot)
        child = Child(incarnate(find_class(spec.module, spec.qualname)), options_from_data(options))
        parent_path = cell.path.rsplit("/", 1)[0]
        above = _view.supervisors(self.runner.state).get(parent_path)
        if above is None:
            raise StartError(f"supervisor {parent_path} is not there any more")
        check_child(child, above.spec, parent_path)
        parent: ActorRef[Any] = ActorRef(system=self.name, uid=cell.uid, path=cell.path)
        made = self.add(parent_path, child, snapshot, name or child.options.name, parent)
        body.spawned.add(made.uid)
        self.runner.when_started(
            made,
            lambda ready: answer("ok", ready.uid, ready.path),
            lambda gone, reason: answer("error", str(start_error(gone.path, reason))),
        )

    def remember(self, uid: int, reason: _exits.ExitReason) -> None:
        """Keep why an actor is gone, for those who still hold its ref."""
        self._ended[uid] = reason
        while len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)

    def forget(self, uid: int) -> None:
        """Do not keep why an actor is gone: nobody sends to it any more, and there are many of its kind."""
        self._ended.pop(uid, None)

    def reason_of(self, uid: int) -> _exits.ExitReason | None:
        """Return why an actor is gone, as long as that is remembered."""
        return self._ended.get(uid)

    def statistics(self, uid: int) -> ActorStatistics | None:
        """Return what is known of an actor without asking it; None if it is gone. Any thread."""
        cell = self.runner.cells.get(uid)
        if cell is None:
            return None
        info = _view.actor_info(self.runner.state, uid)
        try:
            flight, waiting = cell.view.flight(), cell.view.count_waiting()
        except ProtocolError:
            return ActorStatistics(path=cell.path, state="broken")
        return ActorStatistics(
            path=cell.path,
            incarnation=info.incarnation if info else 0,
            state=read_flight_state(cell),
            handler=flight.handler or "",
            restarts=info.restarts if info else 0,
            handled=flight.handled,
            queued_messages=waiting,
            queued_bytes=flight.read_bytes - flight.handled_bytes,
            mailbox_messages=cell.options.mailbox_messages,
            mailbox_bytes=cell.options.mailbox_bytes,
            pipe_queued_bytes=queued_bytes(cell.inbox_read),
            pipe_bytes=pipe_capacity(cell.inbox_read),
            dropped=flight.dropped,
            open_asks=sum(reply.target.uid == uid for reply in list(self.node.asks.values())),
            late_replies=self.node.late_replies,
        )

    # --- answers ----------------------------------------------------------------------------------------------------------

    def read_answers(self, cell: Cell) -> None:
        """Read what an actor has answered. In the pump's thread, where no user's thread waits for it."""
        try:
            cell.lane.drain()
        except OSError:
            # No descriptor left to map what a large answer lies in: it stays where it is, and is looked at again.
            self.pump.after(_READ_AGAIN_SECONDS, functools.partial(self.read_answers, cell))

    def _deliver(self, uid: int, body: bytes) -> None:
        self.node.deliver(body, uid)

    def _answers_broken(self, uid: int, error: BaseException) -> None:
        """A child wrote junk into its answer pipe. Any thread."""
        self.pump.post(functools.partial(self._fail_child, uid, str(error)))

    def _fail_child(self, uid: int, why: str, *, again: bool = False) -> None:
        cell = self.runner.cells.get(uid)
        if cell is None or cell.lane.broken is None:
            return
        try:
            cell.renew_answers(self.pump, self._deliver, self._answers_broken)
        except OSError:
            # No descriptor is left. Once there is one, whoever has got the old pipe meanwhile is ended too.
            self.pump.after(_RENEW_AGAIN_SECONDS, functools.partial(self._fail_child, uid, why, again=True))
            if again:
                return
        else:
            self.pump.watch(cell.lane.fileno(), functools.partial(self.read_answers, cell))
        # Which of its answers are lost cannot be known.
        self.node.fail_asks(uid, _exits.ExitReason("protocol", evidence=(why,)), may_have_run=True)
        if cell.body is not None:
            self.runner.violated(cell, cell.body, f"answer pipe: {why}")

    # --- the end ----------------------------------------------------------------------------------------------------------

    def panic(self) -> None:
        """The pump has failed: nobody decides any more, so every actor is killed, and every ask ends."""
        failed = _exits.ExitReason("supervisor_lost", evidence=("the system itself has failed",))
        for cell in list(self.runner.cells.values()):
            cell.route.gone = failed  # who asks from now on is told at once
            for body in cell.bodies:
                body.signal(signal.SIGKILL)
        self.node.fail_all(
            lambda reply: InternalError(f"the system has failed; the ask to {reply.target.path} is lost")
        )

    def close(self) -> None:
        """Give back every descriptor. The pump has ended; no actor lives."""
        if not self.starter.stop(_STARTER_SECONDS):
            # It hangs on the forkserver, and nobody waits for that start any more.
            zygote.kill()
            self.starter.stop(_STARTER_SECONDS)
        zygote.reap()
        self.sweeper.stop(_SWEEPER_SECONDS)
        ended = _exits.ExitReason("requested", evidence=("the system has stopped",))
        self.node.fail_all(lambda reply: died(reply, ended, may_have_run=False))
        self.mail.close()
        self.channel_book.free_orphans()
        self.letters.close()
        for cell in list(self.runner.cells.values()):
            cell.close()
        self.runner.cells.clear()
        self.node.close_arenas()
        self.shares.close()
        self.channels.close()
        self.channel_book.close()
        self.memory.close()
        _descriptors.close(self.lifeline, self._lifeline_write)
