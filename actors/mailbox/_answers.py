"""
One pipe of answers with one reader at a time: whoever waits for an answer reads it.

A hand-over between threads costs more than the whole exchange, so a thread that waits for a reply becomes the reader of
the pipe its answer comes by, and the pump's registration of that pipe is off meanwhile. Everybody else who waits
sleeps, and is offered the pipe when the reader leaves; where nobody takes it, the pump reads.

To take the pipe from the pump and to give it back costs two calls of the kernel, and the pump wakes for an answer that comes between
them. So a lane stays with a thread that asks again and again: the pump looks within a millisecond whether it is still read, and whoever
waits otherwise (a callback, an event loop) hands it over at once.

Python may raise out of a signal handler at any bytecode of the main thread, so nothing here lives in a local variable:

- *Bytes read* are known by the buffer, never by what ``readv`` returned: the buffer is zeroed before a read, each read
  takes all that the pipe can hold, and frames are found by their headers from ``_parsed`` on. A frame is delivered,
  then passed over: interrupted between, it is delivered twice, which is harmless, because an ask is forgotten at its
  first answer. What an interrupted reader has left is delivered by the next one, which the pump is within a millisecond.
- *Being the reader* is one dictionary entry, taken by ``setdefault`` and given back without a call: CPython looks for
  signals when a call returns, when a function begins and when a loop jumps back, so nothing can come between the test
  and the ``del``, nor before ``resume`` has had its effect if that is a C function.

Knows frames, and nothing of what is in them.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import select
import time
from _thread import allocate_lock
from collections.abc import Callable
from struct import Struct
from threading import TIMEOUT_MAX, get_ident
from typing import Final, Protocol

from actors.errors import DeadlockError, ProtocolError
from actors.mailbox._frames import HEADER_BYTES, walk
from actors.mailbox._patience import Patience

__all__ = ["AnswerLane", "Awaited", "Listener", "Parking"]

_LENGTH_AT: Final = Struct("!i").unpack_from
_READER: Final = "reader"
_LONGEST_POLL_MS: Final = 2**31 - 1

_ONE: Final = (1).to_bytes(8, "little")
_NESTED: Final = (
    "a signal handler waits for {!r} in the thread that it interrupted while that was reading answers of the same actor: "
    "neither could go on; ask in the handler, and wait for the reply after it"
)


class Awaited(Protocol):
    """What a lane needs to know of a reply."""

    def done(self) -> bool: ...

    def listen(self, listener: Listener) -> None: ...

    def forget(self, listener: Listener) -> None: ...

    def park(self, until: float | None, listener: Parking | None = None) -> None: ...


class Listener(Protocol):
    """Somebody to be told when a reply is done. May be told more than once, by any thread."""

    def reply_done(self) -> None: ...


class Parking:
    """A place for one thread to sleep. Woken once, it stays awake; waking it again is harmless, at any moment."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        # A raw lock, held by nobody in particular: no owner, no Python code of threading.Condition to be interrupted
        # in.
        self._lock = allocate_lock()
        self._lock.acquire()

    def sleep(self, until: float | None) -> None:
        """Sleep until woken, or until it is *until*, a ``time.monotonic()`` value."""
        if until is None:
            self._lock.acquire()
        else:
            self._lock.acquire(True, min(max(0.0, until - time.monotonic()), TIMEOUT_MAX))

    def reply_done(self) -> None:
        """Wake the sleeper."""
        with contextlib.suppress(RuntimeError):  # released before, and nobody has slept here since
            self._lock.release()


