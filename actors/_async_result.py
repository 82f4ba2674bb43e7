"""
What calls of a :class:`~actors.Pool` give: results to come, one by one or of a whole map.
"""

from __future__ import annotations

import multiprocessing
import threading
from collections import deque
from collections.abc import Callable
from multiprocessing import pool
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from actors._call_stream import CallStream, OrderedResults, UnorderedResults
from actors._shown import show

if TYPE_CHECKING:
    from actors import _progress
    from actors._workforce import Workforce

__all__ = ["AsyncResult", "MapResult", "MapStream", "PoolIterator", "maybe_encoding_error"]

R = TypeVar("R")


class _Shown:
    """Stands for a value of which only the ``repr`` is here."""

    def __init__(self, shown: str) -> None:
        self._shown = shown

    def __repr__(self) -> str:
        return self._shown


def maybe_encoding_error(error: BaseException, shown: str) -> BaseException:
    """The exception of ``multiprocessing.Pool`` for a result that cannot travel."""
    kind: type[Exception] = vars(pool)["MaybeEncodingError"]  # the stubs do not know it
    found = kind(error, _Shown(shown))
    found.__cause__ = error
    return found


class AsyncResult(Generic[R]):
    """
    The result to come of :meth:`Pool.apply_async` and its like.
    """

    def __init__(
        self,
        force: Workforce,
        callback: Callable[[Any], object] | None,
        error_callback: Callable[[BaseException], object] | None,
        pool: object = None,
    ) -> None:
        self._force = force
        # Until it is done: a pool that nobody holds any more is terminated.
        self._pool = pool
        self._callback = callback
        self._error_callback = error_callback
        self._done = threading.Event()
        self._success = False
        self._value: Any = None

    def ready(self) -> bool:
        """Whether the call has ended."""
        return self._done.is_set()

    def successful(self) -> bool:
        """
        Whether it ended without an exception.

        Raises:
            ValueError: It has not ended.
        """
        if not self.ready():
            raise ValueError(f"{self!r} not ready")
        return self._success

    def wait(self, timeout: float | None = None) -> None:
        """Wait until it has ended, at most *timeout* seconds."""
        if not self.ready():
            self._force.refuse_own_thread()
        self._done.wait(timeout)

    def get(self, timeout: float | None = None) -> R:
        """
        Wait for the result and return it, or raise what the call raised.

        Raises:
            multiprocessing.TimeoutError: It has not ended within *timeout* seconds.
            WorkerDied: Its worker died while it was making it.
        """
        self.wait(timeout)
        if not self.ready():
            raise multiprocessing.TimeoutError
        if not self._success:
            raise self._value
        return self._value  # type: ignore[no-any-return]

    # --- a sink -----------------------------------------------------------------------------------------------------------

    def begin(self, index: int) -> bool:  # noqa: ARG002 - there is one
        """See :class:`~actors._jobs.Sink`."""
        return True

    def succeed(self, index: int, value: Any) -> None:  # noqa: ARG002 - there is one
        """See :class:`~actors._jobs.Sink`."""
        self._settle(True, value)

    def fail(self, index: int, error: BaseException) -> None:  # noqa: ARG002 - there is one
        """See :class:`~actors._jobs.Sink`."""
        self._settle(False, error)

    def unsendable(self, index: int, error: BaseException, shown: str) -> None:
        """See :class:`~actors._jobs.Sink`."""
        self.fail(index, maybe_encoding_error(error, shown))

    def flush(self) -> None:
        """See :class:`~actors._jobs.Sink`."""

    def _settle(self, success: bool, value: Any) -> None:
        if self._done.is_set():
            return
        self._success, self._value = success, value
        callback = self._callback if success else self._error_callback
        self._callback = self._error_callback = None
        if callback is not None:
            try:
                callback(value)
            except BaseException:  # noqa: BLE001 - a user's callback may raise anything; it is shown, and the pool goes on
                show(callback)
        self._done.set()
        self._pool = None


