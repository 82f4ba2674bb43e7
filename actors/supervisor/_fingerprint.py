"""
By what one recognises a death that has been seen before. Owns :func:`fingerprint`.

Two deaths have one fingerprint if they are of one kind, by one class of exception or one signal, in the same functions. Line
numbers, source lines and messages are left out: they name the item that was bad, and change with a release that mends nothing.

Must not know: who died, how often, and what follows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from actors.supervisor._exits import ExitKind, ExitReason

__all__ = ["fingerprint"]

# As wanted, or nobody knows how: such deaths are not the same because both say so.
_NAMELESS: Final[frozenset[ExitKind]] = frozenset({"normal", "requested", "supervisor_lost", "unknown"})
_FRAMES: Final = 3
# The report is the child's: it may be of any size, and the innermost frames stand at one end of it.
_MAX_CHARACTERS: Final = 64 * 1024
_MAX_WORD: Final = 160

# The same for a traceback of an exception ("..., line 3, in f") and a stack that was taken ("..., line 3 in f"). Members of a group
# have a border on the left.
_FRAME: Final = re.compile(r'^[ |]{0,64}File "([^"\n]*)", line \d+,? in (.*)$', re.MULTILINE)
_BEGIN_OF_TRACEBACK: Final = "Traceback (most recent call last):"
_BEGIN_OF_STACK: Final = "Current thread"


def fingerprint(reason: ExitReason) -> str | None:
    """
    What *reason* has in common with every death of the same cause.

    Args:
        reason: Of the death. Of its error the keys ``type``, ``text``, ``handler``, ``traceback`` and ``stack`` are looked at,
            where they are texts (``stack`` may be a list of lines); anything else in it is ignored.

    Returns:
        A text to compare and to show, such as ``"crash ValueError in app/parse.py:number < app/parse.py:line"``: the kind; the
        signal, the exception's class or the exit code; the handler; up to three frames, innermost first. None for a death that has
        no name: an expected one, or one that nobody knows anything about.
    """
    if reason.kind in _NAMELESS:
        return None
    error = reason.error or {}
    words = [reason.kind, *_cause(reason, error)]
    if handler := _text(error, "handler"):
        words.append(f"at {_short(handler)}")
    if frames := _of_traceback(_text(error, "traceback"), _text(error, "text")) or _of_stack(_text(error, "stack")):
        words.append(f"in {' < '.join(frames)}")
    return " ".join(words)


def _cause(reason: ExitReason, error: Mapping[str, object]) -> list[str]:
    name = _short(_text(error, "type").removeprefix("builtins."))
    code = "" if reason.exit_code is None or name or reason.signal else f"exit {reason.exit_code}"
    return [word for word in (reason.signal, name, code) if word]


def _text(error: Mapping[str, object], key: str) -> str:
    value = error.get(key)
    if isinstance(value, list | tuple):
        return "\n".join(line for line in value if isinstance(line, str))
    return value if isinstance(value, str) else ""


def _of_traceback(text: str, message: str) -> list[str]:
    """Innermost frames of the exception that was raised last, of a chain of them; its message may quote frames of its own."""
    text = text[-_MAX_CHARACTERS:]
    if message and message in text:
        text, _, _ = text.rpartition(message)
    _, _, last = text.rpartition(_BEGIN_OF_TRACEBACK)
    return _named(_FRAME.findall(last)[: -_FRAMES - 1 : -1])


def _of_stack(text: str) -> list[str]:
    """Innermost frames of the thread that was running; of the first one, where none is said to."""
    text = text[:_MAX_CHARACTERS]
    return _named(_FRAME.findall(text[max(0, text.find(_BEGIN_OF_STACK)) :])[:_FRAMES])


def _named(frames: Sequence[tuple[str, str]]) -> list[str]:
    """``app/parse.py:number``: of the path only the end, which is the same wherever the program is installed."""
    return [_short(f"{'/'.join(path.split('/')[-2:])}:{function}") for path, function in frames]


def _short(word: str) -> str:
    return word[:_MAX_WORD]
