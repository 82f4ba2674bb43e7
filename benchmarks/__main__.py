"""
Run all benchmarks, each beside its hand-written twin, and show how they compare.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
from pathlib import Path

import attrs

from benchmarks import _chart, _frameworks, _page, _processes, _table
from benchmarks._registry import FRAMEWORKS, WORKLOADS, Workload, choose
from benchmarks._results import Results, facts_of_machine
from benchmarks._rounds import FEWEST_ROUNDS
from benchmarks._rows import Row

ROOT = Path(__file__).resolve().parent.parent
BUILT = ROOT / "build" / "benchmarks"  # git ignores it
PAGE = ROOT / "docs" / "explanation" / "performance.md"
CHART = "performance.svg"

QUICK_SCALE = 0.05
QUICK_ROUNDS = 3
TURN_SECONDS = 60.0  # of one framework
MOST_TURNS = 3  # of one framework: some take seconds to begin


@attrs.frozen
class Chosen:
    """
    The command line.

    Attributes:
        workloads: Which to run.
        frameworks: Which adapters to run.
        rounds: Turns of each side.
        scale: Share of the usual work.
        json: Where to write the numbers.
        written: Numbers of an earlier run, to be shown instead of running; or None.
        docs: Whether to write the page and its chart.
    """

    workloads: tuple[Workload, ...]
    frameworks: tuple[str, ...]
    rounds: int
    scale: float
    json: Path
    written: Path | None
    docs: bool


def read_arguments(given: list[str] | None = None) -> Chosen:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").strip())
    names = ", ".join([*(workload.name for workload in WORKLOADS), "frameworks", *FRAMEWORKS])
    parser.add_argument("--rounds", type=int, metavar="N", help=f"turns of each side (default {FEWEST_ROUNDS})")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help=f"may be repeated; of {names}")
    parser.add_argument("--quick", action="store_true", help="little work and few rounds: shows that it runs, no more")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="where to write the numbers (default build/benchmarks)"
    )
    parser.add_argument("--from", type=Path, dest="written", metavar="FILE", help="show those numbers; run nothing")
    parser.add_argument("--docs", action="store_true", help="write the tables and the chart of docs/explanation, too")
    read = parser.parse_args(given)
    rounds = read.rounds if read.rounds is not None else QUICK_ROUNDS if read.quick else FEWEST_ROUNDS
    if rounds < 1:
        parser.error("--rounds must be at least 1")
    if read.docs and (read.quick or read.only):
        parser.error("--docs is for a whole run: the tables belong together")
    try:
        workloads, frameworks = choose(read.only)
    except ValueError as error:
        parser.error(str(error))
    return Chosen(
        workloads,
        frameworks,
        rounds,
        QUICK_SCALE if read.quick else 1.0,
        read.json or BUILT / "results.json",
        read.written,
        read.docs,
    )


def measure(chosen: Chosen) -> Results:
    """Run what was chosen, one workload after the other: within each, its sides take turns."""
    results = Results(facts_of_machine(), chosen.rounds, chosen.scale)
    _processes.adopt_orphans()
    for workload in chosen.workloads:
        _say(f"{workload.name} ...")
        rows = run_workload(workload, chosen.rounds, chosen.scale)
        if isinstance(rows, str):
            results.problems[workload.name] = rows
            _say(f"{workload.name}: {rows}")
        else:
            results.workloads[workload.name] = rows
    if chosen.frameworks:
        _say("frameworks ...")
        rounds = min(MOST_TURNS, chosen.rounds)
        turns = _frameworks.measure_frameworks(chosen.frameworks, rounds, chosen.scale, TURN_SECONDS, _say)
        results.frameworks.extend(turns)
    return results


def run_workload(workload: Workload, rounds: int, scale: float) -> tuple[Row, ...] | str:
    """Run one workload in a process of its own; its rows, or why there are none."""
    if workload.needs is not None and importlib.util.find_spec(workload.needs) is None:
        return f"needs {workload.needs}: pip install -e '.[bench]'"
    with tempfile.TemporaryDirectory(prefix="actors-bench-") as folder:
        written, output = Path(folder, "rows.json"), Path(folder, "output")
        command = [sys.executable, "-m", f"benchmarks.{workload.name}"]
        command += ["--rounds", str(rounds), "--scale", str(scale), "--json", str(written)]
        code = _processes.run_alone(command, workload.seconds, output)
        if code is None:
            return f"ended after {workload.seconds:.0f} s"
        if code != 0:
            return f"failed ({code}): {_processes.last_line(output)}"
        return tuple(map(Row.from_data, json.loads(written.read_text())))


def show(results: Results) -> None:
    """Print the tables."""
    if results.rows:
        print(_table.as_text(results.rows))
        print(
            f"\n{results.rounds} rounds in turns: median (least .. most); the ratio is the median of the rounds' ratios"
        )
        print(f"{_table.summary(results.promised)}; {', '.join(map(' '.join, results.facts.items()))}\n")
    if results.frameworks:
        print(_table.aligned([_frameworks.HEAD, *_frameworks.as_cells(results.frameworks)]))
        print("in brackets: over the same by hand, its time or its rate\n")


def draw(results: Results) -> str:
    """The chart of a run."""
    return _chart.draw(
        [
            ("how many times as well as by hand; a thick mark is the target", _chart.bars_of_rows(results.promised)),
            ("time of an ask, over the same by hand", _chart.bars_of_frameworks(results.frameworks, "ask")),
        ]
    )


def main() -> int:
    chosen = read_arguments()
    if chosen.written is not None:
        results = Results.from_json(chosen.written.read_text())
    else:
        results = measure(chosen)
        chosen.json.parent.mkdir(parents=True, exist_ok=True)
        chosen.json.write_text(results.as_json())
        chosen.json.with_name(CHART).write_text(draw(results))
    show(results)
    if chosen.docs:
        PAGE.write_text(_page.fill(PAGE.read_text(), _page.sections(results)))
        PAGE.with_name(CHART).write_text(draw(results))
    for name, problem in results.problems.items():
        print(f"{name}: {problem}")
    return 1 if results.problems else 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
