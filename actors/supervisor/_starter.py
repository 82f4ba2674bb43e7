"""
The thread that calls every ``Process.start()``, and does nothing else.

A start blocks: a stopped forkserver holds it for ever, one that has to be started takes hundreds of milliseconds. The outcome
comes back as an event.
"""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Callable

from actors._actor import Actor
from actors._launch import Boot, launch
from actors._zygote import zygote

__all__ = ["Starter"]

Outcome = Callable[[Actor | None, BaseException | None], object]


class Starter:
    """
    Starts processes one after the other.

    Args:
        method: ``"forkserver"``, ``"spawn"`` or ``"fork"``.
        replaced: Called in this thread with the pid of a forkserver that has ended and has a successor, once for each.
    """

    def __init__(self, method: str, replaced: Callable[[int], object]) -> None:
        self._method = method
        self._replaced = replaced
        self._jobs: queue.SimpleQueue[tuple[type[Actor], Boot, Outcome] | Callable[[], object] | None] = (
            queue.SimpleQueue()
        )
        self._thread = threading.Thread(target=self._run, name="actors-starter", daemon=True)
        self._current: Boot | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, cls: type[Actor], boot: Boot, outcome: Outcome) -> None:
        """Start an incarnation of *cls* in its turn, and call *outcome* with its process object or with the exception."""
        self._jobs.put((cls, boot, outcome))

    def when_idle(self, function: Callable[[], object]) -> None:
        """Call *function* in this thread, which it must not hold up, when all that was submitted before has its outcome."""
        self._jobs.put(function)

    def cancel(self, boot: Boot) -> None:
        """Nobody wants this start any more: it is not begun, or, if it is under way, the helper that may hold it is ended."""
        boot.cancelled = True
        if self._current is boot and self._method == "forkserver":
            zygote.kill()

    def stop(self, timeout: float) -> bool:
        """End the thread when it has done what was submitted, at most *timeout* seconds from now; return whether it ended."""
        self._jobs.put(None)
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        # What is started inherits the mask: Ctrl-C cannot meet a child that is not yet prepared for it.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        while (job := self._jobs.get()) is not None:
            if callable(job):
                job()
            else:
                self._start(*job)

    def _start(self, cls: type[Actor], boot: Boot, outcome: Outcome) -> None:
        if boot.cancelled:
            outcome(None, None)
            return
        self._current = boot
        try:
            actor = launch(cls, boot, self._method)
        except BaseException as error:  # noqa: BLE001 - whatever a start raises is the reason of a failed start, and told
            outcome(None, error)
        else:
            outcome(actor, None)
        finally:
            self._current = None
            if (lost := zygote.take_lost()) is not None:
                self._replaced(lost)
