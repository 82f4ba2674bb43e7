"""
Messages of one key stay in order over a resize: where the last message of each slot went, and what is waited for when it is another's.

Nothing is waited for as long as a slot stays where it is. When it moves, the worker it was at is asked for a sign that it has handled what
stands in its inbox, once for all slots that left it; until the sign has come, no message of these slots goes to the new one. (A worker that sends to
its own pool cannot wait for itself: of what it has told itself before, nothing is waited for.)
"""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from actors._pool_keys import slot_of
from actors._ref import ActorRef
from actors.errors import ActorNotRunningError, AskTimeoutError, DeadlockError, MailboxFullError, SpecError
from actors.mailbox._lock import RLock
from actors.supervisor._slots import SLOTS

if TYPE_CHECKING:
    from actors._handlers import HandlerInfo
    from actors._node import Node
    from actors._pool import PoolRef
    from actors._pool_table import PoolSource, Table
    from actors._reply import Reply

__all__ = ["KeyOrder", "MovingError"]

T = TypeVar("T")


class MovingError(MailboxFullError):
    """Messages of the same key wait for the worker that had it before."""

    def __init__(self, member: ActorRef[Any], *, drop: bool) -> None:
        super().__init__(
            f"{member.path} has taken over a key whose earlier messages another worker has not handled yet; the message was "
            "not accepted. Send it again, wait longer by send_timeout, or resize while less is queued",
            target=member.path,
        )
        self.uid = member.uid
        self.drop = drop


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

    def has_failed(self) -> bool:
        """Whether it has ended without saying anything, so that another one is needed."""
        return self.reply is not None and self.reply.done() and not self.is_passed()


class KeyOrder:
    """
    What one process has sent to one pool with keys. Any thread.

    Args:
        node: What sends here.
        source: The process it is in.
        system: Name of the system.

    Attributes:
        lock: Held from the choice of a worker until the message is written; whoever makes a new table never takes it.
    """

    def __init__(self, node: Node, source: PoolSource, system: str) -> None:
        self._node = node
        self._source = source
        self._system = system
        self.lock = RLock()
        self._last = [0] * SLOTS
        self._barriers: dict[int, _Barrier] = {}
        self._places: dict[HandlerInfo, int] = {}

    def place_of(self, info: HandlerInfo | None) -> int | None:
        """Return the place of the key among the positional arguments, where that was found out before."""
        return None if info is None else self._places.get(info)

    def stays(self, slot: int, uid: int) -> bool:
        """Whether the last message of *slot* went to *uid*, and nothing is waited for. Under the lock."""
        return self._last[slot] == uid and not self._barriers

    def slot_of(
        self,
        table: Table,
        ref: PoolRef[Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        info: HandlerInfo | None,
    ) -> int:
        """
        The slot of one message.

        Raises:
            SpecError: It has no key, or the pool knows no keys.
        """
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
        place = self._places.get(info)
        if place is None:
            place = self._places[info] = _place_of(info, key, table.path)
        if place < len(args):
            return slot_of(args[place])
        return slot_of(info.signature.parameters[key].default)

    def go(self, slot: int, table: Table, member: ActorRef[Any]) -> None:
        """
        Return when a message of *slot* may go to *member*, and note that it does. Under the lock.

        Raises:
            MovingError: Earlier ones wait elsewhere, and the send does not wait, or has waited long enough.
        """
        last = self._last[slot]
        if last != member.uid:
            if last:
                self._let_pass(slot, last, table, member)
            self._last[slot] = member.uid
        else:
            for barrier in self._barriers.values():
                barrier.slots.discard(slot)  # it is back: the sign says nothing of this message

    def _let_pass(self, slot: int, uid: int, table: Table, member: ActorRef[Any]) -> None:
        barrier = self._barriers.get(uid)
        if barrier is None or slot not in barrier.slots or barrier.has_failed():
            barrier = self._raise_barrier(uid, table)
        if not barrier.is_passed():
            policy = member.on_full or table.on_full
            seconds = table.send_timeout if member.send_timeout is None else member.send_timeout
            if policy in ("block", "drop_oldest") and barrier.reply is not None:
                self._source.wait_reply(barrier.reply, seconds)
            if not barrier.is_passed():
                raise MovingError(member, drop=policy == "drop_newest")
        self._barriers.pop(uid, None)
        for moved in barrier.slots:
            if self._last[moved] == uid:
                self._last[moved] = 0

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


def _place_of(info: HandlerInfo, key: str, path: str) -> int:
    names = list(info.signature.parameters)
    if key not in names:
        raise SpecError(
            f"{info} has no parameter {key!r}, by which pool {path} routes: send it through ref.options(key=...)"
        )
    if info.signature.parameters[key].kind is inspect.Parameter.KEYWORD_ONLY:
        return sys.maxsize  # what stands in its place belongs to *args
    return names.index(key)
