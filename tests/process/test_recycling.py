"""Replacement with hand-over, over real processes: nothing is lost, nothing is handled twice, and never by two at a time."""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import random
import signal
import threading
from collections import Counter
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from actors import ActorDied, ActorRef, ActorSystem, Backoff, Down, Recycle, Reply, SpecError, Supervisor
from tests.helpers import eventually, kill
from tests.leaks import open_descriptors
from tests.messengers import Echo, Sender, endings
from tests.process.test_supervision import is_gone, resident_kib
from tests.successors import Asker, Book, Chief, Frail, Line, Mourner, Recycled, Slow, Ticker
from tests.watchers import Watcher

SECONDS = 30.0
SENDERS = 3

Logs = list[MutableMapping[str, Any]]


@pytest.fixture
def logs() -> Iterator[Logs]:
    with capture_logs() as found:
        yield found


def events(logs: Logs, path: str, *names: str) -> list[MutableMapping[str, Any]]:
    return [entry for entry in logs if entry.get("path") == path and (not names or entry["event"] in names)]


def replaced(logs: Logs, path: str) -> int:
    return len(events(logs, path, "actors.child_replaced"))


def replace(system: ActorSystem, ref: ActorRef[Any], logs: Logs) -> None:
    """Have the actor replaced, and return when its successor serves."""
    before = replaced(logs, ref.path)
    parent, _, name = ref.path.rpartition("/")
    system.supervisor(parent).replace(name)
    eventually(lambda: replaced(logs, ref.path) > before, SECONDS, state=lambda: logs[-10:])


def check_lines(lines: list[Line], expected: dict[int, int]) -> None:
    """Each message was handled once, those of a sender in order, and no two at a time."""
    for sender, count in expected.items():
        assert [line.number for line in lines if line.sender == sender] == list(range(count)), f"of sender {sender}"
    for before, after in itertools.pairwise(lines):
        assert before.began <= before.ended <= after.began
        assert before.incarnation <= after.incarnation


# --- messages ---------------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(180)
def test_an_actor_that_is_replaced_under_load_handles_each_message_once_and_in_order(
    start_method: Any, tmp_path: Path, logs: Logs
) -> None:
    each, rounds = 3334, 10
    book = Book.create(tmp_path / "book", 600_000)
    with ActorSystem(start_method=start_method) as system:
        target = system.spawn(Recycled(book), name="target", recycle=Recycle(messages=5000, jitter=0.5))
        senders = [system.spawn(Sender(), name=f"sender-{number}") for number in range(SENDERS)]
        asked: list[Any] = []
        for number in range(rounds):
            first = number * each
            sent = [
                s.ask(Sender.send, target, index, first, each, bytes(index * 20)) for index, s in enumerate(senders)
            ]
            # A round wears one incarnation out at least. How long its successor takes depends on the machine and the start method.
            while not all(reply.done() for reply in sent) or replaced(logs, target.path) < number:
                asked.append(target.ask(Recycled.count, SENDERS, len(asked)))
                assert asked[-1].result(timeout=SECONDS) == (len(asked) - 1, 0)
        target.ask(Recycled.which).result(timeout=SECONDS)
        assert target.statistics().late_replies == 0
        assert target.statistics().restarts == 0
        assert system.dead_letters() == {}

    lines = Book.read(book)
    check_lines(lines, {**dict.fromkeys(range(SENDERS), each * rounds), SENDERS: len(asked)})
    handled = Counter(line.incarnation for line in lines)
    print(f"{start_method}: {len(lines)} messages by {len(handled)} incarnations, {len(asked)} asks between them")
    assert len(handled) >= rounds - 1, handled
    # All but the last were replaced: not before their limit.
    assert all(count >= 5000 for incarnation, count in handled.items() if incarnation < max(handled)), handled
    assert {entry["reason"] for entry in events(logs, target.path, "actors.child_replaced")} == {"messages"}


