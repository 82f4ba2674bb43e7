"""
The values of one supervisor: its children, its state, its events and effects. No decisions: those are in ``_machine``.

A child is an id with a rule; whether it is an actor or another supervisor is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

import attrs

from actors.supervisor._exits import ExitReason
from actors.supervisor._policy import Backoff, RestartType, Seconds
from actors.supervisor._spec import Options, Supervisor

__all__ = [
    "SUPERVISOR_RULE",
    "AddChild",
    "ChildExited",
    "ChildGone",
    "ChildId",
    "ChildParked",
    "ChildRestartScheduled",
    "ChildRule",
    "ChildStarted",
    "ChildState",
    "Disown",
    "Down",
    "Exhausted",
    "Finish",
    "HandOverChild",
    "KillChild",
    "MachineEffect",
    "MachineEvent",
    "MachineState",
    "Mode",
    "Outcome",
    "Phase",
    "PromoteChild",
    "Ready",
    "RemoveChild",
    "ReplaceChild",
    "Replacement",
    "RestartChild",
    "Running",
    "StartChild",
    "StartRequested",
    "Starting",
    "StopChild",
    "StopRequested",
    "Stopping",
    "TerminateChild",
    "Tick",
    "Wanted",
]

ChildId: TypeAlias = int
Wanted: TypeAlias = Literal["up", "replaced", "restart", "parked", "gone"]
Mode: TypeAlias = Literal["new", "booting", "serving", "parked", "stopping", "finished"]
Outcome: TypeAlias = Literal["failed", "stopped", "ended"]


# ---------------------------------------------------------------- a child


@attrs.frozen
class ChildRule:
    """
    What the machine needs to know of one child; the meaning is that of :class:`~actors.supervisor._spec.Options`.

    Attributes:
        start_timeout: Seconds, or None for a child that bounds its own start, as a supervisor does.
        after: Ids of the siblings that must be running before it starts.
    """

    restart: RestartType = "permanent"
    expected_exits: tuple[int, ...] = (0,)
    backoff: Backoff = Backoff()  # noqa: RUF009 - frozen, so one is enough for all
    start_timeout: Seconds | None = 30.0
    shutdown: Seconds | None = 5.0
    term_grace: Seconds = 2.0
    significant: bool = False
    after: tuple[ChildId, ...] = ()
    max_start_failures: int | None = None
    max_same_crashes: int | None = None

    @classmethod
    def of(cls, options: Options, after: tuple[ChildId, ...] = ()) -> ChildRule:
        """
        The rule in an actor's options.

        Args:
            options: Checked options.
            after: The ids that ``options.after`` names.
        """
        return cls(
            restart=options.restart,
            expected_exits=options.expected_exits,
            backoff=options.backoff,
            start_timeout=options.start_timeout,
            shutdown=options.shutdown,
            term_grace=options.term_grace,
            significant=options.significant,
            after=after,
            max_start_failures=options.max_start_failures,
            max_same_crashes=options.max_same_crashes,
        )


# A supervisor as a child. It comes back when it failed, not when it ended by auto_shutdown; at once, since the children inside have
# had their own backoff; and it is waited for without limit, or its actors would be orphans (OTP's warning), each of which is
# bounded by its own ladder.
SUPERVISOR_RULE: Final = ChildRule(
    restart="transient", backoff=Backoff(initial=0.0), start_timeout=None, shutdown=None, term_grace=0.0
)


@attrs.frozen
class Down:
    """No process. *start_at*: when it is due, if it is wanted up; None: never by itself."""

    start_at: Seconds | None = None


@attrs.frozen
class Starting:
    """
    A process that is not ready. *deadline*: when it counts as failed, or None.

    *standby*: it was started to stand by, and the one before it has died since: it takes the mailbox when it is told to.
    """

    deadline: Seconds | None
    standby: bool = False


@attrs.frozen
class Running:
    """Ready, *since* then."""

    since: Seconds


@attrs.frozen
class Stopping:
    """
    On its way out. *rung* is the last thing that was done to it, *deadline* when the next one is due, or None.

    On the rung ``kill`` the deadline is when the kill is said again: it may have met a process that was not made yet.
    """

    rung: Literal["stop", "terminate", "kill"]
    deadline: Seconds | None
    why: Literal["shutdown", "boot_timeout"] = "shutdown"


Phase: TypeAlias = Down | Starting | Running | Stopping


@attrs.frozen
class Replacement:
    """
    The next process of a child that goes on serving until that one is ready.

    Attributes:
        phase: ``Down`` while it is only asked for, and due then, in its turn; later that of the process. ``Running``: it stands by.
        incarnation: Of the process; 0: none yet.
        attempt: Failed starts in a row.
    """

    phase: Phase
    incarnation: int = 0
    attempt: int = 0

    @property
    def is_alive(self) -> bool:
        """Whether there is a process whose exit is yet to come."""
        return not isinstance(self.phase, Down)


@attrs.frozen
class ChildState:
    """
    One child.

    Attributes:
        dynamic: Added at run time: removed when it ends, when its first start fails, and with its supervisor.
        incarnation: Of the process that serves, or of the last that did; 0: none yet.
        issued: The highest incarnation so far, that of a replacement included. None is used twice.
        replacement: The process that is to take over, or None.
        attempt: Failures since the last stable run.
        booted: It has been ready in this life of the supervisor.
        restarts: Own deaths that were answered by a restart, ever.
        reason: Of its last exit, or None.
        failed_starts: In a row.
        fingerprint: Of its last death, if those are counted and it had one.
        same_crashes: Deaths in a row with that.
    """

    id: ChildId
    rule: ChildRule
    dynamic: bool = False
    phase: Phase = Down()
    wanted: Wanted = "up"
    incarnation: int = 0
    issued: int = 0
    replacement: Replacement | None = None
    attempt: int = 0
    booted: bool = False
    restarts: int = 0
    reason: ExitReason | None = None
    failed_starts: int = 0
    fingerprint: str | None = None
    same_crashes: int = 0

    @property
    def has_process(self) -> bool:
        """Whether the process that serves is there; its exit is yet to come."""
        return not isinstance(self.phase, Down)

    @property
    def is_alive(self) -> bool:
        """Whether any process of it is there, one that stands by included."""
        return self.has_process or (self.replacement is not None and self.replacement.is_alive)


@attrs.frozen
class MachineState:
    """
    One supervisor.

    Attributes:
        spec: Strategy, intensity and so on; its ``children`` are not looked at.
        children: By id, in start order. Never changed in place.
        outcome: What stopping leads to: ``failed``, ``stopped`` on request, ``ended`` by auto_shutdown.
        reason: The death that led to it, or None.
        kill_at: When whatever is left is killed, or None.
        revive_at: When it starts its children again, while it is parked; None: not by itself.
        ending: auto_shutdown is due as soon as everything has started.
        final: No other life of this supervisor will come: children that are down while it stops are gone.
        times: Moments of the restarts within the window.
        due: See :func:`~actors.supervisor._machine.next_deadline`.
    """

    spec: Supervisor
    children: Mapping[ChildId, ChildState]
    mode: Mode = "new"
    outcome: Outcome = "stopped"
    reason: ExitReason | None = None
    kill_at: Seconds | None = None
    revive_at: Seconds | None = None
    ending: bool = False
    final: bool = False
    times: tuple[Seconds, ...] = ()
    due: Seconds | None = None


# ---------------------------------------------------------------- events


@attrs.frozen
class StartRequested:
    """Begin, or begin another life after Finish; of one that was parked: start all children again."""


@attrs.frozen
class ChildStarted:
    """That incarnation is ready."""

    id: ChildId
    incarnation: int


@attrs.frozen
class ChildExited:
    """That incarnation is no more. *jitter*: uniform sample in [0, 1)."""

    id: ChildId
    incarnation: int
    reason: ExitReason
    jitter: float = 0.0


@attrs.frozen
class AddChild:
    """Add a child at the end of the start order. Changes nothing while :func:`~actors.supervisor._machine.refusal` says why."""

    id: ChildId
    rule: ChildRule


@attrs.frozen
class RemoveChild:
    """Stop and remove, in any mode."""

    id: ChildId


@attrs.frozen
class RestartChild:
    """Stop, if it runs, and start with a clean record."""

    id: ChildId


@attrs.frozen
class ReplaceChild:
    """That incarnation is to hand over to the next one. Changes nothing unless it runs, and is wanted to."""

    id: ChildId
    incarnation: int


@attrs.frozen
class StopRequested:
    """Stop everything; kill what is left at *deadline*. *failed*: the reason if that counts as a failure."""

    deadline: Seconds | None = None
    failed: ExitReason | None = None


@attrs.frozen
class Disown:
    """No other life of this supervisor will come."""


@attrs.frozen
class Tick:
    """Look at the time."""


MachineEvent: TypeAlias = (
    StartRequested
    | ChildStarted
    | ChildExited
    | AddChild
    | RemoveChild
    | RestartChild
    | ReplaceChild
    | StopRequested
    | Disown
    | Tick
)


# ---------------------------------------------------------------- effects


@attrs.frozen
class StartChild:
    """Start that incarnation. Ends in ChildExited, sooner or later. *standby*: the one before it still serves."""

    id: ChildId
    incarnation: int
    standby: bool = False


@attrs.frozen
class HandOverChild:
    """Ask it to leave its work to the next one, which stands by. The first rung of its ladder."""

    id: ChildId
    incarnation: int


@attrs.frozen
class PromoteChild:
    """It stood by and is ready, and the one before it has ended: it serves now."""

    id: ChildId
    incarnation: int


@attrs.frozen
class StopChild:
    """Ask politely."""

    id: ChildId
    incarnation: int


@attrs.frozen
class TerminateChild:
    """SIGTERM."""

    id: ChildId
    incarnation: int


@attrs.frozen
class KillChild:
    """SIGKILL. Said again until the exit is reported."""

    id: ChildId
    incarnation: int
    why: Literal["shutdown", "boot_timeout"]


@attrs.frozen
class ChildGone:
    """Removed: no incarnation will ever come. Once per id."""

    id: ChildId
    reason: ExitReason


@attrs.frozen
class ChildParked:
    """It stays down until something asks for it."""

    id: ChildId
    reason: ExitReason


@attrs.frozen
class ChildRestartScheduled:
    """The death of that incarnation is answered by a restart, due *at*."""

    id: ChildId
    incarnation: int
    at: Seconds
    attempt: int


@attrs.frozen
class Exhausted:
    """The intensity was exceeded by this death; *restarts* within the window, it included."""

    restarts: int
    reason: ExitReason


@attrs.frozen
class Ready:
    """All static children have been started. Once per life."""


@attrs.frozen
class Finish:
    """All children are down and will stay so. Once per life."""

    outcome: Outcome
    reason: ExitReason | None


MachineEffect: TypeAlias = (
    StartChild
    | HandOverChild
    | PromoteChild
    | StopChild
    | TerminateChild
    | KillChild
    | ChildGone
    | ChildParked
    | ChildRestartScheduled
    | Exhausted
    | Ready
    | Finish
)
