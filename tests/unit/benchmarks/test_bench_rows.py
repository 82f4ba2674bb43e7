"""A row of a benchmark: what its ratio is, whether its target is met, and how a table shows it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks._rows import HEAD, Kind, Row, Target, shown_number, shown_spread
from benchmarks._table import aligned, as_markdown, as_shares, as_text, summary


def row(**changes: Any) -> Row:
    values: dict[str, Any] = {
        "work": "ask",
        "by_hand": "Pipe",
        "unit": "us",
        "ours": (10.0, 30.0, 20.0),
        "theirs": (20.0, 20.0, 20.0),
        "target": Target("at most", 1.0),
    }
    return Row(**{**values, **changes})


def test_the_ratio_is_the_median_of_the_ratios_of_the_rounds() -> None:
    uneven = row(ours=(1.0, 10.0, 100.0), theirs=(1.0, 5.0, 200.0))

    assert uneven.values == (1.0, 2.0, 0.5)
    assert uneven.value == 1.0


@pytest.mark.parametrize(
    ("kind", "limit", "value", "is_met"),
    [
        pytest.param("at most", 1.0, 1.0, True, id="at most, on it"),
        pytest.param("at most", 0.75, 1.0, False, id="at most, above"),
        pytest.param("at least", 1.0, 1.0, True, id="at least, on it"),
        pytest.param("at least", 5.0, 1.0, False, id="at least, below"),
        pytest.param("at most +", 0.0, 0.0, True, id="difference, on it"),
        pytest.param("at most +", -1.0, 0.0, False, id="difference, above"),
        pytest.param("no more than", 20.0, 20.0, True, id="number, on it"),
        pytest.param("no more than", 19.0, 20.0, False, id="number, above"),
    ],
)
def test_a_target_is_about_a_ratio_a_difference_or_the_number_alone(
    kind: Kind, limit: float, value: float, is_met: bool
) -> None:
    judged = row(target=Target(kind, limit))

    assert judged.value == value
    assert judged.is_met is is_met


def test_a_row_without_another_side_has_neither_ratio_nor_verdict() -> None:
    alone = row(by_hand=None, theirs=None, target=None)

    assert alone.values == ()
    assert alone.value is None
    assert alone.is_met is None
    assert alone.gains == ()
    assert alone.as_cells() == ("ask", "-", "us", "20 (10 .. 30)", "-", "-", "-", "-", "")


def test_a_number_alone_can_have_a_target() -> None:
    alone = row(by_hand=None, theirs=None, target=Target("no more than", 25.0))

    assert alone.value == 20.0
    assert alone.is_met
    assert alone.as_cells()[5:] == ("20", "10 .. 30", "no more than 25", "met")


@pytest.mark.parametrize(("unit", "gains"), [("us", (2.0, 0.5)), ("k/s", (0.5, 2.0))])
def test_a_gain_above_one_is_better_whatever_the_unit(unit: str, gains: tuple[float, ...]) -> None:
    assert row(unit=unit, ours=(10.0, 20.0), theirs=(20.0, 10.0)).gains == gains


def test_a_number_that_is_judged_alone_is_no_gain() -> None:
    assert row(theirs=(0.0, 0.0, 0.0), target=Target("no more than", 25.0)).gains == ()


@pytest.mark.parametrize(
    "some",
    [
        pytest.param(row(), id="with both sides"),
        pytest.param(row(target=None), id="without a target"),
        pytest.param(row(theirs=None, by_hand=None, target=None), id="alone"),
    ],
)
def test_a_row_comes_back_from_json_equal(some: Row) -> None:
    assert Row.from_data(json.loads(json.dumps(some.as_data()))) == some


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0.0, "0"), (0.01234, "0.0123"), (12.345, "12.3"), (999.4, "999"), (1234.5, "1,234"), (7_654_321.0, "7,654,321")],
)
def test_a_number_is_shown_with_the_digits_that_count(number: float, shown: str) -> None:
    assert shown_number(number) == shown


def test_one_number_has_no_spread() -> None:
    assert shown_spread((2.0,)) == "2"
    assert shown_spread((2.0, 4.0)) == "3 (2 .. 4)"


def test_columns_of_a_table_are_aligned_and_lines_end_with_text() -> None:
    assert aligned([("a", "bbb", ""), ("cc", "d", "e")]) == "a   bbb\ncc  d    e"


def test_the_table_has_a_line_for_each_row_with_its_verdict() -> None:
    table = as_text([row(), row(work="tell", unit="k/s", target=Target("at least", 5.0))]).splitlines()

    assert table[0].split() == " ".join(HEAD).split()
    assert table[1].endswith("1.00x  0.50x .. 1.50x  at most 1x   met")
    assert table[2].endswith("1.00x  0.50x .. 1.50x  at least 5x  MISSED")


def test_targets_that_are_met_are_counted() -> None:
    assert summary([row(), row(target=Target("at most", 0.5)), row(target=None)]) == "1 of 2 targets met"


def test_a_page_shows_medians_and_marks_what_is_missed() -> None:
    missed = as_markdown([row(target=Target("at most", 0.5))]).splitlines()
    without = as_markdown([row(target=None)]).splitlines()

    assert missed[0] == "| work | by hand | unit | actors | by hand | ratio | of the rounds | target | |"
    assert missed[2] == "| ask | Pipe | us | 20 | 20 | 1.00x | 0.50x .. 1.50x | at most 0.5x | **missed** |"
    assert without[0] == "| work | by hand | unit | actors | by hand | ratio | of the rounds |"


def test_parts_of_a_whole_are_shown_with_their_shares_and_their_sum() -> None:
    parts = [row(work=name, ours=(number,), theirs=None, target=None) for name, number in (("a", 3.0), ("b", 1.0))]

    assert as_shares(parts).splitlines()[2:] == [
        "| a | 3.00 | 75% |",
        "| b | 1.00 | 25% |",
        "| **together** | **4.00** | |",
    ]
