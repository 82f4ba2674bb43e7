"""
How an incarnation's process comes into being, under each start method, and its first steps.

Owns the three ``Popen`` kinds (chosen per instance: the user's default context is not touched) and :class:`Boot`, what an
incarnation carries through ``start()``: less than 16 KiB, the rest follows over the control lane. The first frame of a child says
its pid and hands over a pidfd of itself, before any user module is imported; an import error is therefore a report, not a mystery.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib
import io
import os
import random
import signal
import sys
import threading
import warnings
from multiprocessing import popen_fork, popen_forkserver, popen_spawn_posix
from multiprocessing.context import set_spawning_popen
from typing import TYPE_CHECKING, Any, NoReturn

import attrs

from actors import _descriptors, _dumps, _lifeline, _marks, _output
from actors._actor import Actor
from actors._findable import not_found
from actors._internals import process, reduction, resource_tracker, spawn, start_program, util
from actors._snapshot import incarnate
from actors._zygote import main_module, zygote
from actors._zygote_main import ENDING, import_main, kill_group_of_dead, leave
from actors.errors import SpecError
from actors.mailbox._control import ControlLane
from actors.mailbox._failure import describe

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["START_METHODS", "Boot", "Ending", "ending", "exit_code", "import_class", "launch"]

_KIB_64 = 1 << 16
_NOT_SENT = frozenset(("control", "lifeline", "stack", "lane", "error", "cancelled"))


def import_class(module: str, qualname: str) -> type[Actor]:
    """
    Return the actor class *qualname* of *module*, importing the module where needed.

    Raises:
        SpecError: There is no such class, or it is no actor.
    """
    found: Any = sys.modules.get(module) or importlib.import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    if isinstance(found, type) and issubclass(found, Actor):
        return found
    raise SpecError(not_found(f"class {qualname}", module))


def preparation(name: str) -> dict[str, Any]:
    """
    Return what :func:`multiprocessing.spawn.prepare` needs in a child.

    Unlike the original it does not import the main module, which :class:`Boot` does with the control lane at hand, and does not
    fix the user's default start method by asking for it.
    """
    search = [process.ORIGINAL_DIR if entry == "" else entry for entry in sys.path]
    data = {
        "name": name,
        "authkey": process.current_process().authkey,
        "sys_path": search,
        "sys_argv": sys.argv,
        "orig_dir": process.ORIGINAL_DIR,
    }
    with contextlib.suppress(FileNotFoundError):
        data["dir"] = os.getcwd()
    return data


@attrs.define
class Boot:
    """
    What an incarnation carries into its process.

    Attributes:
        module: Module of the actor's class.
        qualname: Its qualified name there.
        name: Name of the process.
        control: The child's end of the control lane.
        lifeline: Read end of the life line.
        stack: Its stack file.
        host_pid: The process that runs the system.
        soft_limit: The soft limit of descriptors to give back.
        max_bytes: The largest message, in bytes.
        mark: What the incarnation and all that it starts can be told by: see :mod:`actors._marks`.
        main: How to import the host's main module; None under fork, where it is there.
        forked: Whether the process is a plain fork of the host.
        survives_hangup: Whether the host ignores SIGHUP (``nohup``), as its actors then do.
        cancelled: In the host: whether nobody wants this start any more.
    """

    module: str
    qualname: str
    name: str
    control: int
    lifeline: int
    stack: int
    host_pid: int
    soft_limit: int
    max_bytes: int
    mark: str
    main: tuple[str, str] | None = None
    forked: bool = False
    survives_hangup: bool = False
    cancelled: bool = False
    lane: ControlLane | None = None
    error: dict[str, Any] | None = None

    def reduce(self) -> tuple[Callable[..., Actor], tuple[Any, ...]]:
        """Return what pickle writes for an incarnation while ``multiprocessing`` starts it."""
        values = attrs.asdict(self, filter=lambda field, _value: field.name not in _NOT_SENT)
        passed = tuple(map(reduction.DupFd, (self.control, self.lifeline, self.stack)))
        return _rebuild, (values, passed, _identity())

    def enter(self) -> ControlLane:
        """
        In the child, first of all: default signals, none of the parent's descriptors, the life line, the first frame.

        Returns:
            The control lane, on which the child has said its pid.
        """
        if self.forked:
            # The life line's write end above all: a copy of it would keep every sibling alive after the host.
            _descriptors.close_inherited({self.control, self.lifeline, self.stack})
            random.seed()
        reset_signals(survives_hangup=self.survives_hangup)
        _dumps.begin(self.stack)
        with contextlib.suppress(OSError):
            # A process group of its own: what the actor starts can be killed together with it.
            os.setpgid(0, 0)
        _marks.wear(self.mark)
        self.lifeline = _lifeline.hold(self.lifeline)
        _read_nothing({self.control, self.lifeline, self.stack})
        _descriptors.restore_limit(self.soft_limit)
        _set_title(self.name)
        self.lane = ControlLane(self.control, limit=self.max_bytes + _KIB_64)
        pidfd = os.pidfd_open(os.getpid())
        self.lane.send("hello", os.getpid(), descriptors=[pidfd])
        os.close(pidfd)
        return self.lane

    def run(self, actor: Actor) -> None:
        """Serve as *actor* until it ends; the body of its process."""
        from actors import _child  # noqa: PLC0415 - the child's loop is of no use in the host

        lane = self.lane or self.enter()
        if self.error is not None:
            lane.send("start_failed", self.error)
            raise SystemExit(1)
        _child.serve(actor, self, lane)


def _identity() -> tuple[str, int]:
    return process.current_process().name, os.getpid()


def _rebuild(values: dict[str, Any], passed: tuple[Any, ...], parent: tuple[str, int]) -> Actor:
    """In a spawned child, while its start is unpickled: say hello, then import the main module and the actor's class."""
    control, lifeline, stack = (descriptor.detach() for descriptor in passed)
    boot = Boot(control=control, lifeline=lifeline, stack=stack, **values)
    boot.enter()
    cls: type[Actor] = Actor
    try:
        import_main(boot.main)
        cls = import_class(boot.module, boot.qualname)
    except BaseException as error:  # noqa: BLE001 - a user's module may raise anything, SystemExit too: it goes to the starter
        boot.error = describe(error)
    actor = incarnate(cls, name=boot.name, parent_name=parent[0], parent_pid=parent[1])
    actor._boot = boot
    vars(actor)["_bootstrap"] = functools.partial(_live_and_leave, actor)
    return actor


