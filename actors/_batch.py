"""
One ask of a pool: many calls in one message, which a worker answers one by one.

Registered among the open asks of its process as any reply, and ended as one; but nobody waits for it. What comes is put into the
queue of the pool's own thread, in one step: whoever reads answers does no more here, and runs no code of a user.
"""

from __future__ import annotations

from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from actors._reply import Reply

if TYPE_CHECKING:
    from actors._ref import ActorRef
    from actors.mailbox._answers import AnswerLane

__all__ = ["ENDED", "FAILED", "ITEM", "Batch", "Event"]

ITEM: Final = "item"
ENDED: Final = "ended"
FAILED: Final = "failed"

Event = tuple[str, Any, Any]
"""What happened, to what, and how."""


class Batch(Reply[Any]):
    """
    The answers to come to one message of a pool.

    Args:
        events: Where they go.
        worker: Who was asked; for the pool.
        name: Of the handler.
        jobs: The calls; for the pool.

    Attributes:
        left: Calls that were neither answered nor taken back; *made* are those that were answered. For the pool, as the others.
        then: What is to be asked when this is done, for which it only brings what is needed; or None.
    """

    def __init__(self, events: SimpleQueue[Event], worker: Any, name: str, jobs: list[Any]) -> None:
        # Reply.__init__ waits for begin(): only then there is a number.
        self._events = events
        self.worker = worker
        self.name = name
        self.jobs = list(jobs)
        self.began = 0.0
        self.progressed = 0.0
        self.left = self.left_before = len(jobs)
        self.made = 0
        self.deadline_at: float | None = None
        self.kinds: set[tuple[bytes, int]] = set()
        self.then: tuple[str, tuple[Any, ...]] | None = None
        self.asked_back = False
        self.condemned = False

    def begin(
        self, ask_id: int, target: ActorRef[Any], node: Any, lane: AnswerLane | None, deadline: float | None
    ) -> Batch:
        """Be the reply of an ask that is about to be sent."""
        super().__init__(ask_id, target, node, lane, deadline)
        return self

    @property
    def purpose(self) -> str:
        """The name of the handler that it is all about."""
        return self.name if self.then is None else self.then[0]

    def item(self, value: object) -> None:
        """Take the answer to one call; maybe the same one again."""
        self._events.put((ITEM, self, value))

    def complete(self, value: Any) -> bool:
        """All is said."""
        return self._say(ENDED, value)

    def fail(self, error: BaseException) -> bool:
        """Nothing more will be said."""
        return self._say(FAILED, error)

    def _say(self, what: str, how: object) -> bool:
        if self._outcomes:
            return False
        self._outcomes.append((None, None))
        self._events.put((what, self, how))
        return True
