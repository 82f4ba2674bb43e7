"""
What a child says on its control lane, and what it asks for. Everything it sends is a claim: shapes and ranges are checked here.

=================  ==============================  =====================================================================
notice             fields                          answer
=================  ==============================  =====================================================================
``hello``          pid, and a pidfd                ``setup``
``ready``
``start_failed``   the exception as data
``crash``          the exception as data, handler
``hook_failed``    hook, the exception as data
``broken``         text                            it gave itself up: somebody wrote junk into its lanes
``inbox_broken``   text                            it leaves, for what somebody wrote into its inbox
``dead_letter``    target, reason, count
``lane_wanted``    uid of a caller, incarnation    ``lane`` caller, incarnation, and the write end if it is there
``worn``                                           it has handled as many messages as ``recycle`` says
``dead_letter``    target, reason, count,
                   handler or nil, uid
``lane_wanted``    uid of a caller                 ``lane`` caller, incarnation, and the write end if there is one
``resolve``        number, uid                     ``answer`` ok, path, on_full, send_timeout and the write end; or gone
``whereis``        number, name                    ``answer`` ok, uid, path; or none, and what there is
``find_pool``      number, name                    ``answer`` ok, its number, path; or none, and what there is
``reply_lane``     number                          ``answer`` ok, and the read end
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
``spawn``          number, snapshot, name, options ``answer`` ok, uid, path; when it is ready
``spawn_pool``     number, snapshot, the pool      ``answer`` ok, its number, path; when it is ready
``stop_actor``     uid, drain
``steer``          uid, what, ask_id, count        passed on to that actor, with the caller: ``credit`` or ``cancel``
``cancelling``     messages handled before         the ask it handles was cancelled, and its handler told
``info``           number, uid                     ``answer`` ok, alive, incarnation, statistics
``pool``           number, number of the pool      ``answer`` ok, its table; or gone. From then on: ``pool``, each later table
``pool_left``      number of the pool, version     nothing goes from it to those that left with that version
``resize_pool``    number, number of the pool,     ``answer`` ok, when it has that size
                   size
``stop_pool``      number of the pool, drain
``watch``          number, number of the watch,    ``answer`` ok; and once: ``watched`` numbers, incarnation, reason
                   uid
``unwatch``        number of the watch
``link``           number, uid, path               ``answer`` ok; and once: ``linked`` uid, path, incarnation, reason, crash
                                                   report of its own or nil
``unlink``         number, uid                     ``answer`` ok
``trap``           number, on                      ``answer`` ok
=================  ==============================  =====================================================================
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import attrs

from actors import _descriptors, _limits
from actors._add_pool import spawn_pool_for
from actors.errors import ActorNotRunningError, ActorsError, ProtocolError, SpecError
from actors.mailbox import _failure
from actors.mailbox._inbox import make_inbox, reopen_reader, reopen_writer
from actors.supervisor import _exits
from actors.supervisor._addresses import find_by_name
from actors.supervisor._cells import Body, Cell
from actors.supervisor._channels import ChannelFacts
from actors.supervisor._letters import CLAIMABLE, DeadLetter
from actors.supervisor._pool_spec import size_problem

if TYPE_CHECKING:
    from actors._host import Host
    from actors.supervisor._runner import Runner

__all__ = ["Requests"]

# Kinds of dropped messages in one notice.
_MOST_KINDS = 50
# After the host had no descriptor to lend.
_AGAIN_SECONDS = 0.1
# What the kernel says of the process of a pidfd that has been reaped.
_REAPED = -1


class Requests:
    """Takes the notices of all children, in the pump's thread."""

    def __init__(self, host: Host, runner: Runner) -> None:
        self._host = host
        self._runner = runner
        self._methods: dict[str, Callable[..., None]] = {
            "hello": self._hello,
            "ready": self._ready,
            "start_failed": self._start_failed,
            "crash": self._crash,
            "hook_failed": self._hook_failed,
            "broken": self._broken,
            "inbox_broken": self._inbox_broken,
            "dead_letter": self._dead_letter,
            "dropped": self._dropped,
            "lane_wanted": self._lane_wanted,
            "resolve": self._resolve,
            "whereis": self._whereis,
            "find_pool": self._find_pool,
            "reply_lane": self._reply_lane,
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
            "spawn": self._spawn,
            "spawn_pool": self._spawn_pool,
            "stop_actor": self._stop_actor,
            "steer": self._steer,
            "cancelling": self._cancelling,
            "info": self._info,
            "worn": self._worn,
            "pool": self._pool,
            "pool_left": self._pool_left,
            "resize_pool": self._resize_pool,
            "stop_pool": self._stop_pool,
            "watch": runner.obituaries.watch,
            "unwatch": runner.obituaries.unwatch,
            "link": runner.obituaries.link,
            "unlink": runner.obituaries.unlink,
            "trap": runner.obituaries.trap,
        }

    def take(self, cell: Cell, body: Body, kind: str, fields: tuple[Any, ...], descriptors: tuple[int, ...]) -> None:
        """
        Do what one notice says.

        Raises:
            ProtocolError: It is none of ours, or out of range; as do TypeError and ValueError for its shape.
        """
        method = self._methods.get(kind)
        if method is None:
            _descriptors.close(*descriptors)
            raise ProtocolError(f"unknown notice {kind!r}")
        if kind != "hello":
            _descriptors.close(*descriptors)
        try:
            if kind == "hello":
                self._hello(cell, body, fields[0], descriptors)
            else:
                method(cell, body, *fields)
        except OSError as error:
            self._refused_by_machine(cell, body, kind, fields, error)

    def _refused_by_machine(self, cell: Cell, body: Body, kind: str, fields: tuple[Any, ...], error: OSError) -> None:
        """The host has no descriptors or memory left for what a child needs: it is told, or waits; nobody else is concerned."""
        if kind == "hello":
            body.report = _failure.describe(_limits.explain(cell.path, error))
            self._runner.kill(cell, body, "protocol")
        elif kind == "lane_wanted":
            again = self._host.pump.after(_AGAIN_SECONDS, lambda: self._lane_wanted_again(cell, body, fields))
            body.timers.append(again)
        else:
            self._answer(body, fields[0], "error", f"{kind}: the host cannot: {error}")

    def _lane_wanted_again(self, cell: Cell, body: Body, fields: tuple[Any, ...]) -> None:
        if body in cell.bodies and not body.dead:
            self.take(cell, body, "lane_wanted", fields, ())

    def _answer(self, body: Body, number: int, *fields: object, descriptors: tuple[int, ...] = ()) -> None:
        self._runner.tell_body(body, "answer", number, *fields, descriptors=descriptors)

    # --- life -------------------------------------------------------------------------------------------------------------

    def _hello(self, cell: Cell, body: Body, pid: Any, descriptors: tuple[int, ...]) -> None:
        try:
            found = _pid_of(descriptors[0]) if len(descriptors) == 1 else None
        except OSError:
            _descriptors.close(*descriptors)
            raise
        if found == _REAPED:
            # Dead and buried before we came to read this; the host's own hold on its process, or its start, says so too.
            _descriptors.close(*descriptors)
            return
        if found is None or pid != found or body.pid not in {None, pid}:
            _descriptors.close(*descriptors)
            raise ProtocolError(f"its first frame says pid {pid!r} and hands over something else")
        body.pid = pid
        self._runner.births.introduced(cell, body, descriptors[0])
        setup = {
            "uid": cell.uid,
            "incarnation": body.incarnation,
            "path": cell.path,
            "system": self._host.name,
            "parent": cell.parent,
            "above": self._above(cell),
            "snapshot": cell.snapshot,
            "says_cancelling": cell.options.cancel_grace is not None,
            "max_open_asks": cell.options.max_open_asks,
            "worn_after": body.limits.messages,
            "standby": cell.standby is body,
            "redelivered": cell.deaths.redelivered(cell.view),
            "mailbox_bytes": cell.options.mailbox_bytes,
            "mailbox_messages": cell.options.mailbox_messages,
            "on_full": cell.options.on_full,
        }
        if cell.standby is body:
            self._runner.tell_body(body, "setup", setup)
            return
        with self.lent_mailbox(cell) as mailbox:
            self._runner.tell_body(body, "setup", setup, descriptors=mailbox)

    def _above(self, cell: Cell) -> tuple[str, int, float, float] | None:
        """What an actor has to know of its supervisor, to doubt what it spawns beside itself."""
        node = self._runner.state.nodes.get(cell.path.rpartition("/")[0])
        if node is None:
            return None
        spec = node.machine.spec
        return spec.name, spec.max_restarts, float(spec.period), float(self._host.shutdown_deadline)

    @contextlib.contextmanager
    def lent_mailbox(self, cell: Cell) -> Iterator[tuple[int, int, int]]:
        """What the incarnation that serves works with: the inbox, the recorder, the answer pipe to the host."""
        with _lent(reopen_reader, cell.inbox_read) as inbox, _lent(reopen_writer, cell.answers_write) as answers:
            yield inbox, cell.recorder, answers

    def _worn(self, cell: Cell, body: Body) -> None:
        self._runner.replacing.ask(cell, body, "messages")

    def _ready(self, cell: Cell, body: Body) -> None:
        if not body.ready:
            self._runner.births.ready(cell, body)

    def _start_failed(self, _cell: Cell, body: Body, report: Any) -> None:
        body.report = _as_report(report)

    def _crash(self, _cell: Cell, body: Body, report: Any, handler: Any) -> None:
        body.report = {**_as_report(report), "handler": str(handler)[:200]}

    def _hook_failed(self, cell: Cell, body: Body, hook: Any, report: Any) -> None:
        data = _as_report(report)
        self._host.log(
            "error",
            "actors.hook_failed",
            path=cell.path,
            uid=cell.uid,
            incarnation=body.incarnation,
            hook=str(hook)[:80],
            reason=f"{data.get('type')}: {data.get('text')}",
        )

    def _broken(self, cell: Cell, body: Body, why: Any) -> None:
        self._runner.violated(cell, body, f"its lanes were written to by somebody else: {str(why)[:500]}")

    def _inbox_broken(self, _cell: Cell, body: Body, why: Any) -> None:
        body.inbox_broken = True
        body.broken = body.broken or f"its inbox was written to by somebody else: {str(why)[:500]}"

    def _dead_letter(
        self,
        _cell: Cell,
        _body: Body,
        target: Any,
        reason: Any,
        count: Any,
        handler: Any = None,
        uid: Any = 0,
    ) -> None:
        if not (isinstance(target, str) and type(count) is int and 0 < count < 1 << 32 and reason in CLAIMABLE):
            raise ProtocolError(f"dead letters of {target!r}: {reason!r}, {count!r}")
        if not (handler is None or isinstance(handler, str)) or type(uid) is not int or not 0 <= uid < 1 << 63:
            raise ProtocolError(f"dead letters for handler {handler!r} of actor {uid!r}")
        name = None if handler is None else handler[:200]
        self._host.letters.take(DeadLetter(target[:500], reason, count, name, uid))

    def _dropped(self, cell: Cell, _body: Body, total: Any, letters: Any) -> None:
        """It has dropped messages for newer ones. How many, its recorder says; this says which, up to a total."""
        if type(total) is not int or not isinstance(letters, list | tuple) or len(letters) > _MOST_KINDS:
            raise ProtocolError(f"dropped messages: {str((total, letters))[:200]}")
        for entry in letters:
            if not (isinstance(entry, list | tuple) and len(entry) == 2 and type(entry[1]) is int and entry[1] > 0):
                raise ProtocolError(f"dropped messages: {str(entry)[:200]}")
            if not (entry[0] is None or isinstance(entry[0], str)):
                raise ProtocolError(f"dropped messages for handler {str(entry[0])[:200]}")
        self._host.mail.count_dropped(cell, [(name and name[:200], count) for name, count in letters], total)

    # --- ways -------------------------------------------------------------------------------------------------------------

    def _resolve(self, cell: Cell, body: Body, number: int, uid: int) -> None:
        other = self._runner.cells.get(uid)
        if other is None or other.gone is not None:
            reason = other.gone if other is not None else self._host.reason_of(uid)
            self._answer(body, number, "gone", _exits.to_data(reason or _exits.ExitReason("unknown")))
            return
        other.holders.add((cell.uid, body.incarnation))
        options = other.options
        fields = ("ok", other.path, options.on_full, float(options.send_timeout))
        with _lent(reopen_writer, other.inbox_write) as inbox:
            self._answer(body, number, *fields, descriptors=(inbox,))

    def _whereis(self, cell: Cell, body: Body, number: int, name: Any) -> None:
        cells = {other.path: other for other in self._runner.cells.values()}
        pools = self._runner.pools.refs()
        try:
            found = find_by_name(_a_name(name), cells, _places(cell), others=pools)
        except ActorNotRunningError as error:
            self._answer(body, number, "none", str(error))
            return
        self._answer(body, number, "ok", found.uid, found.path)

    def _find_pool(self, cell: Cell, body: Body, number: int, name: Any) -> None:
        paths = [other.path for other in self._runner.cells.values()]
        pools = self._runner.pools.refs()
        try:
            found = find_by_name(_a_name(name), pools, (*_places(cell), ""), kind="pool", others=paths)
        except ActorNotRunningError as error:
            self._answer(body, number, "none", str(error))
            return
        self._answer(body, number, "ok", found.number, found.path)

    def _reply_lane(self, _cell: Cell, body: Body, number: int) -> None:
        with _descriptors.fork_lock:
            read_end, write_end = make_inbox()
            _descriptors.own(read_end, write_end)
        _descriptors.close(body.reply_lane)
        body.reply_lane = write_end
        self._answer(body, number, "ok", descriptors=(read_end,))
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
            self._answer(body, number, "error", f"no memory for large messages: {error}")
            return
        self._answer(body, number, "ok", arena_id, descriptors=(descriptor,))

    def _retire_arena(self, cell: Cell, body: Body, arena_id: int) -> None:
        self._host.memory.drop_arena(arena_id, (cell.uid, body.incarnation))

    def _arena(self, cell: Cell, body: Body, number: int, arena_id: int) -> None:
        descriptor = self._host.arenas.lend(arena_id, cell.uid)
        if descriptor is None:
            self._answer(body, number, "gone")
            return
        self._answer(body, number, "ok", descriptors=(descriptor,))

    def _new_share(self, cell: Cell, body: Body, number: int, size: int) -> None:
        try:
            share, descriptor = self._host.share_book.make((cell.uid, body.incarnation), size)
        except OSError as error:
            self._answer(body, number, "error", f"no shared memory: {error}")
            return
        self._answer(body, number, "ok", share, descriptors=(descriptor,))

    def _share(self, cell: Cell, body: Body, number: int, share: int) -> None:
        descriptor = self._host.share_book.find(share, (cell.uid, body.incarnation))
        if descriptor is None:
            self._answer(body, number, "gone")
            return
        self._answer(body, number, "ok", descriptors=(descriptor,))

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
            self._answer(body, number, "error", f"no channel: {error}")
            return
        self._lend_channel(body, number, facts, functools.partial(self._host.channel_book.discard, facts.number))

    def _channel(self, cell: Cell, body: Body, number: int, channel: int) -> None:
        facts = self._host.channel_book.find(channel, (cell.uid, body.incarnation))
        if facts is None:
            self._answer(body, number, "gone")
            return
        undo = functools.partial(self._host.channel_book.drop, channel, (cell.uid, body.incarnation), ())
        self._lend_channel(body, number, facts, undo)

    def _lend_channel(self, body: Body, number: int, facts: ChannelFacts, undo: Callable[[], None]) -> None:
        try:
            with self._host.channel_book.lent(facts.number) as descriptors:
                self._answer(body, number, "ok", attrs.astuple(facts), descriptors=descriptors)
        except OSError as error:
            undo()
            self._answer(body, number, "error", f"no channel {facts.name}: {error}")

    def _channel_cell(self, cell: Cell, body: Body, number: int, channel: int, kind: int) -> None:
        try:
            lent = self._host.channel_book.lend(channel, (cell.uid, body.incarnation), kind)
        except OSError as error:
            self._answer(body, number, "error", str(error))
            return
        self._answer(body, number, "ok", *lent)

    def _drop_channel(self, cell: Cell, body: Body, channel: int, cells: Any) -> None:
        self._host.channel_book.drop(channel, (cell.uid, body.incarnation), cells)

    # --- others -----------------------------------------------------------------------------------------------------------

    def _spawn(self, cell: Cell, body: Body, number: int, snapshot: bytes, name: Any, options: dict[str, Any]) -> None:
        try:
            self._host.spawn_for(cell, body, snapshot, name, options, functools.partial(self._answer, body, number))
        except ActorsError as error:
            self._answer(body, number, "error", str(error))

    def _spawn_pool(self, cell: Cell, body: Body, number: int, snapshot: bytes, data: dict[str, Any]) -> None:
        try:
            spawn_pool_for(self._host, cell, body, snapshot, data, functools.partial(self._answer, body, number))
        except ActorsError as error:
            self._answer(body, number, "error", str(error))

    def _stop_actor(self, _cell: Cell, _body: Body, uid: int, drain: bool) -> None:
        self._runner.stop_actor(uid, drain=bool(drain))

    def _steer(self, cell: Cell, _body: Body, uid: int, what: str, ask_id: object, count: object) -> None:
        if what not in {"credit", "cancel"} or not (isinstance(ask_id, int) and isinstance(count, int)):
            raise ProtocolError(f"it steers an ask by {what!r}, {ask_id!r}, {count!r}")
        self._runner.steer(uid, what, cell.uid, ask_id, count)

    def _cancelling(self, cell: Cell, body: Body, place: Any) -> None:
        if not (type(place) is int and 0 <= place < 1 << 62):
            raise ProtocolError(f"it handles the message after {place!r} others")
        self._runner.watchers.cancelling(cell, body, place)

    def _pool(self, cell: Cell, body: Body, number: int, pool: int) -> None:
        fields = self._runner.pools.lend(pool, (cell.uid, body.incarnation))
        self._answer(body, number, *(("gone",) if fields is None else ("ok", *fields)))

    def _pool_left(self, cell: Cell, body: Body, pool: int, version: int) -> None:
        if type(version) is not int:
            raise ProtocolError(f"it left version {version!r:.80} of pool {pool!r:.80}")
        self._runner.pools.leaving.let_go(pool, version, (cell.uid, body.incarnation))

    def _resize_pool(self, _cell: Cell, body: Body, number: int, pool: int, size: int) -> None:
        if size_problem(size):
            raise ProtocolError(f"it resizes pool {pool!r:.80} to {size!r:.80}")
        done: Future[None] = Future()
        done.add_done_callback(lambda ended: self._resized(body, number, ended))
        self._runner.pools.resize(pool, size, done)

    def _resized(self, body: Body, number: int, done: Future[None]) -> None:
        error = done.exception()
        self._answer(body, number, *(("ok",) if error is None else ("error", str(error))))

    def _stop_pool(self, _cell: Cell, _body: Body, pool: int, drain: bool) -> None:
        self._runner.pools.stop(pool, bool(drain))

    def _info(self, _cell: Cell, body: Body, number: int, uid: int) -> None:
        statistics = self._host.statistics(uid)
        data = None if statistics is None else attrs.asdict(statistics)
        alive = uid in self._runner.cells and self._runner.cells[uid].gone is None
        self._answer(body, number, "ok", alive, data)


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


def _as_report(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ProtocolError(f"a report is a map, not {value!r:.80}")
    return value


def _pid_of(pidfd: int) -> int | None:
    """
    Return the pid that a descriptor stands for, or None if it is no pidfd.

    Raises:
        OSError: This process has no descriptor left to look.
    """
    with open(f"/proc/self/fdinfo/{pidfd}", "rb") as info:
        for line in info:
            if line.startswith(b"Pid:"):
                return int(line[4:])
    return None


def _a_name(claim: Any) -> str:
    if not isinstance(claim, str):
        raise ProtocolError(f"it looks for {str(claim)[:80]}, which is no name")
    return claim


def _places(cell: Cell) -> tuple[str, str]:
    """Where a name that *cell* says is looked for: beside it, and below the root."""
    above = cell.path.rsplit("/", 1)[0]
    return above, f"/{above.split('/')[1]}"
