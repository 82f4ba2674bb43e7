from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import gc
import random
import signal
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from actors import _seams
from actors._ref import ActorRef
from actors._reply import Reply
from actors.errors import ActorsError, AskTimeoutError

DEADLINE = 20.0


class FakeNode:
    """Ends asks, and runs callbacks at once unless told to keep them."""

    def __init__(self) -> None:
        self.expired: list[Reply[Any]] = []
        self.cancelled: list[Reply[Any]] = []
        self.kept: list[tuple[Callable[[Any], object], Reply[Any]]] | None = None

    def expire(self, reply: Reply[Any]) -> None:
        self.expired.append(reply)
        reply.fail(AskTimeoutError("told by the node", target=reply.target.path))

    def cancel(self, reply: Reply[Any]) -> None:
        self.cancelled.append(reply)

    def run_callback(self, function: Callable[[Any], object], reply: Reply[Any]) -> None:
        if self.kept is None:
            function(reply)
        else:
            self.kept.append((function, reply))


@pytest.fixture
def node() -> FakeNode:
    return FakeNode()


@pytest.fixture
def reply(node: FakeNode) -> Reply[int]:
    return make(node)


def make(node: FakeNode, deadline: float | None = None, ask_id: int = 1) -> Reply[Any]:
    return Reply(ask_id, ActorRef("here", 1, "/app/counter"), node, None, deadline)


def in_thread(function: Callable[..., Any], *args: Any) -> threading.Thread:
    thread = threading.Thread(target=function, args=args, daemon=True)
    thread.start()
    return thread


def waiting(function: Callable[..., Any], *args: Any) -> concurrent.futures.Future[Any]:
    """The outcome of a call in a thread of its own, by a plain future."""
    future: concurrent.futures.Future[Any] = concurrent.futures.Future()

    def run() -> None:
        try:
            future.set_result(function(*args))
        except BaseException as error:
            future.set_exception(error)

    in_thread(run)
    return future


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end


# --- ends -------------------------------------------------------------------------------------------------------------


def test_a_reply_that_is_answered_gives_the_answer_every_time(reply: Reply[int]) -> None:
    assert not reply.done()
    assert reply.complete(5)

    assert reply.done()
    assert [reply.result(), reply.result(0)] == [5, 5]
    assert reply.exception() is None
    assert not reply.cancelled()
    assert not reply.running()


def test_a_reply_that_failed_raises_the_error_every_time(reply: Reply[int]) -> None:
    error = ValueError("no")
    assert reply.fail(error)

    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            reply.result()
    assert reply.exception() is error


ENDS: dict[str, Callable[[Reply[int]], object]] = {
    "answered": lambda reply: reply.complete(1),
    "failed": lambda reply: reply.fail(ValueError("first")),
    "cancelled": lambda reply: reply.cancel(),
}


@pytest.mark.parametrize("first", ENDS)
@pytest.mark.parametrize("second", ENDS)
def test_the_first_end_counts(reply: Reply[int], first: str, second: str) -> None:
    ENDS[first](reply)
    before = repr(reply)

    assert not ENDS[second](reply) or (first == second == "cancelled")
    assert repr(reply) == before


def test_of_many_threads_that_end_a_reply_one_is_told_that_it_did() -> None:
    for _ in range(50):
        reply = make(FakeNode())
        start = threading.Barrier(4)
        ended: list[int] = []

        def end(number: int, reply: Reply[int] = reply, start: Any = start, ended: list[int] = ended) -> None:
            start.wait()
            if reply.complete(number):
                ended.append(number)

        threads = [in_thread(end, number) for number in range(4)]
        for thread in threads:
            thread.join(DEADLINE)

        assert ended == [reply.result()]


def test_each_raising_has_a_traceback_and_a_context_of_its_own(reply: Reply[int]) -> None:
    error = ValueError("no")
    error.__cause__ = KeyError("far away")
    error.add_note("noted there")
    reply.fail(error)
    seen: list[BaseException] = []
    for _ in range(3):
        try:
            reply.result()
        except ValueError as raised:
            seen.append(raised)

    lengths = {len(traceback.extract_tb(raised.__traceback__)) for raised in seen}
    assert len(lengths) == 1
    assert error.__traceback__ is None
    assert all(raised.__cause__ is error.__cause__ for raised in seen)
    assert all(raised.__notes__ == ["noted there"] for raised in seen)


def test_an_error_that_refuses_to_be_copied_is_raised_as_it_is(reply: Reply[int]) -> None:
    class Odd(Exception):
        def __init__(self, one: int, two: int) -> None:
            super().__init__("odd")

    reply.fail(Odd(1, 2))

    with pytest.raises(Odd):
        reply.result()


