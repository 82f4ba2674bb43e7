"""
Every rule a spec must keep, checked whole and before anything starts. Owns the texts of broken rules.

:func:`check` collects all problems of a tree and raises them as one :class:`~actors.SpecError`. Each problem is one sentence:
where, which field, which value, which rule. Inside, after this, specs are right by construction.

Must not know: the class ``Actor`` (a predicate says what is one), states, processes.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeAlias, TypeGuard

import attrs

from actors.errors import SpecError
from actors.supervisor._policy import RESTART_TYPES, STRATEGIES, Backoff, can_escalate, start_order
from actors.supervisor._pool_spec import ActorPool, pool_problems
from actors.supervisor._spec import (
    AUTO_SHUTDOWNS,
    ON_EXHAUSTED,
    ON_FULL,
    Child,
    Options,
    Park,
    Recycle,
    Supervisor,
    as_child,
    child_names,
)

__all__ = ["IsActor", "check", "check_child", "number_problem"]

IsActor: TypeAlias = Callable[[object], bool]

# Longer names make paths that no terminal shows; the kernel's own names end at 255 too.
_MAX_NAME: Final = 255
# Far above any sense; keeps the sum over all delays in `can_escalate` short.
_MAX_RESTARTS: Final = 100_000
# The smallest read buffer in which one whole frame of an inbox fits.
_MIN_MAILBOX_BYTES: Final = 4096
_MOST_MAILBOX_BYTES: Final = 256 * 1024 * 1024
# Enough to see whom it is about.
_MAX_LISTED: Final = 8
_HANG_GRACE: Final = Options().hang_grace
_EXIT_CODES: Final = range(-64, 256)


@attrs.frozen
class _Number:
    """
    A rule for a number. Bools are no numbers, and neither is NaN.

    Attributes:
        low: Smallest value; *above* excludes it.
        whole: Only integers.
        none: None is allowed too, and means "no limit".
    """

    low: float
    high: float = math.inf
    above: bool = False
    whole: bool = False
    none: bool = False

    def problem(self, value: object) -> str | None:
        kinds = int if self.whole else (int, float)
        if value is None and self.none:
            return None
        if isinstance(value, bool) or not isinstance(value, kinds) or not math.isfinite(value):
            return self._text()
        fits = (value > self.low if self.above else value >= self.low) and value <= self.high
        return None if fits else self._text()

    def _text(self) -> str:
        what = "a whole number" if self.whole else "a finite number"
        least = f"above {self.low:g}" if self.above else f"of at least {self.low:g}"
        most = "" if self.high == math.inf else f" and at most {self.high:g}"
        return f"must be {what} {least}{most}{', or None' if self.none else ''}"


_TIME: Final = _Number(0)
_TIME_OR_NONE: Final = _Number(0, none=True)
_SIZE_OR_NONE: Final = _Number(1, whole=True, none=True)
_FRACTION: Final = _Number(0, 1)

_NUMBERS: Final[Mapping[type, Mapping[str, _Number]]] = {
    Options: {
        "max_start_failures": _SIZE_OR_NONE,
        "max_same_crashes": _SIZE_OR_NONE,
        "start_timeout": _Number(0, above=True),
        "shutdown": _TIME_OR_NONE,
        "term_grace": _TIME,
        "handler_timeout": _Number(0, above=True, none=True),
        "hang_grace": _TIME,
        "cancel_grace": _TIME_OR_NONE,
        "redeliver": _Number(0, whole=True),
        "max_open_asks": _Number(1, whole=True),
        "mailbox_bytes": _Number(_MIN_MAILBOX_BYTES, _MOST_MAILBOX_BYTES, whole=True),
        "mailbox_messages": _SIZE_OR_NONE,
        "send_timeout": _TIME,
        "memory_soft": _SIZE_OR_NONE,
        "memory_hard": _SIZE_OR_NONE,
    },
    Backoff: {
        "initial": _TIME,
        "factor": _Number(1),
        "maximum": _TIME,
        "jitter": _FRACTION,
        "stable_after": _TIME_OR_NONE,
    },
    Recycle: {
        "messages": _SIZE_OR_NONE,
        "age": _Number(0, above=True, none=True),
        "rss": _SIZE_OR_NONE,
        "jitter": _FRACTION,
    },
    Park: {
        "retry_after": _Number(0, above=True, none=True),
    },
    Supervisor: {
        "max_restarts": _Number(0, _MAX_RESTARTS, whole=True),
        "period": _Number(0, above=True),
        "max_children": _Number(0, whole=True, none=True),
    },
}


def _anything(_: object) -> bool:
    return True


def check(tree: Supervisor, *, parent: str = "", is_actor: IsActor = _anything) -> None:
    """
    Check a whole tree, or a subtree that is to be added to one.

    Args:
        tree: Any value; nothing of it is called.
        parent: Path of the supervisor below which it will stand; of a whole tree ``""``.
        is_actor: Says whether an object is an actor that is not started.

    Raises:
        SpecError: At least one rule is broken; ``problems`` has them all, each naming path, field, value and rule.
    """
    _raise(list(_of_supervisor(tree, _path(parent, tree), is_actor)))


def check_child(item: Child, parent: Supervisor, path: str, *, is_actor: IsActor = _anything) -> None:
    """
    Check an actor that is to be added under *parent* at run time; its ``after`` and whether its name is free are for the tree.

    Args:
        item: The child with its options.
        parent: The supervisor it will belong to.
        path: Of that supervisor.
        is_actor: Says whether an object is an actor that is not started.

    Raises:
        SpecError: As :func:`check`.
    """
    kind = item.actor if isinstance(item.actor, type) else type(item.actor)
    name = item.options.name or kind.__name__.lower()
    where = f"{path}/{name}"
    _raise(
        [
            *_name_problems(where, item.options.name, optional=True),
            *_of_child(item, where, parent, is_actor),
            *_reach_problems(path, parent, {name: item}),
        ]
    )


def number_problem(option: str, value: object) -> str | None:
    """
    What is wrong with the value of an option that is a number; None for nothing.

    Args:
        option: One of the options that are numbers.
        value: Any value.
    """
    return _NUMBERS[Options][option].problem(value)


def _raise(problems: Sequence[str]) -> None:
    if problems:
        raise SpecError(*problems)


def _path(parent: str, item: object) -> str:
    return f"{parent}/{getattr(item, 'name', None) or type(item).__name__.lower()}"


# ---------------------------------------------------------------- supervisors


def _of_supervisor(spec: object, path: str, is_actor: IsActor) -> Iterable[str]:
    if not isinstance(spec, Supervisor):
        what = spec.__name__ if isinstance(spec, type) else type(spec).__name__
        yield f"tree: must be a Supervisor(...), not {what}; write Supervisor(name, children=[...])"
        return
    yield from _name_problems(path, spec.name)
    yield from _numbers(path, spec)
    yield from _words(path, "strategy", spec.strategy, STRATEGIES)
    yield from _words(path, "auto_shutdown", spec.auto_shutdown, AUTO_SHUTDOWNS)
    yield from _on_exhausted_problems(path, spec.on_exhausted)
    children: object = spec.children
    if not isinstance(children, tuple):
        yield f"{path}: children must be a tuple or a list, not {type(children).__name__}"
        return
    if isinstance(spec, ActorPool):
        yield from pool_problems(spec, path)
    yield from _of_children(spec, path, is_actor)


def _on_exhausted_problems(path: str, value: object) -> Iterable[str]:
    if isinstance(value, Park):
        yield from _numbers(path, value, "on_exhausted.")
    elif value is Park:  # a class is a callable
        yield f"{path}: on_exhausted=Park is a class; write Park(...)"
    elif not callable(value):
        yield from _words(path, "on_exhausted", value, ON_EXHAUSTED, ", a Park(...) or a callable")


def _of_children(spec: Supervisor, path: str, is_actor: IsActor) -> Iterable[str]:
    children = tuple(as_child(item) for item in spec.children)
    names = child_names(children)
    yield from _sibling_problems(path, spec, names)
    yield from _order_problems(path, names, children)
    yield from _reach_problems(path, spec, dict(zip(names, children, strict=True)))
    # The workers of a pool are one actor with one set of options: one of them says it all.
    seen = 1 if isinstance(spec, ActorPool) else None
    for name, item in list(zip(names, children, strict=True))[:seen]:
        where = f"{path}/{name}"
        if isinstance(item, Supervisor):
            yield from _of_supervisor(item, where, is_actor)
        else:
            yield from _name_problems(where, item.options.name, optional=True)
            yield from _of_child(item, where, spec, is_actor)


def _sibling_problems(path: str, spec: Supervisor, names: Sequence[str]) -> Iterable[str]:
    for name in dict.fromkeys(n for n in names if n and names.count(n) > 1):
        yield f"{path}: {names.count(name)} children are named {name!r}; names are unique among siblings"
    limit = spec.max_children
    if isinstance(limit, int) and len(names) > limit >= 0:
        yield f"{path}: {len(names)} children are more than max_children={limit}"


def _order_problems(path: str, names: Sequence[str], children: Sequence[Child | Supervisor]) -> Iterable[str]:
    after = {
        name: item.options.after if isinstance(item, Child) and _is_names(item.options.after) else ()
        for name, item in zip(names, children, strict=True)
    }
    for name, others in after.items():
        for other in others:
            if other not in after:
                yield f"{path}/{name}: after names {other!r}, which is no sibling (siblings: {', '.join(names)})"
    if stuck := [name for name in after if name not in start_order(after)]:
        yield f"{path}: {', '.join(stuck)} wait for each other in a circle through after"


# ---------------------------------------------------------------- children


def _of_child(item: Child, path: str, parent: Supervisor, is_actor: IsActor) -> Iterable[str]:
    options = item.options
    if isinstance(item.actor, type):
        yield f"{path}: {item.actor.__name__} is a class; write {item.actor.__name__}(...)"
    elif isinstance(item.actor, ActorPool):
        yield f"{path}: a pool is no actor: give it to spawn_pool(...), or put it among the children of a Supervisor as it is"
    elif isinstance(item.actor, Supervisor):
        yield f"{path}: a supervisor is no actor: put it among the children of another one, in the tree that ActorSystem gets"
    elif not is_actor(item.actor):
        yield f"{path}: {type(item.actor).__name__} is no actor"
    yield from _numbers(path, options)
    yield from _words(path, "restart", options.restart, RESTART_TYPES)
    yield from _words(path, "on_full", options.on_full, ON_FULL)
    yield from _exit_problems(path, options)
    yield from _significance_problems(path, options, parent)
    if not _is_names(options.after):
        yield f"{path}: after={options.after!r} must be a tuple of names of siblings"
    yield from _hang_problems(path, item)
    yield from _memory_problems(path, options)
    yield from _backoff_problems(path, options.backoff)


def _exit_problems(path: str, options: Options) -> Iterable[str]:
    codes: object = options.expected_exits
    if not isinstance(codes, tuple) or not all(type(code) is int and code in _EXIT_CODES for code in codes):
        yield f"{path}: expected_exits={codes!r} must be a tuple of exit codes from {_EXIT_CODES[0]} to {_EXIT_CODES[-1]}"


def _significance_problems(path: str, options: Options, parent: Supervisor) -> Iterable[str]:
    significant: object = options.significant
    if not isinstance(significant, bool):
        yield f"{path}: significant={significant!r} must be True or False"
    elif significant and options.restart == "permanent":
        yield f"{path}: significant=True does not go with restart='permanent', which never ends by itself"
    elif significant and parent.auto_shutdown == "never":
        yield f"{path}: significant=True means nothing under auto_shutdown='never' of {parent.name}"


def _hang_problems(path: str, item: Child) -> Iterable[str]:
    """Of a grace that the class has for all its children one may make no use."""
    grace = item.options.hang_grace
    own = getattr(item.actor, "hang_grace", _HANG_GRACE)
    if item.options.handler_timeout is None and grace not in (_HANG_GRACE, own) and not _TIME.problem(grace):
        yield f"{path}: hang_grace={grace!r} means nothing without handler_timeout; give both, or neither"


def _memory_problems(path: str, options: Options) -> Iterable[str]:
    recycle: object = options.recycle
    if recycle is not None:
        yield from _of_value(path, "recycle", recycle, Recycle)
    if isinstance(recycle, Recycle) and recycle.messages is recycle.age is recycle.rss is None:
        yield f"{path}: recycle has no limit; give messages, age or rss, or leave it out"
    soft, hard = options.memory_soft, options.memory_hard
    if isinstance(soft, int) and isinstance(hard, int) and soft > hard:
        yield f"{path}: memory_soft={soft} is above memory_hard={hard}"


def _backoff_problems(path: str, backoff: object) -> Iterable[str]:
    yield from _of_value(path, "backoff", backoff, Backoff)
    if _is_backoff(backoff) and backoff.initial > backoff.maximum:
        yield f"{path}: backoff.initial={backoff.initial!r} is above backoff.maximum={backoff.maximum!r}"


def _is_backoff(value: object) -> TypeGuard[Backoff]:
    return isinstance(value, Backoff) and not any(_numbers("", value))


def _reach_problems(path: str, parent: Supervisor, children: Mapping[str, Child | Supervisor]) -> Iterable[str]:
    """Backoffs with which the supervisor would never give up; each is told once, whoever has it."""
    if any(_numbers(path, parent)):
        return
    found: dict[Backoff, list[str]] = {}
    for name, item in children.items():
        if isinstance(item, Child) and item.options.restart != "temporary" and _is_backoff(item.options.backoff):
            found.setdefault(item.options.backoff, []).append(name)
    for backoff, names in found.items():
        if backoff.initial <= backoff.maximum and not can_escalate(backoff, parent.max_restarts, parent.period):
            who = (
                f"{path}/{names[0]}: with this backoff"
                if len(names) == 1
                else f"{path}: with the backoff of {_list(names)},"
            )
            yield (
                f"{who} {parent.max_restarts} restarts never fit into the period of {parent.period:g} s of {parent.name}, so a "
                f"crash loop would run for ever; {_at_most(backoff, parent)}raise period, or lower "
                f"backoff.initial={backoff.initial:g}, backoff.factor={backoff.factor:g} or backoff.maximum={backoff.maximum:g}"
            )


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MAX_LISTED])
    return shown if len(names) <= _MAX_LISTED else f"{shown} and {len(names) - _MAX_LISTED} more"


def _at_most(backoff: Backoff, parent: Supervisor) -> str:
    """The largest intensity that this backoff can reach, as advice."""
    refused = bisect.bisect_left(
        range(parent.max_restarts + 1), True, key=lambda restarts: not can_escalate(backoff, restarts, parent.period)
    )
    return f"give {parent.name} max_restarts={refused - 1} or less, "


# ---------------------------------------------------------------- fields


def _of_value(path: str, field: str, value: object, kind: type) -> Iterable[str]:
    if isinstance(value, kind):
        return _numbers(path, value, f"{field}.")
    return [f"{path}: {field}={value!r} must be a {kind.__name__}(...)"]


def _numbers(path: str, value: object, prefix: str = "") -> Iterable[str]:
    for field, rule in _NUMBERS[Supervisor if isinstance(value, Supervisor) else type(value)].items():
        found = getattr(value, field)
        if problem := rule.problem(found):
            yield f"{path}: {prefix}{field}={found!r} {problem}"


def _words(path: str, field: str, value: object, words: tuple[str, ...], more: str = "") -> Iterable[str]:
    if value not in words:
        yield f"{path}: {field}={value!r} must be one of {', '.join(map(repr, words))}{more}"


def _name_problems(path: str, name: object, *, optional: bool = False) -> Iterable[str]:
    if name is None and optional:
        return
    if not isinstance(name, str):
        yield f"{path}: name={name!r} must be a string"
    elif not name or "/" in name or not name.isprintable() or len(name) > _MAX_NAME:
        yield f"{path}: name={name!r} must be 1 to {_MAX_NAME} printable characters without a slash"


def _is_names(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(name, str) for name in value)
