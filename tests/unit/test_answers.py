from __future__ import annotations

import asyncio
import concurrent.futures
import os
import random
import select
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from actors._ref import ActorRef
from actors._reply import Reply
from actors.errors import DeadlockError, ProtocolError
from actors.mailbox import _answers
from actors.mailbox._answers import AnswerLane
from actors.mailbox._frames import frame
from tests.unit.mailbox.interrupts import interrupted_at

CAPACITY = 65536
DEADLINE = 20.0
STORM_DEADLINE = 40.0


class Exchange:
    """A lane, the asks that are open on it, and a pump: the part of a node that a lane needs."""

    def __init__(self, *, pump: bool = True, minds: bool = False, lane_type: type[AnswerLane] = AnswerLane) -> None:
        self.read_fd, self.write_fd = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.read_fd, False)
        self.epoll = select.epoll()
        self.asks: dict[int, Reply[int]] = {}
        self.delivered: list[bytes] = []
        self.broken: list[ProtocolError] = []
        self.epoll.register(self.read_fd, select.EPOLLIN)
        self.lane = lane_type(
            self.read_fd,
            self.deliver,
            capacity=CAPACITY,
            pause=partial(self.epoll.modify, self.read_fd, 0),
            resume=partial(self.epoll.modify, self.read_fd, select.EPOLLIN),
            on_broken=self.on_broken,
            later=self.later if minds else None,
        )
        self._stop, self._stopper = os.pipe2(os.O_CLOEXEC)
        self.epoll.register(self._stop, select.EPOLLIN)
        self._pump = threading.Thread(target=self._run, daemon=True)
        if pump:
            self._pump.start()

    def _run(self) -> None:
        while True:
            for fd, _ in self.epoll.poll():
                if fd == self._stop:
                    return
                if self.lane.drain():
                    self.epoll.unregister(fd)

    def later(self, action: Callable[[], object]) -> None:
        threading.Timer(0.001, action).start()

    def deliver(self, body: bytes) -> None:
        self.delivered.append(body)
        for start in range(0, len(body), 8):
            ask_id = int.from_bytes(body[start : start + 8], "big")
            reply = self.asks.get(ask_id)
            if reply is not None:
                reply.complete(ask_id)
                self.asks.pop(ask_id, None)

    def on_broken(self, error: ProtocolError) -> None:
        self.broken.append(error)
        for reply in list(self.asks.values()):
            reply.fail(error)

    def ask(self, ask_id: int, deadline: float | None = None) -> Reply[int]:
        reply: Reply[int] = Reply(ask_id, ActorRef("test", 1, "/echo"), self, self.lane, deadline)
        self.asks[ask_id] = reply
        return reply

    def answer(self, *ask_ids: int) -> None:
        os.write(self.write_fd, frame(b"".join(i.to_bytes(8, "big") for i in ask_ids)))

    def expire(self, reply: Reply[Any]) -> None:
        self.asks.pop(reply.ask_id, None)

    def cancel(self, reply: Reply[Any]) -> None:
        self.asks.pop(reply.ask_id, None)

    def run_callback(self, function: Callable[[Any], object], reply: Reply[Any]) -> None:
        function(reply)

    def close(self) -> None:
        if self._pump.is_alive():
            os.write(self._stopper, b"x")
            self._pump.join(DEADLINE)
        self.lane.close()
        self.epoll.close()
        for fd in (self._stop, self._stopper, self.write_fd):
            if fd >= 0:
                os.close(fd)


@pytest.fixture(params=[False, True], ids=["", "stays with its reader"])
def exchange(request: pytest.FixtureRequest) -> Iterator[Exchange]:
    before = len(list(Path("/dev/fd").iterdir()))
    made = Exchange(minds=request.param)
    yield made
    made.close()

    assert len(list(Path("/dev/fd").iterdir())) == before


@pytest.fixture
def unpumped() -> Iterator[Exchange]:
    made = Exchange(pump=False)
    yield made
    made.close()


def waits_for_the_pipe(exchange: Exchange) -> bool:
    """Whether the pump would read what comes."""
    info = Path(f"/proc/self/fdinfo/{exchange.epoll.fileno()}").read_text()
    events = {line.split()[1]: int(line.split()[3], 16) for line in info.splitlines() if line.startswith("tfd:")}
    return bool(events[str(exchange.read_fd)] & select.EPOLLIN)


def test_a_lane_that_stays_with_its_reader_goes_back_to_the_pump_when_nobody_waits_any_more() -> None:
    made = Exchange(minds=True)
    for ask_id in range(3):
        reply = made.ask(ask_id)
        made.answer(ask_id)
        assert reply.result(timeout=DEADLINE) == ask_id
    wait_for(lambda: waits_for_the_pipe(made))
    late = made.ask(7)
    made.answer(7)
    wait_for(late.done)
    made.close()


