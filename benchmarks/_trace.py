"""
When a process makes the calls that a message passes through: its reads, its writes, and what encodes.

The wrappers stand where the package looks the functions up, so its code is what runs otherwise. ``perf_counter_ns`` is CLOCK_MONOTONIC,
which all processes of a machine share: the notes of two processes make one time line. A note costs about a fifth of a microsecond.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import attrs

from actors.mailbox import _envelope

__all__ = ["Note", "Tracer", "steps_of_ask"]

Note: TypeAlias = tuple[str, int, int]
"""What was called, when it began and when it had returned; nanoseconds. A read that found nothing leaves none."""

_TRACED: tuple[tuple[str, Callable[..., Any]], ...] = (
    ("write", os.write),
    ("write", os.writev),
    ("read", os.read),
    ("read", os.readv),
    ("encode", _envelope.encode_ask),
    ("encode", _envelope.encode_result),
)


class Tracer:
    """The notes of one process, of all its threads: whoever reads an answer, it is that answer's time."""

    def __init__(self) -> None:
        self.notes: list[Note] = []

    def install(self) -> None:
        """From now on note the calls, for the life of the process."""
        for what, function in _TRACED:
            _replace(function, self._noting(what, function))

    def add(self, what: str, began: int, ended: int) -> None:
        """Note something else."""
        self.notes.append((what, began, ended))

    def take(self) -> list[Note]:
        """The notes so far, which are forgotten."""
        taken = self.notes[:]
        self.notes.clear()
        return taken

    def _noting(self, what: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter_ns()
            result = function(*args, **kwargs)
            ended = time.perf_counter_ns()
            self.notes.append((what, began, ended))
            return result

        return call


def _replace(function: Callable[..., Any], other: Callable[..., Any]) -> None:
    """Put *other* wherever a module of the package, or ``os``, knows *function* by a name."""
    modules = [module for name, module in list(sys.modules.items()) if name == "os" or name.startswith("actors.")]
    for module in modules:
        for name, value in list(vars(module).items()):
            if value is function:
                setattr(module, name, other)


@attrs.frozen
class _Moments:
    """The notes of one ask, by process and kind, in order."""

    asker: dict[str, list[Note]]
    actor: dict[str, list[Note]]


def steps_of_ask(began: int, ended: int, asker: Iterable[Note], actor: Iterable[Note]) -> dict[str, float] | None:
    """
    Where the time between *began* and *ended* went; pure.

    Args:
        began: When the ask was made, nanoseconds.
        ended: When its answer was there.
        asker: The notes of who asked, of this ask or more.
        actor: Those of the actor, with its handler noted as ``"handler"``.

    Returns:
        Microseconds of each step, in order, whose sum is the whole; None where a note is missing.
    """
    at = _Moments(_within(asker, began, ended), _within(actor, began, ended))
    try:
        encode, ask_written = at.asker["encode"][0], at.asker["write"][0]
        handler = at.actor["handler"][0]
        ask_read = [note for note in at.actor["read"] if note[2] <= handler[1]][-1]
        encode_answer = next(note for note in at.actor["encode"] if note[1] >= handler[2])
        answer_written = next(note for note in at.actor["write"] if note[1] >= encode_answer[2])
        answer_read = [note for note in at.asker["read"] if note[2] > answer_written[1]][-1]
    except (KeyError, IndexError, StopIteration):
        return None
    moments = {
        "check and encode": encode[2],
        "register the ask": ask_written[1],
        "write": min(ask_written[2], ask_read[1]),
        "wake the actor": ask_read[1],
        "read": ask_read[2],
        "decode and dispatch": handler[1],
        "handler": handler[2],
        "let out, and encode the answer": encode_answer[2],
        "publish the answer": answer_written[1],
        "write the answer": min(answer_written[2], answer_read[1]),
        "wake the asker": answer_read[1],
        "read the answer": answer_read[2],
        "decode and complete": ended,
    }
    places = [began, *moments.values()]
    return {step: (after - before) / 1e3 for step, before, after in zip(moments, places, places[1:], strict=False)}


def _within(notes: Iterable[Note], began: int, ended: int) -> dict[str, list[Note]]:
    found: dict[str, list[Note]] = {}
    for note in notes:
        # A write may return after whoever it woke has gone on.
        if began <= note[1] <= ended:
            found.setdefault(note[0], []).append(note)
    return found
