"""What becomes of the worker of a pool, and of its calls, when it dies between two of them or is held up before one."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors import ActorExecutor
from tests import callables
from tests.helpers import eventually

SECONDS = 30.0


@pytest.fixture
def executor(start_method: str) -> Iterator[ActorExecutor]:
    """One worker, which its initializer has told something."""
    context = multiprocessing.get_context(start_method)
    with ActorExecutor(1, context, initializer=callables.share, initargs=("told",)) as running:
        yield running


def stop(pid: int) -> None:
    """Hold a process up, and return when it is."""
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T", SECONDS)


def kill(executor: ActorExecutor, pid: int) -> None:
    """Kill a worker, and return when the supervisor has seen it."""
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: pid not in executor._force.processes(), SECONDS)


def test_the_successor_of_a_worker_that_died_with_nothing_to_do_is_initialized_too(executor: ActorExecutor) -> None:
    first = executor.submit(callables.own_pid).result(timeout=SECONDS)
    kill(executor, first)

    assert executor.submit(callables.shared).result(timeout=SECONDS) == ["told"]
    assert executor.submit(callables.own_pid).result(timeout=SECONDS) != first


def test_calls_that_a_worker_had_not_begun_as_it_died_are_made_by_its_successor(executor: ActorExecutor) -> None:
    first = executor.submit(callables.own_pid).result(timeout=SECONDS)
    stop(first)
    futures = [executor.submit(callables.shared) for _ in range(3)]
    eventually(futures[0].running, SECONDS)
    kill(executor, first)

    assert [future.result(timeout=SECONDS) for future in futures] == [["told"]] * 3


def test_a_worker_that_died_with_nothing_to_do_leaves_its_successor_as_many_calls_as_any() -> None:
    context = multiprocessing.get_context("forkserver")
    with ActorExecutor(1, context, max_tasks_per_child=4) as executor:
        first = {executor.submit(callables.own_pid).result(timeout=SECONDS) for _ in range(3)}
        kill(executor, *first)
        pids = list(executor.map(callables.own_pid, range(8)))

    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [4, 4]


def test_large_arguments_keep_no_memory_while_their_calls_run(start_method: str, tmp_path: Path) -> None:
    fifos = [tmp_path / str(number) for number in range(3)]
    for fifo in fifos:
        os.mkfifo(fifo)
    data = bytes(100 << 20)  # all three are more than there is memory for at any time
    with ActorExecutor(3, multiprocessing.get_context(start_method)) as executor:
        futures = [executor.submit(callables.read_beside, str(fifo), data) for fifo in fifos]
        for fifo in reversed(fifos):
            # Opened only when its call reads it: so each call runs while those before it do.
            fifo.write_text("")

        assert [len(data)] * 3 == [future.result(timeout=SECONDS) for future in futures]


def test_workers_with_large_arguments_of_their_initializer_all_begin(start_method: str) -> None:
    context = multiprocessing.get_context(start_method)
    data = bytes(100 << 20)
    with ActorExecutor(3, context, initializer=callables.share, initargs=(data,)) as executor:
        assert executor.submit(callables.shared_size).result(timeout=SECONDS) == len(data)
        executor.submit(callables.die_of, 1, 1).exception(timeout=SECONDS)
        assert {len(data)} == set(executor.map(callables.shared_size, range(9)))


def test_it_is_known_that_an_initializer_runs_before_it_ends(start_method: str, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    context = multiprocessing.get_context(start_method)
    with ActorExecutor(1, context, initializer=callables.read, initargs=(str(fifo),)) as executor:
        future = executor.submit(callables.square, 3)
        (worker,) = executor._force._staff.workers
        eventually(lambda: worker.doing == "initializing", SECONDS)
        assert not future.done()
        fifo.write_text("begin")

        assert future.result(timeout=SECONDS) == 9
