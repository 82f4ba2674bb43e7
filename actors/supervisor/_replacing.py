"""
Replacement with hand-over: the next incarnation is ready before this one leaves, and the mailbox changes hands without a lost or doubled
message.

The one that stands by runs ``on_start`` and says that it is ready, but has no hold on the mailbox. Then the old one is asked to leave
after the message being handled; what it answered is delivered and what it had read stays in the recorder, as after any end. Only when its
process is gone is the new one given inbox, recorder and answer pipe: there is no moment at which two could read or answer. When each of
this happens the tree decides; here it is performed. Runs in the pump's thread.
"""

from __future__ import annotations

import contextlib
import functools
import math
import time
from typing import TYPE_CHECKING

from actors.supervisor import _events as ev
from actors.supervisor._cells import Body, Cell
from actors.supervisor._loans import lent_mailbox

if TYPE_CHECKING:
    from actors._host import Host
    from actors.supervisor._runner import Runner

__all__ = ["Replacing"]

# A wish that comes while the supervisor is still starting, or restarts a group, is not kept by the tree: it is said again.
_ASK_AGAIN_SECONDS = 5.0
# After the host had no descriptor to lend.
_LEND_AGAIN_SECONDS = 0.1


class Replacing:
    """
    Has incarnations replaced.

    Args:
        host: Everything the system shares.
        runner: Whose actors they are.
    """

    def __init__(self, host: Host, runner: Runner) -> None:
        self._host = host
        self._pump = host.pump
        self._runner = runner
        self._next_look = math.inf

    # --- who is worn ------------------------------------------------------------------------------------------------------

    def ask(self, cell: Cell, body: Body, why: str) -> None:
        """
        Have *body* replaced in its turn, if it still serves then. Asking again changes nothing.

        Args:
            cell: The actor.
            body: The incarnation that is worn.
            why: In a word or two, for the log.
        """
        if body.worn is None:
            body.worn = why
            self._ask(cell.uid, body.incarnation)

    def _ask(self, uid: int, incarnation: int) -> None:
        cell = self._runner.cells.get(uid)
        body = None if cell is None else cell.body
        if body is None or body.incarnation != incarnation or body.dead or body.stop_sent:
            return
        # By number: what ends meanwhile is not kept until then.
        self._pump.after(_ASK_AGAIN_SECONDS, functools.partial(self._ask, uid, incarnation))
        self._runner.handle(ev.ReplaceActor(uid, incarnation))

    def serves(self, body: Body) -> None:
        """It has begun to serve: from now on it grows old."""
        body.due = time.monotonic() + body.limits.age
        self._look_at(body.due)

    def _look_at(self, due: float) -> None:
        # One timer for all of them: actors that come and go by the thousand leave none behind that would fire in a day.
        if due < self._next_look:
            self._next_look = due
            self._pump.after(max(0.0, due - time.monotonic()), self._look)

    def _look(self) -> None:
        self._next_look = math.inf
        now = time.monotonic()
        serving = [(cell, cell.body) for cell in self._runner.cells.values() if cell.body is not None]
        for cell, body in serving:
            if body.due <= now:
                body.due = math.inf
                self.ask(cell, body, "age")
        self._look_at(min((body.due for _cell, body in serving), default=math.inf))

    # --- from one to the next ---------------------------------------------------------------------------------------------

    def begins(self, cell: Cell, body: Body) -> None:
        """A start to stand by begins."""
        serving = cell.body
        if serving is not None:
            body.replaces, body.why = serving.incarnation, serving.worn or "asked"
        self._host.log(
            "info",
            "actors.child_replacing",
            path=cell.path,
            uid=cell.uid,
            incarnation=body.replaces,
            replacement=body.incarnation,
            reason=body.why,
        )

    def hand_over(self, _cell: Cell, body: Body) -> None:
        """Ask the one that serves to leave after the message being handled, and what is queued to the next one."""
        body.handing_over = True
        body.stop_asked = time.monotonic()
        self._runner.tell_body(body, "stop", "hand over")

    def promote(self, cell: Cell, body: Body) -> None:
        """The one that served is gone: give its mailbox to the one that stands by."""
        if cell.standby is not body or cell.body is not None:
            return
        cell.promote()
        self._lend(cell, body)
        self._runner.serves(cell, body)
        self._host.log(
            "info",
            "actors.child_replaced",
            path=cell.path,
            uid=cell.uid,
            incarnation=body.incarnation,
            replaced=body.replaces,
            reason=body.why,
        )

    def _lend(self, cell: Cell, body: Body) -> None:
        if body.dead or cell.body is not body:
            return
        with contextlib.suppress(OSError), lent_mailbox(cell) as mailbox:
            self._runner.tell_body(body, "serve", cell.deaths.redelivered(cell.view), descriptors=mailbox)
            return
        # No descriptor to lend now. It waits, and the mailbox with it.
        self._pump.after(_LEND_AGAIN_SECONDS, functools.partial(self._lend, cell, body))
