"""
Somebody writes around our interface into a *peer's* inbox: that peer's incarnation ends with ``protocol``, what it had read is served,
the pipe is replaced, what stood in it is counted, its asks fail at their callers, and nobody else notices.
"""

from __future__ import annotations

import os
import random
import threading
from concurrent.futures import wait

import pytest

from actors import Actor, ActorDied, ActorRef, ActorSystem, Reply, handler
from actors._child import ActorProcess
from actors.mailbox._frames import frame
from tests.helpers import eventually

BAD = [
    pytest.param(b"\xff\xff\xff\xff", id="negative"),
    pytest.param(b"\0\0\x7f\xff" + b"x" * 100, id="too-long"),
    pytest.param(b"\0\0\0\x50short", id="torn"),
    pytest.param(bytes(8), id="empty"),
    pytest.param(random.Random(7).randbytes(3000), id="random"),
]


class Victim(Actor):
    """Notes what it is told, and waits when it is told to."""

    def on_start(self) -> None:
        self.noted: list[int] = []

    @handler
    def note(self, number: int) -> None:
        self.noted.append(number)

    @handler
    def echo(self, number: int) -> int:
        return number

    @handler
    def all_noted(self) -> list[int]:
        return self.noted

    @handler
    def nap(self, seconds: float) -> None:
        threading.Event().wait(seconds)


class Peer(Actor):
    """Asks the victim as anybody does, or writes what it likes into its inbox."""

    @handler
    def ask(self, victim: ActorRef[Victim], numbers: list[int]) -> list[int | str]:
        replies = [victim.ask(Victim.echo, number) for number in numbers]
        return [_outcome(reply) for reply in replies]

    @handler
    def write(self, victim: ActorRef[Victim], data: bytes) -> None:
        victim.tell(Victim.note, -1)
        victim.flush()
        process: ActorProcess = self._context._process  # type: ignore[union-attr]
        os.write(process.node.routes[victim.uid].outbox.descriptor, data)


def _outcome(reply: Reply[int]) -> int | str:
    try:
        return reply.result(timeout=10)
    except ActorDied as died:
        return str(died.reason.kind)


@pytest.mark.parametrize("data", BAD)
def test_the_victim_alone_begins_anew_with_a_new_inbox(system: ActorSystem, data: bytes) -> None:
    victim, rogue, bystander = system.spawn(Victim()), system.spawn(Peer()), system.spawn(Victim(), name="bystander")
    for number in range(5):
        victim.tell(Victim.note, number)
    assert victim.ask(Victim.all_noted).result(timeout=5) == [0, 1, 2, 3, 4]
    rogue.ask(Peer.write, victim, data).result(timeout=5)
    eventually(lambda: victim.incarnation == 2, 10.0)

    assert bystander.ask(Victim.echo, 7).result(timeout=5) == 7
    assert victim.ask(Victim.echo, 8).result(timeout=10) == 8
    assert rogue.ask(Peer.ask, victim, [1, 2, 3]).result(timeout=10) == [1, 2, 3]
    assert (bystander.incarnation, rogue.incarnation) == (1, 1)
    assert system.dead_letters()["undecodable"] >= 1
    reasons = [info.restarts for info in system.actors() if info.path == victim.path]
    assert reasons == [1]


@pytest.mark.parametrize("data", BAD)
def test_what_stood_before_it_is_served_and_every_ask_ends_once(system: ActorSystem, data: bytes) -> None:
    victim, rogue, peer = system.spawn(Victim()), system.spawn(Peer(), name="rogue"), system.spawn(Peer())
    assert peer.ask(Peer.ask, victim, [0]).result(timeout=5) == [0]
    victim.tell(Victim.nap, 0.5)
    before = [victim.ask(Victim.echo, number) for number in range(20)]
    rogue.ask(Peer.write, victim, data).result(timeout=5)
    behind = [victim.ask(Victim.echo, number) for number in range(20)]
    of_peer = peer.ask(Peer.ask, victim, [1, 2, 3])

    assert [reply.result(timeout=10) for reply in before] == list(range(20))
    done, still_open = wait(behind, timeout=10)
    assert not still_open
    kinds = {error.reason.kind if isinstance(error, ActorDied) else error for error in (r.exception() for r in done)}
    assert kinds <= {"protocol", None}
    assert set(of_peer.result(timeout=10)) <= {1, 2, 3, "protocol"}
    assert victim.ask(Victim.echo, 9).result(timeout=10) == 9
    assert peer.ask(Peer.ask, victim, [4, 5]).result(timeout=10) == [4, 5]


def test_junk_again_and_again_loses_nothing_that_stood_before_it(system: ActorSystem) -> None:
    victim, rogue = system.spawn(Victim()), system.spawn(Peer())
    for round_ in range(3):
        victim.tell(Victim.nap, 0.1)
        before = [victim.ask(Victim.echo, number) for number in range(5)]
        rogue.ask(Peer.write, victim, frame(b"\xc1" * 9)[:7]).result(timeout=5)
        behind = victim.ask(Victim.echo, round_)
        assert [reply.result(timeout=10) for reply in before] == [0, 1, 2, 3, 4]
        assert _outcome(behind) in {round_, "protocol"}
        assert _outcome(victim.ask(Victim.echo, 6)) in {6, "protocol"}
    eventually(lambda: _outcome(victim.ask(Victim.echo, 6)) == 6, 10.0)
