"""What is waited for when keys move: by a node and workers that exist only here."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from actors import ActorNotRunningError, ActorRef, AskTimeoutError
from actors._pool_order import KeyOrder, MovingError
from actors._pool_table import Table
from actors.supervisor._slots import SLOTS

SYSTEM = "made-up"


class Answer:
    """A reply that ends when the test says so."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.is_done = False

    def done(self) -> bool:
        return self.is_done

    def cancelled(self) -> bool:
        return False

    def exception(self, _timeout: float) -> BaseException | None:
        return self.error


@attrs.define
class Somebody:
    """Node and source: notes whom a sign was asked of, and how long one was waited for."""

    asked: list[tuple[int, Answer]] = attrs.Factory(list)
    waited: list[float] = attrs.Factory(list)
    gone: set[int] = attrs.Factory(set)
    answers_at_once: bool = False

    def barrier(self, ref: ActorRef[Any]) -> Answer:
        if ref.uid in self.gone:
            raise ActorNotRunningError("gone", target=ref.path)
        self.asked.append((ref.uid, Answer()))
        return self.asked[-1][1]

    def wait_reply(self, reply: Answer, seconds: float) -> None:
        self.waited.append(seconds)
        reply.is_done = self.answers_at_once


def table(owners: dict[int, int], version: int = 1) -> Table:
    """A table in which slot *s* is the worker's ``owners[s]``; the others are worker 1's."""
    uids = sorted({1, *owners.values()})
    slots = bytes(uids.index(owners.get(slot, 1)) for slot in range(SLOTS))
    members = [(uid, f"/pool/{uid}") for uid in uids]
    return Table.of(SYSTEM, (1, version, "/pool", "key_hash", None, members, slots, "block", 5.0, ""))


def send(order: KeyOrder, slot: int, now: Table, **options: Any) -> int:
    """Note a message of *slot*; return the worker it goes to."""
    member = attrs.evolve(now.members[now.slots[slot]], **options)
    order.go(slot, now, member)
    return member.uid


def make(**options: Any) -> tuple[KeyOrder, Somebody]:
    somebody = Somebody(**options)
    return KeyOrder(somebody, somebody, SYSTEM), somebody  # type: ignore[arg-type]


def test_nothing_is_waited_for_while_nothing_moves_or_nothing_was_sent() -> None:
    order, somebody = make()

    assert [send(order, 7, table({})), send(order, 7, table({})), send(order, 8, table({8: 2}, 2))] == [1, 1, 2]
    assert somebody.asked == []


def test_one_sign_is_enough_for_all_slots_that_have_left_a_worker() -> None:
    order, somebody = make(answers_at_once=True)
    for slot in (1, 2, 3):
        send(order, slot, table({}))

    found = [send(order, slot, table({1: 2, 2: 2}, 2)) for slot in (1, 2, 3)]

    assert found == [2, 2, 1]
    assert [uid for uid, _answer in somebody.asked] == [1]
    assert somebody.waited == [5.0]


def test_a_sign_says_nothing_of_a_slot_that_left_after_it_was_asked_for() -> None:
    order, somebody = make()
    send(order, 1, table({}))
    send(order, 2, table({}))
    with pytest.raises(MovingError):
        send(order, 1, table({1: 2}, 2), on_full="reject")
    send(order, 2, table({1: 2}, 2))  # behind the sign
    somebody.asked[0][1].is_done = True

    with pytest.raises(MovingError):
        send(order, 2, table({1: 2, 2: 2}, 3), on_full="reject")

    assert len(somebody.asked) == 2
    somebody.asked[1][1].is_done = True
    assert [send(order, slot, table({1: 2, 2: 2}, 3)) for slot in (1, 2)] == [2, 2]


def test_a_slot_that_came_back_in_between_needs_another_sign() -> None:
    order, somebody = make()
    send(order, 1, table({}))
    with pytest.raises(MovingError):
        send(order, 1, table({1: 2}, 2), on_full="reject")
    assert send(order, 1, table({}, 3)) == 1  # behind the sign
    somebody.asked[0][1].is_done = True

    with pytest.raises(MovingError):
        send(order, 1, table({1: 2}, 4), on_full="reject")

    assert len(somebody.asked) == 2


def test_a_sign_that_was_given_up_is_asked_for_again() -> None:
    order, somebody = make()
    send(order, 1, table({}))
    with pytest.raises(MovingError):
        send(order, 1, table({1: 2}, 2))
    somebody.asked[0][1].error, somebody.asked[0][1].is_done = AskTimeoutError("late", target="", timeout=1.0), True

    with pytest.raises(MovingError) as caught:
        send(order, 1, table({1: 2}, 2), on_full="drop_newest")

    assert caught.value.drop
    assert len(somebody.asked) == 2


def test_whoever_died_with_its_queue_gives_no_sign_and_holds_nobody_up() -> None:
    order, somebody = make()
    send(order, 1, table({}))
    send(order, 2, table({}))
    somebody.gone.add(1)

    assert [send(order, slot, table({1: 2, 2: 2}, 2)) for slot in (1, 2)] == [2, 2]
    assert somebody.waited == []
