"""
What one run of the command measured, and on what; as a value and as JSON.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from benchmarks._frameworks import Outcome
from benchmarks._rows import Row

__all__ = ["Results", "facts_of_machine"]


@attrs.frozen
class Results:
    """
    One run.

    Attributes:
        facts: Of the machine and the run, for people.
        rounds: Turns of each side.
        scale: Share of the usual work.
        workloads: The rows of each, by name, in the order in which they ran.
        frameworks: What the adapters measured; the first is by hand.
        problems: What was left out or went wrong, by name.
    """

    facts: dict[str, str]
    rounds: int
    scale: float
    workloads: dict[str, tuple[Row, ...]] = attrs.field(factory=dict[str, tuple[Row, ...]])
    frameworks: list[Outcome] = attrs.field(factory=list[Outcome])
    problems: dict[str, str] = attrs.field(factory=dict[str, str])

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows of all workloads."""
        return tuple(row for rows in self.workloads.values() for row in rows)

    @property
    def promised(self) -> tuple[Row, ...]:
        """Those with a target."""
        return tuple(row for row in self.rows if row.target is not None)

    def as_json(self) -> str:
        """The run, for :meth:`from_json` and for whoever else reads it."""
        data = {
            "facts": self.facts,
            "rounds": self.rounds,
            "scale": self.scale,
            "workloads": {name: [row.as_data() for row in rows] for name, rows in self.workloads.items()},
            "frameworks": [attrs.asdict(outcome) for outcome in self.frameworks],
            "problems": self.problems,
        }
        return json.dumps(data, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Results:
        """The run that :meth:`as_json` wrote."""
        data: Mapping[str, Any] = json.loads(text)
        return cls(
            facts=data["facts"],
            rounds=data["rounds"],
            scale=data["scale"],
            workloads={name: tuple(map(Row.from_data, rows)) for name, rows in data["workloads"].items()},
            frameworks=[Outcome(**outcome) for outcome in data["frameworks"]],
            problems=data["problems"],
        )


def facts_of_machine() -> dict[str, str]:
    """What a number of this machine stands on, at this moment."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "kernel": platform.release(),
        "Python": platform.python_version(),
        "msgpack": importlib.metadata.version("msgpack"),
        "load before": f"{os.getloadavg()[0]:.2f}",
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
