"""What a pool does with calls and workers, by workers that exist only here, and in no thread but the test's."""

from __future__ import annotations

import math
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import pytest

from actors import ActorDied, ExitReason, MailboxFullError, Pool, _batch, _calls, _errands, _workforce
from actors._batch import Event
from actors._call_worker import BEGUN, DONE, TAKEN_BACK
from actors._jobs import Job, Source
from actors._staff import GONE, Staff
from tests.unit.pool_world import FUNCTION, Crew, Told, force, job, plan, world


class Many(Source):
    """A source of calls that are there."""

    def __init__(self, jobs: list[Job]) -> None:
        self.jobs = deque(jobs)
        self.function, self.how = jobs[0].function, jobs[0].how
        self.timeout: float | None = None
        self.aborted: BaseException | None = None

    def take(self, most: int) -> list[Job]:
        return [self.jobs.popleft() for _ in range(min(most, len(self.jobs)))]

    def drop(self) -> list[Job]:
        return self.take(len(self.jobs))

    @property
    def over(self) -> bool:
        return not self.jobs

    @property
    def waiting(self) -> int:
        return len(self.jobs)

    def abort(self, error: BaseException) -> None:
        self.aborted = error


def killed() -> ActorDied:
    """What is told of the message that a worker had as it was killed."""
    path = "/pool/worker-1"
    return ActorDied(f"{path} was killed", target=path, reason=ExitReason("signal", exit_code=-9), may_have_run=True)


# --- calls that come as the pool is closed ------------------------------------------------------------------------------------


class Interrupted(SimpleQueue[Event]):
    """Something happens in the middle of whatever is put."""

    before: Callable[[], object] | None = None
    after: Callable[[], object] | None = None

    def put(self, item: Event, block: bool = True, timeout: float | None = None) -> None:
        before, self.before = self.before, None
        after, self.after = self.after, None
        if before is not None:
            before()
        super().put(item, block, timeout)
        if after is not None:
            after()


def interrupted(monkeypatch: pytest.MonkeyPatch) -> tuple[Crew, Interrupted]:
    monkeypatch.setattr(_workforce, "SimpleQueue", Interrupted)
    crew = force(monkeypatch)
    queue: Any = crew.force._events
    return crew, queue


