"""
From the signatures of a topology's ``tree`` and ``main`` to the command line that fills them. Pure: knows no click, starts nothing.
"""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import attrs

from actors.errors import SpecError

__all__ = ["REQUIRED", "Parameter", "arguments_for", "help_text", "merge", "read_parameters"]

SIMPLE_TYPES: tuple[type, ...] = (str, int, float, bool, Path)
REQUIRED: Any = inspect.Parameter.empty


@attrs.frozen
class Parameter:
    """
    One argument or option of a topology's command line.

    Attributes:
        name: As the function calls it.
        is_option: Keyword-only: ``--name``. Else an argument.
        is_many: ``*name``: any number of arguments, the last ones.
        type: One of ``str int float bool Path``.
        choices: The only values allowed; empty: any.
        default: What stands when it is left out, or :data:`REQUIRED`.
        help: Its line under ``Args:``.
    """

    name: str
    is_option: bool
    is_many: bool
    type: type
    choices: tuple[Any, ...]
    default: Any
    help: str


def read_parameters(function: Callable[..., Any], *, skip: int = 0) -> tuple[Parameter, ...]:
    """
    Return the parameters of *function* from number *skip* on.

    Raises:
        SpecError: One cannot be filled from a command line; says which, and what can.
    """
    described = _described_arguments(inspect.getdoc(function) or "")
    parameters = list(inspect.signature(function).parameters.values())[skip:]
    return tuple(
        _read(parameter, function, described.get(parameter.name, ""))
        for parameter in parameters
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    )


def merge(first: Iterable[Parameter], second: Iterable[Parameter]) -> tuple[Parameter, ...]:
    """
    Return the parameters of two functions, those that both have once, with the first's default and help.

    Raises:
        SpecError: Both have one of the same name and mean different types by it.
    """
    found = {parameter.name: parameter for parameter in first}
    for parameter in second:
        other = found.setdefault(parameter.name, parameter)
        if (other.type, other.is_many, other.choices) != (parameter.type, parameter.is_many, parameter.choices):
            raise SpecError(f"tree and main mean different things by {parameter.name!r}: give both the same type")
    return tuple(sorted(found.values(), key=lambda parameter: parameter.is_many))


def arguments_for(
    function: Callable[..., Any], values: dict[str, Any], *, skip: int = 0
) -> tuple[list[Any], dict[str, Any]]:
    """Return what to call *function* with, positional and by keyword, out of the *values* of all parameters."""
    positional: list[Any] = []
    keywords: dict[str, Any] = {}
    for parameter in list(inspect.signature(function).parameters.values())[skip:]:
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            positional += values[parameter.name]
        elif parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            keywords[parameter.name] = values[parameter.name]
        elif parameter.kind is not inspect.Parameter.VAR_KEYWORD:
            positional.append(values[parameter.name])
    return positional, keywords


def help_text(function: Callable[..., Any] | None) -> str:
    """Return the first paragraph of a function's docstring."""
    return (inspect.getdoc(function) or "").partition("\n\n")[0] if function is not None else ""


def _read(parameter: inspect.Parameter, function: Callable[..., Any], description: str) -> Parameter:
    kind, choices = _value_type(parameter, function)
    return Parameter(
        name=parameter.name,
        is_option=parameter.kind is inspect.Parameter.KEYWORD_ONLY,
        is_many=parameter.kind is inspect.Parameter.VAR_POSITIONAL,
        type=kind,
        choices=choices,
        default=parameter.default,
        help=description,
    )


def _value_type(parameter: inspect.Parameter, function: Callable[..., Any]) -> tuple[type, tuple[Any, ...]]:
    hint = _hint(parameter, function)
    if typing.get_origin(hint) in {typing.Union, types.UnionType}:
        hint = next((option for option in typing.get_args(hint) if option is not types.NoneType), str)
    if typing.get_origin(hint) is Literal:
        choices = typing.get_args(hint)
        return type(choices[0]), choices
    if hint in SIMPLE_TYPES:
        return hint, ()
    raise SpecError(
        f"parameter {parameter.name!r} of {function.__qualname__}() cannot come from a command line: "
        f"annotate it as one of {', '.join(kind.__name__ for kind in SIMPLE_TYPES)}, Literal[...], not {hint!r}"
    )


def _hint(parameter: inspect.Parameter, function: Callable[..., Any]) -> Any:
    """The annotation, resolved alone: main's first parameter may name what only type checkers import."""
    if parameter.annotation is inspect.Parameter.empty:
        known = parameter.default is not REQUIRED and parameter.default is not None
        return type(parameter.default) if known else str
    holder = types.SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
    try:
        return typing.get_type_hints(holder, globalns=getattr(function, "__globals__", {}))[parameter.name]
    except NameError as error:
        raise SpecError(f"parameter {parameter.name!r} of {function.__qualname__}(): {error}") from None


def _described_arguments(docstring: str) -> dict[str, str]:
    """Each ``name: text`` below ``Args:``, its lines joined."""
    _, _, below = docstring.partition("\nArgs:\n")
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in below.splitlines():
        if line and not line.startswith(" "):
            break
        named = re.match(r" {4}\*{0,2}(\w+)(?: \([^)]*\))?: +(\S.*)", line)
        if named is not None:
            current = found.setdefault(named[1], [])
            current.append(named[2])
        elif line.strip():
            current.append(line.strip())
    return {name: " ".join(lines) for name, lines in found.items()}
