"""One-shot tasks: a function in a process of its own, its result or the reason why there is none, and nothing left of it."""

from __future__ import annotations

import asyncio
import functools
import gc
import itertools
import math
import os
import signal
import sys
import threading
import time
import types
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from actors import (
    ActorDied,
    ActorNotRunningError,
    ActorsError,
    ActorSystem,
    AskTimeoutError,
    EncodeError,
    HandlerError,
    RemoteTraceback,
    Reply,
    SpecError,
    StartError,
    Supervisor,
    Tasks,
    TooManyChildrenError,
    _limits,
)
from actors._crew import Task
from tests import scripts
from tests.helpers import eventually
from tests.leaks import open_descriptors
from tests.troupe import Worker

# Starts of many processes under spawn take their time on a busy machine.
SECONDS = 30.0


def square(number: int) -> int:
    return number * number


def add(left: int, right: int = 0, /, **more: int) -> int:
    return left + right + sum(more.values())


async def double_later(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


def refuse_odd(number: int) -> int:
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number


def odd_numbers_die(number: int) -> int:
    if number % 2:
        os._exit(number)
    return number


def exit_by(number: int) -> None:
    sys.exit(number)


def kill_me() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def wait_for_ever() -> None:
    threading.Event().wait()


def wait_for(fifo: str) -> str:
    """Return what somebody writes into *fifo*."""
    return Path(fifo).read_text()


def give_a_lock() -> Any:
    return threading.Lock()


def leave_a_thread() -> str:
    threading.Thread(target=threading.Event().wait).start()
    return "done"


def many(limit: int) -> Iterator[int]:
    yield from range(limit)


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def pids(system: ActorSystem, count: int) -> list[int]:
    """The processes of *count* tasks, once they are there."""
    found: list[int] = []

    def look() -> bool:
        found[:] = [actor.pid for actor in system.actors() if actor.pid is not None and actor.state == "handling"]
        return len(found) == count

    eventually(look, SECONDS, state=system.actors)
    return found


def none_left(system: ActorSystem) -> None:
    eventually(lambda: () == system.actors(), SECONDS, state=system.actors)


@pytest.fixture
def fifo(tmp_path: Path) -> str:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return str(path)


def write(fifo: str, text: str) -> None:
    Path(fifo).write_text(text)


# --- run --------------------------------------------------------------------------------------------------------------------


def test_a_task_gives_the_result_of_its_function_and_its_process_ends(system: ActorSystem) -> None:
    tasks = system.tasks("tasks", max_children=8)

    assert isinstance(tasks, Tasks)
    assert 49 == tasks.run(square, 7).result(timeout=SECONDS)
    assert 10 == tasks.run(add, 1, 2, self=3, handler=4).result(timeout=SECONDS)
    assert 8 == tasks.run(double_later, 4).result(timeout=SECONDS)
    assert 120 == tasks.run(math.factorial, 5).result(timeout=SECONDS)
    assert os.getpid() != tasks.run(os.getpid).result(timeout=SECONDS)
    none_left(system)


def test_an_exception_in_the_function_comes_with_its_traceback(system: ActorSystem) -> None:
    reply = system.tasks().run(refuse_odd, 3)

    with pytest.raises(ValueError, match="/system/tasks/refuse_odd-1 raised ValueError: 3 is odd") as caught:
        reply.result(timeout=SECONDS)
    assert isinstance(caught.value, HandlerError)
    assert isinstance(caught.value.__cause__, RemoteTraceback)
    assert "in refuse_odd" in str(caught.value.__cause__)
    none_left(system)


def test_a_task_that_ends_its_process_fails_with_the_reason(system: ActorSystem) -> None:
    tasks = system.tasks()
    replies: list[Reply[Any]] = [
        tasks.run(odd_numbers_die, 3),
        tasks.run(kill_me),
        tasks.run(exit_by, 4),
        tasks.run(exit_by, 0),
    ]
    errors = [reply.exception(timeout=SECONDS) for reply in replies]

    assert all(isinstance(error, ActorDied) and error.may_have_run for error in errors)
    reasons = [error.reason for error in errors if isinstance(error, ActorDied)]
    assert [("crash", 3), ("signal", -9), ("crash", 4), ("normal", 0)] == [(r.kind, r.exit_code) for r in reasons]
    none_left(system)


def test_at_its_deadline_a_task_ends_with_a_timeout_and_is_killed(system: ActorSystem) -> None:
    reply = system.tasks().options(timeout=3.0).run(wait_for_ever)
    seen: set[int] = set()

    def over() -> bool:
        seen.update(actor.pid for actor in system.actors() if actor.pid is not None)
        return reply.done()

    eventually(over, SECONDS)
    with pytest.raises(AskTimeoutError, match=r"/system/tasks/wait_for_ever-1 was not done within 3 s, and was killed"):
        reply.result()
    none_left(system)
    eventually(lambda: all(map(is_gone, seen)), 2.0)


def test_nobody_has_to_wait_for_a_task_to_be_killed_at_its_deadline(system: ActorSystem) -> None:
    reply = system.tasks().options(timeout=0.2).run(wait_for_ever)

    none_left(system)
    assert isinstance(reply.exception(), AskTimeoutError)


def test_what_a_task_was_doing_at_its_deadline_is_logged_once_with_its_stack(start_method: Any, fifo: str) -> None:
    with capture_logs() as logs, ActorSystem(start_method=start_method) as system:
        tasks = system.tasks()
        late = tasks.options(timeout=3.0).run(wait_for_ever)
        (pid,) = pids(system, 1)
        assert isinstance(late.exception(timeout=SECONDS), AskTimeoutError)
        none_left(system)
        cancelled = tasks.run(wait_for, fifo)
        pids(system, 1)
        cancelled.cancel()
        none_left(system)

    (log,) = [log for log in logs if log["event"] == "actors.task_timed_out"]
    assert ("/system/tasks/wait_for_ever-1", pid, 3.0, "warning") == (
        log["path"],
        log["pid"],
        log["seconds"],
        log["log_level"],
    )
    assert "in wait_for_ever" in log["stack"]
    ends = [(log["kind"], log["log_level"]) for log in logs if log["event"] == "actors.child_exited"]
    assert [("requested", "info")] * 2 == ends


def test_a_cancel_kills_that_task_and_no_other(system: ActorSystem, fifo: str) -> None:
    tasks = system.tasks(max_children=2)
    other = tasks.run(wait_for, fifo)
    (stays,) = pids(system, 1)
    reply = tasks.run(wait_for_ever)
    (pid,) = set(pids(system, 2)) - {stays}

    assert reply.cancel()
    eventually(lambda: is_gone(pid), 2.0)
    eventually(lambda: 1 == len(system.actors()), SECONDS, state=system.actors)
    assert not is_gone(stays)
    write(fifo, "written")
    assert "written" == other.result(timeout=SECONDS)
    none_left(system)


def test_tasks_that_are_cancelled_while_they_start_leave_nothing(start_method: Any) -> None:
    with ActorSystem(start_method=start_method) as system:
        tasks = system.tasks()
        for reply in [tasks.run(wait_for_ever) for _ in range(10)]:
            reply.cancel()
        none_left(system)

        assert 4 == tasks.run(square, 2).result(timeout=SECONDS)


def test_leaving_the_block_waits_for_running_tasks(start_method: Any) -> None:
    with ActorSystem(start_method=start_method) as system:
        reply = system.tasks().run(square, 7)

    assert 49 == reply.result(timeout=0)


def test_a_stop_at_once_ends_tasks_with_the_reason(start_method: Any) -> None:
    with pytest.raises(LookupError), ActorSystem(start_method=start_method) as system:
        reply = system.tasks().options(shutdown=0.0).run(wait_for_ever)
        pids(system, 1)
        raise LookupError

    error = reply.exception(timeout=0)
    assert isinstance(error, ActorDied)
    assert "requested" == error.reason.kind


def test_a_reply_can_be_awaited(system: ActorSystem) -> None:
    tasks = system.tasks()

    async def use() -> list[int]:
        return list(await asyncio.gather(*(tasks.run(square, number) for number in range(4))))

    assert [0, 1, 4, 9] == asyncio.run(use())


# --- limits -----------------------------------------------------------------------------------------------------------------


def test_one_task_too_many_is_refused_with_limit_and_use(system: ActorSystem) -> None:
    tasks = system.tasks(max_children=2)
    replies = [tasks.run(wait_for_ever) for _ in range(2)]

    with pytest.raises(TooManyChildrenError, match="/system/tasks has 2 children, and max_children is 2"):
        tasks.run(square, 1)
    replies[0].cancel()
    assert 1 == tasks.run(square, 1).result(timeout=SECONDS)
    replies[1].cancel()
    none_left(system)


def test_a_task_that_has_answered_takes_no_place_from_the_next(system: ActorSystem) -> None:
    tasks = system.tasks(max_children=1)

    assert [n * n for n in range(5)] == [tasks.run(square, n).result(timeout=SECONDS) for n in range(5)]


def test_a_process_that_does_not_leave_after_its_result_is_taken_down_by_its_ladder(system: ActorSystem) -> None:
    tasks = system.tasks(max_children=1).options(shutdown=0.1, term_grace=0.1)

    assert "done" == tasks.run(leave_a_thread).result(timeout=SECONDS)
    assert 4 == tasks.run(square, 2).result(timeout=SECONDS)
    none_left(system)


def test_the_same_name_gives_the_same_limit(start_method: Any) -> None:
    tree = Supervisor("app", children=[Supervisor("mine", max_children=3), Supervisor("all", strategy="one_for_all")])
    with ActorSystem(tree, start_method=start_method) as system:
        system.spawn(Worker(), name="worker")
        with pytest.raises(SpecError, match="/app/tasks: max_children=0 leaves no place for any task"):
            system.tasks("tasks", max_children=0)
        first = system.tasks("tasks", max_children=1)
        reply = first.run(wait_for_ever)

        assert 1 == system.tasks("tasks").max_children
        with pytest.raises(TooManyChildrenError, match="has 1 children, and max_children is 1"):
            system.tasks("tasks", max_children=1).run(square, 1)
        with pytest.raises(SpecError, match="/app/tasks is there already, with max_children=1, not 2"):
            system.tasks("tasks", max_children=2)
        with pytest.raises(SpecError, match="strategy='one_for_all'; tasks need 'one_for_one'"):
            system.tasks("all")
        with pytest.raises(SpecError, match="has a child named 'worker' already"):
            system.tasks("worker")
        with pytest.raises(SpecError, match="max_children=-1"):
            system.tasks("more", max_children=-1)
        assert "<Tasks /app/mine, at most 3>" == repr(system.tasks("mine"))
        reply.cancel()


def test_a_supervisor_of_tasks_that_was_stopped_refuses_and_can_be_had_anew(system: ActorSystem) -> None:
    tasks = system.tasks().options(shutdown=0.1, term_grace=0.1)
    reply = tasks.run(wait_for_ever)
    pids(system, 1)
    system.supervisor("tasks").stop()

    assert isinstance(reply.exception(timeout=SECONDS), ActorDied)
    none_left(system)
    with pytest.raises(SpecError, match="there is no supervisor /system/tasks"):
        tasks.run(square, 1)
    system.tasks(max_children=1)
    assert 1 == tasks.run(square, 1).result(timeout=SECONDS)


def test_after_the_system_has_stopped_nothing_runs(start_method: Any) -> None:
    with ActorSystem(start_method=start_method) as system:
        tasks = system.tasks()

    with pytest.raises(ActorNotRunningError, match="has stopped"):
        tasks.run(square, 1)
    with pytest.raises(ActorNotRunningError, match="has stopped"):
        next(tasks.map(square, [1], on_error="skip"))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"timeout": -1}, "timeout=-1"),
        ({"shutdown": -1.0}, "shutdown=-1.0"),
        ({"term_grace": None}, "term_grace=None"),
        ({"start_timeout": 0}, "start_timeout=0"),
    ],
)
def test_options_are_checked(options: Any, problem: str) -> None:
    with ActorSystem() as system, pytest.raises(SpecError, match=problem):
        system.tasks().options(**options)


