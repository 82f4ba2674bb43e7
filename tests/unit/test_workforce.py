"""What a pool does with calls and workers, by workers that exist only here, and in no thread but the test's."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import pytest

from actors import _calls, _workforce
from actors._batch import Event
from actors._staff import GONE, Staff
from tests.unit.pool_world import Crew, Told, force, job, plan, world

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


def test_of_two_threads_of_which_one_was_thought_not_to_have_begun_one_does_the_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crew = force(monkeypatch)
    crew.force.close()
    crew.force._run()
    crew.force._run()

    assert crew.world.stopped == [False]
