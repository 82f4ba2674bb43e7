"""A death by the kernel's out-of-memory killer is proven by its counter; any other SIGKILL is not taken for one."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from actors import ActorRef, ActorSystem, _oom_counter
from tests import scripts
from tests.casualties import Casualty, reason_of
from tests.helpers import eventually

SECONDS = 10.0
LIMIT_BYTES = 256 << 20


@attrs.define
class Recorded:
    """A counter that says what it is told."""

    name: str = "recorded"
    kills: int | None = 7

    def read(self) -> int | None:
        return self.kills


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    recorded = Recorded()
    monkeypatch.setattr(_oom_counter, "counter_of", lambda _pid: recorded)
    return recorded


def spawn(system: ActorSystem, name: str | None = None) -> ActorRef[Casualty]:
    return system.spawn(Casualty(), restart="temporary", name=name)


def pid_of(ref: ActorRef[Casualty]) -> int:
    return ref.ask(Casualty.pid_of).result(timeout=SECONDS)


@contextlib.contextmanager
def memory_group(limit: int) -> Iterator[Path]:
    """A control group of this test's own with a limit of memory; skips where none can be made."""
    own = _oom_counter.counter_of(os.getpid())
    if own is None:
        pytest.skip("no counter of out-of-memory kills can be read here")
    group = Path(own.name).parent / f"actors-test-{os.getpid()}"
    limits = "memory.max" if Path(own.name).name.startswith("memory.events") else "memory.limit_in_bytes"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        try:
            (group / limits).write_text(str(limit))
        except OSError as error:
            pytest.skip(f"the control group takes no limit: {error}")
        yield group
    finally:
        eventually(lambda: not (group / "cgroup.procs").read_text().strip(), SECONDS)
        group.rmdir()


PROGRAM = """
import os, signal, sys
from pathlib import Path
from actors import ActorSystem
from tests import scripts
from tests.casualties import Casualty, reason_of

def show(reason):
    print(f"{reason.kind} {reason.exit_code} {reason.signal}; {'; '.join(reason.evidence)}")

if __name__ == "__main__":
    method, procs = sys.argv[1:]
    Path(procs).write_text(str(os.getpid()))
    with ActorSystem(start_method=method) as system:
        eater, other = (system.spawn(Casualty(), restart="temporary", name=name) for name in ("eater", "other"))
        eater.tell(Casualty.eat, 1024)
        show(reason_of(system, eater))
        os.kill(other.ask(Casualty.pid_of).result(timeout=10), signal.SIGKILL)
        show(reason_of(system, other))
"""


def test_the_kernels_own_kill_is_told_from_one_by_hand(start_method: str, tmp_path: Path) -> None:
    program = scripts.write(tmp_path, PROGRAM)
    with memory_group(LIMIT_BYTES) as group:
        ended = scripts.run(program, start_method, group / "cgroup.procs")

    assert ended.code == 0, ended.err
    by_kernel, by_hand = ended.out.splitlines()
    assert "oom_kernel -9 SIGKILL; SIGKILL and an out-of-memory kill; 1 out-of-memory kill in its group; " in by_kernel
    assert "signal -9 SIGKILL; ended by a signal; no out-of-memory kill was counted in its group; " in by_hand


def test_a_sigkill_with_a_counter_that_rose_is_the_kernels(start_method: Any, counter: Recorded) -> None:
    with ActorSystem(start_method=start_method) as system:
        one, two, three = (spawn(system) for _ in range(3))
        pids = [pid_of(ref) for ref in (one, two, three)]
        counter.kills = 8
        os.kill(pids[0], signal.SIGKILL)
        first = reason_of(system, one)
        os.kill(pids[1], signal.SIGKILL)
        second = reason_of(system, two)
        counter.kills = None
        os.kill(pids[2], signal.SIGKILL)
        third = reason_of(system, three)

    assert "oom_kernel" == first.kind
    assert ("signal", True) == (second.kind, "no out-of-memory kill was counted in its group" in second.evidence)
    assert ("signal", True) == (third.kind, "no counter of out-of-memory kills can be read" in third.evidence)


def test_where_nobody_counts_no_kill_is_put_down_to_the_kernel(
    start_method: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_oom_counter, "counter_of", lambda _pid: None)
    with ActorSystem(start_method=start_method) as system:
        ref = spawn(system)
        os.kill(pid_of(ref), signal.SIGKILL)
        reason = reason_of(system, ref)

    assert "signal" == reason.kind
    assert "no counter of out-of-memory kills can be read" in reason.evidence


def test_a_kill_that_was_ours_is_not_the_kernels(start_method: Any, counter: Recorded) -> None:
    with ActorSystem(start_method=start_method) as system:
        ref, other = spawn(system), spawn(system)
        pid_of(ref)
        runner = system._life.running().runner
        cell = runner.cells[ref.uid]
        counter.kills = 8
        system._life.call(lambda _host: runner.kill(cell, cell.body, "hang"))  # type: ignore[arg-type]
        ours = reason_of(system, ref)
        other.tell(Casualty.fail, "broken")
        broken = reason_of(system, other)

    assert ("hang", "crash") == (ours.kind, broken.kind)


def test_an_increase_while_nobody_died_is_seen_before_it_could_mislead(start_method: Any, counter: Recorded) -> None:
    with ActorSystem(start_method=start_method) as system:
        ref = spawn(system)
        pid = pid_of(ref)
        watch = system._life.running().oom
        counter.kills = 8
        eventually(lambda: system._life.call(lambda _host: watch._groups["recorded"].ledger.reading) == 8, SECONDS)
        # As it will be when the time has passed in which it proves something.
        system._life.call(lambda _host: watch._groups["recorded"].ledger.open.clear())
        os.kill(pid, signal.SIGKILL)
        reason = reason_of(system, ref)

    assert "signal" == reason.kind