def test_options_give_the_same_tasks_with_other_defaults(system: ActorSystem) -> None:
    tasks = system.tasks(max_children=1)
    hasty = tasks.options(timeout=5.0, start_timeout=9.0)

    assert (None, 5.0, 5.0, None) == (
        tasks.timeout,
        hasty.timeout,
        hasty.options(shutdown=None).timeout,
        hasty.options(timeout=None).timeout,
    )
    reply = hasty.run(wait_for_ever)
    with pytest.raises(TooManyChildrenError, match="max_children is 1"):
        tasks.run(square, 1)
    reply.cancel()


# --- what cannot be run -----------------------------------------------------------------------------------------------------


class Holder:
    def method(self) -> None: ...


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (lambda: 1, r"<lambda> cannot be run as a task.*define it with def at the top level of a module"),
        (functools.partial(square, 1), r"partial\(.*cannot be run as a task: .*apart: tasks.run\(square, ...\)"),
        (Holder().method, r"Holder.method cannot be run as a task: a method would take its object along"),
        (many, "many is a generator, and a task has one result"),
        (3, "3 is a int"),
    ],
)
def test_a_function_without_a_name_to_find_it_by_is_refused(function: Any, problem: str) -> None:
    def local() -> None: ...

    with ActorSystem() as system:
        tasks = system.tasks()
        with pytest.raises(SpecError, match=problem):
            tasks.run(function)
        with pytest.raises(SpecError, match=problem):
            tasks.map(function, [])
        with pytest.raises(SpecError, match=r"<locals>.local cannot be run as a task"):
            tasks.run(local)
        assert () == system.actors()


