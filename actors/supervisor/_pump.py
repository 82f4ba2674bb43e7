"""
The one thread that waits: for descriptors, for times, for what other threads post. Knows no actor.

It never blocks and runs no user code. If one of its own calls fails, that is a bug: the pump ends, and says so once.
"""

from __future__ import annotations

import contextlib
import functools
import heapq
import itertools
import math
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable

from actors import _descriptors

__all__ = ["Alarm", "Pump", "Timer"]

# What epoll takes has a bound; a deadline that is further away is looked at in between.
_LONGEST_WAIT = 86_400.0

_SOON_SECONDS = 0.001


class Timer:
    """
    What is to be called at a time, unless cancelled.

    Args:
        action: What to call.
    """

    __slots__ = ("_action",)

    def __init__(self, action: Callable[[], object]) -> None:
        self._action: Callable[[], object] | None = action

    def cancel(self) -> None:
        """Call nothing, and let go of all that the call would have needed. Harmless when it has been called."""
        self._action = None

    def fire(self) -> None:
        """Call it, once."""
        action, self._action = self._action, None
        if action is not None:
            action()


class Pump:
    """
    A reactor in a thread of its own.

    Args:
        name: Of the thread.
        failed: Called in the pump's thread with the exception that ended it.
    """

    def __init__(self, name: str, failed: Callable[[BaseException], object]) -> None:
        self._failed = failed
        with _descriptors.fork_lock:
            self._epoll = select.epoll()
            self._wake_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            _descriptors.own(self._epoll.fileno(), self._wake_fd)
        self._epoll.register(self._wake_fd, select.EPOLLIN)
        self._actions: dict[int, Callable[[], object]] = {}
        self._posted: deque[Callable[[], object]] = deque()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._planned = 0.0
        self._ended = False
        self.deadlines: list[Callable[[float], float | None]] = []
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    # --- any thread -------------------------------------------------------------------------------------------------------

    def post(self, action: Callable[[], object]) -> bool:
        """Have *action* run in the pump; False if it has ended."""
        if self._ended:
            return False
        self._posted.append(action)
        self.wake()
        return True

    def wake(self) -> None:
        """Have the pump look at its times."""
        # A byte for every wake-up would fill the pipe it is written to (CPython gh-105829): an eventfd counts.
        with contextlib.suppress(BlockingIOError, OSError):
            os.eventfd_write(self._wake_fd, 1)

    def wake_for(self, deadline: float) -> None:
        """Make sure the pump looks at its times at *deadline*."""
        if not self._planned or deadline < self._planned:
            self.wake()

    def is_running(self) -> bool:
        """Return whether it was started and has not ended."""
        return self._thread.is_alive()

    def soon(self, action: Callable[[], object]) -> None:
        """Call *action* in the pump in about a millisecond. Any thread."""
        if self.is_current():
            self.after(_SOON_SECONDS, action)
        else:
            self.post(functools.partial(self.after, _SOON_SECONDS, action))

    def is_current(self) -> bool:
        """Return whether the caller is the pump."""
        return threading.current_thread() is self._thread

    def modifier(self, descriptor: int, events: int) -> Callable[[], object]:
        """Return a C function that changes what is waited for, 0 pauses; safe to be called from any thread, at any moment."""
        return functools.partial(self._epoll.modify, descriptor, events)

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end; return whether it has come. One that never started has ended."""
        if self._thread.ident is None:
            self._ended = True
            self._close()
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    # --- the pump's own ---------------------------------------------------------------------------------------------------

    def watch(self, descriptor: int, action: Callable[[], object], events: int = select.EPOLLIN) -> None:
        """Call *action* whenever *descriptor* is ready."""
        self._actions[descriptor] = action
        self._epoll.register(descriptor, events)

    def unwatch(self, descriptor: int) -> None:
        """Forget *descriptor*, before it is closed. Harmless when it is not watched."""
        if self._actions.pop(descriptor, None) is not None:
            with contextlib.suppress(OSError, ValueError):
                self._epoll.unregister(descriptor)

    def after(self, seconds: float, action: Callable[[], object]) -> Timer:
        """Call *action* in *seconds*, unless the timer that is returned is cancelled."""
        timer = Timer(action)
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), timer))
        return timer

    def end(self) -> None:
        """End after this round."""
        self._ended = True

    def _run(self) -> None:
        try:
            while not self._ended:
                self._round()
            # What was posted while the last round ran is refused by whoever looks at it now.
            self._run_posted()
        except BaseException as error:  # noqa: BLE001 - a bug of ours: whoever waits is told, instead of waiting for ever
            self._ended = True
            self._failed(error)
        finally:
            self._close()

    def _round(self) -> None:
        # While the plan is made nobody may rely on the last one.
        self._planned = 0.0
        self._planned = self._plan()
        wait = -1.0 if not self._planned else min(_LONGEST_WAIT, max(0.0, self._planned - time.monotonic()))
        if self._posted:
            wait = 0.0
        ready = [(descriptor, self._actions.get(descriptor)) for descriptor, _events in self._epoll.poll(wait)]
        for descriptor, action in ready:
            if descriptor == self._wake_fd:
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(self._wake_fd)
            elif action is not None and self._actions.get(descriptor) is action:
                # Else an action of this very round has closed it, and its number may stand for something new.
                action()
        self._run_posted()
        self._fire(time.monotonic())

    def _run_posted(self) -> None:
        for _ in range(len(self._posted)):
            self._posted.popleft()()

    def _fire(self, now: float) -> None:
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2].fire()

    def _plan(self) -> float:
        now = time.monotonic()
        times = [due for look in self.deadlines if (due := look(now)) is not None]
        if self._timers:
            times.append(self._timers[0][0])
        return min(times, default=0.0)

    def _close(self) -> None:
        descriptor = self._epoll.fileno()
        self._epoll.close()
        _descriptors.close(self._wake_fd)
        _descriptors.forget(descriptor)


class Alarm:
    """
    One action at one time, which may be moved as often as one likes. In the pump's thread.

    However often it is moved, few timers stand behind it: one that was set for a later time costs nothing until then.

    Args:
        pump: Whose time it is.
        action: What is called when it goes off.
    """

    def __init__(self, pump: Pump, action: Callable[[], object]) -> None:
        self._pump = pump
        self._action = action
        self._at = math.inf
        self._timer = math.inf

    def set(self, at: float) -> None:
        """Go off at *at*, a ``time.monotonic()`` value, and not when it was set for before."""
        self._at = at
        if at < self._timer:
            self._timer = at
            self._pump.after(at - time.monotonic(), functools.partial(self._fire, at))

    def clear(self) -> None:
        """Do not go off."""
        self._at = math.inf

    def _fire(self, timer: float) -> None:
        if timer != self._timer:
            return  # overtaken by an earlier one, which has looked after everything
        self._timer = math.inf
        if self._at > time.monotonic():
            if self._at < math.inf:
                self.set(self._at)
            return
        self._at = math.inf
        self._action()
