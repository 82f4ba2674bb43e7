"""
How one process finds the worker of a pool for each message: the same code in the host and in an actor, and no process in between.

A :class:`Table` is one version of a pool: who its workers are, and which slots of keys are whose. The host makes them; a process gets the
first with its first send and each later one when there is one. A :class:`Router` is what this process does with them.

Two promises cost something here. *A worker that leaves gets nothing after that was said*: a send notes in its table that it is under
way, and this process says that it has let go of those who left when the sends of all older tables are over and written.
*Messages of one key stay in order over a resize*: it is noted where the last message of each slot went; when the slot is another's, the
one before is first asked for a sign that it has handled what stands in its inbox (:meth:`actors._node.Node.barrier`).
"""

from __future__ import annotations

import functools
import itertools
import random
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import attrs

from actors._pool_keys import slot_of
from actors._pool_loads import Loads
from actors._ref import ActorRef
from actors.errors import ActorNotRunningError, AskTimeoutError, DeadlockError, MailboxFullError, SpecError
from actors.supervisor._slots import SLOTS

if TYPE_CHECKING:
    from actors._handlers import HandlerInfo
    from actors._node import Node
    from actors._pool import PoolRef
    from actors._reply import Reply

__all__ = ["PoolSource", "Router", "Routers", "Table"]

T = TypeVar("T")

# Between two looks whether sends that were under way at a resize are over.
_LOOK_SECONDS: Final = 0.002


class PoolSource(Protocol):
    """What a process must offer so that pools can be used in it."""

    def find_pool(self, number: int) -> tuple[Any, ...] | None:
        """Return the fields of the present :class:`Table` of a pool; None if it is gone. Blocks."""
        ...

    def pool_left(self, number: int, version: int) -> None:
        """Say that nothing more goes from here to those that left with this version. Never blocks."""

    def wait_reply(self, reply: Reply[Any], seconds: float) -> None:
        """Wait until *reply* is done, at most *seconds*, serving what must go on meanwhile."""

    def look_later(self, seconds: float, action: Callable[[], object]) -> None:
        """Have *action* called in so many seconds, by somebody else. Never blocks."""

    def resize_pool(self, number: int, size: int) -> None:
        """Have the pool resized; returns when the new workers are ready and those that leave are told."""

    def stop_pool(self, number: int, drain: bool) -> None:
        """Begin to stop the pool. Never blocks."""


@attrs.define(eq=False)
class Table:
    """
    One version of a pool, as the host has made it.

    Attributes:
        number: The pool's.
        version: 1, 2, 3…
        path: Where the pool stands in the tree.
        routing: How a worker is chosen.
        key: The parameter whose value is the key, or None.
        members: Who takes messages.
        slots: The place in *members* of each slot's worker; empty without keys.
        on_full: What a send does when an inbox is full, unless the ref says otherwise.
        send_timeout: How long it waits then.
        gone: Why the pool is gone, or ``""``.
        active: An entry for each send that is under way by this table.
        turns: Places in *members*, in turn, from a random one on.
        in_turn: Whether the workers are taken in turn, and there are any.
    """

    number: int
    version: int
    path: str
    routing: str
    key: str | None
    members: tuple[ActorRef[Any], ...]
    slots: bytes
    on_full: str
    send_timeout: float
    gone: str
    active: list[None] = attrs.Factory(list)
    turns: Iterator[int] = attrs.field(factory=lambda: iter(()))
    in_turn: bool = False
    _dressed: dict[tuple[Any, ...], tuple[ActorRef[Any], ...]] = attrs.Factory(dict)

    @classmethod
    def of(cls, system: str, fields: tuple[Any, ...]) -> Table:
        """
        Make one from what the host says.

        Args:
            system: Name of the system.
            fields: As :meth:`actors.supervisor._pools.PoolBook.fields` writes them.
        """
        number, version, path, routing, key, members, slots, on_full, send_timeout, gone = fields
        refs: tuple[ActorRef[Any], ...] = tuple(ActorRef(system, uid, own) for uid, own in members)
        table = cls(number, version, path, routing, key, refs, slots, on_full, send_timeout, gone)
        table.in_turn = routing == "round_robin" and bool(refs)
        start = random.randrange(len(refs)) if refs else 0
        table.turns = itertools.cycle([*range(start, len(refs)), *range(start)])
        return table

    def dressed(self, options: tuple[Any, ...] | None) -> tuple[ActorRef[Any], ...]:
        """Return the members with the options of a send: ``timeout``, ``on_full``, ``send_timeout``; None for the workers' own."""
        if options is None:
            return self.members
        found = self._dressed.get(options)
        if found is None:
            timeout, on_full, send_timeout = options
            found = self._dressed[options] = tuple(
                attrs.evolve(ref, timeout=timeout, on_full=on_full, send_timeout=send_timeout) for ref in self.members
            )
        return found


