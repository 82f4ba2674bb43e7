"""
The class users derive.

Owns the public face of an actor and nothing behind it: what an actor does in its process is asked of its
:class:`ActorContext`, which the loop there sets; how it gets there of its :class:`Boot`. Knows no pipe and no message.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.context
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, Literal, NoReturn, ParamSpec, Protocol, Self, TypeVar

from actors._handlers import HandlerTable, build_table
from actors._overrides import attribute_problems, close_properties, override_problems
from actors.errors import SpecError

if TYPE_CHECKING:
    from actors._channel import Channel
    from actors._pool import PoolRef
    from actors._ref import ActorRef, Down
    from actors._seams import Cancellable
    from actors._shared_array import SharedArray
    from actors.supervisor._exits import ExitReason
    from actors.supervisor._policy import Backoff
    from actors.supervisor._pool_spec import ActorPool
    from actors.supervisor._spec import Recycle

__all__ = ["Actor", "ActorContext", "Boot", "taken_names", "who"]

A = TypeVar("A", bound="Actor")
P = ParamSpec("P")


class ActorContext(Protocol):
    """What an actor can do and know in its process. Handlers are named by their names here."""

    @property
    def ref(self) -> ActorRef[Any]: ...
    @property
    def parent(self) -> ActorRef[Any] | None: ...
    @property
    def log(self) -> Any: ...
    @property
    def deadline(self) -> float | None: ...
    @property
    def cancelled(self) -> bool: ...
    @property
    def attempt(self) -> int: ...
    def spawn(self, actor: Actor, name: str | None, options: Mapping[str, Any]) -> ActorRef[Any]: ...
    def spawn_pool(self, spec: ActorPool[Any]) -> PoolRef[Any]: ...
    def whereis(self, name: str) -> ActorRef[Any]: ...
    def find_pool(self, name: str) -> PoolRef[Any]: ...
    def shared_array(self, shape: int | tuple[int, ...], dtype: Any) -> SharedArray: ...
    def channel(self, maxsize: int, name: str, *, joinable: bool, max_deliveries: int) -> Channel[Any]: ...
    def watch(self, ref: ActorRef[Any], handler: str) -> Cancellable: ...
    def link(self, ref: ActorRef[Any]) -> None: ...
    def unlink(self, ref: ActorRef[Any]) -> None: ...
    def trap_exits(self, handler: str) -> None: ...
    def call_later(self, delay: float, handler: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Cancellable: ...
    def call_every(self, period: float, handler: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Cancellable: ...
    def stop(self) -> None: ...
    def progress(self) -> None: ...


class Boot(Protocol):
    """How one incarnation gets into its process."""

    def reduce(self) -> tuple[Any, ...]:
        """What pickle writes while ``multiprocessing`` starts the incarnation."""
        ...

    def run(self, actor: Any) -> None:
        """The whole life of the incarnation, in its process."""
        ...


class Actor(multiprocessing.Process):
    """
    Derive from it, mark methods with :func:`~actors.handler`, and spawn an instance.

    Two processes see two different things. In yours, ``Counter(start=10)`` runs ``__init__`` and holds plain
    configuration: values that can travel, classes and functions. In the actor's own process an object of the same class
    is made *without* ``__init__``, gets the same attributes, and runs :meth:`on_start`: connections, files, locks and
    all other state are made there. Your process never touches the actor again; it holds its :class:`~actors.ActorRef`.

    ::

        class Counter(Actor):
            def __init__(self, start: int = 0) -> None:
                super().__init__()
                self.start_at = start

            def on_start(self) -> None:
                self.total = self.start_at

            @handler
            def add(self, amount: int) -> int:
                self.total += amount
                return self.total

    Handlers run one at a time, in the order of the messages of each sender. A handler that raises under ``ask`` fails
    that ask; under ``tell`` it crashes the actor, and its supervisor decides.

    Class attributes with the names of options (``restart = "transient"``) are the class's own defaults; ``child(...)`` and
    ``spawn(...)`` override them. On an object they mean nothing, and are refused there.

    These names are taken, for attributes, methods and handlers: ``attempt``, ``authkey``, ``call_every``, ``call_later``,
    ``cancelled``, ``channel``, ``close``, ``daemon``, ``deadline``, ``exitcode``, ``find_pool``, ``ident``, ``interrupt``, ``is_alive``,
    ``join``, ``kill``, ``link``, ``log``, ``name``, ``parent``, ``pid``, ``progress``, ``ref``, ``run``, ``sentinel``,
    ``shared_array``, ``spawn``, ``spawn_pool``, ``start``, ``stop``, ``terminate``, ``trap_exits``, ``unlink``, ``watch``
    and ``whereis``.
    """

    restart: ClassVar[Literal["permanent", "transient", "temporary"]]
    expected_exits: ClassVar[Iterable[int]]
    backoff: ClassVar[Backoff]
    max_start_failures: ClassVar[int | None]
    max_same_crashes: ClassVar[int | None]
    start_timeout: ClassVar[float]
    shutdown: ClassVar[float | None]
    term_grace: ClassVar[float]
    handler_timeout: ClassVar[float | None]
    hang_grace: ClassVar[float]
    cancel_grace: ClassVar[float | None]
    redeliver: ClassVar[int]
    max_open_asks: ClassVar[int]
    mailbox_bytes: ClassVar[int]
    mailbox_messages: ClassVar[int | None]
    on_full: ClassVar[Literal["block", "reject", "drop_newest", "drop_oldest"]]
    send_timeout: ClassVar[float]
    memory_soft: ClassVar[int | None]
    memory_hard: ClassVar[int | None]
    recycle: ClassVar[Recycle | None]
    significant: ClassVar[bool]
    after: ClassVar[Iterable[str]]

    _handlers: ClassVar[HandlerTable] = HandlerTable("Actor")
    _boot: Boot | None = None
    _context: ActorContext | None = None
    # What this class and Process put into an instance, by name; None where __init__ has not run.
    _own: Mapping[str, object] | None = None

    def __init__(self) -> None:
        given = dict(vars(self))
        super().__init__()
        # A handler called on the spec would run here, in the wrong process, on an object without its state.
        for name in type(self)._handlers:
            vars(self)[name] = _NotHere(type(self).__qualname__, name)
        self._own = {name: value for name, value in vars(self).items() if name not in given or given[name] is not value}
        lost = [name.removeprefix("_") for name in given if name in self._own]
        if lost:
            raise SpecError(f"{who(self)}: {', '.join(lost)} was set before super().__init__(), which overwrites it")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        problems = list(override_problems(cls, Actor, _FREE))
        try:
            cls._handlers = build_table(cls, _RESERVED)
        except SpecError as error:
            problems += error.problems
        if problems:
            raise SpecError(*problems)

    # --- hooks: for you to override ---------------------------------------------------------------------------------

    def on_start(self) -> None:
        """
        Make the actor's state. Runs in the actor's process before it counts as ready, in every incarnation, within
        ``start_timeout``.

        If it raises, the start has failed: :class:`~actors.StartError` where it was spawned; a restart counts as one
        more failure.
        """

    def on_stop(self, reason: ExitReason) -> None:
        """
        Let go of what the actor holds. Runs in the actor's process after its last handler, within ``shutdown`` seconds. Of an actor
        that is replaced (see :class:`~actors.Recycle`) it runs after ``on_start`` of the successor.

        Not called when the process is killed, nor when ``on_start`` has raised. What it raises is logged.

        Args:
            reason: Why it ends: asked to, or the crash that was.
        """

    def on_failure(self, error: BaseException) -> Literal["crash", "resume"]:  # noqa: ARG002 - named for overrides
        """
        Choose what an exception of a handler that nobody waits for does. Runs right after it, in the actor's process.

        Args:
            error: What the handler raised.

        Returns:
            ``"crash"`` (the default): the actor ends, and its supervisor decides. ``"resume"``: go on with the next
            message, in the state the handler left. If the hook itself raises, the actor crashes.
        """
        return "crash"

    # --- inside: for handlers and hooks -----------------------------------------------------------------------------

    @property
    def ref(self) -> ActorRef[Self]:
        """This actor's own address, to be given to others."""
        return self._inside("ref").ref

    @property
    def parent(self) -> ActorRef[Any] | None:
        """The actor that spawned this one, or None where the host did."""
        return self._inside("parent").parent

    @property
    def log(self) -> Any:
        """A structlog logger bound to this actor's path and incarnation."""
        return self._inside("log").log

    @property
    def deadline(self) -> float | None:
        """When the ask being handled ends, as a ``time.monotonic()`` value; None where there is no such time."""
        return self._inside("deadline").deadline

    @property
    def cancelled(self) -> bool:
        """Whether the asker has cancelled the ask being handled."""
        return self._inside("cancelled").cancelled

    @property
    def attempt(self) -> int:
        """
        How many incarnations have died with the message being handled in hand: 0 the first time. More than 0 only where
        ``redeliver`` lets it come again; then its effects so far may be there already.
        """
        return self._inside("attempt").attempt

    def spawn(self, actor: A, *, name: str | None = None, **options: Any) -> ActorRef[A]:
        """
        Start *actor* as a child of this actor's supervisor tree, and return its ref when it is ready.

        Args:
            actor: An unstarted actor, whose class the host has imported.
            name: Its name; by default its class's name in lower case.
            **options: As for ``child(...)``.

        Raises:
            SpecError: The actor or an option cannot be.
            StartError: It did not get ready, or the host has not imported its class.
        """
        return self._inside("spawn").spawn(actor, name, options)

    def spawn_pool(self, spec: ActorPool[A]) -> PoolRef[A]:
        """
        Start a pool of actors below this actor's supervisor, and return its ref when every worker is ready. It ends with this incarnation
        at the latest.

        Args:
            spec: A :func:`~actors.pool` of an actor whose class the host has imported. Its ``on_exhausted`` is no function.

        Raises:
            SpecError: The pool or its workers cannot be.
            StartError: A worker did not get ready, its name is taken, or the host has not imported its class.
        """
        return self._inside("spawn_pool").spawn_pool(spec)

    def whereis(self, name: str) -> ActorRef[Any]:
        """
        Return the ref of another actor by its path or its name. For on_start and handlers.

        In ``on_start`` those that start before this one are ready: earlier siblings under ``rest_for_one`` and ``one_for_all``, and those
        named in ``after``. What is sent to one that is not ready yet is queued, so tell it there, and ask it later. The ref stays
        valid over restarts: once is enough.

        Args:
            name: A path such as ``"/app/db"``; the name of a sibling, or a path below this actor's supervisor; a path without the root;
                or a name that only one actor has. The first of these that is there.

        Raises:
            SpecError: It is no string.
            ActorNotRunningError: There is none, or there are several; says which.
        """
        if not isinstance(name, str):
            raise SpecError(f"whereis({name!r:.80}): must be a path or a name")
        return self._inside("whereis").whereis(name)

    def find_pool(self, path: str) -> PoolRef[Any]:
        """
        Return the ref of a pool, also of one that stands in the tree. For on_start and handlers.

        Args:
            path: As for :meth:`whereis`: a path such as ``"/app/parsers"``, the name of a pool beside this actor, or one that only one
                pool has.

        Raises:
            SpecError: It is no string.
            ActorNotRunningError: There is none, or there are several; says which.
        """
        if not isinstance(path, str):
            raise SpecError(f"find_pool({path!r:.80}): must be a path or a name")
        return self._inside("find_pool").find_pool(path)

    def shared_array(self, shape: int | tuple[int, ...], dtype: Any = float) -> SharedArray:
        """
        Make a numpy array in memory that other processes can share: it can be sent in any message, at no cost.

        Args:
            shape: As for ``numpy.zeros``.
            dtype: As for ``numpy.zeros``; no dtype that holds Python objects.

        Raises:
            SpecError: numpy is not installed, or the shape or the dtype cannot be.
            StartError: The machine has no memory for it.
        """
        return self._inside("shared_array").shared_array(shape, dtype)

    def channel(
        self, maxsize: int = 0, name: str = "", *, joinable: bool = False, max_deliveries: int = 3
    ) -> Channel[Any]:
        """
        Make a queue between processes: it can be sent in any message, or given to an actor's constructor.

        Args:
            maxsize: Most items that stand in it; 0 for 8192, or fewer where this user's pipes are small.
            name: For errors and the log.
            joinable: Whether an item is taken until its consumer says ``task_done``, so that ``join`` can wait for all.
            max_deliveries: To how many consumers an item is given at most that each died with it; then it is a dead letter.

        Raises:
            SpecError: An argument is out of range, or the pipes that this user gets are too small.
            StartError: The machine has no room for it.
        """
        return self._inside("channel").channel(maxsize, name, joinable=joinable, max_deliveries=max_deliveries)

    def watch(self, ref: ActorRef[Any], handler: Callable[[Self, Down], object] | str) -> Cancellable:
        """
        Have *handler* called with one :class:`~actors.Down` when the present incarnation of *ref* ends; also when it
        has ended already. For on_start and handlers.

        A watch is for the process that is there, starting or running; of an actor that is between two incarnations,
        parked or gone the news comes at once; of one that has not begun yet it is for the first. Whoever has had the
        news of that end already waits for the next incarnation: watch again in *handler* to follow all of them, as
        long as ``ref.is_alive()``. A start that failed is an end, too. The news is handled as a message of its own, after everything that the dead actor had written
        to this one's inbox; if its handler raises, this actor crashes. Two watches give two of them. Watches end with
        this incarnation: the next one starts without any, and ``on_start`` is the place to watch again.

        Args:
            ref: Whom to watch.
            handler: A handler of this actor, as ``Counter.on_down``, or its name. It takes one argument.

        Returns:
            What takes the watch back: after ``cancel()`` nothing is delivered, also not what has arrived already.

        Raises:
            SpecError: It watches itself, or an actor of another system.
            HandlerNotFoundError: There is no such handler.
            ArgumentsError: It does not take one argument.
        """
        return self._inside("watch").watch(ref, self._own_handler(handler, (None,), {}))

    def link(self, ref: ActorRef[Any]) -> None:
        """
        Tie this incarnation and the present one of *ref* together: when one ends abnormally, the other ends, too.

        Any end is abnormal but a normal one and a requested one. The one that is left ends between two messages, with
        an :class:`~actors.ExitReason` of kind ``crash`` whose error says whom it was linked to and why that ended, and
        its own supervisor decides on a restart. A handler that runs has ``shutdown`` seconds to finish; then come
        SIGTERM and, after ``term_grace``, SIGKILL. A link to an actor that has ended already takes this one down at
        once, however it ended. No link outlives either incarnation. Linking twice is linking once.

        Args:
            ref: Whom to link to.

        Raises:
            SpecError: It links to itself, or to an actor of another system.
        """
        self._inside("link").link(ref)

    def unlink(self, ref: ActorRef[Any]) -> None:
        """
        Take a link back. When it returns, no death of *ref* comes through it, not even one that was on its way.

        Args:
            ref: Whom to unlink from. Harmless where there is no link.

        Raises:
            SpecError: As for :meth:`link`.
        """
        self._inside("unlink").unlink(ref)

    def trap_exits(self, handler: Callable[[Self, Down], object] | str | None) -> None:
        """
        Have deaths of linked actors come as messages, instead of ending this one: also normal ends.

        Args:
            handler: A handler of this actor, as ``Pool.on_exit``, or its name; it takes one argument, a
                :class:`~actors.Down`. None to be ended by them again.

        Raises:
            HandlerNotFoundError: There is no such handler.
            ArgumentsError: It does not take one argument.
        """
        name = "" if handler is None else self._own_handler(handler, (None,), {})
        self._inside("trap_exits").trap_exits(name)

    def call_later(
        self, delay: float, handler: Callable[Concatenate[Self, P], object], /, *args: P.args, **kwargs: P.kwargs
    ) -> Cancellable:
        """
        Have a handler of this actor called once, in its turn, after *delay* seconds at the earliest.

        Args:
            delay: Seconds, at least 0.
            handler: A handler of this actor, as ``Counter.add``.
            *args: Its arguments.
            **kwargs: The same, by name.
        """
        name = self._own_handler(handler, args, kwargs)
        return self._inside("call_later").call_later(_seconds("delay", delay), name, args, kwargs)

    def call_every(
        self, period: float, handler: Callable[Concatenate[Self, P], object], /, *args: P.args, **kwargs: P.kwargs
    ) -> Cancellable:
        """
        Have a handler of this actor called every *period* seconds, the first time after one period, until cancelled.

        Args:
            period: Seconds, above 0. A call that is late does not make later ones come in a burst.
            handler: A handler of this actor, as ``Counter.tick``.
            *args: Its arguments.
            **kwargs: The same, by name.
        """
        name = self._own_handler(handler, args, kwargs)
        if _seconds("period", period) == 0:
            raise SpecError("period=0: must be above 0")
        return self._inside("call_every").call_every(period, name, args, kwargs)

    def stop(self) -> None:
        """End this actor for good, normally, after the handler that calls it. What is queued becomes dead letters."""
        self._inside("stop").stop()

    def progress(self) -> None:
        """
        Say that the handler that runs is getting on: ``handler_timeout`` counts from here again.

        It counts where the handler itself says it. From another thread it says nothing: a thread that beats lives on when the
        handler is dead-locked.
        """
        self._inside("progress").progress()

    def _inside(self, name: str) -> ActorContext:
        found = self._context
        if found is None:
            raise SpecError(
                f"{type(self).__qualname__}.{name} is there in the actor's own process only, from on_start on; "
                "here is the spec of an actor: spawn it, and send to its ref"
            )
        return found

    def _own_handler(self, handler: object, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        from actors._ref import handler_name  # noqa: PLC0415 - a ref names actors, an actor refs; this one is needed last

        name = handler_name(handler)
        self._handlers.check(name, args, kwargs)
        return name

    # --- what multiprocessing sees ----------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until the end. The framework's own; override the hooks."""
        if self._boot is None:
            raise SpecError(f"{who(self)} is not started this way: use system.spawn(...)")
        self._boot.run(self)

    def start(self) -> None:
        """
        Not for actors: they are started by ``system.spawn(actor)``, which supervises them.

        Raises:
            SpecError: Always.
        """
        raise SpecError(f"{who(self)} cannot be started by start(): use system.spawn(actor), which supervises it")

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        if self._boot is not None and multiprocessing.context.get_spawning_popen() is not None:
            return self._boot.reduce()
        raise SpecError(
            f"{who(self)} can be neither copied nor pickled: send its ref, or make another with the same arguments"
        )

    def __repr__(self) -> str:
        name = type(self).__qualname__
        if self._context is not None:
            return f"<{name} {self._context.ref.path}>"
        return f"<{name}, starting>" if self._boot is not None else f"<{name}, not started>"


_HOOKS = frozenset(("on_start", "on_stop", "on_failure"))
_FREE = _HOOKS | {name for name in (*Actor.__annotations__, "name") if not name.startswith("_")}
_RESERVED = frozenset(dir(Actor)) | frozenset(Actor.__annotations__) | {"name"}
_TAKEN = frozenset(name for name in dir(Actor) if not (name.startswith("__") and name.endswith("__"))) - _HOOKS
_OPTIONS = _FREE - _HOOKS
close_properties(Actor)


class _NotHere:
    """What stands where a handler was on an actor that is not started."""

    __slots__ = ("_name", "_owner")

    def __init__(self, owner: str, name: str) -> None:
        self._owner = owner
        self._name = name

    def __repr__(self) -> str:
        return f"{self._name} of the unstarted {self._owner}(...)"

    def __call__(self, *_args: object, **_kwargs: object) -> NoReturn:
        handler = f"{self._owner}.{self._name}"
        raise SpecError(
            f"{handler} was called on an actor that is not started: use ref = system.spawn(...), and then "
            f"ref.ask({handler}, ...) or ref.tell({handler}, ...)"
        )


def who(actor: Actor) -> str:
    """Return what an actor is called in errors: its class."""
    return type(actor).__qualname__


def taken_names(actor: Actor, attributes: Mapping[str, object]) -> list[str]:
    """
    Which *attributes* of an actor that is not started have a name that is an option's or the framework's own, one sentence each.

    Args:
        actor: The actor.
        attributes: What its ``__init__`` has set.
    """
    return list(attribute_problems(who(actor), attributes, _TAKEN, _OPTIONS))


def _seconds(name: str, value: float) -> float:
    checked: object = value
    if isinstance(checked, bool) or not isinstance(checked, int | float) or not checked >= 0:
        raise SpecError(f"{name}={value!r}: must be seconds, at least 0")
    return checked
