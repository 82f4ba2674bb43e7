"""
Thespian: actors in processes, over TCP on this machine.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

from benchmarks.adapters._adapter import Adapter, asks, milliseconds, tells

actors: Any = importlib.import_module("thespian.actors")

PATIENCE = 20  # seconds for one answer


class Counter(actors.Actor):
    """Adds up what it is sent; answers where a sum is wanted."""

    total = 0

    def receiveMessage(self, message: Any, sender: Any) -> None:  # noqa: N802 - its name
        if type(message) is tuple:
            self.total += message[0]
            if message[1]:
                self.send(sender, self.total)


@functools.cache
def _system() -> Any:
    return actors.ActorSystem("multiprocTCPBase")


@functools.cache
def _counter() -> Any:
    return _system().createActor(Counter)


def _ask(counter: Any, amount: int) -> None:
    assert _system().ask(counter, (amount, True), PATIENCE) is not None


def _start() -> Callable[[], object]:
    made = _system().createActor(Counter)
    _ask(made, 0)
    return lambda: _system().tell(made, actors.ActorExitRequest())


def _tell(count: int) -> float:
    system, counter = _system(), _counter()
    return tells(count, lambda: system.tell(counter, (1, False)), lambda: _ask(counter, 0))


ADAPTER = Adapter(
    "processes, TCP",
    ask=lambda count: asks(count, functools.partial(_ask, _counter(), 1)),
    tell=_tell,
    start=lambda count: milliseconds(count, _start),
    close=lambda: _system().shutdown(),
)