def test_what_cannot_travel_is_named_and_leaves_nothing(system: ActorSystem) -> None:
    tasks = system.tasks(max_children=1)

    with pytest.raises(EncodeError, match=r"args\[0\]\[1\]: _thread.lock"):
        tasks.run(print, [1, threading.Lock()])
    with pytest.raises(HandlerError, match="lock cannot travel between processes"):
        tasks.run(give_a_lock).result(timeout=SECONDS)
    none_left(system)


def test_a_function_that_cannot_be_imported_where_it_runs_is_a_failed_start(start_method: Any) -> None:
    if start_method == "fork":
        pytest.skip("a fork has imported what its host has")
    module = types.ModuleType("made_up_here")
    exec("def task():\n    return 1\n", vars(module))
    sys.modules["made_up_here"] = module
    try:
        with ActorSystem(start_method=start_method) as system:
            error = system.tasks().run(vars(module)["task"]).exception(timeout=SECONDS)
            none_left(system)
    finally:
        del sys.modules["made_up_here"]

    assert isinstance(error, ActorDied)
    assert ("boot_failure", False) == (error.reason.kind, error.may_have_run)
    assert "made_up_here" in str(error)


def test_a_program_without_a_main_guard_is_told_so(tmp_path: Path, start_method: Any) -> None:
    if start_method == "fork":
        pytest.skip("a fork does not import the main module")
    program = scripts.write(
        tmp_path,
        """
        import sys
        from actors import ActorSystem

        def task():
            return 1

        with ActorSystem(start_method=sys.argv[1]) as system:
            print(system.tasks().run(task).exception(timeout=20))
        """,
    )
    ended = scripts.run(program, start_method)

    assert ended.code == 0, ended.err
    assert "/system/tasks/task-1 failed to start" in ended.out
    assert 'if __name__ == "__main__"' in ended.out