@attrs.define(eq=False)
class _Barrier:
    """A sign asked of a worker that its inbox up to here is handled, and for which slots that matters."""

    reply: Reply[Any] | None
    slots: set[int]

    def is_passed(self) -> bool:
        """
        However it has ended but by being given up here: what stood before it is handled, or never will be.

        Without a reply there was nobody to wait for: it is gone, or it is this very actor.
        """
        reply = self.reply
        if reply is None:
            return True
        return reply.done() and not reply.cancelled() and not isinstance(reply.exception(0), AskTimeoutError)


class Router:
    """
    One pool, as this process sends to it. Any thread.

    Args:
        node: What sends here.
        source: The process it is in.
        system: Name of the system.
        table: The first version known.
    """

    def __init__(self, node: Node, source: PoolSource, system: str, table: Table) -> None:
        self._node = node
        self._node_tell = node.tell
        self._source = source
        self._system = system
        self.table = table
        self.past: list[Table] = []
        self.loads = Loads(node)
        # A thread that sends with a key holds it until the message is written; whoever makes a new table never takes it.
        self._lock = threading.RLock()
        self._last = [0] * SLOTS
        self._barriers: dict[int, _Barrier] = {}
        self._key_places: dict[HandlerInfo, int] = {}

    # --- sending ----------------------------------------------------------------------------------------------------------

    def tell(
        self, ref: PoolRef[Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any], info: HandlerInfo | None
    ) -> None:
        """Send one message that nobody answers to one worker."""
        table = self.table
        if table.in_turn:
            # What nearly every tell is, written out: see send() for the same with all that may come between.
            active = table.active
            active.append(None)
            try:
                if self.table is table:
                    if ref.sending is None:
                        self._node_tell(table.members[next(table.turns)], name, args, kwargs, info)
                        return
                    if ref.key is None:
                        self._node_tell(table.dressed(ref.sending)[next(table.turns)], name, args, kwargs, info)
                        return
            except ActorNotRunningError:
                pass
            finally:
                active.pop()
        elif table.key is not None and ref.sending is None and self._tell_keyed(name, args, kwargs, info):
            return
        elif table.routing == "least_busy" and ref.key is None:
            self.send(ref, name, args, kwargs, info, self._tell_counted)
            return
        try:
            self.send(ref, name, args, kwargs, info, self._node_tell)
        except _MovingError as moving:
            if not moving.drop:
                raise
            self._node.note_overflow(moving.uid, moving.target, name)

    def _tell_keyed(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], info: HandlerInfo | None) -> bool:
        """
        What nearly every tell with a key is, written out; False where it is another: see _send_keyed().

        Its key is a positional argument, and the message before of its slot went the same way.
        """
        place = None if info is None else self._key_places.get(info)
        if place is None or place >= len(args):
            return False
        slot = slot_of(args[place])
        with self._lock:
            table = self.table
            table.active.append(None)
            try:
                if self.table is table and table.slots and not self._barriers:
                    member = table.members[table.slots[slot]]
                    if self._last[slot] == member.uid:
                        self._node_tell(member, name, args, kwargs, info)
                        return True
            except ActorNotRunningError:
                pass
            finally:
                table.active.pop()
        return False

    def _tell_counted(
        self, member: ActorRef[Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any], info: HandlerInfo | None
    ) -> None:
        self._node_tell(member, name, args, kwargs, info)
        self.loads.told(member)

    def ask(
        self,
        ref: PoolRef[Any],
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        info: HandlerInfo | None,
        send: Callable[..., Any],
    ) -> Any:
        """Send one message to one worker by ``node.ask`` or ``node.stream``, and return where its answer will arrive."""

        def ask(
            member: ActorRef[Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any], _info: HandlerInfo | None
        ) -> Any:
            reply = send(member, name, args, kwargs)
            if self.table.routing == "least_busy":
                self.loads.asked(member, reply)
            return reply

        return self.send(ref, name, args, kwargs, info, ask)

    def send(
        self,
        ref: PoolRef[Any],
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        info: HandlerInfo | None,
        send: Callable[..., T],
    ) -> T:
        """
        Choose a worker and send; choose again where one has left in the meantime.

        Raises:
            ActorNotRunningError: The pool is gone, or none of its workers takes messages.
            SpecError: The pool routes by key, and there is none.
        """
        if self.table.key is not None or ref.key is not None or self.table.routing == "key_hash":
            return self._send_keyed(ref, self._slot_of(ref, args, kwargs, info), (name, args, kwargs, info), send)
        failed: dict[int, Exception] = {}
        while True:
            table = self._table_with_members()
            member: ActorRef[Any] | None = None
            table.active.append(None)
            try:
                if self.table is not table:
                    continue
                member = self._choose(table, ref, failed)
                if member is None:
                    raise next(iter(failed.values()))
                return send(member, name, args, kwargs, info)
            except (ActorNotRunningError, DeadlockError) as error:
                if member is None:
                    raise
                failed[member.uid] = error
                if len(failed) >= len(table.members) and self._renew(table):
                    failed.clear()
            finally:
                table.active.pop()

    def _choose(self, table: Table, ref: PoolRef[Any], failed: dict[int, Exception]) -> ActorRef[Any] | None:
        """The next worker that has not failed us in this send; None if all have."""
        members, start = table.dressed(ref.sending), next(table.turns)
        left = [member for member in (*members[start:], *members[:start]) if member.uid not in failed]
        if table.routing == "least_busy":
            return min(left, key=self.loads.of, default=None)
        return left[0] if left else None

    def each(self, ref: PoolRef[Any], send: Callable[[ActorRef[Any]], T]) -> list[T]:
        """
        Send to every worker; one that has just left is left out.

        Raises:
            ActorNotRunningError: None of them takes messages.
        """
        while True:
            table = self._table_with_members()
            table.active.append(None)
            try:
                if self.table is table:
                    return self._each_of(table.dressed(ref.sending), send)
            finally:
                table.active.pop()

    @staticmethod
    def _each_of(members: tuple[ActorRef[Any], ...], send: Callable[[ActorRef[Any]], T]) -> list[T]:
        sent: list[T] = []
        failed: Exception | None = None
        for member in members:
            try:
                sent.append(send(member))
            except ActorNotRunningError as error:
                failed = error
        if failed is not None and not sent:
            raise failed
        return sent

    def _table_with_members(self) -> Table:
        """The present table; raises where nobody is in it, and the host says so, too."""
        table = self.table
        if table.members or (self._renew(table) and (table := self.table).members):
            return table
        why = table.gone or "none of its workers runs: they are parked, or it is stopping"
        raise ActorNotRunningError(f"pool {table.path}: {why}; start another one, or send elsewhere", target=table.path)

    def _renew(self, table: Table) -> bool:
        """Ask the host whether there is a newer table than this one; if so, take it."""
        if self.table is not table:
            return True
        if table.gone:
            return False
        fields = self._source.find_pool(table.number)
        self.take(_emptied(table) if fields is None else Table.of(self._system, fields))
        return self.table is not table

    # --- keys -------------------------------------------------------------------------------------------------------------

    def _slot_of(
        self, ref: PoolRef[Any], args: tuple[Any, ...], kwargs: dict[str, Any], info: HandlerInfo | None
    ) -> int:
        """
        The slot of one message.

        Raises:
            SpecError: It has no key, or the pool knows no keys.
        """
        table = self.table
        if ref.key is not None:
            if table.routing != "key_hash":
                raise SpecError(f"options(key=...): pool {table.path} routes by {table.routing!r}, and not by key")
            return slot_of(ref.key)
        key = table.key
        if key is None:
            raise SpecError(
                f"pool {table.path} routes by key: send through ref.options(key=...), or give pool(..., key=...)"
            )
        if key in kwargs:
            return slot_of(kwargs[key])
        if info is None:
            raise SpecError(
                f"pool {table.path} routes by the parameter {key!r}: name the handler by its class, pass {key}=..., or send "
                "through ref.options(key=...)"
            )
        place = self._key_places.get(info)
        if place is None:
            place = self._key_places[info] = _place_of(info, key, table.path)
        if place < len(args):
            return slot_of(args[place])
        return slot_of(list(info.signature.parameters.values())[place].default)

    def _send_keyed(self, ref: PoolRef[Any], slot: int, message: tuple[Any, ...], send: Callable[..., T]) -> T:
        with self._lock:
            while True:
                table = self._table_with_members()
                table.active.append(None)
                try:
                    if self.table is not table:
                        continue
                    member = table.dressed(ref.sending)[table.slots[slot]]
                    last = self._last[slot]
                    if last != member.uid:
                        if last:
                            self._let_pass(last, table, member)
                        self._last[slot] = member.uid
                    elif self._barriers:
                        for barrier in self._barriers.values():
                            barrier.slots.discard(slot)  # it is back: the sign says nothing of this message
                    return send(member, *message)
                except ActorNotRunningError:
                    if not self._renew(table):
                        raise
                finally:
                    table.active.pop()

    def _let_pass(self, uid: int, table: Table, member: ActorRef[Any]) -> None:
        """
        Return when what was sent to *uid* with keys that are another's now is handled.

        Raises:
            MailboxFullError: It is not handled yet, and the send does not wait, or has waited long enough.
        """
        barrier = self._barriers.get(uid)
        if barrier is None or (barrier.reply is not None and barrier.reply.done() and not barrier.is_passed()):
            barrier = self._raise_barrier(uid, table)
        if barrier.reply is not None and not barrier.reply.done():
            policy = member.on_full or table.on_full
            seconds = table.send_timeout if member.send_timeout is None else member.send_timeout
            if policy in ("block", "drop_oldest"):
                self._source.wait_reply(barrier.reply, seconds)
            if not barrier.is_passed():
                raise _MovingError(member, drop=policy == "drop_newest")
        self._barriers.pop(uid, None)
        for slot in barrier.slots:
            if self._last[slot] == uid:
                self._last[slot] = 0

    def _raise_barrier(self, uid: int, table: Table) -> _Barrier:
        owners = [member.uid for member in table.members]
        moved = {slot for slot, last in enumerate(self._last) if last == uid and owners[table.slots[slot]] != uid}
        old: ActorRef[Any] = ActorRef(self._system, uid, f"{table.path} (worker with uid {uid})", on_full="block")
        try:
            reply = self._node.barrier(old)
        except (ActorNotRunningError, DeadlockError):
            reply = None
        barrier = self._barriers[uid] = _Barrier(reply, moved)
        return barrier

    # --- versions ---------------------------------------------------------------------------------------------------------

    def take(self, table: Table) -> None:
        """A table has come from the host, which may be an old one by now."""
        with _taking:
            before = self.table
            if table.version <= before.version:
                return
            self.past = [past for past in (*self.past, before) if past is before or past.active]
            self.table = table
        stay = {member.uid for member in table.members}
        left = [member.uid for member in before.members if member.uid not in stay]
        self.loads.forget(left)
        if left:
            self._let_go(left, table.version)

    def _let_go(self, left: list[int], version: int) -> None:
        """Say that nothing goes to those who left any more, as soon as it is so. Never waits."""
        older = [past for past in self.past if past.version < version]
        if any(past.active for past in older) or not self._node.has_left(left):
            self._source.look_later(_LOOK_SECONDS, functools.partial(self._let_go, left, version))
        else:
            self._source.pool_left(self.table.number, version)


