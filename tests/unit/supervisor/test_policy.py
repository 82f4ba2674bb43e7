from __future__ import annotations

import pytest

from actors.supervisor._exits import EXIT_KINDS, ExitReason
from actors.supervisor._policy import (
    Backoff,
    Strategy,
    affected,
    backoff_delay,
    can_escalate,
    restarts_within,
    should_restart,
    start_order,
)


@pytest.mark.parametrize("kind", EXIT_KINDS)
def test_a_permanent_child_comes_back_whatever_happened(kind: str) -> None:
    assert should_restart("permanent", ExitReason(kind, 0), (0,))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", EXIT_KINDS)
def test_a_temporary_child_never_comes_back(kind: str) -> None:
    assert not should_restart("temporary", ExitReason(kind, 1), (0,))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("reason", "expected_exits", "comes_back"),
    [
        (ExitReason("normal", 0), (0,), False),
        (ExitReason("normal", 0), (), True),
        (ExitReason("normal", 0), (3,), True),
        (ExitReason("requested", 0), (), False),
        (ExitReason("crash", 1), (0,), True),
        (ExitReason("crash", 3), (0, 3), False),
        (ExitReason("signal", -15), (0,), True),
        (ExitReason("signal", -15), (-15,), False),
        (ExitReason("boot_failure", 0), (0,), True),
        (ExitReason("boot_timeout", -9), (-9,), True),
        (ExitReason("hang", -9), (-9,), True),
        (ExitReason("memory_limit", -9), (-9,), True),
        (ExitReason("oom_kernel", -9), (-9,), True),
        (ExitReason("protocol", 0), (0,), True),
        (ExitReason("supervisor_lost", 113), (113,), True),
        (ExitReason("unknown"), (0,), True),
    ],
    ids=lambda value: f"{value.kind} {value.exit_code}" if isinstance(value, ExitReason) else str(value),
)
def test_a_transient_child_comes_back_unless_it_ended_as_expected(
    reason: ExitReason, expected_exits: tuple[int, ...], comes_back: bool
) -> None:
    assert comes_back is should_restart("transient", reason, expected_exits)


@pytest.mark.parametrize(
    ("strategy", "failed", "positions"),
    [
        ("one_for_one", 0, [0]),
        ("one_for_one", 1, [1]),
        ("one_for_one", 2, [2]),
        ("rest_for_one", 0, [0, 1, 2]),
        ("rest_for_one", 1, [1, 2]),
        ("rest_for_one", 2, [2]),
        ("one_for_all", 0, [0, 1, 2]),
        ("one_for_all", 1, [0, 1, 2]),
        ("one_for_all", 2, [0, 1, 2]),
    ],
)
def test_a_strategy_takes_down_these(strategy: Strategy, failed: int, positions: list[int]) -> None:
    assert positions == list(affected(strategy, failed, 3))


@pytest.mark.parametrize(
    ("now", "kept"),
    [(105.0, (100.0, 104.0)), (105.1, (104.0,)), (109.0, (104.0,)), (109.1, ())],
    ids=["edge 5.0 in", "5.1 out", "second edge in", "all out"],
)
def test_the_window_slides_and_includes_its_edge(now: float, kept: tuple[float, ...]) -> None:
    assert kept == restarts_within((100.0, 104.0), now, 5.0)


@pytest.mark.parametrize(
    ("attempt", "u", "delay"),
    [
        (1, 0.0, 0.5),
        (2, 0.0, 1.0),
        (3, 0.0, 2.0),
        (1, 0.5, 0.6),
        (5, 0.0, 8.0),
        (6, 0.0, 10.0),
        (5, 0.9, 10.0),
        (100_000, 0.0, 10.0),
    ],
)
def test_delays_grow_to_their_maximum(attempt: int, u: float, delay: float) -> None:
    backoff = Backoff(initial=0.5, factor=2, maximum=10.0, jitter=0.4)

    assert delay == pytest.approx(backoff_delay(backoff, attempt, u))


def test_no_initial_delay_is_no_delay_ever() -> None:
    assert 0.0 == backoff_delay(Backoff(initial=0), 10**9, 0.9)


@pytest.mark.parametrize(
    ("backoff", "max_restarts", "period", "can"),
    [
        (Backoff(initial=0.7), 3, 5.0, True),
        (Backoff(initial=0.8), 3, 5.0, False),
        (Backoff(initial=1.0, factor=1.0), 5, 5.0, True),
        (Backoff(initial=1.0, factor=1.0), 6, 5.0, False),
        (Backoff(initial=9.0), 0, 5.0, True),
        (Backoff(initial=5.0), 1, 5.0, True),
        (Backoff(initial=0.0), 100_000, 0.001, True),
        (Backoff(initial=1.0, maximum=1.0), 100_000, 5.0, False),
        (Backoff(), 3, 5.0, True),
        (Backoff(), 10, 5.0, False),
    ],
)
def test_a_backoff_can_reach_the_limit_or_not(backoff: Backoff, max_restarts: int, period: float, can: bool) -> None:
    assert can is can_escalate(backoff, max_restarts, period)


@pytest.mark.parametrize(
    ("after", "order"),
    [
        ({}, ""),
        ({"a": "", "b": "", "c": ""}, "abc"),
        ({"a": "c", "b": "", "c": ""}, "bca"),
        ({"a": "b", "b": "c", "c": ""}, "cba"),
        ({"a": "x", "b": ""}, "ab"),
        ({"a": "b", "b": "a", "c": ""}, "c"),
        ({"a": "a"}, ""),
    ],
    ids=str,
)
def test_children_start_as_written_but_after_what_they_depend_on(after: dict[str, str], order: str) -> None:
    assert tuple(order) == start_order(after)


def test_an_empty_name_is_a_name() -> None:
    assert ("", "a") == start_order({"": (), "a": ("",)})
