"""A module that can be imported here and in no actor."""

from __future__ import annotations

import os

from actors import Actor

if os.environ.get("ACTORS_TEST_BREAKS_IMPORT") == "1":
    raise ImportError("no such library on this machine")


class Imported(Actor):
    """Never starts."""
