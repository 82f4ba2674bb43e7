"""
Watches of the host's own program: a callback for the end of an incarnation.
"""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs

from actors._ref import ActorRef, Down
from actors.errors import ActorNotRunningError, SpecError
from actors.supervisor._exits import ExitReason

if TYPE_CHECKING:
    from actors._host import Host

__all__ = ["HostWatch", "HostWatches"]

# How often a thread that waits for the pump makes sure that it is there.
_LOOK_SECONDS = 1.0


@attrs.frozen(eq=False)
class HostWatch:
    """One watch, to be taken back by :meth:`cancel`."""

    number: int
    ref: ActorRef[Any]
    callback: Callable[[Down], object]
    _watches: HostWatches

    def cancel(self) -> bool:
        """Take it back, also if its callback waits for its turn. False when it was over already."""
        return self._watches.cancel(self.number)


class HostWatches:
    """
    The watches of one system's host. Any thread.

    Args:
        host: Everything the system shares.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._numbers = itertools.count(1)
        self._open: dict[int, HostWatch] = {}

    def watch(self, ref: ActorRef[Any], callback: Callable[[Down], object]) -> HostWatch:
        """
        Have *callback* called when the present incarnation of *ref* ends.

        Raises:
            SpecError: It is no ref of this system, or nothing that can be called.
            ActorNotRunningError: The system has ended.
        """
        given: object = ref
        if not isinstance(given, ActorRef) or not callable(callback):
            raise SpecError(f"watch({ref!r:.80}, {callback!r:.80}): must be an ActorRef and a function of one argument")
        if ref.system != self._host.name:
            raise SpecError(f"watch({ref.path}): it is of system {ref.system!r}, and this is {self._host.name!r}")
        watch = HostWatch(next(self._numbers), ref, callback, self)
        self._open[watch.number] = watch
        noted = threading.Event()
        if not self._host.pump.post(functools.partial(self._note, watch.number, ref.uid, noted)):
            self._open.pop(watch.number, None)
            raise ActorNotRunningError(f"system {self._host.name} has stopped", target=ref.path)
        if not (self._host.pump.is_current() or self._host.callbacks.is_current()):
            # So that no death from now on can be missed: an actor may be back before the pump looks.
            while not noted.wait(_LOOK_SECONDS) and self._host.pump.is_running():
                pass
        return watch

    def _note(self, number: int, uid: int, noted: threading.Event) -> None:
        self._host.runner.obituaries.watch_for_host(number, uid)
        noted.set()

    def cancel(self, number: int) -> bool:
        """Take a watch back; False when it was over already."""
        if self._open.pop(number, None) is None:
            return False
        self._host.pump.post(functools.partial(self._host.runner.obituaries.unwatch_for_host, number))
        return True

    def ended(self, numbers: list[int], incarnation: int, reason: ExitReason) -> None:
        """In the pump: have the callbacks of these watches called."""
        for number in numbers:
            self._host.callbacks.run(self._call, number, incarnation, reason)

    def _call(self, number: int, incarnation: int, reason: ExitReason) -> None:
        """In the callback thread. Whoever takes the watch out of the table, this or :meth:`cancel`, has it."""
        watch = self._open.pop(number, None)
        if watch is not None:
            watch.callback(Down(watch.ref, incarnation, reason))
