"""Pools as values: what they expand to, and every rule that they may break, all at once."""

from __future__ import annotations

from typing import Any, cast

import pytest

from actors import Actor, ActorPool, Autoscale, SpecError, Supervisor, child, handler, pool
from actors.supervisor._check import check
from actors.supervisor._spec import Child, Options


class Parser(Actor):
    shutdown = 1.0

    @handler
    def parse(self, line: str, customer: str) -> None: ...

    @handler
    def other(self) -> None: ...


def is_actor(item: object) -> bool:
    return isinstance(item, Actor)


def problems(spec: Supervisor) -> list[str]:
    with pytest.raises(SpecError) as caught:
        check(Supervisor("app", children=[spec]), is_actor=is_actor)
    return list(caught.value.problems)


def test_a_pool_is_a_supervisor_of_equal_workers() -> None:
    spec = pool(Parser(), 3, max_restarts=7, period=9.0, redeliver=2)

    assert (spec.name, spec.size, spec.routing, spec.max_restarts, spec.period) == ("parsers", 3, "round_robin", 7, 9.0)
    workers = [item for item in spec.children if isinstance(item, Child)]
    assert [worker.options.name for worker in workers] == ["1", "2", "3"]
    assert {(worker.options.redeliver, worker.options.shutdown, worker.actor) for worker in workers} == {
        (2, 1.0, spec.actor)
    }
    check(Supervisor("app", children=[spec, pool(Parser(), 1, name="more", routing="key_hash", key="customer")]))
    check(pool(Parser(), 2, autoscale=Autoscale(maximum=4)), is_actor=is_actor)


@pytest.mark.parametrize("size", [0, -1, 257, 1.0, True, "3", None])
def test_a_size_is_a_whole_number_from_1(size: Any) -> None:
    assert problems(pool(Parser(), size)) == [f"/app/parsers: size={size!r} must be a whole number from 1 to 256"]


def test_all_that_is_wrong_is_said_at_once() -> None:
    wrong: dict[str, Any] = {
        "routing": "rondom",
        "restart": "transient",
        "max_restarts": -1,
        "shutdown": -1,
        "key": "x",
    }

    found = problems(pool(Parser(), 0, **wrong))

    assert [text.partition(": ")[2].partition("=")[0] for text in found] == [
        "max_restarts",
        "size",
        "routing",
        "key",
        "key",
        "restart",
        "shutdown",
    ]


def test_a_problem_of_the_workers_is_said_once() -> None:
    assert problems(pool(Parser(), 5, redeliver=-1)) == [
        "/app/parsers/1: redeliver=-1 must be a whole number of at least 0"
    ]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"key": "line"}, "key='line' means nothing with routing='round_robin'"),
        ({"key": 5, "routing": "key_hash"}, "key=5 must be the name of a parameter"),
        ({"key": "a b", "routing": "key_hash"}, "key='a b' must be the name of a parameter"),
        ({"key": "user", "routing": "key_hash"}, "no handler has a parameter of that name"),
        ({"given_up": "rerout"}, "given_up='rerout' must be one of 'dead_letter', 'reroute'"),
        ({"given_up": "reroute", "routing": "key_hash"}, "the order of a key would be lost"),
        ({"after": ("x",)}, "after=('x',) is no option"),
        ({"autoscale": 5}, "autoscale=5 must be an Autoscale"),
        ({"autoscale": Autoscale(minimum=3, maximum=2)}, "autoscale.minimum=3 is above autoscale.maximum=2"),
        ({"autoscale": Autoscale(minimum=2, maximum=3)}, "size=1 is not from autoscale.minimum=2"),
        ({"autoscale": Autoscale(minimum=0, maximum=3)}, "autoscale.minimum=0 must be a whole number"),
        ({"autoscale": Autoscale(maximum=3, grow_above=0)}, "autoscale.grow_above=0 must be a finite number above 0"),
        (
            {"autoscale": Autoscale(maximum=3, for_seconds=-1)},
            "autoscale.for_seconds=-1 must be a finite number of at least 0",
        ),
    ],
)
def test_a_rule_that_is_broken_is_named(options: dict[str, Any], text: str) -> None:
    (found,) = problems(pool(Parser(), 1, **options))

    assert text in found


def test_significant_workers_are_refused() -> None:
    assert any("significant=True is no option" in text for text in problems(pool(Parser(), 1, significant=True)))


def test_what_is_no_actor_is_refused() -> None:
    assert problems(pool(5, 2)) == ["/app/ints/1: int is no actor"]
    for spec, kind in ((Supervisor("x"), "supervisor"), (child(Parser()), "child"), (pool(Parser(), 1), "pool")):
        with pytest.raises(SpecError, match=f"takes an actor .*, not a {kind}$"):
            pool(spec, 2)
    with pytest.raises(SpecError, match=r"pool\(\) takes an actor, and Parser is a class; write Parser\(\.\.\.\)"):
        pool(Parser, 2)
    with pytest.raises(SpecError, match="there is no option 'shutdwon'; did you mean 'shutdown'"):
        pool(Parser(), 2, shutdwon=1)
    with pytest.raises(SpecError, match="there is no option 'max_restart'; did you mean 'max_restarts'"):
        pool(Parser(), 2, max_restart=1)


def test_the_name_of_a_pool_gets_no_second_s() -> None:
    class Sess(Parser):
        pass

    assert (pool(Sess(), 1).name, pool(Parser(), 1).name) == ("sess", "parsers")


def test_a_pool_in_the_place_of_an_actor_is_told_where_it_belongs() -> None:
    with pytest.raises(SpecError) as caught:
        child(pool(Parser(), 2))
    assert str(caught.value) == "child() takes an actor, not a pool; put the pool into children=... as it is"

    spawned: Any = Child(pool(Parser(), 2), Options(name="parsers"))
    with pytest.raises(SpecError) as caught:
        check(Supervisor("app", children=[spawned]), is_actor=is_actor)
    (found,) = caught.value.problems
    assert found.startswith("/app/parsers: a pool is no actor: give it to spawn_pool(...)")

    spawned = Child(cast("Any", Supervisor("readers")), Options(name="readers"))
    with pytest.raises(SpecError, match="/app/readers: a supervisor is no actor: put it among the children of another"):
        check(Supervisor("app", children=[spawned]), is_actor=is_actor)


def test_a_pool_is_frozen_and_equal_to_its_equal() -> None:
    parser = Parser()

    assert isinstance(pool(parser, 2), ActorPool)
    assert pool(parser, 2) == pool(parser, 2)
    assert pool(parser, 2) != pool(parser, 3)
