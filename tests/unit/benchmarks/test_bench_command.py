"""The command that runs all benchmarks: what its line means, and what it does with what cannot run."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.__main__ import BUILT, QUICK_ROUNDS, QUICK_SCALE, read_arguments, run_workload
from benchmarks._frameworks import Outcome, measure_frameworks
from benchmarks._registry import FRAMEWORKS, WORKLOADS, Workload
from benchmarks._rounds import FEWEST_ROUNDS


def test_without_options_everything_runs_in_full() -> None:
    chosen = read_arguments([])

    assert (chosen.workloads, chosen.frameworks) == (WORKLOADS, FRAMEWORKS)
    assert (chosen.rounds, chosen.scale) == (FEWEST_ROUNDS, 1.0)
    assert (chosen.json, chosen.written, chosen.docs) == (BUILT / "results.json", None, False)


@pytest.mark.parametrize(
    ("line", "rounds", "scale"),
    [
        pytest.param(["--quick"], QUICK_ROUNDS, QUICK_SCALE, id="quick"),
        pytest.param(["--quick", "--rounds", "1"], 1, QUICK_SCALE, id="quick with rounds of its own"),
        pytest.param(["--rounds", "21"], 21, 1.0, id="more rounds"),
    ],
)
def test_a_quick_run_has_less_work_and_fewer_rounds(line: list[str], rounds: int, scale: float) -> None:
    chosen = read_arguments(line)

    assert (chosen.rounds, chosen.scale) == (rounds, scale)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        pytest.param(["--rounds", "0"], "--rounds must be at least 1", id="no rounds"),
        pytest.param(["--docs", "--quick"], "--docs is for a whole run", id="a page from a quick run"),
        pytest.param(["--docs", "--only", "ask"], "--docs is for a whole run", id="a page from a part"),
        pytest.param(["--only", "aks"], "no workload is called aks", id="an unknown name"),
    ],
)
def test_a_line_that_makes_no_sense_is_refused(
    line: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        read_arguments(line)

    assert problem in capsys.readouterr().err


def test_numbers_can_be_written_and_read_elsewhere() -> None:
    chosen = read_arguments(["--json", "a.json", "--from", "b.json", "--docs"])

    assert (chosen.json, chosen.written, chosen.docs) == (Path("a.json"), Path("b.json"), True)


def test_a_workload_that_needs_what_is_not_there_is_left_out() -> None:
    assert run_workload(Workload("large", needs="no_such_module"), 1, 1.0) == (
        "needs no_such_module: pip install -e '.[bench]'"
    )


def test_a_framework_that_is_not_installed_is_left_out_with_a_word() -> None:
    told: list[str] = []

    outcomes = measure_frameworks(["no_such_framework"], 3, 1.0, 1.0, told.append)

    assert told == ["no_such_framework: not installed: pip install -e '.[bench]'"]
    assert outcomes == [Outcome("no_such_framework", problem="not installed: pip install -e '.[bench]'")]


def test_what_an_adapter_wrote_is_kept_round_by_round() -> None:
    outcome = Outcome("other")

    for told in (
        {"about": "threads", "version": "1.0"},
        {"work": "ask", "value": 1.5},
        {"work": "ask", "value": 2},
        {"work": "map", "value": 3.0},
    ):
        outcome.take(told)

    assert outcome == Outcome("other", about="threads", version="1.0", numbers={"ask": [1.5, 2.0], "map": [3.0]})
