"""
Who watches whom, and who is linked to whom: the book, and what a death means to each. Pure.

All of it is between *lives*: incarnations, as ``(uid, incarnation)``. The host watches as life ``(0, 0)``. What a life watches and
what it is linked to ends with it, so nothing here outlives a restart. A replacement is no end to others: whoever watches one that hands
over goes on with its successor.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import attrs

from actors.supervisor._exits import ExitReason

__all__ = ["HOST", "Ending", "Life", "Watches", "is_abnormal"]

Life: TypeAlias = tuple[int, int]
"""One incarnation: the actor's uid, and 1, 2, 3…"""

HOST: Final[Life] = (0, 0)

_EXPECTED: Final = frozenset({"normal", "requested"})


def is_abnormal(reason: ExitReason) -> bool:
    """Return whether a death spreads through links: every kind does but ``normal`` and ``requested``."""
    return reason.kind not in _EXPECTED


@attrs.frozen
class Ending:
    """
    Who is concerned by the end of one life.

    Attributes:
        watchers: The numbers of its watches, by whoever watched.
        linked: Whoever was linked to it, in the order of the links.
    """

    watchers: dict[Life, list[int]]
    linked: tuple[Life, ...]


class Watches:
    """The watches and links of a system."""

    def __init__(self) -> None:
        self._watchers: dict[Life, dict[tuple[Life, int], None]] = {}
        self._watched: dict[Life, dict[int, Life]] = {}
        self._links: dict[Life, dict[Life, None]] = {}
        self._trapping: set[Life] = set()

    def watch(self, watcher: Life, number: int, target: Life) -> None:
        """
        Note a watch.

        Args:
            watcher: Who is told.
            number: What it calls this watch; it has no other of that number.
            target: Whose end it is told of.
        """
        self._watched.setdefault(watcher, {})[number] = target
        self._watchers.setdefault(target, {})[watcher, number] = None

    def unwatch(self, watcher: Life, number: int) -> None:
        """Take a watch back. Harmless when it is over."""
        target = self._watched.get(watcher, {}).pop(number, None)
        if target is not None:
            self._forget_watch(watcher, number, target)

    def count(self, watcher: Life) -> int:
        """Return how many watches of *watcher* are open."""
        return len(self._watched.get(watcher, ()))

    def link(self, one: Life, other: Life) -> None:
        """Link two lives to each other; once, however often it is said."""
        self._links.setdefault(one, {})[other] = None
        self._links.setdefault(other, {})[one] = None

    def unlink(self, one: Life, uid: int) -> None:
        """Take the link between *one* and any life of *uid* back. Harmless when there is none."""
        for other in [other for other in self._links.get(one, ()) if other[0] == uid]:
            self._drop_link(one, other)
            self._drop_link(other, one)

    def links_of(self, life: Life) -> int:
        """Return how many others *life* is linked to."""
        return len(self._links.get(life, ()))

    def trap(self, life: Life, *, on: bool) -> None:
        """Say whether deaths that reach *life* by a link are to be messages."""
        if on:
            self._trapping.add(life)
        else:
            self._trapping.discard(life)

    def traps(self, life: Life) -> bool:
        """Return whether they are."""
        return life in self._trapping

    def end(self, life: Life) -> Ending:
        """A life has ended: forget all about it, and say whom that concerns."""
        for number, target in self._watched.pop(life, {}).items():
            self._forget_watch(life, number, target)
        self._trapping.discard(life)
        linked = tuple(self._links.pop(life, ()))
        for other in linked:
            self._drop_link(other, life)
        watchers: dict[Life, list[int]] = {}
        for watcher, number in self._watchers.pop(life, ()):
            watchers.setdefault(watcher, []).append(number)
            self._forget_watched(watcher, number)
        return Ending(watchers, linked)

    def pass_on(self, life: Life, successor: Life) -> None:
        """
        A life leaves its place to *successor*: whoever watches it, or is linked to it, is told of the end of that one instead.

        What it watches itself, and whether it traps, ends with it: its successor has said so for itself.
        """
        for number, target in self._watched.pop(life, {}).items():
            self._forget_watch(life, number, target)
        self._trapping.discard(life)
        for watcher, number in self._watchers.pop(life, ()):
            self.watch(watcher, number, successor)
        for other in self._links.pop(life, ()):
            self._drop_link(other, life)
            self.link(other, successor)

    def _forget_watch(self, watcher: Life, number: int, target: Life) -> None:
        watchers = self._watchers[target]
        del watchers[watcher, number]
        if not watchers:
            del self._watchers[target]

    def _forget_watched(self, watcher: Life, number: int) -> None:
        watched = self._watched[watcher]
        del watched[number]
        if not watched:
            del self._watched[watcher]

    def _drop_link(self, one: Life, other: Life) -> None:
        linked = self._links[one]
        del linked[other]
        if not linked:
            del self._links[one]
