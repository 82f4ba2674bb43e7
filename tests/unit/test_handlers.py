from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from actors._actor import Actor
from actors._handlers import HandlerTable, check_arguments, handler, info_of
from actors.errors import ArgumentsError, HandlerNotFoundError, SpecError


class Sink(Actor, ABC):
    @handler
    @abstractmethod
    def put(self, item: int) -> None: ...

    @abstractmethod
    @handler
    def size(self) -> int: ...


class ListSink(Sink):
    def put(self, item: int) -> None:
        """Marked by its base only."""

    @handler
    async def size(self) -> int:  # type: ignore[override]
        return 0


class Counting:
    @handler
    def count(self) -> int:
        return 1


class Many(Counting, Actor):
    @handler
    def plain(self, a: int, b: int = 0) -> int:
        return a + b

    @handler
    def keywords(self, a: int, *, b: int, c: int = 0) -> None: ...

    @handler
    def any(self, *args: int, **kwargs: int) -> None: ...

    @handler
    async def later(self) -> int:
        return 1

    @handler
    def items(self, n: int) -> Iterator[int]:
        yield from range(n)

    same = plain

    def private(self) -> None: ...


def test_the_table_has_the_handlers_of_the_class_its_bases_and_its_mixins_and_nothing_else() -> None:
    assert set(Many._handlers) == {"count", "plain", "keywords", "any", "later", "items", "same"}
    assert len(ListSink._handlers) == 2
    assert "private" not in Many._handlers


@pytest.mark.parametrize(
    ("name", "kind"), [("plain", "sync"), ("later", "async"), ("items", "generator"), ("count", "sync")]
)
def test_a_handler_knows_how_it_answers(name: str, kind: str) -> None:
    assert Many._handlers[name].kind == kind


def test_the_mark_leaves_the_function_what_it_was() -> None:
    def double(self: Any, value: int) -> int:
        return 2 * value

    assert handler(double) is double
    assert double(None, 4) == 8


def test_an_override_of_a_handler_is_one_and_a_reference_to_the_base_names_it() -> None:
    override = info_of(ListSink.put)
    base = info_of(Sink.put)

    assert base is not None
    assert override is not None
    assert ListSink._handlers[base.name].function is ListSink.put


@pytest.mark.parametrize("name", ["put", "size"])
def test_an_abstract_handler_is_known_as_such_on_either_side_of_the_decorator(name: str) -> None:
    assert Sink._handlers[name].is_abstract
    assert not ListSink._handlers[name].is_abstract


def test_an_alias_reaches_the_same_function() -> None:
    assert Many._handlers["same"].function is Many._handlers["plain"].function
    assert Many._handlers["same"].name == "same"


def test_none_in_a_subclass_takes_a_handler_away() -> None:
    class Less(Many):
        plain = None  # type: ignore[assignment]
        same = None  # type: ignore[assignment]

    assert "plain" not in Less._handlers


def test_a_wrapped_handler_has_the_signature_of_what_it_wraps() -> None:
    def traced(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return wrapper

    class Traced(Actor):
        @handler
        @traced
        def add(self, amount: int) -> int:
            return amount

    with pytest.raises(ArgumentsError):
        Traced._handlers.check("add", (1, 2), {})


# --- arguments --------------------------------------------------------------------------------------------------------

FITS: list[tuple[str, tuple[Any, ...], dict[str, Any], bool]] = [
    ("plain", (1,), {}, True),
    ("plain", (1, 2), {}, True),
    ("plain", (), {"a": 1}, True),
    ("plain", (1,), {"b": 1}, True),
    ("plain", (), {}, False),
    ("plain", (1, 2, 3), {}, False),
    ("plain", (1,), {"a": 1}, False),
    ("plain", (1,), {"x": 1}, False),
    ("keywords", (1,), {"b": 1}, True),
    ("keywords", (1,), {}, False),
    ("keywords", (1, 2), {}, False),
    ("any", (), {}, True),
    ("any", tuple(range(300)), {"x": 1}, True),
    ("count", (), {}, True),
    ("count", (1,), {}, False),
]


@pytest.mark.parametrize(("name", "args", "kwargs", "fits"), FITS, ids=lambda value: str(value)[:20])
def test_arguments_fit_exactly_when_a_call_would_take_them(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any], fits: bool
) -> None:
    info = Many._handlers[name]
    if fits:
        check_arguments(info, args, kwargs)
        assert Many._handlers.check(name, args, kwargs) is info
    else:
        with pytest.raises(ArgumentsError):
            Many._handlers.check(name, args, kwargs)