def _live_and_leave(actor: Actor, sentinel: int | None = None) -> NoReturn:
    """Be the process, and end as one that was forked does: an interpreter that is taken down may abort, for threads that run on."""
    code = 1
    try:
        bootstrap: Any = process.BaseProcess._bootstrap
        code = bootstrap(actor, sentinel)
    finally:
        leave(code)


def reset_signals(*, survives_hangup: bool = False) -> None:
    """
    Give every signal its default back, forget the parent's wake-up descriptor, and leave Ctrl-C to the host.

    Args:
        survives_hangup: Whether SIGHUP is ignored too.
    """
    signal.set_wakeup_fd(-1)
    # As Python itself starts: these two are errors of a call, not the end of the process.
    ignored = {signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ}
    if survives_hangup:
        ignored.add(signal.SIGHUP)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, set())


def _read_nothing(taken: set[int]) -> None:
    """Make standard input empty, also where the host has replaced ``sys.stdin`` and ``multiprocessing`` closed only that."""
    if 0 not in taken:
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        if nothing:
            os.close(nothing)


def _set_title(name: str) -> None:
    # What ps and top show; the kernel keeps 15 bytes.
    with contextlib.suppress(OSError), open("/proc/self/comm", "wb") as comm:
        comm.write(name.encode(errors="replace")[-15:])


# --- the three ways to start a process ------------------------------------------------------------------------------------


