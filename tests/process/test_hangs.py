"""Hangs over real processes: whoever gets nowhere is ended and comes back, and whoever is only slow is left alone."""

from __future__ import annotations

import asyncio
import ctypes
import functools
import os
import resource
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from actors import (
    ActorDied,
    ActorRef,
    ActorSystem,
    AskTimeoutError,
    Backoff,
    CrashReport,
    Reply,
    Supervisor,
    handler,
)
from tests.helpers import eventually
from tests.leaks import open_descriptors
from tests.troupe import Worker

AT_ONCE = Backoff(initial=0.0, maximum=0.001, jitter=0.0)
TREE = Supervisor("app", max_restarts=50, period=1.0)
SECONDS = 10.0
WATCHED: dict[str, Any] = {"handler_timeout": 0.3, "hang_grace": 0.1, "backoff": AT_ONCE}


class Patient(Worker):
    """Gets stuck in every way, and is slow in every way."""

    @handler
    def forget_a_lock(self) -> None:
        lock = threading.Lock()
        threading.Thread(target=self._beat, daemon=True).start()
        lock.acquire()
        lock.acquire()

    def _beat(self) -> None:
        while True:
            self.progress()
            threading.Event().wait(0.01)

    @handler
    def hold_the_gil(self) -> None:
        # A dead-lock in C: nothing that a signal could interrupt, as a call that sleeps.
        library, mutex = ctypes.PyDLL(None), ctypes.create_string_buffer(64)
        library.pthread_mutex_lock(mutex)
        library.pthread_mutex_lock(mutex)

    @handler
    def turn(self) -> None:
        while True:
            pass

    @handler
    async def never(self) -> None:
        await asyncio.Event().wait()

    @handler
    def beat_later(self) -> None:
        self.call_later(0.0, Patient.turn)

    @handler
    def crawl(self, steps: int, seconds: float) -> int:
        for _ in range(steps):
            self.wait(seconds)
            self.progress()
        return os.getpid()

    @handler
    async def crawl_later(self, steps: int, seconds: float) -> int:
        for _ in range(steps):
            await asyncio.sleep(seconds)
            self.progress()
        return os.getpid()

    @handler
    def trickle(self, items: int, seconds: float) -> Iterator[int]:
        for number in range(items):
            self.wait(seconds)
            yield number

    @handler
    def count(self, items: int) -> Iterator[int]:
        yield from range(items)

    @handler
    def dawdle_once(self, folder: str, seconds: float) -> int:
        """Be slow in the first incarnation."""
        try:
            (Path(folder) / "been").touch(exist_ok=False)
        except FileExistsError:
            return 0
        self.wait(seconds)
        return 1

    @handler
    def send_much(self, other: ActorRef[Worker], size: int) -> int:
        for _ in range(size):
            other.options(send_timeout=20.0).tell("add", 1)
            self.progress()
        return os.getpid()

    @handler
    def ask_on(self, others: list[ActorRef[Any]]) -> object:
        """Ask the next of a circle, and wait."""
        return others[0].ask("ask_on", [*others[1:], others[0]]).result()

    @handler
    def leave_slowly(self) -> None:
        self.slow_end = True
        self.stop()

    def on_stop(self, reason: Any) -> None:
        super().on_stop(reason)
        if getattr(self, "slow_end", False):
            threading.Event().wait()


@pytest.fixture
def system(start_method: Any) -> Iterator[ActorSystem]:
    with ActorSystem(TREE, start_method=start_method) as running:
        yield running


def pid_of(ref: ActorRef[Any]) -> int:
    return int(ref.ask("pid_of").result(timeout=SECONDS))


def let_pass(system: ActorSystem, seconds: float) -> None:
    """Let so much time pass for the actors that are watched, in an actor that is not."""
    system.spawn(Worker(), name="clock", backoff=AT_ONCE).ask(Worker.wait, seconds).result(timeout=SECONDS)


STUCK = ["forget_a_lock", "hold_the_gil", "turn", "never"]


@pytest.mark.parametrize("how", STUCK)
def test_a_handler_that_gets_nowhere_is_ended_and_the_next_incarnation_serves_the_others(
    system: ActorSystem, how: str
) -> None:
    patient = system.spawn(Patient(), name="patient", **WATCHED)
    pid = pid_of(patient)
    began = time.monotonic()
    stuck = patient.ask(how)
    behind = [patient.ask(Patient.add, 1) for _ in range(3)]

    with pytest.raises(ActorDied, match=rf"hung: {how} made no progress for 0\.\d+ s") as caught:
        stuck.result(timeout=SECONDS)

    assert "hang" == caught.value.reason.kind
    assert caught.value.may_have_run
    assert 0.4 <= time.monotonic() - began < 4.0
    assert [1, 2, 3] == [reply.result(timeout=SECONDS) for reply in behind]
    assert pid != pid_of(patient)
    assert 2 == patient.incarnation


