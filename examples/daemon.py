"""
A whole daemon: it does the jobs that are put into a folder, and goes on when they crash, hang, leak or kill their workers.

::

    jobs                        one_for_one, 5 restarts a minute; more, and the daemon ends with exit code 70
    ├─ store                    the database: keeps results, does nothing that could hurt it
    ├─ worker-1, worker-2       after the store; do the jobs, with limits of time and memory
    └─ spooler                  after the workers; looks into the folder, hands out jobs, files what came of them

Run it with ``python examples/daemon.py FOLDER``, and give it work with ``echo 'double 21' > FOLDER/a.job``. Other jobs are ``fail``,
``crash``, ``exit``, ``hang`` and ``leak``. It logs JSON lines to standard output, keeps results in ``FOLDER/results.db``, jobs that failed in
``FOLDER/failed`` and crash reports in ``FOLDER/crashes``. SIGTERM and Ctrl-C stop it. docs/how-to/embed-in-a-daemon.md walks through it.
"""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import sys
import time
from concurrent.futures import Future, as_completed
from pathlib import Path
from typing import Any

import structlog

from actors import (
    Actor,
    ActorRef,
    ActorsError,
    ActorSystem,
    RestartIntensityError,
    StartError,
    Supervisor,
    child,
    handler,
)

MIB = 1024 * 1024
WORKERS = ("worker-1", "worker-2")
GAVE_UP = os.EX_SOFTWARE  # 70: whoever supervises the daemon is to start it again
NOT_STARTED = os.EX_CONFIG  # 78: another start would not help


def configure_logging() -> Any:
    """JSON lines on standard output. Called when this module is imported, so in the process of each actor, too."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(sys.stdout),
    )
    return structlog.get_logger("jobs")


LOG = configure_logging()


class Store(Actor):
    """Owns the database. A connection is opened in on_start: it cannot travel to another process."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def on_start(self) -> None:
        self.database = sqlite3.connect(self.path)
        self.database.execute("create table if not exists results (job text primary key, result text)")

    @handler
    def put(self, job: str, result: str) -> None:
        with self.database:  # the same job twice is one row: a job may be done again
            self.database.execute("insert or replace into results values (?, ?)", (job, result))


class Worker(Actor):
    """Does one job at a time. Whatever a job does to it, the next one finds a worker."""

    handler_timeout = 1.0  # a job is to take less, or to call self.progress()
    hang_grace = 0.2
    memory_hard = 200 * MIB

    def on_start(self) -> None:
        self.store = self.whereis("store").options(timeout=5)

    @handler
    def work(self, job: str, text: str) -> str:
        verb, _, rest = text.strip().partition(" ")
        result = self.perform(verb, rest)
        self.store.ask(Store.put, job, result).result()
        return result

    def perform(self, verb: str, rest: str) -> str:
        match verb:
            case "double":
                return str(2 * int(rest))  # a ValueError fails this job, and nothing else
            case "crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "exit":
                os._exit(3)
            case "hang":
                time.sleep(3600)
            case "leak":
                held = []
                while True:
                    held.append(b"x" * (4 * MIB))
                    time.sleep(0.02)
                    self.progress()
        raise ValueError(f"no such job: {verb}")


class Spooler(Actor):
    """Looks into the folder, and waits for the answer to each job that it has handed out."""

    shutdown = 15.0  # a stop waits for the jobs at hand: longer than the timeout of one

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.folder = folder

    def on_start(self) -> None:
        self.spool, self.failed = Path(self.folder), Path(self.folder, "failed")
        self.failed.mkdir(exist_ok=True)
        self.workers: list[ActorRef[Worker]] = [self.whereis(name).options(timeout=10) for name in WORKERS]
        self.call_every(0.1, Spooler.look)
        self.log.info("jobs.ready")

    @handler
    def look(self) -> None:
        jobs = sorted(self.spool.glob("*.job"))[: len(self.workers)]
        replies: dict[Future[str], Path] = {}
        for worker, path in zip(self.workers, jobs, strict=False):
            replies[worker.ask(Worker.work, path.stem, path.read_text())] = path
        for reply in as_completed(replies):
            self.file(replies[reply], reply)

    def file(self, path: Path, reply: Future[str]) -> None:
        try:
            self.log.info("jobs.done", job=path.stem, result=reply.result())
        except ActorsError as error:  # it raised, died, or took too long: not tried again, since it might again
            self.log.warning("jobs.failed", job=path.stem, error=type(error).__name__, reason=str(error))
            path.rename(self.failed / path.name)
        else:
            path.unlink()


def tree(folder: str) -> Supervisor:
    return Supervisor(
        "jobs",
        max_restarts=5,
        period=60.0,
        children=[
            child(Store(f"{folder}/results.db"), name="store"),
            *(child(Worker(), name=name, after=("store",)) for name in WORKERS),
            child(Spooler(folder), name="spooler", after=WORKERS),
        ],
    )


def main(folder: str) -> int:
    """Run until SIGTERM or SIGINT, which drain; returns the exit code."""
    system = ActorSystem(tree(folder), shutdown_deadline=40.0, crash_directory=f"{folder}/crashes")
    try:
        system.run_forever()
    except StartError as error:
        LOG.critical("jobs.not_started", reason=str(error))
        return NOT_STARTED
    except RestartIntensityError as error:
        LOG.critical("jobs.gave_up", reason=str(error))
        return GAVE_UP
    LOG.info("jobs.stopped")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python examples/daemon.py FOLDER")
    sys.exit(main(sys.argv[1]))
