"""
What runs the calls of a pool: its workers, which are actors below a supervisor of the pool, and one thread that deals calls out to them.

All state belongs to that thread; whoever has something for it puts an event into its queue, in one step that never waits. A worker has one
message at a time. As many calls stand in it as are expected to take two milliseconds together, by how long such calls took before, so tiny
ones share the cost of a message. Calls that wait behind one that takes longer than expected are taken back and given to others. When a
worker dies, the first call of its message that was not answered is the one that it was making, and the only one that is lost.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures.process import BrokenProcessPool
from queue import Empty, SimpleQueue
from typing import Any, Final, cast

from actors import _batch, _calls
from actors._batch import Batch, Event
from actors._call_worker import DONE, INHERITED
from actors._dealing import Dealer
from actors._jobs import Job, Plan, Sink, Source, Worker, check_owner, pack, worker_died
from actors._staff import GONE, NO_WORKER_SECONDS, READY, Staff
from actors.errors import (
    ActorDied,
    ActorNotRunningError,
    ActorsError,
    AskTimeoutError,
    CodecError,
    MailboxFullError,
    StartError,
)

__all__ = ["Workforce", "end_all", "is_exiting"]

# How long a call may keep others waiting behind it: while somebody is idle, and at all.
_WAIT_SECONDS: Final = 0.01
_LONG_WAIT_SECONDS: Final = 0.05
# Initializers that end their process, in a row, until that is taken for what they always do.
_INITIALIZER_DEATHS: Final = 5
_NO_MEMORY_SECONDS: Final = 10.0
_AGAIN_SECONDS: Final = 0.005

_ADDED: Final = "added"
_POKED: Final = "poked"
_CLOSED: Final = "closed"
_KILLED: Final = "killed"

_live: weakref.WeakSet[Workforce] = weakref.WeakSet()
_exiting = threading.Event()


class Workforce:
    """
    The workers of one pool.

    Args:
        plan: What it was made with.

    Attributes:
        broken: Why no call can be made any more, or None.
        drains_at_exit: Whether the end of the interpreter waits for what is queued.
    """

    def __init__(self, plan: Plan, *, drains_at_exit: bool) -> None:
        self.plan = plan
        self.drains_at_exit = drains_at_exit
        self.broken: BaseException | None = None
        self._pid = os.getpid()
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self.closed = False
        self._terminated = False
        self._ended = threading.Event()
        # All below: of the thread.
        self._staff = Staff(plan, self._events)
        self._dealer = Dealer(plan.size)
        self._idle: deque[Worker] = deque()
        self._batches: dict[Batch, None] = {}
        self._known: list[tuple[Job, list[Any], Worker]] = []
        self._told: dict[Sink, None] = {}
        self._initializer_deaths = 0
        self._idle_since = time.monotonic()
        self._full_since = 0.0
        self._retry_at = math.inf

    # --- any thread ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Have the workers started, if they are not."""
        check_owner(self._pid)
        with self._lock:
            if self._thread is None:
                _live.add(self)
                self._thread = threading.Thread(target=self._run, name=f"{self._staff.name}-thread", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:
                    self._thread = None
                    raise

    def add(self, source: Source) -> None:
        """Have calls made. The caller has seen that the pool is open."""
        self.start()
        self._events.put((_ADDED, source, None))
        if self._ended.is_set():
            # Another thread has closed the pool in this very moment.
            self._drop_rest(StartError("the pool was closed before this call was taken"))

    def poke(self, source: Source) -> None:
        """There is more in *source*, or there is less room to wait for."""
        self._events.put((_POKED, source, None))

    def close(self) -> None:
        """Take nothing more; end when all is done. Any moment, also from a finalizer."""
        self.closed = True
        self._events.put((_CLOSED, None, None))

    def cancel_pending(self, give_up: Callable[[Source], object]) -> None:
        """Have *give_up* told each source that is not used up, in the pool's thread, and forget it."""
        self._events.put((_CLOSED, give_up, None))

    def terminate(self) -> None:
        """Kill the workers; what was not done ends with an error."""
        self.closed = self._terminated = True
        self._events.put((_CLOSED, None, None))

    def join(self) -> None:
        """Wait until the workers are gone."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def tell_later(self, sink: Sink) -> None:
        """In the pool's thread: something was told to *sink* by itself."""
        self._told[sink] = None

    def is_own_thread(self) -> bool:
        """Whether this is the pool's own thread, which runs callbacks."""
        return self._thread is threading.current_thread()

    def processes(self) -> list[int]:
        """The pids of the workers that live."""
        return self._staff.processes()

    # --- the thread ---------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._begin()
            while not self._is_over():
                self._turn()
        except BaseException as error:
            # A bug of ours: nobody may wait for ever for that.
            self._break(error)
            raise
        finally:
            self._finish()

    def _is_over(self) -> bool:
        if not self.closed or not self._events.empty():
            return False
        return self._terminated or not (self._dealer.waits or self._batches_with_jobs())

    def _batches_with_jobs(self) -> bool:
        return any(batch.jobs for batch in self._batches)

    def _turn(self) -> None:
        """Take what has happened, then hand out what can be."""
        now = time.monotonic()
        due = self._next_due()
        event: Event | None = None
        with contextlib.suppress(Empty):
            event = self._events.get(timeout=None if due == math.inf else max(0.0, due - now))
        count = self._events.qsize()
        while event is not None:
            self._take(*event)
            event = self._events.get_nowait() if count > 0 else None
            count -= 1
        if not self._terminated:
            self._look(time.monotonic())
            self._hand_out()
        # Only now, when the workers have got something to do.
        known, self._known = self._known, []
        for outcome in known:
            self._settle(*outcome)
        del known
        told, self._told = self._told, {}
        for sink in told:
            sink.flush()
        if not (self._idle or self._terminated) and self._events.empty():
            self._dealer.prepare()

    def _take(self, what: str, which: Any, how: Any) -> None:
        if what == _batch.ITEM:
            self._take_item(which, how)
        elif what == _batch.ENDED:
            self._take_end(which, how)
        elif what == _batch.FAILED:
            self._take_failure(which, how)
        elif what == _ADDED:
            self._dealer.sources.append(which)
        elif what == READY:
            self._greet(which)
        elif what == GONE:
            self._lose(which, how)
        elif what == _KILLED:
            self._greet(which.worker)
        elif what == _CLOSED and which is not None:
            for source in self._dealer.take_sources():
                which(source)

    # --- beginning and end --------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        try:
            if self.plan.initializer is not None and self.plan.method == "fork":
                INHERITED[self._staff.name] = (self.plan.initializer, self.plan.initargs)
            self._staff.start()
        except Exception as error:  # noqa: BLE001 - whatever keeps it from starting is what each call is told
            self._break(error)

    def _finish(self) -> None:
        """The thread ends: so do the workers, and whatever was not done."""
        why = StartError("the pool was terminated before this call was done")
        self._fail_all(self.broken or why)
        try:
            self._staff.stop(kill=self._terminated)
        finally:
            # Also what came in the very last moment.
            self._drop_rest(self.broken or why)
            _live.discard(self)
            self._ended.set()

    def _drop_rest(self, why: BaseException) -> None:
        with contextlib.suppress(Empty):
            while True:
                what, which, _how = self._events.get_nowait()
                if what == _ADDED:
                    self._dealer.sources.append(which)
        self._fail_all(why)

    def _break(self, error: BaseException) -> None:
        """No call can be made, now or later: all end with the reason."""
        if self.broken is None:
            text = f"no call can be made by this pool: {error}"
            self.broken = BrokenProcessPool(text)
            self.broken.__cause__ = error
        self._fail_all(self.broken)

    def _fail_all(self, error: BaseException) -> None:
        for batch in self._batches:
            for job in batch.jobs:
                if job is not None:
                    self._fail(job, error)
            batch.jobs = []
        jobs, sources = self._dealer.drain()
        for job in jobs:
            self._fail(job, error)
        for source in sources:
            source.abort(error)
        told, self._told = self._told, {}
        for sink in told:
            sink.flush()

    def _fail(self, job: Job, error: BaseException) -> None:
        if job.begun or job.sink.begin(job.index):
            job.sink.fail(job.index, error)
            self._told[job.sink] = None

    # --- workers ------------------------------------------------------------------------------------------------------------

    def _ask(self, worker: Worker, name: str, args: tuple[Any, ...], jobs: list[Any]) -> Batch:
        """
        Send one message.

        Raises:
            ActorsError: It was not sent.
        """
        batch = Batch(self._events, worker, name, jobs)
        batch.began = batch.progressed = time.monotonic()
        self._staff.host.node._open(cast("Any", batch.begin), worker.ref, name, args, {})
        self._batches[batch] = None
        return batch

    def _greet(self, worker: Worker) -> None:
        """Have a new process ready for calls, by its initializer."""
        if worker.doing == "gone" or self._terminated or self.broken is not None:
            return
        worker.doing, worker.made = "greeting", 0
        plan = self.plan
        coded: list[Any] | None = None
        try:
            if plan.initializer is not None and plan.method != "fork":
                with _calls.spawning():
                    coded = _calls.code_value((plan.initializer, plan.initargs))
            self._ask(worker, "greet", (self._staff.name, coded), [])
        except ActorNotRunningError as error:
            self._lose(worker, error)
        except Exception as error:  # noqa: BLE001 - an initializer that cannot travel, for whatever reason its __reduce__ gives
            self._break(error)

    def _lose(self, worker: Worker, error: BaseException) -> None:
        """A worker will not come back."""
        worker.doing = "gone"
        with contextlib.suppress(ValueError):
            self._idle.remove(worker)
        if self._staff.all_gone and (not self.closed or self._dealer.waits):
            self._break(error)

    def _free(self, worker: Worker) -> None:
        """It has nothing to do."""
        most = self.plan.most_calls
        if most is None or worker.made < most:
            worker.doing = "nothing"
            self._idle.append(worker)
            return
        worker.doing = "retiring"
        try:
            self._ask(worker, "retire", (), [])
        except ActorsError as error:
            self._lose(worker, error)

    # --- what comes from workers -----------------------------------------------------------------------------------------------

    def _take_item(self, batch: Batch, value: Any) -> None:
        if batch not in self._batches:
            return
        if value[0] == DONE:
            self._put_back(batch, value[2])
            return
        number, *coded = value
        job = batch.jobs[number] if number < len(batch.jobs) else None
        if job is None:
            return  # delivered twice, or given up
        batch.jobs[number] = None
        batch.left -= 1
        self._known.append((job, coded, batch.worker))

    def _settle(self, job: Job, coded: list[Any], worker: Worker) -> None:
        sink, index = job.sink, job.index
        self._told[sink] = None
        code = coded[0]
        if code == _calls.PLAIN:
            sink.succeed(index, coded[1])
        elif code == _calls.PICKLED:
            try:
                value = _calls.read_value(coded)
            except Exception as error:  # noqa: BLE001 - a user's __setstate__ may raise anything; it is that call's outcome
                sink.fail(index, error)
            else:
                sink.succeed(index, value)
        elif code == _calls.FAILED:
            sink.fail(index, _calls.read_error(coded, worker.ref.path))
        else:
            sink.unsendable(index, _calls.read_error(coded[1], worker.ref.path), coded[2])

    def _put_back(self, batch: Batch, numbers: Iterable[int]) -> None:
        """These calls were not begun, and will not be."""
        jobs: list[Job] = []
        for number in sorted(numbers):
            job = batch.jobs[number] if number < len(batch.jobs) else None
            if job is not None:
                batch.jobs[number] = None
                batch.left -= 1
                jobs.append(job)
        self._dealer.put_back(jobs)

    def _take_end(self, batch: Batch, seconds: Any) -> None:
        if self._batches.pop(batch, self) is self:
            return
        worker = batch.worker
        if batch.name == "greet":
            self._initializer_deaths = 0
        elif batch.name == "make":
            made = max(0, len(batch.jobs) - batch.left)
            worker.made += made
            self._dealer.note_seconds(batch.kinds, seconds / max(1, made))
            # What is not answered was taken back, which is on its way.
            self._put_back(batch, range(len(batch.jobs)))
        if batch.condemned:
            return
        self._free(worker)

    def _take_failure(self, batch: Batch, error: BaseException) -> None:
        if self._batches.pop(batch, self) is self:
            return
        worker = batch.worker
        stays = isinstance(error, ActorDied) and error.may_have_run
        if batch.name == "greet":
            self._greeting_failed(error, stays)
        elif batch.name == "make":
            self._calls_failed(batch, error, stays)
        if not isinstance(error, ActorDied) or stays:
            if not batch.condemned:
                self._greet(worker)
        else:
            self._lose(worker, error)

    def _greeting_failed(self, error: BaseException, died: bool) -> None:
        self._initializer_deaths += self.plan.initializer is not None
        if not isinstance(error, ActorDied) or (died and self._initializer_deaths >= _INITIALIZER_DEATHS):
            self._break(error)

    def _calls_failed(self, batch: Batch, error: BaseException, stays: bool) -> None:
        left = [number for number, job in enumerate(batch.jobs) if job is not None]
        if left and stays:
            job, batch.jobs[left[0]] = batch.jobs[left[0]], None
            if job.retries > 0 and not batch.condemned:
                job.retries -= 1
                self._dealer.put_back([job])
            else:
                self._fail(job, worker_died(cast("ActorDied", error)))
        elif left and not isinstance(error, ActorDied):
            for number in left:
                self._fail(batch.jobs[number], error)
                batch.jobs[number] = None
        self._put_back(batch, range(len(batch.jobs)))

    # --- times --------------------------------------------------------------------------------------------------------------

    def _next_due(self) -> float:
        due = self._retry_at
        for batch in self._batches:
            if batch.deadline_at is not None:
                due = min(due, batch.deadline_at)
            if batch.left > 1 and not batch.asked_back:
                due = min(due, batch.progressed + (_WAIT_SECONDS if self._idle else _LONG_WAIT_SECONDS))
        if self._dealer.waits and not self._batches_with_jobs() and not self._idle:
            due = min(due, self._idle_since + NO_WORKER_SECONDS)
        return due

    def _look(self, now: float) -> None:
        for batch in list(self._batches):
            if batch.deadline_at is not None and batch.deadline_at <= now and not batch.condemned:
                self._condemn(batch)
            patience = _WAIT_SECONDS if self._idle else _LONG_WAIT_SECONDS
            if batch.left > 1 and not batch.asked_back and batch.progressed + patience <= now:
                self._ask_back(batch, now, patience)
        if self._idle or self._batches_with_jobs() or not self._dealer.waits:
            self._idle_since = now
        elif now >= self._idle_since + NO_WORKER_SECONDS and self.broken is None:
            self._break(StartError(f"no worker was ready within {NO_WORKER_SECONDS:g} s"))

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
        for number, job in enumerate(batch.jobs):
            if job is not None:
                batch.jobs[number] = None
                batch.left -= 1
                error = AskTimeoutError(
                    f"a call was not done within {job.timeout:g} s; its worker {batch.worker.ref.path} was killed",
                    target=batch.worker.ref.path,
                    timeout=job.timeout,
                )
                error.may_have_run = True
                self._fail(job, error)
        self._staff.kill(batch.worker, (_KILLED, batch, None))

    # --- handing out --------------------------------------------------------------------------------------------------------

    def _hand_out(self) -> None:
        if self.broken is not None:
            self._fail_all(self.broken)
            return
        if self._retry_at <= time.monotonic():
            self._retry_at = math.inf
        while self._idle and self._retry_at == math.inf:
            most = self.plan.most_calls
            jobs = self._dealer.choose(math.inf if most is None else most - self._idle[0].made)
            if not jobs:
                return
            worker = self._idle.popleft()
            self._hand(worker, jobs)

    def _hand(self, worker: Worker, jobs: list[Job]) -> None:
        functions, calls, buffers = pack(jobs)
        try:
            batch = self._ask(worker, "make", (functions, calls, *buffers), jobs)
        except CodecError as error:
            self._idle.append(worker)
            self._not_encoded(jobs, error)
            return
        except MailboxFullError as error:
            self._idle.append(worker)
            self._no_memory(jobs, error)
            return
        except ActorsError as error:
            self._dealer.put_back(jobs)
            self._lose(worker, error)
            return
        worker.doing = "calls"
        self._full_since = 0.0
        batch.kinds = {(job.function[0], job.how) for job in jobs}
        if jobs[0].timeout is not None:
            batch.deadline_at = batch.began + jobs[0].timeout

    def _not_encoded(self, jobs: list[Job], error: ActorsError) -> None:
        if len(jobs) == 1:
            self._fail(jobs[0], error)
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
            self._fail(job, error)


def is_exiting() -> bool:
    """Whether the interpreter ends."""
    return _exiting.is_set()


def end_all() -> None:
    """As the interpreter ends: executors finish what is queued, pools are terminated."""
    _exiting.set()
    for force in list(_live):
        if force._pid != os.getpid():
            continue
        if force.drains_at_exit:
            force.close()
        else:
            force.terminate()
    for force in list(_live):
        if force._pid == os.getpid():
            force.join()


# Before non-daemon threads are joined, and before exit handlers: as concurrent.futures does it.
cast("Any", threading)._register_atexit(end_all)
