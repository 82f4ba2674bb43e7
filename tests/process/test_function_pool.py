"""``Pool`` as a replacement of ``multiprocessing.Pool``: its patterns one by one, and what becomes of calls when workers die."""

from __future__ import annotations

import functools
import gc
import itertools
import multiprocessing
import operator
import os
import pickle
import random
import sys
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import pool as stdlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actors import AskTimeoutError, AsyncResult, DeadlockError, Pool, RemoteTraceback, StartError, WorkerDied
from tests import callables, scripts

SECONDS = 30.0


@pytest.fixture
def pool(start_method: str) -> Iterator[Pool]:
    with Pool(2, context=multiprocessing.get_context(start_method)) as running:
        yield running


@pytest.fixture
def fifo(tmp_path: Path) -> str:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return str(path)


# --- the patterns of multiprocessing.Pool ----------------------------------------------------------------------------------------


@pytest.mark.conformance
def test_the_patterns_of_the_standard_library_run_as_they_are(pool: Pool) -> None:
    squares = [number * number for number in range(1000)]

    assert squares[:10] == pool.map(callables.square, range(10))
    assert 25 == pool.apply(callables.square, (5,))
    assert 15 == pool.apply(callables.multiply, (5,), {"right": 3})
    assert 25 == pool.apply_async(callables.square, (5,)).get(timeout=SECONDS)
    assert squares == list(pool.imap(callables.square, range(1000)))
    assert squares == sorted(pool.imap_unordered(callables.square, range(1000)))
    assert squares == list(pool.imap(callables.square, range(1000), chunksize=7))
    assert squares == sorted(pool.imap_unordered(callables.square, range(1000), chunksize=300))
    assert [6, 4] == pool.starmap(callables.multiply, [(2, 3), (2,)])
    assert squares == pool.map_async(callables.square, range(1000), chunksize=1).get(timeout=SECONDS)
    assert [6, 4] == pool.starmap_async(callables.multiply, iter([(2, 3), (2,)]), 2).get(timeout=SECONDS)
    assert [] == pool.map(callables.square, [])


@pytest.mark.conformance
def test_an_initializer_runs_once_in_each_worker(start_method: str) -> None:
    context = multiprocessing.get_context(start_method)
    with Pool(2, initializer=callables.share, initargs=("postgresql://localhost", 5), context=context) as pool:
        assert ["postgresql://localhost", 5] == pool.apply(callables.shared)


def test_a_worker_is_replaced_after_so_many_tasks(start_method: str) -> None:
    with Pool(1, maxtasksperchild=2, context=multiprocessing.get_context(start_method)) as pool:
        pids = pool.map(callables.own_pid, range(8), chunksize=2)

    assert len(set(pids)) == 2
    assert all(pids.count(pid) == 4 for pid in pids)


def test_an_async_result_says_whether_it_is_there(pool: Pool, fifo: str) -> None:
    result = pool.apply_async(callables.read, (fifo,))

    assert isinstance(result, AsyncResult)
    assert not result.ready()
    with pytest.raises(ValueError, match="not ready"):
        result.successful()
    with pytest.raises(multiprocessing.TimeoutError):
        result.get(timeout=0.01)
    result.wait(0.01)
    Path(fifo).write_text("there")
    assert "there" == result.get(timeout=SECONDS)
    assert result.ready()
    assert result.successful()


def test_callbacks_get_the_result_or_the_exception(pool: Pool, capsys: pytest.CaptureFixture[str]) -> None:
    told: list[object] = []
    pool.apply_async(callables.square, (3,), callback=told.append).wait(SECONDS)
    pool.map_async(callables.square, range(3), callback=told.append).wait(SECONDS)
    failed = pool.apply_async(callables.refuse, ("no",), callback=told.append, error_callback=told.append)
    failed.wait(SECONDS)
    pool.apply_async(callables.square, (1,), callback=callables.refuse_odd).wait(SECONDS)

    assert told[:2] == [9, [0, 1, 4]]
    assert isinstance(told[2], ValueError)
    assert not failed.successful()
    assert "1 is odd" in capsys.readouterr().err
    assert 4 == pool.apply(callables.square, (2,))


