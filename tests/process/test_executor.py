"""``ActorExecutor`` as a replacement of ``ProcessPoolExecutor``, and what becomes of calls when workers die."""

from __future__ import annotations

import concurrent.futures
import contextlib
import gc
import itertools
import multiprocessing
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from actors import (
    ActorDied,
    ActorExecutor,
    ActorsError,
    ActorSystem,
    AskTimeoutError,
    EncodeError,
    HandlerError,
    RemoteTraceback,
    SpecError,
    WorkerDied,
    _descriptors,
)
from tests import callables, scripts
from tests.helpers import eventually

SECONDS = 30.0


@pytest.fixture
def executor(start_method: str) -> Iterator[ActorExecutor]:
    with ActorExecutor(2, multiprocessing.get_context(start_method)) as running:
        yield running


@pytest.fixture
def fifo(tmp_path: Path) -> str:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return str(path)


# --- what the documentation of concurrent.futures shows ------------------------------------------------------------------------


@pytest.mark.conformance
def test_the_examples_of_the_documentation_run_as_they_are(executor: ActorExecutor) -> None:
    assert 1024 == executor.submit(pow, 2, 10).result(timeout=SECONDS)
    primes = dict(zip(callables.PRIMES, executor.map(callables.is_prime, callables.PRIMES), strict=True))
    futures = {executor.submit(callables.multiply, number, right=3): number for number in range(5)}
    found = {futures[future]: future.result() for future in concurrent.futures.as_completed(futures, timeout=SECONDS)}

    assert primes == dict.fromkeys(callables.PRIMES, True)
    assert found == {0: 0, 1: 3, 2: 6, 3: 9, 4: 12}
    assert isinstance(executor, concurrent.futures.Executor)
    assert all(type(future) is Future for future in futures)


def test_wait_returns_at_the_first_result_and_at_the_first_exception(executor: ActorExecutor, fifo: str) -> None:
    slow: Future[Any] = executor.submit(callables.read, fifo)
    quick: Future[Any] = executor.submit(callables.square, 3)

    first = concurrent.futures.wait([slow, quick], SECONDS, return_when=concurrent.futures.FIRST_COMPLETED)
    bad: Future[Any] = executor.submit(callables.refuse, "no")
    second = concurrent.futures.wait([slow, bad], SECONDS, return_when=concurrent.futures.FIRST_EXCEPTION)
    Path(fifo).write_text("done")

    assert (first.done, first.not_done) == ({quick}, {slow})
    assert second.done == {bad}
    assert slow.result(timeout=SECONDS) == "done"


@pytest.mark.parametrize("chunksize", [1, 3, 100])
def test_a_map_gives_its_results_in_order_whatever_the_chunks(executor: ActorExecutor, chunksize: int) -> None:
    assert [number * 2 for number in range(10)] == list(
        executor.map(callables.multiply, range(10), chunksize=chunksize)
    )
    assert [0, 2, 6] == list(executor.map(callables.multiply, range(3), range(1, 9), chunksize=chunksize))
    assert [] == list(executor.map(callables.square, [], chunksize=chunksize))
    assert [] == list(executor.map(threading.Lock().acquire, [], chunksize=chunksize))


def test_a_map_raises_in_its_turn_and_begins_nothing_more(executor: ActorExecutor) -> None:
    results = executor.map(callables.refuse_odd, range(6))

    assert 0 == next(results)
    with pytest.raises(ValueError, match="1 is odd"):
        next(results)
    assert [] == list(results)


def test_a_map_gives_up_when_its_time_is_over(executor: ActorExecutor, fifo: str) -> None:
    executor.submit(callables.read_or, None).result(timeout=SECONDS)
    results = executor.map(callables.read_or, [None, fifo], timeout=2.0)

    assert "" == next(results)
    with pytest.raises(TimeoutError):
        next(results)
    Path(fifo).write_text("")


