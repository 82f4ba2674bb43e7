"""
Where refs, replies and actors meet the process they run in, and nothing of how it works.

A ref is a plain address; what sends for it in this process is a :class:`Node`: the host has one per system, an actor
has one. This module owns the table of the nodes of this process and the protocols that both sides are written against.
It imports only errors.

After ``os.fork()`` in user code the child holds copies of the host's nodes, whose pipes and threads are not its own:
they are taken out of the table at once, and every use of the system there says which process it belongs to.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, TypeAlias, TypeVar

import attrs

from actors.errors import ActorNotRunningError, ActorsError, SpecError

if TYPE_CHECKING:
    from actors._channels import Channels
    from actors._handlers import HandlerInfo
    from actors._pool_router import Routers
    from actors._ref import ActorRef
    from actors._reply import Reply
    from actors._shares import Shares

__all__ = [
    "ActorInfo",
    "ActorStatistics",
    "Cancellable",
    "Keeper",
    "Node",
    "OnFull",
    "Stream",
    "check_process",
    "find_node",
    "nodes",
    "register_node",
    "unregister_node",
]

OnFull: TypeAlias = Literal["block", "reject", "drop_newest"]
"""What a sender does when the inbox is full. ``"drop_oldest"`` is the receiver's, and no option of a ref."""

T_co = TypeVar("T_co", covariant=True)


class Cancellable(Protocol):
    """A watch or a timer that can be taken back."""

    def cancel(self) -> bool:
        """Take it back. False when it was over already."""
        ...


class Stream(Protocol[T_co]):
    """The items of a generator handler, as they arrive: to be read by ``for`` or ``async for``, once."""

    def __iter__(self) -> Iterator[T_co]: ...

    def __next__(self) -> T_co: ...

    def __aiter__(self) -> AsyncIterator[T_co]: ...

    async def __anext__(self) -> T_co: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def close(self) -> None:
        """End it early: the handler gets ``GeneratorExit`` at its ``yield``."""
        ...


@attrs.frozen
class ActorInfo:
    """
    One actor of a system, as it is at this moment.

    Attributes:
        path: Where it stands in the tree.
        uid: Its number; never used again.
        pid: Its process, or None between two incarnations.
        incarnation: 1, 2, 3…; 0 before the first.
        state: ``"starting"``, ``"idle"``, ``"handling"``, ``"stopping"``, ``"down"``…
        restarts: How often it was started again.
    """

    path: str
    uid: int
    pid: int | None
    incarnation: int
    state: str
    restarts: int


@attrs.frozen
class ActorStatistics:
    """
    What is known of one actor, read without asking it: it may hang, or be between two incarnations.

    Attributes:
        path: The actor's path.
        incarnation: 1, 2, 3…; 0 before the first start.
        state: What it does, such as ``"idle"`` or ``"handling"``.
        handler: Name of the handler that runs, or ``""``.
        restarts: How often it was started again.
        handled: Messages handled, by all incarnations.
        queued_messages: Messages that it has read and not handled. Beyond 64 KiB of them reckoned from the first 64 KiB.
        queued_bytes: Their bytes.
        mailbox_messages: Most messages that it reads ahead; None for no limit but the bytes.
        mailbox_bytes: Most bytes that it reads ahead.
        pipe_queued_bytes: Bytes that stand in its inbox, unread.
        pipe_bytes: What the pipe of its inbox holds.
        dropped: Messages that it has dropped for newer ones, by ``on_full="drop_oldest"``.
        open_asks: Asks of this process that it has not answered.
        late_replies: Answers that came after their ask had ended here.
    """

    path: str
    incarnation: int = 0
    state: str = ""
    handler: str = ""
    restarts: int = 0
    handled: int = 0
    queued_messages: int = 0
    queued_bytes: int = 0
    mailbox_messages: int | None = None
    mailbox_bytes: int = 0
    pipe_queued_bytes: int = 0
    pipe_bytes: int = 0
    dropped: int = 0
    open_asks: int = 0
    late_replies: int = 0


