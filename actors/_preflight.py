"""
What is looked at before a system starts: the platform, the arguments, and whether every actor of the tree can travel.
"""

from __future__ import annotations

import sys

from actors._actor import Actor
from actors._crash_outlets import outlet_problems
from actors._findable import check_findable
from actors._launch import START_METHODS
from actors._snapshot import snapshot
from actors.errors import SpecError, StartError
from actors.supervisor import _tree

__all__ = ["check_arguments", "check_platform", "snapshot_for", "snapshots"]

_SMALLEST_MAX_MESSAGE_BYTES = 4096


def snapshot_for(actor: Actor, start_method: str) -> bytes:
    """
    Return an actor as bytes.

    Args:
        actor: Not started.
        start_method: How its process is started.

    Raises:
        SpecError: All that keeps it from travelling, or its process from finding its class.
    """
    data = snapshot(actor)
    check_findable(f"class {type(actor).__qualname__}", type(actor), start_method)
    return data


def snapshots(plan: list[_tree.Planned], start_method: str) -> list[bytes]:
    """
    Return every actor of a tree as bytes, in its order.

    Args:
        plan: The actors of the tree.
        start_method: How their processes are started.

    Raises:
        SpecError: All that keeps any of them from travelling.
    """
    problems: list[str] = []
    found: list[bytes] = []
    for planned in plan:
        try:
            found.append(snapshot_for(planned.child.actor, start_method))  # type: ignore[arg-type]
        except SpecError as error:
            problems.extend(f"{planned.path}: {problem}" for problem in error.problems)
    if problems:
        raise SpecError(*problems)
    return found


def check_arguments(
    start_method: object,
    shutdown_deadline: object,
    max_message_bytes: object,
    subreaper: object,
    on_crash: object,
    crash_directory: object,
    crash_keep: object,
) -> None:
    """
    Check the options of an ActorSystem.

    Raises:
        SpecError: All that is wrong with them.
    """
    problems: list[str] = []
    if start_method not in START_METHODS:
        problems.append(f"start_method={start_method!r}: must be one of {', '.join(START_METHODS)}")
    if (
        isinstance(shutdown_deadline, bool)
        or not isinstance(shutdown_deadline, int | float)
        or not shutdown_deadline >= 0
    ):
        problems.append(f"shutdown_deadline={shutdown_deadline!r}: must be seconds, at least 0")
    if not isinstance(max_message_bytes, int) or not _SMALLEST_MAX_MESSAGE_BYTES <= max_message_bytes < 1 << 31:
        problems.append(f"max_message_bytes={max_message_bytes!r}: must be an int from 4096 to 2 GiB")
    if not isinstance(subreaper, bool):
        problems.append(f"subreaper={subreaper!r}: must be True or False")
    problems += outlet_problems(on_crash, crash_directory, crash_keep)
    if problems:
        raise SpecError(*problems)


def check_platform() -> None:
    """
    Check that this machine has what actors stand on.

    Raises:
        StartError: It is no Linux.
    """
    if sys.platform != "linux":
        raise StartError(
            f"actors run on Linux (5.10 or later); this is {sys.platform}: memfd, pidfd and signal-driven life lines are missing"
        )
