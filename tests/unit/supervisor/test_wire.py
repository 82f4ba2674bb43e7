from __future__ import annotations

from typing import Any

import pytest

from actors import ActorPool, Autoscale, Park, SpecError, pool
from actors.errors import ProtocolError
from actors.mailbox import _codec
from actors.supervisor._policy import Backoff
from actors.supervisor._spec import Options, Recycle
from actors.supervisor._wire import options_from_data, options_to_data, pool_from_data, pool_to_data
from tests.troupe import Worker

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


POOLS = [
    pool(Worker(), 3),
    pool(
        Worker(),
        2,
        name="many",
        autoscale=Autoscale(minimum=1, maximum=4, cooldown=9.0),
        given_up="reroute",
        max_restarts=7,
        period=9.0,
        on_exhausted=Park(retry_after=3.0),
        redeliver=2,
        backoff=Backoff(initial=0.5),
    ),
    pool(Worker(), 2, routing="key_hash", key="number", on_exhausted="shutdown"),
]


@pytest.mark.parametrize("spec", POOLS, ids=["plain", "scaled", "keyed"])
def test_a_pool_comes_back_as_it_was(spec: ActorPool[Worker]) -> None:
    sent = _codec.decode(_codec.encode(pool_to_data(spec)))

    assert pool_from_data(spec.actor, sent) == spec


@pytest.mark.parametrize(
    "changes",
    [
        {"more": 1},
        {"autoscale": {"unknown": 1}},
        {"autoscale": 3},
        {"on_exhausted": {"unknown": 1}},
        {"worker": {"unknown": 1}},
    ],
)
def test_what_is_no_pool_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError, match="no pool|no options"):
        pool_from_data(Worker(), pool_to_data(POOLS[0]) | changes)
    with pytest.raises(ProtocolError, match="no pool"):
        pool_from_data(Worker(), [1])


def test_a_function_does_not_leave_the_process_that_it_is_in() -> None:
    with pytest.raises(SpecError, match=r"pool workers: on_exhausted=.* would run in the host"):
        pool_to_data(pool(Worker(), 1, on_exhausted=print))
