"""
The control lane: the duplex ``multiprocessing.Pipe`` between an actor and its supervisor.

Frames are those of ``Connection.send_bytes``; each body is one array ``[kind, descriptors, *fields]``. Descriptors are attached to
the first byte of the frame that names them, so both ends are read by ``recvmsg`` only: a plain ``read`` discards them without an
error. Never blocks; what the other side has not taken yet is kept, up to a bound. Knows no message by name.

Sending is safe at any bytecode, as in :mod:`actors.mailbox._outbox`: a signal handler may raise in the middle of it, or send itself.
A frame is queued by one step, how much of it has left is noted by the same C call that sends it, and every other change of state is
a run of plain stores.
"""

from __future__ import annotations

import array
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeAlias

from actors import _descriptors
from actors.errors import ProtocolError
from actors.mailbox import _codec
from actors.mailbox._frames import FrameParser, frame
from actors.mailbox._lock import RLock

__all__ = ["ControlLane", "Notice"]

# What one side keeps for the other: a spec of the largest message size, and room for its answers.
PENDING_BYTES = 96 << 20
# Read at once: larger than a socket's default buffer would be wasted, smaller costs calls.
_CHUNK_BYTES = 1 << 16
# Read in one turn: a flood on one lane must not keep its reader from the others.
_CHUNKS_PER_TURN = 16
# Each that waits is one open descriptor of this process.
_MOST_WAITING = 256
# SCM_MAX_FD of Linux: no message carries more.
_MAX_DESCRIPTORS = 253
_INT_BYTES = array.array("i").itemsize

Notice = tuple[str, tuple[object, ...], tuple[int, ...]]
_Frame: TypeAlias = tuple[memoryview, tuple[int, ...]]

_pop_first: Callable[[deque[_Frame]], _Frame] = deque.popleft


