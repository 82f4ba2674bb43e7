"""
A storm with large payloads in flight: actors that send each other bytes, arrays and shared arrays without end, keep some of them, and die
at any moment; and what must hold when it is quiet again.

:class:`Carrier` is what it hits, :class:`LargeStorm` sends from the host and kills. Everything random in the host comes from one seed. A
payload says by itself whether it arrived whole: all of its bytes are alike.
"""

from __future__ import annotations

import contextlib
import gc
import os
import random
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from typing import Any

import attrs
import numpy as np

from actors import (
    Actor,
    ActorInfo,
    ActorRef,
    ActorsError,
    ActorSystem,
    Backoff,
    Reply,
    SharedArray,
    Supervisor,
    child,
    handler,
)
from tests.helpers import eventually

__all__ = ["FAULTS", "Carrier", "LargeStorm", "carriers"]

KIB, MIB = 1 << 10, 1 << 20
SIZES = (16 * KIB, 40 * KIB, 128 * KIB, 600 * KIB, 2 * MIB, 4 * MIB)
# Small ones are more frequent, as in life: many slots and few, in each size of arena.
WEIGHTS = (12, 12, 8, 4, 2, 1)
KEPT = 4
ASK_SECONDS = 10.0
# No more is under way at a time: more than that only fills what is full.
MOST_OPEN = 48


