"""
What stands before a limited ref in one process: decides whether a send begins, and learns how it has ended.

The decisions are those of the pure :mod:`actors.mailbox._bucket` and :mod:`actors.mailbox._circuit`; here are the clock, the lock and those
who wait. The lock is held for a decision alone, never while something is sent or waited for. How a send has ended may be told by any
thread, also by the one that reads answers for everybody, which may not wait for a lock: so it is noted in a queue, and taken into account
by whoever has the lock, or gets it at once. A signal handler or a ``__del__`` that sends in the middle of a decision decides in between.

Python may raise out of a signal handler at any call, so a send is noted before it takes anything, its end is taken out of the queue after it
was taken into account, and to take it into account twice is harmless: no place and no probe is lost that way.
"""

from __future__ import annotations

import functools
import math
import os
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, TypeAlias

import attrs

from actors._log import emit
from actors._seams import nodes
from actors.errors import CircuitOpenError, RateLimitedError, SpecError
from actors.mailbox._answers import Parking
from actors.mailbox._bucket import TokenBucket
from actors.mailbox._circuit import Breaker, BreakerState, Circuit, Verdict, judge
from actors.mailbox._lock import RLock

if TYPE_CHECKING:
    from actors._reply import Reply

__all__ = ["Gate", "Limits", "Permit"]

_Refusal: TypeAlias = tuple[Literal["breaker", "concurrency", "rate"], float]

_LONGEST_REASON: Final = 200  # characters, in errors and in the log


@attrs.frozen
class Limits:
    """
    The numbers of one limit.

    Attributes:
        rate: Sends a second, above 0; None for any number.
        burst: How many of them may go at once after a pause; at least 1.
        concurrency: How many asks and streams may be open at a time, at least 1; None for any number.
        breaker: When sends are refused because others have failed; None for never.

    Raises:
        SpecError: A number outside its range, a burst without a rate, or no limit at all.
    """

    rate: float | None
    burst: int | None
    concurrency: int | None
    breaker: Breaker | None

    def __attrs_post_init__(self) -> None:
        problems = [
            f"limit({name}={value!r}): must be None or a whole number, at least 1"
            for name, value in (("burst", self.burst), ("concurrency", self.concurrency))
            if value is not None and (type(value) is not int or value < 1)
        ]
        if self.rate is not None and not _is_rate(self.rate):
            problems.append(f"limit(rate={self.rate!r}): must be None or sends a second, above 0 and finite")
        breaker: object = self.breaker
        if not isinstance(breaker, Breaker | None):
            problems.append(f"limit(breaker={breaker!r}): must be None or a Breaker")
        if self.rate is None and self.burst is not None:
            problems.append(f"limit(burst={self.burst!r}): needs a rate")
        if self.rate is None and self.concurrency is None and self.breaker is None:
            problems.append("limit(): needs a rate, a concurrency or a breaker")
        if problems:
            raise SpecError(*problems)


