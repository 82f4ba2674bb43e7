"""
What an actor takes out of its inbox ahead of its handlers: how far, how often, and what is dropped when its mailbox is full.

Between two messages it takes all that is there, so that its senders find room, as far as ``mailbox_bytes`` and ``mailbox_messages`` allow;
with ``on_full="drop_oldest"`` always, and the oldest messages become dead letters. The same where a handler waits for room elsewhere,
so that two actors that fill each other's inboxes go on. Of the main thread.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter, deque
from typing import TYPE_CHECKING

from actors.errors import ActorsError
from actors.mailbox import _envelope
from actors.mailbox._cargo import largest_parcel
from actors.mailbox._overflow import Bounds, Dropped, asker, choose_oldest, count_waiting
from actors.mailbox._queue import Queue

if TYPE_CHECKING:
    from actors._child import ActorProcess

__all__ = ["Intake"]

# A look costs two microseconds where there is nothing.
_LOOK_SECONDS = 0.001
_LETTER_SECONDS = 0.01
# Messages from one look to the next whose handlers need not be watched: a frame of them is soon over.
_MANY = 100
# Kinds told in one notice; the supervisor knows the sum.
_MOST_KINDS = 50


class Intake:
    """
    The reading ahead of one actor.

    Args:
        process: The actor's, with its mailbox.

    Attributes:
        due: When to look again, between two messages; in ``time.monotonic()`` seconds.
        watches: Whether that is to be asked after each message; else after each frame, as long as they go quickly.
    """

    def __init__(self, process: ActorProcess) -> None:
        setup = process.setup
        self._process = process
        self._recorder = process.recorder
        self._bounds = Bounds(setup["mailbox_bytes"], setup["mailbox_messages"], setup["on_full"] == "drop_oldest")
        self._queue = Queue(process.recorder)
        self._minds = self._bounds.counts or self._bounds.drops
        self._busy = False
        # What is being dropped, from before that is noted until it is done.
        self._dropped: Dropped | None = None
        # Messages that were read, less those that were handled and dropped, are those that wait.
        self._balance = 0
        self._letters: deque[tuple[str | None, int]] = deque()
        self._letters_due = False
        self._named = 0
        self.due = 0.0
        self.watches = True
        self._handled = self._recorder.handled
        self._recount(self._queue.first())

    # --- how much waits ---------------------------------------------------------------------------------------------------

    def _recount(self, first: int) -> None:
        """What begins at *first* is all that waits."""
        if self._bounds.counts:
            self._balance = self._recorder.handled + self._queue.dropped + self._count_from(first)

    def _count_from(self, first: int) -> int:
        return count_waiting(body for _start, _offset, body in self._queue.pieces(first))

    def _waiting(self, flight_stop: int) -> tuple[int, int]:
        """Bytes and messages that wait; no messages where they are not counted."""
        queue = self._queue
        waiting_bytes = queue.waiting_bytes(flight_stop)
        if not self._bounds.counts:
            return waiting_bytes, 0
        return waiting_bytes, self._balance - self._recorder.handled - queue.dropped - bool(flight_stop)

    # --- reading ----------------------------------------------------------------------------------------------------------

    def filled(self) -> None:
        """All was handled, and something was read."""
        self.due, self.watches, self._handled = time.monotonic() + _LOOK_SECONDS, True, self._recorder.handled
        if self._minds and not self._busy:
            self._busy = True
            try:
                self._recount(self._queue.first())
                self._trim(0)
            finally:
                self._busy = False

    def look(self) -> None:
        """Between two messages: take what is there, if anything waits still; else the loop does."""
        self.due = time.monotonic() + _LOOK_SECONDS
        before, self._handled = self._handled, self._recorder.handled
        self.watches = self._minds or self._handled - before < _MANY
        if not self._recorder.empty:
            self.take(0)

    def can_take(self, flight_stop: int) -> bool:
        """
        Whether :meth:`take` would read what comes.

        Args:
            flight_stop: Where the message in flight ends; 0 where none is, -1 where that is not known.
        """
        if self._busy or self._recorder.broken is not None:
            return False
        if flight_stop < 0 or self._bounds.drops:
            return flight_stop >= 0 or self._recorder.has_room
        if not self._bounds.leave_room(*self._waiting(flight_stop)):
            return False
        return self._recorder.has_room or self._queue.can_make_room(flight_stop)

    def take(self, flight_stop: int) -> bool:
        """
        Take what is there, as far as the bounds allow, and drop what is too much.

        Args:
            flight_stop: As for :meth:`can_take`.

        Returns:
            Whether anything was read.
        """
        if self._busy:
            return False
        self._busy = True
        try:
            return self._take(flight_stop)
        finally:
            self._busy = False

    def _take(self, flight_stop: int) -> bool:
        recorder, queue = self._recorder, self._queue
        if flight_stop < 0:
            return recorder.fill(self._process.inbox)
        flight_bytes = flight_stop and flight_stop - recorder.in_flight
        if self._dropped is not None and queue.dropping:
            self._finish_drop(self._dropped, flight_stop)
            flight_stop = flight_bytes and recorder.in_flight + flight_bytes  # it was moved
        if not (self._bounds.drops or self._bounds.leave_room(*self._waiting(flight_stop))):
            return False
        if not recorder.has_room and recorder.broken is None:
            self._process.look_up()
            queue.make_room(flight_stop)
            flight_stop = flight_bytes and recorder.in_flight + flight_bytes
        before = queue.last()
        read = recorder.fill(self._process.inbox)
        if read and self._bounds.counts:
            self._balance += self._count_from(before)
        self._trim(flight_stop)
        return read

    # --- dropping ---------------------------------------------------------------------------------------------------------

    def _trim(self, flight_stop: int) -> None:
        """Drop the oldest messages that are too many."""
        bounds, queue = self._bounds, self._queue
        waiting_bytes, waiting = self._waiting(flight_stop)
        if not bounds.drops or bounds.are_met(waiting_bytes, waiting):
            return
        if flight_stop and self._recorder.has_room and bounds.are_met(waiting_bytes // 2, waiting // 2):
            return  # behind a message in flight it costs a move, which is to be worth it
        first = queue.first(flight_stop)
        keep, dropped = choose_oldest(queue.pieces(first), queue.end, bounds.most_bytes, bounds.excess(waiting))
        if not dropped.count or (flight_stop and not queue.can_take_out(flight_stop, keep)):
            return
        self._process.look_up()
        self._dropped = dropped
        queue.begin_drop(first, keep, dropped.count)
        self._finish_drop(dropped, flight_stop)

    def _finish_drop(self, dropped: Dropped, flight_stop: int) -> None:
        """Tell who waits for the messages that are being dropped, and take them out. Again from the beginning if it is interrupted."""
        self.due = 0.0
        for large in dropped.larges:
            self._end_large(*large)
        for caller, ask_id in dropped.asks:
            self._process.dispatcher.answer(caller, ask_id, _envelope.encode_dropped(ask_id))
        self._queue.commit_drop(flight_stop)
        self._dropped = None
        self._process.answering.leave(more=False)
        self._letters.extend(dropped.handlers.items())
        self._named = self._queue.dropped
        self.due = time.monotonic() + _LOOK_SECONDS
        self._report_soon()

    def _end_large(self, arena_id: int, slot: int, length: int, generation: int, offset: int) -> None:
        if length + offset > largest_parcel(self._process.max_bytes):
            return
        with contextlib.suppress(ActorsError):  # released before, or its sender is gone together with what it was in
            arena = self._process.directory.find_arena(arena_id)
            with arena.view(slot, length, generation, offset) as data:
                waits = asker(data)
            if waits is not None:
                self._process.dispatcher.answer(*waits, _envelope.encode_dropped(waits[1]))
            arena.release(slot, generation)

    # --- dead letters -----------------------------------------------------------------------------------------------------

    def _report_soon(self) -> None:
        if not self._letters_due:
            self._letters_due = True
            try:
                self._process.attendant.after(_LETTER_SECONDS, self.report)
            except BaseException:
                self._letters_due = False
                raise

    def report(self) -> None:
        """Tell the supervisor of what was dropped. It knows how many they are; this says which."""
        self._letters_due = False
        named = self._named
        letters: Counter[str | None] = Counter()
        for _ in range(len(self._letters)):
            with contextlib.suppress(IndexError):  # the main thread reports, too, as it leaves
                handler, count = self._letters.popleft()
                letters[handler] += count
        if letters:
            kinds = [list(entry) for entry in letters.most_common(_MOST_KINDS)]
            self._process.attendant.notify("dropped", named, kinds)