def payload(size: int, kind: int) -> Any:
    """Bytes, an array, or both within other values; of one byte each."""
    mark = size // KIB % 251
    whole = bytes([mark]) * size
    match kind % 3:
        case 0:
            return whole
        case 1:
            return np.full(size, mark, dtype=np.uint8)
        case _:
            return {"half": whole[: size // 2], "other": [np.full(size // 2, mark, dtype=np.uint8)]}


def is_whole(value: Any) -> bool:
    """Whether every byte is as it was sent."""
    if isinstance(value, dict):
        return is_whole(value["half"]) and is_whole(value["other"][0])
    array = np.frombuffer(value, dtype=np.uint8)
    return bool((array == array[0]).all())


class Carrier(Actor):
    """Takes, keeps, answers and passes on large values."""

    def on_start(self) -> None:
        self.kept: deque[Any] = deque(maxlen=KEPT)

    @handler
    def echo(self, value: Any) -> Any:
        return value

    @handler
    def keep(self, value: Any) -> None:
        assert is_whole(value)
        self.kept.append(value)

    @handler
    def keep_shared(self, shared: SharedArray) -> None:
        """Keep what outlives the message: the array itself, or a view of it alone."""
        self.kept.append(shared if len(self.kept) % 2 else shared.array[:10])

    @handler
    def share(self, target: ActorRef[Carrier], size: int) -> SharedArray:
        made = self.shared_array(size, "u1")
        made.array[:] = 1
        with contextlib.suppress(ActorsError):
            target.tell(Carrier.keep_shared, made)
        return made

    @handler
    def drop(self) -> None:
        self.kept.clear()
        gc.collect()  # an exception and what it was raised in hold each other

    @handler
    def wander(self, targets: list[ActorRef[Carrier]], hops: int, value: Any) -> None:
        """From actor to actor, with nobody in the host."""
        self.kept.append(value)
        if hops:
            with contextlib.suppress(ActorsError):
                targets[0].tell(Carrier.wander, [*targets[1:], targets[0]], hops - 1, value)

    @handler
    def ask_on(self, target: ActorRef[Carrier], value: Any) -> bool:
        """Ask another, and keep what it answers."""
        with contextlib.suppress(ActorsError):
            back = target.options(timeout=0.5).ask(Carrier.echo, value).result()
            assert is_whole(back)
            self.kept.append(back)
        return True

    @handler
    def ask_and_forget(self, target: ActorRef[Carrier], value: Any) -> None:
        with contextlib.suppress(ActorsError):
            target.options(timeout=5.0).ask(Carrier.echo, value)

    @handler
    def blocks(self, count: int, size: int) -> Iterator[Any]:
        for number in range(count):
            yield payload(size, number)

    @handler
    def read(self, target: ActorRef[Carrier], count: int, size: int) -> int:
        """Read a stream of another; only a part of it, half of the time."""
        seen = 0
        with contextlib.suppress(ActorsError), target.options(timeout=0.5).stream(Carrier.blocks, count, size) as items:
            for item in items:
                assert is_whole(item)
                seen += 1
                if count % 2 and seen > count // 2:
                    break
        return seen

    @handler
    def fail(self, value: Any) -> None:
        raise ValueError(f"as told, with {type(value).__name__}")

    @handler
    def leave(self, value: Any) -> None:
        self.kept.append(value)
        os._exit(3)


def carriers(count: int) -> Supervisor:
    """So many actors that bear anything, some of whose messages come again."""
    options: dict[str, Any] = {
        "backoff": Backoff(initial=0.0, factor=1.5, maximum=0.2),
        "handler_timeout": 2.0,
        "hang_grace": 0.2,
        "max_same_crashes": None,
        "mailbox_bytes": 1 << 16,
        "on_full": "drop_newest",
        "shutdown": 1.0,
        "term_grace": 0.2,
    }
    members = [child(Carrier(), name=f"carrier-{at}", redeliver=at % 3, **options) for at in range(count)]
    return Supervisor("storm", children=members, max_restarts=100_000, period=1.0)


@attrs.define
class LargeStorm:
    """
    Sends, and kills.

    Args:
        system: What it breaks, of :func:`carriers`.
        seed: Of everything random.
        done: How often each fault was done, and each kind of message sent.
        ends: How often each ask ended, by its place in the order of asks.
        open: Every ask that was made.
        held: What the host holds of them.
    """

    system: ActorSystem
    seed: int
    done: Counter[str] = attrs.Factory(Counter)
    ends: Counter[int] = attrs.Factory(Counter)
    open: list[Reply[Any]] = attrs.Factory(list)
    held: deque[Any] = attrs.Factory(lambda: deque(maxlen=2 * KEPT))
    streams: list[threading.Thread] = attrs.Factory(list)
    random: random.Random = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.random = random.Random(self.seed)

    @property
    def refs(self) -> list[ActorRef[Carrier]]:
        """Everybody, in an order of the moment."""
        found = [self.system.whereis(info.path) for info in self.system.actors()]
        self.random.shuffle(found)
        return found

    def send(self) -> None:
        """Have something large under way, if it is not enough."""
        if sum(not reply.done() for reply in self.open) >= MOST_OPEN or self._streaming() >= MOST_OPEN:
            return
        name = self.random.choice(list(TRAFFIC))
        (size,) = self.random.choices(SIZES, WEIGHTS)
        self.done[name] += 1
        with contextlib.suppress(ActorsError):  # full: that is dropped, or said
            TRAFFIC[name](self, self.refs, size)

    def strike(self) -> None:
        """Do one fault, to somebody."""
        name = self.random.choice(list(FAULTS))
        info = self.random.choice(self.system.actors())
        with contextlib.suppress(ActorsError, ProcessLookupError):
            FAULTS[name](self, self.system.whereis(info.path), info)
            self.done[name] += 1

    def ask(self, ref: ActorRef[Carrier], *message: Any) -> None:
        """Ask, keep the reply, and count how often it ends."""
        reply = ref.options(timeout=ASK_SECONDS).ask(*message)
        place = len(self.open)
        self.open.append(reply)
        reply.add_done_callback(lambda _reply: self.ends.update((place,)))

    def _streaming(self) -> int:
        self.streams = [thread for thread in self.streams if thread.is_alive()]
        return len(self.streams)

    def read(self, ref: ActorRef[Carrier], count: int, size: int) -> None:
        """Read a stream in a thread of its own."""

        def read() -> None:
            with (
                contextlib.suppress(ActorsError),
                ref.options(timeout=5.0).stream(Carrier.blocks, count, size) as items,
            ):
                for item in items:
                    assert is_whole(item)

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        self.streams.append(thread)

    def settle(self) -> Counter[str]:
        """Wait until every ask has ended, look how, and let go of all answers."""
        done, left = wait(self.open, timeout=60.0)
        assert not left, f"{len(left)} asks are open for ever: {sorted(str(reply) for reply in left)}"
        for thread in self.streams:
            thread.join(30.0)
            assert not thread.is_alive(), "a stream goes on for ever"
        count = len(self.open)
        eventually(lambda: len(self.ends) == count, 10.0, what="every ask has said that it ended")
        assert set(self.ends.values()) <= {1}, "an ask ended twice"
        ends = Counter("answered" if reply.exception() is None else type(reply.exception()).__name__ for reply in done)
        answers = [reply.result() for reply in done if reply.exception() is None]
        assert all(is_whole(each) for each in answers if isinstance(each, bytes | np.ndarray | dict))
        self.open.clear()
        self.held.clear()
        return ends

    def empty(self) -> None:
        """Have everybody let go of what they keep, until nothing goes round any more."""
        for _ in range(3):  # what wanders may come behind the first
            for ref in self.refs:
                ref.options(timeout=30.0).ask(Carrier.drop).result()


def _wander(storm: LargeStorm, refs: list[ActorRef[Carrier]], size: int) -> None:
    value = payload(size, storm.random.randrange(3))
    refs[0].tell(Carrier.wander, refs[1:], storm.random.randrange(8), value)


def _share(storm: LargeStorm, refs: list[ActorRef[Carrier]], size: int) -> None:
    made = storm.system.shared_array(size, "u1")
    storm.held.append(made if storm.random.random() < 0.5 else made.array)
    refs[0].tell(Carrier.keep_shared, made)
    storm.ask(refs[1], Carrier.share, refs[2], size)


TRAFFIC: dict[str, Callable[[LargeStorm, list[ActorRef[Carrier]], int], None]] = {
    "tell": lambda storm, refs, size: refs[0].tell(Carrier.keep, payload(size, storm.random.randrange(3))),
    "ask": lambda storm, refs, size: storm.ask(refs[0], Carrier.echo, payload(size, storm.random.randrange(3))),
    "wander": _wander,
    "ask on": lambda storm, refs, size: storm.ask(
        refs[0], Carrier.ask_on, refs[1], payload(size, storm.random.randrange(3))
    ),
    "forget": lambda storm, refs, size: refs[0].tell(
        Carrier.ask_and_forget, refs[1], payload(size, storm.random.randrange(3))
    ),
    "stream": lambda storm, refs, size: storm.read(refs[0], storm.random.randrange(2, 9), size),
    "stream on": lambda storm, refs, size: storm.ask(
        refs[0], Carrier.read, refs[1], storm.random.randrange(2, 9), size
    ),
    "share": _share,
}


def _signal(number: signal.Signals) -> Callable[[LargeStorm, ActorRef[Carrier], ActorInfo], None]:
    def send(storm: LargeStorm, ref: ActorRef[Carrier], info: ActorInfo) -> None:
        if info.pid is not None:
            os.kill(info.pid, number)
            storm.ask(ref, Carrier.echo, payload(16 * KIB, 1))  # a stopped process is found by the mail that waits

    return send


FAULTS: dict[str, Callable[[LargeStorm, ActorRef[Carrier], ActorInfo], None]] = {
    "SIGKILL": _signal(signal.SIGKILL),
    "SIGKILL again": _signal(signal.SIGKILL),
    "SIGSEGV": _signal(signal.SIGSEGV),
    "exit(3)": lambda _storm, ref, _info: ref.tell(Carrier.leave, payload(40 * KIB, 0)),
    "exit(3), asked": lambda storm, ref, _info: storm.ask(ref, Carrier.leave, payload(600 * KIB, 1)),
    "exception": lambda _storm, ref, _info: ref.tell(Carrier.fail, payload(128 * KIB, 2)),
    "SIGSTOP": _signal(signal.SIGSTOP),
}
