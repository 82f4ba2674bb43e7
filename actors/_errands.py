"""
The messages that the workers of a pool have: who got which calls, what came back, and what takes too long.
"""

from __future__ import annotations

import functools
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from queue import SimpleQueue
from typing import Any, Final, cast

from actors import _calls
from actors._batch import Batch, Event
from actors._call_worker import BEGUN, DONE
from actors._dealing import Dealer
from actors._jobs import Job, Plan, Worker, pack, worker_died
from actors._outcomes import Outcomes
from actors._staff import GONE, Staff
from actors.errors import ActorDied, ActorsError, AskTimeoutError, CodecError, MailboxFullError

__all__ = ["KILLED", "Errands"]

KILLED: Final = "killed"
# How long a call may keep others waiting behind it: while somebody is idle, and at all.
_WAIT_SECONDS: Final = 0.01
_LONG_WAIT_SECONDS: Final = 0.05
_NO_MEMORY_SECONDS: Final = 10.0
_AGAIN_SECONDS: Final = 0.005
# Half of what there is for large messages. Who keeps no more of it than its share keeps nothing from others; buffers that are larger are
# loaded before the calls, since a message keeps its memory until it is handled. That costs a copy.
_SHARED_BYTES: Final = 128 << 20


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
        # Since when there is no memory although nothing is open; 0 where there is.
        self._full_since = 0.0
        self._retry_at = math.inf

    @property
    def calls_run(self) -> bool:
        """Whether any worker has calls."""
        return any(batch.jobs for batch in self.batches)

    def ask(
        self, worker: Worker, name: str, args: tuple[Any, ...], jobs: list[Any], buffers: Sequence[memoryview] = ()
    ) -> Batch:
        """
        Send one message; where its buffers are more than a worker's share, they go before it by one of their own.

        Args:
            worker: To whom.
            name: Of the handler.
            args: Its arguments.
            jobs: The calls in it.
            buffers: What stands behind the arguments.

        Raises:
            ActorsError: It was not sent.
        """
        if sum(buffer.nbytes for buffer in buffers) < _SHARED_BYTES / self._plan.size:
            return self._send(worker, name, (*args, *buffers), jobs)
        batch = self._send(worker, "load", tuple(buffers), jobs)
        batch.then = (name, args)
        return batch

    def ask_next(self, batch: Batch) -> Batch:
        """Ask what *batch* has brought the buffers for. Raises what :meth:`ask` does."""
        assert batch.then is not None
        return self._send(batch.worker, *batch.then, batch.jobs)

    def _send(self, worker: Worker, name: str, args: tuple[Any, ...], jobs: list[Any]) -> Batch:
        batch = Batch(self._events, worker, name, jobs)
        batch.began = batch.progressed = time.monotonic()
        self._staff.host.node._open(cast("Any", batch.begin), worker.ref, name, args, {})
        self.batches[batch] = None
        self._full_since = 0.0
        return batch

    def take_item(self, batch: Batch, value: Any) -> None:
        """One call of a message was answered, or some will not be made; or an initializer has begun."""
        if batch not in self.batches:
            return
        if value[0] == DONE:
            if value[1] == BEGUN:
                batch.worker.doing = "initializing"
            else:
                self.put_back(batch, value[2])
            return
        number, *coded = value
        job = batch.jobs[number] if number < len(batch.jobs) else None
        if job is None:
            return  # delivered twice, or given up
        batch.jobs[number] = None
        batch.left -= 1
        batch.made += 1
        batch.worker.made += 1
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

    def end_calls(self, batch: Batch, seconds: float | None) -> None:
        """
        A message of calls is done.

        Args:
            batch: Which.
            seconds: How long it took; None where none was begun.
        """
        if seconds is not None:
            self._dealer.note_seconds(batch.kinds, seconds / max(1, batch.made))
        # What is not answered was taken back, which is on its way, or was never begun.
        self.put_back(batch, range(len(batch.jobs)))

    def fail_calls(self, batch: Batch, error: BaseException, *, died: bool) -> None:
        """
        A message of calls will not be answered any more.

        Args:
            batch: Which.
            error: Why not.
            died: Whether its worker has died of it.
        """
        left = [number for number, job in enumerate(batch.jobs) if job is not None]
        if left and (died or not isinstance(error, ActorDied)):
            # The first is the one that it was making, or whose turn it was; the others were not begun.
            job, batch.jobs[left[0]] = batch.jobs[left[0]], None
            if not died:
                self._outcomes.fail(job, error)
            elif job.retries > 0 and not batch.condemned:
                job.retries -= 1
                self._dealer.put_back([job])
            else:
                self._outcomes.fail(job, worker_died(cast("ActorDied", error), job.function))
        self.put_back(batch, range(len(batch.jobs)))

    def next_due(self) -> float:
        """When to :meth:`look` again, as ``time.monotonic()`` has it."""
        due = self._retry_at
        for batch in self.batches:
            if batch.deadline_at is not None and batch.left and not batch.condemned:
                due = min(due, batch.deadline_at)
            if batch.left > 1 and batch.then is None:
                due = min(due, batch.progressed + self._patience(batch))
        return due

    def look(self, now: float) -> None:
        """See what has taken too long, and whether it is time to try again what there was no memory for."""
        if self._retry_at <= now:
            self._retry_at = math.inf
        for batch in list(self.batches):
            if batch.deadline_at is not None and batch.deadline_at <= now and batch.left and not batch.condemned:
                self._condemn(batch)
            patience = self._patience(batch)
            if batch.left > 1 and batch.then is None and batch.progressed + patience <= now:
                self._ask_back(batch, now, patience)

    def _patience(self, batch: Batch) -> float:
        """How long nothing may be answered until what waits is taken back. Again and again: the worker may not have begun before."""
        return _WAIT_SECONDS if self.idle and not batch.asked_back else _LONG_WAIT_SECONDS

    def _ask_back(self, batch: Batch, now: float, patience: float) -> None:
        """Nothing was answered for a while: take back what waits behind the call that runs."""
        batch.progressed = now
        if batch.left != batch.left_before:
            batch.left_before = batch.left
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

    @property
    def may_send(self) -> bool:
        """Whether there may be memory again."""
        return self._retry_at == math.inf

    def hand_out(self) -> None:
        """Give calls to whoever has nothing to do."""
        while self.idle and self.may_send:
            most = self._plan.most_calls
            jobs = self._dealer.choose(math.inf if most is None else most - self.idle[0].made)
            if not jobs:
                return
            worker = self.idle.popleft()
            functions, calls, buffers = pack(jobs)
            args = (functions, calls)
            self._hand(worker, jobs, functools.partial(self.ask, worker, "make", args, jobs, buffers))

    def go_on(self, batch: Batch) -> None:
        """What calls need lies in their worker: have them made."""
        made = self._hand(batch.worker, batch.jobs, functools.partial(self.ask_next, batch))
        if made is not None and batch.deadline_at is not None:
            made.deadline_at = batch.deadline_at

    def _hand(self, worker: Worker, jobs: list[Job], ask: Callable[[], Batch]) -> Batch | None:
        try:
            batch = ask()
        except (CodecError, MailboxFullError) as error:
            worker.doing = "nothing"
            self.idle.append(worker)
            self._not_sent(jobs, error)
            return None
        except ActorsError as error:
            self._dealer.put_back(jobs)
            self._events.put((GONE, worker, error))
            return None
        worker.doing = "calls"
        batch.kinds = {(job.function[0], job.how) for job in jobs}
        if jobs[0].timeout is not None:
            batch.deadline_at = batch.began + jobs[0].timeout
        return batch

    def _not_sent(self, jobs: list[Job], error: ActorsError) -> None:
        """They are more than a message may be, or than there is memory for; or something in them cannot travel."""
        if len(jobs) > 1:
            for job in jobs:
                job.alone = True
        if len(jobs) > 1 or (isinstance(error, MailboxFullError) and self.waits_for_memory()):
            self._dealer.put_back(jobs)
        else:
            self._outcomes.fail(jobs[0], error)

    def waits_for_memory(self) -> bool:
        """
        There was no memory for large arguments. What lies there has to be handled first: as long as anything is open, its end gives room.

        Returns:
            Whether to try again, as soon as :attr:`may_send` says so; else there will be none.
        """
        now = time.monotonic()
        if self.batches or not self._full_since:
            self._full_since = now
        if now - self._full_since >= _NO_MEMORY_SECONDS:
            self._full_since = 0.0
            return False
        self._retry_at = now + _AGAIN_SECONDS
        return True
