"""
What can be reached in an actor: handler name -> function, and whether arguments fit it. Pure.

Owns the ``@handler`` mark and the table that is built once, when a class is made. Knows no process, no ref and no
message. The mark is the :class:`HandlerInfo` itself, an attribute of the function, so that ``Counter.add`` carries
everything a sender needs.

A name is reachable when any class of the MRO marks it: an override of a handler is a handler, marked again or not, so
that a reference to a method of an abstract base reaches whatever implements it. ``name = None`` in a subclass takes one
away.
"""

from __future__ import annotations

import difflib
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Literal, TypeAlias, TypeVar

import attrs

from actors.errors import ArgumentsError, HandlerNotFoundError, SpecError

__all__ = ["MARK", "HandlerInfo", "HandlerKind", "HandlerTable", "build_table", "check_arguments", "handler", "info_of"]

HandlerKind: TypeAlias = Literal["sync", "async", "generator"]
"""How a handler answers: by returning, by a coroutine, or by a stream of items."""

F = TypeVar("F", bound=Callable[..., Any])

MARK: Final = "__actors_handler__"
"""The attribute of a function that carries its :class:`HandlerInfo`."""

_KINDS = inspect.Parameter
_UNLIMITED = sys.maxsize


@attrs.frozen(eq=False)
class HandlerInfo:
    """
    One handler, as its sender and its actor need it.

    Attributes:
        name: What messages call it.
        kind: How it answers.
        function: The function itself, to be called with the actor first.
        signature: Its signature, without ``self``.
        low: Fewest positional arguments that always fit; above *high* where only a keyword can make the arguments fit.
        high: Most positional arguments.
    """

    name: str
    kind: HandlerKind
    function: Callable[..., Any]
    signature: inspect.Signature
    low: int
    high: int

    @property
    def is_abstract(self) -> bool:
        """Whether it only declares what a subclass does."""
        return bool(getattr(self.function, "__isabstractmethod__", False))

    def __str__(self) -> str:
        return f"{self.function.__qualname__}{self.signature}"


def handler(function: F) -> F:
    """
    Mark a method as one that messages can reach. Its type stays what it was.

    Works on plain methods, ``async def`` methods and generator methods (whose caller uses ``ref.stream``), above or
    below ``@abstractmethod``. Another decorator between the two must use ``functools.wraps``.

    Args:
        function: The method, in the body of an actor's class or of a mix-in.

    Raises:
        SpecError: It is no method of the kinds above, or takes no ``self``.
    """
    _mark(function, getattr(function, "__name__", "?"))
    return function


def info_of(function: object) -> HandlerInfo | None:
    """What ``@handler`` noted on *function*, a method of a class or bound to an actor; None where it is not marked."""
    info = getattr(function, MARK, None)
    return info if isinstance(info, HandlerInfo) else None


def check_arguments(info: HandlerInfo, args: tuple[Any, ...], kwargs: Mapping[str, Any], target: str = "") -> None:
    """
    Return if the arguments fit the handler.

    Args:
        info: The handler.
        args: Positional arguments, without the actor.
        kwargs: Keyword arguments.
        target: Path of the actor, for the error.

    Raises:
        ArgumentsError: They do not fit. Shows the signature.
    """
    if not kwargs and info.low <= len(args) <= info.high:
        return
    try:
        info.signature.bind(*args, **kwargs)
    except TypeError as error:
        hint = (
            "; a deadline is given with ref.options(timeout=...)" if "keyword argument 'timeout'" in str(error) else ""
        )
        raise ArgumentsError(f"{info} does not take these arguments: {error}{hint}", target=target) from None


class HandlerTable(Mapping[str, HandlerInfo]):
    """
    The handlers of one class, by name.

    Args:
        owner: Name of the class, for errors.
        infos: Its handlers.

    Attributes:
        infos: The same by name, for where a call for each message is too much.
    """

    __slots__ = ("infos", "owner")

    def __init__(self, owner: str, infos: Iterable[HandlerInfo] = ()) -> None:
        self.owner = owner
        self.infos = {info.name: info for info in infos}

    def __getitem__(self, name: str) -> HandlerInfo:
        return self.infos[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.infos)

    def __len__(self) -> int:
        return len(self.infos)

    def __repr__(self) -> str:
        return f"<handlers of {self.owner}: {', '.join(self.infos) or 'none'}>"

    def find(self, name: str, target: str = "") -> HandlerInfo:
        """
        The handler called *name*.

        Args:
            name: What the message calls.
            target: Path of the actor, for the error.

        Raises:
            HandlerNotFoundError: There is none. Names the closest ones.
        """
        info = self.infos.get(name)
        if info is None:
            raise HandlerNotFoundError(self._missing(name, target), target=target)
        return info

    def check(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], target: str = "") -> HandlerInfo:
        """
        The handler called *name*, if the arguments fit it.

        Raises:
            HandlerNotFoundError: There is none.
            ArgumentsError: They do not fit.
        """
        info = self.infos.get(name) or self.find(name, target)
        if kwargs or not info.low <= len(args) <= info.high:
            check_arguments(info, args, kwargs, target)
        return info

    def _missing(self, name: str, target: str) -> str:
        who = f"{target} ({self.owner})" if target else self.owner
        close = difflib.get_close_matches(name, self.infos, n=3, cutoff=0.5)
        if close:
            hint = f"did you mean {' or '.join(map(repr, close))}?"
        elif self.infos:
            hint = f"it has {', '.join(map(repr, self.infos))}"
        else:
            hint = "it has none; mark its methods with @handler"
        return f"{who} has no handler {name!r}; {hint}"


