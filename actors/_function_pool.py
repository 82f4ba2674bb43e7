"""
``Pool``: the pool of processes of ``multiprocessing``, which no death of a worker breaks.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import types
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Self, TypeVar

from actors import _calls, _progress
from actors._async_result import AsyncResult, MapResult, MapStream, PoolIterator, maybe_encoding_error
from actors._call_stream import CallStream, OrderedResults, UnorderedResults
from actors._executor import processors, with_options
from actors._jobs import Job, Plan, check_owner, check_size, chosen_method
from actors._ref import KEEP, _Keep
from actors._workforce import Workforce

if TYPE_CHECKING:
    from multiprocessing.context import BaseContext

    from actors._system import ActorSystem

__all__ = ["Pool"]

R = TypeVar("R")

_CHUNKS_PER_WORKER = 4  # as in multiprocessing


class Pool:
    """
    Runs functions in a pool of processes: ``multiprocessing.Pool``, but that a worker which dies fails only the call that it was making,
    with :class:`~actors.WorkerDied` and the reason, and is replaced; there, whoever waits for that call waits for ever.

    ::

        with Pool(4) as pool:
            print(pool.map(abs, range(-5, 5)))
            for result in pool.imap_unordered(abs, itertools.count()):
                ...

    Leaving the ``with`` block terminates the workers, as there. ``imap`` and ``imap_unordered`` read their iterable no further ahead than
    they need, so it may be endless.

    Functions, arguments and results are pickled where they are not plain, as there, and only between the pool and its own workers. Where
    cloudpickle is installed, lambdas and closures travel too. Large buffers lie in shared memory, and are copied once where they arrive.

    Args:
        processes: How many; by default as many as there are processors.
        initializer: Called in each worker before its first call. If it raises, or always dies, each call fails with
            ``BrokenProcessPool``, and the reason as its cause.
        initargs: Its arguments. Locks, queues and shared values of ``multiprocessing`` may be among them.
        maxtasksperchild: How many tasks (calls, or chunks of them) a worker takes before it is replaced; None: no limit.
        context: Of ``multiprocessing``: how processes are started. By default as the program has chosen, else as Python does.
        system: A running system below whose root the workers stand; its start method counts then. None: one of the pool's own.

    Raises:
        ValueError, TypeError: As ``multiprocessing.Pool``.
        ActorsError: The main module has no ``if __name__ == "__main__"`` guard.
    """

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        context: BaseContext | None = None,
        *,
        system: ActorSystem | None = None,
    ) -> None:
        self._force: Workforce | None = None
        size = processors() if processes is None else processes
        check_size("processes", size)
        if size < 1:
            raise ValueError("Number of processes must be at least 1")
        limit: object = maxtasksperchild
        if limit is not None and (not isinstance(limit, int) or limit <= 0):
            raise ValueError("maxtasksperchild must be a positive int or None")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        method = chosen_method("context", context, system)
        plan = Plan(size, method, initializer, tuple(initargs), maxtasksperchild, leaves=True, system=system)
        self._pid = os.getpid()
        self._timeout: float | None = None
        self._retries = 0
        self._streams: weakref.WeakSet[CallStream] = weakref.WeakSet()
        self._force = Workforce(plan, drains_at_exit=False)
        self._force.start()

    def options(
        self, *, timeout: float | Literal[_Keep.KEEP] | None = KEEP, retries: int | Literal[_Keep.KEEP] = KEEP
    ) -> Pool:
        """
        The same pool, for calls with other properties; see :meth:`ActorExecutor.options`.

        Raises:
            SpecError: A value that an option does not take.
        """
        return with_options(self, timeout, retries)

    # --- one call ---------------------------------------------------------------------------------------------------------

    def apply(self, func: Callable[..., R], args: Iterable[Any] = (), kwds: dict[str, Any] | None = None) -> R:
        """Call ``func(*args, **kwds)`` in a worker and return its result."""
        return self.apply_async(func, args, kwds).get()

    def apply_async(
        self,
        func: Callable[..., R],
        args: Iterable[Any] = (),
        kwds: dict[str, Any] | None = None,
        callback: Callable[[R], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult[R]:
        """
        The same, without waiting.

        Args:
            func: What is called.
            args: Its arguments.
            kwds: The same, by name.
            callback: Called with the result, in the pool's thread: it should not take long.
            error_callback: Called with the exception where there is one.
        """
        force = self._check_running()
        result: AsyncResult[R] = AsyncResult(force, callback, error_callback, self)
        try:
            function, coded = force.plan.code_function(func), _calls.code_call(tuple(args), dict(kwds or {}))
        except Exception as error:  # noqa: BLE001 - what a user's __reduce__ raises is the outcome of this call
            result.fail(0, error)
        else:
            force.add(Job(result, 0, function, _calls.CALL, coded, self._timeout, self._retries))
        return result

    # --- many calls -------------------------------------------------------------------------------------------------------

    def map(
        self,
        func: Callable[[Any], R],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        *,
        progress: bool | str = False,
    ) -> list[R]:
        """
        Call *func* with each item, and return all results in order.

        Args:
            func: What is called.
            iterable: Is read at once.
            chunksize: How many items stand in one task; by default so many that each worker gets about four tasks.
            progress: Whether to show a bar on stderr, and under what name. Needs rich: ``pip install rich`` (the extra ``progress``).
        """
        show = _progress.shower(progress)
        results: list[R] = show.whole(self._map_async(_calls.MAP, func, iterable, chunksize, None, None))
        return results

    def map_async(
        self,
        func: Callable[[Any], R],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        callback: Callable[[list[R]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult[list[R]]:
        """:meth:`map` without waiting; callbacks as of :meth:`apply_async`."""
        return self._map_async(_calls.MAP, func, iterable, chunksize, callback, error_callback)

    def starmap(
        self,
        func: Callable[..., R],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        *,
        progress: bool | str = False,
    ) -> list[R]:
        """:meth:`map`, but that each item is the arguments of a call."""
        show = _progress.shower(progress)
        results: list[R] = show.whole(self._map_async(_calls.STARMAP, func, iterable, chunksize, None, None))
        return results

    def starmap_async(
        self,
        func: Callable[..., R],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        callback: Callable[[list[R]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult[list[R]]:
        """:meth:`starmap` without waiting; callbacks as of :meth:`apply_async`."""
        return self._map_async(_calls.STARMAP, func, iterable, chunksize, callback, error_callback)

    def _map_async(
        self,
        how: int,
        func: Callable[..., Any],
        iterable: Iterable[Any],
        chunksize: int | None,
        callback: Callable[[Any], object] | None,
        error_callback: Callable[[BaseException], object] | None,
    ) -> MapResult[Any]:
        force = self._check_running()
        items = iterable if isinstance(iterable, list) else list(iterable)
        if chunksize is None:
            chunksize, extra = divmod(len(items), force.plan.size * _CHUNKS_PER_WORKER)
            chunksize += bool(extra)
        chunksize = max(1, chunksize)
        result: MapResult[Any] = MapResult(force, len(items), chunksize, callback, error_callback, self)
        if not items:
            result.end_empty()
            return result
        try:
            function = force.plan.code_function(func)
        except Exception as error:  # noqa: BLE001 - what a user's __reduce__ raises is the outcome of this call
            result.fail_all(error)
            return result
        if chunksize == 1:
            stream = MapStream(
                force,
                function,
                _calls.CALL,
                _coder(how),
                items,
                timeout=self._timeout,
                retries=self._retries,
                unsendable=maybe_encoding_error,
            )
        else:
            chunks = [items[at : at + chunksize] for at in range(0, len(items), chunksize)]
            stream = MapStream(
                force,
                function,
                how,
                _calls.code_chunk,
                chunks,
                timeout=self._timeout,
                retries=self._retries,
                unsendable=maybe_encoding_error,
            )
        stream.result = result
        force.add(stream)
        return result

    def imap(
        self,
        func: Callable[[Any], R],
        iterable: Iterable[Any],
        chunksize: int = 1,
        *,
        progress: bool | str = False,
    ) -> PoolIterator[R]:
        """
        Call *func* with each item, and give the results one by one, in order.

        Args:
            func: What is called.
            iterable: Is read in a thread, no further ahead than needed.
            chunksize: How many items stand in one task.
            progress: As for :meth:`map`.
        """
        return self._imap(OrderedResults, func, iterable, chunksize, progress)

    def imap_unordered(
        self,
        func: Callable[[Any], R],
        iterable: Iterable[Any],
        chunksize: int = 1,
        *,
        progress: bool | str = False,
    ) -> PoolIterator[R]:
        """:meth:`imap`, but that results come as they are there."""
        return self._imap(UnorderedResults, func, iterable, chunksize, progress)

    def _imap(
        self,
        kind: type[OrderedResults | UnorderedResults],
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int,
        progress: bool | str,
    ) -> PoolIterator[Any]:
        force = self._check_running()
        if chunksize < 1:
            raise ValueError(f"Chunksize must be 1+, not {chunksize:n}")
        shower, items = _progress.shower(progress), iter(iterable)
        try:
            function = force.plan.code_function(func)
        except Exception as error:  # noqa: BLE001 - what a user's __reduce__ raises is the outcome of these calls
            function, items = (b"", False), _raising(error)
        code: Callable[[Any], list[Any]] = _coder(_calls.MAP)
        how, source = _calls.CALL, items
        if chunksize > 1:
            how, code = _calls.MAP, _calls.code_chunk
            source = iter(lambda: list(itertools.islice(items, chunksize)), [])
        stream = kind(
            force,
            function,
            how,
            code,
            None,
            timeout=self._timeout,
            retries=self._retries,
            unsendable=maybe_encoding_error,
        )
        self._streams.add(stream)
        try:
            force.add(stream)
            stream.feed(source)
            return PoolIterator(stream, chunked=chunksize > 1, bar=shower.counter(iterable), pool=self)
        except BaseException:
            # What nobody feeds would keep the pool from its end: there may be no thread for that, or an interrupt comes in.
            stream.close()
            raise

    # --- the end ----------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Take nothing more; the workers end when all is done."""
        self._owned().close()
        for stream in self._unfinished():
            stream.look_whether_left()

    def terminate(self) -> None:
        """Kill the workers at once; what was not done ends with an error."""
        force = self._owned()
        force.terminate()
        force.join()

    def join(self) -> None:
        """
        Wait until the workers are gone.

        Raises:
            ValueError: Neither :meth:`close` nor :meth:`terminate` was called before.
        """
        force = self._owned()
        if not force.closed:
            raise ValueError("Pool is still running")
        for stream in self._unfinished():
            stream.unbind()
        force.join()

    def _unfinished(self) -> list[CallStream]:
        while True:
            with contextlib.suppress(RuntimeError):  # another thread adds one at this moment
                return list(self._streams)

    def __enter__(self) -> Self:
        self._check_running()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        if self._pid == os.getpid():
            self.terminate()

    def __del__(self) -> None:
        force = getattr(self, "_force", None)
        if force is None or force.closed or self._pid != os.getpid() or "_origin" in vars(self):
            return
        warnings.warn(f"unclosed running multiprocessing pool {self!r}", ResourceWarning, source=self, stacklevel=2)
        force.terminate()

    def __reduce__(self) -> NoReturn:
        raise NotImplementedError("pool objects cannot be passed between processes or pickled")

    def __repr__(self) -> str:
        force = self._force
        state = "no processes" if force is None else "closed" if force.closed else "running"
        return f"<Pool {state}, {0 if force is None else force.plan.size} processes>"

    def _owned(self) -> Workforce:
        check_owner(self._pid)
        assert self._force is not None
        return self._force

    def _check_running(self) -> Workforce:
        force = self._owned()
        if force.closed:
            raise ValueError("Pool not running")
        return force


def _raising(error: BaseException) -> Iterator[Any]:
    """No items, but the reason."""
    yield from ()
    raise error


def _coder(how: int) -> Callable[[Any], list[Any]]:
    """What codes one item of a map, or of a starmap, that stands alone in its task."""
    if how == _calls.STARMAP:
        return lambda item: _calls.code_call(tuple(item))
    return lambda item: _calls.code_call((item,))
