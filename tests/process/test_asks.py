"""Every ask ends exactly once: answered, or failed at once with the reason, whatever is killed, flooded or interrupted meanwhile."""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import os
import signal
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from actors import ActorDied, ActorSystem, AskTimeoutError, HandlerError, MailboxFullError
from tests.helpers import eventually
from tests.messengers import Echo, Sender, endings


class Interrupted(Exception):
    pass


def flooded(system: ActorSystem, asks: int, flood: int) -> None:
    callee, asker = system.spawn(Echo()), system.spawn(Sender(), name="asker")
    floods = []
    for number in range(2):
        sender = system.spawn(Sender(), name=f"flood-{number}")
        floods.append(sender.ask(Sender.flood, asker, "sink", flood, bytes(100)))
    assert asker.ask(Sender.ask_often, callee, asks).result(timeout=300) == asks
    assert [reply.result(timeout=300) for reply in floods] == [flood, flood]


def test_a_handler_asks_while_two_senders_flood_its_inbox(system: ActorSystem) -> None:
    flooded(system, 2_000, 20_000)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_handler_asks_ten_thousand_times_while_two_senders_flood_its_inbox(system: ActorSystem) -> None:
    flooded(system, 10_000, 500_000)


def closed_gate(system: ActorSystem, callee: Any) -> Any:
    """Have *callee* wait in a handler for ever; return the ask of that."""
    gate = callee.ask(Echo.wait_for, "/nowhere/at/all")
    eventually(lambda: (callee.statistics().state, callee.statistics().handler) == ("handling", "wait_for"))
    return gate


def test_asks_queued_at_a_temporary_actor_all_fail_at_once_when_it_is_killed(system: ActorSystem) -> None:
    callee = system.spawn(Echo(), restart="temporary")
    pid = callee.ask(Echo.process).result(timeout=5)
    replies = [closed_gate(system, callee), *(callee.ask(Echo.echo, number) for number in range(999))]
    began = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    ends = endings(replies)
    seconds = time.monotonic() - began
    print(f"1,000 asks failed {seconds * 1000:.0f} ms after the kill")

    assert Counter(ends) == {"ActorDied!": 1, "ActorDied": 999}
    assert ends[0] == "ActorDied!"
    assert {reply.exception().reason.signal for reply in replies} == {"SIGKILL"}
    assert seconds < 1.0


def test_asks_queued_at_a_permanent_actor_are_answered_by_its_next_incarnation(system: ActorSystem) -> None:
    callee = system.spawn(Echo())
    pid = callee.ask(Echo.process).result(timeout=5)
    gate = closed_gate(system, callee)
    replies = [callee.ask(Echo.echo, number) for number in range(999)]
    os.kill(pid, signal.SIGKILL)

    assert endings([gate]) == ["ActorDied!"]
    assert [reply.result(timeout=20) for reply in replies] == list(range(999))


@pytest.mark.parametrize(("restart", "rest"), [("temporary", "ActorDied"), ("permanent", "answered")])
def test_an_actor_that_asks_learns_of_the_death_of_its_callee(system: ActorSystem, restart: Any, rest: str) -> None:
    callee, asker = system.spawn(Echo(), restart=restart), system.spawn(Sender())
    pid = callee.ask(Echo.process).result(timeout=5)
    gate = closed_gate(system, callee)
    ends, seconds = asker.ask(Sender.ask_many, callee, 999, pid).result(timeout=30)
    print(f"the last of 999 asks ended {seconds * 1000:.0f} ms after the kill")

    assert endings([gate]) == ["ActorDied!"]
    assert Counter(ends) == {rest: 999}
    assert seconds < (1.0 if restart == "temporary" else 5.0)


