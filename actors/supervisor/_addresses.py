"""
How a name finds an actor or a pool: by its path, beside whoever asks, or as the only one of that name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, Literal, TypeVar

from actors.errors import ActorNotRunningError

__all__ = ["find_by_name"]

T = TypeVar("T")

# Enough to see what was meant, of trees of any size.
_MAX_LISTED: Final = 20
# What the other kind is, and how one of that kind is found.
_OTHER: Final = {"actor": ("a pool", "find_pool"), "pool": ("an actor", "whereis")}


def find_by_name(
    name: str,
    there: Mapping[str, T],
    places: Sequence[str],
    *,
    kind: Literal["actor", "pool"] = "actor",
    others: Iterable[str] = (),
) -> T:
    """
    Find what *name* means: a whole path, a path below one of *places*, or a name that only one actor has. The first of these wins.

    Args:
        name: Such as ``"/app/readers/reader-1"``, ``"readers/reader-1"`` or ``"reader-1"``.
        there: What to find, by path.
        places: Paths of supervisors, the nearest first.
        kind: What that is.
        others: Paths of what is of the other kind, for who takes one for the other.

    Raises:
        ActorNotRunningError: There is none, or there are several; says which.
    """
    found = _matching(name, there, places)
    if len(found) == 1:
        return there[found[0]]
    taken_for_one = [] if found else _matching(name, list(others), places)
    if taken_for_one:
        what, finder = _OTHER[kind]
        raise ActorNotRunningError(f"{taken_for_one[0]} is {what}: use {finder}({name!r})", target=name)
    how_many = f"{len(found)} {kind}s are" if found else f"no {kind} is"
    raise ActorNotRunningError(f"{how_many} called {name!r}; there are: {_listed(found or list(there))}", target=name)


def _matching(name: str, paths: Collection[str], places: Iterable[str]) -> list[str]:
    for path in (name, *(f"{place}/{name.strip('/')}" for place in places)):
        if path in paths:
            return [path]
    return [path for path in paths if path.rsplit("/", 1)[-1] == name]


def _listed(paths: list[str]) -> str:
    shown = ", ".join(paths[:_MAX_LISTED]) or "none"
    return shown if len(paths) <= _MAX_LISTED else f"{shown} and {len(paths) - _MAX_LISTED} more"
