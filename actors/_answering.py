"""
How an actor answers: never by waiting.

Each answer is first published in the recorder's reply region, where the supervisor finds it if this process dies, then leaves in
frames that answers to the same caller share. What a caller's lane has no room for stays here while the actor goes on serving.
A caller is one incarnation of an actor: while it is being replaced two of them ask, each with a lane of its own.
Both threads of the actor write: the main thread between messages, the attendant for what had to wait.
"""

from __future__ import annotations

import contextlib
import os
import select
import struct
import threading
import time
from collections import deque
from collections.abc import Callable

from actors import _descriptors
from actors._attendant import Attendant
from actors.mailbox._envelope import INCARNATION_SHIFT, lane_number, lane_owner
from actors.mailbox._frames import MAX_BODY_BYTES
from actors.mailbox._inbox import reopen_writer
from actors.mailbox._recorder import Recorder

__all__ = ["Answering"]

_HEADER = struct.Struct("!i")
_HOLD_SECONDS = 0.001
_MANY_UNSENT = 64


class _Caller:
    """One caller's lane, and what waits for it; ``descriptor`` is -1 while the supervisor is being asked for it."""

    __slots__ = ("asked", "blocked", "descriptor", "size", "waiting")

    def __init__(self) -> None:
        self.descriptor = -1
        self.asked = False
        self.blocked = False
        self.size = 0
        self.waiting: deque[tuple[int, bytes]] = deque()


