"""
What a user's thread may do to one supervisor of a running system. Decided in the pump, like everything else.
"""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from actors import _output
from actors._actor import Actor
from actors._doubts import warn
from actors._futures import resolve, resolve_error
from actors._host import Host, refusal_error, start_error
from actors._preflight import snapshot_for
from actors._ref import ActorRef
from actors.errors import SpecError
from actors.supervisor import _events as ev
from actors.supervisor import _view
from actors.supervisor._check import check_child
from actors.supervisor._doubts import child_doubts
from actors.supervisor._spec import Child, Options, default_name

if TYPE_CHECKING:
    from actors._system import ActorSystem

__all__ = ["SupervisorRef", "is_actor", "refuse"]

A = TypeVar("A", bound=Actor)


class SupervisorRef:
    """
    One supervisor of a running system. Made by :meth:`ActorSystem.supervisor`.

    Attributes:
        path: Where it stands in the tree.
    """

    def __init__(self, system: ActorSystem, path: str) -> None:
        self._system = system
        self.path = path

    def spawn(self, actor: A, *, name: str | None = None, wait: bool = True, **options: Any) -> ActorRef[A]:
        """Start *actor* as a child of this supervisor; see :meth:`ActorSystem.spawn`."""
        if isinstance(actor, Child):
            raise SpecError("spawn takes an actor and options by keyword, not child(...)")
        child = Child(actor, Options.of(actor, **options, **({} if name is None else {"name": name})))
        parent = _view.supervisors(self._system._life.running().runner.state).get(self.path)
        if parent is None:
            raise SpecError(f"supervisor {self.path} is not there any more")
        check_child(child, parent.spec, self.path, is_actor=is_actor)
        data = snapshot_for(actor, self._system._method)
        _output.flush_first()
        where = f"{self.path}/{child.options.name or default_name(actor)}"
        warn(child_doubts(child, parent.spec, where, self._system._life.shutdown_deadline))
        ready: Future[ActorRef[A]] = Future()
        ref = self._system._life.call(lambda host: self._add(host, child, data, ready))
        return self._system._life.outcome(ready) if wait else ref

    def _add(self, host: Host, child: Child, data: bytes, ready: Future[ActorRef[Any]]) -> ActorRef[Any]:
        cell = host.add(self.path, child, data, child.options.name)
        ref: ActorRef[Any] = ActorRef(system=host.name, uid=cell.uid, path=cell.path)
        host.runner.when_started(
            cell,
            lambda _cell: resolve(ready, ref),
            lambda gone, reason: resolve_error(ready, start_error(gone.path, reason)),
        )
        return ref

    def stop(self) -> None:
        """Stop this supervisor and all below it, in reverse order, and remove it."""
        self._request(ev.StopSupervisor(self.path))

    def restart(self, name: str) -> None:
        """
        Stop one child by its ladder and start it anew. Returns when that has begun.

        Raises:
            SpecError: There is no such child.
        """
        self._system._life.call(lambda host: self._restart(host, name))

    def _restart(self, host: Host, name: str) -> None:
        self._handle(host, ev.RestartActor(self._find(host, name)))

    def replace(self, name: str) -> None:
        """
        Have the next incarnation of one child ready, then let it take over; see :class:`~actors.Recycle`. No message is lost.

        Returns when that has begun, or waits for its turn behind another child of this supervisor that is being replaced.

        Raises:
            SpecError: There is no such child, or it does not run now.
        """
        self._system._life.call(lambda host: self._replace(host, name))

    def _replace(self, host: Host, name: str) -> None:
        cell = host.runner.cells.get(self._find(host, name))
        body = None if cell is None else cell.body
        if cell is None or body is None or not body.ready or (body.stop_sent and not body.handing_over):
            raise SpecError(f"{self.path}/{name} does not run now, so there is nobody to be replaced")
        host.runner.replacing.ask(cell, body, "asked")

    def _find(self, host: Host, name: str) -> int:
        uid = _view.find(host.runner.state, f"{self.path}/{name}")
        if uid is None:
            raise SpecError(f"{self.path} has no child {name!r}")
        return uid

    def _request(self, event: ev.Event) -> None:
        self._system._life.call(lambda host: self._handle(host, event))

    @staticmethod
    def _handle(host: Host, event: ev.Event) -> None:
        refusals: list[ev.Refused] = []
        before, host.runner.refused = host.runner.refused, refusals.append
        try:
            host.runner.handle(event)
        finally:
            host.runner.refused = before
        if refusals:
            raise refusal_error(refusals[0])

    def __repr__(self) -> str:
        return f"<SupervisorRef {self.path}>"


def refuse(problems: list[str]) -> None:
    """Raise all *problems* as one SpecError, if there are any."""
    if problems:
        raise SpecError(*problems)


def is_actor(item: object) -> bool:
    """Return whether *item* is an actor."""
    return isinstance(item, Actor)
