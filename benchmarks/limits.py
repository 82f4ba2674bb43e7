"""
What a tell, an ask and a refusal through a limited ref cost, beside the same through a plain one.
"""

from __future__ import annotations

import contextlib
import functools
import os
import time
from typing import Any, Protocol

from actors import Actor, ActorDied, ActorRef, ActorSystem, Breaker, CircuitOpenError, handler, limit
from benchmarks._rounds import Row, Target, arguments, report, take_turns

TELLS = 5_000
ASKS = 2_000
REFUSALS = 5_000
MUCH = 1e9  # a rate that is never reached
PLACES = 100_000


class Echo(Actor):
    """Answers what it is asked."""

    restart = "temporary"

    @handler
    def echo(self, value: int) -> int:
        return value

    @handler
    def leave(self) -> None:
        os._exit(1)


class Sender(Protocol):
    """A plain ref or a limited one."""

    @property
    def tell(self) -> Any: ...

    @property
    def ask(self) -> Any: ...


def tells(ref: Sender, plain: ActorRef[Echo], count: int) -> float:
    """Microseconds of one tell. What was told is handled before this returns."""
    began = time.perf_counter()
    for number in range(count):
        ref.tell(Echo.echo, number)
    seconds = time.perf_counter() - began
    plain.ask(Echo.echo, 1).result()
    return seconds / count * 1e6


def asks(ref: Sender, count: int) -> float:
    """Microseconds of one ask and its answer."""
    began = time.perf_counter()
    for number in range(count):
        ref.ask(Echo.echo, number).result()
    return (time.perf_counter() - began) / count * 1e6


def refusals(ref: Sender, count: int) -> float:
    """Microseconds of one ask that an open breaker refuses."""
    began = time.perf_counter()
    for number in range(count):
        with contextlib.suppress(CircuitOpenError):
            ref.ask(Echo.echo, number)
    return (time.perf_counter() - began) / count * 1e6


def broken(system: ActorSystem) -> Sender:
    """A ref whose breaker is open."""
    found = limit(system.spawn(Echo(), name="gone"), breaker=Breaker(failures=1, reset_after=3600.0))
    with contextlib.suppress(ActorDied):
        found.ask(Echo.leave).result()
    return found


def main() -> None:
    chosen = arguments(__doc__)
    told, asked, refused = chosen.scaled(TELLS), chosen.scaled(ASKS), chosen.scaled(REFUSALS)
    rows = []
    with ActorSystem() as system:
        plain = system.spawn(Echo(), name="echo")
        limits: dict[str, Sender] = {
            "a rate": limit(plain, rate=MUCH),
            "all limits": limit(plain, rate=MUCH, concurrency=PLACES, breaker=Breaker()),
        }
        for name, limited in limits.items():
            ours, theirs = take_turns(
                chosen.rounds,
                functools.partial(tells, limited, plain, told),
                functools.partial(tells, plain, plain, told),
            )
            rows.append(Row(f"tell, {name}", "a plain ref", "us", ours, theirs, Target("at most +", 5.0)))
            ours, theirs = take_turns(
                chosen.rounds, functools.partial(asks, limited, asked), functools.partial(asks, plain, asked)
            )
            rows.append(Row(f"ask, {name}", "a plain ref", "us", ours, theirs, Target("at most +", 20.0)))
        ours, theirs = take_turns(
            chosen.rounds,
            functools.partial(refusals, broken(system), refused),
            functools.partial(asks, plain, asked),
        )
        rows.append(Row("ask, an open breaker", "a plain ref", "us", ours, theirs, Target("no more than", 1000.0)))
    report(chosen, rows)


if __name__ == "__main__":
    main()
