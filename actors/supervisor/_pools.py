"""
The pools of a system, in the host: who their workers are, who has to know, and how one grows and shrinks while it is used.

Runs in the pump's thread. Workers start, die and stop as any child does, which is the tree's affair; here it is only known which of them
take messages. Every change of that is a new *version*, told to each process that has sent to the pool. How one leaves is
:mod:`actors.supervisor._pool_leaving`'s affair, when a pool scales by itself :mod:`actors.supervisor._pool_scaler`'s, what becomes of the queue of
one that is given up :mod:`actors.supervisor._pool_heirs`'s.
"""

from __future__ import annotations

import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from actors._futures import resolve, resolve_error
from actors._pool import PoolRef
from actors._start_error import start_error
from actors.errors import ActorNotRunningError, ActorsError, SpecError
from actors.supervisor import _events as ev
from actors.supervisor import _exits, _view
from actors.supervisor._cells import Cell
from actors.supervisor._pool_book import HOST, PoolBook, Worker
from actors.supervisor._pool_heirs import Heirs
from actors.supervisor._pool_leaving import Leaving
from actors.supervisor._pool_scaler import Scaler
from actors.supervisor._pool_spec import ActorPool

if TYPE_CHECKING:
    from actors._host import Host
    from actors.supervisor._runner import Runner

__all__ = ["Pools"]


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
        self.leaving = Leaving(host, runner)
        self.heirs = Heirs(host, runner)
        self._scaler = Scaler(host, runner, self._scale)
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
        workers = {cell.uid: Worker(cell.uid, cell.path, cell.path.rpartition("/")[2]) for cell in cells}
        book = PoolBook(self._next, path, spec, cells[0].snapshot, workers, len(workers), cells[0].parent, ready=ready)
        self._next += 1
        book.assign()
        self._books[book.number] = self._by_path[path] = book
        self._by_worker |= dict.fromkeys(workers, book)
        self._tables[book.number] = book.fields()
        self._scaler.begin(book)

    def ref(self, path: str) -> PoolRef[Any] | None:
        """Return the ref of the pool at *path*. Any thread."""
        book = self._by_path.get(path)
        return None if book is None else PoolRef(self._host.name, book.number, book.path)

    def refs(self) -> dict[str, PoolRef[Any]]:
        """Return the refs of all pools, by path. Any thread."""
        books = sorted(list(self._by_path.items()), key=lambda item: item[0])  # noqa: C414 - taken in one step: others may be added
        return {path: PoolRef(self._host.name, book.number, book.path) for path, book in books}

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
        self.heirs.forget(cell.uid)
        was_parked, worker.state = worker.state == "out", "in"
        if was_parked or not book.in_state("starting"):
            self._publish(book)
        self._converge(book, "workers were to leave before all were there")

    def given_up(self, cell: Cell) -> None:
        """No incarnation of it will come by itself; its mailbox is about to be looked through."""
        book = self._by_worker.get(cell.uid)
        if book is not None:
            self.heirs.note(cell.uid, book)

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
        worker = book.workers.pop(cell.uid)
        if worker.state in ("in", "out"):
            if reason.kind == "requested" and self._runs(book):
                book.target -= 1  # stopped by hand: it is to stay away
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
        if self._mode(book) == "parked":
            # Whoever asks would wait until it is started again, if ever.
            text = (
                f"pool {book.path} has given up and is parked: it keeps its workers as they are. Restart those one by one, or "
                "stop it and spawn another"
            )
            resolve_error(done, ActorNotRunningError(text, target=book.path))
            return
        book.target = size
        book.waiters.append(done)
        self._converge(book, why)

    def _converge(self, book: PoolBook, why: str) -> None:
        """Towards the size that is wanted: start what is missing, let go what is too much."""
        if not self._runs(book):
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

    def _runs(self, book: PoolBook) -> bool:
        return not book.gone and self._mode(book) == "running"

    def _mode(self, book: PoolBook) -> str:
        info = _view.supervisors(self._runner.state).get(book.path)
        return "down" if info is None else info.mode

    def _scale(self, book: PoolBook, size: int, why: str) -> None:
        self.resize(book.number, size, Future(), why)

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
                cell = self._host.add(book.path, book.spec.worker, book.snapshot, name, book.parent)
            except ActorsError as error:
                book.target -= 1
                self._fail(book, error)
                continue
            if cell.gone is None:
                book.workers[cell.uid] = Worker(cell.uid, cell.path, name, "starting")
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
            elif holder != HOST:
                book.holders.discard(holder)

    def _shrink(self, book: PoolBook, leaving: list[Worker]) -> None:
        for worker in leaving:
            worker.state = "leaving"
        holders = {holder for holder in book.holders if holder != HOST or book.number in self._host.routers.known}
        self._publish(book)
        self.leaving.begin(book, [worker.uid for worker in leaving], holders)

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
        self.heirs.end(book)
        self._books.pop(book.number, None)
        self._tables.pop(book.number, None)