def test_a_call_of_a_map_with_a_buffer_that_is_too_late_is_not_made(
    start_method: str, fifo: str, tmp_path: Path
) -> None:
    with ActorExecutor(1, multiprocessing.get_context(start_method)) as executor:
        running = executor.submit(callables.read, fifo)
        eventually(running.running, SECONDS)
        with pytest.raises(TimeoutError):
            list(executor.map(callables.note, [str(tmp_path)] * 3, [1, 2, 3], buffersize=2, timeout=0.01))
        Path(fifo).write_text("")

    assert [path.name for path in tmp_path.iterdir()] == ["fifo"]


@pytest.mark.parametrize("chunksize", [1, 4])
def test_a_map_with_a_buffer_reads_an_endless_iterable_no_further_than_that(
    executor: ActorExecutor, chunksize: int
) -> None:
    read: list[int] = []

    def endless() -> Iterator[int]:
        for number in itertools.count():
            read.append(number)
            yield number

    results = executor.map(callables.square, endless(), buffersize=3, chunksize=chunksize)

    assert [0, 1, 4, 9, 16] == list(itertools.islice(results, 5))
    assert len(read) <= (3 + 5) * chunksize


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"chunksize": 0}, ValueError, "chunksize"),
        ({"buffersize": 0}, ValueError, "buffersize"),
        ({"buffersize": 1.5}, TypeError, "buffersize"),
    ],
)
def test_sizes_of_a_map_that_cannot_be_are_refused(
    arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    with ActorExecutor(1) as executor, pytest.raises(error, match=text):
        executor.map(callables.square, [1], **arguments)


def test_arguments_that_cannot_be_are_refused_as_in_the_standard_library() -> None:
    with pytest.raises(ValueError, match="max_workers"):
        ActorExecutor(0)
    with pytest.raises(TypeError, match="callable"):
        ActorExecutor(1, initializer=7)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_tasks_per_child"):
        ActorExecutor(1, max_tasks_per_child=0)
    with pytest.raises(TypeError, match="max_tasks_per_child"):
        ActorExecutor(1, max_tasks_per_child=1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="fork"):
        ActorExecutor(1, multiprocessing.get_context("fork"), max_tasks_per_child=1)
    wrongs: list[tuple[dict[str, Any], str]] = [
        ({"max_workers": "4"}, "max_workers='4': must be None or a whole number"),
        ({"max_workers": 2.5}, "max_workers=2.5: must be None or a whole number"),
        (
            {"mp_context": "spawn"},
            r"mp_context='spawn': must be None or a context, such as multiprocessing\.get_context",
        ),
        ({"system": "app"}, "system='app': must be None or an ActorSystem"),
    ]
    for wrong, says in wrongs:
        with pytest.raises(TypeError, match=says):
            ActorExecutor(**wrong)


def test_a_call_can_be_cancelled_only_before_it_is_handed_out(executor: ActorExecutor, tmp_path: Path) -> None:
    fifos = [tmp_path / "one", tmp_path / "other"]
    for each in fifos:
        os.mkfifo(each)
    running = [executor.submit(callables.read, str(each)) for each in fifos]
    eventually(lambda: all(future.running() for future in running), SECONDS)
    waiting = executor.submit(callables.square, 3)

    assert waiting.cancel()
    assert not running[0].cancel()
    with pytest.raises(CancelledError):
        waiting.result()
    executor.shutdown(wait=False, cancel_futures=True)
    for each in fifos:
        each.write_text("x")
    assert concurrent.futures.wait(running, SECONDS).not_done == set()


def test_what_waits_is_cancelled_at_a_shutdown_that_says_so(start_method: str, fifo: str) -> None:
    executor = ActorExecutor(1, multiprocessing.get_context(start_method))
    running = executor.submit(callables.read, fifo)
    eventually(running.running, SECONDS)
    waiting = [executor.submit(callables.square, number) for number in range(20)]
    executor.shutdown(wait=False, cancel_futures=True)
    eventually(lambda: all(future.cancelled() for future in waiting), SECONDS)
    Path(fifo).write_text("the end")

    assert "the end" == running.result(timeout=SECONDS)
    executor.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(callables.square, 1)
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.map(callables.square, [1])


def test_a_shutdown_waits_for_what_is_queued(start_method: str) -> None:
    with ActorExecutor(2, multiprocessing.get_context(start_method)) as executor:
        futures = [executor.submit(callables.square, number) for number in range(100)]

    assert [number * number for number in range(100)] == [future.result(timeout=0) for future in futures]


def test_an_executor_that_is_dropped_ends_its_workers_and_its_calls(start_method: str) -> None:
    executor = ActorExecutor(1, multiprocessing.get_context(start_method))
    future = executor.submit(callables.square, 4)
    gone = weakref.ref(executor)
    del executor
    gc.collect()

    assert gone() is None
    assert 16 == future.result(timeout=SECONDS)


def test_an_executor_that_was_never_used_starts_nothing() -> None:
    with ActorExecutor(2):
        pass


def test_callbacks_get_the_future_and_may_submit(executor: ActorExecutor) -> None:
    followed: Future[int] = Future()

    def follow(future: Future[int]) -> None:
        executor.submit(callables.square, future.result()).add_done_callback(
            lambda next_: followed.set_result(next_.result())
        )

    executor.submit(callables.square, 3).add_done_callback(follow)

    assert 81 == followed.result(timeout=SECONDS)


def test_results_of_a_map_are_not_held_by_it(executor: ActorExecutor) -> None:
    for error in executor.map(callables.OwnError, ["a", "b"]):
        seen = weakref.ref(error)
        del error
        gc.collect()
        assert seen() is None


def test_calls_that_share_a_message_do_not_wait_for_a_long_one(executor: ActorExecutor, fifo: str) -> None:
    list(executor.map(callables.read_or, [None] * 200))  # which are known to be quick from now on
    paths = [fifo if number == 150 else None for number in range(300)]
    futures = [executor.submit(callables.read_or, path) for path in paths]

    quick = [future for future, path in zip(futures, paths, strict=True) if path is None]
    assert concurrent.futures.wait(quick, SECONDS).not_done == set()
    assert not futures[150].done()
    Path(fifo).write_text("at last")
    assert "at last" == futures[150].result(timeout=SECONDS)


# --- what travels ----------------------------------------------------------------------------------------------------------


@pytest.mark.conformance
def test_values_of_all_kinds_come_back_as_they_were(executor: ActorExecutor) -> None:
    twice = [1]
    values = [
        None, True, 2**70, -(2**63), 1.5, "ü\ud800", b"x" * 100_000, bytearray(b"y"), (1, [2, {3: {4}}]), {(1, 2): range(3)},
        [twice, twice], int, callables.square,
    ]  # fmt: skip

    for value in values:
        back = executor.submit(_identity, value).result(timeout=SECONDS)
        assert back == value
        assert type(back) is type(value)
    shared = executor.submit(_identity, [twice, twice]).result(timeout=SECONDS)
    assert shared[0] is shared[1]


def _identity(value: Any) -> Any:
    return value


@pytest.mark.conformance
def test_arrays_arrive_writable_and_come_back(executor: ActorExecutor) -> None:
    large = np.arange(300_000, dtype=float)
    small = np.arange(3)

    doubled = list(executor.map(callables.double, [large, small, large[::2]]))

    assert np.array_equal(doubled[0], np.arange(300_000) * 2.0)
    assert [0, 2, 4] == doubled[1].tolist()
    assert np.array_equal(doubled[2], large[::2] * 2)
    assert all(array.flags.writeable for array in doubled)
    assert large[5] == 5


def test_lambdas_and_closures_travel_by_cloudpickle(executor: ActorExecutor) -> None:
    pytest.importorskip("cloudpickle")
    factor = 7

    assert [0, 7, 14] == list(executor.map(lambda number: number * factor, range(3)))


def test_without_cloudpickle_a_lambda_is_refused_with_what_to_install(
    executor: ActorExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    error = executor.submit(lambda: 1).exception(timeout=SECONDS)

    assert error is not None
    assert any("pip install cloudpickle (the extra 'closures')" in note for note in error.__notes__)
    with pytest.raises(type(error)):
        list(executor.map(lambda _number: 1, [1]))


@pytest.mark.conformance
def test_exceptions_are_of_their_own_type_with_the_remote_traceback_as_cause(executor: ActorExecutor) -> None:
    own = executor.submit(callables.raise_own).exception(timeout=SECONDS)
    builtin = executor.submit(callables.refuse, "no").exception(timeout=SECONDS)
    leaving = executor.submit(callables.leave, 3).exception(timeout=SECONDS)

    assert type(own) is callables.OwnError
    assert own.args == ("mine", 7)
    assert isinstance(own.__cause__, RemoteTraceback)
    assert "in raise_own" in str(own.__cause__)
    assert type(builtin) is ValueError
    assert isinstance(leaving, SystemExit)
    assert leaving.code == 3


def test_what_cannot_travel_fails_its_own_call_and_says_what_it_is(executor: ActorExecutor) -> None:
    argument = executor.submit(callables.square, threading.Lock()).exception(timeout=SECONDS)  # type: ignore[arg-type]
    result = executor.submit(callables.lock).exception(timeout=SECONDS)
    unreadable = executor.submit(callables.unreadable).exception(timeout=SECONDS)
    lost = executor.submit(callables.raise_lost).exception(timeout=SECONDS)
    huge = executor.submit(callables.zeros, 300 << 20).exception(timeout=SECONDS)

    assert isinstance(argument, TypeError)
    assert isinstance(result, TypeError)
    assert "lock" in result.__notes__[0]
    assert isinstance(unreadable, ValueError)
    assert isinstance(lost, HandlerError)
    assert "1 and 2" in str(lost)
    assert "could not be made again" in lost.__notes__[0]
    assert isinstance(huge, EncodeError)
    assert "314572" in str(huge)
    assert 9 == executor.submit(callables.square, 3).result(timeout=SECONDS)


# --- initializers ------------------------------------------------------------------------------------------------------------


@pytest.mark.conformance
def test_locks_and_shared_values_travel_to_the_initializer(start_method: str, tmp_path: Path) -> None:
    script = scripts.write(  # since multiprocessing keeps a thread for what it shares
        tmp_path,
        f"""
        import multiprocessing
        from actors import ActorExecutor
        from tests import callables

        if __name__ == "__main__":
            context = multiprocessing.get_context({start_method!r})
            counter = context.Value("i", 0)
            with ActorExecutor(2, context, callables.share, (context.Lock(), counter)) as executor:
                print(sum(executor.map(callables.use_shared, range(10))), counter.value)
        """,
    )

    ended = scripts.run(script)

    assert (ended.code, ended.out) == (0, "45 45\n"), ended


@pytest.mark.parametrize(("initializer", "says"), [("fail_to_begin", "no licence"), ("exit_to_begin", "exit code 3")])
def test_an_initializer_that_always_fails_fails_all_calls_with_its_reason(
    start_method: str, initializer: str, says: str
) -> None:
    context = multiprocessing.get_context(start_method)
    with ActorExecutor(2, context, initializer=getattr(callables, initializer)) as executor:
        futures: list[Future[int]] = []
        with contextlib.suppress(BrokenProcessPool):  # as soon as it is known, the next submit is told
            for number in range(3):
                futures.append(executor.submit(callables.square, number))
        errors = [future.exception(timeout=SECONDS) for future in futures]
        with pytest.raises(BrokenProcessPool, match=says):
            executor.submit(callables.square, 1)

    assert all(isinstance(error, BrokenProcessPool) and says in str(error) for error in errors)
    assert all(f"its initializer {initializer} failed" in str(error) for error in errors)


def test_an_initializer_that_cannot_travel_fails_the_calls() -> None:
    context = multiprocessing.get_context("forkserver")
    with ActorExecutor(1, context, initializer=callables.share, initargs=(threading.Lock(),)) as executor:
        error = executor.submit(callables.square, 1).exception(timeout=SECONDS)

    assert isinstance(error, BrokenProcessPool)
    assert "its initializer, or one of initargs, cannot travel: " in str(error)
    assert "pickle" in str(error)


def test_a_worker_is_replaced_after_so_many_calls() -> None:
    context = multiprocessing.get_context("forkserver")
    with capture_logs() as logs, ActorExecutor(1, context, max_tasks_per_child=3) as executor:
        pids = list(executor.map(callables.own_pid, range(9)))

    assert len(set(pids)) == 3
    assert all(pids.count(pid) == 3 for pid in pids)
    exits = [entry["log_level"] for entry in logs if entry["event"] == "actors.child_exited"]
    assert len(exits) >= 2
    assert set(exits) == {"info"}


# --- deaths ------------------------------------------------------------------------------------------------------------------


@pytest.mark.conformance
def test_a_worker_that_dies_fails_only_the_call_that_it_was_making(executor: ActorExecutor) -> None:
    list(executor.map(callables.die_of_three, [0] * 100))  # so that many share a message
    futures = [executor.submit(callables.die_of_three, number % 50) for number in range(200)]
    errors = {number: future.exception(timeout=SECONDS) for number, future in enumerate(futures)}

    failed = {number: error for number, error in errors.items() if error is not None}
    assert sorted(failed) == [3, 53, 103, 153]
    for error in failed.values():
        assert isinstance(error, WorkerDied)
        assert isinstance(error, ActorDied)
        assert isinstance(error, BrokenProcessPool)
        assert error.may_have_run
        assert error.reason.signal == "SIGKILL"
    assert 16 == executor.submit(callables.square, 4).result(timeout=SECONDS)


def test_a_call_that_may_run_again_is_made_again(executor: ActorExecutor, tmp_path: Path) -> None:
    again = executor.options(retries=1).submit(callables.die_once, str(tmp_path / "first"))
    hopeless = executor.options(retries=2).submit(callables.die_of, 1, 1)

    assert "the second time" == again.result(timeout=SECONDS)
    with pytest.raises(WorkerDied):
        hopeless.result(timeout=SECONDS)


def test_a_call_that_runs_for_too_long_is_killed_alone(executor: ActorExecutor, fifo: str) -> None:
    other = executor.submit(callables.read, fifo)
    eventually(other.running, SECONDS)
    late = executor.options(timeout=0.1).submit(callables.wait_for_ever)

    with pytest.raises(
        AskTimeoutError, match=r"a call of wait_for_ever was not done within 0\.1 s; its worker .* was killed"
    ):
        late.result(timeout=SECONDS)
    assert 9 == executor.options(timeout=SECONDS).submit(callables.square, 3).result(timeout=SECONDS)
    Path(fifo).write_text("undisturbed")
    assert "undisturbed" == other.result(timeout=SECONDS)


def test_options_that_are_not_given_stay_as_they_were(executor: ActorExecutor) -> None:
    hasty = executor.options(timeout=0.1)

    with pytest.raises(AskTimeoutError, match="was killed"):
        hasty.options(retries=1).submit(callables.wait_for_ever).result(timeout=SECONDS)
    assert 9 == hasty.options(timeout=None).submit(callables.square, 3).result(timeout=SECONDS)


def test_options_that_cannot_be_are_refused() -> None:
    with ActorExecutor(1) as executor:
        with pytest.raises(SpecError, match="timeout=0"):
            executor.options(timeout=0)
        with pytest.raises(SpecError, match="retries=-1"):
            executor.options(retries=-1)


# --- other systems, other processes --------------------------------------------------------------------------------------------


def test_workers_can_stand_in_a_system_that_is_there(system: ActorSystem) -> None:
    with ActorExecutor(2, system=system) as executor:
        assert [0, 1, 4] == list(executor.map(callables.square, range(3)))
        assert 2 == len(system.actors())

    assert () == system.actors()


def test_the_end_of_the_system_ends_the_calls(start_method: Any) -> None:
    with ActorSystem(start_method=start_method) as system:
        executor = ActorExecutor(1, system=system)
        future = executor.submit(callables.wait_for_ever)
        eventually(future.running, SECONDS)
        system.stop()
    error = future.exception(timeout=SECONDS)
    executor.shutdown()

    assert isinstance(error, ActorsError | BrokenProcessPool)


def test_a_call_can_use_a_pool_of_its_own(executor: ActorExecutor) -> None:
    assert [1, 4] == executor.submit(callables.squares_in_a_pool, [1, 2]).result(timeout=SECONDS)


def test_a_call_cannot_use_the_pool_that_it_runs_in(executor: ActorExecutor) -> None:
    with pytest.raises(TypeError, match="wait for itself"):
        executor.submit(callables.use, executor).result(timeout=SECONDS)


def test_a_fork_of_the_program_cannot_use_its_pool() -> None:
    executor = ActorExecutor(1, multiprocessing.get_context("fork"))
    callables.share(executor)
    try:
        with executor, pytest.raises(ActorsError, match="cannot use the pool that it runs in"):
            executor.submit(callables.use_what_is_shared).result(timeout=SECONDS)
    finally:
        callables.share()


def test_processes_forked_after_a_system_has_stopped_keep_their_descriptors() -> None:
    with ActorExecutor(1, multiprocessing.get_context("fork")) as executor:
        executor.submit(callables.die_of, 1, 1).exception(timeout=SECONDS)

    closed = [number for number in _descriptors._owned if not os.path.exists(f"/proc/self/fd/{number}")]
    assert closed == []


def test_a_program_that_ends_finishes_what_is_queued(tmp_path: Path) -> None:
    script = scripts.write(
        tmp_path,
        """
        from actors import ActorExecutor
        from tests import callables

        if __name__ == "__main__":
            executor = ActorExecutor(2)
            executor.submit(callables.square, 12).add_done_callback(lambda future: print(future.result(), flush=True))
        """,
    )

    ended = scripts.run(script)

    assert (ended.code, ended.out) == (0, "144\n")


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_a_program_without_a_main_guard_is_told_so(tmp_path: Path, method: str) -> None:
    script = scripts.write(
        tmp_path,
        f"""
        import multiprocessing
        from actors import ActorExecutor

        executor = ActorExecutor(1, multiprocessing.get_context({method!r}))
        try:
            print(executor.submit(pow, 2, 3).result(timeout=30))
        except Exception as error:
            print(type(error).__name__, error)
        """,
    )

    ended = scripts.run(script)

    assert "__main__" in ended.out + ended.err, ended


def test_calls_of_workers_that_cannot_start_any_more_fail_with_the_reason(tmp_path: Path) -> None:
    script = scripts.write(
        tmp_path,
        """
        import multiprocessing, os, signal, sys
        from actors import ActorExecutor, _staff
        from tests import callables

        if "CANNOT_START" in os.environ:
            sys.exit("not any more")
        if __name__ == "__main__":
            _staff._MOST_START_FAILURES = 3
            with ActorExecutor(1, multiprocessing.get_context("spawn")) as executor:
                pid = executor.submit(callables.own_pid).result(timeout=30)
                os.environ["CANNOT_START"] = "1"
                os.kill(pid, signal.SIGKILL)
                error = executor.submit(callables.own_pid).exception(timeout=30)
                print(type(error).__name__, error)
        """,
    )

    ended = scripts.run(script)

    assert (ended.code, ended.out.count("BrokenProcessPool no call can be made")) == (0, 1), ended
    assert "failed to start" in ended.out


def test_importing_the_package_does_not_import_what_only_some_pools_need() -> None:
    code = "import actors, sys; print([name for name in ('cloudpickle', 'numpy') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=scripts.ROOT)

    assert done.stdout == "[]\n"
