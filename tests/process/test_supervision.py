"""The supervisor over real processes: nobody delays it, nothing is left by restarts, and each child begins clean."""

from __future__ import annotations

import asyncio
import errno
import gc
import multiprocessing
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from actors import (
    ActorDied,
    ActorNotRunningError,
    ActorRef,
    ActorSystem,
    Backoff,
    StartError,
    Supervisor,
    _descriptors,
    child,
)
from actors._zygote import zygote
from actors.errors import ProtocolError
from actors.supervisor._claims import Claims
from tests.helpers import eventually
from tests.leaks import open_descriptors, shared_memory
from tests.troupe import Busy, Child, Flooder, Mute, Parent, Stubborn, Worker

AT_ONCE = Backoff(initial=0.0, maximum=0.001, jitter=0.0)
SECONDS = 10.0


def pid_of(ref: ActorRef[Any]) -> int:
    return int(ref.ask("pid_of").result(timeout=SECONDS))


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def resident_kib() -> int:
    gc.collect()
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise AssertionError("no Pss in smaps_rollup")


# --- nobody delays the supervisor -------------------------------------------------------------------------------------------


@pytest.mark.conformance
def test_children_that_are_stopped_dead_or_read_nothing_delay_nobody(start_method: Any) -> None:
    tree = Supervisor("app", max_restarts=20, period=1.0)
    with ActorSystem(tree, start_method=start_method) as system:
        mute = system.spawn(Mute(), name="mute", shutdown=0.1, term_grace=0.1, backoff=AT_ONCE)
        deaf = system.spawn(Stubborn(), name="deaf", shutdown=0.1, term_grace=0.1, backoff=AT_ONCE)
        third = system.spawn(Worker(), name="third", backoff=AT_ONCE)
        mute_pid, deaf_pid = pid_of(mute), pid_of(deaf)
        mute.tell(Mute.write_half_a_header)
        eventually(lambda: Path(f"/proc/{mute_pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
        deaf.tell(Stubborn.hang, True)
        fill(deaf)
        times: list[float] = []
        for _ in range(5):
            pid = pid_of(third)
            began = time.monotonic()
            os.kill(pid, signal.SIGKILL)
            eventually(lambda: third.incarnation > len(times) + 1, SECONDS)
            times.append(time.monotonic() - began)
            assert pid != pid_of(third)
        print(f"{start_method}: seen and restarted after {max(times) * 1000:.0f} ms at most")
        assert max(times) < 1.0

        began = time.monotonic()
        mute.stop()
        deaf.stop()
        eventually(lambda: is_gone(mute_pid) and is_gone(deaf_pid), 2.0)
        assert time.monotonic() - began < 1.0
        assert pid_of(third)


def fill(ref: ActorRef[Any]) -> None:
    """Send until nothing more is taken."""
    sender = ref.options(on_full="drop_newest")
    deadline = time.monotonic() + SECONDS
    while ref.statistics().pipe_queued_bytes < ref.statistics().pipe_bytes - 4096 and time.monotonic() < deadline:
        for _ in range(1000):
            sender.tell("add", 1)


@pytest.mark.conformance
def test_a_child_that_floods_its_control_lane_ends_alone(start_method: Any) -> None:
    tree = Supervisor("app", max_restarts=20, period=1.0)
    with ActorSystem(tree, start_method=start_method) as system:
        flooder = system.spawn(Flooder(), name="flooder", restart="temporary")
        other = system.spawn(Worker(), name="other", backoff=AT_ONCE)
        flooder.tell(Flooder.flood)
        eventually(lambda: flooder.statistics().handler == "flood" or not flooder.is_alive(), SECONDS)

        for number in range(20):
            began = time.monotonic()
            assert number + 1 == other.ask(Worker.add, 1).result(timeout=SECONDS)
            assert other.is_alive()
            assert time.monotonic() - began < 1.0
        began = time.monotonic()
        system.spawn(Worker(), name="another", backoff=AT_ONCE)
        assert time.monotonic() - began < 5.0
        flooder.stop()
        eventually(lambda: not flooder.is_alive(), SECONDS)


# --- many restarts ----------------------------------------------------------------------------------------------------------


def restart_again_and_again(start_method: Any, rounds: int) -> None:
    tree = Supervisor("app", max_restarts=10_000, period=1.0)
    with ActorSystem(tree, start_method=start_method) as system:
        worker = system.spawn(Worker(), name="worker", backoff=AT_ONCE)
        times = [kill_and_ask(worker) for _ in range(20)]
        before = (len(open_descriptors()), threading.active_count(), shared_memory())
        memory = resident_kib()
        times += [kill_and_ask(worker) for _ in range(rounds)]

        after = (len(open_descriptors()), threading.active_count(), shared_memory())
        eventually(lambda: resident_kib() <= memory * 1.05, 2.0, state=lambda: (memory, resident_kib()))
        print(
            f"{start_method}: {rounds} restarts, SIGKILL to answering {statistics.median(times) * 1000:.1f} ms (median), "
            f"{max(times) * 1000:.0f} ms (most); memory {memory} -> {resident_kib()} KiB"
        )
        assert before == after
        assert worker.incarnation == rounds + 21


def kill_and_ask(worker: ActorRef[Worker]) -> float:
    pid = pid_of(worker)
    began = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    while True:
        try:
            assert pid != worker.ask(Worker.pid_of).result(timeout=SECONDS)
        except ActorDied:
            continue  # it was being handled when the signal came
        return time.monotonic() - began


@pytest.mark.conformance
def test_restarts_leave_nothing_in_the_host(start_method: Any) -> None:
    # A fresh interpreter takes ten times as long to start.
    restart_again_and_again(start_method, 15 if start_method == "spawn" else 60)


@pytest.mark.conformance
@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_thousand_restarts_leave_nothing_in_the_host(start_method: Any) -> None:
    restart_again_and_again(start_method, 1000)


@pytest.mark.timeout(300)  # under spawn, on a busy machine
def test_a_hundred_actors_start_and_stop(start_method: Any) -> None:
    children = [child(Worker(number), name=f"w{number}") for number in range(100)]
    began = time.monotonic()
    with ActorSystem(Supervisor("app", children=children), start_method=start_method) as system:
        started = time.monotonic() - began
        replies = [system.whereis(f"w{number}").ask(Worker.add, 0) for number in range(100)]
        assert list(range(100)) == [reply.result(timeout=SECONDS) for reply in replies]
        began = time.monotonic()
    print(f"{start_method}: 100 actors start in {started:.2f} s, stop in {time.monotonic() - began:.2f} s")


# --- a child begins clean ---------------------------------------------------------------------------------------------------


@contextmanager
def a_busy_host() -> Iterator[None]:
    """A host with signal handlers, a wake-up descriptor and a blocked signal of its own."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    handlers = {
        number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
    }
    ignored = signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    wakeup = signal.set_wakeup_fd(writer)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.set_wakeup_fd(wakeup)
        signal.signal(signal.SIGUSR2, ignored)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)


@pytest.mark.conformance
def test_a_child_begins_with_signals_as_python_starts_and_without_ctrl_c(start_method: Any) -> None:
    with a_busy_host(), ActorSystem(start_method=start_method) as system:
        ref = system.spawn(Child(), name="child")
        found = ref.ask(Child.signals).result(timeout=SECONDS)
        wakeup = ref.ask(Child.wakeup_descriptor).result(timeout=SECONDS)
        blocked = ref.ask(Child.blocked).result(timeout=SECONDS)

    ignored = {number for number, name in found.items() if name == str(signal.SIG_IGN)}
    assert {signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ} == ignored
    assert not [number for number, name in found.items() if "function" in name]
    assert -1 == wakeup
    assert [] == blocked


@pytest.mark.conformance
def test_a_child_has_no_descriptor_of_its_siblings(start_method: Any) -> None:
    tree = Supervisor("app", children=[child(Worker(), name=f"w{number}") for number in range(4)])
    with ActorSystem(tree, start_method=start_method) as system:
        for number in range(4):
            system.whereis(f"w{number}").ask(Worker.add, 1).result(timeout=SECONDS)
        ref = system.spawn(Child(), name="child")
        everything = open_descriptors()
        ours = {everything[number] for number in _descriptors._owned if everything.get(number, "").startswith("pipe")}
        found = ref.ask(Child.descriptors).result(timeout=SECONDS)
        system.spawn(Child(), name="later")
        again = ref.ask(Child.descriptors).result(timeout=SECONDS)

    assert found == again
    # Its recorder, its stacks and its mark.
    memory = [target for target in found.values() if "memfd" in target]
    assert len(memory) <= 3, memory
    sockets = [target for target in found.values() if target.startswith("socket")]
    assert 1 == len(sockets), found
    # Its inbox, its answers, the life line, and the two pipes of its start; all else that is the host's is not here.
    pipes = {target for target in found.values() if target in ours}
    assert len(pipes) <= 5, (found, ours)


@pytest.mark.conformance
def test_a_child_has_its_own_title_an_empty_input_and_the_users_limit(start_method: Any) -> None:
    with ActorSystem(start_method=start_method) as system:
        ref = system.spawn(Child(), name="a-title")

        assert "a-title" == ref.ask(Child.title).result(timeout=SECONDS)
        assert "" == ref.ask(Child.standard_input).result(timeout=SECONDS)
        found = ref.ask(Child.descriptors).result(timeout=SECONDS)
        assert os.devnull == found[0]
        limit = ref.ask(Child.descriptor_limit).result(timeout=SECONDS)

    assert _descriptors.original_limit() == limit


# --- the forkserver ---------------------------------------------------------------------------------------------------------


def test_the_default_start_method_of_the_user_is_not_touched() -> None:
    text = (
        "import multiprocessing\n"
        "from actors import ActorSystem\n"
        "from tests.troupe import Worker\n"
        "if __name__ == '__main__':\n"
        "    for method in ('forkserver', 'spawn', 'fork'):\n"
        "        with ActorSystem(start_method=method) as system:\n"
        "            system.spawn(Worker()).ask(Worker.add, 1).result(timeout=20)\n"
        "    print(multiprocessing.get_start_method(allow_none=True))\n"
    )
    folder = Path(__file__).parent.parent.parent
    ended = subprocess.run(
        [sys.executable, "-c", text], cwd=folder, capture_output=True, text=True, timeout=30, check=False
    )

    assert ("None\n", "") == (ended.stdout, ended.stderr)
    assert multiprocessing.get_start_method(allow_none=True) in {None, "fork", "spawn", "forkserver"}


def test_the_death_of_the_forkserver_touches_no_actor_and_the_next_start_works() -> None:
    with ActorSystem() as system, capture_logs() as logs:
        worker = system.spawn(Worker(), name="worker", restart="temporary")
        failing = system.spawn(Worker(), name="failing", restart="temporary")
        pid = pid_of(worker)
        assert zygote.pid is not None
        os.kill(zygote.pid, signal.SIGKILL)

        another = system.spawn(Worker(), name="another")
        assert pid == pid_of(worker)
        assert pid_of(another)
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: not worker.is_alive(), SECONDS)
        failing.tell(Worker.fail, "as reported")
        eventually(lambda: not failing.is_alive(), SECONDS)
        # Linux 6.15 remembers how; before that nobody does.
        with pytest.raises(ActorNotRunningError, match=r"nobody knows how|killed by SIGKILL"):
            worker.tell(Worker.add, 1)
        with pytest.raises(ActorNotRunningError, match="as reported"):
            failing.tell(Worker.add, 1)

    exits = [log for log in logs if log["event"] == "actors.child_exited"]
    assert not [log for log in exits if log.get("exit_code") == 255]


def test_a_child_that_no_descriptor_was_left_for_can_be_ended_all_the_same(
    start_method: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, refusals = iter([True]), iter([True] * 3)
    hello, pidfd_open = Claims.hello, os.pidfd_open

    def lose(self: Claims, cell: Any, body: Any, fields: Any, descriptors: tuple[int, ...]) -> None:
        if next(lost, False):
            _descriptors.close(*descriptors)
            raise ProtocolError("descriptors got lost")
        hello(self, cell, body, fields, descriptors)

    def refuse(pid: int) -> int:
        if threading.current_thread().name.endswith("pump") and next(refusals, False):
            raise OSError(errno.EMFILE, "no descriptors are left")
        return pidfd_open(pid)

    with capture_logs() as logs, ActorSystem(start_method=start_method) as system:
        worker = system.spawn(Worker(), name="worker", backoff=AT_ONCE)
        assert 1 == worker.ask(Worker.add, 1).result(timeout=SECONDS)
        monkeypatch.setattr(Claims, "hello", lose)
        monkeypatch.setattr(os, "pidfd_open", refuse)
        worker.tell(Worker.fail, "as told")

        assert 1 == worker.ask(Worker.add, 1).result(timeout=SECONDS)
        assert 3 == worker.incarnation

    assert next(refusals, None) is None
    ends = [log["kind"] for log in logs if log["event"] == "actors.child_exited"]
    assert ["crash", "protocol"] == ends[:2]


def test_a_forkserver_that_is_stopped_holds_a_start_no_longer_than_its_timeout() -> None:
    with ActorSystem() as system:
        worker = system.spawn(Worker(), name="worker")
        assert zygote.pid is not None
        os.kill(zygote.pid, signal.SIGSTOP)
        began = time.monotonic()

        with pytest.raises(StartError, match="not ready in time"):
            system.spawn(Worker(), name="late", start_timeout=0.5)

        assert time.monotonic() - began < 2.0
        assert 1 == worker.ask(Worker.add, 1).result(timeout=SECONDS)
        assert pid_of(system.spawn(Worker(), name="next"))


def test_a_system_stops_while_a_start_hangs_on_the_forkserver() -> None:
    with pytest.raises(KeyboardInterrupt), ActorSystem(shutdown_deadline=1.0) as system:
        system.spawn(Worker(), name="worker")
        assert zygote.pid is not None
        os.kill(zygote.pid, signal.SIGSTOP)
        system.spawn(Worker(), name="late", wait=False)
        began = time.monotonic()
        raise KeyboardInterrupt

    assert time.monotonic() - began < 8.0
    with ActorSystem() as system:
        assert pid_of(system.spawn(Worker()))


# --- the host is any program ------------------------------------------------------------------------------------------------


def test_two_systems_live_in_one_process(start_method: Any) -> None:
    with ActorSystem(start_method=start_method) as one, ActorSystem(start_method=start_method) as two:
        first, second = one.spawn(Worker(1), name="same"), two.spawn(Worker(2), name="same")
        assert (1, 2) == (first.ask(Worker.add, 0).result(timeout=5), second.ask(Worker.add, 0).result(timeout=5))
        assert first != second


def test_a_system_is_used_from_a_helper_thread(start_method: Any) -> None:
    found: list[int] = []

    def use() -> None:
        with ActorSystem(start_method=start_method) as system:
            found.append(system.spawn(Worker(4)).ask(Worker.add, 1).result(timeout=SECONDS))

    thread = threading.Thread(target=use)
    thread.start()
    thread.join(20)

    assert [5] == found


def test_a_system_is_used_inside_asyncio(start_method: Any) -> None:
    async def use() -> list[int]:
        with ActorSystem(start_method=start_method) as system:
            worker = system.spawn(Worker(), name="worker", wait=False)
            return list(await asyncio.gather(*(worker.ask(Worker.add, 1) for _ in range(10))))

    assert list(range(1, 11)) == asyncio.run(use())


def test_stop_may_be_called_twice_and_by_several_threads(start_method: Any) -> None:
    system = ActorSystem(start_method=start_method).start()
    pid = pid_of(system.spawn(Worker()))
    threads = [threading.Thread(target=system.stop) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    system.stop()

    assert is_gone(pid)


def test_a_block_left_by_an_exception_stops_at_once(start_method: Any) -> None:
    with pytest.raises(LookupError), ActorSystem(start_method=start_method) as system:
        worker = system.spawn(Worker(), name="worker")
        for _ in range(1000):
            worker.tell(Worker.wait, 0.05)
        began = time.monotonic()
        raise LookupError

    assert time.monotonic() - began < 1.0


def test_an_error_in_on_stop_is_logged_and_hurts_nobody(start_method: Any) -> None:
    with capture_logs() as logs:
        with ActorSystem(start_method=start_method) as system:
            system.spawn(FailsToStop(), name="fails")
        hooks = [log for log in logs if log["event"] == "actors.hook_failed"]

    assert [("/system/fails", "on_stop")] == [(log["path"], log["hook"]) for log in hooks]
    assert "OSError: cannot let go" in hooks[0]["reason"]


def test_on_stop_lets_go_of_nothing_that_on_start_has_not_made(start_method: Any) -> None:
    with (
        capture_logs() as logs,
        ActorSystem(start_method=start_method) as system,
        pytest.raises(StartError, match="no database"),
    ):
        system.spawn(FailsToStart(), name="fails")

    assert not [log for log in logs if log["event"] == "actors.hook_failed"]


class FailsToStart(Worker):
    def on_start(self) -> None:
        raise OSError("no database")

    def on_stop(self, reason: object) -> None:
        raise AssertionError("there is nothing to close")


class FailsToStop(Worker):
    def on_stop(self, reason: object) -> None:
        raise OSError("cannot let go")


def test_an_actor_that_holds_the_gil_in_c_is_stopped(start_method: Any) -> None:
    with ActorSystem(start_method=start_method) as system:
        busy = system.spawn(Busy(), name="busy", shutdown=0.1, term_grace=0.1)
        pid = pid_of(busy)
        busy.tell(Busy.compute)
        eventually(lambda: busy.statistics().handler == "compute", SECONDS)
        busy.stop()
        eventually(lambda: is_gone(pid), 2.0)


def test_a_parent_that_is_killed_while_it_spawns_leaves_nothing(start_method: Any) -> None:
    with ActorSystem(start_method=start_method) as system:
        parent = system.spawn(Parent(), name="parent", restart="temporary")
        pid = pid_of(parent)
        for number in range(5):
            parent.tell(Parent.start_one, f"theirs-{number}")
        eventually(lambda: len(system.actors()) > 1, SECONDS)
        os.kill(pid, signal.SIGKILL)

        eventually(lambda: () == system.actors(), SECONDS, state=system.actors)
