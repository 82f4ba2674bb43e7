"""
The public entry: a running system, as a context manager.

Owns what a user's thread may do to a system from outside: start it, add to it, look at it, stop it. Everything it decides is posted to
the pump and decided there.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import signal
import threading
import time
import types
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from multiprocessing import process
from typing import Any, Literal, Self, TypeVar

from actors import _descriptors, _seams
from actors._actor import Actor
from actors._channel import Channel, make_channel
from actors._crash_outlets import KEPT, CrashOutlets
from actors._crew import Crew
from actors._doubts import warn
from actors._futures import resolve, resolve_error
from actors._host import Host, start_error
from actors._host_node import HostNode
from actors._pool import PoolRef
from actors._preflight import check_arguments, check_platform, snapshots
from actors._ref import ActorRef, Down
from actors._seams import ActorInfo, Cancellable
from actors._shared_array import SharedArray, make_shared_array
from actors._snapshot import read_snapshot
from actors._spawn_pool import spawn_pool
from actors._supervisor_ref import SupervisorRef, is_actor
from actors._tasks import Tasks, make_tasks
from actors._zygote import zygote
from actors.errors import (
    ActorNotRunningError,
    ActorsError,
    InternalError,
    RestartIntensityError,
    SpecError,
    StartError,
)
from actors.supervisor import _events as ev
from actors.supervisor import _exits, _tree, _view
from actors.supervisor._addresses import find_by_name
from actors.supervisor._cells import Cell, read_flight_state
from actors.supervisor._check import check
from actors.supervisor._doubts import tree_doubts
from actors.supervisor._letter_office import Subscription
from actors.supervisor._letters import DeadLetter
from actors.supervisor._pool_spec import ActorPool
from actors.supervisor._report import CrashReport
from actors.supervisor._spec import Supervisor

__all__ = ["ActorSystem"]

A = TypeVar("A", bound=Actor)
T = TypeVar("T")

StartMethod = Literal["forkserver", "spawn", "fork"]

_MAX_MESSAGE_BYTES = 64 << 20
# Beyond the deadline, kills and their reaping take a moment; never more than this, or it is a bug.
_KILL_SECONDS = 10.0
_numbers = itertools.count(1)
_live: weakref.WeakSet[ActorSystem] = weakref.WeakSet()

_MISSING_GUARD = """an ActorSystem was made while this process was still importing the main module of its parent.
The program starts actors when it is imported, so every actor would start actors in turn. Put what starts the program under

    if __name__ == "__main__":
        main()
