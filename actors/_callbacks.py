"""
The one thread that runs users' functions: done-callbacks, hooks, subscribers, log processors. Started on first use.

Slow ones delay each other, never the pump. The queue is bounded; what finds no room is dropped and counted.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from actors._shown import show
from actors.mailbox._lock import RLock

__all__ = ["Callbacks"]

_MOST_QUEUED = 100_000


class Callbacks:
    """
    A queue of calls and the thread that makes them.

    Args:
        name: Of the thread.

    Attributes:
        dropped: How many calls found no room.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        # Both may be entered again by a signal handler or a ``__del__`` in the middle of themselves, in the same thread.
        self._calls: queue.SimpleQueue[tuple[Callable[..., object], tuple[object, ...]] | None] = queue.SimpleQueue()
        self._lock = RLock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self.dropped = 0

    def run(self, function: Callable[..., object], *args: object) -> bool:
        """Have ``function(*args)`` called soon; False if there is no room for it. Never waits."""
        with self._lock:
            if self._closed or self._calls.qsize() >= _MOST_QUEUED:
                self.dropped += 1
                return False
            self._calls.put((function, args))
            if self._thread is None:
                self._begin()
            return True

    def _begin(self) -> None:
        thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        # Noted first: whoever calls in the middle of the start makes no second one.
        self._thread = thread
        try:
            thread.start()
        except RuntimeError:
            # No thread to be had now; whoever calls next tries again, and finds these calls.
            self._thread = None

    def close(self, timeout: float) -> None:
        """Make the calls that are queued, at most *timeout* seconds, and end the thread. Also from inside a call."""
        with self._lock:
            self._closed = True
            thread = self._thread
        self._calls.put(None)
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def is_current(self) -> bool:
        """Return whether the caller runs in this thread."""
        return self._thread is threading.current_thread()

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            function, args = call
            try:
                function(*args)
            except BaseException:  # noqa: BLE001 - a user's function may raise anything; it is shown, and the next one runs
                show(function)
            # Else the last answer, and the shared memory it stands on, would be held until there is another call.
            del call, function, args
