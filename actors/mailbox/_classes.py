"""
Classes and functions by name, for values that say what they are an instance of.

Owns the form of a reference, ``"module:qualified.name"``. Must not know what is done with the thing that is found: whoever asks
checks that it is what it claims to be.

Bytes from another process may name anything. :func:`find` therefore looks only into modules that this process has imported, and
only into their dictionaries: no import, no module ``__getattr__``, no descriptor runs.
"""

from __future__ import annotations

import importlib
import operator
import sys
from typing import Any

from actors.errors import ProtocolError

__all__ = ["UnknownTypeError", "find", "load", "reference_to"]


class UnknownTypeError(ProtocolError):
    """
    The bytes are well formed, but name a class that this process has not imported, or that is not what they claim.

    Only the message that names it fails; the messages around it can be read.
    """


def reference_to(thing: Any) -> str:
    """
    The reference under which another process finds *thing*.

    Args:
        thing: A class or function.

    Raises:
        LookupError: It is not what stands under its own module and qualified name: local, anonymous, replaced. Says the name.
    """
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
    reference = f"{module}:{name}"
    if not isinstance(module, str) or not isinstance(name, str) or "<" in name:
        raise LookupError(
            f"it has no name at the top of a module, but {reference!r}; define it there, with def or class"
        )
    try:
        found = find(reference)
    except UnknownTypeError as error:
        raise LookupError(str(error)) from None
    if getattr(found, "__func__", found) is not thing:
        raise LookupError(f"the name {reference!r} belongs to something else")
    return reference


def find(reference: object) -> object:
    """
    What stands under *reference*, in the modules imported so far.

    Raises:
        ProtocolError: Not a reference at all.
        UnknownTypeError: No such module is imported here, or it has no such name. Says which.
    """
    module_name, _, path = _check(reference).partition(":")
    module = sys.modules.get(module_name)
    if module is None:
        raise UnknownTypeError(f"{reference!r} is unknown here: this process has not imported {module_name!r}")
    found: Any = module
    for name in path.split("."):
        try:
            found = vars(found)[name]
        except (KeyError, TypeError):
            raise UnknownTypeError(f"{reference!r} is unknown here: {module_name!r} has no {path!r}") from None
    return found


def load(reference: object) -> object:
    """
    What stands under *reference*, importing its module if need be. For specs of our own host only, never for messages.

    Raises:
        ProtocolError: Not a reference at all.
        UnknownTypeError: The module cannot be imported, or has no such name. Says why.
    """
    module_name, _, path = _check(reference).partition(":")
    try:
        return operator.attrgetter(path)(importlib.import_module(module_name))
    except (ImportError, AttributeError, ValueError) as error:
        raise UnknownTypeError(f"{reference!r} cannot be loaded here: {type(error).__name__}: {error}") from error


def _check(reference: object) -> str:
    if type(reference) is not str or ":" not in reference:
        raise ProtocolError(f"expected a reference like 'module:name', got {repr(reference)[:80]}")
    return reference
