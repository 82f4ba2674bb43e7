"""
What is told of one abnormal death. Owns :class:`CrashReport`, its plain form for JSON, and how it reads on a console. Pure.

Whatever of it came from the dead process is a claim: it is cut to a bound, and never looked into.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

from actors.supervisor._exits import ExitKind
from actors.supervisor._stack_text import fold

__all__ = ["CrashReport", "one_line", "plain_error", "render"]

_MAX_TYPE: Final = 1024
_MAX_TEXT: Final = 16 * 1024
_MAX_TRACEBACK: Final = 64 * 1024
_MAX_LINE: Final = 500
_MIB: Final = 1 << 20


@attrs.frozen(kw_only=True)
class CrashReport:
    """
    What is known of one abnormal death; every kind but ``normal`` and ``requested`` has one, exactly one.

    A value that nobody knows is None: the process may never have been there, or have written nonsense over what it said. The messages
    themselves are never in it, only the names of their handlers.

    Attributes:
        system: Name of the system.
        path: The actor.
        uid: Its number in the system.
        incarnation: Which of its processes that was.
        class_name: Its class, with the module.
        kind: Why it ended, one of the twelve kinds of :class:`ExitReason`.
        reason: The same in a line for people.
        exit_code: As of :class:`ExitReason`.
        status: The raw wait status, as of :class:`ExitReason`.
        signal: Name of the signal that ended it.
        error: The exception: ``type``, ``text``, ``traceback``; None where there was none.
        stack: The stacks of its threads, the current one first: at a fault (SIGSEGV and the like), or before the supervisor killed it;
            else ``""``.
        handler: Of the message in flight; ``"timer"`` for a timer.
        handler_seconds: How long that had been running.
        recent: The handlers of its last messages, 16 at most, the last one at the end, over all incarnations.
        queued_messages: Messages that wait for the next incarnation; None where there are too many to count here, or where some were not
            read yet.
        queued_bytes: Their bytes.
        unread_bytes: How many of those no incarnation has read yet.
        handled: Messages handled, over all incarnations.
        uptime: Seconds from the begin of its start.
        restarts: Its deaths before this one that were answered by a restart.
        rss: As of :class:`ExitReason`, in bytes.
        peak_rss: The most memory it had in RAM at a time, in bytes, as the kernel reports it; under ``spawn`` and ``fork`` never below
            what the host had when it started it.
        cpu_seconds: User and system time.
        evidence: As of :class:`ExitReason`.
        ancestors: Paths of the supervisors above it, the nearest first.
        host: Name of the machine.
        pid: Its process.
        start_method: ``forkserver``, ``spawn`` or ``fork``.
        python_version: Such as ``"3.12.4"``.
        time: When its end was seen: UTC, ISO 8601 with microseconds.
        attempts: How often the actor died of the message in flight, this time counted; 0 where none was.
        then: What follows, as decided when this was written, for people: such as ``"restarted in 0.01 s (restart 2 of 5 in 30 s)"``;
            ``""`` where nothing does.
    """

    system: str
    path: str
    uid: int
    incarnation: int
    class_name: str
    kind: ExitKind
    reason: str
    exit_code: int | None = None
    status: int | None = None
    signal: str | None = None
    error: Mapping[str, str] | None = attrs.field(default=None, hash=False)
    stack: str = ""
    handler: str | None = None
    handler_seconds: float | None = None
    recent: tuple[str, ...] = ()
    queued_messages: int | None = None
    queued_bytes: int | None = None
    unread_bytes: int = 0
    handled: int | None = None
    uptime: float | None = None
    restarts: int = 0
    rss: int | None = None
    peak_rss: int | None = None
    cpu_seconds: float | None = None
    evidence: tuple[str, ...] = ()
    ancestors: tuple[str, ...] = ()
    host: str = ""
    pid: int | None = None
    start_method: str = ""
    python_version: str = ""
    time: str = ""
    attempts: int = 0
    then: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values by the names of its attributes, ready for :func:`json.dumps`."""
        return {field.name: _plain(getattr(self, field.name)) for field in attrs.fields(CrashReport)}