class Keeper(Protocol):
    """What a reply needs of whoever keeps the open asks of this process."""

    def expire(self, reply: Reply[Any]) -> None:
        """*reply* is past its own deadline: forget the ask, then ``reply.fail(AskTimeoutError(...))``."""

    def cancel(self, reply: Reply[Any]) -> None:
        """*reply* was cancelled here and is done already: forget the ask, and tell the actor."""

    def run_callback(self, function: Callable[[Any], object], reply: Reply[Any], /) -> None:
        """Call ``function(reply)`` in the callback thread. Never blocks; may be asked twice for the same function object."""


class Node(Keeper, Protocol):
    """
    What sends, waits and knows in this process, for one system. Every method may be called from any thread.

    ``name`` is the handler's. The options of a send are fields of the ref: ``timeout``, ``on_full``, ``send_timeout``.
    """

    @property
    def shares(self) -> Shares:
        """The shared memory of this process."""
        ...

    @property
    def pools(self) -> Routers:
        """The pools that this process sends to."""
        ...

    @property
    def channels(self) -> Channels:
        """The channels of this process."""
        ...

    def tell(
        self,
        ref: ActorRef[Any],
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        checked: HandlerInfo | None = None,
    ) -> None:
        """Send, and forget. The arguments are known to fit the handler *checked*."""
        ...

    def ask(self, ref: ActorRef[Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Reply[Any]:
        """Send, and hand out the reply to come."""
        ...

    def stream(self, ref: ActorRef[Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Stream[Any]:
        """Send to a generator handler, and hand out its items to come."""
        ...

    def flush(self, ref: ActorRef[Any]) -> None:
        """Return when everything told to *ref* by this process is written to its inbox."""
        ...

    def stop(self, ref: ActorRef[Any], drain: bool) -> None:
        """Stop the actor for good, after what is queued if *drain*."""
        ...

    def is_alive(self, ref: ActorRef[Any]) -> bool:
        """Whether it runs, or will again."""
        ...

    def incarnation(self, ref: ActorRef[Any]) -> int:
        """The number of its last start; 0 before the first."""
        ...

    def statistics(self, ref: ActorRef[Any]) -> ActorStatistics:
        """What is known of it, without asking it."""
        ...


nodes: dict[str, Node] = {}
"""The nodes of this process, by system. Looked up directly where a microsecond counts; else by :func:`find_node`."""

_stopped: set[str] = set()
_forked: dict[str, int] = {}


def register_node(system: str, node: Node) -> None:
    """Make *node* the one that sends for the refs of *system* in this process."""
    _forked.pop(system, None)
    _stopped.discard(system)
    nodes[system] = node


def unregister_node(system: str) -> None:
    """Take the node of *system* out; its refs then say that the system has stopped. Harmless when there is none."""
    if nodes.pop(system, None) is not None:
        _stopped.add(system)


def find_node(system: str, path: str = "") -> Node:
    """
    The node that sends for refs of *system* in this process.

    Args:
        system: Name of the system, unique on the machine.
        path: Path of the actor in question, for the error's text.

    Raises:
        ActorsError: The process is a fork of the one that the system belongs to.
        ActorNotRunningError: The system ran in this process, and has stopped.
        SpecError: The ref is of another system.
    """
    node = nodes.get(system)
    if node is not None:
        return node
    check_process(system)
    who = path or "the ref"
    if system in _stopped:
        raise ActorNotRunningError(f"{who} cannot be reached: system {system!r} has stopped", target=path)
    here = ", ".join(map(repr, sorted(nodes))) or "none"
    raise SpecError(
        f"{who} belongs to system {system!r}, which this process ({os.getpid()}) has no part in; here is: {here}"
    )


def check_process(system: str) -> None:
    """
    Return if *system* may be used here, as far as forks are concerned.

    Raises:
        ActorsError: This process is a fork of the one that the system belongs to.
    """
    if _forked and system in _forked:
        owner = _forked[system]
        raise ActorsError(
            f"system {system!r} belongs to process {owner}, and this is process {os.getpid()}, forked from it: "
            "its pipes and threads are not here; make a system of your own, or send from process "
            f"{owner}"
        )


def _after_fork_in_child() -> None:  # pragma: no cover - runs where nobody measures; a test looks at what it did
    owner = os.getppid()
    for system in tuple(nodes):
        _forked[system] = owner
    nodes.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)
