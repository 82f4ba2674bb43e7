"""
What the shell tells the tree, and what the tree tells the shell: frozen values, nothing else.

Events are in the past tense or requests of a user; effects are imperative or news. An actor is named by its *uid*: one per actor
spec, unique in its system, never used again. Everything about one process carries its *incarnation* (1, 2, 3... of one uid), so
that news of an old process changes nothing. Times are ``time.monotonic()`` seconds.

Performing an effect never fails back into the tree: what cannot be stopped or signalled any more has an exit on its way, and a
process that cannot be started is an :class:`ActorExited` with the reason.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

from actors.supervisor._exits import ExitReason
from actors.supervisor._spec import Child, Supervisor
from actors.supervisor._state import Tick

__all__ = [
    "ActorExited",
    "ActorGone",
    "ActorParked",
    "ActorReady",
    "AddActor",
    "AddSupervisor",
    "Effect",
    "Event",
    "GaveUp",
    "HandOver",
    "IntensityExceeded",
    "KillActor",
    "KillReason",
    "PromoteActor",
    "RefusalKind",
    "Refused",
    "ReplaceActor",
    "RestartActor",
    "RestartScheduled",
    "RestartSupervisor",
    "Shutdown",
    "Start",
    "StartActor",
    "StopActor",
    "StopActorProcess",
    "StopSupervisor",
    "SupervisorGone",
    "SupervisorStarted",
    "TerminateActor",
    "Tick",
    "TreeFinished",
    "TreeStarted",
]

KillReason: TypeAlias = Literal["boot_timeout", "shutdown"]
RefusalKind: TypeAlias = Literal["refused", "max_children"]


# ---------------------------------------------------------------- events


@attrs.frozen
class Start:
    """Start the tree. Once; later ones change nothing."""


@attrs.frozen
class ActorReady:
    """The incarnation ran ``on_start`` and is ready for messages."""

    uid: int
    incarnation: int


@attrs.frozen
class ActorExited:
    """
    The incarnation is dead and classified, or could not be started.

    Attributes:
        jitter: A uniform sample in [0, 1), for the backoff of this very restart.
    """

    uid: int
    incarnation: int
    reason: ExitReason
    jitter: float = 0.0


@attrs.frozen
class AddActor:
    """Add a child at run time. Answered by :class:`StartActor`, at once or in its turn, or by :class:`Refused`."""

    parent_path: str
    child: Child
    uid: int
    name: str


@attrs.frozen
class AddSupervisor:
    """
    Add a whole subtree at run time. Answered by effects of its start, or by :class:`Refused`.

    Attributes:
        first_uid: The actors of the subtree get ``first_uid``, ``first_uid + 1``, ... in the order of
            :func:`~actors.supervisor._tree.plan`; the supervisors in it have no uid.
    """

    parent_path: str
    spec: Supervisor
    first_uid: int


@attrs.frozen
class StopActor:
    """Stop the actor by its ladder and remove it. Ends in :class:`ActorGone`; of a uid that is gone already: nothing."""

    uid: int


@attrs.frozen
class RestartActor:
    """Stop the actor by its ladder and start it anew; one that is down or parked starts at once. Counts in no intensity."""

    uid: int


@attrs.frozen
class StopSupervisor:
    """Stop the subtree in reverse order and remove it. The root: the whole tree."""

    path: str


@attrs.frozen
class RestartSupervisor:
    """Stop the subtree in reverse order and start it anew with fresh counters; one that is down or parked starts at once."""

    path: str


@attrs.frozen
class ReplaceActor:
    """
    This incarnation is worn (recycling, memory): have the next one ready, then let the mailbox change hands.

    Counts in no intensity. Nothing happens if it is not the running incarnation, or is to go down anyway; a sibling that is being
    replaced already goes first.
    """

    uid: int
    incarnation: int


@attrs.frozen
class Shutdown:
    """
    Stop the whole tree in reverse order.

    Attributes:
        deadline: From then on everything that is left is killed, whatever its ladder says. None: as long as the ladders take.
            Of several shutdowns the earliest deadline holds.
    """

    deadline: float | None = None


Event: TypeAlias = (
    Start
    | ActorReady
    | ActorExited
    | AddActor
    | AddSupervisor
    | StopActor
    | RestartActor
    | StopSupervisor
    | RestartSupervisor
    | ReplaceActor
    | Shutdown
    | Tick
)


# ---------------------------------------------------------------- effects


@attrs.frozen
class StartActor:
    """
    Start this incarnation. Answered by :class:`ActorReady` and, sooner or later, :class:`ActorExited`.

    Attributes:
        standby: The one before it still serves: it becomes ready (``on_start``), but takes no message before
            :class:`PromoteActor`.
    """

    uid: int
    incarnation: int
    standby: bool = False


@attrs.frozen
class HandOver:
    """
    Ask this incarnation to leave after the message being handled, with what is queued left to the next one, which stands by.

    The first rung of its ladder, as :class:`StopActorProcess` is.
    """

    uid: int
    incarnation: int


@attrs.frozen
class PromoteActor:
    """The incarnation before it has ended: let this one, which stood by and is ready, take the mailbox and serve."""

    uid: int
    incarnation: int


@attrs.frozen
class StopActorProcess:
    """Ask politely: first rung of the ladder. It may still be starting."""

    uid: int
    incarnation: int


@attrs.frozen
class TerminateActor:
    """Send SIGTERM: second rung."""

    uid: int
    incarnation: int


@attrs.frozen
class KillActor:
    """Send SIGKILL, also to what it left behind: last rung. Comes again every second until the exit is reported."""

    uid: int
    incarnation: int
    why: KillReason


@attrs.frozen
class ActorGone:
    """
    No incarnation of this uid will ever come. Exactly once per uid, as soon as it is known, after its last exit.

    Attributes:
        reason: Of its last exit; kind ``requested`` for one that never ran.
    """

    uid: int
    reason: ExitReason


@attrs.frozen
class ActorParked:
    """
    No incarnation of this uid will come by itself, but one may come if something else does: a transient child that ended as
    expected, or a child of a supervisor that was parked. Treat it as gone (its mail becomes dead letters, its asks end) until a
    :class:`StartActor` of the same uid or :class:`ActorGone` follows.
    """

    uid: int
    reason: ExitReason


@attrs.frozen
class RestartScheduled:
    """
    A death is answered by a restart.

    Attributes:
        incarnation: The one that died.
        at: When it is due; one that waits for its elders may come later.
        attempt: 1 for the first failure after a stable run.
    """

    uid: int
    incarnation: int
    at: float
    attempt: int


@attrs.frozen
class IntensityExceeded:
    """
    A supervisor saw more than its limit and gives up, as its ``on_exhausted`` says.

    Attributes:
        restarts: How many deaths in the window asked for one, the last one included.
        max_restarts: How many it allows.
        period: Within how many seconds.
        reason: The death that was one too many.
        then: What follows, in a few words.
    """

    path: str
    restarts: int
    max_restarts: int
    period: float
    reason: ExitReason
    then: str


@attrs.frozen
class GaveUp:
    """
    The supervisor whose giving up ended the tree: the root, or one below it with ``on_exhausted="shutdown"``.

    Attributes:
        max_restarts: How many restarts it allowed.
        period: Within how many seconds.
    """

    path: str
    max_restarts: int
    period: float


@attrs.frozen
class SupervisorStarted:
    """All children of this supervisor are ready. Again after each restart of it; never for the root, which has TreeStarted."""

    path: str


@attrs.frozen
class SupervisorGone:
    """The path is free again: this supervisor was removed, or ended with the tree."""

    path: str


@attrs.frozen
class TreeStarted:
    """Every static child of the whole tree has been ready. Once."""


@attrs.frozen
class TreeFinished:
    """
    Nothing runs any more and nothing will. The last effect of a tree.

    Attributes:
        outcome: ``"stopped"`` when asked to or by ``auto_shutdown``; ``"failed"`` after a failed start or an exhausted root.
        last_reason: The death that failed the tree, or None.
        gave_up: Who saw more restarts than it allows, if that failed the tree; None: a first start failed, or nothing did.
    """

    outcome: Literal["failed", "stopped"]
    last_reason: ExitReason | None
    gave_up: GaveUp | None = None


@attrs.frozen
class Refused:
    """
    A request that cannot be done; it changed nothing.

    Attributes:
        request: The event itself.
        why: A sentence naming path or name, and the rule.
        kind: ``"max_children"`` if there is no room for one more child, and for no other reason.
    """

    request: AddActor | AddSupervisor | RestartActor | RestartSupervisor | StopSupervisor
    why: str
    kind: RefusalKind = "refused"


Effect: TypeAlias = (
    StartActor
    | HandOver
    | PromoteActor
    | StopActorProcess
    | TerminateActor
    | KillActor
    | ActorGone
    | ActorParked
    | RestartScheduled
    | IntensityExceeded
    | SupervisorStarted
    | SupervisorGone
    | TreeStarted
    | TreeFinished
    | Refused
)
