"""
Options of an actor, and what a pool is, as plain data: for the way from an actor that spawns to its host. Pure.
"""

from __future__ import annotations

from typing import Any

import attrs

from actors.errors import ProtocolError, SpecError
from actors.supervisor._policy import Backoff
from actors.supervisor._pool_spec import ActorPool, Autoscale, pool
from actors.supervisor._spec import OPTION_NAMES, Options, Park, Recycle

__all__ = ["options_from_data", "options_to_data", "pool_from_data", "pool_to_data"]

_POOL_FIELDS = ("name", "size", "routing", "key", "given_up", "max_restarts", "period")


def options_to_data(options: Options) -> dict[str, Any]:
    """Return *options* as a map of values that the codec carries."""
    return attrs.asdict(options)


def options_from_data(data: object) -> Options:
    """
    Read what :func:`options_to_data` made. Values are checked later, with the child.

    Raises:
        ProtocolError: It is no such map.
    """
    if not isinstance(data, dict) or not set(data) <= set(OPTION_NAMES):
        raise ProtocolError(f"no options of an actor: {data!r:.200}")
    values = dict(data)
    try:
        if isinstance(values.get("backoff"), dict):
            values["backoff"] = Backoff(**values["backoff"])
        if isinstance(values.get("recycle"), dict):
            values["recycle"] = Recycle(**values["recycle"])
        return Options(**values)
    except TypeError as error:
        raise ProtocolError(f"no options of an actor: {error}") from error


def pool_to_data(spec: ActorPool[Any]) -> dict[str, Any]:
    """
    Return *spec*, without its actor, as a map of values that the codec carries.

    Raises:
        SpecError: Its ``on_exhausted`` is a function, which would have to run in the host.
    """
    exhausted = spec.on_exhausted
    if not isinstance(exhausted, str | Park):
        raise SpecError(
            f"pool {spec.name}: on_exhausted={exhausted!r:.80} would run in the host: an actor's own pool takes a word or Park(...)"
        )
    return {
        **{name: getattr(spec, name) for name in _POOL_FIELDS},
        "autoscale": None if spec.autoscale is None else attrs.asdict(spec.autoscale),
        "on_exhausted": exhausted if isinstance(exhausted, str) else attrs.asdict(exhausted),
        "worker": options_to_data(spec.worker.options),
    }


def pool_from_data(actor: Any, data: object) -> ActorPool[Any]:
    """
    Make a pool of *actor* by what :func:`pool_to_data` wrote. Values are checked later, with the tree.

    Raises:
        ProtocolError: It is no such map.
    """
    if not isinstance(data, dict) or set(data) != {*_POOL_FIELDS, "autoscale", "on_exhausted", "worker"}:
        raise ProtocolError(f"no pool: {data!r:.200}")
    try:
        scale = None if data["autoscale"] is None else Autoscale(**data["autoscale"])
        exhausted = Park(**data["on_exhausted"]) if isinstance(data["on_exhausted"], dict) else data["on_exhausted"]
    except TypeError as error:
        raise ProtocolError(f"no pool: {error}") from error
    worker = attrs.asdict(options_from_data(data["worker"]), recurse=False)
    fields = {name: data[name] for name in _POOL_FIELDS if name != "size"}
    return pool(actor, data["size"], autoscale=scale, on_exhausted=exhausted, **fields, **_without_name(worker))


def _without_name(options: dict[str, Any]) -> dict[str, Any]:
    """The options of a worker less those that a pool has itself."""
    return {name: value for name, value in options.items() if name != "name"}
