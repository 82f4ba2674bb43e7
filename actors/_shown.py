"""
What a user's function raised where nobody waits for it: shown on stderr, as far as that takes it.
"""

from __future__ import annotations

import contextlib
import sys
import traceback

__all__ = ["show"]


def show(who: object) -> None:
    """
    Show the exception that is being handled. Never raises: stderr may be closed, or stand on a disk that is full.

    Args:
        who: What raised it: a function, or a text that names it.
    """
    # Whoever calls this goes on with what others wait for; there is nobody left to tell that nothing could be told.
    with contextlib.suppress(Exception):
        sys.stderr.write(f"actors: {who if isinstance(who, str) else repr(who)} raised\n")
        traceback.print_exc()
