"""
Why a process ended. Owns :class:`ExitReason`, the one table that classifies a death, and its plain form for the wire.

Every death gets exactly one kind; whatever else is known stands beside it as evidence. An exit code alone is never a verdict:
it is joined with the crash report the child wrote, with what the supervisor itself intended, and with the kernel's count of
out-of-memory kills.

The table is ``_TABLE`` below: the first row that fits decides. Two things it takes care of:

- *A kill that came too late.* A child that left by itself (exit code 0 or above) just before it was killed for hanging has not
  been killed: the intent becomes evidence, and the exit code decides.
- *A stop that went wrong.* A child that was asked to stop and then wrote a crash report crashed; one that caught SIGSEGV died of
  a signal. Only a quiet leave, SIGTERM and SIGKILL count as ``requested``.

Must not know: processes, pids, who restarts what.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal, TypeAlias, cast, get_args

import attrs

from actors.errors import ProtocolError

__all__ = [
    "EXIT_KINDS",
    "SUPERVISOR_LOST_EXIT_CODE",
    "ExitKind",
    "ExitReason",
    "KilledFor",
    "classify",
    "describe",
    "from_data",
    "signal_name",
    "to_data",
]

ExitKind: TypeAlias = Literal[
    "normal",
    "requested",
    "crash",
    "boot_failure",
    "boot_timeout",
    "hang",
    "memory_limit",
    "oom_kernel",
    "signal",
    "protocol",
    "supervisor_lost",
    "unknown",
]
KilledFor: TypeAlias = Literal["boot_timeout", "hang", "memory_limit", "shutdown", "protocol"] | None

EXIT_KINDS: Final[tuple[ExitKind, ...]] = get_args(ExitKind)

# Numbers of Linux on x86, ARM, RISC-V and POWER; the module `signal` would tie this pure module to the running platform.
_SIGNALS: Final = (
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
)
_FIRST_REALTIME_SIGNAL: Final = 34  # glibc keeps 32 and 33 for itself
_LAST_SIGNAL: Final = 64
_SIGKILL: Final = 9
_SIGTERM: Final = 15

# With which a child leaves that finds its host gone. Below the codes of shells (126 and above), none of sysexits.h (64 to 78).
SUPERVISOR_LOST_EXIT_CODE: Final = 113

# What can reasonably stand there; a wait status is 8 bits, a signal number 7.
_MAX_EXIT_CODE: Final = 2**32
_MAX_EVIDENCE: Final = 64
_MAX_STATUS: Final = 2**16
_MAX_BYTES: Final = 2**62


@attrs.frozen
class ExitReason:
    """
    Why one incarnation ended.

    Attributes:
        kind: One of the twelve of :data:`EXIT_KINDS`.
        exit_code: What ``Process.exitcode`` would say: 0 or above as given to ``sys.exit``, below 0 minus the signal's number;
            None where it is not known.
        signal: Name of the signal that ended it, such as ``"SIGSEGV"``, or None.
        error: The crash report (an exception as plain data), or None.
        evidence: What else was known, one sentence each; the first names the rule that decided.
        status: The raw wait status, as :func:`os.waitpid` gives it; None where it is lost or there was no process.
        rss: The last that is known of its resident memory, in bytes: read before a kill of the supervisor's, else the peak that the
            kernel reports (evidence says which). None where neither is known.
        stack: Where it was when it was not ready in time, as it reads best; ``""`` for any other end. It is told to who started it, and
            goes to no other process.
    """

    kind: ExitKind
    exit_code: int | None = None
    signal: str | None = None
    error: Mapping[str, object] | None = attrs.field(default=None, hash=False)
    evidence: tuple[str, ...] = ()
    status: int | None = None
    rss: int | None = None
    stack: str = attrs.field(default="", eq=False, repr=False)

    def __str__(self) -> str:
        return describe(self)


@attrs.frozen(kw_only=True)
class _Death:
    """What is known of one death; the arguments of :func:`classify`."""

    exit_code: int | None
    ready: bool
    stop_requested: bool
    killed_for: KilledFor
    crash_report: Mapping[str, object] | None
    protocol_error: str | None
    oom_kills: int

    @property
    def kill_hit(self) -> bool:
        # A kill explains the death unless the child left by itself just before.
        return self.killed_for is not None and (self.exit_code is None or self.exit_code < 0)

    @property
    def left_on_request(self) -> bool:
        quiet = self.exit_code is None or self.exit_code >= 0 or self.exit_code in (-_SIGTERM, -_SIGKILL)
        return self.stop_requested and quiet and self.crash_report is None


_Row: TypeAlias = tuple[str, Callable[[_Death], bool], ExitKind]

# First row that fits. Tests and documents show the same rows.
_TABLE: Final[tuple[_Row, ...]] = (
    ("its bytes were no messages", lambda d: d.protocol_error is not None, "protocol"),
    ("killed for its protocol", lambda d: d.kill_hit and d.killed_for == "protocol", "protocol"),
    ("killed: not ready in time", lambda d: d.kill_hit and d.killed_for == "boot_timeout", "boot_timeout"),
    ("killed for hanging", lambda d: d.kill_hit and d.killed_for == "hang", "hang"),
    ("killed for its memory", lambda d: d.kill_hit and d.killed_for == "memory_limit", "memory_limit"),
    ("killed at the end of a stop", lambda d: d.kill_hit and d.killed_for == "shutdown", "requested"),
    ("left because its host was gone", lambda d: d.exit_code == SUPERVISOR_LOST_EXIT_CODE, "supervisor_lost"),
    ("SIGKILL and an out-of-memory kill", lambda d: d.exit_code == -_SIGKILL and d.oom_kills > 0, "oom_kernel"),
    ("left when asked to", lambda d: d.left_on_request, "requested"),
    ("not ready yet", lambda d: not d.ready, "boot_failure"),
    ("wrote a crash report", lambda d: d.crash_report is not None, "crash"),
    ("no status to be had", lambda d: d.exit_code is None, "unknown"),
    ("exit code 0", lambda d: d.exit_code == 0, "normal"),
    ("exit code above 0, and no exception", lambda d: d.exit_code is not None and d.exit_code > 0, "crash"),
    ("ended by a signal", lambda _: True, "signal"),
)


def classify(
    exit_code: int | None,
    *,
    ready: bool,
    stop_requested: bool = False,
    killed_for: KilledFor = None,
    crash_report: Mapping[str, object] | None = None,
    protocol_error: str | None = None,
    oom_kills: int = 0,
    status_known: bool = True,
    status: int | None = None,
    rss: int | None = None,
    offence: str | None = None,
    notes: Iterable[str] = (),
) -> ExitReason:
    """
    The one reason of a death.

    Args:
        exit_code: ``Process.exitcode``, or None where there is none: the process was never made, or its status is lost.
        ready: Whether it had said that it is ready.
        stop_requested: Whether it was asked to stop before it ended.
        killed_for: What the supervisor last sent SIGKILL for, or None.
        crash_report: The failure it wrote before it left, as plain data.
        protocol_error: What was wrong with its bytes, or None.
        oom_kills: By how much the kernel's ``oom_kill`` counter of its cgroup rose; 0 or above.
        status_known: False when the exit code is worthless (the forkserver died: 255 is then no exit code).
        status: The raw wait status, or None.
        rss: Its resident memory in bytes, or None.
        offence: What the supervisor killed it for, in a sentence, or None.
        notes: Further evidence, one sentence each.

    Returns:
        Kind by the first fitting row of the table in this module; evidence names that row and what else was known.
    """
    code = exit_code if status_known else None
    death = _Death(
        exit_code=code,
        ready=ready,
        stop_requested=stop_requested,
        killed_for=killed_for,
        crash_report=crash_report,
        protocol_error=protocol_error,
        oom_kills=oom_kills,
    )
    row, _, kind = next(row for row in _TABLE if row[1](death))
    signal = signal_name(-code) if code is not None and code < 0 else None

    evidence = (row, *_further_evidence(death, offence, status_known=status_known), *notes)
    return ExitReason(
        kind, code, signal, crash_report, evidence[:_MAX_EVIDENCE], status=status if status_known else None, rss=rss
    )


def _further_evidence(death: _Death, offence: str | None, *, status_known: bool) -> list[str]:
    found = [text for text in (death.protocol_error, offence) if text is not None]
    if death.killed_for is not None and not death.kill_hit:
        found.append(f"a kill for {death.killed_for} came too late")
    if death.stop_requested:
        found.append("it was asked to stop")
    if death.oom_kills > 0:
        found.append(f"{death.oom_kills} out-of-memory kill{'s' * (death.oom_kills > 1)} in its group")
    if not status_known:
        found.append("its exit status is lost")
    return found


def signal_name(number: int) -> str:
    """
    Name of a signal of Linux: ``"SIGSEGV"`` for 11, ``"SIGRTMIN+1"`` for 35, ``"signal 77"`` where there is no name.

    Args:
        number: Any integer.
    """
    if 1 <= number <= len(_SIGNALS):
        return _SIGNALS[number - 1]
    if _FIRST_REALTIME_SIGNAL <= number <= _LAST_SIGNAL:
        above = number - _FIRST_REALTIME_SIGNAL
        return f"SIGRTMIN+{above}" if above else "SIGRTMIN"
    return f"signal {number}"


_PHRASES: Final[Mapping[ExitKind, str]] = {
    "normal": "ended normally",
    "requested": "stopped as requested",
    "crash": "crashed",
    "boot_failure": "failed to start",
    "boot_timeout": "was killed because it was not ready in time",
    "hang": "was killed because it hung",
    "memory_limit": "was killed at its memory limit",
    "oom_kernel": "was killed by the kernel: out of memory",
    "signal": "was killed by",
    "protocol": "was killed because its bytes were no messages",
    "supervisor_lost": "left because its supervisor was lost",
    "unknown": "ended, nobody knows how",
}


# What ends a process with an exit code and leaves no exception behind.
_WAYS_TO_LEAVE: Final = "sys.exit, os._exit, or C code that calls exit"

# Kinds of death that the supervisor itself has brought about, and can say why.
_EXPLAINED: Final = frozenset(("protocol", "hang", "memory_limit", "boot_timeout"))


def describe(reason: ExitReason) -> str:
    """
    What an actor did, for people, in one line: ``"was killed by SIGSEGV (exit -11)"``, ``"crashed: ValueError: x (exit 1)"``,
    ``"left with exit code 3 and no exception (sys.exit, os._exit, or C code that calls exit)"``.

    Args:
        reason: Any reason.

    Returns:
        What happened, the error if there is one, and the exit code if it is known. No full stop.
    """
    if _left_by_itself(reason):
        before = "" if reason.kind == "crash" else f"{_PHRASES[reason.kind]}: "
        return f"{before}left with exit code {reason.exit_code} and no exception ({_WAYS_TO_LEAVE})"
    text = _PHRASES[reason.kind]
    if reason.kind == "signal":
        text = f"{text} {reason.signal or 'a signal'}"
    if error := _error_line(reason.error):
        text = f"{text}: {error}"
    elif reason.kind in _EXPLAINED and len(reason.evidence) > 1:
        text = f"{text}: {reason.evidence[1]}"  # behind the rule, what was wrong
    elif reason.kind == "boot_failure" and reason.signal:
        text = f"{text}: was killed by {reason.signal}"
    return text if reason.exit_code is None else f"{text} (exit {reason.exit_code})"


def _left_by_itself(reason: ExitReason) -> bool:
    """Whether nothing is known of a failure but an exit code, which somebody has to have chosen."""
    chosen = reason.exit_code is not None and reason.exit_code > 0
    return chosen and reason.error is None and reason.kind in {"crash", "boot_failure"}


def _error_line(error: Mapping[str, object] | None) -> str:
    """``"ValueError: x"`` of a crash report; ``""`` where it says nothing of the kind."""
    if error is None or not isinstance(error.get("type"), str):
        return ""
    name = str(error["type"]).removeprefix("builtins.")
    text = error.get("text")
    return f"{name}: {text}" if isinstance(text, str) and text else name


def to_data(reason: ExitReason) -> dict[str, object]:
    """
    The reason as a plain map with keys ``kind exit_code signal error evidence status rss``; :func:`from_data` gives it back.

    Args:
        reason: Any reason.
    """
    return {
        "kind": reason.kind,
        "exit_code": reason.exit_code,
        "signal": reason.signal,
        "error": None if reason.error is None else dict(reason.error),
        "evidence": list(reason.evidence),
        "status": reason.status,
        "rss": reason.rss,
    }


def from_data(data: object) -> ExitReason:
    """
    The reason that :func:`to_data` wrote.

    Args:
        data: What came from another process: anything.

    Raises:
        ProtocolError: Not the data of an exit reason; says which field. No other exception leaves this function.
    """
    if not isinstance(data, dict):
        raise ProtocolError(f"an exit reason is a map, not {type(data).__name__}")
    kind, code, signal = data.get("kind"), data.get("exit_code"), data.get("signal")
    error, evidence = data.get("error"), data.get("evidence", ())
    status, rss = data.get("status"), data.get("rss")
    _require(isinstance(kind, str) and kind in EXIT_KINDS, "kind", kind)
    _require(code is None or (type(code) is int and abs(code) < _MAX_EXIT_CODE), "exit_code", code)
    _require(signal is None or isinstance(signal, str), "signal", signal)
    _require(error is None or isinstance(error, dict), "error", error)
    _require(isinstance(evidence, list | tuple) and len(evidence) <= _MAX_EVIDENCE, "evidence", evidence)
    _require(all(isinstance(item, str) for item in evidence), "evidence", evidence)
    _require(status is None or (type(status) is int and 0 <= status < _MAX_STATUS), "status", status)
    _require(rss is None or (type(rss) is int and 0 <= rss < _MAX_BYTES), "rss", rss)

    return ExitReason(cast(ExitKind, kind), code, signal, error, tuple(evidence), status, rss)


def _require(holds: bool, field: str, value: object) -> None:
    if not holds:
        raise ProtocolError(f"an exit reason's {field} cannot be {repr(value)[:80]}")
