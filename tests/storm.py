"""
A storm over a tree: random faults at a steady pace, and what must hold throughout.

The tree has three levels: a root, groups of each strategy, teams, and actors below them. Faults hit actors, the forkserver and the
host's descriptors; everything random comes from one seed. :class:`Storm` breaks things and :class:`Watch` looks; neither knows what the
other does next.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import resource
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import wait
from pathlib import Path

import attrs

from actors import Actor, ActorInfo, ActorRef, ActorsError, ActorSystem, Backoff, Reply, Supervisor, child, handler
from actors._child import ActorProcess
from actors._zygote import zygote
from actors.supervisor._nodes import TreeState
from actors.supervisor._policy import Strategy
from actors.supervisor._state import ChildState, Running
from tests.leaks import open_descriptors

__all__ = ["FAULTS", "Storm", "Watch", "Worker", "tree"]

MIB = 1 << 20
STRATEGIES: tuple[Strategy, ...] = ("one_for_one", "one_for_all", "rest_for_one")
# More than one process in a group may be down at any moment of a storm, and comes back.
QUICK = Backoff(initial=0.0, factor=1.5, maximum=0.2)
HANG_SECONDS = 1.0
# A sibling that is not hurt answers within a tick of 100 ms; asserted at ten times that.
TICK_SECONDS = 0.1


class Worker(Actor):
    """Answers, and does each of the things that production does to it."""

    @handler
    def echo(self, value: int) -> int:
        return value

    @handler
    def fail(self) -> None:
        raise ValueError("as told")

    @handler
    def leave(self, code: int) -> None:
        os._exit(code)

    @handler
    def hang(self) -> None:
        ctypes.PyDLL(None).sleep(1000)

    @handler
    def grow(self) -> None:
        held = []
        while True:
            held.append(bytearray(4 * MIB))
            threading.Event().wait(0.005)

    @handler
    def scribble(self) -> None:
        process: ActorProcess = self._context._process  # type: ignore[union-attr]
        os.write(process.attendant.lane.fileno(), b"\xff" * 64)
        threading.Event().wait(1.0)


def tree(teams: int, size: int) -> Supervisor:
    """A root, a group per strategy, *teams* teams of that strategy in each, and *size* actors in a team."""
    groups = []
    for strategy in STRATEGIES:
        below = [
            Supervisor(f"team-{number}", strategy=strategy, children=_members(size), max_restarts=10_000, period=1.0)
            for number in range(teams)
        ]
        groups.append(Supervisor(strategy.replace("_", "-"), children=below, max_restarts=10_000, period=1.0))
    return Supervisor("storm", children=groups, max_restarts=10_000, period=1.0)


def _members(size: int) -> list[object]:
    options = {
        "backoff": QUICK,
        "handler_timeout": HANG_SECONDS,
        "hang_grace": 0.2,
        "memory_hard": 256 * MIB,
        "on_full": "drop_newest",
        "shutdown": 1.0,
        "term_grace": 0.2,
    }
    return [child(Worker(), name=f"worker-{number}", **options) for number in range(size)]


@attrs.define
class Storm:
    """
    Breaks one thing at a time.

    Args:
        system: What it breaks.
        seed: Of everything random.
        hurt: Until when each path may be busy with what was done to it, in ``time.monotonic()`` seconds.
        done: How often each fault was done.
        open: Every ask that was made meanwhile.
        last: The last fault.
    """

    system: ActorSystem
    seed: int
    hurt: dict[str, float] = attrs.Factory(dict)
    done: Counter[str] = attrs.Factory(Counter)
    open: list[Reply[int]] = attrs.Factory(list)
    last: str = ""
    random: random.Random = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def strike(self) -> None:
        """Do one random fault, to one random actor that is there."""
        name = self.random.choice(list(FAULTS))
        info = self.random.choice(self.system.actors())
        # What hurts an actor may take its time (a hang is found after its timeout, memory grows), and waits for what came before.
        self.hurt[info.path] = max(self.hurt.get(info.path, 0.0), time.monotonic()) + 4 * HANG_SECONDS
        self.last = f"{name} at {info.path}"
        ref = self.system.whereis(info.path)
        # What is down already cannot be hurt: that is no failure of anything.
        with contextlib.suppress(ActorsError, ProcessLookupError):
            FAULTS[name](self, ref, info)
            self.done[name] += 1

    def ask(self, ref: ActorRef[Worker], count: int) -> None:
        """Ask an actor so often, and keep the replies."""
        with contextlib.suppress(ActorsError):
            self.open += [ref.options(timeout=20.0).ask(Worker.echo, number) for number in range(count)]


def _signal(number: signal.Signals) -> Callable[[Storm, ActorRef[Worker], ActorInfo], None]:
    def send(storm: Storm, ref: ActorRef[Worker], info: ActorInfo) -> None:
        if info.pid is not None:
            os.kill(info.pid, number)
            storm.ask(ref, 2)  # a stopped process is found by the mail that waits

    return send


def _flood(storm: Storm, ref: ActorRef[Worker], _info: ActorInfo) -> None:
    for number in range(5_000):
        ref.tell(Worker.echo, number)
    storm.ask(ref, 2)


def _end_the_forkserver(storm: Storm, _ref: ActorRef[Worker], _info: ActorInfo) -> None:
    # One that an earlier system has left running is nobody's by now: it would be reaped by whoever starts the next.
    if storm.system._method == "forkserver" and zygote.pid is not None:
        os.kill(zygote.pid, signal.SIGKILL)


def _take_descriptors(storm: Storm, ref: ActorRef[Worker], info: ActorInfo) -> None:
    """The host has no descriptor left for a moment, in which an actor dies."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(open_descriptors()) // 2, hard))
    try:
        _signal(signal.SIGKILL)(storm, ref, info)
        threading.Event().wait(0.03)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


