"""
One-shot tasks: a function, run once in a process of its own, with a deadline, under a supervisor. How they run is :mod:`actors._crew`.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, Literal, ParamSpec, TypeAlias, TypeVar, get_args, overload

import attrs

from actors._crew import NAME_CHARACTERS, Crew, Run, Task
from actors._findable import check_findable
from actors._host import Host
from actors._ref import KEEP, ActorRef, _Keep
from actors._reply import Reply
from actors._supervisor_ref import SupervisorRef, is_actor
from actors.errors import (
    ActorNotRunningError,
    ActorsError,
    CodecError,
    EncodeError,
    SpecError,
    TooManyChildrenError,
)
from actors.mailbox import _codec
from actors.supervisor import _events as ev
from actors.supervisor import _view
from actors.supervisor._check import check, check_child
from actors.supervisor._spec import Child, Options, Supervisor

if TYPE_CHECKING:
    from actors._system import ActorSystem

__all__ = ["Tasks", "make_tasks"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

OnError: TypeAlias = Literal["raise", "return", "skip"]

_ON_ERROR: Final = get_args(OnError)


class Tasks:
    """
    Runs functions, each in a process of its own. Made by :meth:`ActorSystem.tasks`.

    ::

        tasks = system.tasks("thumbnails", max_children=4)
        size = tasks.options(timeout=30.0).run(make_thumbnail, path).result()

    A function travels by its name: it stands at the top level of a module that its process can import. Arguments and result are
    values that can travel, as in messages. ``async def`` functions are run to their end.

    Attributes:
        path: The supervisor below which the processes stand.
        timeout: Seconds that a task may take, its start included; None: as long as it takes.
    """

    def __init__(self, crew: Crew, timeout: float | None, options: Options) -> None:
        self._crew = crew
        self._options = options
        self.path = crew.path
        self.timeout = timeout

    @property
    def max_children(self) -> int | None:
        """How many processes there may be at a time; None: no limit."""
        return self._crew.max_children

    def options(
        self,
        *,
        timeout: float | Literal[_Keep.KEEP] | None = KEEP,
        start_timeout: float | Literal[_Keep.KEEP] = KEEP,
        shutdown: float | Literal[_Keep.KEEP] | None = KEEP,
        term_grace: float | Literal[_Keep.KEEP] = KEEP,
        memory_hard: int | Literal[_Keep.KEEP] | None = KEEP,
    ) -> Tasks:
        """
        The same tasks, under the same supervisor and limit, with other defaults for what is run through the result.

        Args:
            timeout: Seconds from :meth:`run` to the result, the start of the process included; None for no limit. When they are over
                the reply ends with :class:`~actors.AskTimeoutError` and the process is killed.
            start_timeout: Seconds that the process may take to be ready.
            shutdown: Seconds that a process may take to leave: after its result (threads and exit handlers of the function), and when
                the system stops. Then SIGTERM; 0 kills at once, None waits for ever.
            term_grace: Seconds from SIGTERM to SIGKILL.
            memory_hard: Resident bytes above which a task is killed; None for no limit.

        Raises:
            SpecError: A value that an option does not take.
        """
        given = {
            "start_timeout": start_timeout,
            "shutdown": shutdown,
            "term_grace": term_grace,
            "memory_hard": memory_hard,
        }
        changes: dict[str, Any] = {name: value for name, value in given.items() if value is not KEEP}
        options = attrs.evolve(self._options, **changes)
        supervisor = Supervisor(self.path.rsplit("/", 1)[-1])
        check_child(Child(Task(print), options), supervisor, self.path, is_actor=is_actor)
        # A ref knows what a deadline may be.
        chosen = ActorRef(system="", uid=1, path=self.path, timeout=self.timeout).options(timeout=timeout).timeout
        return Tasks(self._crew, chosen, options)

    @overload
    def run(self, fn: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs) -> Reply[R]: ...
    @overload
    def run(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Reply[R]: ...
    def run(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Reply[Any]:
        """
        Call ``fn(*args, **kwargs)`` in a process of its own, and get the reply to come. The process ends with the call.

        Returns at once, while the process starts. Only where all places are taken by processes that have answered and are about to be
        gone, it waits for the first of them: some milliseconds, or ``shutdown`` for one that does not leave.

        The reply ends as every ask does: with the result; with :class:`~actors.HandlerError` and the remote traceback where *fn* raised;
        with :class:`~actors.ActorDied` where its process died or could not import it, and ``reason`` says how;
        with :class:`~actors.AskTimeoutError` at the deadline, and by ``reply.cancel()``, which both kill the process.

        Args:
            fn: A function at the top level of a module.
            *args: Its arguments, as values that can travel.
            **kwargs: The same, by name.

        Raises:
            TooManyChildrenError: ``max_children`` tasks are running.
            SpecError: *fn* cannot be found by its name; or the supervisor of the tasks is stopping, or gone.
            EncodeError: An argument cannot travel; says which.
            StartError: The machine has no room for one more process.
            ActorNotRunningError: The system has stopped.
        """
        self._check_function(fn)
        return self._run(fn, args, kwargs)[1]

    def _check_function(self, fn: object) -> None:
        _check_function(fn, self._crew.system._method)

    def _run(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Run, Reply[Any]]:
        run = self._crew.start(fn, self._options)
        reply: Reply[Any] | None
        try:
            reply = run.ref.options(timeout=self.timeout).ask("call", *args, **kwargs)
        except ActorNotRunningError:
            reply = run.failed()
            if reply is None:
                raise
        except BaseException:
            run.forsake()
            raise
        run.follow(reply)
        return run, reply

    @overload
    def map(
        self,
        fn: Callable[[T], Coroutine[Any, Any, R]],
        iterable: Iterable[T],
        /,
        *,
        max_concurrency: int | None = None,
        on_error: Literal["raise", "skip"] = "raise",
    ) -> Generator[R, None, None]: ...
    @overload
    def map(
        self,
        fn: Callable[[T], Coroutine[Any, Any, R]],
        iterable: Iterable[T],
        /,
        *,
        max_concurrency: int | None = None,
        on_error: Literal["return"],
    ) -> Generator[R | ActorsError, None, None]: ...
    @overload
    def map(
        self,
        fn: Callable[[T], R],
        iterable: Iterable[T],
        /,
        *,
        max_concurrency: int | None = None,
        on_error: Literal["raise", "skip"] = "raise",
    ) -> Generator[R, None, None]: ...
    @overload
    def map(
        self,
        fn: Callable[[T], R],
        iterable: Iterable[T],
        /,
        *,
        max_concurrency: int | None = None,
        on_error: Literal["return"],
    ) -> Generator[R | ActorsError, None, None]: ...
    def map(
        self,
        fn: Callable[[Any], Any],
        iterable: Iterable[Any],
        /,
        *,
        max_concurrency: int | None = None,
        on_error: OnError = "raise",
    ) -> Generator[Any, None, None]:
        """
        Call *fn* on each item, each call in a process of its own, and give the results in the order of the items.

        Lazy: nothing starts before the first result is asked for, and no item is taken before there is a place for it, so the iterable
        may be endless. Leaving early (``break``, ``close()``, an error) kills what is still running.

        Args:
            fn: As for :meth:`run`.
            iterable: The items.
            max_concurrency: How many processes of this map there are at a time; at most ``max_children``, which is also what None means
                (the number of processors, where that is None too).
            on_error: What becomes of a call that fails: ``"raise"`` raises the failure in its turn and ends the map, ``"return"`` gives
                it in the place of the result, ``"skip"`` leaves it out.

        Raises:
            SpecError: An argument that cannot be; when it is run, as for :meth:`run`.
        """
        self._check_function(fn)
        limit = self._concurrency(max_concurrency)
        if on_error not in _ON_ERROR:
            raise SpecError(f"on_error={on_error!r}: must be one of {', '.join(map(repr, _ON_ERROR))}")
        return self._results(fn, iter(iterable), limit, on_error)

    def _concurrency(self, wanted: int | None) -> int:
        most = self.max_children
        if wanted is None:
            return max(1, most if most is not None else os.cpu_count() or 1)
        checked: object = wanted
        if isinstance(checked, bool) or not isinstance(checked, int) or checked < 1:
            raise SpecError(f"max_concurrency={wanted!r}: must be a whole number of at least 1, or None")
        if most is not None and wanted > most:
            raise SpecError(f"max_concurrency={wanted}: is above max_children={most} of {self.path}")
        return wanted

    def _results(
        self, fn: Callable[[Any], Any], items: Iterator[Any], limit: int, on_error: OnError
    ) -> Generator[Any, None, None]:
        window: deque[tuple[Run, Reply[Any]] | CodecError] = deque()
        try:
            for item in items:
                while (begun := self._try(fn, item, alone=not window)) is None:
                    # Others have taken the places; one of ours will be free.
                    yield from self._take(window, on_error)
                window.append(begun)
                while len(window) >= limit:
                    yield from self._take(window, on_error)
            while window:
                yield from self._take(window, on_error)
        finally:
            for entry in window:
                if isinstance(entry, tuple):
                    entry[1].cancel()

    def _try(self, fn: Callable[[Any], Any], item: Any, *, alone: bool) -> tuple[Run, Reply[Any]] | CodecError | None:
        """Begin one call of a map; None where there is no place for it and other calls of the map will make one."""
        try:
            return self._run(fn, (item,), {})
        except CodecError as error:
            return error  # the item's own fault: told in its turn
        except TooManyChildrenError:
            if alone:
                raise
            return None

    def _take(self, window: deque[tuple[Run, Reply[Any]] | CodecError], on_error: OnError) -> Iterator[Any]:
        """Give the outcome of the first call of the window, and make its place free."""
        entry = window[0]
        error = entry if isinstance(entry, CodecError) else entry[1].exception()
        outcome = error if isinstance(entry, CodecError) or error is not None else entry[1].result()
        window.popleft()
        if error is not None and on_error == "raise":
            raise error
        if error is None or on_error == "return":
            yield outcome
        if not isinstance(entry, CodecError):
            self._crew.wait_gone(entry[0])

    def __repr__(self) -> str:
        limit = "" if self.max_children is None else f", at most {self.max_children}"
        return f"<Tasks {self.path}{limit}>"


def make_tasks(system: ActorSystem, root: str, crews: dict[str, Crew], name: str, max_children: int | None) -> Tasks:
    """
    Return the tasks of the supervisor *name* below the root, which is added where there is none.

    Raises:
        SpecError: It cannot be: a name or a limit, another child of that name, or a supervisor of another kind.
    """
    spec = Supervisor(name, max_children=max_children)
    check(spec, parent=root)
    if max_children == 0:
        raise SpecError(
            f"{root}/{name}: max_children=0 leaves no place for any task; give at least 1, or None for no limit"
        )
    path = f"{root}/{name}"
    limit = system._life.call(lambda host: _find_or_add(host, root, path, spec))
    crew = crews.setdefault(path, Crew(system, path, limit))
    crew.max_children = limit
    return Tasks(crew, None, Options.of(Task(print)))


def _find_or_add(host: Host, root: str, path: str, spec: Supervisor) -> int | None:
    """In the pump; returns the limit of the supervisor at *path*."""
    found = _view.supervisors(host.runner.state).get(path)
    if found is None:
        SupervisorRef._handle(host, ev.AddSupervisor(root, spec, host._next_uid))
        return spec.max_children
    if found.spec.strategy != "one_for_one":
        raise SpecError(f"{path} is there already, with strategy={found.spec.strategy!r}; tasks need 'one_for_one'")
    if spec.max_children not in (None, found.spec.max_children):
        raise SpecError(
            f"{path} is there already, with max_children={found.spec.max_children}, not {spec.max_children}"
        )
    return found.spec.max_children


def _check_function(fn: object, start_method: str) -> None:
    """
    Return if *fn* can be found by its name in another process, one that *start_method* starts.

    Raises:
        SpecError: It cannot; says what to do.
    """
    what = str(getattr(fn, "__qualname__", None) or repr(fn))[:NAME_CHARACTERS]
    if not callable(fn):
        raise SpecError(f"a task is a function and its arguments; {what} is a {type(fn).__name__}")
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise SpecError(f"{what} is a generator, and a task has one result: return a list, or stream from an actor")
    try:
        _codec.encode(fn, what=what, references=True)
    except EncodeError as error:
        raise SpecError(f"{what} cannot be run as a task: {_advice(fn)}") from error
    check_findable(f"function {what}", fn, start_method)


def _advice(fn: Callable[..., Any]) -> str:
    """What to run instead of what no other process can find."""
    if isinstance(fn, functools.partial):
        function = getattr(fn.func, "__qualname__", "function")
        return f"a partial has no name to be found by; give the function and its arguments apart: tasks.run({function}, ...)"
    why = "a function travels by its name"
    if inspect.ismethod(fn):
        why = "a method would take its object along, and " + why
    return f"{why}: define it with def at the top level of a module, and give it what it needs as arguments"