def test_a_pool_goes_on_where_nothing_can_be_shown_of_what_a_callback_raised(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert 1 == pool.apply_async(callables.square, (1,), callback=callables.refuse_odd).get(timeout=SECONDS)
    assert 4 == pool.apply(callables.square, (2,))


def test_a_callback_that_waits_for_its_own_pool_is_told_so(pool: Pool) -> None:
    caught: list[BaseException] = []

    def wait(_value: object) -> None:
        try:
            pool.apply(callables.square, (2,))
        except DeadlockError as error:
            caught.append(error)

    pool.apply_async(callables.square, (1,), callback=wait).wait(SECONDS)

    assert len(caught) == 1


@pytest.mark.conformance
def test_an_exception_is_of_its_own_type_and_ends_a_map(pool: Pool) -> None:
    with pytest.raises(callables.OwnError) as caught:
        pool.apply(callables.raise_own)
    assert isinstance(caught.value.__cause__, RemoteTraceback)
    with pytest.raises(ValueError, match="is odd"):
        pool.map(callables.refuse_odd, range(10))
    with pytest.raises(stdlib.MaybeEncodingError, match="lock"):  # type: ignore[attr-defined]
        pool.apply(callables.lock)
    with pytest.raises(TypeError):
        pool.apply(callables.square, (threading.Lock(),))


def test_an_iterator_goes_on_behind_a_call_that_raised(pool: Pool) -> None:
    results = pool.imap(callables.refuse_odd, range(4))

    assert 0 == results.next(timeout=SECONDS)
    with pytest.raises(ValueError, match="1 is odd"):
        results.next(timeout=SECONDS)
    assert 2 == next(results)
    with pytest.raises(ValueError, match="3 is odd"):
        next(results)
    with pytest.raises(StopIteration):
        next(results)
    with pytest.raises(StopIteration):
        next(results)


def test_an_iterator_gives_up_waiting_when_asked_to(pool: Pool, fifo: str) -> None:
    results = pool.imap(callables.read, [fifo])

    with pytest.raises(multiprocessing.TimeoutError):
        results.next(timeout=0.01)
    Path(fifo).write_text("there")
    assert "there" == results.next(timeout=SECONDS)


@pytest.mark.parametrize("kind", ["imap", "imap_unordered"])
@pytest.mark.parametrize("chunksize", [1, 10])
def test_an_endless_iterable_is_read_no_further_than_needed(pool: Pool, kind: str, chunksize: int) -> None:
    read = itertools.count()

    results = getattr(pool, kind)(callables.square, read, chunksize)
    found = set(itertools.islice(results, 5000))

    assert len(found) == 5000
    results.close()
    assert next(read) < 5000 + 10_000 * chunksize


def test_an_iterable_that_raises_is_told_behind_its_last_item(pool: Pool) -> None:
    def items() -> Iterator[int]:
        yield 3
        raise OSError("the disk is gone")

    results = pool.imap(callables.square, items())

    assert 9 == next(results)
    with pytest.raises(OSError, match="disk"):
        next(results)
    with pytest.raises(StopIteration):
        next(results)


def test_a_function_that_cannot_travel_is_told_as_the_results_are_read(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    results = pool.imap(lambda number: number, itertools.count())

    with pytest.raises(Exception, match="pickle"):
        next(results)
    with pytest.raises(StopIteration):
        next(results)


@pytest.mark.parametrize("chunksize", [1, 7, None])
def test_a_map_of_a_function_that_cannot_travel_ends_at_once(pool: Pool, chunksize: int | None) -> None:
    lock: Any = threading.Lock()
    bound = functools.partial(callables.multiply, lock)
    told: list[BaseException] = []
    result = pool.map_async(bound, range(100), chunksize, error_callback=told.append)

    assert result.ready()
    with pytest.raises(TypeError, match="pickle"):
        result.get(timeout=SECONDS)
    assert len(told) == 1


def test_a_method_of_an_object_travels_with_what_the_object_is_now(pool: Pool) -> None:
    known: dict[str, int] = {}
    assert pool.apply(known.get, ("a",)) is None
    known["a"] = 1
    assert 1 == pool.apply(known.get, ("a",))
    numbers = random.Random(1)
    assert pool.apply(numbers.random) == pool.apply(numbers.random) == random.Random(1).random()
    assert pool.map(abs, [-1]) == pool.map(operator.neg, [-1]) == [pool.apply(dict.fromkeys, ("a", 1))["a"]] == [1]


def test_a_pool_lives_as_long_as_its_results_are_wanted(start_method: str) -> None:
    context = multiprocessing.get_context(start_method)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # that nobody has closed them
        assert [1, 4] == Pool(2, context=context).map_async(callables.square, [1, 2]).get(timeout=SECONDS)
        assert 9 == Pool(2, context=context).apply_async(callables.square, (3,)).get(timeout=SECONDS)
        assert [1, 4] == list(Pool(2, context=context).imap(callables.square, [1, 2]))
        assert [1, 4] == list(Pool(2, context=context).options(retries=1).imap(callables.square, [1, 2]))
        gc.collect()


def test_nobody_is_called_back_for_a_map_of_nothing(pool: Pool) -> None:
    called: list[object] = []
    result = pool.map_async(callables.square, [], callback=called.append)

    assert [] == result.get(timeout=SECONDS)
    assert called == []


def test_a_pool_that_is_closed_finishes_what_was_given_to_it(start_method: str) -> None:
    pool = Pool(2, context=multiprocessing.get_context(start_method))
    results = pool.imap(callables.square, range(500))
    with pytest.raises(ValueError, match="still running"):
        pool.join()
    pool.close()
    pool.join()

    assert [number * number for number in range(500)] == list(results)
    for call in (pool.map, pool.imap, pool.map_async):
        with pytest.raises(ValueError, match="not running"):
            call(callables.square, [1])
    with pytest.raises(ValueError, match="not running"):
        pool.apply(callables.square, (1,))


def test_a_pool_that_is_closed_ends_although_nobody_can_read_its_results(start_method: str) -> None:
    pool = Pool(1, context=multiprocessing.get_context(start_method))
    force = pool._force
    assert force is not None
    assert next(pool.imap_unordered(callables.square, range(1000))) == 0
    pool.close()
    del pool
    force.join()

    assert force.processes() == []


def test_leaving_the_block_terminates_what_runs(start_method: str, fifo: str) -> None:
    with Pool(1, context=multiprocessing.get_context(start_method)) as pool:
        running = pool.apply_async(callables.read, (fifo,))
        waiting = pool.map_async(callables.square, range(3))
        endless = pool.imap(callables.square, itertools.count())

    for result in (running, waiting):
        with pytest.raises((StartError, WorkerDied)):
            result.get(timeout=SECONDS)
    with pytest.raises(StartError):
        next(endless)


def test_a_pool_that_is_dropped_open_says_so_and_ends(start_method: str) -> None:
    pools = [Pool(1, context=multiprocessing.get_context(start_method))]
    with pytest.warns(ResourceWarning, match="unclosed running multiprocessing pool"):
        pools.clear()
    gc.collect()


def test_arguments_that_cannot_be_are_refused_as_in_the_standard_library(pool: Pool) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Pool(0)
    with pytest.raises(TypeError, match="processes='2': must be None or a whole number"):
        Pool("2")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="context='spawn': must be None or a context"):
        Pool(1, context="spawn")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="callable"):
        Pool(1, initializer=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="maxtasksperchild"):
        Pool(1, maxtasksperchild=0)
    with pytest.raises(ValueError, match="Chunksize"):
        pool.imap(callables.square, [1], 0)
    with pytest.raises(NotImplementedError, match="pickled"):
        pickle.dumps(pool)


