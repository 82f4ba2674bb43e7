"""
Our supervisor does what OTP's does: ten thousand random histories of both, compared after each event (``duel``; the reference is
``otp``), and one test for each thing that we do otherwise.

What differs, and why:

=========================================  ========================================  ==============================================
when                                       OTP                                       ours, and the reason
=========================================  ========================================  ==============================================
a child is to come back                    at once                                   after its backoff; at once with ``initial=0``
a child starts or stops slowly             the supervisor does nothing else          under one_for_one nobody is held up by it: a
                                                                                     process takes longer to start than Erlang's
one dies while others still boot           is looked at when all have started        restarted at once, for the same reason
the limit is exceeded in a boot            all start first, then it gives up         the boot fails at once
an added child has ended as expected       its spec stays and comes back with its    it is gone: nobody else would ever forget it
                                           group
removing                                   ``terminate_child``, ``delete_child``     one request
restarting by hand one that runs           refused; ``terminate_child`` first        one request
restarting by hand a temporary one         impossible: terminating deletes it        it runs again: somebody wants it
a restart by hand fails                    an error for the caller, it stays down    a failed restart like any other: it is tried
                                                                                     again and counts, for nobody waits for it
moments of the intensity window            whole seconds                             as exact as the clock
the limit is exceeded                      the supervisor ends                       or parks, if ``on_exhausted`` says so
how a supervisor's end looks to its own    ``shutdown``, whatever the reason: a      exceeding the limit is a failure and is
                                           transient one never comes back            restarted, auto_shutdown is none
another life of a supervisor               all children of its specification         less those removed by hand, and the temporary
                                                                                     ones that have run: *gone* is a promise
a child does not stop when asked           is killed after ``shutdown``              SIGTERM first, for code that never sees messages
=========================================  ========================================  ==============================================

What is ours alone (``after``, ``max_children``, a deadline for a whole stop, breakers, replacing a child that runs) does nothing unless
it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.supervisor import _state as s
from actors.supervisor._events import Start
from actors.supervisor._policy import STRATEGIES, Backoff, Strategy
from actors.supervisor._spec import Supervisor
from tests.histories import duel
from tests.histories.otp import ChildSpec, OtpSupervisor, Reason
from tests.supervised import BOOT_FAILURE, CRASH, NORMAL, REQUESTED, Bench, World, rule, worker


@pytest.mark.timeout(180)  # six seconds, where nobody else wants the processor
@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(max_examples=3_400, derandomize=True, database=None, deadline=None)
@given(history=st.binary(min_size=60, max_size=160))
def test_any_history_of_a_supervisor_is_what_otp_makes_of_it(strategy: Strategy, history: bytes) -> None:
    duel.play(history, strategy)


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(4))
def test_very_many_histories_are_what_otp_makes_of_them(seed: int) -> None:
    duel.play_many(50_000, seed)


def test_a_difference_is_told_with_its_history(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OtpSupervisor, "_do_auto_shutdown", lambda *_: None)

    with pytest.raises(AssertionError, match=r"ours did (?s:.*)\nafter: (?s:.*)\nhistory:\n  .*'strategy'"):
        duel.play_many(1000)


# ---------------------------------------------------------------- what differs


class Starts:
    """How the starts of OTP's children go: those that were told to fail do, once each."""

    def __init__(self) -> None:
        self.to_fail: list[int] = []

    def __call__(self, child_id: int) -> bool:
        if child_id in self.to_fail:
            self.to_fail.remove(child_id)
            return False
        return True


def otp(*restarts: str, spawn: Callable[[int], bool] | None = None, **flags: object) -> OtpSupervisor:
    """OTP's supervisor with children 1, 2, ..., all running; nothing of the boot in its log."""
    flags = {"intensity": 10, **flags}
    supervisor = OtpSupervisor(spawn or Starts(), **flags)  # type: ignore[arg-type]
    supervisor.init([ChildSpec(number, restart) for number, restart in enumerate(restarts, 1)])
    supervisor.log.clear()
    return supervisor


