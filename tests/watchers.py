"""The actors that the tests of watches, links and poison start."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs

from actors import Actor, ActorRef, ActorsError, Backoff, Down, handler, message
from tests.helpers import wait_for_file
from tests.messengers import Log


class Watcher(Actor):
    """Watches and links as it is told, and keeps a list of what came, in order."""

    backoff = Backoff(initial=0.0)

    def __init__(self, traps: bool = False, links: list[ActorRef[Any]] | None = None) -> None:
        super().__init__()
        self.traps = traps
        self.links = links or []

    def on_start(self) -> None:
        self.seen: list[Any] = []
        self.watches: list[Any] = []
        if self.traps:
            self.trap_exits(Watcher.on_down)
        for ref in self.links:
            self.link(ref)

    @handler
    def on_down(self, down: Down) -> None:
        self.seen.append((down.ref.path, down.incarnation, down.reason.kind))

    @handler
    def on_down_again(self, down: Down) -> None:
        """Follow the next incarnation, too."""
        self.on_down(down)
        if down.ref.is_alive():
            self.watches.append(self.watch(down.ref, "on_down_again"))

    @handler
    async def on_down_later(self, down: Down) -> None:
        self.seen.append((down.ref.path, down.incarnation, down.reason.kind, "later"))

    @handler
    def on_down_badly(self, down: Down) -> None:
        raise ValueError(f"cannot bear the end of {down.ref.path}")

    @handler
    def follow(self, ref: ActorRef[Any], count: int = 1, by: str = "on_down") -> int:
        self.watches += [self.watch(ref, by) for _ in range(count)]
        return os.getpid()

    @handler
    def refused(self, what: str, *args: Any) -> str:
        try:
            getattr(self, what)(*args)
        except ActorsError as error:
            return f"{type(error).__name__}: {error}"
        return "done"

    @handler
    def cancel_all(self) -> list[bool]:
        return [watch.cancel() for watch in self.watches]

    @handler
    def cancel_when(self, path: str) -> list[bool]:
        """Take all watches back once *path* is there and the news of one has come."""
        process: Any = self._context._process  # type: ignore[union-attr]
        pause = threading.Event()
        while not (Path(path).exists() and process.watching.waits):
            pause.wait(0.001)
        return self.cancel_all()

    @handler
    def tie(self, ref: ActorRef[Any]) -> None:
        self.link(ref)

    @handler
    def untie(self, ref: ActorRef[Any]) -> None:
        self.unlink(ref)

    @handler
    def untie_when_told(self, ref: ActorRef[Any]) -> bool:
        """Take the link back once the news of the other's death is here already."""
        process: Any = self._context._process  # type: ignore[union-attr]
        pause = threading.Event()
        while not (process.watching.waits or process.watching.fatal):
            pause.wait(0.001)
        self.unlink(ref)
        return True

    @handler
    def trap(self, on: bool) -> None:
        self.trap_exits("on_down" if on else None)

    @handler
    def note(self, value: Any) -> None:
        self.seen.append(value)

    @handler
    def noted(self) -> list[Any]:
        return self.seen

    @handler
    def pid_of(self) -> int:
        return os.getpid()

    @handler
    def hold(self, path: str) -> str:
        """Return when the file *path* is there."""
        wait_for_file(path)
        return "held"

    @handler
    def hold_off_sigterm(self, path: str) -> str:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return self.hold(path)

    @handler
    def tell_and_die(self, ref: ActorRef[Any], count: int) -> None:
        for number in range(count):
            ref.tell(Watcher.note, number)
        ref.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    @handler
    def fail(self, text: str) -> None:
        raise RuntimeError(text)

    @handler
    def leave(self) -> None:
        self.stop()


class Unready(Watcher):
    """Is not ready before a file is there, and fails to start where another is."""

    def __init__(self, gate: str, fails: str = "") -> None:
        super().__init__()
        self.gate = gate
        self.fails = fails

    def on_start(self) -> None:
        super().on_start()
        self.hold(self.gate)
        if self.fails and Path(self.fails).exists():
            raise RuntimeError("not today")


class Patient(Actor):
    """Writes down each delivery in a log that survives it, and dies of what it is told to die of."""

    backoff = Backoff(initial=0.0)

    def __init__(self, log: str) -> None:
        super().__init__()
        self.log_path = log

    def on_start(self) -> None:
        self.deliveries = Log(self.log_path)

    @handler
    def take(self, number: int, _load: bytes = b"") -> int:
        self.deliveries.append(number)
        return number

    @handler
    def die_of(self, number: int, deaths: int, _load: bytes = b"") -> int:
        """Die by SIGKILL as often as *deaths* says; then return how often it was handed out before."""
        self.deliveries.append(number)
        if self.attempt < deaths:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.attempt

    @handler
    def raise_for(self, number: int, text: str) -> None:
        self.deliveries.append(number)
        raise RuntimeError(text)

    @handler
    def taste(self, _food: Any) -> str:
        return "fine"

    @handler
    def attempts(self) -> int:
        return self.attempt

    @handler
    def die_once_handled(self, number: int) -> None:
        """Die after all of this handler has run, and before its message counts as handled."""
        self.deliveries.append(number)
        if self.ref.incarnation == 1:
            # What it told others leaves between the two.
            node: Any = self._context._process.node  # type: ignore[union-attr]
            node.unsent, node.flush_all = True, lambda: os.kill(os.getpid(), signal.SIGKILL)

    @handler
    def hold(self, path: str) -> None:
        wait_for_file(path)

    @handler
    def die_before_the_next(self) -> None:
        """Die when the next message is about to begin: it was read, and nothing of it was done."""
        # Tasks that handlers left behind have a turn between two messages.
        process: Any = self._context._process  # type: ignore[union-attr]
        process.coroutines = SimpleNamespace(turn=lambda: os.kill(os.getpid(), signal.SIGKILL))


tasted_here: list[int] = []
"""Grows whenever this process hashes a :class:`Venom`."""


@message
@attrs.frozen(eq=True)
class Venom:
    """A key that kills whoever hashes it, in any process but the one it was made in."""

    maker: int
    tally: str

    def __hash__(self) -> int:
        tasted_here.append(self.maker)
        if os.getpid() != self.maker:
            with open(self.tally, "a", encoding="ascii") as tally:
                tally.write("x")
            os.kill(os.getpid(), signal.SIGKILL)
        return 1
