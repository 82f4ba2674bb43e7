"""
What a subclass of ``Actor`` may not redefine: what the framework and ``multiprocessing`` themselves call on an actor. Pure.
"""

from __future__ import annotations

from collections.abc import Container, Iterator

from actors._handlers import info_of

__all__ = ["override_problems"]

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
