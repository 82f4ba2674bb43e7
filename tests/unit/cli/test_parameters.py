from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from actors import SpecError
from actors.cli._parameters import REQUIRED, Parameter, arguments_for, help_text, merge, read_parameters

if TYPE_CHECKING:
    from nowhere import OnlyForCheckers  # type: ignore[import-not-found]


def tree(where: Path, depth: int = 2, *, mode: Literal["a", "b"] = "a", limit: float | None = None) -> None:
    """
    Make a tree.

    More about it.

    Args:
        where: A folder
            of things.
        mode: One of two.

    Returns:
        limit: nothing, this is no argument.
    """


def main(system: OnlyForCheckers, *files: str, fast: bool = False, **rest: Any) -> None: ...


def test_annotations_defaults_and_docstring_make_the_command_line() -> None:
    assert read_parameters(tree) == (
        Parameter("where", False, False, Path, (), REQUIRED, "A folder of things."),
        Parameter("depth", False, False, int, (), 2, ""),
        Parameter("mode", True, False, str, ("a", "b"), "a", "One of two."),
        Parameter("limit", True, False, float, (), None, ""),
    )


def test_the_running_system_is_no_parameter_and_its_annotation_is_not_resolved() -> None:
    assert [(p.name, p.is_many, p.is_option) for p in read_parameters(main, skip=1)] == [
        ("files", True, False),
        ("fast", False, True),
    ]


def test_without_an_annotation_the_default_gives_the_type() -> None:
    def function(text, number=3, nothing=None): ...  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202

    assert [p.type for p in read_parameters(function)] == [str, int, str]


def test_the_many_come_last_when_two_functions_are_merged() -> None:
    merged = merge(read_parameters(main, skip=1), read_parameters(tree))

    assert [p.name for p in merged] == ["fast", "where", "depth", "mode", "limit", "files"]


def test_a_name_that_means_two_things_is_refused() -> None:
    def other(*, depth: str = "") -> None: ...

    with pytest.raises(SpecError, match="tree and main mean different things by 'depth'"):
        merge(read_parameters(tree), read_parameters(other))


def test_a_type_that_no_command_line_can_give_is_refused() -> None:
    def function(things: set[int]) -> None: ...

    with pytest.raises(
        SpecError, match="parameter 'things' of .* cannot come from a command line: annotate it as one of"
    ):
        read_parameters(function)


def test_an_annotation_that_cannot_be_resolved_is_refused_by_name() -> None:
    def function(thing: OnlyForCheckers) -> None: ...

    with pytest.raises(SpecError, match="parameter 'thing' .* 'OnlyForCheckers' is not defined"):
        read_parameters(function)


def test_values_go_where_the_signature_wants_them() -> None:
    values = {"where": Path("x"), "depth": 1, "mode": "b", "limit": 2.0, "files": ("f", "g"), "fast": True}

    assert arguments_for(tree, values) == ([Path("x"), 1], {"mode": "b", "limit": 2.0})
    assert arguments_for(main, values, skip=1) == (["f", "g"], {"fast": True})


def test_help_is_the_first_paragraph_of_the_docstring() -> None:
    assert help_text(tree) == "Make a tree."
    assert help_text(main) == ""
    assert help_text(None) == ""
