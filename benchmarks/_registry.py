"""
What there is to measure, in the order in which it runs and is shown. A new workload is a file here and a line below.
"""

from __future__ import annotations

from typing import Final

import attrs

__all__ = ["FRAMEWORKS", "WORKLOADS", "Workload", "choose"]


@attrs.frozen
class Workload:
    """
    One script of this package.

    Attributes:
        name: The module below ``benchmarks``.
        needs: A distribution that it cannot do without, beside the package itself; None for none.
        seconds: After so long in a full run it is ended, and counts as failed.
    """

    name: str
    needs: str | None = None
    seconds: float = 600.0


WORKLOADS: Final = (
    Workload("ask"),
    Workload("tell"),
    Workload("fan_in"),
    Workload("channels"),
    Workload("limits"),
    Workload("large", needs="numpy"),
    Workload("start"),
    Workload("tasks"),
    Workload("pools", needs="numpy"),
    Workload("memory"),
    Workload("idle"),
    Workload("placement"),
    Workload("breakdown"),
    Workload("wires"),
    Workload("streams"),
    Workload("growth", seconds=1200.0),
)

FRAMEWORKS: Final = ("by_hand", "ours", "pykka", "thespian", "xoscar", "ray", "loky", "mpire", "pebble")
"""The adapters, each a module below ``benchmarks.adapters``; the first is what the others are compared with."""


def choose(names: list[str]) -> tuple[tuple[Workload, ...], tuple[str, ...]]:
    """
    The workloads and adapters of those names, all where there are none, in the order above.

    Args:
        names: Of workloads and adapters; ``"frameworks"`` stands for all adapters. One adapter brings the first along.

    Raises:
        ValueError: There is none of that name; says which there are.
    """
    known = {"frameworks", *FRAMEWORKS, *(workload.name for workload in WORKLOADS)}
    unknown = sorted(set(names) - known)
    if unknown:
        raise ValueError(f"no workload is called {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    if not names:
        return WORKLOADS, FRAMEWORKS
    every = "frameworks" in names
    adapters = tuple(name for name in FRAMEWORKS if every or name in names)
    if adapters and adapters[0] != FRAMEWORKS[0]:
        adapters = (FRAMEWORKS[0], *adapters)
    return tuple(workload for workload in WORKLOADS if workload.name in names), adapters
