"""
The host's side of :class:`actors._routes.Directory` and of what it sends itself: in the host every route is known, and nothing has to be
asked for.
"""

from __future__ import annotations

import functools
import os
import select
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from actors._node import Node
from actors._ref import ActorRef
from actors._routes import HOLD_SECONDS, Route, flush_held, gone_error, wait_writable
from actors.errors import InternalError
from actors.mailbox._answers import AnswerLane
from actors.mailbox._arena import ArenaReader
from actors.supervisor import _exits
from actors.supervisor._letters import DeadLetter, DeadLetterReason

if TYPE_CHECKING:
    from actors._host import Host
    from actors.supervisor._cells import Cell

__all__ = ["HostDirectory", "HostsOwn"]


class HostDirectory:
    """
    Finds what :class:`~actors._node.Node` and :class:`~actors._shares.Shares` need in the host; see their protocols for the methods.

    Args:
        host: Everything the system shares.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self.holds = host.holds

    def find_route(self, ref: ActorRef[Any]) -> Route:
        """See :class:`~actors._routes.Directory`."""
        return self._cell(ref).route

    def answer_lane(self, ref: ActorRef[Any]) -> AnswerLane:
        """See :class:`~actors._routes.Directory`."""
        return self._cell(ref).lane

    def _cell(self, ref: ActorRef[Any]) -> Cell:
        cell = self._host.runner.cells.get(ref.uid)
        if cell is None:
            raise gone_error(ref.path, self._host.reason_of(ref.uid))
        return cell

    def make_arena(self, slot_bytes: int, slots: int) -> tuple[int, int]:
        """See :class:`~actors._routes.Directory`."""
        arena_id, descriptor = self._host.arenas.make((0, 0), slot_bytes, slots)
        return arena_id, os.dup(descriptor)

    def find_arena(self, arena_id: int, sender: int | None = None) -> ArenaReader:
        """See :class:`~actors._routes.Directory`."""
        return self._host.arenas.reader(arena_id, sender)

    def look_later(self, seconds: float, action: Callable[[], object]) -> None:
        """See :class:`~actors._routes.Directory`."""
        self._host.pump.post(functools.partial(self._host.pump.after, seconds, action))

    def retire_arena(self, arena_id: int) -> None:
        """See :class:`~actors._routes.Directory`."""
        self._host.pump.post(functools.partial(self._host.memory.drop_arena, arena_id, (0, 0)))

    def make_share(self, size: int) -> tuple[int, int]:
        """See :class:`~actors._shares.ShareSource`."""
        number, descriptor = self._host.share_book.make((0, 0), size)
        return number, os.dup(descriptor)

    def find_share(self, number: int) -> int | None:
        """See :class:`~actors._shares.ShareSource`."""
        descriptor = self._host.share_book.find(number, (0, 0))
        return None if descriptor is None else os.dup(descriptor)

    def drop_share(self, number: int) -> None:
        """See :class:`~actors._shares.ShareSource`. In the pump's thread."""
        self._host.memory.drop_use(number, (0, 0))

    def all_has_left(self) -> bool:
        """See :class:`~actors._shares.ShareSource`."""
        return not any(route.outbox.waits for route in list(self._host.node.routes.values()))

    def drop_route(self, route: Route) -> None:
        """See :class:`~actors._routes.Directory`. A route of the host is its cell's."""

    def flush_soon(self, route: Route) -> None:
        """See :class:`~actors._routes.Directory`."""
        flush = functools.partial(flush_held, route, self._host.pump.after)
        self._host.pump.post(functools.partial(self._host.pump.after, HOLD_SECONDS, flush))

    def wait_for_room(self, route: Route, seconds: float) -> None:
        """See :class:`~actors._routes.Directory`."""
        if self._host.pump.is_current():
            raise InternalError("the pump may not wait for room")
        wait_writable(route.outbox.descriptor, seconds)

    def pause(self, seconds: float) -> None:
        """See :class:`~actors._routes.Directory`."""
        select.select([], [], [], seconds)

    def steer(self, uid: int, what: str, ask_id: int, count: int) -> None:
        """See :class:`~actors._routes.Directory`."""
        self._host.pump.post(functools.partial(self._host.runner.steer, uid, what, 0, ask_id, count))

    def dead_letter(
        self, target: str, reason: DeadLetterReason, count: int, *, handler: str | None = None, uid: int = 0
    ) -> None:
        """See :class:`~actors._routes.Directory`."""
        self._host.letters.take(DeadLetter(target, reason, count, handler, uid))

    def run_callback(self, function: Callable[..., object], *args: object) -> None:
        """See :class:`~actors._routes.Directory`."""
        self._host.callbacks.run(function, *args)

    def wake_for(self, deadline: float) -> None:
        """See :class:`~actors._routes.Directory`."""
        self._host.pump.wake_for(deadline)


class HostsOwn(Node):
    """
    What the host itself sends and asks.

    Its routes are those of the cells: that of an actor which was parked opens again when the actor comes back.
    """

    def __init__(self, host: Host, *, uid: int, incarnation: int, max_bytes: int, max_open_asks: int) -> None:
        super().__init__(
            host.directory, uid=uid, incarnation=incarnation, max_bytes=max_bytes, max_open_asks=max_open_asks
        )
        self._host = host

    def came_back(self, uid: int, revivals: int) -> None:
        """See :meth:`Node.came_back`. In the pump's thread."""
        self._revived[uid] = (revivals, self.next_id())

    def mark_gone(self, uid: int, reason: _exits.ExitReason) -> None:
        """See :meth:`Node.mark_gone`; what an actor that lives says of itself changes nothing."""
        cell = self._host.runner.cells.get(uid)
        if cell is not None and cell.gone is None:
            return
        if cell is not None:
            self.routes.setdefault(uid, cell.route)
        super().mark_gone(uid, reason)
