"""
The address of a pool: one ref for many equal actors. What it sends goes straight to one of them, chosen where it is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, Concatenate, Final, Generic, Literal, ParamSpec, TypeVar, cast, overload

import attrs

from actors._handlers import MARK, HandlerInfo
from actors._ref import KEEP, ActorRef, _checked, _Keep
from actors._seams import OnFull, Stream, find_node, nodes
from actors.errors import ActorNotRunningError, ArgumentsError, ProtocolError, SpecError
from actors.mailbox._codec import register_type
from actors.supervisor._pool_spec import size_problem

if TYPE_CHECKING:
    from actors._actor import Actor
    from actors._pool_router import Router
    from actors._reply import Reply

__all__ = ["PoolRef"]

A_co = TypeVar("A_co", bound="Actor", covariant=True)
P = ParamSpec("P")
R = TypeVar("R")

_POOL_CODE: Final = 66  # of the codec's type codes; part of the wire format


@attrs.frozen
class PoolRef(Generic[A_co]):
    """
    The address of a pool of equal actors. Got from :meth:`ActorSystem.spawn_pool` and :meth:`ActorSystem.find_pool`.

    Frozen, hashable, and a value of messages, as an :class:`~actors.ActorRef`, with the same verbs: each message goes to one worker, chosen
    by the pool's routing; ``broadcast`` and ``scatter`` reach all of them. It stays valid over restarts and resizes. The choice is made in
    the process that sends; nothing stands between it and the worker. ::

        ref = system.spawn_pool(pool(Parser(), 4, routing="key_hash", key="customer"))
        ref.tell(Parser.parse, "line", customer="c-17")
        ref.options(key="c-17").ask(Parser.summary).result(timeout=1)

    Attributes:
        system: Name of the system the pool belongs to.
        number: Of the pool in that system; at least 1, never used again.
        path: Where it stands in the tree, such as ``"/app/parsers"``.
        timeout: Deadline of an ask in seconds from its sending, or None for none of its own.
        on_full: What a send does when the inbox is full; None for what the workers' spec says.
        send_timeout: Seconds that a blocked send waits; None for what the workers' spec says.
        key: The key of what is sent through it; None: the pool's own rule.
    """

    system: str
    number: int
    path: str = attrs.field(eq=False)
    timeout: float | None = attrs.field(default=None, eq=False)
    on_full: OnFull | None = attrs.field(default=None, eq=False)
    send_timeout: float | None = attrs.field(default=None, eq=False)
    key: Any = attrs.field(default=None, eq=False)
    # The options of a send as one value; None where there are none. Looked at by each send.
    sending: tuple[Any, ...] | None = attrs.field(
        default=attrs.Factory(lambda self: _sending(self), takes_self=True),  # noqa: PLW0108 - it is defined below
        init=False,
        eq=False,
        repr=False,
    )

    def __repr__(self) -> str:
        return f"<PoolRef {self.path} number={self.number}>"

    @overload
    def tell(self, handler: Callable[Concatenate[A_co, P], object], /, *args: P.args, **kwargs: P.kwargs) -> None: ...
    @overload
    def tell(self, handler: str, /, *args: Any, **kwargs: Any) -> None: ...
    def tell(self, handler: Callable[..., object] | str, /, *args: Any, **kwargs: Any) -> None:
        """
        Send a message to one worker that nobody answers; see :meth:`ActorRef.tell`.

        Args:
            handler: A method marked ``@handler`` of the workers' class or of a base of it, or its name.
            *args: Its arguments, as values that can travel.
            **kwargs: The same, by name.

        Raises:
            ActorNotRunningError: The pool is gone or stopping, as far as is known here.
            MailboxFullError: The worker's inbox stayed full; or earlier messages of the same key wait at another worker.
            SpecError: The pool routes by key, and the message has none.
            HandlerNotFoundError, ArgumentsError, EncodeError: As for an :class:`~actors.ActorRef`.
        """
        node = nodes.get(self.system) or find_node(self.system, self.path)
        router = node.pools.known.get(self.number) or node.pools.find(self)
        info = getattr(handler, MARK, None)
        if type(info) is HandlerInfo and not kwargs and info.low <= len(args) <= info.high:
            router.tell(self, info.name, args, kwargs, info)
        elif isinstance(handler, str):
            router.tell(self, handler, args, kwargs, None)
        else:
            info = _checked(handler, args, kwargs, self.path)
            router.tell(self, info.name, args, kwargs, info)

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
        Send a message to one worker and get its reply to come; see :meth:`ActorRef.ask`.

        A worker that asks its own pool is passed over by itself, unless the key says that it is the one.

        Raises:
            DeadlockError: A worker asks itself.
            ActorNotRunningError, MailboxFullError, SpecError, HandlerNotFoundError, ArgumentsError, EncodeError: As for ``tell``.
        """
        name, info = self._named(handler, args, kwargs, stream=False)
        return cast("Reply[Any]", self._router().ask(self, name, args, kwargs, info, self._node().ask))

    @overload
    def stream(
        self, handler: Callable[Concatenate[A_co, P], Iterator[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Stream[R]: ...
    @overload
    def stream(self, handler: str, /, *args: Any, **kwargs: Any) -> Stream[Any]: ...
    def stream(self, handler: Callable[..., object] | str, /, *args: Any, **kwargs: Any) -> Stream[Any]:
        """Send a message to a generator handler of one worker and get its items as they come; see :meth:`ActorRef.stream`."""
        name, info = self._named(handler, args, kwargs, stream=True)
        return cast("Stream[Any]", self._router().ask(self, name, args, kwargs, info, self._node().stream))

    @overload
    def broadcast(
        self, handler: Callable[Concatenate[A_co, P], object], /, *args: P.args, **kwargs: P.kwargs
    ) -> None: ...
    @overload
    def broadcast(self, handler: str, /, *args: Any, **kwargs: Any) -> None: ...
    def broadcast(self, handler: Callable[..., object] | str, /, *args: Any, **kwargs: Any) -> None:
        """Tell every worker the same. Who joins later does not get it; raises as ``tell``, where one inbox is full with the rest untold."""
        name, info = self._named(handler, args, kwargs, stream=None)
        node = self._node()
        self._router().each(self, lambda member: node.tell(member, name, args, kwargs, info))

    @overload
    def scatter(
        self, handler: Callable[Concatenate[A_co, P], Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> list[Reply[R]]: ...
    @overload
    def scatter(
        self, handler: Callable[Concatenate[A_co, P], R], /, *args: P.args, **kwargs: P.kwargs
    ) -> list[Reply[R]]: ...
    @overload
    def scatter(self, handler: str, /, *args: Any, **kwargs: Any) -> list[Reply[Any]]: ...
    def scatter(self, handler: Callable[..., object] | str, /, *args: Any, **kwargs: Any) -> list[Reply[Any]]:
        """
        Ask every worker the same.

        Returns:
            A reply of each, in the order of the workers: ``[reply.result() for reply in ref.scatter(...)]`` gathers the answers, and so does
            ``await asyncio.gather(*ref.scatter(...))``.

        Raises:
            DeadlockError: A worker asks its own pool.
            ActorNotRunningError, MailboxFullError, HandlerNotFoundError, ArgumentsError, EncodeError: As for ``tell``.
        """
        name, _info = self._named(handler, args, kwargs, stream=False)
        node = self._node()
        return self._router().each(self, lambda member: node.ask(member, name, args, kwargs))

    def options(
        self,
        *,
        key: Any = KEEP,
        timeout: float | Literal[_Keep.KEEP] | None = KEEP,
        on_full: OnFull | Literal[_Keep.KEEP] | None = KEEP,
        send_timeout: float | Literal[_Keep.KEEP] | None = KEEP,
    ) -> PoolRef[A_co]:
        """
        The same address (equal, same hash) with other defaults for what is sent through it.

        Args:
            key: For a pool that routes by key: messages with one key go to one worker, in order. Any hashable value that can travel but
                a frozenset; None for the pool's own rule. Equal keys of different types (``1``, ``1.0``, ``True``) are different keys,
                also within tuples.
            timeout: Deadline of an ask, in seconds from its sending; None for none.
            on_full: ``"block"``, ``"reject"`` or ``"drop_newest"``; None for what the workers' spec says.
            send_timeout: Seconds that a blocked send waits; None for what the workers' spec says.

        Raises:
            SpecError: A time below 0 or not a number, or an unknown word.
        """
        plain: ActorRef[Any] = ActorRef(self.system, 1, self.path, self.timeout, self.on_full, self.send_timeout)
        checked = plain.options(timeout=timeout, on_full=on_full, send_timeout=send_timeout)
        return PoolRef(
            self.system,
            self.number,
            self.path,
            timeout=checked.timeout,
            on_full=checked.on_full,
            send_timeout=checked.send_timeout,
            key=self.key if key is KEEP else key,
        )

    def flush(self) -> None:
        """
        Return when everything this process told the workers stands in their inboxes.

        Raises:
            MailboxFullError: An inbox stayed full.
        """
        node = self._node()
        for member in self._router().table.members:
            node.flush(member)

    def resize(self, size: int) -> None:
        """
        Have *size* workers from now on. From any process of the system, at any time.

        Returns when the new ones are ready, or when those that leave are chosen. These get no more messages, handle what is queued for
        them, however long that takes, and end. If a new one does not start, the pool keeps the size that it has reached.

        Args:
            size: 1 to 256; within its bounds where it scales by itself.

        Raises:
            SpecError: No such size; or the pool is stopping.
            StartError: A new worker did not get ready.
            ActorNotRunningError: The pool is gone, or parked (``on_exhausted="park"``).
        """
        if problem := size_problem(size):
            raise SpecError(f"pool {self.path}: {problem}")
        self._node().pools.source.resize_pool(self.number, size)

    def stop(self, drain: bool = False) -> None:
        """
        Stop all workers, and with them the pool, for good.

        Args:
            drain: Each first handles what is queued, within its ``shutdown``. Else what is queued becomes dead letters.
        """
        self._node().pools.source.stop_pool(self.number, drain)

    def is_alive(self) -> bool:
        """Whether it is there, as far as is known here."""
        try:
            return not self._router().table.gone
        except ActorNotRunningError:
            return False

    @property
    def size(self) -> int:
        """How many workers take messages, as far as is known here."""
        return len(self.members)

    @property
    def members(self) -> tuple[ActorRef[A_co], ...]:
        """The workers that take messages, as far as is known here."""
        return self._router().table.members

    def _named(
        self,
        handler: Callable[..., object] | str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        stream: bool | None,
    ) -> tuple[str, HandlerInfo | None]:
        """The handler's name, and what is known of it; *stream* says whether it has to be a generator, where that matters."""
        if isinstance(handler, str):
            return handler, None
        info = _checked(handler, args, kwargs, self.path)
        if stream is True and info.kind != "generator":
            raise ArgumentsError(f"{info} is no generator: its one answer comes by ref.ask(...)", target=self.path)
        if stream is False and info.kind == "generator":
            raise ArgumentsError(f"{info} is a generator: its items come by ref.stream(...)", target=self.path)
        return info.name, info

    def _node(self) -> Any:
        return find_node(self.system, self.path)

    def _router(self) -> Router:
        pools = find_node(self.system, self.path).pools
        return pools.known.get(self.number) or pools.find(self)


def _sending(ref: PoolRef[Any]) -> tuple[Any, ...] | None:
    options = (ref.timeout, ref.on_full, ref.send_timeout)
    return None if options == (None, None, None) and ref.key is None else options


def _to_plain(ref: PoolRef[Any]) -> object:
    return (ref.system, ref.number, ref.path)


def _from_plain(data: object) -> PoolRef[Any]:
    match data:
        case (str(system), int(number), str(path)) if number >= 1:
            return PoolRef(system, number, path)
    raise ProtocolError(f"no PoolRef: {data!r:.80}")


register_type(PoolRef, _POOL_CODE, _to_plain, _from_plain)