def test_the_error_of_arguments_shows_the_signature_and_what_is_wrong() -> None:
    with pytest.raises(ArgumentsError) as caught:
        check_arguments(Many._handlers["plain"], (), {}, "/app/many")

    assert "Many.plain(a: 'int', b: 'int' = 0) -> 'int'" in str(caught.value)
    assert "missing a required argument: 'a'" in str(caught.value)
    assert caught.value.target == "/app/many"
    assert "options" not in str(caught.value)


def test_a_deadline_among_the_arguments_is_told_where_it_belongs() -> None:
    with pytest.raises(ArgumentsError, match=r"'timeout'; a deadline is given with ref\.options\(timeout=\.\.\.\)"):
        check_arguments(Many._handlers["plain"], (1,), {"timeout": 3})


def test_an_unknown_handler_is_answered_by_the_closest_ones() -> None:
    with pytest.raises(
        HandlerNotFoundError, match="/app/many \\(Many\\) has no handler 'plan'; did you mean 'plain'"
    ) as caught:
        Many._handlers.find("plan", "/app/many")
    assert caught.value.target == "/app/many"


def test_an_unknown_handler_far_from_all_is_answered_by_the_list() -> None:
    with pytest.raises(HandlerNotFoundError, match="it has 'count'"):
        Many._handlers.find("zzz")


def test_a_class_without_handlers_says_how_to_make_some() -> None:
    with pytest.raises(HandlerNotFoundError, match="mark its methods with @handler"):
        HandlerTable("Empty").find("x")


# --- what cannot be a handler -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["start", "run", "name", "on_start", "ref", "stop", "restart", "_boot", "close", "backoff"]
)
def test_a_name_of_actor_process_or_an_option_cannot_be_a_handler(name: str) -> None:
    def function(self: Any) -> None: ...

    function.__name__ = name
    with pytest.raises(SpecError, match=f"the name '{name}' is taken"):
        type("Bad", (Actor,), {name: handler(function)})


def test_all_problems_of_a_class_are_told_at_once() -> None:
    def start(self: Any) -> None: ...
    def run(self: Any) -> None: ...

    with pytest.raises(SpecError) as caught:
        type("Bad", (Actor,), {"start": handler(start), "run": handler(run)})
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize("wrap", [staticmethod, classmethod, property], ids=lambda value: value.__name__)
def test_only_plain_methods_can_be_handlers(wrap: Callable[[Any], Any]) -> None:
    def odd(self: Any) -> None: ...

    with pytest.raises(SpecError, match="only plain methods"):
        type("Bad", (Actor,), {"odd": wrap(handler(odd))})
    with pytest.raises(SpecError, match="no method that messages can reach"):
        handler(wrap(odd))


def test_a_method_without_self_is_refused() -> None:
    with pytest.raises(SpecError, match="takes no self"):

        @handler
        def nothing() -> None: ...


def test_an_async_generator_is_refused() -> None:
    with pytest.raises(SpecError, match="async generator"):

        @handler
        async def items(self: Any) -> AsyncIterator[int]:
            yield 1


def test_a_decorator_without_wraps_is_found_out() -> None:
    def bare(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(self: Any) -> Any:
            return function(self)

        return wrapper

    with pytest.raises(SpecError, match="functools.wraps"):

        class Bad(Actor):
            @handler
            @bare
            def add(self) -> None: ...


def test_a_generator_cannot_override_a_handler_that_answers_once() -> None:
    with pytest.raises(SpecError, match="callers could use neither"):

        class Bad(Counting, Actor):
            def count(self) -> Iterator[int]:  # type: ignore[override]
                yield 1


def test_a_value_in_the_place_of_a_handler_is_refused() -> None:
    with pytest.raises(SpecError, match="is a int"):
        type("Bad", (Counting, Actor), {"count": 3})


def test_the_text_of_a_table_lists_the_handlers() -> None:
    assert repr(ListSink._handlers) == "<handlers of ListSink: put, size>"
    assert repr(HandlerTable("Empty")) == "<handlers of Empty: none>"


def test_a_table_finds_what_it_has() -> None:
    assert Many._handlers.find("plain") is Many._handlers["plain"]
    assert list(HandlerTable("Copy", Many._handlers.values())) == list(Many._handlers)