def test_a_successor_is_ready_before_the_one_it_replaces_is_asked_to_leave(
    start_method: Any, tmp_path: Path, logs: Logs
) -> None:
    with ActorSystem(start_method=start_method) as system:
        target = system.spawn(Recycled(Book.create(tmp_path / "book", 100)), name="target")
        first = target.ask(Recycled.pid_of).result(timeout=SECONDS)
        replace(system, target, logs)
        second = target.ask(Recycled.pid_of).result(timeout=SECONDS)
        found = [
            (entry["event"].removeprefix("actors.child_"), entry["incarnation"]) for entry in events(logs, target.path)
        ]
        assert target.incarnation == 2
        assert target.statistics().restarts == 0

    assert first != second
    assert found == [("started", 1), ("replacing", 1), ("started", 2), ("exited", 1), ("replaced", 2)]
    (begun,) = events(logs, target.path, "actors.child_replacing")
    (over,) = events(logs, target.path, "actors.child_replaced")
    assert (begun["replacement"], begun["reason"]) == (2, "asked")
    assert (over["replaced"], over["reason"]) == (1, "asked")


def test_an_actor_is_replaced_by_age_again_and_again(system: ActorSystem, tmp_path: Path, logs: Logs) -> None:
    target = system.spawn(
        Recycled(Book.create(tmp_path / "book", 100)), name="target", recycle=Recycle(age=0.05, jitter=1.0)
    )
    eventually(lambda: replaced(logs, target.path) >= 3, SECONDS)

    assert target.ask(Recycled.which).result(timeout=SECONDS) >= 4
    assert {entry["reason"] for entry in events(logs, target.path, "actors.child_replaced")} == {"age"}


def test_of_one_supervisors_children_one_is_replaced_at_a_time(system: ActorSystem, tmp_path: Path, logs: Logs) -> None:
    books = [Book.create(tmp_path / f"book-{number}", 100) for number in range(4)]
    pool = [
        system.spawn(Recycled(book), name=f"member-{number}", recycle=Recycle(age=0.1, jitter=0.0))
        for number, book in enumerate(books)
    ]
    eventually(lambda: all(replaced(logs, ref.path) >= 2 for ref in pool), SECONDS)

    names = ("actors.child_replacing", "actors.child_replaced")
    told = [(entry["event"], entry["path"]) for entry in list(logs) if entry["event"] in names]
    for begun, over in zip(told[::2], told[1::2], strict=False):
        assert (begun[0], over[0]) == names
        assert begun[1] == over[1]


def test_asks_in_flight_of_the_host_and_of_actors_are_answered_once(
    start_method: Any, tmp_path: Path, logs: Logs
) -> None:
    with ActorSystem(start_method=start_method) as system:
        target = system.spawn(Recycled(Book.create(tmp_path / "book", 10_000)), name="target")
        askers = [system.spawn(Sender(), name=f"asker-{number}") for number in range(2)]
        for round_number in range(4):
            mine = [target.ask(Recycled.count, 0, number) for number in range(500)]
            theirs = [
                asker.ask(Sender.ask_one, target, "count", 1, number) for asker in askers for number in range(100)
            ]
            replace(system, target, logs)
            assert [reply.result(timeout=SECONDS)[0] for reply in mine] == list(range(500)), round_number
            assert [reply.result(timeout=SECONDS)[0] for reply in theirs] == [*range(100)] * 2, round_number
        assert target.statistics().late_replies == 0


def test_large_messages_and_answers_pass_through_a_replacement(system: ActorSystem, tmp_path: Path, logs: Logs) -> None:
    target = system.spawn(Recycled(Book.create(tmp_path / "book", 1000)), name="target")
    asker = system.spawn(Sender(), name="asker")
    echo = system.spawn(Asker(system.spawn(Echo(), name="friend")), name="echo")
    load = os.urandom(200_000)
    for _ in range(3):
        counted = [target.ask(Recycled.count, 0, number, load) for number in range(30)]
        asked = [asker.ask(Sender.ask_one, echo, "pass_on", load) for _ in range(10)]
        replace(system, target, logs)
        replace(system, echo, logs)
        assert [reply.result(timeout=SECONDS) for reply in counted] == [(number, len(load)) for number in range(30)]
        assert all(reply.result(timeout=SECONDS) == load for reply in asked)


