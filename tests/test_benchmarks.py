"""Each benchmark runs as a program, both sides of it, and says how they compare. How fast they are is no matter for a test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks._registry import FRAMEWORKS, WORKLOADS
from benchmarks._results import Results

ROOT = Path(__file__).parent.parent


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a module or a piece of code as a user of the project would, from its root."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=50, check=False)


# Those that take longest run with the long counts.
QUICK = frozenset(("ask", "large", "start", "tell"))


@pytest.mark.parametrize(
    "name",
    [pytest.param(one.name, marks=() if one.name in QUICK else pytest.mark.soak) for one in WORKLOADS],
)
def test_a_benchmark_runs_alone_and_prints_each_of_its_rows(name: str, tmp_path: Path) -> None:
    written = tmp_path / "numbers.json"

    ran = run("-m", f"benchmarks.{name}", "--rounds", "1", "--scale", "0.02", "--json", str(written))

    assert ran.returncode == 0, ran.stderr
    rows = json.loads(written.read_text())
    assert rows
    for row in rows:
        assert row["work"] in ran.stdout
        assert len(row["ours"]) == 1
        assert row["target"] is None or row["target"]["text"] in ran.stdout


def test_every_script_is_in_the_registry_and_every_name_of_it_is_a_script() -> None:
    scripts = {path.stem for path in (ROOT / "benchmarks").glob("[a-z]*.py")}
    adapters = {path.stem for path in (ROOT / "benchmarks" / "adapters").glob("[a-z]*.py")}

    assert sorted(scripts) == sorted(workload.name for workload in WORKLOADS)
    assert sorted(adapters) == sorted(FRAMEWORKS)


def test_the_command_runs_workloads_and_adapters_and_writes_table_numbers_and_chart(tmp_path: Path) -> None:
    written = tmp_path / "below" / "results.json"
    chosen = ["--only", "ask", "--only", "tell", "--only", "by_hand", "--only", "ours"]

    ran = run("-m", "benchmarks", "--quick", "--rounds", "1", *chosen, "--json", str(written))

    assert ran.returncode == 0, ran.stderr
    results = Results.from_json(written.read_text())
    assert list(results.workloads) == ["ask", "tell"]
    assert results.problems == {}
    assert all(row.work in ran.stdout for row in results.rows)
    assert [sorted(outcome.numbers) for outcome in results.frameworks] == [
        ["ask", "map", "start", "tell"],
        ["ask", "map", "start", "tell"],
    ]
    assert written.with_name("performance.svg").read_text().startswith("<svg ")
    again = run("-m", "benchmarks", "--from", str(written))
    assert again.stdout == ran.stdout


def test_what_is_not_known_is_refused_with_the_names_that_are() -> None:
    ran = run("-m", "benchmarks", "--only", "aks")

    assert ran.returncode == 2
    assert "no workload is called aks; there are ask, breakdown," in ran.stderr


OVER_TIME = """
import os, sys
from pathlib import Path
from benchmarks._processes import adopt_orphans, descendants, run_alone
adopt_orphans()
left_behind = ["sh", "-c", "setsid sleep 600 & echo started; exec sleep 600"]
print(run_alone(left_behind, float(sys.argv[1]), Path(sys.argv[2])), descendants(os.getpid()))
"""


def test_a_program_that_hangs_is_ended_with_all_that_it_has_started(tmp_path: Path) -> None:
    ran = run("-c", OVER_TIME, "0.5", str(tmp_path / "output"))

    assert ran.stdout.strip() == "None []", ran.stderr
