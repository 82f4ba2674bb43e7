"""
What the threads of a process have got from one channel, and not done with.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections import deque
from typing import Final

from actors import _channel_items
from actors.mailbox._channel_core import ChannelCore, HeldCell

__all__ = ["HeldItems"]

# Memory that large items have used is kept for the next ones, up to so much of one channel: fresh memory costs more than the copy.
_KEPT_BYTES: Final = 16 << 20
_take_first = deque.popleft


class HeldItems:
    """
    The cells that hold an item, by thread and in the order in which the items were got. Any thread, and inside itself: one call into C takes
    a cell out, so nobody else is done with the same one, and there is no lock that a signal handler could come upon.

    Args:
        core: The channel.
        file: Its file, where large items lie.

    Attributes:
        by_thread: The cells.
    """

    def __init__(self, core: ChannelCore, file: int) -> None:
        self._core = core
        self._file = file
        self.by_thread: dict[int, deque[HeldCell]] = {}

    def add(self, cell: HeldCell) -> None:
        """This thread holds the item of a cell."""
        self.by_thread.setdefault(threading.get_ident(), deque()).append(cell)

    def remove(self, cell: HeldCell) -> None:
        """Nobody holds it; harmless where nobody did."""
        for held in list(self.by_thread.values()):
            with contextlib.suppress(ValueError):
                held.remove(cell)

    def numbers(self) -> set[int]:
        """Which cells hold an item."""
        return {cell.number for cells in list(self.by_thread.values()) for cell in tuple(cells)}

    def own(self) -> tuple[HeldCell, ...]:
        """The cells whose items this thread holds."""
        return tuple(self.by_thread.get(threading.get_ident(), ()))

    def is_empty(self) -> bool:
        """Whether no cell holds an item."""
        return not any(list(self.by_thread.values()))

    def release(self) -> None:
        """What this thread holds is done with."""
        self._release(self.by_thread.get(threading.get_ident()))

    def release_first(self) -> bool:
        """What this thread has got first of what it holds is done with, else what another holds; False if nobody holds any."""
        own = self.by_thread.get(threading.get_ident())
        if own and self._finish_first(own):
            return True
        return any(self._finish_first(held) for held in list(self.by_thread.values()))

    def release_ended(self, main: int) -> bool:
        """
        What threads held that have ended is done with.

        Args:
            main: The thread that calls this.

        Returns:
            Whether others go on holding something.
        """
        others = {thread: held for thread, held in list(self.by_thread.items()) if held and thread != main}
        running = set(sys._current_frames()) if others else set()  # the frames themselves would keep this one alive
        for thread in others.keys() - running:
            self._release(others.pop(thread))
        return bool(others)

    def done(self, cell: HeldCell) -> None:
        """The item of a cell is done with."""
        self._core.done(cell)
        if cell.large:
            if cell.large * self._core.slots_in_use > _KEPT_BYTES:
                # The slot is this cell's own now: nobody else writes there before it is given away.
                _channel_items.punch(self._file, self._core.layout.stride_at(cell.slot), cell.large)
            cell.large = 0

    def _release(self, held: deque[HeldCell] | None) -> None:
        while held:
            self._finish_first(held)

    def _finish_first(self, held: deque[HeldCell]) -> bool:
        """The first of these is done with; False where there is none. Interrupted, it stands there as before."""
        taken: list[HeldCell] = []
        try:
            try:
                taken += map(_take_first, (held,))
            except IndexError:
                return False
            self.done(taken[0])
        except BaseException:
            held.extendleft(taken)
            raise
        taken[0].busy = False
        return True
