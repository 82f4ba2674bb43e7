"""
Our own forkserver, from inside: import what actors need, report it, then fork one actor after the other.

Like the loop of ``multiprocessing.forkserver``, but a fork that the machine refuses is an answer (minus ``errno`` where the pid would
stand) and not its death, and it is killed by the kernel when the host ends.

A module whose import leaves a thread running is not preloaded: a fork would copy the locks that thread holds, and not the thread. As an
import cannot be taken back, the helper executes itself anew and leaves the module out; each actor imports it by itself.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import functools
import gc
import importlib
import json
import os
import select
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn

from actors import _lifeline, _sweep
from actors._internals import forkserver, process, resource_tracker, spawn, util

__all__ = ["COMMAND", "ENDING", "REPLY", "import_main", "kill_group_of_dead", "leave", "main"]

# A pid, or minus an errno.
REPLY = struct.Struct("<q")
# Later, of the same process: its raw wait status, its largest resident memory in KiB, and its user and system time in seconds.
ENDING = struct.Struct("<qqd")

# Imported before the first fork: what every actor needs.
_OURS = ("actors", "actors._child")
_MAX_DESCRIPTORS = 250
_PAGES_PER_MIB: Final = (1 << 20) / os.sysconf("SC_PAGE_SIZE")

COMMAND: Final = (
    "import json, os, sys; stream = open({plan}); plan = json.load(stream); stream.close(); sys.path[:] = plan['path']; "
    "from actors._zygote_main import main; main(plan)"
)
"""What the helper's interpreter is given to run; ``plan`` is a descriptor of a file with a JSON object."""


def import_main(how: tuple[str, str] | None) -> None:
    """Import the host's main module here, as ``multiprocessing`` does: under the name ``__mp_main__``."""
    match how:
        case ("name", name):
            spawn._fixup_main_from_name(name)
        case ("path", path):
            spawn._fixup_main_from_path(path)
        case _:
            pass


def main(plan: dict[str, Any]) -> None:
    """Run in the helper, until the host has ended."""
    alive = _lifeline.hold(plan["alive"])
    # Away from the terminal's Ctrl-C and hang-up: those are for the host to decide about.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, set())
    sys.argv[:] = plan["argv"]
    results = _preload(plan)
    refused = [result for result in results if result["threads"]]
    if len(refused) > len(plan["refused"]):
        _start_anew({**plan, "alive": alive}, refused)
    with contextlib.suppress(BrokenPipeError), open(plan["report"], "wb") as stream:
        stream.write(json.dumps(results).encode())
    with contextlib.suppress(OSError):
        # Else each actor would write once more, at its end, what the modules have printed.
        util._flush_std_streams()
    # What is here now is shared by all actors: no collection of theirs shall touch, and so copy, its pages.
    gc.collect()
    gc.freeze()
    _Server(plan["door"], alive).run()
    # The host is gone, and with it whoever swept behind its actors.
    with contextlib.suppress(OSError):
        _sweep.sweep(lambda worn: any(mark.startswith(plan["token"]) for mark in worn), tuple)


