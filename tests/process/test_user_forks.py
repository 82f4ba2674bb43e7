"""A fork that the user's own code makes of the host: it gets nothing of the systems there, and keeps everything else."""

from __future__ import annotations

import gc
import os
import warnings
from pathlib import Path
from typing import Any

from actors import ActorSystem
from tests import scripts
from tests.consumers import Consumer
from tests.helpers import eventually

SECONDS = 30.0


def lanes(system: ActorSystem) -> list[int]:
    """The numbers of the host's control lanes, each the control lane of one actor."""
    host = system._life.host
    assert host is not None
    return [cell.body.lane.fileno() for cell in host.runner.cells.values() if cell.body is not None]


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def what_a_fork_writes(descriptor: int) -> int:
    """Exit code of a fork that writes to *descriptor*."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # of forks in a process with threads, which is what is tested
        pid = os.fork()
    if pid == 0:  # pragma: no cover - in the child
        try:
            os.write(descriptor, b"mine")
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_file_with_the_number_of_a_control_lane_that_was_closed_is_the_forks_own_too(start_method: Any) -> None:
    with ActorSystem(start_method=start_method) as system:
        actors = [system.spawn(Consumer(), name=f"actor-{number}") for number in range(3)]
        numbers = lanes(system)
        for actor in actors:
            actor.stop()
        eventually(lambda: not any(actor.is_alive() for actor in actors), SECONDS)
        eventually(lambda: not any(map(is_open, numbers)), SECONDS, state=lambda: list(filter(is_open, numbers)))
        gc.collect()
        for number in numbers:
            read_end, write_end = os.pipe()
            try:
                if number not in {read_end, write_end}:
                    assert not is_open(number)
                    os.dup2(write_end, number)
                if number != read_end:
                    assert what_a_fork_writes(number) == 0
                    os.set_blocking(read_end, False)
                    assert os.read(read_end, 10) == b"mine"
            finally:
                for descriptor in {read_end, write_end, number}:
                    os.close(descriptor)


def test_a_fork_has_no_lock_of_a_module_that_a_thread_of_its_parent_may_hold(tmp_path: Path) -> None:
    script = scripts.write(
        tmp_path,
        """
        import importlib, os, pkgutil, sys, threading
        import actors

        KINDS = type(threading.Lock()), type(threading.RLock())
        for module in pkgutil.walk_packages(actors.__path__, "actors."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
        modules = [module for name, module in sys.modules.items() if name.startswith("actors")]
        locks = {
            (module.__name__, name): value
            for module in modules
            for name, value in vars(module).items()
            if isinstance(value, KINDS)
        }
        pid = os.fork()
        kept = [place for place, lock in locks.items() if vars(sys.modules[place[0]])[place[1]] is lock]
        if pid == 0:
            print(len(locks), kept, flush=True)
            os._exit(0)
        os.waitpid(pid, 0)
        """,
    )

    ended = scripts.run(script)

    count, kept = ended.out.split(maxsplit=1)
    assert int(count) >= 4, ended
    assert kept == "[]\n"
