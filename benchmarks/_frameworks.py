"""
The same work done by other frameworks: what their adapters measured, in a process of its own for each, in turns.

A framework that hangs costs its time limit once: it is killed with all that it has started, what it had measured counts, and it has no
further turn.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import attrs

from benchmarks import _processes
from benchmarks._rows import NOTHING, shown_number

__all__ = ["HEAD", "WORKS", "Outcome", "as_cells", "measure_frameworks"]

WORKS: Mapping[str, tuple[str, str]] = {
    "ask": ("ask", "us"),
    "tell": ("tell", "k/s"),
    "start": ("start one", "ms"),
    "map": ("map, one task each", "k/s"),
}
"""What adapters measure: its title and its unit."""

HEAD = ("framework", *(f"{title} ({unit})" for title, unit in WORKS.values()), "")

_MOST_NOTE = 120  # characters of what went wrong


@attrs.define
class Outcome:
    """
    What one adapter measured.

    Attributes:
        name: Of the adapter.
        about: In what its actors or workers run; empty until it has said so.
        version: Of what it measured.
        numbers: By work, one a round.
        problem: Why it was left out, or ended early; None for neither.
    """

    name: str
    about: str = ""
    version: str = ""
    numbers: dict[str, list[float]] = attrs.field(factory=dict[str, list[float]])
    problem: str | None = None

    @property
    def title(self) -> str:
        """Its name for people."""
        return {"ours": "actors"}.get(self.name, self.name.replace("_", " "))

    def take(self, told: Mapping[str, Any]) -> None:
        """Take one line that the adapter's process wrote."""
        if "work" in told:
            self.numbers.setdefault(str(told["work"]), []).append(float(told["value"]))
        else:
            self.about, self.version = str(told["about"]), str(told["version"])


def measure_frameworks(
    names: Sequence[str], rounds: int, scale: float, seconds: float, tell: Callable[[str], object]
) -> list[Outcome]:
    """
    Give each adapter its turn once a round, in a process of its own.

    Args:
        names: Of adapters.
        rounds: How many.
        scale: Share of the usual work.
        seconds: How long one turn may take.
        tell: Told of what is left out or goes wrong.
    """
    outcomes = [Outcome(name, problem=_missing(name)) for name in names]
    for outcome in outcomes:
        if outcome.problem is not None:
            tell(f"{outcome.name}: {outcome.problem}")
    for _ in range(rounds):
        for outcome in [each for each in outcomes if each.problem is None]:
            outcome.problem = _turn(outcome, scale, seconds)
            if outcome.problem is not None:
                tell(f"{outcome.name}: {outcome.problem}")
    return outcomes


def as_cells(outcomes: Sequence[Outcome]) -> list[tuple[str, ...]]:
    """
    The lines of a table under :data:`HEAD`: medians, and beside each of them how it compares with the first outcome, the same work by
    hand: its time, or its rate.
    """
    first = {work: median(numbers) for work, numbers in outcomes[0].numbers.items()} if outcomes else {}
    return [
        (_cells_title(each), *(_cell(each, work, first.get(work)) for work in WORKS), _note(each)) for each in outcomes
    ]


def _cells_title(outcome: Outcome) -> str:
    named = " ".join(filter(None, (outcome.title, outcome.version)))
    return f"{named} ({outcome.about})" if outcome.about else named


def _cell(outcome: Outcome, work: str, by_hand: float | None) -> str:
    if work not in outcome.numbers:
        return NOTHING
    number = median(outcome.numbers[work])
    return shown_number(number) if by_hand is None else f"{shown_number(number)} ({shown_number(number / by_hand)}x)"


def _note(outcome: Outcome) -> str:
    return (outcome.problem or "")[:_MOST_NOTE]


def _missing(name: str) -> str | None:
    """Why an adapter cannot run; None if it can. By its name, so that nothing is imported."""
    if name in {"by_hand", "ours"} or importlib.util.find_spec(name) is not None:
        return None
    return "not installed: pip install -e '.[bench]'"


def _turn(outcome: Outcome, scale: float, seconds: float) -> str | None:
    """Run an adapter once; what went wrong, if anything did. What it had measured until then counts."""
    with tempfile.TemporaryDirectory(prefix="actors-bench-") as folder:
        written, output = Path(folder, "numbers"), Path(folder, "output")
        command = [sys.executable, "-m", "benchmarks.adapters", outcome.name, str(scale), str(written)]
        code = _processes.run_alone(command, seconds, output)
        for line in written.read_text().splitlines() if written.exists() else ():
            outcome.take(json.loads(line))
        if code is None:
            return f"ended after {seconds:g} s"
        return f"failed ({code}): {_processes.last_line(output)}" if code else None
