"""
What a child wants of the tree: to find others in it, to add to it, and to stop, steer or resize what is in it.

=================  ==============================  =====================================================================
notice             fields                          answer
=================  ==============================  =====================================================================
``whereis``        number, name                    ``answer`` ok, uid, path; or none, and what there is
``find_pool``      number, name                    ``answer`` ok, its number, path; or none, and what there is
``spawn``          number, snapshot, name, options ``answer`` ok, uid, path; when it is ready
``spawn_pool``     number, snapshot, the pool      ``answer`` ok, its number, path; when it is ready
``stop_actor``     uid, drain
``steer``          uid, what, ask_id, count        passed on to that actor, with the caller: ``credit`` or ``cancel``
``info``           number, uid                     ``answer`` ok, alive, incarnation, statistics
``pool``           number, number of the pool      ``answer`` ok, its table; or gone. From then on: ``pool``, each later table
``pool_left``      number of the pool, version     nothing goes from it to those that left with that version
``resize_pool``    number, number of the pool,     ``answer`` ok, when it has that size
                   size
``stop_pool``      number of the pool, drain
=================  ==============================  =====================================================================
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Literal

import attrs

from actors._add_pool import spawn_pool_for
from actors.errors import ActorNotRunningError, ActorsError, ProtocolError
from actors.supervisor._addresses import find_by_name
from actors.supervisor._cells import Body, Cell
from actors.supervisor._pool_spec import size_problem

if TYPE_CHECKING:
    from actors._host import Host
    from actors.supervisor._runner import Runner

__all__ = ["Orders"]


class Orders:
    """Carries them out, in the pump's thread; for the arguments see :class:`Requests`."""

    def __init__(self, host: Host, runner: Runner) -> None:
        self._host = host
        self._runner = runner
        self.methods: dict[str, Callable[..., None]] = {
            "whereis": self._whereis,
            "find_pool": self._find_pool,
            "spawn": self._spawn,
            "spawn_pool": self._spawn_pool,
            "stop_actor": self._stop_actor,
            "steer": self._steer,
            "info": self._info,
            "pool": self._pool,
            "pool_left": self._pool_left,
            "resize_pool": self._resize_pool,
            "stop_pool": self._stop_pool,
        }

    def _whereis(self, cell: Cell, body: Body, number: int, name: Any) -> None:
        there = {other.path: (other.uid, other.path) for other in self._runner.cells.values()}
        self._find(cell, body, number, name, "actor", there, self._runner.pools.refs())

    def _find_pool(self, cell: Cell, body: Body, number: int, name: Any) -> None:
        there = {path: (ref.number, path) for path, ref in self._runner.pools.refs().items()}
        self._find(cell, body, number, name, "pool", there, (other.path for other in self._runner.cells.values()))

    def _find(
        self,
        cell: Cell,
        body: Body,
        number: int,
        name: Any,
        kind: Literal["actor", "pool"],
        there: dict[str, tuple[int, str]],
        others: Iterable[str],
    ) -> None:
        """Answer where *name* is, as seen from *cell*: beside it, below the root, or anywhere."""
        if not isinstance(name, str):
            raise ProtocolError(f"it looks for {str(name)[:80]}, which is no name")
        beside = cell.path.rpartition("/")[0]
        root = f"/{beside.split('/')[1]}"
        try:
            found = find_by_name(name, there, (beside, root, ""), kind=kind, others=others)
        except ActorNotRunningError as error:
            self._runner.answer(body, number, "none", str(error))
            return
        self._runner.answer(body, number, "ok", *found)

    def _spawn(self, cell: Cell, body: Body, number: int, snapshot: bytes, name: Any, options: dict[str, Any]) -> None:
        try:
            self._host.spawn_for(
                cell, body, snapshot, name, options, functools.partial(self._runner.answer, body, number)
            )
        except ActorsError as error:
            self._runner.answer(body, number, "error", str(error))

    def _spawn_pool(self, cell: Cell, body: Body, number: int, snapshot: bytes, data: dict[str, Any]) -> None:
        try:
            spawn_pool_for(self._host, cell, body, snapshot, data, functools.partial(self._runner.answer, body, number))
        except ActorsError as error:
            self._runner.answer(body, number, "error", str(error))

    def _stop_actor(self, _cell: Cell, _body: Body, uid: int, drain: bool) -> None:
        self._runner.stop_actor(uid, drain=bool(drain))

    def _steer(self, cell: Cell, _body: Body, uid: int, what: str, ask_id: object, count: object) -> None:
        if what not in {"credit", "cancel"} or not (isinstance(ask_id, int) and isinstance(count, int)):
            raise ProtocolError(f"it steers an ask by {what!r}, {ask_id!r}, {count!r}")
        self._runner.steer(uid, what, cell.uid, ask_id, count)

    def _info(self, _cell: Cell, body: Body, number: int, uid: int) -> None:
        statistics = self._host.statistics(uid)
        data = None if statistics is None else attrs.asdict(statistics)
        alive = uid in self._runner.cells and self._runner.cells[uid].gone is None
        self._runner.answer(body, number, "ok", alive, data)

    def _pool(self, cell: Cell, body: Body, number: int, pool: int) -> None:
        fields = self._runner.pools.lend(pool, (cell.uid, body.incarnation))
        self._runner.answer(body, number, *(("gone",) if fields is None else ("ok", *fields)))

    def _pool_left(self, cell: Cell, body: Body, pool: int, version: int) -> None:
        if type(version) is not int:
            raise ProtocolError(f"it left version {version!r:.80} of pool {pool!r:.80}")
        self._runner.pools.leaving.let_go(pool, version, (cell.uid, body.incarnation))

    def _resize_pool(self, _cell: Cell, body: Body, number: int, pool: int, size: int) -> None:
        if size_problem(size):
            raise ProtocolError(f"it resizes pool {pool!r:.80} to {size!r:.80}")
        done: Future[None] = Future()
        done.add_done_callback(lambda ended: self._resized(body, number, ended))
        self._runner.pools.resize(pool, size, done)

    def _resized(self, body: Body, number: int, done: Future[None]) -> None:
        error = done.exception()
        self._runner.answer(body, number, *(("ok",) if error is None else ("error", str(error))))

    def _stop_pool(self, _cell: Cell, _body: Body, pool: int, drain: bool) -> None:
        self._runner.pools.stop(pool, bool(drain))