@pytest.mark.parametrize("how", ["a callback", "an await", "concurrent.futures"])
def test_a_lane_that_stays_with_its_reader_is_handed_over_to_whoever_waits_without_reading(how: str) -> None:
    made = Exchange(pump=False, minds=True)
    made.lane._later = lambda action: None  # nobody minds: what is handed over is so by the one who waits
    reply = made.ask(1)
    made.answer(1)
    assert reply.result(timeout=DEADLINE) == 1
    assert not waits_for_the_pipe(made)
    made._pump.start()
    other = made.ask(2)
    if how == "a callback":
        other.add_done_callback(lambda _reply: None)
    elif how == "concurrent.futures":
        concurrent.futures.wait([other], timeout=0)
    else:

        async def main() -> int:
            threading.Timer(0.01, made.answer, [2]).start()
            return await other

        assert asyncio.run(main()) == 2
    assert waits_for_the_pipe(made)
    made.close()


def until(seconds: float = DEADLINE) -> float:
    return time.monotonic() + seconds


def wait_for(condition: Callable[[], bool]) -> None:
    end = until()
    while not condition():
        assert time.monotonic() < end
        os.sched_yield()


def in_thread(function: Callable[..., Any], *args: Any) -> concurrent.futures.Future[Any]:
    future: concurrent.futures.Future[Any] = concurrent.futures.Future()

    def run() -> None:
        try:
            future.set_result(function(*args))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


# --- draining ---------------------------------------------------------------------------------------------------------


def test_drain_delivers_every_frame_that_is_there_in_order(unpumped: Exchange) -> None:
    for number in range(1, 2001):
        unpumped.answer(number)

    assert unpumped.lane.drain() is False
    assert unpumped.delivered == [number.to_bytes(8, "big") for number in range(1, 2001)]


def test_drain_of_an_empty_pipe_returns_at_once(unpumped: Exchange) -> None:
    assert unpumped.lane.drain() is False


def test_drain_says_when_the_writers_are_gone_after_the_last_answer(unpumped: Exchange) -> None:
    unpumped.answer(1)
    os.close(unpumped.write_fd)
    unpumped.write_fd = -1

    while not unpumped.lane.drain():
        pass

    assert unpumped.delivered == [(1).to_bytes(8, "big")]
    assert unpumped.lane.ended


def test_drain_takes_a_full_pipe_of_the_largest_frames(unpumped: Exchange) -> None:
    for number in range(16):
        os.write(unpumped.write_fd, frame(bytes([number]) * 4092))

    unpumped.lane.drain()

    assert [body[0] for body in unpumped.delivered] == list(range(16))


def test_a_frame_whose_delivery_was_interrupted_is_delivered_again_and_nothing_is_lost(unpumped: Exchange) -> None:
    class Interrupt(Exception):
        pass

    seen: list[bytes] = []
    interrupts = iter([True, False, True, True])

    def deliver(body: bytes) -> None:
        seen.append(body)
        if next(interrupts, False):
            raise Interrupt

    unpumped.lane._deliver = deliver
    for number in (1, 2, 3):
        unpumped.answer(number)
    rounds = 0
    while True:
        try:
            unpumped.lane.drain()
            break
        except Interrupt:
            rounds += 1

    assert rounds == 3
    assert list(dict.fromkeys(seen)) == [number.to_bytes(8, "big") for number in (1, 2, 3)]


def test_what_a_reader_was_interrupted_with_is_delivered_to_others_though_nothing_more_comes() -> None:
    step, raised = 1, True
    kept = []  # so that the end of none of them falls into another one's run
    while raised:
        kept.append(made := Exchange(pump=False))
        later: list[Callable[[], object]] = []
        made.lane._later = later.append
        reply, other = made.ask(1), made.ask(2)
        made.answer(1, 2)
        raised = interrupted_at(step, partial(reply.result, DEADLINE), (_answers.__file__, __file__))
        # What the pump does from then on.
        while later:
            later.pop(0)()
        assert waits_for_the_pipe(made), step
        if made.epoll.poll(0):
            made.lane.drain()
        assert reply.done(), step
        assert other.done(), step
        made.close()
        step += 1

    assert step > 30


