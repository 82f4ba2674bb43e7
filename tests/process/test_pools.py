"""Pools of actors over real processes: one ref, many workers; what holds when they die, and while there are more or fewer of them."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from actors import (
    ActorDied,
    ActorNotRunningError,
    ActorRef,
    ActorSystem,
    Autoscale,
    Backoff,
    MailboxFullError,
    PoolRef,
    Recycle,
    SpecError,
    StartError,
    Supervisor,
    pool,
)
from actors._system import StartMethod
from actors.supervisor import _pool_leaving
from tests.helpers import eventually, kill
from tests.pool_workers import Keyed, Line, PoolSender, read_lines

SECONDS = 30.0
AT_ONCE = Backoff(initial=0.001, maximum=0.001, jitter=0.0)
PATIENT: dict[str, Any] = {"max_restarts": 50, "period": 1.0, "backoff": AT_ONCE}

Logs = list[MutableMapping[str, Any]]


@pytest.fixture
def logs() -> Iterator[Logs]:
    with capture_logs() as found:
        yield found


def counts(ref: PoolRef[Keyed]) -> list[int]:
    return [reply.result(timeout=SECONDS) for reply in ref.scatter(Keyed.count)]


def names(ref: PoolRef[Any]) -> list[str]:
    return [member.path.rpartition("/")[2] for member in ref.members]


def check_order(lines: list[Line], *, lost: int = 0) -> None:
    """Of each sender and key: every number once, in order; but for *lost* ones that died with their worker."""
    missing = 0
    for _whose, found in itertools.groupby(
        sorted(lines, key=lambda line: (line.sender, line.key)), lambda line: (line.sender, line.key)
    ):
        numbers = [line.number for line in found]  # sorted() is stable: in the order of the book
        assert numbers == sorted(set(numbers)), numbers
        missing += numbers[-1] + 1 - len(numbers)
    assert missing <= lost


# --- how a worker is found --------------------------------------------------------------------------------------------------


def test_round_robin_takes_the_workers_in_turn(system: ActorSystem) -> None:
    ref = system.spawn_pool(pool(Keyed(), 3))

    for number in range(30):
        ref.tell(Keyed.note, 0, "k", number)

    assert counts(ref) == [10, 10, 10]
    assert Counter(ref.ask(Keyed.who).result(timeout=SECONDS) for _ in range(9)) == {"1": 3, "2": 3, "3": 3}


def test_an_actor_takes_the_workers_in_turn_too(system: ActorSystem) -> None:
    ref = system.spawn_pool(pool(Keyed(), 3))
    sender = system.spawn(PoolSender())

    found = sender.ask(PoolSender.ask_some, ref, 9).result(timeout=SECONDS)
    sender.ask(PoolSender.send, ref, 1, ["k"], 30).result(timeout=SECONDS)

    assert Counter(found) == {"1": 3, "2": 3, "3": 3}
    assert counts(ref) == [10, 10, 10]


def test_the_least_busy_worker_is_the_one_that_is_not_held_up(system: ActorSystem, tmp_path: Path) -> None:
    ref = system.spawn_pool(pool(Keyed(), 3, routing="least_busy"))
    held = [ref.ask(Keyed.hold, str(tmp_path / "go")) for _ in range(2)]

    free = [ref.ask(Keyed.who).result(timeout=SECONDS) for _ in range(12)]
    (tmp_path / "go").touch()

    busy = {reply.result(timeout=SECONDS) for reply in held}
    assert len(busy) == 2
    assert set(free) == {"1", "2", "3"} - busy


def test_what_was_told_counts_as_busy_until_it_is_handled(system: ActorSystem, tmp_path: Path) -> None:
    ref = system.spawn_pool(pool(Keyed(), 2, routing="least_busy"))
    ref.tell(Keyed.hold, str(tmp_path / "go"))
    eventually((tmp_path / "go.held").exists, SECONDS)
    (free,) = [member for member in ref.members if not member.path.endswith((tmp_path / "go.held").read_text())]

    for number in range(50):
        ref.tell(Keyed.note, 0, "k", number)
        # Behind the message itself and the one that asks for its end.
        assert free.ask(Keyed.count).result(timeout=SECONDS) == number + 1
    (tmp_path / "go").touch()

    assert sum(counts(ref)) == 50


def test_a_key_has_one_worker_whoever_sends_and_however_it_is_said(system: ActorSystem) -> None:
    ref = system.spawn_pool(pool(Keyed(), 4, routing="key_hash", key="key"))
    sender = system.spawn(PoolSender())
    keys = [f"key-{number}" for number in range(40)]

    sender.ask(PoolSender.send, ref, 1, keys, 2).result(timeout=SECONDS)
    for key in keys:
        ref.tell(Keyed.note, 0, key, 0)
        ref.tell(Keyed.note, 0, number=1, key=key)
        ref.options(key=key).tell(Keyed.note, 0, "another", 0)
        ref.tell("note", 0, number=1, key=key)
    found = {key: {ref.options(key=key).ask(Keyed.who).result(timeout=SECONDS) for _ in range(3)} for key in keys}

    assert sum(counts(ref)) == 6 * 40
    assert all(len(whose) == 1 for whose in found.values())
    spread = Counter(next(iter(whose)) for whose in found.values())
    assert len(spread) == 4
    assert counts(ref) == [6 * spread[name] for name in "1234"]


def test_everybody_gets_what_is_broadcast_and_answers_what_is_scattered(system: ActorSystem) -> None:
    ref = system.spawn_pool(pool(Keyed(), 3))
    sender = system.spawn(PoolSender())

    ref.broadcast(Keyed.note, 0, "k", 0)

    assert counts(ref) == [1, 1, 1]
    assert [reply.result(timeout=SECONDS) for reply in ref.scatter(Keyed.who)] == ["1", "2", "3"]
    assert sender.ask(PoolSender.ask_all, ref).result(timeout=SECONDS) == ["1", "2", "3"]


def test_a_stream_comes_from_one_worker(system: ActorSystem) -> None:
    ref = system.spawn_pool(pool(Keyed(), 3))

    assert len(set(ref.stream(Keyed.names, 50))) == 1
    assert len({next(iter(ref.stream(Keyed.names, 1))) for _ in range(3)}) == 3


def test_a_message_without_a_key_is_refused_where_it_is_sent(system: ActorSystem) -> None:
    keyed = system.spawn_pool(pool(Keyed(), 2, routing="key_hash", name="keyed"))
    named = system.spawn_pool(pool(Keyed(), 2, routing="key_hash", key="key", name="named"))
    plain = system.spawn_pool(pool(Keyed(), 2, name="plain"))

    with pytest.raises(SpecError, match="options\\(key=...\\)"):
        keyed.tell(Keyed.who)
    with pytest.raises(SpecError, match="has no parameter 'key'"):
        named.ask(Keyed.who)
    with pytest.raises(SpecError, match="name the handler by its class"):
        named.tell("note", 0, "k", 1)
    with pytest.raises(SpecError, match="not by key"):
        plain.options(key="k").tell(Keyed.who)
    with pytest.raises(SpecError, match="not hashed alike"):
        keyed.options(key=frozenset("ab")).tell(Keyed.who)


# --- where pools stand ------------------------------------------------------------------------------------------------------


@pytest.mark.conformance
def test_a_pool_of_the_tree_is_found_by_its_path(start_method: StartMethod) -> None:
    tree = Supervisor("app", children=[Supervisor("inner", children=[pool(Keyed(), 2)]), PoolSender()])
    with ActorSystem(tree, start_method=start_method) as system:
        ref = system.find_pool("inner/keyeds")
        sender = system.whereis("poolsender")

        assert ref == system.find_pool("/app/inner/keyeds")
        assert sorted(sender.ask(PoolSender.ask_some, ref, 4).result(timeout=SECONDS)) == ["1", "1", "2", "2"]
        assert sender.ask(PoolSender.resize, ref, 3).result(timeout=SECONDS) == 3
        assert ref.size == 3
        with pytest.raises(ActorNotRunningError, match="there are: /app/inner/keyeds"):
            system.find_pool("others")


def test_a_pool_can_be_the_whole_tree() -> None:
    with ActorSystem(pool(Keyed(), 2, name="app")) as system:
        ref = system.find_pool("/app")
        ref.resize(3)

        assert names(ref) == ["1", "2", "3"]


def test_a_pool_that_cannot_start_is_not_there(system: ActorSystem) -> None:
    with pytest.raises(StartError, match="did not start"):
        system.spawn_pool(pool(Keyed("/no/such/folder/book"), 2))

    with pytest.raises(ActorNotRunningError):
        system.find_pool("keyeds")
    assert system.actors() == ()
    assert system.spawn_pool(pool(Keyed(), 2)).size == 2


def test_a_name_that_is_taken_is_refused(system: ActorSystem) -> None:
    system.spawn_pool(pool(Keyed(), 1))

    with pytest.raises(SpecError, match="has a child named 'keyeds' already"):
        system.spawn_pool(pool(Keyed(), 1))
    with pytest.raises(SpecError, match=r"takes a pool\(...\)"):
        system.spawn_pool(Keyed())  # type: ignore[arg-type]


@pytest.mark.parametrize("drain", [False, True])
def test_a_pool_that_was_stopped_says_so_to_everybody(system: ActorSystem, drain: bool) -> None:
    ref = system.spawn_pool(pool(Keyed(), 2))
    sender = system.spawn(PoolSender())
    sender.ask(PoolSender.ask_some, ref, 1).result(timeout=SECONDS)
    told = sender.ask(PoolSender.try_tell, ref)

    ref.stop(drain=drain)

    assert "was stopped" in told.result(timeout=SECONDS)
    eventually(lambda: not ref.is_alive(), SECONDS)
    for send in (ref.tell, ref.ask, ref.broadcast, ref.scatter):
        with pytest.raises(ActorNotRunningError, match="was stopped"):
            send(Keyed.who)
    with pytest.raises(ActorNotRunningError):
        ref.resize(3)
    eventually(lambda: [info.path for info in system.actors()] == [sender.path], SECONDS)


def test_an_actor_stops_a_pool(system: ActorSystem) -> None:
    ref = system.spawn_pool(pool(Keyed(), 2))

    system.spawn(PoolSender()).tell(PoolSender.stop_pool, ref)

    eventually(lambda: not ref.is_alive(), SECONDS)


def test_what_was_queued_is_handled_when_a_pool_drains(system: ActorSystem, tmp_path: Path) -> None:
    ref = system.spawn_pool(pool(Keyed(str(tmp_path / "book")), 2, shutdown=SECONDS))
    ref.broadcast(Keyed.hold, str(tmp_path / "go"))
    for number in range(100):
        ref.tell(Keyed.note, 0, "k", number)
    ref.flush()

    ref.stop(drain=True)
    (tmp_path / "go").touch()

    eventually(lambda: len(read_lines(tmp_path / "book")) == 100, SECONDS)


# --- deaths -----------------------------------------------------------------------------------------------------------------


def test_what_was_queued_for_a_worker_that_is_killed_is_handled_by_its_next_incarnation(
    system: ActorSystem, tmp_path: Path
) -> None:
    ref = system.spawn_pool(pool(Keyed(str(tmp_path / "book")), 2, **PATIENT))
    ref.broadcast(Keyed.hold, str(tmp_path / "go"))
    for number in range(100):
        ref.tell(Keyed.note, 0, str(number % 2), number // 2)
    ref.flush()

    eventually(lambda: all(info.state == "handling" for info in system.actors()), SECONDS)
    kill(system, ref.members[0])
    (tmp_path / "go").touch()

    eventually(lambda: len(read_lines(tmp_path / "book")) == 100, SECONDS)
    check_order(read_lines(tmp_path / "book"))
    assert {(line.worker, line.incarnation) for line in read_lines(tmp_path / "book")} == {("1", 2), ("2", 1)}


def test_a_worker_that_is_parked_leaves_its_work_to_the_others_until_it_is_back(system: ActorSystem) -> None:
    ref = system.spawn_pool(pool(Keyed(), 3, max_same_crashes=1, **PATIENT))
    sender = system.spawn(PoolSender())
    sender.ask(PoolSender.ask_some, ref, 1).result(timeout=SECONDS)

    ref.members[1].tell(Keyed.die)
    eventually(lambda: names(ref) == ["1", "3"], SECONDS)
    found = {ref.ask(Keyed.who).result(timeout=SECONDS) for _ in range(6)}
    eventually(lambda: set(sender.ask(PoolSender.ask_some, ref, 6).result(timeout=SECONDS)) == {"1", "3"}, SECONDS)
    system.supervisor("/system/keyeds").restart("2")
    eventually(lambda: names(ref) == ["1", "2", "3"], SECONDS)

    assert found == {"1", "3"}
    assert {ref.ask(Keyed.who).result(timeout=SECONDS) for _ in range(6)} == {"1", "2", "3"}


@pytest.mark.parametrize("load", [0, 50_000])
def test_what_was_queued_for_a_worker_that_is_given_up_is_handled_by_the_others(
    system: ActorSystem, tmp_path: Path, load: int
) -> None:
    book = tmp_path / "book"
    spec = pool(Keyed(str(book)), 3, given_up="reroute", max_same_crashes=1, **PATIENT)
    ref = system.spawn_pool(spec)
    lost = ref.members[2]
    lost.tell(Keyed.hold, str(tmp_path / "go"))
    eventually((tmp_path / "go.held").exists, SECONDS)
    lost.tell(Keyed.die)
    asked = lost.ask(Keyed.who)
    for number in range(200):
        lost.tell(Keyed.note, 0, str(number), 0, "x" * load if number % 50 == 0 else "")
    lost.flush()

    (tmp_path / "go").touch()

    eventually(
        lambda: len(read_lines(book)) == 200, SECONDS, state=lambda: (len(read_lines(book)), system.dead_letters())
    )
    assert Counter(line.worker for line in read_lines(book)) == {"1": 100, "2": 100}
    with pytest.raises(ActorDied) as died:
        asked.result(timeout=SECONDS)
    assert not died.value.may_have_run
    assert {key: value for key, value in system.dead_letters().items() if value} == {"crashed": 1}


def test_a_pool_whose_supervisor_starts_anew_gets_the_size_back_that_it_had() -> None:
    tree = Supervisor("app", children=[pool(Keyed(), 2, max_restarts=0, period=1.0)], max_restarts=20, period=1.0)
    with ActorSystem(tree) as system:
        ref = system.find_pool("keyeds")
        ref.resize(4)
        pids = {reply.result(timeout=SECONDS) for reply in ref.scatter(Keyed.pid_of)}

        kill(system, ref.members[0])

        def all_new() -> bool:
            infos = system.actors()
            return len(infos) == 4 and not pids & {info.pid for info in infos} and ref.size == 4

        eventually(all_new, SECONDS, state=lambda: (system.actors(), ref.members))
        assert sorted(reply.result(timeout=SECONDS) for reply in ref.scatter(Keyed.who)) == ["1", "2", "3", "4"]


# --- more and fewer ---------------------------------------------------------------------------------------------------------


def test_a_pool_grows_and_shrinks_from_the_host_and_from_an_actor(system: ActorSystem, logs: Logs) -> None:
    ref = system.spawn_pool(pool(Keyed(), 2))
    sender = system.spawn(PoolSender())

    ref.resize(4)
    assert names(ref) == ["1", "2", "3", "4"]
    assert sorted(sender.ask(PoolSender.ask_all, ref).result(timeout=SECONDS)) == ["1", "2", "3", "4"]
    assert sender.ask(PoolSender.resize, ref, 1).result(timeout=SECONDS) == 1
    assert names(ref) == ["1"]
    eventually(lambda: len(system.actors()) == 2, SECONDS)
    ref.resize(2)

    assert names(ref) == ["1", "2"]
    eventually(lambda: len(sizes(logs)) == 3, SECONDS)
    assert sizes(logs) == [(2, 4), (4, 1), (1, 2)]


def test_a_pool_that_is_parked_says_so_and_what_is_restarted_of_it_works(system: ActorSystem) -> None:
    ref = system.spawn_pool(pool(Keyed(), 2, max_restarts=0, on_exhausted="park"))
    kill(system, ref.members[0])
    eventually(lambda: ref.size == 0, SECONDS)

    with pytest.raises(ActorNotRunningError, match="parked"):
        ref.resize(3)
    with pytest.raises(ActorNotRunningError, match="parked"):
        ref.tell(Keyed.who)
    with pytest.raises(ActorNotRunningError, match="parked"):
        ref.scatter(Keyed.who)
    system.supervisor(ref.path).restart("1")
    eventually(lambda: ref.size == 1, SECONDS)
    assert [ref.ask(Keyed.who).result(timeout=SECONDS) for _ in range(2)] == ["1", "1"]
    with pytest.raises(ActorNotRunningError, match="parked"):
        ref.resize(1)


def test_a_resize_to_the_size_that_it_has_changes_nothing(system: ActorSystem, logs: Logs) -> None:
    ref = system.spawn_pool(pool(Keyed(), 1))
    before = ref.members
    ref.resize(1)

    assert ref.members == before
    assert sizes(logs) == []


def test_an_ask_of_each_ends_when_one_of_them_dies_of_it(system: ActorSystem, tmp_path: Path) -> None:
    ref = system.spawn_pool(pool(Keyed(), 3, **PATIENT))
    gate = str(tmp_path / "gate")
    ref.members[1].tell(Keyed.hold, gate)
    eventually((tmp_path / "gate.held").exists)
    replies = ref.scatter(Keyed.pid_of)
    kill(system, ref.members[1])
    (tmp_path / "gate").touch()
    found = [reply.exception(timeout=SECONDS) for reply in replies]

    assert found[0] is found[2] is None
    assert found[1] is None or isinstance(found[1], ActorDied)
    assert len(ref.scatter(Keyed.who)) == 3


def test_a_size_that_cannot_be_is_refused(system: ActorSystem) -> None:
    ref = system.spawn_pool(pool(Keyed(), 2))
    bound = system.spawn_pool(pool(Keyed(), 2, name="bound", autoscale=Autoscale(minimum=2, maximum=3)))

    for size in (0, 257, 1.0):
        with pytest.raises(SpecError, match="size="):
            ref.resize(size)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="maximum=3"):
        bound.resize(4)


def test_a_worker_that_does_not_start_leaves_the_pool_as_it_was(system: ActorSystem, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    ref = system.spawn_pool(pool(Keyed(str(tmp_path / "sub" / "book")), 2))
    for path in (tmp_path / "sub").iterdir():
        path.unlink()
    (tmp_path / "sub").rmdir()

    with pytest.raises(StartError, match="No such file"):
        ref.resize(4)

    assert names(ref) == ["1", "2"]
    assert ref.ask(Keyed.who).result(timeout=SECONDS) in {"1", "2"}


def test_a_worker_that_leaves_handles_what_is_queued_for_it_first(system: ActorSystem, tmp_path: Path) -> None:
    book = tmp_path / "book"
    ref = system.spawn_pool(pool(Keyed(str(book)), 3, shutdown=0.5, **PATIENT))
    ref.broadcast(Keyed.hold, str(tmp_path / "go"))
    for number in range(300):
        ref.tell(Keyed.note, 0, str(number % 3), number // 3)

    eventually(lambda: all(info.state == "handling" for info in system.actors()), SECONDS)
    ref.resize(1)
    kill(system, next(info for info in map(member_ref, system.actors()) if info.path.endswith("/3")))
    for number in range(100, 200):
        ref.tell(Keyed.note, 0, "0", number)
    (tmp_path / "go").touch()

    eventually(lambda: len(read_lines(book)) == 400, SECONDS, state=lambda: len(read_lines(book)))
    eventually(lambda: len(system.actors()) == 1, SECONDS)
    assert {key: value for key, value in system.dead_letters().items() if value} == {"crashed": 1}


def member_ref(info: Any) -> ActorRef[Any]:
    return ActorRef("", info.uid, info.path)


def test_a_worker_that_was_stopped_by_hand_stays_away(system: ActorSystem) -> None:
    ref = system.spawn_pool(pool(Keyed(), 3, **PATIENT))

    ref.members[1].stop()
    eventually(lambda: names(ref) == ["1", "3"], SECONDS)
    kill(system, ref.members[0])
    found = Counter(ref.ask(Keyed.who).result(timeout=SECONDS) for _ in range(6))
    ref.resize(3)

    assert found == {"1": 3, "3": 3}
    assert sorted(names(ref)) == ["1", "2", "3"]


def test_a_sender_that_says_nothing_does_not_keep_a_worker_from_leaving(
    system: ActorSystem, logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_pool_leaving, "GOODBYE_SECONDS", 0.2)
    ref = system.spawn_pool(pool(Keyed(), 2))
    sender = system.spawn(PoolSender())
    sender.ask(PoolSender.ask_some, ref, 1).result(timeout=SECONDS)
    (pid,) = [info.pid for info in system.actors() if info.uid == sender.uid]
    assert pid is not None

    os.kill(pid, signal.SIGSTOP)
    try:
        # One of its threads may go on until another one has taken the signal.
        eventually(lambda: b") T" in Path(f"/proc/{pid}/stat").read_bytes(), what="it is stopped")
        ref.resize(1)
        eventually(lambda: len(system.actors()) == 2, SECONDS)
    finally:
        os.kill(pid, signal.SIGCONT)

    eventually(lambda: [each["holders"] for each in logs if each["event"] == "actors.pool_goodbye_missing"])
    assert [each["holders"] for each in logs if each["event"] == "actors.pool_goodbye_missing"] == [[sender.path]]
    assert sender.ask(PoolSender.ask_some, ref, 2).result(timeout=SECONDS) == ["1", "1"]


def test_a_worker_that_asks_its_own_pool_is_answered_by_another_one(system: ActorSystem) -> None:
    ref = system.spawn_pool(pool(PoolSender(), 2))

    for _ in range(4):
        found = ref.ask(PoolSender.ask_own, ref).result(timeout=SECONDS)
        assert found[0] != found[1]


def test_a_key_that_moves_waits_for_what_was_sent_before(system: ActorSystem, tmp_path: Path) -> None:
    ref = system.spawn_pool(pool(Keyed(), 1, routing="key_hash", key="key"))
    keys = [f"key-{number}" for number in range(40)]
    ref.options(key="any").tell(Keyed.hold, str(tmp_path / "go"))
    for key in keys:
        ref.tell(Keyed.note, 0, key, 0)
    ref.resize(2)

    hasty, dropping = ref.options(on_full="reject"), ref.options(on_full="drop_newest")
    refused = [key for key in keys if is_refused(hasty, key)]
    patient = ref.options(send_timeout=0.01)
    with pytest.raises(MailboxFullError, match="another worker has not handled yet"):
        patient.tell(Keyed.note, 0, refused[0], 1)
    dropping.tell(Keyed.note, 0, refused[0], 1)
    (tmp_path / "go").touch()
    for key in refused:
        ref.tell(Keyed.note, 0, key, 1)

    assert 5 <= len(refused) <= 35
    assert system.dead_letters().get("overflow") == 1
    assert counts(ref) == [40 + 40 - len(refused), len(refused)]


def is_refused(ref: PoolRef[Any], key: str) -> bool:
    try:
        ref.tell(Keyed.note, 0, key, 1)
    except MailboxFullError:
        return True
    return False


def run_keyed_storm(system: ActorSystem, book: Path, *, rounds: int, keys: int, kills: int) -> int:
    """
    Send with keys from the host's threads and from two actors while workers are killed and the pool grows and shrinks.

    Returns:
        How many messages there were.
    """
    chance = random.Random(7)
    ref = system.spawn_pool(pool(Keyed(str(book)), 4, routing="key_hash", key="key", send_timeout=SECONDS, **PATIENT))
    senders = [system.spawn(PoolSender(), name=f"sender-{number}") for number in range(2)]
    all_keys = [f"k{number}" for number in range(keys)]
    sent: list[int] = []
    failed: list[BaseException] = []
    progress = [0, 0]

    def send(sender: int) -> None:
        try:
            for number in range(rounds):
                progress[sender] = number
                for key in all_keys:
                    ref.tell(Keyed.note, sender, key, number)
            sent.append(rounds * keys)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=send, args=(sender,)) for sender in range(2)]
    replies = [sender.ask(PoolSender.send, ref, 2 + number, all_keys, rounds) for number, sender in enumerate(senders)]
    for thread in threads:
        thread.start()
    for number in range(kills):
        due = number * rounds // kills
        eventually(lambda due=due: failed or min(progress) >= due, SECONDS * 4, state=lambda: progress)  # type: ignore[misc]
        with contextlib.suppress(ProcessLookupError):  # dead already, by an earlier one
            kill(system, chance.choice(ref.members))
        ref.resize(chance.randint(1, 6))
    for thread in threads:
        thread.join(SECONDS * 10)
    total = sum(sent) + sum(reply.result(timeout=SECONDS * 10) for reply in replies)
    assert failed == []
    return total


def check_storm(system: ActorSystem, book: Path, total: int, kills: int) -> None:
    def is_over() -> bool:
        return len(read_lines(book)) + system.dead_letters().get("crashed", 0) >= total

    eventually(is_over, SECONDS * 4, state=lambda: (len(read_lines(book)), total, system.dead_letters()))
    check_order(read_lines(book), lost=kills)
    assert {key for key, value in system.dead_letters().items() if value} <= {"crashed"}


def test_keys_keep_their_order_over_kills_and_resizes(system: ActorSystem, tmp_path: Path) -> None:
    total = run_keyed_storm(system, tmp_path / "book", rounds=50, keys=50, kills=6)

    assert total == 10_000
    check_storm(system, tmp_path / "book", total, 6)


@pytest.mark.soak
def test_a_hundred_thousand_keyed_messages_keep_their_order(system: ActorSystem, tmp_path: Path) -> None:
    total = run_keyed_storm(system, tmp_path / "book", rounds=250, keys=100, kills=40)

    assert total == 100_000
    check_storm(system, tmp_path / "book", total, 40)


# --- by itself --------------------------------------------------------------------------------------------------------------


def sizes(logs: Logs) -> list[tuple[int, int]]:
    return [(entry["before"], entry["size"]) for entry in logs if entry["event"] == "actors.pool_resized"]


def test_a_pool_grows_under_load_and_shrinks_when_it_is_over(system: ActorSystem, logs: Logs, tmp_path: Path) -> None:
    scale = Autoscale(minimum=1, maximum=3, grow_above=5, for_seconds=0.05, shrink_after=0.2, cooldown=0.1)
    ref = system.spawn_pool(pool(Keyed(), 1, autoscale=scale))
    ref.tell(Keyed.hold, str(tmp_path / "go"))
    for number in range(100):
        ref.tell(Keyed.note, 0, "k", number)

    eventually(lambda: ref.size == 3, SECONDS, state=lambda: sizes(logs))
    (tmp_path / "go").touch()
    eventually(lambda: ref.size == 1, SECONDS, state=lambda: sizes(logs))
    eventually(lambda: len(system.actors()) == 1, SECONDS)

    # Up by one and down by one, and never back in between.
    assert sizes(logs) == [(1, 2), (2, 3), (3, 2), (2, 1)]
    reasons = [entry["reason"] for entry in logs if entry["event"] == "actors.pool_resized"]
    assert "messages queued for 1 workers" in reasons[0]
    assert "of 3 workers were needed" in reasons[2]
    assert not {key: value for key, value in system.dead_letters().items() if value}


def test_a_pool_never_changes_twice_within_its_cooldown_whatever_comes(system: ActorSystem, logs: Logs) -> None:
    start = time.monotonic()
    scale = Autoscale(minimum=1, maximum=4, grow_above=1, for_seconds=0.0, shrink_after=0.02, cooldown=0.3)
    ref = system.spawn_pool(pool(Keyed(), 1, autoscale=scale))
    began = threading.Event()
    for _ in range(12):  # bursts and silence
        replies = [ref.ask(Keyed.spend, 0.01) for _ in range(20)]
        for reply in replies:
            reply.result(timeout=SECONDS)
        began.wait(0.05)

    eventually(lambda: sizes(logs), SECONDS)
    # Not by the times in the events: each is taken a little after its decision.
    assert 1 <= len(sizes(logs)) <= (time.monotonic() - start) / 0.3 + 1
    assert 1 <= ref.size <= 4


def test_at_most_one_worker_is_replaced_at_a_time(system: ActorSystem, logs: Logs) -> None:
    ref = system.spawn_pool(pool(Keyed(), 3, recycle=Recycle(messages=50, jitter=0.0)))

    for number in range(600):
        ref.tell(Keyed.note, 0, "k", number)
    eventually(lambda: sum(entry["event"] == "actors.child_replaced" for entry in logs) >= 3, SECONDS)

    open_now = 0
    for entry in list(logs):
        open_now += (entry["event"] == "actors.child_replacing") - (entry["event"] == "actors.child_replaced")
        assert open_now <= 1
    assert {ref.ask(Keyed.who).result(timeout=SECONDS) for _ in range(6)} == {"1", "2", "3"}
