"""What becomes of futures when a program does to an executor what it should not, cancels, kills, is interrupted, or ends."""

from __future__ import annotations

import concurrent.futures
import functools
import itertools
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from actors import ActorExecutor, AskTimeoutError, WorkerDied
from tests import callables, scripts
from tests.helpers import eventually

SECONDS = 30.0
PROGRAM_SECONDS = 60.0
DYING = """
import multiprocessing, sys
from actors import ActorExecutor
from tests import callables

def show(future):
    print(type(future.exception()).__name__, flush=True)

if __name__ == "__main__":
    executor = ActorExecutor(1, multiprocessing.get_context(sys.argv[1]))
    for deadly in (1, 0, 1):
        executor.submit(callables.die_of, 1, deadly).add_done_callback(show)
"""


@pytest.fixture
def executor(start_method: str) -> Iterator[ActorExecutor]:
    with ActorExecutor(2, multiprocessing.get_context(start_method)) as running:
        yield running


@pytest.fixture
def fifo(tmp_path: Path) -> str:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return str(path)


def works(executor: ActorExecutor) -> bool:
    return executor.submit(callables.square, 3).result(timeout=SECONDS) == 9


# --- what user's code does in the pool's thread --------------------------------------------------------------------------------


@pytest.mark.conformance
def test_what_ends_whoever_unpickles_it_ends_its_own_call_only(executor: ActorExecutor) -> None:
    result = executor.submit(callables.leaving).exception(timeout=SECONDS)
    error = executor.submit(callables.raise_leaving).exception(timeout=SECONDS)

    assert isinstance(result, SystemExit)
    assert "Leaving" in str(error)
    assert works(executor)


def test_a_callback_that_exits_is_shown_and_the_pool_goes_on(
    executor: ActorExecutor, capsys: pytest.CaptureFixture[str]
) -> None:
    executor.submit(callables.square, 1).add_done_callback(lambda _future: sys.exit(3))

    assert works(executor)
    eventually(lambda: "SystemExit: 3" in capsys.readouterr().err, SECONDS)


def test_exceptions_that_refuse_attributes_and_values_that_refuse_to_be_shown_are_outcomes_as_any(
    start_method: str,
) -> None:
    with ActorExecutor(1, multiprocessing.get_context(start_method)) as executor:
        first = executor.submit(callables.own_pid).result(timeout=SECONDS)
        frozen = executor.submit(callables.raise_frozen).exception(timeout=SECONDS)
        because = executor.submit(callables.raise_because_frozen).exception(timeout=SECONDS)
        shy = executor.submit(callables.shy).exception(timeout=SECONDS)

        assert executor.submit(callables.own_pid).result(timeout=SECONDS) == first
    assert isinstance(frozen, callables.FrozenError)
    assert frozen.args == ("all", "of it")
    assert "in raise_frozen" in str(frozen.__cause__)
    assert isinstance(because, callables.OwnError)
    assert isinstance(shy, callables.FrozenError)


def test_a_callback_that_exits_as_its_future_is_cancelled_keeps_no_other_from_it(start_method: str, fifo: str) -> None:
    executor = ActorExecutor(1, multiprocessing.get_context(start_method))
    running = executor.submit(callables.read, fifo)
    eventually(running.running, SECONDS)
    waiting = [executor.submit(callables.square, number) for number in range(5)]
    waiting[1].add_done_callback(lambda _future: sys.exit(3))
    executor.shutdown(wait=False, cancel_futures=True)

    assert concurrent.futures.wait(waiting, SECONDS).not_done == set()
    assert all(future.cancelled() for future in waiting)
    Path(fifo).write_text("undisturbed")
    assert running.result(timeout=SECONDS) == "undisturbed"
    executor.shutdown()


def test_a_future_that_its_user_ends_disturbs_nobody(start_method: str, fifo: str) -> None:
    with ActorExecutor(1, multiprocessing.get_context(start_method)) as executor:
        running = executor.submit(callables.read, fifo)
        eventually(running.running, SECONDS)
        waiting = [executor.submit(callables.square, number) for number in range(5)]
        waiting[2].set_result(-1)
        Path(fifo).write_text("")

        assert [0, 1, -1, 9, 16] == [future.result(timeout=SECONDS) for future in waiting]


# --- exceptions ------------------------------------------------------------------------------------------------------------------


@pytest.mark.conformance
@pytest.mark.parametrize("kind", [KeyboardInterrupt, GeneratorExit, StopIteration, SystemExit, MemoryError])
def test_exceptions_of_all_kinds_are_the_outcome_of_the_call(
    executor: ActorExecutor, kind: type[BaseException]
) -> None:
    error = executor.submit(callables.raise_of_kind, kind).exception(timeout=SECONDS)

    assert error is not None
    assert type(error) is kind
    assert error.args == ("whatever",)


