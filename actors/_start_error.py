"""
What the starter of an actor is told when its first start has failed.
"""

from __future__ import annotations

from actors.errors import ActorsError, StartError
from actors.supervisor import _exits

__all__ = ["start_error"]


def start_error(path: str, reason: _exits.ExitReason) -> ActorsError:
    """Return what the starter of an actor is told when its first start has failed."""
    error = reason.error or {}
    text = f"{path} did not start: {_exits.describe(reason).removeprefix('failed to start: ')}"
    traceback = error.get("traceback")
    if traceback:
        text += f"\n\n{traceback}"
    return StartError(text, target=path, reason=reason)
