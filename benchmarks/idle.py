"""
The processor time that idle actors and their host use, beside as many bare processes that wait.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from pathlib import Path

from actors import Actor, ActorSystem
from benchmarks import _twins
from benchmarks._processes import descendants
from benchmarks._rounds import Row, Target, arguments, report

PROCESSES = 20
SECONDS = 60.0
SETTLING_SECONDS = 1.0  # what starting leaves behind is no cost of being idle
# Linux's own tick of one core every 10 ms would show as about this much.
MOST_PERCENT = 0.1


class Idle(Actor):
    """Does nothing."""


def cpu_seconds(processes: Iterable[int]) -> float:
    """Seconds that all threads of *processes* have spent on a processor, in steps of a nanosecond."""
    nanoseconds = 0
    for process in processes:
        with contextlib.suppress(FileNotFoundError):  # a thread that has ended takes its time with it
            for task in Path(f"/proc/{process}/task").iterdir():
                nanoseconds += int((task / "schedstat").read_text().split()[0])
    return nanoseconds / 1e9


def measure(count: int, seconds: float) -> tuple[float, float]:
    """Percent of one core that *count* idle actors with their host, and *count* bare processes use, both at the same time."""
    me = os.getpid()
    with ActorSystem() as system:
        for _ in range(count):
            system.spawn(Idle())
        ours = {me, *descendants(me)}
        with _twins.twins(count, _twins.idle):
            theirs = set(descendants(me)) - ours
            time.sleep(min(seconds, SETTLING_SECONDS))
            before = cpu_seconds(ours), cpu_seconds(theirs)
            time.sleep(seconds)
            after = cpu_seconds(ours), cpu_seconds(theirs)
    used = [100 * (late - early) / seconds for early, late in zip(before, after, strict=True)]
    return used[0], used[1]


def main() -> None:
    chosen = arguments(__doc__)
    count, seconds = PROCESSES, SECONDS * chosen.scale
    ours, theirs = measure(count, seconds)  # once: nothing but time makes it more exact
    work = f"{count} idle actors for {seconds:.3g} s"
    target = Target("no more than", MOST_PERCENT)
    report(chosen, [Row(work, "bare processes", "% of a core", (ours,), (theirs,), target)])


if __name__ == "__main__":
    main()
