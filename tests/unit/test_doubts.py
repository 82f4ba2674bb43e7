"""Warnings about what is allowed and probably not meant."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import pytest

from actors import Actor, ActorSystem, Backoff, SpecError, SpecWarning, Supervisor, child
from actors._doubts import misspelt_options, warn_of_misspelt_options
from actors.supervisor._exits import ExitReason
from tests.supervised import Bench, rule
from tests.troupe import Worker


def actor_with(**attributes: Any) -> type[Actor]:
    return type("Mine", (Actor,), attributes)


@pytest.mark.parametrize(
    ("name", "value", "meant"),
    [
        ("restrt", "transient", "restart"),
        ("handler_timout", 3, "handler_timeout"),
        ("max_same_crash", 3, "max_same_crashes"),
        ("on_ful", "reject", "on_full"),
        ("mailbox_messges", None, "mailbox_messages"),
        ("bakoff", Backoff(), "backoff"),
        ("significnt", True, "significant"),
        ("expected_exit", (0, 3), "expected_exits"),
    ],
)
def test_an_attribute_that_looks_like_an_option_is_said_to_be_none(name: str, value: object, meant: str) -> None:
    (doubt,) = misspelt_options(actor_with(**{name: value}))

    assert doubt.startswith(f"Mine.{name} is no option: was {meant} = {value!r} meant?")
    assert doubt.endswith(f"annotated: {name}: {type(value).__name__} = {value!r}")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("restart", "transient", id="an option"),
        pytest.param("restarts", 0, id="a form of the word"),
        pytest.param("shutdowns", 0, id="a form of the word that the option would take"),
        pytest.param("restrt", "whatever", id="a value that the option would not take"),
        pytest.param("mailbox_messges", "hello", id="a value of another type"),
        pytest.param("stop_timeout", 3, id="another word"),
        pytest.param("timeout", 3, id="a part of an option"),
        pytest.param("later", ("a",), id="near a short option"),
        pytest.param("_restrt", "transient", id="private"),
        pytest.param("restrt", lambda _self: None, id="a method"),
        pytest.param("restrt", property(lambda _self: 1), id="a property"),
    ],
)
def test_an_attribute_of_ones_own_is_left_in_peace(name: str, value: object) -> None:
    assert list(misspelt_options(actor_with(**{name: value}))) == []


def test_an_annotation_says_that_an_attribute_is_ones_own() -> None:
    class Mine(Actor):
        handler_timout: float = 3.0
        restrt: ClassVar[str] = "transient"

    assert list(misspelt_options(Mine)) == []


def test_an_attribute_that_a_base_has_is_the_bases() -> None:
    base = actor_with(handler_timout=3.0)
    derived = type("Derived", (base,), {"handler_timout": 4.0})

    assert list(misspelt_options(derived)) == []


def test_a_misspelt_option_is_told_once_for_each_class_where_the_actor_is_used() -> None:
    class Careless(Worker):
        restrt = "transient"

    class Heir(Careless):
        pass

    with pytest.warns(SpecWarning, match=r"Careless\.restrt is no option: was restart = 'transient'") as caught:
        warn_of_misspelt_options(Heir)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_misspelt_options(Careless)

    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize(("same", "ends"), [(4, "parked"), (5, "exhausted")])
def test_a_doubt_is_right_about_what_quick_crashes_reach(same: int, ends: str) -> None:
    def crash() -> ExitReason:
        return ExitReason("crash", 1, error={"type": "ValueError", "text": "", "traceback": ""})

    bench = Bench(rule(max_same_crashes=same), max_restarts=3)
    bench.boot()
    said: list[str] = []
    while not said or said[-1].startswith("start"):
        bench.ready("a")
        said = bench.exit("a", crash())

    assert said[0].startswith(ends)


# --- trees ------------------------------------------------------------------------------------------------------------------


class Graceful(Worker):
    hang_grace = 3.0


DOUBTS: list[tuple[dict[str, Any], str]] = [
    (
        {"max_same_crashes": 5},
        r"^/app/w: max_same_crashes=5 is not reached by quick crashes: app gives up.*max_restarts=4",
    ),
    (
        {"redeliver": 3},
        r"^/app/w: redeliver=3 is not reached by a message that kills at once: app gives up.*max_restarts=4",
    ),
    ({"shutdown": 31.0}, r"^/app/w: shutdown=31 is longer than shutdown_deadline=30 of the system"),
]


def doubts_about(tree: Supervisor, **options: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ActorSystem(tree, **options)
    assert {warning.filename for warning in caught} <= {__file__}
    assert {warning.category for warning in caught} <= {SpecWarning}
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize(("options", "said"), DOUBTS)
def test_options_that_can_hardly_take_effect_are_warned_of(options: dict[str, Any], said: str) -> None:
    with pytest.warns(SpecWarning, match=said):
        ActorSystem(Supervisor("app", children=[child(Worker(), name="w", **options)]))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"max_same_crashes": 4},
        {"redeliver": 2},
        {"shutdown": None},
        {"shutdown": 30.0},
        {"hang_grace": 2.0, "handler_timeout": 1.0},
    ],
)
def test_options_that_can_take_effect_are_not(options: dict[str, Any]) -> None:
    assert doubts_about(Supervisor("app", children=[child(Worker(), name="w", **options)])) == []


def test_what_nobody_gave_is_never_doubted() -> None:
    inner = Supervisor("inner", max_restarts=0, children=[Worker(), child(Graceful(), name="graceful")])

    assert doubts_about(Supervisor("app", children=[inner]), shutdown_deadline=1.0) == []


def test_children_of_supervisors_below_are_looked_at_too() -> None:
    inner = Supervisor("inner", max_restarts=1, children=[child(Worker(), name="w", redeliver=1)])

    (doubt,) = doubts_about(Supervisor("app", children=[inner]))
    assert doubt.startswith("/app/inner/w: redeliver=1")


@pytest.mark.parametrize("options", [{"hang_grace": 2.0}, {"hang_grace": 0.0}])
def test_a_grace_for_hangs_without_a_limit_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=r"^/app/w: hang_grace=\S+ means nothing without handler_timeout"):
        ActorSystem(Supervisor("app", children=[child(Graceful(), name="w", **options)]))


def test_how_many_crash_files_stay_means_nothing_without_a_directory() -> None:
    with pytest.raises(SpecError, match="^crash_keep=5: means nothing without crash_directory"):
        ActorSystem(crash_keep=5)