def test_cancelling_ends_the_ask_and_tells_the_node_once(node: FakeNode, reply: Reply[int]) -> None:
    assert reply.cancel()
    assert reply.cancel()

    assert reply.cancelled()
    assert node.cancelled == [reply]
    for wait in (reply.result, reply.exception):
        with pytest.raises(concurrent.futures.CancelledError, match="/app/counter"):
            wait()


def test_what_has_ended_cannot_be_cancelled(node: FakeNode, reply: Reply[int]) -> None:
    reply.complete(1)

    assert not reply.cancel()
    assert node.cancelled == []


def test_an_executor_may_end_a_reply_in_its_own_words(node: FakeNode) -> None:
    answered, failed = make(node), make(node)
    answered.set_result(4)
    failed.set_exception(ValueError("no"))

    assert answered.result() == 4
    assert answered.set_running_or_notify_cancel()
    assert isinstance(failed.exception(), ValueError)
    with pytest.raises(concurrent.futures.InvalidStateError):
        answered.set_result(5)
    with pytest.raises(concurrent.futures.InvalidStateError):
        failed.set_exception(ValueError("again"))


@pytest.mark.parametrize("end", [None, *ENDS])
def test_the_text_of_a_reply_says_whose_it_is_and_how_it_stands(reply: Reply[int], end: str | None) -> None:
    if end:
        ENDS[end](reply)

    assert repr(reply).startswith(f"<Reply from /app/counter: {end or 'open'}")


# --- waiting ----------------------------------------------------------------------------------------------------------


def test_every_thread_that_waits_gets_the_answer(reply: Reply[int]) -> None:
    waits = [waiting(reply.result, DEADLINE) for _ in range(5)]
    wait_for(lambda: len(reply._listeners) == 5)
    reply.complete(5)

    assert [wait.result(DEADLINE) for wait in waits] == [5] * 5
    wait_for(lambda: not reply._listeners)


@pytest.mark.parametrize("timeout", [0, -1, 0.01])
def test_a_wait_that_is_over_raises_and_leaves_the_ask_open(reply: Reply[int], timeout: float) -> None:
    with pytest.raises(AskTimeoutError, match="/app/counter within .* stays open") as caught:
        reply.result(timeout)

    assert caught.value.timeout == timeout
    assert isinstance(caught.value, TimeoutError)
    assert not reply.done()
    assert reply.complete(1)
    assert reply.result() == 1


def test_a_wait_may_be_as_long_as_one_likes(reply: Reply[int]) -> None:
    wait = waiting(reply.result, 1e12)
    wait_for(lambda: reply._listeners)
    reply.complete(1)

    assert wait.result(DEADLINE) == 1


@pytest.mark.parametrize("timeout", [None, DEADLINE])
def test_at_its_own_deadline_the_ask_ends(node: FakeNode, timeout: float | None) -> None:
    reply = make(node, deadline=time.monotonic() + 0.01)

    with pytest.raises(AskTimeoutError, match="told by the node"):
        reply.result(timeout)
    assert node.expired == [reply]
    assert reply.done()


def test_an_ask_that_its_node_has_forgotten_ends_at_its_deadline_all_the_same(node: FakeNode) -> None:
    reply = make(node, deadline=time.monotonic())
    node.expire = lambda reply: None  # type: ignore[method-assign]

    with pytest.raises(AskTimeoutError, match="timed out at its deadline"):
        reply.result()


def test_a_shorter_wait_than_the_deadline_leaves_the_ask_open(node: FakeNode) -> None:
    reply = make(node, deadline=time.monotonic() + DEADLINE)

    with pytest.raises(AskTimeoutError, match="stays open"):
        reply.result(timeout=0.01)
    assert node.expired == []


