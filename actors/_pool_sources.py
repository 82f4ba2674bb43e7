"""
What the host and an actor each offer so that pools can be used there. See :class:`actors._pool_table.PoolSource`.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final

from actors.errors import ActorNotRunningError, AskTimeoutError, SpecError

if TYPE_CHECKING:
    from actors._child import ActorProcess
    from actors._host import Host
    from actors._reply import Reply

__all__ = ["ActorPoolSource", "HostPoolSource"]

# An actor that waits for a sign of another one looks for it so often; it reads its own inbox meanwhile.
_LOOK_SECONDS: Final = 0.002
# How often a thread that waits for the pump makes sure that it is there.
_PUMP_SECONDS: Final = 1.0
# A resize starts processes, one after another.
_RESIZE_SECONDS: Final = 3600.0


class HostPoolSource:
    """
    In the host everything is known.

    Args:
        host: Everything the system shares.
    """

    def __init__(self, host: Host) -> None:
        self._host = host

    def find_pool(self, number: int) -> tuple[Any, ...] | None:
        """See :class:`~actors._pool_table.PoolSource`."""
        return self._host.pools.fields(number)

    def pool_left(self, number: int, version: int) -> None:
        """See :class:`~actors._pool_table.PoolSource`."""
        self._host.pump.post(functools.partial(self._host.pools.leaving.let_go, number, version, (0, 0)))

    def wait_reply(self, reply: Reply[Any], seconds: float) -> None:
        """See :class:`~actors._pool_table.PoolSource`."""
        with contextlib.suppress(AskTimeoutError):
            reply.exception(seconds)

    def look_later(self, seconds: float, action: Callable[[], object]) -> None:
        """See :class:`~actors._pool_table.PoolSource`."""
        self._host.directory.look_later(seconds, action)

    def resize_pool(self, number: int, size: int) -> None:
        """See :class:`~actors._pool_table.PoolSource`."""
        host = self._host
        if host.pump.is_current() or host.callbacks.is_current():
            raise SpecError("a pool cannot be resized from a callback of the system: use another thread")
        done: Future[None] = Future()
        if not host.pump.post(functools.partial(host.pools.resize, number, size, done)):
            raise ActorNotRunningError(f"system {host.name} has stopped")
        while True:
            try:
                return done.result(_PUMP_SECONDS)
            except TimeoutError:
                if done.done():
                    raise
                if not host.pump.is_running():
                    raise ActorNotRunningError(f"system {host.name} has stopped") from None

    def stop_pool(self, number: int, drain: bool) -> None:
        """See :class:`~actors._pool_table.PoolSource`."""
        self._host.pump.post(functools.partial(self._host.pools.stop, number, drain))


class ActorPoolSource:
    """
    An actor asks its supervisor.

    Args:
        process: The actor's.
    """

    def __init__(self, process: ActorProcess) -> None:
        self._process = process
        process.attendant.handlers["pool"] = self._changed

    def _changed(self, fields: tuple[object, ...], _passed: tuple[int, ...]) -> None:
        """In the attendant: there is a new table of a pool that this process has sent to."""
        self._process.pools.update(fields)

    def find_pool(self, number: int) -> tuple[Any, ...] | None:
        """See :class:`~actors._pool_table.PoolSource`."""
        fields, _none = self._process.attendant.request("pool", number)
        return None if fields[0] == "gone" else tuple(fields[1:])

    def pool_left(self, number: int, version: int) -> None:
        """See :class:`~actors._pool_table.PoolSource`."""
        self._process.attendant.notify("pool_left", number, version)

    def wait_reply(self, reply: Reply[Any], seconds: float) -> None:
        """See :class:`~actors._pool_table.PoolSource`. Its own inbox is read meanwhile: the other one may wait for room in it."""
        give_up = time.monotonic() + seconds
        while not reply.done() and time.monotonic() < give_up:
            self._process.directory.pause(_LOOK_SECONDS)

    def look_later(self, seconds: float, action: Callable[[], object]) -> None:
        """See :class:`~actors._pool_table.PoolSource`."""
        self._process.attendant.after(seconds, action)

    def resize_pool(self, number: int, size: int) -> None:
        """See :class:`~actors._pool_table.PoolSource`."""
        self._process.attendant.request("resize_pool", number, size, timeout=_RESIZE_SECONDS)

    def stop_pool(self, number: int, drain: bool) -> None:
        """See :class:`~actors._pool_table.PoolSource`."""
        self._process.attendant.notify("stop_pool", number, drain)
