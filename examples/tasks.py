"""
Functions that may crash, hang or take long, each called in a process of its own.

Run it with ``python examples/tasks.py``.
"""

from __future__ import annotations

import os
import signal
import time

from actors import ActorDied, ActorSystem, AskTimeoutError


def largest_factor(number: int) -> int:
    """The largest prime that divides *number*. Does not know when to give up."""
    factor = 2
    while factor * factor <= number:
        if number % factor == 0:
            number //= factor
        else:
            factor += 1
    return number


def moody(number: int) -> str:
    """As a library in C may be: it crashes for some values, and for others it never returns."""
    if number % 5 == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    if number % 5 == 4:
        time.sleep(3600.0)
    return f"{number} is fine"


def main() -> None:
    with ActorSystem() as system:
        tasks = system.tasks("tasks", max_children=4)
        print("a factor:", tasks.run(largest_factor, 600_851_475_143).result(timeout=30))

        numbers = [360, 2**31 - 1, 1001]
        print("in order:", list(tasks.map(largest_factor, numbers)))

        hasty = tasks.options(timeout=5.0)
        for outcome in hasty.map(moody, range(1, 6), on_error="return"):
            match outcome:
                case ActorDied():
                    print("died:", outcome.reason.signal)
                case AskTimeoutError():
                    print("killed after", outcome.timeout, "s")
                case text:
                    print(text)


if __name__ == "__main__":
    main()