def _is_rate(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


class Held:
    """
    What one send has taken, until it has ended.

    Args:
        place: Whether that is one of the places for open asks.
        round_: Of the breaker, in which it began.
    """

    __slots__ = ("done", "place", "round")

    def __init__(self, place: bool, round_: int) -> None:
        self.place = place
        self.round = round_
        self.done = False


class Permit:
    """
    One send that was let through; told how it has ended. One that is lost before that counts as ended, as by a cancel.

    Args:
        gate: That lets it through.

    Attributes:
        held: What it has taken; None for nothing that would have to be given back.
    """

    __slots__ = ("_gate", "_reply", "held")

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._reply: Reply[Any] | None = None
        self.held: Held | None = None

    def follow(self, reply: Reply[Any]) -> None:
        """Have it end with *reply*: answered, failed, timed out or cancelled; a stream also when it is closed."""
        self._reply = reply
        reply.listen(self)
        self.reply_done()

    def reply_done(self) -> None:
        """See :class:`~actors.mailbox._answers.Listener`; a stream also tells of each item."""
        reply = self._reply
        if reply is not None and reply._outcomes:
            self.end(reply._outcomes[0][1])
            self._reply = None  # which refers to this

    def end(self, error: BaseException | None, verdict: Verdict | None = None) -> None:
        """It has ended, with an error or without. The first end counts."""
        held = self.held
        if held is not None and not held.done:
            self._gate.ended(held, error, verdict)

    def __del__(self) -> None:
        self.end(None, "neither")


class Gate:
    """
    The limits of one ref in this process.

    Args:
        limits: Their numbers.
        system: Of the ref.
        path: Of the actor or pool, for errors and the log.
    """

    def __init__(self, limits: Limits, system: str, path: str) -> None:
        self.limits = limits
        self._system = system
        self._path = path
        self.reset()
        _all.add(self)

    def reset(self) -> None:
        """Begin anew: nothing was sent, and nobody waits. Whatever is under way belongs to somebody else, such as the parent of a fork."""
        limits, rate = self.limits, self.limits.rate
        self._bucket = None if rate is None else TokenBucket(rate, limits.burst or max(1, int(rate)))
        self._circuit = None if limits.breaker is None else Circuit(limits.breaker)
        self._lock = RLock()
        self._places: set[Held] = set()
        self._ends: deque[tuple[Held, Verdict, str, float]] = deque()
        self._waiting: list[Parking] = []

    @property
    def open(self) -> int:
        """How many asks and streams are open, where *concurrency* is limited."""
        return len(self._places)

    @property
    def breaker_state(self) -> BreakerState:
        """The state of the breaker; closed where there is none."""
        self._settle_soon()
        return "closed" if self._circuit is None else self._circuit.state

    # --- beginning ----------------------------------------------------------------------------------------------------------

    def admit(self, wait: float, *, stays: bool) -> Permit:
        """
        Let one send through.

        Args:
            wait: Seconds to wait for a token or a place; 0 for not at all.
            stays: Whether it is open until it has ended, as an ask is.

        Raises:
            CircuitOpenError: The breaker is open. Never waits for that.
            RateLimitedError: There was no token or no place.
        """
        permit = Permit(self)
        refusal = self._enter(permit, stays)
        if refusal is not None:
            self._wait(permit, refusal, stays, wait)
        return permit

    def _wait(self, permit: Permit, refusal: _Refusal | None, stays: bool, wait: float) -> None:
        give_up = time.monotonic() + wait
        while refusal is not None:
            until = time.monotonic() + refusal[1]
            # A token that comes too late is not waited for.
            if refusal[0] == "breaker" or time.monotonic() >= give_up or give_up < until < math.inf:
                self._refuse(refusal, wait)
            parking = Parking()
            self._waiting.append(parking)
            try:
                # Once more: what ended since then woke nobody here.
                refusal = self._enter(permit, stays)
                if refusal is not None and refusal[0] != "breaker":
                    parking.sleep(min(give_up, time.monotonic() + refusal[1]))
                    refusal = self._enter(permit, stays)
            finally:
                self._waiting.remove(parking)

    def _enter(self, permit: Permit, stays: bool) -> _Refusal | None:
        with self._lock:
            refusal = self._decide(permit, stays, time.monotonic())
        if self._ends:
            self._settle_soon()  # it came while the lock was held here
        return refusal

    def _decide(self, permit: Permit, stays: bool, now: float) -> _Refusal | None:
        if self._ends:
            self._settle()
        circuit = self._circuit
        if circuit is not None and (seconds := circuit.wait(now)) > 0.0:
            return "breaker", seconds
        most = self.limits.concurrency if stays else None
        if most is not None and len(self._places) >= most:
            return "concurrency", math.inf
        if self._bucket is not None and (seconds := self._bucket.take(now)) > 0.0:
            return "rate", seconds
        if most is not None or circuit is not None:
            self._begin(permit, most is not None, circuit)
        return None

    def _begin(self, permit: Permit, place: bool, circuit: Circuit | None) -> None:
        permit.held = held = Held(place, 0 if circuit is None else circuit.next_round)
        if place:
            self._places.add(held)
        if circuit is not None and circuit.state != "closed":
            rested = circuit.state == "open"
            circuit.begin()
            if rested:
                self._log("info", "actors.breaker_half_open")

    def _refuse(self, refusal: _Refusal, wait: float) -> NoReturn:
        limit, seconds = refusal
        retry_after = None if seconds == math.inf else seconds
        if limit == "breaker":
            assert self._circuit is not None
            when = "its probes are on their way" if retry_after is None else f"the next probe may go in {seconds:.3g} s"
            raise CircuitOpenError(
                f"the breaker of {self._path} is {self._circuit.state.replace('_', '-')}: {self._circuit.reason}; {when}",
                target=self._path,
                retry_after=retry_after,
            )
        waited = f", for {wait:.3g} s" if wait else ""
        if limit == "rate":
            bucket = self._bucket
            assert bucket is not None
            text = (
                f"rate={bucket.rate:g}, burst={bucket.burst} are used up{waited}; there is a token in {seconds:.3g} s"
            )
        else:
            text = f"concurrency={self.limits.concurrency}: so many asks are open{waited}; wait for one of them"
        raise RateLimitedError(
            f"no send to {self._path}: {text}", target=self._path, limit=limit, retry_after=retry_after
        )

    # --- ending -------------------------------------------------------------------------------------------------------------

    def ended(self, held: Held, error: BaseException | None, verdict: Verdict | None) -> None:
        """A send has ended, with this error, or this verdict on it. Any thread; never waits."""
        if error is None and not held.place and (self._circuit is None or self._circuit.state == "closed"):
            held.done = True  # as often; a breaker that is closed learns nothing from what has passed
            return
        breaker = self.limits.breaker
        reason = ""
        if verdict is None:
            verdict = "neither" if breaker is None else judge(error, breaker)
            reason = "" if verdict != "failed" else f"{type(error).__name__}: {error}"[:_LONGEST_REASON]
        self._ends.append((held, verdict, reason, time.monotonic()))
        self._settle_soon()

    def _settle_soon(self) -> None:
        """Take note of what has ended, unless another thread decides, which looks when it is done."""
        while self._ends and self._lock.acquire(blocking=False):
            try:
                self._settle()
            finally:
                self._lock.release()

    def _settle(self) -> None:
        """For who has the lock."""
        ends = self._ends
        while ends:
            end = ends[0]
            if not end[0].done:
                self._note(*end)
                end[0].done = True
            if ends and ends[0] is end:  # else a signal handler has done it
                ends.popleft()

    def _note(self, held: Held, verdict: Verdict, reason: str, when: float) -> None:
        self._places.discard(held)
        circuit = self._circuit
        if circuit is not None:
            before = circuit.state
            circuit.end(held.round, verdict, when, reason)
            if circuit.state != before:
                self._tell(circuit)
        for parking in tuple(self._waiting):
            parking.reply_done()

    def _tell(self, circuit: Circuit) -> None:
        if circuit.state == "open":
            self._log("warning", "actors.breaker_opened", seconds=circuit.breaker.reset_after, reason=circuit.reason)
        else:
            self._log("info", "actors.breaker_closed")

    def _log(self, level: str, event: str, **keys: object) -> None:
        node: Any = nodes.get(self._system)
        if node is not None:  # it has stopped: nobody is told any more
            node.run_callback(functools.partial(emit, level, event, path=self._path, pid=os.getpid(), **keys))


_all: weakref.WeakSet[Gate] = weakref.WeakSet()


def _after_fork_in_child() -> None:  # pragma: no cover - runs where nobody measures; a test looks at what it did
    # A thread of the parent may have been deciding.
    for gate in list(_all):
        gate.reset()


os.register_at_fork(after_in_child=_after_fork_in_child)
