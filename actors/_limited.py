"""
A ref that sends no more than it may: a rate, a number of open asks, and a breaker, all of this process alone.

Wraps an :class:`~actors.ActorRef` or a :class:`~actors.PoolRef`, which know nothing of it: a plain ref pays nothing.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, Concatenate, Final, Generic, Literal, ParamSpec, TypeVar, cast, overload

import attrs

from actors._gate import Gate, Limits
from actors._pool import PoolRef
from actors._ref import KEEP, ActorRef, _Keep
from actors._seams import OnFull, Stream, find_node, nodes
from actors.errors import ProtocolError, SpecError
from actors.mailbox._circuit import Breaker, BreakerState
from actors.mailbox._codec import register_type
from actors.mailbox._lock import RLock

if TYPE_CHECKING:
    from actors._actor import Actor
    from actors._reply import Reply

__all__ = ["LimitedRef", "limit"]

A_co = TypeVar("A_co", bound="Actor", covariant=True)
A = TypeVar("A", bound="Actor")
P = ParamSpec("P")
R = TypeVar("R")

_CODE: Final = 80  # of the codec's type codes; part of the wire format
_MOST_GATES: Final = 1024

# The gates of limits that have come here or gone from here, by the names of the limits: one for each, however often it comes.
_gates: dict[str, Gate] = {}
_gates_lock = RLock()


@attrs.frozen
class LimitedRef(Generic[A_co]):
    """
    A ref that sends no more than it may. Made by :func:`limit`.

    It has the verbs of the ref that it limits. What it does not let through raises at once, or after *wait* seconds, and nothing was sent:
    :class:`~actors.RateLimitedError`, or :class:`~actors.CircuitOpenError` while the breaker is open. Every thread and task of this process that
    sends through it, or through what :meth:`options` gives, shares its limits.

    It is a value of messages and of an actor's attributes, as a ref is: each process that it comes to keeps limits of its own, with the
    same numbers, which begin anew there.

    Attributes:
        ref: The ref that it limits. What is sent through that one is not limited, and not counted.
        wait: Seconds that a send waits for a token or a place; 0 for not at all. It never waits for the breaker.
    """

    ref: ActorRef[A_co] | PoolRef[A_co]
    wait: float
    _name: str = attrs.field(repr=False)
    _gate: Gate = attrs.field(repr=False, eq=False)

    @overload
    def tell(self, handler: Callable[Concatenate[A_co, P], object], /, *args: P.args, **kwargs: P.kwargs) -> None: ...
    @overload
    def tell(self, handler: str, /, *args: Any, **kwargs: Any) -> None: ...
    def tell(self, handler: Callable[..., object] | str, /, *args: Any, **kwargs: Any) -> None:
        """
        Send a message that nobody answers; see :meth:`ActorRef.tell`. It takes a token, and no place: nobody hears of its end.

        Raises:
            CircuitOpenError: The breaker is open.
            RateLimitedError: There was no token.
            Exception: What ``tell`` of the ref raises.
        """
        if self.ref.system not in nodes:
            find_node(self.ref.system, self.ref.path)
        permit = self._gate.admit(self.wait, stays=False)
        try:
            self.ref.tell(handler, *args, **kwargs)
        except BaseException as error:
            permit.end(error)
            raise
        permit.end(None)

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
        Send a message and get its reply to come; see :meth:`ActorRef.ask`. It takes a token, and a place until the ask has ended.

        An ask ends when it is answered, fails, is cancelled or has reached its deadline, whether somebody waits for its reply or not.

        Raises:
            CircuitOpenError: The breaker is open.
            RateLimitedError: There was no token or no place.
            Exception: What ``ask`` of the ref raises.
        """
        return cast("Reply[Any]", self._open(self.ref.ask, handler, args, kwargs))

    @overload
    def stream(
        self, handler: Callable[Concatenate[A_co, P], Iterator[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Stream[R]: ...
    @overload
    def stream(self, handler: str, /, *args: Any, **kwargs: Any) -> Stream[Any]: ...
    def stream(self, handler: Callable[..., object] | str, /, *args: Any, **kwargs: Any) -> Stream[Any]:
        """
        Send a message to a generator handler and get its items as they come; see :meth:`ActorRef.stream`.

        It takes a token, and a place until the generator has ended or the stream is closed.

        Raises:
            CircuitOpenError: The breaker is open.
            RateLimitedError: There was no token or no place.
            Exception: What ``stream`` of the ref raises.
        """
        return cast("Stream[Any]", self._open(self.ref.stream, handler, args, kwargs))

    def _open(
        self,
        send: Callable[..., Any],
        handler: Callable[..., object] | str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        # First: what is not to be had here takes no token.
        if self.ref.system not in nodes:
            find_node(self.ref.system, self.ref.path)
        permit = self._gate.admit(self.wait, stays=True)
        try:
            reply = send(handler, *args, **kwargs)
            permit.follow(reply)
        except BaseException as error:
            permit.end(error)
            raise
        return reply

    def options(
        self,
        *,
        wait: float | Literal[_Keep.KEEP] = KEEP,
        key: Any = KEEP,
        timeout: float | Literal[_Keep.KEEP] | None = KEEP,
        on_full: OnFull | Literal[_Keep.KEEP] | None = KEEP,
        send_timeout: float | Literal[_Keep.KEEP] | None = KEEP,
    ) -> LimitedRef[A_co]:
        """
        The same address under the same limits with other defaults for what is sent through it.

        Args:
            wait: Seconds that a send waits for a token or a place; ``math.inf`` for ever.
            key: As for :meth:`PoolRef.options`; of a pool alone.
            timeout: As for :meth:`ActorRef.options`.
            on_full: As for :meth:`ActorRef.options`.
            send_timeout: As for :meth:`ActorRef.options`.

        Raises:
            SpecError: A time below 0 or not a number, an unknown word, or a key for one actor.
        """
        ref = self.ref
        if isinstance(ref, PoolRef):
            changed: Any = ref.options(key=key, timeout=timeout, on_full=on_full, send_timeout=send_timeout)
        elif key is KEEP:
            changed = ref.options(timeout=timeout, on_full=on_full, send_timeout=send_timeout)
        else:
            raise SpecError(f"key={key!r}: {ref.path} is one actor; only what a pool is sent has a key")
        seconds = self.wait if wait is KEEP else _checked_wait(wait)
        return LimitedRef(changed, seconds, self._name, self._gate)

    def flush(self) -> None:
        """Return when everything that this process told the actor or pool stands in its inbox; see :meth:`ActorRef.flush`."""
        self.ref.flush()

    def stop(self, drain: bool = False) -> None:
        """Stop the actor or pool for good; see :meth:`ActorRef.stop`. It is no send, and not limited."""
        self.ref.stop(drain)

    def is_alive(self) -> bool:
        """Whether the actor or pool runs or will again, as far as is known here; see :meth:`ActorRef.is_alive`."""
        return self.ref.is_alive()

    @property
    def path(self) -> str:
        """Where the actor or pool stands in the tree."""
        return self.ref.path

    @property
    def breaker_state(self) -> BreakerState:
        """``"closed"``, ``"open"`` or ``"half_open"``, in this process. It stays open until somebody sends after ``reset_after``."""
        return self._gate.breaker_state

    def __reduce__(self) -> tuple[Any, ...]:
        return _from_plain, (_to_plain(self),)


def limit(
    ref: ActorRef[A] | PoolRef[A],
    *,
    rate: float | None = None,
    burst: int | None = None,
    concurrency: int | None = None,
    breaker: Breaker | None = None,
    wait: float = 0.0,
) -> LimitedRef[A]:
    """
    A ref to the same actor or pool that sends no more than it may, so that what is behind it is not overrun.

    The limits are those of this process and of this call: what others send, and what is sent through *ref* itself or another limit, is
    not counted. For a database that bears a hundred asks a second, eight at a time::

        database = limit(ref, rate=100, concurrency=8, breaker=Breaker(failures=5, reset_after=30))
        row = database.options(timeout=2).ask(Database.row, 17).result()

    Args:
        ref: Whose sends are limited.
        rate: Sends a second, in the long run; above 0. None for any number.
        burst: How many may go at once after a pause, at least 1; by default what *rate* gives in a second. In any *t* seconds at most
            *burst* + *rate* times *t* are sent.
        concurrency: How many asks and streams may be open at a time, at least 1. None for any number.
        breaker: When sends fail at once because others have failed. None for never.
        wait: Seconds that a send waits for a token or a place, in its thread; 0 for not at all.

    Raises:
        SpecError: A number outside its range, no limit at all, or *ref* is no ref.
    """
    if not isinstance(ref, ActorRef | PoolRef):
        raise SpecError(f"limit({ref!r:.80}): must be an ActorRef or a PoolRef{_of_limited(ref)}")
    limits = Limits(rate, burst, concurrency, breaker)
    seconds = _checked_wait(wait)
    return LimitedRef(ref, seconds, os.urandom(16).hex(), Gate(limits, ref.system, ref.path))


def _of_limited(ref: object) -> str:
    return "; what is limited already is limited anew by limit(limited.ref, ...)" if isinstance(ref, LimitedRef) else ""


def _checked_wait(wait: object) -> float:
    if isinstance(wait, bool) or not isinstance(wait, int | float) or math.isnan(wait) or wait < 0:
        raise SpecError(f"wait={wait!r}: must be seconds, at least 0")
    return wait


def _to_plain(limited: LimitedRef[Any]) -> Any:
    ref, limits, breaker = limited.ref, limited._gate.limits, limited._gate.limits.breaker
    # What comes back finds the limits that it had.
    _known(limited._name, limited._gate)
    return (
        limited._name,
        (isinstance(ref, PoolRef), ref.system, ref.number if isinstance(ref, PoolRef) else ref.uid, ref.path),
        limited.wait,
        (limits.rate, limits.burst, limits.concurrency),
        None if breaker is None else attrs.astuple(breaker),
    )


def _from_plain(data: object) -> LimitedRef[Any]:
    match data:
        case (
            str(name),
            (bool(pool), str(system), int(number), str(path)),
            float() | int() as wait,
            (rate, burst, concurrency),
            breaker,
        ):
            ref = PoolRef[Any](system, number, path) if pool else ActorRef[Any](system, number, path)
            gate = _gates.get(name) or _known(name, Gate(_limits((rate, burst, concurrency), breaker), system, path))
            return LimitedRef(ref, wait, name, gate)
    raise ProtocolError(f"no LimitedRef: {data!r:.80}")


def _limits(numbers: tuple[Any, Any, Any], breaker: Any) -> Limits:
    names = [field.name for field in attrs.fields(Breaker)]
    try:
        made = None if breaker is None else Breaker(**dict(zip(names, breaker, strict=True)))
        rate, burst, concurrency = numbers
        return Limits(rate, burst, concurrency, made)
    except (TypeError, ValueError) as error:
        raise ProtocolError(f"no limits: {numbers!r:.80}, {breaker!r:.80}") from error


def _known(name: str, gate: Gate) -> Gate:
    """Remember the gate of a limit; the first one counts. Of some thousand, the oldest is forgotten."""
    with _gates_lock:
        found = _gates.setdefault(name, gate)
        while len(_gates) > _MOST_GATES:
            del _gates[next(iter(_gates))]
    return found


def _after_fork_in_child() -> None:  # pragma: no cover - runs where nobody measures; a test looks at what it did
    global _gates_lock  # noqa: PLW0603 - it may be held by a thread that is not here any more
    _gates_lock = RLock()


os.register_at_fork(after_in_child=_after_fork_in_child)
register_type(LimitedRef, _CODE, _to_plain, _from_plain)
