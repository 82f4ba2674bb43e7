"""
The parts of ``multiprocessing`` that are not public and that this package stands on, named in one place.

Each is the same on CPython 3.11 to 3.14. They have no type stubs, hence ``Any``.
"""

from __future__ import annotations

import multiprocessing.forkserver
import multiprocessing.process
import multiprocessing.reduction
import multiprocessing.resource_tracker
import multiprocessing.spawn
import multiprocessing.util
import os
import signal
from collections.abc import Sequence
from typing import Any

__all__ = ["forkserver", "process", "reduction", "resource_tracker", "spawn", "start_program", "util"]

forkserver: Any = multiprocessing.forkserver  # _forkserver._inherited_fds
process: Any = multiprocessing.process  # ORIGINAL_DIR, _children, current_process()._inheriting
reduction: Any = multiprocessing.reduction  # dump, DupFd
resource_tracker: Any = multiprocessing.resource_tracker  # getfd, ensure_running, _resource_tracker._fd
spawn: Any = multiprocessing.spawn  # _main, _fixup_main_from_*, get_command_line, get_executable
util: Any = multiprocessing.util  # spawnv_passfds, Finalize, _args_from_interpreter_flags, _close_stdin, _exit_function


def start_program(command: Sequence[str], descriptors: Sequence[int]) -> int:
    """
    Start a program that inherits *descriptors*, and return its pid.

    Ctrl-C is held back from it, by the mask it inherits, until it is prepared. The mask is set here and not once per thread: the start
    of the resource tracker lifts it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return int(util.spawnv_passfds(os.fsencode(command[0]), command, descriptors))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
