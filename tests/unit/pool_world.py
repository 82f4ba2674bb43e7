"""The staff of a pool that exists only here: it notes what workers are asked, and answers what the test says."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import attrs
import pytest

from actors import ActorRef, _batch, _calls, _errands, _workforce
from actors._batch import Batch, Event
from actors._dealing import Dealer
from actors._errands import Errands
from actors._jobs import Job, Plan, Worker
from actors._outcomes import Outcomes
from actors._staff import READY
from actors._workforce import Workforce

FUNCTION: _calls.Function = (b"function", True)


class Clock:
    """Stands for the module ``time`` where only that counts."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


class Told:
    """A sink."""

    def __init__(self) -> None:
        self.values: dict[int, Any] = {}
        self.errors: dict[int, BaseException] = {}
        self.begun: list[int] = []
        self.wants = True

    def begin(self, index: int) -> bool:
        self.begun.append(index)
        return self.wants

    def succeed(self, index: int, value: Any) -> None:
        self.values[index] = value

    def fail(self, index: int, error: BaseException) -> None:
        self.errors[index] = error

    def unsendable(self, index: int, error: BaseException, shown: str) -> None:
        self.errors[index] = error

    def flush(self) -> None: ...


@attrs.define
class World:
    """Staff, its host and the node of that host in one."""

    workers: list[Worker]
    events: SimpleQueue[Event] = attrs.Factory(SimpleQueue)
    asked: list[tuple[Worker, str, tuple[Any, ...]]] = attrs.Factory(list)
    batches: list[Batch] = attrs.Factory(list)
    errors: deque[BaseException | None] = attrs.Factory(deque)
    taken_back: list[Batch] = attrs.Factory(list)
    killed: list[Event] = attrs.Factory(list)
    stopped: list[bool] = attrs.Factory(list)
    name: str = "pool-1"
    on_stop: Callable[[], object] = lambda: None

    @property
    def host(self) -> World:
        return self

    @property
    def node(self) -> World:
        return self

    @property
    def all_gone(self) -> bool:
        return all(worker.doing == "gone" for worker in self.workers)

    def _open(self, begin: Any, ref: ActorRef[Any], name: str, args: tuple[Any, ...], _kwargs: Any) -> None:
        error = self.errors.popleft() if self.errors else None
        if error is not None:
            raise error
        self.asked.append((self.worker_of(ref), name, args))
        self.batches.append(begin.__self__)

    def worker_of(self, ref: ActorRef[Any]) -> Worker:
        return next(worker for worker in self.workers if worker.ref is ref)

    def take_back(self, batch: Batch) -> None:
        self.taken_back.append(batch)

    def kill(self, _worker: Worker, killed: Event, _why: str) -> None:
        self.killed.append(killed)

    def start(self, launched: Callable[[], object]) -> None:
        launched()

    def stop(self, *, kill: bool) -> None:
        self.stopped.append(kill)
        self.on_stop()

    def processes(self) -> list[int]:
        return []

    @property
    def names(self) -> list[str]:
        """Of the handlers that were asked."""
        return [name for _worker, name, _args in self.asked]


def world(workers: int = 1) -> World:
    return World([Worker(ActorRef("made-up", uid + 1, f"/pool/worker-{uid + 1}")) for uid in range(workers)])


def plan(size: int = 1, **options: Any) -> Plan:
    values: dict[str, Any] = {
        "method": "spawn",
        "initializer": None,
        "initargs": (),
        "most_calls": None,
        "leaves": False,
        "system": None,
    }
    return Plan(size, **(values | options))


def job(sink: Told, index: int = 0, *beside: memoryview, **options: Any) -> Job:
    coded = [_calls.PICKLED, b"", *beside] if beside else [_calls.PLAIN, []]
    return Job(sink, index, options.pop("function", FUNCTION), _calls.CALL, coded, **options)


@attrs.define
class Desk:
    """What the pool's thread has, and a clock that stands still."""

    world: World
    clock: Clock
    dealer: Dealer
    outcomes: Outcomes
    errands: Errands

    def add(self, *jobs: Job, seconds: float | None = 1e-6) -> None:
        """Have calls wait that are expected to take so long."""
        if seconds is not None:
            self.dealer.note_seconds({(each.function[0], each.how) for each in jobs}, seconds)
        self.dealer.sources.extend(jobs)

    def look(self, seconds: float = 0.0) -> None:
        """So much later."""
        self.clock.now += seconds
        self.errands.look(self.clock.now)
        self.errands.hand_out()
        self.outcomes.tell()

    @property
    def due(self) -> float:
        """In how many seconds it is to be looked at again."""
        return self.errands.next_due() - self.clock.now if self.errands.next_due() < math.inf else math.inf


@attrs.define
class Crew:
    """A workforce whose thread is the test's."""

    world: World
    clock: Clock
    force: Workforce

    def turn(self, seconds: float = 0.0) -> None:
        """All that is there to be done, so much later."""
        self.clock.now += seconds
        self.force._events.put(("poked", None, None))  # nothing is waited for
        self.force._turn()

    def finish(self) -> None:
        """What the thread does at its end, if it is the end."""
        assert self.force._is_over()
        self.force._finish()

    def item(self, batch: Batch, *value: Any) -> None:
        self.world.events.put((_batch.ITEM, batch, list(value)))
        self.turn()

    def end(self, batch: Batch, value: Any) -> None:
        self.world.events.put((_batch.ENDED, batch, value))
        self.turn()

    def fail(self, batch: Batch, error: BaseException) -> None:
        self.world.events.put((_batch.FAILED, batch, error))
        self.turn()


def force(
    monkeypatch: pytest.MonkeyPatch,
    workers: int = 1,
    *,
    drains_at_exit: bool = True,
    greeted: bool = True,
    **options: Any,
) -> Crew:
    """A workforce without a thread, whose workers are ready, or are about to be greeted."""
    there, clock = world(workers), Clock()
    monkeypatch.setattr(_errands, "time", clock)
    monkeypatch.setattr(_workforce, "time", clock)

    def staff(_plan: Plan, events: SimpleQueue[Event]) -> World:
        there.events = events
        return there

    monkeypatch.setattr(_workforce, "Staff", staff)
    made = Workforce(plan(workers, **options), drains_at_exit=drains_at_exit)
    made._begun.set()
    made._runner = threading.current_thread()
    crew = Crew(there, clock, made)
    for worker in there.workers:
        there.events.put((READY, worker, None))
    crew.turn()
    for batch in list(there.batches if greeted else ()):
        crew.end(batch, True)
    return crew


def desk(monkeypatch: pytest.MonkeyPatch, workers: int = 1, **options: Any) -> Desk:
    """A desk whose workers have nothing to do."""
    there, clock = world(workers), Clock()
    monkeypatch.setattr(_errands, "time", clock)
    monkeypatch.setattr(_errands, "_SHARED_BYTES", workers << 20)
    dealer, outcomes = Dealer(workers), Outcomes()
    errands = Errands(plan(workers, **options), there.events, there, dealer, outcomes)  # type: ignore[arg-type]
    errands.idle.extend(there.workers)
    return Desk(there, clock, dealer, outcomes, errands)
