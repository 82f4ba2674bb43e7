"""
The rules of supervision, one small function each. Owns the words for restart types and strategies, and :class:`Backoff`.

====================  ===========================================================================================
question              rule
====================  ===========================================================================================
who comes back        :func:`should_restart`: restart type x exit reason
who goes down too     :func:`affected`: strategy x position
how often             :func:`restarts_within`: sliding window, inclusive
how late              :func:`backoff_delay`
can it ever give up   :func:`can_escalate`: judged with zero uptime
in which order        :func:`start_order`: as written, dependencies first
====================  ===========================================================================================

Where Erlang/OTP has a rule, it is OTP's (``supervisor.erl``: ``do_restart``, ``restart``, ``add_restart``). Must not know: states,
events, processes. Time and randomness are arguments.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final, Literal, TypeAlias, get_args

import attrs

from actors.supervisor._exits import ExitKind, ExitReason

__all__ = [
    "RESTART_TYPES",
    "STRATEGIES",
    "Backoff",
    "RestartType",
    "Seconds",
    "Strategy",
    "affected",
    "backoff_delay",
    "can_escalate",
    "restarts_within",
    "should_restart",
    "start_order",
]

Seconds: TypeAlias = float
RestartType: TypeAlias = Literal["permanent", "transient", "temporary"]
Strategy: TypeAlias = Literal["one_for_one", "one_for_all", "rest_for_one"]

RESTART_TYPES: Final[tuple[RestartType, ...]] = get_args(RestartType)
STRATEGIES: Final[tuple[Strategy, ...]] = get_args(Strategy)

# Kinds whose exit code was the process's own choice, so that a user can declare it expected.
_KINDS_WITH_A_MEANT_CODE: Final[frozenset[ExitKind]] = frozenset({"normal", "crash", "signal"})


@attrs.frozen(kw_only=True)
class Backoff:
    """
    How long a supervisor waits before it restarts a child that keeps failing.

    Attributes:
        initial: Seconds before the first restart after a stable run; 0 or above.
        factor: By how much each further delay grows; 1 or above.
        maximum: No delay is longer, in seconds; *initial* or above.
        jitter: Each delay is up to this fraction longer, so that a herd spreads out; 0 to 1.
        stable_after: Seconds of running after which failures are forgotten; None: the supervisor's ``period``.
    """

    initial: Seconds = 0.01
    factor: float = 2.0
    maximum: Seconds = 30.0
    jitter: float = 0.1
    stable_after: Seconds | None = None


def should_restart(restart: RestartType, reason: ExitReason, expected_exits: Collection[int]) -> bool:
    """
    Whether a child that ended by itself comes back.

    Args:
        restart: The child's restart type.
        reason: Why it ended.
        expected_exits: Exit codes that a transient child may end with for good.

    Returns:
        permanent: always. temporary: never. transient: unless it ended as expected (its exit code is in *expected_exits*, or it
        was asked to stop). A failed or late start, a hang or a limit is never expected, whatever the code.

    Source: OTP ``supervisor:do_restart/3``; expected codes: supervisord ``exitcodes``.
    """
    if restart == "permanent":
        return True
    if restart == "temporary" or reason.kind == "requested":
        return False
    return not (reason.kind in _KINDS_WITH_A_MEANT_CODE and reason.exit_code in expected_exits)


def affected(strategy: Strategy, failed_index: int, count: int) -> range:
    """
    Positions of all children that are restarted when one of them is, itself included.

    Args:
        strategy: The supervisor's strategy.
        failed_index: Position of the failed child in start order, from 0.
        count: How many children there are; above *failed_index*.

    Returns:
        one_for_one: it alone. rest_for_one: it and those started after it. one_for_all: all.

    Source: OTP ``supervisor:restart/2``.
    """
    if strategy == "one_for_one":
        return range(failed_index, failed_index + 1)
    return range(0 if strategy == "one_for_all" else failed_index, count)


def restarts_within(times: Iterable[Seconds], now: Seconds, period: Seconds) -> tuple[Seconds, ...]:
    """
    Those of *times* that still count: ``now - period <= t``, the edge included.

    Args:
        times: Moments of restarts, in seconds.
        now: The present.
        period: Length of the sliding window in seconds.

    Source: OTP ``supervisor:add_restart/3``.
    """
    return tuple(t for t in times if t >= now - period)


def backoff_delay(backoff: Backoff, attempt: int, u: float) -> Seconds:
    """
    Seconds to wait before restart number *attempt*.

    ``min(maximum, initial * factor ** (attempt - 1) * (1 + jitter * u))``

    Args:
        backoff: Rates and limits; times in seconds.
        attempt: 1 for the first restart after a stable run. Any size; overflow gives *maximum*.
        u: Uniform sample in [0, 1), passed in so that the result is repeatable.

    Returns:
        Seconds, 0 <= result <= ``backoff.maximum``.

    Source: AWS, "Exponential Backoff and Jitter".
    """
    if backoff.initial == 0:
        return 0.0
    try:
        grown = backoff.initial * float(backoff.factor) ** (attempt - 1)
    except OverflowError:
        return backoff.maximum
    return min(backoff.maximum, grown * (1 + backoff.jitter * u))


def can_escalate(backoff: Backoff, max_restarts: int, period: Seconds) -> bool:
    """
    Whether a child that fails at once, each time, ever brings its supervisor to its limit.

    If not, a crash loop runs for ever and nobody is told. With 3 restarts in 5 s and factor 2 an initial delay of 0.7 s reaches
    the limit with the fourth exit; 0.8 s never does.

    Args:
        backoff: Judged without jitter: what can never happen at best never happens.
        max_restarts: Restarts allowed within *period*; 0 or above.
        period: Seconds, above 0.

    Returns:
        True if the first ``max_restarts`` delays (the shortest there are) fit into one period.
    """
    total, last = 0.0, -1.0
    for attempt in range(1, max_restarts + 1):
        delay = backoff_delay(backoff, attempt, 0.0)
        if delay == last:  # it has stopped growing: the rest is one product
            return total + (max_restarts - attempt + 1) * delay <= period
        total, last = total + delay, delay
        if total > period:
            return False
    return True


def start_order(after: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    """
    Names in the order in which they start: as written, except that each comes after what it depends on.

    Args:
        after: For each name, in the order written, the names it starts after; unknown ones are ignored.

    Returns:
        All names, or only those that can ever start: what is missing stands on a cycle or waits for one.
    """
    ordered: dict[str, None] = {}
    waiting = dict(after)
    while (ready := next((n for n, on in waiting.items() if not any(o in waiting for o in on)), None)) is not None:
        ordered[ready] = None
        del waiting[ready]
    return tuple(ordered)