# --- what goes on at that moment ----------------------------------------------------------------------------------------------


def test_a_stream_that_is_read_is_sent_to_its_end_by_the_old_one(
    system: ActorSystem, tmp_path: Path, logs: Logs
) -> None:
    target = system.spawn(Recycled(Book.create(tmp_path / "book", 100)), name="target")
    stream = target.stream(Recycled.items, 200)
    first = next(stream)
    system.supervisor("/system").replace("target")
    # It stands by, and the old one waits for credit in the middle of a message.
    eventually(lambda: len(events(logs, target.path, "actors.child_started")) == 2, SECONDS)
    queued = target.ask(Recycled.which)

    assert [first, *stream] == [(1, number) for number in range(200)]
    assert queued.result(timeout=SECONDS) == 2
    assert not events(logs, target.path, "actors.stop_escalated")


def test_a_stream_that_nobody_reads_holds_a_replacement_up_no_longer_than_shutdown_says(
    system: ActorSystem, tmp_path: Path, logs: Logs
) -> None:
    target = system.spawn(Recycled(Book.create(tmp_path / "book", 100)), name="target", shutdown=0.1, term_grace=0.1)
    stream = target.stream(Recycled.items, 200)
    next(stream)
    queued = target.ask(Recycled.which)
    replace(system, target, logs)

    assert queued.result(timeout=SECONDS) == 2
    with pytest.raises(ActorDied) as caught:
        list(stream)
    assert caught.value.may_have_run
    assert target.statistics().restarts == 0


def test_a_successor_asks_others_before_it_is_ready_while_the_old_one_asks_them_too(
    start_method: Any, logs: Logs
) -> None:
    with ActorSystem(start_method=start_method) as system:
        friend = system.spawn(Echo(), name="friend")
        asker = system.spawn(Asker(friend), name="asker")
        for number in range(1, 4):
            replies = [asker.ask(Asker.pass_on, (number, count)) for count in range(300)]
            replace(system, asker, logs)
            assert [reply.result(timeout=SECONDS) for reply in replies] == [(number, count) for count in range(300)]
            assert asker.ask(Asker.prepared).result(timeout=SECONDS) == (list(range(50)), 100_000)
        told = friend.ask(Echo.noted).result(timeout=SECONDS)

    assert len(set(told)) == 4


def test_a_successor_learns_that_whom_it_asks_has_died(system: ActorSystem, tmp_path: Path, logs: Logs) -> None:
    friend = system.spawn(Recycled(Book.create(tmp_path / "book", 100)), name="friend")
    mourner = system.spawn(Mourner(friend), name="mourner")
    replace(system, mourner, logs)

    assert mourner.ask(Mourner.mourned).result(timeout=SECONDS) == "ActorDied"
    assert friend.ask(Recycled.which).result(timeout=SECONDS) == 2


def test_who_watches_or_is_linked_to_one_that_is_replaced_hears_of_the_end_of_its_successor(
    start_method: Any, logs: Logs
) -> None:
    downs: queue.SimpleQueue[Down] = queue.SimpleQueue()
    with ActorSystem(start_method=start_method) as system:
        target = system.spawn(Watcher(), name="target")
        watcher = system.spawn(Watcher(), name="watcher")
        linked = system.spawn(Watcher(links=[target]), name="linked")
        watcher.ask(Watcher.follow, target).result(timeout=SECONDS)
        system.watch(target, downs.put)
        for _ in range(2):
            replace(system, target, logs)
        target.ask(Watcher.noted).result(timeout=SECONDS)
        assert watcher.ask(Watcher.noted).result(timeout=SECONDS) == []
        assert linked.incarnation == 1
        assert downs.empty()

        kill(system, target)
        assert downs.get(timeout=SECONDS).incarnation == 3
        eventually(lambda: watcher.ask(Watcher.noted).result(timeout=SECONDS) == [("/system/target", 3, "signal")])
        eventually(lambda: linked.incarnation == 2, SECONDS)
    assert downs.empty()


