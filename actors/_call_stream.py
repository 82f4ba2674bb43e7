"""
Many calls of one function: where they come from, and where their results go, in order or as they come.

A *source* of the pool's thread, which takes items from it only as workers can be given them, and the *sink* of their results. Its items are
there from the beginning, or come out of an iterable of the user's, which a thread of its own reads: no further ahead than workers
and reader need, so that it may be endless.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from actors import _calls
from actors._jobs import Job
from actors.mailbox._lock import RLock

if TYPE_CHECKING:
    from actors._workforce import Workforce

__all__ = ["CallStream", "OrderedResults", "UnorderedResults"]

# How many messages of calls for each worker may be ahead of the reader of the results.
_AHEAD: Final = 3
_LEAST_ROOM: Final = 4
_MOST_ROOM: Final = 1000

Unsendable = Callable[[BaseException, str], BaseException]
"""Makes the exception of a result that cannot travel out of what says why, and of the result's ``repr``."""


class CallStream:
    """
    A source of calls and the sink of their results.

    Args:
        force: Who makes the calls.
        function: What is called.
        how: As for :class:`~actors._jobs.Job`.
        code: Codes one item.
        items: All of them; or None where :meth:`feed` brings them.
        timeout: As for a job.
        retries: As for a job.
        unsendable: What is told of a result that cannot travel.
    """

    def __init__(
        self,
        force: Workforce,
        function: _calls.Function,
        how: int,
        code: Callable[[Any], list[Any]],
        items: Iterable[Any] | None,
        *,
        timeout: float | None,
        retries: int,
        unsendable: Unsendable,
    ) -> None:
        self.function = function
        self.how = how
        self.timeout = timeout
        self._force = force
        self._code = code
        self._retries = retries
        self._unsendable = unsendable
        self._items: deque[Any] = deque(() if items is None else items)
        self._exhausted = items is not None
        self._next = 0
        # Of who feeds and who reads.
        # Taken by itself and not by the condition, between whose acquisition and the block it guards a signal can be taken.
        self._lock = RLock()
        self._changed = threading.Condition(self._lock)
        self._room = _LEAST_ROOM
        self._fed = len(self._items)
        self._feeder_waits = False
        self._unbound = False
        self._is_left = False
        self._aborted = False

    # --- a source ---------------------------------------------------------------------------------------------------------

    def take(self, most: int) -> list[Job]:
        """See :class:`~actors._jobs.Source`."""
        if not self._exhausted:
            self._widen(most)
        jobs: list[Job] = []
        items = self._items
        while len(jobs) < most:
            try:
                item = items.popleft()
            except IndexError:
                break
            number = self._next
            self._next = number + 1
            try:
                coded = self._code(item)
            except BaseException as error:  # noqa: BLE001 - what a user's __reduce__ raises is the outcome of this call
                self.fail(number, error)
                self._force.tell_later(self)
            else:
                jobs.append(Job(self, number, self.function, self.how, coded, self.timeout, self._retries))
        return jobs

    def drop(self) -> list[Job]:
        """See :class:`~actors._jobs.Source`. Runs no code of a user: nobody waits for what will not be made."""
        jobs: list[Job] = []
        with suppress(IndexError):
            while True:
                self._items.popleft()
                jobs.append(Job(self, self._next, self.function, self.how, []))
                self._next += 1
        return jobs

    @property
    def over(self) -> bool:
        """See :class:`~actors._jobs.Source`."""
        return self._exhausted and not self._items

    @property
    def waiting(self) -> int:
        """See :class:`~actors._jobs.Source`."""
        return len(self._items)

    def begin(self, index: int) -> bool:  # noqa: ARG002 - all are wanted, or none
        """See :class:`~actors._jobs.Sink`."""
        return not self._aborted

    def succeed(self, index: int, value: Any) -> None:
        """See :class:`~actors._jobs.Sink`."""
        raise NotImplementedError

    def fail(self, index: int, error: BaseException) -> None:
        """See :class:`~actors._jobs.Sink`."""
        raise NotImplementedError

    def unsendable(self, index: int, error: BaseException, shown: str) -> None:
        """See :class:`~actors._jobs.Sink`."""
        self.fail(index, self._unsendable(error, shown))

    def flush(self) -> None:
        """See :class:`~actors._jobs.Sink`."""
        with self._lock:
            self._changed.notify_all()

    def abort(self, error: BaseException) -> None:
        """No further call is begun; whoever reads is told why."""
        with self._lock:
            if self._aborted:
                return
            self._aborted = True
            self._items.clear()
            self._exhausted = True
            self._end(error)
            self._changed.notify_all()
        # Whoever feeds it may be in the middle of a user's iterator for ever: it is over all the same.
        self._force.poke(self)

    def curtail(self, error: BaseException) -> None:
        """No further call is begun; whoever reads is told why behind the results of those that were. In the pool's thread."""
        with self._lock:
            if self._aborted or self.over:
                return
            self._items.clear()
            self._exhausted = True
            self._fed = self._next
            self._end(error)
            self._changed.notify_all()

    def _end(self, error: BaseException | None) -> None:
        """There will be no more items."""
        raise NotImplementedError

    # --- feeding ----------------------------------------------------------------------------------------------------------

    def feed(self, items: Iterator[Any]) -> None:
        """Read *items* from now on, in a thread of their own."""
        threading.Thread(target=self._feed, args=(items,), name="actors-pool-feeder", daemon=True).start()

    def _feed(self, items: Iterator[Any]) -> None:
        error: BaseException | None = None
        try:
            for item in items:
                if not self._wait_for_room():
                    break
                self._fed += 1
                self._items.append(item)
                # Asked afterwards: it may have been empty, or been emptied just before.
                if len(self._items) <= 1:
                    self._force.poke(self)
        except BaseException as raised:  # noqa: BLE001 - a user's iterator may raise anything; whoever reads the results is told
            error = raised
        with self._lock:
            self._exhausted = True
            if not self._aborted:
                self._end(error)
            self._changed.notify_all()
        self._force.poke(self)

    def _wait_for_room(self) -> bool:
        if self._ahead() < self._room and not self._aborted:
            return True
        with self._lock:
            self._feeder_waits = True
            while self._ahead() >= self._room and not self._unbound and not self._aborted:
                self._changed.wait()
            self._feeder_waits = False
            return not self._aborted

    def _ahead(self) -> int:
        """How many items were fed and their results not taken; now and then one too many."""
        return self._fed

    def _widen(self, most: int) -> None:
        """So many are taken at once: so much more may be ahead."""
        room = _AHEAD * min(most, _MOST_ROOM) * self._force.plan.size + _LEAST_ROOM
        if room > self._room:
            self._room = room
            self.flush()

    def unbind(self) -> None:
        """Make all calls, whoever reads the results."""
        with self._lock:
            self._unbound = True
            self._changed.notify_all()

    def leave(self) -> None:
        """Nobody can read the results any more."""
        self._is_left = True
        self.look_whether_left()

    def look_whether_left(self) -> None:
        """Make all calls if nobody can read their results, and the pool is to end when they are made."""
        # In a fork the lock may be held by a thread that is not there.
        if self._is_left and self._force.closed and self._force.owner == os.getpid():
            self.unbind()


