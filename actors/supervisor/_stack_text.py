"""
Stacks as :mod:`faulthandler` writes them, for people: the interrupted thread first, and of what is not theirs only that it is there. Pure.

What stands in a stack is a claim of the process it came from: whatever is not of the expected form is shown as it is.
"""

from __future__ import annotations

import collections
import re
from collections.abc import Iterator, Sequence
from typing import Final, Literal, TypeAlias

import attrs

__all__ = ["fold", "stack_text", "top_frame"]

_Kind: TypeAlias = Literal["package", "machinery", "library", "others", "user"]

_FRAME: Final = re.compile(r'  File "(?P<file>.*)", line (?P<line>\S+) in (?P<name>.+)')
_INTERRUPTED: Final = ("Current thread", "Fatal Python error")
_PACKAGE: Final = __file__.rpartition("supervisor/")[0]
_LIBRARY: Final = collections.__file__.rpartition("collections/")[0]
_OTHERS: Final = ("/site-packages/", "/dist-packages/")
# What begins processes and threads, and stands below everything that runs in them.
_MACHINERY: Final = re.compile(r"multiprocessing/(process|spawn|context|forkserver|popen_\w+)\.py")
_THREAD_STARTS: Final = frozenset(("run", "_bootstrap_inner", "_bootstrap"))
_MOST_TELLING: Final[tuple[_Kind, ...]] = ("user", "others", "library", "package", "machinery")
_NOISE: Final = frozenset(("package", "machinery"))
# Of a thread in which nothing is the user's: where it is, and how it came there.
_SHOWN_AT_LEAST: Final = 3


@attrs.frozen
class _Frame:
    """One line of a stack, and whose it is."""

    text: str
    kind: _Kind
    place: str = ""


def stack_text(written: str) -> str:
    """
    Stacks as they are read best: the thread that was interrupted first.

    Args:
        written: As :mod:`faulthandler` writes them: blocks, with an empty line between two.
    """
    blocks = written.strip("\n").split("\n\n")
    blocks.sort(key=lambda block: not block.startswith(_INTERRUPTED))
    return "\n\n".join(blocks) + "\n" if written else ""


def fold(stack: str) -> str:
    """
    Stacks without what is of no use to people: runs of frames of this package become one line, its own threads are left out.

    The call into the package that user's code has made last is kept, and so is the interrupted thread, whatever it does.

    Args:
        stack: As of :func:`stack_text`.
    """
    blocks = (block.split("\n") for block in stack.strip("\n").split("\n\n"))
    shown = ["\n".join(_folded(lines)) for lines in blocks if not _is_ours(lines)]
    return "\n\n".join(shown) + "\n" if stack else ""


def top_frame(stack: str) -> str:
    """
    Where the interrupted thread is, in the user's own code if there is any: ``"/app/shop.py:17 in take"``; ``""`` where that is not known.

    Args:
        stack: As of :func:`stack_text`.
    """
    for block in stack.split("\n\n"):
        frames = [frame for line in block.split("\n") if (frame := _frame(line)).place]
        if frames:
            return min(frames, key=lambda frame: _MOST_TELLING.index(frame.kind)).place
    return ""


def _frame(line: str) -> _Frame:
    found = _FRAME.fullmatch(line)
    if found is None:
        return _Frame(line, "library")
    if found["line"] == "???":  # an interpreter that cannot say where it is: CPython 3.13 below a fork
        return _Frame(line, "machinery")
    return _Frame(line, _kind(found["file"], found["name"]), f"{found['file']}:{found['line']} in {found['name']}")


def _kind(file: str, name: str) -> _Kind:
    if file.startswith(_PACKAGE):
        return "package"
    if (file, name) == ("<string>", "<module>"):  # the program that a new process is begun with
        return "machinery"
    if any(part in file for part in _OTHERS):
        return "others"
    if not file.startswith((_LIBRARY, "<frozen ")):
        return "user"
    inside = file.removeprefix(_LIBRARY)
    begins = _MACHINERY.fullmatch(inside) or (inside == "threading.py" and name in _THREAD_STARTS)
    return "machinery" if begins else "library"


def _is_ours(lines: Sequence[str]) -> bool:
    """Whether it is a thread of this package in which nothing of the user's runs, and that was not interrupted."""
    kinds = {_frame(line).kind for line in lines}
    return "package" in kinds and not kinds & {"user", "others"} and not lines[0].startswith(_INTERRUPTED)


def _folded(lines: Sequence[str]) -> Iterator[str]:
    frames = [_frame(line) for line in lines]
    if not any(frame.kind in ("user", "others") for frame in frames):
        head = 1 + _SHOWN_AT_LEAST
        yield from lines[:head]
        frames = frames[head:]
    run: list[_Frame] = []
    for frame in frames:
        if frame.kind in _NOISE:
            run.append(frame)
            continue
        # What user's code has called of ours says what it waits for.
        yield from _as_lines(run[:-1])
        yield from (one.text for one in run[-1:])
        run = []
        yield frame.text
    yield from _as_lines(run)


def _as_lines(run: Sequence[_Frame]) -> Iterator[str]:
    if len(run) < 2:
        yield from (frame.text for frame in run)
        return
    whose = "actors" if any(frame.kind == "package" for frame in run) else "Python"
    yield f"  ... {len(run)} frames of {whose}"