class AnswerLane:
    """
    The reading end of one pipe of answer frames.

    Args:
        fd: Its read end, non-blocking, whose writers write whole frames of at most ``MAX_FRAME_BYTES``. The lane's own
            from now on, unless this raises.
        deliver: Takes the body of one frame, maybe the same one again after an exception came out of it. It may raise
            ``ProtocolError``, which ends the lane; whatever else it raises leaves the frame to be delivered again.
        capacity: Bytes that the pipe can hold (``F_GETPIPE_SZ``).
        pause: Take the pipe out of what the pump waits for.
        resume: Put it back. Both may be called twice in a row, from any thread. To be safe against exceptions of signal
            handlers they are C functions, such as ``functools.partial(epoll.modify, fd, select.EPOLLIN)``.
        later: Has the pump call a function in about a millisecond. With it, the pipe stays out of what the pump waits for between
            the waits of a thread that asks again and again; without it, the pump is told at the end of each.
        on_broken: Called when a writer broke the protocol; has every ask of this lane failed. Maybe twice.

    Attributes:
        broken: What broke the protocol, or None.
        ended: Whether no answer will come any more: end of file, broken, or closed.
        wake_descriptor: What wakes its reader; to be kept from forks, as the pipe.
    """

    def __init__(
        self,
        fd: int,
        deliver: Callable[[bytes], None],
        *,
        capacity: int,
        pause: Callable[[], object],
        resume: Callable[[], object],
        on_broken: Callable[[ProtocolError], object],
        later: Callable[[Callable[[], object]], object] | None = None,
    ) -> None:
        self.broken: ProtocolError | None = None
        self.ended = False
        self._fd = -1  # the caller's until nothing can fail any more
        self._deliver = deliver
        self._pause = pause
        self._resume = resume
        self._on_broken = on_broken
        self._later = later
        self._reads = 0  # how often somebody became the reader
        self._reads_seen = 0
        self._minding = False  # the pump looks, within a millisecond, whether it has to take the pipe back
        self._minded = 0  # which of the looks counts
        self._buffer = memoryview(bytearray(capacity))
        self._into = [self._buffer]
        self._zeroes = bytes(capacity)
        self._parsed = 0
        self._slot: dict[str, tuple[int, object]] = {}
        self._parked: list[Parking] = []
        self._closing = False
        # A reader that sleeps in poll() is woken by this when its ask ends otherwise: by a death, a deadline, a cancel.
        # It is made here, and not by who first needs it, because an exception could come between the making and the
        # storing there.
        self._waker = open(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK), "r+b", buffering=0)  # noqa: SIM115 - held on to
        self._sleeping = False
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        self._wake_fd = self.wake_descriptor = self._waker.fileno()
        self._poll.register(self._wake_fd, select.POLLIN)
        self._patience = Patience()
        self._fd = fd

    def fileno(self) -> int:
        """The descriptor of the pipe; -1 when closed."""
        return self._fd

    # --- reading ----------------------------------------------------------------------------------------------------

    def drain(self) -> bool:
        """
        Deliver all that is there. Never waits: returns at once where another thread reads. Any thread may call it.

        Returns:
            Whether no answer will come any more: take the pipe out of what is waited for, and :meth:`close` the lane.
        """
        slot = self._slot
        token = (get_ident(), object())
        ended = self.ended
        try:
            if slot.setdefault(_READER, token) is token:
                ended = self._take()
        finally:
            try:
                if slot[_READER] is token:
                    del slot[_READER]
            except KeyError:
                pass
        self._offer()
        return ended

    def _take(self) -> bool:
        """For the reader: deliver what is in the buffer, then what is in the pipe. True where no answer will come."""
        if self.ended:
            return True
        try:
            if self.broken is None:
                return self._read_all()
        except ProtocolError as error:
            self.broken = error
        self._on_broken(self.broken)
        self.ended = True
        return True

    def _read_all(self) -> bool:
        buffer = self._buffer
        if self._parsed or self._has_frames():  # left behind by a reader that was interrupted
            self._parse(walk(buffer, self._parsed, len(buffer)))
        while True:
            try:
                count = os.readv(self._fd, self._into)
            except BlockingIOError:
                return False
            if count == 0:
                self.ended = True
                return True
            stop = walk(buffer, 0, count)
            if stop != count:
                raise ProtocolError(
                    f"{count} bytes of answers end in the middle of a frame, {count - stop} bytes after the last"
                )
            self._parse(stop)
            if count < len(buffer):
                # All that was there. What came since is seen by the next look: polls are level-triggered.
                return False

    def _parse(self, stop: int) -> None:
        """Deliver the frames up to *stop*, from the first one that was not; then zero what was used."""
        buffer = self._buffer
        while self._parsed < stop:
            start = self._parsed + HEADER_BYTES
            end = start + _LENGTH_AT(buffer, self._parsed)[0]
            self._deliver(bytes(buffer[start:end]))
            self._parsed = end
        if self._parsed:
            buffer[: self._parsed] = self._zeroes[: self._parsed]
            self._parsed = 0

    def _has_frames(self) -> bool:
        """Whether an interrupted reader left something in the buffer."""
        at = self._parsed
        return at + HEADER_BYTES <= len(self._buffer) and _LENGTH_AT(self._buffer, at)[0] != 0

    # --- closing ----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Give the descriptors back; a thread that reads at this moment does it when it leaves. May be repeated."""
        self.ended = True
        self._closing = True
        self.reply_done()
        self._offer()

    def __del__(self) -> None:
        # Only an interruption in the very step of closing leaves something to do here.
        fd, self._fd = getattr(self, "_fd", -1), -1
        if fd >= 0:
            os.close(fd)

    def _close_now(self) -> None:
        slot = self._slot
        token = (get_ident(), object())
        try:
            if slot.setdefault(_READER, token) is token and self._fd >= 0:
                self._waker.close()
                fd, self._fd = self._fd, -1
                os.close(fd)
        finally:
            try:
                if slot[_READER] is token:
                    del slot[_READER]
            except KeyError:
                pass

    # --- waiting ----------------------------------------------------------------------------------------------------

    def wait(self, reply: Awaited, until: float | None) -> None:
        """
        Return when *reply* is done, or when it is *until*.

        Args:
            reply: An ask whose answer comes by this lane.
            until: A ``time.monotonic()`` value; None to wait as long as it takes. What is there already is looked at in
                any case.

        Raises:
            DeadlockError: A signal handler waits in the thread that it interrupted while it was reading this lane.
        """
        while not reply.done():
            if self.ended:
                reply.park(until)
                return
            if self._read_for(reply, until) or self._park(reply, until):
                return

    def reply_done(self) -> None:
        """Wake the reader, if it sleeps: its ask may have ended. For replies to call."""
        if self._sleeping:
            with contextlib.suppress(ValueError):  # closed: nobody sleeps there
                self._waker.write(_ONE)

    def _read_for(self, reply: Awaited, until: float | None) -> bool:
        """Read until *reply* is done or it is *until*. False where another thread reads, and when the lane has ended."""
        slot = self._slot
        token = (get_ident(), object())
        over = False
        try:
            reader = slot.setdefault(_READER, token)
            if reader is token:
                over = self._read(reply, until)
            elif reader[0] == token[0]:
                raise DeadlockError(_NESTED.format(reply), may_have_run=True)
        except BaseException:
            # What was read and not delivered stands in the buffer, where the pump does not see it: answers that others wait for. And
            # the pump may not have been told to look.
            self._minding = False
            if self._later is not None:
                self._later(self.drain)
            raise
        finally:
            # No call before the resume: see the head of this module.
            try:
                if slot[_READER] is token:
                    del slot[_READER]
                    if not self._minding:
                        self._resume()
            except (KeyError, ValueError, OSError):
                # Not the reader; or the pump has ended, or has dropped the pipe at its end of file: nothing to put back.
                pass
        self._offer()
        return over

    def _read(self, reply: Awaited, until: float | None) -> bool:
        """For the reader: True when *reply* is done or it is *until*, False when the lane has ended before."""
        reply.listen(self)
        try:
            self._reads += 1
            if not self._minding:
                self._hold()
            late = until is not None and time.monotonic() >= until
            while not reply.done():
                if not late and not self._has_frames():
                    self._sleep(reply, until)
                if self._take():
                    return reply.done()
                if late:
                    break
                late = until is not None and time.monotonic() >= until
            return True
        finally:
            reply.forget(self)

    def _hold(self) -> None:
        """
        For the reader: take the pipe from the pump, which will look whether to take it back.

        In this order: a reader that loses the core here for so long that the pump has looked, and has ceased to, finds that when it leaves.
        """
        if self._later is not None:
            self._minded += 1
            self._minding = True
            self._later(functools.partial(self._mind, self._minded))
        with contextlib.suppress(ValueError, OSError):  # as for the resume
            self._pause()

    def _mind(self, number: int) -> None:
        """In the pump: take the pipe back, unless it was read since the last look. A reader that stays gives it back itself."""
        if number != self._minded or self.ended or self._later is None:
            return
        if self._reads != self._reads_seen:
            self._reads_seen = self._reads
            self._later(functools.partial(self._mind, number))
            return
        # A reader that leaves from now on gives the pipe back; one that has left did not.
        self._minding = False
        self._give_back()

    def hand_over(self) -> None:
        """Have the pump read again at once: somebody waits who does not read. Any thread."""
        if self._minding:
            self._minding = False
            self._give_back()

    def _give_back(self) -> None:
        slot = self._slot
        token = (get_ident(), object())
        try:
            if slot.setdefault(_READER, token) is token and self._fd >= 0:
                self._resume()
        except (ValueError, OSError):
            pass  # as in _read_for()
        finally:
            try:
                if slot[_READER] is token:
                    del slot[_READER]
            except KeyError:
                pass
        self._offer()

    def _sleep(self, reply: Awaited, until: float | None) -> None:
        """Return when there is something to read, when *reply* may be done, or when it is *until*."""
        if self._look(reply):
            return
        began = time.monotonic()
        events = []
        self._sleeping = True
        if not reply.done():
            events = self._poll.poll(None if until is None else _milliseconds(until - began))
        self._sleeping = False
        self._take_back(events)
        self._patience.slept(time.monotonic() - began)

    def _look(self, reply: Awaited) -> bool:
        """Look a few times, and let others have the core meanwhile. True when there is something to read, or *reply* is done."""
        poll, give_way, looks = self._poll.poll, os.sched_yield, self._patience.looks
        if not looks:
            return False
        found, began = False, time.monotonic()
        for count in range(looks):
            events = poll(0)
            if events or reply.done():
                self._take_back(events)
                found, looks = True, count
                break
            give_way()
        self._patience.looked(looks, time.monotonic() - began)
        return found

    def _take_back(self, events: list[tuple[int, int]]) -> None:
        """Take back a wake-up, so that the next sleep is one."""
        for fd, _ in events:
            if fd == self._wake_fd:
                self._waker.read(8)

    def _park(self, reply: Awaited, until: float | None) -> bool:
        """Sleep while another thread reads. True when *reply* is done or it is *until*, False to try to read again."""
        parking = Parking()
        self._parked.append(parking)
        try:
            # The reader looks for sleepers after it has left; who is too late for that sees here that it has left.
            if _READER in self._slot:
                reply.park(until, parking)
        finally:
            with contextlib.suppress(ValueError):
                self._parked.remove(parking)
        if not reply.done():
            return until is not None and time.monotonic() >= until
        self._offer()
        return True

    def _offer(self) -> None:
        """After leaving: have one sleeper try to read. Where it sleeps no more, or this is interrupted, the pump reads."""
        if _READER in self._slot:
            return
        if self._closing:
            self._close_now()
        if self._parked:
            with contextlib.suppress(IndexError):
                self._parked.pop(0).reply_done()


def _milliseconds(seconds: float) -> int:
    """For ``poll``: rounded up, or a sleeper would look too early, and again and again."""
    return min(_LONGEST_POLL_MS, max(0, math.ceil(seconds * 1000)))