def _plain(value: Any) -> Any:
    """The value as JSON has it. Text that is no Unicode (lone surrogates, as of file names) loses what no encoding can write."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value


def plain_error(error: Mapping[str, object] | None) -> dict[str, str] | None:
    """
    What a report shows of an exception that another process described.

    Args:
        error: The exception as data, whatever stands in it; None for none.

    Returns:
        ``type``, ``text`` and ``traceback``, each a text within its bound; ``""`` for what is not there.
    """
    if error is None:
        return None
    limits = {"type": _MAX_TYPE, "text": _MAX_TEXT, "traceback": _MAX_TRACEBACK}
    return {key: _cut(error.get(key), limit) for key, limit in limits.items()}


def _cut(value: object, limit: int) -> str:
    if not isinstance(value, str):
        return ""
    return value if len(value) <= limit else f"{value[: limit // 2]}\n...\n{value[-limit // 2 :]}"


def one_line(text: str) -> str:
    """
    A text as one line of a log, cut where nobody reads on; a report has all of it.

    Args:
        text: Such as the reason of a death, which quotes the text of an exception.
    """
    line = " ".join(text[: 2 * _MAX_LINE].split())
    return line if len(line) <= _MAX_LINE else f"{line[:_MAX_LINE]}..."


# --- on a console -----------------------------------------------------------------------------------------------------------


def render(report: CrashReport) -> str:
    """
    The report for people: a paragraph of facts, then traceback and stacks as they are known from Python, without what is not the
    user's. No newline at its end.

    Args:
        report: Any report.
    """
    facts = "\n".join(f"{name:<9} {text}" for name, text in _facts(report) if text)
    traceback = (report.error or {}).get("traceback", "")
    blocks = [facts, traceback, fold(report.stack)]
    return "\n\n".join(block.strip("\n") for block in blocks if block.strip())


def _facts(report: CrashReport) -> Iterator[tuple[str, str]]:
    handler, recent = _handler(report), ", ".join(report.recent)
    if handler:
        yield "handler", _join(handler, f"its last messages: {recent}" if recent else None)
    else:
        yield "messages", f"the last: {recent}" if recent else ""
    yield "mailbox", _join(_queue(report), _number(report.handled, "handled"))
    yield (
        "process",
        _join(
            report.class_name,
            f"pid {report.pid}" if report.pid is not None else "never made",
            None if report.uptime is None else f"up {report.uptime:.1f} s",
            _number(report.restarts, "restarts before"),
            None if report.rss is None else f"{report.rss / _MIB:.1f} MiB resident",
            None if report.cpu_seconds is None else f"{report.cpu_seconds:.2f} s of CPU",
            f"{report.start_method}, Python {report.python_version} on {report.host}",
        ),
    )
    yield "evidence", "; ".join(report.evidence)
    yield "then", report.then


def _handler(report: CrashReport) -> str | None:
    if report.handler is None:
        return None
    running = "" if report.handler_seconds is None else f", for {report.handler_seconds:.3f} s"
    died = f", died of it {report.attempts} times" if report.attempts > 1 else ""
    return f"{report.handler}{running}{died}"


def _queue(report: CrashReport) -> str | None:
    if report.queued_bytes is None:
        return None
    messages = "" if report.queued_messages is None else f"{report.queued_messages} messages, "
    unread = f", {report.unread_bytes} of them not read yet" if report.unread_bytes else ""
    return f"{messages}{report.queued_bytes} bytes queued{unread}"


def _number(count: int | None, of_what: str) -> str | None:
    return None if count is None else f"{count} {of_what}"


def _join(*parts: str | None) -> str:
    return "; ".join(part for part in parts if part)
