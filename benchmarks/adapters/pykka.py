"""
Pykka: actors in threads of one process.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

from benchmarks.adapters._adapter import Adapter, asks, milliseconds, tells

pykka: Any = importlib.import_module("pykka")


class Counter(pykka.ThreadingActor):
    """Adds up what it is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def on_receive(self, message: int) -> int:
        self.total += message
        return self.total


@functools.cache
def _counter() -> Any:
    return Counter.start()


def _start() -> Callable[[], object]:
    ref = Counter.start()
    ref.ask(0)
    stop: Callable[[], object] = ref.stop
    return stop


def _tell(count: int) -> float:
    counter = _counter()
    return tells(count, lambda: counter.tell(1), lambda: counter.ask(0))


ADAPTER = Adapter(
    "threads of one process",
    ask=lambda count: asks(count, functools.partial(_counter().ask, 1)),
    tell=_tell,
    start=lambda count: milliseconds(count, _start),
    close=pykka.ActorRegistry.stop_all,
)
