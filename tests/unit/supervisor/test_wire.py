from __future__ import annotations

from typing import Any

import pytest

from actors.errors import ProtocolError
from actors.mailbox import _codec
from actors.supervisor._policy import Backoff
from actors.supervisor._spec import Options, Recycle
from actors.supervisor._wire import options_from_data, options_to_data

EVERYTHING = Options(
    name="a",
    restart="transient",
    expected_exits=(0, 3),
    backoff=Backoff(initial=0.5, stable_after=9.0),
    max_start_failures=4,
    max_same_crashes=5,
    handler_timeout=1.5,
    cancel_grace=0.5,
    memory_soft=1 << 30,
    memory_hard=2 << 30,
    recycle=Recycle(messages=10, jitter=0.0),
    after=("b",),
)


@pytest.mark.parametrize("options", [Options(), EVERYTHING], ids=["defaults", "everything"])
def test_options_come_back_as_they_were(options: Options) -> None:
    sent = _codec.decode(_codec.encode(options_to_data(options)))

    assert options == options_from_data(sent)


@pytest.mark.parametrize("data", [None, [], {"unknown": 1}, {"backoff": {"unknown": 1}}, {"recycle": {"unknown": 1}}])
def test_anything_else_is_refused(data: Any) -> None:
    with pytest.raises(ProtocolError, match="no options of an actor"):
        options_from_data(data)


def test_an_option_that_is_left_out_has_its_default() -> None:
    assert Options(redeliver=1) == options_from_data({"redeliver": 1})
