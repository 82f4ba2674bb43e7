"""
Where the kernel counts its out-of-memory kills: a field of a file of the control group that a process belongs to.

Both versions of control groups are known. In version 2 that is ``memory.events.local`` (``memory.events`` counts groups below as well,
and is read where there is no other), in version 1 ``memory.oom_control``; its field is ``oom_kill`` in all three.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from typing import Protocol

import attrs

__all__ = ["Counter", "CounterFile", "candidates", "counter_of"]

_FILES = {"cgroup2": ("memory.events.local", "memory.events"), "cgroup": ("memory.oom_control",)}
_FIELD = b"oom_kill"


class Counter(Protocol):
    """Something that counts out-of-memory kills."""

    @property
    def name(self) -> str:
        """Which one; two with the same name count the same."""
        ...

    def read(self) -> int | None:
        """How many there were so far; None where that cannot be known now."""
        ...


@attrs.frozen
class CounterFile:
    """
    The counter of one control group.

    Attributes:
        name: Its file.
    """

    name: str

    def read(self) -> int | None:
        """See :class:`Counter`."""
        try:
            with open(self.name, "rb") as stream:
                fields = dict(line.split()[:2] for line in stream if len(line.split()) > 1)
            return int(fields[_FIELD])
        except (OSError, KeyError, ValueError):
            # The group is gone, or the kernel is too old to count.
            return None


def counter_of(pid: int) -> Counter | None:
    """
    The counter that an out-of-memory kill of a process would raise; None where there is none, or the process has ended.

    Args:
        pid: A process that lives.
    """
    try:
        with open(f"/proc/{pid}/cgroup") as groups:
            return _counter_of_groups(groups.read())
    except OSError:
        return None


@functools.lru_cache(maxsize=64)
def _counter_of_groups(groups: str) -> Counter | None:
    # Nearly all processes of a system are in the same groups, and mounts do not change.
    with open("/proc/self/mountinfo") as mounts:
        found = list(candidates(groups, mounts.read()))
    for path in found:
        counter = CounterFile(path)
        if counter.read() is not None:
            return counter
    return None


def candidates(groups: str, mounts: str) -> Iterator[str]:
    """
    The files that may hold the counter, the most telling first. Reads nothing.

    A group that does not account for memory itself is accounted for by the next one above that does.

    Args:
        groups: What ``/proc/PID/cgroup`` says.
        mounts: What ``/proc/self/mountinfo`` says.
    """
    for kind, group in _memory_groups(groups):
        for root, folder in _mounts(mounts, kind):
            path = _below(group, root)
            while path is not None:
                for name in _FILES[kind]:
                    yield os.path.join(folder, path, name)
                path = os.path.dirname(path) if path and kind == "cgroup2" else None


def _memory_groups(groups: str) -> Iterator[tuple[str, str]]:
    """The kind of hierarchy and the path of the group there, version 1 first: where both are mounted it has the memory."""
    lines = [line.split(":", 2) for line in groups.splitlines() if line.count(":") > 1]
    for _number, controllers, path in lines:
        if "memory" in controllers.split(","):
            yield "cgroup", path
    for number, controllers, path in lines:
        if number == "0" and not controllers:
            yield "cgroup2", path


def _mounts(mounts: str, kind: str) -> Iterator[tuple[str, str]]:
    """Root and mount point of each mounted hierarchy of that kind that may have memory in it."""
    for line in mounts.splitlines():
        fields, _dash, rest = line.partition(" - ")
        about, what = fields.split(), rest.split()
        if (
            len(about) > 4
            and len(what) > 2
            and what[0] == kind
            and (kind != "cgroup" or "memory" in what[2].split(","))
        ):
            yield _plain(about[3]), _plain(about[4])


def _plain(path: str) -> str:
    """A path of mountinfo as it is: blanks and the like stand there as octal numbers."""
    for octal in ("\\040", "\\011", "\\012", "\\134"):
        path = path.replace(octal, chr(int(octal[1:], 8)))
    return path


def _below(group: str, root: str) -> str | None:
    """The path of *group* below the *root* of a mount, without a slash at its beginning; None where it is not below."""
    if root == "/":
        return group.strip("/")
    if group == root or group.startswith(f"{root}/"):
        return group[len(root) :].strip("/")
    # A container may be told its path as the host sees it, or as it sees it itself.
    return "" if group == "/" else None
