"""
How workers leave a pool, so that nothing sent to them is lost. In four steps:

1. They are in no table any more.
2. Every process that has a table says that nothing goes to them from it. A dead one need not, and a mute one is not waited for beyond
   :data:`GOODBYE_SECONDS`: what it sends later is a dead letter.
3. They have handled what stands in their inboxes, however long that takes and whatever they die of meanwhile: a barrier says so.
4. They are stopped.

Runs in the pump's thread.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

import attrs

from actors._ref import ActorRef
from actors.errors import ActorNotRunningError, ActorsError
from actors.supervisor import _events as ev
from actors.supervisor._pool_book import HOST, PoolBook

if TYPE_CHECKING:
    from actors._host import Host
    from actors.supervisor._runner import Runner

__all__ = ["GOODBYE_SECONDS", "Leaving"]

GOODBYE_SECONDS: Final = 15.0
_LOOK_SECONDS: Final = 0.01
_AGAIN_SECONDS: Final = 0.05


@attrs.define(eq=False)
class _Goodbye:
    """
    Some workers leave.

    Attributes:
        book: The pool.
        version: Of the first table that they are not in.
        uids: The workers.
        awaited: The processes that have not let go of them.
        give_up: When that is not waited for any more.
    """

    book: PoolBook
    version: int
    uids: tuple[int, ...]
    awaited: set[tuple[int, int]]
    give_up: float


class Leaving:
    """
    Those that leave the pools of a system.

    Args:
        host: Everything the system shares.
        runner: Whose actors they are.
    """

    def __init__(self, host: Host, runner: Runner) -> None:
        self._host = host
        self._runner = runner
        self._goodbyes: list[_Goodbye] = []

    def begin(self, book: PoolBook, uids: Iterable[int], holders: Iterable[tuple[int, int]]) -> None:
        """Some workers are in no table from now on; *holders* had one in which they were."""
        goodbye = _Goodbye(book, book.version, tuple(uids), set(holders), time.monotonic() + GOODBYE_SECONDS)
        self._goodbyes.append(goodbye)
        self._look(goodbye)

    def let_go(self, number: int, version: int, holder: tuple[int, int]) -> None:
        """A process says that nothing goes from it any more to those that left with this version or before."""
        for goodbye in self._goodbyes:
            if goodbye.book.number == number and goodbye.version <= version:
                goodbye.awaited.discard(holder)

    def _look(self, goodbye: _Goodbye) -> None:
        for holder in tuple(goodbye.awaited):
            body = self._runner.find_body(*holder)
            if holder != HOST and (body is None or body.dead):
                goodbye.awaited.discard(holder)
        if goodbye.awaited and time.monotonic() < goodbye.give_up:
            self._host.pump.after(_LOOK_SECONDS, functools.partial(self._look, goodbye))
            return
        self._goodbyes.remove(goodbye)
        if goodbye.awaited:
            cells = (self._runner.cells.get(uid) for uid, _incarnation in goodbye.awaited)
            who = sorted({"the host" if cell is None else cell.path for cell in cells})
            self._host.log("warning", "actors.pool_goodbye_missing", path=goodbye.book.path, holders=who)
        for uid in goodbye.uids:
            self._ask_for_sign(uid)

    def _ask_for_sign(self, uid: int) -> None:
        """Have the worker stopped when it has handled what stands in its inbox."""
        cell = self._runner.cells.get(uid)
        if cell is None:
            return
        ref: ActorRef[Any] = ActorRef(self._host.name, uid, cell.path, on_full="reject")
        try:
            reply = self._host.node.barrier(ref)
        except ActorNotRunningError:
            self._stop(uid)
            return
        except ActorsError:  # no room for it now
            self._host.pump.after(_AGAIN_SECONDS, functools.partial(self._ask_for_sign, uid))
            return
        # Any thread tells it, and maybe twice.
        sign = _Sign(lambda: self._host.pump.post(functools.partial(self._stop, uid)))
        reply.listen(sign)
        if reply.done():
            sign.reply_done()

    def _stop(self, uid: int) -> None:
        cell = self._runner.cells.get(uid)
        if cell is not None:
            cell.drain = True
            cell.route.stopping = True
            self._runner.handle(ev.StopActor(uid))


@attrs.frozen(eq=False)
class _Sign:
    """Hears that a worker has handled what stood in its inbox, or never will."""

    action: Callable[[], object]

    def reply_done(self) -> None:
        """See :class:`actors._reply.Listener`."""
        self.action()
