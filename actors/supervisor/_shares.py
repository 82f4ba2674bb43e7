"""
The memory that processes of a system share by name of a number: who uses which, and when nobody can any more.

Each is a file of its own, made and sealed here. A process that has it mapped is a user, counted as often as it has asked for it. Where the
last user is gone, a message that names it may still stand in an inbox: so it is kept until every actor has gone past what stood in its
inbox by then. Any thread may make and find; the pump alone drops.
"""

from __future__ import annotations

import errno
import itertools
from collections import Counter
from collections.abc import Callable

import attrs

from actors import _descriptors
from actors.errors import ProtocolError
from actors.mailbox._layout import create_file, round_up
from actors.mailbox._lock import RLock
from actors.supervisor._trails import Trail

__all__ = ["ShareBook"]

User = tuple[int, int]
"""A uid and an incarnation; zeros for the host."""
Marks = Callable[[], dict[int, int]]
"""Gives for each actor how many bytes it has been sent so far."""

_MOST_BYTES = 1 << 46
# A bound that keeps a broken child from taking the host's descriptors.
_MOST_PER_USER = 1024


@attrs.define(eq=False)
class _Share:
    descriptor: int
    size: int
    maker: User
    users: Counter[User] = attrs.Factory(Counter)
    trail: Trail | None = None


class ShareBook:
    """The shared memory of one system."""

    def __init__(self) -> None:
        self._shares: dict[int, _Share] = {}
        self._numbers = itertools.count(1)
        self._lock = RLock()  # a signal handler may come in, and send as well

    def make(self, user: User, size: int) -> tuple[int, int]:
        """
        Make one for its first user.

        Args:
            user: Who.
            size: Bytes; made a multiple of 4 KiB, all zero. They take memory when they are first written.

        Returns:
            Its number and its descriptor, which stays the book's.

        Raises:
            ProtocolError: A size out of range, for which no sender of ours asks.
            OSError: The machine refused, or they would be too many.
        """
        if type(size) is not int or not 1 <= size <= _MOST_BYTES:
            raise ProtocolError(f"shared memory of {size!r} bytes is out of range")
        with self._lock:
            if sum(share.maker == user for share in self._shares.values()) >= _MOST_PER_USER:
                raise OSError(errno.EMFILE, f"{_MOST_PER_USER} pieces of shared memory are what one process may make")
            with _descriptors.fork_lock:
                descriptor = create_file("actors-shared", round_up(size))
                _descriptors.own(descriptor)
            number = next(self._numbers)
            self._shares[number] = _Share(descriptor, round_up(size), user, Counter({user: 1}))
        return number, descriptor

    def find(self, number: int, user: User) -> int | None:
        """Count one use more, and return the descriptor; None if there is no such memory any more."""
        with self._lock:
            share = self._shares.get(number)
            if share is None:
                return None
            share.users[user] += 1
            share.trail = None
            return share.descriptor

    def drop(self, number: int, user: User, marks: Marks) -> bool:
        """
        Count one use less.

        Returns:
            Whether nobody uses it now.

        Raises:
            ProtocolError: It was no use of that user's.
        """
        with self._lock:
            share = self._shares.get(number)
            if share is None or share.users[user] < 1:
                raise ProtocolError(f"shared memory {number!r} is not in use by {user}")
            share.users[user] -= 1
            return self._orphan(share, marks)

    def forget(self, user: User, marks: Marks) -> bool:
        """A user has ended. Returns whether anything is used by nobody now."""
        with self._lock:
            orphans = 0
            for share in self._shares.values():
                if share.users.pop(user, 0):
                    orphans += self._orphan(share, marks)
            return orphans > 0

    @staticmethod
    def _orphan(share: _Share, marks: Marks) -> bool:
        share.users += Counter()  # without those that are down to zero
        if share.users:
            return False
        share.trail = Trail(marks())
        return True

    def forget_mark(self, uid: int) -> None:
        """What *uid* was sent so far will not all be handled: some of it is lost."""
        with self._lock:
            for share in self._shares.values():
                if share.trail is not None:
                    share.trail.forget(uid)

    def sweep(self, handled: Callable[[int], int | None], *, quiet: bool) -> bool:
        """
        Drop what nobody uses and no message can name. Returns whether anything is left that nobody uses.

        Args:
            handled: How many bytes an actor has handled; None if it is gone.
            quiet: Whether no answer waits to be read anywhere.
        """
        left = False
        with self._lock:
            for number, share in list(self._shares.items()):
                if share.trail is None:
                    continue
                if share.trail.is_past(handled, quiet=quiet):
                    _descriptors.close(self._shares.pop(number).descriptor)
                else:
                    left = True
        return left

    def close(self) -> None:
        """Drop all of it."""
        with self._lock:
            for share in self._shares.values():
                _descriptors.close(share.descriptor)
            self._shares.clear()

    def __len__(self) -> int:
        return len(self._shares)
