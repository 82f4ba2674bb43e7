"""
What one process has to say to one actor: messages that wait to share a frame, and the write that sends them.

Safe at any bytecode: a signal handler may raise in the middle of a send, or send to the same actor itself. The result of a write is
therefore noted by the same C call that makes it (``list.extend(map(os.write, ...))``), and every other change of state is a run of
plain stores, between which the interpreter does not look for signals. Never waits; who waits for room, and how long, is the
caller's affair.

Messages that only wait for company come without the lock (:meth:`Outbox.join`): one append to a deque, which no thread and no signal
handler can split.
"""

from __future__ import annotations

import contextlib
import os
import struct
from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from itertools import accumulate, repeat

from actors.mailbox._frames import MAX_BODY_BYTES
from actors.mailbox._lock import RLock

__all__ = ["Outbox"]

_HEADER = struct.Struct("!i")
_write = os.write
_pop_first: Callable[[deque[bytes]], bytes] = deque.popleft


class Outbox:
    """
    The way into one actor's inbox, for one process.

    Attributes:
        descriptor: Write end of the inbox, non-blocking, an open file of our own; -1 while it is not known.
        size: Bytes that wait.
        last: When something was written last, in ``time.monotonic()`` seconds.
    """

    __slots__ = ("_busy", "_done", "_joined", "_later", "_lock", "_pending", "descriptor", "last", "size")

    def __init__(self, descriptor: int = -1) -> None:
        self.descriptor = descriptor
        self.size = 0
        self.last = 0.0
        self._pending: list[bytes] = []
        self._done: list[int] = []
        self._later: deque[bytes] = deque()
        self._joined = 0  # bytes in _later, or a little less
        self._busy = False
        self._lock = RLock()

    @property
    def waits(self) -> bool:
        """Whether anything has not left."""
        return bool(self.size or self._later)

    def offer(self, message: bytes, now: float, *, hold: float, receipt: list[bool] | None = None) -> bool:
        """
        Take *message* for sending.

        Args:
            message: At most ``MAX_BODY_BYTES`` bytes.
            now: ``time.monotonic()``.
            hold: Messages that follow another within so many seconds wait to share a frame; negative: leave at once.
            receipt: Its first item becomes true in the step that takes the message, for callers that have to know even if an
                exception comes out of here.

        Returns:
            False if there is no room now, and the message was not taken.

        Raises:
            BrokenPipeError: Nobody will read this inbox any more; the message was not taken.
        """
        with self._lock:
            if self._busy:
                # The same thread, interrupted in the middle of a send: what it was doing goes first.
                if receipt is not None:
                    receipt[0] = True
                self._later.append(message)
                return True
            self._busy = True
            try:
                taken = self._offer(message, now, hold, receipt)
                if self._later:
                    self._send_later()
                return taken
            finally:
                self._busy = False

    def join(self, message: bytes) -> bool:
        """
        Take *message* to wait for company. For those who know that a flush is to come. Any thread, without a lock.

        Returns:
            False if more than a frame would wait: then it is :meth:`offer`'s.
        """
        joined = self._joined + len(message)
        if joined > MAX_BODY_BYTES:
            return False
        self._joined = joined
        self._later.append(message)
        return True

    def flush(self, now: float) -> bool:
        """Write what waits; return whether all of it has left."""
        with self._lock:
            if self._busy:
                return False
            self._busy = True
            try:
                self._settle()
                self._adopt()
                while self._pending:
                    if not self._send():
                        return False
                    self.last = now
                    self._adopt()
                return self._send()
            finally:
                self._busy = False

    def try_flush(self, now: float) -> bool:
        """Write what waits unless another thread is at it; return whether nothing waits any more."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            return self.flush(now)
        finally:
            self._lock.release()

    def take_back(self) -> list[bytes]:
        """Return all that waits, and forget it: its actor is gone."""
        with self._lock:
            self._settle()
            waiting, self._pending, self.size = self._pending, [], 0
            waiting.extend(map(_pop_first, repeat(self._later, len(self._later))))
            self._joined = 0
            self.last = 0.0
            return waiting

    def close(self) -> list[bytes]:
        """Forget the descriptor, which the caller closes, and return all that waited: its actor is gone."""
        with self._lock:
            waiting = self.take_back()
            self.descriptor = -1
            return waiting

    def _offer(self, message: bytes, now: float, hold: float, receipt: list[bool] | None) -> bool:
        self._settle()
        if self._later and not self._adopt_all(now):
            return False
        length = len(message)
        if self.size + length > MAX_BODY_BYTES and not self._send():
            return False
        # One step: between two stores and the beginning of a call nothing can come, and the call itself is C.
        if receipt is not None:
            receipt[0] = True
        self.size += length
        self._pending.append(message)
        if now - self.last < hold:
            return True
        sent = False
        try:
            sent = self._send()
        finally:
            if not sent and not self._done and self._pending and self._pending[-1] is message:
                if receipt is not None:
                    receipt[0] = False
                self.size -= length
                self._pending.pop()
        if sent:
            self.last = now
        return sent

    def _settle(self) -> None:
        """Forget what a write has taken that was interrupted before it could say so."""
        if self._done:
            self._pending, self._done, self.size = [], [], 0

    def _adopt(self) -> None:
        """Move messages that came without the lock behind those that wait, as far as one frame goes."""
        # A copy first, which is one step: what allocates may run the user's finalizers, and these may send.
        sizes = list(accumulate(map(len, list(self._later))))
        count = bisect_right(sizes, MAX_BODY_BYTES - self.size)
        if count:
            self.size += sizes[count - 1]
            # One C call takes them there and puts them here.
            self._pending.extend(map(_pop_first, repeat(self._later, count)))
            self._joined = sizes[-1] - sizes[count - 1]

    def _adopt_all(self, now: float) -> bool:
        self._adopt()
        while self._later:
            if not self._send():
                return False
            self.last = now
            self._adopt()
        return True

    def _send_later(self) -> None:
        """Let out what was sent from inside of a send; who sends next is told of a pipe that is broken."""
        with contextlib.suppress(BrokenPipeError):
            if self._adopt_all(self.last):
                self._send()

    def _send(self) -> bool:
        """Write all that waits as one frame; False if there is no room."""
        if not self._pending:
            self.size = 0  # an interruption may leave it too large, never too small
            return True
        if self.descriptor < 0:
            raise BrokenPipeError("the inbox is closed")
        body = b"".join(self._pending)
        done = self._done
        try:
            # One C call writes and notes that it has: see the module's first paragraph.
            done.extend(map(_write, (self.descriptor,), (_HEADER.pack(len(body)) + body,)))
        except BlockingIOError:
            return False
        self._pending, self._done, self.size = [], [], 0
        return True
