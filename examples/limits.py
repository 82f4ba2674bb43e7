"""
A crawler that may ask a site for so much at a time, and leaves it alone while it is down: the site sees what it can bear, and nothing else.

Run it with ``python examples/limits.py``.
"""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import wait

from actors import Actor, ActorDied, ActorSystem, Breaker, CircuitOpenError, RateLimitedError, handler, limit

PAGES = 40


class Site(Actor):
    """Stands for a server, which one of its pages brings down."""

    def __init__(self) -> None:
        super().__init__()
        self.served = 0

    @handler
    def page(self, number: int) -> str:
        if number < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self.served += 1
        return f"page {number}"

    @handler
    def visits(self) -> int:
        return self.served


def main() -> None:
    with ActorSystem() as system:
        ref = system.spawn(Site(), name="site")
        site = limit(ref, rate=200, burst=5, concurrency=4, breaker=Breaker(failures=1, reset_after=0.5), wait=10.0)

        began = time.monotonic()
        replies = [site.ask(Site.page, number) for number in range(PAGES)]
        wait(replies)
        print("pages read:", len([reply.result() for reply in replies]))
        print("no faster than the rate:", time.monotonic() - began >= (PAGES - 5 - 1) / 200)

        hasty = limit(ref, rate=0.01, burst=3)
        sent = 0
        try:
            while sent < PAGES:
                hasty.tell(Site.page, sent)
                sent += 1
        except RateLimitedError as error:
            print(f"refused by the {error.limit} after {sent} sends")
        print("the site has seen:", ref.ask(Site.visits).result(timeout=10))

        try:
            site.ask(Site.page, -1).result(timeout=10)
        except ActorDied as error:
            print("the site is down:", error.reason.signal)
        try:
            site.ask(Site.page, 1)
        except CircuitOpenError as error:
            print("left alone for half a second:", error.retry_after is not None and error.retry_after <= 0.5)
            time.sleep(error.retry_after or 0.0)
        print(site.ask(Site.page, 1).result(timeout=10), "again")
        print("breaker:", site.breaker_state)


if __name__ == "__main__":
    main()
