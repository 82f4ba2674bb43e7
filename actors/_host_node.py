"""
The host's :class:`~actors._seams.Node`: what refs do in the process that runs the system.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from actors._ref import ActorRef
from actors._seams import ActorStatistics
from actors.supervisor import _view

if TYPE_CHECKING:
    from actors._host import Host

__all__ = ["HostNode"]


class HostNode:
    """See :class:`actors._seams.Node`."""

    def __init__(self, host: Host) -> None:
        self._host = host
        node = host.node
        self.shares = host.shares
        self.pools = host.routers
        self.channels = host.channels
        self.tell = node.tell
        self.ask = node.ask
        self.stream = node.stream
        self.flush = node.flush
        self.expire = node.expire
        self.cancel = node.cancel
        self.run_callback = node.run_callback

    def stop(self, ref: ActorRef[Any], drain: bool) -> None:
        """Begin to stop an actor for good."""
        host = self._host
        cell = host.runner.cells.get(ref.uid)
        if cell is not None:
            cell.route.stopping = True
            host.pump.post(functools.partial(host.runner.stop_actor, ref.uid, drain=drain))

    def is_alive(self, ref: ActorRef[Any]) -> bool:
        """Whether it runs, or will again."""
        cell = self._host.runner.cells.get(ref.uid)
        return cell is not None and cell.gone is None

    def incarnation(self, ref: ActorRef[Any]) -> int:
        """The number of its last start."""
        info = _view.actor_info(self._host.runner.state, ref.uid)
        return 0 if info is None else info.incarnation

    def statistics(self, ref: ActorRef[Any]) -> ActorStatistics:
        """What is known of it, without asking it."""
        return self._host.statistics(ref.uid) or ActorStatistics(path=ref.path, state="gone")
