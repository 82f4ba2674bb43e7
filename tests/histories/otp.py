"""
What OTP's supervisor does, retold: the reference that ours is held against.

Written after the documentation and the source of ``supervisor`` in Erlang/OTP 27 (``lib/stdlib/src/supervisor.erl``), in its manner
and not in ours: a list of children, each with a pid, without one, or *restarting*; one function per callback; everything in sequence.
A start returns when the child is up or has failed, a stop returns when it is down, nothing else happens meanwhile. It shares no
code with ``actors`` and knows none of its words.

Left out: ``simple_one_for_one``, supervisors as children, ``ignore``, upgrades, and what is printed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import attrs

Pid: TypeAlias = tuple[int, int]  # the id of the child, and which of its starts this is
Reason: TypeAlias = Literal["normal", "shutdown", "abnormal"]
End: TypeAlias = Literal["start failed", "intensity", "auto_shutdown", "stopped"]
Answer: TypeAlias = Literal["ok", "failed", "not_found", "running", "restarting"]


@attrs.frozen
class ChildSpec:
    """What a callback module would return for one child."""

    id: int
    restart: str = "permanent"
    significant: bool = False


@attrs.define
class _Child:
    spec: ChildSpec
    pid: Pid | Literal["undefined", "restarting"] = "undefined"

    @property
    def runs(self) -> bool:
        return isinstance(self.pid, tuple)


class OtpSupervisor:
    """
    One supervisor.

    Args:
        spawn: Starts a process and says whether it came up; called with its id.
        strategy, intensity, period, auto_shutdown: The supervisor flags; *period* in whole seconds.

    Attributes:
        log: ``("start", id)`` for each attempt to start, ``("stop", id)`` for each child that was stopped, in order.
        ended: Why there is no supervisor any more, or None.
    """

    def __init__(
        self,
        spawn: Callable[[int], bool],
        *,
        strategy: str = "one_for_one",
        intensity: int = 1,
        period: int = 5,
        auto_shutdown: str = "never",
    ) -> None:
        self.spawn = spawn
        self.strategy, self.intensity, self.period, self.auto_shutdown = strategy, intensity, period, auto_shutdown
        self.children: list[_Child] = []  # in start order
        self.restarts: list[int] = []  # moments, the newest first
        self.starts: dict[int, int] = {}
        self.log: list[tuple[str, int]] = []
        self.ended: End | None = None
        self.now = 0
        self._inbox: deque[int] = deque()  # ids whose restart is to be tried again

    # ---------------------------------------------------------------- callbacks

    def init(self, specs: Sequence[ChildSpec]) -> None:
        """Start all; if one fails, stop those that were started, and there is no supervisor."""
        self.children = [_Child(spec) for spec in specs]
        if self._start_children(self.children) is not None:
            self._terminate_children(self.children)
            self.ended = "start failed"

    def start_child(self, spec: ChildSpec) -> Answer:
        """A child is added when it has come up, and forgotten when not."""
        child = _Child(spec)
        if not self._do_start_child(child):
            return "failed"
        self.children.append(child)
        return "ok"

    def terminate_child(self, child_id: int) -> Answer:
        """Stop it; its spec stays, unless it is temporary."""
        child = self._find(child_id)
        if child is None:
            return "not_found"
        self._do_terminate(child)
        self._del_child(child)
        return "ok"

    def delete_child(self, child_id: int) -> Answer:
        """Forget the spec of one that does not run."""
        child = self._find(child_id)
        if child is None:
            return "not_found"
        if child.pid != "undefined":
            return "running" if child.runs else "restarting"
        self.children.remove(child)
        return "ok"

    def restart_child(self, child_id: int) -> Answer:
        """Start one that does not run. A failure is told to the caller and changes nothing."""
        child = self._find(child_id)
        if child is None:
            return "not_found"
        if child.pid != "undefined":
            return "running" if child.runs else "restarting"
        return "ok" if self._do_start_child(child) else "failed"

    def exit(self, pid: Pid, reason: Reason) -> None:
        """A process is dead; one that no child has is nobody's concern."""
        child = next((each for each in self.children if each.pid == pid), None)
        if child is not None and self.ended is None:
            self._do_restart(child, reason)
            self._read_inbox()

    def terminate(self, why: End = "stopped") -> None:
        """The last callback: stop all, the last one first."""
        self._terminate_children(self.children)
        self.ended = why

    def _read_inbox(self) -> None:
        while self._inbox and self.ended is None:
            child = self._find(self._inbox.popleft())
            if child is not None and child.pid == "restarting":
                self._restart(child)

    # ---------------------------------------------------------------- a child has terminated

    def _do_restart(self, child: _Child, reason: Reason) -> None:
        if child.spec.restart == "permanent" or (child.spec.restart == "transient" and reason == "abnormal"):
            self._restart(child)
        else:
            self._del_child(child)
            self._do_auto_shutdown(child)

    def _do_auto_shutdown(self, child: _Child) -> None:
        if not child.spec.significant or self.auto_shutdown == "never":
            return
        others = any(each.spec.significant and each.pid != "undefined" for each in self.children)
        if self.auto_shutdown == "any_significant" or not others:
            self.terminate("auto_shutdown")

    def _restart(self, child: _Child) -> None:
        if not self._add_restart():
            self._del_child(child)
            self.terminate("intensity")
            return
        failed = self._restart_by_strategy(child)
        if failed is not None:
            failed.pid = "restarting"
            self._inbox.append(failed.spec.id)  # in turn: a request to shut down may come in between

    def _restart_by_strategy(self, child: _Child) -> _Child | None:
        """The child that failed to start, or None."""
        if self.strategy == "one_for_one":
            return None if self._do_start_child(child) else child
        at = self.children.index(child) if self.strategy == "rest_for_one" else 0
        child.pid = "undefined"
        before, group = self.children[:at], self.children[at:]
        group = self._terminate_children(group)
        self.children = before + group
        return self._start_children(group)

    def _add_restart(self) -> bool:
        threshold = self.now - self.period
        self.restarts = [self.now] + [moment for moment in self.restarts if moment >= threshold]
        return len(self.restarts) <= self.intensity

    # ---------------------------------------------------------------- starting and stopping

    def _start_children(self, children: Sequence[_Child]) -> _Child | None:
        """Start them in order, up to the first that fails, which is returned."""
        return next((child for child in children if not self._do_start_child(child)), None)

    def _do_start_child(self, child: _Child) -> bool:
        child_id = child.spec.id
        self.log.append(("start", child_id))
        self.starts[child_id] = self.starts.get(child_id, 0) + 1
        if not self.spawn(child_id):
            return False
        child.pid = child_id, self.starts[child_id]
        return True

    def _terminate_children(self, children: Sequence[_Child]) -> list[_Child]:
        """Stop them, the last one first; those that are left, in start order. Temporary ones are not among them."""
        for child in reversed(children):
            self._do_terminate(child)
            child.pid = "undefined"
        return [child for child in children if child.spec.restart != "temporary"]

    def _do_terminate(self, child: _Child) -> None:
        if child.runs:
            self.log.append(("stop", child.spec.id))

    # ---------------------------------------------------------------- the list of children

    def _find(self, child_id: int) -> _Child | None:
        return next((child for child in self.children if child.spec.id == child_id), None)

    def _del_child(self, child: _Child) -> None:
        child.pid = "undefined"
        if child.spec.restart == "temporary":
            self.children.remove(child)

    def which_children(self) -> dict[int, Pid | str]:
        """What each child has in the place of a pid, in start order."""
        return {child.spec.id: child.pid for child in self.children}
