"""
What the host holds for one actor, over all its incarnations (:class:`Cell`), and for one incarnation (:class:`Body`). While an actor is
being replaced there are two: the one that serves, and the one that stands by.

Descriptors are opened and closed here and nowhere else in the host, so that each has exactly one owner.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import select
import signal
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import attrs

from actors import _descriptors, _limits, _probe
from actors._actor import Actor
from actors._launch import Boot
from actors._routes import Route
from actors.mailbox._answers import AnswerLane
from actors.mailbox._control import ControlLane
from actors.mailbox._inbox import make_inbox, pipe_capacity, write_frame
from actors.mailbox._outbox import Outbox
from actors.mailbox._queue import buffer_bytes
from actors.mailbox._recorder import create_recorder
from actors.mailbox._recorder_view import RecorderView
from actors.supervisor._deaths import Deaths
from actors.supervisor._exits import ExitReason
from actors.supervisor._pump import Pump, Timer
from actors.supervisor._recycling import NEVER, Limits
from actors.supervisor._spec import Options

__all__ = ["DESCRIPTORS_PER_ACTOR", "DESCRIPTORS_PER_START", "Body", "Cell", "make_recorder", "read_flight_state"]

Deliver = Callable[[int, bytes], None]
OnBroken = Callable[[int, BaseException], object]

# Control lane 2, pidfd, sentinel, reply lane, stack file, and while it is being started two pipes, a socket and three copies.
DESCRIPTORS_PER_START = 14
# Inbox 2, recorder, answer pipe 2 and its wake-up, besides.
DESCRIPTORS_PER_ACTOR = DESCRIPTORS_PER_START + 6


@attrs.define(eq=False)
class Body:
    """
    One incarnation as the host sees it.

    Attributes:
        incarnation: 1, 2, 3…
        lane: The host's end of the control lane.
        boot_control: The child's end, until the start call is over.
        boot: What it carries into its process, once it is submitted.
        process: The started process object, once the start call is over.
        start_failed: Whether the start call failed, though a process may be there.
        pid: Its process, once known.
        pidfd: Made by the child; from then on only that is waited for and signalled.
        claimed: The pid and the pidfd that the child says are its own, until the start call is over.
        ready: Whether ``on_start`` is over.
        stop_asked: When it was asked to stop, in ``time.monotonic()`` seconds; 0.0 for never.
        drains: Whether it was asked to stop behind what is queued, and not since to leave that.
        terminated: When it got SIGTERM; 0.0 for never.
        killed_for: Why the supervisor killed it, or None.
        report: The crash report, or the failure of its start.
        broken: What it did to the protocol, or None.
        inbox_broken: Whether it found what is no frame in its inbox.
        dead: Whether its process has ended.
        reply_lane: Write end of its reply lane, or -1; for the supervisor to hand out and to write.
        backlog: Frames for its reply lane that found no room.
        spawned: The uids of actors that it started.
        pools: The numbers of pools that it started.
        status_wanted: Whether its exit status is being waited for.
        wait_status: Its raw wait status, where the kernel had to be asked for it, else None.
        stack_file: Where it writes its stacks; see :mod:`actors.supervisor._stacks`.
        stack: The stacks that were taken last, or "".
        stack_taken: When that was, in ``time.monotonic()`` seconds.
        stack_takers: Who waits for stacks that were asked for.
        offence: What it did that the supervisor kills it for, in a sentence, or None.
        notes: What is known of its end besides, one sentence each: evidence for its exit reason.
        rss: Its resident memory in bytes when it was killed, or None.
        base_rss: Its resident memory in bytes as it began to serve, where it has a limit of memory; else 0.
        born: When its start began, in ``time.monotonic()`` seconds.
        died: When its end was seen; 0.0 before.
        oom_group: Name of the counter of out-of-memory kills that it falls under, or None.
        spent: Whether the message in flight is wanted by nobody any more, so that no other incarnation is to have it.
        limits: When it is worn.
        due: When it is to be replaced for its age, in ``time.monotonic()`` seconds; infinity for never.
        worn: Why it is to be replaced, or None.
        handing_over: Whether it was asked to leave its mailbox to the one that stands by.
        replaces: Of one that stood by: the incarnation it takes over from; else 0.
        why: Of one that stood by: why that one is replaced.
        timers: What is to be done about it at a time, as long as it is not buried.
    """

    incarnation: int
    lane: ControlLane
    boot_control: int
    boot: Boot | None = None
    process: Actor | None = None
    start_failed: bool = False
    pid: int | None = None
    pidfd: int = -1
    claimed: tuple[int, int] | None = None
    sentinel: int = -1
    ready: bool = False
    stop_asked: float = 0.0
    drains: bool = False
    terminated: float = 0.0
    killed_for: str | None = None
    report: dict[str, Any] | None = None
    broken: str | None = None
    inbox_broken: bool = False
    dead: bool = False
    reply_lane: int = -1
    backlog: deque[bytes] = attrs.Factory(deque)
    spawned: set[int] = attrs.Factory(set)
    pools: set[int] = attrs.Factory(set)
    status_wanted: bool = False
    wait_status: int | None = None
    stack_file: int = -1
    stack: str = ""
    stack_taken: float = 0.0
    stack_takers: list[Callable[[str], object]] = attrs.Factory(list)
    offence: str | None = None
    notes: list[str] = attrs.Factory(list)
    rss: int | None = None
    base_rss: int = 0
    born: float = attrs.Factory(time.monotonic)
    died: float = 0.0
    oom_group: str | None = None
    spent: bool = False
    limits: Limits = NEVER
    due: float = math.inf
    worn: str | None = None
    handing_over: bool = False
    replaces: int = 0
    why: str = ""
    timers: list[Timer] = attrs.Factory(list)

    @property
    def stop_sent(self) -> bool:
        """Whether it was asked to stop."""
        return self.stop_asked > 0.0

    def note(self, sentence: str) -> None:
        """Keep a piece of evidence, once."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def signal(self, number: int) -> bool:
        """Send a signal to this very process; False while its pidfd is not known."""
        if self.pidfd < 0:
            return False
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, number)
        return True

    def kill_group(self) -> bool:
        """SIGKILL to the process and to what it has started in its group, while it lives; False while its pidfd is not known."""
        if self.pidfd >= 0 and self.pid is not None and not self.dead:
            # The group's number is its own: as long as the process lives, nobody else can have it.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        return self.signal(signal.SIGKILL)

    def measure(self) -> int | None:
        """Return its resident memory in bytes; None when it has ended, or its process is not known."""
        if self.dead or self.pidfd < 0 or self.pid is None:
            return None
        return _probe.resident_bytes(self.pid)

    def close(self) -> None:
        """Give back what belongs to this incarnation."""
        for timer in self.timers:
            timer.cancel()
        self.timers.clear()
        _descriptors.forget(self.lane.fileno())
        self.lane.close()
        claimed = -1 if self.claimed is None else self.claimed[1]
        _descriptors.close(self.boot_control, self.pidfd, self.reply_lane, self.stack_file, claimed)
        self.boot_control = self.pidfd = self.reply_lane = self.stack_file = -1
        self.claimed = None
        popen: Any = getattr(self.process, "_popen", None)
        if popen is not None and popen.finalizer is not None:
            popen.finalizer()
        self.sentinel = -1
        self.process = None


