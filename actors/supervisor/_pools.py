"""
The pools of a system, in the host: who their workers are, who has to know, and how one grows and shrinks while it is used.

Runs in the pump's thread. Workers start, die and stop as any child does, which is the tree's affair; here it is only known which of them
take messages. Every change of that is a new *version*, told to each process that has sent to the pool.

A worker leaves in four steps, so that nothing sent to it is lost: it is in no table any more; every process that knew it says that nothing
goes there from it (a dead one need not, a mute one is not waited for beyond :data:`GOODBYE_SECONDS`); it has handled what stands in its inbox, however
long that takes and whatever it dies of meanwhile; then it is stopped.
"""

from __future__ import annotations

import functools
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import attrs

from actors._futures import resolve, resolve_error
from actors._pool import PoolRef
from actors._ref import ActorRef
from actors._start_error import start_error
from actors.errors import ActorNotRunningError, ActorsError, ProtocolError, SpecError
from actors.mailbox._inbox import queued_bytes
from actors.mailbox._layout import FlightState
from actors.supervisor import _events as ev
from actors.supervisor import _exits, _scaling, _view
from actors.supervisor._cells import Cell
from actors.supervisor._letters import DeadLetter
from actors.supervisor._pool_spec import ActorPool
from actors.supervisor._slots import assign

if TYPE_CHECKING:
    from actors._host import Host
    from actors._reply import Reply
    from actors.supervisor._runner import Runner

__all__ = ["GOODBYE_SECONDS", "PoolBook", "Pools"]

GOODBYE_SECONDS: Final = 15.0
_LOOK_SECONDS: Final = 0.01
_AGAIN_SECONDS: Final = 0.05

_BUSY: Final = frozenset((FlightState.HANDLING, FlightState.WAITING, FlightState.BLOCKED, FlightState.CREDIT))
# Of a message, where none was handled yet; and of the smallest there are.
_USUAL_BYTES: Final = 64.0
_LEAST_BYTES: Final = 8.0

State: TypeAlias = Literal["starting", "in", "out", "leaving"]


@attrs.define(eq=False)
class _Worker:
    """
    One worker.

    Attributes:
        name: Below the pool.
        state: ``starting`` for the first time, ``in`` the table, ``out`` of it while it is parked, or ``leaving``.
    """

    uid: int
    path: str
    name: str
    state: State = "in"


@attrs.define(eq=False)
class PoolBook:
    """
    What the host knows of one pool.

    Attributes:
        number: Never used again.
        path: Where it stands.
        spec: What it was built from.
        snapshot: A worker, as bytes.
        workers: By uid, in the order of their names.
        target: How many there are to be.
        version: Of the table, counting on.
        owners: The worker of each slot, where it routes by key.
        holders: The processes that have the table, each a uid and an incarnation; the host is (0, 0).
        waiters: Who waits for a resize.
        ready: Done when it is up for the first time; None once it is, or where nobody waits.
        scaled: What its scaling remembers.
        diverted: Messages of workers that were given up, each with its handler's name, which wait for room at another worker.
        failure: Of the first worker that was lost before the pool was up.
        gone: Why it is gone, or ``""``.
    """

    number: int
    path: str
    spec: ActorPool[Any]
    snapshot: bytes
    workers: dict[int, _Worker]
    target: int
    version: int = 1
    owners: tuple[int, ...] = ()
    holders: set[tuple[int, int]] = attrs.Factory(lambda: {(0, 0)})
    waiters: list[Future[None]] = attrs.Factory(list)
    ready: Future[PoolRef[Any]] | None = None
    scaled: _scaling.ScaleState = attrs.Factory(_scaling.ScaleState)
    diverted: deque[tuple[bytes, str | None]] = attrs.Factory(deque)
    failure: ActorsError | None = None
    gone: str = ""

    def in_state(self, *states: State) -> list[_Worker]:
        """Its workers in one of these states."""
        return [worker for worker in self.workers.values() if worker.state in states]

    def assign(self) -> None:
        """Give each slot a worker, after a change of who is in."""
        if self.spec.routing == "key_hash":
            self.owners = assign(self.owners, [worker.uid for worker in self.in_state("in")])

    def fields(self) -> tuple[Any, ...]:
        """What a process needs to know; see :class:`actors._pool_router.Table`."""
        members = [(worker.uid, worker.path) for worker in self.in_state("in")]
        places = {uid: place for place, (uid, _path) in enumerate(members)}
        slots = bytes(places[uid] for uid in self.owners)
        spec, options = self.spec, self.spec.worker.options
        on_full, timeout = options.on_full, float(options.send_timeout)
        return (
            self.number,
            self.version,
            self.path,
            spec.routing,
            spec.key,
            members,
            slots,
            on_full,
            timeout,
            self.gone,
        )

    def free_names(self) -> Iterator[str]:
        """Names for new workers: the lowest numbers that nobody has."""
        taken = {worker.name for worker in self.workers.values()}
        return (str(number) for number in range(1, 1 << 30) if str(number) not in taken)


