"""
What a pool is made of: calls, where they come from, who is told how they ended, and what the pool was made with.
"""

from __future__ import annotations

import multiprocessing
import operator
import os
from collections.abc import Callable, Iterable
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

import attrs

from actors import _calls
from actors._findable import finds_main
from actors.errors import ActorDied, ActorsError
from actors.supervisor import _exits

if TYPE_CHECKING:
    from actors._call_worker import CallWorker
    from actors._ref import ActorRef
    from actors._system import ActorSystem

__all__ = [
    "Job",
    "Plan",
    "Sink",
    "Source",
    "Worker",
    "WorkerDied",
    "again",
    "check_owner",
    "check_size",
    "chosen_method",
    "pack",
    "worker_died",
]


class WorkerDied(ActorDied, BrokenProcessPool):
    """
    The worker of a pool died while it was making this call, and only this one. The worker was replaced.

    Also a ``concurrent.futures.process.BrokenProcessPool``, so that programs that look for that find it, although nothing is broken.

    Attributes:
        reason: The :class:`~actors.ExitReason` of the death.
    """


class Sink(Protocol):
    """Who is told how calls ended. In the pool's thread; each call once."""

    def begin(self, index: int) -> bool:
        """The call is about to be handed out; False if nobody wants it any more."""
        ...

    def succeed(self, index: int, value: Any) -> None: ...

    def fail(self, index: int, error: BaseException) -> None: ...

    def unsendable(self, index: int, error: BaseException, shown: str) -> None:
        """It was made, and its result cannot travel."""

    def flush(self) -> None:
        """All that is known at this moment was told."""


@attrs.define(eq=False)
class Job:
    """
    One call, or one chunk of them.

    Attributes:
        sink: Who is told.
        index: By which number.
        function: What is called.
        how: ``_calls.CALL``, ``MAP`` or ``STARMAP``.
        coded: The arguments.
        timeout: Seconds that it may run; None: as long as it takes.
        retries: How often it may run again after a worker has died of it.
        begun: Whether it was handed out before.
        alone: Whether it shares no message.
    """

    sink: Sink
    index: int
    function: _calls.Function
    how: int
    coded: list[Any]
    timeout: float | None = None
    retries: int = 0
    begun: bool = False
    alone: bool = False

    def take(self, most: int) -> list[Job]:  # noqa: ARG002 - a source of itself
        """See :class:`Source`."""
        return [self]

    def drop(self) -> list[Job]:
        """See :class:`Source`."""
        return [self]

    def abort(self, error: BaseException) -> None:
        """See :class:`Source`."""

    @property
    def over(self) -> bool:
        """See :class:`Source`."""
        return True

    @property
    def waiting(self) -> int:
        """See :class:`Source`."""
        return 1


class Source(Protocol):
    """Where calls of one kind come from. In the pool's thread."""

    function: _calls.Function
    how: int
    timeout: float | None

    def take(self, most: int) -> list[Job]:
        """The next calls that are there, at most so many."""
        ...

    def drop(self) -> list[Job]:
        """All calls that are there, of which none will be made: their arguments may be missing."""
        ...

    def abort(self, error: BaseException) -> None:
        """Nothing more will be taken."""

    @property
    def over(self) -> bool:
        """Whether there is nothing left, nor will there be."""
        ...

    @property
    def waiting(self) -> int:
        """How many calls are there."""
        ...


@attrs.define(eq=False)
class Worker:
    """
    One worker, over all its processes.

    Attributes:
        ref: Its actor.
        doing: What it was asked last; "initializing" from when its process has begun with that.
        made: How many calls its present process has made.
    """

    ref: ActorRef[CallWorker]
    doing: Literal["starting", "greeting", "initializing", "nothing", "calls", "retiring", "gone"] = "starting"
    made: int = 0


