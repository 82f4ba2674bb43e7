"""
How one process finds the worker of a pool for each message: the same code in the host and in an actor, and no process in between.

A :class:`Table` is one version of a pool: who its workers are, and which slots of keys are whose. The host makes them; a process gets the
first with its first send and each later one when there is one. A :class:`Router` is what this process does with them.

Two promises cost something here. *A worker that leaves gets nothing after that was said*: a send notes in its table that it is under
way, and this process says that it has let go of those who left when the sends of all older tables are over and written.
*Messages of one key stay in order over a resize*: that is :mod:`actors._pool_order`'s affair.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from actors._pool_keys import slot_of
from actors._pool_loads import Loads
from actors._pool_order import KeyOrder, MovingError
from actors._pool_table import PoolSource, Table
from actors._ref import ActorRef
from actors.errors import ActorNotRunningError, DeadlockError
from actors.mailbox._lock import RLock

if TYPE_CHECKING:
    from actors._handlers import HandlerInfo
    from actors._node import Node
    from actors._pool import PoolRef

__all__ = ["Router", "Routers"]

T = TypeVar("T")

# Between two looks whether sends that were under way at a resize are over.
_LOOK_SECONDS: Final = 0.002


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
        # Held for a moment, by whoever brings a new table. Not of the module: a forked actor would have it as another thread held it.
        self._taking = RLock()
        self.past: list[Table] = []
        self.loads = Loads(node)
        self._left: dict[int, list[int]] = {}
        self._order = KeyOrder(node, source, system)

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
        except MovingError as moving:
            if not moving.drop:
                raise
            self._node.note_overflow(moving.uid, moving.target, name)

    def _tell_keyed(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], info: HandlerInfo | None) -> bool:
        """
        What nearly every tell with a key is, written out; False where it is another: see _send_keyed().

        Its key is a positional argument, and the message before of its slot went the same way.
        """
        order = self._order
        place = order.place_of(info)
        if place is None or place >= len(args):
            return False
        slot = slot_of(args[place])
        with order.lock:
            table = self.table
            table.active.append(None)
            try:
                if self.table is table and table.slots:
                    member = table.members[table.slots[slot]]
                    if order.stays(slot, member.uid):
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
            return self._send_keyed(ref, name, args, kwargs, info, send)
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
        self.take(table.emptied() if fields is None else Table.of(self._system, fields))
        return self.table is not table

    def _send_keyed(
        self,
        ref: PoolRef[Any],
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        info: HandlerInfo | None,
        send: Callable[..., T],
    ) -> T:
        slot = self._order.slot_of(self.table, ref, args, kwargs, info)
        with self._order.lock:
            while True:
                table = self._table_with_members()
                table.active.append(None)
                try:
                    if self.table is not table:
                        continue
                    member = table.dressed(ref.sending)[table.slots[slot]]
                    self._order.go(slot, table, member)
                    return send(member, name, args, kwargs, info)
                except ActorNotRunningError:
                    if not self._renew(table):
                        raise
                finally:
                    table.active.pop()

    # --- versions ---------------------------------------------------------------------------------------------------------

    def take(self, table: Table) -> None:
        """A table has come from the host, which may be an old one by now."""
        with self._taking:
            before = self.table
            if table.version <= before.version:
                return
            self.past = [past for past in (*self.past, before) if past is before or past.active]
            self.table = table
            stay = {member.uid for member in table.members}
            left = self._left[table.version] = [member.uid for member in before.members if member.uid not in stay]
        self.loads.forget(left)
        self._let_go(table.version)

    def _let_go(self, version: int) -> None:
        """Say that nothing goes to those who left with this version or before any more, as soon as it is so. Never waits."""
        left = {uid for when, uids in tuple(self._left.items()) if when <= version for uid in uids}
        if not left:
            return
        older = [past for past in self.past if past.version < version]
        if any(past.active for past in older) or not self._node.has_left(left):
            self._source.look_later(_LOOK_SECONDS, functools.partial(self._let_go, version))
            return
        for when in [when for when in tuple(self._left) if when <= version]:
            self._left.pop(when, None)
        self._source.pool_left(self.table.number, version)


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
            if router.table is table:
                # The host may have lent an older one, which this one overtook: to those who left nothing was ever sent from here.
                self.source.pool_left(table.number, table.version)
        router.take(table)
        return router
