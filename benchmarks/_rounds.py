"""
Rounds that take turns, and the table they are printed as.

Owns what all benchmarks have in common. Other programs on the machine slow both sides of a round alike, so the ratio of a row
is the median of the ratios of its rounds, not the ratio of two numbers taken at different times.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Literal

import attrs

__all__ = ["Arguments", "Row", "Target", "arguments", "report", "take_turns"]

FEWEST_ROUNDS = 7

Measure = Callable[[], float]
"""Does the work once and returns what it cost, or its rate."""


@attrs.frozen
class Target:
    """
    What a row promises.

    Attributes:
        kind: ``"at most"`` and ``"at least"`` limit the ratio ours / by hand; ``"at most +"`` limits ours - by hand.
        limit: The limit, in the row's unit for ``"at most +"``.
    """

    kind: Literal["at most", "at least", "at most +"]
    limit: float

    def compare(self, ours: float, by_hand: float) -> float:
        """Ours over by hand, or ours minus by hand."""
        return ours - by_hand if self.kind == "at most +" else ours / by_hand

    def is_met(self, value: float) -> bool:
        """Whether *value*, as :meth:`compare` gives it, keeps the promise."""
        return value >= self.limit if self.kind == "at least" else value <= self.limit

    def show(self, value: float) -> str:
        """*value* as the table prints it."""
        return f"{value:+.2f}" if self.kind == "at most +" else f"{value:.2f}x"

    def __str__(self) -> str:
        return f"at most +{self.limit:g}" if self.kind == "at most +" else f"{self.kind} {self.limit:g}x"


@attrs.frozen
class Row:
    """
    One piece of work, done by both sides.

    Attributes:
        work: What was done.
        by_hand: What it was compared with.
        unit: Of the numbers.
        ours: One number a round.
        theirs: The other side's numbers, of the same rounds.
        target: What the ratio should be.
    """

    work: str
    by_hand: str
    unit: str
    ours: tuple[float, ...]
    theirs: tuple[float, ...]
    target: Target

    @property
    def ratios(self) -> tuple[float, ...]:
        """One ratio (or difference) a round."""
        return tuple(self.target.compare(*pair) for pair in zip(self.ours, self.theirs, strict=True))

    def as_data(self) -> dict[str, object]:
        """The row for ``--json``."""
        ratio = median(self.ratios)
        told = {"ratio": ratio, "ratios": self.ratios, "target": str(self.target), "met": self.target.is_met(ratio)}
        return attrs.asdict(self, filter=lambda field, _value: field.name != "target") | told

    def as_cells(self) -> tuple[str, ...]:
        """The row for the table."""
        ratio = median(self.ratios)
        verdict = "met" if self.target.is_met(ratio) else "MISSED"
        spread = f"{self.target.show(min(self.ratios))} .. {self.target.show(max(self.ratios))}"
        return (
            self.work,
            self.by_hand,
            self.unit,
            _spread(self.ours),
            _spread(self.theirs),
            self.target.show(ratio),
            spread,
            str(self.target),
            verdict,
        )


@attrs.frozen
class Arguments:
    """
    The command line of a benchmark.

    Attributes:
        rounds: How often each side has its turn.
        scale: Share of the usual work per round, above 0; small ones show that a benchmark runs, and no more.
        json: Where to write the numbers, or None.
    """

    rounds: int
    scale: float
    json: Path | None

    def scaled(self, count: int) -> int:
        """*count* pieces of work at this scale; at least 1."""
        return max(1, round(count * self.scale))


def arguments(about: str | None) -> Arguments:
    """
    Read the command line.

    Args:
        about: The docstring of the script.
    """
    parser = argparse.ArgumentParser(description=(about or "").strip().partition("\n")[0])
    parser.add_argument(
        "--rounds", type=int, default=FEWEST_ROUNDS, help=f"turns of each side (default {FEWEST_ROUNDS})"
    )
    parser.add_argument("--scale", type=float, default=1.0, help="share of the usual work per round (default 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    read = parser.parse_args()
    if read.rounds < 1 or not 0 < read.scale < math.inf:
        parser.error("--rounds must be at least 1 and --scale above 0")
    return Arguments(read.rounds, read.scale, read.json)


def take_turns(rounds: int, *sides: Measure) -> list[tuple[float, ...]]:
    """
    Measure each side once a round, after one round that does not count.

    Args:
        rounds: How many rounds count; at least 1.
        *sides: The order within a round changes from round to round, so that none always comes second.

    Returns:
        The numbers of each side, in the order of *sides*.
    """
    taken: list[list[float]] = [[] for _ in sides]
    for number in range(-1, rounds):
        turns = list(zip(sides, taken, strict=True))
        for measure, numbers in turns if number % 2 else reversed(turns):
            value = measure()
            if number >= 0:
                numbers.append(value)
    return [tuple(numbers) for numbers in taken]


def report(chosen: Arguments, rows: Sequence[Row]) -> None:
    """Print the table, and write the JSON where that was asked for."""
    head = ("work", "by hand", "unit", "actors", "by hand", "ratio", "of the rounds", "target", "")
    table = [head, *(row.as_cells() for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    rounds = len(rows[0].ours)
    print(f"{rounds} rounds in turns: median (least .. most); the ratio is the median of the rounds' ratios")
    if chosen.json is not None:
        chosen.json.write_text(json.dumps([row.as_data() for row in rows], indent=2) + "\n")


def _spread(numbers: Sequence[float]) -> str:
    return f"{median(numbers):.4g} ({min(numbers):.4g} .. {max(numbers):.4g})"
