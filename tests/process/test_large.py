"""Messages that fit no frame: whole at every size, from many at once, through the death of either side, and no memory kept."""

from __future__ import annotations

import concurrent.futures
import math
import os
import signal
import time
from typing import Any

import pytest

from actors import ActorRef, ActorSystem, EncodeError, HandlerError, MailboxFullError
from tests.helpers import eventually
from tests.messengers import Echo, Sender

KIB, MIB = 1024, 1024 * 1024

EDGES = [size for edge in (4 * KIB, 8 * KIB, 64 * KIB, MIB) for size in range(edge - 40, edge + 2)]


def arenas(system: ActorSystem) -> int:
    host = system._life.host
    assert host is not None
    return len(host.arenas)


def slots_in_use(system: ActorSystem) -> int:
    """How many messages lie in the arenas of all actors and the host."""
    host = system._life.host
    assert host is not None
    return sum(host.arenas.reader(number).in_use() for number in list(host.arenas._entries))


def wait_until_busy(actor: ActorRef[Any]) -> None:
    def waits() -> bool:
        # A message that has just been answered may be in its last step.
        now = actor.statistics()
        return (now.state, now.handler) == ("handling", "wait_for")

    eventually(waits)


def test_a_message_and_its_answer_arrive_whole_at_every_size_around_a_limit(system: ActorSystem) -> None:
    callee, asker = system.spawn(Echo()), system.spawn(Sender())
    for size in EDGES:
        load = os.urandom(16) + bytes(size - 16)
        assert callee.ask(Echo.echo, load).result(timeout=10) == load, size
    for size in EDGES[::5]:
        load = os.urandom(16) + bytes(size - 16)
        assert asker.ask(Sender.ask_one, callee, "echo", load).result(timeout=10) == load, size
    eventually(lambda: slots_in_use(system) == 0)


def test_the_bound_is_exact(start_method: Any) -> None:
    with ActorSystem(start_method=start_method, max_message_bytes=MIB) as system:
        callee = system.spawn(Echo())
        room = MIB
        while True:  # what the envelope takes beside the bytes is not the test's business
            try:
                callee.ask(Echo.length, bytes(room)).result(timeout=10)
                break
            except EncodeError as error:
                assert "max_message_bytes=1048576" in str(error)  # noqa: PT017 - looked at each time
                room -= 1
        assert MIB - room < 100
        assert callee.ask(Echo.length, bytes(room)).result(timeout=10) == room
        with pytest.raises(EncodeError):
            callee.ask(Echo.length, bytes(room + 1))
        assert callee.ask(Echo.echo, 1).result(timeout=10) == 1


def test_an_answer_beyond_the_bound_is_an_error_of_its_ask_alone(start_method: Any) -> None:
    with ActorSystem(start_method=start_method, max_message_bytes=8192) as system:
        callee = system.spawn(Echo())
        with pytest.raises(HandlerError, match="more than max_message_bytes=8192"):
            callee.ask("grow", 9_000).result(timeout=10)
        with pytest.raises(HandlerError, match="x"):
            callee.ask(Echo.fail, "x" * 5_000).result(timeout=10)
        assert callee.ask(Echo.echo, 1).result(timeout=10) == 1


def test_sixty_four_mebibytes_there_and_back(system: ActorSystem) -> None:
    callee = system.spawn(Echo())
    load = bytes(64 * MIB - 100)

    assert callee.ask(Echo.echo, load).result(timeout=30) == load
    with pytest.raises(EncodeError):
        callee.ask(Echo.echo, bytes(64 * MIB + 1))


def test_large_exceptions_arrive(system: ActorSystem) -> None:
    callee = system.spawn(Echo())
    with pytest.raises(ValueError, match="characters left out") as caught:
        callee.ask(Echo.fail, "x" * 100_000).result(timeout=10)

    assert len(str(caught.value)) > 10_000
    eventually(lambda: slots_in_use(system) == 0)


def test_many_senders_at_once(system: ActorSystem) -> None:
    callee = system.spawn(Echo())
    senders = [system.spawn(Sender(), name=f"sender-{number}") for number in range(3)]
    replies = [one.ask(Sender.flood, callee, "echo", 500, bytes(50_000)) for one in senders]

    def ask(number: int) -> bool:
        load = bytes([number]) * 30_000
        return all(callee.ask(Echo.echo, load).result(timeout=30) == load for _ in range(50))

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert all(pool.map(ask, range(4)))
    assert [reply.result(timeout=30) for reply in replies] == [500] * 3
    eventually(lambda: slots_in_use(system) == 0)
    assert system.dead_letters() == {}


