"""
Nothing that an actor started outlives it: whoever wears the mark of an incarnation that has ended is found and killed.

What stayed in the actor's process group is killed with it, at once. This is for what left: a thread of its own, started with the
first end of an incarnation, looks through ``/proc`` a moment later. Many ends at once are one sweep, and sweeping never takes more
than a small part of one core. A process is held by a pidfd before its mark is read a second time, so that no stranger whose pid is a
recycled one is ever hit.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import queue
import select
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator

from actors import _descriptors, _marks
from actors._subreaper import Adopted

__all__ = ["Sweeper", "sweep"]

# A restart goes first: it needs the processor more than what is left behind. Others that die meanwhile are swept in the same go.
_DELAY_SECONDS = 0.05
# A sweep of t seconds is followed by a rest of at least ten times t.
_REST = 10.0
# How long what was killed may take to go before the next pass looks again.
_GOING_SECONDS = 0.2
# Each pass kills all it finds; what is left after so many is forking faster than it can be killed.
_MOST_PASSES = 50
# How often what is just becoming another program, so that its mark cannot be seen, is looked at once more; and the pause before.
_MORE_LOOKS = 5
_BECOMING_SECONDS = 0.02
# Descriptors that a pass may take.
_MOST_HELD = 64
# How often a subreaper looks whether what it adopted has ended; and when it is tried again to sweep, after there was no descriptor to
# look with.
_AGAIN_SECONDS = 1.0


class Sweeper:
    """
    Sweeps behind the actors of one system.

    Args:
        name: Of the thread.
        subreaper: Whether the host adopts what has lost its parent, and reaps it.

    Raises:
        OSError: The kernel does not let it be a subreaper.
    """

    def __init__(self, name: str, *, subreaper: bool = False) -> None:
        self._name = name
        # What lives or is being started, by mark; its pid, once the start call is over.
        self._living: dict[str, int | None] = {}
        self._adopted = Adopted(self._actors) if subreaper else None
        self._notes: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._rest = 0.0

    # --- in the pump's thread; never wait ---------------------------------------------------------------------------------

    def note_start(self, mark: str, pid: int | None = None) -> None:
        """The incarnation that wears *mark* is being started; or it has been, as process *pid*."""
        self._living[mark] = pid
        if self._thread is None:
            # With the first start, not the first end: at a limit of processes it would take what the dead one's successor needs.
            self._begin()

    def note_end(self, mark: str) -> None:
        """The incarnation that wore *mark* has ended, and has been reaped."""
        pid = self._living.pop(mark, None)
        if self._adopted is not None and pid is not None:
            self._adopted.note_group(pid)
        self._notes.put(mark)
        if self._thread is None:
            self._begin()

    def note_unborn(self, mark: str) -> None:
        """No incarnation that wears *mark* will come, though its start may have been tried."""
        if mark in self._living:
            self.note_end(mark)

    def _actors(self) -> frozenset[int] | None:
        """Return the pids of what lives; None while there is one that is not known. Any thread."""
        pids = list(self._living.values())
        return None if None in pids else frozenset(pid for pid in pids if pid is not None)

    def _known_actors(self) -> frozenset[int]:
        return frozenset(pid for pid in list(self._living.values()) if pid is not None)

    def _begin(self) -> None:
        thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # No thread to be had now: the next end tries again, the stop of the system sweeps in any case.
            return
        self._thread = thread

    def stop(self, timeout: float) -> None:
        """No actor lives any more: sweep behind all of them, at most *timeout* seconds, and end the thread."""
        for mark in list(self._living):
            self.note_end(mark)
        self._notes.put(None)
        if self._thread is not None:
            self._thread.join(timeout)
        elif self._notes.qsize() > 1:
            self._run()
        if self._adopted is not None:
            self._adopted.close()

    def _run(self) -> None:
        marks: frozenset[str] = frozenset()
        over = False
        while not over:
            marks, over = self._collect(marks)
            if marks:
                began = time.monotonic()
                with contextlib.suppress(OSError):
                    sweep(functools.partial(_is_one_of, marks), self._known_actors)
                    marks = frozenset()
                self._rest = _REST * (time.monotonic() - began)
            if self._adopted is not None:
                self._adopted.reap()

    def _collect(self, left: frozenset[str]) -> tuple[frozenset[str], bool]:
        """
        Wait for an end and for those that follow at once.

        Args:
            left: The marks of those behind whom it was not possible to sweep.

        Returns:
            Their marks, and whether no more will come.
        """
        marks = set(left)
        wait = None if self._adopted is None and not left else _AGAIN_SECONDS
        due = 0.0
        with contextlib.suppress(queue.Empty):
            while (mark := self._notes.get(timeout=wait)) is not None:
                marks.add(mark)
                due = due or time.monotonic() + max(_DELAY_SECONDS, self._rest)
                wait = max(0.0, due - time.monotonic())
            return frozenset(marks), True
        return frozenset(marks), False


def _is_one_of(dead: frozenset[str], worn: frozenset[str]) -> bool:
    return not worn.isdisjoint(dead)


def sweep(is_dead: Callable[[frozenset[str]], bool], spared: Callable[[], Collection[int]]) -> int:
    """
    Kill every process that wears the mark of the dead, and what it starts meanwhile.

    Args:
        is_dead: Whether a process that wears these marks is to go.
        spared: Asked before each pass for the pids that need not be looked at.

    Returns:
        How many were killed.

    Raises:
        OSError: This process has no descriptor or memory left to look.
    """
    programs, killed, looks = _marks.interpreters(), 0, _MORE_LOOKS
    for _ in range(_MOST_PASSES):
        held: list[int] = []
        becoming: list[int] = []
        try:
            for pidfd in itertools.islice(_hold(is_dead, {os.getpid(), *spared()}, programs, becoming), _MOST_HELD):
                held.append(pidfd)  # noqa: PERF402 - what is held when a look fails is killed all the same
        finally:
            for pidfd in held:
                with contextlib.suppress(OSError):  # it has ended by itself, or has become another user's
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                    killed += 1
            _see_off(held)
        if not held:
            if not becoming or not looks:
                break
            looks -= 1
            time.sleep(_BECOMING_SECONDS)
    return killed


def _hold(
    is_dead: Callable[[frozenset[str]], bool], spared: Collection[int], programs: Collection[str], becoming: list[int]
) -> Iterator[int]:
    """Give a pidfd of each process that wears the mark of the dead; note those of which that cannot be seen yet in *becoming*."""
    for pid in [int(name) for name in os.listdir("/proc") if name.isdigit()]:
        if pid in spared:
            continue
        marks, all_seen = _marks.look(pid, programs)
        if not all_seen:
            becoming.append(pid)
        if not is_dead(marks):
            continue
        try:
            with _descriptors.fork_lock:
                pidfd = os.pidfd_open(pid)
                _descriptors.own(pidfd)
        except OSError as error:
            if error.errno in _marks.EXHAUSTED:
                raise
            continue  # it has ended
        # Only now it is certain whose pid this is.
        certain = False
        try:
            certain = is_dead(_marks.worn(pid, programs))
        finally:
            if not certain:
                _descriptors.close(pidfd)
        if certain:
            yield pidfd


def _see_off(held: Iterable[int]) -> None:
    """Wait a little until what was killed has ended, reap what was a child of ours, and let go of it."""
    until = time.monotonic() + _GOING_SECONDS
    for pidfd in held:
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        if poller.poll(max(0.0, until - time.monotonic()) * 1000):
            # Adopted by this process, as a subreaper or the first of a container; else somebody else's to reap.
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
        _descriptors.close(pidfd)