class _Results(CallStream):
    """
    Read one by one, by any thread. The last of them says why there are no more.

    What was taken is not counted but follows from what is left, so that a reader that is interrupted cannot get the count wrong.
    """

    _results: Any  # with a length

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._ended: list[BaseException | None] = [None] if self._exhausted else []
        # Counted by the pool's thread, behind the result itself.
        self._settled = 0

    def take_next(self, timeout: float | None, late: type[BaseException]) -> list[Any] | None:
        """
        Wait for the next result and take it.

        Args:
            timeout: Seconds; None: as long as it takes.
            late: Raised if none has come by then.

        Returns:
            Whether it is one, and what was returned or raised. None where there are no more.

        Raises:
            DeadlockError: In the pool's own thread, which would have to bring it.
            BaseException: Why there are no more.
        """
        give_up = None if timeout is None else time.monotonic() + timeout
        with self._lock:
            while (found := self._pop()) is None:
                if self._is_over():
                    self._find_end()
                    return None
                self._wait(give_up, late)
            if self._feeder_waits and self._ahead() <= self._room // 2:
                self._changed.notify_all()
        return found

    def close(self) -> None:
        """Nobody reads on: begin no further call."""
        self.abort(CancelledError())

    def _wait(self, give_up: float | None, late: type[BaseException]) -> None:
        self._force.refuse_own_thread()
        left = None if give_up is None else give_up - time.monotonic()
        if left is not None and left <= 0:
            raise late
        self._changed.wait(None if left is None else min(left, threading.TIMEOUT_MAX))

    def _is_over(self) -> bool:
        return bool(self._ended) and (self._aborted or self._ahead() <= 0)

    def succeed(self, index: int, value: Any) -> None:
        """See :class:`~actors._jobs.Sink`."""
        self._keep(index, [True, value])
        self._settled += 1

    def fail(self, index: int, error: BaseException) -> None:
        """See :class:`~actors._jobs.Sink`."""
        self._keep(index, [False, error])
        self._settled += 1

    def _keep(self, index: int, outcome: list[Any]) -> None:
        raise NotImplementedError

    def _pop(self) -> list[Any] | None:
        """The next result; None where it is not there, or was not counted yet: then a flush is to come."""
        raise NotImplementedError

    def _ahead(self) -> int:
        return self._fed - self._settled + len(self._results)

    def _end(self, error: BaseException | None) -> None:
        self._ended[:] = [error]

    def _find_end(self) -> None:
        """There are no more; says why, once. Raises that."""
        error, self._ended[0] = self._ended[0], None
        if error is not None:
            raise error


class OrderedResults(_Results):
    """In the order of the items."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._results: dict[int, list[Any]] = {}

    def _keep(self, index: int, outcome: list[Any]) -> None:
        self._results[index] = outcome

    def _pop(self) -> list[Any] | None:
        return self._results.pop(self._settled - len(self._results), None)


class UnorderedResults(_Results):
    """As they come."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._results: deque[list[Any]] = deque()

    def _keep(self, index: int, outcome: list[Any]) -> None:  # noqa: ARG002 - as they come
        self._results.append(outcome)

    def _pop(self) -> list[Any] | None:
        return self._results.popleft() if self._results else None