"""


class ActorSystem:
    """
    Runs a tree of actors in processes of their own.

    The constructor only checks. ``start()``, or ``with``, starts the tree: every static child is ready when it returns. Leaving the
    ``with`` block lets actors handle what is queued and stops them; on an exception it stops them at once.

    Args:
        tree: A :class:`~actors.Supervisor`; None for an empty one called ``"system"``.
        start_method: ``"forkserver"``, ``"spawn"`` or ``"fork"``. The user's default context of ``multiprocessing`` is not touched.
        shutdown_deadline: Seconds that stopping the whole tree may take; then everything that is left is killed.
        signals: Whether :meth:`start` installs handlers that stop the system on SIGTERM and SIGINT (main thread only).
        max_message_bytes: The largest message, encoded; at least 4096.
        subreaper: Whether this process adopts what loses its parent below it, while the system runs. What actors leave behind then
            becomes a child of this process, and is reaped here when it has ended, instead of by the machine's first process; without
            it the same is found and killed. It is an attribute of the whole process: orphans of programs that you start yourself come
            here too, and are yours to reap.
        on_crash: Called with a :class:`~actors.CrashReport` for each abnormal death of an actor, in the callback thread.
        crash_directory: Where each report becomes a JSON file, whose names sort by time; made when it is needed. None for nowhere.
        crash_keep: How many of these files stay, the newest; at least 1.

    Raises:
        SpecError: All that is wrong with the tree or an option; nothing was started.
        ActorsError: The main module has no ``if __name__ == "__main__"`` guard.
    """

    def __init__(
        self,
        tree: Supervisor | None = None,
        *,
        start_method: StartMethod = "forkserver",
        shutdown_deadline: float = 30.0,
        signals: bool = False,
        max_message_bytes: int = _MAX_MESSAGE_BYTES,
        subreaper: bool = False,
        on_crash: Callable[[CrashReport], object] | None = None,
        crash_directory: str | os.PathLike[str] | None = None,
        crash_keep: int = KEPT,
    ) -> None:
        if getattr(process.current_process(), "_inheriting", False):
            raise ActorsError(_MISSING_GUARD)
        outlets = on_crash, crash_directory, crash_keep
        check_arguments(start_method, shutdown_deadline, max_message_bytes, subreaper, *outlets)
        spec = Supervisor("system") if tree is None else tree
        check(spec, is_actor=is_actor)
        self._plan = _tree.plan(spec, 1)
        self._snapshots = snapshots(self._plan)
        warn(tree_doubts(spec, shutdown_deadline))
        self._state = _tree.build(spec)
        self._root = f"/{spec.name}"
        self._method = start_method
        self._shutdown_deadline = shutdown_deadline
        self._signals = signals
        self._max_bytes = max_message_bytes
        self._outlets = CrashOutlets(*outlets)
        self._subreaper = subreaper
        self.name = f"{spec.name}-{os.getpid()}-{next(_numbers)}"
        self._host: Host | None = None
        self._owner = os.getpid()
        self._finished: Future[ev.TreeFinished] = Future()
        self._stopped = threading.Event()
        self._stop_lock = threading.Lock()
        self._failure: ActorsError | None = None
        self._crews: dict[str, Crew] = {}

    # --- life -------------------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """
        Start the tree; return when every static child is ready.

        Raises:
            StartError: A child did not get ready; everything that had started was stopped.
            SpecError: It was started before.
        """
        if self._host is not None:
            raise SpecError(f"system {self.name} was started before: make a new ActorSystem")
        check_platform()
        modules = [snap.module for snap in self._modules()]
        zygote.preload([module for module in modules if module != "__main__"])
        _descriptors.raise_limit()
        try:
            host = Host(
                self.name,
                self._state,
                self._method,
                self._max_bytes,
                self._pump_failed,
                self._outlets,
                subreaper=self._subreaper,
            )
        except OSError as error:
            raise StartError(f"system {self.name} cannot be started: {error}") from error
        host.shutdown_deadline = self._shutdown_deadline
        self._host, self._owner = host, os.getpid()
        ready: Future[None] = Future()
        host.runner.started = lambda: resolve(ready, None)
        host.runner.finished = lambda finished: self._tree_finished(finished, ready)
        _seams.register_node(self.name, HostNode(host))
        _live.add(self)
        try:
            for planned, data in zip(self._plan, self._snapshots, strict=True):
                host.make_cell(planned.uid, planned.path, planned.child.options, data)
            host.pools.adopt()
            _start_threads(host)
            host.pump.post(lambda: host.runner.handle(ev.Start()))
            ready.result()
        except BaseException:
            self._end(0.0, drain=False)
            raise
        if self._signals:
            self._install_signals()
        return self

    def _modules(self) -> list[Any]:
        return [read_snapshot(data) for data in self._snapshots]

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        if self._owner != os.getpid():
            # A fork of the user's own leaves the block too: the system is not its to stop.
            return
        self._stop(drain=kind is None)
        if kind is None:
            self._raise_failure()

    def stop(self, *, drain: bool = False) -> None:
        """
        Stop every actor in reverse order, within the shutdown deadline. Harmless when it has stopped.

        Args:
            drain: Whether actors first handle what is queued.

        Raises:
            RestartIntensityError: The tree had given up before.
            InternalError: The system itself had failed before.
            ActorsError: This process is a fork of the one that the system belongs to.
        """
        _seams.check_process(self.name)
        self._stop(drain=drain)
        self._raise_failure()

    def _stop(self, *, drain: bool) -> None:
        host = self._host
        if host is None:
            return
        if host.pump.is_current() or host.callbacks.is_current():
            raise SpecError("a system cannot be stopped from its own callbacks: use system.request_stop()")
        if drain:
            for route in list(host.node.routes.values()):
                with contextlib.suppress(ActorsError):
                    host.node.flush_route(route)
        self._end(self._shutdown_deadline, drain=drain)

    def request_stop(self, *, drain: bool = False) -> None:
        """Begin to stop, and return at once. From any thread, callback or signal handler."""
        host = self._host
        if host is not None:
            deadline = time.monotonic() + self._shutdown_deadline
            host.pump.post(lambda: self._begin_stop(host, deadline, drain))

    @staticmethod
    def _begin_stop(host: Host, deadline: float, drain: bool) -> None:
        host.runner.draining = drain
        host.runner.handle(ev.Shutdown(deadline))

    def _end(self, seconds: float, *, drain: bool) -> None:
        host = self._host
        assert host is not None
        with self._stop_lock:
            if self._stopped.is_set():
                return
            deadline = time.monotonic() + seconds
            if host.pump.is_running() and host.pump.post(lambda: self._begin_stop(host, deadline, drain)):
                with contextlib.suppress(TimeoutError):
                    self._finished.result(seconds + _KILL_SECONDS)
            host.pump.post(host.pump.end)
            host.pump.join(_KILL_SECONDS)
            _seams.unregister_node(self.name)
            host.close()
            host.callbacks.close(_KILL_SECONDS)
            _live.discard(self)
            self._stopped.set()

    def _tree_finished(self, finished: ev.TreeFinished, ready: Future[None]) -> None:
        """In the pump: nothing runs any more."""
        if finished.outcome == "failed":
            if not ready.done():
                resolve_error(ready, self._start_failure(finished))
            else:
                self._failure = _gave_up(self._root, finished)
        elif not ready.done():
            resolve_error(ready, StartError(f"system {self.name} was stopped before it was ready"))
        resolve(self._finished, finished)

    def _start_failure(self, finished: ev.TreeFinished) -> ActorsError:
        reason = finished.last_reason or _exits.ExitReason("unknown")
        host = self._host
        return start_error((host.last_failed if host else "") or self._root, reason)

    def _pump_failed(self, error: BaseException) -> None:
        """In the pump, at its very end: a bug of ours."""
        failure = InternalError(f"the pump of system {self.name} failed: {type(error).__name__}: {error}")
        failure.__cause__ = error
        self._failure = failure
        host = self._host
        if host is not None:
            host.panic()
        resolve(self._finished, ev.TreeFinished("failed", None))

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def run_forever(self) -> None:
        """
        Block until the tree has ended: by SIGTERM or SIGINT (which drain it), by ``auto_shutdown``, or because it gave up.

        Call it in the main thread; in another one no signal is looked at.

        Raises:
            RestartIntensityError: The tree gave up.
            InternalError: The system itself failed.
        """
        if self._host is None:
            self.start()
        if threading.current_thread() is threading.main_thread() and not self._signals:
            self._install_signals()
        while not self._finished.done():
            with contextlib.suppress(TimeoutError):
                self._finished.result(3600.0)
        self._stop(drain=False)
        self._raise_failure()

    def _install_signals(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise SpecError("signals=True: signal handlers can be installed by the main thread only")
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._signalled)

    def _signalled(self, number: int, _frame: object) -> None:
        # The first one drains; a second one, of any kind, stops at once.
        signal.signal(number, lambda *_: self.request_stop(drain=False))
        self.request_stop(drain=True)

    # --- actors -----------------------------------------------------------------------------------------------------------

    def spawn(self, actor: A, *, name: str | None = None, wait: bool = True, **options: Any) -> ActorRef[A]:
        """
        Start *actor* as a child of the root supervisor.

        Args:
            actor: An actor that is not started; the same one may be spawned again.
            name: Its name among the root's children; by default its class's name in lower case.
            wait: Whether to return only when it is ready. With False what is sent to the ref is queued meanwhile.
            **options: As for :func:`~actors.child`.

        Raises:
            SpecError: The actor, its name or an option cannot be; nothing was started.
            StartError: It did not get ready; it is removed again. Says why, with the traceback from its process.
        """
        return self.supervisor(self._root).spawn(actor, name=name, wait=wait, **options)

    def spawn_pool(self, spec: ActorPool[A]) -> PoolRef[A]:
        """
        Start a pool of actors below the root supervisor; returns when every worker is ready.

        Args:
            spec: A :func:`~actors.pool`.

        Raises:
            SpecError: The pool, its workers or its name cannot be; nothing was started.
            StartError: A worker did not get ready; the pool is removed again. Says why.
        """
        return spawn_pool(self, self._root, spec)

    def find_pool(self, path: str) -> PoolRef[Any]:
        """
        Return the ref of a pool, also of one that stands in the tree.

        Args:
            path: Such as ``"/app/parsers"``; the root's own name may be left out.

        Raises:
            ActorNotRunningError: There is none; says which there are.
        """
        pools = self._running().pools
        for candidate in (path, f"{self._root}/{path.strip('/')}", f"/{path.strip('/')}"):
            ref = pools.ref(candidate)
            if ref is not None:
                return ref
        raise ActorNotRunningError(
            f"there is no pool {path!r}; there are: {', '.join(pools.paths()) or 'none'}", target=path
        )

    def supervisor(self, path: str) -> SupervisorRef:
        """
        Return a supervisor of the tree, to add to or to stop.

        Args:
            path: Such as ``"/app/readers"``; the root's own name may be left out.

        Raises:
            SpecError: There is none.
        """
        host = self._running()
        known = _view.supervisors(host.runner.state)
        for candidate in (path, f"{self._root}/{path.strip('/')}", f"/{path.strip('/')}"):
            if candidate in known:
                return SupervisorRef(self, candidate)
        raise SpecError(f"there is no supervisor {path!r}; there is {', '.join(sorted(known))}")

    def tasks(self, name: str = "tasks", *, max_children: int | None = None) -> Tasks:
        """
        Return what runs functions, each in a process of its own, below a supervisor of the root that is added where there is none.

        Args:
            name: The supervisor's name. The same name again gives the same one.
            max_children: How many tasks there may be at a time; None: no limit, or that of a supervisor that is there already.

        Raises:
            SpecError: The name or the limit cannot be, or something else of that name is there.
        """
        return make_tasks(self, self._root, self._crews, name, max_children)

    def shared_array(self, shape: int | tuple[int, ...], dtype: Any = float) -> SharedArray:
        """
        Make a numpy array in memory that actors can share: it can be sent in any message, at no cost.

        Args:
            shape: As for ``numpy.zeros``.
            dtype: As for ``numpy.zeros``; no dtype that holds Python objects.

        Raises:
            SpecError: numpy is not installed, or the shape or the dtype cannot be.
            StartError: The machine has no memory for it.
            ActorsError: The system does not run.
        """
        self._running()
        return make_shared_array(self.name, shape, dtype)

    def channel(
        self, maxsize: int = 0, name: str = "", *, joinable: bool = False, max_deliveries: int = 3
    ) -> Channel[Any]:
        """
        Make a queue between processes: it can be sent in any message, or given to an actor's constructor.

        Args:
            maxsize: Most items that stand in it; 0 for 8192, or fewer where this user's pipes are small.
            name: For errors and the log.
            joinable: Whether an item is taken until its consumer says ``task_done``, so that ``join`` can wait for all.
            max_deliveries: To how many consumers an item is given at most that each died with it; then it is a dead letter.

        Raises:
            SpecError: An argument is out of range, or the pipes that this user gets are too small.
            StartError: The machine has no room for it.
            ActorsError: The system does not run.
        """
        self._running()
        return make_channel(self.name, maxsize, name, joinable=joinable, max_deliveries=max_deliveries)

    def whereis(self, name: str) -> ActorRef[Any]:
        """
        Return the ref of an actor by its path or its name.

        Args:
            name: A path such as ``"/app/readers/reader-1"``, the same without the root, or a name that only one actor has.

        Raises:
            ActorNotRunningError: There is none, or there are several; says which.
        """
        host = self._running()
        cells = {cell.path: cell for cell in list(host.runner.cells.values())}
        return self._ref(find_by_name(name, cells, (self._root,)))

    def _ref(self, cell: Cell) -> ActorRef[Any]:
        return ActorRef(system=self.name, uid=cell.uid, path=cell.path)

    def actors(self) -> tuple[ActorInfo, ...]:
        """Return what runs at this moment, in no particular order."""
        host = self._running()
        infos = _view.actors(host.runner.state)
        found: list[ActorInfo] = []
        for cell in list(host.runner.cells.values()):
            info = infos.get(cell.uid)
            body = cell.body
            pid = body.pid if body is not None and not body.dead else None
            found.append(
                ActorInfo(
                    path=cell.path,
                    uid=cell.uid,
                    pid=pid,
                    incarnation=info.incarnation if info else 0,
                    state="parked" if info is not None and info.phase == "parked" else _state(cell),
                    restarts=info.restarts if info else 0,
                )
            )
        return tuple(found)

    def watch(self, ref: ActorRef[Any], callback: Callable[[Down], object]) -> Cancellable:
        """
        Have *callback* called once, in the callback thread, when the present incarnation of *ref* ends; also when it
        has ended already.

        As :meth:`actors.Actor.watch`, for the program that runs the system. From any thread.

        Args:
            ref: Whom to watch.
            callback: Takes one argument, a :class:`~actors.Down`.

        Returns:
            What takes the watch back: after ``cancel()`` the callback is not begun.

        Raises:
            SpecError: It is no ref of this system, or nothing that can be called.
            ActorNotRunningError: The system has stopped.
        """
        return self._running().watches.watch(ref, callback)

    def dead_letters(self) -> dict[str, int]:
        """Return how many messages nobody will handle, by reason, since the start; see :class:`~actors.DeadLetter`."""
        return dict(self._running().letters.total)

    def subscribe_dead_letters(self, callback: Callable[[DeadLetter], object]) -> Subscription:
        """
        Have *callback* called, in the callback thread, with each :class:`~actors.DeadLetter` from now on.

        Equal letters that come while the callback is busy come as one, with their count. Ten thousand different ones may
        wait; what is beyond them is counted in ``dropped`` of what is returned, and in :meth:`dead_letters` as always.

        Args:
            callback: Takes one argument. What it raises is shown on stderr, and costs that one letter.

        Returns:
            What ends it, by ``cancel()``.
        """
        if not callable(callback):
            raise SpecError(f"subscribe_dead_letters({callback!r:.80}): must be a function of one argument")
        return self._running().letters.subscribe(callback)

    def preload_report(self) -> tuple[dict[str, Any], ...]:
        """
        Return what the forkserver imported before its first fork, for all actors.

        Returns:
            One entry per module: ``module``; ``seconds``; ``megabytes``, by which it grew; ``error``, None or a line of text: each actor that
            needs it imports it again, and fails with the whole traceback; ``threads``, the names of those that its import left running:
            such a module is refused, since a fork would copy the locks its threads hold, and each actor imports it by itself.
        """
        return zygote.report

    def is_running(self) -> bool:
        """Return whether the tree is there."""
        return self._host is not None and not self._finished.done()

    def __repr__(self) -> str:
        state = "not started" if self._host is None else "running" if self.is_running() else "stopped"
        return f"<ActorSystem {self.name}, {self._method}, {state}>"

    def _running(self) -> Host:
        _seams.check_process(self.name)
        if self._host is None:
            raise SpecError(f"system {self.name} is not started: use 'with system:' or system.start()")
        if self._stopped.is_set():
            raise ActorNotRunningError(f"system {self.name} has stopped")
        return self._host

    def _call(self, action: Callable[[Host], T], timeout: float | None = None) -> T:
        """Run *action* in the pump and return its result."""
        host = self._running()
        if host.pump.is_current() or host.callbacks.is_current():
            raise SpecError("this cannot be called from a callback of the system: use wait=False, or another thread")
        result: Future[T] = Future()

        def run() -> None:
            try:
                resolve(result, action(host))
            except ActorsError as error:
                resolve_error(result, error)

        if not host.pump.post(run):
            raise self._failed_or_stopped()
        return self._outcome(result, timeout)

    def _failed_or_stopped(self) -> ActorsError:
        # The failure itself is raised once more by stop(): whoever waits here is another of those it concerns.
        failure = self._failure
        return failure if failure is not None else ActorNotRunningError(f"system {self.name} has stopped")

    def _outcome(self, result: Future[T], timeout: float | None = None) -> T:
        """Wait for the pump's answer; a system that ends meanwhile ends the wait."""
        give_up = None if timeout is None else time.monotonic() + timeout
        while True:
            try:
                return result.result(1.0)
            except TimeoutError:
                if result.done():
                    raise
                if self._finished.done():
                    raise self._failed_or_stopped() from None
                if give_up is not None and time.monotonic() >= give_up:
                    raise StartError(f"system {self.name} did not answer within {timeout} s") from None


