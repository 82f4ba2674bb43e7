"""
Tells those who watch an incarnation, and those linked to it, that it has ended; and sees to it that the linked ones end too.

A watch or a link is with the incarnation that is there, starting or running. Of an actor that is between two incarnations, parked
or gone it is told at once, as of one that has just died; of one that has not begun yet it is with the first. Who has been told of
that end already, and watches or links again while the next incarnation is still to come, waits for that one: to follow all of them
it is enough to watch again in the handler of the news. A start that failed was an incarnation too. One that is replaced and hands
over has not died to others: they go on with its successor.

Runs in the pump's thread. What follows from a death is :mod:`actors.supervisor._watches`'s to say; this is the shell around it.
"""

from __future__ import annotations

import functools
import signal
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import attrs

from actors.errors import ActorDied, ProtocolError
from actors.mailbox import _failure
from actors.supervisor import _exits
from actors.supervisor._cells import Body, Cell
from actors.supervisor._watches import HOST, Life, Watches, is_abnormal

if TYPE_CHECKING:
    from actors._host import Host
    from actors.supervisor._runner import Runner

__all__ = ["MOST_WATCHES", "Obituaries"]

MOST_WATCHES = 100_000
"""Open watches of one actor, and links of one: more is no honest use, and each is memory of the host."""

# Of so many watches one notice tells: a hundred thousand would be too long for a frame, and for a turn of the pump.
_NUMBERS_PER_NOTICE = 4096
# How many actors that are gone can still say how they ended.
_REMEMBERED = 10_000
_PATH_CHARACTERS = 500
# How soon it is looked again for a process that was not to be had yet when it was to be signalled.
_AGAIN_SECONDS = 0.1


@attrs.frozen
class _End:
    """How a life ended, as others are told of it: whose, under which number, why."""

    uid: int
    path: str
    incarnation: int
    reason: _exits.ExitReason