def test_looks_of_the_pump_that_come_at_any_moment_leave_no_pipe_that_nobody_reads() -> None:
    step, came = 1, True
    while came:
        made = Exchange(pump=False)
        later: deque[Callable[[], object]] = deque()
        made.lane._later = later.append

        def look_often(later: deque[Callable[[], object]] = later) -> None:
            for _ in range(3):
                if later:
                    later.popleft()()

        for ask_id in (1, 2):  # the second meets what the first has left
            made.answer(ask_id)
            reply = made.ask(ask_id)
            files = (_answers.__file__,)
            came = interrupted_at(step, partial(reply.result, DEADLINE), files, look_often, everywhere=True)
        while later:
            later.popleft()()
        assert waits_for_the_pipe(made), step
        made.close()
        step += 1

    assert step > 30


@pytest.mark.parametrize(
    "junk",
    [
        pytest.param(b"\xff\xff\xff\xff", id="a negative length"),
        pytest.param(b"\x00\x00\x10\x00abc", id="a length beyond the limit"),
        pytest.param(b"\x00\x00\x00\x09abc", id="half a frame"),
        pytest.param(b"\x00\x00\x00\x01a\x00\x00", id="half a header"),
        pytest.param(b"\x00\x00\x00\x00abcdef", id="an empty frame"),
    ],
)
def test_bytes_that_are_no_frames_break_the_lane_and_are_never_raised(unpumped: Exchange, junk: bytes) -> None:
    reply = unpumped.ask(1)
    os.write(unpumped.write_fd, junk)

    with pytest.raises(ProtocolError):
        reply.result(timeout=DEADLINE)
    assert unpumped.lane.drain() is True
    assert len(unpumped.broken) == 1
    assert unpumped.lane.broken is unpumped.broken[0]


def test_a_protocol_error_of_the_node_breaks_the_lane(unpumped: Exchange) -> None:
    def deliver(body: bytes) -> None:
        raise ProtocolError(f"{body!r} is no answer")

    unpumped.lane._deliver = deliver
    unpumped.answer(1)

    assert unpumped.lane.drain() is True
    assert str(unpumped.lane.broken) == f"{(1).to_bytes(8, 'big')!r} is no answer"


# --- waiting ----------------------------------------------------------------------------------------------------------


def test_a_thread_that_waits_reads_its_answer_itself(unpumped: Exchange) -> None:
    reply = unpumped.ask(7)
    unpumped.answer(7)

    assert reply.result(timeout=DEADLINE) == 7


def test_a_wait_of_no_time_still_finds_an_answer_that_is_there(unpumped: Exchange) -> None:
    reply = unpumped.ask(7)
    unpumped.answer(7)

    assert reply.result(timeout=0) == 7


def test_a_wait_ends_in_time_and_leaves_the_ask_open(unpumped: Exchange) -> None:
    reply = unpumped.ask(7)

    with pytest.raises(TimeoutError, match="stays open"):
        reply.result(timeout=0.01)
    unpumped.answer(7)
    assert reply.result(timeout=DEADLINE) == 7


def test_the_pump_is_not_woken_by_what_a_waiting_thread_reads_and_is_afterwards(exchange: Exchange) -> None:
    reply = exchange.ask(1)
    exchange.answer(1)
    assert reply.result(timeout=DEADLINE) == 1

    later = exchange.ask(2)
    exchange.answer(2)
    wait_for(later.done)


def test_threads_that_wait_for_one_lane_all_get_their_answers_in_any_order(exchange: Exchange) -> None:
    replies = [exchange.ask(number) for number in range(1, 21)]
    waits = [in_thread(reply.result, DEADLINE) for reply in replies]
    for number in (*range(20, 0, -2), *range(1, 21, 2)):
        exchange.answer(number)

    assert [wait.result(DEADLINE) for wait in waits] == list(range(1, 21))


def test_threads_that_wait_without_a_pump_hand_the_reading_over(unpumped: Exchange) -> None:
    """The reader leaves with its answer; one of the sleepers must take the pipe, or nobody would read it."""
    replies = [unpumped.ask(number) for number in range(1, 11)]
    waits = [in_thread(reply.result, DEADLINE) for reply in replies]
    wait_for(lambda: len(unpumped.lane._parked) == 9)
    for number in range(1, 11):
        unpumped.answer(number)

    assert [wait.result(DEADLINE) for wait in waits] == list(range(1, 11))


def test_an_ask_that_fails_otherwise_wakes_the_thread_that_reads_for_it(unpumped: Exchange) -> None:
    reply = unpumped.ask(1)
    waiting = in_thread(reply.result, DEADLINE)
    wait_for(lambda: unpumped.lane._sleeping)

    reply.fail(ValueError("the actor died"))

    with pytest.raises(ValueError, match="the actor died"):
        waiting.result(DEADLINE)


