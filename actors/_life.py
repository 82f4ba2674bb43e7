"""
The life of a running system: begun once, ended once, and known to those who wait for something of it.

Owns how the tree's end is waited for, and what it ended with. What a user may do to a system while it lives is of
:mod:`actors._system`; what is decided in it is of the pump.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from actors import _seams
from actors._futures import resolve, resolve_error
from actors._host import Host, start_error
from actors._host_node import HostNode
from actors._zygote import zygote
from actors.errors import ActorNotRunningError, ActorsError, InternalError, RestartIntensityError, SpecError, StartError
from actors.mailbox._lock import RLock
from actors.supervisor import _events as ev
from actors.supervisor import _exits

__all__ = ["Life"]

T = TypeVar("T")

# Beyond the deadline, kills and their reaping take a moment; never more than this, or it is a bug.
_KILL_SECONDS = 10.0
# How much of the deadline may pass before the stop itself begins, where last messages find no room.
_FLUSH_SHARE = 0.5
_live: weakref.WeakSet[Life] = weakref.WeakSet()


class Life:
    """
    One run of one system.

    Args:
        name: The system's, for errors.
        root: The path of its root supervisor.
        shutdown_deadline: Seconds that stopping the whole tree may take.

    Attributes:
        host: What runs; None before the start. It stays when it has ended.
        shutdown_deadline: As given.
    """

    def __init__(self, name: str, root: str, shutdown_deadline: float) -> None:
        self.host: Host | None = None
        self._name = name
        self._root = root
        self.shutdown_deadline = shutdown_deadline
        self._owner = os.getpid()
        self._finished: Future[ev.TreeFinished] = Future()
        self._stopped = threading.Event()
        # Entered again by a signal handler that stops the system in the middle of its stop, in the same thread.
        self._close_lock = RLock()
        self._closing = False
        self._begun = False
        self._failure: ActorsError | None = None

    def is_going_on(self) -> bool:
        """Whether the tree is there."""
        return self.host is not None and not self._finished.done()

    def has_ended(self) -> bool:
        """Whether it was stopped, and nothing of it is left."""
        return self._stopped.is_set()

    def is_ours(self) -> bool:
        """Whether this is the process that began it, and no fork of it."""
        return self._owner == os.getpid()

    def begin(self, host: Host, furnish: Callable[[], object]) -> None:
        """
        Start the tree; return when every static child is ready.

        Args:
            host: New, and not running.
            furnish: Puts into it what the tree consists of.

        Raises:
            StartError: A child did not get ready; everything that had started was stopped.
        """
        host.shutdown_deadline = self.shutdown_deadline
        self.host, self._owner = host, os.getpid()
        ready: Future[None] = Future()
        host.runner.started = lambda: resolve(ready, None)
        host.runner.finished = lambda finished: self._tree_finished(finished, ready)
        _seams.register_node(self._name, HostNode(host))
        _live.add(self)
        try:
            furnish()
            _start_threads(host)
            self._begun = True
            host.pump.post(lambda: host.runner.handle(ev.Start()))
            ready.result()
        except BaseException:
            self._begun = True
            self._end(time.monotonic(), drain=False)
            raise

    # --- the end ----------------------------------------------------------------------------------------------------------

    def stop(self, *, drain: bool) -> None:
        """Stop the tree and wait for that, as long as the deadline allows. Harmless before the start and after the end."""
        host = self.host
        if host is None:
            return
        if host.pump.is_current() or host.callbacks.is_current():
            raise SpecError("a system cannot be stopped from its own callbacks: use system.request_stop()")
        deadline = time.monotonic() + self.shutdown_deadline
        if drain:
            _flush(host, self.shutdown_deadline * _FLUSH_SHARE)
        self._end(deadline, drain=drain)

    def request_stop(self, *, drain: bool) -> None:
        """Begin to stop, and return at once."""
        host = self.host
        if host is not None:
            deadline = time.monotonic() + self.shutdown_deadline
            host.pump.post(lambda: host.runner.shut_down(deadline, drain=drain))

    def give_up_start(self) -> None:
        """Kill what :meth:`begin` has started, and have that raise. From a signal handler, or another thread."""
        host, now = self.host, time.monotonic()
        if host is not None:
            host.pump.post(lambda: host.runner.shut_down(now, drain=False))

    def wait(self) -> None:
        """Wait until the tree has ended by itself or was asked to; signal handlers run meanwhile."""
        while not self._finished.done():
            with contextlib.suppress(TimeoutError):
                self._finished.result(3600.0)

    def raise_failure(self) -> None:
        """Raise what it failed of, once."""
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def note_failure(self, error: BaseException) -> None:
        """What *error* comes of may be that it has failed: say so in its traceback."""
        if self._failure is not None:
            error.add_note(f"The system had ended before: {self._failure}")

    def pump_failed(self, error: BaseException) -> None:
        """In the pump, at its very end: a bug of ours."""
        failure = InternalError(f"the pump of system {self._name} failed: {type(error).__name__}: {error}")
        failure.__cause__ = error
        self._failure = failure
        host = self.host
        if host is not None:
            host.panic()
        resolve(self._finished, ev.TreeFinished("failed", None))

    def _end(self, deadline: float, *, drain: bool) -> None:
        host = self.host
        assert host is not None
        # Said before anybody is waited for: who wants the end at once is heard while others let it take its time.
        asked = host.pump.post(lambda: host.runner.shut_down(deadline, drain=drain))
        if asked and not self._begun:
            return  # asked for in the middle of begin(), by a signal handler or another thread: it will find that, and end what there is
        if asked and host.pump.is_running():
            with contextlib.suppress(TimeoutError):
                self._finished.result(min(threading.TIMEOUT_MAX, deadline - time.monotonic() + _KILL_SECONDS))
        with self._close_lock:
            if self._closing:
                return
            self._closing = True
            try:
                self._close(host)
            except BaseException:
                self._closing = False
                raise

    def _close(self, host: Host) -> None:
        host.pump.post(host.pump.end)
        host.pump.join(_KILL_SECONDS)
        _seams.unregister_node(self._name)
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
            resolve_error(ready, StartError(f"system {self._name} was stopped before it was ready"))
        resolve(self._finished, finished)

    def _start_failure(self, finished: ev.TreeFinished) -> ActorsError:
        reason = finished.last_reason or _exits.ExitReason("unknown")
        host = self.host
        return start_error((host.last_failed if host else "") or self._root, reason)

    # --- what others have done in it --------------------------------------------------------------------------------------

    def running(self) -> Host:
        """
        Return what runs.

        Raises:
            SpecError: It was not started.
            ActorNotRunningError: It has ended.
            ActorsError: This process is a fork of the one that it belongs to.
        """
        _seams.check_process(self._name)
        if self.host is None:
            raise SpecError(f"system {self._name} is not started: use 'with system:' or system.start()")
        if self._stopped.is_set():
            raise ActorNotRunningError(f"system {self._name} has stopped")
        return self.host

    def call(self, action: Callable[[Host], T], timeout: float | None = None) -> T:
        """Run *action* in the pump and return its result."""
        host = self.running()
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
        return self.outcome(result, timeout)

    def outcome(self, result: Future[T], timeout: float | None = None) -> T:
        """Wait for what the pump is to say; a system that ends meanwhile ends the wait."""
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
                    raise StartError(f"system {self._name} did not answer within {timeout} s") from None

    def _failed_or_stopped(self) -> ActorsError:
        # The failure itself is raised once more by stop(): whoever waits here is another of those it concerns.
        failure = self._failure
        return failure if failure is not None else ActorNotRunningError(f"system {self._name} has stopped")


def _gave_up(root: str, finished: ev.TreeFinished) -> RestartIntensityError:
    reason, who = finished.last_reason, finished.gave_up
    last = "" if reason is None else f"; the last of its children {_exits.describe(reason)}"
    if who is None:
        return RestartIntensityError(f"supervisor {root} gave up{last}", last_reason=reason)
    text = f"supervisor {who.path} gave up: more restarts than it allows ({who.max_restarts} in {who.period:g} s){last}"
    return RestartIntensityError(text, restarts=who.max_restarts, period=who.period, last_reason=reason)


def _flush(host: Host, seconds: float) -> None:
    """Write what waits for actors; those whose inboxes are full have *seconds* together."""
    give_up = time.monotonic() + seconds
    for patient in (False, True):
        for route in list(host.node.routes.values()):
            patience = min(route.send_timeout, max(0.0, give_up - time.monotonic())) if patient else 0.0
            with contextlib.suppress(ActorsError):
                host.node.flush_route(route, patience)


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
    for life in list(_live):
        with contextlib.suppress(ActorsError):
            life.stop(drain=False)
    zygote.stop()


atexit.register(_stop_all)