def _preload(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """Import what actors need, but what was refused before; return how that went, the refused included."""
    results: list[dict[str, Any]] = [*plan["refused"]]
    refused = {result["module"] for result in results}
    results += [_timed(name, functools.partial(importlib.import_module, name)) for name in _OURS]
    if plan["main"] is not None:
        how = tuple(plan["main"])
        name = f"__main__ ({how[1]})"
        if name not in refused:
            results.append(_timed(name, lambda: _import_main_guarded(how)))
    for name in plan["modules"]:
        if name not in sys.modules and name not in refused:
            results.append(_timed(name, functools.partial(importlib.import_module, name)))
    return results


def _start_anew(plan: dict[str, Any], refused: Sequence[dict[str, Any]]) -> None:
    """Be a fresh interpreter, which has not imported what left threads running."""
    descriptor = os.memfd_create("actors-plan", 0)  # to be inherited
    os.pwrite(descriptor, json.dumps({**plan, "refused": refused}).encode(), 0)
    for name in ("door", "alive", "report"):
        os.set_inheritable(plan[name], True)
    flags = util._args_from_interpreter_flags()
    os.execv(sys.executable, [sys.executable, *flags, "-c", COMMAND.format(plan=descriptor)])  # noqa: S606 - the same interpreter


def _import_main_guarded(how: tuple[str, str]) -> None:
    current = process.current_process()
    current._inheriting = True
    try:
        import_main(how)
    finally:
        del current._inheriting


def _timed(name: str, action: Callable[[], object]) -> dict[str, Any]:
    began, size = time.perf_counter(), _resident()
    before = set(threading.enumerate())
    error = None
    try:
        action()
    except BaseException as problem:  # noqa: BLE001 - user modules may raise anything, SystemExit too; the child says it again
        error = f"{type(problem).__name__}: {problem}"
    threads = sorted(thread.name for thread in set(threading.enumerate()) - before)
    seconds, grown = time.perf_counter() - began, _resident() - size
    return {"module": name, "seconds": seconds, "megabytes": grown, "error": error, "threads": threads}


def _resident() -> float:
    """Return how much memory this process has, in MiB."""
    with open("/proc/self/statm") as stream:
        return int(stream.read().split()[1]) / _PAGES_PER_MIB


def kill_group_of_dead(pid: int) -> None:
    """
    If the child *pid* has ended, kill what is left of its process group. Nobody else can have that number before it is reaped.

    Raises:
        ChildProcessError: There is no such child, or it was reaped.
    """
    if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


def leave(code: int) -> NoReturn:
    """End this process, an actor's: run its exit functions, but take no interpreter down."""
    with contextlib.suppress(BaseException):
        atexit._run_exitfuncs()
    with contextlib.suppress(BaseException):  # what cannot be written any more is lost
        util._flush_std_streams()
    os._exit(code)


class _Server:
    """
    The loop: take requests, fork, and pass exit codes on.

    Args:
        door: Our end of the pair of sockets that requests come through.
        alive: Read end of a pipe that ends with the host.
    """

    def __init__(self, door: int, alive: int) -> None:
        self._door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=door)
        self._alive = alive
        self._ends: dict[int, int] = {}
        # The end of the host is seen by the loop, which then sweeps behind the actors; the signal only continues it where somebody has
        # stopped it. But no loop may hang while others of its process may hold what it needs: then it dies with the host at once.
        self._farewell = signal.SIGCONT if threading.active_count() == 1 else signal.SIGKILL
        self._woken, self._waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def run(self) -> None:
        """Serve until the host has ended."""
        _lifeline.announce(self._alive, self._farewell)
        util._close_stdin()
        # The handler does nothing: its signal writes to the pipe that is waited for.
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        poller = select.poll()
        for descriptor in (self._door.fileno(), self._alive, self._woken):
            poller.register(descriptor, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _events in poller.poll()}
            if self._alive in ready:
                return
            if self._woken in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._woken, 1 << 16)
                self._reap()
            if self._door.fileno() in ready:
                self._take()

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT | os.WNOHANG)
                if ended is None:
                    return
                kill_group_of_dead(ended.si_pid)
                pid, status, used = os.wait4(ended.si_pid, os.WNOHANG)
                end = self._ends.pop(pid, -1)
                if end >= 0:
                    _write(end, ENDING.pack(status, used.ru_maxrss, used.ru_utime + used.ru_stime))
                    os.close(end)

    def _take(self) -> None:
        try:
            _data, descriptors, _flags, _address = socket.recv_fds(
                self._door, 1, _MAX_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
            )
        except OSError:
            return
        if len(descriptors) > 2:
            self._fork(*descriptors)
        else:
            _close(descriptors)

    def _fork(self, start: int, end: int, tracker: int, *passed: int) -> None:
        try:
            pid = self._copy()
        except OSError as error:
            _tell(end, -(error.errno or errno.EAGAIN))
            _close([start, end, tracker, *passed])
            return
        if pid == 0:
            self._become_an_actor(start, end, tracker, list(passed))
        _tell(end, pid)
        self._ends[pid] = end
        _close([start, tracker, *passed])

    def _copy(self) -> int:
        """Call ``os.fork``. Hooks of the user's run in it, and may hang: meanwhile the host's end is ours at once."""
        me = os.getpid()
        _lifeline.announce(self._alive, signal.SIGKILL)
        try:
            return os.fork()
        finally:
            if os.getpid() == me:
                _lifeline.announce(self._alive, self._farewell)

    def _become_an_actor(self, start: int, end: int, tracker: int, passed: list[int]) -> None:
        """In the new process: be what ``multiprocessing.spawn`` makes of a process, and leave."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._door.close()
            _close([self._alive, end, self._woken, self._waker, *self._ends.values()])
            atexit._clear()
            atexit.register(util._exit_function)
            resource_tracker._resource_tracker._fd = tracker
            forkserver._forkserver._inherited_fds = passed
            code = spawn._main(start, os.dup(start))
        except EOFError:
            # The host has given this start up.
            pass
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else 1
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is shown, and never runs on in the copy of this loop
            sys.excepthook(type(error), error, error.__traceback__)
        finally:
            leave(code)


def _tell(end: int, number: int) -> None:
    _write(end, REPLY.pack(number))


def _write(end: int, data: bytes) -> None:
    # The host may be gone, or have given the start up.
    with contextlib.suppress(BrokenPipeError):
        os.write(end, data)


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