def test_a_hang_is_announced_with_a_stack_before_it_is_ended(start_method: Any) -> None:
    with capture_logs() as logs, ActorSystem(TREE, start_method=start_method) as system:
        patient = system.spawn(Patient(), name="patient", **WATCHED)
        with pytest.raises(ActorDied):
            patient.ask(Patient.turn).result(timeout=SECONDS)

    (suspected,) = [log for log in logs if log["event"] == "actors.hang_suspected"]
    assert "in turn" in suspected["at"]
    assert suspected["stack"].startswith("Current thread")
    told = {key: suspected[key] for key in ("path", "handler", "state", "incarnation", "log_level")}
    assert {
        "path": "/app/patient",
        "handler": "turn",
        "state": "handling",
        "incarnation": 1,
        "log_level": "warning",
    } == told
    assert "in turn" in suspected["stack"]
    assert 0.3 <= suspected["seconds"] < 3.0
    ends = [log for log in logs if log["event"] == "actors.child_exited" and log["kind"] == "hang"]
    assert 1 == len(ends)
    assert logs.index(suspected) < logs.index(ends[0])


def test_an_unconfigured_log_shows_the_stack_of_a_hang_once_and_of_it_what_is_the_users(
    start_method: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    structlog.reset_defaults()  # what other tests have configured
    reports: list[CrashReport] = []
    with ActorSystem(TREE, start_method=start_method, on_crash=reports.append) as system:
        patient = system.spawn(Patient(), name="patient", **WATCHED)
        with pytest.raises(ActorDied):
            patient.ask(Patient.turn).result(timeout=SECONDS)
        eventually(lambda: reports, SECONDS)

    lines = capfd.readouterr().err.splitlines()
    (suspected,) = [line for line in lines if "event=actors.hang_suspected" in line]
    assert "in turn" in suspected
    assert 1 == len([line for line in lines if line.startswith("    Current thread")])
    assert 1 == len([line for line in lines if line.endswith("frames of actors")])
    assert not [line for line in lines if "_attendant.py" in line]
    assert "_attendant.py" in reports[0].stack


def test_a_process_that_is_stopped_dead_between_messages_is_ended_when_mail_comes(system: ActorSystem) -> None:
    patient = system.spawn(Patient(), name="patient", **WATCHED)
    pid = pid_of(patient)
    os.kill(pid, signal.SIGSTOP)

    assert 7 == patient.ask(Patient.add, 7).result(timeout=SECONDS)

    assert pid != pid_of(patient)


def test_an_actor_that_hangs_is_ended_also_while_the_host_has_no_descriptor_left(system: ActorSystem) -> None:
    with capture_logs() as logs:
        patient = system.spawn(Patient(), name="patient", **WATCHED)
        pid = pid_of(patient)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(open_descriptors()) // 2, limits[1]))
        try:
            os.kill(pid, signal.SIGSTOP)
            answer = patient.ask(Patient.add, 7)
            eventually(lambda: "actors.child_exited" in [log["event"] for log in logs], SECONDS)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    assert 7 == answer.result(timeout=SECONDS)
    assert pid != pid_of(patient)


def test_a_timer_that_gets_nowhere_is_ended_too(start_method: Any) -> None:
    with capture_logs() as logs, ActorSystem(TREE, start_method=start_method) as system:
        patient = system.spawn(Patient(), name="patient", **WATCHED)
        pid = pid_of(patient)
        patient.tell(Patient.beat_later)
        eventually(lambda: patient.incarnation > 1, SECONDS)
        assert pid != pid_of(patient)

    assert "turn" in [log["handler"] for log in logs if log["event"] == "actors.hang_suspected"]


def test_an_actor_that_hangs_on_its_way_out_is_ended(system: ActorSystem) -> None:
    patient = system.spawn(Patient(), name="patient", restart="temporary", **WATCHED)
    patient.tell(Patient.leave_slowly)

    eventually(lambda: not patient.is_alive(), SECONDS)


def slow_work(patient: ActorRef[Patient]) -> dict[str, int]:
    return {
        "crawl": patient.ask(Patient.crawl, 8, 0.1).result(timeout=SECONDS),
        "crawl_later": patient.ask(Patient.crawl_later, 8, 0.1).result(timeout=SECONDS),
    }


def test_slow_work_that_says_so_and_a_generator_between_two_items_are_no_hang(start_method: Any) -> None:
    with capture_logs() as logs, ActorSystem(TREE, start_method=start_method) as system:
        patient = system.spawn(Patient(), name="patient", **{**WATCHED, "handler_timeout": 0.6})
        pid = pid_of(patient)

        assert {"crawl": pid, "crawl_later": pid} == slow_work(patient)
        with patient.stream(Patient.trickle, 8, 0.1) as items:
            assert list(range(8)) == list(items)
        patient.tell(Patient.trickle, 8, 0.1)
        assert pid == pid_of(patient)

    assert [] == [log for log in logs if "hang" in log["event"]]


def test_a_producer_that_waits_for_its_reader_is_no_hang(start_method: Any) -> None:
    with capture_logs() as logs, ActorSystem(TREE, start_method=start_method) as system:
        patient = system.spawn(Patient(), name="patient", **WATCHED)
        pid = pid_of(patient)
        with patient.stream(Patient.count, 100) as items:
            first = next(items)
            eventually(lambda: patient.statistics().state == "credit", SECONDS, state=patient.statistics)
            let_pass(system, 1.0)
            assert list(range(1, 100)) == list(items)
        assert (0, pid) == (first, pid_of(patient))

    assert [] == [log for log in logs if "hang" in log["event"]]


def test_a_sender_that_waits_for_room_is_no_hang(start_method: Any) -> None:
    with capture_logs() as logs, ActorSystem(TREE, start_method=start_method) as system:
        patient = system.spawn(Patient(), name="patient", **WATCHED)
        peer = system.spawn(Worker(), name="peer", mailbox_bytes=4096, backoff=AT_ONCE)
        pid, peer_pid = pid_of(patient), pid_of(peer)
        os.kill(peer_pid, signal.SIGSTOP)
        sent = patient.ask(Patient.send_much, peer, 20_000)
        eventually(lambda: patient.statistics().state == "blocked", SECONDS, state=patient.statistics)
        let_pass(system, 1.0)
        os.kill(peer_pid, signal.SIGCONT)

        assert pid == sent.result(timeout=SECONDS)
        assert pid == pid_of(patient)

    assert [] == [log for log in logs if "hang" in log["event"]]


def test_a_circle_of_asks_without_a_deadline_ends_as_a_hang(system: ActorSystem) -> None:
    one = system.spawn(Patient(), name="one", **WATCHED)
    two = system.spawn(Patient(), name="two", **WATCHED)
    asked = one.ask(Patient.ask_on, [two, one])
    eventually(lambda: {"waiting"} == {ref.statistics().state for ref in (one, two)}, SECONDS)

    with pytest.raises(Exception, match="hung") as caught:
        asked.result(timeout=SECONDS)

    assert isinstance(caught.value, ActorDied)
    assert [1, 1] == [ref.ask(Patient.add, 1).result(timeout=SECONDS) for ref in (one, two)]


def test_a_circle_of_asks_with_a_deadline_ends_by_it(system: ActorSystem) -> None:
    one = system.spawn(Patient(), name="one", backoff=AT_ONCE)
    two = system.spawn(Patient(), name="two", backoff=AT_ONCE)

    with pytest.raises(AskTimeoutError):
        one.options(timeout=0.5).ask(Patient.ask_on, [two, one]).result(timeout=SECONDS)

    assert [1, 1] == [ref.ask(Patient.add, 1).result(timeout=SECONDS) for ref in (one, two)]
    assert [1, 1] == [ref.incarnation for ref in (one, two)]


def test_a_handler_that_goes_on_within_the_grace_is_left_alone(start_method: Any, tmp_path: Path) -> None:
    with capture_logs() as logs, ActorSystem(TREE, start_method=start_method) as system:
        patient = system.spawn(Patient(), name="patient", **{**WATCHED, "hang_grace": 1.0})
        assert 1 == patient.ask(Patient.dawdle_once, str(tmp_path), 0.7).result(timeout=SECONDS)
        eventually(lambda: "actors.hang_recovered" in [log["event"] for log in logs], SECONDS)
        assert 1 == patient.incarnation

    events = [log["event"] for log in logs if "hang" in log["event"]]
    assert ["actors.hang_suspected", "actors.hang_recovered"] == events


def test_a_message_that_hung_is_handed_on_as_often_as_the_options_say(system: ActorSystem, tmp_path: Path) -> None:
    patient = system.spawn(Patient(), name="patient", redeliver=1, **WATCHED)

    assert 0 == patient.ask(Patient.dawdle_once, str(tmp_path), 60.0).result(timeout=SECONDS)

    assert 2 == patient.incarnation


def test_an_idle_actor_and_one_without_the_option_are_never_suspected(start_method: Any) -> None:
    with capture_logs() as logs, ActorSystem(TREE, start_method=start_method) as system:
        idle = system.spawn(Patient(), name="idle", handler_timeout=0.05, hang_grace=0.0, backoff=AT_ONCE)
        free = system.spawn(Patient(), name="free", backoff=AT_ONCE)
        pids = pid_of(idle), pid_of(free)
        free.ask(Patient.wait, 0.5).result(timeout=SECONDS)
        assert pids == (pid_of(idle), pid_of(free))

    assert [] == [log for log in logs if "hang" in log["event"]]


def test_a_stop_is_its_own_affair_also_in_a_handler_that_hangs(start_method: Any) -> None:
    with capture_logs() as logs, ActorSystem(TREE, start_method=start_method) as system:
        patient = system.spawn(Patient(), name="patient", shutdown=0.5, term_grace=0.1, **WATCHED)
        patient.tell(Patient.hold_the_gil)
        eventually(lambda: patient.statistics().handler == "hold_the_gil", SECONDS)
        patient.stop()
        eventually(lambda: not patient.is_alive(), SECONDS)

    assert ["requested"] == [log["kind"] for log in logs if log["event"] == "actors.child_exited"]


# --- cancels ----------------------------------------------------------------------------------------------------------------


class Researcher(Worker):
    @handler
    def search(self, heeds_cancel: bool) -> str:
        deadline = time.monotonic() + 60.0
        while time.monotonic() < deadline:
            if heeds_cancel and self.cancelled:
                return "cancelled"
            self.wait(0.01)
        return "found"


def test_a_handler_that_ignores_a_cancel_is_ended_after_the_grace_and_only_that(start_method: Any) -> None:
    with capture_logs() as logs, ActorSystem(TREE, start_method=start_method) as system:
        ref = system.spawn(Researcher(), name="researcher", cancel_grace=0.3, redeliver=3, backoff=AT_ONCE)
        other = system.spawn(Worker(), name="other", backoff=AT_ONCE)
        pid, other_pid = pid_of(ref), pid_of(other)
        search = ref.ask(Researcher.search, False)
        behind = [ref.ask(Researcher.add, 1) for _ in range(3)]
        eventually(lambda: ref.statistics().handler == "search", SECONDS)
        search.cancel()

        assert [1, 2, 3] == [reply.result(timeout=SECONDS) for reply in behind]
        assert pid != pid_of(ref)
        assert other_pid == pid_of(other)
        assert 2 == ref.incarnation

    (ended,) = [log for log in logs if log["event"] == "actors.child_exited" and log["kind"] == "hang"]
    assert "search did not react to a cancel within 0.3 s" in ended["reason"]


def test_a_handler_that_heeds_a_cancel_lives_and_so_do_the_messages_behind_it(system: ActorSystem) -> None:
    ref = system.spawn(Researcher(), name="researcher", cancel_grace=0.3, backoff=AT_ONCE)
    pid = pid_of(ref)
    search = ref.ask(Researcher.search, True)
    eventually(lambda: ref.statistics().handler == "search", SECONDS)
    slow = ref.ask(Researcher.wait, 1.0)
    search.cancel()

    slow.result(timeout=SECONDS)

    assert pid == pid_of(ref)


def test_a_cancel_of_an_ask_that_waits_touches_nobody(system: ActorSystem) -> None:
    ref = system.spawn(Researcher(), name="researcher", cancel_grace=0.1, backoff=AT_ONCE)
    pid = pid_of(ref)
    running = ref.ask(Researcher.wait, 0.8)
    eventually(lambda: ref.statistics().handler == "wait", SECONDS)
    waiting = ref.ask(Researcher.search, False)
    waiting.cancel()

    running.result(timeout=SECONDS)

    assert pid == pid_of(ref)


def has_begun(ref: ActorRef[Any], behind: Reply[Any]) -> bool:
    """Whether the actor handles a message, or has handled what stood behind it already."""
    return ref.statistics().state == "handling" or behind.done()


def test_a_cancel_meets_the_message_it_is_for_and_never_the_next(system: ActorSystem) -> None:
    ref = system.spawn(Researcher(), name="researcher", cancel_grace=0.02, backoff=AT_ONCE)
    for number in range(60):
        # They end about when their grace does: some before, some after.
        doomed = ref.ask(Researcher.wait, 0.015 + 0.0002 * (number % 50))
        behind = ref.ask(Researcher.wait, 0.002)
        eventually(functools.partial(has_begun, ref, behind), SECONDS)
        doomed.cancel()
        behind.result(timeout=SECONDS)
    print(f"{ref.incarnation - 1} of 60 were ended, no other message with them")
