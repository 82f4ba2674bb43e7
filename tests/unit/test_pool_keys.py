"""From keys to slots: alike in every process."""

from __future__ import annotations

import datetime as dt
import enum
import subprocess
import sys
import uuid
from collections import Counter
from typing import Any

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
