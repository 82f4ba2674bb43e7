"""
What becomes a child of the host because its parent has ended: where the host is a subreaper, it has to reap that.

Only what is ours is reaped: it wears a mark of this process's actors while it lives, or ended in the process group of one of them.
``waitpid(-1)`` is never called; children that the program itself has started are its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import threading
from collections.abc import Callable, Collection, Iterator

from actors import _descriptors, _marks

__all__ = ["Adopted", "parse_stat"]

_PR_SET_CHILD_SUBREAPER = 36
_PR_GET_CHILD_SUBREAPER = 37

_lock = threading.Lock()
_users = 0
_was_one = False


class Adopted:
    """
    Makes the host a subreaper, until closed.

    Args:
        actors: Gives the pids of the actors that live, or None while one is being started whose pid is not known yet. Any thread.

    Raises:
        OSError: The kernel refused.
    """

    def __init__(self, actors: Callable[[], Collection[int] | None]) -> None:
        self._actors = actors
        self._held: dict[int, int] = {}
        self._groups: set[int] = set()
        _enter()

    def note_group(self, pid: int) -> None:
        """The actor with this pid has ended; what was in its process group was killed. Any thread."""
        self._groups.add(pid)

    def reap(self) -> None:
        """Take hold of what is newly adopted, and reap what has ended of it."""
        groups = frozenset(self._groups)
        with contextlib.suppress(OSError):  # no descriptor left to look with: the next time
            self._reap(groups)

    def _reap(self, groups: frozenset[int]) -> None:
        children = list(_children())
        # Asked after the list was read: who stands in it was started before, and is known by now or still being started.
        actors = self._actors()
        if actors is None:
            return
        programs = _marks.interpreters()
        for pid in children:
            if pid not in actors and pid not in self._held:
                self._take(pid, groups.union(actors), programs)
        for pid in [pid for pid, pidfd in self._held.items() if _reaped(pidfd)]:
            _descriptors.close(self._held.pop(pid))
        self._groups -= groups

    def _take(self, pid: int, groups: Collection[int], programs: Collection[str]) -> None:
        try:
            with _descriptors.fork_lock:
                pidfd = os.pidfd_open(pid)
                _descriptors.own(pidfd)
        except OSError:
            return  # reaped by somebody else, or no descriptor is left for it
        ours = False
        try:
            ours = _is_ours(pid, groups, programs)
        finally:
            if ours:
                self._held[pid] = pidfd
            else:
                _descriptors.close(pidfd)

    def close(self) -> None:
        """Reap what has ended, and be what the process was before."""
        self.reap()
        _descriptors.close(*self._held.values())
        self._held.clear()
        _leave()


def _is_ours(pid: int, groups: Collection[int], programs: Collection[str]) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            state, parent, group = parse_stat(stream.read())
    except (OSError, ValueError):
        return False
    if parent != os.getpid():
        return False
    if state == "Z":
        return group in groups
    return any(mark.startswith(_marks.token()) for mark in _marks.worn(pid, programs))


def parse_stat(line: bytes) -> tuple[str, int, int]:
    """
    Return the state, the parent and the process group of a process.

    Args:
        line: What ``/proc/PID/stat`` says. The name in it may hold anything, brackets and spaces too.

    Raises:
        ValueError: It says something else.
    """
    state, parent, group, *_rest = line.rpartition(b")")[2].split()
    return state.decode(), int(parent), int(group)


def _children() -> Iterator[int]:
    # Empty on a kernel that was built without these files: then only what is swept is reaped.
    for task in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError), open(f"/proc/self/task/{task}/children", "rb") as stream:
            yield from map(int, stream.read().split())


def _reaped(pidfd: int) -> bool:
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    if not poller.poll(0):
        return False
    with contextlib.suppress(ChildProcessError):  # by somebody else
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
    return True


def _enter() -> None:
    global _users, _was_one  # noqa: PLW0603 - it is a fact of the process, which several systems may want
    with _lock:
        if not _users:
            _was_one = _get()
            _set(on=True)
        _users += 1


def _leave() -> None:
    global _users  # noqa: PLW0603 - see _enter
    with _lock:
        _users -= 1
        if not _users and not _was_one:
            _set(on=False)


def _after_fork_in_child() -> None:  # pragma: no cover - runs where nobody measures; a test looks at what it did
    global _lock  # noqa: PLW0603 - it may be held by a thread that is not here any more
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork_in_child)


def _get() -> bool:
    value = ctypes.c_int()
    _prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(value))
    return bool(value.value)


def _set(*, on: bool) -> None:
    _prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(on))


def _prctl(option: int, argument: object) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    if library.prctl(ctypes.c_int(option), argument, zero, zero, zero) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"prctl: {os.strerror(error)}")
