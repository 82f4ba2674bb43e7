"""
Calls as data: how a function, its arguments, its result or its exception cross between a pool and its workers.

The only place that pickles, and only for bytes between a pool and processes that it has started itself. Plain values (None, bool, int,
float, str) travel by the codec, as in every message. Everything else is pickled as the standard library does it, so that what arrives is
what would have arrived there: shared and circular references, ``__reduce__``, ``copyreg``, connections. Its large buffers are left
out of the pickle, lie beside the message in an arena, and are copied once where they arrive, so that arrays are writable there.
"""

from __future__ import annotations

import copyreg
import functools
import importlib
import io
import itertools
import pickle
import types
from collections import ChainMap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import context, reduction, resource_sharer  # pyright: ignore[reportAttributeAccessIssue]
from typing import Any, Final, cast

from actors._findable import not_found
from actors.errors import HandlerError, RemoteTraceback, SpecError
from actors.mailbox import _failure
from actors.mailbox._cargo import LARGE_BUFFER_BYTES
from actors.mailbox._values import LIGHT

__all__ = [
    "CALL",
    "FAILED",
    "MAP",
    "PICKLED",
    "PLAIN",
    "STARMAP",
    "UNSENDABLE",
    "Function",
    "Unsendable",
    "called",
    "code_call",
    "code_chunk",
    "code_error",
    "code_function",
    "code_value",
    "perform",
    "read_error",
    "read_function",
    "read_value",
    "shown",
    "spawning",
]

CALL: Final = 0
MAP: Final = 1
STARMAP: Final = 2
"""What a worker does: call once, call for each item, call with the parts of each item."""

PLAIN: Final = 0
PICKLED: Final = 1
FAILED: Final = 2
UNSENDABLE: Final = 3
"""How an outcome is coded: a value of the codec, a pickle and its buffers, an exception, a result that cannot travel."""

_BY_REFERENCE: Final = (types.FunctionType, type)
_PROTOCOL: Final = 5

Coded = list[Any]
"""A code, and what belongs to it."""

Function = tuple[bytes, bool]
"""A pickled function, and whether it is a mere name, so that who has looked it up once need not do it again."""


class Unsendable(Exception):  # noqa: N818 - internal: each kind of pool makes the exception of its own of it
    """The result of a call cannot travel. Its arguments: the exception that says so, and the ``repr`` of the value."""


_COPYREG: Any = copyreg.dispatch_table


class _Pickler(pickle.Pickler):
    # The reducers of multiprocessing (methods, connections, sockets, ...), looked at when they are used.
    dispatch_table: Any = ChainMap(cast("Any", reduction.ForkingPickler)._extra_reducers, _COPYREG)  # noqa: RUF012 - a view


def _pickle(value: object) -> Coded:
    """
    *value* as a pickle and the buffers that were left out of it.

    Raises:
        Exception: Whatever pickling raises.
    """
    buffers: list[memoryview] = []

    def leave_out(buffer: pickle.PickleBuffer) -> bool:
        try:
            raw = buffer.raw()
        except BufferError:  # not contiguous
            return True
        if raw.nbytes < LARGE_BUFFER_BYTES:
            return True
        buffers.append(raw)
        return False

    stream = io.BytesIO()
    _Pickler(stream, _PROTOCOL, buffer_callback=leave_out).dump(value)
    data = stream.getvalue()
    # A long pickle is a large buffer as any other.
    return [PICKLED, data, *buffers] if len(data) < LARGE_BUFFER_BYTES else [PICKLED, None, memoryview(data), *buffers]


def code_value(value: object) -> Coded:
    """
    A result, or the arguments of one call.

    Raises:
        Exception: Whatever pickling raises.
    """
    return [PLAIN, value] if type(value) in LIGHT else _pickle(value)


