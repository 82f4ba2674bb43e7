"""
A request/reply service of several processes, used from asyncio: every reply can be awaited, no thread waits for it.

Run it with ``python examples/service_asyncio.py``.
"""

from __future__ import annotations

import asyncio
import math

from actors import Actor, ActorRef, ActorSystem, HandlerError, handler


class Factoriser(Actor):
    """Splits numbers into primes; the processor's work that would stop an event loop."""

    @handler
    def factors(self, number: int) -> list[int]:
        if number < 2:
            raise ValueError(f"{number} has no prime factors: give a whole number from 2 on")
        found = []
        for candidate in range(2, math.isqrt(number) + 1):
            while number % candidate == 0:
                found.append(candidate)
                number //= candidate
        return [*found, number] if number > 1 else found


async def factors_of(worker: ActorRef[Factoriser], number: int) -> list[int]:
    """One request, as a web handler would make it: the deadline travels with the ask."""
    return await worker.options(timeout=10).ask(Factoriser.factors, number)


async def serve(workers: list[ActorRef[Factoriser]]) -> None:
    numbers = [2**31 - 1, 360, 9_999_991, 1_000_000_007, 600_851_475_143]
    answers = await asyncio.gather(*(factors_of(workers[i % len(workers)], n) for i, n in enumerate(numbers)))
    for number, factors in zip(numbers, answers, strict=True):
        print(f"{number} = {' * '.join(map(str, factors))}")

    try:
        await factors_of(workers[0], 1)
    except HandlerError as error:  # raised by the handler; the worker lives on
        print("refused:", error.error_text)


def main() -> None:
    with ActorSystem() as system:
        workers = [system.spawn(Factoriser(), name=f"factoriser-{number}") for number in (1, 2)]
        asyncio.run(serve(workers))


if __name__ == "__main__":
    main()