@attrs.frozen
class Plan:
    """
    What a pool was made with.

    Attributes:
        size: How many workers.
        method: How they are started.
        initializer: Called in each before its first call, or None.
        initargs: Its arguments.
        most_calls: How many calls a worker makes before it is replaced; None: no limit.
        leaves: Whether ``SystemExit`` in a call ends its worker.
        system: Where the workers run; None: in a system of the pool's own.
        finds_main: Whether a worker has what the main module defines.
    """

    size: int
    method: str
    initializer: Callable[..., object] | None
    initargs: tuple[Any, ...]
    most_calls: int | None
    leaves: bool
    system: ActorSystem | None
    finds_main: bool = attrs.field(
        init=False, default=attrs.Factory(lambda plan: finds_main(plan.method), takes_self=True)
    )

    def code_function(self, function: Callable[..., Any]) -> _calls.Function:
        """*function* for the workers of this pool. Raises what :func:`actors._calls.code_function` raises."""
        return _calls.code_function(function, finds_main=self.finds_main)


def worker_died(error: ActorDied, function: _calls.Function) -> WorkerDied:
    """The error of a call of *function* of which its worker has died."""
    call = f"this call{_calls.shown(function)}"
    text = f"{error.target} {_exits.describe(error.reason)} while it was making {call}; it was replaced"
    return WorkerDied(text, target=error.target, reason=error.reason, may_have_run=True)


def again(error: BaseException) -> BaseException:
    """The same once more, where it is why a pool is broken: each that raises it has a traceback of its own."""
    if type(error) is not BrokenProcessPool:
        return error
    made = BrokenProcessPool(*error.args)
    made.__cause__ = error.__cause__
    return made


def check_owner(pid: int) -> None:
    """
    Return if this process may use a pool that was made by *pid*.

    Raises:
        ActorsError: It was made by another one: a call that uses the pool that it runs in would wait for itself.
    """
    if pid != os.getpid():
        raise ActorsError(
            f"this pool belongs to process {pid}, and this is {os.getpid()}: a call cannot use the pool that it runs in, nor can a "
            "fork; make another pool here, or have the call return what is to be called next"
        )


def check_size(name: str, size: object) -> None:
    """
    Return if *size* can be how many workers there are.

    Raises:
        TypeError: It is no whole number.
    """
    try:
        operator.index(cast("Any", size))
    except TypeError:
        raise TypeError(f"{name}={size!r}: must be None or a whole number of processes") from None


def chosen_method(name: str, mp_context: Any, system: Any) -> str:
    """
    How processes are started: as *system* starts them, if there is one; else by *mp_context*; else as the program has chosen, or
    Python's own way.

    Args:
        name: Of the parameter that *mp_context* is.
        mp_context: A context of ``multiprocessing``, or None.
        system: An ``ActorSystem``, or None.

    Raises:
        TypeError: One of them is something else.
    """
    if system is not None:
        if not hasattr(system, "_method"):
            raise TypeError(f"system={system!r}: must be None or an ActorSystem")
        return cast("str", system._method)
    if mp_context is not None and not hasattr(mp_context, "get_start_method"):
        raise TypeError(
            f"{name}={mp_context!r}: must be None or a context, such as multiprocessing.get_context('spawn')"
        )
    method = None if mp_context is None else mp_context.get_start_method()
    return method or multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]


def pack(jobs: Iterable[Job]) -> tuple[list[list[Any]], list[list[Any]], list[Any]]:
    """What stands in a message for *jobs*: the functions, the calls of them, and the large buffers in their order."""
    numbers: dict[bytes, int] = {}
    functions: list[list[Any]] = []
    calls: list[list[Any]] = []
    buffers: list[Any] = []
    for job in jobs:
        data = job.function[0]
        number = numbers.get(data)
        if number is None:
            number = numbers[data] = len(functions)
            functions.append([*job.function])
        code, value, *beside = job.coded
        calls.append([number, job.how, code, value, len(beside)])
        if beside:
            buffers += beside
    return functions, calls, buffers
