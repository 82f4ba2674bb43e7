"""Memory caps over real processes: whoever leaks is replaced or ended, and nobody else."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from actors import ActorDied, ActorRef, ActorSystem, Backoff, Supervisor, handler
from actors.supervisor import _events as ev
from actors.supervisor import _meters
from actors.supervisor._runner import Runner
from tests.helpers import eventually
from tests.troupe import Worker

AT_ONCE = Backoff(initial=0.0, maximum=0.001, jitter=0.0)
TREE = Supervisor("app", max_restarts=50, period=1.0)
MIB = 1 << 20
SECONDS = 20.0


class Leaky(Worker):
    def on_start(self) -> None:
        super().on_start()
        self.held: list[bytearray] = []

    @handler
    def hold(self, megabytes: int) -> None:
        self.held.append(bytearray(b"x") * (megabytes * MIB))

    @handler
    def leak(self, megabytes: int, per_second: int) -> None:
        for _ in range(megabytes):
            self.held.append(bytearray(b"x") * MIB)
            self.wait(1.0 / per_second)

    @handler
    def run_out(self) -> None:
        """Ask for more than this process may have."""
        resource.setrlimit(resource.RLIMIT_AS, (1 << 32, resource.getrlimit(resource.RLIMIT_AS)[1]))
        self.held.append(bytearray(1 << 33))


class LeakyFromTheStart(Leaky):
    def on_start(self) -> None:
        super().on_start()
        self.hold(200)
        self.wait(20.0)


@pytest.fixture
def system(start_method: Any) -> Iterator[ActorSystem]:
    with ActorSystem(TREE, start_method=start_method) as running:
        yield running


@pytest.fixture
def replacements(monkeypatch: Any) -> list[ev.ReplaceActor]:
    """What the tree would be told of worn actors."""
    found: list[ev.ReplaceActor] = []
    handle = Runner.handle

    def note(self: Runner, event: ev.Event) -> None:
        if isinstance(event, ev.ReplaceActor):
            found.append(event)
        else:
            handle(self, event)

    monkeypatch.setattr(Runner, "handle", note)
    return found


def pid_of(ref: ActorRef[Any]) -> int:
    return int(ref.ask("pid_of").result(timeout=SECONDS))


def test_an_actor_above_its_hard_cap_is_ended_with_the_ask_it_handles_and_the_others_are_served(
    system: ActorSystem,
) -> None:
    leaky = system.spawn(Leaky(), name="leaky", memory_hard=200 * MIB, backoff=AT_ONCE)
    other = system.spawn(Leaky(), name="other", backoff=AT_ONCE)
    pid, other_pid = pid_of(leaky), pid_of(other)
    began = time.monotonic()
    leak = leaky.ask(Leaky.leak, 2000, 500)
    behind = leaky.ask(Leaky.add, 1)

    with pytest.raises(
        ActorDied, match=r"at its memory limit: \d+(\.\d+)? MiB resident, above memory_hard=200 MiB"
    ) as caught:
        leak.result(timeout=SECONDS)

    print(f"ended after {time.monotonic() - began:.2f} s: {caught.value}")
    assert "memory_limit" == caught.value.reason.kind
    assert 1 == behind.result(timeout=SECONDS)
    assert pid != pid_of(leaky)
    assert other_pid == pid_of(other)


def test_an_actor_is_looked_at_again_when_a_look_was_not_possible(
    system: ActorSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    look, blind = _meters._resident_bytes, [None] * 5
    monkeypatch.setattr(_meters, "_resident_bytes", lambda body: blind.pop() if blind else look(body))
    leaky = system.spawn(Leaky(), name="leaky", memory_hard=200 * MIB, backoff=AT_ONCE)

    with pytest.raises(ActorDied, match="at its memory limit"):
        leaky.ask(Leaky.leak, 2000, 500).result(timeout=SECONDS)

    assert not blind


def test_an_actor_above_its_soft_cap_is_to_be_replaced_once(start_method: Any, replacements: list[Any]) -> None:
    with capture_logs() as logs, ActorSystem(TREE, start_method=start_method) as system:
        leaky = system.spawn(Leaky(), name="leaky", memory_soft=200 * MIB, memory_hard=2000 * MIB, backoff=AT_ONCE)
        uid = leaky.uid
        pid_of(leaky)
        assert [] == replacements
        leaky.tell(Leaky.hold, 250)
        eventually(lambda: replacements, SECONDS)
        eventually(lambda: "actors.memory_soft" in [log["event"] for log in logs], SECONDS)

    assert [ev.ReplaceActor(uid, 1)] == replacements
    (soft,) = [log for log in logs if log["event"] == "actors.memory_soft"]
    assert ("/app/leaky", 1, "info") == (soft["path"], soft["incarnation"], soft["log_level"])
    assert soft["rss"] > 200 * MIB
    assert "above 200 MiB" in soft["reason"]


def test_a_soft_cap_below_what_an_actor_takes_anyway_is_said_and_does_not_replace_it_again_and_again(
    start_method: Any, replacements: list[Any]
) -> None:
    with capture_logs() as logs, ActorSystem(TREE, start_method=start_method) as system:
        leaky = system.spawn(Leaky(), name="leaky", memory_soft=1 * MIB, backoff=AT_ONCE)
        eventually(lambda: "actors.memory_soft_too_low" in [log["event"] for log in logs], SECONDS)
        pid_of(leaky)

    assert [] == replacements
    (too_low,) = [log for log in logs if log["event"] == "actors.memory_soft_too_low"]
    assert ("/app/leaky", 1, "warning") == (too_low["path"], too_low["incarnation"], too_low["log_level"])
    assert "above 1 MiB" in too_low["reason"]


def test_an_actor_above_its_soft_cap_changes_hands_and_no_message_is_lost(start_method: Any) -> None:
    with capture_logs() as logs, ActorSystem(TREE, start_method=start_method) as system:
        leaky = system.spawn(Leaky(), name="leaky", memory_soft=200 * MIB, memory_hard=2000 * MIB, backoff=AT_ONCE)
        pid = pid_of(leaky)
        leaky.tell(Leaky.hold, 250)
        asked = 0
        while leaky.incarnation < 2 or pid_of(leaky) == pid:
            replies = [leaky.ask(Leaky.add, 1) for _ in range(50)]
            assert all(reply.result(timeout=SECONDS) for reply in replies)
            asked += len(replies)
            assert asked < 1_000_000, leaky.statistics()
        assert 0 == leaky.statistics().restarts
        assert {} == system.dead_letters()

    (replaced,) = [log for log in logs if log["event"] == "actors.child_replaced"]
    assert "above 200 MiB" in replaced["reason"]


def test_an_actor_that_leaks_before_it_is_ready_is_ended_too(start_method: Any) -> None:
    with capture_logs() as logs, ActorSystem(TREE, start_method=start_method) as system:
        ref = system.spawn(
            LeakyFromTheStart(), name="leaky", memory_hard=150 * MIB, restart="temporary", backoff=AT_ONCE, wait=False
        )
        eventually(lambda: not ref.is_alive(), SECONDS)

    assert ["memory_limit"] == [log["kind"] for log in logs if log["event"] == "actors.child_exited"]


def test_what_the_kernel_refuses_is_a_crash_as_any_other(start_method: Any) -> None:
    with capture_logs() as logs, ActorSystem(TREE, start_method=start_method) as system:
        leaky = system.spawn(Leaky(), name="leaky", memory_hard=4000 * MIB, backoff=AT_ONCE)
        leaky.tell(Leaky.run_out)
        eventually(lambda: leaky.incarnation > 1, SECONDS)
        assert 1 == leaky.ask(Leaky.add, 1).result(timeout=SECONDS)

    ends = [log for log in logs if log["event"] == "actors.child_exited" and log["kind"] == "crash"]
    assert ["MemoryError" in log["reason"] for log in ends] == [True]


def test_an_actor_without_a_cap_is_left_alone(start_method: Any, replacements: list[Any]) -> None:
    with ActorSystem(TREE, start_method=start_method) as system:
        leaky = system.spawn(Leaky(), name="leaky", backoff=AT_ONCE)
        pid = pid_of(leaky)
        leaky.ask(Leaky.hold, 100).result(timeout=SECONDS)
        leaky.ask(Leaky.wait, 1.2).result(timeout=SECONDS)

        assert pid == pid_of(leaky)
    assert [] == replacements
