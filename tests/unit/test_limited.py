from __future__ import annotations

import asyncio
import copy
import functools
import gc
import itertools
import pickle
import threading
import time
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from actors import _gate, _limited, _reply
from actors._actor import Actor
from actors._gate import Gate, Limits
from actors._handlers import handler
from actors._limited import LimitedRef, limit
from actors._pool import PoolRef
from actors._ref import ActorRef
from actors._reply import Reply
from actors._seams import register_node, unregister_node
from actors._stream import ItemStream
from actors.errors import (
    ActorDied,
    ActorNotRunningError,
    ArgumentsError,
    AskTimeoutError,
    CircuitOpenError,
    EncodeError,
    HandlerError,
    MailboxFullError,
    ProtocolError,
    RateLimitedError,
    SendError,
    SpecError,
)
from actors.mailbox import _bucket, _circuit, _codec
from actors.mailbox._circuit import Breaker
from tests.helpers import eventually
from tests.unit.mailbox.interrupts import interrupted_at

DEADLINE = 20.0


class Database(Actor):
    @handler
    def row(self, number: int) -> int:
        return number

    @handler
    def rows(self) -> Iterator[str]:
        yield "row"


class FakeNode:
    """Sends nothing: keeps the replies, which the test ends, and fails sends as it is told."""

    def __init__(self) -> None:
        self.replies: list[Any] = []
        self.told = 0
        self.error: BaseException | None = None

    def tell(self, *_: Any) -> None:
        if self.error is not None:
            raise self.error
        self.told += 1

    def ask(self, ref: Any, name: str, args: Any, kwargs: Any) -> Any:
        return self._open(Reply, ref)

    def stream(self, ref: Any, name: str, args: Any, kwargs: Any) -> Any:
        return self._open(ItemStream, ref)

    def _open(self, kind: Any, ref: Any) -> Any:
        if self.error is not None:
            raise self.error
        self.replies.append(kind(len(self.replies), ref, self, None, None))
        return self.replies[-1]

    def expire(self, reply: Reply[Any]) -> None:
        reply.fail(AskTimeoutError("too late", target=reply.target.path))

    def cancel(self, reply: Reply[Any]) -> None:
        pass

    def grant(self, stream: Any, count: int) -> None:
        pass

    def run_callback(self, function: Callable[..., object], *args: object) -> None:
        function(*args)

    def flush(self, ref: Any) -> str:
        return "flushed"

    def stop(self, ref: Any, drain: bool) -> None:
        self.stopped = drain

    def is_alive(self, ref: Any) -> bool:
        return True


