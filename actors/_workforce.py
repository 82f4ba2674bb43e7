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
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from queue import Empty, SimpleQueue
from typing import Any, Final

from actors import _batch, _pool_exit
from actors._batch import Batch, Event
from actors._call_worker import INHERITED
from actors._dealing import Dealer
from actors._errands import KILLED, Errands
from actors._greeting import Greeter
from actors._jobs import Plan, Sink, Source, Worker, again, check_owner
from actors._outcomes import Outcomes
from actors._staff import GONE, NO_WORKER_SECONDS, READY, Staff
from actors.errors import (
    ActorDied,
    ActorsError,
    DeadlockError,
    StartError,
)
from actors.mailbox._lock import RLock

__all__ = ["CLOSED", "Workforce"]

# What a queue takes as a timeout has a bound; whoever waits for longer looks in between.
_LONGEST_WAIT: Final = 86_400.0

CLOSED: Final = "cannot schedule new futures after shutdown"

_ADDED: Final = "added"
_POKED: Final = "poked"
_CLOSED: Final = "closed"


class Workforce:
    """
    The workers of one pool.

    Args:
        plan: What it was made with.

    Attributes:
        owner: Pid of the process that has made it.
        broken: Why no call can be made any more, or None.
        closed: Whether it takes nothing more.
        drains_at_exit: Whether the end of the interpreter waits for what is queued.
    """

    def __init__(self, plan: Plan, *, drains_at_exit: bool) -> None:
        self.plan = plan
        self.drains_at_exit = drains_at_exit
        self.broken: BaseException | None = None
        self.owner = os.getpid()
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._lock = RLock()
        self._thread: threading.Thread | None = None
        self._runner: threading.Thread | None = None
        self._unclaimed = [True]
        self.closed = False
        self._terminated = False
        self._begun = threading.Event()
        # All below: of the thread.
        self._staff = Staff(plan, self._events)
        self._dealer = Dealer(plan.size)
        self._outcomes = Outcomes()
        self._errands = Errands(plan, self._events, self._staff, self._dealer, self._outcomes)
        self._greeter = Greeter(plan, self._staff.name, self._errands, self._break, self._lose)
        self._lacking_since = math.inf  # infinity where nothing is lacking

    # --- any thread ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """
        Have the workers started, if they are not, and return when their processes are: what begins is begun before the
        interpreter may end, which from then on starts no thread and no fork.
        """
        if self._begun.is_set():
            return
        check_owner(self.owner)
        with self._lock:
            if self._thread is None:
                _pool_exit.remember(self)
                thread = threading.Thread(target=self._run, name=f"{self._staff.name}-thread", daemon=True)
                try:
                    self._thread = thread
                    thread.start()
                except BaseException:
                    # Also by an interrupt, after which it may begin all the same: see _run().
                    if thread.ident is None:
                        self._thread = None
                    raise
            elif self._thread.ident is None:
                return  # a signal handler in the middle of this very start, which goes on behind it
        self._begun.wait(NO_WORKER_SECONDS)

    def add(self, source: Source) -> None:
        """
        Have calls made.

        Raises:
            RuntimeError: It was closed, maybe in this very moment; of a pool that is no executor, a ValueError.
        """
        claim = [source]
        if not self.closed:
            self.start()
            # Whoever takes it out has the source: the pool's thread, or this one if it is too late. No lock: who closes the pool may
            # be a finalizer or a signal handler within this very call, and may wait for the thread.
            self._events.put((_ADDED, claim, None))
            if not self.closed:
                return
        with contextlib.suppress(IndexError):
            claim.pop()
            raise self.refusal()

    def refusal(self) -> Exception:
        """What is raised where something is to be done after the end."""
        return RuntimeError(CLOSED) if self.drains_at_exit else ValueError("Pool not running")

    def poke(self, source: Source) -> None:
        """There is more in *source*, or there is less room to wait for."""
        self._events.put((_POKED, source, None))

    def close(self) -> None:
        """Take nothing more; end when all is done. Any moment, also from a finalizer."""
        self.closed = True
        self._events.put((_CLOSED, None, None))

    def cancel_pending(self, give_up: Callable[[Source], object]) -> None:
        """
        Have *give_up* told each source that is not used up, in the pool's thread, and forget it. What workers without calls are
        about to take is not given up, so that what was submitted first is done also where they are still starting.
        """
        self._events.put((_CLOSED, give_up, None))

    def terminate(self) -> None:
        """Kill the workers; what was not done ends with an error."""
        self.closed = self._terminated = True
        self._events.put((_CLOSED, None, None))

    def join(self) -> None:
        """Wait until the workers are gone."""
        thread = self._runner or self._thread
        if thread is not None and thread.ident is not None and thread is not threading.current_thread():
            thread.join()

    def tell_later(self, sink: Sink) -> None:
        """In the pool's thread: something was told to *sink* by itself."""
        self._outcomes.tell_later(sink)

    def refuse_own_thread(self) -> None:
        """
        Return unless this is the pool's own thread, which runs callbacks.

        Raises:
            DeadlockError: It is, and would wait for what it has to bring itself.
        """
        if self._runner is threading.current_thread():
            raise DeadlockError(
                "a callback of a pool waits for a result of the same pool, which its own thread would have to bring"
            )

    def processes(self) -> list[int]:
        """The pids of the workers that live."""
        return self._staff.processes()

    # --- the thread ---------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._unclaimed.pop()
        except IndexError:
            return  # another one was started, since the start of this one was interrupted
        self._runner = threading.current_thread()
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
        return self._terminated or not (self._dealer.waits or self._errands.calls_run)

    def _turn(self) -> None:
        """Take what has happened, then hand out what can be."""
        now = time.monotonic()
        due = self._next_due(now)
        event: Event | None = None
        with contextlib.suppress(Empty):
            event = self._events.get(timeout=None if due == math.inf else min(max(0.0, due - now), _LONGEST_WAIT))
        count = self._events.qsize()
        while event is not None:
            self._take(*event)
            event = self._events.get_nowait() if count > 0 else None
            count -= 1
        if not self._terminated:
            self._errands.look(time.monotonic())
            self._look_for_workers(time.monotonic())
            self._hand_out()
        # Only now, when the workers have got something to do; and no longer than until one of them wants more.
        self._outcomes.tell(lambda: not self._events.empty())
        if not (self._errands.idle or self._terminated) and self._events.empty():
            self._dealer.prepare()

    def _next_due(self, now: float) -> float:
        self._note_lack(now)
        return min(self._errands.next_due(), self._lacking_since + NO_WORKER_SECONDS)

    def _lacks_workers(self) -> bool:
        """Whether calls wait, and no worker is known to do anything. An initializer may take as long as it likes."""
        if self._errands.idle or self._errands.calls_run or not self._dealer.waits or self.broken is not None:
            return False
        return all(worker.doing != "initializing" for worker in self._staff.workers)

    def _note_lack(self, now: float) -> None:
        """Since when workers are lacking, which counts from the look that finds it: what was before that took any time."""
        self._lacking_since = min(self._lacking_since, now) if self._lacks_workers() else math.inf

    def _look_for_workers(self, now: float) -> None:
        self._note_lack(now)
        if now >= self._lacking_since + NO_WORKER_SECONDS:
            self._break(StartError(f"no worker was ready within {NO_WORKER_SECONDS:g} s"))

    def _hand_out(self) -> None:
        if self.broken is not None:
            self._fail_all(self.broken)
        elif self._errands.may_send:
            self._greeter.try_again()
            self._errands.hand_out()

    def _take(self, what: str, which: Any, how: Any) -> None:
        if what == _batch.ITEM:
            self._errands.take_item(which, how)
        elif what == _batch.ENDED:
            self._take_end(which, how)
        elif what == _batch.FAILED:
            self._take_failure(which, how)
        elif what == _ADDED:
            # Nothing, where whoever added it was too late.
            with contextlib.suppress(IndexError):
                self._dealer.sources.append(which.pop())
        elif what == READY:
            self._greet(which)
        elif what == GONE:
            self._lose(which, how)
        elif what == KILLED:
            self._greet_next(which.worker)
        elif what == _CLOSED and which is not None:
            busy = sum(worker.doing == "calls" for worker in self._staff.workers)
            self._dealer.keep(self.plan.size - busy)
            for source in self._dealer.take_sources():
                self._outcomes.quietly(which, source)

    # --- beginning and end --------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        try:
            if self.plan.initializer is not None and self.plan.method == "fork":
                INHERITED[self._staff.name] = (self.plan.initializer, self.plan.initargs)
            self._staff.start(self._begun.set)
        except Exception as error:  # noqa: BLE001 - whatever keeps it from starting is what each call is told
            self._break(error)

    def _finish(self) -> None:
        """The thread ends: so do the workers, and whatever was not done."""
        self.closed = True
        self._begun.set()
        why = self._why_over()
        self._fail_all(why)
        try:
            self._staff.stop(kill=self._terminated)
        finally:
            # Also what came in the very last moment.
            self._drop_rest(why)
            _pool_exit.forget(self)

    def _why_over(self) -> BaseException:
        if self.broken is not None or not self._terminated:
            return self.broken or self.refusal()
        if self.drains_at_exit:
            return BrokenProcessPool("the workers were killed before this call was done")
        return StartError("the pool was terminated before this call was done")

    def _drop_rest(self, why: BaseException) -> None:
        with contextlib.suppress(Empty):
            while True:
                what, which, _how = self._events.get_nowait()
                if what == _ADDED:
                    self._take(what, which, None)
        self._fail_all(why)

    def _break(self, error: BaseException, what: str = "") -> None:
        """No call can be made, now or later: all end with the reason."""
        if self.broken is None:
            text = f"no call can be made by this pool: {what}{error}"
            self.broken = BrokenProcessPool(text)
            self.broken.__cause__ = error
        self._begun.set()
        self._fail_all(self.broken)

    def _fail_all(self, error: BaseException) -> None:
        for batch in self._errands.batches:
            for job in batch.jobs:
                if job is not None:
                    self._outcomes.fail(job, again(error))
            batch.jobs = []
        jobs, sources = self._dealer.drain()
        for job in jobs:
            self._outcomes.fail(job, again(error))
        for source in sources:
            source.abort(again(error))
        self._outcomes.tell()

    # --- workers ------------------------------------------------------------------------------------------------------------

    def _greet(self, worker: Worker) -> None:
        """Have a new process ready for calls, unless there will be none."""
        if self._may_greet(worker):
            self._greeter.greet(worker)

    def _greet_next(self, worker: Worker) -> None:
        """The same, where the process before it has ended."""
        if self._may_greet(worker):
            self._greeter.greet_next(worker)

    def _may_greet(self, worker: Worker) -> bool:
        return worker.doing != "gone" and not self._terminated and self.broken is None

    def _lose(self, worker: Worker, error: BaseException) -> None:
        """A worker will not come back."""
        worker.doing = "gone"
        with contextlib.suppress(ValueError):
            self._errands.idle.remove(worker)
        if self._staff.all_gone and (not self.closed or self._dealer.waits):
            self._break(error)

    def _free(self, worker: Worker) -> None:
        """It has nothing to do."""
        most = self.plan.most_calls
        if most is None or worker.made < most:
            worker.doing = "nothing"
            self._errands.idle.append(worker)
            return
        worker.doing = "retiring"
        try:
            self._errands.ask(worker, "retire", (), [])
        except ActorsError as error:
            self._lose(worker, error)

    # --- what comes from workers -----------------------------------------------------------------------------------------------

    def _take_end(self, batch: Batch, result: Any) -> None:
        if self._errands.batches.pop(batch, self) is self:
            return
        worker = batch.worker
        if batch.name == "make":
            self._errands.end_calls(batch, result)
        if batch.condemned:
            return
        if batch.then is not None:
            self._loaded(batch)
        elif batch.name == "greet" and result:
            self._greeter.succeeded()
            self._free(worker)
        elif batch.name == "greet" or result is None:
            # It died with nothing to do, of which nobody is told: another process has taken its place.
            self._greet(worker)
        else:
            self._free(worker)

    def _loaded(self, batch: Batch) -> None:
        """A worker has got what the next message needs."""
        if self.broken is not None or self._terminated:
            self._errands.put_back(batch, range(len(batch.jobs)))  # to end with whatever else waits
        elif batch.purpose == "greet":
            self._greeter.go_on(batch)
        else:
            self._errands.go_on(batch)

    def _take_failure(self, batch: Batch, error: BaseException) -> None:
        if self._errands.batches.pop(batch, self) is self:
            return
        worker = batch.worker
        stays = isinstance(error, ActorDied) and error.may_have_run
        if batch.purpose == "greet":
            self._greeter.failed(error, died=stays)
        elif batch.purpose == "make":
            self._errands.fail_calls(batch, error, died=stays)
        if isinstance(error, ActorDied) and (not stays or worker.doing == "gone"):
            self._lose(worker, error)
        elif batch.condemned:
            return
        elif stays:
            self._greet_next(worker)
        elif batch.purpose != "greet":
            self._free(
                worker
            )  # something was raised between two calls, as by a signal handler that one has left: its process lives
