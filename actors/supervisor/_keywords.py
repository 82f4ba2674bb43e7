"""
What a constructor says of a keyword that it does not have: where it belongs, or which one was probably meant. Pure.
"""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

from actors.errors import SpecError

__all__ = ["checks_keywords", "did_you_mean"]

P = ParamSpec("P")
R = TypeVar("R")

# What no measure of closeness finds, or finds wrongly.
_MEANT = {"memory_limit": "memory_hard", "max_memory": "memory_hard", "memory": "memory_hard"}


def checks_keywords(owner: str, place_of: Callable[[str], str]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """
    Have an ``__init__`` raise a SpecError that helps for a keyword that it does not take.

    Args:
        owner: What is made, as its user writes it.
        place_of: Where a name belongs that others take; ``""`` for nowhere.
    """

    def decorate(init: Callable[P, R]) -> Callable[P, R]:
        names = tuple(inspect.signature(init).parameters)[1:]

        @functools.wraps(init)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            if unknown := [name for name in kwargs if name not in names]:
                raise SpecError(*(_unknown(owner, name, names, place_of(name)) for name in unknown))
            return init(*args, **kwargs)

        return checked

    return decorate


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """
    The end of a sentence about a name that does not exist: ``"; did you mean 'restart'?"``, or nothing.

    Args:
        name: What was given.
        names: What could have been.
    """
    choices = list(names)
    known = _MEANT.get(name)
    close = [known] if known in choices else difflib.get_close_matches(name, choices, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _unknown(owner: str, name: str, names: tuple[str, ...], place: str) -> str:
    if place:
        return f"{name!r} is no option of {owner}; it belongs to {place}"
    return f"{owner} has no option {name!r}{did_you_mean(name, names)} (options: {', '.join(names)})"
