"""A message that its actor dies of comes again as often as ``redeliver`` says, and then never: the actor goes on behind it."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors import ActorDied, ActorRef, ActorSystem, Backoff, DeadLetter, Supervisor
from tests.helpers import eventually, kill
from tests.messengers import Log
from tests.watchers import Patient, Venom, tasted_here

LARGE = bytes(20_000)


@pytest.fixture
def calm(start_method: Any) -> Iterator[ActorSystem]:
    """A system whose root never gives up."""
    with ActorSystem(Supervisor("app", max_restarts=100_000, period=1.0), start_method=start_method) as system:
        yield system


@pytest.fixture
def slow_to_restart(start_method: Any) -> Iterator[ActorSystem]:
    """A system in which an actor may take half a minute to come back."""
    with ActorSystem(Supervisor("app", max_restarts=3, period=200.0), start_method=start_method) as system:
        yield system


@pytest.fixture
def log(tmp_path: Path) -> str:
    return Log.create(tmp_path / "log", 1000)


def subscribe(system: ActorSystem) -> list[DeadLetter]:
    letters: list[DeadLetter] = []
    system.subscribe_dead_letters(letters.append)
    return letters


def slots_in_use(system: ActorSystem) -> int:
    host = system._life.host
    assert host is not None
    return sum(host.arenas.reader(number).in_use() for number in list(host.arenas._entries))


@pytest.mark.parametrize("load", [b"", LARGE], ids=["small", "large"])
def test_an_ask_that_kills_each_incarnation_is_quarantined(calm: ActorSystem, log: str, load: bytes) -> None:
    letters = subscribe(calm)
    patient = calm.spawn(Patient(log), name="patient", redeliver=2)
    deadly = patient.ask(Patient.die_of, 1, 99, load)
    behind = [patient.ask(Patient.take, number) for number in (2, 3)]
    with pytest.raises(ActorDied) as caught:
        deadly.result(timeout=60)

    assert caught.value.may_have_run
    assert [reply.result(timeout=60) for reply in behind] == [2, 3]
    assert Log.read(log) == [1, 1, 1, 2, 3]
    assert patient.incarnation == 4
    eventually(lambda: len(letters) == 1)
    assert letters == [DeadLetter("/app/patient", "poison", 1, "die_of", patient.uid, 3, letters[0].reasons)]
    assert [reason.signal for reason in letters[0].reasons] == ["SIGKILL"] * 3
    assert calm.dead_letters() == {"poison": 1}
    eventually(lambda: slots_in_use(calm) == 0)


@pytest.mark.parametrize("load", [b"", LARGE], ids=["small", "large"])
@pytest.mark.parametrize("redeliver", [0, 1, 2])
def test_a_tell_that_kills_each_incarnation_is_quarantined(
    calm: ActorSystem, log: str, load: bytes, redeliver: int
) -> None:
    letters = subscribe(calm)
    patient = calm.spawn(Patient(log), redeliver=redeliver)
    patient.tell(Patient.die_of, 1, 99, load)
    assert patient.ask(Patient.take, 2).result(timeout=20) == 2

    why = "poison" if redeliver else "crashed"
    assert Log.read(log) == [1] * (redeliver + 1) + [2]
    assert calm.dead_letters() == {why: 1}
    eventually(lambda: [(one.reason, one.handler, one.attempts) for one in letters] == [(why, "die_of", redeliver + 1)])
    assert [reason.kind for reason in letters[0].reasons] == ["signal"] * (redeliver + 1)
    eventually(lambda: slots_in_use(calm) == 0)


GIVING_UP: dict[str, dict[str, Any]] = {
    "parked by its breaker": {"max_same_crashes": 1},
    "stopped while it waits to come back": {"backoff": Backoff(initial=30.0)},
}


@pytest.mark.parametrize("load", [b"", LARGE], ids=["small", "large"])
@pytest.mark.parametrize("how", GIVING_UP)
def test_a_message_that_was_handed_on_to_nobody_may_have_run_and_those_behind_it_have_not(
    slow_to_restart: ActorSystem, log: str, how: str, load: bytes
) -> None:
    letters = subscribe(slow_to_restart)
    for ask in (True, False):
        patient = slow_to_restart.spawn(Patient(log), redeliver=2, **GIVING_UP[how])
        first = patient.ask(Patient.die_of, 1, 99, load) if ask else patient.tell(Patient.die_of, 1, 99, load)
        behind = patient.ask(Patient.take, 2)
        patient.tell(Patient.take, 3, load)
        if how.startswith("stopped"):
            eventually(lambda: [info.state for info in slow_to_restart.actors()] == ["down"])
            patient.stop()
        ends = [reply.exception(timeout=20) for reply in (first, behind) if reply is not None]

        assert all(isinstance(end, ActorDied) for end in ends)
        assert [getattr(end, "may_have_run", None) for end in ends] == ([True, False] if ask else [False])
    eventually(lambda: len(letters) == 3)
    (crashed,) = [letter for letter in letters if letter.reason == "crashed"]
    assert (crashed.handler, crashed.attempts) == ("die_of", 1)
    assert [reason.signal for reason in crashed.reasons] == ["SIGKILL"]
    assert Log.read(log) == [1, 1]
    eventually(lambda: slots_in_use(slow_to_restart) == 0)


def test_an_exception_is_a_death_too_and_its_report_is_in_the_letter(calm: ActorSystem, log: str) -> None:
    letters = subscribe(calm)
    patient = calm.spawn(Patient(log), redeliver=1)
    patient.tell(Patient.raise_for, 1, "cannot")
    assert patient.ask(Patient.take, 2).result(timeout=20) == 2

    eventually(lambda: len(letters) == 1)
    reports = [reason.error for reason in letters[0].reasons]
    assert [report is not None and (report["type"], report["text"]) for report in reports] == [
        ("RuntimeError", "cannot")
    ] * 2


def test_a_handler_knows_which_attempt_it_is(calm: ActorSystem, log: str) -> None:
    patient = calm.spawn(Patient(log), redeliver=5)
    replies = [patient.ask(Patient.die_of, number, deaths) for number, deaths in [(1, 0), (2, 3), (3, 1)]]
    replies += [patient.ask(Patient.attempts)]

    assert [reply.result(timeout=20) for reply in replies] == [0, 3, 1, 0]
    assert Log.read(log) == [1, 2, 2, 2, 2, 3, 3]
    assert calm.dead_letters() == {}


@pytest.mark.parametrize("redeliver", [0, 2])
@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("asked", [False, True])
def test_a_message_that_kills_by_being_decoded_is_quarantined_and_the_host_does_not_decode_it(
    calm: ActorSystem, log: str, tmp_path: Path, redeliver: int, large: bool, asked: bool
) -> None:
    letters, tally = subscribe(calm), tmp_path / "tally"
    patient = calm.spawn(Patient(log), redeliver=redeliver)
    food = [{Venom(os.getpid(), str(tally))}, LARGE if large else b""]
    before = len(tasted_here)
    if asked:
        with pytest.raises(ActorDied) as caught:
            patient.ask(Patient.taste, food).result(timeout=20)
        assert caught.value.may_have_run
    else:
        patient.tell(Patient.taste, food)
    assert patient.ask(Patient.take, 2).result(timeout=20) == 2

    assert tally.read_text() == "x" * (redeliver + 1)
    assert len(tasted_here) == before
    if redeliver or not asked:
        eventually(
            lambda: [(one.reason, one.handler) for one in letters] == [("poison" if redeliver else "crashed", "taste")]
        )
    eventually(lambda: slots_in_use(calm) == 0)


def test_what_kills_by_being_decoded_is_counted_unread_when_it_is_queued_at_the_end(
    calm: ActorSystem, log: str, tmp_path: Path
) -> None:
    tally, gate = tmp_path / "tally", tmp_path / "gate"
    patient = calm.spawn(Patient(log), restart="temporary")
    patient.tell(Patient.hold, str(gate))
    eventually(lambda: patient.statistics().handler == "hold")
    for load in (b"", LARGE):
        patient.tell(Patient.taste, [{Venom(os.getpid(), str(tally))}, load])
    patient.flush()
    before = len(tasted_here)
    kill(calm, patient)

    eventually(lambda: calm.dead_letters() == {"crashed": 1, "dead": 2}, state=calm.dead_letters)
    assert len(tasted_here) == before
    assert not tally.exists()
    assert calm.is_running()


# --- what was delivered how often

ONCE, TWICE = 1, 2


@pytest.mark.parametrize(
    ("killed", "redeliver", "deliveries", "dead"),
    [
        pytest.param("before", 0, ONCE, {}, id="before, at most once"),
        pytest.param("before", 1, ONCE, {}, id="before, at least once"),
        pytest.param("during", 0, ONCE, {"crashed": 1}, id="during, at most once"),
        pytest.param("during", 1, TWICE, {}, id="during, at least once"),
        pytest.param("handled and not noted", 0, ONCE, {"crashed": 1}, id="handled and not noted, at most once"),
        pytest.param("handled and not noted", 1, TWICE, {}, id="handled and not noted, at least once"),
        pytest.param("after", 0, ONCE, {}, id="after, at most once"),
        pytest.param("after", 1, ONCE, {}, id="after, at least once"),
    ],
)
def test_the_mode_of_delivery_says_how_often_a_message_is_handled(
    calm: ActorSystem, log: str, killed: str, redeliver: int, deliveries: int, dead: dict[str, int]
) -> None:
    patient = calm.spawn(Patient(log), redeliver=redeliver)
    if killed == "before":
        patient.tell(Patient.die_before_the_next)
        patient.tell(Patient.take, 7)
    elif killed == "during":
        patient.tell(Patient.die_of, 7, 1)
    elif killed == "handled and not noted":
        patient.tell(Patient.die_once_handled, 7)
    else:
        assert patient.ask(Patient.take, 7).result(timeout=20) == 7
        eventually(lambda: patient.statistics().handled == 1)
        kill(calm, patient)
        eventually(lambda: patient.incarnation == 2)
    assert patient.ask(Patient.take, 8).result(timeout=20) == 8

    assert Log.read(log) == [7] * deliveries + [8]
    assert patient.incarnation == 2
    assert calm.dead_letters() == dead


def test_deaths_by_different_messages_are_not_added_up(calm: ActorSystem, log: str) -> None:
    patient = calm.spawn(Patient(log), redeliver=1)
    replies = [patient.ask(Patient.die_of, number, 1) for number in range(5)]

    assert [reply.result(timeout=20) for reply in replies] == [1] * 5
    assert Log.read(log) == [number for number in range(5) for _ in range(2)]
    assert calm.dead_letters() == {}


def test_a_death_between_two_attempts_that_has_nothing_to_do_with_it_is_not_counted(
    calm: ActorSystem, log: str
) -> None:
    patient = calm.spawn(Patient(log), redeliver=1)
    assert patient.ask(Patient.die_of, 1, 1).result(timeout=20) == 1
    for number in (2, 3):
        # An answer is on its way before its message counts as handled; behind the next answer it does.
        assert patient.ask(Patient.attempts).result(timeout=20) == 0
        kill(calm, patient)
        eventually(functools.partial(is_past, patient, number))
    assert patient.ask(Patient.attempts).result(timeout=20) == 0
    assert calm.dead_letters() == {}


def is_past(ref: ActorRef[Any], incarnation: int) -> bool:
    return ref.incarnation > incarnation