class Clock:
    """What the gate takes for the time."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def node() -> Iterator[FakeNode]:
    fake = FakeNode()
    register_node("here", cast("Any", fake))
    yield fake
    unregister_node("here")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(_gate, "time", found)
    return found


@pytest.fixture
def logs() -> Iterator[list[MutableMapping[str, Any]]]:
    with capture_logs() as found:
        yield found


@pytest.fixture
def ref() -> ActorRef[Database]:
    return ActorRef("here", 3, "/app/database")


def in_thread(function: Callable[..., Any], *args: Any) -> threading.Thread:
    thread = threading.Thread(target=function, args=args, daemon=True)
    thread.start()
    return thread


# --- the rate -------------------------------------------------------------------------------------------------------------


def test_what_is_more_than_the_rate_is_refused_and_says_when_to_come_again(
    node: FakeNode, clock: Clock, ref: ActorRef[Database]
) -> None:
    limited = limit(ref, rate=2.0, burst=3)
    for number in range(3):
        limited.tell(Database.row, number)

    with pytest.raises(
        RateLimitedError, match=r"no send to /app/database: rate=2, burst=3 .* there is a token in 0.5 s"
    ) as caught:
        limited.ask(Database.row, 3)
    clock.now += 0.5
    limited.tell(Database.row, 4)

    assert (caught.value.limit, caught.value.retry_after, caught.value.target) == ("rate", 0.5, "/app/database")
    assert caught.value.may_have_run is False
    assert (node.told, node.replies) == (4, [])


def test_without_a_burst_it_is_what_the_rate_gives_in_a_second(
    node: FakeNode, clock: Clock, ref: ActorRef[Database]
) -> None:
    for rate, burst in ((7.9, 7), (0.1, 1)):
        limited = limit(ref, rate=rate)
        for number in range(burst):
            limited.tell(Database.row, number)
        with pytest.raises(RateLimitedError, match=f"burst={burst}"):
            limited.tell(Database.row, 0)


def test_a_send_that_waits_goes_when_there_is_a_token(node: FakeNode, ref: ActorRef[Database]) -> None:
    limited = limit(ref, rate=100.0, burst=1, wait=DEADLINE)
    began = time.monotonic()
    for number in range(11):
        limited.tell(Database.row, number)

    assert time.monotonic() - began >= 0.0999
    assert node.told == 11


def test_a_token_that_comes_too_late_is_not_waited_for(node: FakeNode, clock: Clock, ref: ActorRef[Database]) -> None:
    limited = limit(ref, rate=0.1, burst=1)
    limited.tell(Database.row, 1)

    with pytest.raises(RateLimitedError, match=r"used up, for 9 s; there is a token in 10 s"):
        limited.options(wait=9.0).tell(Database.row, 2)


# --- how many at a time -----------------------------------------------------------------------------------------------------


def test_an_ask_has_its_place_until_it_has_ended_in_whatever_way(node: FakeNode, ref: ActorRef[Database]) -> None:
    limited = limit(ref, concurrency=1)
    ends: tuple[Callable[[Reply[Any]], object], ...] = (
        lambda reply: reply.complete(1),
        lambda reply: reply.fail(ActorDied("dead")),
        lambda reply: reply.cancel(),
        lambda reply: reply._expire(),
    )
    for end in ends:
        reply = limited.ask(Database.row, 1)
        with pytest.raises(
            RateLimitedError, match="concurrency=1: so many asks are open; wait for one of them"
        ) as caught:
            limited.ask(Database.row, 2)
        assert (caught.value.limit, caught.value.retry_after) == ("concurrency", None)
        end(reply)

    limited.ask(Database.row, 3)


def test_an_ask_that_nobody_waits_for_any_more_gives_its_place_back_at_its_end(
    node: FakeNode, ref: ActorRef[Database]
) -> None:
    limited = limit(ref, concurrency=1)
    limited.ask(Database.row, 1)
    gc.collect()
    with pytest.raises(RateLimitedError):
        limited.ask(Database.row, 2)

    node.replies[0].complete(1)

    limited.ask(Database.row, 3)


def test_a_place_is_given_back_once_however_often_the_end_is_told(node: FakeNode, ref: ActorRef[Database]) -> None:
    limited = limit(ref, concurrency=2)
    reply = limited.ask(Database.row, 1)
    limited.ask(Database.row, 2)
    reply.complete(1)
    reply.complete(2)
    limited.ask(Database.row, 3)

    with pytest.raises(RateLimitedError):
        limited.ask(Database.row, 4)


def test_an_ask_that_could_not_be_sent_has_no_place(node: FakeNode, ref: ActorRef[Database]) -> None:
    limited = limit(ref, concurrency=1)
    node.error = MailboxFullError("full")
    for _ in range(3):
        with pytest.raises(MailboxFullError):
            limited.ask(Database.row, 1)
    with pytest.raises(ArgumentsError):
        limited.ask(Database.row)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    node.error = None

    limited.ask(Database.row, 1)


def test_a_send_that_was_interrupted_before_it_began_gives_back_what_it_had(ref: ActorRef[Database]) -> None:
    gate = Gate(Limits(None, None, 1, Breaker()), "here", "/app/database")
    permit = gate.admit(0.0, stays=True)
    assert gate.open == 1

    del permit
    gc.collect()

    assert gate.open == 0


def test_an_end_counts_once(ref: ActorRef[Database]) -> None:
    gate = Gate(Limits(None, None, 2, None), "here", "/app/database")
    first, _second = gate.admit(0.0, stays=True), gate.admit(0.0, stays=True)

    first.end(None)
    first.end(ActorDied("dead"))

    assert gate.open == 1


def test_a_tell_needs_no_place(node: FakeNode, ref: ActorRef[Database]) -> None:
    limited = limit(ref, concurrency=1)
    limited.ask(Database.row, 1)
    for _ in range(5):
        limited.tell(Database.row, 1)

    assert node.told == 5


def test_a_stream_has_its_place_until_it_ends_or_is_closed(node: FakeNode, ref: ActorRef[Database]) -> None:
    limited = limit(ref, concurrency=1)
    stream = limited.stream(Database.rows)
    node.replies[-1].item([0, "first"])
    assert next(stream) == "first"
    with pytest.raises(RateLimitedError):
        limited.stream(Database.rows)
    stream.close()
    limited.stream(Database.rows)
    with pytest.raises(RateLimitedError):
        limited.ask(Database.row, 1)
    node.replies[-1].complete(None)

    limited.ask(Database.row, 1)


def test_a_send_that_waits_goes_when_an_ask_ends(node: FakeNode, ref: ActorRef[Database]) -> None:
    limited = limit(ref, concurrency=1, wait=DEADLINE)
    first = limited.ask(Database.row, 1)
    threads = [in_thread(limited.ask, Database.row, number) for number in (2, 3)]
    eventually(lambda: len(limited._gate._waiting) == 2)
    assert len(node.replies) == 1

    first.complete(1)
    eventually(lambda: len(node.replies) == 2)
    node.replies[1].complete(2)

    for thread in threads:
        thread.join(DEADLINE)
    assert len(node.replies) == 3


def test_who_waits_for_a_place_in_vain_is_told_after_that_time(node: FakeNode, ref: ActorRef[Database]) -> None:
    limited = limit(ref, concurrency=1)
    limited.ask(Database.row, 1)

    with pytest.raises(RateLimitedError, match=r"so many asks are open, for 0.05 s"):
        limited.options(wait=0.05).ask(Database.row, 2)
    assert limited._gate._waiting == []


def test_who_waits_for_a_place_is_told_at_once_when_the_breaker_opens(node: FakeNode, ref: ActorRef[Database]) -> None:
    limited = limit(ref, concurrency=1, wait=DEADLINE, breaker=Breaker(failures=1))
    first = limited.ask(Database.row, 1)
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            limited.ask(Database.row, 2)
        except CircuitOpenError as error:
            errors.append(error)

    thread = in_thread(ask)
    eventually(lambda: limited._gate._waiting)
    first.fail(ActorDied("dead"))
    thread.join(DEADLINE)

    assert len(errors) == 1


def test_many_threads_never_have_more_places_than_there_are(node: FakeNode, ref: ActorRef[Database]) -> None:
    limited = limit(ref, concurrency=3, wait=DEADLINE)
    gate, most, errors = limited._gate, [0], list[BaseException]()

    def work() -> None:
        try:
            for _ in range(200):
                reply = limited.ask(Database.row, 1)
                most[0] = max(most[0], gate.open)
                reply.set_result(1)
        except BaseException as error:
            errors.append(error)

    threads = [in_thread(work) for _ in range(6)]
    for thread in threads:
        thread.join(DEADLINE)

    assert errors == []
    assert 1 <= most[0] <= 3
    assert gate.open == 0


# --- the breaker ------------------------------------------------------------------------------------------------------------

BREAKER = Breaker(failures=2, window=60.0, reset_after=30.0)


def state(limited: LimitedRef[Any]) -> str:
    """Of its breaker; type checkers remember nothing of it."""
    return limited.breaker_state


def break_it(node: FakeNode, limited: LimitedRef[Database]) -> None:
    for _ in range(2):
        limited.ask(Database.row, 1)
        node.replies[-1].fail(ActorDied("/app/database was killed by SIGKILL"))
    assert state(limited) == "open"


def test_after_too_many_failures_nothing_is_sent_any_more(
    node: FakeNode, clock: Clock, ref: ActorRef[Database]
) -> None:
    limited = limit(ref, breaker=BREAKER, rate=100.0)
    break_it(node, limited)
    clock.now += 10.0

    for send in (limited.tell, limited.ask):
        with pytest.raises(CircuitOpenError) as caught:
            send(Database.row, 1)
        error = caught.value
        assert str(error) == (
            "the breaker of /app/database is open: ActorDied: /app/database was killed by SIGKILL; the next probe may go in 20 s"
        )
        assert (error.retry_after, error.target, error.may_have_run) == (20.0, "/app/database", False)
    assert (node.told, len(node.replies)) == (0, 2)


def test_one_probe_is_let_through_and_closes_it(node: FakeNode, clock: Clock, ref: ActorRef[Database]) -> None:
    limited = limit(ref, breaker=BREAKER)
    break_it(node, limited)
    clock.now += 30.0

    probe = limited.ask(Database.row, 1)
    assert state(limited) == "half_open"
    with pytest.raises(CircuitOpenError, match="is half-open: ActorDied: .* its probes are on their way") as caught:
        limited.ask(Database.row, 2)
    assert caught.value.retry_after is None
    probe.set_result(1)

    assert state(limited) == "closed"
    limited.ask(Database.row, 3)


def test_a_probe_that_is_cancelled_makes_room_for_another(
    node: FakeNode, clock: Clock, ref: ActorRef[Database]
) -> None:
    limited = limit(ref, breaker=BREAKER)
    break_it(node, limited)
    clock.now += 30.0
    limited.ask(Database.row, 1).cancel()

    assert state(limited) == "half_open"
    limited.ask(Database.row, 2)
    node.replies[-1].fail(AskTimeoutError("late"))
    assert state(limited) == "open"


def test_a_probe_that_the_rate_refuses_is_none(node: FakeNode, clock: Clock, ref: ActorRef[Database]) -> None:
    limited = limit(ref, breaker=Breaker(failures=2, reset_after=1.0), rate=0.1, burst=2)
    break_it(node, limited)
    clock.now += 2.0

    for _ in range(2):
        with pytest.raises(RateLimitedError):
            limited.ask(Database.row, 1)
    assert state(limited) == "open"


def test_a_tell_that_is_not_accepted_fails_and_one_that_is_passes(
    node: FakeNode, clock: Clock, ref: ActorRef[Database]
) -> None:
    limited = limit(ref, breaker=BREAKER)
    node.error = ActorNotRunningError("gone")
    for _ in range(2):
        with pytest.raises(ActorNotRunningError):
            limited.tell(Database.row, 1)
    assert state(limited) == "open"
    node.error = None
    clock.now += 30.0

    limited.tell(Database.row, 1)

    assert state(limited) == "closed"


def test_what_the_caller_does_wrong_is_no_failure(node: FakeNode, ref: ActorRef[Database]) -> None:
    limited = limit(ref, breaker=BREAKER)
    node.error = EncodeError("a lock")
    for _ in range(5):
        with pytest.raises(EncodeError):
            limited.tell(Database.row, 1)
    node.error = None
    for _ in range(5):
        limited.ask(Database.row, 1)
        node.replies[-1].fail(HandlerError("it raised"))

    assert state(limited) == "closed"


def test_where_it_opens_tries_and_closes_stands_in_the_log(
    node: FakeNode, clock: Clock, ref: ActorRef[Database], logs: list[MutableMapping[str, Any]]
) -> None:
    limited = limit(ref, breaker=BREAKER)
    break_it(node, limited)
    clock.now += 30.0
    limited.ask(Database.row, 1)
    node.replies[-1].complete(1)

    assert [(log["event"], log["log_level"], log["path"]) for log in logs] == [
        ("actors.breaker_opened", "warning", "/app/database"),
        ("actors.breaker_half_open", "info", "/app/database"),
        ("actors.breaker_closed", "info", "/app/database"),
    ]
    assert (logs[0]["reason"], logs[0]["seconds"]) == ("ActorDied: /app/database was killed by SIGKILL", 30.0)


def test_an_end_after_the_system_has_stopped_is_not_logged(ref: ActorRef[Database], logs: list[Any]) -> None:
    gate = Gate(Limits(None, None, None, Breaker(failures=1)), "here", "/app/database")
    gate.admit(0.0, stays=False).end(ActorDied("dead"))

    assert (gate.breaker_state, logs) == ("open", [])


def test_open_it_fails_in_less_than_a_millisecond(node: FakeNode, ref: ActorRef[Database]) -> None:
    limited = limit(ref, breaker=BREAKER)
    break_it(node, limited)
    seconds = []
    for _ in range(200):
        began = time.perf_counter()
        with pytest.raises(CircuitOpenError):
            limited.ask(Database.row, 1)
        seconds.append(time.perf_counter() - began)

    assert sorted(seconds)[100] < 0.01  # ten times the bound


def test_an_end_that_comes_while_another_thread_decides_is_taken_by_that_one(
    node: FakeNode, ref: ActorRef[Database]
) -> None:
    limited = limit(ref, concurrency=1)
    reply = limited.ask(Database.row, 1)
    gate = limited._gate
    with gate._lock:
        ending = in_thread(reply.complete, 1)  # does not wait
        ending.join(DEADLINE)
        assert not ending.is_alive()
        assert gate.open == 1

    limited.ask(Database.row, 2)


def test_a_signal_handler_may_send_in_the_middle_of_a_decision(node: FakeNode, ref: ActorRef[Database]) -> None:
    limited = limit(ref, rate=1.0, burst=2, concurrency=1, breaker=BREAKER)
    with limited._gate._lock:  # as the thread that decides has it, and the handler runs in that
        limited.tell(Database.row, 1)
        limited.ask(Database.row, 1).set_result(1)

    assert (node.told, limited._gate.open) == (1, 0)


# --- what a signal handler may do --------------------------------------------------------------------------------------------

FILES = tuple(str(module.__file__) for module in (_gate, _limited, _bucket, _circuit, _reply))


def asking(limited: LimitedRef[Database]) -> Callable[[], object]:
    return lambda: limited.ask(Database.row, 1)


def telling(limited: LimitedRef[Database]) -> Callable[[], object]:
    return lambda: limited.tell(Database.row, 1)


def trying(node: FakeNode, clock: Clock, ref: ActorRef[Database]) -> LimitedRef[Database]:
    """One place, and a breaker whose one probe may go."""
    limited = limit(ref, concurrency=1, rate=1000.0, breaker=BREAKER)
    break_it(node, limited)
    clock.now += 30.0
    node.replies.clear()
    return limited


def test_an_ask_that_is_interrupted_anywhere_keeps_no_place_and_no_probe(
    node: FakeNode, clock: Clock, ref: ActorRef[Database]
) -> None:
    for step in itertools.count(1):
        limited = trying(node, clock, ref)
        came_so_far = interrupted_at(step, asking(limited), FILES)
        for reply in node.replies:
            reply.complete(1)
        gc.collect()

        assert limited._gate.open == 0, step
        limited.ask(Database.row, 2).set_result(2)
        assert state(limited) == "closed", step
        if not came_so_far:
            break
    assert step > 20


def test_an_end_that_is_interrupted_anywhere_is_taken_into_account_when_it_is_told_again(
    node: FakeNode, clock: Clock, ref: ActorRef[Database]
) -> None:
    for step in itertools.count(1):
        limited = trying(node, clock, ref)
        reply = limited.ask(Database.row, 1)
        came_so_far = interrupted_at(step, functools.partial(reply.complete, 1), FILES)
        reply.complete(1)

        assert (state(limited), limited._gate.open) == ("closed", 0), step
        if not came_so_far:
            break
    assert step > 10


def test_an_end_that_was_left_for_a_send_which_is_interrupted_is_left_for_the_next(
    node: FakeNode, ref: ActorRef[Database]
) -> None:
    for step in itertools.count(1):
        limited = limit(ref, concurrency=1)
        reply = limited.ask(Database.row, 1)
        with limited._gate._lock:  # as another thread has it that decides
            in_thread(reply.complete, 1).join(DEADLINE)
        came_so_far = interrupted_at(step, telling(limited), FILES)

        limited.ask(Database.row, 2)
        if not came_so_far:
            break


def test_a_handler_that_sends_anywhere_in_a_send_is_let_through_or_refused_as_any_other(
    node: FakeNode, ref: ActorRef[Database]
) -> None:
    for step in itertools.count(1):
        limited = limit(ref, concurrency=2, rate=0.001, burst=3, breaker=BREAKER)

        def send(limited: LimitedRef[Database] = limited) -> None:
            limited.ask(Database.row, 1).set_result(1)

        came_so_far = interrupted_at(step, asking(limited), FILES, send)
        assert limited._gate.open == 1, step
        assert passed(limited) == (1 if came_so_far else 2), step
        if not came_so_far:
            break


def passed(limited: LimitedRef[Database]) -> int:
    for count in itertools.count():
        try:
            limited.tell(Database.row, count)
        except RateLimitedError:
            return count
    raise AssertionError


# --- the ref ---------------------------------------------------------------------------------------------------------------


def test_options_share_the_limits(node: FakeNode, clock: Clock, ref: ActorRef[Database]) -> None:
    limited = limit(ref, rate=1.0, burst=2)
    other = limited.options(timeout=2.0, wait=0.0, on_full="reject")
    limited.tell(Database.row, 1)
    other.tell(Database.row, 1)

    assert cast("ActorRef[Database]", other.ref).timeout == 2.0
    assert other == limited
    assert hash(other) == hash(limited)
    for each in (limited, other):
        with pytest.raises(RateLimitedError):
            each.tell(Database.row, 1)


def test_two_limits_of_one_ref_know_nothing_of_each_other(
    node: FakeNode, clock: Clock, ref: ActorRef[Database]
) -> None:
    first, second = limit(ref, rate=1.0), limit(ref, rate=1.0)
    first.tell(Database.row, 1)
    second.tell(Database.row, 1)

    assert first != second


def test_a_pools_options_have_a_key_and_one_actors_have_none(node: FakeNode, ref: ActorRef[Database]) -> None:
    pool: PoolRef[Database] = PoolRef("here", 1, "/app/databases")
    keyed = limit(pool, rate=1.0).options(key="k", timeout=1.0)

    assert isinstance(keyed.ref, PoolRef)
    assert (keyed.ref.key, keyed.ref.timeout) == ("k", 1.0)
    assert cast("PoolRef[Database]", keyed.options(wait=1.0).ref).key == "k"
    with pytest.raises(SpecError, match=r"key='k': /app/database is one actor"):
        limit(ref, rate=1.0).options(key="k")


def test_what_is_no_send_goes_to_the_ref(node: FakeNode, ref: ActorRef[Database]) -> None:
    limited = limit(ref, rate=1.0)
    limited.flush()
    limited.stop(drain=True)

    assert limited.is_alive()
    assert node.stopped is True
    assert limited.path == "/app/database"
    assert repr(limited) == "LimitedRef(ref=<ActorRef /app/database uid=3>, wait=0.0)"


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ({}, r"limit\(\): needs a rate, a concurrency or a breaker"),
        ({"rate": 0}, r"limit\(rate=0\): must be None or sends a second, above 0"),
        ({"rate": float("inf")}, "rate=inf"),
        ({"rate": True}, "rate=True"),
        ({"rate": 1.0, "burst": 0}, r"limit\(burst=0\): must be None or a whole number, at least 1"),
        ({"burst": 3, "concurrency": 1}, r"limit\(burst=3\): needs a rate"),
        ({"concurrency": 1.5}, "concurrency=1.5"),
        ({"breaker": 5}, r"limit\(breaker=5\): must be None or a Breaker"),
        ({"rate": 1.0, "wait": -1}, "wait=-1: must be seconds, at least 0"),
        ({"rate": 1.0, "wait": None}, "wait=None"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(ref: ActorRef[Database], numbers: dict[str, Any], text: str) -> None:
    with pytest.raises(SpecError, match=text):
        limit(ref, **numbers)


def test_what_is_no_ref_cannot_be_limited(ref: ActorRef[Database]) -> None:
    with pytest.raises(SpecError, match=r"must be an ActorRef or a PoolRef; .* limit\(limited.ref, ...\)"):
        limit(cast("Any", limit(ref, rate=1.0)), rate=1.0)
    with pytest.raises(SpecError, match="must be an ActorRef or a PoolRef$"):
        limit(cast("Any", "database"), rate=1.0)


def test_the_system_has_to_be_here(ref: ActorRef[Database]) -> None:
    limited = limit(ref, rate=1.0, burst=1)
    for _ in range(3):
        with pytest.raises((SendError, SpecError)):
            limited.tell(Database.row, 1)


def test_waiting_in_an_event_loop_is_a_sleep_of_what_the_error_says(node: FakeNode, ref: ActorRef[Database]) -> None:
    limited = limit(ref, rate=50.0, burst=1)

    async def tell(number: int) -> int:
        refusals = 0
        while True:
            try:
                limited.tell(Database.row, number)
            except RateLimitedError as error:
                refusals += 1
                await asyncio.sleep(error.retry_after or 0.0)
            else:
                return refusals

    async def both() -> int:
        return sum(await asyncio.gather(tell(1), tell(2)))

    assert asyncio.run(both()) >= 1
    assert node.told == 2


# --- on its way -------------------------------------------------------------------------------------------------------------


def decoded(data: bytes) -> LimitedRef[Any]:
    return cast("LimitedRef[Any]", _codec.decode(data))


def numbers_of(limited: LimitedRef[Any]) -> Limits:
    return limited._gate.limits


@pytest.mark.parametrize("pool", [False, True], ids=["actor", "pool"])
def test_it_travels_as_its_ref_and_its_numbers(
    ref: ActorRef[Database], pool: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    target: Any = PoolRef("here", 2, "/app/databases") if pool else ref
    limited = limit(target, rate=3, burst=2, concurrency=4, breaker=Breaker(failures=7, handler_errors=True), wait=0.5)
    data = _codec.encode(limited)
    monkeypatch.setattr(_limited, "_gates", {})  # another process

    found, again = decoded(data), decoded(data)

    assert found == limited
    assert (found.ref.path, found.wait) == (target.path, 0.5)
    assert numbers_of(found) == numbers_of(limited)
    assert found._gate is not limited._gate
    assert again._gate is found._gate


def test_what_comes_back_has_the_limits_that_it_had(ref: ActorRef[Database]) -> None:
    limited = limit(ref, concurrency=2)

    found = (decoded(_codec.encode(limited)), pickle.loads(pickle.dumps(limited)), copy.deepcopy(limited))

    assert all(each == limited and each._gate is limited._gate for each in found)


def test_of_too_many_limits_the_oldest_is_forgotten(ref: ActorRef[Database], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_limited, "_gates", {})
    monkeypatch.setattr(_limited, "_MOST_GATES", 3)
    for _ in range(5):
        _codec.encode(limit(ref, rate=1.0))

    assert len(_limited._gates) == 3


@pytest.mark.parametrize(
    "data",
    [
        (),
        ("name", (False, "here", 3, "/app/database"), 0.0, (1.0, None), None),
        ("name", (False, "here", 3, "/app/database"), 0.0, (-1.0, None, None), None),
        ("name", (False, "here", 3, "/app/database"), 0.0, (1.0, None, None), (1, 2)),
        ("name", (False, "here", 3, "/app/database"), 0.0, (1.0, None, None), (0, 60.0, 30.0, 1, False)),
    ],
    ids=["nothing", "two numbers", "a rate below 0", "a short breaker", "no failures"],
)
def test_what_is_no_limited_ref_is_refused(data: object) -> None:
    with pytest.raises(ProtocolError):
        _limited._from_plain(data)


@pytest.mark.parametrize(
    "error",
    [
        RateLimitedError("no", target="/a", limit="rate", retry_after=1.5),
        CircuitOpenError("no", target="/a", retry_after=2.5),
    ],
)
def test_the_errors_survive_pickle_and_copy(error: Any) -> None:
    for found in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(found) is type(error)
        assert vars(found) == vars(error)
        assert str(found) == "no"
