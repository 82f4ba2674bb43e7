"""
How long a function takes in a process of its own, from the call to its result, beside ``Process`` and ``Pipe``.
"""

from __future__ import annotations

import functools
import time

from actors import ActorSystem, Tasks
from benchmarks import _twins
from benchmarks._rounds import Row, Target, arguments, report, take_turns

MANY = 20
REPEATS = 10  # each number is the mean of so many


def square(number: int) -> int:
    """The task."""
    return number * number


def one_task(tasks: Tasks, repeats: int) -> float:
    """Run tasks one after the other; milliseconds each."""
    began = time.perf_counter()
    for number in range(repeats):
        assert tasks.run(square, number).result() == number * number
    return (time.perf_counter() - began) / repeats * 1e3


def one_process(repeats: int) -> float:
    """The same by hand; milliseconds each."""
    began = time.perf_counter()
    for number in range(repeats):
        assert _twins.run_once(_twins.square, number) == number * number
    return (time.perf_counter() - began) / repeats * 1e3


def many_tasks(tasks: Tasks) -> float:
    """Run many tasks side by side; milliseconds for all."""
    began = time.perf_counter()
    for reply in [tasks.run(square, number) for number in range(MANY)]:
        reply.result()
    return (time.perf_counter() - began) * 1e3


def many_processes() -> float:
    """The same by hand; milliseconds for all."""
    began = time.perf_counter()
    for twin in [_twins.start(_twins.square, number) for number in range(MANY)]:
        _twins.finish(twin)
    return (time.perf_counter() - began) * 1e3


def main() -> None:
    chosen = arguments(__doc__)
    repeats = chosen.scaled(REPEATS)
    with ActorSystem() as system:
        tasks = system.tasks()
        one, one_by_hand, many, many_by_hand = take_turns(
            chosen.rounds,
            functools.partial(one_task, tasks, repeats),
            functools.partial(one_process, repeats),
            functools.partial(many_tasks, tasks),
            many_processes,
        )
    process = "Process + Pipe"
    rows = [
        Row("one task, call to result", process, "ms", one, one_by_hand, Target("at most", 1.3)),
        Row(f"{MANY} tasks side by side", process, "ms", many, many_by_hand, Target("at most", 1.3)),
    ]
    report(chosen, rows)


if __name__ == "__main__":
    main()