class Obituaries:
    """
    The watches and links of a system, and the news of deaths.

    Args:
        host: Everything the system shares.
        runner: Whose actors they are.
    """

    def __init__(self, host: Host, runner: Runner) -> None:
        self._host = host
        self._pump = host.pump
        self._runner = runner
        self._book = Watches()
        self._bodies: dict[Life, Body] = {}
        self._doomed: dict[Life, dict[int, dict[str, Any]]] = {}
        self._ended: dict[int, int] = {}
        self._told: dict[Life, dict[int, int]] = {}
        self._gone: OrderedDict[int, tuple[str, int]] = OrderedDict()

    # --- what an actor asks for -------------------------------------------------------------------------------------------

    def watch(self, cell: Cell, body: Body, request: Any, number: Any, uid: Any) -> None:
        """An actor watches another; whatever becomes of that one once this is answered is told."""
        life = self._life(cell, body)
        if not _are_numbers(request, number, uid) or uid == cell.uid or self._book.count(life) >= MOST_WATCHES:
            raise ProtocolError(f"watch {number!r} of actor {uid!r}")
        self._watch(life, number, uid)
        self._runner.tell_body(body, "answer", request, "ok")

    def watch_for_host(self, number: int, uid: int) -> None:
        """The host's program watches an actor."""
        self._watch(HOST, number, uid)

    def _watch(self, life: Life, number: int, uid: int) -> None:
        there = self._there(uid, life)
        if isinstance(there, _End):
            self._tell_watcher(life, [number], there)
        else:
            self._book.watch(life, number, there)

    def unwatch(self, cell: Cell, body: Body, number: Any) -> None:
        """An actor takes a watch back."""
        self._book.unwatch((cell.uid, body.incarnation), number)

    def unwatch_for_host(self, number: int) -> None:
        """The host's program takes a watch back."""
        self._book.unwatch(HOST, number)

    def link(self, cell: Cell, body: Body, request: Any, uid: Any, path: Any) -> None:
        """An actor links itself to another; *path* is what it calls one that is long forgotten here."""
        life = self._life(cell, body)
        if not _are_numbers(request, uid) or uid == cell.uid or self._book.links_of(life) >= MOST_WATCHES:
            raise ProtocolError(f"link to actor {uid!r}")
        there = self._there(uid, life)
        if isinstance(there, _End):
            # As OTP's noproc: whatever its end was, whoever cannot do without it finds it missing.
            self._tell_linked(life, attrs.evolve(there, path=there.path or str(path)[:_PATH_CHARACTERS]), fatal=True)
        else:
            self._book.link(life, there)
        self._runner.tell_body(body, "answer", request, "ok")

    def unlink(self, cell: Cell, body: Body, number: Any, uid: Any) -> None:
        """An actor takes a link back; once it is answered, no death of the other concerns it any more."""
        life = self._life(cell, body)
        if not _are_numbers(number, uid):
            raise ProtocolError(f"unlink {number!r} of actor {uid!r}")
        self._book.unlink(life, uid)
        self._doomed.get(life, {}).pop(uid, None)
        self._runner.tell_body(body, "answer", number, "ok")

    def trap(self, cell: Cell, body: Body, number: Any, on: Any) -> None:
        """An actor wants deaths of linked ones as messages, from the answer on; or does not any more."""
        if not _are_numbers(number):
            raise ProtocolError(f"trap {number!r}")
        self._book.trap(self._life(cell, body), on=bool(on))
        self._runner.tell_body(body, "answer", number, "ok")

    def _life(self, cell: Cell, body: Body) -> Life:
        life = (cell.uid, body.incarnation)
        self._bodies[life] = body
        return life

    def _there(self, uid: int, life: Life) -> Life | _End:
        """Return which life of *uid* it is that *life* wants to know about, or how it ended."""
        cell = self._runner.cells.get(uid)
        if cell is None:
            path, last = self._gone.get(uid, ("", 0))
            long_gone = _exits.ExitReason("unknown", evidence=("it is gone for long",))
            return _End(uid, path, last, self._host.reason_of(uid) or long_gone)
        if cell.body is not None:
            return uid, cell.body.incarnation
        last = self._ended.get(uid, 0)
        reason = cell.gone or cell.last
        if reason is None or (cell.gone is None and self._told.get(life, {}).get(uid) == last):
            return uid, last + 1
        return _End(uid, cell.path, last, reason)

    # --- a death ----------------------------------------------------------------------------------------------------------

    def ended(self, cell: Cell, incarnation: int, reason: _exits.ExitReason) -> None:
        """An incarnation has ended, or could not be started: tell whom it concerns, once."""
        life = self._bury(cell, incarnation)
        self._tell(life, _End(cell.uid, cell.path, incarnation, reason))

    def handed_over(self, cell: Cell, incarnation: int, successor: int) -> None:
        """An incarnation has left its place to the one that stood by: nobody is told, and nobody's watch or link is over."""
        self._book.pass_on(self._bury(cell, incarnation), (cell.uid, successor))

    def _bury(self, cell: Cell, incarnation: int) -> Life:
        life = (cell.uid, incarnation)
        self._bodies.pop(life, None)
        self._doomed.pop(life, None)
        self._told.pop(life, None)
        # One that was to take over may have ended before the one that serves.
        self._ended[cell.uid] = max(incarnation, self._ended.get(cell.uid, 0))
        return life

    def gone(self, cell: Cell, reason: _exits.ExitReason) -> None:
        """No incarnation will come: remember how the last one ended, and tell those who waited for another one."""
        ended = self._ended.pop(cell.uid, 0)
        self._gone[cell.uid] = cell.path, ended
        if len(self._gone) > _REMEMBERED:
            self._gone.popitem(last=False)
        self._tell((cell.uid, ended + 1), _End(cell.uid, cell.path, ended, reason))
        for told in self._told.values():
            told.pop(cell.uid, None)

    def _tell(self, life: Life, end: _End) -> None:
        ending = self._book.end(life)
        for watcher, numbers in ending.watchers.items():
            self._tell_watcher(watcher, numbers, end)
        for linked in ending.linked:
            self._tell_linked(linked, end, fatal=is_abnormal(end.reason))

    def _tell_watcher(self, watcher: Life, numbers: list[int], end: _End) -> None:
        self._told.setdefault(watcher, {})[end.uid] = end.incarnation
        if watcher == HOST:
            self._host.watches.ended(numbers, end.incarnation, end.reason)
            return
        body = self._bodies.get(watcher)
        if body is None:
            return
        data = _exits.to_data(end.reason)
        for start in range(0, len(numbers), _NUMBERS_PER_NOTICE):
            some = numbers[start : start + _NUMBERS_PER_NOTICE]
            self._runner.tell_body(body, "watched", some, end.incarnation, data)

    # --- those who do not live on without it ------------------------------------------------------------------------------

    def _tell_linked(self, life: Life, end: _End, *, fatal: bool) -> None:
        cell = self._runner.cells.get(life[0])
        body = self._body(cell, life)
        if cell is None or body is None or body.dead:
            return
        data = _exits.to_data(end.reason)
        if self._book.traps(life):
            self._told.setdefault(life, {})[end.uid] = end.incarnation
            self._runner.tell_body(body, "linked", end.uid, end.path, end.incarnation, data, None)
        elif fatal:
            report = _report(cell.path, end)
            self._runner.tell_body(body, "linked", end.uid, end.path, end.incarnation, data, report)
            self._doomed.setdefault(life, {})[end.uid] = report
            self._climb(cell, body, end.uid)

    def _climb(self, cell: Cell, body: Body, cause: int) -> None:
        """The ladder of a stop, for one that has to end because of a link: it ends by itself, or is made to."""
        shutdown = cell.options.shutdown
        life = cell.uid, body.incarnation
        if shutdown == 0:
            self._force(life, cause, signal.SIGKILL)
        elif shutdown is not None:
            self._pump.after(shutdown, functools.partial(self._force, life, cause, signal.SIGTERM))

    def _force(self, life: Life, cause: int, rung: signal.Signals) -> None:
        report = self._doomed.get(life, {}).get(cause)
        cell = self._runner.cells.get(life[0])
        body = self._body(cell, life)
        if report is None or cell is None or body is None or body.dead or body.stop_sent:
            return  # it has ended, was unlinked, or is on the ladder of a stop
        if body.report is None:
            body.report = report
        self._runner.chronicle.rung(cell, body, rung.name)
        after, then = (cell.options.term_grace, signal.SIGKILL) if rung is signal.SIGTERM else (None, rung)
        if not (body.signal(rung) if rung is signal.SIGTERM else body.kill_group()):
            after, then = _AGAIN_SECONDS, rung  # its start is not over
        if after is not None:
            self._pump.after(after, functools.partial(self._force, life, cause, then))

    def _body(self, cell: Cell | None, life: Life) -> Body | None:
        """Return the body of a life, also of one that stands by; None where it has ended."""
        body = self._bodies.get(life) or (None if cell is None else cell.body)
        return body if body is not None and body.incarnation == life[1] else None


def _are_numbers(*values: object) -> bool:
    return all(type(value) is int and value > 0 for value in values)


def _report(path: str, end: _End) -> dict[str, Any]:
    """Return the crash report of an actor that ends because of another."""
    who = end.path if end.incarnation == 0 else f"{end.path} (incarnation {end.incarnation})"
    error = ActorDied(f"{path} was linked to {who}, which {_exits.describe(end.reason)}", target=end.path)
    return {**_failure.describe(error), "traceback": ""}