def test_a_machine_that_has_no_room_refuses_the_start(start_method: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_path: str) -> None:
        raise OSError(11, "no more processes")

    with ActorSystem(start_method=start_method) as system:
        tasks = system.tasks(max_children=1)
        with monkeypatch.context() as patch:
            patch.setattr(_limits, "check_processes", full)
            for _ in range(3):
                with pytest.raises(StartError, match="/system/tasks/square-. did not start.*it needs 2 processes"):
                    tasks.run(square, 2)
        assert 4 == tasks.run(square, 2).result(timeout=SECONDS)


def test_a_task_that_could_not_be_asked_is_a_failed_reply(start_method: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with ActorSystem(start_method=start_method) as system:
        tasks = system.tasks()
        start = type(tasks._crew).start

        def start_and_lose(*args: Any) -> Any:
            run = start(*args)
            run.ref.stop()
            run.gone.result(timeout=SECONDS)
            return run

        monkeypatch.setattr(type(tasks._crew), "start", start_and_lose)
        error = tasks.run(square, 2).exception(timeout=SECONDS)

    assert isinstance(error, ActorDied)
    assert ("requested", False) == (error.reason.kind, error.may_have_run)


def test_a_process_that_nobody_asks_anything_ends_by_itself(system: ActorSystem) -> None:
    system.spawn(Task(square, patience=0.01), name="forsaken")

    none_left(system)


# --- map --------------------------------------------------------------------------------------------------------------------


def test_a_map_gives_results_in_order(system: ActorSystem) -> None:
    assert [0, 1, 4, 9, 16] == list(system.tasks(max_children=3).map(square, range(5)))
    assert [0, 2, 4] == list(system.tasks().map(double_later, range(3), max_concurrency=3))
    none_left(system)


def test_a_map_over_an_endless_iterable_is_lazy_and_bounded(system: ActorSystem) -> None:
    tasks = system.tasks(max_children=4)
    taken: list[int] = []
    most: list[int] = []

    def endless() -> Iterator[int]:
        for number in itertools.count():
            taken.append(number)
            most.append(len(system.actors()))
            yield number

    results = tasks.map(square, endless(), max_concurrency=2)
    assert taken == []
    for number in range(6):
        assert number * number == next(results)
        assert len(taken) <= number + 2
    results.close()

    assert max(most) < 2, "an item is taken only when there is a place for its process"
    none_left(system)


def test_a_map_raises_returns_or_skips_failures(system: ActorSystem) -> None:
    tasks = system.tasks(max_children=2)

    assert [0, 2, 4] == list(tasks.map(odd_numbers_die, range(5), on_error="skip"))
    mixed = list(tasks.map(odd_numbers_die, range(3), on_error="return"))
    assert [0, 2] == [mixed[0], mixed[2]]
    assert isinstance(mixed[1], ActorDied)
    assert 1 == mixed[1].reason.exit_code
    results = tasks.map(refuse_odd, range(5))
    assert 0 == next(results)
    with pytest.raises(ValueError, match="1 is odd"):
        next(results)
    assert [] == list(results)
    none_left(system)


def test_an_item_that_cannot_travel_fails_in_its_turn(system: ActorSystem) -> None:
    tasks = system.tasks(max_children=3)
    items: list[Any] = [1, threading.Lock(), 3]

    first, second, third = tasks.map(square, items, on_error="return")
    assert (1, 9) == (first, third)
    assert isinstance(second, EncodeError)
    assert [1, 9] == list(tasks.map(square, items, on_error="skip"))
    results = tasks.map(square, items)
    assert 1 == next(results)
    with pytest.raises(EncodeError):
        next(results)


def test_leaving_a_map_early_kills_what_runs(system: ActorSystem, fifo: str) -> None:
    tasks = system.tasks(max_children=3)
    results = tasks.map(wait_for, ["/dev/null", *[fifo] * 10])

    assert "" == next(results)
    assert 2 == len(pids(system, 2))
    results.close()
    none_left(system)


def test_a_map_of_tasks_that_time_out_goes_on(system: ActorSystem, fifo: str) -> None:
    began = time.monotonic()
    assert 4 == system.tasks(max_children=2).run(square, 2).result(timeout=SECONDS)
    tasks = system.tasks().options(timeout=1.0 + 5 * (time.monotonic() - began))

    first, second, third = tasks.map(wait_for, ["/dev/null", fifo, "/dev/null"], on_error="return")
    assert ("", "") == (first, third)
    assert isinstance(second, AskTimeoutError)
    none_left(system)


def test_a_map_goes_on_with_the_places_that_others_leave(system: ActorSystem) -> None:
    tasks = system.tasks(max_children=2)
    other = tasks.run(wait_for_ever)

    assert [0, 1, 4, 9] == list(tasks.map(square, range(4)))
    second = tasks.run(wait_for_ever)
    with pytest.raises(TooManyChildrenError, match="has 2 children, and max_children is 2"):
        list(tasks.map(square, range(4), on_error="skip"))
    other.cancel()
    second.cancel()


def test_several_threads_map_over_the_same_places(system: ActorSystem) -> None:
    tasks = system.tasks(max_children=3)
    found: dict[int, list[int]] = {}

    def use(number: int) -> None:
        found[number] = list(tasks.map(square, range(number, number + 3), max_concurrency=1))

    threads = [threading.Thread(target=use, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)

    assert {n: [i * i for i in range(n, n + 3)] for n in range(3)} == found


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"max_concurrency": 0}, "max_concurrency=0: must be a whole number"),
        ({"max_concurrency": True}, "max_concurrency=True"),
        ({"max_concurrency": 3}, "max_concurrency=3: is above max_children=2 of /system/tasks"),
        ({"on_error": "ignore"}, "on_error='ignore': must be one of 'raise', 'return', 'skip'"),
    ],
)
def test_a_map_is_checked_when_it_is_made(options: Any, problem: str) -> None:
    with ActorSystem() as system, pytest.raises(SpecError, match=problem):
        system.tasks(max_children=2).map(square, [1], **options)


