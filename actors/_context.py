"""
What an actor can do and know in its own process: behind ``self.ref``, ``self.spawn``, ``self.call_later`` and the others.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from actors import _log
from actors._actor import Actor
from actors._channel import Channel, make_channel
from actors._own_spawns import doubt_child, spawn_own_pool
from actors._pool import PoolRef
from actors._ref import ActorRef
from actors._shared_array import SharedArray, make_shared_array
from actors._snapshot import snapshot
from actors._timers import Timer
from actors._watching import Watch
from actors.errors import ActorNotRunningError, ProtocolError
from actors.supervisor._pool_spec import ActorPool
from actors.supervisor._spec import Child, Options
from actors.supervisor._wire import options_to_data

if TYPE_CHECKING:
    from actors._child import ActorProcess

__all__ = ["Context"]


class Context:
    """See :class:`actors._actor.ActorContext`."""

    def __init__(self, process: ActorProcess) -> None:
        self._process = process
        self.ref: ActorRef[Any] = process.ref
        parent = process.setup["parent"]
        self.parent: ActorRef[Any] | None = parent if isinstance(parent, ActorRef) else None

    @functools.cached_property
    def log(self) -> Any:
        """Made at its first use: what ``on_start`` has configured counts."""
        return _log.actor_logger(self.ref.path, self._process.setup["incarnation"])

    @property
    def deadline(self) -> float | None:
        """When the ask being handled ends."""
        return self._process.deadline

    @property
    def cancelled(self) -> bool:
        """Whether the ask being handled was cancelled by its caller."""
        return self._process.flow.cancelled

    @property
    def attempt(self) -> int:
        """How often the message being handled was handed out before."""
        return self._process.attempt

    def spawn(self, actor: Actor, name: str | None, options: Mapping[str, Any]) -> ActorRef[Any]:
        """Start a child; it ends with this incarnation at the latest."""
        chosen = Options.of(actor, **options)
        data = options_to_data(chosen)
        doubt_child(self._process, Child(actor, chosen), name)
        fields, _none = self._process.attendant.request(
            "spawn", snapshot(actor), name, data, timeout=chosen.start_timeout + 5.0
        )
        _ok, uid, path = fields
        return ActorRef(system=self.ref.system, uid=uid, path=path)

    def spawn_pool(self, spec: ActorPool[Any]) -> PoolRef[Any]:
        """Start a pool; it ends with this incarnation at the latest."""
        return spawn_own_pool(self._process, spec)

    def whereis(self, name: str) -> ActorRef[Any]:
        """Ask the supervisor for the ref of another actor."""
        match self._process.attendant.request("whereis", name)[0]:
            case ("ok", int(uid), str(path)):
                return ActorRef(system=self.ref.system, uid=uid, path=path)
            case (_none, text):
                raise ActorNotRunningError(str(text), target=name)
            case answer:
                raise ProtocolError(f"whereis {name!r}: the supervisor answered {answer!r}")

    def find_pool(self, name: str) -> PoolRef[Any]:
        """Ask the supervisor for the ref of a pool."""
        match self._process.attendant.request("find_pool", name)[0]:
            case ("ok", int(number), str(path)):
                return PoolRef(self.ref.system, number, path)
            case (_none, text):
                raise ActorNotRunningError(str(text), target=name)
            case answer:
                raise ProtocolError(f"find_pool {name!r}: the supervisor answered {answer!r}")

    def shared_array(self, shape: int | tuple[int, ...], dtype: Any) -> SharedArray:
        """Make an array in memory that other processes can share."""
        return make_shared_array(self.ref.system, shape, dtype)

    def channel(self, maxsize: int, name: str, *, joinable: bool, max_deliveries: int) -> Channel[Any]:
        """Make a queue between processes."""
        return make_channel(self.ref.system, maxsize, name, joinable=joinable, max_deliveries=max_deliveries)

    def watch(self, ref: ActorRef[Any], handler: str) -> Watch:
        """Have a handler of this actor told of the end of another."""
        return self._process.watching.watch(ref, handler)

    def link(self, ref: ActorRef[Any]) -> None:
        """End when another ends abnormally, and the other way round."""
        self._process.watching.link(ref)

    def unlink(self, ref: ActorRef[Any]) -> None:
        """Take a link back."""
        self._process.watching.unlink(ref)

    def trap_exits(self, handler: str) -> None:
        """Have a handler told of the deaths of linked actors, instead of ending."""
        self._process.watching.trap(handler)

    def call_later(self, delay: float, handler: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Timer:
        """Call a handler of this actor once."""
        return self._timer(delay, None, handler, args, kwargs)

    def call_every(self, period: float, handler: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Timer:
        """Call a handler of this actor again and again."""
        return self._timer(period, period, handler, args, kwargs)

    def _timer(
        self, delay: float, every: float | None, handler: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Timer:
        process = self._process
        function = type(process.actor)._handlers[handler].function
        action = lambda: function(process.actor, *args, **kwargs)  # noqa: E731 - of one line, and named in the next
        timer = process.timers.add(action, delay, every, time.monotonic(), handler)
        process.interrupt()
        return timer

    def stop(self) -> None:
        """End after the handler that runs."""
        self._process.end()

    def progress(self) -> None:
        """Note that the handler is getting on."""
        self._process.note_progress()
