"""Channels where something comes to an end: an actor, the system, a thread, memory, descriptors."""

from __future__ import annotations

import gc
import itertools
import math
import os
import queue
import resource
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from actors import (
    ActorNotRunningError,
    ActorSystem,
    Channel,
    ChannelClosedError,
    CrashReport,
    EncodeError,
    HandlerError,
    StartError,
)
from tests.consumers import Consumer
from tests.helpers import eventually
from tests.leaks import Snapshot
from tests.process.test_channels import SECONDS, channels

PROMISE_SECONDS = 20.0  # ten times the 2 s in which an actor that waits is stopped


# --- what cannot be ---------------------------------------------------------------------------------------------------------


def test_a_timeout_is_a_number_of_seconds(system: ActorSystem) -> None:
    with system.channel(1, joinable=True) as tasks:
        tasks.put(0)
        uses: list[Callable[[float], object]] = [
            lambda timeout: tasks.put(1, timeout=timeout),
            lambda timeout: tasks.get(timeout=timeout),
            tasks.join,
        ]
        for use in uses:
            for timeout in (-1.0, -math.inf, math.nan):
                with pytest.raises(ValueError, match="number of seconds"):
                    use(timeout)
        with pytest.raises(queue.Full):
            tasks.put(1, timeout=0)
        assert tasks.get(timeout=math.inf) == 0
        tasks.put(1, timeout=1e300)
        assert not tasks.join(0)


def test_an_item_that_cannot_travel_is_refused_with_the_name_of_the_channel(system: ActorSystem) -> None:
    with system.channel(1, "orders") as orders:
        with pytest.raises(EncodeError, match=r"channel orders: item\[\"when\"\]\[0\]: .* cannot travel") as caught:
            orders.put({"when": [threading.Lock()]})
        assert caught.value.path == 'item["when"][0]'
        assert orders.empty()


# --- an actor, the system ---------------------------------------------------------------------------------------------------


def test_who_gets_or_puts_an_item_does_not_hang(system: ActorSystem) -> None:
    worker, channel = system.spawn(Consumer()), system.channel()

    assert worker.ask(Consumer.note_progress, channel).result(timeout=SECONDS) == [True, True, False, False]


@pytest.mark.parametrize("what", ["get", "put", "join"])
def test_an_actor_that_waits_is_stopped_in_time_and_has_not_crashed(start_method: Any, what: str) -> None:
    crashes: list[CrashReport] = []
    with ActorSystem(start_method=start_method, on_crash=crashes.append) as system:
        worker = system.spawn(Consumer(), restart="temporary")
        told: Channel[str] = system.channel(1)
        channel: Channel[int] = system.channel(1, joinable=True)
        if what != "get":
            channel.put(0)
        worker.tell(Consumer.wait_in, what, channel, told)
        assert told.get(timeout=SECONDS) == what
        began = time.monotonic()
        worker.stop()
        eventually(lambda: not worker.is_alive(), SECONDS)
        assert time.monotonic() - began < PROMISE_SECONDS

    assert crashes == []


def test_who_waits_in_the_host_when_its_system_stops_is_told_so(start_method: Any) -> None:
    told: list[BaseException] = []
    busy = threading.Barrier(6)

    def use(call: Callable[[], object]) -> None:
        busy.wait()
        try:
            while True:
                call()
        except (ChannelClosedError, ActorNotRunningError) as error:
            told.append(error)

    with ActorSystem(start_method=start_method) as system:
        empty, full, held = (system.channel(1, joinable=True) for _ in range(3))
        full.put(0)
        held.put(0)
        calls = (empty.get, lambda: full.put(1), held.join, lambda: held.join(0), lambda: (held.closed, held.qsize()))
        threads = [threading.Thread(target=use, args=(call,)) for call in calls]
        for thread in threads:
            thread.start()
        busy.wait()
    for thread in threads:
        thread.join(SECONDS)

    assert len(told) == len(calls)


