"""An exception out of a signal handler, at a chosen one of the places where CPython would let it in."""

from __future__ import annotations

import dis
import functools
import gc
import sys
from collections.abc import Callable, Collection
from types import CodeType, FrameType
from typing import Any

_CHECKED_AFTER = ("CALL", "RESUME", "JUMP_BACKWARD")
"""Behind these instructions the interpreter looks for signals, and nowhere else."""


class Interrupt(BaseException):
    """What the handler raises."""


def _interrupt() -> None:
    raise Interrupt


def _handler_of(code: CodeType, offset: int) -> int:
    entries: list[Any] = vars(dis.Bytecode(code))["exception_entries"]
    return next((entry.target for entry in entries if entry.start <= offset < entry.end), -1)


@functools.cache
def _is_place(code: CodeType, before: int, here: int) -> bool:
    # A signal that comes behind a call is raised at that call, what a trace function raises at the next instruction: where
    # those two stand in different `try` blocks the one cannot be acted by the other.
    if before < 0 or not dis.opname[code.co_code[before]].startswith(_CHECKED_AFTER):
        return False
    return _handler_of(code, before) == _handler_of(code, here)


def interrupted_at(
    step: int,
    call: Callable[[], object],
    files: Collection[str],
    handler: Callable[[], object] = _interrupt,
    *,
    everywhere: bool = False,
) -> bool:
    """
    Run *call* and let *handler* in at place number *step* (from 1) within the code of *files*.

    Args:
        step: Which place.
        call: What is interrupted.
        files: Names of source files.
        handler: What happens there.
        everywhere: Before each instruction, where a process can be killed; else only where a signal handler can run.

    Returns:
        Whether it came so far; otherwise *call* ran to its end.
    """
    left = step
    last: dict[FrameType, int] = {}

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        if frame.f_code.co_filename not in files:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            is_place = everywhere or _is_place(frame.f_code, last.get(frame, -1), frame.f_lasti)
            last[frame] = frame.f_lasti
            left -= is_place
            if is_place and left == 0:
                handler()
        return trace

    before, collects = sys.gettrace(), gc.isenabled()
    gc.disable()  # the end of an object that an earlier test has left is no part of the call
    sys._getframe().f_trace_opcodes = True  # CPython 3.12 looks for this when a trace function is set, and never again
    sys.settrace(trace)
    try:
        call()
    except Interrupt:
        return True
    finally:
        sys.settrace(before)
        if collects:
            gc.enable()
        last.clear()
    return left <= 0
