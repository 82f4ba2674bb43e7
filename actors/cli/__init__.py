"""
The command line ``actors``. Thin over the public API; the only part of the package that needs the extra ``cli``.

A *topology module* is what its commands take: a file or a dotted module, with ``:NAME`` where the tree is not called ``tree``.

- ``tree``: a :class:`~actors.Supervisor`, or a function that returns one.
- ``main(system, ...)``, optional: drives the running system and returns the exit code (None is 0). Without it the system runs until
  SIGINT or SIGTERM.

The parameters of both functions together are the command line of the topology: positional ones are arguments, keyword-only ones are
``--options``, their annotations (``str int float bool Path Literal``, or one of them ``| None``) say what is accepted, their defaults
what may be left out, and the ``Args:`` of the docstrings are the help.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run one command of ``actors``.

    Args:
        arguments: The command line without the program's name; ``sys.argv[1:]`` when None.

    Returns:
        The exit code: 0; 1 when the system failed; 2 when what was asked for cannot be done; 130 after Ctrl-C; else what the
        topology's ``main`` returned.
    """
    if importlib.util.find_spec("click") is None:
        print(
            "actors: the command line needs click, which is missing: pip install click rich (the extra 'cli')",
            file=sys.stderr,
        )
        return 2
    from actors.cli import _commands

    return _commands.run_command(sys.argv[1:] if arguments is None else list(arguments))
