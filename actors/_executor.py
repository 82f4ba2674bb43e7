"""
``ActorExecutor``: the executor of processes of ``concurrent.futures``, which no death of a worker breaks.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import time
import types
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Executor, Future
from typing import TYPE_CHECKING, Any, Literal, NoReturn, ParamSpec, TypeVar

from actors import _calls
from actors._call_stream import OrderedResults
from actors._futures import resolve, resolve_error
from actors._jobs import Job, Plan, Source, again, check_owner, check_size, chosen_method
from actors._pool_exit import is_exiting
from actors._ref import KEEP, _Keep
from actors._workforce import CLOSED, Workforce
from actors.errors import SpecError

if TYPE_CHECKING:
    from multiprocessing.context import BaseContext

    from actors._system import ActorSystem

__all__ = ["ActorExecutor"]

P = ParamSpec("P")
R = TypeVar("R")
Q = TypeVar("Q")

_EXITING = "cannot schedule new futures after interpreter shutdown"


class ActorExecutor(Executor):
    """
    Runs functions in a pool of processes: ``concurrent.futures.ProcessPoolExecutor``, but that a worker which dies fails only the call
    that it was making, with :class:`~actors.WorkerDied` and the reason, and is replaced.

    ::

        with ActorExecutor(max_workers=4) as executor:
            future = executor.submit(pow, 2, 10)
            print(future.result(), list(executor.map(abs, [-1, -2])))

    Functions, arguments and results are pickled where they are not plain, as there, and only between the pool and its own workers. Where
    cloudpickle is installed, lambdas and closures travel too. Large buffers lie in shared memory, and are copied once where they arrive.

    Args:
        max_workers: How many processes; by default as many as there are processors.
        mp_context: Of ``multiprocessing``: how they are started. By default as the program has chosen, else as Python does.
        initializer: Called in each worker before its first call. If it raises, or always dies, no call can be made: each fails with
            ``BrokenProcessPool``, and the reason as its cause.
        initargs: Its arguments. Locks, queues and shared values of ``multiprocessing`` may be among them.
        max_tasks_per_child: How many calls a worker makes before it is replaced; None: no limit. Not under ``fork``; without
            *mp_context*, ``spawn`` is chosen then.
        system: A running system below whose root the workers stand; its start method counts then. None: one of the pool's own, which
            begins with the first call and ends with :meth:`shutdown`.

    Raises:
        ValueError, TypeError: As ``ProcessPoolExecutor``.
        ActorsError: The main module has no ``if __name__ == "__main__"`` guard.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: BaseContext | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        max_tasks_per_child: int | None = None,
        system: ActorSystem | None = None,
    ) -> None:
        size = processors() if max_workers is None else max_workers
        check_size("max_workers", size)
        if size <= 0:
            raise ValueError("max_workers must be greater than 0")
        method = chosen_method("mp_context", mp_context, system)
        _check_limit(max_tasks_per_child, mp_context)
        if max_tasks_per_child is not None and mp_context is None and system is None:
            method = "spawn"
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        self._max_workers = size
        plan = Plan(size, method, initializer, tuple(initargs), max_tasks_per_child, leaves=False, system=system)
        self._force = Workforce(plan, drains_at_exit=True)
        self._pid = os.getpid()
        self._timeout: float | None = None
        self._retries = 0
        # What is dropped without a shutdown finishes what is queued.
        weakref.finalize(self, self._force.close).atexit = False

    def options(
        self, *, timeout: float | Literal[_Keep.KEEP] | None = KEEP, retries: int | Literal[_Keep.KEEP] = KEEP
    ) -> ActorExecutor:
        """
        The same pool, for calls with other properties. What is not given stays as it is here: at first no deadline and no retries.

        Args:
            timeout: Seconds that a call may run, from when it is handed to a worker. Then its future fails with
                :class:`~actors.AskTimeoutError` (a ``TimeoutError``), and that worker alone is killed. None: as long as it takes.
            retries: How often a call is made again after its worker has died of it. Only for calls that may run more than once.

        Raises:
            SpecError: A value that an option does not take.
        """
        return with_options(self, timeout, retries)

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """
        Have ``fn(*args, **kwargs)`` called in a worker.

        Returns:
            A future, as of every executor. It fails with what the call raises, whose ``__cause__`` is the remote traceback, or with
            :class:`~actors.WorkerDied`. It can be cancelled as long as the call was not handed to a worker.

        Raises:
            RuntimeError: After :meth:`shutdown`.
            BrokenProcessPool: No call can be made, and why.
        """
        return self._submit(_calls.CALL, fn, args, kwargs)

    def _submit(self, how: int, fn: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Future[Any]:
        self._check_open()
        future: Future[Any] = Future()
        try:
            function = self._force.plan.code_function(fn)
            coded = _calls.code_call(args, kwargs) if how == _calls.CALL else _calls.code_chunk(args)
        except Exception as error:  # noqa: BLE001 - what a user's __reduce__ raises is the outcome of this call
            future.set_running_or_notify_cancel()
            future.set_exception(error)
            return future
        self._force.add(Job(_FutureSink(future), 0, function, how, coded, self._timeout, self._retries))
        return future

    def _check_open(self) -> None:
        check_owner(self._pid)
        if self._force.broken is not None:
            raise again(self._force.broken)
        if self._force.closed or is_exiting():
            raise RuntimeError(CLOSED if self._force.closed else _EXITING)

    def map(
        self,
        fn: Callable[..., R],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[R]:
        """
        As ``map(fn, *iterables)``, but that the calls are made side by side; results in order.

        Args:
            fn: Takes one item of each iterable.
            *iterables: Are read at once, unless *buffersize* is given.
            timeout: Seconds from this call to each result; then ``TimeoutError``.
            chunksize: How many items stand in one call to a worker.
            buffersize: How many calls may be ahead of the results that were taken; the iterables may be endless then.

        Raises:
            ValueError, TypeError: A size that cannot be.
            RuntimeError, BrokenProcessPool: As :meth:`submit`.
        """
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        if buffersize is not None and not isinstance(buffersize, int):
            raise TypeError("buffersize must be an integer or None")
        if buffersize is not None and buffersize < 1:
            raise ValueError("buffersize must be None or > 0")
        end = None if timeout is None else time.monotonic() + timeout
        self._check_open()
        calls = zip(*iterables, strict=False)
        if buffersize is not None:
            return self._map_ahead(fn, calls, chunksize, buffersize, end)
        code: Callable[[Any], list[Any]] = _calls.code_call
        how, items = _calls.CALL, list[Any]()
        if chunksize == 1:
            items = list(calls)
        else:
            how, code = _calls.STARMAP, _calls.code_chunk
            items = list(iter(lambda: list(itertools.islice(calls, chunksize)), []))
        try:
            function = self._force.plan.code_function(fn)
        except Exception as error:  # noqa: BLE001 - what a user's __reduce__ raises is the outcome of these calls
            # In its turn: when the first result is asked for, if there is any.
            return _raise(error) if items else _flat(iter(()))
        stream = OrderedResults(
            self._force, function, how, code, items, timeout=self._timeout, retries=self._retries, unsendable=_with_note
        )
        self._force.add(stream)
        results = _stream_results(stream, end)
        return results if chunksize == 1 else _flat(results)

    def _map_ahead(
        self, fn: Callable[..., Any], calls: Iterator[Any], chunksize: int, buffersize: int, end: float | None
    ) -> Iterator[Any]:
        """The calls of a map that are not read at once: the iterables are read by whoever reads the results."""
        submit: Callable[[Any], Future[Any]]
        if chunksize == 1:
            submit, source = (lambda args: self._submit(_calls.CALL, fn, args, {})), calls
        else:
            submit = lambda chunk: self._submit(_calls.STARMAP, fn, chunk, {})  # noqa: E731 - the other is one line, too
            source = iter(lambda: list(itertools.islice(calls, chunksize)), [])
        futures = deque(map(submit, itertools.islice(source, buffersize)))
        results = _future_results(futures, map(submit, source), end)
        return results if chunksize == 1 else _flat(results)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """
        Take no more calls; when all are done, stop the workers.

        Args:
            wait: Whether to return only then.
            cancel_futures: Whether to cancel what no worker has, or is about to take.
        """
        check_owner(self._pid)
        if cancel_futures:
            self._force.cancel_pending(_cancel)
        self._force.close()
        if wait:
            self._force.join()

    def kill_workers(self) -> None:
        """
        Kill the workers, whatever they do, and take no more calls. Calls that were being made fail with ``BrokenProcessPool``, those
        that were not are cancelled. As from Python 3.14 on; here with every version.
        """
        check_owner(self._pid)
        self._force.cancel_pending(_cancel)
        self._force.terminate()

    def terminate_workers(self) -> None:
        """The same: a worker has nothing to tell that ``SIGTERM`` would leave it time for."""
        self.kill_workers()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> Literal[False]:
        if self._pid != os.getpid():
            return False  # a fork leaves the block, too
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            # Ctrl-C ends the calls, as it does where it reaches workers.
            self.kill_workers()
        self.shutdown(wait=True)
        return False

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "an ActorExecutor cannot travel: a call that uses the pool that it runs in would wait for itself; have it return what is "
            "to be called next, or make another pool in it"
        )


class _FutureSink:
    """Tells one future."""

    __slots__ = ("_future",)

    def __init__(self, future: Future[Any]) -> None:
        self._future = future

    def begin(self, index: int) -> bool:  # noqa: ARG002 - there is one
        future = self._future
        if future.running():
            return True  # it was handed out before
        # One that its user has given a result, maybe in this very moment, has no use for this one.
        if future.done() and not future.cancelled():
            return False
        with contextlib.suppress(RuntimeError):
            return future.set_running_or_notify_cancel()
        return False

    def succeed(self, index: int, value: Any) -> None:  # noqa: ARG002 - as above
        resolve(self._future, value)

    def fail(self, index: int, error: BaseException) -> None:  # noqa: ARG002 - as above
        resolve_error(self._future, error)

    def unsendable(self, index: int, error: BaseException, shown: str) -> None:
        self.fail(index, _with_note(error, shown))

    def flush(self) -> None:
        pass

    def cancel(self) -> None:
        future = self._future
        try:
            future.cancel()
        finally:
            # Also where a callback has raised: whoever waits for it is told.
            if future.cancelled():
                future.set_running_or_notify_cancel()


def _cancel(source: Source) -> None:
    if isinstance(source, Job) and isinstance(source.sink, _FutureSink):
        source.sink.cancel()
    elif isinstance(source, OrderedResults):
        source.curtail(CancelledError())


def _with_note(error: BaseException, shown: str) -> BaseException:
    with contextlib.suppress(BaseException):  # its class may refuse attributes, by whatever it raises
        error.add_note(f"The call returned {shown}, which cannot travel.")
    return error


def _raise(error: BaseException) -> Iterator[Any]:
    yield from ()
    raise error


def _flat(chunks: Iterator[list[Any]]) -> Iterator[Any]:
    """A generator, which can be closed, as that of the standard library; holds no result while the consumer works with it."""
    for chunk in map(deque, chunks):
        while chunk:
            yield chunk.popleft()


def _stream_results(stream: OrderedResults, end: float | None) -> Iterator[Any]:
    """The results in order. Leaving early begins no further call."""
    try:
        while True:
            # Not kept here while the consumer works with it.
            if (found := stream.take_next(None if end is None else end - time.monotonic(), TimeoutError)) is None:
                return
            if not found[0]:
                raise found.pop()
            yield found.pop()
    finally:
        stream.abort(CancelledError())


def _future_results(futures: deque[Future[Any]], more: Iterator[Future[Any]], end: float | None) -> Iterator[Any]:
    """The results in order; each that is taken lets another call begin. Leaving early cancels what was not begun."""
    try:
        while futures:
            futures.extend(itertools.islice(more, 1))
            # Not kept here while the consumer works with its result.
            yield _result(futures.popleft(), None if end is None else end - time.monotonic())
    finally:
        for future in futures:
            future.cancel()


def _result(future: Future[Any], seconds: float | None) -> Any:
    """The result of a future of which nobody else knows."""
    try:
        return future.result(seconds)
    finally:
        future.cancel()
        del future  # it may hold the exception, which holds this frame


def processors() -> int:
    """How many processors this process may use."""
    count: Callable[[], int | None] = getattr(os, "process_cpu_count", os.cpu_count)
    return count() or 1


def with_options(pool: Q, timeout: object, retries: object) -> Q:
    """
    The same pool, for calls with these options; those that are ``KEEP`` stay.

    Raises:
        SpecError: All that is wrong with them.
    """
    own = vars(pool)
    timeout = own["_timeout"] if timeout is KEEP else timeout
    retries = own["_retries"] if retries is KEEP else retries
    problems: list[str] = []
    if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout > 0):
        problems.append(f"timeout={timeout!r}: must be None or seconds, above 0")
    if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
        problems.append(f"retries={retries!r}: must be a whole number of at least 0")
    if problems:
        raise SpecError(*problems)
    other: Q = object.__new__(type(pool))
    vars(other).update(own, _timeout=timeout, _retries=retries, _origin=pool)
    return other


def _check_limit(limit: object, mp_context: BaseContext | None) -> None:
    if limit is None:
        return
    if not isinstance(limit, int):
        raise TypeError("max_tasks_per_child must be an integer")
    if limit <= 0:
        raise ValueError("max_tasks_per_child must be >= 1")
    if mp_context is not None and mp_context.get_start_method() == "fork":
        raise ValueError(
            "max_tasks_per_child is incompatible with the 'fork' multiprocessing start method; supply another mp_context"
        )
