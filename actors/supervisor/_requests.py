"""
Everything that a child sends on its control lane, each kind to who answers it.

All of it is a claim: shapes and ranges are checked where it is taken, and what does not fit fails the child that sent it, alone. Notices
have a kind, fields, and descriptors where that is said; those with a number are requests, and answered. They are listed in :mod:`._claims`
(what a child says of itself), :mod:`._loans` (what it is lent) and :mod:`._orders` (what it wants of the tree), and here:

=================  ==============================  =====================================================================
notice             fields                          answer
=================  ==============================  =====================================================================
``watch``          number, number of the watch,    ``answer`` ok; and once: ``watched`` numbers, incarnation, reason
                   uid
``unwatch``        number of the watch
``link``           number, uid, path               ``answer`` ok; and once: ``linked`` uid, path, incarnation, reason, crash
                                                   report of its own or nil
``unlink``         number, uid                     ``answer`` ok
``trap``           number, on                      ``answer`` ok
=================  ==============================  =====================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from actors import _descriptors, _limits
from actors.errors import ProtocolError
from actors.mailbox import _failure
from actors.supervisor._cells import Body, Cell
from actors.supervisor._claims import Claims
from actors.supervisor._loans import Loans
from actors.supervisor._orders import Orders

if TYPE_CHECKING:
    from actors._host import Host
    from actors.supervisor._runner import Runner

__all__ = ["Requests"]

# After the host had no descriptor to lend.
_AGAIN_SECONDS = 0.1


class Requests:
    """
    Takes the notices of all children, in the pump's thread.

    Args:
        host: What is lent is its.
        runner: What the actors and their processes are its.
    """

    def __init__(self, host: Host, runner: Runner) -> None:
        self._host = host
        self._runner = runner
        self._claims = Claims(host, runner)
        self._methods: dict[str, Callable[..., None]] = {
            **self._claims.methods,
            **Loans(host, runner).methods,
            **Orders(host, runner).methods,
            "watch": runner.obituaries.watch,
            "unwatch": runner.obituaries.unwatch,
            "link": runner.obituaries.link,
            "unlink": runner.obituaries.unlink,
            "trap": runner.obituaries.trap,
        }

    def take(self, cell: Cell, body: Body, kind: str, fields: tuple[Any, ...], descriptors: tuple[int, ...]) -> None:
        """
        Do what one notice says.

        Raises:
            ProtocolError: It is none of ours, or out of range; as do TypeError and ValueError for its shape.
        """
        try:
            if kind == "hello":
                self._claims.hello(cell, body, fields, descriptors)
                return
            _descriptors.close(*descriptors)
            if kind not in self._methods:
                raise ProtocolError(f"unknown notice {kind!r}")
            self._methods[kind](cell, body, *fields)
        except OSError as error:
            self._refused_by_machine(cell, body, kind, fields, error)

    def _refused_by_machine(self, cell: Cell, body: Body, kind: str, fields: tuple[Any, ...], error: OSError) -> None:
        """The host has no descriptors or memory left for what a child needs: it is told, or waits; nobody else is concerned."""
        if kind == "hello":
            body.report = _failure.describe(_limits.explain(cell.path, error))
            self._runner.kill(cell, body, "protocol")
        elif kind == "lane_wanted":
            again = self._host.pump.after(_AGAIN_SECONDS, lambda: self._lane_wanted_again(cell, body, fields))
            body.timers.append(again)
        else:
            self._runner.answer(body, fields[0], "error", f"{kind}: the host cannot: {error}")

    def _lane_wanted_again(self, cell: Cell, body: Body, fields: tuple[Any, ...]) -> None:
        if body in cell.bodies and not body.dead:
            self.take(cell, body, "lane_wanted", fields, ())