@attrs.define(eq=False)
class Cell:
    """
    One actor as the host sees it: its mailbox, which outlives incarnations, and the incarnation that lives.

    Attributes:
        uid: The actor.
        path: Where it stands in the tree.
        options: Its options.
        cls: Its class.
        snapshot: What it is, as bytes.
        parent: Ref of the actor that spawned it, or None.
        route: The host's way to it.
        holders: Those that can write to its inbox, each a uid and an incarnation.
        body: The incarnation that serves (or starts, or is dying), or None.
        standby: The incarnation that is to take over from *body*, or None. It has no hold on the mailbox yet.
        gone: Why no incarnation will come, or None.
        revivals: How often it came back after it had been given up.
        last: Why the last incarnation ended, or None.
        backlog: Frames for the answer pipe to the host that found no room.
        drain: Whether it is to handle what is queued before it stops.
        deaths: How often it died of the message that was in flight last.
        dropped: How many of the messages that it dropped for newer ones were counted as dead letters.
        may_leave: Whether it is nothing to warn of that an incarnation ends normally, although another one comes.
    """

    uid: int
    path: str
    options: Options
    cls: type[Actor]
    snapshot: bytes
    parent: Any
    inbox_read: int
    inbox_write: int
    recorder: int
    view: RecorderView
    answers_write: int
    lane: AnswerLane
    route: Route
    holders: set[tuple[int, int]] = attrs.Factory(set)
    body: Body | None = None
    standby: Body | None = None
    gone: ExitReason | None = None
    revivals: int = 0
    last: ExitReason | None = None
    backlog: deque[bytes] = attrs.Factory(deque)
    drain: bool = False
    deaths: Deaths = attrs.Factory(Deaths)
    dropped: int = 0
    may_leave: bool = False

    @classmethod
    def make(
        cls,
        *,
        uid: int,
        path: str,
        options: Options,
        kind: type[Actor],
        snapshot: bytes,
        parent: Any,
        pump: Pump,
        deliver: Deliver,
        on_broken: OnBroken,
    ) -> Cell:
        """
        Open everything an actor needs before its first start.

        Raises:
            StartError: No descriptors left.
            OSError: The machine refuses all the same.
        """
        _limits.check_descriptors(path, DESCRIPTORS_PER_ACTOR)
        opened = _open_mailbox(options)
        inbox_read, inbox_write, recorder, answers_read, answers_write = opened
        try:
            with _descriptors.fork_lock:
                lane = _answer_lane(uid, answers_read, pump, deliver, on_broken)
                _descriptors.own(lane.wake_descriptor)
        except BaseException:
            _descriptors.close(*opened)
            raise
        return cls(
            uid=uid,
            path=path,
            options=options,
            cls=kind,
            snapshot=snapshot,
            parent=parent,
            inbox_read=inbox_read,
            inbox_write=inbox_write,
            recorder=recorder,
            view=RecorderView(recorder),
            answers_write=answers_write,
            lane=lane,
            route=Route(
                uid,
                path,
                Outbox(inbox_write),
                table=kind._handlers,
                on_full=options.on_full,
                send_timeout=options.send_timeout,
            ),
        )

    @property
    def bodies(self) -> tuple[Body, ...]:
        """The incarnations that have a process, or are about to: none, one, or two while the actor is being replaced."""
        return tuple(body for body in (self.body, self.standby) if body is not None)

    def find(self, incarnation: int) -> Body | None:
        """Return that incarnation if it is here."""
        return next((body for body in self.bodies if body.incarnation == incarnation), None)

    def promote(self) -> Body:
        """The one that stands by takes the place of the one that served."""
        assert self.body is None
        assert self.standby is not None
        self.body, self.standby = self.standby, None
        self.view.set_incarnation(self.body.incarnation)
        return self.body

    def forget(self, body: Body) -> bool:
        """Take out an incarnation that has ended; return whether it was the one that had the mailbox."""
        if self.standby is body:
            self.standby = None
            return False
        self.body = None
        return True

    def renew_answers(self, pump: Pump, deliver: Deliver, on_broken: OnBroken) -> None:
        """
        A child wrote junk into its answer pipe: the next incarnation gets a new one.

        Raises:
            OSError: No descriptor is left; nothing has changed.
        """
        with _descriptors.fork_lock:
            answers_read, answers_write = make_inbox()
            try:
                lane = _answer_lane(self.uid, answers_read, pump, deliver, on_broken)
            except BaseException:
                _descriptors.close(answers_read, answers_write)
                raise
            _descriptors.own(answers_read, answers_write, lane.wake_descriptor)
        pump.unwatch(self.lane.fileno())
        _descriptors.forget(self.lane.fileno(), self.lane.wake_descriptor)
        self.lane.close()
        _descriptors.close(self.answers_write)
        self.lane, self.answers_write = lane, answers_write

    def answer(self, frame: bytes) -> None:
        """Write a frame into the answer pipe to the host, behind whatever the actor wrote."""
        self.backlog.append(frame)
        self.flush_answers()

    def flush_answers(self) -> bool:
        """Write what waits for room; return whether all of it has gone."""
        while self.backlog:
            try:
                if not write_frame(self.answers_write, self.backlog[0]):
                    return False
            except BrokenPipeError:
                self.backlog.clear()
                return True
            self.backlog.popleft()
        return True

    def close_inbox_writer(self) -> list[bytes]:
        """Close the host's way in; return what it still held back."""
        self.route.joinable = None
        waiting = self.route.outbox.close()
        _descriptors.close(self.inbox_write)
        self.inbox_write = -1
        return waiting

    def close(self) -> None:
        """Give back everything."""
        for body in self.bodies:
            body.close()
        self.body = self.standby = None
        if self.inbox_write >= 0:
            self.close_inbox_writer()
        _descriptors.forget(self.lane.fileno(), self.lane.wake_descriptor)
        self.lane.close()
        self.view.close()
        _descriptors.close(self.inbox_read, self.recorder, self.answers_write)
        self.inbox_read = self.recorder = self.answers_write = -1


