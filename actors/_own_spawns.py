"""
What an actor spawns beside itself, in its own process: a pool, and the warnings of what can hardly take effect there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from actors._actor import Actor
from actors._doubts import warn
from actors._pool import PoolRef
from actors._snapshot import snapshot
from actors.errors import SpecError
from actors.supervisor._check import check, number_problem
from actors.supervisor._doubts import child_doubts, tree_doubts
from actors.supervisor._pool_spec import ActorPool
from actors.supervisor._spec import Child, Supervisor, default_name
from actors.supervisor._wire import pool_to_data

if TYPE_CHECKING:
    from actors._child import ActorProcess

__all__ = ["doubt_child", "spawn_own_pool"]

# What the supervisor takes beside the starts themselves.
_GRACE_SECONDS: Final = 5.0
# The options that doubts are about.
_DOUBTED: Final = ("max_same_crashes", "redeliver", "shutdown")


def doubt_child(process: ActorProcess, child: Child, name: str | None) -> None:
    """
    Warn of what is allowed of an actor spawned here and can probably not take effect.

    Args:
        process: The actor that spawns.
        child: What it spawns. A rule that it breaks is the host's to say.
        name: Its name; None: by default.
    """
    above = process.setup["above"]
    if above is not None and not any(number_problem(option, getattr(child.options, option)) for option in _DOUBTED):
        parent, most, period, deadline = above
        path = f"{_place(process)}/{name or child.options.name or default_name(child.actor)}"
        warn(child_doubts(child, Supervisor(parent, max_restarts=most, period=period), path, deadline))


def spawn_own_pool(process: ActorProcess, spec: ActorPool[Any]) -> PoolRef[Any]:
    """
    Start a pool beside an actor.

    Args:
        process: The actor that spawns.
        spec: The pool.

    Raises:
        SpecError: It cannot be; nothing was started.
        StartError: A worker did not get ready, or the host refuses the pool.
    """
    if not isinstance(cast("object", spec), ActorPool):
        raise SpecError(f"spawn_pool takes a pool(...), not a {type(spec).__name__}")
    check(spec, is_actor=lambda item: isinstance(item, Actor))
    data = pool_to_data(spec)
    image = snapshot(spec.actor)
    above = process.setup["above"]
    if above is not None:
        warn(tree_doubts(spec, above[3], _place(process)))
    seconds = spec.size * spec.worker.options.start_timeout + _GRACE_SECONDS
    fields, _none = process.attendant.request("spawn_pool", image, data, timeout=seconds)
    _ok, number, path = fields
    return PoolRef(process.ref.system, number, path)


def _place(process: ActorProcess) -> str:
    return process.ref.path.rpartition("/")[0]
