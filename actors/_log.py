"""
Every log event of the package: its name, its keys, its level. The only import of structlog.

Events go to the logger ``"actors"``. Where the program has configured structlog, that decides; where it has not, warnings and worse
go to stderr as one line each, so that a script's output stays its own. Keys are always ``path``, ``uid``, ``incarnation``, ``pid``
and ``reason`` as far as they apply.

========================================  =======  =====================================================================
event                                     level    when
========================================  =======  =====================================================================
``actors.child_started``                  info     an actor is ready
``actors.child_exited``                   by kind  a process ended: ``kind``, ``exit_code``, ``error``
``actors.restart_scheduled``              info     it will come back, in ``delay`` seconds
``actors.restart_intensity_exceeded``     error    a supervisor gives up
``actors.stop_escalated``                 warning  a stop took its next rung: ``rung`` is SIGTERM or SIGKILL
``actors.dead_letters``                   warning  messages that nobody will handle; at most one event a second
``actors.hook_failed``                    error    a hook of an actor raised
``actors.forkserver_lost``                warning  the helper that forks actors has died; live actors are not touched
========================================  =======  =====================================================================
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

__all__ = ["actor_logger", "emit"]

_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def _default() -> Any:
    return structlog.wrap_logger(
        structlog.PrintLogger(file=sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S"),
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"], drop_missing=True),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
    )


def _logger() -> Any:
    return structlog.get_logger("actors") if structlog.is_configured() else _default()


def emit(level: str, event: str, **keys: object) -> None:
    """Log one event. Runs users' processors: call it in the callback thread."""
    getattr(_logger(), level)(event, **{key: value for key, value in keys.items() if value is not None})


def actor_logger(path: str, incarnation: int) -> Any:
    """Return the logger of one actor, bound to its path and incarnation."""
    return _logger().bind(path=path, incarnation=incarnation)
