"""
How a name finds an actor: by its path, beside whoever asks, or as the only one of that name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

from actors.errors import ActorNotRunningError

__all__ = ["find_by_name"]

T = TypeVar("T")

# Enough to see what was meant, of trees of any size.
_MAX_LISTED: Final = 20


def find_by_name(name: str, actors: Mapping[str, T], places: Iterable[str]) -> T:
    """
    Find what *name* means: a whole path, a path below one of *places*, or a name that only one actor has. The first of these wins.

    Args:
        name: Such as ``"/app/readers/reader-1"``, ``"readers/reader-1"`` or ``"reader-1"``.
        actors: What to find, by path.
        places: Paths of supervisors, the nearest first.

    Raises:
        ActorNotRunningError: There is none, or there are several; says which.
    """
    for path in (name, *(f"{place}/{name.strip('/')}" for place in places)):
        if path in actors:
            return actors[path]
    found = [path for path in actors if path.rsplit("/", 1)[-1] == name]
    if len(found) == 1:
        return actors[found[0]]
    what = f"{len(found)} actors are" if found else "no actor is"
    raise ActorNotRunningError(f"{what} called {name!r}; there are: {_listed(found or list(actors))}", target=name)


def _listed(paths: list[str]) -> str:
    shown = ", ".join(paths[:_MAX_LISTED]) or "none"
    return shown if len(paths) <= _MAX_LISTED else f"{shown} and {len(paths) - _MAX_LISTED} more"
