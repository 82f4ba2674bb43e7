"""
The actor behind each worker of a pool: it makes the calls of one message, and publishes each result before the next call begins.

So a death in the middle loses the call that was running and nothing else: what was done before it is known, what stands behind it was
not begun. Calls that were not begun can be taken back while another one runs: they stand in a deque, from whose left end the
main thread takes what it begins and from whose right end the control thread takes what it gives back, each in one step.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

from actors import _calls
from actors._actor import Actor
from actors._handlers import handler
from actors.errors import EncodeError
from actors.mailbox import _envelope

if TYPE_CHECKING:
    from actors._child import ActorProcess
    from actors._context import Context

__all__ = ["BEGUN", "DONE", "INHERITED", "TAKEN_BACK", "CallWorker"]

TAKEN_BACK: Final = 4
"""The code of an item that says which calls will not be made here; behind the codes of outcomes, as the next one."""

BEGUN: Final = 5
"""The code of an item that says that the initializer runs, from now on for as long as it takes."""

DONE: Final = -1

INHERITED: dict[str, tuple[Callable[..., object] | None, tuple[Any, ...]]] = {}
"""Under ``fork``: the initializer of each pool and its arguments, which the workers have because their host had them."""

_AGAIN_SECONDS: Final = 0.002
_Pending = deque[tuple[int, list[Any]]]


class CallWorker(Actor):
    """
    Internal.

    Args:
        leaves: Whether ``SystemExit`` in a function ends the process, as in ``multiprocessing.Pool``, or is an exception as any other, as
            in ``ProcessPoolExecutor``.
        needs_greeting: Whether a process may begin no call before it was greeted: where there is an initializer, or calls are counted.
    """

    def __init__(self, leaves: bool, needs_greeting: bool) -> None:
        super().__init__()
        self.leaves = leaves
        self.needs_greeting = needs_greeting

    def on_start(self) -> None:
        self.process = cast("Context", self._context)._process
        self.greeted = not self.needs_greeting
        self.loaded: list[bytearray] = []
        self.known: dict[bytes, Any] = {}
        # What the control thread may take from: one object, so that it sees both of the same message.
        self.current: tuple[int, _Pending] = (0, deque())
        self.process.attendant.handlers["take_back"] = self.take_back

    @handler
    def load(self, *buffers: Any) -> None:
        """Copy what the next message needs: so large that its memory is not to be kept from others while calls are made."""
        self.loaded = list(map(bytearray, buffers))

    @handler
    def greet(self, token: str, initializer: list[Any] | None, count: int, *buffers: Any) -> bool:
        """
        Run the initializer; from then on calls may come.

        Args:
            token: Of the pool.
            initializer: As :func:`actors._calls.code_value` has coded it, without its buffers; None where it was inherited.
            count: How many buffers it has.
            *buffers: These, unless they were loaded.

        Returns:
            Whether that was done: not where they were loaded into the process before this one.
        """
        large, self.loaded = buffers or self.loaded, []
        if len(large) < count:
            return False
        if initializer is None:
            function, args = INHERITED.get(token, (None, ()))
        else:
            function, args = _calls.read_value([*initializer, *large])
        del large, buffers
        if function is not None:
            self.process.dispatcher.give(self.process.flow.asked(), [DONE, BEGUN])
            # At once: C code that it runs may let no other thread in for as long as it takes.
            self.process.answering.flush()
            function(*args)
        self.greeted = True
        return True

    @handler
    def retire(self) -> None:
        """Make room for another process: this one has made as many calls as it may."""
        sys.exit(0)

    @handler
    def make(self, functions: list[Any], calls: list[Any], *buffers: Any) -> float | None:
        """
        Make *calls*, each of ``[number of its function, how, code, data, count]``, with so many of the buffers, or of
        what was loaded; answer each as an item of its own.

        Returns:
            Seconds that it took. None if no call was begun: they were sent to the process before this one, which died with nothing
            to do, and nobody has greeted this one, or what they need was loaded into that one.
        """
        large, self.loaded = deque(buffers or self.loaded), []
        if not self.greeted or len(large) < sum(call[4] for call in calls):
            return None
        began = time.monotonic()
        process = self.process
        asked = process.flow.asked()
        pending: _Pending = deque(enumerate(calls))
        del calls
        del buffers
        self.current = (asked[1], pending)
        give = process.dispatcher.give
        while True:
            try:
                index, (number, how, code, data, count) = pending.popleft()
            except IndexError:
                return time.monotonic() - began
            coded = [code, data, *[large.popleft() for _ in range(count)]] if count else [code, data]
            outcome = self._outcome(functions[number], how, coded)
            del coded
            if process.is_copy:
                # A fork that the function has made, and that came back from it.
                process.end_copy()
            try:
                give(asked, [index, *outcome])
            except EncodeError as error:
                give(asked, [index, *_calls.code_error(error)])

    def _outcome(self, function: Any, how: int, coded: list[Any]) -> list[Any]:
        try:
            data, by_name = function
            value = _calls.perform(
                self.known.get(data) or _calls.read_function((data, by_name), self.known), how, coded
            )
        except BaseException as error:  # a function may raise anything; it goes to whoever called
            if self.leaves and isinstance(error, SystemExit):
                raise
            return _calls.code_error(error)
        try:
            return _calls.code_value(value)
        except BaseException as error:  # noqa: BLE001 - a user's __reduce__ may raise anything
            return [_calls.UNSENDABLE, _calls.code_error(error), _shown(value)]

    # --- in the control thread ---------------------------------------------------------------------------------------------

    def take_back(self, fields: tuple[Any, ...], _descriptors: tuple[int, ...]) -> None:
        """Give back what was not begun of the message of that ask; nothing if it is another one's turn."""
        ask_id, pending = self.current
        if ask_id != fields[0]:
            return
        taken: list[int] = []
        try:
            while True:
                taken.append(pending.pop()[0])
        except IndexError:
            pass
        if taken:
            self._say_taken(self.process, _envelope.encode_item(ask_id, [DONE, TAKEN_BACK, taken]), ask_id)

    def _say_taken(self, process: ActorProcess, answer: bytes, ask_id: int) -> None:
        if process.answering.put(0, ask_id, answer):
            process.answering.flush()
        else:
            # Its region is full of results that the host is about to take.
            process.attendant.after(_AGAIN_SECONDS, lambda: self._say_taken(process, answer, ask_id))


def _shown(value: object) -> str:
    try:
        return repr(value)[:200]
    except BaseException as error:  # noqa: BLE001 - a user's __repr__ may raise anything
        return f"<a {type(value).__name__} whose repr() raised {type(error).__name__}>"