def _state(cell: Cell) -> str:
    try:
        return read_flight_state(cell)
    except (ActorsError, ValueError):
        # It writes nonsense into its own recorder, or was closed this very moment.
        return "unknown"


def _gave_up(root: str, finished: ev.TreeFinished) -> RestartIntensityError:
    reason, who = finished.last_reason, finished.gave_up
    last = "" if reason is None else f"; the last of its children {_exits.describe(reason)}"
    if who is None:
        return RestartIntensityError(f"supervisor {root} gave up{last}", last_reason=reason)
    text = f"supervisor {who.path} gave up: more restarts than it allows ({who.max_restarts} in {who.period:g} s){last}"
    return RestartIntensityError(text, restarts=who.max_restarts, period=who.period, last_reason=reason)


def _start_threads(host: Host) -> None:
    try:
        host.starter.start()
        host.pump.start()
    except RuntimeError as error:
        raise StartError(
            f"system {host.name} cannot be started: {error}; raise the limit of processes and threads (ulimit -u)"
        ) from error


def _forget_all() -> None:
    """In a fork of this process: its systems are not ours to stop."""
    global _live  # noqa: PLW0603 - the set of the parent stays with the parent
    _live = weakref.WeakSet()


os.register_at_fork(after_in_child=_forget_all)


def _stop_all() -> None:
    """At interpreter exit: no actor outlives a program that forgot to stop its system."""
    for system in list(_live):
        with contextlib.suppress(ActorsError):
            system._stop(drain=False)
    zygote.stop()


atexit.register(_stop_all)
