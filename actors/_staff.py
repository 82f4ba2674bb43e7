"""
The workers of a pool as actors: how they come to be below a supervisor, how one is killed or told something, and how they end.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Final, cast

from actors._batch import Batch, Event
from actors._call_worker import INHERITED, CallWorker
from actors._host import Host, start_error
from actors._jobs import Plan, Worker
from actors._ref import ActorRef
from actors._snapshot import snapshot
from actors._supervisor_ref import SupervisorRef
from actors._system import ActorSystem
from actors.errors import ActorsError
from actors.supervisor import _events as ev
from actors.supervisor import _exits
from actors.supervisor._cells import Body, Cell
from actors.supervisor._policy import Backoff
from actors.supervisor._spec import Child, Options, Supervisor

__all__ = ["GONE", "NO_WORKER_SECONDS", "READY", "Staff"]

READY: Final = "ready"
GONE: Final = "gone"
NO_WORKER_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.01
# Arguments and results lie in memory of at most 256 MiB a process.
_LARGEST_BYTES: Final = 240 << 20
# A worker whose processes end so often in a row before they are ready is given up.
_MOST_START_FAILURES: Final = 20
# One that was ready and dies is always replaced: what must not go on for ever is found by the pool.
_RESTARTS: Final = {"max_restarts": 1000, "period": 0.001}

_numbers = itertools.count(1)


class Staff:
    """
    Changed by the pool's thread, and by the pump as workers are added.

    Args:
        plan: What the pool was made with.
        events: Where it is told that a worker is ready for the first time, or gone for good.

    Attributes:
        name: Of the pool, unique in this process.
        workers: All of them.
    """

    def __init__(self, plan: Plan, events: SimpleQueue[Event]) -> None:
        self.name = f"pool-{os.getpid()}-{next(_numbers)}"
        self.workers: list[Worker] = []
        self._plan = plan
        self._events = events
        self._system: ActorSystem | None = plan.system
        self._host: Host | None = None
        self._path = ""

    @property
    def host(self) -> Host:
        """Where the workers run."""
        assert self._host is not None
        return self._host

    @property
    def all_gone(self) -> bool:
        """Whether there will be no worker any more."""
        return len(self.workers) == self._plan.size and all(worker.doing == "gone" for worker in self.workers)

    # --- beginning --------------------------------------------------------------------------------------------------------

    def start(self, launched: Callable[[], object]) -> None:
        """
        Begin to start them all.

        Args:
            launched: Called once, in some thread, when their processes are there, or are known not to be.

        Raises:
            ActorsError: They cannot be started.
        """
        plan = self._plan
        if self._system is None:
            self._system = ActorSystem(
                Supervisor("pool", **cast("Any", _RESTARTS)),
                start_method=cast("Any", plan.method),
                max_message_bytes=_LARGEST_BYTES,
            ).start()
            self._path = "/pool"
        else:
            self._path = self._system._life.call(self._add_supervisor)
        worker = CallWorker(plan.leaves, plan.initializer is not None or plan.most_calls is not None)
        options = Options.of(
            worker,
            backoff=Backoff(initial=0.0),
            start_timeout=NO_WORKER_SECONDS,
            max_start_failures=_MOST_START_FAILURES,
        )
        child = Child(worker, options)
        data = snapshot(worker)
        for number in range(plan.size):
            self._system._life.call(
                functools.partial(self._add_worker, child=child, data=data, name=f"worker-{number + 1}")
            )
        self.host.starter.when_idle(launched)

    def _add_supervisor(self, host: Host) -> str:
        """In the pump."""
        path = f"{cast('ActorSystem', self._system)._root}/{self.name}"
        spec = Supervisor(self.name, **cast("Any", _RESTARTS))
        SupervisorRef._handle(host, ev.AddSupervisor(path.rsplit("/", 1)[0], spec, host._next_uid))
        return path

    def _add_worker(self, host: Host, *, child: Child, data: bytes, name: str) -> None:
        """In the pump."""
        cell = host.add(self._path, child, data, name)
        cell.may_leave = True  # after so many calls, or by what a call does, and then that call says so
        worker = Worker(ActorRef(system=host.name, uid=cell.uid, path=cell.path, on_full="reject"))
        self._host = host
        self.workers.append(worker)

        def ready(_cell: object) -> None:
            host.runner.on_gone[cell.uid] = gone
            self._events.put((READY, worker, None))

        def gone(_cell: object, reason: _exits.ExitReason) -> None:
            self._events.put((GONE, worker, start_error(worker.ref.path, reason)))

        host.runner.when_started(cell, ready, gone)

    # --- while they run ---------------------------------------------------------------------------------------------------

    def _with_process(self, worker: Worker) -> tuple[Cell, Body] | None:
        cell = self.host.runner.cells.get(worker.ref.uid)
        body = None if cell is None else cell.body
        return None if cell is None or body is None or body.dead else (cell, body)

    def take_back(self, batch: Batch) -> None:
        """Ask the worker for what it has not begun."""
        self.host.pump.post(functools.partial(self._say_take_back, batch))

    def _say_take_back(self, batch: Batch) -> None:
        """In the pump."""
        found = self._with_process(batch.worker)
        if found is not None:
            self.host.runner.tell_body(found[1], "take_back", batch.ask_id)

    def kill(self, worker: Worker, killed: Event, why: str) -> None:
        """Kill the process of a worker that hangs, and put *killed* into the queue when that is done; its crash report says *why*."""
        self.host.pump.post(functools.partial(self._kill, worker, killed, why))

    def _kill(self, worker: Worker, killed: Event, why: str) -> None:
        """In the pump."""
        found = self._with_process(worker)
        if found is None:
            self._events.put(killed)
            return
        cell, body = found
        body.offence = why
        runner = self.host.runner
        runner.kill(cell, body, "hang")
        # Behind the kill, which waits for the stack of what took too long.
        runner.stacks.take(cell, body, lambda _stack: self._events.put(killed))

    def processes(self) -> list[int]:
        """The pids of the workers that live."""
        host = self._host
        found = [] if host is None else [host.runner.cells.get(worker.ref.uid) for worker in self.workers]
        bodies = [cell.body for cell in found if cell is not None and cell.body is not None]
        return [body.pid for body in bodies if body.pid is not None and not body.dead]

    # --- the end ----------------------------------------------------------------------------------------------------------

    def stop(self, *, kill: bool) -> None:
        """
        End them all, and wait until they are gone.

        Args:
            kill: Whether what they do is not waited for.
        """
        INHERITED.pop(self.name, None)
        system, host = self._system, self._host
        if system is None:
            return
        if kill and host is not None:
            host.pump.post(functools.partial(self._kill_all, host))
        if self._plan.system is None:
            with contextlib.suppress(ActorsError):
                system.stop()
            return
        with contextlib.suppress(ActorsError):
            system.supervisor(self._path).stop()
        others: list[Event] = []
        try:
            self._wait_until_gone(system, others)
        finally:
            for event in others:
                self._events.put(event)

    def _wait_until_gone(self, system: ActorSystem, others: list[Event]) -> None:
        """Wait for the end of each worker; what else comes meanwhile is kept in *others*."""
        give_up = time.monotonic() + NO_WORKER_SECONDS
        while any(worker.doing != "gone" for worker in self.workers) and time.monotonic() < give_up:
            with contextlib.suppress(Empty):
                event = self._events.get(timeout=_LOOK_SECONDS)
                if event[0] == GONE:
                    event[1].doing = "gone"
                else:
                    others.append(event)
            if not system.is_running():
                return

    def _kill_all(self, host: Host) -> None:
        """In the pump: what they do is not waited for."""
        for worker in self.workers:
            cell = host.runner.cells.get(worker.ref.uid)
            if cell is None:
                continue
            host.runner.handle(ev.StopActor(worker.ref.uid))
            body = cell.body
            if body is not None and not body.dead:
                body.killed_for = body.killed_for or "shutdown"
                host.runner.kill(cell, body, "shutdown")