def test_a_reply_that_is_done_gives_its_answer_in_a_fork_and_an_open_one_says_whose_it_is(
    reply: Reply[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(_seams._forked, "here", 4711)

    with pytest.raises(ActorsError, match="belongs to process 4711"):
        reply.result()
    reply.complete(1)
    assert reply.result() == 1


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


# One that is raised while the garbage collector calls back (hypothesis measures it so) has nowhere to go.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("untraced")
def test_exceptions_out_of_signal_handlers_leave_no_waiter_asleep() -> None:
    """The main thread both waits and completes; whatever it is interrupted in, calling again finishes the work."""
    armed = [False]

    def on_alarm(*_: object) -> None:
        if armed[0]:
            raise Storm

    def insist(function: Callable[..., Any], *args: Any) -> Any:
        delay = rng.uniform(0.00001, 0.00005)
        while True:
            try:
                armed[0] = True
                # Once, and later each time: however slow the machine, the call comes to its end.
                delay *= 1.05
                signal.setitimer(signal.ITIMER_REAL, delay)
                value = function(*args)
                armed[0] = False
            except Storm:
                armed[0] = False
                interrupts.append(1)
            else:
                return value

    interrupts: list[int] = []
    ran: list[int] = []
    node = FakeNode()
    node.kept = []
    previous = signal.signal(signal.SIGALRM, on_alarm)
    rng = random.Random(1)
    end = time.monotonic() + 30
    number = 0
    try:
        while len(interrupts) < 500 and time.monotonic() < end:
            number += 1
            reply = make(node, ask_id=number)
            reply.add_done_callback(lambda done: ran.append(done.ask_id))
            wait = waiting(reply.result, DEADLINE)
            both = waiting(concurrent.futures.wait, [reply], DEADLINE) if number % 4 == 0 else None
            insist(reply.complete, number)

            assert insist(reply.result) == number
            assert wait.result(DEADLINE) == number
            if both is not None:
                assert both.result(DEADLINE).done == {reply}
    finally:
        armed[0] = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)

    for function, argument in node.kept:
        function(argument)
    assert ran == list(range(1, number + 1))
    assert len(interrupts) >= 500


# --- callbacks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ENDS)
def test_a_callback_runs_once_with_the_reply(reply: Reply[int], end: str) -> None:
    seen: list[Any] = []
    reply.add_done_callback(seen.append)
    ENDS[end](reply)
    reply.complete(2)
    reply.fail(ValueError())

    assert seen == [reply]


def test_a_callback_added_afterwards_runs_too(reply: Reply[int]) -> None:
    seen: list[Any] = []
    reply.complete(1)
    reply.add_done_callback(seen.append)

    assert seen == [reply]


def test_a_callback_that_was_queued_twice_runs_once(node: FakeNode, reply: Reply[int]) -> None:
    seen: list[Any] = []
    node.kept = []
    reply.add_done_callback(seen.append)
    reply.complete(1)
    reply.complete(1)
    for function, argument in node.kept:
        function(argument)

    assert len(node.kept) == 2
    assert seen == [reply]


# --- with concurrent.futures ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how", [concurrent.futures.ALL_COMPLETED, concurrent.futures.FIRST_COMPLETED, concurrent.futures.FIRST_EXCEPTION]
)
def test_wait_waits_for_replies_of_every_end(node: FakeNode, how: str) -> None:
    replies = [make(node) for _ in range(3)]
    wait = waiting(concurrent.futures.wait, replies, DEADLINE, how)
    wait_for(lambda: all(reply._view is not None and reply._view.waiters for reply in replies))
    for reply, end in zip(replies, ("answered", "cancelled", "failed"), strict=True):
        ENDS[end](reply)

    done, _ = wait.result(DEADLINE)
    assert done
    if how == concurrent.futures.ALL_COMPLETED:
        assert done == set(replies)


def test_wait_mixes_replies_that_are_done_with_others_and_with_plain_futures(node: FakeNode) -> None:
    done_before, later = make(node), make(node)
    plain: concurrent.futures.Future[int] = concurrent.futures.Future()
    done_before.complete(1)
    wait = waiting(concurrent.futures.wait, [done_before, later, plain], DEADLINE)
    wait_for(lambda: later._view is not None and later._view.waiters)
    plain.set_result(2)
    later.complete(3)

    assert wait.result(DEADLINE).done == {done_before, later, plain}


def test_wait_that_is_over_says_which_are_not_done(node: FakeNode) -> None:
    done_before, later = make(node), make(node)
    done_before.complete(1)

    assert concurrent.futures.wait([done_before, later], timeout=0.01) == ({done_before}, {later})


def test_as_completed_gives_them_in_the_order_of_their_ends(node: FakeNode) -> None:
    replies = [make(node) for _ in range(3)]
    seen = concurrent.futures.as_completed(replies, timeout=DEADLINE)
    order = []
    for number in (2, 0, 1):
        replies[number].complete(number)
        order.append(next(seen).result())

    assert order == [2, 0, 1]


def test_completing_does_not_wait_for_a_lock_that_a_waiting_thread_holds(reply: Reply[int]) -> None:
    condition = reply._condition
    with condition:
        done = waiting(reply.complete, 1)
        assert done.result(DEADLINE)

        assert reply.result() == 1
        assert reply._state == "PENDING"
    wait_for(lambda: reply._state == "FINISHED")


