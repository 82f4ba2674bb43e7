"""The chart of a run: which bars it has, and that it is well-formed SVG whatever the numbers are."""

from __future__ import annotations

import math
from xml.etree import ElementTree as ET

import pytest

from benchmarks._chart import MET, MISSED, Bar, bars_of_frameworks, bars_of_rows, draw
from benchmarks._frameworks import Outcome
from benchmarks._rows import Row, Target

SVG = "{http://www.w3.org/2000/svg}"


def row(work: str, target: Target | None, unit: str = "us") -> Row:
    return Row(work, "Pipe", unit, (10.0, 20.0, 40.0), (20.0, 20.0, 20.0), target)


def texts(chart: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(chart).iter(f"{SVG}text")]


def bars_in(chart: str) -> list[dict[str, float]]:
    rectangles = list(ET.fromstring(chart).iter(f"{SVG}rect"))[1:]  # behind the background
    return [{name: float(each.attrib[name]) for name in ("x", "y", "width")} for each in rectangles]


def test_each_row_with_a_target_for_a_ratio_has_a_bar_of_its_gain() -> None:
    bars = bars_of_rows(
        [
            row("ask", Target("at most", 0.5)),
            row("tell", Target("at least", 1.0), "k/s"),
            row("restart", Target("at most +", 5.0)),
            row("idle", Target("no more than", 5.0)),
            row("growth", None),
        ]
    )

    assert bars == [
        Bar("ask", value=1.0, least=0.5, most=2.0, target=2.0, colour=MISSED),
        Bar("tell", value=1.0, least=0.5, most=2.0, target=1.0, colour=MET),
    ]


def test_frameworks_are_compared_with_the_same_by_hand_the_fastest_first() -> None:
    outcomes = [
        Outcome("by_hand", numbers={"ask": [9.0, 10.0, 11.0]}),
        Outcome("slow", about="processes", numbers={"ask": [50.0]}),
        Outcome("ours", about="processes", numbers={"ask": [10.0, 20.0, 30.0]}),
        Outcome("absent", problem="not installed"),
    ]

    bars = bars_of_frameworks(outcomes, "ask")

    assert [(bar.label, bar.value, bar.least, bar.most) for bar in bars] == [
        ("actors", 2.0, 1.0, 3.0),
        ("slow (processes)", 5.0, 5.0, 5.0),
    ]


@pytest.mark.parametrize("outcomes", [[], [Outcome("by_hand")], [Outcome("by_hand", numbers={"ask": [1.0]})]])
def test_without_numbers_there_are_no_bars(outcomes: list[Outcome]) -> None:
    assert bars_of_frameworks(outcomes, "ask") == []


def test_a_chart_names_every_bar_and_says_its_ratio_and_verdict() -> None:
    bars = [Bar("<ask> & wait", 1.5, 1.0, 2.0, 1.2, MET), Bar("tell", 0.4, 0.3, 0.5, 5.0, MISSED)]

    shown = texts(draw([("gains", bars), ("nothing to show", [])]))

    assert {"gains", "<ask> & wait", "1.5x, met", "tell", "0.4x, missed", "1x"} <= set(shown)
    assert "nothing to show" not in shown


def test_bars_begin_at_one_and_go_right_for_more_and_left_for_less() -> None:
    better, worse, even = bars_in(
        draw([("t", [Bar("a", 4.0, 4.0, 4.0), Bar("b", 0.25, 0.25, 0.25), Bar("c", 1.0, 1.0, 1.0)])])
    )

    assert math.isclose(worse["x"] + worse["width"], better["x"], abs_tol=0.2)
    assert math.isclose(worse["width"], better["width"], abs_tol=0.2)
    assert even["width"] == 1.0
    assert better["y"] < worse["y"] < even["y"]


@pytest.mark.parametrize("value", [1e-6, 0.1, 0.95, 1.0, 1.05, 5.0, 1e6])
def test_every_bar_lies_within_the_plot(value: float) -> None:
    (bar,) = bars_in(draw([("t", [Bar("a", value, value / 2, value * 2, 1.0)])]))

    assert bar["x"] >= 300.0
    assert bar["x"] + bar["width"] <= 741.0


def test_a_chart_of_nothing_is_empty_and_well_formed() -> None:
    assert texts(draw([])) == []