def die(supervisor: OtpSupervisor, child_id: int, reason: Reason = "abnormal") -> None:
    pid = supervisor.which_children()[child_id]
    assert isinstance(pid, tuple)
    supervisor.exit(pid, reason)


def ours(*rules: s.ChildRule, **supervisor: object) -> Bench:
    """Ours with children a, b, ..., all running."""
    bench = Bench(*rules, **{"max_restarts": 10, **supervisor})
    bench.boot()
    return bench


def test_otp_restarts_at_once_and_ours_after_a_backoff() -> None:
    theirs, bench = otp("permanent"), ours(rule(backoff=Backoff(initial=2.0)), period=60.0)
    die(theirs, 1)

    assert theirs.log == [("start", 1)]
    assert bench.exit("a") == ["again a1 attempt 1"]
    assert bench.wait(2.0) == ["start a2"]


def test_otp_waits_for_a_start_and_ours_goes_on_under_one_for_one() -> None:
    theirs, bench = otp("permanent", "permanent"), ours(rule(), rule())
    die(theirs, 1)
    die(theirs, 2)
    bench.exit("a")

    assert theirs.log == [("start", 1), ("start", 2)]  # the second death was read when the first start had returned
    assert bench.exit("b") == ["again b1 attempt 1", "start b2"]
    assert [type(bench[letter].phase) for letter in "ab"] == [s.Starting, s.Starting]


def test_otp_looks_at_a_death_after_the_boot_and_ours_in_it() -> None:
    theirs = OtpSupervisor(lambda _: True)
    theirs.init([ChildSpec(1), ChildSpec(2)])  # 1 dies while 2 starts: its death waits
    die(theirs, 1)
    bench = Bench(rule(), rule())
    bench.tell(s.StartRequested())
    bench.ready("a")

    assert theirs.log == [("start", 1), ("start", 2), ("start", 1)]
    assert bench.exit("a") == ["again a1 attempt 1", "start a2"]
    assert "ready" in bench.ready_all()


def test_otp_gives_up_after_the_boot_and_ours_in_it() -> None:
    theirs = OtpSupervisor(lambda _: True, intensity=0)
    theirs.init([ChildSpec(1), ChildSpec(2), ChildSpec(3)])
    die(theirs, 1)
    bench = Bench(rule(), rule(), rule(), max_restarts=0)
    bench.tell(s.StartRequested())
    bench.ready("a")

    assert theirs.log == [("start", 1), ("start", 2), ("start", 3), ("stop", 3), ("stop", 2)]
    assert [*bench.exit("a"), *bench.exit_all()] == ["exhausted 1 crash", "stop b1", "finish failed crash"]


def test_otp_keeps_the_spec_of_an_added_child_that_has_ended_and_ours_does_not() -> None:
    theirs, bench = otp("permanent", strategy="one_for_all"), ours(rule(), strategy="one_for_all")
    theirs.start_child(ChildSpec(2, "transient"))
    die(theirs, 2, "normal")
    die(theirs, 1)
    bench.add("b", restart="transient")
    bench.ready("b")

    assert theirs.log == [("start", 2), ("start", 1), ("start", 2)]
    assert bench.exit("b", NORMAL) == ["gone b normal"]
    assert [*bench.exit("a"), *bench.ready_all()] == ["again a1 attempt 1", "start a2"]


def test_otp_removes_in_two_requests_and_ours_in_one() -> None:
    theirs, bench = otp("permanent"), ours(rule())

    assert [theirs.delete_child(1), theirs.terminate_child(1), theirs.delete_child(1)] == ["running", "ok", "ok"]
    assert [*bench.remove("a"), *bench.exit_all()] == ["stop a1", "gone a requested"]


def test_otp_restarts_by_hand_in_two_requests_and_ours_in_one() -> None:
    theirs, bench = otp("permanent"), ours(rule())

    assert [theirs.restart_child(1), theirs.terminate_child(1), theirs.restart_child(1)] == ["running", "ok", "ok"]
    assert [*bench.restart("a"), *bench.exit_all()] == ["stop a1", "start a2"]