class MapResult(AsyncResult[R]):
    """The results to come of :meth:`Pool.map_async` and its like: all, or the first exception."""

    def __init__(
        self,
        force: Workforce,
        count: int,
        chunksize: int,
        callback: Callable[[Any], object] | None,
        error_callback: Callable[[BaseException], object] | None,
        pool: object = None,
    ) -> None:
        super().__init__(force, callback, error_callback, pool)
        self.count = count
        self.left = count
        self._chunksize = chunksize
        self._values: list[Any] = [None] * count
        self._error: BaseException | None = None

    def succeed(self, index: int, value: Any) -> None:
        """See :class:`~actors._jobs.Sink`."""
        if self._chunksize == 1:
            self._values[index] = value
            self.left -= 1
        else:
            start = index * self._chunksize
            self._values[start : start + self._chunksize] = value
            self.left -= len(value)
        if not self.left:
            self.end()

    def fail(self, index: int, error: BaseException) -> None:
        """See :class:`~actors._jobs.Sink`."""
        if self._error is None:
            self._error = error
        self.left -= min(self._chunksize, self.count - index * self._chunksize)
        if self.left <= 0:
            self.end()

    def fail_all(self, error: BaseException) -> None:
        """No call can be made."""
        self._error = error
        self.end()

    def end_empty(self) -> None:
        """There was nothing to call; nobody is called back, as in the standard library."""
        self._callback = None
        self.end()

    def end(self) -> None:
        """All is said."""
        if self._error is not None:
            self._settle(False, self._error)
        else:
            self._settle(True, self._values)


class MapStream(CallStream):
    """The items of a map."""

    result: MapResult[Any]

    def succeed(self, index: int, value: Any) -> None:
        """See :class:`~actors._jobs.Sink`."""
        self.result.succeed(index, value)

    def fail(self, index: int, error: BaseException) -> None:
        """See :class:`~actors._jobs.Sink`."""
        self.result.fail(index, error)

    def flush(self) -> None:
        """See :class:`~actors._jobs.Sink`."""

    def _end(self, error: BaseException | None) -> None:
        pass


class PoolIterator(Generic[R]):
    """
    The results to come of :meth:`Pool.imap` and :meth:`Pool.imap_unordered`.

    What a call raises is raised in its turn, and the next results follow it. :meth:`close` begins no further call.
    """

    def __init__(
        self, stream: OrderedResults | UnorderedResults, *, chunked: bool, bar: _progress.Counter, pool: object
    ) -> None:
        self._stream = stream
        self._pool = pool  # it lives as long as its results are wanted
        self._chunked = chunked
        self._bar = bar
        self._values: deque[Any] = deque()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> R:
        return self.next()

    def next(self, timeout: float | None = None) -> R:
        """
        The next result.

        Raises:
            StopIteration: There are no more.
            multiprocessing.TimeoutError: It has not come within *timeout* seconds.
        """
        try:
            value = self._values.popleft()
        except IndexError:
            value = self._next(timeout)
        self._bar.advance()
        return value  # type: ignore[no-any-return]

    def _next(self, timeout: float | None) -> Any:
        try:
            found = self._stream.take_next(timeout, multiprocessing.TimeoutError)
        except multiprocessing.TimeoutError:
            raise
        except Exception:
            self._bar.close()
            raise
        if found is None:
            self._bar.close()
            raise StopIteration
        success, value = found
        if not success:
            self._bar.advance()
            raise value
        if self._chunked:
            # Others may read at the same time: nothing is where only one of them would find it.
            first, *rest = value
            self._values.extend(rest)
            return first
        return value

    def close(self) -> None:
        """Begin no further call."""
        self._bar.close()
        self._stream.close()

    def __del__(self) -> None:
        # Nobody can read on: what is ahead of nobody need not be made before the pool is closed, but what was taken is.
        bar = getattr(self, "_bar", None)
        if bar is not None:
            bar.close()
            self._stream.leave()
