"""A storm of every fault at once over a three-level tree; what must hold is in :mod:`tests.storm`."""

from __future__ import annotations

import gc
import resource
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors import ActorSystem
from actors._system import StartMethod
from tests.helpers import eventually
from tests.leaks import open_descriptors
from tests.storm import FAULTS, Storm, Watch, Worker, tree


@pytest.fixture(autouse=True)
def many_descriptors() -> Iterator[None]:
    """The limit of this process, which the storm lowers for moments, is put back whatever happens."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def rss() -> int:
    """Resident bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def rage(start_method: StartMethod, *, teams: int, size: int, seconds: float, pause: float, seed: int) -> None:
    """Let it storm, and look at the end whether everything is as it was."""
    clock = threading.Event()
    with ActorSystem(tree(teams, size), start_method=start_method) as system:
        paths = {info.path for info in system.actors()}
        assert len(paths) == 3 * teams * size
        storm = Storm(system, seed)
        watch = Watch(storm)
        calm, began = len(open_descriptors()), time.monotonic()
        memory = 0
        while (now := time.monotonic() - began) < seconds:
            storm.strike()
            watch.shape(system._life.host.runner.state)  # type: ignore[union-attr]
            watch.probe()
            watch.host()
            assert {info.path for info in system.actors()} == paths, "nobody is lost, nobody comes in addition"
            if not memory and now > seconds / 3:
                memory = rss()  # warm by now
            clock.wait(pause)
        ends = watch.ends()
        eventually(
            lambda: all(info.state in {"idle", "handling"} for info in system.actors()), 300.0, state=system.actors
        )
        for path in paths:
            assert system.whereis(path).options(timeout=30.0).ask(Worker.echo, 5).result() == 5
        gc.collect()
        eventually(lambda: len(open_descriptors()) <= calm + 8, 10.0, state=lambda: (calm, open_descriptors()))
        grown = rss() - memory
        print(
            f"{start_method}, seed {seed}: {sum(storm.done.values())} faults in {seconds:.0f} s on {len(paths)} actors: "
            f"{dict(storm.done)}; asks {dict(ends)}; {watch.probes} probes, the slowest {watch.slowest * 1000:.0f} ms, "
            f"{len(watch.slow)} above 100 ms {watch.slow}; {watch.descriptors} descriptors at most, {calm} before; "
            f"{grown / 1024:+.0f} KiB since a third of it"
        )
        assert watch.slowest < 1.0
        assert grown < 64 << 20
        assert set(storm.done) <= set(FAULTS)


@pytest.mark.timeout(240)
def test_half_a_minute_of_storm_hurts_nobody_but_those_it_hits(start_method: StartMethod) -> None:
    rage(start_method, teams=2, size=4, seconds=30.0, pause=0.1, seed=1)


@pytest.mark.soak
@pytest.mark.timeout(1500)
def test_ten_minutes_of_storm_over_sixty_actors(start_method: StartMethod) -> None:
    rage(start_method, teams=4, size=5, seconds=600.0, pause=0.05, seed=int(time.time()))
