"""
Which limit is over when a process is made to leave, in a few words: what the log of a stop says. Pure.

Must not know: who takes the rungs, and when; that is :mod:`actors.supervisor._ladder`'s.
"""

from __future__ import annotations

from typing import Final

__all__ = ["limit_over"]

# Signals are sent by timers, and behind the stack that is taken first: so much of a time may be missing at the other end.
_SLACK_SECONDS: Final = 0.06


def limit_over(
    rung: str, *, shutdown: float | None, term_grace: float, since_term: float | None, deadline: float
) -> str:
    """
    Say which limit was over when that rung was taken.

    Args:
        rung: ``"SIGTERM"`` or ``"SIGKILL"``.
        shutdown: Seconds that the actor has to leave by itself, 0 or above; None: as long as it likes.
        term_grace: Seconds that it has after SIGTERM.
        since_term: Seconds since it got SIGTERM, or None.
        deadline: Seconds that stopping the whole system may take; infinity for ever.

    Returns:
        Such as ``"shutdown=5 s is over"``. For a kill that comes before the actor's own times are over: the system's.
    """
    if rung == "SIGTERM" and shutdown is None:
        return "it was not ready within start_timeout"  # nothing else limits it then
    if rung == "SIGTERM":
        return f"shutdown={shutdown:g} s is over"
    if since_term is not None and since_term >= term_grace - _SLACK_SECONDS:
        return f"term_grace={term_grace:g} s is over"
    if shutdown == 0 and since_term is None:
        return "shutdown=0: it is killed at once"
    return f"shutdown_deadline={deadline:g} s is over"