class Answering:
    """
    The answers of one actor.

    Args:
        recorder: Where they are published.
        attendant: Who asks for lanes and waits for room.
        host_lane: Write end of the answer pipe to the host; owned from now on.
        forgotten: Told the lane of each caller that is gone.
    """

    def __init__(
        self, recorder: Recorder, attendant: Attendant, host_lane: int, forgotten: Callable[[int], object]
    ) -> None:
        self._forgotten = forgotten
        self._recorder = recorder
        self._attendant = attendant
        self._lock = threading.Lock()
        self._callers: dict[int, _Caller] = {0: _Caller()}
        self._callers[0].descriptor = host_lane
        self._dirty: set[int] = set()
        self._held_since = 0.0

    def put(self, caller: int, ask_id: int, answer: bytes) -> bool:
        """Publish one answer; False while the reply region is full of answers that callers do not take."""
        lane = lane_number(caller, ask_id >> INCARNATION_SHIFT)
        with self._lock:
            position = self._recorder.append_reply(lane, answer)
            if position is None:
                return False
            entry = self._callers.get(lane)
            if entry is None:
                entry = self._callers[lane] = _Caller()
            entry.waiting.append((position, answer))
            entry.size += len(answer)
            self._dirty.add(lane)
        return True

    def leave_at_once(self, caller: int, ask_id: int, answer: bytes) -> bool:
        """
        Send one answer without publishing it first, where nothing stands before it and there is room.

        Until its message is finished the supervisor takes it for being handled. Killed before the write, its caller learns that;
        killed after it, the answer is there first, and that news comes too late to count.

        Returns:
            Whether it has left; if not, :meth:`put` it.
        """
        with self._lock:
            entry = self._callers.get(lane_number(caller, ask_id >> INCARNATION_SHIFT))
            if entry is None or entry.waiting or entry.descriptor < 0:
                return False
            try:
                os.write(entry.descriptor, _HEADER.pack(len(answer)) + answer)
            except OSError:  # no room, or nobody reads any more: both are flush()'s to deal with
                return False
            return True

    def leave(self, *, more: bool) -> None:
        """
        Send what waits.

        Args:
            more: Whether another message is handled right away, so that its answer may share the frame.
        """
        if not self._dirty:
            return
        now = time.monotonic()
        if more:
            if not self._held_since:
                self._held_since = now
                self._attendant.after(_HOLD_SECONDS, self.flush)
                return
            if now - self._held_since < _HOLD_SECONDS and self._all_small():
                return
        self.flush()

    def leave_soon(self) -> None:
        """As :meth:`leave` where more follows, for who answers many times in a row: what waits leaves within a millisecond."""
        if not self._held_since or self._recorder.unsent > _MANY_UNSENT:
            self.leave(more=True)

    def _all_small(self) -> bool:
        # Copies: the attendant may take callers out meanwhile.
        waiting = [self._callers.get(lane) for lane in tuple(self._dirty)]
        return all(entry is None or entry.size < MAX_BODY_BYTES // 2 for entry in waiting)

    def flush(self) -> None:
        """Write what there is room for."""
        with self._lock:
            self._held_since = 0.0
            for lane in tuple(self._dirty):
                self._flush_one(lane)

    @property
    def waits(self) -> bool:
        """Whether an answer has not left."""
        return bool(self._dirty)

    def wait_idle(self, seconds: float) -> None:
        """Try to get everything out, at most *seconds*; the rest is the supervisor's to deliver."""
        give_up = time.monotonic() + seconds
        self.flush()
        while self._dirty and (left := give_up - time.monotonic()) > 0:
            lanes = [
                entry.descriptor for entry in list(self._callers.values()) if entry.waiting and entry.descriptor >= 0
            ]
            if not lanes:
                return
            poller = select.poll()
            for lane in lanes:
                poller.register(lane, select.POLLOUT)
            poller.poll(left * 1000)
            self.flush()

    def _flush_one(self, lane: int) -> None:
        entry = self._callers[lane]
        if entry.descriptor < 0:
            if not entry.asked:
                entry.asked = True
                self._attendant.notify("lane_wanted", *lane_owner(lane))
            return
        while entry.waiting:
            count, frame = _one_frame(entry.waiting)
            try:
                os.write(entry.descriptor, frame)
            except BlockingIOError:
                self._wait_for_room(lane, entry)
                return
            except OSError:
                # Nobody reads it any more; the supervisor knows whether somebody will.
                self._close(entry)
                self._flush_one(lane)
                return
            self._sent(entry, count)
        self._dirty.discard(lane)

    def _sent(self, entry: _Caller, count: int) -> None:
        for _ in range(count):
            position, answer = entry.waiting.popleft()
            entry.size -= len(answer)
            self._recorder.mark_sent(position)

    def _wait_for_room(self, lane: int, entry: _Caller) -> None:
        if not entry.blocked:
            entry.blocked = True
            descriptor = entry.descriptor
            with contextlib.suppress(FileExistsError):
                self._attendant.watch(descriptor, lambda: self._has_room(lane, entry, descriptor), select.EPOLLOUT)

    def _has_room(self, lane: int, entry: _Caller, descriptor: int) -> None:
        self._attendant.unwatch(descriptor)
        with self._lock:
            entry.blocked = False
            if entry.descriptor == descriptor:
                self._flush_one(lane)

    def lane_arrived(self, fields: tuple[object, ...], descriptors: tuple[int, ...]) -> None:
        """In the attendant: the supervisor's word on a caller: its lane, or none because that incarnation is not there any more."""
        lane = _lane_in(fields)
        entry = self._callers.get(lane)
        if entry is None:
            _descriptors.close(*descriptors)
            return
        with self._lock:
            entry.asked = False
            self._close(entry)
            if descriptors:
                with contextlib.suppress(OSError):
                    entry.descriptor = reopen_writer(descriptors[0])
                _descriptors.close(*descriptors)
            if entry.descriptor < 0:
                self._forget(lane, entry)
            else:
                self._flush_one(lane)

    def caller_gone(self, fields: tuple[object, ...], _passed: tuple[int, ...]) -> None:
        """In the attendant: an incarnation of a caller has ended. Its lane is closed; actors may call and go by the thousand."""
        lane = _lane_in(fields)
        entry = self._callers.get(lane)
        if entry is not None and lane:
            with self._lock:
                self._close(entry)
                self._forget(lane, entry)

    def _forget(self, lane: int, entry: _Caller) -> None:
        """Nobody will ever read these answers."""
        self._sent(entry, len(entry.waiting))
        self._forgotten(lane)
        self._dirty.discard(lane)
        self._callers.pop(lane, None)

    def _close(self, entry: _Caller) -> None:
        if entry.descriptor >= 0:
            if entry.blocked:
                self._attendant.unwatch(entry.descriptor)
                entry.blocked = False
            os.close(entry.descriptor)
            entry.descriptor = -1


def _lane_in(fields: tuple[object, ...]) -> int:
    """Return the lane that the supervisor speaks of; the host's for none."""
    caller, incarnation = fields
    return lane_number(caller, incarnation) if isinstance(caller, int) and isinstance(incarnation, int) else 0


def _one_frame(waiting: deque[tuple[int, bytes]]) -> tuple[int, bytes]:
    """Return how many of the waiting answers fit one frame, and the frame."""
    size, parts = 0, []
    for _position, answer in waiting:
        if size + len(answer) > MAX_BODY_BYTES:
            break
        size += len(answer)
        parts.append(answer)
    return len(parts), _HEADER.pack(size) + b"".join(parts)