@pytest.mark.conformance
def test_the_remote_traceback_tells_what_led_to_it_and_notes_come_along(executor: ActorExecutor) -> None:
    error = executor.submit(callables.raise_chained).exception(timeout=SECONDS)

    assert error is not None
    assert error.__notes__ == ["a note"]
    assert "ZeroDivisionError" in str(error.__cause__)
    assert "direct cause" in str(error.__cause__)


# --- what is called ------------------------------------------------------------------------------------------------------------


@pytest.mark.conformance
def test_callables_of_all_kinds_are_called(executor: ActorExecutor) -> None:
    calls: list[tuple[Callable[..., Any], tuple[Any, ...], Any]] = [
        ("abc".upper, (), "ABC"),
        (callables.Adder(4).add, (5,), 9),
        (callables.Adder(4), (6,), 10),
        (functools.partial(pow, 2), (3,), 8),
        (dict.fromkeys, ([1], 2), {1: 2}),
        (callables.Adder(1).add, (1,), 2),
    ]

    assert [call[2] for call in calls] == [
        executor.submit(function, *args).result(timeout=SECONDS) for function, args, _ in calls
    ]
    assert {"self": 1, "fn": 2} == executor.submit(dict, self=1, fn=2).result(timeout=SECONDS)
    assert isinstance(executor.submit(5).exception(timeout=SECONDS), TypeError)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="fn"):
        executor.submit()  # type: ignore[call-arg]


@pytest.mark.conformance
def test_calls_may_have_processes_and_threads_of_their_own(executor: ActorExecutor) -> None:
    assert (0, [7]) == executor.submit(callables.children_of_all_kinds).result(timeout=SECONDS)
    assert "parent" == executor.submit(callables.fork_and_come_back).result(timeout=SECONDS)
    assert works(executor)


