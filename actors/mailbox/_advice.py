"""
What to do instead, for a value that cannot travel: the second half of an ``EncodeError``. Pure, and looks at the type alone.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator

__all__ = ["advice"]

_METHODS = (types.MethodType, types.MethodWrapperType)
_CODE = (types.FunctionType, types.BuiltinFunctionType, functools.partial, functools.partialmethod, *_METHODS)

_UNKNOWN = "the codec does not know this type; send plain values, or mark an attrs class or dataclass with @message"
_IN_A_MESSAGE = (
    "a message carries data and no code; send what the code is to work on, and have a handler do it, or a function at the top "
    "level of a module, which tasks.run() takes"
)
_METHOD = "it would take its object along; give a function at the top level of a module"
_PARTIAL = "it has no name to be found by; keep the function, which goes by its name, and its arguments apart"
_CLASS = "a message carries data and no classes; send its name, or a member of an Enum, and look the class up there"
_LAZY = "its items are not there yet; send a list of them, or stream them from a generator handler"
_ERROR = "send its text; what a handler raises reaches whoever asked as a HandlerError"
_ACTOR = "an actor is reached by its ref: send that, which is self.ref inside the actor, and what spawn(...) returned outside"


def advice(value: object, *, references: bool) -> str:
    """
    Why *value* does not travel, and what does.

    Args:
        value: Of no type that the codec knows.
        references: Whether it stands in a spec, where classes and functions go by their names.
    """
    if isinstance(value, _METHODS) and references:
        return _METHOD
    if isinstance(value, functools.partial) and references:
        return _PARTIAL
    if isinstance(value, _CODE):
        return _IN_A_MESSAGE
    if isinstance(value, type):
        return _CLASS
    if isinstance(value, BaseException):
        return _ERROR
    if isinstance(value, Iterator) and not hasattr(value, "read"):  # an open file gives lines, and is no list
        return _LAZY
    return _ACTOR if _is_actor(type(value)) else _UNKNOWN


def _is_actor(cls: type) -> bool:
    """By its name: what is encoded knows no actors."""
    return any((base.__module__, base.__qualname__) == ("actors._actor", "Actor") for base in cls.__mro__)
