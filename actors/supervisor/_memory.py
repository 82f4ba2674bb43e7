"""
The shared memory of a system, and when it goes: the arenas of large messages, and what users share. In the pump's thread.

What it was made by is gone, and nobody uses it: then it goes as soon as no message can name it any more, which is when every actor has
handled what it had been sent until then.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from actors.errors import ProtocolError
from actors.mailbox._inbox import queued_bytes
from actors.supervisor._arenas import ArenaBook
from actors.supervisor._shares import ShareBook

if TYPE_CHECKING:
    from actors._host import Host

__all__ = ["SharedMemory"]

_SWEEP_SECONDS = 0.1


class SharedMemory:
    """
    What there is, by whom it was made and who uses it.

    Args:
        host: Everything the system shares.
        inherit: Whether what the user forks may go on with it.

    Attributes:
        arenas: Where large messages lie.
        share_book: What users share.
    """

    def __init__(self, host: Host, *, inherit: bool) -> None:
        self._host = host
        self.arenas = ArenaBook(host.max_bytes, inherit=inherit)
        self.share_book = ShareBook()
        self._sweeping = False
        self._items_done: dict[int, int] = {}

    def orphan(self, uid: int, incarnation: int) -> None:
        """An incarnation has ended: its arenas go when nothing refers to them any more."""
        if self.arenas.orphan((uid, incarnation), self._marks):
            self._sweep_later()

    def forget_user(self, uid: int, incarnation: int) -> None:
        """An incarnation has ended: the shared memory that it used goes when nobody uses it, and no message can name it."""
        if self.share_book.forget((uid, incarnation), self._marks):
            self._sweep_later()

    def drop_use(self, number: int, user: tuple[int, int]) -> None:
        """One use less of a piece of shared memory. In the pump's thread."""
        if self.share_book.drop(number, user, self._marks):
            self._sweep_later()

    def forget_mark(self, uid: int) -> None:
        """Mail of *uid* was destroyed: nobody can know what it has named."""
        self.arenas.forget_mark(uid)
        self.share_book.forget_mark(uid)

    def _sweep_later(self) -> None:
        if not self._sweeping:
            self._sweeping = True
            self._host.pump.after(_SWEEP_SECONDS, self._sweep)

    def _marks(self) -> dict[int, int]:
        marks: dict[int, int] = {}
        for uid, cell in self._host.runner.cells.items():
            with contextlib.suppress(ProtocolError):
                marks[uid] = cell.view.flight().read_bytes + queued_bytes(cell.inbox_read)
        # An item of a channel names memory as a message does. Channels have numbers below zero here, and count items.
        marks.update({-number: put for number, (put, _done) in self._host.channel_book.totals().items() if put})
        return marks

    def _handled(self, uid: int) -> int | None:
        if uid < 0:
            return self._items_done.get(-uid)
        cell = self._host.runner.cells.get(uid)
        if cell is None:
            return None
        try:
            return cell.view.flight().handled_bytes
        except ProtocolError:
            return None

    def _sweep(self) -> None:
        self._items_done = {number: done for number, (_put, done) in self._host.channel_book.totals().items()}
        quiet = self._no_answer_waits()
        dropped, left = self.arenas.sweep(self._handled, quiet=quiet)
        left = self.share_book.sweep(self._handled, quiet=quiet) or left
        for arena_id, holders in dropped:
            self._arena_gone(arena_id, holders)
        self._sweeping = False
        if left:
            self._sweep_later()

    def _no_answer_waits(self) -> bool:
        """Return whether every lane of answers is empty."""
        lanes = [cell.answers_write for cell in self._host.runner.cells.values()]
        lanes += [body.reply_lane for cell in self._host.runner.cells.values() for body in cell.bodies]
        return not any(queued_bytes(lane) for lane in lanes if lane >= 0)

    def _arena_gone(self, arena_id: int, holders: set[int]) -> None:
        for uid in holders:
            cell = self._host.runner.cells.get(uid)
            for body in () if cell is None else cell.bodies:
                self._host.runner.tell_body(body, "arena_gone", arena_id)

    def drop_arena(self, arena_id: int, owner: tuple[int, int]) -> None:
        """An arena's own sender has given it up: forget it here, and have those forget it that have read from it."""
        self._arena_gone(arena_id, self.arenas.retire(arena_id, owner))

    def close(self) -> None:
        """Give everything back."""
        self.arenas.close()
        self.share_book.close()
