"""
An actor's :class:`~actors._seams.Node`: what refs do in an actor's process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors._ref import ActorRef
from actors._seams import ActorStatistics

if TYPE_CHECKING:
    from actors._child import ActorProcess

__all__ = ["ActorNode"]


class ActorNode:
    """See :class:`actors._seams.Node`. What is not about messages is asked of the supervisor."""

    def __init__(self, process: ActorProcess) -> None:
        self._process = process
        node = process.node
        self.shares = process.directory.shares
        self.pools = process.pools
        self.channels = process.directory.channels
        self.tell = node.tell
        self.ask = node.ask
        self.stream = node.stream
        self.flush = node.flush
        self.expire = node.expire
        self.cancel = node.cancel
        self.run_callback = node.run_callback

    def stop(self, ref: ActorRef[Any], drain: bool) -> None:
        """Have an actor stopped for good."""
        self._process.attendant.notify("stop_actor", ref.uid, drain)

    def is_alive(self, ref: ActorRef[Any]) -> bool:
        """Whether it runs, or will again."""
        return bool(self._info(ref)[0])

    def incarnation(self, ref: ActorRef[Any]) -> int:
        """The number of its last start."""
        return self.statistics(ref).incarnation

    def statistics(self, ref: ActorRef[Any]) -> ActorStatistics:
        """What is known of it, without asking it."""
        data = self._info(ref)[1]
        return ActorStatistics(path=ref.path, state="gone") if data is None else ActorStatistics(**data)

    def _info(self, ref: ActorRef[Any]) -> tuple[bool, dict[str, Any] | None]:
        fields, _none = self._process.attendant.request("info", ref.uid)
        return fields[1], fields[2]
