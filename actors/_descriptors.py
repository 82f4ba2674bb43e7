"""
The descriptors this process opened for its systems, and what becomes of them at a fork.

Owns two facts: which open descriptors are ours, so that a forked child can drop them first of all, and the soft limit that was
raised. Knows nothing of actors.
"""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterable, Iterator

from actors.mailbox._lock import RLock

__all__ = [
    "close",
    "close_inherited",
    "forget",
    "fork_lock",
    "forking_an_actor",
    "in_use",
    "limit",
    "original_limit",
    "own",
    "raise_limit",
    "restore_limit",
    "two_pipes",
]

# Held while a descriptor is made and noted, and around every fork: no child can inherit one that is not in the book.
fork_lock = RLock()

_MEMORY_FILES = "/memfd:actors-"
_owned: set[int] = set()
_original: tuple[int, int] | None = None
_forking_an_actor = False


def two_pipes() -> tuple[int, int, int, int]:
    """
    Read and write end of a pipe, and of another one: both, or none.

    Raises:
        OSError: No descriptors left.
    """
    first = os.pipe()
    try:
        return *first, *os.pipe()
    except OSError:
        for descriptor in first:
            os.close(descriptor)
        raise


def own(*descriptors: int) -> None:
    """Note *descriptors* as ours. Call with :data:`fork_lock` held since before they were made."""
    _owned.update(descriptors)


def close(*descriptors: int) -> None:
    """Close *descriptors* and forget them; negative ones are skipped, closed ones forgiven."""
    for descriptor in descriptors:
        if descriptor >= 0:
            _owned.discard(descriptor)
            with contextlib.suppress(OSError):
                os.close(descriptor)


def forget(*descriptors: int) -> None:
    """Take *descriptors* out of the book; somebody else has closed them."""
    _owned.difference_update(descriptors)


def close_inherited(keep: Iterable[int]) -> None:
    """In a forked actor: close every descriptor of the parent's systems but *keep*."""
    kept = set(keep)
    close(*(_owned - kept))
    _owned.clear()
    _blank(set(_mapped()) - kept)


@contextlib.contextmanager
def forking_an_actor() -> Iterator[None]:
    """Around the fork of an actor, which closes what is not its own by itself."""
    global _forking_an_actor  # noqa: PLW0603 - read by the hook below, which takes no arguments
    with fork_lock:
        _forking_an_actor = True
        try:
            yield
        finally:
            _forking_an_actor = False


def _before_fork() -> None:
    fork_lock.acquire()


def _after_fork_in_parent() -> None:
    fork_lock.release()


def _after_fork_in_child() -> None:
    """
    A fork of the user's own: it gets none of our descriptors, the life line's write end above all.

    Each number is given to ``/dev/null`` instead of being closed, because the objects that hold it were copied too, and would close
    whatever the number stands for when they go.
    """
    global fork_lock, _forking_an_actor  # noqa: PLW0603 - the lock is held by a thread that is not here any more
    fork_lock = RLock()
    if _forking_an_actor:
        _forking_an_actor = False
        return
    if _owned:
        _blank([*_owned, *_mapped()])
        _owned.clear()


def _blank(descriptors: Iterable[int]) -> None:
    """Give each number to ``/dev/null``: whatever object holds it may close it later and hurts nobody."""
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.dup2(nothing, descriptor, inheritable=False)
    os.close(nothing)


def _mapped() -> list[int]:
    """Return the descriptors of shared memory files of ours: before Python 3.13 every mapping keeps one that has no name."""
    found = []
    for entry in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{entry}").startswith(_MEMORY_FILES):
                found.append(int(entry))
    return found


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)


def raise_limit() -> None:
    """Raise the soft limit of open descriptors to the hard one, once per process."""
    global _original  # noqa: PLW0603 - the limit is a fact of the process
    if _original is None:
        _original = resource.getrlimit(resource.RLIMIT_NOFILE)
        hard = _original[1]
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def original_limit() -> int:
    """Return the soft limit as it stood before :func:`raise_limit`."""
    return _original[0] if _original else limit()


def restore_limit(soft: int) -> None:
    """In a child: give the user's code the soft limit *soft* back."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, hard) if hard >= 0 else soft, hard))


def limit() -> int:
    """Return the soft limit of open descriptors now in force."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def in_use() -> int:
    """Return how many descriptors this process has open; the limit itself where not even this look is possible."""
    try:
        # Linux 6.2 and later give the number as a size; listing three thousand takes 2 ms.
        return os.stat("/proc/self/fd").st_size or len(os.listdir("/proc/self/fd")) - 1
    except OSError:
        return limit()
