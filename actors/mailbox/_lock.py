"""
A lock that an exception of a signal handler cannot leave held.

Ctrl-C, and any signal whose handler raises, may come in the middle of a call of ours. Where a lock is held for ever after that, the next
thread that wants it hangs, the supervisor's among them.
"""

from __future__ import annotations

import _thread
import sys

__all__ = ["RLock"]

if sys.version_info < (3, 14):
    RLock = _thread.RLock
else:

    class RLock(_thread.RLock):  # type: ignore[misc] # not final; only its stub is
        """
        A ``threading.RLock`` for ``with``.

        From Python 3.14 on a signal handler may run when a lock written in C has been taken and the block of ``with`` has not begun, and
        nobody gives the lock back (https://github.com/python/cpython/issues/148874). It runs at the end of calls. Here nothing is called
        between the step of a loop that takes the lock and the block.
        """

        def __enter__(self) -> bool:  # type: ignore[override]
            for taken in iter(self.acquire, False):
                return taken
            raise AssertionError("acquire() returned without the lock")
