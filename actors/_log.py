"""
Every log event of the package: its name, its keys, its level. The only import of structlog.

Events go to the logger ``"actors"``. Where the program has configured structlog, that decides; where it has not, warnings and worse
go to stderr as one line each, so that a script's output stays its own; stacks are folded there to what is the user's. Keys are always ``path``, ``uid``, ``incarnation``, ``pid``
and ``reason`` as far as they apply. What takes more than a line (a traceback, the stacks of a process) is under ``stack``, which structlog's
own console renderer and ours print below the line.

Every event has a row in ``docs/reference/log-events.md``, with its level, its fields and when it is logged; a test compares.
"""

from __future__ import annotations

import logging
import sys
import textwrap
from collections.abc import Mapping
from typing import Any

import structlog

from actors.supervisor._report import CrashReport, one_line, render
from actors.supervisor._stack_text import fold

__all__ = ["actor_logger", "emit", "emit_report"]

# What follows them is the kill, and its report: it has the stack that these would show first.
_BEFORE_A_REPORT = frozenset(("actors.hang_suspected", "actors.cancel_ignored"))
_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


_as_line = structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"], drop_missing=True)


def _line_and_block(logger: Any, method: str, event: Any) -> str:
    """Render an event as one line, with what is longer below it."""
    block = event.pop("stack", None)
    line = _as_line(logger, method, event)
    return line if not block else f"{line}\n{textwrap.indent(block.rstrip(), '    ')}"


def _default() -> Any:
    return structlog.wrap_logger(
        # One write for a line and its end, so that the lines of several processes stay whole.
        structlog.WriteLogger(file=sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _line_and_block,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
    )


def _logger() -> Any:
    return structlog.get_logger("actors") if structlog.is_configured() else _default()


def emit(level: str, event: str, **keys: object) -> None:
    """Log one event. Runs users' processors: call it in the callback thread."""
    stack = keys.get("stack")
    if isinstance(stack, str) and not structlog.is_configured():
        keys["stack"] = None if event in _BEFORE_A_REPORT else fold(stack)
    _emit(level, event, keys)


def _emit(level: str, event: str, keys: Mapping[str, object]) -> None:
    getattr(_logger(), level)(event, **{key: value for key, value in keys.items() if value is not None})


def emit_report(report: CrashReport, file: str | None = None) -> None:
    """
    Log one crash report: its fields where the program has its own processors, else a text for people. As :func:`emit`.

    Args:
        report: Any report.
        file: Where it was written to, or None.
    """
    if not structlog.is_configured():
        text = render(report)
        life = {"path": report.path, "incarnation": report.incarnation, "kind": report.kind}
        _emit("error", "actors.crash_report", {**life, "reason": one_line(report.reason), "file": file, "stack": text})
        return
    fields = report.to_dict()
    traceback = (fields["error"] or {}).pop("traceback", "")
    blocks = [block.strip("\n") for block in (traceback, fields.pop("stack")) if block.strip()]
    emit("error", "actors.crash_report", **fields, file=file, stack="\n\n".join(blocks) or None)


def actor_logger(path: str, incarnation: int) -> Any:
    """Return the logger of one actor, bound to its path and incarnation."""
    return _logger().bind(path=path, incarnation=incarnation)
