"""
Which worker of a pool has which slot. Keys are hashed to slots, and slots belong to workers: so a resize moves slots, and few of them.

Must not know: keys, refs, how a message is sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

__all__ = ["SLOTS", "assign"]

SLOTS: Final = 1024
"""How many slots keys are hashed to; part of what every process of a system must agree on."""


def assign(before: Sequence[int], workers: Sequence[int]) -> tuple[int, ...]:
    """
    Give every slot to a worker: evenly, and so that no slot moves that need not.

    Args:
        before: The worker of each slot until now; empty for none.
        workers: Who is there now, by number; none twice.

    Returns:
        The worker of each slot: each has ``SLOTS / n`` of them, rounded up or down. Empty where there is no worker. Between two
        sizes only slots of those who leave move, or slots to those who come.
    """
    if not workers:
        return ()
    owners: list[int | None] = list(before) if before else [None] * SLOTS
    has: dict[int, list[int]] = {worker: [] for worker in workers}
    free: list[int] = []
    for slot, owner in enumerate(owners):
        (free if owner is None or owner not in has else has[owner]).append(slot)
    least, more = divmod(SLOTS, len(workers))
    # Who has most keeps the odd ones: then the fewest have to move.
    order = sorted(workers, key=lambda worker: -len(has[worker]))
    room = {worker: least + (place < more) for place, worker in enumerate(order)}
    for worker in order:
        free += has[worker][room[worker] :]
    for worker in order:
        for slot in has[worker][: room[worker]]:
            owners[slot] = worker
        for _ in range(room[worker] - len(has[worker])):
            owners[free.pop()] = worker
    return tuple(owner for owner in owners if owner is not None)
