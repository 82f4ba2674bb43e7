"""
How calls ended, as told to those who made them: in the pool's thread, when the workers have got something to do.

A user's code runs here: what unpickles a result, or an exception, and callbacks. Whatever it raises, ``SystemExit`` too, is the outcome of
that call, or is shown; the thread goes on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from actors import _calls
from actors._jobs import Job, Sink, Worker
from actors._shown import show

__all__ = ["Outcomes"]

Answer = tuple[Job, list[Any], Worker]

_PARTS_OF_A_SMALL_ONE: Final = 2  # its code and its data, and no buffers


class Outcomes:
    """What is known and not told."""

    def __init__(self) -> None:
        self._known: deque[Answer] = deque()
        self._told: dict[Sink, None] = {}

    def note(self, job: Job, coded: list[Any], worker: Worker) -> None:
        """This came as the answer to *job*."""
        self._known.append((job, coded, worker))

    def tell_later(self, sink: Sink) -> None:
        """Something was told to *sink* by itself: it is flushed with the next ones."""
        self._told[sink] = None

    def fail(self, job: Job, error: BaseException) -> None:
        """Tell that *job* was not done."""
        if job.begun or job.sink.begin(job.index):
            self.quietly(job.sink.fail, job.index, error)
            self._told[job.sink] = None

    def tell(self, is_wanted: Callable[[], bool] = lambda: False) -> None:
        """
        Tell all that is known.

        Args:
            is_wanted: Whether something else is to be done. It is asked behind each large result, and what is not told then stays known.
        """
        known = self._known
        while known:
            answer = known.popleft()
            self._settle(*answer)
            if len(answer[1]) > _PARTS_OF_A_SMALL_ONE and is_wanted():
                break
        self.flush()

    def flush(self) -> None:
        """Say that this was all for now."""
        told, self._told = self._told, {}
        for sink in told:
            sink.flush()

    def _settle(self, job: Job, coded: list[Any], worker: Worker) -> None:
        sink, index, code = job.sink, job.index, coded[0]
        self._told[sink] = None
        if code == _calls.PLAIN:
            self.quietly(sink.succeed, index, coded[1])
            return
        try:
            value = _read(coded, worker)
        except BaseException as error:  # noqa: BLE001 - a user's __setstate__ may raise anything; it is that call's outcome
            self.quietly(sink.fail, index, error)
            return
        if code == _calls.PICKLED:
            self.quietly(sink.succeed, index, value)
        elif code == _calls.FAILED:
            self.quietly(sink.fail, index, value)
        else:
            self.quietly(sink.unsendable, index, value, coded[2])

    @staticmethod
    def quietly(tell: Any, *args: Any) -> None:
        """Call what may run a callback of a user's."""
        try:
            tell(*args)
        except BaseException:  # noqa: BLE001 - a user's callback may raise anything; futures show what is an Exception themselves
            show("a callback of a pool")


def _read(coded: list[Any], worker: Worker) -> Any:
    """A result or an exception. Raises whatever making it raises."""
    if coded[0] == _calls.PICKLED:
        return _calls.read_value(coded)
    return _calls.read_error(coded if coded[0] == _calls.FAILED else coded[1], worker.ref.path)
