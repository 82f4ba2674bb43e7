"""
What the machine allows, asked before a start: descriptors, and processes of this user. Says what to do when it is not enough.
"""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

from actors import _descriptors
from actors.errors import StartError

__all__ = ["check_descriptors", "check_processes", "explain", "is_shortage"]

# An actor is its process and its control thread; both count.
_TASKS_PER_ACTOR = 2


# No descriptor, process or memory.
_SHORTAGES = frozenset((errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM))


def check_descriptors(path: str, need: int) -> None:
    """
    Refuse a start for which this process has no descriptors left.

    Args:
        path: The actor.
        need: How many it needs, above 0.

    Raises:
        StartError: Names limit, use and need.
    """
    limit, used = _descriptors.limit(), _descriptors.in_use()
    if used + need > limit:
        raise StartError(
            f"{path} cannot be started: it needs {need} descriptors, {used} of at most {limit} are in use; "
            "raise the hard limit (ulimit -Hn), or run fewer actors",
            target=path,
        )


def check_processes(path: str) -> None:
    """
    Refuse a start for which this user has no processes left.

    Raises:
        StartError: Names limit, use and need.
    """
    limit = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    # The limit does not bind root; and counting is dear, so that it is done only where the whole machine might reach it.
    if limit == resource.RLIM_INFINITY or os.geteuid() == 0 or _tasks_of_all() + _TASKS_PER_ACTOR <= limit:
        return
    used = _tasks_of_user()
    if used + _TASKS_PER_ACTOR > limit:
        raise _no_processes(path, limit, used)


def is_shortage(error: BaseException, need: int) -> bool:
    """Return whether a start failed because the machine had not *need* descriptors, no process or no memory: for the moment, maybe."""
    if isinstance(error, OSError):
        return error.errno in _SHORTAGES
    return isinstance(error, StartError) or _descriptors.in_use() + need > _descriptors.limit()


def explain(path: str, error: BaseException) -> BaseException:
    """Return what to tell of a start that the machine refused with *error*."""
    if not isinstance(error, OSError):
        return error
    limit = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    match error.errno:
        case errno.EAGAIN:
            return _no_processes(path, limit, _tasks_of_user())
        case errno.ENOMEM:
            return StartError(f"{path} cannot be started: the machine has no memory for another process", target=path)
        case errno.EMFILE | errno.ENFILE:
            return StartError(
                f"{path} cannot be started: no descriptors are left ({_descriptors.in_use()} of at most "
                f"{_descriptors.limit()} are in use here); raise the limit (ulimit -Hn), or run fewer actors",
                target=path,
            )
        case _:
            return error


def _no_processes(path: str, limit: int, used: int) -> StartError:
    most = "any number" if limit == resource.RLIM_INFINITY else f"at most {limit}"
    return StartError(
        f"{path} cannot be started: it needs {_TASKS_PER_ACTOR} processes and threads, and user {os.geteuid()} has {used} of {most}; "
        "raise the limit (ulimit -u, or pids.max of the control group), or run fewer actors",
        target=path,
    )


def _tasks_of_all() -> int:
    try:
        return int(Path("/proc/loadavg").read_bytes().split()[3].partition(b"/")[2])
    except (OSError, ValueError, IndexError):
        return 1 << 62


def _tasks_of_user() -> int:
    user, count = os.geteuid(), 0
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                if _real_user(entry.path) == user:
                    count += len(os.listdir(f"{entry.path}/task"))
            except (OSError, ValueError):
                continue  # it ended meanwhile
    return count


def _real_user(folder: str) -> int:
    with open(f"{folder}/status", "rb") as status:
        for line in status:
            if line.startswith(b"Uid:"):
                return int(line.split()[1])
    return -1