def test_the_ask_of_an_actor_that_was_being_handled_may_have_run(system: ActorSystem) -> None:
    callee, asker = system.spawn(Echo(), restart="temporary"), system.spawn(Sender())
    pid = callee.ask(Echo.process).result(timeout=5)
    reply = asker.ask(Sender.ask_one, callee, "wait_for", "/nowhere/at/all")
    eventually(lambda: (callee.statistics().state, callee.statistics().handler) == ("handling", "wait_for"))
    os.kill(pid, signal.SIGKILL)

    error = reply.exception(timeout=5)
    assert isinstance(error, HandlerError)
    assert error.error_type.endswith("ActorDied")
    assert "being handled" in str(error)


def interrupt(system: ActorSystem, times: int) -> None:
    """Asks and tells of the main thread, out of which a signal handler raises *times* times."""
    callee = system.spawn(Echo())
    callee.ask(Echo.echo, 0).result(timeout=5)
    caught, told, replies = 0, 0, []

    def alarm(_number: int, _frame: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, alarm)
    began = time.monotonic()
    try:
        while caught < times:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.00005 + 0.00001 * (caught % 40))
                # Bounded: where the alarm meets a __del__ of somebody's garbage, the interpreter swallows what it raises.
                for _ in range(1_000):
                    told += 1
                    callee.tell(Echo.note, told)
                    reply = callee.ask(Echo.echo, told)
                    replies.append((told, reply))
                    reply.result(timeout=20)
            except Interrupted:
                caught += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    print(f"{caught} interruptions of {len(replies)} asks in {time.monotonic() - began:.1f} s")
    assert [reply.result(timeout=20) for _, reply in replies] == [number for number, _ in replies]
    seen = callee.ask(Echo.noted).result(timeout=20)
    assert all(a < b for a, b in itertools.pairwise(seen)), "a tell was handled twice, or out of order"
    assert len(seen) >= told - caught


# What is raised in a callback of the garbage collector, or of a weak reference, has nowhere to go.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_handler_that_raises_loses_no_reply(system: ActorSystem) -> None:
    interrupt(system, 1_000)


# What is raised in a callback of the garbage collector, or of a weak reference, has nowhere to go.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.soak
@pytest.mark.timeout(300)
def test_a_signal_handler_that_raises_ten_thousand_times_loses_no_reply(system: ActorSystem) -> None:
    interrupt(system, 10_000)


def test_a_signal_handler_may_itself_tell_and_ask(system: ActorSystem) -> None:
    callee = system.spawn(Echo())
    sent = 0
    replies: list[tuple[int, Any]] = []

    def alarm(_number: int, _frame: object) -> None:
        nonlocal sent
        sent += 1
        number = sent  # the handler itself may be interrupted by the next signal
        callee.tell(Echo.note, number)
        replies.append((number, callee.ask(Echo.echo, number)))

    before = signal.signal(signal.SIGALRM, alarm)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
        for number in range(2_000):
            callee.tell(Echo.echo, number)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert sent > 0
    assert [reply.result(timeout=10) for _, reply in replies] == [number for number, _ in replies]
    assert sorted(callee.ask(Echo.noted).result(timeout=10)) == list(range(1, sent + 1))


# --- deadlines


def test_an_ask_that_has_expired_is_not_started(system: ActorSystem, tmp_path: Path) -> None:
    callee, gate = system.spawn(Echo()), tmp_path / "gate"
    waiting = callee.ask(Echo.wait_for, str(gate))
    late = callee.options(timeout=0.05).ask(Echo.note, "late")
    with pytest.raises(AskTimeoutError):
        late.result(timeout=5)
    gate.touch()
    waiting.result(timeout=5)

    assert callee.ask(Echo.noted).result(timeout=5) == []
    eventually(lambda: system.dead_letters() == {"expired": 1})


def test_a_deadline_ends_an_ask_that_nobody_waits_for(system: ActorSystem) -> None:
    callee = system.spawn(Echo())
    closed = callee.ask(Echo.sleep, 1.0)
    replies = [callee.options(timeout=0.05 + 0.01 * number).ask(Echo.echo, number) for number in range(10)]
    done, _ = concurrent.futures.wait(replies, timeout=0.8)

    assert len(done) == 10
    assert not closed.done()
    assert endings(replies) == ["AskTimeoutError!"] * 10