def test_whoever_waits_for_the_next_incarnation_is_not_misled_by_a_successor_that_failed(
    system: ActorSystem, tmp_path: Path, logs: Logs
) -> None:
    path = tmp_path / "word"
    frail = system.spawn(Frail(str(path)), name="frail", backoff=Backoff(initial=0.01, factor=1.0, maximum=0.1))
    watcher = system.spawn(Watcher(), name="watcher")
    watcher.ask(Watcher.follow, frail, by="on_down_again").result(timeout=SECONDS)
    path.write_text("fail")
    system.supervisor("/system").replace("frail")
    eventually(lambda: replacing(logs, frail.path) >= 3, SECONDS)
    assert watcher.ask(Watcher.noted).result(timeout=SECONDS) == []
    path.unlink()
    eventually(lambda: replaced(logs, frail.path) == 1, SECONDS)
    second = frail.incarnation
    for _ in range(2):
        before = frail.incarnation
        kill(system, frail)
        eventually(lambda before=before: frail.incarnation > before, SECONDS)  # type: ignore[misc]
        frail.ask(Frail.pid_of).result(timeout=SECONDS)

    expected = [("/system/frail", second + number, "signal") for number in range(2)]
    eventually(lambda: watcher.ask(Watcher.noted).result(timeout=SECONDS) == expected, SECONDS)


def test_timers_end_with_the_one_that_set_them(system: ActorSystem, tmp_path: Path, logs: Logs) -> None:
    path = tmp_path / "ticks"
    path.touch()
    ticker = system.spawn(Ticker(str(path)), name="ticker")
    first = ticker.ask(Echo.process).result(timeout=SECONDS)
    eventually(lambda: path.read_text().count("\n") > 2, SECONDS)
    replace(system, ticker, logs)
    second = ticker.ask(Echo.process).result(timeout=SECONDS)
    eventually(lambda: path.read_text().count(str(second)) > 2, SECONDS)

    pids = [int(line) for line in path.read_text().split()]
    assert pids == sorted(pids, key=[first, second].index)


def test_what_an_incarnation_spawned_ends_with_it(system: ActorSystem, logs: Logs) -> None:
    chief = system.spawn(Chief(), name="chief")
    first = chief.ask(Chief.helper_pid).result(timeout=SECONDS)
    replace(system, chief, logs)
    second = chief.ask(Chief.helper_pid).result(timeout=SECONDS)

    assert first != second
    eventually(lambda: {info.path for info in system.actors()} == {"/system/chief", "/system/echo-2"}, SECONDS)
    assert is_gone(first)


# --- successors that do not get there -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("word", "kind"), [("fail", "boot_failure"), ("hang", "boot_timeout"), ("stop", "normal")])
def test_the_old_one_goes_on_while_its_successor_does_not_get_ready(
    system: ActorSystem, tmp_path: Path, logs: Logs, word: str, kind: str
) -> None:
    path = tmp_path / "word"
    frail = system.spawn(Frail(str(path)), name="frail", start_timeout=3.0)
    first = frail.ask(Frail.pid_of).result(timeout=SECONDS)
    path.write_text(word)
    system.supervisor("/system").replace("frail")

    def failures() -> int:
        return sum(entry["kind"] == kind for entry in events(logs, frail.path, "actors.child_exited"))

    eventually(lambda: failures() >= 1, SECONDS, state=lambda: logs)
    if word != "stop":  # one that stops as soon as it is ready may find that the old one has left for it
        assert frail.ask(Frail.pid_of).result(timeout=SECONDS) == first
        assert frail.incarnation == 1
    path.unlink()
    eventually(lambda: frail.ask(Frail.pid_of).result(timeout=SECONDS) != first, SECONDS)


def replacing(logs: Logs, path: str) -> int:
    return len(events(logs, path, "actors.child_replacing"))


def begin_replacement(system: ActorSystem, ref: ActorRef[Any], logs: Logs) -> None:
    """Return when another successor of the actor is starting. While it is down it cannot be replaced."""
    before = replacing(logs, ref.path)
    parent, _, name = ref.path.rpartition("/")

    def has_begun() -> bool:
        with contextlib.suppress(SpecError):
            system.supervisor(parent).replace(name)
        return replacing(logs, ref.path) > before

    eventually(has_begun, SECONDS, state=lambda: logs[-10:])


