"""
How the host adds a pool to its running system.
"""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar, cast

from actors._actor import Actor
from actors._add_pool import add_pool
from actors._doubts import warn
from actors._pool import PoolRef
from actors._preflight import snapshots
from actors._supervisor_ref import is_actor
from actors.errors import SpecError
from actors.supervisor import _tree
from actors.supervisor._check import check
from actors.supervisor._doubts import tree_doubts
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
    data = snapshots(_tree.plan(spec, 1, parent_path=root)[:1], system._method)[0]
    warn(tree_doubts(spec, system._life.shutdown_deadline, root))
    ready: Future[PoolRef[Any]] = Future()
    system._life.call(lambda host: add_pool(host, root, spec, data, ready))
    return system._life.outcome(ready)
