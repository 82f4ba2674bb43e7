"""Whose a channel and its items are while nobody has the channel in hand: on its way, between two lives, at an orderly end."""

from __future__ import annotations

import os
import signal

from actors import ActorSystem, Channel
from tests.consumers import Consumer
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
