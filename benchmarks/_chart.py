"""
The chart of a run, as SVG; pure.

Two panels of bars on logarithmic scales. The first: how many times as well each piece of work is done as by hand, with the range of the
rounds and the target. The second: what an ask costs in other frameworks, as a multiple of the same by hand.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from statistics import median

import attrs

from benchmarks._frameworks import Outcome
from benchmarks._rows import Row

__all__ = ["Bar", "bars_of_frameworks", "bars_of_rows", "draw"]

WIDTH = 880
LABELS = 300  # where the bars begin
PLOT = 440
LINE = 24
TOP = 56  # of a panel: its title and its scale
GAP = 28

MET, MISSED, PLAIN, INK, FAINT = "#2f7d4f", "#b5462f", "#4a6f9c", "#222222", "#c8c8c8"


@attrs.frozen
class Bar:
    """
    One line of a panel.

    Attributes:
        label: What it is about.
        value: A ratio above 0; the bar runs from 1 to it.
        least, most: The range of the rounds.
        target: What it should be, or None.
        colour: Of the bar.
    """

    label: str
    value: float
    least: float
    most: float
    target: float | None = None
    colour: str = PLAIN


def bars_of_rows(rows: Iterable[Row]) -> list[Bar]:
    """The bars of all rows with a target for a ratio."""
    return [_bar(row) for row in rows if row.gains and row.target is not None and row.target.kind != "at most +"]


def bars_of_frameworks(outcomes: Sequence[Outcome], work: str) -> list[Bar]:
    """What *work* costs in each framework that does it, over what it costs by hand: the first of *outcomes*."""
    by_hand = outcomes[0].numbers.get(work) if outcomes else None
    if not by_hand:
        return []
    found = []
    for outcome in outcomes[1:]:
        ratios = [number / median(by_hand) for number in outcome.numbers.get(work, ())]
        if ratios:
            colour = MET if outcome.name == "ours" else PLAIN
            label = outcome.title if outcome.name == "ours" else f"{outcome.title} ({outcome.about})"
            found.append(Bar(label, median(ratios), min(ratios), max(ratios), colour=colour))
    return sorted(found, key=lambda bar: bar.value)


def draw(panels: Sequence[tuple[str, Sequence[Bar]]]) -> str:
    """
    The chart.

    Args:
        panels: The title and the bars of each; one without bars is left out.
    """
    parts: list[str] = []
    height = GAP / 2
    for title, bars in panels:
        if bars:
            parts += _panel(title, bars, height)
            height += TOP + LINE * len(bars) + GAP
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}" '
        f'font-family="sans-serif" font-size="13" fill="{INK}">'
    )
    return "\n".join([head, f'<rect width="{WIDTH}" height="{height:.0f}" fill="#ffffff"/>', *parts, "</svg>\n"])


def _bar(row: Row) -> Bar:
    assert row.target is not None
    gains, limit = row.gains, row.target.limit
    target = limit if row.target.kind == "at least" else 1 / limit
    return Bar(row.work, median(gains), min(gains), max(gains), target, MET if row.is_met else MISSED)


def _panel(title: str, bars: Sequence[Bar], top: float) -> list[str]:
    ticks = _ticks(bars)
    scale = _Scale(ticks[0], ticks[-1])
    bottom = top + TOP + LINE * len(bars)
    parts = [_text(16, top + 16, title, weight="bold")]
    for tick in ticks:
        x = scale.place(tick)
        colour = INK if tick == 1 else FAINT
        parts.append(_line(x, top + TOP - 8, x, bottom, colour))
        parts.append(_text(x, top + TOP - 14, f"{tick:g}x", anchor="middle", size=11))
    for number, bar in enumerate(bars):
        parts += _draw_bar(bar, scale, top + TOP + LINE * number + LINE / 2)
    return parts


def _draw_bar(bar: Bar, scale: _Scale, y: float) -> list[str]:
    start, end = sorted((scale.place(1), scale.place(bar.value)))
    parts = [
        _text(LABELS - 10, y + 4, bar.label, anchor="end"),
        f'<rect x="{start:.1f}" y="{y - 7:.1f}" width="{max(1.0, end - start):.1f}" height="14" fill="{bar.colour}"/>',
        _line(scale.place(bar.least), y, scale.place(bar.most), y, INK),
        _text(LABELS + PLOT + 16, y + 4, _said(bar)),
    ]
    if bar.target is not None:
        x = scale.place(bar.target)
        parts.append(_line(x, y - 10, x, y + 10, INK, width=2.5))
    return parts


def _said(bar: Bar) -> str:
    if bar.target is None:
        return f"{bar.value:.3g}x"
    return f"{bar.value:.3g}x, " + ("met" if bar.colour == MET else "missed")


@attrs.frozen
class _Scale:
    """A logarithmic scale from *least* to *most* over the width of the plot."""

    least: float
    most: float

    def place(self, value: float) -> float:
        """Where *value* stands, in pixels; at an end where it lies beyond."""
        share = math.log(value / self.least) / math.log(self.most / self.least)
        return LABELS + PLOT * min(1.0, max(0.0, share))


def _ticks(bars: Sequence[Bar]) -> list[float]:
    """Powers of ten with 2 and 5 between them, just around all that is shown, and around 1."""
    shown = [number for bar in bars for number in (bar.least, bar.most, bar.value, bar.target or 1.0)]
    exponents = range(math.floor(math.log10(min(shown))), math.ceil(math.log10(max(shown))) + 1)
    steps = sorted({1.0, *(step * 10.0**exponent for exponent in exponents for step in (1, 2, 5))})
    first = max((step for step in steps if step <= min(0.9, *shown)), default=steps[0] / 2)
    last = min((step for step in steps if step >= max(1.1, *shown)), default=steps[-1] * 2)
    return [first, *(step for step in steps if first < step < last), last]


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 13, weight: str = "normal") -> str:
    style = f'text-anchor="{anchor}" font-size="{size}" font-weight="{weight}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, *, width: float = 1) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width:g}"/>'