def kill_one(system: ActorSystem, ref: ActorRef[Any], dice: random.Random, pause: threading.Event) -> None:
    """Kill the one that serves, or the one that stands by, at a random moment of the replacement."""
    host = system._life.host
    assert host is not None
    pause.wait(dice.random() * dice.choice((0.003, 0.01, 0.03)))
    cell = host.runner.cells[ref.uid]
    body = cell.standby if dice.random() < 0.5 else cell.body
    if body is not None and body.pid is not None and not body.dead:
        with contextlib.suppress(OSError):  # it has ended this very moment
            signal.pidfd_send_signal(body.pidfd, signal.SIGKILL)


@pytest.mark.timeout(240)
def test_kills_of_either_one_at_any_moment_lose_only_what_was_being_handled(
    start_method: Any, tmp_path: Path, logs: Logs
) -> None:
    dice = random.Random(11)
    book = Book.create(tmp_path / "book", 200_000)
    rounds, each, pause = 50, 60, threading.Event()
    with ActorSystem(Supervisor("app", max_restarts=99, period=1.0), start_method=start_method) as system:
        target = system.spawn(Recycled(book), name="target")
        asked = []
        for number in range(rounds):
            asked += [target.ask(Recycled.count, 0, number * each + index) for index in range(each)]
            begin_replacement(system, target, logs)
            kill_one(system, target, dice, pause)
        ends = endings(asked)

    lost = [index for index, ending in enumerate(ends) if ending != "answered"]
    print(
        f"{start_method}: {rounds} replacements and kills, {replaced(logs, target.path)} went through, {len(lost)} asks lost"
    )
    assert {ends[index] for index in lost} <= {"ActorDied!"}
    assert len(lost) <= rounds
    numbers = [line.number for line in Book.read(book)]
    assert len(numbers) == len(set(numbers))
    assert numbers == sorted(numbers)
    # What was being handled may have been written down before its process died, or not.
    assert set(range(rounds * each)) - set(lost) <= set(numbers)


# --- the end ----------------------------------------------------------------------------------------------------------------


def in_the_middle(
    system: ActorSystem, tmp_path: Path, logs: Logs
) -> tuple[ActorRef[Recycled], Path, list[Reply[tuple[int, int]]]]:
    """An actor whose successor stands by, while it handles a message that ends when the file is there; and asks that are queued."""
    gate = tmp_path / "gate"
    target = system.spawn(Recycled(Book.create(tmp_path / "book", 1000)), name="target")
    target.tell(Recycled.wait_for, str(gate))
    asked = [target.ask(Recycled.count, 0, number) for number in range(100)]
    system.supervisor("/system").replace("target")
    eventually(lambda: len(events(logs, target.path, "actors.child_started")) == 2, SECONDS)
    return target, gate, asked


def test_a_system_that_is_left_in_the_middle_of_a_replacement_handles_what_is_queued(
    start_method: Any, tmp_path: Path, logs: Logs
) -> None:
    with ActorSystem(start_method=start_method) as system:
        target, gate, asked = in_the_middle(system, tmp_path, logs)
        host = system._life.host
        assert host is not None

        def open_late() -> None:
            eventually(lambda: host.runner._drains, SECONDS)
            gate.touch()

        opener = threading.Thread(target=open_late)
        opener.start()
    opener.join()

    assert [reply.result(timeout=SECONDS) for reply in asked] == [(number, 0) for number in range(100)]
    assert [line.incarnation for line in Book.read(str(tmp_path / "book"))] == [2] * 100
    assert replaced(logs, target.path) == 1


def test_an_actor_that_is_stopped_in_the_middle_of_a_replacement_handles_what_is_queued_if_told_so(
    system: ActorSystem, tmp_path: Path, logs: Logs
) -> None:
    target, gate, asked = in_the_middle(system, tmp_path, logs)
    target.stop(drain=True)
    gate.touch()

    assert [reply.result(timeout=SECONDS) for reply in asked] == [(number, 0) for number in range(100)]
    eventually(lambda: not target.is_alive(), SECONDS)


