"""Limited refs over real processes: what they let through from a program and from actors, and what a breaker does when an actor dies."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from actors import (
    ActorDied,
    ActorRef,
    ActorsError,
    ActorSystem,
    AskTimeoutError,
    Breaker,
    CircuitOpenError,
    HandlerError,
    LimitedRef,
    MailboxFullError,
    RateLimitedError,
    limit,
    pool,
)
from tests.downstreams import Caller, Downstream, passed
from tests.helpers import eventually, kill

SECONDS = 30.0


@pytest.fixture
def ref(system: ActorSystem) -> ActorRef[Downstream]:
    return system.spawn(Downstream(), name="downstream", restart="temporary")


@pytest.fixture
def logs() -> Iterator[list[MutableMapping[str, Any]]]:
    with capture_logs() as found:
        yield found


def is_free(limited: LimitedRef[Downstream]) -> bool:
    """Whether there is a place; has one ask go there if so."""
    try:
        limited.ask(Downstream.echo, 1).result(timeout=SECONDS)
    except RateLimitedError:
        return False
    return True


# --- rate and concurrency -----------------------------------------------------------------------------------------------------


def test_what_the_rate_refuses_does_not_reach_the_actor(ref: ActorRef[Downstream]) -> None:
    limited = limit(ref, rate=0.001, burst=5)

    assert passed(limited) == 5
    assert ref.ask(Downstream.count).result(timeout=SECONDS) == 5


def test_a_pool_is_limited_as_one_actor_is(system: ActorSystem) -> None:
    limited = limit(system.spawn_pool(pool(Downstream(), 2)), rate=0.001, burst=6, concurrency=2)
    answers = [limited.ask(Downstream.echo, number).result(timeout=SECONDS) for number in range(3)]
    items = list(limited.stream(Downstream.numbers, 3))

    assert answers == items == [0, 1, 2]
    assert passed(limited) == 2


def test_asks_have_a_place_until_they_are_answered_whoever_waits(ref: ActorRef[Downstream], tmp_path: Path) -> None:
    limited = limit(ref, concurrency=2)
    held = limited.ask(Downstream.hold, str(tmp_path / "go"))
    limited.ask(Downstream.echo, 1)  # nobody keeps its reply
    gc.collect()
    assert not is_free(limited)

    (tmp_path / "go").touch()

    assert held.result(timeout=SECONDS) == "let go"
    eventually(lambda: is_free(limited), SECONDS)


def test_a_cancelled_ask_and_a_closed_stream_give_their_places_back_at_once(
    ref: ActorRef[Downstream], tmp_path: Path
) -> None:
    limited = limit(ref, concurrency=1)
    with limited.stream(Downstream.numbers, 1_000_000) as numbers:
        assert next(numbers) == 0
        assert not is_free(limited)
    held = limited.ask(Downstream.hold, str(tmp_path / "go"))
    assert not is_free(limited)
    held.cancel()
    (tmp_path / "go").touch()

    assert is_free(limited)


def test_an_ask_past_its_deadline_gives_its_place_back_with_nobody_waiting(
    ref: ActorRef[Downstream], tmp_path: Path
) -> None:
    limited = limit(ref, concurrency=1)
    limited.options(timeout=0.05).ask(Downstream.hold, str(tmp_path / "go"))

    eventually(lambda: limited._gate.open == 0, SECONDS)
    (tmp_path / "go").touch()


def test_the_death_of_the_actor_gives_all_places_back(
    ref: ActorRef[Downstream], tmp_path: Path, system: ActorSystem
) -> None:
    limited = limit(ref, concurrency=3)
    replies = [limited.ask(Downstream.hold, str(tmp_path / "never")) for _ in range(3)]
    kill(system, ref)

    for reply in replies:
        with pytest.raises(ActorDied):
            reply.result(timeout=SECONDS)
    eventually(lambda: limited._gate.open == 0, SECONDS)


def test_tasks_of_an_event_loop_share_the_places(ref: ActorRef[Downstream]) -> None:
    limited = limit(ref, concurrency=2)
    refused = 0

    async def ask(number: int) -> int:
        nonlocal refused
        while True:
            try:
                return int(await limited.ask(Downstream.echo, number))
            except RateLimitedError as error:
                refused += 1
                await asyncio.sleep(error.retry_after or 0.001)

    async def all_of_them() -> list[int]:
        return list(await asyncio.gather(*(ask(number) for number in range(10))))

    assert asyncio.run(all_of_them()) == list(range(10))
    assert refused >= 8


# --- in actors --------------------------------------------------------------------------------------------------------------


def test_a_limit_that_an_actor_was_made_with_begins_anew_there(system: ActorSystem, ref: ActorRef[Downstream]) -> None:
    limited = limit(ref, rate=0.001, burst=3)
    assert passed(limited) == 3
    caller = system.spawn(Caller(limited))

    assert caller.ask(Caller.tell_as_many_as_pass).result(timeout=SECONDS) == 3
    assert caller.ask(Caller.tell_as_many_as_pass).result(timeout=SECONDS) == 0
    assert passed(limited) == 0


def test_a_limit_that_comes_in_messages_is_one_limit_however_often_it_comes(
    system: ActorSystem, ref: ActorRef[Downstream]
) -> None:
    limited = limit(ref, rate=0.001, burst=3)
    caller = system.spawn(Caller(limited))
    found = [caller.ask(Caller.tell_through, limited).result(timeout=SECONDS) for _ in range(3)]
    found.append(caller.ask(Caller.tell_as_many_as_pass).result(timeout=SECONDS))

    assert found == [3, 0, 0, 0]


def test_an_actor_limits_a_ref_itself(system: ActorSystem, ref: ActorRef[Downstream]) -> None:
    caller = system.spawn(Caller(limit(ref, rate=1.0)))

    assert caller.ask(Caller.make_and_tell, ref).result(timeout=SECONDS) == 4


def test_an_actor_waits_for_a_place_until_one_of_its_own_asks_is_answered(
    system: ActorSystem, ref: ActorRef[Downstream]
) -> None:
    caller = system.spawn(Caller(limit(ref, concurrency=2)))

    assert caller.ask(Caller.ask_and_wait, 20).result(timeout=SECONDS) == list(range(20))
    assert caller.ask(Caller.ask_in_the_loop, 5).result(timeout=SECONDS) == 10


def test_what_a_limit_raises_in_a_handler_reaches_who_asked(system: ActorSystem, ref: ActorRef[Downstream]) -> None:
    other = system.spawn(Downstream(), name="other")
    with pytest.raises(HandlerError, match="no send to /system/downstream: rate=0.001, burst=2 are used up") as caught:
        other.ask(Downstream.refuse, limit(ref, rate=0.001, burst=2)).result(timeout=SECONDS)

    assert caught.value.error_type == "actors.errors.RateLimitedError"


def test_a_breaker_in_an_actor_opens_for_what_its_own_asks_meet(system: ActorSystem, ref: ActorRef[Downstream]) -> None:
    caller = system.spawn(Caller(limit(ref, rate=1.0)))
    state, seconds, text = caller.ask(Caller.break_it, ref).result(timeout=SECONDS)

    assert state == "open"
    assert text.startswith("the breaker of /system/downstream is open: ActorDied: ")
    assert seconds < 0.01  # ten times the bound


def test_a_fork_of_the_program_is_refused_and_holds_nothing_up(ref: ActorRef[Downstream]) -> None:
    limited = limit(ref, rate=0.001, burst=1)
    with limited._gate._lock:  # as if another thread decided at this moment
        pid = os.fork()
        if pid == 0:
            try:
                limited.tell(Downstream.echo, 1)
            except ActorsError:
                free = limited._gate._lock.acquire(blocking=False) and limited._gate.open == 0
                os._exit(0 if free else 2)
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert passed(limited) == 1


# --- the breaker --------------------------------------------------------------------------------------------------------------


def test_a_breaker_opens_when_the_actor_dies_and_tells_in_the_log(
    ref: ActorRef[Downstream], logs: list[MutableMapping[str, Any]]
) -> None:
    limited = limit(ref, breaker=Breaker(failures=2, reset_after=60.0))
    for _ in range(2):
        with pytest.raises(ActorsError):
            limited.ask(Downstream.die).result(timeout=SECONDS)

    eventually(lambda: limited.breaker_state == "open", SECONDS)
    for send in (limited.tell, limited.ask):
        with pytest.raises(CircuitOpenError):
            send(Downstream.echo, 1)
    eventually(lambda: "actors.breaker_opened" in [log["event"] for log in logs], SECONDS)
    (log,) = [log for log in logs if log["event"] == "actors.breaker_opened"]
    assert (log["path"], log["pid"], log["seconds"]) == ("/system/downstream", os.getpid(), 60.0)


def test_a_breaker_closes_when_the_actor_is_well_again(system: ActorSystem, logs: list[Any], tmp_path: Path) -> None:
    ref = system.spawn(Downstream(), restart="permanent")
    limited = limit(ref, breaker=Breaker(failures=1, reset_after=0.05))
    with pytest.raises(AskTimeoutError):
        limited.options(timeout=0.05).ask(Downstream.hold, str(tmp_path / "go")).result()
    (tmp_path / "go").touch()

    def answers() -> bool:
        try:
            return bool(limited.options(timeout=SECONDS).ask(Downstream.echo, 5).result() == 5)
        except CircuitOpenError:
            return False

    eventually(answers, SECONDS)
    assert limited.breaker_state == "closed"
    events = ["actors.breaker_opened", "actors.breaker_half_open", "actors.breaker_closed"]
    eventually(lambda: [log["event"] for log in logs if "breaker" in log["event"]] == events, SECONDS)


def test_a_full_inbox_opens_it_for_those_who_only_tell(ref: ActorRef[Downstream], tmp_path: Path) -> None:
    limited = limit(ref.options(on_full="reject"), breaker=Breaker(failures=3, reset_after=60.0))
    limited.tell(Downstream.hold, str(tmp_path / "go"))
    errors: list[type[Exception]] = []
    while CircuitOpenError not in errors:
        try:
            limited.tell(Downstream.echo, bytes(1000))
        except (MailboxFullError, CircuitOpenError) as error:
            errors.append(type(error))
    (tmp_path / "go").touch()

    assert errors == [MailboxFullError] * 3 + [CircuitOpenError]


def test_open_it_fails_within_a_millisecond(ref: ActorRef[Downstream]) -> None:
    limited = limit(ref, breaker=Breaker(failures=1, reset_after=60.0))
    with pytest.raises(ActorDied):
        limited.ask(Downstream.die).result(timeout=SECONDS)
    eventually(lambda: limited.breaker_state == "open", SECONDS)
    seconds = []
    for _ in range(101):
        began = time.perf_counter()
        with pytest.raises(CircuitOpenError):
            limited.ask(Downstream.echo, 1)
        seconds.append(time.perf_counter() - began)

    assert sorted(seconds)[50] < 0.01  # ten times the bound