def test_otp_cannot_restart_a_temporary_child_by_hand_and_ours_can() -> None:
    theirs, bench = otp("temporary"), ours(rule(restart="temporary"))

    assert [theirs.terminate_child(1), theirs.restart_child(1)] == ["ok", "not_found"]
    assert [*bench.restart("a"), *bench.exit_all()] == ["stop a1", "start a2"]


def test_otp_leaves_it_at_a_failed_restart_by_hand_and_ours_tries_again() -> None:
    starts = Starts()
    theirs, bench = otp("permanent", spawn=starts, intensity=0), ours(rule(), max_restarts=1)
    theirs.terminate_child(1)
    starts.to_fail = [1]
    bench.restart("a")
    bench.exit("a", REQUESTED)

    assert theirs.restart_child(1) == "failed"
    assert (theirs.which_children(), theirs.ended) == ({1: "undefined"}, None)
    assert bench.exit("a", BOOT_FAILURE) == ["again a2 attempt 1", "start a3"]
    assert bench.exit("a", BOOT_FAILURE)[0] == "exhausted 2 boot_failure"


def test_otp_counts_in_whole_seconds_and_ours_exactly() -> None:
    theirs, bench = otp("permanent", intensity=1, period=5), ours(rule(), max_restarts=1, period=5.0)
    for now in (0.0, 5.9):
        theirs.now = int(now)
        die(theirs, 1)
        bench.now = 100.0 + now
        bench.exit("a")
        bench.ready_all()

    assert theirs.ended == "intensity"
    assert bench.state.mode == "serving"


def test_otp_ends_when_the_limit_is_exceeded_and_ours_may_park() -> None:
    theirs, bench = otp("permanent", intensity=0), ours(rule(), max_restarts=0, on_exhausted="park")
    die(theirs, 1)

    assert theirs.ended == "intensity"
    assert bench.exit("a") == ["exhausted 1 crash", "parked a crash"]
    assert bench.restart("a") == ["start a2"]


@pytest.mark.parametrize(("ends_by", "comes_back"), [("limit", True), ("auto_shutdown", False)])
def test_otp_tells_a_failed_supervisor_by_nothing_and_ours_comes_back(ends_by: str, comes_back: bool) -> None:
    above = otp("transient")  # its child is a supervisor that has just ended, by either
    die(above, 1, "shutdown")
    below = Supervisor(
        "below",
        children=(worker("w", restart="transient", significant=True),),
        auto_shutdown="any_significant",
        max_restarts=0,
    )
    world = World(Supervisor("app", children=(below,)))
    world.tell(Start())
    world.ready_all()
    world.exit(1, CRASH if ends_by == "limit" else NORMAL)

    assert above.log == []
    assert (world.alive == {1: 2}) is comes_back


def test_otp_begins_another_life_with_all_children_and_ours_without_those_that_are_gone() -> None:
    specs = [ChildSpec(1), ChildSpec(2, "temporary"), ChildSpec(3)]
    theirs = OtpSupervisor(lambda _: True)
    theirs.init(specs)
    theirs.terminate()
    again = OtpSupervisor(lambda _: True)
    again.init(specs)
    bench = ours(rule(), rule(restart="temporary"), rule())
    bench.remove("c")
    bench.exit("c", REQUESTED)
    bench.stop()
    bench.exit_all()

    assert again.log == [("start", 1), ("start", 2), ("start", 3)]
    assert bench.boot() == ["start a2", "ready"]


def test_otp_kills_who_does_not_stop_and_ours_terminates_first() -> None:
    theirs, bench = otp("permanent"), ours(rule(shutdown=5.0, term_grace=2.0))
    theirs.terminate()

    assert theirs.log == [("stop", 1)]  # one step: it returns when the child is down, killed after its shutdown time
    assert [*bench.stop(), *bench.wait(5.0), *bench.wait(2.0)] == ["stop a1", "terminate a1", "kill a1 shutdown"]
