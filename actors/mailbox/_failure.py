"""
Exceptions as data: what crosses when a handler raises, and the exception that is raised from it on the other side.

Owns the form of that data. Must not pickle, nor import or construct anything that the data names, except the builtin exceptions.

The data is a plain map: ``type`` (dotted name; bare for builtins), ``text``, ``traceback``, ``notes``, and where there are any
``errno``, ``cause`` (a map of the same form without traceback) and ``members`` (of an exception group: a list of such maps).
"""

from __future__ import annotations

import builtins
import traceback
from collections.abc import Callable
from typing import Any, TypeVar

from actors.errors import HandlerError, RemoteTraceback

__all__ = ["Failure", "describe", "rebuild"]

_T = TypeVar("_T")

Failure = dict[str, Any]
"""An exception as data."""

MAX_TRACEBACK_CHARACTERS = 64 * 1024  # some 600 frames; a failure stays far below the size of a large message
MAX_TEXT_CHARACTERS = 16 * 1024
MAX_NOTES = 16
MAX_CAUSES = 8
MAX_MEMBERS = 16
MAX_GROUP_DEPTH = 4

_NO_TRACEBACK = "(no traceback came with it)\n"

# These cannot be built from a text alone, or mean something to the interpreter itself when they are raised.
_NOT_REBUILT = (UnicodeError, BaseExceptionGroup, StopIteration, StopAsyncIteration)


def describe(error: BaseException) -> Failure:
    """
    *error* as data.

    Args:
        error: Any exception, also one whose ``__str__`` raises.

    Returns:
        A plain map, bounded: 64 Ki characters of traceback, 16 Ki of text, 8 causes, 16 members of a group, 4 groups deep.
        A :class:`~actors.errors.HandlerError` from a nested ask is described as what it stands for.
    """
    data = _describe(error, MAX_GROUP_DEPTH)
    data["traceback"] = _shorten(
        _guarded(lambda: "".join(traceback.format_exception(error)), ""), MAX_TRACEBACK_CHARACTERS
    )
    chain, inner = data, _cause_of(error)
    for _ in range(MAX_CAUSES):
        if inner is None:
            break
        chain["cause"] = _describe(inner, MAX_GROUP_DEPTH)
        chain, inner = chain["cause"], _cause_of(inner)
    return data


def shorten(data: Failure, limit: int) -> Failure:
    """
    A failure in fewer bytes: its type, and both ends of its text and its traceback. Causes and members are left out.

    Args:
        data: What :func:`describe` gave.
        limit: Bytes that the result takes at most, encoded; at least 1024.
    """
    parts = {"type": limit // 8, "text": limit // 4, "traceback": limit // 2}
    return {key: _fit(_text(data, key, "", MAX_TRACEBACK_CHARACTERS), size) for key, size in parts.items()}


def _fit(text: str, limit: int) -> str:
    size, fitting = limit, text
    while len(fitting.encode("utf-8", "surrogatepass")) > limit:
        fitting = _shorten(text, size)
        size = size * 3 // 4
    return fitting


def rebuild(data: object, *, target: str) -> HandlerError:
    """
    The exception to raise for *data*.

    Args:
        data: What :func:`describe` gave in another process. Anything else gives an error that says what can be said.
        target: Path of the actor whose handler raised.

    Returns:
        A :class:`~actors.errors.HandlerError`; if the original class is a builtin exception, also an instance of that class
        (Unicode errors, exception groups and StopIteration apart). Its ``__cause__`` is the remote traceback. It survives pickle
        and copy.
    """
    fields = data if type(data) is dict else {}
    error_type = _text(fields, "type", "an exception of unknown type", 1024)
    error_text = _text(fields, "text", "", MAX_TEXT_CHARACTERS)
    trace = _text(fields, "traceback", "", 2 * MAX_TRACEBACK_CHARACTERS)
    raised = f"{error_type}: {error_text}" if error_text else error_type
    error = _class_for(error_type)(
        f"{target} raised {raised}" if target else raised,
        target=target,
        error_type=error_type,
        error_text=error_text,
        traceback=trace,
    )
    for note in _texts(fields.get("notes")):
        error.add_note(note)
    if isinstance(error, OSError) and type(fields.get("errno")) is int:
        error.errno = fields["errno"]
    error.__cause__ = RemoteTraceback(trace or _NO_TRACEBACK)
    return error


def _describe(error: BaseException, depth: int) -> Failure:
    data: Failure = {"type": _type_name(error), "text": _shorten(_text_of(error), MAX_TEXT_CHARACTERS)}
    data["notes"] = _guarded(lambda: _texts(list(error.__notes__)), list[str]())
    if isinstance(error, OSError) and type(error.errno) is int:
        data["errno"] = error.errno
    if isinstance(error, BaseExceptionGroup) and depth > 0:
        data["members"] = [_describe(member, depth - 1) for member in error.exceptions[:MAX_MEMBERS]]
    return data


def _type_name(error: BaseException) -> str:
    if isinstance(error, HandlerError) and error.error_type:
        return error.error_type
    cls = type(error)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def _text_of(error: BaseException) -> str:
    if isinstance(error, HandlerError) and error.error_type:
        return error.error_text
    return _guarded(lambda: str(error), "<str() of the exception failed>")


def _cause_of(error: BaseException) -> BaseException | None:
    cause = error.__cause__
    if cause is None and not error.__suppress_context__:
        cause = error.__context__
    return None if isinstance(cause, RemoteTraceback) else cause


def _guarded(compute: Callable[[], _T], otherwise: _T) -> _T:
    try:
        return compute()
    except BaseException:  # noqa: BLE001 - the user's __str__ and __notes__ run here, and a failure must be told, not lost
        return otherwise


def _shorten(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"


def _text(fields: dict[Any, Any], key: str, otherwise: str, limit: int) -> str:
    value = fields.get(key)
    return value[:limit] if type(value) is str else otherwise


def _texts(value: object) -> list[str]:
    if not isinstance(value, list):
        return []
    return [_shorten(note, MAX_TEXT_CHARACTERS // MAX_NOTES) for note in value[:MAX_NOTES] if type(note) is str]


# ------------------------------------------------------------------------------------------------------------ classes that are both

_classes: dict[str, type[HandlerError]] = {}


class _RebuiltError(HandlerError):
    """Base of the classes that are a HandlerError and a builtin exception."""

    def __str__(self) -> str:
        # Some builtins have a __str__ of their own, which would quote the text or look for other arguments.
        return str(self.args[0])

    def __reduce__(self) -> tuple[Any, ...]:
        # The class has no name that pickle could find: it is made again from the builtin's.
        return (_restore, (type(self).__name__, self.args), dict(vars(self)))


def _restore(name: str, args: tuple[str, ...]) -> HandlerError:
    return _class_for(name.removeprefix("Handler"))(*args)


def _class_for(name: str) -> type[HandlerError]:
    cls = _classes.get(name)
    if cls is None:
        builtin = getattr(builtins, name, None)
        if not isinstance(builtin, type) or not issubclass(builtin, Exception) or issubclass(builtin, _NOT_REBUILT):
            return HandlerError
        # By the builtin's own name, so that IOError and OSError are one class.
        name = builtin.__name__
        fresh = type(
            f"Handler{name}", (_RebuiltError, builtin), {"__doc__": f"A handler raised {name}.", "__module__": __name__}
        )
        cls = _classes.setdefault(name, fresh)
    return cls