FAULTS: dict[str, Callable[[Storm, ActorRef[Worker], ActorInfo], None]] = {
    "SIGKILL": _signal(signal.SIGKILL),
    "SIGSEGV": _signal(signal.SIGSEGV),
    "SIGSTOP": _signal(signal.SIGSTOP),
    "exit(3)": lambda _storm, ref, _info: ref.tell(Worker.leave, 3),
    "exception": lambda _storm, ref, _info: ref.tell(Worker.fail),
    "hang": lambda _storm, ref, _info: ref.tell(Worker.hang),
    "memory growth": lambda _storm, ref, _info: ref.tell(Worker.grow),
    "flood": _flood,
    "garbage": lambda _storm, ref, _info: ref.tell(Worker.scribble),
    "forkserver": _end_the_forkserver,
    "EMFILE": _take_descriptors,
}


@attrs.define
class Watch:
    """
    Looks at what must hold.

    Args:
        storm: What goes on.
        slowest: The longest that an actor which nobody hurt took to answer, in seconds.
        slow: What took longer than a tick: for how long, and what had happened just before.
    """

    storm: Storm
    slowest: float = 0.0
    slow: list[str] = attrs.Factory(list)
    probes: int = 0
    descriptors: int = 0
    zombies: dict[int, float] = attrs.Factory(dict)

    def probe(self) -> None:
        """An actor of a team of one_for_one that was not hurt lately answers, whatever happened to its siblings."""
        storm = self.storm
        for info in storm.system.actors():
            if info.state not in {"idle", "handling"} and not self._is_calm(info.path):
                storm.hurt[info.path] = max(storm.hurt.get(info.path, 0.0), time.monotonic())  # it is not back yet
        calm = [path for path in (info.path for info in storm.system.actors()) if self._is_calm(path)]
        if not calm:
            return
        path = storm.random.choice(calm)
        began = time.monotonic()
        reply = storm.system.whereis(path).options(timeout=20.0).ask(Worker.echo, 1)
        assert reply.result() == 1
        took = time.monotonic() - began
        self.probes += 1
        if took > TICK_SECONDS:
            self.slow.append(f"{path} {took * 1000:.0f} ms after {storm.last}, load {os.getloadavg()[0]:.1f}")
        self.slowest = max(self.slowest, took)

    def _is_calm(self, path: str) -> bool:
        return "/one-for-one/" in path and time.monotonic() > self.storm.hurt.get(path, 0.0) + 4 * HANG_SECONDS

    def shape(self, state: TreeState) -> None:
        """The tree is one that its strategies allow, at every moment."""
        for node in state.nodes.values():
            children = list(node.machine.children.values())
            if node.machine.spec.strategy != "one_for_one" and node.machine.mode in ("booting", "serving"):
                down = next((at for at, each in enumerate(children) if not _runs(each)), len(children))
                later = [each.id for each in children[down + 1 :] if each.wanted == "up" and each.is_alive]
                assert not later, f"{node.path}: {later} run or start though an elder does not: {children}"

    def host(self) -> None:
        """No zombie stays, and descriptors do not pile up."""
        now = time.monotonic()
        found = {pid for parent in (os.getpid(), zygote.pid) if parent for pid in _zombies(parent)}
        self.zombies = {pid: self.zombies.get(pid, now) for pid in found}
        old = [pid for pid, since in self.zombies.items() if now - since > 10.0]
        assert not old, f"zombies that nobody reaps: {old}"
        self.descriptors = max(self.descriptors, len(open_descriptors()))

    def ends(self) -> Counter[str]:
        """Every ask ends, once, and says how."""
        done, left = wait(self.storm.open, timeout=60.0)
        assert not left, (
            f"{len(left)} asks are open for ever: {[reply.target.path for reply in self.storm.open if reply in left]}"
        )
        return Counter(type(reply.exception()).__name__ for reply in done)


def _runs(each: ChildState) -> bool:
    return isinstance(each.phase, Running) and each.wanted == "up"


def _zombies(parent: int) -> list[int]:
    """Its children that are dead and not reaped; of one that has just been killed itself, none."""
    children: list[str] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            children += task.read_text().split()
    return [int(pid) for pid in children if _is_zombie(pid)]


def _is_zombie(pid: str) -> bool:
    with contextlib.suppress(OSError):
        return b") Z" in Path(f"/proc/{pid}/stat").read_bytes()
    return False
