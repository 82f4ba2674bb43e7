"""
What users write to describe a tree: :class:`Supervisor`, :func:`child`, and one set of :class:`Options`. Frozen values.

A tree is a value. Building it checks only what no later check could explain (an option that does not exist); everything else is
checked whole, before anything starts, by :func:`actors.supervisor._check.check`, which reports all errors at once.

Must not know: the class ``Actor`` (here an actor is any object), processes, how anything is started.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any, Final, Literal, TypeAlias, get_args

import attrs

from actors.errors import SpecError
from actors.supervisor._keywords import checks_keywords, did_you_mean
from actors.supervisor._policy import Backoff, RestartType, Seconds, Strategy

__all__ = [
    "AUTO_SHUTDOWNS",
    "ON_EXHAUSTED",
    "ON_FULL",
    "OPTION_NAMES",
    "AutoShutdown",
    "Backoff",
    "Child",
    "OnExhausted",
    "OnFull",
    "Options",
    "Park",
    "Recycle",
    "Supervisor",
    "as_child",
    "check_names",
    "child",
    "child_names",
    "default_name",
    "free_name",
    "named_children",
    "place_of",
    "refuse_class",
    "spec_kind",
]

OnFull: TypeAlias = Literal["block", "reject", "drop_newest", "drop_oldest"]
AutoShutdown: TypeAlias = Literal["never", "any_significant", "all_significant"]
OnExhausted: TypeAlias = Literal["escalate", "shutdown", "park"]

ON_FULL: Final[tuple[OnFull, ...]] = get_args(OnFull)
AUTO_SHUTDOWNS: Final[tuple[AutoShutdown, ...]] = get_args(AutoShutdown)
ON_EXHAUSTED: Final[tuple[OnExhausted, ...]] = get_args(OnExhausted)


def _as_tuple(value: Any) -> Any:
    """Lists and sets become tuples, so that a spec stays frozen; anything else is left for the check to complain about."""
    return tuple(value) if isinstance(value, list | set | frozenset) else value


@attrs.frozen(kw_only=True)
class Recycle:
    """
    When an actor is replaced before it ails: whichever limit comes first; at least one is given.

    Its successor is ready (``on_start``) before it is asked to leave. It finishes the message being handled and runs ``on_stop``;
    what is queued, and every ask that is open, is the successor's. That spends no restart, and no two children of a supervisor are
    replaced at the same time. If the successor does not get ready, the old one goes on, and it is tried again after the actor's
    backoff.

    Attributes:
        messages: Messages handled by one incarnation; None: no limit. It handles a few more until its successor is ready.
        age: Seconds since it began to serve; None: no limit.
        rss: Resident memory in bytes; None: no limit.
        jitter: Each limit is up to this fraction higher, another fraction for each incarnation, so that a pool is not replaced at
            once; 0 to 1.
    """

    messages: int | None = None
    age: Seconds | None = None
    rss: int | None = None
    jitter: float = 0.1


@attrs.frozen
class Park:
    """
    A supervisor's ``on_exhausted``: give up by parking, and try again later.

    Its children are stopped and stay down, everything else goes on. After *retry_after* it starts its children again by itself, with
    a clean window; those that a breaker had parked before (``max_same_crashes``, ``max_start_failures``) stay down. If it gives up
    again, it waits as long again.

    Attributes:
        retry_after: Seconds from giving up to the next try; above 0. None: only by hand, as with ``"park"``.
    """

    retry_after: Seconds | None = None


@attrs.frozen(kw_only=True)
class Options:
    """
    Everything that can be said about a child, beside the actor itself. Times are seconds as float, sizes bytes.

    Attributes:
        name: Unique among its siblings, no slash; None: the class's name in lower case, ``-2``, ``-3``... where that is taken.
        restart: ``"permanent"`` always comes back, ``"transient"`` unless it ended as expected, ``"temporary"`` never.
        expected_exits: Exit codes with which a transient actor may end for good.
        backoff: How long restarts wait.
        max_start_failures: Failed starts in a row after which it is parked: left down, until it is restarted by hand or with its
            group. While this is set, a failed restart waits for its backoff, and that is all: it spends nothing of the
            supervisor's ``max_restarts`` and takes no sibling down. A failed first start fails the supervisor in any case, that of
            a child added at run time removes it. 1 or above; None: failed restarts count as deaths.
        max_same_crashes: Deaths in a row with one fingerprint (kind, class of the exception or signal, handler, functions of the
            innermost frames; no message, no line) after which it is parked, before its supervisor gives up for it; the last of them
            spends nothing. A death with another fingerprint or with none, and a run of ``backoff.stable_after``, begin anew. Siblings
            go on under every strategy. 1 or above; None: never. Being parked is no end that counts for ``auto_shutdown``.
        start_timeout: Time from its start to its being ready; above 0. Past that it is killed, which is a failed start.
        shutdown: Time a stop may take before SIGTERM; 0 kills at once, None waits for ever, but for a start no longer than
            *start_timeout*.
        term_grace: Time from SIGTERM to SIGKILL; 0 or above.
        handler_timeout: Time one message may take without a ``progress()``; waiting for room in another mailbox or for the reader
            of a stream is not counted. Past that the stack is taken, and after *hang_grace* it is killed as ``hang``. Above 0; None:
            no limit.
        hang_grace: Time from the warning of a hang (stacks are taken) to the kill; 0 or above.
        cancel_grace: Time the handler of a cancelled ask may go on before the actor is killed as ``hang``; 0 or above. None: for
            ever.
        redeliver: How often a message that was being handled in a crash is handed to the next incarnation; 0 or above.
        max_open_asks: Asks the actor may have open at a time; 1 or above.
        mailbox_bytes: What the actor reads ahead of its handlers; 4096 to 256 MiB. The pipe of its inbox holds as much again as
            its own capacity is.
        mailbox_messages: The same as a number of messages; None for no limit but the bytes.
        on_full: What becomes of a send to the full mailbox: ``"block"`` waits *send_timeout*, ``"reject"`` raises at once,
            ``"drop_newest"`` makes it a dead letter; ``"drop_oldest"``: the actor makes dead letters of the oldest between two messages.
        send_timeout: How long a sender blocks before ``MailboxFullError``; 0 or above.
        memory_soft: Resident bytes above which it is replaced with hand-over, as *recycle* does; at most *memory_hard*. None: no limit.
        memory_hard: Resident bytes above which it is killed as ``memory_limit``. None: no limit.
        recycle: After how many messages, seconds or resident bytes it is replaced: a :class:`Recycle`. None: never.
        significant: Its normal end counts for the supervisor's ``auto_shutdown``. Not for a permanent child.
        after: Names of siblings that must be ready before it starts, each time. One that has ended as expected, was parked or
            removed holds nobody up; an actor is not restarted because one it started after is.
    """

    name: str | None = None
    restart: RestartType = "permanent"
    expected_exits: tuple[int, ...] = attrs.field(default=(0,), converter=_as_tuple)
    backoff: Backoff = Backoff()  # noqa: RUF009 - frozen, so one is enough for all
    max_start_failures: int | None = None
    max_same_crashes: int | None = None
    start_timeout: Seconds = 30.0
    shutdown: Seconds | None = 5.0
    term_grace: Seconds = 2.0
    handler_timeout: Seconds | None = None
    hang_grace: Seconds = 1.0
    cancel_grace: Seconds | None = None
    redeliver: int = 0
    max_open_asks: int = 4096
    mailbox_bytes: int = 1 << 20
    mailbox_messages: int | None = None
    on_full: OnFull = "block"
    send_timeout: Seconds = 10.0
    memory_soft: int | None = None
    memory_hard: int | None = None
    recycle: Recycle | None = None
    significant: bool = False
    after: tuple[str, ...] = attrs.field(default=(), converter=_as_tuple)

    @classmethod
    def of(cls, actor: object, /, **overrides: object) -> Options:
        """
        The options of *actor*: defaults, then its class's attributes, then *overrides*.

        Args:
            actor: An actor that is not started. Attributes of its class that are methods or properties are no options.
            overrides: Options by name.

        Raises:
            SpecError: An option that does not exist; lists them all and the closest.
        """
        check_names(overrides)
        values: dict[str, Any] = {**_class_options(type(actor)), **overrides}
        return cls(**values)


# Of ActorSystem, which this module does not know.
_OF_THE_SYSTEM: Final = frozenset(
    (
        "start_method",
        "shutdown_deadline",
        "signals",
        "max_message_bytes",
        "subreaper",
        "on_crash",
        "crash_directory",
        "crash_keep",
    )
)
OPTION_NAMES: Final[tuple[str, ...]] = tuple(field.name for field in attrs.fields(Options))


def _class_options(kind: type) -> dict[str, object]:
    found = {name: getattr(kind, name) for name in OPTION_NAMES if hasattr(kind, name)}
    # `name` of every Process is a property, and a handler may be called `after`: descriptors are no options.
    return {name: value for name, value in found.items() if not hasattr(value, "__get__")}


def check_names(given: Iterable[str], others: tuple[str, ...] = ()) -> None:
    """
    Return if there are options of all these names.

    Args:
        given: Names.
        others: Names that could have been given beside them, for who misspells one of those.

    Raises:
        SpecError: An option that does not exist; lists them all and the closest.
    """
    unknown = [name for name in given if name not in OPTION_NAMES]
    names = (*others, *OPTION_NAMES)
    nowhere = [name for name in unknown if not _place_elsewhere(name)]
    if unknown:  # the list is long: it is told with the last one that has no place
        raise SpecError(*(_unknown_option(name, names, tells_all=name in nowhere[-1:]) for name in unknown))


def _unknown_option(name: str, names: tuple[str, ...], *, tells_all: bool) -> str:
    if place := _place_elsewhere(name):
        return f"{name!r} is no option of a child; it belongs to {place}"
    every = f" (options: {', '.join(names)})" if tells_all else ""
    return f"there is no option {name!r}{did_you_mean(name, names)}{every}"


def place_of(name: str) -> str:
    """Where an option belongs; nowhere: ``""``."""
    return f"a child: child(actor, {name}=...)" if name in OPTION_NAMES else _place_elsewhere(name)


def _place_elsewhere(name: str) -> str:
    """Where an option belongs that children do not have; nowhere: ``""``."""
    for place, kind in {
        "the supervisor: Supervisor(name, {}=...)": Supervisor,
        "backoff=Backoff({}=...)": Backoff,
        "recycle=Recycle({}=...)": Recycle,
    }.items():
        if name in {field.name for field in attrs.fields(kind)}:
            return place.format(name)
    if name in _OF_THE_SYSTEM:
        return f"the system: ActorSystem(tree, {name}=...)"
    return "whoever asks: ref.options(timeout=...)" if name == "timeout" else ""


@attrs.frozen
class Child:
    """
    An actor with its options, as a child of a supervisor. Built by :func:`child`.

    Attributes:
        actor: The actor that is not started: its own spec.
        options: Its options, class attributes and defaults included.
    """

    actor: object
    options: Options


@attrs.frozen
class Supervisor:
    """
    A supervisor and its children, as a value.

    Attributes:
        name: Unique among its siblings, no slash.
        strategy: Who is restarted when one child is: ``"one_for_one"`` it alone, ``"rest_for_one"`` it and those started after
            it, ``"one_for_all"`` all.
        children: Actors, :func:`child` of actors, and supervisors, in start order.
        max_restarts: More restarts than this within *period* and the supervisor gives up; 0 or above. Limits of nested
            supervisors multiply. With the default backoff, which doubles, a child reaches 8 restarts in 5 s; for more, give
            the children a ``Backoff`` with a small ``maximum``.
        period: Length of the sliding window in seconds; above 0.
        max_children: How many children there may be, static ones included; None: no limit.
        auto_shutdown: When it ends by itself, normally: ``"never"``, when ``"any_significant"`` child has ended, or when
            ``"all_significant"`` ones have.
        on_exhausted: What giving up means. ``"escalate"``: it fails in its own supervisor, the root's failure ends the tree.
            ``"shutdown"``: the whole tree ends. ``"park"``: its children are stopped and stay down until they are restarted by
            hand, everything else goes on; ``Park(retry_after=...)``: the same, and it tries again by itself. A callable is called with the supervisor's path and the last reason, then as
            ``"escalate"``. A supervisor that fails while it starts for the first time fails in any case.
    """

    name: str
    strategy: Strategy = attrs.field(default="one_for_one", kw_only=True)
    children: tuple[object, ...] = attrs.field(default=(), kw_only=True, converter=_as_tuple)
    max_restarts: int = attrs.field(default=3, kw_only=True)
    period: Seconds = attrs.field(default=5.0, kw_only=True)
    max_children: int | None = attrs.field(default=None, kw_only=True)
    auto_shutdown: AutoShutdown = attrs.field(default="never", kw_only=True)
    on_exhausted: OnExhausted | Park | Callable[..., object] = attrs.field(default="escalate", kw_only=True)


setattr(Supervisor, "__init__", checks_keywords("Supervisor", place_of)(Supervisor.__init__))  # noqa: B010 - it is generated


def child(actor: object, /, **options: object) -> Child:
    """
    *actor* with options, as a child of a :class:`Supervisor`.

    Args:
        actor: An actor that is not started; may be a child more than once.
        options: Any of :class:`Options`; they win over the attributes of the actor's class.

    Raises:
        SpecError: An option that does not exist, or *actor* is a class, or a supervisor or a child already.
    """
    if isinstance(actor, Supervisor | Child):
        kind = spec_kind(actor)
        raise SpecError(f"child() takes an actor, not a {kind}; put the {kind} into children=... as it is")
    refuse_class("child", actor)
    return Child(actor, Options.of(actor, **options))


def as_child(item: object) -> Child | Supervisor:
    """A member of ``children`` as the tree sees it: a bare actor becomes a :class:`Child` with its class's options."""
    return item if isinstance(item, Child | Supervisor) else Child(item, Options.of(item))


