"""
The way from one process to an actor's inbox, and what a process must offer so that ways can be found and used.
"""

from __future__ import annotations

import contextlib
import functools
import math
import select
import time
from collections.abc import Callable
from typing import Any, Protocol

import attrs

from actors._handlers import HandlerTable
from actors._ref import ActorRef
from actors.errors import ActorNotRunningError
from actors.mailbox._answers import AnswerLane
from actors.mailbox._arena import ArenaReader
from actors.mailbox._holds import Holds
from actors.mailbox._outbox import Outbox
from actors.supervisor._exits import ExitReason, describe
from actors.supervisor._letters import DeadLetterReason

__all__ = ["HOLD_SECONDS", "Directory", "Route", "flush_held", "gone_error", "poll_milliseconds", "wait_writable"]

# A tell that follows another within this time waits for company; it leaves after this time at the latest.
HOLD_SECONDS = 0.001
_LONGEST_POLL_MS = 2**31 - 1


@attrs.define(eq=False)
class Route:
    """
    The way to one actor, as one process knows it.

    Attributes:
        uid: The actor.
        path: Its path, for messages to people.
        outbox: What waits for it, and the pipe.
        table: Its handlers, where its class is known here.
        on_full: What its sender does when the inbox is full, unless the ref says otherwise.
        send_timeout: Seconds a blocked send waits, unless the ref says otherwise.
        gone: Why it is gone for good, or None.
        stopping: Whether it was asked to stop for good.
        joinable: The outbox, while a flush of it is arranged, so that messages may wait in it; else None.
        patient: Whether anything may wait that is to be waited for when there is no room; else it is dropped.
    """

    uid: int
    path: str
    outbox: Outbox
    table: HandlerTable | None = None
    on_full: str = "block"
    send_timeout: float = 10.0
    gone: ExitReason | None = None
    stopping: bool = False
    joinable: Outbox | None = None
    patient: bool = False


class Directory(Protocol):
    """
    What a node needs of the process it is in.

    Attributes:
        holds: What this process holds of others' arenas.
    """

    holds: Holds

    def find_route(self, ref: ActorRef[Any]) -> Route:
        """Return a new route to *ref*; a route that is gone where the actor is. Blocks."""
        ...

    def answer_lane(self, ref: ActorRef[Any]) -> AnswerLane:
        """Return the lane on which *ref* answers this process, made at the first ask. Blocks."""
        ...

    def make_arena(self, slot_bytes: int, slots: int) -> tuple[int, int]:
        """Return a new arena's id and descriptor, for sending from. Blocks."""
        ...

    def retire_arena(self, arena_id: int) -> None:
        """Nothing will be sent from this arena any more, and nothing that was waits to be read."""

    def find_arena(self, arena_id: int, sender: int | None = None) -> ArenaReader:
        """
        Return a mapped arena, for reading. Blocks where it was not seen before.

        Args:
            arena_id: Which.
            sender: Whose it has to be, where that is known.
        """
        ...

    def look_later(self, seconds: float, action: Callable[[], object]) -> None:
        """Have *action* called in so many seconds, by somebody else. Never blocks."""

    def drop_route(self, route: Route) -> None:
        """Give back what :meth:`find_route` has opened, unused."""

    def flush_soon(self, route: Route) -> None:
        """Have *route* flushed within :data:`HOLD_SECONDS` by somebody else."""

    def wait_for_room(self, route: Route, seconds: float) -> None:
        """Wait until the inbox of *route* may have room, at most *seconds*, serving what must go on meanwhile."""

    def pause(self, seconds: float) -> None:
        """Let *seconds* pass, serving what must go on meanwhile."""

    def steer(self, uid: int, what: str, ask_id: int, count: int) -> None:
        """Say something to an actor about an ask of this process: ``"credit"`` or ``"cancel"``. Never blocks."""

    def dead_letter(
        self, target: str, reason: DeadLetterReason, count: int, *, handler: str | None = None, uid: int = 0
    ) -> None:
        """Count messages that will not be handled."""

    def run_callback(self, function: Callable[..., object], *args: object) -> None:
        """Run a user's function where it cannot hurt."""

    def wake_for(self, deadline: float) -> None:
        """Make sure :meth:`Node.expire_due` is called at *deadline*, a ``time.monotonic()`` value."""


def flush_held(route: Route, after: Callable[[float, Callable[[], object]], object]) -> None:
    """
    Write what a route holds back, in the thread that serves its process: never waits, and looks again where there is no room.

    Args:
        route: Whose flush was arranged.
        after: Has a function called in so many seconds, in this same thread.
    """
    route.joinable = None  # first of all: who has a message wait looks afterwards whether it is still so
    # A pipe that broke is its next sender's affair: what waits is sent again to the pipe that replaced it, or is counted.
    with contextlib.suppress(BrokenPipeError):
        if not route.outbox.try_flush(time.monotonic()) and route.outbox.waits:
            route.joinable = route.outbox
            after(10 * HOLD_SECONDS, functools.partial(flush_held, route, after))


def wait_writable(descriptor: int, seconds: float) -> None:
    """Wait until a pipe may have room, at most *seconds*."""
    if descriptor < 0:
        return  # closed by the news that its actor is gone
    poller = select.poll()
    poller.register(descriptor, select.POLLOUT)
    poller.poll(poll_milliseconds(seconds))


def poll_milliseconds(seconds: float) -> int:
    """Return what ``poll`` takes: whole milliseconds, rounded up, within its range."""
    return min(_LONGEST_POLL_MS, math.ceil(max(0.0, seconds) * 1000)) if seconds < math.inf else _LONGEST_POLL_MS


def gone_error(who: str, reason: ExitReason | None, *, parked: bool = False) -> ActorNotRunningError:
    """
    What a sender is told of an actor that takes no more messages.

    Args:
        who: Its path.
        reason: Why it has ended, where that is known.
        parked: Whether it may also be parked, as far as the sender knows.
    """
    state = "gone for good, or parked" if parked else "gone for good"
    how = "" if reason is None else f": it {describe(reason)}"
    revive = "have its supervisor restart it if it is parked, " if parked else ""
    if reason is not None and reason.kind == "requested":
        advice = "somebody stopped it, or a supervisor above it that gave up: see the log; "
    else:
        advice = ""
    return ActorNotRunningError(f"{who} is {state}{how}; {advice}spawn it anew, {revive}or send elsewhere", target=who)
