"""
Rows as text: for a terminal, and in Markdown; pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

from benchmarks._rows import HEAD, NOTHING, Row, shown_number

__all__ = ["aligned", "as_markdown", "as_shares", "as_text", "markdown", "summary"]

Cells = Sequence[str]


def as_text(rows: Iterable[Row]) -> str:
    """The table of *rows* for a terminal."""
    return aligned([HEAD, *(row.as_cells() for row in rows)])


def aligned(table: Sequence[Cells]) -> str:
    """Lines of cells, each column as wide as its widest cell; no white space at the end of a line."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in table)
    return "\n".join(lines)


def summary(rows: Sequence[Row]) -> str:
    """How many targets are met."""
    judged = [row.is_met for row in rows if row.is_met is not None]
    return f"{sum(judged)} of {len(judged)} targets met"


def as_markdown(rows: Iterable[Row]) -> str:
    """The table of *rows* for a page: medians and ratios, and the targets where there are any."""
    rows = tuple(rows)
    has_targets = any(row.target is not None for row in rows)
    head = ("work", "by hand", "unit", "actors", "by hand", "ratio", "of the rounds")
    kept = [0, 1, 2, 3, 4, 5, 6] + [7, 8] * has_targets
    lines = [_medians_only(row) for row in rows]
    return markdown((*head, *("target", "") * has_targets), [[line[index] for index in kept] for line in lines])


def as_shares(rows: Iterable[Row]) -> str:
    """For a page: rows that are parts of one whole, with the share of each in it, and their sum."""
    medians = [(row, median(row.ours)) for row in rows]
    whole = sum(number for _row, number in medians)
    table = [(row.work, f"{number:.2f}", f"{number / whole:.0%}") for row, number in medians]
    unit = medians[0][0].unit if medians else ""
    return markdown(("step", unit, "share"), [*table, ("**together**", f"**{whole:.2f}**", "")])


def markdown(head: Cells, lines: Iterable[Cells]) -> str:
    """A table in Markdown."""
    table = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |") for line in table)


def _medians_only(row: Row) -> list[str]:
    cells = list(row.as_cells())
    cells[3] = shown_number(median(row.ours))
    cells[4] = NOTHING if row.theirs is None else shown_number(median(row.theirs))
    cells[8] = {"MISSED": "**missed**"}.get(cells[8], cells[8])
    return cells
