"""A storm of kills with large payloads in flight and held: nothing of the shared memory stays in use; what is sent and what must hold is in
:mod:`tests.large_storm`."""

from __future__ import annotations

import gc
import threading
import time

import pytest

pytest.importorskip("numpy")

from actors import ActorSystem
from actors._system import StartMethod
from actors.mailbox._arenas import IDLE_SECONDS
from actors.mailbox._inbox import queued_bytes
from tests.helpers import eventually
from tests.large_storm import Carrier, LargeStorm, carriers, payload

MIB = 1 << 20


def rage(start_method: StartMethod, *, count: int, seconds: float, pause: float, seed: int) -> None:
    """Let it storm, and look at the end whether all shared memory is free."""
    clock = threading.Event()
    with ActorSystem(carriers(count), start_method=start_method) as system:
        host = system._life.host
        assert host is not None
        storm = LargeStorm(system, seed)
        most, began = 0, time.monotonic()
        while time.monotonic() - began < seconds:
            for _ in range(storm.random.randrange(1, 6)):
                storm.send()
            if storm.random.random() < 0.1:
                storm.strike()
            most = max(most, host.arenas.in_use())
            clock.wait(pause)
        ends = storm.settle()
        eventually(
            lambda: all(info.state in {"idle", "handling"} for info in system.actors()), 60.0, state=system.actors
        )
        storm.empty()
        gc.collect()
        eventually(
            lambda: host.arenas.in_use() == 0,
            20.0,
            state=lambda: in_use(system),
            what="no slot is in use",
        )
        eventually(
            lambda: len(host.share_book) == 0,
            20.0,
            state=lambda: (list(host.share_book._shares.values()), in_use(system)),
            what="all shared arrays are free",
        )
        eventually(
            lambda: len(host.arenas) == 0,
            4 * IDLE_SECONDS,
            state=lambda: list(host.arenas._entries.values()),
            what="the memory goes back to the system",
        )
        print(f"{start_method}, seed {seed}: {dict(storm.done)}; asks {dict(ends)}; {most} slots in use at most")
        assert ends["answered"] > 0
        assert most > 0
        for ref in storm.refs:
            assert ref.options(timeout=30.0).ask(Carrier.echo, payload(4 * MIB, 0)).result() == payload(4 * MIB, 0)


def in_use(system: ActorSystem) -> list[object]:
    """Each slot in use: its arena, whose that is, and the slot's mark."""
    host = system._life.host
    assert host is not None
    found: list[object] = []
    for number, entry in list(host.arenas._entries.items()):
        words = entry.reader._words
        taken = [at for at in range(entry.reader.slots) if words[8 + at] & 1]
        found += [(number, entry.owner, entry.reader.slot_bytes, at, words[72 + at], entry.trail) for at in taken]
    lanes = [
        (
            cell.path,
            [
                queued_bytes(lane)
                for lane in (cell.answers_write, *(body.reply_lane for body in cell.bodies))
                if lane >= 0
            ],
        )
        for cell in host.runner.cells.values()
    ]
    return [*found, lanes, [(info.uid, info.incarnation, info.state) for info in system.actors()]]


@pytest.mark.soak
@pytest.mark.timeout(240)
def test_a_storm_of_kills_with_large_payloads_in_flight_leaves_none_of_them(start_method: StartMethod) -> None:
    rage(start_method, count=6, seconds=12.0, pause=0.02, seed=1)


@pytest.mark.soak
@pytest.mark.timeout(1500)
def test_ten_minutes_of_large_payloads_over_sixteen_actors(start_method: StartMethod) -> None:
    rage(start_method, count=16, seconds=600.0, pause=0.02, seed=int(time.time()))
