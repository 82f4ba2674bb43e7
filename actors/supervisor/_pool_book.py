"""
What the host knows of one pool: its workers, who has to know of them, and what it tells.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any, Literal, TypeAlias

import attrs

from actors.errors import ActorsError
from actors.supervisor._pool_spec import ActorPool
from actors.supervisor._scaling import ScaleState
from actors.supervisor._slots import assign

__all__ = ["HOST", "PoolBook", "Worker"]

HOST = (0, 0)
"""The host among the holders of a table."""

State: TypeAlias = Literal["starting", "in", "out", "leaving"]


@attrs.define(eq=False)
class Worker:
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
        parent: Ref of the actor that spawned it, or None.
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
    workers: dict[int, Worker]
    target: int
    parent: Any = None
    version: int = 1
    owners: tuple[int, ...] = ()
    holders: set[tuple[int, int]] = attrs.Factory(lambda: {HOST})
    waiters: list[Future[None]] = attrs.Factory(list)
    ready: Future[Any] | None = None
    scaled: ScaleState = attrs.Factory(ScaleState)
    diverted: deque[tuple[bytes, str | None]] = attrs.Factory(deque)
    failure: ActorsError | None = None
    gone: str = ""

    def in_state(self, *states: State) -> list[Worker]:
        """Its workers in one of these states."""
        return [worker for worker in self.workers.values() if worker.state in states]

    def assign(self) -> None:
        """Give each slot a worker, after a change of who is in."""
        if self.spec.routing == "key_hash":
            self.owners = assign(self.owners, [worker.uid for worker in self.in_state("in")])

    def fields(self) -> tuple[Any, ...]:
        """What a process needs to know; see :class:`actors._pool_table.Table`."""
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
