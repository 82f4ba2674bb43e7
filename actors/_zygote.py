"""
Our own forkserver: one per host process, shared by its systems.

It is ``multiprocessing.forkserver`` with three differences: it gets ``sys.path``, ``sys.argv`` and the main module from us (CPython
leaves out the main module before the fix of gh-126631, and each start then takes 70-100 ms instead of 5), it imports this package
and the modules of the actors before its first fork, and it reports what it imported, how long that took, and what failed.
Its death is survived: the next start makes a new one.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from actors import _descriptors
from actors._internals import connection, forkserver, process, reduction, resource_tracker, spawn, util

__all__ = ["Zygote", "main", "main_module", "zygote"]

# Imported before the first fork: what every actor needs.
_OURS = ("actors", "actors._child")
_START_SECONDS = 30.0


def main_module() -> tuple[str, str] | None:
    """
    Return how a child finds the host's ``__main__``: ``("name", module)``, ``("path", file)``, or None where it cannot.

    A program given by ``-c``, typed at a prompt or piped in has no main module that another process could import.
    """
    module = sys.modules["__main__"]
    name = getattr(module.__spec__, "name", None)
    if name is not None:
        return "name", name
    path = getattr(module, "__file__", None)
    if path is None or not os.path.exists(os.path.join(process.ORIGINAL_DIR or "", path)):
        return None
    return "path", os.path.normpath(os.path.join(process.ORIGINAL_DIR or "", path))


def import_main(how: tuple[str, str] | None) -> None:
    """Import the host's main module here, as ``multiprocessing`` does: under the name ``__mp_main__``."""
    match how:
        case ("name", name):
            spawn._fixup_main_from_name(name)
        case ("path", path):
            spawn._fixup_main_from_path(path)
        case _:
            pass


class Zygote:
    """
    The helper process that forks actors.

    Attributes:
        pid: Its process id, or None while there is none.
        report: What it imported: ``{"module", "seconds", "error"}`` each, ``error`` None or a line of text.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._address = ""
        self._alive = -1
        self._preload: set[str] = set()
        self.pid: int | None = None
        self.report: tuple[dict[str, Any], ...] = ()

    def preload(self, modules: Sequence[str]) -> None:
        """Have *modules* imported before the first fork; of no effect on one that runs already."""
        self._preload.update(modules)

    def connect(self, descriptors: Sequence[int]) -> tuple[int, int]:
        """
        Ask for a new process that receives *descriptors*.

        Returns:
            A descriptor that gives the child's pid and later its exit code, and one that takes its pickled start.

        Raises:
            OSError: The helper died meanwhile; ask again.
        """
        with self._lock:
            self._ensure_running()
            address, alive = self._address, self._alive
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(address)
            with _descriptors.fork_lock:
                parent_r, child_w = os.pipe()
                child_r, parent_w = os.pipe()
                _descriptors.own(parent_r, parent_w)
            try:
                tracker = resource_tracker.getfd()
                reduction.sendfds(client, [child_r, child_w, alive, tracker, *descriptors])
            except OSError:
                _descriptors.close(parent_r, parent_w)
                raise
            finally:
                os.close(child_r)
                os.close(child_w)
        return parent_r, parent_w

    def kill(self) -> None:
        """End the helper: frees a start that hangs on it. Actors live on."""
        pid = self.pid
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        """End the helper and wait for it: it ends by itself once no actor and no host holds its pipe."""
        with self._lock:
            if self.pid is not None:
                self._forget()

    def _ensure_running(self) -> None:
        resource_tracker.ensure_running()
        if self.pid is not None:
            if not _has_ended(self.pid):
                return
            self._forget()
        self._start()

    def _forget(self) -> None:
        pid, self.pid = self.pid, None
        _descriptors.close(self._alive)
        self._alive = -1
        self.kill_and_reap(pid)

    @staticmethod
    def kill_and_reap(pid: int | None) -> None:
        """Kill the helper *pid*, our child, and take its status, so that no zombie stays."""
        if pid is not None:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)

    def _start(self) -> None:
        modules = [*_OURS, *sorted(self._preload)]
        plan = {"modules": modules, "main": main_module(), "argv": sys.argv, "dir": os.getcwd()}
        with socket.socket(socket.AF_UNIX) as listener, _descriptors.fork_lock:
            self._address = connection.arbitrary_address("AF_UNIX")
            listener.bind(self._address)
            listener.listen(128)
            alive_r, alive_w = os.pipe()
            report_r, report_w = os.pipe()
            try:
                code = (
                    f"import sys; sys.path[:] = {sys.path!r}; from actors._zygote import main; "
                    f"main({listener.fileno()}, {alive_r}, {report_w}, {json.dumps(plan)!r})"
                )
                executable = spawn.get_executable()
                arguments = [executable, *util._args_from_interpreter_flags(), "-c", code]
                passed = [listener.fileno(), alive_r, report_w]
                self.pid = util.spawnv_passfds(os.fsencode(executable), arguments, passed)
                self._alive = alive_w
                _descriptors.own(alive_w)
            except BaseException:
                os.close(alive_w)
                os.close(report_r)
                raise
            finally:
                os.close(alive_r)
                os.close(report_w)
        threading.Thread(target=self._read_report, args=(report_r,), daemon=True, name="actors-preload").start()

    def _read_report(self, report: int) -> None:
        with open(report, "rb") as stream:
            data = stream.read()
        self.report = tuple(json.loads(data)) if data else ()


def _has_ended(pid: int) -> bool:
    try:
        found, _status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        # Reaped by the user's own waitpid(-1): whether the pid is ours any more cannot be known, so take a new one.
        return True
    return found != 0


def main(listener: int, alive: int, report: int, plan_text: str) -> None:
    """Run in the helper: import what actors need, report it, and serve forks until nobody holds *alive*."""
    plan = json.loads(plan_text)
    # Away from the terminal's Ctrl-C and hang-up: those are for the host to decide about.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    sys.argv[:] = plan["argv"]
    results = [_timed(name, lambda name=name: importlib.import_module(name)) for name in plan["modules"][: len(_OURS)]]
    if plan["main"] is not None:
        how = tuple(plan["main"])
        results.append(_timed(f"__main__ ({how[1]})", lambda: _import_main_guarded(how)))
    for name in plan["modules"][len(_OURS) :]:
        if name not in sys.modules:
            results.append(_timed(name, lambda name=name: importlib.import_module(name)))
    with open(report, "wb") as stream:
        stream.write(json.dumps(results).encode())
    forkserver.main(listener, alive, None)


def _import_main_guarded(how: tuple[str, str]) -> None:
    current = process.current_process()
    current._inheriting = True
    try:
        import_main(how)
    finally:
        del current._inheriting


def _timed(name: str, action: Any) -> dict[str, Any]:
    began = time.perf_counter()
    error = None
    try:
        action()
    except BaseException as problem:  # noqa: BLE001 - user modules may raise anything, SystemExit too; the child says it again
        error = f"{type(problem).__name__}: {problem}"
    return {"module": name, "seconds": time.perf_counter() - began, "error": error}


zygote = Zygote()
