"""
Options of an actor as plain data, for the way from an actor that spawns to its host. Pure.
"""

from __future__ import annotations

from typing import Any

import attrs

from actors.errors import ProtocolError
from actors.supervisor._policy import Backoff
from actors.supervisor._spec import OPTION_NAMES, Options, Recycle

__all__ = ["options_from_data", "options_to_data"]


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
