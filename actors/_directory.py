"""
What an actor asks its supervisor for: the way to other actors, lanes, arenas. The actor's side of :class:`actors._routes.Directory`.
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import threading
from collections import Counter, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from actors import _descriptors
from actors._callbacks import Callbacks
from actors._channel_sources import ActorChannels
from actors._channels import Channels
from actors._ref import ActorRef
from actors._routes import HOLD_SECONDS, Route, flush_held, poll_milliseconds, wait_writable
from actors._shares import Shares
from actors.errors import ProtocolError
from actors.mailbox._answers import AnswerLane, Awaited
from actors.mailbox._arena import ArenaReader
from actors.mailbox._envelope import lane_number
from actors.mailbox._holds import Holds
from actors.mailbox._inbox import pipe_capacity, reopen_reader, reopen_writer
from actors.mailbox._layout import FlightState
from actors.mailbox._outbox import Outbox
from actors.supervisor import _exits
from actors.supervisor._letters import DeadLetterReason

if TYPE_CHECKING:
    from actors._child import ActorProcess

__all__ = ["ActorDirectory"]

_LETTER_SECONDS = 0.01
_Letter: TypeAlias = tuple[str, DeadLetterReason, str | None, int]


class _ReplyLane(AnswerLane):
    """The lane of an actor: whoever looks at its flight recorder sees that its handler waits for a reply."""

    def __init__(
        self, process: ActorProcess, descriptor: int, deliver: Callable[[bytes], None], **options: Any
    ) -> None:
        super().__init__(descriptor, deliver, **options)
        self._process = process
        self._main = threading.main_thread().ident

    def wait(self, reply: Awaited, until: float | None) -> None:
        """See :meth:`AnswerLane.wait`."""
        if threading.get_ident() != self._main or not self._process.has_mailbox:
            super().wait(reply, until)
            return
        recorder = self._process.recorder
        before = recorder.state
        recorder.note_state(FlightState.WAITING)
        try:
            super().wait(reply, until)
        finally:
            recorder.note_state(before)


class ActorDirectory:
    """Finds what :class:`~actors._node.Node` needs, over the control lane; see its protocol for the methods."""

    def __init__(self, process: ActorProcess) -> None:
        self._process = process
        self._attendant = process.attendant
        self._lane: AnswerLane | None = None
        self._lock = threading.Lock()
        self._arenas: dict[int, ArenaReader] = {}
        self.shares = Shares(self, inherit=True)
        self.channels = Channels(ActorChannels(process), inherit=True)
        self.holds = Holds(lane_number(process.setup["uid"], process.setup["incarnation"]))
        # Without a lock: a signal handler may come with one in the middle of another, and the attendant never waits.
        self._letters: deque[tuple[_Letter, int]] = deque()
        self._letters_due = False
        self._callbacks = Callbacks("actors-callbacks")
        self._attendant.handlers["down"] = self._down
        self._attendant.handlers["back"] = self._back
        self._attendant.handlers["arena_gone"] = self._arena_gone

    def find_route(self, ref: ActorRef[Any]) -> Route:
        """See :class:`~actors._routes.Directory`."""
        fields, descriptors = self._attendant.request("resolve", ref.uid)
        match fields:
            case ("ok", str(path), str(on_full), float(send_timeout)):
                try:
                    outbox = Outbox(reopen_writer(descriptors[0]))
                finally:
                    _descriptors.close(*descriptors)
                return Route(ref.uid, path, outbox, on_full=on_full, send_timeout=send_timeout)
            case ("gone", reason):
                return Route(ref.uid, ref.path, Outbox(), gone=_exits.from_data(reason))
        raise ProtocolError(f"resolve of {ref.path}: the supervisor answered {fields!r}")

    def answer_lane(self, ref: ActorRef[Any]) -> AnswerLane:  # noqa: ARG002 - the host has a lane for each
        """See :class:`~actors._routes.Directory`. One lane for all callees."""
        if self._lane is None:
            with self._lock:
                if self._lane is None:
                    self._lane = self._make_lane()
        return self._lane

    def _make_lane(self) -> AnswerLane:
        _fields, descriptors = self._attendant.request("reply_lane")
        descriptor = reopen_reader(descriptors[0])
        _descriptors.close(*descriptors)
        attendant = self._attendant
        lane = _ReplyLane(
            self._process,
            descriptor,
            self._deliver,
            capacity=pipe_capacity(descriptor),
            pause=attendant.modifier(descriptor, 0),
            resume=attendant.modifier(descriptor, select.EPOLLIN),
            on_broken=self._lane_broken,
            later=functools.partial(attendant.after, HOLD_SECONDS),
        )
        attendant.watch(descriptor, lane.drain)
        return lane

    def _deliver(self, body: bytes) -> None:
        self._process.node.deliver(body, None)

    def _lane_broken(self, error: BaseException) -> None:
        # Somebody wrote around our interface. Which of the answers are lost cannot be known, so this incarnation ends.
        self._attendant.notify("broken", str(error))
        self._attendant.drain_out(1.0)
        os._exit(1)

    def make_arena(self, slot_bytes: int, slots: int) -> tuple[int, int]:
        """See :class:`~actors._routes.Directory`."""
        fields, descriptors = self._attendant.request("new_arena", slot_bytes, slots)
        return fields[1], descriptors[0]

    def find_arena(self, arena_id: int, sender: int | None = None) -> ArenaReader:  # noqa: ARG002 - not known here
        """See :class:`~actors._routes.Directory`."""
        arena = self._arenas.get(arena_id)
        if arena is None:
            fields, descriptors = self._attendant.request("arena", arena_id)
            if not descriptors:
                raise ProtocolError(f"arena {arena_id}: {fields!r:.60}")
            try:
                # A process that a handler forks may go on with what the handler was given.
                arena = self._arenas.setdefault(arena_id, ArenaReader(descriptors[0], inherit=True))
            finally:
                _descriptors.close(*descriptors)
        return arena

    def make_share(self, size: int) -> tuple[int, int]:
        """See :class:`~actors._shares.ShareSource`."""
        fields, descriptors = self._attendant.request("new_share", size)
        return fields[1], descriptors[0]

    def find_share(self, number: int) -> int | None:
        """See :class:`~actors._shares.ShareSource`."""
        _fields, descriptors = self._attendant.request("share", number)
        return descriptors[0] if descriptors else None

    def drop_share(self, number: int) -> None:
        """See :class:`~actors._shares.ShareSource`."""
        self._attendant.notify("drop_share", number)

    def all_has_left(self) -> bool:
        """See :class:`~actors._shares.ShareSource`."""
        process = self._process
        waits = any(route.outbox.waits for route in list(process.node.routes.values()))
        return not waits and not (process.has_mailbox and process.answering.waits)

    def look_later(self, seconds: float, action: Callable[[], object]) -> None:
        """See :class:`~actors._routes.Directory`."""
        self._attendant.after(seconds, action)

    def retire_arena(self, arena_id: int) -> None:
        """See :class:`~actors._routes.Directory`."""
        self._attendant.notify("retire_arena", arena_id)

    def drop_route(self, route: Route) -> None:
        """See :class:`~actors._routes.Directory`."""
        descriptor = route.outbox.descriptor
        route.outbox.close()
        _descriptors.close(descriptor)

    def flush_soon(self, route: Route) -> None:
        """See :class:`~actors._routes.Directory`. The main thread's tells leave when its handler returns, or here if it takes long."""
        self._attendant.after(HOLD_SECONDS, functools.partial(flush_held, route, self._attendant.after))

    def wait_for_room(self, route: Route, seconds: float) -> None:
        """See :class:`~actors._routes.Directory`. The main thread reads its own inbox meanwhile."""
        if threading.current_thread() is not threading.main_thread():
            wait_writable(route.outbox.descriptor, seconds)
            return
        with self._process.standing_by(FlightState.BLOCKED):
            self._wait_here(route, seconds)

    def _wait_here(self, route: Route, seconds: float) -> None:
        process = self._process
        if not process.can_read_ahead():
            wait_writable(route.outbox.descriptor, seconds)
            return
        descriptor = route.outbox.descriptor
        poller = select.poll()
        if descriptor >= 0:
            poller.register(descriptor, select.POLLOUT)
            poller.register(process.inbox, select.POLLIN)
            poller.poll(poll_milliseconds(seconds))
        process.read_ahead()

    def pause(self, seconds: float) -> None:
        """See :class:`~actors._routes.Directory`. The main thread reads its own inbox meanwhile."""
        process = self._process
        if threading.current_thread() is not threading.main_thread():
            select.select([], [], [], seconds)
            return
        with process.standing_by(FlightState.BLOCKED):
            descriptors = [process.inbox] if process.can_read_ahead() else []
            if select.select(descriptors, [], [], seconds)[0]:
                process.read_ahead()

    def steer(self, uid: int, what: str, ask_id: int, count: int) -> None:
        """See :class:`~actors._routes.Directory`."""
        self._attendant.notify("steer", uid, what, ask_id, count)

    def dead_letter(
        self, target: str, reason: DeadLetterReason, count: int, *, handler: str | None = None, uid: int = 0
    ) -> None:
        """See :class:`~actors._routes.Directory`. The supervisor is told of many at once: they may come by the million."""
        self._letters.append(((target, reason, handler, uid), count))
        if not self._letters_due:
            self._letters_due = True
            try:
                self._attendant.after(_LETTER_SECONDS, self.report_dead_letters)
            except BaseException:
                self._letters_due = False
                raise

    def report_dead_letters(self) -> None:
        """Tell the supervisor of the dead letters so far."""
        self._letters_due = False
        letters: Counter[_Letter] = Counter()
        for _ in range(len(self._letters)):
            with contextlib.suppress(IndexError):  # another thread reports, too
                letter, count = self._letters.popleft()
                letters[letter] += count
        for (target, reason, handler, uid), count in letters.items():
            self._attendant.notify("dead_letter", target, reason, count, handler, uid)

    def run_callback(self, function: Callable[..., object], *args: object) -> None:
        """See :class:`~actors._routes.Directory`."""
        self._callbacks.run(function, *args)

    def wake_for(self, deadline: float) -> None:
        """See :class:`~actors._routes.Directory`."""
        self._attendant.wake_for(deadline)

    def is_current(self, thread: threading.Thread) -> bool:
        """Return whether *thread* may not wait for the supervisor."""
        return thread.name == "actors-attendant"

    def _down(self, fields: tuple[object, ...], _passed: tuple[int, ...]) -> None:
        """In the attendant: an actor that this one can write to is gone for good. Its pipe is closed, so that it ends."""
        uid, reason = fields
        if isinstance(uid, int):
            node = self._process.node
            node.mark_gone(uid, _exits.from_data(reason))
            node.close_route(uid)

    def _back(self, fields: tuple[object, ...], _passed: tuple[int, ...]) -> None:
        """In the attendant: an actor that was given up comes back after all."""
        match fields:
            case (int(uid), int(revivals)):
                self._process.node.came_back(uid, revivals)

    def _arena_gone(self, fields: tuple[object, ...], _passed: tuple[int, ...]) -> None:
        arena = self._arenas.pop(fields[0], None) if isinstance(fields[0], int) else None
        if arena is not None:
            arena.close()
