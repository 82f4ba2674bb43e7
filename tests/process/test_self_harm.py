"""What a child does to itself it does to itself alone: it goes on or ends, with the reason that fits, and a sibling notices nothing."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import attrs
import pytest
from structlog.testing import capture_logs

from actors import ActorRef, ActorsError, ActorSystem, Backoff, StartError
from tests.harm import HARMS, Harmer
from tests.helpers import eventually
from tests.leaks import open_descriptors

SECONDS = 20.0
# Ten times what is promised.
SIBLING_SECONDS = 1.0


@attrs.frozen
class Ending:
    """How it ends: whether it goes on until it is stopped, the kind of its end and the exit codes that are right."""

    goes_on: bool
    kind: str
    codes: frozenset[int]


def goes_on(*codes: int) -> Ending:
    return Ending(True, "requested", frozenset(codes or (0,)))


def ends(kind: str, *codes: int) -> Ending:
    return Ending(False, kind, frozenset(codes))


BY_THE_LADDER = goes_on(-15, -9)
# Everything that is not here goes on, and stops when it is asked to.
ENDINGS = {
    "closes all its descriptors": ends("crash", 1),
    "closes its control lane": ends("protocol", -9),
    "closes its inbox": ends("crash", 1),
    "closes its answer pipe": ends("crash", 1),
    "leaves by os._exit": ends("crash", 3),
    "writes garbage on its control lane": ends("protocol", -9),
    "writes garbage into its answer pipe": ends("protocol", -9),
    "writes garbage into its recorder": goes_on(0, -15, -9),
    "recurses without end": ends("crash", 1),
    "has a thread that never ends": BY_THE_LADDER,
    # A plain fork leaves without exit handlers.
    "hangs at its exit": goes_on(0, -15, -9),
    "stops itself": BY_THE_LADDER,
}
DEAF = {"writes garbage into its recorder", "stops itself"}


@contextmanager
def answering(sibling: ActorRef[Harmer]) -> Iterator[list[float]]:
    """Ask *sibling* again and again meanwhile; give the seconds that each answer took."""
    times: list[float] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            began = time.monotonic()
            with suppress(TimeoutError):
                sibling.ask(Harmer.echo, 1).result(timeout=SECONDS)
            times.append(time.monotonic() - began)
            over.wait(0.005)

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        yield times
    finally:
        over.set()
        asker.join()


@pytest.mark.parametrize("how", HARMS)
def test_a_child_that_hurts_itself_hurts_nobody_else(start_method: Any, how: str) -> None:
    ending = ENDINGS.get(how, goes_on())
    with capture_logs() as logs, ActorSystem(start_method=start_method) as system:
        sibling = system.spawn(Harmer(), name="sibling")
        patience = 10.0 if ending == goes_on() else 1.0
        harmer = system.spawn(Harmer(), name="harmer", restart="temporary", shutdown=patience, term_grace=0.5)
        with answering(sibling) as times:
            harmer.tell(Harmer.harm, how)
            if ending.goes_on and how not in DEAF:
                assert harmer.ask(Harmer.echo, 5).result(timeout=SECONDS) == 5
            if how == "stops itself":
                eventually(lambda: harmer.statistics().handler == "harm", SECONDS)
            if ending.goes_on:
                harmer.stop()
            else:
                # Some of it is noticed with the next message only, and some has ended it by now.
                with suppress(ActorsError):
                    harmer.ask(Harmer.echo, 5)
            eventually(lambda: not harmer.is_alive(), SECONDS)
        assert sibling.ask(Harmer.echo, 7).result(timeout=SECONDS) == 7
        assert sibling.incarnation == 1

    exits = [log for log in logs if log["event"] == "actors.child_exited" and log["path"] == "/system/harmer"]
    ended = [(log["kind"], log["exit_code"]) for log in exits]
    assert [kind for kind, _code in ended] == [ending.kind], ended
    assert ended[0][1] in ending.codes
    assert max(times) < SIBLING_SECONDS


def test_a_host_without_descriptors_makes_a_new_answer_pipe_when_it_has_some_again(
    start_method: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    eventfd, refused = os.eventfd, threading.Semaphore(0)

    host = os.getpid()

    def refuse(count: int, flags: int) -> int:
        if os.getpid() != host:  # a fork
            return eventfd(count, flags)
        refused.release()
        raise OSError(errno.EMFILE, "too many open files")

    with capture_logs() as logs, ActorSystem(start_method=start_method) as system:
        harmer = system.spawn(Harmer(), name="harmer", backoff=Backoff(initial=0.01), max_same_crashes=None)
        assert harmer.ask(Harmer.echo, 1).result(timeout=SECONDS) == 1
        before = len(open_descriptors())
        monkeypatch.setattr(os, "eventfd", refuse)
        harmer.tell(Harmer.harm, "writes garbage into its answer pipe")
        for _ in range(3):
            assert refused.acquire(timeout=SECONDS)
        monkeypatch.setattr(os, "eventfd", eventfd)

        def answers() -> bool:
            with suppress(ActorsError, TimeoutError):
                return bool(harmer.options(timeout=1.0).ask(Harmer.echo, 5).result() == 5)
            return False

        eventually(answers, SECONDS)
        eventually(lambda: len(open_descriptors()) <= before, SECONDS, state=open_descriptors)
    assert "protocol" in {log["kind"] for log in logs if log["event"] == "actors.child_exited"}


def test_an_actor_for_which_a_descriptor_is_missing_leaves_none_open(
    start_method: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: int) -> int:
        raise OSError(errno.EMFILE, "too many open files")

    with ActorSystem(start_method=start_method) as system:
        system.spawn(Harmer(), name="one")
        before = open_descriptors()
        monkeypatch.setattr(os, "eventfd", refuse)
        with pytest.raises(StartError, match="two"):
            system.spawn(Harmer(), name="two")
        monkeypatch.undo()
        assert open_descriptors() == before


@pytest.mark.parametrize("what", ["pipe", "fork"])
def test_a_fork_that_the_machine_refuses_leaves_no_descriptor_open(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe, made = os.pipe, [0]

    def one_pipe() -> tuple[int, int]:
        made[0] += 1
        if made[0] > 1:
            raise OSError(errno.EMFILE, "too many open files")
        return pipe()

    def no_fork() -> int:
        raise OSError(errno.EAGAIN, "no more processes")

    with ActorSystem(start_method="fork") as system:
        one = system.spawn(Harmer(), name="one")
        before = open_descriptors()
        monkeypatch.setattr(os, what, one_pipe if what == "pipe" else no_fork)
        with pytest.raises(StartError, match="two"):
            system.spawn(Harmer(), name="two")
        monkeypatch.undo()
        assert open_descriptors() == before
        assert system.spawn(Harmer(), name="three").ask(Harmer.echo, 3).result(timeout=SECONDS) == 3
        assert one.ask(Harmer.echo, 1).result(timeout=SECONDS) == 1
