"""
One process's side of a system, the same in the host and in an actor: what it tells, what it asked, and who answers.

Owns the routes (one per addressed actor), the open asks and the arenas this process sends from. How a route is found, how an arena
is made and who flushes later differs between host and actor: that is
:class:`~actors._routes.Directory`, and nothing here knows which one it is.

An ask goes: encode, register, check that the target is not gone, send. In that order: what cannot be encoded leaves nothing open, an
answer can never meet an unknown ask, and an ask registered after its target's end was announced is failed here.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import attrs

from actors import _descriptors
from actors._asks import OpenAsks
from actors._handlers import HandlerInfo
from actors._ref import ActorRef
from actors._reply import Reply
from actors._routes import HOLD_SECONDS, Directory, Route, gone_error
from actors._stream import ItemStream
from actors.errors import (
    ActorNotRunningError,
    ActorsError,
    DeadlockError,
    EncodeError,
    MailboxFullError,
    StartError,
)
from actors.mailbox import _envelope
from actors.mailbox._arena import Slot
from actors.mailbox._arenas import Arenas
from actors.mailbox._cargo import Parcel, size_of
from actors.mailbox._frames import MAX_BODY_BYTES
from actors.mailbox._holds import ANSWER_MARK
from actors.mailbox._outbox import Outbox
from actors.mailbox._overflow import asker, sort_out
from actors.supervisor import _exits
from actors.supervisor._letters import DeadLetterReason

T = TypeVar("T", bound=Reply[Any])

__all__ = ["Node"]

_AT_ONCE = -1.0
_encode_tell = _envelope.encode_tell  # read once per message
# How often a sender looks whether receivers have released memory for large messages.
_ROOM_LOOK_SECONDS = 0.002
# How many actors that are gone this process knows to be so without asking.
_MOST_GONE = 4096


class Node(OpenAsks):
    """
    What one process has told and asked.

    Args:
        directory: The process it is in.
        uid: The actor whose process this is; 0 in the host.
        incarnation: Of that actor; 0 in the host.
        max_bytes: The largest message, in bytes.
        max_open_asks: How many asks may be open at a time.
    """

    def __init__(self, directory: Directory, *, uid: int, incarnation: int, max_bytes: int, max_open_asks: int) -> None:
        super().__init__(directory, self.mark_gone)
        self.uid = uid
        self._max_bytes = max_bytes
        self._max_open_asks = max_open_asks
        self.routes: dict[int, Route] = {}
        # Whether something told may wait in an outbox.
        self.unsent = False
        self._gone_uids: deque[int] = deque()
        self._ids = itertools.count((incarnation << _envelope.INCARNATION_SHIFT) + 1)
        self._arenas = Arenas(directory.make_arena, retired=directory.retire_arena, later=directory.look_later)
        self.inherited_deadline: Callable[[], float | None] = lambda: None

    def next_id(self) -> int:
        """Return an ask id: whatever is asked from now on has a greater one."""
        return next(self._ids)

    # --- sending ----------------------------------------------------------------------------------------------------------

    def tell(
        self,
        ref: ActorRef[Any],
        name: str,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        checked: HandlerInfo | None = None,
    ) -> None:
        """Send one message that nobody answers. Its arguments are known to fit the handler *checked*."""
        route = self.routes.get(ref.uid) or self._find(ref)
        if route.gone is not None:
            raise _not_running(route)
        table = route.table
        if table is not None and (checked is None or table.infos.get(name) is not checked):
            table.check(name, args, kwargs)
        if route.stopping:
            self._directory.dead_letter(route.path, "stopping", 1, handler=name, uid=route.uid)
            return
        try:
            message = _encode_tell(name, args, kwargs)
        except EncodeError as error:
            _address(error, route, name)
            raise
        outbox = route.joinable
        # A parcel is more than its bytes.
        if outbox is not None and type(message) is bytes and outbox.join(message):
            self.unsent = True
            if not route.patient:
                route.patient = (ref.on_full or route.on_full) != "drop_newest"
            if route.joinable is not outbox:
                self._joined_too_late(route, outbox)
        elif not self._post(ref, route, message, HOLD_SECONDS):
            self._directory.dead_letter(route.path, "overflow", 1, handler=name, uid=route.uid)

    def ask(self, ref: ActorRef[Any], name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Reply[Any]:
        """Send one message and return where its answer will arrive."""
        return self._open(Reply, ref, name, args, kwargs)

    def stream(self, ref: ActorRef[Any], name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> ItemStream:
        """Send one message to a generator handler and return where its items will arrive."""
        return self._open(ItemStream, ref, name, args, kwargs)

    def barrier(self, ref: ActorRef[Any]) -> Reply[Any]:
        """Ask for a sign that everything sent to *ref* from here until now was handled; no code of the user's answers it."""
        return self._open(Reply, ref, _envelope.BARRIER, (), {})

    def has_left(self, uids: Iterable[int]) -> bool:
        """Whether nothing that was sent to these waits here to be written."""
        routes = (self.routes.get(uid) for uid in uids)
        return not any(route is not None and route.outbox.waits for route in routes)

    def forward(self, route: Route, message: bytes) -> bool:
        """Send what was encoded for another actor; False where there is no room, or no way. Never waits."""
        if route.gone is not None or route.stopping:
            return False
        with contextlib.suppress(BrokenPipeError):
            if route.outbox.offer(message, time.monotonic(), hold=HOLD_SECONDS):
                if route.outbox.waits and route.joinable is None:
                    self._arrange_flush(route)
                return True
        return False

    def note_overflow(self, uid: int, path: str, name: str) -> None:
        """Count a message that its sender drops by its own choice."""
        self._directory.dead_letter(path, "overflow", 1, handler=name, uid=uid)

    def _open(
        self, kind: type[T], ref: ActorRef[Any], name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> T:
        if ref.uid == self.uid:
            raise DeadlockError(
                f"{ref.path} asks itself: the answer could never come; call self.{name}(...), or tell", target=ref.path
            )
        route = self.routes.get(ref.uid) or self._find(ref)
        if route.table is not None and name != _envelope.BARRIER:
            route.table.check(name, args, kwargs)
        if len(self.asks) >= self._max_open_asks:
            raise MailboxFullError(
                f"ask to {ref.path}: {len(self.asks)} asks are open already; wait for some, or raise max_open_asks",
                target=ref.path,
            )
        ask_id, deadline = next(self._ids), None if name == _envelope.BARRIER else self._deadline(ref)
        try:
            message = _envelope.encode_ask(name, args, kwargs, self.uid, ask_id, deadline)
        except EncodeError as error:
            _address(error, route, name)
            raise
        reply = kind(ask_id, ref, self, self._directory.answer_lane(ref), deadline)
        self.asks[ask_id] = reply
        try:
            if route.gone is not None or route.stopping:
                raise _not_running(route)
            if deadline is not None:
                self._arm(deadline, ask_id)
            if not self._post(ref, route, message, _AT_ONCE):
                self._overflow(route, reply, name)
        except BaseException:
            self.asks.pop(ask_id, None)
            raise
        return reply

    def _overflow(self, route: Route, reply: Reply[Any], name: str) -> None:
        """An ask is dropped by its sender's own choice: it ends here and now."""
        self._directory.dead_letter(route.path, "overflow", 1, handler=name, uid=route.uid)
        reply.fail(_full(route, 0.0))
        self.asks.pop(reply.ask_id, None)

    def _find(self, ref: ActorRef[Any]) -> Route:
        revived = self._revived.get(ref.uid)
        found = self._directory.find_route(ref)
        route = self.routes.setdefault(ref.uid, found)
        if found.gone is not None and self._revived.get(ref.uid) is not revived:
            # It has come back before it was noted that it is gone.
            self.routes.pop(ref.uid, None)
            return self._find(ref)
        self._forget_oldest(route)
        if route is not found:
            # Another thread was faster, or the news that it is gone was.
            route.path = found.path
            self._directory.drop_route(found)
        return route

    def _deadline(self, ref: ActorRef[Any]) -> float | None:
        own = None if ref.timeout is None else time.monotonic() + ref.timeout
        inherited = self.inherited_deadline()
        if own is None or inherited is None:
            return inherited if own is None else own
        return min(own, inherited)

    def _post(self, ref: ActorRef[Any], route: Route, message: bytes, hold: float) -> bool:
        """Send one message under the ref's policy; False if it was dropped by it."""
        if type(message) is not bytes or len(message) > MAX_BODY_BYTES:
            accepted = self._post_large(ref, route, message, hold)
        else:
            accepted = self._offer(ref, route, message, hold, None)
        if accepted and route.outbox.waits:
            self.unsent = True
            if (ref.on_full or route.on_full) != "drop_newest":
                route.patient = True
            if route.joinable is None:
                self._arrange_flush(route)
        return accepted

    def _arrange_flush(self, route: Route) -> None:
        try:
            route.joinable = route.outbox
            self._directory.flush_soon(route)
        except BaseException:
            route.joinable = None
            raise

    def _joined_too_late(self, route: Route, outbox: Outbox) -> None:
        """A message waits in *outbox*, whose flush may be over, or which may be closed by now."""
        if route.gone is not None:
            self.abandon(route)
            return
        if route.outbox is not outbox:
            self._move(outbox.take_back(), route)
        self._arrange_flush(route)

    def _move(self, messages: list[bytes], route: Route) -> None:
        """Have what waited in an outbox that was replaced leave by its successor."""
        for message in messages:
            # Its own hold: it stands before whatever is sent now.
            if not route.outbox.offer(message, time.monotonic(), hold=math.inf):
                self._directory.dead_letter(route.path, "overflow", 1, uid=route.uid)

    def _post_large(self, ref: ActorRef[Any], route: Route, message: bytes, hold: float) -> bool:
        slot = self._store(ref, route, message)
        if slot is None:
            return False
        # What has left is the receiver's to release, also when a signal handler raised before we knew that it has left.
        receipt = [False]
        try:
            frame = _envelope.encode_large(*attrs.astuple(slot))
            return self._offer(ref, route, frame, hold, receipt)
        finally:
            if not receipt[0]:
                self._arenas.discard(slot)

    def _offer(self, ref: ActorRef[Any], route: Route, message: bytes, hold: float, receipt: list[bool] | None) -> bool:
        give_up = 0.0
        while True:
            now = time.monotonic()
            try:
                if route.outbox.offer(message, now, hold=hold, receipt=receipt):
                    return True
            except BrokenPipeError:
                self._renew(ref, route)
                continue
            policy, timeout = _policy(ref, route)
            if policy == "drop_newest":
                return False
            give_up = give_up or now + timeout
            if policy == "reject" or now >= give_up:
                raise _full(route, 0.0 if policy == "reject" else timeout)
            self._directory.wait_for_room(route, give_up - now)
            if route.gone is not None:
                raise _not_running(route)

    def _renew(self, ref: ActorRef[Any], route: Route) -> None:
        """
        The pipe has no reader any more: it was replaced, or the actor is gone. What waited was not delivered.

        Raises:
            ActorNotRunningError: It is gone.
        """
        if route.gone is None:
            found = self._directory.find_route(ref)
            route.gone = found.gone
            if found.gone is None and found.outbox is not route.outbox:
                self._moved[route.uid] = self.next_id()
                route.joinable = None
                before, route.outbox = route.outbox, found.outbox
                descriptor = before.descriptor
                self._move(before.close(), route)
                _descriptors.close(descriptor)
        if route.gone is not None:
            self.abandon(route)
            raise _not_running(route)

    def _store(self, ref: ActorRef[Any], route: Route, message: bytes) -> Slot | None:
        """Put a message that fits no frame where its receiver finds it; None if the policy is to drop it."""
        self._check_size(message, f"message to {ref.path}", "message", ref.path)
        policy, timeout = _policy(ref, route)
        give_up = time.monotonic() + timeout
        while (slot := self._put(message, f"message of {size_of(message)} bytes to {ref.path}", ref.path)) is None:
            if route.gone is not None:
                raise _not_running(route)
            if policy == "drop_newest":
                return None
            if policy == "reject" or time.monotonic() >= give_up:
                raise MailboxFullError(
                    f"message of {size_of(message)} bytes to {ref.path}: the memory for large messages of this process is full "
                    "with messages that nobody has handled yet, or of which a receiver keeps arrays or views: copy what is kept",
                    target=ref.path,
                )
            self._directory.pause(min(_ROOM_LOOK_SECONDS, send_pause(give_up)))
        return slot

    def _check_size(self, message: bytes, what: str, path: str, target: str = "") -> None:
        size = message.counted if isinstance(message, Parcel) else len(message)
        if size > self._max_bytes:
            raise EncodeError(
                f"{what} has {size} bytes, more than max_message_bytes={self._max_bytes}; "
                "send less at a time, or give ActorSystem a larger bound",
                path=path,
                target=target,
            )

    def _put(self, message: bytes, what: str, target: str = "", mark: int = 0) -> Slot | None:
        try:
            return self._arenas.put(message, mark)
        except (OSError, StartError) as error:
            raise MailboxFullError(
                f"{what}: the machine has no memory for it: {error}; nothing was sent", target=target
            ) from error

    def store_answer(self, answer: bytes, lane: int) -> bytes | None:
        """Put an answer that fits no frame into an arena and return what stands for it; None while there is no room."""
        self._check_size(answer, "an answer", "result")
        slot = self._put(answer, f"an answer of {size_of(answer)} bytes", mark=ANSWER_MARK | lane)
        return None if slot is None else _envelope.encode_large(*attrs.astuple(slot))

    def forget_answers(self, lane: int) -> None:
        """Whoever asked by that lane is gone: what lies here for it, or is held by it, is free."""
        self._arenas.discard_marked(ANSWER_MARK | lane)

    def flush(self, ref: ActorRef[Any]) -> None:
        """Wait until everything told to *ref* stands in its inbox."""
        route = self.routes.get(ref.uid)
        if route is not None:
            self.flush_route(route, ref.send_timeout)

    def flush_route(self, route: Route, timeout: float | None = None) -> None:
        """Write what waits for one actor; waits for room, at most its ``send_timeout``."""
        seconds = route.send_timeout if timeout is None else timeout
        give_up = time.monotonic() + seconds
        while route.gone is None:
            try:
                if route.outbox.flush(time.monotonic()):
                    route.patient = False
                    return
            except BrokenPipeError:
                self._renew(ActorRef(system="", uid=route.uid, path=route.path), route)
                continue
            left = give_up - time.monotonic()
            if left <= 0:
                raise _full(route, seconds)
            self._directory.wait_for_room(route, left)
        self.abandon(route)

    def flush_all(self, patience: float = math.inf) -> None:
        """
        Write whatever waits; see :meth:`flush_route`.

        Args:
            patience: How long this may wait at most, in seconds, whatever ``send_timeout`` says.

        Raises:
            MailboxFullError: There was no room in time. What waited for it is counted, so that no later handler has to wait for the
                same again.
        """
        # First of all: who tells something while this looks says so afterwards.
        self.unsent = False
        try:
            failed = self._flush_each(patience)
        except BaseException:
            self.unsent = True
            raise
        if failed is not None:
            raise failed

    def _flush_each(self, patience: float) -> MailboxFullError | None:
        began = time.monotonic()
        failed: MailboxFullError | None = None
        for route in list(self.routes.values()):
            if not route.outbox.waits:
                continue
            allowed = min(patience, route.send_timeout) if route.patient else 0.0
            try:
                self.flush_route(route, max(0.0, allowed - (time.monotonic() - began)))
            except ActorNotRunningError:
                continue  # its messages are counted; the others are flushed all the same
            except MailboxFullError:
                self.abandon(route, "overflow")
                if route.patient:
                    failed, route.patient = failed or _full(route, allowed), False
        return failed

    def abandon(self, route: Route, reason: DeadLetterReason = "dead") -> None:
        """Count what waits for an actor that is gone, or has no room for it."""
        dropped = sort_out(route.outbox.take_back())
        for large in dropped.larges:
            if reason == "overflow":
                dropped.asks += self._askers_of(*large)
            self._arenas.discard(Slot(*large))
        for _caller, ask_id in dropped.asks:
            reply = self.asks.get(ask_id)
            if reply is not None and reason == "overflow":  # else the news that it is gone says so
                reply.fail(_full(route, 0.0))
                self.asks.pop(ask_id, None)
        for handler, count in dropped.handlers.items():
            self._directory.dead_letter(route.path, reason, count, handler=handler, uid=route.uid)

    def _askers_of(self, arena_id: int, slot: int, length: int, generation: int, offset: int) -> list[tuple[int, int]]:
        """Who waits for a large message: its asker, or nobody."""
        with contextlib.suppress(ActorsError):
            found = asker(self._directory.find_arena(arena_id).get(slot, length, generation, offset))
            return [] if found is None else [found]
        return []

    def close_route(self, uid: int) -> None:
        """Close the pipe to an actor that is gone, so that its tombstone can end."""
        route = self.routes.get(uid)
        if route is not None:
            descriptor = route.outbox.descriptor
            route.outbox.close()
            _descriptors.close(descriptor)
            self._forget_oldest(route)

    def mark_gone(self, uid: int, reason: _exits.ExitReason) -> None:
        """No incarnation of *uid* will come: count what waits for it, and take no more."""
        route = self.routes.get(uid)
        if route is None:
            # The news overtook a thread that has just got the way there, and is about to note it.
            route = self.routes.setdefault(uid, Route(uid, f"actor {uid}", Outbox(), gone=reason))
        route.gone = reason
        route.joinable = None
        self.abandon(route)
        self._forget_oldest(route)

    def _forget_oldest(self, route: Route) -> None:
        """If *route* leads nowhere any more: remember that of some thousand, and ask about the others again if need be."""
        if not _leads_nowhere(route):
            return
        self._gone_uids.append(route.uid)
        while len(self._gone_uids) > _MOST_GONE:
            with contextlib.suppress(IndexError):  # another thread forgets, too
                oldest = self.routes.get(self._gone_uids.popleft())
                if oldest is not None and _leads_nowhere(oldest):
                    self.routes.pop(oldest.uid, None)

    def came_back(self, uid: int, revivals: int) -> None:
        """An actor that was given up comes back, the so many-eth time: the next send asks for its inbox again."""
        self._revived[uid] = (revivals, self.next_id())
        self.close_route(uid)
        self.routes.pop(uid, None)

    def close_arenas(self) -> None:
        """Give back the arenas this process sends from."""
        self._arenas.close()


def _leads_nowhere(route: Route) -> bool:
    return route.gone is not None and route.outbox.descriptor < 0


def send_pause(give_up: float) -> float:
    """Return the seconds left until *give_up*, at least 0."""
    return max(0.0, give_up - time.monotonic())


def _policy(ref: ActorRef[Any], route: Route) -> tuple[str, float]:
    """What a send does when there is no room, and how long it waits: the ref's word, else the actor's own."""
    return ref.on_full or route.on_full, route.send_timeout if ref.send_timeout is None else ref.send_timeout


def _address(error: EncodeError, route: Route, name: str) -> None:
    """Have an error say for whom the message was."""
    error.target = route.path
    error.args = (f"{name} of {route.path}: {error}",)


def _not_running(route: Route) -> ActorNotRunningError:
    if route.gone is None:
        return ActorNotRunningError(f"{route.path} is stopping and takes no more messages", target=route.path)
    return gone_error(route.path, route.gone, parked=True)


def _full(route: Route, timeout: float) -> MailboxFullError:
    waited = f" for {timeout:.3g} s" if timeout else ""
    return MailboxFullError(
        f"the inbox of {route.path} was full{waited}; the message was not accepted. "
        "Send less, make its handlers faster, or choose on_full",
        target=route.path,
    )
