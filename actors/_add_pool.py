"""
How a pool comes into a running tree, for whom it may be: for the host, or for an actor, with whose incarnation it ends.

In the pump's thread, where everything is decided.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from actors._actor import Actor
from actors._ref import ActorRef
from actors._snapshot import find_class, incarnate, read_snapshot
from actors._start_error import refusal_error
from actors.errors import StartError
from actors.supervisor import _events as ev
from actors.supervisor import _tree
from actors.supervisor._cells import Body, Cell
from actors.supervisor._check import check
from actors.supervisor._wire import pool_from_data

if TYPE_CHECKING:
    from actors._host import Host
    from actors._pool import PoolRef
    from actors.supervisor._pool_spec import ActorPool

__all__ = ["add_pool", "spawn_pool_for"]


def add_pool(
    host: Host,
    above: str,
    spec: ActorPool[Any],
    snapshot: bytes,
    ready: Future[PoolRef[Any]],
    parent: ActorRef[Any] | None = None,
) -> int:
    """
    Add a pool below the supervisor at *above*, and begin to start its workers.

    Args:
        host: Everything the system shares.
        above: Path of the supervisor.
        spec: The pool, which keeps every rule.
        snapshot: Its actor, as bytes.
        ready: Done when every worker is ready.
        parent: The actor that spawns it, or None.

    Returns:
        The number of the pool.

    Raises:
        SpecError: The tree refused it.
        StartError: No descriptors left, or its class is not imported here.
    """
    planned = _tree.plan(spec, host._next_uid, parent_path=above)
    made: list[Cell] = []
    try:
        for one in planned:
            made.append(host.make_cell(one.uid, one.path, one.child.options, snapshot, parent))  # noqa: PERF401 - one that fails leaves these
        first, host._next_uid = host._next_uid, host._next_uid + len(planned)
        _decide(host, ev.AddSupervisor(above, spec, first))
    except BaseException:
        for cell in made:
            host.runner.cells.pop(cell.uid, None)
            host.pump.unwatch(cell.lane.fileno())
            cell.close()
        raise
    host.pools.adopt(ready)
    found = host.pools.ref(f"{above}/{spec.name}")
    if found is None:
        raise StartError(f"pool {above}/{spec.name} has ended at once", target=f"{above}/{spec.name}")
    return found.number


def spawn_pool_for(
    host: Host, cell: Cell, body: Body, snapshot: bytes, data: dict[str, Any], answer: Callable[..., object]
) -> None:
    """
    An actor spawns a pool, beside itself in the tree; it ends with the actor's incarnation at the latest.

    Args:
        host: Everything the system shares.
        cell: The actor.
        body: Its incarnation.
        snapshot: The pool's actor, as bytes.
        data: The pool, as :func:`actors.supervisor._wire.pool_to_data` writes it.
        answer: Told ``ok``, number and path when it is ready, or ``error`` and why.

    Raises:
        ActorsError: It cannot be.
    """
    named = read_snapshot(snapshot)
    spec = pool_from_data(incarnate(find_class(named.module, named.qualname)), data)
    check(spec, is_actor=lambda item: isinstance(item, Actor))
    ready: Future[PoolRef[Any]] = Future()
    parent: ActorRef[Any] = ActorRef(system=host.name, uid=cell.uid, path=cell.path)
    number = add_pool(host, cell.path.rpartition("/")[0], spec, snapshot, ready, parent)
    # Those that have ended since are forgotten here.
    body.pools = {number, *(other for other in body.pools if host.pools.fields(other) is not None)}
    ready.add_done_callback(lambda done: _tell(done, answer))


def _tell(ready: Future[PoolRef[Any]], answer: Callable[..., object]) -> None:
    error = ready.exception()
    if error is None:
        ref = ready.result()
        answer("ok", ref.number, ref.path)
    else:
        answer("error", str(error))


def _decide(host: Host, event: ev.Event) -> None:
    """Let the tree decide; what it refuses is raised."""
    refusals: list[ev.Refused] = []
    before, host.runner.refused = host.runner.refused, refusals.append
    try:
        host.runner.handle(event)
    finally:
        host.runner.refused = before
    if refusals:
        raise refusal_error(refusals[0])
