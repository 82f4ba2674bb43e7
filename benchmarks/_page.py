"""
The tables of the page on performance, written between its markers out of a run; pure.

``<!-- measured: NAME -->`` and ``<!-- end -->`` stand around what is written; all else on the page is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from benchmarks import _frameworks
from benchmarks._results import Results
from benchmarks._rows import Row
from benchmarks._table import as_markdown, as_shares, markdown, summary

__all__ = ["fill", "sections"]

_MARKED = re.compile(r"<!-- measured: ([a-z_]+) -->\n.*?<!-- end -->", re.DOTALL)
_OF_IT = "of it: "


def sections(results: Results) -> dict[str, str]:
    """What stands between each pair of markers, by name."""
    breakdown = results.workloads.get("breakdown", ())
    steps = [row for row in breakdown if not row.work.startswith(_OF_IT)][: _steps(breakdown)]
    rest = [row for row in breakdown if row not in steps]
    return {
        "facts": _facts(results),
        "targets": f"{as_markdown(results.promised)}\n\n{summary(results.promised)}.",
        "frameworks": markdown(_frameworks.HEAD, _frameworks.as_cells(results.frameworks)),
        "breakdown": "\n\n".join((as_shares(steps), as_markdown(rest))) if steps else _NOTHING,
        "growth": _table_of(results, "growth"),
        "placement": _table_of(results, "placement"),
        "wires": _table_of(results, "wires"),
        "streams": _table_of(results, "streams"),
    }


_NOTHING = "Not measured."


def _table_of(results: Results, workload: str) -> str:
    return as_markdown(results.workloads[workload]) if workload in results.workloads else _NOTHING


def _steps(rows: tuple[Row, ...]) -> int:
    """How many rows at the beginning are steps: what follows them is of it, or beside it."""
    return next((number for number, row in enumerate(rows) if row.work.startswith(_OF_IT)), len(rows))


def _facts(results: Results) -> str:
    known = [f"{name} {value}" for name, value in results.facts.items()]
    left_out = [f"{name}: {problem}" for name, problem in results.problems.items()]
    lines = [f"{results.rounds} rounds; {'; '.join(known)}."]
    return "\n\n".join([*lines, *([f"Left out: {'; '.join(left_out)}."] if left_out else [])])


def fill(page: str, written: Mapping[str, str]) -> str:
    """
    *page* with what is between its markers replaced.

    Args:
        page: Markdown.
        written: What to write, by the name in the marker.

    Raises:
        ValueError: The page has a marker for something else, or none for one of *written*.
    """
    found = _MARKED.findall(page)
    if sorted(found) != sorted(written):
        raise ValueError(f"the page has markers for {sorted(found)}, and there is {sorted(written)} to write")
    return _MARKED.sub(lambda match: f"<!-- measured: {match[1]} -->\n\n{written[match[1]]}\n\n<!-- end -->", page)
