from __future__ import annotations

from actors._flow import Flow
from actors.mailbox._envelope import INCARNATION_SHIFT

CALLER, ASK = 7, (2 << INCARNATION_SHIFT) + 1


def test_a_stream_may_be_ahead_by_its_credit() -> None:
    flow = Flow()
    assert flow.begin(CALLER, ASK, 2)

    assert [True, True] == [flow.take(None), flow.take(None)]
    assert not flow.has_credit
    assert not flow.take(0.0)


def test_credit_of_its_caller_lets_it_go_on_and_credit_for_another_ask_does_not() -> None:
    flow = Flow()
    flow.begin(CALLER, ASK, 0)
    flow.steer(("credit", CALLER, ASK + 1, 5), ())
    assert not flow.has_credit

    flow.steer(("credit", CALLER, ASK, 1), ())

    assert flow.take(None)


def test_the_ask_being_handled_is_marked_when_it_is_cancelled() -> None:
    flow = Flow()
    flow.begin(CALLER, ASK, 1)

    flow.steer(("cancel", CALLER, ASK, 1), ())

    assert flow.cancelled
    assert not flow.take(None)
    flow.end()
    assert not flow.cancelled


def test_the_supervisor_is_told_once_which_message_was_cancelled_while_it_is_handled() -> None:
    flow = Flow()
    told: list[int] = []
    flow.place, flow.report = lambda: 41, told.append
    flow.steer(("cancel", CALLER, ASK + 1, 1), ())
    flow.begin(CALLER, ASK, 1)
    assert [] == told

    flow.steer(("cancel", CALLER, ASK, 1), ())
    flow.steer(("cancel", CALLER, ASK, 1), ())

    assert [41] == told


def test_an_ask_that_was_cancelled_before_it_starts_does_not_begin_and_is_forgotten() -> None:
    flow = Flow()
    flow.steer(("cancel", CALLER, ASK, 1), ())

    assert not flow.begin(CALLER, ASK, 1)
    assert flow.begin(CALLER, ASK, 1)


def test_the_end_of_a_caller_cancels_what_that_incarnation_asked() -> None:
    flow = Flow()
    flow.begin(CALLER, ASK, 1)
    flow.caller_gone((CALLER, 1), ())
    flow.caller_gone((CALLER, 3), ())
    flow.caller_gone((CALLER + 1, 2), ())
    assert not flow.cancelled

    flow.caller_gone((CALLER, 2), ())

    assert flow.cancelled


def test_a_stop_interrupts_only_a_stream_that_waits() -> None:
    flow = Flow()
    flow.interrupt()
    flow.begin(CALLER, ASK, 1)
    flow.interrupt()
    assert not flow.cancelled

    flow.take(None)
    flow.interrupt()

    assert flow.cancelled


def test_the_oldest_of_too_many_cancelled_asks_is_handled_after_all() -> None:
    flow = Flow()
    for number in range(10_001):
        flow.cancel(CALLER, number)

    assert flow.begin(CALLER, 0, 1)
    assert not flow.begin(CALLER, 10_000, 1)


def test_a_stream_that_has_used_its_credit_up_after_a_stop_was_asked_for_waits_for_no_more() -> None:
    flow = Flow()
    flow.begin(CALLER, ASK, 1)
    flow.interrupt()

    assert not flow.cancelled
    assert flow.take(None)
    assert not flow.take(None)
    assert flow.cancelled


def test_a_stop_that_was_taken_back_lets_later_streams_wait() -> None:
    flow = Flow()
    flow.interrupt()
    flow.go_on()
    flow.begin(CALLER, ASK, 0)

    assert not flow.take(0.0)
    assert not flow.cancelled
