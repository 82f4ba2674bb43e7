"""
The public entry: a running system, as a context manager.

Owns what a user's thread may do to a system from outside: start it, add to it, look at it, stop it. Everything it decides is posted to
the pump and decided there.
"""

from __future__ import annotations

import itertools
import os
import types
from collections.abc import Callable
from multiprocessing import process
from typing import Any, Literal, Self, TypeVar

from actors import _descriptors, _output, _seams
from actors._actor import Actor
from actors._channel import Channel, make_channel
from actors._crash_outlets import KEPT, CrashOutlets
from actors._crew import Crew
from actors._doubts import warn
from actors._host import Host
from actors._life import Life
from actors._pool import PoolRef
from actors._preflight import check_arguments, check_platform, snapshots
from actors._ref import ActorRef, Down
from actors._seams import ActorInfo, Cancellable
from actors._shared_array import SharedArray, make_shared_array
from actors._snapshot import read_snapshot
from actors._spawn_pool import spawn_pool
from actors._stop_signals import StopSignals, in_main_thread
from actors._supervisor_ref import SupervisorRef, is_actor
from actors._tasks import Tasks, make_tasks
from actors._zygote import zygote
from actors.errors import (
    ActorsError,
    SpecError,
    StartError,
)
from actors.supervisor import _tree, _view
from actors.supervisor._addresses import find_by_name
from actors.supervisor._cells import Cell, read_flight_state
from actors.supervisor._check import check
from actors.supervisor._doubts import tree_doubts
from actors.supervisor._keywords import checks_keywords
from actors.supervisor._letter_office import Subscription
from actors.supervisor._letters import DeadLetter
from actors.supervisor._pool_spec import ActorPool
from actors.supervisor._report import CrashReport
from actors.supervisor._spec import Supervisor, place_of

__all__ = ["ActorSystem"]

A = TypeVar("A", bound=Actor)
T = TypeVar("T")

StartMethod = Literal["forkserver", "spawn", "fork"]

_MAX_MESSAGE_BYTES = 64 << 20
_numbers = itertools.count(1)

_MISSING_GUARD = """an ActorSystem was made while this process was still importing the main module of its parent.
The program starts actors when it is imported, so every actor would start actors in turn. Put what starts the program under

    if __name__ == "__main__":
        main()
"""