def refuse_class(taker: str, actor: object) -> None:
    """
    Return if *actor* is no class.

    Args:
        taker: Name of the function that was given it.
        actor: Anything.

    Raises:
        SpecError: It is a class; says what to write.
    """
    if isinstance(actor, type):
        raise SpecError(f"{taker}() takes an actor, and {actor.__name__} is a class; write {actor.__name__}(...)")


def spec_kind(spec: Supervisor | Child) -> str:
    """What it is called where an actor belongs in its place: by the function that has made it."""
    return {Supervisor: "supervisor", Child: "child"}.get(type(spec), "pool")


def default_name(actor: object) -> str:
    """What an unnamed *actor* is called: its class's name in lower case."""
    cls = actor if isinstance(actor, type) else type(actor)
    return cls.__name__.lower()


def free_name(base: str, taken: Container[str]) -> str:
    """
    *base*, or the first of ``base-2``, ``base-3``... that is not in *taken*.

    Args:
        base: Name without suffix.
        taken: Names in use.
    """
    name, number = base, 1
    while name in taken:
        number += 1
        name = f"{base}-{number}"
    return name


def child_names(children: Iterable[Child | Supervisor]) -> tuple[str, ...]:
    """
    The name of each child, in order. Names that were given stay as they are; unnamed children get what is free.

    Args:
        children: Of one supervisor.
    """
    given = [item.name if isinstance(item, Supervisor) else item.options.name for item in children]
    taken = {name for name in given if isinstance(name, str)}
    names: list[str] = []
    for item, name in zip(children, given, strict=True):
        if name is None and isinstance(item, Child):
            names.append(free_name(default_name(item.actor), taken))
            taken.add(names[-1])
        else:
            names.append(name if isinstance(name, str) else "")  # the check has a word to say about other things
    return tuple(names)


def named_children(spec: Supervisor) -> Mapping[str, Child | Supervisor]:
    """
    The children of a checked supervisor by name, in the order written.

    Args:
        spec: A supervisor that keeps every rule, so that names are unique.
    """
    children = tuple(as_child(item) for item in spec.children)
    return dict(zip(child_names(children), children, strict=True))
