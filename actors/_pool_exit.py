"""
What becomes of pools as the interpreter ends: executors finish what is queued, pools are terminated.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from actors._workforce import Workforce

__all__ = ["end_all", "forget", "is_exiting", "remember", "replaces_nothing"]

_live: weakref.WeakSet[Workforce] = weakref.WeakSet()
_exiting = threading.Event()


def remember(force: Workforce) -> None:
    """*force* has begun."""
    _live.add(force)


def forget(force: Workforce) -> None:
    """*force* has ended."""
    _live.discard(force)


def is_exiting() -> bool:
    """Whether the interpreter ends."""
    return _exiting.is_set()


def replaces_nothing(method: str) -> bool:
    """Whether a worker that dies now stays dead: Python 3.12 refuses to fork as soon as the interpreter begins to end."""
    return _exiting.is_set() and method == "fork" and sys.version_info[:2] == (3, 12)


def end_all() -> None:
    """As the interpreter ends. A program that was interrupted does not wait for what is queued."""
    _exiting.set()
    interrupted = getattr(sys, "last_type", None) is KeyboardInterrupt
    ours = [force for force in list(_live) if force.owner == os.getpid()]
    for force in ours:
        if force.drains_at_exit and not interrupted:
            force.close()
        else:
            force.terminate()
    for force in ours:
        force.join()


# Before non-daemon threads are joined, and before exit handlers: as concurrent.futures does it.
cast("Any", threading)._register_atexit(end_all)
