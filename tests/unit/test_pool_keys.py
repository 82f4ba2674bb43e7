"""From keys to slots: alike in every process."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import subprocess
import sys
import uuid
from collections import Counter
from typing import Any, NamedTuple

import pytest

from actors import SpecError
from actors._pool_keys import slot_of
from actors.supervisor._slots import SLOTS


class Colour(enum.Enum):
    RED = 1


KEYS = [
    "",
    "user-17",
    "\udc80",
    0,
    -5,
    2**80,
    b"x",
    True,
    None,
    1.5,
    ("a", 1),
    uuid.UUID(int=7),
    dt.date(2026, 1, 2),
]


@pytest.mark.parametrize("key", KEYS)
def test_a_key_has_a_slot(key: Any) -> None:
    assert 0 <= slot_of(key) < SLOTS
    assert slot_of(key) == slot_of(key)


def test_another_process_with_another_hash_seed_finds_the_same_slots() -> None:
    program = (
        "from actors._pool_keys import slot_of; print([slot_of(k) for k in ('user-17', 17, b'x', ('a', 1), 1.5, None)])"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }

    assert found == {f"{[slot_of(key) for key in ('user-17', 17, b'x', ('a', 1), 1.5, None)]}\n"}


def test_keys_are_spread_over_the_slots() -> None:
    counts = Counter(slot_of(f"user-{number}") for number in range(100 * SLOTS))

    assert len(counts) == SLOTS
    assert max(counts.values()) < 200


@pytest.mark.parametrize("key", [frozenset("ab"), {"a": 1}, [1], ("a", frozenset("ab")), {1}, bytearray(b"x")])
def test_what_may_be_written_in_two_ways_is_no_key(key: Any) -> None:
    with pytest.raises(SpecError, match="not hashed alike everywhere"):
        slot_of(key)


def test_what_cannot_travel_is_no_key() -> None:
    with pytest.raises(SpecError, match="so it cannot be a key"):
        slot_of(object())


NAIVE = dt.datetime.min  # noqa: DTZ901 - as users have them, too
HOUR = dt.timezone(dt.timedelta(hours=1))


class Place(NamedTuple):
    x: float
    y: float


EQUALS = [
    pytest.param(0.0, -0.0, id="zeros"),
    pytest.param((1, 0.0), (1, -0.0), id="zeros-in-a-tuple"),
    pytest.param(Place(0.0, 1.0), Place(-0.0, 1.0), id="zeros-in-a-named-tuple"),
    pytest.param(complex(0.0, -0.0), complex(-0.0, 0.0), id="complex-zeros"),
    pytest.param(decimal.Decimal("1.0"), decimal.Decimal("1.000"), id="decimals"),
    pytest.param(decimal.Decimal("1E+3"), decimal.Decimal(1000), id="large-decimals"),
    pytest.param(decimal.Decimal("0E+5"), decimal.Decimal("-0.00"), id="decimal-zeros"),
    pytest.param(
        decimal.Decimal("0.1234567890123456789012345678901234567890"),
        decimal.Decimal("0.12345678901234567890123456789012345678900"),
        id="long-decimals",
    ),
    pytest.param(
        dt.datetime(2026, 1, 2, 3, tzinfo=dt.UTC), dt.datetime(2026, 1, 2, 4, tzinfo=HOUR), id="moments-in-two-zones"
    ),
    pytest.param(
        dt.datetime(1, 1, 1, 0, 30, tzinfo=HOUR), dt.datetime(1, 1, 1, 0, 30, tzinfo=HOUR), id="before-the-first-year"
    ),
    pytest.param(NAIVE, NAIVE.replace(fold=1), id="folds"),
    pytest.param(dt.time(3), dt.time(3, fold=1), id="folded-times"),
    pytest.param(dt.time(3, tzinfo=dt.UTC), dt.time(4, tzinfo=HOUR), id="times-in-two-zones"),
]


@pytest.mark.parametrize(("one", "other"), EQUALS)
def test_equal_keys_of_one_type_have_one_slot_however_they_are_written(one: Any, other: Any) -> None:
    assert one == other
    assert type(one) is type(other)
    assert slot_of(one) == slot_of(other)


@pytest.mark.parametrize(
    "key",
    [
        decimal.Decimal("Infinity"),
        decimal.Decimal("NaN"),
        float("nan"),
        float("inf"),
        decimal.Decimal("12.5"),
        dt.datetime(9999, 12, 31, 23, tzinfo=dt.timezone(-dt.timedelta(hours=3))),
    ],
    ids=repr,
)
def test_keys_at_the_edge_have_a_slot(key: Any) -> None:
    assert slot_of(key) == slot_of(key)


def test_keys_of_different_types_are_different_keys_though_they_are_equal() -> None:
    assert len({slot_of(key) for key in (1, 1.0, True, decimal.Decimal(1))}) == 4
    assert len({slot_of((key,)) for key in (1, 1.0, True)}) == 3


def test_the_scalars_of_numpy_are_keys_of_their_own_types() -> None:
    np = pytest.importorskip("numpy")
    keys = [np.int64(1), np.int32(1), np.float64(1.0), np.float32(1.0), np.bool_(True), np.str_("1")]

    assert [slot_of(key) for key in keys] == [slot_of(type(key)(key)) for key in keys]
    assert slot_of(np.float64(0.0)) == slot_of(np.float64(-0.0))