@pytest.mark.parametrize(
    ("drains_at_exit", "error", "says"),
    [(True, RuntimeError, "cannot schedule new futures after shutdown"), (False, ValueError, "Pool not running")],
)
def test_a_closed_pool_takes_no_call(
    monkeypatch: pytest.MonkeyPatch, drains_at_exit: bool, error: type[Exception], says: str
) -> None:
    crew, told = force(monkeypatch, drains_at_exit=drains_at_exit), Told()
    crew.force.close()
    with pytest.raises(error, match=says):
        crew.force.add(job(told))
    crew.turn()
    crew.finish()

    assert (told.begun, told.errors) == ([], {})


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_call_in_whose_middle_the_pool_is_closed_is_refused(monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    crew, queue = interrupted(monkeypatch)
    told = Told()
    setattr(queue, when, crew.force.close)
    with pytest.raises(RuntimeError, match="after shutdown"):
        crew.force.add(job(told))
    crew.turn()
    crew.finish()

    assert (told.begun, told.errors) == ([], {})


def test_a_call_in_whose_middle_the_pool_comes_to_its_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    crew, queue = interrupted(monkeypatch)
    told = Told()

    def end() -> None:
        crew.force.close()
        crew.turn()
        crew.finish()

    queue.before = end
    with pytest.raises(RuntimeError, match="after shutdown"):
        crew.force.add(job(told))

    assert (told.begun, told.errors) == ([], {})


def test_a_call_that_was_taken_before_it_was_seen_to_be_late_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    crew, queue = interrupted(monkeypatch)
    told = Told()

    def close() -> None:
        crew.force.close()
        crew.turn()

    queue.after = close
    crew.force.add(job(told))
    crew.item(crew.world.batches[-1], 0, _calls.PLAIN, 7)
    crew.end(crew.world.batches[-1], 0.0)
    crew.finish()

    assert told.values == {0: 7}


def test_a_call_that_is_added_while_workers_are_stopped_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    crew, told = force(monkeypatch), Told()
    refused: list[BaseException] = []

    def add() -> None:
        try:
            crew.force.add(job(told))
        except RuntimeError as error:
            refused.append(error)

    crew.world.on_stop = add
    crew.force.close()
    crew.turn()
    crew.finish()

    assert len(refused) == 1
    assert (told.begun, told.errors) == ([], {})


def test_what_a_thread_that_fails_has_not_taken_ends_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    crew, told = force(monkeypatch), Told()
    crew.force.add(job(told))
    crew.force._break(OSError("a bug"))
    crew.force._finish()

    assert "a bug" in str(told.errors[0])
    with pytest.raises(RuntimeError, match="after shutdown"):
        crew.force.add(job(told, 1))


def test_calls_of_a_closed_pool_end_though_the_end_of_their_worker_is_told_before_that_of_their_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crew, told = force(monkeypatch), Told()
    crew.force._dealer.note_seconds([(FUNCTION[0], _calls.CALL)], 1e-6)
    crew.world.events.put(("added", [Many([job(told, number) for number in range(3)])], None))
    crew.turn()
    crew.force.close()
    crew.world.events.put((GONE, crew.world.workers[0], OSError("its system has stopped")))
    crew.turn()
    crew.fail(crew.world.batches[-1], killed())
    crew.finish()

    assert sorted(told.errors) == [0, 1, 2]


class System:
    """Where workers run; stops as it is told."""

    def supervisor(self, _path: str) -> System:
        return self

    def stop(self) -> None: ...

    def is_running(self) -> bool:
        return True


def test_news_that_come_while_workers_end_are_kept() -> None:
    events: SimpleQueue[Event] = SimpleQueue()
    staff = Staff(plan(2, system=System()), events)
    staff.workers = world(2).workers
    added = ("added", ["a source"], None)
    for event in (added, (GONE, staff.workers[0], None), (GONE, staff.workers[1], None)):
        events.put(event)
    staff.stop(kill=False)

    assert events.get_nowait() is added
    assert staff.all_gone


def test_what_nobody_feeds_keeps_no_pool_from_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    crew = force(monkeypatch, drains_at_exit=False)
    pool: Any = object.__new__(Pool)
    vars(pool).update(_force=crew.force, _pid=os.getpid(), _timeout=None, _retries=0, _streams=weakref.WeakSet())

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="new thread"):
        pool.imap(abs, [1, 2])
    pool.close()
    crew.turn()
    crew.finish()

    assert crew.world.stopped == [False]


class Changing(weakref.WeakSet[Any]):
    """Another thread adds something while it is looked through for the first time."""

    is_new = True

    def __iter__(self) -> Iterator[Any]:
        if self.is_new:
            self.is_new = False
            raise RuntimeError("Set changed size during iteration")
        return super().__iter__()


