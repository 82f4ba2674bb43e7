"""
The memory of idle actors, beside as many bare processes of a forkserver.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from actors import Actor, ActorSystem
from benchmarks import _twins
from benchmarks._rounds import Row, Target, arguments, report, take_turns

PROCESSES = 20
MIB_IN_KIB = 1024


class Idle(Actor):
    """Does nothing."""


def proportional_mib(processes: Iterable[int]) -> float:
    """MiB that *processes* hold: their own pages, and their share of those that they have in common (PSS)."""
    kib = 0
    for process in processes:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        kib += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kib / MIB_IN_KIB


def memory_of_actors(count: int) -> float:
    """Start *count* actors; MiB of all their processes."""
    with ActorSystem() as system:
        for _ in range(count):
            system.spawn(Idle())
        return proportional_mib(info.pid for info in system.actors() if info.pid is not None)


def memory_of_processes(count: int) -> float:
    """Start *count* processes by hand; MiB of all of them."""
    twins = [_twins.start_ready(_twins.idle) for _ in range(count)]
    try:
        return proportional_mib(twin.process.pid for twin in twins if twin.process.pid is not None)
    finally:
        for twin in twins:
            twin.stop()


def main() -> None:
    chosen = arguments(__doc__)
    count = chosen.scaled(PROCESSES)
    ours, theirs = take_turns(chosen.rounds, lambda: memory_of_actors(count), lambda: memory_of_processes(count))
    work = f"PSS of {count} idle actors"
    report(chosen, [Row(work, "bare forkserver processes", "MiB", ours, theirs, Target("at most", 1.3))])


if __name__ == "__main__":
    main()