# Taken for a moment, by whoever brings a new table.
_taking = threading.RLock()


class _MovingError(MailboxFullError):
    """Messages of the same key wait for the worker that had it before."""

    def __init__(self, member: ActorRef[Any], *, drop: bool) -> None:
        super().__init__(
            f"{member.path} has taken over a key whose earlier messages another worker has not handled yet; the message was "
            "not accepted. Send it again, wait longer by send_timeout, or resize while less is queued",
            target=member.path,
        )
        self.uid = member.uid
        self.drop = drop


def _emptied(table: Table) -> Table:
    """What follows on *table* when its pool is gone."""
    return Table(
        number=table.number,
        version=table.version + 1,
        path=table.path,
        routing=table.routing,
        key=table.key,
        members=(),
        slots=b"",
        on_full=table.on_full,
        send_timeout=table.send_timeout,
        gone="it is gone",
    )


def _place_of(info: HandlerInfo, key: str, path: str) -> int:
    names = list(info.signature.parameters)
    if key not in names:
        raise SpecError(
            f"{info} has no parameter {key!r}, by which pool {path} routes: send it through ref.options(key=...)"
        )
    return names.index(key)


class Routers:
    """
    The pools that one process sends to.

    Args:
        node: What sends here.
        source: The process it is in.
        system: Name of the system.

    Attributes:
        known: By their numbers.
    """

    def __init__(self, node: Node, source: PoolSource, system: str) -> None:
        self._node = node
        self.source = source
        self._system = system
        self.known: dict[int, Router] = {}

    def find(self, ref: PoolRef[Any]) -> Router:
        """
        Return what sends to *ref*. Blocks where this process did not know it.

        Raises:
            ActorNotRunningError: The pool is gone.
        """
        router = self.known.get(ref.number)
        if router is not None:
            return router
        fields = self.source.find_pool(ref.number)
        if fields is None:
            raise ActorNotRunningError(
                f"pool {ref.path} is gone; start another one, or send elsewhere", target=ref.path
            )
        return self.update(fields)

    def update(self, fields: tuple[Any, ...]) -> Router:
        """Take a table from the host. Never waits."""
        table = Table.of(self._system, fields)
        router = self.known.get(table.number)
        if router is None:
            # Two threads may both come here: whoever is first makes it.
            router = self.known.setdefault(table.number, Router(self._node, self.source, self._system, table))
        router.take(table)
        return router
