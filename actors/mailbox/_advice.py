"""
What to do instead, for a value that cannot travel: the second half of an ``EncodeError``. Pure, and looks at the type alone.
"""

from __future__ import annotations

import functools
import io
import types
from collections.abc import Iterator
from typing import Final

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
_COROUTINE = "it has not run yet; await it, and send what it returns"
_ITS_PROCESS = (
    "it belongs to the process that made it; make it where it is used, in on_start, and send what it is made from"
)
_QUEUE = (
    "it has its ends in one process; a queue that travels is a channel: system.channel(), or self.channel() in an actor"
)
_PIPE = "send through a channel, which travels: system.channel(), or self.channel() in an actor"
_RESULT = "whoever asked has it; wait for it and send what came: reply.result()"
_HOST = "it stays in the process that made it; send the refs of actors, which spawn others by self.spawn() and find them by self.whereis()"
_ACTOR = "an actor is reached by its ref: send that, which is self.ref inside the actor, and what spawn(...) returned outside"

# By their names, of the class or one of its bases: what is encoded imports none of them. A module alone stands for all its classes.
_BY_NAME: Final[dict[str, str]] = {
    "actors._actor.Actor": _ACTOR,
    "actors._executor.ActorExecutor": _HOST,
    "actors._function_pool.Pool": _HOST,
    "actors._supervisor_ref.SupervisorRef": _HOST,
    "actors._system.ActorSystem": _HOST,
    "actors._tasks.Tasks": _HOST,
    "concurrent.futures._base.Future": _RESULT,
    "_asyncio.Future": _RESULT,
    "asyncio.futures.Future": _RESULT,
    **dict.fromkeys(("queue", "_queue", "multiprocessing.queues", "asyncio.queues"), _QUEUE),
    "multiprocessing.connection": _PIPE,
    **dict.fromkeys(("_thread", "threading", "asyncio.locks", "multiprocessing.synchronize"), _ITS_PROCESS),
    **dict.fromkeys(("multiprocessing.process", "subprocess", "sqlite3", "selectors", "select"), _ITS_PROCESS),
    **dict.fromkeys(("socket", "_socket", "ssl"), _ITS_PROCESS),
}


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
    if isinstance(value, types.CoroutineType):
        return _COROUTINE
    if isinstance(value, io.IOBase):
        return _UNKNOWN if isinstance(value, io.StringIO | io.BytesIO) else _ITS_PROCESS
    return _LAZY if isinstance(value, Iterator) else _of_type(type(value))


def _of_type(cls: type) -> str:
    for base in cls.__mro__:
        module = base.__module__
        found = _BY_NAME.get(f"{module}.{base.__qualname__}") or _BY_NAME.get(module)
        if found:
            return found
    return _UNKNOWN