def test_a_map_that_loses_its_system_ends(start_method: Any) -> None:
    with ActorSystem(start_method=start_method) as system:
        results = system.tasks(max_children=2).map(square, itertools.count(), on_error="skip")
        assert 0 == next(results)

    with pytest.raises(ActorsError):
        for _ in results:
            pass


# --- nothing is left --------------------------------------------------------------------------------------------------------


def run_many(start_method: Any, count: int, *, before_that: int) -> None:
    with ActorSystem(start_method=start_method) as system:
        tasks = system.tasks(max_children=4)
        list(tasks.map(square, range(before_that)))
        eventually(lambda: books(system)["tombs"] == 0, SECONDS, state=lambda: books(system))
        before = books(system)
        assert list(range(count)) == list(tasks.map(abs, range(count)))
        none_left(system)

        eventually(lambda: books(system) == before, SECONDS, state=lambda: (before, books(system)))


def books(system: ActorSystem) -> dict[str, int]:
    """How much the host holds for its actors."""
    host = system._life.host
    assert host is not None
    runner = host.runner
    return {
        "descriptors": len(open_descriptors()),
        "cells": len(runner.cells),
        "routes": len(host.node.routes),
        "asks": len(host.node.asks),
        "ended": len(host._ended),
        "tombs": len(host.mail._tombs),
        "waiting": len(runner.on_ready) + len(runner.on_gone),
        "homes": len(runner.state.homes),
        "names": sum(len(node.names) for node in runner.state.nodes.values()),
        "actions": len(host.pump._actions),
        "arenas": len(host.arenas),
        "runs": sum(len(crew.runs) for crew in system._crews.values()),
    }


def test_tasks_leave_nothing_in_the_host(start_method: Any) -> None:
    run_many(start_method, 5, before_that=3)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_thousands_of_tasks_leave_nothing_in_the_host(start_method: Any) -> None:
    run_many(start_method, 3000, before_that=50)


def test_what_the_host_held_for_a_task_is_freed_with_its_process(system: ActorSystem) -> None:
    tasks, host = system.tasks(), system._life.host
    assert host is not None
    reply = tasks.run(wait_for_ever)
    pids(system, 1)
    held = [weakref.ref(cell) for cell in host.runner.cells.values()]
    reply.cancel()
    assert 9 == tasks.run(square, 3).result(timeout=SECONDS)
    none_left(system)

    eventually(lambda: gc.collect() >= 0 and held[0]() is None, 2.0, what="its buffers are freed")


def test_a_result_is_freed_with_its_last_user(system: ActorSystem) -> None:
    tasks = system.tasks()
    reply = tasks.run(square, 3)
    assert 9 == reply.result(timeout=SECONDS)
    none_left(system)
    left = weakref.ref(reply)

    gc.disable()
    try:
        del reply
        eventually(lambda: left() is None, SECONDS)
    finally:
        gc.enable()
