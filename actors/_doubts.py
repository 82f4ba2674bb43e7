"""
Warnings about what is allowed and yet probably not meant: attributes that look like a misspelt option, options that cannot take effect.

A warning is shown once for each line that made it, and filtered like any other (``-W error::actors.SpecWarning``). Nothing here refuses.
"""

from __future__ import annotations

import difflib
import sys
import warnings
import weakref
from collections.abc import Iterable, Iterator
from typing import Any

from actors._actor import Actor
from actors.errors import SpecWarning
from actors.supervisor._doubts import is_possible
from actors.supervisor._spec import OPTION_NAMES

if sys.version_info >= (3, 14):
    import annotationlib

__all__ = ["misspelt_options", "warn", "warn_of_misspelt_options"]

# Of two words of twelve letters that differ in one: 0.96; `start_timeout` and `stop_timeout`: 0.8.
_CLOSE = 0.85
# Shorter ones have too many neighbours that mean something: `after` and `later`, `name` and `game`.
_SHORTEST = 6
_looked_at: weakref.WeakSet[type] = weakref.WeakSet()


def warn(doubts: Iterable[str]) -> None:
    """Give one warning for each of *doubts*, at the line of the user's that brought us here."""
    for doubt in doubts:
        warnings.warn(doubt, SpecWarning, stacklevel=_users_level())


def warn_of_misspelt_options(cls: type[Actor]) -> None:
    """Warn of attributes of *cls* and its bases that look like an option and are none; once for each class."""
    for base in cls.__mro__:
        if base is not Actor and issubclass(base, Actor) and base not in _looked_at:
            _looked_at.add(base)
            warn(misspelt_options(base))


def misspelt_options(cls: type) -> Iterator[str]:
    """
    What in the body of *cls* was probably meant as an option, one sentence each.

    Only plain values that the option would take, under a name that no base has, that is not annotated, and that is no other form of the word
    (``restarts``): what is the user's own is left in peace, and an annotation says that it is.
    """
    annotated = _annotated(cls)
    for name, value in vars(cls).items():
        if name.startswith("_") or name in OPTION_NAMES or name in annotated or hasattr(value, "__get__"):
            continue
        if any(hasattr(base, name) for base in cls.__mro__[1:]):
            continue
        meant = _meant(name)
        if meant and is_possible(meant, value):
            kind = type(value).__name__
            yield (
                f"{cls.__qualname__}.{name} is no option: was {meant} = {value!r:.80} meant? "
                f"An attribute of your own is annotated: {name}: {kind} = {value!r:.80}"
            )


def _meant(name: str) -> str:
    """The option that *name* is a slip of, or ``""``."""
    options = [option for option in OPTION_NAMES if len(option) >= _SHORTEST]
    close = difflib.get_close_matches(name, options, n=1, cutoff=_CLOSE)
    return close[0] if close and not name.startswith(close[0]) else ""


def _annotated(cls: type) -> Iterable[str]:
    if sys.version_info >= (3, 14):
        # Its values may name what is imported for type checkers only.
        return annotationlib.get_annotations(cls, format=annotationlib.Format.FORWARDREF)
    found: dict[str, Any] = vars(cls).get("__annotations__", {})
    return found


def _users_level() -> int:
    """How many frames above :func:`warn` the first one stands that is not ours."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "actors":
        level, frame = level + 1, frame.f_back
    return level