def _pickled(popen: Any, actor: Actor) -> bytes:
    stream = io.BytesIO()
    set_spawning_popen(popen)
    try:
        reduction.dump(preparation(actor.name), stream)
        reduction.dump(actor, stream)
    finally:
        set_spawning_popen(None)
    return stream.getvalue()


class _Unflushed:
    """
    The beginning of a start, without the flush of standard output that ``multiprocessing`` makes there.

    A process that is no copy of this one has nothing of its buffers. And where that output cannot be written any more (a full disk, a
    pipe that nobody reads) every start would fail, or hang, for a line that the program has printed.
    """

    def __init__(self, process_obj: Actor) -> None:
        self._fds: list[int] = []
        self.returncode: int | None = None
        self.finalizer: Any = None
        self._launch(process_obj)

    def _launch(self, process_obj: Actor) -> None:
        raise NotImplementedError


class _ForkPopen(_Unflushed, popen_fork.Popen):
    """
    A plain fork, with the book of descriptors held still.

    As ``multiprocessing`` does it, but that nothing stays open of a start for which the machine has no descriptor or no process left.
    """

    def __init__(self, process_obj: Actor) -> None:
        _output.flush_first()  # else the copy would write it once more
        super().__init__(process_obj)

    def _launch(self, process_obj: Actor) -> None:
        # The child runs nothing of the threads it did not inherit; what it may not touch is closed first of all.
        warnings.filterwarnings("ignore", r".*multi-threaded, use of fork", DeprecationWarning)
        # The host's own, as under the other methods: one that an actor starts is killed with it, and leaves its shared memory behind.
        resource_tracker.ensure_running()
        with _descriptors.forking_an_actor():
            parent_r, child_w, child_r, parent_w = _descriptors.two_pipes()
            try:
                self.pid = os.fork()
            except BaseException:
                _descriptors.close(parent_r, child_w, child_r, parent_w)
                raise
            if self.pid == 0:
                self._be_the_child(process_obj, child_r, (parent_r, parent_w))
            os.close(child_w)
            os.close(child_r)
            _descriptors.own(parent_r, parent_w)
        self.finalizer = util.Finalize(self, _descriptors.close, (parent_r, parent_w))
        self.sentinel = parent_r

    def _be_the_child(self, process_obj: Any, sentinel: int, parents: tuple[int, int]) -> NoReturn:
        code = 1
        exits: Any = atexit
        # From 3.13 on what the child itself registers runs at its end; before that nothing does.
        runs_exits = sys.version_info >= (3, 13)
        try:
            if runs_exits:
                exits._clear()
                exits.register(util._exit_function)
            for descriptor in parents:
                os.close(descriptor)
            code = process_obj._bootstrap(parent_sentinel=sentinel)
        finally:
            if runs_exits:
                exits._run_exitfuncs()
            os._exit(code)


class _SpawnPopen(_Unflushed, popen_spawn_posix.Popen):
    """A fresh interpreter."""

    def _launch(self, process_obj: Actor) -> None:
        tracker = resource_tracker.getfd()
        self._fds.append(tracker)
        start = _pickled(self, process_obj)
        with _descriptors.fork_lock:
            parent_r, child_w, child_r, parent_w = _descriptors.two_pipes()
            _descriptors.own(parent_r, parent_w)
        self.finalizer = util.Finalize(self, _descriptors.close, (parent_r,))
        self.sentinel = parent_r
        try:
            command = spawn.get_command_line(tracker_fd=tracker, pipe_handle=child_r)
            self._fds.extend([child_r, child_w])
            self.pid = start_program(command, self._fds)
        except BaseException:
            _descriptors.close(parent_w)
            raise
        finally:
            os.close(child_r)
            os.close(child_w)
        _write_start(parent_w, start)


class _ForkServerPopen(_Unflushed, popen_forkserver.Popen):
    """A fork of the zygote."""

    def _launch(self, process_obj: Actor) -> None:
        start = _pickled(self, process_obj)
        boot: Any = process_obj._boot
        self.sentinel, parent_w, self.pid = zygote.fork(self._fds, lambda: not boot.cancelled)
        self.finalizer = util.Finalize(self, _descriptors.close, (self.sentinel,))
        _write_start(parent_w, start)


