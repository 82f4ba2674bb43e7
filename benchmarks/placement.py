"""
The time of one ask where both processes share a core, and where each has its own: the kernel chooses otherwise, and not always alike.
"""

from __future__ import annotations

import functools
import os

from actors import ActorRef, ActorSystem
from benchmarks import _twins
from benchmarks._rounds import Row, arguments, report, take_turns
from benchmarks.ask import ASKS, Counter, asks


def move(process: int | None, core: int) -> None:
    """Let the main thread of *process* run on *core* alone."""
    assert process is not None
    os.sched_setaffinity(process, {core})


def move_actor(system: ActorSystem, actor: ActorRef[Counter], core: int) -> None:
    """Let *actor* run on *core* alone."""
    move(next(info.pid for info in system.actors() if info.path == actor.path), core)


def main() -> None:
    chosen = arguments(__doc__)
    count = chosen.scaled(ASKS)
    core, *_, other_core = sorted(os.sched_getaffinity(0)) * 2
    os.sched_setaffinity(0, {core})  # whatever is started from here on has it from this process
    with ActorSystem() as system, _twins.twins(2, _twins.answer_each) as (near_by_hand, far_by_hand):
        near, far = (system.spawn(Counter(), name=name) for name in ("near", "far"))
        move_actor(system, far, other_core)
        move(far_by_hand.process.pid, other_core)
        near_ours, near_theirs, far_ours, far_theirs = take_turns(
            chosen.rounds,
            functools.partial(asks, near, count),
            functools.partial(_twins.ping_pong, near_by_hand.pipe, count),
            functools.partial(asks, far, count),
            functools.partial(_twins.ping_pong, far_by_hand.pipe, count),
        )
    pipe = "Pipe + msgpack, ping-pong"
    rows = [
        Row("ask, both processes on one core", pipe, "us", near_ours, near_theirs),
        Row("ask, on two cores", pipe, "us", far_ours, far_theirs),
    ]
    report(chosen, rows)


if __name__ == "__main__":
    main()
