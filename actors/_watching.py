"""
What an actor hears of the deaths of others: its watches, its links, and the news that waits its turn between two messages.

News comes in the attendant's thread and is handled in the main one. What the dead one had written to this actor's inbox stands
before the news, so it waits until the bytes that stood there when it was first looked at are handled.
"""

from __future__ import annotations

import itertools
from collections import deque
from typing import TYPE_CHECKING, Any

import attrs

from actors._ref import ActorRef, Down
from actors.errors import SpecError
from actors.mailbox._inbox import queued_bytes
from actors.supervisor import _exits

if TYPE_CHECKING:
    from actors._child import ActorProcess

__all__ = ["Watch", "Watching"]

# As many as the supervisor takes of one actor.
_MOST_WATCHES = 100_000


@attrs.frozen(eq=False)
class Watch:
    """One watch of this actor, to be taken back by :meth:`cancel`."""

    number: int
    ref: ActorRef[Any]
    handler: str
    _watching: Watching

    def cancel(self) -> bool:
        """Take it back, also if its :class:`~actors.Down` has come and not been handled yet. False when it was over already."""
        return self._watching.unwatch(self.number)


@attrs.frozen
class _News:
    """One death: of a watch by its number; or of a linked actor by its ref, and the number of the news."""

    number: int
    ref: ActorRef[Any] | None
    incarnation: int
    reason: _exits.ExitReason


class Watching:
    """
    The watches and links of one actor.

    Args:
        process: Whose they are.

    Attributes:
        fatal: Crash reports of this actor for deaths of linked ones that end it, by their uid.
    """

    def __init__(self, process: ActorProcess) -> None:
        self._process = process
        self._attendant = process.attendant
        self._numbers = itertools.count(1)
        self._open: dict[int, Watch] = {}
        self._trap = ""
        self._arrivals = itertools.count(1)
        self._unlinked: dict[int, int] = {}
        self._arrived: deque[_News] = deque()
        self._waiting: deque[tuple[int, _News]] = deque()
        self.fatal: dict[int, dict[str, Any]] = {}
        self._attendant.handlers["watched"] = self._watched
        self._attendant.handlers["linked"] = self._linked

    # --- what the actor does ----------------------------------------------------------------------------------------------

    def watch(self, ref: ActorRef[Any], handler: str) -> Watch:
        """
        Watch *ref*, and have the news handled by *handler*.

        Raises:
            SpecError: It is this actor itself, of another system, or one watch too many.
        """
        self._check("watch", ref)
        if len(self._open) >= _MOST_WATCHES:
            raise SpecError(f"{self._process.ref.path} has {len(self._open)} watches open: cancel some")
        watch = Watch(next(self._numbers), ref, handler, self)
        self._open[watch.number] = watch
        try:
            # Answered, so that no death from now on can be missed: an actor may be back before a mere notice is read.
            self._attendant.request("watch", watch.number, ref.uid)
        except BaseException:
            self.unwatch(watch.number)
            raise
        return watch

    def unwatch(self, number: int) -> bool:
        """Take a watch back; False when it was over already."""
        if self._open.pop(number, None) is None:
            return False
        self._attendant.notify("unwatch", number)
        return True

    def link(self, ref: ActorRef[Any]) -> None:
        """
        Link this actor to *ref*.

        Raises:
            SpecError: It is this actor itself, or of another system.
        """
        self._check("link", ref)
        self._attendant.request("link", ref.uid, ref.path)

    def unlink(self, ref: ActorRef[Any]) -> None:
        """
        Take a link back: from now on no death of *ref* comes through it, not even one that has come already.

        Raises:
            SpecError: As for :meth:`link`.
        """
        self._check("unlink", ref)
        self._attendant.request("unlink", ref.uid)
        if self.fatal.pop(ref.uid, None) is not None and not self.fatal and self._process.stop_reason == "normal":
            self._process.flow.go_on()
        self._unlinked[ref.uid] = next(self._arrivals)

    def trap(self, handler: str) -> None:
        """From now on, have deaths of linked actors handled by *handler*; ``""`` for no more."""
        if handler:
            self._trap = handler
        self._attendant.request("trap", bool(handler))

    def _check(self, what: str, ref: object) -> None:
        own = self._process.ref
        if not isinstance(ref, ActorRef):
            raise SpecError(f"{what}({ref!r:.80}): must be an ActorRef")
        if ref.system != own.system:
            raise SpecError(f"{what}({ref.path}): it is of system {ref.system!r}, and this actor of {own.system!r}")
        if ref.uid == own.uid:
            raise SpecError(f"{what}({ref.path}): that is this actor itself")

    # --- in the attendant -------------------------------------------------------------------------------------------------

    def _watched(self, fields: tuple[Any, ...], _passed: tuple[int, ...]) -> None:
        numbers, incarnation, data = fields
        reason = _exits.from_data(data)
        self._arrived.extend(_News(number, None, incarnation, reason) for number in numbers)
        self._process.interrupt()

    def _linked(self, fields: tuple[Any, ...], _passed: tuple[int, ...]) -> None:
        uid, path, incarnation, data, report = fields
        if report is not None:
            self.fatal[uid] = report
            self._process.flow.interrupt()
        else:
            ref: ActorRef[Any] = ActorRef(system=self._process.ref.system, uid=uid, path=path)
            self._arrived.append(_News(next(self._arrivals), ref, incarnation, _exits.from_data(data)))
        self._process.interrupt()

    # --- in the main thread, between two messages ---------------------------------------------------------------------------

    @property
    def waits(self) -> bool:
        """Whether there is news that was not handled."""
        return bool(self._arrived or self._waiting)

    def take(self, *, empty: bool = False) -> tuple[str, Down] | None:
        """
        Return the next news whose turn it is, with its handler; None if there is none.

        Args:
            empty: Whether the inbox was found empty, so that nothing stands before any news.
        """
        recorder = self._process.recorder
        if self._arrived:
            # What stands in the pipe was read or will be by this very thread, so nothing is counted twice or missed.
            mark = recorder.read_bytes + queued_bytes(self._process.inbox)
            for _ in range(len(self._arrived)):
                self._waiting.append((mark, self._arrived.popleft()))
        while self._waiting and (empty or self._waiting[0][0] <= recorder.handled_bytes):
            _mark, news = self._waiting.popleft()
            found = self._open_news(news)
            if found is not None:
                return found
        return None

    def _open_news(self, news: _News) -> tuple[str, Down] | None:
        """Return handler and message; None for news that was taken back meanwhile."""
        if news.ref is None:
            watch = self._open.pop(news.number, None)
            return None if watch is None else (watch.handler, Down(watch.ref, news.incarnation, news.reason))
        if news.number < self._unlinked.get(news.ref.uid, 0):
            return None
        return self._trap, Down(news.ref, news.incarnation, news.reason)
