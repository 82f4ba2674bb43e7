"""
How the processes of a pool's workers get ready for calls: by its initializer, which each of them runs as the answer to a first ask.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from actors import _calls, _pool_exit
from actors._batch import Batch
from actors._errands import Errands
from actors._findable import check_findable
from actors._jobs import Plan, Worker
from actors.errors import ActorDied, ActorNotRunningError, MailboxFullError, StartError

__all__ = ["Greeter"]

# Initializers that end their process, in a row, until that is taken for what they always do.
_DEATHS: Final = 5


class Greeter:
    """
    All of the pool's thread.

    Args:
        plan: What the pool was made with.
        token: The pool's name.
        errands: By whom workers are asked.
        stop: Told why no call can be made at all, and what is put before that.
        lose: Told which worker will not come back, and why.
    """

    def __init__(
        self,
        plan: Plan,
        token: str,
        errands: Errands,
        stop: Callable[[BaseException, str], object],
        lose: Callable[[Worker, BaseException], object],
    ) -> None:
        self._plan = plan
        self._token = token
        self._errands = errands
        self._stop = stop
        self._lose = lose
        self._deaths = 0
        # There was no memory for what their initializer is given.
        self._waiting: deque[Worker] = deque()

    def greet(self, worker: Worker) -> None:
        """Have a new process ready for calls."""
        worker.doing, worker.made = "greeting", 0
        try:
            coded = self._code()
        except Exception as error:  # noqa: BLE001 - an initializer that cannot travel, for whatever reason its __reduce__ gives
            self._stop(error, "its initializer, or one of initargs, cannot travel: ")
            return
        small, buffers = (None, []) if coded is None else (coded[:2], coded[2:])
        args = (self._token, small, len(buffers))
        self._try(worker, lambda: self._errands.ask(worker, "greet", args, [], buffers))

    def _code(self) -> list[Any] | None:
        plan = self._plan
        if plan.initializer is None or plan.method == "fork":
            return None
        check_findable(_calls.called(plan.initializer), plan.initializer, plan.method)
        with _calls.spawning():
            return _calls.code_value((plan.initializer, plan.initargs))

    def go_on(self, batch: Batch) -> None:
        """What its initializer is given lies in the worker."""
        self._try(batch.worker, lambda: self._errands.ask_next(batch))

    def _try(self, worker: Worker, ask: Callable[[], object]) -> None:
        try:
            ask()
        except ActorNotRunningError as error:
            self._lose(worker, error)
        except MailboxFullError as error:
            if self._errands.waits_for_memory():
                self._waiting.append(worker)
            else:
                self._stop(error, "")
        except Exception as error:  # noqa: BLE001 - initargs that no message can carry, for whatever reason
            self._stop(error, "")

    def try_again(self) -> None:
        """Greet those for whom there was no memory."""
        for _ in range(len(self._waiting)):
            worker = self._waiting.popleft()
            if worker.doing != "gone":
                self.greet(worker)

    def greet_next(self, worker: Worker) -> None:
        """The same as :meth:`greet`, where the process before it has ended."""
        if _pool_exit.replaces_nothing(self._plan.method):
            self._lose(worker, StartError("the last worker has died, and a program that ends cannot fork another one"))
        else:
            self.greet(worker)

    def succeeded(self) -> None:
        """An initializer has done what it is for."""
        self._deaths = 0

    def failed(self, error: BaseException, *, died: bool) -> None:
        """
        A greeting has failed.

        Args:
            error: How.
            died: Whether its process has died of it, and another one comes.
        """
        function = self._plan.initializer
        self._deaths += function is not None
        if isinstance(error, ActorDied) and not (died and self._deaths >= _DEATHS):
            return
        name = getattr(function, "__qualname__", function)
        self._stop(error, "" if function is None else f"its initializer {name!s:.100} failed: ")
