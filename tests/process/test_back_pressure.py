"""Mailboxes that are full: what is dropped and who is told, who goes on, and what overtakes a hundred thousand messages."""

from __future__ import annotations

import functools
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest

from actors import ActorRef, ActorSystem, DeadLetter, HandlerError, MailboxFullError
from tests.floods import Flooder, Pusher, Slow, ending
from tests.helpers import eventually
from tests.messengers import Log
from tests.process.test_delivery import kill_at_random, name_the_dead, tree
from tests.process.test_large import slots_in_use

KIB, MIB = 1024, 1024 * 1024
FULL = ("MailboxFullError", False)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def is_handling(actor: ActorRef[Any], name: str) -> bool:
    seen = actor.statistics()
    return (seen.state, seen.handler) == ("handling", name)


@contextmanager
def shut(actor: ActorRef[Slow], gate: Path) -> Iterator[None]:
    """Have *actor* busy inside the block."""
    busy = actor.ask(Slow.wait_for, str(gate))
    eventually(lambda: is_handling(actor, "wait_for"), what="it waits at the gate")
    yield
    gate.touch()
    busy.result(timeout=10)


def has_dropped(system: ActorSystem, count: int) -> bool:
    return system.dead_letters() == {"overflow": count}


# ---- drop_oldest ---------------------------------------------------------------------------------------------------


def test_the_newest_are_handled_and_the_oldest_are_dead_letters(system: ActorSystem, tmp_path: Path) -> None:
    letters: Counter[tuple[str, str | None, str]] = Counter()

    def note(letter: DeadLetter) -> None:
        letters[letter.target, letter.handler, letter.reason] += letter.count

    system.subscribe_dead_letters(note)
    slow = system.spawn(Slow(), on_full="drop_oldest", mailbox_messages=10)
    with shut(slow, tmp_path / "gate"):
        for number in range(1000):
            slow.tell(Slow.work, number)
        last = slow.ask(Slow.all)
        assert slow.statistics().dropped == 0

    assert last.result(timeout=10) == list(range(991, 1000))
    eventually(lambda: has_dropped(system, 991), state=system.dead_letters)
    eventually(lambda: letters == {("/system/slow", "work", "overflow"): 991}, state=lambda: letters)
    assert (slow.statistics().dropped, slow.statistics().mailbox_messages) == (991, 10)


def test_the_newest_bytes_are_kept(system: ActorSystem, tmp_path: Path) -> None:
    slow = system.spawn(Slow(), on_full="drop_oldest", mailbox_bytes=16 * KIB)
    with shut(slow, tmp_path / "gate"):
        for number in range(60):
            slow.tell(Slow.work, number, 0.0, bytes(1000))
        slow.flush()
    handled = slow.ask(Slow.all).result(timeout=10)

    assert handled == list(range(60 - len(handled), 60))
    assert 14 <= len(handled) <= 16
    eventually(lambda: has_dropped(system, 60 - len(handled)), state=system.dead_letters)


def test_asks_that_are_dropped_end_at_their_callers(system: ActorSystem, tmp_path: Path) -> None:
    slow, asker = system.spawn(Slow(), on_full="drop_oldest", mailbox_messages=20), system.spawn(Flooder())
    with shut(slow, tmp_path / "gate"):
        through = asker.ask(Flooder.ask_all, slow, 100)
        eventually(lambda: slow.statistics().pipe_queued_bytes > 2000)
        replies = [slow.ask(Slow.work, number) for number in range(100)]
    ends = [ending(reply) for reply in replies]
    others = through.result(timeout=20)

    assert ends == [(*FULL, "/system/slow")] * 80 + [("answered", True, "")] * 20
    assert others == [(*FULL, "/system/slow")] * 100
    assert slow.ask(Slow.all).result(timeout=10) == list(range(80, 100))
    eventually(lambda: has_dropped(system, 180), state=system.dead_letters)
    assert system._life.running().node.late_replies == 0
    with pytest.raises(MailboxFullError, match="dropped for newer ones"):
        replies[0].result()


