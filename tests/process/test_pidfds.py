"""A signal reaches the process it is meant for, and no other: whatever a child claims, and whatever becomes of its pid."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from actors import Actor
from actors._status import parse_stat_status, read_status
from actors.mailbox._control import ControlLane
from actors.supervisor import _births
from actors.supervisor._cells import Body
from tests import scripts

FORGER = """
    import os, time

    if "FORGER_VICTIM" in os.environ:
        from actors.mailbox._control import ControlLane
        honest = ControlLane.send

        def send(lane, kind, *fields, descriptors=()):
            if kind == "hello" and os.path.exists(os.environ["FORGER_SWITCH"]):
                if os.environ["FORGER_SAYS"] == "late":
                    time.sleep(0.5)
                pid = int(os.environ["FORGER_VICTIM"])
                return honest(lane, kind, pid, descriptors=[os.pidfd_open(pid)])
            return honest(lane, kind, *fields, descriptors=descriptors)

        ControlLane.send = send
"""
HOST = """
    import os, sys, threading, time
    from pathlib import Path
    from actors import ActorSystem, StartError
    from actors.supervisor import _starter
    from tests.troupe import Worker

    def slow(launch):
        def slower(*args):
            try:
                return launch(*args)
            finally:
                if switch.exists():
                    time.sleep(0.5)
        return slower

    if __name__ == "__main__":
        method, says, stops = sys.argv[1:4]
        switch = Path(os.environ["FORGER_SWITCH"])
        if says == "early":
            _starter.launch = slow(_starter.launch)
        with ActorSystem(start_method=method) as system:
            sibling = system.spawn(Worker(), name="sibling")
            switch.touch()
            try:
                ref = system.spawn(Worker(), name="forger", restart="temporary", shutdown=0.0, wait=stops != "stops")
                threading.Event().wait(0.25)
                ref.stop()
            except StartError as error:
                print(str(error).splitlines()[0])
            while [info for info in system.actors() if info.path.endswith("forger")]:
                time.sleep(0.01)
            switch.unlink()
            print(sibling.ask(Worker.add, 1).result(timeout=5), system.spawn(Worker()).ask(Worker.add, 2).result(timeout=20))
"""


@pytest.fixture
def innocent() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with any of it."""
    with subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("stops", ["waits", "stops"])
@pytest.mark.parametrize("says", ["early", "late"])
def test_a_child_that_hands_over_another_process_ends_alone(
    start_method: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    innocent: subprocess.Popen[bytes],
    says: str,
    stops: str,
) -> None:
    monkeypatch.setenv("FORGER_VICTIM", str(innocent.pid))
    monkeypatch.setenv("FORGER_SAYS", says)
    monkeypatch.setenv("FORGER_SWITCH", str(tmp_path / "switch"))
    scripts.write(tmp_path, FORGER, "sitecustomize.py")
    ended = scripts.run(scripts.write(tmp_path, HOST), start_method, says, stops)

    assert ended.code == 0, ended.err
    assert innocent.poll() is None
    assert ended.out.splitlines()[-1] == "1 2"
    if stops == "waits":
        assert "kind=protocol" in ended.err
        assert "hands over" in ended.err


def test_a_pid_that_is_anothers_by_now_is_never_signalled(innocent: subprocess.Popen[bytes]) -> None:
    """The child has ended and was reaped, and its pid belongs to a stranger when the host comes to open it."""
    ended: list[Body] = []
    runner: Any = SimpleNamespace(burials=SimpleNamespace(ended=lambda _cell, body: ended.append(body)))
    host: Any = SimpleNamespace(pump=None)
    reaped: Any = object.__new__(Actor)
    vars(reaped)["_popen"] = SimpleNamespace(returncode=-9, pid=innocent.pid, finalizer=None)
    ours, theirs = socket.socketpair()
    body = Body(1, ControlLane(ours.detach(), limit=100), theirs.detach(), process=reaped, pid=innocent.pid)

    _births.Births(host, runner)._hold(SimpleNamespace(body=body), body)  # type: ignore[arg-type]
    body.kill_group()

    assert ended == [body]
    assert body.pidfd == -1
    with pytest.raises(subprocess.TimeoutExpired):
        innocent.wait(0.2)
    body.close()


def test_the_kernel_says_how_a_process_ended_before_and_after_it_is_reaped() -> None:
    pid = os.fork()
    if pid == 0:
        signal.pause()
    pidfd = os.pidfd_open(pid)
    try:
        assert read_status(pid, pidfd) is None
        os.kill(pid, signal.SIGKILL)
        select.select([pidfd], [], [])
        assert read_status(pid, pidfd) == signal.SIGKILL
        os.waitpid(pid, 0)
        # Linux 6.15 remembers it.
        assert read_status(pid, pidfd) in {signal.SIGKILL, None}
    finally:
        os.close(pidfd)


def test_what_is_no_certain_status_is_none() -> None:
    fields = b" ".join([b"Z", *[b"1"] * 48])

    assert parse_stat_status(b"7 (a) b) " + fields + b" 11") == 11
    assert parse_stat_status(b"7 (a) " + fields + b" 0") is None
    assert parse_stat_status(b"7 (a) " + fields) is None
    assert parse_stat_status(b"7 (a) S" + fields[1:] + b" 11") is None
    assert parse_stat_status(b"") is None
