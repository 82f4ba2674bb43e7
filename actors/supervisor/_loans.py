"""
What the host has and lends to children: the ways to others, shared memory, channels.

=================  ==============================  =====================================================================
notice             fields                          answer
=================  ==============================  =====================================================================
``resolve``        number, uid                     ``answer`` ok, path, on_full, send_timeout and the write end; or gone
``reply_lane``     number                          ``answer`` ok, and the read end
``lane_wanted``    uid of a caller, incarnation    ``lane`` caller, incarnation, and the write end if there is one
``new_arena``      number, slot_bytes, slots       ``answer`` ok, id, and the file
``arena``          number, id                      ``answer`` ok, and the file; or gone
``retire_arena``   id                              it sends from that one no more
``new_share``      number, size                    ``answer`` ok, its number, and the file
``share``          number, its number              ``answer`` ok, and the file; or gone
``drop_share``     its number                      one use less
``new_channel``    number, maxsize, name,          ``answer`` ok, what it is, and its file, pipes and bell
                   joinable, max_deliveries
``channel``        number, its number              ``answer`` ok, the same; or gone
``channel_cell``   number, its number, kind        ``answer`` ok, cell, identity, slot, count
``drop_channel``   its number, cells               one use less
=================  ==============================  =====================================================================
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import attrs

from actors import _descriptors
from actors.errors import SpecError
from actors.mailbox._inbox import make_inbox, reopen_reader, reopen_writer
from actors.supervisor import _exits
from actors.supervisor._cells import Body, Cell
from actors.supervisor._channels import ChannelFacts

if TYPE_CHECKING:
    from actors._host import Host
    from actors.supervisor._runner import Runner

__all__ = ["Loans", "lent_mailbox"]


class Loans:
    """Lends it, in the pump's thread; for the arguments see :class:`Requests`."""

    def __init__(self, host: Host, runner: Runner) -> None:
        self._host = host
        self._runner = runner
        self.methods: dict[str, Callable[..., None]] = {
            "resolve": self._resolve,
            "reply_lane": self._reply_lane,
            "lane_wanted": self._lane_wanted,
            "new_arena": self._new_arena,
            "arena": self._arena,
            "retire_arena": self._retire_arena,
            "new_share": self._new_share,
            "share": self._share,
            "drop_share": self._drop_share,
            "new_channel": self._new_channel,
            "channel": self._channel,
            "channel_cell": self._channel_cell,
            "drop_channel": self._drop_channel,
        }

    def _resolve(self, cell: Cell, body: Body, number: int, uid: int) -> None:
        other = self._runner.cells.get(uid)
        if other is None or other.gone is not None:
            reason = other.gone if other is not None else self._host.reason_of(uid)
            self._runner.answer(body, number, "gone", _exits.to_data(reason or _exits.ExitReason("unknown")))
            return
        other.holders.add((cell.uid, body.incarnation))
        options = other.options
        fields = ("ok", other.path, options.on_full, float(options.send_timeout))
        with _lent(reopen_writer, other.inbox_write) as inbox:
            self._runner.answer(body, number, *fields, descriptors=(inbox,))

    def _reply_lane(self, _cell: Cell, body: Body, number: int) -> None:
        with _descriptors.fork_lock:
            read_end, write_end = make_inbox()
            _descriptors.own(read_end, write_end)
        _descriptors.close(body.reply_lane)
        body.reply_lane = write_end
        self._runner.answer(body, number, "ok", descriptors=(read_end,))
        _descriptors.close(read_end)

    def _lane_wanted(self, _cell: Cell, body: Body, caller: int, incarnation: int) -> None:
        asker = self._runner.find_body(caller, incarnation)
        if asker is None or asker.reply_lane < 0:
            # What waits for it has nobody to read it.
            self._runner.tell_body(body, "lane", caller, incarnation)
            return
        with _lent(reopen_writer, asker.reply_lane) as lent:
            self._runner.tell_body(body, "lane", caller, incarnation, descriptors=(lent,))

    def _new_arena(self, cell: Cell, body: Body, number: int, slot_bytes: int, slots: int) -> None:
        try:
            arena_id, descriptor = self._host.arenas.make((cell.uid, body.incarnation), slot_bytes, slots)
        except OSError as error:
            self._runner.answer(body, number, "error", f"no memory for large messages: {error}")
            return
        self._runner.answer(body, number, "ok", arena_id, descriptors=(descriptor,))

    def _arena(self, cell: Cell, body: Body, number: int, arena_id: int) -> None:
        descriptor = self._host.arenas.lend(arena_id, cell.uid)
        if descriptor is None:
            self._runner.answer(body, number, "gone")
            return
        self._runner.answer(body, number, "ok", descriptors=(descriptor,))

    def _retire_arena(self, cell: Cell, body: Body, arena_id: int) -> None:
        self._host.memory.drop_arena(arena_id, (cell.uid, body.incarnation))

    def _new_share(self, cell: Cell, body: Body, number: int, size: int) -> None:
        try:
            share, descriptor = self._host.share_book.make((cell.uid, body.incarnation), size)
        except OSError as error:
            self._runner.answer(body, number, "error", f"no shared memory: {error}")
            return
        self._runner.answer(body, number, "ok", share, descriptors=(descriptor,))

    def _share(self, cell: Cell, body: Body, number: int, share: int) -> None:
        descriptor = self._host.share_book.find(share, (cell.uid, body.incarnation))
        if descriptor is None:
            self._runner.answer(body, number, "gone")
            return
        self._runner.answer(body, number, "ok", descriptors=(descriptor,))

    def _drop_share(self, cell: Cell, body: Body, share: int) -> None:
        self._host.memory.drop_use(share, (cell.uid, body.incarnation))

    def _new_channel(
        self, cell: Cell, body: Body, number: int, maxsize: Any, name: Any, joinable: Any, max_deliveries: Any
    ) -> None:
        try:
            facts = self._host.channel_book.make(
                (cell.uid, body.incarnation), maxsize, name, joinable is True, max_deliveries
            )
        except (OSError, SpecError) as error:
            self._runner.answer(body, number, "error", f"no channel: {error}")
            return
        self._lend_channel(body, number, facts, functools.partial(self._host.channel_book.discard, facts.number))

    def _channel(self, cell: Cell, body: Body, number: int, channel: int) -> None:
        facts = self._host.channel_book.find(channel, (cell.uid, body.incarnation))
        if facts is None:
            self._runner.answer(body, number, "gone")
            return
        undo = functools.partial(self._host.channel_book.drop, channel, (cell.uid, body.incarnation), ())
        self._lend_channel(body, number, facts, undo)

    def _lend_channel(self, body: Body, number: int, facts: ChannelFacts, undo: Callable[[], None]) -> None:
        try:
            with self._host.channel_book.lent(facts.number) as descriptors:
                self._runner.answer(body, number, "ok", attrs.astuple(facts), descriptors=descriptors)
        except OSError as error:
            undo()
            self._runner.answer(body, number, "error", f"no channel {facts.name}: {error}")

    def _channel_cell(self, cell: Cell, body: Body, number: int, channel: int, kind: int) -> None:
        try:
            lent = self._host.channel_book.lend(channel, (cell.uid, body.incarnation), kind)
        except OSError as error:
            self._runner.answer(body, number, "error", str(error))
            return
        self._runner.answer(body, number, "ok", *lent)

    def _drop_channel(self, cell: Cell, body: Body, channel: int, cells: Any) -> None:
        self._host.channel_book.drop(channel, (cell.uid, body.incarnation), cells)


@contextlib.contextmanager
def lent_mailbox(cell: Cell) -> Iterator[tuple[int, int, int]]:
    """What the incarnation that serves works with: the inbox, the recorder, the answer pipe to the host."""
    with _lent(reopen_reader, cell.inbox_read) as inbox, _lent(reopen_writer, cell.answers_write) as answers:
        yield inbox, cell.recorder, answers


@contextlib.contextmanager
def _lent(reopen: Callable[[int], int], descriptor: int) -> Iterator[int]:
    """Give a pipe's end as an open file of its own: what a child does to that (O_NONBLOCK above all) is not done to ours."""
    with _descriptors.fork_lock:
        lent = reopen(descriptor)
        _descriptors.own(lent)
    try:
        yield lent
    finally:
        _descriptors.close(lent)
