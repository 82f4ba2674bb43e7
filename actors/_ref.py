"""
The address of an actor: what the rest of a program holds instead of the actor.

Owns the typed signatures of ``tell``, ``ask`` and ``stream``. Knows nothing of pipes or processes: whatever it does, it
has the :class:`~actors._seams.Node` of this process do. A ref is a value: equal refs reach the same actor, over all its
incarnations.
"""

from __future__ import annotations

import difflib
import enum
import math
from collections.abc import Callable, Coroutine, Iterator
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Final,
    Generic,
    Literal,
    NoReturn,
    ParamSpec,
    TypeVar,
    cast,
    get_args,
    overload,
)

import attrs

from actors._handlers import MARK, HandlerInfo, check_arguments, info_of
from actors._seams import ActorStatistics, Node, OnFull, Stream, find_node, nodes
from actors.errors import ArgumentsError, HandlerNotFoundError, ProtocolError, SpecError
from actors.mailbox._codec import register_type

if TYPE_CHECKING:
    from actors._actor import Actor
    from actors._reply import Reply

__all__ = ["ActorRef", "Down", "handler_name"]

A_co = TypeVar("A_co", bound="Actor", covariant=True)
P = ParamSpec("P")
R = TypeVar("R")

_ON_FULL: Final = get_args(OnFull)
_REF_CODE: Final = 64  # of the codec's type codes; part of the wire format


class _Keep(enum.Enum):
    """Stands for an option that was not given, where None means something."""

    KEEP = enum.auto()


KEEP: Final = _Keep.KEEP