@pytest.mark.conformance
def test_arrays_arrive_writable_and_come_back(pool: Pool) -> None:
    blocks = [np.full(100_000, float(number)) for number in range(8)]

    doubled = pool.map(callables.double, blocks)

    assert [2.0 * number for number in range(8)] == [float(block[7]) for block in doubled]
    assert all(block.flags.writeable for block in doubled)


# --- deaths ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.conformance
def test_a_worker_that_dies_fails_only_the_call_that_it_was_making(pool: Pool) -> None:
    results = pool.imap(callables.die_of_three, range(100))
    outcomes: list[object] = []
    while True:
        try:
            outcomes.append(next(results))
        except WorkerDied as error:
            outcomes.append(error)
        except StopIteration:
            break

    assert [number for number in range(100) if number != 3] == [each for each in outcomes if isinstance(each, int)]
    assert isinstance(outcomes[3], WorkerDied)


def test_a_call_that_exits_ends_its_worker_and_says_so(pool: Pool) -> None:
    with pytest.raises(WorkerDied, match="exit code 5"):
        pool.apply(callables.leave, (5,))
    assert 4 == pool.apply(callables.square, (2,))


def test_an_initializer_that_always_fails_fails_the_calls(start_method: str) -> None:
    context = multiprocessing.get_context(start_method)
    with Pool(2, initializer=callables.exit_to_begin, context=context) as pool:
        with pytest.raises(BrokenProcessPool, match="exit code 3"):
            pool.apply(callables.square, (1,))
        with pytest.raises(BrokenProcessPool, match="exit code 3"):
            pool.map(callables.square, range(10))
        with pytest.raises(BrokenProcessPool, match="exit code 3"):
            list(pool.imap(callables.square, range(10)))


def test_calls_may_have_deadlines_and_run_again(pool: Pool, tmp_path: Path) -> None:
    with pytest.raises(AskTimeoutError, match="was killed"):
        pool.options(timeout=0.1).apply(callables.wait_for_ever)
    with pytest.raises(AskTimeoutError, match="was killed"):
        pool.options(timeout=0.1).options(retries=1).apply(callables.wait_for_ever)
    assert "the second time" == pool.options(retries=1).apply(callables.die_once, (str(tmp_path / "first"),))


# --- progress --------------------------------------------------------------------------------------------------------------------


def test_a_bar_shows_how_far_it_is(pool: Pool, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rich")

    assert [0, 1, 4] == pool.map(callables.square, range(3), progress="squares")
    assert [0, 1, 4] == list(pool.imap(callables.square, range(3), progress=True))
    assert {0, 1} == set(pool.imap_unordered(callables.square, iter([0, 1]), progress=True))
    printed, shown = capsys.readouterr()
    assert "squares" in shown
    assert "100%" in shown
    assert "squares" not in printed


def test_without_rich_a_bar_is_refused_with_what_to_install(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich.progress", None)

    with pytest.raises(ImportError, match=r"pip install rich"):
        pool.map(callables.square, range(3), progress=True)


def test_a_program_that_ends_terminates_its_pool(tmp_path: Path) -> None:
    script = scripts.write(
        tmp_path,
        """
        from actors import Pool
        from tests import callables

        if __name__ == "__main__":
            pool = Pool(1)
            print(pool.apply(callables.square, (3,)), flush=True)
            pool.apply_async(callables.wait_for_ever)
        """,
    )

    ended = scripts.run(script)

    assert (ended.code, ended.out) == (0, "9\n"), ended