def _open_mailbox(options: Options) -> list[int]:
    opened: list[int] = []
    with _descriptors.fork_lock:
        try:
            opened.extend(make_inbox())
            opened.append(make_recorder(options, pipe_capacity(opened[0])))
            opened.extend(make_inbox())
        except BaseException:
            _descriptors.close(*opened)
            raise
        _descriptors.own(*opened)
    return opened


def make_recorder(options: Options, pipe_bytes: int) -> int:
    """Return the descriptor of a new recorder for an actor with these options."""
    room = buffer_bytes(options.mailbox_bytes, drops=options.on_full == "drop_oldest")
    return create_recorder(mailbox_bytes=room, pipe_bytes=pipe_bytes)


def _answer_lane(uid: int, descriptor: int, pump: Pump, deliver: Deliver, on_broken: OnBroken) -> AnswerLane:
    return AnswerLane(
        descriptor,
        functools.partial(deliver, uid),
        capacity=pipe_capacity(descriptor),
        pause=pump.modifier(descriptor, 0),
        resume=pump.modifier(descriptor, select.EPOLLIN),
        on_broken=functools.partial(on_broken, uid),
        later=pump.soon,
    )


def read_flight_state(cell: Cell) -> str:
    """Return in a word what the actor does."""
    if cell.gone is not None:
        return "gone"
    if cell.body is None:
        return "down" if cell.standby is None else "starting"
    if not cell.body.ready:
        return "starting"
    if cell.body.stop_sent and not cell.body.handing_over:
        return "stopping"
    return cell.view.flight().state.name.lower()