def test_large_messages_that_are_dropped_give_their_memory_back(system: ActorSystem, tmp_path: Path) -> None:
    slow = system.spawn(Slow(), on_full="drop_oldest", mailbox_messages=2)
    with shut(slow, tmp_path / "gate"):
        replies = [slow.ask(Slow.work, number, 0.0, bytes(100 * KIB)) for number in range(10)]
        for number in range(10, 20):
            slow.tell(Slow.work, number, 0.0, bytes(100 * KIB))
        slow.flush()
        assert slots_in_use(system) == 20

    assert [ending(reply) for reply in replies] == [(*FULL, "/system/slow")] * 10
    eventually(lambda: slow.statistics().handled == 3, state=slow.statistics)
    assert slow.ask(Slow.all).result(timeout=10) == [18, 19]
    eventually(lambda: slots_in_use(system) == 0)
    eventually(lambda: has_dropped(system, 18), state=system.dead_letters)


def test_a_stream_that_is_dropped_raises_where_it_is_read(system: ActorSystem, tmp_path: Path) -> None:
    slow = system.spawn(Slow(), on_full="drop_oldest", mailbox_messages=1)
    with shut(slow, tmp_path / "gate"):
        items = slow.stream("all")
        slow.tell(Slow.work, 1)
        slow.flush()

    with pytest.raises(MailboxFullError, match="dropped for newer ones"):
        next(items)


def is_done(actor: ActorRef[Any]) -> bool:
    """Whether it has nothing to do any more, and no way to get something."""
    seen = actor.statistics()
    return seen.state == "idle" and not seen.queued_bytes and not seen.pipe_queued_bytes


def send_under_kills(system: ActorSystem, target: ActorRef[Any], name: str, each: int, kills: int, log: str) -> None:
    """Send numbers, every third as an ask, while *target* is killed; each is handled, dropped or named in a crash, and once."""
    named = name_the_dead(system)
    ends: list[tuple[str, bool, str]] = []

    def send_all() -> None:
        replies = []
        for number in range(each):
            load = bytes(5000 if number % 50 == 0 else 20)
            if number % 3:
                target.tell(name, number, load)
            else:
                replies.append(target.ask(name, number, load))
        ends.extend(map(ending, replies))

    sending = threading.Thread(target=send_all)
    sending.start()
    killed = kill_at_random(system, target, kills, lambda: not sending.is_alive(), each)
    sending.join()
    target.flush()
    eventually(lambda: is_done(target), 20.0, state=target.statistics)

    handled, told, path = Log.read(log), Counter(ends), target.path
    crashed = {arguments[0] for arguments in named}
    lost = set(range(each)) - set(handled) - crashed
    died = told["ActorDied", True, path]
    # An ask in flight in a crash is named to its asker only.
    eventually(
        lambda: system.dead_letters().get("overflow", 0) >= len(lost) - died,
        state=lambda: (system.dead_letters(), target.statistics(), len(handled), len(crashed), len(lost), told),
    )
    overflow = system.dead_letters()["overflow"]
    print(f"{killed} kills, {len(handled)} handled, {overflow} dropped, {died} asks died; {told}")
    assert handled == sorted(set(handled)), "handled twice, or out of order"
    assert sum(told.values()) == len(range(0, each, 3))
    assert 0 < overflow <= len(lost)
    eventually(lambda: slots_in_use(system) == 0, state=lambda: slots_in_use(system))


def drop_under_kills(folder: Path, start_method: Any, each: int, kills: int) -> None:
    log = Log.create(folder / "log", each)
    with ActorSystem(tree(), start_method=start_method) as system:
        slow = system.spawn(Slow(log), on_full="drop_oldest", mailbox_bytes=8 * KIB, send_timeout=60.0)
        send_under_kills(system, slow, "take", each, kills, log)