def test_a_stop_at_once_in_the_middle_of_a_replacement_ends_every_ask_that_is_queued(
    start_method: Any, tmp_path: Path, logs: Logs
) -> None:
    with ActorSystem(start_method=start_method) as system:
        _target, gate, asked = in_the_middle(system, tmp_path, logs)
        system.request_stop()
        gate.touch()

    # The one that takes over may have begun before it was stopped itself; none is lost without a word.
    assert set(endings(asked)) <= {"ActorDied", "answered"}
    assert len(Book.read(str(tmp_path / "book"))) == endings(asked).count("answered")


@pytest.mark.timeout(180)
def test_leaving_at_any_moment_of_many_replacements_loses_nothing(start_method: Any, tmp_path: Path) -> None:
    dice = random.Random(5)
    for number in range(15):
        count = dice.randrange(100, 600)
        book = Book.create(tmp_path / f"book-{number}", count)
        with ActorSystem(start_method=start_method) as system:
            target = system.spawn(Recycled(book), recycle=Recycle(messages=dice.randrange(1, 60)))
            for index in range(count):
                target.tell(Recycled.put, 0, index)
                if index % 50 == 0:
                    target.ask(Recycled.which).result(timeout=SECONDS)
        check_lines(Book.read(book), {0: count})


@pytest.mark.parametrize("wish", ["serve", "drain"])
def test_a_successor_that_was_still_starting_when_the_old_one_died_gets_what_is_queued(
    system: ActorSystem, tmp_path: Path, logs: Logs, wish: str
) -> None:
    gate = tmp_path / "gate"
    target = system.spawn(Slow(Book.create(tmp_path / "book", 1000), str(gate)), name="target")
    system.supervisor("/system").replace("target")
    eventually(lambda: replacing(logs, target.path) == 1, SECONDS)
    with pytest.raises(ActorDied):
        target.ask(Recycled.kill_yourself).result(timeout=SECONDS)
    asked = [target.ask(Recycled.count, 0, number) for number in range(100)]
    assert target.statistics().state == "starting"
    if wish == "drain":
        target.stop(drain=True)
    gate.touch()

    assert [reply.result(timeout=SECONDS) for reply in asked] == [(number, 0) for number in range(100)]
    assert [line.incarnation for line in Book.read(str(tmp_path / "book"))] == [2] * 100


def held_when_quiet(system: ActorSystem) -> tuple[int, int]:
    """Descriptors and threads of this process, once no arena is left of those that were replaced."""
    host = system._life.host
    assert host is not None
    eventually(lambda: not any(entry.trail is not None for entry in list(host.arenas._entries.values())), SECONDS)
    return len(open_descriptors()), threading.active_count()


@pytest.mark.timeout(180)
def test_replacements_leave_nothing_in_the_host(start_method: Any, logs: Logs) -> None:
    with ActorSystem(start_method=start_method) as system:
        asker = system.spawn(Asker(system.spawn(Echo(), name="friend")), name="asker", recycle=Recycle(age=3600.0))
        for _ in range(8):
            replace(system, asker, logs)
        before = held_when_quiet(system)
        memory = resident_kib()
        for _ in range(20):
            replace(system, asker, logs)
        assert held_when_quiet(system) == before
        eventually(lambda: resident_kib() <= memory * 1.05, 5.0, state=lambda: (memory, resident_kib()))
        assert asker.incarnation == 29
        assert asker.statistics().restarts == 0


def test_what_cannot_be_replaced_is_said(system: ActorSystem, tmp_path: Path) -> None:
    system.spawn(Frail(str(tmp_path / "word")), name="frail", restart="transient")
    supervisor = system.supervisor("/system")
    with pytest.raises(SpecError, match="/system has no child 'nobody'"):
        supervisor.replace("nobody")
    frail = system.whereis("frail")
    frail.stop()
    with pytest.raises(SpecError, match="frail"):
        supervisor.replace("frail")
