"""Workers of pools that are killed at random moments: every call ends, at most one is lost with each worker, none runs twice."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from actors import ActorExecutor, Pool, WorkerDied
from actors._workforce import Workforce
from tests import callables

SECONDS = 60.0
EVERY_SECONDS = {"spawn": 0.25}  # where a start takes longer than the kills are apart, nothing else would happen
WORKERS = 4


def serving(force: Workforce) -> list[int]:
    """The pids of the workers that are ready: under ``spawn`` others would never get there."""
    cells = list(force._staff.host.runner.cells.values())
    bodies = [cell.body for cell in cells if cell.body is not None]
    return [body.pid for body in bodies if body.ready and body.pid is not None and not body.dead]


@contextmanager
def killing(force: Workforce, every: float = 0.02) -> Iterator[list[int]]:
    """SIGKILL a worker *every* so many seconds; gives the pids of those that were killed."""
    killed: list[int] = []
    over = threading.Event()
    dice = random.Random(7)

    def kill() -> None:
        while not over.wait(every):
            pids = serving(force)
            if pids:
                with suppress(ProcessLookupError):
                    pid = dice.choice(pids)
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("calls", [600, pytest.param(10_000, marks=pytest.mark.soak)])
def test_each_kill_costs_one_call_at_most_and_no_call_runs_twice(start_method: str, tmp_path: Path, calls: int) -> None:
    folder = str(tmp_path)
    with ActorExecutor(WORKERS, multiprocessing.get_context(start_method)) as executor:
        executor.submit(callables.own_pid).result(timeout=SECONDS)
        with killing(executor._force, EVERY_SECONDS.get(start_method, 0.02)) as killed:
            futures = [executor.submit(callables.note_slowly, folder, number) for number in range(calls)]
            errors = [future.exception(timeout=SECONDS) for future in futures]

    failed = [error for error in errors if error is not None]
    assert killed
    assert len(failed) <= len(killed)
    assert all(isinstance(error, WorkerDied) and error.reason.signal == "SIGKILL" for error in failed)
    for number, error in enumerate(errors):
        mark = tmp_path / str(number)
        runs = mark.stat().st_size if mark.exists() else 0
        assert runs == 1 if error is None else runs <= 1


@pytest.mark.timeout(300)
@pytest.mark.parametrize("calls", [20_000, pytest.param(500_000, marks=pytest.mark.soak)])
def test_calls_that_share_messages_lose_one_at_most_with_each_kill(start_method: str, calls: int) -> None:
    with Pool(WORKERS, context=multiprocessing.get_context(start_method)) as pool:
        pool.map(callables.square, range(1000), chunksize=1)
        assert pool._force is not None
        with killing(pool._force, EVERY_SECONDS.get(start_method, 0.02)) as killed:
            found, lost = [], 0
            results = pool.imap(callables.square, range(calls))
            while True:
                try:
                    found.append(next(results))
                except WorkerDied:
                    lost += 1
                except StopIteration:
                    break

    assert lost <= len(killed)
    assert len(found) + lost == calls
    assert found == sorted(set(found))


@pytest.mark.timeout(300)
def test_calls_that_may_run_again_all_succeed(start_method: str, tmp_path: Path) -> None:
    with ActorExecutor(WORKERS, multiprocessing.get_context(start_method)) as executor:
        executor.submit(callables.own_pid).result(timeout=SECONDS)
        with killing(executor._force, EVERY_SECONDS.get(start_method, 0.02)) as killed:
            again = executor.options(retries=100)
            found = [again.submit(callables.note_slowly, str(tmp_path), number) for number in range(600)]
            assert [future.result(timeout=SECONDS) for future in found] == list(range(600))

    assert killed
