"""
Whether an actor hangs: the decision, from one look at its flight recorder to the next.

Liveness is progress in the message loop and nothing else: a thread that beats inside a process lives on when the handler is
dead-locked. What counts as standing still:

===========================================  ================================================================================
the actor is                                 it stands still since
===========================================  ================================================================================
in a handler, a timer or ``on_stop``         its beginning, or its last progress; waiting for a reply is standing still, too
waiting for room, or for a stream's reader   never: the first is bounded by ``send_timeout``, the second the reader's affair
idle, and mail waits for it                  the look that saw both, if nothing moved: the loop is stuck, or the process stopped
idle, and no mail waits                      never
===========================================  ================================================================================

One look per ``handler_timeout`` is enough to be exact: whatever begins after a look is seen by the next one, before it is due.

Must not know: processes, clocks, how a hang is ended. Times are ``time.monotonic()`` seconds.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import attrs

__all__ = ["Action", "Sample", "Watch", "begin", "describe", "look", "standing_since"]

Action: TypeAlias = Literal["none", "suspect", "recovered", "kill"]

# Whoever looks so much too late stood still itself (a stopped host, a frozen machine), and so maybe did the actor.
LATE_SECONDS: Final = 1.0

_WORKING: Final = frozenset(("handling", "waiting", "stopping"))
_EXCUSED: Final = frozenset(("blocked", "credit"))


@attrs.frozen(kw_only=True)
class Sample:
    """
    One look at an actor.

    Attributes:
        state: Its flight state, in lower case.
        handler: The handler that runs or ran last, or None.
        progress: When its message began or it last got on, by its own word.
        handled: Messages handled.
        read_bytes: Bytes it has read of its inbox.
        handled_bytes: How many of those are handled.
        queued_bytes: Bytes that stand in its inbox, unread.
    """

    state: str
    handler: str | None = None
    progress: float = 0.0
    handled: int = 0
    read_bytes: int = 0
    handled_bytes: int = 0
    queued_bytes: int = 0

    @property
    def mark(self) -> tuple[float, ...]:
        """What changes when the actor gets on. What stands in the pipe does not: others write there."""
        return (self.handled, self.read_bytes, self.handled_bytes, self.progress)

    @property
    def has_mail(self) -> bool:
        """Whether something waits to be handled."""
        return self.queued_bytes > 0 or self.read_bytes > self.handled_bytes


@attrs.frozen(kw_only=True)
class Watch:
    """
    What is known of one incarnation.

    Attributes:
        timeout: Seconds without progress that make it suspect; above 0.
        grace: Seconds from then to the kill; 0 or above.
        looked: When it was looked at last; 0.0 for never.
        due: When it is to be looked at next.
        mark: Of the last look.
        since: Since when it stands still, or None.
        suspected: When it became suspect, or None.
    """

    timeout: float
    grace: float
    looked: float
    due: float
    mark: tuple[float, ...] = ()
    since: float | None = None
    suspected: float | None = None


def begin(timeout: float, grace: float, now: float) -> Watch:
    """
    Begin to watch an incarnation that is ready.

    Args:
        timeout: Its ``handler_timeout``.
        grace: Its ``hang_grace``.
        now: The time.
    """
    # Nothing was looked at yet: a handler may have begun before the word that the actor is ready was read here.
    return Watch(timeout=timeout, grace=grace, looked=0.0, due=now + timeout)


def look(watch: Watch, sample: Sample, now: float) -> tuple[Watch, Action]:
    """
    Judge one sample.

    Args:
        watch: As the last look left it.
        sample: What the recorder says now.
        now: The time; ``watch.due`` at the earliest.

    Returns:
        The watch with the time of the next look, and what to do: nothing, take its stack and warn (``suspect``), say that it goes
        on after all (``recovered``), or ``kill``. After a kill there is no next look.
    """
    late = now >= watch.due + LATE_SECONDS
    if late:
        watch = _forgive(watch, now)
    since = standing_since(watch, sample, now, late=late)
    went_on = since is None or sample.mark != watch.mark
    seen = attrs.evolve(
        watch, looked=now, mark=sample.mark, since=since, suspected=None if went_on else watch.suspected
    )
    if watch.suspected is not None and went_on:
        return attrs.evolve(seen, due=_next(seen, now)), "recovered"
    if seen.suspected is not None:
        give_up = seen.suspected + seen.grace
        return attrs.evolve(seen, due=give_up), "kill" if now >= give_up else "none"
    if since is not None and now >= since + seen.timeout:
        return attrs.evolve(seen, suspected=now, due=now + seen.grace), "suspect"
    return attrs.evolve(seen, due=_next(seen, now)), "none"


def _forgive(watch: Watch, now: float) -> Watch:
    """Whoever looks stood still: what has passed does not count, and a suspect gets its grace anew."""
    return attrs.evolve(
        watch,
        since=None if watch.since is None else now,
        suspected=None if watch.suspected is None else now,
    )


def _next(watch: Watch, now: float) -> float:
    return (now if watch.since is None else watch.since) + watch.timeout


def standing_since(watch: Watch, sample: Sample, now: float, *, late: bool = False) -> float | None:
    """
    Since when the actor stands still, or None if it does not.

    Args:
        watch: As the last look left it.
        sample: What the recorder says now.
        now: The time.
        late: Whether this look comes so late that the actor's own time cannot be relied on.
    """
    if sample.state in _EXCUSED:
        return None
    working = sample.state in _WORKING
    if not working and not sample.has_mail:
        return None
    if sample.mark == watch.mark and watch.since is not None:
        return watch.since
    # It has moved. What began since the last look says itself when; where it says nothing new, messages that need no handler
    # (expired, undecodable) were passed over meanwhile.
    if working and not late and watch.looked <= sample.progress:
        return min(sample.progress, now)
    return now


def describe(sample: Sample, seconds: float) -> str:
    """
    Say in a sentence how it stands still, for evidence and log.

    Args:
        sample: The last look.
        seconds: For how long.
    """
    name = sample.handler or "its handler"
    match sample.state:
        case "handling":
            return f"{name} made no progress for {seconds:.3g} s"
        case "waiting":
            return f"{name} made no progress for {seconds:.3g} s, waiting for a reply"
        case "stopping":
            return f"on_stop made no progress for {seconds:.3g} s"
        case _:
            last = f"; the last handler was {sample.handler}" if sample.handler else ""
            return f"its loop stood still for {seconds:.3g} s while mail waited ({sample.state}{last})"
