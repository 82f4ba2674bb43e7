"""
The parts of ``multiprocessing`` that are not public and that this package stands on, named in one place.

Each is the same on CPython 3.11 to 3.14. They have no type stubs, hence ``Any``.
"""

from __future__ import annotations

import multiprocessing.connection
import multiprocessing.forkserver
import multiprocessing.process
import multiprocessing.reduction
import multiprocessing.resource_tracker
import multiprocessing.spawn
import multiprocessing.util
from typing import Any

__all__ = ["connection", "forkserver", "process", "reduction", "resource_tracker", "spawn", "util"]

connection: Any = multiprocessing.connection  # arbitrary_address
forkserver: Any = multiprocessing.forkserver  # main, read_signed, SIGNED_STRUCT
process: Any = multiprocessing.process  # ORIGINAL_DIR, _children, current_process()._inheriting
reduction: Any = multiprocessing.reduction  # dump, sendfds, DupFd
resource_tracker: Any = multiprocessing.resource_tracker  # getfd, ensure_running
spawn: Any = multiprocessing.spawn  # _fixup_main_from_*, get_command_line, get_executable
util: Any = multiprocessing.util  # spawnv_passfds, Finalize, _args_from_interpreter_flags