def test_memory_is_used_again(system: ActorSystem) -> None:
    callee, asker = system.spawn(Echo()), system.spawn(Sender())

    def a_round() -> None:
        callee.ask(Echo.echo, bytes(100_000)).result(timeout=10)
        asker.ask(Sender.ask_one, callee, "echo", bytes(10_000)).result(timeout=10)

    for _ in range(5):
        a_round()
    before = arenas(system)
    for _ in range(200):
        a_round()

    assert arenas(system) == before
    eventually(lambda: slots_in_use(system) == 0)


def test_arenas_that_make_room_for_others_vanish(start_method: Any) -> None:
    with ActorSystem(start_method=start_method) as system:
        callee = system.spawn(Echo())
        for power in range(13, 26):
            for _ in range(4):
                callee.ask(Echo.length, bytes((1 << power) - 100)).result(timeout=20)
        host = system._life.host
        assert host is not None
        eventually(lambda: arenas(system) == len(host.node._arenas._arenas))


def test_messages_of_a_killed_sender_arrive_and_then_its_arenas_vanish(system: ActorSystem) -> None:
    callee, sender = system.spawn(Echo()), system.spawn(Sender(), restart="temporary")
    pid = next(info.pid for info in system.actors() if info.uid == sender.uid)
    assert pid is not None
    callee.tell(Echo.sleep, 0.3)
    sender.ask(Sender.flood, callee, "note", 20, bytes(20_000)).result(timeout=10)
    before = arenas(system)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not sender.is_alive())

    assert callee.ask(Echo.noted).result(timeout=10) == [bytes(20_000)] * 20
    assert before >= 1
    host = system._life.host
    assert host is not None
    eventually(lambda: sender.uid not in {one.owner[0] for one in host.arenas._entries.values()})


def test_large_messages_at_a_killed_receiver_are_released_or_handled(system: ActorSystem) -> None:
    for restart in ("permanent", "temporary"):
        callee = system.spawn(Echo(), name=restart, restart=restart)
        pid = callee.ask(Echo.process).result(timeout=10)
        callee.tell(Echo.wait_for, "/nowhere/at/all")
        wait_until_busy(callee)
        for _ in range(20):
            callee.tell(Echo.note, bytes(20_000))
        callee.flush()
        os.kill(pid, signal.SIGKILL)
        if restart == "permanent":
            assert callee.ask(Echo.length, bytes(10_000)).result(timeout=10) == 10_000
        eventually(lambda: slots_in_use(system) == 0)
    eventually(lambda: system.dead_letters() == {"crashed": 2, "dead": 20})


@pytest.mark.parametrize("options", [{"restart": "temporary"}, {"max_same_crashes": 1}], ids=["ended", "parked"])
def test_large_messages_that_have_not_left_when_their_receiver_is_given_up_are_released(
    start_method: Any, options: dict[str, Any]
) -> None:
    with ActorSystem(start_method=start_method) as system:
        callee = system.spawn(Echo(), **options)
        pid = callee.ask(Echo.process).result(timeout=10)
        callee.tell(Echo.wait_for, "/nowhere/at/all")
        wait_until_busy(callee)
        assert system._life.host is not None
        outbox = system._life.host.node.routes[callee.uid].outbox
        small = 0
        while outbox.flush(time.monotonic()):  # until the pipe has no room
            # As if something had just left: what follows waits for company, and is not sent at once.
            outbox.last = math.inf
            callee.tell(Echo.note, bytes(1000))
            small += 1
        for _ in range(5):
            callee.tell(Echo.note, bytes(20_000))
        assert slots_in_use(system) == 5
        os.kill(pid, signal.SIGKILL)

        eventually(lambda: slots_in_use(system) == 0)
        eventually(lambda: system.dead_letters() == {"crashed": 1, "dead": small + 5})


def test_a_sender_is_told_when_the_memory_for_large_messages_is_full(system: ActorSystem, tmp_path: Any) -> None:
    callee = system.spawn(Echo())
    gate = callee.ask(Echo.wait_for, str(tmp_path / "gate"))
    wait_until_busy(callee)
    full = callee.options(on_full="reject")
    with pytest.raises(MailboxFullError):
        for _ in range(20):
            full.tell(Echo.length, bytes(32 * MIB))
    callee.options(on_full="drop_newest").tell(Echo.length, bytes(32 * MIB))
    assert system.dead_letters() == {"overflow": 1}
    (tmp_path / "gate").touch()
    gate.result(timeout=10)
    assert callee.ask(Echo.length, bytes(32 * MIB)).result(timeout=10) == 32 * MIB