def test_what_a_killed_actor_was_dropping_is_told_once_and_nothing_is_lost(tmp_path: Path, start_method: Any) -> None:
    drop_under_kills(tmp_path, start_method, 30_000, 25)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_hundreds_of_kills_in_the_middle_of_drops_lose_nothing(tmp_path: Path, start_method: Any) -> None:
    drop_under_kills(tmp_path, start_method, 600_000, 1000)


def test_what_is_dropped_behind_a_message_that_waits_for_room_survives_kills(tmp_path: Path, start_method: Any) -> None:
    each = 8_000
    log = Log.create(tmp_path / "log", each)
    with ActorSystem(tree(), start_method=start_method) as system:
        full = system.spawn(Slow(), name="full", mailbox_bytes=4 * KIB, send_timeout=0.02)
        with shut(full, tmp_path / "gate"):
            with pytest.raises(MailboxFullError):
                for number in range(10_000):
                    full.tell(Slow.work, number, 0.0, bytes(4000))
            pusher = system.spawn(Pusher(log, full), on_full="drop_oldest", mailbox_bytes=8 * KIB, send_timeout=60.0)
            send_under_kills(system, pusher, "push", each, 25, log)


# ---- bounds with every policy --------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["block", "reject", "drop_newest"])
def test_an_actor_reads_ahead_no_more_messages_than_its_bound_and_one_pipe(
    system: ActorSystem, policy: Literal["block", "reject", "drop_newest"]
) -> None:
    slow = system.spawn(Slow(), on_full=policy, mailbox_messages=50, send_timeout=0.1)
    one_pipe = 64 * KIB // 20
    queued, sent = set[int](), 0

    def look() -> bool:
        queued.add(slow.statistics().queued_messages)
        return max(queued) > 0

    with pytest.raises(MailboxFullError) if policy != "drop_newest" else _nothing():
        for sent in range(30_000):
            slow.tell(Slow.work, sent, 0.002)
            if sent % 500 == 0:
                look()
    # A pipe can be full before its reader has looked into it for the first time.
    eventually(look)

    assert max(queued) <= 50 + 2 * one_pipe
    assert sent < 30_000 - 1 or system.dead_letters()["overflow"] > 0
    slow.stop()


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def test_both_measures_of_what_is_queued_are_told(system: ActorSystem, tmp_path: Path) -> None:
    slow = system.spawn(Slow())
    for number in range(2000):
        slow.tell(Slow.work, number, 0.005)
    slow.flush()
    eventually(lambda: slow.statistics().queued_messages > 1000)
    seen = slow.statistics()

    assert seen.queued_messages * 10 < seen.queued_bytes <= seen.mailbox_bytes + seen.pipe_bytes
    assert seen.mailbox_messages is None
    slow.stop()


# ---- the control lane ----------------------------------------------------------------------------------------------


@contextmanager
def behind_a_hundred_thousand(system: ActorSystem, first: Callable[[ActorRef[Slow]], Any]) -> Iterator[Any]:
    """An actor in whose mailbox a hundred thousand messages wait, behind what *first* sends."""
    slow = system.spawn(Slow(), mailbox_bytes=8 * MIB, send_timeout=50.0)
    for number in range(500):
        slow.tell(Slow.work, number, 0.001)
    found = first(slow)
    for number in range(102_000):
        slow.tell(Slow.work, number, 0.001)
    slow.flush()
    eventually(lambda: slow.statistics().queued_messages >= 100_000, 20.0, state=slow.statistics)
    yield slow, found


def is_gone(actor: ActorRef[Any]) -> bool:
    return not actor.is_alive()


def test_a_stop_overtakes_a_hundred_thousand_messages(system: ActorSystem) -> None:
    with behind_a_hundred_thousand(system, lambda _slow: None) as (slow, _none):
        began = time.monotonic()
        handled = slow.statistics().handled
        slow.stop()
        eventually(functools.partial(is_gone, slow))
        seconds = time.monotonic() - began

    assert seconds < 1.0
    eventually(lambda: sum(system.dead_letters().values()) >= 100_000, state=system.dead_letters)
    assert sum(system.dead_letters().values()) + handled <= 102_500


