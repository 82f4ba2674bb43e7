"""
A pool of actors that keep a balance for each account: keys, a kill, and a resize, and not a booking lost or out of order.

Run it with ``python examples/pool.py``.
"""

from __future__ import annotations

import os
import signal

from actors import Actor, ActorSystem, Backoff, handler, pool

ACCOUNTS = [f"account-{number}" for number in range(20)]
BOOKINGS = 200


class Checker(Actor):
    """Sees to it that the bookings of each account come in order."""

    backoff = Backoff(initial=0.0)

    def on_start(self) -> None:
        self.last: dict[str, int] = {}
        self.out_of_order = 0

    @handler
    def book(self, account: str, number: int) -> None:
        self.out_of_order += number <= self.last.get(account, -1)
        self.last[account] = number

    @handler
    def process_id(self) -> int:
        return os.getpid()

    @handler
    def report(self) -> tuple[int, int]:
        return len(self.last), self.out_of_order


def main() -> None:
    with ActorSystem() as system:
        checkers = system.spawn_pool(pool(Checker(), 2, routing="key_hash", key="account"))
        for number in range(BOOKINGS):
            if number == BOOKINGS // 4:
                checkers.resize(4)
            if number == BOOKINGS // 2:
                os.kill(checkers.members[0].ask(Checker.process_id).result(timeout=10), signal.SIGKILL)
            if number == BOOKINGS * 3 // 4:
                checkers.resize(3)
            for account in ACCOUNTS:
                checkers.tell(Checker.book, account, number)
        reports = [reply.result(timeout=10) for reply in checkers.scatter(Checker.report)]
        print("workers:", len(reports))
        print("every account is somebody's:", sum(accounts for accounts, _ in reports) >= len(ACCOUNTS))
        print("out of order:", sum(wrong for _, wrong in reports))
        lost = system.dead_letters().get("crashed", 0)
        print("lost with the one that was killed, at most one:", lost <= 1)


if __name__ == "__main__":
    main()