# --- threads of an actor ----------------------------------------------------------------------------------------------------


def test_what_a_thread_got_is_done_with_when_the_thread_has_ended_and_the_handler_returned(system: ActorSystem) -> None:
    tasks: Channel[str] = system.channel(1)
    worker = system.spawn(Consumer(tasks))  # it keeps the channel
    tasks.put("task")
    assert worker.ask(Consumer.get_in_thread, tasks).result(timeout=SECONDS) == "task"
    tasks.close()

    assert list(tasks) == []


def test_what_a_coroutine_got_by_a_thread_is_done_with_at_task_done(system: ActorSystem) -> None:
    tasks: Channel[int] = system.channel(3)
    worker = system.spawn(Consumer(tasks))
    for number in range(3):
        tasks.put(number)
    assert worker.ask(Consumer.get_from_coroutines, tasks, 3).result(timeout=SECONDS) == [0, 1, 2]
    tasks.close()

    assert list(tasks) == []


# --- no room ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def descriptors() -> Iterator[Callable[[int], None]]:
    """Sets how many descriptors this process may have beside those that it has; -1: as many as before."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)

    def leave(count: int) -> None:
        used = set(map(int, os.listdir("/proc/self/fd")))
        free = (number for number in itertools.count() if number not in used)
        limit = before[0] if count < 0 else next(itertools.islice(free, count, None))
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, before[1]))

    yield leave
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_without_descriptors_none_is_made_and_nothing_of_it_is_left(
    system: ActorSystem, descriptors: Callable[[int], None]
) -> None:
    system.channel(1).close()
    eventually(lambda: channels(system) == 0)
    before = Snapshot.take()
    refused = 0
    for room in range(24):
        descriptors(room)
        try:
            made: Channel[int] = system.channel(1)
        except StartError:
            refused += 1
        else:
            made.close()
            del made
        finally:
            descriptors(-1)
        gc.collect()
        eventually(lambda: channels(system) == 0)

    assert 4 < refused < 24
    eventually(lambda: not before.leaks(), state=before.leaks)


@pytest.mark.parametrize("size", [1 << 16, 1 << 22])
def test_an_actor_that_has_no_memory_for_a_channel_fails_that_message_alone(system: ActorSystem, size: int) -> None:
    worker = system.spawn(Consumer(), restart="temporary")
    tasks: Channel[int] = system.channel()
    tasks.put(1)
    worker.ask(Consumer.leave_room, "memory", size).result(timeout=SECONDS)
    with pytest.raises(HandlerError, match="no room for it"):
        worker.ask(Consumer.get, tasks).result(timeout=SECONDS)

    assert worker.ask(Consumer.echo, 1).result(timeout=SECONDS) == 1
    assert tasks.get(timeout=SECONDS) == 1
    tasks.close()
    del tasks
    gc.collect()
    eventually(lambda: channels(system) == 0, 10.0)


def test_two_hundred_leave_no_descriptor_when_they_are_closed_and_let_go_of(system: ActorSystem) -> None:
    worker = system.spawn(Consumer())
    worker.ask(Consumer.echo, 1).result(timeout=SECONDS)
    system.channel(1).close()
    eventually(lambda: channels(system) == 0)
    before = Snapshot.take()
    for _ in range(2):
        many: list[Channel[int]] = [system.channel(1) for _ in range(200)]
        worker.ask(Consumer.echo, len(worker.ask(Consumer.echo, many[:50]).result(timeout=SECONDS))).result(
            timeout=SECONDS
        )
        for number, channel in enumerate(many):
            channel.put(number)
            assert channel.get(timeout=SECONDS) == number
            channel.close()
        del many, channel
        gc.collect()
        eventually(lambda: channels(system) == 0, 10.0, state=lambda: channels(system))
    eventually(lambda: not before.leaks(), state=before.leaks)