def test_a_cancel_overtakes_a_hundred_thousand_messages(system: ActorSystem) -> None:
    with behind_a_hundred_thousand(system, lambda slow: slow.ask(Slow.until_cancelled)) as (slow, reply):
        eventually(lambda: is_handling(slow, "until_cancelled"), 10.0)
        before = slow.statistics()
        reply.cancel()
        eventually(lambda: slow.statistics().handled > before.handled, 1.0)

        assert before.queued_messages >= 99_000
        slow.stop()


# ---- floods --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("room", [4 * KIB, MIB])
@pytest.mark.parametrize("policy", ["drop_newest", "drop_oldest"])
def test_two_actors_that_flood_each_other_go_on_where_messages_are_dropped(
    system: ActorSystem, tmp_path: Path, policy: Literal["drop_newest", "drop_oldest"], room: int
) -> None:
    files = [str(tmp_path / "one"), str(tmp_path / "two")]
    options: Any = {"on_full": policy, "mailbox_bytes": room, "send_timeout": 20.0}
    one, two = system.spawn(Flooder(), name="one", **options), system.spawn(Flooder(), name="two", **options)
    replies = [
        one.ask(Flooder.flood, two, 5000, bytes(2000), *files),
        two.ask(Flooder.flood, one, 5000, bytes(2000), *reversed(files)),
    ]

    assert [reply.result(timeout=30) for reply in replies] == [5000, 5000]
    patient = [ref.options(on_full="block") for ref in (one, two)]
    assert [ref.ask(Flooder.ping).result(timeout=10) for ref in patient] == ["pong", "pong"]

    def seen() -> tuple[int, int]:
        return sum(ref.statistics().handled for ref in (one, two)), system.dead_letters()["overflow"]

    eventually(lambda: sum(seen()) == 10_004, state=seen)


def test_two_actors_that_flood_each_other_and_wait_each_end_with_an_error_and_serve_on(
    system: ActorSystem, tmp_path: Path
) -> None:
    files = [str(tmp_path / "one"), str(tmp_path / "two")]
    one, two = (system.spawn(Flooder(), name=name, mailbox_bytes=4096, send_timeout=0.5) for name in ("one", "two"))
    replies = [
        one.ask(Flooder.flood_until_full, two, bytes(2000), *files),
        two.ask(Flooder.flood_until_full, one, bytes(2000), *reversed(files)),
    ]

    for reply, file in zip(replies, files, strict=True):
        error = reply.exception(timeout=30)
        assert isinstance(error, HandlerError)
        assert error.error_type.endswith("MailboxFullError")
        assert 0.5 <= float(Path(file).read_text()) < 5.0
    assert [ref.ask(Flooder.ping).result(timeout=10) for ref in (one, two)] == ["pong", "pong"]


@pytest.mark.parametrize("policy", ["drop_newest", "reject"])
def test_a_sender_at_full_speed_to_a_stopped_consumer_costs_the_host_no_memory(
    system: ActorSystem, policy: Literal["drop_newest", "reject"]
) -> None:
    slow = system.spawn(Slow())
    pid = slow.ask(Slow.process).result(timeout=10)
    sender = slow.options(on_full=policy)
    os.kill(pid, signal.SIGSTOP)
    try:
        flood(sender, 20_000)
        before = resident_bytes()
        flood(sender, 200_000)
        grown = resident_bytes() - before
    finally:
        os.kill(pid, signal.SIGCONT)

    assert grown < 4 * MIB
    assert slow.ask(Slow.process).result(timeout=10) == pid


def flood(ref: ActorRef[Slow], count: int) -> None:
    refused = 0
    for number in range(count):
        try:
            ref.tell(Slow.work, number, 0.0, bytes(500))
        except MailboxFullError:
            refused += 1
