"""A lock and the signals that come while it is taken."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from actors.mailbox._lock import RLock


class Interrupted(Exception):
    """What the signal handler raises."""


def test_a_signal_handler_that_raises_leaves_no_lock_held() -> None:
    lock, held, caught = RLock(), [], 0

    def alarm(_number: int, _frame: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, alarm)
    try:
        while caught < 1_000:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.00002 + 0.000001 * (caught % 20))
                while True:
                    with lock:
                        pass
            except Interrupted:
                caught += 1
            held.append(is_held(lock))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    assert not any(held)


def is_held(lock: Any) -> bool:
    """Whether this thread holds *lock*; no more, then."""
    if not lock._is_owned():
        return False
    lock.release()
    return True


def can_take(lock: RLock) -> bool:
    """Whether another thread can take *lock*."""
    with ThreadPoolExecutor() as other:
        return other.submit(lock.acquire, blocking=False).result()


def test_it_keeps_other_threads_out_until_its_last_block_ends() -> None:
    lock = RLock()
    with lock:
        with lock:
            pass
        assert not can_take(lock)

    assert can_take(lock)