class ControlLane:
    """
    One end of a control lane. Any thread may send; one thread receives.

    Args:
        descriptor: The connected stream socket; owned from now on.
        limit: Largest frame accepted from the other side, in bytes.
        passed: Most descriptors that may have arrived before the notice that names them.

    Attributes:
        error: What the other side broke of the protocol, or None. The next :meth:`receive` raises it.
    """

    def __init__(self, descriptor: int, *, limit: int, passed: int = _MAX_DESCRIPTORS) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.setblocking(False)
        self._parser = FrameParser(limit)
        self._passed = passed
        self.error: ProtocolError | None = None
        self._arrived: deque[int] = deque()
        self._out: deque[_Frame] = deque()
        self._current: list[_Frame] = []  # the one that is leaving, or none
        self._sent: list[int] = []  # how much of it a call has sent that could not say so yet
        self._busy = False
        self._lock = RLock()
        self.pending_bytes = 0
        self.closed = False

    def fileno(self) -> int:
        """Return the descriptor, for a selector."""
        return self._socket.fileno()

    def send(self, kind: str, *fields: object, descriptors: Sequence[int] = ()) -> bool:
        """
        Send one notice, or keep what does not fit yet.

        Args:
            kind: Name of the notice.
            fields: Values the codec carries.
            descriptors: Descriptors to hand over; duplicated here, so the caller keeps its own.

        Returns:
            Whether all of it has left. False: call :meth:`flush` when the descriptor is writable.

        Raises:
            ProtocolError: The other side has stopped reading, and the bound is reached.
        """
        body = frame(_codec.encode([kind, len(descriptors), *fields], what=kind))
        with self._lock:
            if self.closed:
                return True
            if self.pending_bytes + len(body) > PENDING_BYTES:
                raise ProtocolError(f"control lane: {self.pending_bytes} bytes wait unread; {kind!r} would be too much")
            if descriptors and sum(len(passed) for _data, passed in self._out) >= _MOST_WAITING:
                raise ProtocolError(
                    f"control lane: {_MOST_WAITING} descriptors wait unread; {kind!r} would be one too much"
                )
            whole = memoryview(body), _duplicates(descriptors)
            self.pending_bytes += len(body)
            self._out.append(whole)
            return self._flush()

    @property
    def waits(self) -> bool:
        """Whether anything has not left."""
        return bool(self._out or self._current)

    def flush(self) -> bool:
        """Send what is kept, as far as it goes; return whether all of it has left."""
        with self._lock:
            return self._flush()

    def _flush(self) -> bool:
        if self._busy:
            # The same thread, interrupted in the middle of a flush: that one goes on behind this, and takes what came.
            return False
        self._busy = True
        try:
            return self._send_all()
        finally:
            self._busy = False

    def _send_all(self) -> bool:
        while not self.closed:
            self._settle()
            if not self._current:
                if not self._out:
                    self.pending_bytes = 0  # an interruption may leave it too large, never too small
                    return True
                # One C call takes it there and puts it here.
                self._current.extend(map(_pop_first, (self._out,)))
            data, descriptors = self._current[0]
            try:
                self._send(data, descriptors)
            except (BlockingIOError, InterruptedError):
                return False
            except OSError:
                # The other side is gone; its end is reported by its process, not by this lane.
                self._discard()
        return True

    def _settle(self) -> None:
        """Take off what a call has sent, also one that was interrupted before it could do so itself."""
        if not self._sent or not self._current:
            return
        count, (data, descriptors) = self._sent[0], self._current[0]
        rest: list[_Frame] = [] if count == len(data) else [(data[count:], ())]
        self._current, self._sent, self.pending_bytes = rest, [], self.pending_bytes - count
        _descriptors.close(*descriptors)

    def _send(self, data: memoryview, descriptors: tuple[int, ...]) -> None:
        if not descriptors:
            self._sent.extend(map(self._socket.send, (data,), (socket.MSG_NOSIGNAL,)))
            return
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
        self._sent.extend(map(self._socket.sendmsg, ([data],), (rights,), (socket.MSG_NOSIGNAL,)))

    def receive(self) -> tuple[list[Notice], bool]:
        """
        Take the notices that have arrived: all of them, or as many as others can wait for.

        Returns:
            The notices as ``(kind, fields, descriptors)`` and whether the other side has closed.
            The descriptors belong to the caller.

        Raises:
            ProtocolError: What arrived is no notice. Those before it were returned by the call before.
        """
        notices: list[Notice] = []
        for _ in range(_CHUNKS_PER_TURN):
            if self.error is not None:
                if notices:
                    return notices, False
                raise self.error
            try:
                data, rights, flags, _address = self._socket.recvmsg(
                    _CHUNK_BYTES, socket.CMSG_SPACE(_MAX_DESCRIPTORS * _INT_BYTES), socket.MSG_CMSG_CLOEXEC
                )
            except (BlockingIOError, InterruptedError):
                return notices, False
            except OSError:
                return notices, True
            self._take_descriptors(rights)
            if flags & socket.MSG_CTRUNC:
                self.error = ProtocolError("control lane: descriptors got lost, this process has no room for them")
                continue
            if not data:
                return notices, True
            self._parse_all(data, notices)
        return notices, False

    def _parse_all(self, data: bytes, notices: list[Notice]) -> None:
        try:
            notices.extend(map(self._parse, self._parser.feed(data)))
            if len(self._arrived) > self._passed:
                raise ProtocolError(f"control lane: {len(self._arrived)} descriptors arrived that no notice names")
        except ProtocolError as error:
            self.error = error

    def _take_descriptors(self, rights: list[tuple[int, int, bytes]]) -> None:
        for level, kind, data in rights:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                found = array.array("i")
                found.frombytes(data[: len(data) - len(data) % _INT_BYTES])
                self._arrived.extend(found)

    def _parse(self, body: bytes) -> Notice:
        match _codec.decode(body):
            case [str(kind), int(count), *fields] if 0 <= count <= len(self._arrived):
                return kind, tuple(fields), tuple(self._arrived.popleft() for _ in range(count))
        raise ProtocolError(f"control lane: no notice in {len(body)} bytes beginning {body[:16]!r}")

    def close(self) -> None:
        """Close this end and every descriptor that is on its way."""
        with self._lock:
            self._discard()
            self._socket.close()
            _descriptors.close(*self._arrived)
            self._arrived.clear()

    def disown(self) -> None:
        """In a fork of this process: send nothing any more. The lock may be held by a thread that is not here."""
        self._lock = RLock()
        self.closed = True

    def _discard(self) -> None:
        self.closed = True
        for _data, descriptors in (*self._current, *self._out):
            _descriptors.close(*descriptors)
        self._out.clear()
        self._current, self._sent, self.pending_bytes = [], [], 0


def _duplicates(descriptors: Sequence[int]) -> tuple[int, ...]:
    if not descriptors:
        return ()
    duplicates: list[int] = []
    with _descriptors.fork_lock:
        try:
            for one in descriptors:
                duplicates.append(os.dup(one))  # noqa: PERF401 - those before one that fails have to be known
        except OSError:  # no room for all of them
            _descriptors.close(*duplicates)
            raise
        _descriptors.own(*duplicates)
    return tuple(duplicates)