def test_a_nested_ask_has_what_is_left_of_the_deadline(system: ActorSystem) -> None:
    callee, asker = system.spawn(Echo()), system.spawn(Sender())

    assert asker.ask(Sender.ask_one, callee, "time_left").result(timeout=5) is None
    left = asker.options(timeout=3.0).ask(Sender.ask_one, callee, "time_left").result(timeout=5)
    assert left is not None
    assert 0 < left < 3.0


def test_a_wait_that_is_over_leaves_the_ask_open(system: ActorSystem) -> None:
    callee = system.spawn(Echo())
    reply = callee.ask(Echo.slow_echo, 5, 0.2)
    with pytest.raises(AskTimeoutError, match="stays open"):
        reply.result(timeout=0.01)

    assert reply.result(timeout=5) == 5


def test_an_actor_cannot_ask_itself(system: ActorSystem) -> None:
    assert system.spawn(Sender()).ask(Sender.ask_itself).result(timeout=5) == "DeadlockError"


# --- what a reply is good for


def test_futures_of_the_standard_library_take_replies(system: ActorSystem) -> None:
    callee = system.spawn(Echo())
    replies = [callee.ask(Echo.echo, number) for number in range(300)]
    done, left = concurrent.futures.wait(replies, timeout=10)

    assert (len(done), len(left)) == (300, 0)
    assert sorted(reply.result() for reply in concurrent.futures.as_completed(replies, timeout=10)) == list(range(300))


def test_futures_of_the_standard_library_take_replies_inside_an_actor(system: ActorSystem) -> None:
    callee, asker = system.spawn(Echo()), system.spawn(Sender())

    assert sorted(asker.ask(Sender.ask_and_wait, callee, 300).result(timeout=20)) == list(range(300))


def test_replies_are_awaited_inside_an_actor(system: ActorSystem) -> None:
    callee, asker = system.spawn(Echo()), system.spawn(Sender())

    assert asker.ask(Sender.gather, callee, 100).result(timeout=20) == list(range(100))


def test_replies_are_awaited_in_the_host(system: ActorSystem) -> None:
    callee = system.spawn(Echo())

    async def ask(number: int) -> Any:
        return await callee.ask(Echo.echo, number)

    async def ask_all() -> list[Any]:
        return list(await asyncio.gather(*(ask(number) for number in range(100))))

    async def too_late() -> None:
        await callee.options(timeout=0.05).ask(Echo.slow_echo, 1, 0.3)

    assert asyncio.run(ask_all()) == list(range(100))
    with pytest.raises(AskTimeoutError):
        asyncio.run(too_late())


def test_a_done_callback_is_given_the_reply(system: ActorSystem) -> None:
    callee, asker = system.spawn(Echo()), system.spawn(Sender())
    seen: list[Any] = []
    over = threading.Event()

    def take(reply: Any) -> None:
        seen.append(reply.result())
        over.set()

    callee.ask(Echo.echo, 5).add_done_callback(take)
    assert over.wait(5)
    assert seen == [5]
    assert asker.ask(Sender.called_back, callee).result(timeout=10) == 7


def test_many_threads_ask_one_actor(system: ActorSystem) -> None:
    callee = system.spawn(Echo())

    def ask(first: int) -> list[Any]:
        return [callee.ask(Echo.echo, first + number).result(timeout=20) for number in range(200)]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(0, 8_000, 1_000)))

    assert answers == [list(range(first, first + 200)) for first in range(0, 8_000, 1_000)]


# --- exceptions


def test_what_a_handler_raises_can_be_caught_as_what_it_was(system: ActorSystem) -> None:
    callee, asker = system.spawn(Echo()), system.spawn(Sender())
    with pytest.raises(ValueError, match="too hot") as caught:
        callee.ask(Echo.fail, "too hot").result(timeout=5)
    assert isinstance(caught.value, HandlerError)
    assert "raise ValueError(text)" in str(caught.value.__cause__)
    with pytest.raises(ValueError, match="too cold"):
        asker.ask(Sender.ask_one, callee, "fail", "too cold").result(timeout=5)
    assert callee.ask(Echo.echo, 1).result(timeout=5) == 1, "it lives on"