def _write_start(descriptor: int, start: bytes) -> None:
    # A child that dies meanwhile breaks this pipe; its end is reported by its process.
    try:
        with contextlib.suppress(BrokenPipeError), open(descriptor, "wb", closefd=False) as stream:
            stream.write(start)
    finally:
        _descriptors.close(descriptor)


START_METHODS: dict[str, type[popen_fork.Popen]] = {
    "forkserver": _ForkServerPopen,
    "spawn": _SpawnPopen,
    "fork": _ForkPopen,
}

# Process.start() and the pickling hook are not made for several threads; one host may run several systems.
_start_lock = threading.Lock()


def _after_fork_in_child() -> None:
    global _start_lock  # noqa: PLW0603 - it may be held by a thread that is not here any more
    _start_lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork_in_child)


def launch(cls: type[Actor], boot: Boot, method: str) -> Actor:
    """
    Start one incarnation of *cls*; returns its started process object. Blocks as long as ``Process.start()`` does.

    Raises:
        OSError: The machine refused (processes, memory, descriptors).
        EOFError: The forkserver was ended meanwhile.
    """
    boot.forked = method == "fork"
    boot.survives_hangup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    boot.main = None if boot.forked else main_module()
    actor = incarnate(cls, name=boot.name, parent_name=process.current_process().name, parent_pid=os.getpid())
    actor._boot = boot
    vars(actor)["_Popen"] = START_METHODS[method]
    with _start_lock:
        process.BaseProcess.start(actor)
    # Out of multiprocessing's exit joins: our own exit handler stops the system within its deadline.
    process._children.discard(actor)
    return actor


@attrs.frozen
class Ending:
    """
    What the kernel says of a process that has ended.

    Attributes:
        status: The raw wait status, as ``waitpid`` gives it.
        peak_rss: The most memory it had in RAM at a time, in bytes. Under ``spawn`` and ``fork`` the copy of the host that it was before
            counts too.
        cpu_seconds: User and system time, its own and that of the children it waited for.
    """

    status: int
    peak_rss: int
    cpu_seconds: float


def ending(actor: Actor) -> Ending | None:
    """Return what :func:`exit_code` has found out besides; None before, and where the status is lost."""
    found: Ending | None = getattr(vars(actor)["_popen"], "ending", None)
    return found


def exit_code(actor: Actor) -> tuple[int | None, bool]:
    """
    Return the exit code of an ended incarnation and whether its status is known. ``(None, True)``: not to be had yet.

    A negative number is the signal that ended it. The status is lost with a forkserver that died first, and where the host
    reaps children behind our back.
    """
    popen: Any = vars(actor)["_popen"]
    if popen.returncode is not None:
        return popen.returncode, True
    if isinstance(popen, _ForkServerPopen):
        return _status_from_zygote(popen)
    try:
        kill_group_of_dead(popen.pid)
        pid, status, used = os.wait4(popen.pid, os.WNOHANG)
    except ChildProcessError:
        return None, False
    if pid == 0:
        return None, True
    return _note_ending(popen, status, used.ru_maxrss, used.ru_utime + used.ru_stime)


def _status_from_zygote(popen: Any) -> tuple[int | None, bool]:
    os.set_blocking(popen.sentinel, False)
    try:
        data = os.read(popen.sentinel, ENDING.size)
    except BlockingIOError:
        return None, True
    if len(data) < ENDING.size:
        return None, False
    return _note_ending(popen, *ENDING.unpack(data))


def _note_ending(popen: Any, status: int, peak_kib: int, cpu_seconds: float) -> tuple[int | None, bool]:
    popen.ending = Ending(status, peak_kib * 1024, cpu_seconds)
    popen.returncode = os.waitstatus_to_exitcode(status)
    return popen.returncode, True
