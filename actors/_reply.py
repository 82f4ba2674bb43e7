"""
The answer to come of one ask: a ``concurrent.futures.Future`` that can also be awaited.

Two rules shape it. *Python may raise out of a signal handler at any bytecode* of the main thread, which may be waiting
here, or be the one that reads the answer for somebody else: so the outcome is one append to a list (the first entry
counts), every wake-up may be repeated, and :meth:`Reply.complete` called again goes on where it was interrupted. *The
pump never blocks*: so completing takes no lock that a user's thread can hold.

``concurrent.futures.wait`` and ``as_completed`` work under a lock of each future. That lock is made when they first ask
for it, and what they see of the reply is a view that only moves while nobody holds it: see :class:`_FuturesView`.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import copy
import threading
import time
from _thread import start_new_thread
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

from actors._seams import check_process
from actors.errors import AskTimeoutError
from actors.mailbox._answers import Parking
from actors.mailbox._lock import RLock

if TYPE_CHECKING:
    from types import TracebackType

    from actors._ref import ActorRef
    from actors._seams import Keeper
    from actors.mailbox._answers import AnswerLane, Listener

__all__ = ["LoopWaiter", "Reply", "raise_fresh"]

R = TypeVar("R")

_PENDING: Final = "PENDING"
_CANCELLED: Final = "CANCELLED_AND_NOTIFIED"
_FINISHED: Final = "FINISHED"


class Reply(concurrent.futures.Future[R]):
    """
    The answer to come of one ask.

    ``reply.result(timeout)`` waits in a thread, ``await reply`` in an event loop; it also fits ``concurrent.futures.wait``,
    ``as_completed`` and ``asyncio.wrap_future``. Where asyncio wants a task, ``asyncio.ensure_future(reply)`` is one, as of every awaitable;
    ``asyncio.create_task`` takes coroutines alone. An ask ends once: answered, failed, timed out or cancelled.

    Args:
        ask_id: Number of the ask, unique among those of this process.
        target: Who was asked.
        node: Who asked: ends the ask and runs the callbacks.
        lane: Where the answer arrives, to be read by whoever waits; None where somebody else reads it.
        deadline: When the ask ends by itself, as a ``time.monotonic()`` value; None for never.
    """

    _view: _FuturesView | None = None

    def __init__(
        self, ask_id: int, target: ActorRef[Any], node: Keeper, lane: AnswerLane | None, deadline: float | None
    ) -> None:
        # Future.__init__ is left out on purpose: it makes a lock and a condition for every ask, and is what costs
        # there.
        self.ask_id = ask_id
        self.target = target
        self.deadline = deadline
        self._node = node
        self._lane = lane
        self._outcomes: list[tuple[Any, BaseException | None]] = []
        self._listeners: list[Listener] = []

    # --- waiting ----------------------------------------------------------------------------------------------------

    def result(self, timeout: float | None = None) -> R:
        """
        Wait for the answer and return it.

        Args:
            timeout: Seconds that this call waits; None for as long as the ask may take. The ask stays open when it is
                over.

        Raises:
            AskTimeoutError: No answer within *timeout*, or the ask's own deadline has passed, which ended it.
            HandlerError: The handler raised; where that was a builtin exception, the error is of its class, too.
            ActorDied: The actor died first.
            concurrent.futures.CancelledError: It was cancelled here.
            DeadlockError: A signal handler waits for what its own thread was just reading.
        """
        if not self._outcomes:
            self._wait(timeout)
        value, error = self._outcomes[0]
        if error is not None:
            raise_fresh(error)
        return value  # type: ignore[no-any-return]

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """
        Wait for the answer and return what :meth:`result` would raise, None if it would not.

        Args:
            timeout: As for :meth:`result`; also raises like it when the time is over, and when the ask was cancelled.
        """
        if not self._outcomes:
            self._wait(timeout)
        error = self._outcomes[0][1]
        if isinstance(error, concurrent.futures.CancelledError):
            raise_fresh(error)
        return error

    def done(self) -> bool:
        """Whether the ask has ended, in whatever way."""
        return bool(self._outcomes)

    def running(self) -> bool:
        """Always False: in this class the word means that a future cannot be cancelled any more."""
        return False

    def cancelled(self) -> bool:
        """Whether the ask was ended by :meth:`cancel`."""
        return bool(self._outcomes) and isinstance(self._outcomes[0][1], concurrent.futures.CancelledError)

    def cancel(self) -> bool:
        """
        End the ask here. A message that is not started is skipped; a running handler sees ``self.cancelled``.

        Returns:
            Whether it is cancelled; False when it had ended otherwise.
        """
        if self._finish((None, concurrent.futures.CancelledError(f"the ask to {self.target.path} was cancelled"))):
            self._node.cancel(self)
            return True
        return self.cancelled()

    def add_done_callback(self, fn: Callable[[Any], object]) -> None:
        """
        Have ``fn(reply)`` called once when the ask has ended, in the system's callback thread; also when it has ended
        already.

        Args:
            fn: What it raises is logged. A slow one delays other callbacks, nothing else.
        """
        callback = _Callback(self._node, self, fn)
        self._listeners.append(callback)
        self._hand_over()
        if self._outcomes:
            callback.reply_done()

    def __await__(self) -> Generator[Any, None, R]:
        """Wait in the running event loop. Cancelling the waiting task leaves the ask open; its own deadline ends it."""
        if not self._outcomes:
            check_process(self.target.system)
            loop = asyncio.get_running_loop()
            waiter = LoopWaiter(loop)
            timer = None
            self._listeners.append(waiter)
            try:
                if self.deadline is not None:
                    timer = loop.call_later(max(0.0, self.deadline - time.monotonic()), self._expire)
                if not self._outcomes:
                    self._hand_over()
                    yield from waiter.future
            finally:
                if timer is not None:
                    timer.cancel()
                self.forget(waiter)
        return self.result()

    def _hand_over(self) -> None:
        """Somebody waits who reads no lane: have the pump read it."""
        if self._lane is not None:
            self._lane.hand_over()

    def _wait(self, timeout: float | None) -> None:
        """Return when the ask has ended, at its deadline at the latest. Raises when *timeout* is over first."""
        check_process(self.target.system)
        own = None if timeout is None else time.monotonic() + max(0.0, timeout)
        until = self.deadline if own is None or (self.deadline is not None and self.deadline < own) else own
        if self._lane is not None:
            self._lane.wait(self, until)
        else:
            self.park(until)
        if self._outcomes:
            return
        if self.deadline is not None and time.monotonic() >= self.deadline:
            self._expire()
            return
        raise AskTimeoutError(
            f"no answer from {self.target.path} within {timeout:.3g} s; "
            "the ask stays open, and its message may still be handled",
            target=self.target.path,
            timeout=timeout or 0.0,
        )

    def park(self, until: float | None, listener: Parking | None = None) -> None:
        """
        Sleep until the ask has ended, *listener* is woken by another, or it is *until*. For lanes, and for replies
        without one.

        Args:
            until: A ``time.monotonic()`` value, or None.
            listener: Where to sleep; by default a place that only the end of the ask wakes.
        """
        parking = listener or Parking()
        self._listeners.append(parking)
        try:
            if not self._outcomes:
                parking.sleep(until)
        finally:
            self.forget(parking)

    def _expire(self) -> None:
        if not self._outcomes:
            self._node.expire(self)
        if not self._outcomes:
            # The node has forgotten this ask, as at its own end; the promise to end it is the reply's.
            self.fail(AskTimeoutError(f"ask to {self.target.path} timed out at its deadline", target=self.target.path))

    # --- ending: for nodes ------------------------------------------------------------------------------------------

    def complete(self, value: R) -> bool:
        """
        End the ask with its answer, unless it has ended: the first end counts. Any thread may call it, and nothing
        here blocks.

        Called again after an exception of a signal handler came out of it, it goes on: everybody who waits is woken,
        every callback runs once. So a node forgets an ask *after* this has returned.

        Returns:
            Whether this call ended it.
        """
        return self._finish((value, None))

    def fail(self, error: BaseException) -> bool:
        """End the ask with an error; otherwise as :meth:`complete`."""
        return self._finish((None, error))

    def set_result(self, result: R) -> None:
        """As :meth:`complete`, in the words of executors: ``InvalidStateError`` when it has ended."""
        if not self.complete(result):
            raise concurrent.futures.InvalidStateError(f"{self!r} has ended already")

    def set_exception(self, exception: BaseException | None) -> None:
        """As :meth:`fail`, in the words of executors: ``InvalidStateError`` when it has ended."""
        if exception is None or not self.fail(exception):
            raise concurrent.futures.InvalidStateError(f"{self!r} has ended already, or the exception is None")

    def set_running_or_notify_cancel(self) -> bool:
        """Whether it is worth starting: it is not cancelled."""
        return not self.cancelled()

    def _finish(self, outcome: tuple[Any, BaseException | None]) -> bool:
        outcomes = self._outcomes
        if not outcomes:
            # Two threads may both come here; the first entry counts, and append is atomic.
            outcomes.append(outcome)
        if self._listeners:
            for listener in tuple(self._listeners):
                listener.reply_done()
        if self._view is not None:
            self._view.publish_soon()
        return outcomes[0] is outcome

    def listen(self, listener: Listener) -> None:
        """Have *listener* told when the ask ends, from now on. Whoever calls this looks at :meth:`done` afterwards."""
        self._listeners.append(listener)

    def forget(self, listener: Listener) -> None:
        """Tell *listener* no more. One whose wait was interrupted before this stays, and does no harm."""
        try:  # noqa: SIM105 - once per ask, and a third of a microsecond less
            self._listeners.remove(listener)
        except ValueError:
            pass

    # --- what concurrent.futures and asyncio look at ----------------------------------------------------------------

    def _futures_view(self) -> _FuturesView:
        view = self._view
        if view is None:
            # setdefault is atomic: of two threads that come here at once, both get the same view.
            view = vars(self).setdefault("_view", _FuturesView(self))
            self._hand_over()
            if self._outcomes:
                # It may have ended between the making of the view and its storing, when nobody could tell the view.
                view.publish_soon()
        return view

    if not TYPE_CHECKING:
        # Attributes in the base class, and to type checkers here; in truth they are made when they are first looked at.

        @property
        def _condition(self):  # noqa: ANN202 - as in the base class
            return self._futures_view()

        @property
        def _state(self):  # noqa: ANN202 - as in the base class
            return self._futures_view().state

        @property
        def _waiters(self):  # noqa: ANN202 - as in the base class
            return self._futures_view().waiters

    def _get_snapshot(self) -> tuple[bool, bool, Any, BaseException | None]:
        # asyncio from 3.14 on: done, cancelled, result, exception.
        if not self._outcomes:
            return False, False, None, None
        value, error = self._outcomes[0]
        return (True, True, None, None) if self.cancelled() else (True, False, value, error)

    def __repr__(self) -> str:
        state = "open"
        if self._outcomes:
            error = self._outcomes[0][1]
            state = "answered" if error is None else "cancelled" if self.cancelled() else f"failed: {error!r}"
        return f"<Reply from {self.target.path}: {state}>"


class _Callback:
    """A callback that runs once, however often the end of its reply is told and it is queued."""

    __slots__ = ("_functions", "_node", "_reply")

    def __init__(self, node: Keeper, reply: Reply[Any], function: Callable[[Any], object]) -> None:
        self._node = node
        self._reply = reply
        self._functions = [function]

    def reply_done(self) -> None:
        """Have it run, if it has not."""
        if self._functions:
            self._node.run_callback(self, self._reply)

    def __call__(self, reply: Reply[Any]) -> object:
        """Run it, in the callback thread. The pop is the claim: it is atomic."""
        try:
            function = self._functions.pop()
        except IndexError:
            return None
        return function(reply)

    def __repr__(self) -> str:
        return f"<done callback {self._functions}>"


class LoopWaiter:
    """One ``await``: wakes the event loop from any thread."""

    __slots__ = ("_loop", "future")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.future: asyncio.Future[None] = loop.create_future()

    def reply_done(self) -> None:
        """Wake the waiting task, one turn of the loop later."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