def test_many_threads_may_use_one_executor(executor: ActorExecutor) -> None:
    sums: list[int] = []
    threads = [
        threading.Thread(target=lambda: sums.append(sum(executor.map(callables.square, range(50))))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [sum(number * number for number in range(50))] * 8 == sums


# --- maps ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunksize", [1, 3])
def test_the_results_of_a_map_can_be_closed(executor: ActorExecutor, chunksize: int) -> None:
    results: Any = executor.map(callables.square, range(1000), chunksize=chunksize)

    assert 0 == next(results)
    results.close()
    assert [] == list(results)
    assert works(executor)


def test_an_iterable_that_raises_raises_out_of_the_map(executor: ActorExecutor) -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise KeyError("no more")

    with pytest.raises(KeyError, match="no more"):
        executor.map(callables.square, broken())
    assert [] == list(executor.map(callables.square))
    assert works(executor)


def test_a_map_that_has_no_time_at_all_says_so(executor: ActorExecutor) -> None:
    with pytest.raises(TimeoutError):
        list(executor.map(callables.read_or, [None], timeout=-1))
    assert works(executor)


# --- cancelling and killing --------------------------------------------------------------------------------------------------------


@pytest.mark.conformance
def test_a_shutdown_right_after_the_calls_makes_the_first_of_them(start_method: str) -> None:
    executor = ActorExecutor(2, multiprocessing.get_context(start_method))
    futures = [executor.submit(callables.square, number) for number in range(50)]
    executor.shutdown(cancel_futures=True)

    assert all(future.done() for future in futures)
    made = [future.result() for future in futures if not future.cancelled()]
    assert made[:2] == [0, 1]
    executor.shutdown()
    executor.shutdown(wait=False, cancel_futures=True)


@pytest.mark.conformance
def test_a_map_that_is_cancelled_gives_what_was_begun(start_method: str) -> None:
    executor = ActorExecutor(2, multiprocessing.get_context(start_method))
    results: Iterator[Any] = executor.map(callables.note_slowly, itertools.repeat("/dev"), ["null"] * 1000)
    executor.shutdown(cancel_futures=True)

    assert "null" == next(results)
    with pytest.raises(CancelledError):
        list(results)


def test_workers_that_are_killed_end_all_calls_at_once(start_method: str) -> None:
    executor = ActorExecutor(1, multiprocessing.get_context(start_method))
    running: Future[Any] = executor.submit(callables.wait_for_ever)
    eventually(running.running, SECONDS)
    waiting = [executor.submit(callables.square, number) for number in range(5)]
    executor.kill_workers()

    assert isinstance(running.exception(timeout=SECONDS), BrokenProcessPool)
    assert concurrent.futures.wait(waiting, SECONDS).not_done == set()
    with pytest.raises(CancelledError):
        waiting[-1].result()
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(callables.square, 1)
    executor.shutdown()
    executor.terminate_workers()


def test_leaving_the_block_by_an_interrupt_waits_for_no_call(start_method: str) -> None:
    executor = ActorExecutor(1, multiprocessing.get_context(start_method))
    running: Future[Any] = executor.submit(callables.wait_for_ever)
    with pytest.raises(KeyboardInterrupt), executor:
        raise KeyboardInterrupt

    assert isinstance(running.exception(timeout=0), BrokenProcessPool)


def test_a_fork_that_leaves_the_block_disturbs_nobody(executor: ActorExecutor) -> None:
    assert works(executor)
    pid = os.fork()
    if pid == 0:  # pragma: no cover - in the fork
        try:
            executor.__exit__(None, None, None)
        except BaseException:
            os._exit(1)
        os._exit(0)

    assert (pid, 0) == os.waitpid(pid, 0)
    assert works(executor)


# --- the end of a program -------------------------------------------------------------------------------------------------------------


@pytest.mark.conformance
@pytest.mark.parametrize("block", ["with executor:", "if True:"])
def test_an_interrupted_program_ends_at_once(tmp_path: Path, start_method: str, block: str) -> None:
    script = scripts.write(
        tmp_path,
        f"""
        import multiprocessing, signal
        from actors import ActorExecutor
        from tests import callables

        if __name__ == "__main__":
            signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background inherits that it is ignored
            executor = ActorExecutor(2, multiprocessing.get_context({start_method!r}))
            {block}
                futures = [executor.submit(callables.wait_for_ever) for _ in range(9)]
                while not futures[0].running():
                    pass
                print("up", flush=True)
                futures[0].result()
        """,
    )

    with scripts.start(script) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGINT)
        _out, err = process.communicate(timeout=PROGRAM_SECONDS)

    assert process.returncode == -signal.SIGINT
    assert err.rstrip().endswith("KeyboardInterrupt"), err
    assert scripts.family(process.pid) == []


@pytest.mark.conformance
def test_workers_that_die_as_the_program_ends_fail_their_own_calls(tmp_path: Path, start_method: str) -> None:
    ended = scripts.run(scripts.write(tmp_path, DYING), start_method, timeout=PROGRAM_SECONDS)

    expected = "WorkerDied\nNoneType\nWorkerDied\n"
    if start_method == "fork" and sys.version_info[:2] == (3, 12):
        # It does not let a program fork that is about to end: nobody can be replaced.
        expected = "WorkerDied\nBrokenProcessPool\nBrokenProcessPool\n"
    assert (ended.code, ended.out) == (0, expected), ended


@pytest.mark.conformance
def test_a_call_that_was_taken_is_made_although_the_program_ends(tmp_path: Path, start_method: str) -> None:
    script = scripts.write(tmp_path, DYING.replace("(1, 0, 1)", "(0, 0, 0)"))

    ended = scripts.run(script, start_method, timeout=PROGRAM_SECONDS)

    assert (ended.code, ended.out, ended.err) == (0, "NoneType\n" * 3, "")


def test_a_submit_as_the_program_ends_is_refused(tmp_path: Path, start_method: str) -> None:
    script = scripts.write(
        tmp_path,
        f"""
        import atexit, multiprocessing

        @atexit.register
        def last():
            try:
                executor.submit(abs, -1)
            except RuntimeError as error:
                print(error)

        from actors import ActorExecutor

        if __name__ == "__main__":
            executor = ActorExecutor(1, multiprocessing.get_context({start_method!r}))
            executor.submit(abs, -1).result()
        """,
    )

    ended = scripts.run(script, timeout=PROGRAM_SECONDS)

    assert ended.out.startswith("cannot schedule new futures after"), ended


def test_a_worker_that_dies_is_named_by_the_error_of_its_own_call(executor: ActorExecutor) -> None:
    pids = executor.map(callables.own_pid, range(2))
    assert len(list(pids)) == 2
    errors = [executor.submit(callables.die_of, 1, 1).exception(timeout=SECONDS) for _ in range(3)]

    assert all(
        isinstance(error, WorkerDied) and "worker-" in str(error) and "SIGKILL" in str(error) for error in errors
    )
    assert all("this call of die_of" in str(error) for error in errors)


def test_the_crash_report_of_a_worker_that_was_too_late_says_of_what_and_where(start_method: str) -> None:
    with capture_logs() as logs, ActorExecutor(1, multiprocessing.get_context(start_method)) as executor:
        late = executor.options(timeout=0.1).submit(callables.wait_for_ever)
        assert isinstance(late.exception(timeout=SECONDS), AskTimeoutError)

        def told() -> bool:
            reports = [entry for entry in logs if entry["event"] == "actors.crash_report"]
            return any(
                entry["kind"] == "hang"
                and "a call of wait_for_ever was not done within 0.1 s" in entry["reason"]
                and "in wait_for_ever" in str(entry)
                for entry in reports
            )

        eventually(told, SECONDS)
