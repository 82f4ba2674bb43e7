"""
Which calls a worker of a pool gets next, and how many of them: all that is decided without a process at hand.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Collection, Iterable
from typing import Final

from actors import _calls
from actors._jobs import Job, Source

__all__ = ["Dealer"]

# What a message of calls is to take, and how many calls are in it at most.
_BUDGET_SECONDS: Final = 0.002
_MOST_CALLS: Final = 1000
_KNOWN_FUNCTIONS: Final = 1000
_LOOKED_AT: Final = 16  # sources, to know how many calls wait


class Dealer:
    """
    The calls that wait, in their order, and how long calls of their kinds took.

    Args:
        workers: How many share them.

    Attributes:
        sources: Where calls come from.
        redo: Calls that were handed out and not begun; they go first.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self.sources: deque[Source] = deque()
        self.redo: deque[Job] = deque()
        # By the hash of a function, which may be large.
        self._seconds: dict[tuple[int, int], float] = {}

    @property
    def waits(self) -> bool:
        """Whether any call waits, or may still come out of a source."""
        return bool(self.sources or self.redo)

    def put_back(self, jobs: Iterable[Job]) -> None:
        """These were not begun: they are next, in this order."""
        self.redo.extendleft(reversed(list(jobs)))

    def prepare(self) -> None:
        """All workers are busy: code the arguments of a chunk that comes next, so that nobody waits for that."""
        source = self.sources[0] if self.sources and len(self.redo) < self._workers else None
        if source is None or source.how == _calls.CALL:
            return
        self.redo.extend(job for job in source.take(1) if self._wanted(job))
        if source.over:
            self.sources.popleft()

    def drain(self) -> tuple[list[Job], list[Source]]:
        """All calls that are there, and the sources that may have had more: nothing waits any more."""
        jobs, sources = list(self.redo), list(self.sources)
        self.redo.clear()
        self.sources.clear()
        for source in sources:
            jobs += source.drop()
        return jobs, sources

    def keep(self, count: int) -> None:
        """The first *count* calls go first, whatever becomes of the sources."""
        while self.sources and len(self.redo) < count:
            source = self.sources[0]
            jobs = source.take(count - len(self.redo))
            self.redo.extend(job for job in jobs if self._wanted(job))
            if source.over:
                self.sources.popleft()
            elif not jobs:
                break

    def take_sources(self) -> list[Source]:
        """Where calls would have come from; none will."""
        sources = list(self.sources)
        self.sources.clear()
        return sources

    def _share(self) -> int:
        """How many of the calls that wait are for one worker."""
        waiting = len(self.redo) + len(self.sources)
        for source in itertools.islice(self.sources, _LOOKED_AT):
            waiting += source.waiting - 1
        return min(_MOST_CALLS, max(1, -(-waiting // self._workers)))

    def choose(self, allowed: float) -> list[Job]:
        """
        The calls of the next message: those that take the budget together.

        Args:
            allowed: How many its worker may take at most.
        """
        most = min(self._share(), allowed)
        chosen: list[Job] = []
        left = _BUDGET_SECONDS
        while most > len(chosen) and left > 0:
            jobs, each = self._next(int(most) - len(chosen), left)
            if not jobs:
                break
            if chosen and each == math.inf:
                self.put_back(jobs)
                break
            chosen += jobs
            left -= each * len(jobs)
        return chosen

    def _next(self, most: int, seconds: float) -> tuple[list[Job], float]:
        """
        The next calls of one kind, and how long each takes.

        Args:
            most: So many at most.
            seconds: At most so many as take that long together, but one.

        Returns:
            None where there are none now. Infinity for what is to have a message of its own: nobody knows how long it takes, or it
            has a deadline.
        """
        while self.redo:
            job = self.redo.popleft()
            if self._wanted(job):  # still
                return [job], math.inf if job.alone else self._expected(job)
        sources = self.sources
        for _ in range(len(sources)):
            source = sources[0]
            each = self._expected(source)
            count = 1 if each == math.inf else min(most, int(seconds / max(each, 1e-7)) + 1)
            if type(source) is Job:
                jobs = self._take_jobs(source, count)
            else:
                jobs = [job for job in source.take(count) if self._wanted(job)]
                if source.over:
                    sources.popleft()
                elif not jobs:
                    sources.rotate(-1)
            if jobs:
                return jobs, each
            if not sources:
                break
        return [], math.inf

    def _take_jobs(self, first: Job, count: int) -> list[Job]:
        """Single calls of one kind that stand one after the other."""
        function, sources, jobs = first.function, self.sources, list[Job]()
        while sources and len(jobs) < count:
            job = sources[0]
            if type(job) is not Job or job.function is not function or job.timeout != first.timeout:
                break
            sources.popleft()
            if self._wanted(job):
                jobs.append(job)
        return jobs

    def _expected(self, source: Source) -> float:
        if source.timeout is not None:
            return math.inf
        return self._seconds.get((hash(source.function[0]), source.how), math.inf)

    @staticmethod
    def _wanted(job: Job) -> bool:
        job.begun = job.sink.begin(job.index)
        return job.begun

    def note_seconds(self, kinds: Collection[tuple[bytes, int]], seconds: float) -> None:
        """A call of each of *kinds* has taken so long."""
        for function, how in kinds:
            key = hash(function), how
            before = self._seconds.get(key)
            self._seconds[key] = seconds if before is None else (before + seconds) / 2
        if len(self._seconds) > _KNOWN_FUNCTIONS:
            self._seconds.clear()
