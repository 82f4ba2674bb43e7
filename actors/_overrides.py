"""
What a subclass of ``Actor`` may not redefine, nor an object of it set: what the framework and ``multiprocessing`` themselves call on an
actor, and options, which are read from the class. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from typing import Any

from actors._handlers import info_of
from actors.errors import SpecError

__all__ = ["attribute_problems", "close_properties", "override_problems"]

_INSTEAD = {
    "run": "the loop of messages is the framework's own; override on_start for what comes first, and do the work in handlers",
    "start": "an actor is started by system.spawn(...); override on_start for what it is to begin with",
    "stop": "self.stop() ends the actor; override on_stop for what is to happen then",
    **dict.fromkeys(
        ("terminate", "kill", "close", "join"),
        "it belongs to multiprocessing.Process; override on_stop for what the actor is to let go of",
    ),
}
_OWN = "it belongs to Actor or multiprocessing.Process; call yours something else"
_NAME = "it is the name of its process; give the actor's name to spawn(...) or child(...), or call yours something else"
# Properties of Process that can be set, and by others than the user's __init__: of the actor's own process, when it runs.
_SETTABLE = ("name", "daemon", "authkey")


def override_problems(cls: type, actor: type, free: Container[str]) -> Iterator[str]:
    """
    What *cls* redefines and must not, one sentence each.

    Args:
        cls: A class that was just made, with its mix-ins.
        actor: ``Actor`` itself: names of its own and of its bases are taken.
        free: Those of them that are there to be overridden: hooks and options.
    """
    inherited = set(actor.__mro__)
    for name in dir(actor):
        if name in free or (name.startswith("__") and name.endswith("__")):
            continue
        owner = next(base for base in cls.__mro__ if name in vars(base))
        # Bases that are actors were looked at when they were made; handlers with such a name are refused as handlers.
        looked_at = owner in inherited or (owner is not cls and issubclass(owner, actor))
        if not looked_at and info_of(vars(owner)[name]) is None:
            yield f"{owner.__qualname__}.{name} cannot be overridden: {_INSTEAD.get(name, _OWN)}"


def attribute_problems(
    owner: str, attributes: Mapping[str, object], taken: Container[str], options: Container[str]
) -> Iterator[str]:
    """
    Which attributes of an actor that is not started have a name that is taken, one sentence each.

    Args:
        owner: What the actor is called in errors.
        attributes: What its ``__init__`` has set.
        taken: The names that are the framework's own.
        options: The names of options.
    """
    for name, value in attributes.items():
        if name in options:
            yield (
                f"{owner}: option {name!r} is set on the object, where it means nothing; set it on the class "
                f"({name} = {value!r:.80}), or give it to child(...) or spawn(...)"
            )
        elif name in taken:
            yield _refusal(owner, name)


def close_properties(actor: type) -> None:
    """
    Have every property of *actor* say why it cannot be set, instead of what Python says of it.

    Args:
        actor: ``Actor`` itself. What ``Process`` lets be set can be set in the actor's own process only.
    """
    found = {name: value for base in reversed(actor.__mro__) for name, value in vars(base).items()}
    for name, value in found.items():
        if isinstance(value, property) and not name.startswith("_"):
            setattr(actor, name, value.setter(_refuser(name, value.fset if name in _SETTABLE else None)))


def _refuser(name: str, inside: Callable[[Any, Any], None] | None) -> Callable[[Any, object], None]:
    def refuse(self: Any, value: object) -> None:
        # Of an actor that is not started, and of that alone, is noted what its __init__ found there.
        if inside is None or self._own is not None:
            raise SpecError(_refusal(type(self).__qualname__, name))
        inside(self, value)

    return refuse


def _refusal(owner: str, name: str) -> str:
    return f"{owner}: attribute {name!r} cannot be set: {_NAME if name == 'name' else _OWN}"