def test_an_ask_cancelled_by_a_signal_handler_wakes_its_own_thread(unpumped: Exchange) -> None:
    reply = unpumped.ask(1)
    previous = signal.signal(signal.SIGALRM, lambda *_: reply.cancel())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(concurrent.futures.CancelledError):
            reply.result(timeout=DEADLINE)
    finally:
        signal.signal(signal.SIGALRM, previous)


def test_at_the_end_of_file_a_waiting_thread_sleeps_until_its_ask_is_failed(exchange: Exchange) -> None:
    reply = exchange.ask(1)
    waiting = in_thread(reply.result, DEADLINE)
    wait_for(lambda: exchange.lane._sleeping)
    os.close(exchange.write_fd)
    exchange.write_fd = -1
    wait_for(lambda: exchange.lane.ended)

    assert not waiting.done()
    reply.fail(ValueError("gone"))
    with pytest.raises(ValueError, match="gone"):
        waiting.result(DEADLINE)


def test_a_wait_in_a_signal_handler_for_the_lane_its_thread_is_reading_raises_at_once(unpumped: Exchange) -> None:
    outer, inner = unpumped.ask(1), unpumped.ask(2)
    errors: list[BaseException] = []

    def on_alarm(*_: object) -> None:
        try:
            inner.result(timeout=DEADLINE)
        except DeadlockError as error:
            errors.append(error)
        unpumped.answer(1)

    previous = signal.signal(signal.SIGALRM, on_alarm)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        result = outer.result(timeout=DEADLINE)
    finally:
        signal.signal(signal.SIGALRM, previous)

    assert result == 1
    assert len(errors) == 1


def test_a_lane_closed_while_a_thread_reads_is_closed_when_it_leaves(unpumped: Exchange) -> None:
    reply = unpumped.ask(1)
    waiting = in_thread(reply.result, DEADLINE)
    wait_for(lambda: unpumped.lane._sleeping)

    unpumped.lane.close()
    wait_for(lambda: unpumped.lane.fileno() == -1)
    reply.complete(5)

    assert waiting.result(DEADLINE) == 5


# --- exceptions out of signal handlers --------------------------------------------------------------------------------


class Storm(Exception):
    pass


@pytest.fixture
def untraced() -> Iterator[None]:
    """A measurement of coverage takes a lock of its own in Python, which an exception in there leaves taken for ever."""
    trace, of_threads = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)
    yield
    threading.settrace(of_threads)
    sys.settrace(trace)


def echo(read_fd: int, write_fd: int) -> None:
    """Answer every ask of 8 bytes, several to a frame, until end of file."""
    while data := os.read(read_fd, 4088):
        os.write(write_fd, frame(data))
    os._exit(0)


def storm(exchange: Exchange, interrupts: int) -> tuple[int, int]:
    """Ask an echo process, while a signal handler raises in this thread over and over. Counts of interrupts and of answers."""
    ask_read, ask_write = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        os.close(ask_write)
        echo(ask_read, exchange.write_fd)
    armed = [False]
    raised = 0
    answered = 0

    def on_alarm(*_: object) -> None:
        if armed[0]:
            raise Storm

    previous = signal.signal(signal.SIGALRM, on_alarm)
    rng = random.Random(interrupts)
    end = until(STORM_DEADLINE)
    try:
        while raised < interrupts and time.monotonic() < end:
            replies = [exchange.ask(answered * 4 + number) for number in range(1, 5)]
            os.write(ask_write, b"".join(reply.ask_id.to_bytes(8, "big") for reply in replies))
            for reply in replies:
                value = -1
                delay = rng.uniform(0.00001, 0.0001)
                while True:
                    try:
                        armed[0] = True
                        # Once, and later each time: however slow the machine, the wait comes to its end.
                        delay *= 1.05
                        signal.setitimer(signal.ITIMER_REAL, delay)
                        value = reply.result(timeout=DEADLINE)
                        armed[0] = False
                        break
                    except Storm:
                        armed[0] = False
                        raised += 1
                assert value == reply.ask_id
            answered += 1
    finally:
        armed[0] = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        os.close(ask_write)
        os.close(ask_read)
        os.waitpid(pid, 0)
    return raised, answered


# What is raised in a callback of the garbage collector has nowhere to go.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("pump", [True, False], ids=["with a pump", "without a pump"])
def test_ten_thousand_exceptions_out_of_signal_handlers_lose_no_answer(pump: bool) -> None:
    exchange = Exchange(pump=pump)
    try:
        raised, answered = storm(exchange, 5000)
    finally:
        exchange.close()

    assert raised >= 5000, f"{raised} interrupts and {answered} answers in {STORM_DEADLINE} s"
    assert not exchange.asks
    assert exchange.lane._slot == {}