@pytest.mark.parametrize("ends", ["close", "join"])
def test_a_pool_can_be_closed_while_another_thread_makes_an_iterator_of_it(
    monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    crew = force(monkeypatch, drains_at_exit=False)
    pool: Any = object.__new__(Pool)
    vars(pool).update(_force=crew.force, _pid=os.getpid(), _streams=Changing())
    crew.force.closed = ends == "join"
    getattr(pool, ends)()

    assert crew.force.closed


# --- beginning ------------------------------------------------------------------------------------------------------------------


def test_a_start_that_was_interrupted_can_be_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    crew = force(monkeypatch)
    crew.force._begun.clear()
    crew.force._runner = None
    starts = [KeyboardInterrupt(), RuntimeError("no more threads")]
    start = threading.Thread.start

    def fail(thread: threading.Thread) -> None:
        if starts:
            raise starts.pop(0)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", fail)
    for error in (KeyboardInterrupt, RuntimeError):
        with pytest.raises(error):
            crew.force.start()
        crew.force.join()  # nothing to wait for
    crew.force.start()
    crew.force.close()
    crew.force.join()

    assert crew.world.stopped == [False]


def test_a_signal_handler_in_the_middle_of_a_start_does_not_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    crew, told = force(monkeypatch), Told()
    crew.force._begun.clear()
    monkeypatch.setattr(crew.force, "_run", crew.force._begun.set)
    start = threading.Thread.start

    def interrupted_start(thread: threading.Thread) -> None:
        crew.force.add(job(told))
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", interrupted_start)
    crew.force.start()
    crew.turn()

    assert told.begun == [0]


def test_of_two_threads_of_which_one_was_thought_not_to_have_begun_one_does_the_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crew = force(monkeypatch)
    crew.force.close()
    crew.force._run()
    crew.force._run()

    assert crew.world.stopped == [False]


# --- how long is waited, and for what ----------------------------------------------------------------------------------------------


def test_a_deadline_in_centuries_is_waited_for_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    crew, told = force(monkeypatch), Told()
    crew.force.add(job(told, timeout=1e10))
    crew.turn()
    waits: list[float | None] = []

    def get(*, timeout: float | None) -> Event:
        waits.append(timeout)
        return ("poked", None, None)

    monkeypatch.setattr(crew.force, "_events", SimpleNamespace(get=get, qsize=lambda: 0, empty=lambda: True))
    crew.force._turn()

    assert waits == [86_400.0]


def test_an_initializer_may_take_as_long_as_it_likes(monkeypatch: pytest.MonkeyPatch) -> None:
    crew, told = force(monkeypatch, greeted=False, initializer=print), Told()
    crew.force.add(job(told))
    (greeting,) = crew.world.batches
    crew.turn(59.0)
    crew.item(greeting, DONE, BEGUN)
    for _ in range(10):
        crew.turn(100.0)
    crew.end(greeting, True)
    crew.item(crew.world.batches[-1], 0, _calls.PLAIN, 7)

    assert (told.values, crew.force.broken) == ({0: 7}, None)


@pytest.mark.parametrize("what", ["dies", "retires"])
def test_a_worker_is_missing_from_when_it_ends_and_not_since_its_last_sign(
    monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    crew, told = force(monkeypatch, most_calls=1 if what == "retires" else None), Told()
    for number in range(2):
        crew.force.add(job(told, number))
        crew.turn()
    batch = crew.world.batches[-1]
    crew.clock.now += 600.0
    if what == "dies":
        crew.fail(batch, killed())
    else:
        crew.world.events.put((_batch.ITEM, batch, [0, _calls.PLAIN, 7]))
        crew.end(batch, 600.0)
    crew.turn(59.0)
    assert (1 in told.errors, crew.force.broken) == (False, None)
    crew.turn(2.0)

    assert "no worker was ready within 60 s" in str(told.errors[1])


def test_workers_that_do_not_even_begin_with_their_initializer_are_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crew, told = force(monkeypatch, greeted=False, initializer=print), Told()
    crew.force.add(job(told))
    crew.turn()
    crew.turn(59.0)
    assert told.errors == {}
    crew.turn(2.0)

    assert "no worker was ready within 60 s" in str(told.errors[0])


def test_calls_that_are_taken_back_count_neither_for_their_worker_nor_for_how_long_a_call_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crew, told = force(monkeypatch, most_calls=10), Told()
    crew.force._dealer.note_seconds([(FUNCTION[0], _calls.CALL)], 1e-6)
    crew.world.events.put(("added", [Many([job(told, number) for number in range(5)])], None))
    crew.turn()
    batch = crew.world.batches[-1]
    assert len(batch.jobs) == 5
    crew.item(batch, DONE, TAKEN_BACK, [1, 2, 3, 4])
    crew.item(batch, 0, _calls.PLAIN, "slow")
    crew.end(batch, 1.0)

    assert crew.world.workers[0].made == 1
    assert len(crew.world.batches[-1].jobs) == 1  # they take half a second each, as far as is known


def test_what_is_raised_between_two_calls_costs_one_of_them_and_initializes_nothing_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crew, told = force(monkeypatch, initializer=print), Told()
    crew.force._dealer.note_seconds([(FUNCTION[0], _calls.CALL)], 1e-6)
    crew.world.events.put(("added", [Many([job(told, number) for number in range(5)])], None))
    crew.turn()
    first = crew.world.batches[-1]
    crew.item(first, 0, _calls.PLAIN, "done")
    crew.fail(first, TimeoutError("the alarm of a call that is over"))
    again = crew.world.batches[-1]
    for number in range(3):
        crew.item(again, number, _calls.PLAIN, "later")
    crew.end(again, 0.0)

    assert crew.world.names == ["greet", "make", "make"]
    assert told.values == {0: "done", 2: "later", 3: "later", 4: "later"}
    assert {number: type(error) for number, error in told.errors.items()} == {1: TimeoutError}


def test_calls_of_which_none_was_begun_go_to_the_worker_when_it_was_greeted_and_count_from_zero(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crew, told = force(monkeypatch, most_calls=3), Told()
    for number in range(2):
        crew.force.add(job(told, number))
        crew.turn()
        crew.item(crew.world.batches[-1], 0, _calls.PLAIN, number)
        crew.end(crew.world.batches[-1], 0.0)
    crew.force.add(job(told, 2))
    crew.turn()
    crew.end(crew.world.batches[-1], None)
    assert crew.world.names[-2:] == ["make", "greet"]
    assert crew.world.workers[0].made == 0
    crew.end(crew.world.batches[-1], False)  # that process has died as well
    assert crew.world.names[-1] == "greet"
    crew.end(crew.world.batches[-1], True)
    crew.item(crew.world.batches[-1], 0, _calls.PLAIN, 2)

    assert told.values == {0: 0, 1: 1, 2: 2}
    assert told.begun == [0, 1, 2, 2]


def test_calls_whose_arguments_were_loaded_as_the_pool_is_terminated_end_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_errands, "_SHARED_BYTES", 1)
    crew, told = force(monkeypatch), Told()
    crew.force.add(job(told, 0, memoryview(b"large")))
    crew.turn()
    assert crew.world.names[-1] == "load"
    crew.force.terminate()
    crew.end(crew.world.batches[-1], None)
    crew.finish()

    assert "killed before this call was done" in str(told.errors[0])


# --- a broken pool ------------------------------------------------------------------------------------------------------------------


def test_a_pool_that_breaks_while_it_waits_for_memory_looks_at_nothing_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crew, told = force(monkeypatch, workers=2), Told()
    crew.world.errors.append(MailboxFullError("full", target="/pool/worker-1"))
    crew.force.add(job(told))
    crew.turn()
    assert crew.force._next_due(crew.clock.now) < math.inf
    crew.force._break(OSError("lost"))
    crew.turn(1.0)

    assert crew.force._next_due(crew.clock.now) == math.inf
    assert "lost" in str(told.errors[0])


def test_each_that_is_told_why_a_pool_is_broken_gets_an_exception_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    crew, told = force(monkeypatch), Told()
    for number in range(3):
        crew.force.add(job(told, number))
    cause = OSError("lost")
    crew.force._break(cause)
    crew.turn()

    assert {str(error) for error in told.errors.values()} == {"no call can be made by this pool: lost"}
    assert all(error.__cause__ is cause for error in told.errors.values())
    assert len(set(map(id, told.errors.values()))) == 3