@pytest.mark.parametrize("seed", range(3))
def test_no_wait_misses_an_end_whatever_the_race(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(150):
        node = FakeNode()
        replies = [make(node) for _ in range(rng.randint(1, 4))]
        waits = [waiting(concurrent.futures.wait, replies, DEADLINE) for _ in range(2)]
        threads = [in_thread(reply.complete, 1) for reply in replies if rng.random() < 0.5]
        for reply in replies:
            reply.complete(2)

        assert all(wait.result(DEADLINE).not_done == set() for wait in waits)
        for thread in threads:
            thread.join(DEADLINE)


# --- in an event loop -------------------------------------------------------------------------------------------------


def run(main: Any) -> Any:
    async def bounded() -> Any:
        async with asyncio.timeout(DEADLINE):
            return await main

    return asyncio.run(bounded())


def test_a_reply_can_be_awaited(reply: Reply[int]) -> None:
    async def main() -> int:
        threading.Thread(target=reply.complete, args=(5,)).start()
        return await reply

    assert run(main()) == 5
    assert reply._listeners == []


def test_a_reply_that_is_done_can_be_awaited(reply: Reply[int]) -> None:
    reply.complete(5)

    async def main() -> int:
        return await reply

    assert run(main()) == 5


def test_many_tasks_can_await_one_reply(reply: Reply[int]) -> None:
    async def one() -> int:
        return await reply

    async def main() -> list[int]:
        asyncio.get_running_loop().call_soon(reply.complete, 5)
        return list(await asyncio.gather(one(), one(), one()))

    assert run(main()) == [5, 5, 5]


def test_an_awaited_reply_raises_its_error(reply: Reply[int]) -> None:
    async def main() -> int:
        asyncio.get_running_loop().call_soon(reply.fail, ValueError("no"))
        return await reply

    with pytest.raises(ValueError, match="no"):
        run(main())


def test_an_awaited_ask_ends_at_its_own_deadline(node: FakeNode) -> None:
    reply = make(node, deadline=time.monotonic() + 0.01)

    async def main() -> Any:
        return await reply

    with pytest.raises(AskTimeoutError, match="told by the node"):
        run(main())


def test_a_cancelled_await_leaves_the_ask_open(reply: Reply[int]) -> None:
    async def main() -> None:
        async def wait() -> int:
            return await reply

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    assert not reply.done()
    assert reply._listeners == []


def test_a_reply_that_ends_after_its_loop_is_closed_harms_nobody(reply: Reply[int]) -> None:
    from actors._reply import LoopWaiter

    loop = asyncio.new_event_loop()
    reply.listen(LoopWaiter(loop))
    loop.close()

    assert reply.complete(1)


@pytest.mark.parametrize("end", ["answered", "failed"])
def test_wrap_future_takes_a_reply(reply: Reply[int], end: str) -> None:
    async def main() -> Any:
        future = asyncio.wrap_future(reply)
        threading.Thread(target=ENDS[end], args=(reply,)).start()
        return await asyncio.gather(future, return_exceptions=True)

    outcome = run(main())[0]
    assert outcome == 1 if end == "answered" else isinstance(outcome, ValueError)


def test_cancelling_a_wrapped_future_cancels_the_ask(node: FakeNode, reply: Reply[int]) -> None:
    async def main() -> None:
        asyncio.wrap_future(reply).cancel()
        await asyncio.sleep(0)

    run(main())
    assert reply.cancelled()
    assert node.cancelled == [reply]


@pytest.mark.parametrize(
    ("end", "snapshot"),
    [
        (None, (False, False, None)),
        ("answered", (True, False, 1)),
        ("failed", (True, False, None)),
        ("cancelled", (True, True, None)),
    ],
)
def test_asyncio_of_later_pythons_sees_the_whole_reply_at_once(
    reply: Reply[int], end: str | None, snapshot: tuple[bool, bool, int | None]
) -> None:
    if end:
        ENDS[end](reply)

    *seen, error = reply._get_snapshot()
    assert tuple(seen) == snapshot
    assert (error is not None) == (end == "failed")


class Large:
    """What a caller may hold."""


def test_what_a_caller_holds_is_free_as_soon_as_it_has_dealt_with_the_error(reply: Reply[int]) -> None:
    freed = threading.Event()

    def call() -> None:
        large = Large()
        weakref.finalize(large, freed.set)
        with contextlib.suppress(ActorsError):
            reply.result(timeout=0.0)

    assert reply.fail(ActorsError("died"))
    gc.disable()
    try:
        call()
        assert freed.is_set()
    finally:
        gc.enable()
