"""
How one-shot tasks run: the actor behind each, and what sees to the end of its process. What users touch is :mod:`actors._tasks`.

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
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

import attrs

from actors._actor import Actor
from actors._asks import died
from actors._futures import resolve
from actors._handlers import handler
from actors._host import Host, start_error
from actors._ref import ActorRef
from actors._reply import Reply
from actors._snapshot import snapshot
from actors.errors import AskTimeoutError, TooManyChildrenError
from actors.supervisor import _events as ev
from actors.supervisor import _exits
from actors.supervisor._cells import Body, Cell
from actors.supervisor._spec import Child, Options

if TYPE_CHECKING:
    from actors._system import ActorSystem

__all__ = ["NAME_CHARACTERS", "Crew", "Run", "Task"]

NAME_CHARACTERS: Final = 100
"""Of a function's name: how many stand in the name of a process, and in errors."""

# A process that nobody asks anything (its starter was interrupted between start and ask) does not stay.
_FORSAKEN_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 1.0


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


class Run:
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
        self._late: float | None = None  # seconds it was given, until its stack is asked for
        self._stack_wanted = False
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
            if not self._given_up:
                self._late = error.timeout
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
        """In the pump. What is killed for its deadline says first what it was doing, which puts that off by 50 ms at most."""
        cell = self._host.runner.cells.get(self.ref.uid)
        if cell is None or self._stack_wanted:
            return
        seconds, self._late = self._late, None
        if seconds is None or cell.body is None:
            self._stop(cell)
            return
        self._stack_wanted = True
        self._host.runner.stacks.take(cell, cell.body, functools.partial(self._say_late, cell, cell.body, seconds))

    def _say_late(self, cell: Cell, body: Body, seconds: float, stack: str) -> None:
        """In the pump: its stack has come, or will not."""
        self._stack_wanted = False
        self._host.log(
            "warning",
            "actors.task_timed_out",
            path=cell.path,
            uid=cell.uid,
            pid=body.pid,
            seconds=seconds,
            stack=stack or None,
        )
        if cell.uid in self._host.runner.cells:
            self._stop(cell)

    def _stop(self, cell: Cell) -> None:
        runner = self._host.runner
        runner.handle(ev.StopActor(cell.uid))
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
    runs: dict[int, Run] = attrs.Factory(dict)
    numbers: itertools.count[int] = attrs.field(factory=lambda: itertools.count(1))

    def start(self, function: Callable[..., Any], options: Options) -> Run:
        """Start a process for one task; wait for a place only as long as it takes ended ones to be gone."""
        actor = Task(function)
        child, data, base = Child(actor, options), snapshot(actor), _label(function)
        while True:
            begun = self.system._life.call(lambda host: self._begin(host, child, data, base))
            if isinstance(begun, Run):
                return begun
            concurrent.futures.wait(begun, _LOOK_SECONDS, concurrent.futures.FIRST_COMPLETED)

    def _begin(
        self, host: Host, child: Child, data: bytes, base: str
    ) -> Run | list[concurrent.futures.Future[_exits.ExitReason]]:
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
        run = self.runs[cell.uid] = Run(host, ActorRef(system=host.name, uid=cell.uid, path=cell.path))
        host.runner.on_gone[cell.uid] = functools.partial(self._gone, host)
        return run

    def _gone(self, host: Host, cell: Cell, reason: _exits.ExitReason) -> None:
        resolve(self.runs.pop(cell.uid).gone, reason)
        host.forget(cell.uid)

    def wait_gone(self, run: Run) -> None:
        """Return when the process of *run* is gone."""
        self.system._life.outcome(run.gone)


def _label(fn: object) -> str:
    """What the processes of *fn* are called."""
    name = cast("str", getattr(fn, "__name__", "task"))
    return name[:NAME_CHARACTERS]