class Pools:
    """
    All pools of a system.

    Args:
        host: Everything the system shares.
        runner: Whose actors the workers are.
    """

    def __init__(self, host: Host, runner: Runner) -> None:
        self._host = host
        self._runner = runner
        self._books: dict[int, PoolBook] = {}
        self._by_worker: dict[int, PoolBook] = {}
        self._by_path: dict[str, PoolBook] = {}
        self._tables: dict[int, tuple[Any, ...]] = {}
        self._heirs: dict[int, PoolBook] = {}
        self._goodbyes: dict[tuple[int, int], set[tuple[int, int]]] = {}
        self._next = 1

    # --- which there are --------------------------------------------------------------------------------------------------

    def adopt(self, ready: Future[PoolRef[Any]] | None = None) -> None:
        """Know the pools of the tree that are not known yet. Their cells are there."""
        state = self._runner.state
        for path, info in _view.supervisors(state).items():
            if isinstance(info.spec, ActorPool) and path not in self._by_path:
                self._adopt(path, info.spec, ready)

    def _adopt(self, path: str, spec: ActorPool[Any], ready: Future[PoolRef[Any]] | None) -> None:
        cells = [cell for cell in self._runner.cells.values() if cell.path.rpartition("/")[0] == path]
        workers = {cell.uid: _Worker(cell.uid, cell.path, cell.path.rpartition("/")[2]) for cell in cells}
        book = PoolBook(self._next, path, spec, cells[0].snapshot, workers, len(workers), ready=ready)
        self._next += 1
        book.assign()
        self._books[book.number] = self._by_path[path] = book
        self._by_worker |= dict.fromkeys(workers, book)
        self._tables[book.number] = book.fields()
        if spec.autoscale is not None:
            self._host.pump.after(_scaling.look_seconds(spec.autoscale), functools.partial(self._look, book))

    def ref(self, path: str) -> PoolRef[Any] | None:
        """Return the ref of the pool at *path*. Any thread."""
        book = self._by_path.get(path)
        return None if book is None else PoolRef(self._host.name, book.number, book.path)

    def paths(self) -> list[str]:
        """Where there are pools. Any thread."""
        return sorted(self._by_path)

    def fields(self, number: int) -> tuple[Any, ...] | None:
        """Return the present table of a pool as values; None if it is gone. Any thread."""
        return self._tables.get(number)

    def lend(self, number: int, holder: tuple[int, int]) -> tuple[Any, ...] | None:
        """The same for a process that is told of each later one."""
        book = self._books.get(number)
        if book is not None:
            book.holders.add(holder)
        return self.fields(number)

    # --- what the tree says -----------------------------------------------------------------------------------------------

    def started(self, path: str) -> None:
        """A supervisor has started its static children; what a pool had besides is to be made up for."""
        book = self._by_path.get(path)
        if book is not None:
            if book.ready is not None:
                resolve(book.ready, PoolRef(self._host.name, book.number, book.path))
                book.ready = None
            self._converge(book, "its supervisor has started it anew")

    def ended(self, path: str) -> None:
        """A supervisor is gone for good."""
        book = self._by_path.pop(path, None)
        if book is not None:
            if book.ready is not None:
                resolve_error(book.ready, book.failure or ActorNotRunningError(f"pool {path} was stopped", target=path))
                book.ready = None
            self._bury(book, "it has ended")

    def serves(self, cell: Cell) -> None:
        """A worker takes messages."""
        book = self._by_worker.get(cell.uid)
        if book is None or book.workers[cell.uid].state not in ("starting", "out"):
            return
        worker = book.workers[cell.uid]
        was_parked, worker.state = worker.state == "out", "in"
        if was_parked or not book.in_state("starting"):
            self._publish(book)
        self._converge(book, "workers were to leave before all were there")

    def parked(self, cell: Cell) -> None:
        """A worker is down until somebody starts it again: the others do its work."""
        book = self._by_worker.get(cell.uid)
        if book is not None and book.workers[cell.uid].state == "in":
            book.workers[cell.uid].state = "out"
            self._publish(book)

    def gone(self, cell: Cell, reason: _exits.ExitReason) -> None:
        """A worker is gone for good: it has left, did not start, was stopped by hand, or its supervisor has ended."""
        book = self._by_worker.pop(cell.uid, None)
        if book is None:
            return
        if book.spec.given_up == "reroute" and not book.gone:
            self._heirs[cell.uid] = book  # what is still on its way there goes to the others, too
        worker = book.workers.pop(cell.uid)
        if worker.state in ("in", "out"):
            self._publish(book)
        elif worker.state == "starting":
            book.target -= 1
            self._fail(book, start_error(cell.path, reason))
            if not book.in_state("starting"):
                self._publish(book)
        if reason.kind != "requested":
            book.failure = book.failure or start_error(cell.path, reason)

    # --- more and fewer ---------------------------------------------------------------------------------------------------

    def resize(self, number: int, size: int, done: Future[None], why: str = "asked for") -> None:
        """Have so many workers; *done* when it is so, but for those that leave, which take their time."""
        book = self._books.get(number)
        if book is None or book.gone:
            path = "" if book is None else book.path
            resolve_error(done, ActorNotRunningError(f"the pool is gone: {path}", target=path))
            return
        scale = book.spec.autoscale
        if scale is not None and not scale.minimum <= size <= scale.maximum:
            bounds = f"autoscale.minimum={scale.minimum} to autoscale.maximum={scale.maximum}"
            resolve_error(done, SpecError(f"pool {book.path}: size={size} is not from {bounds}"))
            return
        book.target = size
        book.waiters.append(done)
        self._converge(book, why)

    def _converge(self, book: PoolBook, why: str) -> None:
        """Towards the size that is wanted: start what is missing, let go what is too much."""
        if book.gone or _view.supervisors(self._runner.state)[book.path].mode != "running":
            return  # it is looked at again when its supervisor has started
        starting, there = book.in_state("starting"), book.in_state("in", "out")
        missing = book.target - len(starting) - len(there)
        if missing > 0:
            self._log(book, len(there), why)
            self._grow(book, missing)
        elif missing < 0 and not starting:
            self._log(book, len(there), why)
            self._shrink(book, there[missing:])
        if not book.in_state("starting"):
            waiters, book.waiters = book.waiters, []
            for waiter in waiters:
                resolve(waiter, None)

    def _log(self, book: PoolBook, before: int, why: str) -> None:
        at = round(time.monotonic(), 3)
        self._host.log(
            "info", "actors.pool_resized", path=book.path, before=before, size=book.target, at=at, reason=why
        )

    def _grow(self, book: PoolBook, count: int) -> None:
        names = book.free_names()
        for _ in range(count):
            name = next(names)
            try:
                cell = self._host.add(book.path, book.spec.worker, book.snapshot, name)
            except ActorsError as error:
                book.target -= 1
                self._fail(book, error)
                continue
            if cell.gone is None:
                book.workers[cell.uid] = _Worker(cell.uid, cell.path, name, "starting")
                self._by_worker[cell.uid] = book
            else:
                book.target -= 1
                self._fail(book, start_error(cell.path, cell.gone))

    def _fail(self, book: PoolBook, error: ActorsError) -> None:
        waiters, book.waiters = book.waiters, []
        for waiter in waiters:
            resolve_error(waiter, error)

    def _publish(self, book: PoolBook) -> None:
        """Make a new table, and tell everybody who has one."""
        book.version += 1
        book.assign()
        fields = self._tables[book.number] = book.fields()
        self._host.routers.update(fields)
        for holder in tuple(book.holders):
            body = self._runner.find_body(*holder)
            if body is not None and not body.dead:
                self._runner.tell_body(body, "pool", *fields)
            elif holder != (0, 0):
                book.holders.discard(holder)

    # --- who leaves -------------------------------------------------------------------------------------------------------

    def _shrink(self, book: PoolBook, leaving: list[_Worker]) -> None:
        for worker in leaving:
            worker.state = "leaving"
        awaited = {holder for holder in book.holders if holder != (0, 0) or book.number in self._host.routers.known}
        self._goodbyes[book.number, book.version + 1] = awaited
        self._publish(book)
        uids = [worker.uid for worker in leaving]
        self._await_goodbyes(book, book.version, uids, time.monotonic() + GOODBYE_SECONDS)

    def let_go(self, number: int, version: int, holder: tuple[int, int]) -> None:
        """A process says that nothing goes from it any more to those that left with this version or before."""
        for (pool, left), awaited in self._goodbyes.items():
            if pool == number and left <= version:
                awaited.discard(holder)

    def _await_goodbyes(self, book: PoolBook, version: int, uids: list[int], give_up: float) -> None:
        awaited = self._goodbyes[book.number, version]
        for holder in tuple(awaited):
            body = self._runner.find_body(*holder)
            if holder != (0, 0) and (body is None or body.dead):
                awaited.discard(holder)
        if awaited and time.monotonic() < give_up:
            self._host.pump.after(_LOOK_SECONDS, functools.partial(self._await_goodbyes, book, version, uids, give_up))
            return
        del self._goodbyes[book.number, version]
        if awaited:
            cells = (self._runner.cells.get(uid) for uid, _incarnation in awaited)
            who = sorted({"the host" if cell is None else cell.path for cell in cells})
            self._host.log("warning", "actors.pool_goodbye_missing", path=book.path, holders=who)
        for uid in uids:
            self._ask_for_sign(uid)

    def _ask_for_sign(self, uid: int) -> None:
        """Have the worker stopped when it has handled what stands in its inbox."""
        cell = self._runner.cells.get(uid)
        if cell is None:
            return
        ref: ActorRef[Any] = ActorRef(self._host.name, uid, cell.path, on_full="reject")
        try:
            reply = self._host.node.barrier(ref)
        except ActorNotRunningError:
            self._stop_worker(uid)
            return
        except ActorsError:  # no room for it now
            self._host.pump.after(_AGAIN_SECONDS, functools.partial(self._ask_for_sign, uid))
            return
        sign = _Sign(self, reply, uid)
        reply.listen(sign)
        if reply.done():
            sign.reply_done()

    def sign_came(self, uid: int) -> None:
        """The worker has handled what stood before it. Any thread; may be told twice."""
        self._host.pump.post(functools.partial(self._stop_worker, uid))

    def _stop_worker(self, uid: int) -> None:
        cell = self._runner.cells.get(uid)
        if cell is not None:
            cell.drain = True
            cell.route.stopping = True
            self._runner.handle(ev.StopActor(uid))

    # --- who is given up --------------------------------------------------------------------------------------------------

    def heir_of(self, cell: Cell) -> Callable[[bytes, str | None], object] | None:
        """Return what takes the messages that *cell* will not handle, each as bytes and with its handler; None: they are dead."""
        book = self._by_worker.get(cell.uid) or self._heirs.get(cell.uid)
        if book is None or book.gone or book.spec.given_up != "reroute":
            return None
        return functools.partial(self._divert, book)

    def _divert(self, book: PoolBook, message: bytes, handler: str | None) -> None:
        book.diverted.append((message, handler))
        if len(book.diverted) == 1:
            self._host.pump.post(functools.partial(self._forward, book, 0))

    def _forward(self, book: PoolBook, sent: int) -> None:
        """Hand diverted messages to the others in turn; what finds no room waits."""
        while book.diverted:
            cells = [self._runner.cells[worker.uid] for worker in book.in_state("in")]
            turn = [*cells[sent % len(cells) :], *cells[: sent % len(cells)]] if cells else []
            if not any(self._host.node.forward(cell.route, book.diverted[0][0]) for cell in turn):
                self._host.pump.after(_AGAIN_SECONDS, functools.partial(self._forward, book, sent))
                return
            book.diverted.popleft()
            sent += 1
        if sent:
            self._host.log("info", "actors.pool_rerouted", path=book.path, count=sent)

    # --- the end ----------------------------------------------------------------------------------------------------------

    def stop(self, number: int, drain: bool) -> None:
        """Stop a pool, for good."""
        book = self._books.get(number)
        if book is None or book.gone:
            return
        if drain:
            for uid in book.workers:
                self._runner.cells[uid].drain = True
        self._by_path.pop(book.path, None)
        self._bury(book, "it was stopped")
        self._runner.handle(ev.StopSupervisor(book.path))

    def _bury(self, book: PoolBook, why: str) -> None:
        book.gone = why
        for worker in book.workers.values():
            worker.state = "leaving"
        self._publish(book)
        self._fail(book, ActorNotRunningError(f"pool {book.path} is gone: {why}", target=book.path))
        self._heirs = {uid: heir for uid, heir in self._heirs.items() if heir is not book}
        for _message, handler in book.diverted:
            self._host.letters.take(DeadLetter(book.path, "stopping", 1, handler))
        book.diverted.clear()
        self._books.pop(book.number, None)
        self._tables.pop(book.number, None)

    # --- by itself --------------------------------------------------------------------------------------------------------

    def _look(self, book: PoolBook) -> None:
        """See whether it has to grow or may shrink, and when to look next."""
        scale = book.spec.autoscale
        if book.gone or scale is None:
            return
        if not book.in_state("starting"):
            seen = self._sample(book)
            book.scaled, size, why = _scaling.decide(scale, book.scaled, seen, time.monotonic())
            if size != seen.size:
                self.resize(book.number, size, Future(), why)
        self._host.pump.after(_scaling.look_seconds(scale), functools.partial(self._look, book))

    def _sample(self, book: PoolBook) -> _scaling.Sample:
        queued = busy = 0
        workers = book.in_state("in", "out")
        for worker in workers:
            waiting, handling = _look_at(self._runner.cells[worker.uid])
            queued += waiting
            busy += handling
        return _scaling.Sample(len(workers), queued, busy)


def _look_at(cell: Cell) -> tuple[int, bool]:
    """
    Return how many messages wait for a worker, and whether it is handling one.

    What it has read is counted; what stands in its pipe is reckoned from the mean of those it has handled.
    """
    try:
        flight, read = cell.view.flight(), cell.view.count_waiting()
    except ProtocolError:  # it writes nonsense into its own recorder
        return 0, False
    handling = flight.state in _BUSY
    mean = max(_LEAST_BYTES, flight.handled_bytes / flight.handled) if flight.handled else _USUAL_BYTES
    return max(0, read - handling) + math.ceil(queued_bytes(cell.inbox_read) / mean), handling


@attrs.define(eq=False)
class _Sign:
    """Waits for the sign of a worker that leaves."""

    pools: Pools
    reply: Reply[Any]
    uid: int

    def reply_done(self) -> None:
        """See :class:`actors._reply.Listener`."""
        self.pools.sign_came(self.uid)
