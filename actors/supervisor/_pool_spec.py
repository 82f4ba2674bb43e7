"""
What users write to describe a pool of actors: :func:`pool`, a supervisor of equal workers behind one ref. Frozen values.

To the tree a pool is a supervisor like any other, so that it starts, restarts, limits and stops its workers without a word about
pools. What is added here is how messages find a worker, and how many of them there are to be.

Must not know: the class ``Actor``, processes, how a message is sent.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar, get_args

import attrs

from actors.errors import SpecError
from actors.supervisor._policy import Seconds
from actors.supervisor._spec import (
    Child,
    OnExhausted,
    Options,
    Park,
    Supervisor,
    check_names,
    default_name,
    refuse_class,
    spec_kind,
)

__all__ = ["MOST_WORKERS", "ROUTINGS", "ActorPool", "Autoscale", "Routing", "pool", "pool_problems", "size_problem"]

A = TypeVar("A")

Routing: TypeAlias = Literal["round_robin", "least_busy", "key_hash"]
"""How a message finds its worker."""

GivenUp: TypeAlias = Literal["dead_letter", "reroute"]
"""What becomes of the tells that are queued for a worker that is given up."""

ROUTINGS: Final[tuple[Routing, ...]] = get_args(Routing)
MOST_WORKERS: Final = 256
"""A process each; and a quarter of the slots that keys are hashed to, so that keys are spread evenly."""


@attrs.frozen(kw_only=True)
class Autoscale:
    """
    When a pool grows and shrinks by itself, by one worker at a time.

    It grows when more than *grow_above* messages stand before each worker on average, at every look of *for_seconds*, and
    shrinks when at every look of *shrink_after* seconds one worker less would have had nothing queued. Between two
    changes lie at least *cooldown* seconds, and what was seen before a change counts for no other: so a pool whose load stands between
    the two keeps its size.

    Attributes:
        minimum: Fewest workers; 1 or above.
        maximum: Most workers; at least *minimum*.
        grow_above: Messages queued per worker; above 0.
        for_seconds: How long they stand there before it grows; 0 or above.
        shrink_after: How long a worker is not needed before it leaves, in seconds; above 0.
        cooldown: Least time between two changes, in seconds; above 0.
    """

    minimum: int = 1
    maximum: int
    grow_above: float = 10.0
    for_seconds: Seconds = 1.0
    shrink_after: Seconds = 30.0
    cooldown: Seconds = 5.0


@attrs.frozen
class ActorPool(Supervisor, Generic[A]):
    """
    A pool of equal actors as a value: a :class:`~actors.Supervisor` whose children are its workers. Built by :func:`~actors.pool`.

    Attributes:
        actor: The actor that every worker is.
        size: How many workers it starts with.
        routing: How a message finds its worker.
        key: With ``"key_hash"``: the parameter of the handlers whose value is the key; None: each send says it.
        autoscale: When it changes its size by itself; None: never.
        given_up: What becomes of the tells that are queued for a worker that is parked or stopped by hand.
        worker: The actor with the options of a worker.
    """

    actor: A = attrs.field(kw_only=True)
    size: int = attrs.field(kw_only=True)
    routing: Routing = attrs.field(default="round_robin", kw_only=True)
    key: str | None = attrs.field(default=None, kw_only=True)
    autoscale: Autoscale | None = attrs.field(default=None, kw_only=True)
    given_up: GivenUp = attrs.field(default="dead_letter", kw_only=True)
    worker: Child = attrs.field(kw_only=True)


_OWN_NAMES: Final = ("routing", "key", "autoscale", "given_up", "max_restarts", "period", "on_exhausted")


def pool(
    actor: A,
    size: int,
    /,
    *,
    name: str | None = None,
    routing: Routing = "round_robin",
    key: str | None = None,
    autoscale: Autoscale | None = None,
    given_up: GivenUp = "dead_letter",
    max_restarts: int = 3,
    period: Seconds = 5.0,
    on_exhausted: OnExhausted | Park | Any = "escalate",
    **options: object,
) -> ActorPool[A]:
    """
    A pool of *size* workers, each of them *actor* in a process of its own, as a child of a :class:`~actors.Supervisor` or for
    :meth:`ActorSystem.spawn_pool`. All of them are reached by one :class:`~actors.PoolRef`.

    Workers are called ``1``, ``2``, ``3``… below the pool's name. One that dies is started again, as any child is, and goes on with
    what was queued for it.

    Args:
        actor: An actor that is not started.
        size: How many workers; 1 to 256.
        name: Of the pool, unique among its siblings; by default the class's name in lower case, with an ``s`` if it ends in none.
        routing: ``"round_robin"`` takes the workers in turn, ``"least_busy"`` the one with the fewest messages to handle, as far as
            the sender knows, ``"key_hash"`` always the same one for a key.
        key: With ``"key_hash"``: the name of a parameter that the handlers have; its value is the key of a message. None: the key is
            given with ``ref.options(key=...)``, which wins in any case.
        autoscale: When it grows and shrinks by itself: an :class:`~actors.Autoscale`. None: only by ``resize``.
        given_up: What becomes of the tells queued for a worker that will not come back by itself, because it was parked
            (``max_same_crashes``, ``max_start_failures``) or stopped by hand: ``"dead_letter"``, or ``"reroute"``: the others handle
            them; not with ``"key_hash"``, whose order would be lost. Asks end with ``ActorDied`` and ``may_have_run=False``.
        max_restarts: As of a :class:`~actors.Supervisor`: more restarts of its workers than this within *period*, and it gives up.
        period: Length of that window in seconds.
        on_exhausted: What giving up means.
        **options: Of each worker, as for :func:`~actors.child`; all but ``name``, ``after`` and ``significant``. Workers are permanent.

    Raises:
        SpecError: An option that does not exist, or *actor* is a class, or a supervisor or a child already. All else is checked with the tree.
    """
    if isinstance(actor, Supervisor | Child):
        raise SpecError(f"pool() takes an actor and the options of its workers by keyword, not a {spec_kind(actor)}")
    refuse_class("pool", actor)
    check_names(options, _OWN_NAMES)
    worker = Child(actor, Options.of(actor, **options))
    count = 1 if size_problem(size) else size  # one at least, whose options are checked
    return ActorPool(
        name=_plural(default_name(actor)) if name is None else name,
        children=tuple(
            Child(actor, attrs.evolve(worker.options, name=str(number + 1), after=(), significant=False))
            for number in range(count)
        ),
        max_restarts=max_restarts,
        period=period,
        on_exhausted=on_exhausted,
        actor=actor,
        size=size,
        routing=routing,
        key=key,
        autoscale=autoscale,
        given_up=given_up,
        worker=worker,
    )


def _plural(word: str) -> str:
    return word if word.endswith("s") else f"{word}s"


def size_problem(size: object) -> str | None:
    """
    Why a pool cannot have *size* workers, or None if it can.

    Args:
        size: Anything.
    """
    if type(size) is int and 1 <= size <= MOST_WORKERS:
        return None
    return f"size={size!r} must be a whole number from 1 to {MOST_WORKERS}"


def pool_problems(spec: ActorPool[Any], path: str) -> Iterable[str]:
    """
    The rules that a pool breaks beside those of supervisors and of its workers.

    Args:
        spec: The pool; any field may be of any type.
        path: Where it stands, for the texts.
    """
    if problem := size_problem(spec.size):
        yield f"{path}: {problem}"
    if spec.routing not in ROUTINGS:
        yield f"{path}: routing={spec.routing!r} must be one of {', '.join(map(repr, ROUTINGS))}"
    if spec.given_up not in get_args(GivenUp):
        yield f"{path}: given_up={spec.given_up!r} must be one of {', '.join(map(repr, get_args(GivenUp)))}"
    elif spec.given_up == "reroute" and spec.routing == "key_hash":
        yield f"{path}: given_up='reroute' does not go with routing='key_hash': the order of a key would be lost"
    yield from _key_problems(spec, path)
    options = spec.worker.options
    if options.restart != "permanent":
        yield f"{path}: restart={options.restart!r} does not go with a pool, whose workers are 'permanent'; resize it instead"
    for option, empty in (("name", None), ("after", ()), ("significant", False)):
        if getattr(options, option) != empty:
            yield f"{path}: {option}={getattr(options, option)!r} is no option of the workers of a pool"
    if spec.autoscale is not None:
        yield from _scale_problems(spec, path)


def _key_problems(spec: ActorPool[Any], path: str) -> Iterable[str]:
    key: object = spec.key
    if key is None:
        return
    if spec.routing != "key_hash":
        yield f"{path}: key={key!r} means nothing with routing={spec.routing!r}; write routing='key_hash'"
    if not isinstance(key, str) or not key.isidentifier():
        yield f"{path}: key={key!r} must be the name of a parameter, or None"
        return
    table = getattr(spec.actor, "_handlers", {})
    if len(table) and not any(_takes(info.signature, key) for info in table.values()):
        yield f"{path}: key={key!r}: no handler has a parameter of that name"


def _takes(signature: inspect.Signature, key: str) -> bool:
    return key in signature.parameters


def _scale_problems(spec: ActorPool[Any], path: str) -> Iterable[str]:
    scale: object = spec.autoscale
    if not isinstance(scale, Autoscale):
        yield f"{path}: autoscale={scale!r} must be an Autoscale(...)"
        return
    broken = False
    for field in ("minimum", "maximum"):
        if problem := size_problem(getattr(scale, field)):
            broken = True
            yield f"{path}: autoscale.{field}{problem.removeprefix('size')}"
    for field, above in (("grow_above", True), ("for_seconds", False), ("shrink_after", True), ("cooldown", True)):
        value = getattr(scale, field)
        fits = type(value) in (int, float) and math.isfinite(value) and (value > 0 if above else value >= 0)
        if not fits:
            least = "above 0" if above else "of at least 0"
            yield f"{path}: autoscale.{field}={value!r} must be a finite number {least}"
    if broken:
        return
    if scale.minimum > scale.maximum:
        yield f"{path}: autoscale.minimum={scale.minimum} is above autoscale.maximum={scale.maximum}"
    elif not size_problem(spec.size) and not scale.minimum <= spec.size <= scale.maximum:
        yield f"{path}: size={spec.size} is not from autoscale.minimum={scale.minimum} to autoscale.maximum={scale.maximum}"
