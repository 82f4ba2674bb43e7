"""
What a test may leave behind: nothing. Looks at the kernel's lists (``/proc``, ``/dev/shm``), never at the package's own books.

Processes are found twice: as descendants of the test process, and by a mark in their environment, which also finds those that
lost their parent. Helpers that serve the whole run (one forkserver, ours and that of ``multiprocessing``, and one resource tracker) do
not count.
"""

from __future__ import annotations

import os
import secrets
import threading
from pathlib import Path

import attrs

MARK = "ACTORS_TEST_RUN"
HELPERS = (b"from actors._zygote", b"multiprocessing.forkserver", b"multiprocessing.resource_tracker")


def mark_this_run() -> None:
    """Put a word into the environment that every process started from here inherits. Call it before the first start."""
    os.environ[MARK] = f"{os.getpid()}-{secrets.token_hex(8)}"


@attrs.frozen
class Process:
    """One line of the kernel's process list."""

    pid: int
    parent: int
    state: str
    command: bytes

    def __str__(self) -> str:
        text = self.command.replace(b"\0", b" ").decode(errors="replace").strip()[:120]
        return f"process {self.pid} (state {self.state}, parent {self.parent}): {text}"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it ended meanwhile, or belongs to somebody else
        return b""


def _all_processes() -> dict[int, Process]:
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        fields = _read(folder / "stat").rpartition(b")")[2].split()
        if len(fields) > 1:
            pid = int(folder.name)
            found[pid] = Process(pid, int(fields[1]), fields[0].decode(), _read(folder / "cmdline"))
    return found


def _descends(process: Process, everyone: dict[int, Process], ancestor: int) -> bool:
    seen: set[int] = set()
    pid = process.parent
    while pid in everyone and pid not in seen:
        if pid == ancestor:
            return True
        seen.add(pid)
        pid = everyone[pid].parent
    return False


def _is_marked(pid: int) -> bool:
    mark = f"{MARK}={os.environ.get(MARK, '-')}".encode()
    return mark in _read(Path(f"/proc/{pid}/environ")).split(b"\0")


def living_processes() -> list[Process]:
    """Everything that this process started, directly or not, and that has not been reaped, without the helpers."""
    me = os.getpid()
    everyone = _all_processes()
    mine = [p for p in everyone.values() if p.pid != me and (_descends(p, everyone, me) or _is_marked(p.pid))]
    for helper in HELPERS:
        # Only one of each kind, only as a child of ours, and only alive: an actor of a forkserver has its command line too.
        own = [p for p in mine if helper in p.command and p.parent == me and p.state != "Z"]
        if own:
            mine.remove(own[0])
    return mine


def open_descriptors() -> dict[int, str]:
    """Each open descriptor of this process and what it leads to, less those by which a thread looks at the kernel's lists just now."""
    found = {}
    for entry in list(Path("/proc/self/fd").iterdir()):
        try:
            found[int(entry.name)] = str(entry.readlink())
        except OSError:  # the one the listing itself used
            continue
    return {number: target for number, target in found.items() if not target.startswith("/proc/")}


def shared_memory() -> set[str]:
    """Names in ``/dev/shm``, less the semaphores that other programs of this machine make with ``multiprocessing``."""
    folder = Path("/dev/shm")
    names = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    return {name for name in names if not name.startswith("sem.mp-")}


@attrs.frozen
class Snapshot:
    """What there was before a test."""

    processes: frozenset[int]
    descriptors: dict[int, str]
    shared_memory: frozenset[str]
    threads: frozenset[int]

    @classmethod
    def take(cls) -> Snapshot:
        return cls(
            frozenset(process.pid for process in living_processes()),
            open_descriptors(),
            frozenset(shared_memory()),
            frozenset(thread.ident or 0 for thread in threading.enumerate()),
        )

    def leaks(self) -> list[str]:
        """One line for everything that was not there before; descriptors by number, since a helper may reopen its own."""
        found = [str(process) for process in living_processes() if process.pid not in self.processes]
        descriptors = open_descriptors()
        if len(descriptors) > len(self.descriptors):
            new = {fd: target for fd, target in descriptors.items() if self.descriptors.get(fd) != target}
            found.append(f"{len(descriptors) - len(self.descriptors)} more descriptors, among them {new}")
        found += [f"/dev/shm/{name}" for name in sorted(shared_memory() - self.shared_memory)]
        found += [f"thread {thread.name}" for thread in threading.enumerate() if thread.ident not in self.threads]
        return found