def test_an_ask_whose_handler_leaves_ends_with_the_exit_code(system: ActorSystem) -> None:
    callee = system.spawn(Echo(), restart="temporary")
    with pytest.raises(ActorDied) as caught:
        callee.ask(Echo.leave, 7).result(timeout=5)

    assert caught.value.may_have_run
    assert caught.value.reason.exit_code == 7


def test_a_crash_with_a_huge_traceback_is_told_to_all_who_asked(system: ActorSystem) -> None:
    callee, asker = system.spawn(Echo(), restart="temporary"), system.spawn(Sender())
    callee.tell(Echo.sleep, 0.2)
    callee.tell(Echo.crash, "\N{PILE OF POO}" * 20_000)
    replies = [callee.ask(Echo.echo, number) for number in range(10)]
    other = asker.ask(Sender.ask_one, callee, "echo", 1)

    assert endings(replies) == ["ActorDied"] * 10
    first = replies[0].exception()
    assert isinstance(first, ActorDied)
    assert first.reason.kind == "crash"
    assert isinstance(other.exception(timeout=5), HandlerError)


# --- asynchronous handlers and timers


def test_tasks_left_behind_run_between_messages(system: ActorSystem) -> None:
    callee = system.spawn(Echo())
    callee.ask(Echo.leave_a_task, 50).result(timeout=5)
    eventually(lambda: callee.ask(Echo.work_done).result(timeout=5) == 50)


def test_tasks_left_behind_run_while_messages_keep_coming(system: ActorSystem) -> None:
    callee = system.spawn(Echo())
    callee.tell(Echo.leave_a_task, 50)
    for _ in range(60):
        callee.tell(Echo.echo, None)

    assert callee.ask(Echo.work_done).result(timeout=5) == 50


def test_tasks_left_behind_run_while_the_actor_is_idle_and_end_with_it(system: ActorSystem) -> None:
    callee = system.spawn(Echo())
    callee.ask(Echo.leave_a_task, 1_000_000_000).result(timeout=5)
    first = callee.ask(Echo.work_done).result(timeout=5)
    eventually(lambda: callee.ask(Echo.work_done).result(timeout=5) > first)
    callee.stop()
    eventually(lambda: not callee.is_alive())


def test_timers_fire_until_they_are_cancelled_and_an_idle_actor_sleeps(system: ActorSystem) -> None:
    callee = system.spawn(Echo())
    callee.tell(Echo.begin_ticking, 0.01)
    eventually(lambda: callee.ask(Echo.ticked).result(timeout=5) >= 5)
    count = callee.ask(Echo.end_ticking).result(timeout=5)
    before = callee.ask(Echo.cpu_seconds).result(timeout=5)
    threading.Event().wait(0.3)

    assert callee.ask(Echo.cpu_seconds).result(timeout=5) - before < 0.1
    assert callee.ask(Echo.ticked).result(timeout=5) <= count + 1


def test_an_ask_that_is_rejected_or_dropped_ends_too(system: ActorSystem, tmp_path: Path) -> None:
    callee = system.spawn(Echo(), mailbox_bytes=4096)
    gate = callee.ask(Echo.wait_for, str(tmp_path / "gate"))
    eventually(lambda: (callee.statistics().state, callee.statistics().handler) == ("handling", "wait_for"))
    full = callee.options(on_full="reject")
    with pytest.raises(MailboxFullError):
        for _ in range(10_000):
            full.tell(Echo.note, bytes(3000))
    dropped = callee.options(on_full="drop_newest").ask(Echo.echo, bytes(3000))

    assert endings([dropped]) == ["MailboxFullError"]
    assert not gate.done()
    assert system.dead_letters() == {"overflow": 1}
    (tmp_path / "gate").touch()
