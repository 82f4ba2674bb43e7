"""
Rounds that take turns, and the command line of one workload.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs

from benchmarks._rows import Row, Target
from benchmarks._table import as_text

__all__ = ["FEWEST_ROUNDS", "Arguments", "Row", "Target", "arguments", "report", "take_turns"]

FEWEST_ROUNDS = 7

Measure = Callable[[], float]
"""Does the work once and returns what it cost, or its rate."""


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
    print(as_text(rows))
    rounds = len(rows[0].ours)
    print(f"{rounds} rounds in turns: median (least .. most); the ratio is the median of the rounds' ratios")
    if chosen.json is not None:
        chosen.json.write_text(json.dumps([row.as_data() for row in rows], indent=2) + "\n")
