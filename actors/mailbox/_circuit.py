"""
A circuit breaker: whether what is behind a ref is spared for a while. Pure: the time is an argument.

What happened while the breaker was in one state counts in that state alone. Each state has a number, its *round*, which a send takes along
and says again when it has ended: an answer that comes late, from before the breaker opened, neither opens nor closes it.

::

    closed ── too many failures ──▶ open ── reset_after is over, and somebody sends ──▶ half_open
       ▲                             ▲                                                     │
       │                             └────────────── a probe failed ───────────────────────┤
       └──────────────────────────────────────────── all probes passed ────────────────────┘
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final, Literal, TypeAlias

import attrs

from actors.errors import (
    ActorDied,
    ActorNotRunningError,
    AskTimeoutError,
    HandlerError,
    MailboxFullError,
    SpecError,
)

__all__ = ["TRANSITIONS", "Breaker", "BreakerState", "Circuit", "Verdict", "judge"]

BreakerState: TypeAlias = Literal["closed", "open", "half_open"]
Event: TypeAlias = Literal["failed_too_often", "rested", "probe_failed", "probes_passed"]
Verdict: TypeAlias = Literal["passed", "failed", "neither"]

TRANSITIONS: Final[dict[tuple[BreakerState, Event], BreakerState]] = {
    ("closed", "failed_too_often"): "open",
    ("open", "rested"): "half_open",
    ("half_open", "probe_failed"): "open",
    ("half_open", "probes_passed"): "closed",
}

_FAILURES: Final = (ActorDied, AskTimeoutError, MailboxFullError, ActorNotRunningError)


@attrs.frozen(kw_only=True)
class Breaker:
    """
    When a limited ref stops sending, and when it tries again.

    A failure is :class:`~actors.ActorDied`, :class:`~actors.AskTimeoutError` at the ask's own deadline, :class:`~actors.MailboxFullError` and
    :class:`~actors.ActorNotRunningError`. A cancel is none, nor is a message that could not be sent by the caller's own fault.

    Attributes:
        failures: So many of them within *window* open it; at least 1.
        window: Seconds, above 0; ``math.inf`` to count them all until it opens.
        reset_after: Seconds that it stays open; above 0.
        probes: So many sends it then lets through, at least 1. When all of them have passed it closes; when one fails it is open again.
        handler_errors: Whether :class:`~actors.HandlerError` is a failure, too. Otherwise it is an answer.

    Raises:
        SpecError: A number outside its range.
    """

    failures: int = 5
    window: float = 60.0
    reset_after: float = 30.0
    probes: int = 1
    handler_errors: bool = False

    def __attrs_post_init__(self) -> None:
        problems = [
            f"Breaker({name}={value!r}): must be a whole number, at least 1"
            for name, value in (("failures", self.failures), ("probes", self.probes))
            if type(value) is not int or value < 1
        ]
        problems += [
            f"Breaker({name}={value!r}): must be seconds, above 0"
            for name, value in (("window", self.window), ("reset_after", self.reset_after))
            if not _is_time(value)
        ]
        if problems:
            raise SpecError(*problems)


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def judge(error: BaseException | None, breaker: Breaker) -> Verdict:
    """
    What the end of a send says of the actor behind the ref.

    Args:
        error: What it ended with; None for an answer, or a tell that was accepted.
        breaker: Says whether errors of handlers count.
    """
    if error is None:
        return "passed"
    if isinstance(error, HandlerError):
        return "failed" if breaker.handler_errors else "passed"
    return "failed" if isinstance(error, _FAILURES) else "neither"


@attrs.define
class Circuit:
    """
    The state of one breaker.

    Attributes:
        breaker: Its numbers.
        state: ``"closed"``, ``"open"`` or ``"half_open"``. It stays open until somebody sends after the rest.
        round: The number of the state: one more at each transition.
        reason: What the last failure was, in a line.
        probing: Probes that are on their way.
        passed: Probes that have passed.
    """

    breaker: Breaker
    state: BreakerState = "closed"
    round: int = 0
    reason: str = ""
    probing: int = 0
    passed: int = 0
    _rested_at: float = -math.inf
    _failed: deque[float] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._failed = deque(maxlen=self.breaker.failures)

    def wait(self, now: float) -> float:
        """In how many seconds a send may begin: 0.0 for now, ``math.inf`` where that depends on the probes that are on their way."""
        if self.state == "closed":
            return 0.0
        if self.state == "open":
            return max(0.0, self._rested_at - now)
        return 0.0 if self.probing + self.passed < self.breaker.probes else math.inf

    @property
    def next_round(self) -> int:
        """The round that a send which begins now belongs to."""
        return self.round + (self.state == "open")

    def begin(self) -> None:
        """Note that a send begins; only where :meth:`wait` has just given 0.0."""
        if self.state == "open":
            self._move("rested")
        if self.state == "half_open":
            self.probing += 1

    def end(self, round_: int, verdict: Verdict, now: float, reason: str = "") -> None:
        """
        Note how a send has ended.

        Args:
            round_: What :attr:`next_round` was when it began. What belongs to another round than this one is passed over.
            verdict: What :func:`judge` gave.
            now: When it ended.
            reason: For a failure: what it was, in a line.
        """
        if round_ != self.round:
            return
        probe = self.state == "half_open"
        if probe:
            # One that an exception of a signal handler has stopped before it began is not counted.
            self.probing = max(0, self.probing - 1)
        if verdict == "failed":
            self._fail(probe, now, reason)
        elif verdict == "passed" and probe:
            self.passed += 1
            if self.passed >= self.breaker.probes:
                self._move("probes_passed")

    def _fail(self, probe: bool, now: float, reason: str) -> None:
        self.reason = reason
        self._failed.append(now)
        often = len(self._failed) == self.breaker.failures and now - self._failed[0] <= self.breaker.window
        if probe or often:
            self._rested_at = now + self.breaker.reset_after
            self._move("probe_failed" if probe else "failed_too_often")

    def _move(self, event: Event) -> None:
        self.state = TRANSITIONS[self.state, event]
        self.round += 1
        self.probing = self.passed = 0
        self._failed.clear()
