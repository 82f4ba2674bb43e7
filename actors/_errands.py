"""
The messages that the workers of a pool have: who got which calls, what came back, and what takes too long.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterable
from queue import SimpleQueue
from typing import Any, Final, cast

from actors import _calls
from actors._batch import Batch, Event
from actors._call_worker import DONE
from actors._dealing import Dealer
from actors._jobs import Job, Plan, Worker, pack
from actors._outcomes import Outcomes
from actors._staff import GONE, Staff
from actors.errors import ActorsError, AskTimeoutError, CodecError, MailboxFullError

__all__ = ["KILLED", "Errands"]

KILLED: Final = "killed"
# How long a call may keep others waiting behind it: while somebody is idle, and at all.
_WAIT_SECONDS: Final = 0.01
_LONG_WAIT_SECONDS: Final = 0.05
_NO_MEMORY_SECONDS: Final = 10.0
_AGAIN_SECONDS: Final = 0.005


class Errands:
    """
    All of the pool's thread.

    Args:
        plan: What the pool was made with.
        events: Where answers go.
        staff: The workers.
        dealer: The calls that wait.
        outcomes: Who tells how calls ended.

    Attributes:
        idle: The workers that have nothing to do.
        batches: The messages that are not answered.
    """

    def __init__(
        self, plan: Plan, events: SimpleQueue[Event], staff: Staff, dealer: Dealer, outcomes: Outcomes
    ) -> None:
        self._plan = plan
        self._events = events
        self._staff = staff
        self._dealer = dealer
        self._outcomes = outcomes
        self.idle: deque[Worker] = deque()
        self.batches: dict[Batch, None] = {}
        self._full_since = 0.0
        self._retry_at = math.inf

    @property
    def calls_run(self) -> bool:
        """Whether any worker has calls."""
        return any(batch.jobs for batch in self.batches)

    def ask(self, worker: Worker, name: str, args: tuple[Any, ...], jobs: list[Any]) -> Batch:
        """
        Send one message.

        Raises:
            ActorsError: It was not sent.
        """
        batch = Batch(self._events, worker, name, jobs)
        batch.began = batch.progressed = time.monotonic()
        self._staff.host.node._open(cast("Any", batch.begin), worker.ref, name, args, {})
        self.batches[batch] = None
        return batch

    def take_item(self, batch: Batch, value: Any) -> None:
        """One call of a message was answered, or some will not be made."""
        if batch not in self.batches:
            return
        if value[0] == DONE:
            self.put_back(batch, value[2])
            return
        number, *coded = value
        job = batch.jobs[number] if number < len(batch.jobs) else None
        if job is None:
            return  # delivered twice, or given up
        batch.jobs[number] = None
        batch.left -= 1
        self._outcomes.note(job, coded, batch.worker)

    def put_back(self, batch: Batch, numbers: Iterable[int]) -> None:
        """These calls were not begun, and will not be."""
        jobs: list[Job] = []
        for number in sorted(numbers):
            job = batch.jobs[number] if number < len(batch.jobs) else None
            if job is not None:
                batch.jobs[number] = None
                batch.left -= 1
                jobs.append(job)
        self._dealer.put_back(jobs)

    def next_due(self) -> float:
        """When to :meth:`look` again, as ``time.monotonic()`` has it."""
        due = self._retry_at
        for batch in self.batches:
            if batch.deadline_at is not None and batch.left and not batch.condemned:
                due = min(due, batch.deadline_at)
            if batch.left > 1 and not batch.asked_back:
                due = min(due, batch.progressed + (_WAIT_SECONDS if self.idle else _LONG_WAIT_SECONDS))
        return due

    def look(self, now: float) -> None:
        """See what has taken too long."""
        for batch in list(self.batches):
            if batch.deadline_at is not None and batch.deadline_at <= now and batch.left and not batch.condemned:
                self._condemn(batch)
            patience = _WAIT_SECONDS if self.idle else _LONG_WAIT_SECONDS
            if batch.left > 1 and not batch.asked_back and batch.progressed + patience <= now:
                self._ask_back(batch, now, patience)

    def _ask_back(self, batch: Batch, now: float, patience: float) -> None:
        """Nothing was answered for a while: take back what waits behind the call that runs."""
        if batch.left != batch.left_before:
            batch.left_before, batch.progressed = batch.left, now
            if patience != _WAIT_SECONDS:
                return
        batch.asked_back = True
        self._staff.take_back(batch)

    def _condemn(self, batch: Batch) -> None:
        """A call has run for too long: it ends, and its worker."""
        batch.condemned = True
        late = "a call was not done in time"
        for number, job in enumerate(batch.jobs):
            if job is not None:
                batch.jobs[number] = None
                batch.left -= 1
                late = f"a call{_calls.shown(job.function)} was not done within {job.timeout:g} s"
                error = AskTimeoutError(
                    f"{late}; its worker {batch.worker.ref.path} was killed",
                    target=batch.worker.ref.path,
                    timeout=job.timeout,
                )
                error.may_have_run = True
                self._outcomes.fail(job, error)
        self._staff.kill(batch.worker, (KILLED, batch, None), late)

    def hand_out(self) -> None:
        """Give calls to whoever has nothing to do."""
        if self._retry_at <= time.monotonic():
            self._retry_at = math.inf
        while self.idle and self._retry_at == math.inf:
            most = self._plan.most_calls
            jobs = self._dealer.choose(math.inf if most is None else most - self.idle[0].made)
            if not jobs:
                return
            worker = self.idle.popleft()
            self._hand(worker, jobs)

    def _hand(self, worker: Worker, jobs: list[Job]) -> None:
        functions, calls, buffers = pack(jobs)
        try:
            batch = self.ask(worker, "make", (functions, calls, *buffers), jobs)
        except CodecError as error:
            self.idle.append(worker)
            self._not_encoded(jobs, error)
            return
        except MailboxFullError as error:
            self.idle.append(worker)
            self._no_memory(jobs, error)
            return
        except ActorsError as error:
            self._dealer.put_back(jobs)
            self._events.put((GONE, worker, error))
            return
        worker.doing = "calls"
        self._full_since = 0.0
        batch.kinds = {(job.function[0], job.how) for job in jobs}
        if jobs[0].timeout is not None:
            batch.deadline_at = batch.began + jobs[0].timeout

    def _not_encoded(self, jobs: list[Job], error: ActorsError) -> None:
        if len(jobs) == 1:
            self._outcomes.fail(jobs[0], error)
            return
        for job in jobs:
            job.alone = True
        self._dealer.put_back(jobs)

    def _no_memory(self, jobs: list[Job], error: ActorsError) -> None:
        """What lies in memory for large arguments has to be handled first."""
        now = time.monotonic()
        self._full_since = self._full_since or now
        if now - self._full_since < _NO_MEMORY_SECONDS:
            self._dealer.put_back(jobs)
            self._retry_at = now + _AGAIN_SECONDS
            return
        self._full_since = 0.0
        for job in jobs:
            self._outcomes.fail(job, error)