def code_call(args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> Coded:
    """The arguments of one call; otherwise as :func:`code_value`."""
    if not kwargs and LIGHT.issuperset(map(type, args)):
        return [PLAIN, [*args]]
    return _pickle((args, kwargs or {}))


def code_chunk(items: Sequence[object]) -> Coded:
    """The items of one chunk, or its results; otherwise as :func:`code_value`. Of many plain values a pickle is the quickest."""
    return _pickle(items)


def read_value(coded: Coded) -> Any:
    """
    What :func:`code_value` or :func:`code_chunk` was given.

    Raises:
        Exception: Whatever unpickling raises.
    """
    code, data, *buffers = coded
    if code == PLAIN:
        return data
    if data is None:
        data, *buffers = buffers
    # Views of an arena, whose slot is free again when they are gone; or copies of them that nobody else has.
    own = (buffer if type(buffer) is bytearray else bytearray(buffer) for buffer in buffers)
    return pickle.loads(data, buffers=own)  # noqa: S301 - from a process of our own


# --- functions --------------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=256)
def _code_by_name(function: Any) -> Function:
    # As it is called: what a decorator has renamed or replaced is told by pickle.
    return pickle.dumps(function, _PROTOCOL), True


def called(function: Any) -> str:
    """What *function* is called in errors: ``"function crunch"``; of an object that can be called, its class counts."""
    return f"function {getattr(function, '__qualname__', type(function).__qualname__)}"


def code_function(function: Callable[..., Any], *, finds_main: bool) -> Function:
    """
    *function* by its name where it has one that can be imported, else pickled; by cloudpickle, where that is installed, if need be.

    Args:
        function: What is called.
        finds_main: Whether a worker has what the main module defines.

    Raises:
        Exception: Whatever pickling raises; with a note that says what to install where that would help.
    """
    try:
        if not finds_main and getattr(function, "__module__", None) == "__main__":
            raise SpecError(not_found(called(function), "__main__"))
        if isinstance(function, _BY_REFERENCE) or _is_builtin_function(function):
            return _code_by_name(function)
        return pickle.dumps(function, _PROTOCOL), False
    except Exception as error:
        # Anything that a user's __reduce__ may raise; it is raised again if nothing else helps.
        found = _code_by_value(function, error)
        if found is None:
            raise
        return found


def _is_builtin_function(function: Any) -> bool:
    """Whether it is one written in C, and no method of an object, whose state travels with it each time."""
    return isinstance(function, types.BuiltinFunctionType) and isinstance(
        function.__self__, types.NoneType | types.ModuleType | type
    )


def _code_by_value(function: Any, error: Exception) -> Function | None:
    try:
        cloudpickle = importlib.import_module("cloudpickle")
    except ImportError:
        error.add_note(
            "Functions that no module has by name (lambdas, closures, nested functions) travel where cloudpickle is installed: "
            "pip install cloudpickle (the extra 'closures'). Or define the function with def at the top level of a module."
        )
        return None
    return cloudpickle.dumps(function, _PROTOCOL), False


def read_function(function: Function, known: dict[bytes, Any]) -> Any:
    """
    The function itself.

    Args:
        function: What :func:`code_function` gave.
        known: Those that were looked up before.

    Raises:
        Exception: Whatever importing its module, or unpickling it, raises.
    """
    data, by_name = function
    found = known.get(data)
    if found is None:
        found = pickle.loads(data)  # noqa: S301 - from a process of our own
        if by_name:
            known[data] = found
    return found


def shown(function: Function) -> str:
    """Which one it is, for the message of an error: ``" of crunch"``, or nothing where it has no name."""
    data, by_name = function
    if by_name:
        with suppress(Exception):  # its module may be gone by now
            return f" of {pickle.loads(data).__qualname__}"  # noqa: S301 - from this very process
    return ""


def perform(function: Callable[..., Any], how: int, coded: Coded) -> Any:
    """
    Make one call, or those of one chunk.

    Raises:
        BaseException: Whatever the function, or unpickling its arguments, raises.
    """
    if how == CALL:
        if coded[0] == PLAIN:
            return function(*coded[1])
        args, kwargs = read_value(coded)
        coded.clear()  # nobody needs the pickle while the function runs
        return function(*args, **kwargs)
    items = read_value(coded)
    coded.clear()
    return list(map(function, items)) if how == MAP else list(itertools.starmap(function, items))


# --- exceptions -------------------------------------------------------------------------------------------------------------


def code_error(error: BaseException) -> Coded:
    """*error* with its traceback as text: pickled if that can be, and as data in any case."""
    described = _failure.describe(error)
    try:
        # Not by an assignment: its class may refuse attributes.
        BaseException.with_traceback(error, None)
        data = pickle.dumps(error, _PROTOCOL)
    except BaseException:  # noqa: BLE001 - a user's __reduce__ may raise anything; the data says what it was
        return [FAILED, None, described]
    return [FAILED, data, described]


def read_error(coded: Coded, target: str) -> BaseException:
    """
    The exception of :func:`code_error`, of its own type where it can be made again, else a ``HandlerError`` that says what it was.

    Args:
        coded: What came.
        target: Which worker it came from.
    """
    _code, data, described = coded
    if data is None:
        return _failure.rebuild(described, target=target)
    try:
        error = pickle.loads(data)  # noqa: S301 - from a process of our own
    except BaseException as why:  # noqa: BLE001 - a user's __init__ or __setstate__ runs here, and may raise anything
        lost = _failure.rebuild(described, target=target)
        lost.add_note(f"It could not be made again as the exception that it was: {type(why).__name__}: {why}")
        return lost
    if not isinstance(error, BaseException):
        return HandlerError(f"{target} raised what came back as {error!r:.200}", target=target)
    vars(BaseException)["__cause__"].__set__(error, RemoteTraceback(described["traceback"]))
    return error


# --- what travels by inheritance in the standard library ----------------------------------------------------------------------


class _Spawning:
    """Stands for a process that is being started, which is when locks, queues and shared values may be pickled."""

    @staticmethod
    def duplicate_for_child(descriptor: int) -> int:
        return descriptor

    DupFd = staticmethod(resource_sharer.DupFd)


@contextmanager
def spawning() -> Iterator[None]:
    """While arguments of an initializer are pickled: locks, queues and shared values of multiprocessing may be among them."""
    before = context.get_spawning_popen()
    context.set_spawning_popen(cast("Any", _Spawning()))
    try:
        yield
    finally:
        context.set_spawning_popen(before)
