"""
SIGTERM and SIGINT while a system runs: the first one drains it, a second one of either kind stops it at once.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

from actors._life import Life
from actors.errors import SpecError

__all__ = ["StopSignals", "in_main_thread"]


def in_main_thread() -> bool:
    """Whether this thread is the one in which signal handlers run, and can be installed."""
    return threading.current_thread() is threading.main_thread()


class StopSignals:
    """
    The handlers of one system, from its start to its end.

    Args:
        life: Of the system.

    Attributes:
        came: Whether a signal has come.
        is_ready: Whether the system is: only then is there anything to be drained.
    """

    def __init__(self, life: Life) -> None:
        self.came = False
        self.is_ready = False
        self._life = life
        self._owner = 0
        self._before: dict[signal.Signals, Any] = {}

    def install(self) -> None:
        """
        Take both signals, unless they were taken before.

        Raises:
            SpecError: Not in this thread.
        """
        if not in_main_thread():
            raise SpecError("signals=True: signal handlers can be installed by the main thread only")
        if not self._before:
            self._owner = os.getpid()
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self.handle)

    def give_back(self) -> None:
        """Install the handlers from before, in the main thread; elsewhere the next signal does."""
        if in_main_thread():
            for number, before in self._before.items():
                if signal.getsignal(number) == self.handle:  # else somebody else's came after it
                    signal.signal(number, before or signal.SIG_DFL)  # None: one that is not Python's

    def handle(self, number: int, _frame: object) -> None:
        """One of them has come."""
        if self._life.has_ended() or os.getpid() != self._owner:
            # Stopped by another thread, which cannot give signals back; or this is a fork of the program, which inherits handlers. The
            # system has no use for this one.
            self.give_back()
            signal.raise_signal(number)
            return
        drain, self.came = not self.came, True
        if self.is_ready:
            self._life.request_stop(drain=drain)
        else:
            self._life.give_up_start()
