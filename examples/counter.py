"""
One actor that counts, told and asked; then killed, and answering again.

Run it with ``python examples/counter.py``.
"""

from __future__ import annotations

import os
import signal

from actors import Actor, ActorSystem, handler


class Counter(Actor):
    """Adds up what it is told, from *start*."""

    def __init__(self, start: int = 0) -> None:
        super().__init__()
        self.start_at = start

    def on_start(self) -> None:
        self.total = self.start_at

    @handler
    def add(self, amount: int) -> int:
        self.total += amount
        return self.total

    @handler
    def process_id(self) -> int:
        return os.getpid()


def main() -> None:
    with ActorSystem() as system:
        counter = system.spawn(Counter(start=10), name="counter")
        counter.tell(Counter.add, 5)  # fire and forget
        print("total:", counter.ask(Counter.add, 1).result(timeout=10))

        os.kill(counter.ask(Counter.process_id).result(timeout=10), signal.SIGKILL)
        # The same ref reaches the next incarnation, which began anew with on_start.
        print("after a kill:", counter.options(timeout=10).ask(Counter.add, 1).result())
        print("incarnation:", counter.incarnation)


if __name__ == "__main__":
    main()
