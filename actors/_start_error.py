"""
What the starter of an actor is told when its first start has failed, or when the tree refuses it.
"""

from __future__ import annotations

from actors.errors import ActorsError, SpecError, StartError, TooManyChildrenError
from actors.supervisor import _events as ev
from actors.supervisor import _exits

__all__ = ["refusal_error", "start_error"]


def start_error(path: str, reason: _exits.ExitReason) -> ActorsError:
    """Return what the starter of an actor is told when its first start has failed."""
    error = reason.error or {}
    text = f"{path} did not start: {_exits.describe(reason).removeprefix('failed to start: ')}"
    traceback = error.get("traceback") or reason.stack
    if traceback:
        text += f"\n\n{traceback}"
    return StartError(text, target=path, reason=reason)


def refusal_error(refused: ev.Refused, before: str = "") -> SpecError:
    """The error that says why the tree refused a request; *before*: the beginning of its text."""
    kind = TooManyChildrenError if refused.kind == "max_children" else SpecError
    return kind(f"{before}{refused.why}")
