"""
What a child says of itself, and of the messages it could not deliver.

=================  ==============================  =====================================================================
notice             fields                          answer
=================  ==============================  =====================================================================
``hello``          pid, and a pidfd                ``setup``
``ready``
``start_failed``   the exception as data
``crash``          the exception as data, handler
``hook_failed``    hook, the exception as data
``broken``         text                            it gave itself up: somebody wrote junk into its lanes
``inbox_broken``   text                            it leaves, for what somebody wrote into its inbox
``worn``                                           it has handled as many messages as ``recycle`` says
``cancelling``     messages handled before         the ask it handles was cancelled, and its handler told
``dead_letter``    target, reason, count,
                   handler or nil, uid
``dropped``        how many in all, and of each    messages dropped for newer ones; its recorder has the number
                   handler or nil how many
=================  ==============================  =====================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from actors import _descriptors
from actors.errors import ProtocolError
from actors.supervisor._cells import Body, Cell
from actors.supervisor._letters import CLAIMABLE, DeadLetter
from actors.supervisor._loans import lent_mailbox

if TYPE_CHECKING:
    from actors._host import Host
    from actors.supervisor._runner import Runner

__all__ = ["Claims"]

# Kinds of dropped messages in one notice.
_MOST_KINDS = 50
# What the kernel says of the process of a pidfd that has been reaped.
_REAPED = -1


class Claims:
    """Takes them as what they are, in the pump's thread; for the arguments see :class:`Requests`."""

    def __init__(self, host: Host, runner: Runner) -> None:
        self._host = host
        self._runner = runner
        self.methods: dict[str, Callable[..., None]] = {
            "ready": self._ready,
            "start_failed": self._start_failed,
            "crash": self._crash,
            "hook_failed": self._hook_failed,
            "broken": self._broken,
            "inbox_broken": self._inbox_broken,
            "worn": self._worn,
            "cancelling": self._cancelling,
            "dead_letter": self._dead_letter,
            "dropped": self._dropped,
        }

    def hello(self, cell: Cell, body: Body, fields: tuple[Any, ...], descriptors: tuple[int, ...]) -> None:
        """The first notice of an incarnation: who it is. It is told what it has to know, and given its mailbox."""
        pid = fields[0] if fields else None
        try:
            found = _pid_of(descriptors[0]) if len(descriptors) == 1 else None
        except OSError:
            _descriptors.close(*descriptors)
            raise
        if found == _REAPED:
            # Dead and buried before we came to read this; the host's own hold on its process, or its start, says so too.
            _descriptors.close(*descriptors)
            return
        if found is None or pid != found or body.pid not in {None, pid}:
            _descriptors.close(*descriptors)
            raise ProtocolError(f"its first frame says pid {pid!r} and hands over something else")
        body.pid = pid
        self._runner.births.introduced(cell, body, descriptors[0])
        setup = {
            "uid": cell.uid,
            "incarnation": body.incarnation,
            "path": cell.path,
            "system": self._host.name,
            "parent": cell.parent,
            "above": self._above(cell),
            "snapshot": cell.snapshot,
            "says_cancelling": cell.options.cancel_grace is not None,
            "max_open_asks": cell.options.max_open_asks,
            "worn_after": body.limits.messages,
            "standby": cell.standby is body,
            "redelivered": cell.deaths.redelivered(cell.view),
            "mailbox_bytes": cell.options.mailbox_bytes,
            "mailbox_messages": cell.options.mailbox_messages,
            "on_full": cell.options.on_full,
        }
        if cell.standby is body:
            self._runner.tell_body(body, "setup", setup)
            return
        with lent_mailbox(cell) as mailbox:
            self._runner.tell_body(body, "setup", setup, descriptors=mailbox)

    def _above(self, cell: Cell) -> tuple[str, int, float, float] | None:
        """What an actor has to know of its supervisor, to doubt what it spawns beside itself."""
        node = self._runner.state.nodes.get(cell.path.rpartition("/")[0])
        if node is None:
            return None
        spec = node.machine.spec
        return spec.name, spec.max_restarts, float(spec.period), float(self._host.shutdown_deadline)

    def _ready(self, cell: Cell, body: Body) -> None:
        if not body.ready:
            self._runner.births.ready(cell, body)

    def _start_failed(self, _cell: Cell, body: Body, report: Any) -> None:
        body.report = _as_report(report)

    def _crash(self, _cell: Cell, body: Body, report: Any, handler: Any) -> None:
        body.report = {**_as_report(report), "handler": str(handler)[:200]}

    def _hook_failed(self, cell: Cell, body: Body, hook: Any, report: Any) -> None:
        data = _as_report(report)
        self._host.log(
            "error",
            "actors.hook_failed",
            path=cell.path,
            uid=cell.uid,
            incarnation=body.incarnation,
            hook=str(hook)[:80],
            reason=f"{data.get('type')}: {data.get('text')}",
        )

    def _broken(self, cell: Cell, body: Body, why: Any) -> None:
        self._runner.violated(cell, body, f"its lanes were written to by somebody else: {str(why)[:500]}")

    def _inbox_broken(self, _cell: Cell, body: Body, why: Any) -> None:
        body.inbox_broken = True
        body.broken = body.broken or f"its inbox was written to by somebody else: {str(why)[:500]}"

    def _worn(self, cell: Cell, body: Body) -> None:
        self._runner.replacing.ask(cell, body, "messages")

    def _cancelling(self, cell: Cell, body: Body, place: Any) -> None:
        if not (type(place) is int and 0 <= place < 1 << 62):
            raise ProtocolError(f"it handles the message after {place!r} others")
        self._runner.watchers.cancelling(cell, body, place)

    def _dead_letter(
        self,
        _cell: Cell,
        _body: Body,
        target: Any,
        reason: Any,
        count: Any,
        handler: Any = None,
        uid: Any = 0,
    ) -> None:
        if not (isinstance(target, str) and type(count) is int and 0 < count < 1 << 32 and reason in CLAIMABLE):
            raise ProtocolError(f"dead letters of {target!r}: {reason!r}, {count!r}")
        if not (handler is None or isinstance(handler, str)) or type(uid) is not int or not 0 <= uid < 1 << 63:
            raise ProtocolError(f"dead letters for handler {handler!r} of actor {uid!r}")
        name = None if handler is None else handler[:200]
        self._host.letters.take(DeadLetter(target[:500], reason, count, name, uid))

    def _dropped(self, cell: Cell, _body: Body, total: Any, letters: Any) -> None:
        """It has dropped messages for newer ones. How many, its recorder says; this says which, up to a total."""
        if type(total) is not int or not isinstance(letters, list | tuple) or len(letters) > _MOST_KINDS:
            raise ProtocolError(f"dropped messages: {str((total, letters))[:200]}")
        for entry in letters:
            if not (isinstance(entry, list | tuple) and len(entry) == 2 and type(entry[1]) is int and entry[1] > 0):
                raise ProtocolError(f"dropped messages: {str(entry)[:200]}")
            if not (entry[0] is None or isinstance(entry[0], str)):
                raise ProtocolError(f"dropped messages for handler {str(entry[0])[:200]}")
        self._host.mail.count_dropped(cell, [(name and name[:200], count) for name, count in letters], total)


def _as_report(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ProtocolError(f"a report is a map, not {value!r:.80}")
    return value


def _pid_of(pidfd: int) -> int | None:
    """
    Return the pid that a descriptor stands for, or None if it is no pidfd.

    Raises:
        OSError: This process has no descriptor left to look.
    """
    with open(f"/proc/self/fdinfo/{pidfd}", "rb") as info:
        for line in info:
            if line.startswith(b"Pid:"):
                return int(line[4:])
    return None
