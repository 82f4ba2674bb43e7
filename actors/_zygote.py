"""
Our own forkserver, seen from the host: one per host process, shared by its systems.

It differs from ``multiprocessing.forkserver`` in what it gets from us (``sys.path``, ``sys.argv`` and the main module: CPython leaves
that out before the fix of gh-126631, and each start then takes 70-100 ms instead of 5), in what it says (what it imported, how long
that took, what failed; why a fork was refused, where the original dies), and in that it ends with the host, whatever it is doing.
Its own death is survived: the next start makes a new one. What runs inside it is :mod:`actors._zygote_main`.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

from actors import _descriptors, _log, _marks
from actors._internals import process, resource_tracker, spawn, start_program, util
from actors._probe import main_thread_state
from actors._zygote_main import COMMAND, REPLY

__all__ = ["Zygote", "main_module", "zygote"]

# How long a start may take before it is looked whether the helper is stopped.
_LOOK_SECONDS = 1.0
_STOPPED = frozenset(("T", "t"))
# Helpers that one start may outlive, and one more.
_TRIES = 5


def main_module() -> tuple[str, str] | None:
    """
    Return how a child finds the host's ``__main__``: ``("name", module)``, ``("path", file)``, or None where it cannot.

    A program given by ``-c``, typed at a prompt or piped in has no main module that another process could import.
    """
    module = sys.modules["__main__"]
    name = getattr(getattr(module, "__spec__", None), "name", None)  # a debugger may have left it without a spec
    if name is not None:
        return "name", name
    path = getattr(module, "__file__", None)
    if path is None or not os.path.exists(os.path.join(process.ORIGINAL_DIR or "", path)):
        return None
    return "path", os.path.normpath(os.path.join(process.ORIGINAL_DIR or "", path))


class Zygote:
    """
    The helper process that forks actors.

    Attributes:
        pid: Its process id, or None while there is none.
        report: What it imported: ``{"module", "seconds", "megabytes", "error", "threads"}`` each, ``megabytes`` what it grew by, ``error``
            None or a line of text, ``threads`` the names of those that the import left running: that module was refused.
    """

    def __init__(self) -> None:
        self._preload: set[str] = set()
        self.reset()

    def reset(self) -> None:
        """Know of no helper: at first, and in a fork of this process, whose helper it is not."""
        self._lock = threading.Lock()
        self._door = -1
        self._alive = -1
        # A pidfd of the helper; closed and used under a lock, so that nobody signals by a number that stands for something else.
        self._hold = -1
        self._hold_lock = threading.Lock()
        self.pid: int | None = None
        self._lost: list[int] = []
        self.report: tuple[dict[str, Any], ...] = ()

    def preload(self, modules: Sequence[str]) -> None:
        """Have *modules* imported before the first fork; of no effect on one that runs already."""
        self._preload.update(modules)

    def fork(self, descriptors: Sequence[int], wanted: Callable[[], bool]) -> tuple[int, int, int]:
        """
        Have a new process made, which receives *descriptors*.

        Args:
            descriptors: For the new process; the caller keeps its own.
            wanted: Asked before it is tried again because the helper died.

        Returns:
            A descriptor that gives its exit code, one that takes its pickled start, and its pid.

        Raises:
            OSError: The machine refused to fork.
            EOFError: The helper was ended meanwhile, again and again or on purpose.
        """
        for _ in range(_TRIES - 1):
            try:
                return self._fork(descriptors)
            except (EOFError, ConnectionError):
                # Nothing is lost: without its start, which is not sent yet, a process that was half made leaves at once. A helper that
                # is being killed can be seen to refuse before it can be seen to have ended.
                with self._lock:
                    self._lose()
                if not wanted():
                    raise
        try:
            return self._fork(descriptors)
        except (EOFError, ConnectionError) as error:
            program = os.fsdecode(spawn.get_executable())
            raise EOFError(f"the forkserver ended {_TRIES} times in a row; see whether {program} can be run") from error

    def _fork(self, descriptors: Sequence[int]) -> tuple[int, int, int]:
        with self._lock:
            self._ensure_running()
            with _descriptors.fork_lock:
                parent_r, child_w, child_r, parent_w = _descriptors.two_pipes()
                _descriptors.own(parent_r, parent_w)
            try:
                tracker = resource_tracker.getfd()
                _send(self._door, [child_r, child_w, tracker, *descriptors])
            except BaseException:
                _descriptors.close(parent_r, parent_w)
                raise
            finally:
                os.close(child_r)
                os.close(child_w)
            helper = self.pid
        try:
            _wait_for(parent_r, helper)
            return parent_r, parent_w, _read_pid(parent_r)
        except BaseException:
            _descriptors.close(parent_r, parent_w)
            raise

    def take_lost(self) -> int | None:
        """Return the pid of a helper that has ended and was replaced, once for each; None if there is none. One thread at a time."""
        return self._lost.pop(0) if self._lost else None

    def is_stopped(self) -> bool:
        """Return whether somebody has stopped the helper: it lives, and does nothing. Any thread."""
        pid = self.pid
        return pid is not None and main_thread_state(pid) in _STOPPED

    def kill(self) -> None:
        """End the helper: frees a start that hangs on it. Actors live on."""
        # Any thread, while another may be about to reap it: its pid may be a stranger's by now.
        with self._hold_lock, contextlib.suppress(OSError):
            if self._hold >= 0:
                signal.pidfd_send_signal(self._hold, signal.SIGKILL)

    def reap(self) -> None:
        """Leave no zombie of a helper that has ended, where no start comes that would find it. Waits for no start under way."""
        if self._lock.acquire(blocking=False):
            try:
                if self.pid is not None and _has_ended(self._hold):
                    self._lose()
            finally:
                self._lock.release()

    def stop(self) -> None:
        """End the helper and wait for its end."""
        with self._lock:
            self._forget()

    def _ensure_running(self) -> None:
        resource_tracker.ensure_running()
        if self.pid is not None and not _has_ended(self._hold):
            return
        self._lose()
        self._start()

    def _lose(self) -> None:
        """It has ended, and nobody wanted that."""
        if self.pid is not None:
            self._lost.append(self.pid)
        self._forget()

    def _forget(self) -> None:
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                signal.pidfd_send_signal(self._hold, signal.SIGKILL)
                os.waitid(os.P_PIDFD, self._hold, os.WEXITED)
        self.pid = None
        with self._hold_lock:
            _descriptors.close(self._hold, self._alive, self._door)
            self._hold = self._alive = self._door = -1

    def _start(self) -> None:
        with contextlib.ExitStack() as undo, contextlib.ExitStack() as passed:
            with _descriptors.fork_lock:
                # A pair, and no address that others connect to: nothing has to be written into any folder, nor to be short.
                door, inside = (end.detach() for end in socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
                _descriptors.own(door, inside)
                undo.callback(_descriptors.close, door)
                passed.callback(_descriptors.close, inside)
                alive_r, alive_w, report_r, report_w = _descriptors.two_pipes()
                _descriptors.own(alive_r, alive_w, report_r, report_w)
            undo.callback(_descriptors.close, alive_w, report_r)
            passed.callback(_descriptors.close, alive_r, report_w)
            pid = self._spawn({"door": inside, "alive": alive_r, "report": report_w})
            with _descriptors.fork_lock:
                hold = os.pidfd_open(pid)
                _descriptors.own(hold)
            undo.pop_all()
        self.pid, self._hold, self._alive, self._door = pid, hold, alive_w, door
        threading.Thread(target=self._read_report, args=(report_r,), daemon=True, name="actors-preload").start()

    def _spawn(self, descriptors: dict[str, int]) -> int:
        # Through a file, not in the command line, which holds 128 KiB and is for all to see.
        plan = os.memfd_create("actors-plan")
        try:
            # As imports do: what is no path is passed over.
            entries: list[object] = [*sys.path]
            path = [os.fsdecode(entry) for entry in entries if isinstance(entry, str | bytes | os.PathLike)]
            facts = {
                "modules": sorted(self._preload),
                "refused": [],
                "main": main_module(),
                "argv": sys.argv,
                "path": path,
                "token": _marks.token(),
                **descriptors,
            }
            os.pwrite(plan, json.dumps(facts, default=str).encode(), 0)
            executable = os.fsdecode(spawn.get_executable())
            command = [executable, *util._args_from_interpreter_flags(), "-c", COMMAND.format(plan=plan)]
            return start_program(command, [plan, *descriptors.values()])
        finally:
            os.close(plan)

    def _read_report(self, report: int) -> None:
        data = b""
        while chunk := os.read(report, 1 << 16):
            data += chunk
        _descriptors.close(report)
        with contextlib.suppress(ValueError):  # killed in the middle of it
            self.report = tuple(json.loads(data))
        for result in self.report:
            if result["threads"]:
                _log.emit("warning", "actors.preload_refused", module=result["module"], threads=result["threads"])


def _send(door: int, descriptors: Sequence[int]) -> None:
    """Send a request: one packet, which is nothing but descriptors."""
    end = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=door)
    try:
        rights = socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors)
        # A helper that has just ended is an error here, and no SIGPIPE, which a program may have given its default back.
        end.sendmsg([b"F"], [rights], socket.MSG_NOSIGNAL)
    finally:
        end.detach()


def _wait_for(descriptor: int, helper: int | None) -> None:
    """Wait until *descriptor* is ready; a helper that somebody has stopped will never make it so."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    while not poller.poll(_LOOK_SECONDS * 1000):
        if helper is not None and main_thread_state(helper) in _STOPPED:
            raise EOFError("the forkserver is stopped")


def _read_pid(descriptor: int) -> int:
    data = b""
    while len(data) < REPLY.size:
        chunk = os.read(descriptor, REPLY.size - len(data))
        if not chunk:
            raise EOFError("the forkserver ended before it had made the process")
        data += chunk
    pid: int = REPLY.unpack(data)[0]
    if pid < 0:
        raise OSError(-pid, f"the forkserver cannot fork: {os.strerror(-pid)}")
    return pid


def _has_ended(pidfd: int) -> bool:
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(0))


zygote = Zygote()
os.register_at_fork(after_in_child=zygote.reset)
