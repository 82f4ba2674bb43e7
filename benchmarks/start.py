"""
How long actors take to become ready, and to answer again after SIGKILL, beside ``Process.start()`` and a handshake.
"""

from __future__ import annotations

import functools
import os
import signal
import time

from actors import Actor, ActorRef, ActorSystem, Backoff, Supervisor, handler
from benchmarks import _twins
from benchmarks._rounds import Row, Target, arguments, report, take_turns

MANY = 20
STARTS = 10  # each number is the mean of so many

# A restart at once, and as many as the rounds need: what is measured is the machinery, not its patience.
AT_ONCE = Backoff(initial=0.0, maximum=0.0, jitter=0.0)
RESTARTS = 100_000


class Idle(Actor):
    """Waits to be asked."""

    backoff = AT_ONCE

    @handler
    def process_id(self) -> int:
        return os.getpid()


def start_actors(system: ActorSystem, count: int) -> float:
    """Start *count* actors side by side and wait until all are ready; milliseconds."""
    began = time.perf_counter()
    refs = [system.spawn(Idle(), wait=count == 1) for _ in range(count)]
    if count > 1:
        for reply in [ref.ask(Idle.process_id) for ref in refs]:
            reply.result()
    passed = time.perf_counter() - began
    for ref in refs:
        ref.stop()
    while any(ref.is_alive() for ref in refs):
        time.sleep(0.001)
    return passed * 1e3


def start_processes(count: int) -> float:
    """Start *count* processes by hand and wait until all have said that they are ready; milliseconds."""
    began = time.perf_counter()
    twins = [_twins.start(_twins.idle) for _ in range(count)]
    for twin in twins:
        twin.pipe.recv_bytes()
    passed = time.perf_counter() - began
    for twin in twins:
        twin.stop()
    return passed * 1e3


def mean(repeats: int, milliseconds: functools.partial[float]) -> float:
    """The mean of some measurements, one after the other."""
    return sum(milliseconds() for _ in range(repeats)) / repeats


def revive(victim: ActorRef[Idle]) -> float:
    """Kill the process of *victim* and ask it; milliseconds to the answer of the next one."""
    process = victim.ask(Idle.process_id).result()
    began = time.perf_counter()
    os.kill(process, signal.SIGKILL)
    assert victim.ask(Idle.process_id).result() != process
    return (time.perf_counter() - began) * 1e3


def main() -> None:
    chosen = arguments(__doc__)
    repeats = chosen.scaled(STARTS)
    tree = Supervisor("bench", max_restarts=RESTARTS)
    with ActorSystem(tree) as system:
        victim = system.spawn(Idle(), name="victim")
        one, one_by_hand, again, many, many_by_hand = take_turns(
            chosen.rounds,
            functools.partial(mean, repeats, functools.partial(start_actors, system, 1)),
            functools.partial(mean, repeats, functools.partial(start_processes, 1)),
            functools.partial(mean, repeats, functools.partial(revive, victim)),
            functools.partial(start_actors, system, MANY),
            functools.partial(start_processes, MANY),
        )
    process = "Process.start + handshake"
    rows = [
        Row("start to ready, 1 actor", process, "ms", one, one_by_hand, Target("at most", 1.3)),
        Row(f"start to ready, {MANY} actors", process, "ms", many, many_by_hand, Target("at most", 1.3)),
        Row("SIGKILL to answering again", "start to ready, 1 actor", "ms", again, one, Target("at most +", 5.0)),
    ]
    report(chosen, rows)


if __name__ == "__main__":
    main()
