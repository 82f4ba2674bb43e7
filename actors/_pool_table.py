"""
One version of a pool as a process knows it, and what a process must offer so that pools can be used in it.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from actors._ref import ActorRef

if TYPE_CHECKING:
    from actors._reply import Reply

__all__ = ["PoolSource", "Table"]


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
            fields: As :meth:`actors.supervisor._pool_book.PoolBook.fields` writes them.
        """
        number, version, path, routing, key, members, slots, on_full, send_timeout, gone = fields
        refs: tuple[ActorRef[Any], ...] = tuple(ActorRef(system, uid, own) for uid, own in members)
        table = cls(number, version, path, routing, key, refs, slots, on_full, send_timeout, gone)
        table.in_turn = routing == "round_robin" and bool(refs)
        start = random.randrange(len(refs)) if refs else 0
        table.turns = itertools.cycle([*range(start, len(refs)), *range(start)])
        return table

    def emptied(self) -> Table:
        """What follows on this one when the pool is gone."""
        return Table(
            number=self.number,
            version=self.version + 1,
            path=self.path,
            routing=self.routing,
            key=self.key,
            members=(),
            slots=b"",
            on_full=self.on_full,
            send_timeout=self.send_timeout,
            gone="it is gone",
        )

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