@attrs.frozen
class ActorRef(Generic[A_co]):
    """
    The address of one actor.

    Frozen, hashable, and a value of messages: an actor that gets one can send to it. It stays valid over restarts. A name that is
    spawned anew has another *uid*: the old ref then raises :class:`~actors.ActorNotRunningError`. Options do not travel and are no
    part of equality.

    A message is a handler of the actor's class and its arguments, as in ``executor.submit``::

        counter.tell(Counter.add, 5)
        total = counter.ask(Counter.add, 1).result(timeout=1)

    Attributes:
        system: Name of the system the actor belongs to.
        uid: Number of its spec in that system; at least 1, never used again.
        path: Where it stands in the tree, such as ``"/app/readers/reader-1"``.
        timeout: Deadline of an ask in seconds from its sending, or None for none of its own.
        on_full: What a send does when the inbox is full; None for what the actor's spec says.
        send_timeout: Seconds that a blocked send waits; None for what the actor's spec says.
    """

    system: str
    uid: int
    path: str = attrs.field(eq=False)
    timeout: float | None = attrs.field(default=None, eq=False)
    on_full: OnFull | None = attrs.field(default=None, eq=False)
    send_timeout: float | None = attrs.field(default=None, eq=False)

    def __repr__(self) -> str:
        return f"<ActorRef {self.path} uid={self.uid}>"

    if not TYPE_CHECKING:  # type checkers know which attributes there are

        def __getattr__(self, name: str) -> NoReturn:
            if name.startswith("_") or name == "path":  # of protocols such as copying, maybe before there is a path
                raise AttributeError(name)
            raise AttributeError(
                f"a ref has no {name!r}: {self.path} lives in another process; "
                f"send it a message, with the handler as its class has it: ref.ask(Class.{name}, ...) or ref.tell(Class.{name}, ...)",
                name=name,
                obj=self,
            )

    @overload
    def tell(self, handler: Callable[Concatenate[A_co, P], object], /, *args: P.args, **kwargs: P.kwargs) -> None: ...
    @overload
    def tell(self, handler: str, /, *args: Any, **kwargs: Any) -> None: ...
    def tell(self, handler: Callable[..., object] | str, /, *args: Any, **kwargs: Any) -> None:
        """
        Send a message that nobody answers. If its handler raises, the actor crashes, and its supervisor decides.

        May be called from any thread, and from ``__del__`` and signal handlers.

        Args:
            handler: A method marked ``@handler`` of the actor's class or of a base of it, or its name. Only the name travels: type checkers
                refuse a handler of another class, and at run time the actor's own one of that name is called.
            *args: Its arguments, as values that can travel.
            **kwargs: The same, by name.

        Raises:
            ActorNotRunningError: The actor is gone or stopping, as far as is known here.
            MailboxFullError: Its inbox stayed full.
            HandlerNotFoundError: It has no such handler.
            ArgumentsError: The arguments do not fit the handler.
            EncodeError: An argument cannot travel; says which.
            SpecError: The ref belongs to another system.
        """
        node = nodes.get(self.system) or find_node(self.system, self.path)
        # What nearly every tell is, written out: a call costs a tenth of it.
        info = getattr(handler, MARK, None)
        if type(info) is HandlerInfo and not kwargs and info.low <= len(args) <= info.high:
            node.tell(self, info.name, args, kwargs, info)
        elif isinstance(handler, str):
            node.tell(self, handler, args, kwargs)
        else:
            info = _checked(handler, args, kwargs, self.path)
            node.tell(self, info.name, args, kwargs, info)

    @overload
    def ask(
        self, handler: Callable[Concatenate[A_co, P], Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Reply[R]: ...
    @overload
    def ask(self, handler: Callable[Concatenate[A_co, P], R], /, *args: P.args, **kwargs: P.kwargs) -> Reply[R]: ...
    @overload
    def ask(self, handler: str, /, *args: Any, **kwargs: Any) -> Reply[Any]: ...
    def ask(self, handler: Callable[..., object] | str, /, *args: Any, **kwargs: Any) -> Reply[Any]:
        """
        Send a message and get its reply to come. If its handler raises, the reply does, and the actor lives.

        Behind the scenes: the message is encoded, the ask noted, the message written to the actor's inbox; the actor
        handles it in its turn and writes the answer; whoever waits in ``result()`` reads it, or the system's own
        thread. An ask ends once: answered, failed, timed out or cancelled. Without a timeout it waits for as long as the actor
        neither answers nor dies, also where two actors ask each other.

        Args:
            handler: A method marked ``@handler`` of the actor's class or of a base of it, or its name. Only the name travels: type checkers
                refuse a handler of another class, and at run time the actor's own one of that name is called.
            *args: Its arguments, as values that can travel.
            **kwargs: The same, by name.

        Returns:
            A :class:`~actors.Reply`: a ``concurrent.futures.Future`` that can also be awaited.

        Raises:
            DeadlockError: An actor asks itself.
            ActorNotRunningError, MailboxFullError, HandlerNotFoundError, ArgumentsError, EncodeError, SpecError: As for
                ``tell``.
        """
        if isinstance(handler, str):
            name = handler
        else:
            info = _checked(handler, args, kwargs, self.path)
            if info.kind == "generator":
                raise ArgumentsError(f"{info} is a generator: its items come by ref.stream(...)", target=self.path)
            name = info.name
        return (nodes.get(self.system) or find_node(self.system, self.path)).ask(self, name, args, kwargs)

    @overload
    def stream(
        self, handler: Callable[Concatenate[A_co, P], Iterator[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Stream[R]: ...
    @overload
    def stream(self, handler: str, /, *args: Any, **kwargs: Any) -> Stream[Any]: ...
    def stream(self, handler: Callable[..., object] | str, /, *args: Any, **kwargs: Any) -> Stream[Any]:
        """
        Send a message to a generator handler and get its items as they come. The actor is busy with it until it ends.

        Args:
            handler: A generator method marked ``@handler``, or its name.
            *args: Its arguments, as values that can travel.
            **kwargs: The same, by name.

        Raises:
            ArgumentsError: The handler is no generator, or the arguments do not fit it.
            ActorNotRunningError, MailboxFullError, HandlerNotFoundError, EncodeError, SpecError: As for ``tell``.
        """
        if isinstance(handler, str):
            name = handler
        else:
            info = _checked(handler, args, kwargs, self.path)
            if info.kind != "generator":
                raise ArgumentsError(f"{info} is no generator: its one answer comes by ref.ask(...)", target=self.path)
            name = info.name
        return self._node().stream(self, name, args, kwargs)

    def options(
        self,
        *,
        timeout: float | Literal[_Keep.KEEP] | None = KEEP,
        on_full: OnFull | Literal[_Keep.KEEP] | None = KEEP,
        send_timeout: float | Literal[_Keep.KEEP] | None = KEEP,
    ) -> ActorRef[A_co]:
        """
        The same address (equal, same hash) with other defaults for what is sent through it.

        Args:
            timeout: Deadline of an ask, in seconds from its sending; None for none. It travels: nested asks get the
                smaller one, an expired message is not started, and the ask ends with :class:`~actors.AskTimeoutError`.
            on_full: ``"block"`` waits *send_timeout*, ``"reject"`` raises at once, ``"drop_newest"`` makes it a dead
                letter; None for what the actor's spec says.
            send_timeout: Seconds that a blocked send waits; ``math.inf`` for ever; None for what the actor's spec says.

        Raises:
            SpecError: A time below 0 or not a number, or an unknown word.
        """
        given = {"timeout": timeout, "on_full": on_full, "send_timeout": send_timeout}
        changes = {name: value for name, value in given.items() if value is not KEEP}
        problems = [problem for name, value in changes.items() if (problem := _option_problem(name, value)) is not None]
        if problems:
            raise SpecError(*problems)
        return attrs.evolve(self, **cast("dict[str, Any]", changes))

    def flush(self) -> None:
        """
        Return when everything this process told the actor stands in its inbox.

        Raises:
            MailboxFullError: The inbox stayed full.
        """
        self._node().flush(self)

    def stop(self, drain: bool = False) -> None:
        """
        Stop the actor for good, after the message being handled.

        Args:
            drain: First handle what is queued, within the actor's ``shutdown``. Else what is queued becomes dead
                letters.
        """
        self._node().stop(self, drain)

    def is_alive(self) -> bool:
        """
        Whether it runs or will again, as far as is known here: also while it starts, restarts, or waits for its backoff.

        False where it is gone for good, and while it is parked, also where ``Park(retry_after)`` or a hand may bring it back: until then
        nothing that is sent to it is accepted. A ref of a parked actor stays valid, and is alive again when the actor is started.
        """
        return self._node().is_alive(self)

    @property
    def incarnation(self) -> int:
        """The number of its last start: 1, 2, 3…; 0 before the first."""
        return self._node().incarnation(self)

    def statistics(self) -> ActorStatistics:
        """What is known of it without asking it: it may hang, or be between two incarnations."""
        return self._node().statistics(self)

    def _node(self) -> Node:
        return find_node(self.system, self.path)


@attrs.frozen
class Down:
    """
    What a watch delivers, once: the watched incarnation has ended. Also what comes by a link, where exits are trapped.

    Attributes:
        ref: The actor that has ended.
        incarnation: Which incarnation ended, or ended last; 0 where there was none, or it is gone for too long.
        reason: The :class:`~actors.ExitReason`.
    """

    ref: ActorRef[Any]
    incarnation: int
    reason: Any


def handler_name(handler: object) -> str:
    """
    The name by which messages call *handler*.

    Args:
        handler: A method marked ``@handler``, or a name.

    Raises:
        HandlerNotFoundError: A function that is not marked.
        SpecError: Something else.
    """
    return handler if isinstance(handler, str) else _info(handler, "").name


def _checked(handler: object, args: tuple[Any, ...], kwargs: dict[str, Any], path: str) -> HandlerInfo:
    info = _info(handler, path)
    if kwargs or not info.low <= len(args) <= info.high:
        check_arguments(info, args, kwargs, path)
    return info


def _info(handler: object, path: str) -> HandlerInfo:
    info = info_of(handler)
    if info is not None:
        return info
    if callable(handler):
        name = getattr(handler, "__qualname__", repr(handler))
        raise HandlerNotFoundError(
            f"{name} is no handler: mark the method with @handler, and name it by its class, as in Counter.add",
            target=path,
        )
    raise SpecError(
        f"a message is a method marked @handler, or its name, and its arguments; got {handler!r:.200} first. "
        "Pass the handler itself, and not a call of it: ref.ask(Counter.add, 5)"
    )


def _option_problem(name: str, value: object) -> str | None:
    if value is None:
        return None
    if name == "on_full":
        return None if value in _ON_FULL else _word_problem(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value) or value < 0:
        return f"{name}={value!r}: must be None or seconds, at least 0"
    return None


def _word_problem(value: object) -> str:
    text = f"on_full={value!r}: must be one of {', '.join(map(repr, _ON_FULL))}"
    if value == "drop_oldest":
        return f"{text}; 'drop_oldest' is the receiver's to choose, in child(...) or spawn(...)"
    close = difflib.get_close_matches(str(value), _ON_FULL, n=1)
    return f"{text}; did you mean {close[0]!r}?" if close else text


def _to_plain(ref: ActorRef[Any]) -> object:
    return (ref.system, ref.uid, ref.path)


def _from_plain(data: object) -> ActorRef[Any]:
    match data:
        case (str(system), int(uid), str(path)) if uid >= 1:
            return ActorRef(system, uid, path)
    raise ProtocolError(f"no ActorRef: {data!r:.80}")


register_type(ActorRef, _REF_CODE, _to_plain, _from_plain)