def build_table(cls: type, reserved: Iterable[str]) -> HandlerTable:
    """
    The handlers of *cls*, its bases' and mix-ins' included.

    Args:
        cls: A class that was just made. Its overrides of handlers get the mark, too.
        reserved: Names that no handler may have.

    Raises:
        SpecError: All that is wrong with its handlers, one sentence each.
    """
    declared: dict[str, HandlerInfo] = {}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            info = _marked(value)
            if info is not None:
                declared.setdefault(name, info)
    reserved = frozenset(reserved)
    infos: list[HandlerInfo] = []
    problems: list[str] = []
    for name, info in declared.items():
        try:
            infos.extend(_resolve(cls, name, info, reserved))
        except SpecError as error:
            problems.extend(error.problems)
    if problems:
        raise SpecError(*problems)
    return HandlerTable(cls.__qualname__, infos)


def _marked(value: object) -> HandlerInfo | None:
    """The mark of a class attribute, also where a property or a static method hides the function that has it."""
    inner = getattr(value, "fget", None) or getattr(value, "__func__", None)
    return info_of(value) or info_of(inner)


def _resolve(cls: type, name: str, declared: HandlerInfo, reserved: frozenset[str]) -> list[HandlerInfo]:
    """The one handler that *name* is in *cls*, or none where a subclass took it away."""
    where = f"{cls.__qualname__}.{name}"
    if name in reserved:
        raise SpecError(
            f"handler {where}: the name {name!r} is taken by Actor, by multiprocessing.Process or by an option"
        )
    value = inspect.getattr_static(cls, name)
    if value is None:
        return []
    if not inspect.isfunction(value):
        raise SpecError(f"handler {where} is a {type(value).__name__}; only plain methods can be handlers")
    info = info_of(value)
    if info is None:
        info = _mark(value, name)
    elif info.name != name and inspect.getattr_static(cls, info.name, None) is value:
        info = attrs.evolve(info, name=name)  # an alias: both names reach it
    elif info.name != name:
        raise SpecError(
            f"handler {where} is a function called {info.name!r}; write it with def, and a decorator around it with "
            "functools.wraps"
        )
    if (info.kind == "generator") != (declared.kind == "generator"):
        raise SpecError(
            f"handler {where} is {info.kind}, and overrides one that is {declared.kind}: callers could use neither"
        )
    return [info]


def _mark(function: object, name: str) -> HandlerInfo:
    inner = getattr(function, "__func__", function)
    if not inspect.isfunction(function):
        kind = type(function).__name__
        raise SpecError(
            f"@handler on {getattr(inner, '__qualname__', inner)!r}: a {kind} is no method that messages can reach"
        )
    info = _inspect(function, name)
    setattr(function, MARK, info)
    return info


def _inspect(function: Callable[..., Any], name: str) -> HandlerInfo:
    if inspect.isasyncgenfunction(function):
        raise SpecError(
            f"handler {function.__qualname__} is an async generator; use a plain generator, or return the items"
        )
    kind: HandlerKind = "sync"
    if inspect.iscoroutinefunction(function):
        kind = "async"
    elif inspect.isgeneratorfunction(function):
        kind = "generator"
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())
    if not parameters or parameters[0].kind not in (_KINDS.POSITIONAL_ONLY, _KINDS.POSITIONAL_OR_KEYWORD):
        raise SpecError(f"handler {function.__qualname__}{signature} takes no self")
    low, high = _positionals(parameters[1:])
    return HandlerInfo(name, kind, function, signature.replace(parameters=parameters[1:]), low, high)


def _positionals(parameters: list[inspect.Parameter]) -> tuple[int, int]:
    """The numbers of positional arguments that fit without a look at the names; an empty range where there are none."""
    low = high = 0
    for parameter in parameters:
        if parameter.kind in (_KINDS.POSITIONAL_ONLY, _KINDS.POSITIONAL_OR_KEYWORD):
            high += 1
            low += parameter.default is _KINDS.empty
        elif parameter.kind is _KINDS.VAR_POSITIONAL:
            high = _UNLIMITED
        elif parameter.kind is _KINDS.KEYWORD_ONLY and parameter.default is _KINDS.empty:
            return _UNLIMITED, 0
    return low, high
