"""
One-shot tasks: a function, run once in a process of its own, with a deadline, under a supervisor.

A task is an actor like any other: temporary, below a supervisor of its kind, asked once, and ended with that ask. What is added here is
the end of its process, whatever ends the ask: answered, it leaves by itself and by its stop ladder at the latest; given up (its deadline,
a cancel), it is killed. A place among ``max_children`` is free again when the process is gone, not when the answer is there, so whoever
starts the next one may have to wait for that moment.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import inspect
import itertools
import os
import weakref
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, Literal, ParamSpec, TypeAlias, TypeVar, cast, get_args, overload

import attrs

from actors._actor import Actor
from actors._asks import died
from actors._futures import resolve
from actors._handlers import handler
from actors._host import Host, start_error
from actors._ref import KEEP, ActorRef, _Keep
from actors._reply import Reply
from actors._snapshot import snapshot
from actors._supervisor_ref import SupervisorRef, is_actor
from actors.errors import (
    ActorNotRunningError,
    ActorsError,
    AskTimeoutError,
    CodecError,
    EncodeError,
    SpecError,
    TooManyChildrenError,
)
from actors.mailbox import _codec
from actors.supervisor import _events as ev
from actors.supervisor import _exits, _view
from actors.supervisor._cells import Cell
from actors.supervisor._check import check, check_child
from actors.supervisor._spec import Child, Options, Supervisor

if TYPE_CHECKING:
    from actors._system import ActorSystem

__all__ = ["Task", "Tasks", "make_tasks"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

OnError: TypeAlias = Literal["raise", "return", "skip"]

_ON_ERROR: Final = get_args(OnError)
# A process that nobody asks anything (its starter was interrupted between start and ask) does not stay.
_FORSAKEN_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 1.0
_NAME_CHARACTERS: Final = 100


class Task(Actor):
    """The actor behind one task. Internal."""

    restart = "temporary"

    def __init__(self, function: Callable[..., Any], patience: float = _FORSAKEN_SECONDS) -> None:
        super().__init__()
        self.function = function
        self.patience = patience

    def on_start(self) -> None:
        self.call_later(self.patience, Task.leave)

    @handler
    def call(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function, and end."""
        try:
            result = self.function(*args, **kwargs)
            return asyncio.run(result) if inspect.iscoroutine(result) else result
        finally:
            self.stop()

    @handler
    def leave(self) -> None:
        """End without having been asked."""
        self.stop()


class _Run:
    """
    One task, from its start until its process is gone.

    Attributes:
        ref: Its actor.
        gone: Done when its process is gone; why it ended.
    """

    def __init__(self, host: Host, ref: ActorRef[Any]) -> None:
        self._host = host
        # Weak, since the reply tells this object: a result of many megabytes is freed when its last user lets it go.
        self._reply: weakref.ref[Reply[Any]] | None = None
        self._given_up = False
        self.ref = ref
        self.gone: concurrent.futures.Future[_exits.ExitReason] = concurrent.futures.Future()

    def has_ended(self) -> bool:
        """Return whether its ask has ended, so that its process is on its way out."""
        if self._given_up or self._reply is None:
            return self._given_up
        reply = self._reply()
        return reply is None or reply.done()

    def follow(self, reply: Reply[Any]) -> None:
        """End the process when *reply* ends."""
        self._reply = weakref.ref(reply)
        reply.listen(self)
        if reply.done():
            self.reply_done()

    def reply_done(self) -> None:
        """The ask has ended, and so does the process. Any thread, at any moment; may be told twice."""
        reply = self._reply() if self._reply is not None else None
        error = None if reply is None or reply.cancelled() else reply.exception()
        if isinstance(error, AskTimeoutError):
            error.args = (f"{self.ref.path} was not done within {error.timeout:g} s, and was killed",)
        if isinstance(error, AskTimeoutError) or (reply is not None and reply.cancelled()):
            self._given_up = True
        self._host.pump.post(self._end)

    def forsake(self) -> None:
        """It could not be asked: nobody wants its process. Any thread."""
        self._given_up = True
        self._host.pump.post(self._end)

    def failed(self) -> Reply[Any] | None:
        """Return the reply of a task whose process had ended before it could be asked; None if that is not what happened."""
        try:
            # What refuses the ask is what tells the end, in the same turn of the pump.
            reason = self.gone.result(_LOOK_SECONDS)
        except TimeoutError:
            return None
        reply: Reply[Any] = Reply(0, self.ref, self._host.node, None, None)
        reply.fail(died(reply, reason, may_have_run=False))
        return reply

    def _end(self) -> None:
        """In the pump."""
        runner = self._host.runner
        cell = runner.cells.get(self.ref.uid)
        if cell is None:
            return
        runner.handle(ev.StopActor(self.ref.uid))
        body = cell.body
        if self._given_up and body is not None and not body.dead:
            # Said before the kill: it is what was asked for, and no stop that went wrong.
            body.killed_for = body.killed_for or "shutdown"
            runner.kill(cell, body, "shutdown")


