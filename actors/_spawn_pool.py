"""
How a pool is added to a running system. Decided in the pump, like everything else.
"""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar, cast

from actors._actor import Actor
from actors._host import Host
from actors._pool import PoolRef
from actors._preflight import snapshots
from actors._supervisor_ref import SupervisorRef, is_actor
from actors.errors import SpecError
from actors.supervisor import _events as ev
from actors.supervisor import _tree
from actors.supervisor._check import check
from actors.supervisor._pool_spec import ActorPool

if TYPE_CHECKING:
    from actors._system import ActorSystem

__all__ = ["spawn_pool"]

A = TypeVar("A", bound=Actor)


def spawn_pool(system: ActorSystem, root: str, spec: ActorPool[A]) -> PoolRef[A]:
    """
    Start a pool below the root.

    Raises:
        SpecError: It cannot be; nothing was started.
        StartError: A worker did not get ready.
    """
    if not isinstance(cast("object", spec), ActorPool):
        raise SpecError(f"spawn_pool takes a pool(...), not a {type(spec).__name__}")
    check(spec, is_actor=is_actor)
    data = snapshots(_tree.plan(spec, 1, parent_path=root)[:1])[0]
    ready: Future[PoolRef[Any]] = Future()
    system._call(lambda host: _add(host, root, spec, data, ready))
    return system._outcome(ready)


def _add(host: Host, root: str, spec: ActorPool[Any], data: bytes, ready: Future[PoolRef[Any]]) -> None:
    """In the pump."""
    planned = _tree.plan(spec, host._next_uid, parent_path=root)
    made = []
    try:
        for one in planned:
            made.append(host.make_cell(one.uid, one.path, one.child.options, data))  # noqa: PERF401 - one that fails leaves these
        first, host._next_uid = host._next_uid, host._next_uid + len(planned)
        SupervisorRef._handle(host, ev.AddSupervisor(root, spec, first))
    except BaseException:
        for cell in made:
            host.runner.cells.pop(cell.uid, None)
            host.pump.unwatch(cell.lane.fileno())
            cell.close()
        raise
    host.pools.adopt(ready)
