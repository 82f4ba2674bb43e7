"""
What a tree says that is allowed and can probably not take effect. Owns the texts of these doubts; what is refused is ``_check``'s affair.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import attrs

from actors.supervisor._check import number_problem
from actors.supervisor._policy import RESTART_TYPES, Backoff
from actors.supervisor._pool_spec import ActorPool
from actors.supervisor._spec import ON_FULL, Child, Options, Recycle, Supervisor, named_children

__all__ = ["child_doubts", "is_possible", "tree_doubts"]

_DEFAULTS: Final = Options()
_KINDS: Final[dict[str, type]] = {"backoff": Backoff, "recycle": Recycle, "significant": bool, "expected_exits": tuple}
_WORDS: Final[dict[str, tuple[str, ...]]] = {"restart": RESTART_TYPES, "on_full": ON_FULL}


def tree_doubts(tree: Supervisor, deadline: float, above: str = "") -> Iterator[str]:
    """
    What is doubtful in a whole tree, one sentence each.

    Args:
        tree: A tree that keeps every rule.
        deadline: Seconds that stopping the whole system may take.
        above: Path of its supervisor.
    """
    path = f"{above}/{tree.name}"
    children = list(named_children(tree).items())
    # The workers of a pool are all alike: what is said of one is said.
    for name, item in children[:1] if isinstance(tree, ActorPool) else children:
        if isinstance(item, Supervisor):
            yield from tree_doubts(item, deadline, path)
        else:
            yield from child_doubts(item, tree, f"{path}/{name}", deadline)


def child_doubts(item: Child, parent: Supervisor, path: str, deadline: float) -> Iterator[str]:
    """
    What is doubtful about one child.

    Args:
        item: A child that keeps every rule.
        parent: Its supervisor.
        path: Of the child.
        deadline: Seconds that stopping the whole system may take.
    """
    options, most = item.options, parent.max_restarts
    gives_up = f"{parent.name} gives up at the death after {most} restarts in {parent.period:g} s"
    crashes = options.max_same_crashes
    if crashes is not None and crashes > most + 1:
        yield (
            f"{path}: max_same_crashes={crashes} is not reached by quick crashes: {gives_up}; give it max_restarts={crashes - 1} or "
            f"more, or the child max_same_crashes={most + 1} or less"
        )
    if options.redeliver and options.redeliver >= most:
        yield (
            f"{path}: redeliver={options.redeliver} is not reached by a message that kills at once: {gives_up}; "
            f"give it max_restarts={options.redeliver + 1} or more, or redeliver less often"
        )
    shutdown = options.shutdown
    if shutdown is not None and shutdown > deadline and shutdown != _DEFAULTS.shutdown:
        yield (
            f"{path}: shutdown={shutdown:g} is longer than shutdown_deadline={deadline:g} of the system, which kills everything that "
            "is left by then; give ActorSystem a longer one, or the child less time"
        )


def is_possible(option: str, value: object) -> bool:
    """
    Return whether *option* might be given *value*.

    Args:
        option: A name of an option.
        value: Any value.
    """
    if option in _WORDS:
        return value in _WORDS[option]
    if option in _KINDS:
        return isinstance(value, _KINDS[option])
    return option in _NUMBERED and number_problem(option, value) is None


_NUMBERED: Final = frozenset(field.name for field in attrs.fields(Options)) - {*_KINDS, *_WORDS, "name", "after"}
