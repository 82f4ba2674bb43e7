"""
What the parts of a running system share in the host: pump, starter, callbacks, mail, arenas, and the way to every actor.

The host's side of :class:`actors._routes.Directory` is here too: in the host, every route is known, and nothing has to be asked for.
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import signal
import socket
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from actors import _descriptors, _lifeline, _limits, _log
from actors._asks import died
from actors._callbacks import Callbacks
from actors._crash_outlets import CrashOutlets
from actors._host_watches import HostWatches
from actors._node import Node
from actors._ref import ActorRef
from actors._routes import HOLD_SECONDS, Route, flush_held, wait_writable
from actors._seams import ActorStatistics
from actors._shares import Shares
from actors._snapshot import find_class, incarnate, read_snapshot
from actors._sweep import Sweeper
from actors._zygote import zygote
from actors.errors import (
    ActorNotRunningError,
    ActorsError,
    InternalError,
    ProtocolError,
    SpecError,
    StartError,
    TooManyChildrenError,
)
from actors.mailbox._answers import AnswerLane
from actors.mailbox._arena import ArenaReader
from actors.mailbox._holds import Holds
from actors.mailbox._inbox import pipe_capacity, queued_bytes
from actors.supervisor import _events as ev
from actors.supervisor import _exits, _tree, _view
from actors.supervisor._arenas import ArenaBook
from actors.supervisor._cells import Body, Cell, read_flight_state
from actors.supervisor._check import check_child
from actors.supervisor._letter_office import DeadLetterOffice
from actors.supervisor._letters import DeadLetter, DeadLetterReason
from actors.supervisor._mail import Mail
from actors.supervisor._oom_watch import OomWatch
from actors.supervisor._pump import Pump
from actors.supervisor._report import CrashReport
from actors.supervisor._runner import Runner
from actors.supervisor._shares import ShareBook
from actors.supervisor._spec import Child, Options
from actors.supervisor._starter import Starter
from actors.supervisor._wire import options_from_data

__all__ = ["Host"]

# How many actors that are gone can still say why.
_REMEMBERED = 10_000
_SWEEP_SECONDS = 0.1
_STARTER_SECONDS = 2.0
_SWEEPER_SECONDS = 5.0
_OPEN_ASKS = 1 << 20


class _HostsOwn(Node):
    """
    What the host itself sends and asks.

    Its routes are those of the cells: that of an actor which was parked opens again when the actor comes back.
    """

    def __init__(self, host: Host, *, uid: int, incarnation: int, max_bytes: int, max_open_asks: int) -> None:
        super().__init__(host, uid=uid, incarnation=incarnation, max_bytes=max_bytes, max_open_asks=max_open_asks)
        self._host = host

    def came_back(self, uid: int, revivals: int) -> None:
        """See :meth:`Node.came_back`. In the pump's thread."""
        self._revived[uid] = (revivals, self.next_id())

    def mark_gone(self, uid: int, reason: _exits.ExitReason) -> None:
        """See :meth:`Node.mark_gone`; what an actor that lives says of itself changes nothing."""
        cell = self._host.runner.cells.get(uid)
        if cell is not None and cell.gone is None:
            return
        if cell is not None:
            self.routes.setdefault(uid, cell.route)
        super().mark_gone(uid, reason)


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
        self.sweeper = Sweeper(f"{name}-sweeper", subreaper=subreaper)
        self.callbacks = Callbacks(f"{name}-callbacks")
        self.pump = Pump(f"{name}-pump", failed)
        self.starter = Starter(method, self._forkserver_replaced)
        self.oom = OomWatch(self.pump)
        self.lifeline, self._lifeline_write = _lifeline.make()
        self.arenas = ArenaBook(max_bytes, inherit=method != "fork")
        self.holds = Holds(0)
        self.share_book = ShareBook()
        self.shares = Shares(self, inherit=method != "fork")
        self.letters = DeadLetterOffice(self)
        self.mail = Mail(self)
        self.watches = HostWatches(self)
        self.runner = Runner(self, state)
        self.node = _HostsOwn(self, uid=0, incarnation=0, max_bytes=max_bytes, max_open_asks=_OPEN_ASKS)
        self.pump.deadlines.append(self.node.expire_due)
        self.pump.deadlines.append(self._tick)
        self._ended: OrderedDict[int, _exits.ExitReason] = OrderedDict()
        self._next_uid = 1 + max(_view.actors(state), default=0)
        self._sweeping = False
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
        check_child(child, above.spec)
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
            self.pump.after(_SWEEP_SECONDS, functools.partial(self.read_answers, cell))

    def _deliver(self, uid: int, body: bytes) -> None:
        self.node.deliver(body, uid)

    def _answers_broken(self, uid: int, error: BaseException) -> None:
        """A child wrote junk into its answer pipe. Any thread."""
        self.pump.post(functools.partial(self._fail_child, uid, str(error)))

    def _fail_child(self, uid: int, why: str) -> None:
        cell = self.runner.cells.get(uid)
        if cell is None or cell.lane.broken is None:
            return
        cell.renew_answers(self.pump, self._deliver, self._answers_broken)
        self.pump.watch(cell.lane.fileno(), functools.partial(self.read_answers, cell))
        # Which of its answers are lost cannot be known.
        self.node.fail_asks(uid, _exits.ExitReason("protocol", evidence=(why,)), may_have_run=True)
        if cell.body is not None:
            self.runner.violated(cell, cell.body, f"answer pipe: {why}")

    def orphan_arenas(self, uid: int, incarnation: int) -> None:
        """An incarnation has ended: its arenas go when nothing refers to them any more."""
        if self.arenas.orphan((uid, incarnation), self._marks):
            self._sweep_later()

    def forget_user(self, uid: int, incarnation: int) -> None:
        """An incarnation has ended: the shared memory that it used goes when nobody uses it, and no message can name it."""
        if self.share_book.forget((uid, incarnation), self._marks):
            self._sweep_later()

    def drop_use(self, number: int, user: tuple[int, int]) -> None:
        """One use less of a piece of shared memory. In the pump's thread."""
        if self.share_book.drop(number, user, self._marks):
            self._sweep_later()

    def forget_mark(self, uid: int) -> None:
        """Mail of *uid* was destroyed: nobody can know what it has named."""
        self.arenas.forget_mark(uid)
        self.share_book.forget_mark(uid)

    def _sweep_later(self) -> None:
        if not self._sweeping:
            self._sweeping = True
            self.pump.after(_SWEEP_SECONDS, self._sweep)

    def _marks(self) -> dict[int, int]:
        marks: dict[int, int] = {}
        for uid, cell in self.runner.cells.items():
            with contextlib.suppress(ProtocolError):
                marks[uid] = cell.view.flight().read_bytes + queued_bytes(cell.inbox_read)
        return marks

    def _handled(self, uid: int) -> int | None:
        cell = self.runner.cells.get(uid)
        if cell is None:
            return None
        try:
            return cell.view.flight().handled_bytes
        except ProtocolError:
            return None

    def _sweep(self) -> None:
        quiet = self._no_answer_waits()
        dropped, left = self.arenas.sweep(self._handled, quiet=quiet)
        left = self.share_book.sweep(self._handled, quiet=quiet) or left
        for arena_id, holders in dropped:
            self._arena_gone(arena_id, holders)
        self._sweeping = False
        if left:
            self._sweep_later()

    def _no_answer_waits(self) -> bool:
        """Return whether every lane of answers is empty."""
        lanes = [cell.answers_write for cell in self.runner.cells.values()]
        lanes += [body.reply_lane for cell in self.runner.cells.values() for body in cell.bodies]
        return not any(queued_bytes(lane) for lane in lanes if lane >= 0)

    def _arena_gone(self, arena_id: int, holders: set[int]) -> None:
        for uid in holders:
            cell = self.runner.cells.get(uid)
            for body in () if cell is None else cell.bodies:
                self.runner.tell_body(body, "arena_gone", arena_id)

    # --- the host's directory: see actors._routes.Directory -----------------------------------------------------------------

    def find_route(self, ref: ActorRef[Any]) -> Route:
        """See :class:`~actors._routes.Directory`."""
        cell = self.runner.cells.get(ref.uid)
        if cell is not None:
            return cell.route
        reason = self._ended.get(ref.uid) or _exits.ExitReason("unknown", evidence=("it is gone for long",))
        raise ActorNotRunningError(
            f"{ref.path} is gone for good: it {_exits.describe(reason)}; spawn it anew, or send elsewhere",
            target=ref.path,
        )

    def answer_lane(self, uid: int) -> AnswerLane:
        """See :class:`~actors._routes.Directory`."""
        cell = self.runner.cells.get(uid)
        if cell is None:
            reason = self._ended.get(uid)
            how = "" if reason is None else f": it {_exits.describe(reason)}"
            raise ActorNotRunningError(
                f"the actor with uid {uid} is gone for good{how}; spawn it anew, or send elsewhere"
            )
        return cell.lane

    def make_arena(self, slot_bytes: int, slots: int) -> tuple[int, int]:
        """See :class:`~actors._routes.Directory`."""
        arena_id, descriptor = self.arenas.make((0, 0), slot_bytes, slots)
        return arena_id, os.dup(descriptor)

    def find_arena(self, arena_id: int, sender: int | None = None) -> ArenaReader:
        """See :class:`~actors._routes.Directory`."""
        return self.arenas.reader(arena_id, sender)

    def look_later(self, seconds: float, action: Callable[[], object]) -> None:
        """See :class:`~actors._routes.Directory`."""
        self.pump.post(functools.partial(self.pump.after, seconds, action))

    def retire_arena(self, arena_id: int) -> None:
        """See :class:`~actors._routes.Directory`."""
        self.pump.post(functools.partial(self.drop_arena, arena_id, (0, 0)))

    def drop_arena(self, arena_id: int, owner: tuple[int, int]) -> None:
        """An arena's own sender has given it up: forget it here, and have those forget it that have read from it."""
        self._arena_gone(arena_id, self.arenas.retire(arena_id, owner))

    def make_share(self, size: int) -> tuple[int, int]:
        """See :class:`~actors._shares.ShareSource`."""
        number, descriptor = self.share_book.make((0, 0), size)
        return number, os.dup(descriptor)

    def find_share(self, number: int) -> int | None:
        """See :class:`~actors._shares.ShareSource`."""
        descriptor = self.share_book.find(number, (0, 0))
        return None if descriptor is None else os.dup(descriptor)

    def drop_share(self, number: int) -> None:
        """See :class:`~actors._shares.ShareSource`. In the pump's thread."""
        self.drop_use(number, (0, 0))

    def all_has_left(self) -> bool:
        """See :class:`~actors._shares.ShareSource`."""
        return not any(route.outbox.waits for route in list(self.node.routes.values()))

    def drop_route(self, route: Route) -> None:
        """See :class:`~actors._routes.Directory`. A route of the host is its cell's."""

    def flush_soon(self, route: Route) -> None:
        """See :class:`~actors._routes.Directory`."""
        flush = functools.partial(flush_held, route, self.pump.after)
        self.pump.post(functools.partial(self.pump.after, HOLD_SECONDS, flush))

    def wait_for_room(self, route: Route, seconds: float) -> None:
        """See :class:`~actors._routes.Directory`."""
        if self.pump.is_current():
            raise InternalError("the pump may not wait for room")
        wait_writable(route.outbox.descriptor, seconds)

    def pause(self, seconds: float) -> None:
        """See :class:`~actors._routes.Directory`."""
        select.select([], [], [], seconds)

    def steer(self, uid: int, what: str, ask_id: int, count: int) -> None:
        """See :class:`~actors._routes.Directory`."""
        self.pump.post(functools.partial(self.runner.steer, uid, what, 0, ask_id, count))

    def dead_letter(
        self, target: str, reason: DeadLetterReason, count: int, *, handler: str | None = None, uid: int = 0
    ) -> None:
        """See :class:`~actors._routes.Directory`."""
        self.letters.take(DeadLetter(target, reason, count, handler, uid))

    def run_callback(self, function: Callable[..., object], *args: object) -> None:
        """See :class:`~actors._routes.Directory`."""
        self.callbacks.run(function, *args)

    def wake_for(self, deadline: float) -> None:
        """See :class:`~actors._routes.Directory`."""
        self.pump.wake_for(deadline)

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
        self.letters.close()
        for cell in list(self.runner.cells.values()):
            cell.close()
        self.runner.cells.clear()
        self.node.close_arenas()
        self.arenas.close()
        self.shares.close()
        self.share_book.close()
        _descriptors.close(self.lifeline, self._lifeline_write)


def refusal_error(refused: ev.Refused, before: str = "") -> SpecError:
    """The error that says why the tree refused a request; *before*: the beginning of its text."""
    kind = TooManyChildrenError if refused.kind == "max_children" else SpecError
    return kind(f"{before}{refused.why}")


def start_error(path: str, reason: _exits.ExitReason) -> ActorsError:
    """Return what the starter of an actor is told when its first start has failed."""
    error = reason.error or {}
    text = f"{path} did not start: {_exits.describe(reason)}"
    traceback = error.get("traceback")
    if traceback:
        text += f"\n\n{traceback}"
    return StartError(text, target=path, reason=reason)