class _FuturesView:
    """
    A reply as ``concurrent.futures.wait`` and ``as_completed`` know futures: a lock, a state, and a list of waiters.

    They hold the locks of all their futures, read the states, and leave a waiter in each; between, no state may change.
    So the state here moves, and the waiters are told, only under the lock; and as a reply is completed by threads that
    must not wait for a lock, whoever finds it taken leaves the telling to its holder, who looks when it lets go. It is
    never done in the main thread, where the exception of a signal handler could cut it in two, and a waiter counts how
    often it is told.
    """

    def __init__(self, reply: Reply[Any]) -> None:
        self._reply = reply
        self._lock = RLock()
        self.waiters: list[Any] = []
        self.state = self._state_now()
        self._published = self.state != _PENDING

    def acquire(self, *args: Any, **kwargs: Any) -> bool:
        """Take the lock."""
        return self._lock.acquire(*args, **kwargs)

    def release(self) -> None:
        """Let the lock go, and tell what had to wait for it."""
        self._lock.release()
        if self._reply.done():
            self.publish_soon()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def publish_soon(self) -> None:
        """Show that the reply is done: now, or in a new thread where this is the main one, or by who has the lock."""
        if self._published:
            return
        if threading.current_thread() is threading.main_thread():
            with contextlib.suppress(RuntimeError):  # the interpreter is shutting down: so are those who wait
                start_new_thread(self._publish, ())
        else:
            self._publish()

    def _publish(self) -> None:
        while not self._published:
            if not self._lock.acquire(blocking=False):
                return
            try:
                self._tell()
            finally:
                self._lock.release()

    def _tell(self) -> None:
        if self._published:
            return
        self.state = self._state_now()
        error = self._reply._outcomes[0][1]
        for waiter in self.waiters:
            if self.state == _CANCELLED:
                waiter.add_cancelled(self._reply)
            elif error is not None:
                waiter.add_exception(self._reply)
            else:
                waiter.add_result(self._reply)
        self._published = True

    def _state_now(self) -> str:
        if not self._reply.done():
            return _PENDING
        return _CANCELLED if self._reply.cancelled() else _FINISHED


def raise_fresh(error: BaseException) -> NoReturn:
    """Raise a copy, so that threads that wait for one reply do not write into one traceback."""
    try:
        fresh = copy.copy(error)
    except Exception:  # noqa: BLE001 - an exception class of a user may refuse to be copied, in any way it likes
        fresh = error
    if type(fresh) is not type(error):
        fresh = error
    fresh.args = error.args  # those of an OSError, as timeouts are, are left to its __init__, which a copy does without
    fresh.__cause__ = error.__cause__
    fresh.__suppress_context__ = error.__suppress_context__
    try:
        raise fresh.with_traceback(None)
    finally:
        # The traceback refers to this frame and to those of the callers: what they hold would stay until the next garbage collection.
        del error, fresh
