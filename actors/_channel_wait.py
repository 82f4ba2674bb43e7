"""
How a thread waits at a channel: a few looks that give way to others, then a sleep that the channel's bell ends, too.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Callable
from typing import Final

from actors.mailbox._patience import Patience

__all__ = ["ChannelWait"]

# How often whoever waits looks whether the channel was closed or its actor is to stop, though nothing has rung.
_LOOK_SECONDS: Final = 0.1
# While others still have items in hand that may come back, or an end is near.
_NEAR_END_SECONDS: Final = 0.005


class ChannelWait:
    """
    The waits of one process at one channel. Any thread.

    Args:
        bell: An eventfd that is written to when the channel is closed, or its system stops.
    """

    def __init__(self, bell: int) -> None:
        self._bell = bell
        self._patience = Patience()

    def until_ready(
        self,
        descriptor: int,
        longest: float | None,
        standing_by: Callable[[], contextlib.AbstractContextManager[None]],
        *,
        is_closed: bool,
    ) -> None:
        """
        Wait until *descriptor* can be read, somebody rings, or it is time for another look at the rest.

        Args:
            descriptor: One end of the channel's pipes.
            longest: Seconds, or None for as long as a look may be put off.
            standing_by: Around the sleep, which is no hang.
            is_closed: Whether the bell has rung for good, so that only looks are left.
        """
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        if self._look(poller):
            return
        if not is_closed:
            poller.register(self._bell, select.POLLIN)
        seconds = _NEAR_END_SECONDS if is_closed else _LOOK_SECONDS
        began = time.monotonic()
        with standing_by():
            poller.poll(1000 * (seconds if longest is None else min(seconds, longest)) + 1)
        self._patience.slept(time.monotonic() - began)

    def _look(self, poller: select.poll) -> bool:
        """Look a few times, and let others have the core meanwhile: to wake a sleeper costs its waker more than ten puts."""
        looks, began = self._patience.looks, time.monotonic()
        for count in range(looks):
            os.sched_yield()
            if poller.poll(0):
                self._patience.looked(count, time.monotonic() - began)
                return True
        if looks:
            self._patience.looked(looks, time.monotonic() - began)
        return False