class ActorSystem:
    """
    Runs a tree of actors in processes of their own.

    The constructor only checks. ``start()``, or ``with``, starts the tree: every static child is ready when it returns. Leaving the
    ``with`` block lets each actor handle what is queued, within its ``shutdown`` seconds (5 by default), and stops them; what is still
    queued then becomes dead letters. On an exception it stops them at once.

    Args:
        tree: A :class:`~actors.Supervisor`; None for an empty one called ``"system"``.
        start_method: ``"forkserver"``, ``"spawn"`` or ``"fork"``. The user's default context of ``multiprocessing`` is not touched.
        shutdown_deadline: Seconds that stopping the whole tree may take, draining included; then everything that is left is killed.
        signals: Whether :meth:`start` installs handlers that stop the system on SIGTERM and SIGINT (main thread only): the first
            signal drains it, a second one of either kind stops it at once; one that comes while it starts makes that fail. When it has
            stopped, the handlers from before are back.
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

    @checks_keywords("ActorSystem", place_of)
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
        self._snapshots = snapshots(self._plan, start_method)
        warn(tree_doubts(spec, shutdown_deadline))
        self._state = _tree.build(spec)
        self._root = f"/{spec.name}"
        self._method = start_method
        self._takes_signals = signals
        self._max_bytes = max_message_bytes
        self._outlets = CrashOutlets(*outlets)
        self._subreaper = subreaper
        self.name = f"{spec.name}-{os.getpid()}-{next(_numbers)}"
        self._life = Life(self.name, self._root, shutdown_deadline)
        self._signals = StopSignals(self._life)
        self._crews: dict[str, Crew] = {}

    # --- life -------------------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """
        Start the tree; return when every static child is ready.

        Raises:
            StartError: A child did not get ready; everything that had started was stopped.
            SpecError: It was started before, or nothing can be written into ``crash_directory``.
        """
        if self._life.host is not None:
            raise SpecError(f"system {self.name} was started before: make a new ActorSystem")
        check_platform()
        self._outlets.check()
        if self._takes_signals:
            self._signals.install()
        try:
            host = self._make_host()
            self._life.begin(host, lambda: self._furnish(host))
        except BaseException:
            self._signals.give_back()
            raise
        self._signals.is_ready = True
        return self

    def _make_host(self) -> Host:
        _output.flush_first()
        modules = [snap.module for snap in self._modules()]
        zygote.preload([module for module in modules if module != "__main__"])
        _descriptors.raise_limit()
        try:
            return Host(
                self.name,
                self._state,
                self._method,
                self._max_bytes,
                self._life.pump_failed,
                self._outlets,
                subreaper=self._subreaper,
            )
        except OSError as error:
            raise StartError(f"system {self.name} cannot be started: {error}") from error

    def _furnish(self, host: Host) -> None:
        if self._signals.came:
            raise StartError(f"system {self.name} was stopped before it was ready")
        for planned, data in zip(self._plan, self._snapshots, strict=True):
            host.make_cell(planned.uid, planned.path, planned.child.options, data)
        host.pools.adopt()

    def _modules(self) -> list[Any]:
        return [read_snapshot(data) for data in self._snapshots]

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        if not self._life.is_ours():
            # A fork of the user's own leaves the block too: the system is not its to stop.
            return
        self._stop(drain=kind is None)
        if error is None:
            self._life.raise_failure()
        else:
            self._life.note_failure(error)

    def stop(self, *, drain: bool = False) -> None:
        """
        Stop every actor in reverse order, within the shutdown deadline. Harmless when it has stopped; in the middle of another stop, from
        another thread or a signal handler, it makes that one an end at once, unless it is to drain too.

        Args:
            drain: Whether actors first handle what is queued, each within its ``shutdown`` seconds (5 by default). What is still queued then
                becomes dead letters.

        Raises:
            RestartIntensityError: The tree had given up before.
            InternalError: The system itself had failed before.
            ActorsError: This process is a fork of the one that the system belongs to.
        """
        _seams.check_process(self.name)
        self._stop(drain=drain)
        self._life.raise_failure()

    def _stop(self, *, drain: bool) -> None:
        self._life.stop(drain=drain)
        self._signals.give_back()

    def request_stop(self, *, drain: bool = False) -> None:
        """Begin to stop, and return at once. From any thread, callback or signal handler."""
        self._life.request_stop(drain=drain)

    def run_forever(self) -> None:
        """
        Block until the tree has ended: by SIGTERM or SIGINT (which drain it; a second one, or one that comes while it starts, stops it at
        once), by ``auto_shutdown``, or because it gave up.

        Call it in the main thread; in another one no signal is looked at.

        Raises:
            RestartIntensityError: The tree gave up.
            InternalError: The system itself failed.
        """
        if in_main_thread():
            self._signals.install()
        try:
            if self._life.host is None:
                self.start()
        except StartError:
            if self._signals.came:
                return
            raise
        self._life.wait()
        self._stop(drain=False)
        self._life.raise_failure()

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
            path: Such as ``"/app/parsers"``, the same without the root, or a name that only one pool has.

        Raises:
            ActorNotRunningError: There is none, or there are several; says which.
        """
        host = self._life.running()
        paths = [cell.path for cell in list(host.runner.cells.values())]
        return find_by_name(path, host.pools.refs(), (self._root, ""), kind="pool", others=paths)

    def supervisor(self, path: str) -> SupervisorRef:
        """
        Return a supervisor of the tree, to add to or to stop.

        Args:
            path: Such as ``"/app/readers"``; the root's own name may be left out.

        Raises:
            SpecError: There is none.
        """
        host = self._life.running()
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
        self._life.running()
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
        self._life.running()
        return make_channel(self.name, maxsize, name, joinable=joinable, max_deliveries=max_deliveries)

    def whereis(self, name: str) -> ActorRef[Any]:
        """
        Return the ref of an actor by its path or its name.

        Args:
            name: A path such as ``"/app/readers/reader-1"``, the same without the root, or a name that only one actor has.

        Raises:
            ActorNotRunningError: There is none, or there are several; says which.
        """
        host = self._life.running()
        cells = {cell.path: cell for cell in list(host.runner.cells.values())}
        return self._ref(find_by_name(name, cells, (self._root,), others=host.pools.refs()))

    def _ref(self, cell: Cell) -> ActorRef[Any]:
        return ActorRef(system=self.name, uid=cell.uid, path=cell.path)

    def actors(self) -> tuple[ActorInfo, ...]:
        """Return what runs at this moment, in no particular order."""
        host = self._life.running()
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
        return self._life.running().watches.watch(ref, callback)

    def dead_letters(self) -> dict[str, int]:
        """Return how many messages nobody will handle, by reason, since the start; see :class:`~actors.DeadLetter`."""
        return dict(self._life.running().letters.total)

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
        return self._life.running().letters.subscribe(callback)

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
        return self._life.is_going_on()

    def __repr__(self) -> str:
        state = "not started" if self._life.host is None else "running" if self.is_running() else "stopped"
        return f"<ActorSystem {self.name}, {self._method}, {state}>"


def _state(cell: Cell) -> str:
    try:
        return read_flight_state(cell)
    except (ActorsError, ValueError):
        # It writes nonsense into its own recorder, or was closed this very moment.
        return "unknown"