@attrs.define(eq=False)
class Crew:
    """
    What the :class:`Tasks` of one supervisor have in common. Changed in the pump's thread only.

    Attributes:
        system: The system.
        path: The supervisor.
        max_children: How many processes it allows at a time; None: no limit.
        runs: Tasks whose processes are not gone, by uid.
        numbers: For their names.
    """

    system: ActorSystem
    path: str
    max_children: int | None
    runs: dict[int, _Run] = attrs.Factory(dict)
    numbers: itertools.count[int] = attrs.field(factory=lambda: itertools.count(1))

    def start(self, function: Callable[..., Any], options: Options) -> _Run:
        """Start a process for one task; wait for a place only as long as it takes ended ones to be gone."""
        actor = Task(function)
        child, data, base = Child(actor, options), snapshot(actor), _label(function)
        while True:
            begun = self.system._call(lambda host: self._begin(host, child, data, base))
            if isinstance(begun, _Run):
                return begun
            concurrent.futures.wait(begun, _LOOK_SECONDS, concurrent.futures.FIRST_COMPLETED)

    def _begin(
        self, host: Host, child: Child, data: bytes, base: str
    ) -> _Run | list[concurrent.futures.Future[_exits.ExitReason]]:
        """In the pump: begin one, or say for whose end to wait."""
        try:
            cell = host.add(self.path, child, data, f"{base}-{next(self.numbers)}")
        except TooManyChildrenError:
            ending = [run.gone for run in self.runs.values() if run.has_ended()]
            if not ending:
                raise
            return ending
        if cell.gone is not None:
            host.forget(cell.uid)
            raise start_error(cell.path, cell.gone)
        run = self.runs[cell.uid] = _Run(host, ActorRef(system=host.name, uid=cell.uid, path=cell.path))
        host.runner.on_gone[cell.uid] = functools.partial(self._gone, host)
        return run

    def _gone(self, host: Host, cell: Cell, reason: _exits.ExitReason) -> None:
        resolve(self.runs.pop(cell.uid).gone, reason)
        host.forget(cell.uid)

    def wait_gone(self, run: _Run) -> None:
        """Return when the process of *run* is gone."""
        self.system._outcome(run.gone)


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
        check_child(Child(Task(print), options), supervisor, is_actor=is_actor)
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
        _check_function(fn)
        return self._run(fn, args, kwargs)[1]

    def _run(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[_Run, Reply[Any]]:
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
        _check_function(fn)
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
        window: deque[tuple[_Run, Reply[Any]] | CodecError] = deque()
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

    def _try(self, fn: Callable[[Any], Any], item: Any, *, alone: bool) -> tuple[_Run, Reply[Any]] | CodecError | None:
        """Begin one call of a map; None where there is no place for it and other calls of the map will make one."""
        try:
            return self._run(fn, (item,), {})
        except CodecError as error:
            return error  # the item's own fault: told in its turn
        except TooManyChildrenError:
            if alone:
                raise
            return None

    def _take(self, window: deque[tuple[_Run, Reply[Any]] | CodecError], on_error: OnError) -> Iterator[Any]:
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
    check(spec)
    path = f"{root}/{name}"
    limit = system._call(lambda host: _find_or_add(host, root, path, spec))
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


def _check_function(fn: object) -> None:
    """
    Return if *fn* can be found by its name in another process.

    Raises:
        SpecError: It cannot; says what to do.
    """
    what = str(getattr(fn, "__qualname__", None) or repr(fn))[:_NAME_CHARACTERS]
    if not callable(fn):
        raise SpecError(f"a task is a function and its arguments; {what} is a {type(fn).__name__}")
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise SpecError(f"{what} is a generator, and a task has one result: return a list, or stream from an actor")
    try:
        _codec.encode(fn, what=what, references=True)
    except EncodeError as error:
        raise SpecError(
            f"{what} cannot be run as a task: {error}; a function travels by its name: define it with def at the top level of a "
            "module, and give it what it needs as arguments"
        ) from error


def _label(fn: object) -> str:
    """What the processes of *fn* are called."""
    name = cast("str", getattr(fn, "__name__", "task"))
    return name[:_NAME_CHARACTERS]
