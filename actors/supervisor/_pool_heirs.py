"""
What was queued for workers that are given up goes to the others of their pool, where the pool says so.

Tells only: who asked is told that the worker is gone and may ask again. What is handed on is what the dead one's mailbox held, message by
message as its bytes stood there. Runs in the pump's thread, so it never waits for room: what finds none is tried again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from actors.supervisor._letters import DeadLetter
from actors.supervisor._pool_book import PoolBook

if TYPE_CHECKING:
    from actors._host import Host
    from actors.supervisor._runner import Runner

__all__ = ["Heirs"]

_AGAIN_SECONDS: Final = 0.05


class Heirs:
    """
    Who handles what the dead were to handle.

    Args:
        host: Everything the system shares.
        runner: Whose actors they are.
    """

    def __init__(self, host: Host, runner: Runner) -> None:
        self._host = host
        self._runner = runner
        self._books: dict[int, PoolBook] = {}

    def note(self, uid: int, book: PoolBook) -> None:
        """A worker is given up: what is there, and what is still on its way there, is the others'."""
        if book.spec.given_up == "reroute" and not book.gone:
            self._books[uid] = book

    def forget(self, uid: int) -> None:
        """It has come back."""
        self._books.pop(uid, None)

    def end(self, book: PoolBook) -> None:
        """The pool is gone, and there are no others."""
        self._books = {uid: other for uid, other in self._books.items() if other is not book}
        for _message, handler in book.diverted:
            self._host.letters.take(DeadLetter(book.path, "stopping", 1, handler))
        book.diverted.clear()

    def of(self, uid: int) -> Callable[[bytes, str | None], object] | None:
        """Return what takes the messages that *uid* will not handle, each with its handler's name; None: they are dead."""
        book = self._books.get(uid)
        return None if book is None else functools.partial(self._divert, book)

    def _divert(self, book: PoolBook, message: bytes, handler: str | None) -> None:
        book.diverted.append((message, handler))
        if len(book.diverted) == 1:
            self._host.pump.post(functools.partial(self._forward, book, 0))

    def _forward(self, book: PoolBook, sent: int) -> None:
        """Hand messages on, to the others in turn."""
        while book.diverted:
            cells = [self._runner.cells[worker.uid] for worker in book.in_state("in")]
            turn = [*cells[sent % len(cells) :], *cells[: sent % len(cells)]] if cells else []
            if not any(self._host.node.forward(cell.route, book.diverted[0][0]) for cell in turn):
                self._host.pump.after(_AGAIN_SECONDS, functools.partial(self._forward, book, sent))
                return
            book.diverted.popleft()
            sent += 1
        if sent:
            self._host.log("info", "actors.pool_rerouted", path=book.path, count=sent)
