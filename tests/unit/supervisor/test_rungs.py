"""Which limit a process has overrun that is made to leave."""

from __future__ import annotations

import pytest

from actors.supervisor._rungs import limit_over


@pytest.mark.parametrize(
    ("rung", "shutdown", "since_term", "said"),
    [
        ("SIGTERM", 5.0, None, "shutdown=5 s is over"),
        ("SIGTERM", None, None, "it was not ready within start_timeout"),
        ("SIGKILL", 5.0, 1.5, "term_grace=1.5 s is over"),
        ("SIGKILL", 5.0, 1.45, "term_grace=1.5 s is over"),
        ("SIGKILL", 5.0, 0.5, "shutdown_deadline=30 s is over"),
        ("SIGKILL", 5.0, None, "shutdown_deadline=30 s is over"),
        ("SIGKILL", None, None, "shutdown_deadline=30 s is over"),
        ("SIGKILL", 0.0, None, "shutdown=0: it is killed at once"),
    ],
)
def test_a_rung_names_the_limit_that_was_over(
    rung: str, shutdown: float | None, since_term: float | None, said: str
) -> None:
    assert said == limit_over(rung, shutdown=shutdown, term_grace=1.5, since_term=since_term, deadline=30.0)
