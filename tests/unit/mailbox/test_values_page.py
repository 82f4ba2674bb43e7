"""The page of what can travel names every type that the codec knows."""

from __future__ import annotations

import array
from pathlib import Path

import pytest

from actors._channel import Channel
from actors._limited import LimitedRef
from actors._ref import ActorRef
from actors._shared_array import SharedArray
from actors.mailbox._values import _KINDS, SCALARS

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "values.md").read_text()
TABLE = PAGE.partition("## What does not travel")[0]
TYPES: list[type] = sorted({*SCALARS, *_KINDS, ActorRef, Channel, LimitedRef, SharedArray}, key=str)


@pytest.mark.parametrize("cls", TYPES)
def test_the_page_names_a_type_that_travels(cls: type) -> None:
    spelled = {type(None): "None", array.array: "array.array"}
    name = spelled.get(cls, cls.__name__)

    assert f"`{name}`" in TABLE
