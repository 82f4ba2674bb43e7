"""Where an actor was when it had to be killed: its stack is taken first, also where it can run no Python any more."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from actors import ActorRef, ActorSystem, CrashReport, _probe
from actors.supervisor._stacks import STACK_BYTES, read_stack
from tests.casualties import Casualty
from tests.helpers import eventually

SECONDS = 10.0

Reports = list[CrashReport]


@pytest.fixture
def reports() -> Reports:
    return []


@pytest.fixture
def system(start_method: Any, reports: Reports) -> Iterator[ActorSystem]:
    with ActorSystem(start_method=start_method, on_crash=reports.append) as running:
        yield running


def spawn(system: ActorSystem, **options: Any) -> ActorRef[Casualty]:
    return system.spawn(Casualty(), restart="temporary", **options)


def take(system: ActorSystem, ref: ActorRef[Any]) -> tuple[str, float, list[str]]:
    """Take a stack: the text, the seconds it took, and what is noted of it."""
    taken: list[tuple[str, float]] = []
    came = threading.Event()

    def begin(host: Any) -> Any:
        cell = host.runner.cells[ref.uid]
        began = time.monotonic()

        def note(text: str) -> None:
            taken.append((text, time.monotonic() - began))
            came.set()

        host.runner.stacks.take(cell, cell.body, note)
        return cell.body

    body = system._life.call(begin)
    assert came.wait(SECONDS)
    return (*taken[0], list(body.notes))


def kill(system: ActorSystem, ref: ActorRef[Any], why: str = "hang") -> None:
    runner = system._life.running().runner
    cell = runner.cells[ref.uid]
    assert cell.body is not None
    body = cell.body
    system._life.call(lambda _host: runner.kill(cell, body, why))


def pid_of(ref: ActorRef[Casualty]) -> int:
    return ref.ask(Casualty.pid_of).result(timeout=SECONDS)


def is_busy(ref: ActorRef[Casualty], handler: str) -> bool:
    return ref.statistics().handler == handler and ref.statistics().state == "handling"


def test_a_handler_that_holds_the_gil_in_c_code_shows_its_line(system: ActorSystem, reports: Reports) -> None:
    ref = spawn(system)
    ref.tell(Casualty.hold_the_gil)
    eventually(lambda: is_busy(ref, "hold_the_gil"), SECONDS)

    text, seconds, notes = take(system, ref)
    kill(system, ref)
    eventually(lambda: reports, SECONDS)

    print(f"the stack came after {seconds * 1000:.1f} ms")
    assert "casualties.py" in text
    assert "in hold_the_gil" in text
    assert seconds < 0.5
    assert ["its stack was taken"] == notes
    assert "hang" == reports[0].kind
    assert reports[0].stack.startswith("Current thread")
    assert "in hold_the_gil" in reports[0].stack
    assert "hold_the_gil" == reports[0].handler


@pytest.mark.parametrize("why", ["hang", "memory_limit"])
def test_the_stack_is_taken_before_the_kill(system: ActorSystem, reports: Reports, why: str) -> None:
    ref = spawn(system)
    ref.tell(Casualty.wait)
    eventually(lambda: is_busy(ref, "wait"), SECONDS)

    began = time.monotonic()
    kill(system, ref, why)
    eventually(lambda: reports, SECONDS)

    assert time.monotonic() - began < 1.0
    assert "in wait" in reports[0].stack
    assert "its stack was taken" in reports[0].evidence


def test_a_fault_leaves_the_stack_of_the_line_that_faulted(system: ActorSystem, reports: Reports) -> None:
    ref = spawn(system)
    ref.tell(Casualty.segfault)
    eventually(lambda: reports, SECONDS)

    assert ("signal", "SIGSEGV") == (reports[0].kind, reports[0].signal)
    assert reports[0].stack.startswith("Fatal Python error: Segmentation fault")
    assert "in segfault" in reports[0].stack


def test_a_stopped_process_gives_no_stack_and_delays_no_kill(system: ActorSystem, reports: Reports) -> None:
    ref = spawn(system)
    pid = pid_of(ref)
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: "T" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0], SECONDS)

    kill(system, ref)
    eventually(lambda: reports, SECONDS)

    assert "" == reports[0].stack
    assert "no stack: the process is stopped" in reports[0].evidence


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("take_the_signal", "no stack came"),
        ("forget_the_signal", "no stack: the process has not begun, or has become another program"),
    ],
)
def test_an_actor_that_takes_the_signal_for_itself_is_killed_without(
    system: ActorSystem, reports: Reports, how: str, why: str
) -> None:
    ref = spawn(system)
    ref.ask(how).result(timeout=SECONDS)

    kill(system, ref)
    eventually(lambda: reports, SECONDS)

    assert ("hang", "SIGKILL", "") == (reports[0].kind, reports[0].signal, reports[0].stack)
    assert why in reports[0].evidence


def test_a_stack_file_full_of_junk_hurts_nobody(system: ActorSystem, reports: Reports) -> None:
    ref = spawn(system)
    said = ref.ask(Casualty.spoil_its_stack_file).result(timeout=SECONDS)
    ref.tell(Casualty.wait)
    eventually(lambda: is_busy(ref, "wait"), SECONDS)

    kill(system, ref)
    eventually(lambda: reports, SECONDS)

    assert ["PermissionError", "PermissionError"] == said
    assert "hang" == reports[0].kind
    assert len(reports[0].stack) <= STACK_BYTES + 1
    assert reports[0].to_dict()["stack"] == reports[0].stack


def test_two_that_take_a_stack_at_once_get_the_same(system: ActorSystem) -> None:
    ref = spawn(system)
    pid_of(ref)
    taken: list[str] = []

    def begin(host: Any) -> None:
        cell = host.runner.cells[ref.uid]
        for _ in range(2):
            host.runner.stacks.take(cell, cell.body, taken.append)

    system._life.call(begin)
    eventually(lambda: len(taken) == 2, SECONDS)
    system._life.call(begin)  # at once, what came just now
    eventually(lambda: len(taken) == 4, SECONDS)

    assert "Current thread" in taken[0]
    assert [taken[0]] * 4 == taken


def test_a_stack_is_of_the_moment_and_not_of_an_earlier_one(system: ActorSystem, reports: Reports) -> None:
    ref = spawn(system)
    pid_of(ref)
    take(system, ref)
    ref.tell(Casualty.fail, "broken")
    eventually(lambda: reports, SECONDS)

    assert ("crash", "") == (reports[0].kind, reports[0].stack)


def test_a_copy_of_an_actor_writes_nothing_into_its_stack_file(system: ActorSystem) -> None:
    ref = spawn(system)
    assert -signal.SIGSEGV == ref.ask(Casualty.fork_and_fault).result(timeout=SECONDS)

    body = system._life.running().runner.cells[ref.uid].body
    assert body is not None
    assert "" == read_stack(body.stack_file)


def test_a_stop_that_has_to_be_escalated_says_where_it_is_stuck(system: ActorSystem) -> None:
    with capture_logs() as logs:
        ref = spawn(system, shutdown=0.05, term_grace=5.0)
        ref.tell(Casualty.wait)
        eventually(lambda: is_busy(ref, "wait"), SECONDS)
        ref.stop()
        eventually(lambda: [log for log in logs if log["event"] == "actors.child_exited"], SECONDS)

    rungs = [log for log in logs if log["event"] == "actors.stop_escalated"]
    assert ["SIGTERM"] == [log["rung"] for log in rungs]
    assert "in wait" in rungs[0]["stack"]
    assert [] == [log for log in logs if log["event"] == "actors.crash_report"]


def test_what_the_kernel_says_of_a_process(system: ActorSystem) -> None:
    ref = spawn(system)
    pid = pid_of(ref)

    assert (_probe.resident_bytes(pid) or 0) > 1 << 20
    assert 0.0 <= (_probe.cpu_seconds(pid) or 0.0) < 10.0
    state = _probe.signal_state(pid)
    assert state is not None
    assert not state.is_stopped


def test_the_kernel_says_nothing_of_a_process_that_is_not_there() -> None:
    nobody = 1 << 22  # above the largest pid
    assert (None, None, None) == (
        _probe.resident_bytes(nobody),
        _probe.cpu_seconds(nobody),
        _probe.signal_state(nobody),
    )
