"""The messages that the workers of a pool have, by workers that exist only here."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import pytest

from actors import MailboxFullError, _calls
from actors._greeting import Greeter
from actors._jobs import Worker
from actors.errors import EncodeError
from tests.unit import pool_world
from tests.unit.pool_world import Desk, Told, desk, job

LARGE = memoryview(bytes(1 << 20))  # a worker's share, here
SMALL = memoryview(bytes(1 << 14))


def full() -> MailboxFullError:
    return MailboxFullError("the memory for large messages is full", target="/pool/worker-1")


def hand(at: Desk, *errors: BaseException | None) -> None:
    at.world.errors.extend(errors)
    at.look()


# --- memory ------------------------------------------------------------------------------------------------------------------


def test_large_buffers_go_before_the_calls_which_then_keep_no_memory_from_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at, told = desk(monkeypatch), Told()
    at.add(job(told, 0, LARGE))
    hand(at)
    at.errands.batches.clear()
    at.errands.go_on(at.world.batches[0])

    assert at.world.names == ["load", "make"]
    assert at.world.asked[0][2] == (LARGE,)
    assert at.world.asked[1][2] == ([[*pool_world.FUNCTION]], [[0, _calls.CALL, _calls.PICKLED, b"", 1]])
    assert at.errands.calls_run


def test_small_buffers_share_the_message_of_their_call(monkeypatch: pytest.MonkeyPatch) -> None:
    at = desk(monkeypatch)
    at.add(job(Told(), 0, SMALL))
    hand(at)

    assert at.world.names == ["make"]
    assert at.world.asked[0][2][2:] == (SMALL,)


def test_a_call_that_was_loaded_has_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    at = desk(monkeypatch)
    at.add(job(Told(), 0, LARGE, timeout=5.0))
    hand(at)
    at.clock.now += 2.0
    at.errands.batches.clear()
    at.errands.go_on(at.world.batches[0])

    assert at.due == 3.0


def test_as_long_as_anything_is_open_a_call_waits_for_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    at, told = desk(monkeypatch, workers=2), Told()
    at.add(job(told, 0), job(told, 1, LARGE), seconds=None)
    hand(at, None, full())
    for _ in range(100):
        assert at.due <= 0.005
        at.world.errors.append(full())
        at.look(1.0)
    assert told.errors == {}
    at.look(1.0)

    assert at.world.names == ["make", "load"]
    assert at.due == math.inf


def test_a_call_that_no_end_of_another_gives_memory_fails_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    at, told = desk(monkeypatch), Told()
    at.add(job(told, 0, LARGE))
    for seconds in (0.0, 9.0, 2.0):
        at.world.errors.append(full())
        at.look(seconds)
        assert bool(told.errors) == (seconds == 2.0)

    assert isinstance(told.errors[0], MailboxFullError)
    assert list(at.errands.idle) == at.world.workers


def test_a_wait_for_memory_of_long_ago_counts_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    at, told = desk(monkeypatch), Told()
    at.add(job(told, 0, LARGE))
    hand(at, full())
    at.look(1.0)
    assert at.world.names == ["load"]
    at.errands.batches.clear()
    at.errands.idle.extend(at.world.workers)
    at.add(job(told, 1, LARGE))
    at.world.errors.append(full())
    at.look(100.0)

    assert told.errors == {}


@pytest.mark.parametrize("error", [full(), EncodeError("too large", path="args")])
def test_calls_that_are_too_much_together_are_handed_out_one_by_one(
    monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    at, told = desk(monkeypatch, workers=3), Told()
    at.errands.idle = deque(list(at.errands.idle)[:1])
    at.add(*(job(told, number, SMALL) for number in range(6)))
    hand(at, error)

    assert at.world.names == ["make"]
    assert [len(batch.jobs) for batch in at.world.batches] == [1]
    assert told.errors == {}


# --- what waits behind a long call -------------------------------------------------------------------------------------------------


def test_what_waits_is_asked_back_again_and_again_since_the_worker_may_not_have_begun_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at, told = desk(monkeypatch, workers=2), Told()
    at.add(*(job(told, number) for number in range(4)))
    at.errands.idle.pop()
    at.errands.hand_out()
    (batch,) = at.world.batches
    assert len(batch.jobs) > 1
    at.errands.idle.append(at.world.workers[1])

    for seconds, times in ((0.01, 1), (0.04, 1), (0.01, 2), (0.05, 3)):
        at.clock.now += seconds
        at.errands.look(at.clock.now)
        assert len(at.world.taken_back) == times
    at.errands.put_back(batch, range(1, len(batch.jobs)))
    at.clock.now += 100.0
    at.errands.look(at.clock.now)

    assert len(at.world.taken_back) == 3
    assert at.errands.next_due() == math.inf


def test_what_was_only_loaded_is_not_asked_back(monkeypatch: pytest.MonkeyPatch) -> None:
    at, told = desk(monkeypatch), Told()
    at.add(job(told, 0, LARGE), job(told, 1, LARGE))
    hand(at)
    assert len(at.world.batches[0].jobs) == 2
    at.look(100.0)

    assert at.world.taken_back == []
    assert at.due == math.inf


# --- memory for an initializer ----------------------------------------------------------------------------------------------------


class Greetings:
    """Who is told how greetings go, and the greeter."""

    def __init__(self, at: Desk, initargs: tuple[Any, ...]) -> None:
        self.stopped: list[tuple[BaseException, str]] = []
        self.lost: list[Worker] = []
        plan = pool_world.plan(len(at.world.workers), initializer=print, initargs=initargs)
        self.greeter = Greeter(
            plan,
            at.world.name,
            at.errands,
            lambda error, what: self.stopped.append((error, what)),
            lambda worker, _error: self.lost.append(worker),
        )


def test_a_worker_for_whose_initializer_there_is_no_memory_is_greeted_when_there_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at = desk(monkeypatch, workers=2)
    greetings = Greetings(at, (bytearray(LARGE),))
    at.world.errors.extend([None, full(), full()])
    for worker in at.world.workers:
        greetings.greeter.greet(worker)
    greetings.greeter.try_again()
    greetings.greeter.try_again()
    greetings.greeter.try_again()

    assert [(worker.ref.uid, name) for worker, name, _args in at.world.asked] == [(1, "load"), (2, "load")]
    assert greetings.stopped == []
    greetings.greeter.go_on(at.world.batches[0])
    assert at.world.names == ["load", "load", "greet"]


def test_an_initializer_for_which_there_never_is_memory_ends_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    at = desk(monkeypatch)
    greetings = Greetings(at, (bytearray(LARGE),))
    at.world.errors.extend([full(), full()])
    greetings.greeter.greet(at.world.workers[0])
    assert greetings.stopped == []
    at.clock.now += 11.0
    greetings.greeter.try_again()

    assert [type(error) for error, _what in greetings.stopped] == [MailboxFullError]
    greetings.greeter.try_again()
    assert at.world.names == []


def test_a_worker_that_is_gone_is_not_greeted_when_there_is_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    at = desk(monkeypatch)
    greetings = Greetings(at, ())
    at.world.errors.append(full())
    greetings.greeter.greet(at.world.workers[0])
    at.world.workers[0].doing = "gone"
    greetings.greeter.try_again()

    assert at.world.names == []
