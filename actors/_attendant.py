"""
The second thread of an actor's process: it waits on the control lane, the host's end and, while the main thread works, the replies.

Owns what must go on while a handler runs: requests to the supervisor and their answers, the flush of tells that waited a
millisecond, deadlines of asks. Runs no user code, and waits for nobody but the supervisor. Knows nothing of handlers.
"""

from __future__ import annotations

import contextlib
import functools
import heapq
import itertools
import os
import select
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from actors import _descriptors
from actors._shown import show
from actors.errors import ActorsError, ProtocolError, StartError
from actors.mailbox._control import ControlLane, Notice
from actors.supervisor._exits import SUPERVISOR_LOST_EXIT_CODE

__all__ = ["Attendant"]

_REQUEST_SECONDS = 30.0
_FAREWELL_SECONDS = 1.0
# What epoll takes has a bound; whoever waits for longer looks in between.
_LONGEST_WAIT = 86_400.0


class Attendant:
    """
    The control thread.

    Args:
        lane: The control lane, already used by this thread's owner to say hello.
        host_pid: Whose end is ours too.
    """

    def __init__(self, lane: ControlLane, host_pid: int) -> None:
        self.lane = lane
        self._epoll = select.epoll()
        self._wake_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._host = os.pidfd_open(host_pid)
        self._actions: dict[int, Callable[[], object]] = {}
        self._waiting: dict[int, deque[tuple[tuple[object, ...], tuple[int, ...]]]] = {}
        self._parked: dict[int, Any] = {}
        self._numbers = itertools.count(1)
        self._timers: list[tuple[float, int, Callable[[], object]]] = []
        self.handlers: dict[str, Callable[[tuple[object, ...], tuple[int, ...]], object]] = {}
        self.next_deadline: Callable[[float], float | None] = lambda _now: None
        self._planned = 0.0
        self._thread = threading.Thread(target=self._run, name="actors-attendant", daemon=True)

    def start(self) -> None:
        """Begin to serve; :attr:`handlers` must be filled by then."""
        for descriptor, action in (
            (self.lane.fileno(), self._receive),
            (self._wake_fd, self._woken),
            (self._host, self._host_died),
        ):
            self.watch(descriptor, action)
        self._thread.start()

    def disown(self) -> None:
        """In a fork of this process: there is no such thread here, and nothing is said to the supervisor."""
        self.lane.disown()

    # --- called by any thread ---------------------------------------------------------------------------------------------

    def notify(self, kind: str, *fields: object, descriptors: Sequence[int] = ()) -> None:
        """Tell the supervisor something; never waits."""
        sent = False
        try:
            sent = self.lane.send(kind, *fields, descriptors=descriptors)
        finally:
            # Also where a signal handler raised in the middle of it, or sent from within it: what is queued will leave.
            if not sent:
                self._epoll.modify(self.lane.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def request(
        self, kind: str, *fields: object, timeout: float = _REQUEST_SECONDS
    ) -> tuple[tuple[Any, ...], tuple[int, ...]]:
        """
        Ask the supervisor and wait for its answer.

        Returns:
            The answer's fields and descriptors; the descriptors belong to the caller.

        Raises:
            ActorsError: What the supervisor refused, with its reason, or no answer in *timeout* seconds.
        """
        number = next(self._numbers)
        answers: deque[tuple[tuple[object, ...], tuple[int, ...]]] = deque()
        parked = threading.Lock()
        parked.acquire()
        self._waiting[number], self._parked[number] = answers, parked
        try:
            self.notify(kind, number, *fields)
            if not self._wait_for(parked, timeout):
                raise StartError(f"the supervisor did not answer {kind!r} within {timeout:g} s")
        except BaseException:
            self._forget(number)
            for _answer, descriptors in answers:  # it came in this very moment
                _descriptors.close(*descriptors)
            raise
        self._forget(number)
        answer, descriptors = answers.popleft()
        if answer and answer[0] == "error":
            _descriptors.close(*descriptors)
            raise _refusal(answer)
        return answer, descriptors

    def _forget(self, number: int) -> None:
        self._waiting.pop(number, None)
        self._parked.pop(number, None)

    def _wait_for(self, parked: Any, timeout: float) -> bool:
        """Wait until the answer has come, at most *timeout* seconds; False if it has not."""
        if threading.get_ident() != self._thread.ident:
            return bool(parked.acquire(timeout=timeout))
        # Only this thread reads the control lane: whatever it needs itself (an arena that an answer lies in), it reads right here.
        give_up = time.monotonic() + timeout
        poller = select.poll()
        while not parked.acquire(blocking=False):
            left = give_up - time.monotonic()
            if left <= 0:
                return False
            poller.register(self.lane.fileno(), select.POLLIN | (select.POLLOUT if self.lane.waits else 0))
            poller.poll(left * 1000)
            self._receive()
        return True

    def watch(self, descriptor: int, action: Callable[[], object], events: int = select.EPOLLIN) -> None:
        """Call *action* here whenever *descriptor* is ready."""
        self._actions[descriptor] = action
        self._epoll.register(descriptor, events)

    def rewatch(self, descriptor: int, events: int) -> None:
        """Change what is waited for; 0 pauses."""
        with contextlib.suppress(OSError, ValueError):
            self._epoll.modify(descriptor, events)

    def modifier(self, descriptor: int, events: int) -> Callable[[], object]:
        """Return a C function that changes what is waited for, 0 pauses; safe from any thread, at any moment."""
        return functools.partial(self._epoll.modify, descriptor, events)

    def unwatch(self, descriptor: int) -> None:
        """Forget *descriptor*, before it is closed."""
        self._actions.pop(descriptor, None)
        with contextlib.suppress(OSError, ValueError):
            self._epoll.unregister(descriptor)

    def after(self, seconds: float, action: Callable[[], object]) -> None:
        """Call *action* here in *seconds*."""
        due = time.monotonic() + seconds
        # One C call that compares numbers only: no other thread can come between.
        heapq.heappush(self._timers, (due, next(self._numbers), action))
        self.wake_for(due)

    def wake_for(self, deadline: float) -> None:
        """Make sure the next deadline is looked at in time."""
        if not self._planned or deadline < self._planned:
            self.wake()

    def wake(self) -> None:
        """Have the thread look at its timers."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_write(self._wake_fd, 1)

    def drain_out(self, seconds: float) -> None:
        """Wait until the supervisor has been told everything, at most *seconds*."""
        give_up = time.monotonic() + seconds
        while not self.lane.flush() and (left := give_up - time.monotonic()) > 0:
            select.select([], [self.lane.fileno()], [], left)

    # --- the thread -------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._serve()
        except BaseException as error:  # noqa: BLE001 - a bug of ours: an actor that nobody attends must not live on
            show("the control thread")
            self.lane.send("broken", f"its control thread failed: {type(error).__name__}: {error}")
            self.drain_out(_FAREWELL_SECONDS)
            os._exit(1)

    def _serve(self) -> None:
        while True:
            # Whoever arms something while the plan is made wakes this thread: see wake_for().
            self._planned = 0.0
            self._planned = self._plan()
            wait = -1.0 if not self._planned else min(_LONGEST_WAIT, max(0.0, self._planned - time.monotonic()))
            for descriptor, _events in self._epoll.poll(wait):
                action = self._actions.get(descriptor)
                if action is not None:
                    action()
            self._fire(time.monotonic())

    def _plan(self) -> float:
        now = time.monotonic()
        deadline = self.next_deadline(now)
        if self._timers:
            due = self._timers[0][0]
            return due if deadline is None else min(due, deadline)
        return deadline or 0.0

    def _fire(self, now: float) -> None:
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()

    def _woken(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake_fd)

    def _host_died(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def _receive(self) -> None:
        if self.lane.flush():
            self.rewatch(self.lane.fileno(), select.EPOLLIN)
            if self.lane.waits:
                # Another thread has said more in the meantime; it asked to be woken before this took that back.
                self.rewatch(self.lane.fileno(), select.EPOLLIN | select.EPOLLOUT)
        try:
            notices, closed = self.lane.receive()
        except ProtocolError:
            os._exit(SUPERVISOR_LOST_EXIT_CODE)
        for notice in notices:
            self._dispatch(notice)
        if closed:
            os._exit(SUPERVISOR_LOST_EXIT_CODE)

    def _dispatch(self, notice: Notice) -> None:
        kind, fields, descriptors = notice
        if kind == "answer":
            self._answered(fields, descriptors)
        elif kind in self.handlers:
            self.handlers[kind](fields, descriptors)
        else:
            _descriptors.close(*descriptors)

    def _answered(self, fields: tuple[object, ...], descriptors: tuple[int, ...]) -> None:
        number = fields[0]
        answers = self._waiting.get(number) if isinstance(number, int) else None
        if answers is None or not isinstance(number, int):
            # Whoever asked has given up.
            _descriptors.close(*descriptors)
            return
        answers.append((fields[1:], descriptors))
        parked = self._parked.get(number)
        if parked is not None:
            parked.release()


def _refusal(answer: tuple[object, ...]) -> ActorsError:
    text = str(answer[1]) if len(answer) > 1 else "the supervisor refused"
    return StartError(text)
