"""The page on performance: what a run writes between its markers, and what it leaves alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks._frameworks import HEAD, Outcome, as_cells
from benchmarks._page import fill, sections
from benchmarks._registry import FRAMEWORKS, WORKLOADS, choose
from benchmarks._results import Results, facts_of_machine
from benchmarks._rows import Row, Target

PAGE = Path(__file__).parents[3] / "docs" / "explanation" / "performance.md"


def results() -> Results:
    steps = [Row(name, None, "us", (number,)) for name, number in (("encode", 1.0), ("write", 3.0))]
    beside = [Row("of it: decode the ask", None, "us", (0.5,)), Row("the whole", "Pipe", "us", (4.5,), (9.0,))]
    return Results(
        facts={"kernel": "6.1", "cores": "2"},
        rounds=7,
        scale=1.0,
        workloads={
            "ask": (Row("ask, host", "Pipe", "us", (1.0,), (2.0,), Target("at most", 0.75)),),
            "breakdown": (*steps, *beside),
            "growth": (Row("ask, 4 actors", "Pipes", "us", (3.0,), (2.0,)),),
        },
        frameworks=[
            Outcome("by_hand", about="Pipe", numbers={"ask": [10.0], "map": [5.0]}),
            Outcome("other", about="threads", version="2.1", numbers={"ask": [20.0, 30.0, 25.0]}),
            Outcome("absent", problem="not installed: pip install"),
        ],
        problems={"large": "needs numpy"},
    )


def test_a_run_comes_back_from_json_equal() -> None:
    assert Results.from_json(results().as_json()) == results()


def test_what_is_promised_is_all_that_has_a_target() -> None:
    assert [row.work for row in results().promised] == ["ask, host"]


def test_the_facts_of_the_machine_are_known() -> None:
    facts = facts_of_machine()

    assert {"processor", "cores", "kernel", "Python"} <= set(facts)
    assert all(facts.values())


def test_frameworks_are_shown_over_the_same_by_hand() -> None:
    lines = as_cells(results().frameworks)

    assert all(len(line) == len(HEAD) for line in lines)
    assert lines[1] == ("other 2.1 (threads)", "25 (2.5x)", "-", "-", "-", "")
    assert lines[2] == ("absent", "-", "-", "-", "-", "not installed: pip install")


def test_each_section_of_the_page_is_written_from_a_run() -> None:
    written = sections(results())

    assert written["facts"] == "7 rounds; kernel 6.1; cores 2.\n\nLeft out: large: needs numpy."
    assert written["targets"].endswith("1 of 1 targets met.")
    assert "| encode | 1.00 | 25% |" in written["breakdown"]
    assert "| **together** | **4.00** | |" in written["breakdown"]
    assert "| of it: decode the ask | - | us | 0.5 |" in written["breakdown"]
    assert "| ask, 4 actors | Pipes | us | 3 | 2 | 1.50x |" in written["growth"]


def test_what_was_not_measured_is_said() -> None:
    written = sections(Results({}, 1, 1.0))

    assert written["breakdown"] == written["growth"] == "Not measured."


def test_only_what_stands_between_markers_is_replaced_and_again_by_the_next_run() -> None:
    page = "# Title\n<!-- measured: facts -->\nold\n<!-- end -->\ntext\n"

    once = fill(page, {"facts": "new"})

    assert once == "# Title\n<!-- measured: facts -->\n\nnew\n\n<!-- end -->\ntext\n"
    assert fill(once, {"facts": "newer"}) == once.replace("new", "newer")


@pytest.mark.parametrize("written", [{}, {"facts": "a", "targets": "b"}, {"targets": "b"}])
def test_a_page_whose_markers_are_others_is_refused(written: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"the page has markers for \['facts'\]"):
        fill("<!-- measured: facts -->\n<!-- end -->", written)


def test_the_page_of_the_documentation_has_the_markers_of_a_run() -> None:
    assert fill(PAGE.read_text(), sections(results()))


def test_all_is_chosen_unless_something_is() -> None:
    assert choose([]) == (WORKLOADS, FRAMEWORKS)


@pytest.mark.parametrize(
    ("names", "workloads", "adapters"),
    [
        pytest.param(["tell", "ask"], ["ask", "tell"], [], id="workloads in the order of the registry"),
        pytest.param(["frameworks"], [], list(FRAMEWORKS), id="every adapter"),
        pytest.param(["ray"], [], ["by_hand", "ray"], id="an adapter brings what it is compared with"),
        pytest.param(["by_hand"], [], ["by_hand"], id="by hand alone"),
        pytest.param(["ray", "ask"], ["ask"], ["by_hand", "ray"], id="both"),
    ],
)
def test_workloads_and_adapters_are_chosen_by_name(names: list[str], workloads: list[str], adapters: list[str]) -> None:
    chosen, frameworks = choose(names)

    assert [workload.name for workload in chosen] == workloads
    assert list(frameworks) == adapters


def test_an_unknown_name_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match="no workload is called aks, rayy; there are ask, breakdown, by_hand,"):
        choose(["aks", "rayy"])
