"""Whose a channel and its items are while nobody has the channel in hand: on its way, between two lives, at an orderly end."""

from __future__ import annotations

import os
import re
import signal

import pytest

from actors import ActorSystem, Channel, DeadLetter
from tests.consumers import Consumer, LastGetter, get_until_refused
from tests.helpers import eventually
from tests.process.test_channels import HARDY, SECONDS, all_is_free, hardy, nobody_has_any

__all__ = ["hardy"]  # a fixture


# --- on its way -------------------------------------------------------------------------------------------------------------


def test_a_closed_channel_keeps_its_items_on_its_way_in_a_message(system: ActorSystem) -> None:
    worker = system.spawn(Consumer())
    gate, out = system.channel(1), system.channel(10)
    busy = worker.ask(Consumer.get, gate)
    tasks: Channel[int] = system.channel(5)
    for number in range(5):
        tasks.put(number)
    tasks.close()
    worker.tell(Consumer.pass_on, tasks, out)
    del tasks
    nobody_has_any(system)
    gate.put("go on")

    assert busy.result(timeout=SECONDS) == "go on"
    assert [out.get(timeout=SECONDS)[1] for _ in range(5)] == list(range(5))
    nobody_has_any(system)
    for channel in (gate, out):
        channel.close()
    del gate, out, channel
    all_is_free(system)


def test_a_closed_channel_keeps_its_items_on_its_way_in_an_answer(system: ActorSystem) -> None:
    maker = system.spawn(Consumer())
    replies = [maker.ask(Consumer.make_closed, [number, 2, 3]) for number in range(20)]

    assert [list(reply.result(timeout=SECONDS)) for reply in replies] == [[number, 2, 3] for number in range(20)]
    del replies
    all_is_free(system)


def test_the_only_consumer_of_a_closed_channel_gets_the_rest_in_its_next_life(hardy: ActorSystem) -> None:
    told: Channel[tuple[int, int]] = hardy.channel(1)
    tasks: Channel[int] = hardy.channel(3)
    for number in range(3):
        tasks.put(number)
    tasks.close()
    worker = hardy.spawn(Consumer(tasks), **{**HARDY, "redeliver": 0})
    worker.tell(Consumer.hold_own, told)
    del tasks
    pid, item = told.get(timeout=SECONDS)
    os.kill(pid, signal.SIGKILL)

    assert item == 0
    assert [worker.ask(Consumer.get_own).result(timeout=SECONDS) for _ in range(3)] == [1, 2, 0]


# --- who leaves, and was not killed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["sys.exit", "os._exit", "thread"])
def test_what_a_consumer_was_in_the_middle_of_when_it_left_by_itself_or_was_stopped_comes_again(
    system: ActorSystem, how: str
) -> None:
    worker = system.spawn(Consumer(), restart="temporary")
    tasks: Channel[int] = system.channel(1)
    tasks.put(1)
    if how == "thread":
        worker.ask(Consumer.leave, tasks, how).result(timeout=SECONDS)
        worker.stop()
    else:
        worker.tell(Consumer.leave, tasks, how)
    eventually(lambda: not worker.is_alive(), SECONDS)

    assert tasks.get(timeout=SECONDS) == 1


def test_who_leaves_with_an_item_has_died_of_it_and_who_is_stopped_has_not(system: ActorSystem) -> None:
    letters: list[DeadLetter] = []
    system.subscribe_dead_letters(letters.append)
    tasks: Channel[int] = system.channel(1, "tasks", joinable=True, max_deliveries=1)
    tasks.put(1)
    for _ in range(3):
        worker = system.spawn(Consumer(), restart="temporary")
        assert worker.ask(Consumer.get, tasks, SECONDS).result(timeout=SECONDS) == 1
        worker.stop()
    system.spawn(Consumer(), restart="temporary").tell(Consumer.leave, tasks, "os._exit")

    assert tasks.join(timeout=SECONDS)
    eventually(lambda: [letter.target for letter in letters if letter.reason == "poison"] == ["tasks"])


def test_what_was_got_in_on_stop_is_done_with_when_it_returns(system: ActorSystem) -> None:
    tasks: Channel[int] = system.channel(2)
    worker = system.spawn(LastGetter(tasks), restart="temporary")
    tasks.put(1)
    tasks.put(2)
    worker.stop(drain=True)
    eventually(lambda: not worker.is_alive(), SECONDS)
    tasks.close()

    assert list(tasks) == [2]


def test_an_item_stays_taken_until_task_done_though_nothing_refers_to_the_channel(system: ActorSystem) -> None:
    worker = system.spawn(Consumer())
    tasks: Channel[int] = system.channel(1, joinable=True)
    tasks.put(1)
    assert worker.ask(Consumer.get, tasks, SECONDS).result(timeout=SECONDS) == 1
    worker.ask(Consumer.forget_channels).result(timeout=SECONDS)
    worker.ask(Consumer.task_done, tasks).result(timeout=SECONDS)

    assert tasks.join(timeout=SECONDS)
    tasks.close()
    del tasks
    all_is_free(system)


# --- who holds many ---------------------------------------------------------------------------------------------------------


def test_who_holds_as_many_items_as_one_may_is_told_so_and_loses_none(system: ActorSystem) -> None:
    count = 1050
    worker = system.spawn(Consumer(), restart="temporary")
    tasks: Channel[int] = system.channel(count, "tasks", joinable=True)
    for number in range(count):
        tasks.put(number)
    told = worker.ask(Consumer.get_until_refused, tasks).result(timeout=SECONDS)
    worker.stop()
    eventually(lambda: not worker.is_alive(), SECONDS)
    told_here = get_until_refused(tasks)

    assert [len(told[0]), len(told_here[0])] == [1024, 1023]  # here is a producer, too
    for _items, error, text in (told, told_here):
        assert error == "StartError"
        assert re.fullmatch(
            r"channel tasks: this process holds 1024 of its items, .* say task_done\(\) of some first", text
        )
    for _ in told_here[0]:
        tasks.task_done()
    rest = [tasks.get() for _ in range(count - 1023)]
    assert sorted([*told_here[0], *rest]) == list(range(count))
