"""
What one piece of work cost, beside what it was compared with; pure.

Other programs on the machine slow both sides of a round alike, so the ratio of a row is the median of the ratios of its rounds, not
the ratio of two numbers taken at different times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, Literal, TypeAlias

import attrs

__all__ = ["Kind", "Row", "Target", "shown_number", "shown_spread"]

Kind: TypeAlias = Literal["at most", "at least", "at most +", "no more than"]

NOTHING = "-"
"""Stands in a table where there is nothing to show."""


@attrs.frozen
class Target:
    """
    What a row promises.

    Attributes:
        kind: ``"at most"`` and ``"at least"`` limit the ratio ours / by hand, ``"at most +"`` limits ours - by hand, ``"no more than"`` ours
            alone.
        limit: The limit, in the row's unit for the last two.
    """

    kind: Kind
    limit: float

    def compare(self, ours: float, by_hand: float | None) -> float:
        """Ours over by hand, ours minus by hand, or ours."""
        if self.kind == "no more than" or by_hand is None:
            return ours
        return ours - by_hand if self.kind == "at most +" else ours / by_hand

    def is_met(self, value: float) -> bool:
        """Whether *value*, as :meth:`compare` gives it, keeps the promise."""
        return value >= self.limit if self.kind == "at least" else value <= self.limit

    def show(self, value: float) -> str:
        """*value* as the table prints it."""
        if self.kind == "no more than":
            return shown_number(value)
        return f"{value:+.2f}" if self.kind == "at most +" else f"{value:.2f}x"

    def __str__(self) -> str:
        if self.kind == "at most +":
            return f"at most +{self.limit:g}"
        return f"{self.kind} {self.limit:g}" + ("" if self.kind == "no more than" else "x")


_UNBOUND = Target("at most", float("inf"))  # how a ratio without a target is compared and shown


@attrs.frozen
class Row:
    """
    One piece of work, done by both sides, or by ours alone.

    Attributes:
        work: What was done.
        by_hand: What it was compared with; None for nothing.
        unit: Of the numbers. One that ends in ``/s`` is a rate: more is better; of all others less is.
        ours: One number a round; at least one.
        theirs: The other side's numbers, of the same rounds; None where there is no other side.
        target: What the ratio should be; None where nothing is promised.
    """

    work: str
    by_hand: str | None
    unit: str
    ours: tuple[float, ...]
    theirs: tuple[float, ...] | None = None
    target: Target | None = None

    @property
    def values(self) -> tuple[float, ...]:
        """One ratio (or difference, or number) a round: what the target is about. Empty where there is nothing to compare with."""
        target = self.target or _UNBOUND
        if self.theirs is not None:
            return tuple(target.compare(*pair) for pair in zip(self.ours, self.theirs, strict=True))
        return self.ours if target.kind == "no more than" else ()

    @property
    def value(self) -> float | None:
        """The median of :attr:`values`."""
        return median(self.values) if self.values else None

    @property
    def is_met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        if self.target is None or self.value is None:
            return None
        return self.target.is_met(self.value)

    @property
    def gains(self) -> tuple[float, ...]:
        """How many times as well ours did, one number a round: above 1 is better, whatever the unit. Empty where there is no ratio."""
        if self.theirs is None or (self.target is not None and self.target.kind == "no more than"):
            return ()
        pairs = zip(self.ours, self.theirs, strict=True)
        return tuple(ours / theirs if self.is_rate else theirs / ours for ours, theirs in pairs)

    @property
    def is_rate(self) -> bool:
        """Whether more is better."""
        return self.unit.endswith("/s")

    def as_data(self) -> dict[str, Any]:
        """The row for JSON, with what follows from it."""
        told = {
            "ratio": self.value,
            "ratios": list(self.values),
            "target": None if self.target is None else attrs.asdict(self.target) | {"text": str(self.target)},
            "met": self.is_met,
        }
        return attrs.asdict(self) | told

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Row:
        """The row that :meth:`as_data` wrote."""
        target, theirs = data["target"], data["theirs"]
        return cls(
            work=data["work"],
            by_hand=data["by_hand"],
            unit=data["unit"],
            ours=tuple(data["ours"]),
            theirs=None if theirs is None else tuple(theirs),
            target=None if target is None else Target(target["kind"], target["limit"]),
        )

    def as_cells(self) -> tuple[str, ...]:
        """The row for a table under :data:`HEAD`."""
        target = self.target or _UNBOUND
        shown = [target.show(value) for value in (self.value, *_ends(self.values)) if value is not None]
        return (
            self.work,
            self.by_hand or NOTHING,
            self.unit,
            shown_spread(self.ours),
            NOTHING if self.theirs is None else shown_spread(self.theirs),
            shown[0] if shown else NOTHING,
            " .. ".join(shown[1:]) or NOTHING,
            NOTHING if self.target is None else str(self.target),
            {None: "", True: "met", False: "MISSED"}[self.is_met],
        )


HEAD = ("work", "by hand", "unit", "actors", "by hand", "ratio", "of the rounds", "target", "")


def shown_number(number: float) -> str:
    """*number* with at least three digits that count, and no exponent."""
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3g}"


def shown_spread(numbers: Sequence[float]) -> str:
    """The median, and in brackets the least and the most where there are several."""
    if len(numbers) == 1:
        return shown_number(numbers[0])
    return f"{shown_number(median(numbers))} ({shown_number(min(numbers))} .. {shown_number(max(numbers))})"


def _ends(numbers: Sequence[float]) -> tuple[float, ...]:
    return (min(numbers), max(numbers)) if len(numbers) > 1 else ()
