"""Channels: what is put is got once, whoever dies or stops, and nothing of it is left."""

from __future__ import annotations

import gc
import os
import pickle
import queue
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from actors import (
    ActorDied,
    ActorNotRunningError,
    ActorRef,
    ActorsError,
    ActorSystem,
    Backoff,
    Channel,
    ChannelClosedError,
    ChannelEmptyError,
    ChannelFullError,
    DeadLetter,
    EncodeError,
    SpecError,
    StartError,
    Supervisor,
)
from actors.mailbox import _channel_layout as at
from tests.consumers import Consumer
from tests.helpers import eventually, kill

SECONDS = 30.0
KIB = 1024


def channels(system: ActorSystem) -> int:
    """How many channels there are."""
    host = system._life.host
    assert host is not None
    return len(host.channel_book)


def put_all(channel: Channel[int], items: Iterable[int]) -> None:
    for item in items:
        channel.put(item)


def all_is_free(system: ActorSystem) -> None:
    gc.collect()
    eventually(lambda: channels(system) == 0, 10.0, state=lambda: channels(system), what="all channels are gone")


def nobody_has_any(system: ActorSystem) -> None:
    """Wait until no process has a channel that is closed."""
    host = system._life.host
    assert host is not None
    gc.collect()
    made = host.channel_book._made
    eventually(lambda: not any(one.users for one in tuple(made.values()) if one.keeper.core.is_closed), 10.0)


def spawn(system: ActorSystem, count: int, **options: Any) -> list[ActorRef[Consumer]]:
    return [system.spawn(Consumer(), name=f"consumer-{number}", **options) for number in range(count)]


@pytest.fixture
def hardy(start_method: Any) -> Iterator[ActorSystem]:
    """A system whose actors may be killed as often as it takes."""
    tree = Supervisor("app", max_restarts=1000, period=1.0)
    with ActorSystem(tree, start_method=start_method, on_crash=lambda _report: None) as running:
        yield running


HARDY: dict[str, Any] = {
    "max_same_crashes": None,
    "redeliver": 900,
    "backoff": Backoff(initial=0.001, maximum=0.001),
}


# --- as a queue -------------------------------------------------------------------------------------------------------------


def test_it_is_bounded_and_keeps_the_order(system: ActorSystem) -> None:
    with system.channel(3, "tasks") as tasks:
        assert tasks.empty()
        for number in range(3):
            tasks.put_nowait(number)
        assert tasks.full()
        with pytest.raises(queue.Full, match="all 3 places"):
            tasks.put_nowait(3)
        with pytest.raises(ChannelFullError):
            tasks.put(3, timeout=0.01)
        assert (tasks.qsize(), tasks.get(), tasks.qsize()) == (3, 0, 2)
        tasks.put(3)
        assert [tasks.get_nowait() for _ in range(3)] == [1, 2, 3]
        with pytest.raises(queue.Empty, match="nothing came"):
            tasks.get_nowait()
        with pytest.raises(ChannelEmptyError):
            tasks.get(timeout=0.01)
        with pytest.raises(ChannelEmptyError):
            tasks.get(False)
        with pytest.raises(ValueError, match="negative"):
            tasks.get(timeout=-1)
        with pytest.raises(TypeError, match="timeout='1': must be None or a number of seconds"):
            tasks.get(timeout="1")  # type: ignore[arg-type]
    del tasks
    all_is_free(system)


def test_many_put_and_many_get(system: ActorSystem) -> None:
    workers = spawn(system, 4)
    numbers: Channel[int] = system.channel(100)
    sums = [worker.ask(Consumer.sum_up, numbers) for worker in workers[:2]]
    for reply in [
        worker.ask(Consumer.put_range, numbers, number * 5000, (number + 1) * 5000)
        for number, worker in enumerate(workers[2:])
    ]:
        reply.result(timeout=SECONDS)
    numbers.close()

    assert sum(reply.result(timeout=SECONDS) for reply in sums) == sum(range(10_000))


def test_threads_of_one_process_share_it(system: ActorSystem) -> None:
    tasks: Channel[int] = system.channel(5)
    got: list[int] = []
    threads = [threading.Thread(target=lambda: got.extend(tasks)) for _ in range(3)]
    threads += [threading.Thread(target=lambda: put_all(tasks, range(500))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads[3:]:
        thread.join()
    tasks.close()
    for thread in threads[:3]:
        thread.join()

    assert Counter(got) == dict.fromkeys(range(500), 3)


def test_threads_may_make_channels_at_the_same_time(system: ActorSystem) -> None:
    def make() -> None:
        for _ in range(50):
            with system.channel(1):
                pass

    threads = [threading.Thread(target=make, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)

    assert not any(thread.is_alive() for thread in threads)


def test_values_come_as_they_were(system: ActorSystem) -> None:
    (echo,) = spawn(system, 1)
    there, back = system.channel(10), system.channel(10)
    echo.tell(Consumer.pass_on, there, back)
    for value in (None, (1, "two", {3}), b"x" * 900, "y" * 5000, 1 << 200, [b"z" * 20_000, bytearray(30_000)], echo):
        there.put(value)
        _pid, got = back.get(timeout=SECONDS)
        assert got == value
        assert type(got) is type(value)
    there.close()


def test_a_large_array_comes_whole_and_its_memory_goes_back(system: ActorSystem) -> None:
    np: Any = pytest.importorskip("numpy")
    (echo,) = spawn(system, 1)
    there, back = system.channel(10), system.channel(10)
    host = system._life.host
    assert host is not None
    files = [made.file for made in host.channel_book._made.values()]
    echo.tell(Consumer.pass_on, there, back)
    for number in range(3):
        array = np.full((1000, 1000), float(number)) + np.arange(1000)
        there.put({"array": array, "turned": array.T})
        _pid, got = back.get(timeout=SECONDS)
        assert (got["array"] == array).all()
        assert (got["turned"] == array.T).all()
    there.close()
    back.put(None)
    eventually(lambda: sum(os.stat(file).st_blocks * 512 for file in files) < 1000 * KIB, what="its memory is free")


@pytest.mark.parametrize(("maxsize", "least", "most"), [(4, 400 * KIB, 2000 * KIB), (2000, 0, 300 * KIB)])
def test_the_memory_of_large_items_is_kept_for_the_next_ones_where_that_is_little(
    system: ActorSystem, maxsize: int, least: int, most: int
) -> None:
    channel: Channel[bytes] = system.channel(maxsize)
    host = system._life.host
    assert host is not None
    (file,) = [made.file for made in host.channel_book._made.values()]
    for number in range(20):
        channel.put(bytes([number]) * 100 * KIB)
        assert channel.get() == bytes([number]) * 100 * KIB

    assert least <= os.stat(file).st_blocks * 512 < most
    channel.close()


def test_what_cannot_travel_is_refused_and_takes_no_place(system: ActorSystem) -> None:
    tasks: Channel[Any] = system.channel(1)
    with pytest.raises(EncodeError, match="item: .*object"):
        tasks.put(object())
    with pytest.raises(EncodeError, match="max_message_bytes"):
        tasks.put(b"x" * (65 * KIB * KIB))
    tasks.put_nowait("fits")
    assert tasks.get() == "fits"


# --- where it may be used ---------------------------------------------------------------------------------------------------


def test_it_travels_in_messages_answers_constructors_and_itself(system: ActorSystem) -> None:
    tasks: Channel[Any] = system.channel(10, "tasks")
    owner = system.spawn(Consumer(tasks), name="owner")
    other = system.spawn(Consumer(), name="other")
    taken = owner.ask(Consumer.get_own)
    tasks.put("mine")
    assert taken.result(timeout=SECONDS) == "mine"

    back = other.ask(Consumer.echo, [tasks, {"again": tasks}]).result(timeout=SECONDS)
    assert [type(back[0]), back[0].name, back[0].maxsize] == [Channel, "tasks", 10]
    back[1]["again"].put("by another name")
    assert tasks.get(timeout=SECONDS) == "by another name"

    tasks.put(tasks)
    inner = tasks.get(timeout=SECONDS)
    inner.put(1)
    assert tasks.get(timeout=SECONDS) == 1


def test_one_made_in_an_actor_outlives_it(system: ActorSystem) -> None:
    maker = system.spawn(Consumer(), restart="temporary")
    made = maker.ask(Consumer.make, 10, ["a", "b"]).result(timeout=SECONDS)
    kill(system, maker)
    eventually(lambda: not maker.is_alive())

    made.close()
    assert list(made) == ["a", "b"]
    del made
    all_is_free(system)


def _put_in_vain(channel: Channel[int]) -> None:
    with pytest.raises(ActorsError):
        channel.put(2)


def test_of_another_system_or_a_stopped_one_it_says_so(system: ActorSystem) -> None:
    with ActorSystem() as other:
        channel: Channel[int] = other.channel(1)
        channel.put(1)
        waiting = threading.Thread(target=_put_in_vain, args=(channel,))
        waiting.start()
    waiting.join()
    with pytest.raises(ActorNotRunningError, match="has stopped"):
        channel.put(2)
    with pytest.raises(ActorNotRunningError, match="has stopped"):
        channel.get()
    (one,) = spawn(system, 1)
    foreign: Channel[int] = Channel("elsewhere", 1, "foreign", 1, False, None)
    with pytest.raises(SpecError, match="no part in"):
        foreign.put(1)
    with pytest.raises(ActorsError, match="no part"):
        one.ask(Consumer.echo, foreign).result(timeout=SECONDS)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"maxsize": -1}, "maxsize=-1"),
        ({"maxsize": True}, "maxsize=True"),
        ({"maxsize": 1 << 40}, "from 0 to"),
        ({"name": 3}, "name=3"),
        ({"max_deliveries": 0}, "max_deliveries=0"),
    ],
)
def test_what_cannot_be_is_refused(system: ActorSystem, arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError, match=says):
        system.channel(**arguments)


def test_it_cannot_be_pickled(system: ActorSystem) -> None:
    with pytest.raises(TypeError, match="send it in a message"):
        pickle.dumps(system.channel(1))


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="later versions warn of forks in a process with threads")
def test_a_fork_of_the_host_is_told_whose_it_is(system: ActorSystem) -> None:
    channel: Channel[int] = system.channel(1)
    pid = os.fork()
    if pid == 0:  # pragma: no cover - in the child
        try:
            channel.put(1)
        except ActorsError as error:
            os._exit(0 if "belongs to process" in str(error) else 2)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert channel.empty()


def test_small_pipes_bound_it(system: ActorSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at, "pipe_bytes_for", lambda _maxsize: 8 * KIB)
    (echo,) = spawn(system, 1)
    with pytest.raises((SpecError, StartError), match="pipe-user-pages-soft"):
        system.channel(1000)
    there, back = system.channel(900), system.channel()
    assert back.maxsize == 512
    for number in range(900):
        there.put_nowait(number)
    assert there.full()
    echo.tell(Consumer.pass_on, there, back)
    assert [back.get(timeout=SECONDS)[1] for _ in range(900)] == list(range(900))
    there.close()


def test_a_shared_array_in_an_item_stays_until_the_item_is_done_with(system: ActorSystem) -> None:
    pytest.importorskip("numpy")
    host = system._life.host
    assert host is not None
    maker = system.spawn(Consumer(), restart="temporary")
    channel: Channel[Any] = system.channel(5)
    for number in range(3):
        maker.ask(Consumer.put_shared, channel, 100, number).result(timeout=SECONDS)
    kill(system, maker)
    eventually(lambda: not maker.is_alive())
    eventually(lambda: host.memory._items_done, 10.0, what="a sweep has looked")
    assert len(host.share_book) == 3

    assert [channel.get().array.sum() for _ in range(3)] == [0.0, 100.0, 200.0]
    gc.collect()
    eventually(lambda: len(host.share_book) == 0, 15.0, what="all shared memory is free")


# --- the end ----------------------------------------------------------------------------------------------------------------


def test_who_waits_is_woken_when_it_is_closed(system: ActorSystem) -> None:
    workers = spawn(system, 4)
    empty, full = system.channel(1), system.channel(1)
    full.put(0)
    getting = [worker.ask(Consumer.sum_up, empty) for worker in workers[:2]]
    putting = [worker.ask(Consumer.put, full, 1) for worker in workers[2:]]
    empty.close()
    full.close()
    full.close()

    assert [reply.result(timeout=SECONDS) for reply in getting] == [0, 0]
    for reply in putting:
        with pytest.raises(ActorsError, match="is closed: nothing more can be put"):
            reply.result(timeout=SECONDS)
    with pytest.raises(ChannelClosedError):
        full.put(1)
    assert list(full) == [0]
    with pytest.raises(ValueError, match="all that was put has been got"):
        full.get()
    assert full.closed
    del empty, full
    all_is_free(system)


def test_what_nobody_gets_is_a_dead_letter_when_the_system_ends(start_method: Any) -> None:
    letters: list[DeadLetter] = []
    with ActorSystem(start_method=start_method) as system:
        system.subscribe_dead_letters(letters.append)
        channel: Channel[int] = system.channel(10, "forgotten")
        for number in range(4):
            channel.put(number)
        channel.close()
        del channel
        nobody_has_any(system)
        assert channels(system) == 1

    eventually(lambda: letters)
    assert [(letter.target, letter.reason, letter.count) for letter in letters] == [("forgotten", "dead", 4)]


def test_an_actor_that_waits_for_an_item_is_stopped_at_once(system: ActorSystem) -> None:
    one, other = spawn(system, 2)
    channel, full = system.channel(1), system.channel(1)
    full.put("stays")
    summed = one.ask(Consumer.sum_up, channel)
    channel.put(5)
    eventually(channel.empty)
    other.tell(Consumer.put, full, "never fits")
    assert one.ask(Consumer.echo, 1).done() is False
    one.stop(drain=True)
    other.stop()

    eventually(lambda: not one.is_alive() and not other.is_alive(), 4.0)
    assert summed.result(timeout=SECONDS) == 5


def test_one_that_is_gone_is_closed_for_who_is_told_of_it_later(system: ActorSystem) -> None:
    (echo,) = spawn(system, 1)
    channel: Channel[int] = system.channel(1, "short")
    number = channel._number
    channel.close()
    del channel
    all_is_free(system)

    late = echo.ask(Consumer.echo, Channel(system.name, number, "short", 1, False, None)).result(timeout=SECONDS)
    assert late.closed
    assert late.empty()
    late.close()
    with pytest.raises(ChannelClosedError, match="not there any more"):
        late.get()


# --- joinable ---------------------------------------------------------------------------------------------------------------


def test_join_waits_until_all_is_done(system: ActorSystem) -> None:
    workers = spawn(system, 3)
    tasks: Channel[int] = system.channel(50, joinable=True)
    out: Channel[int] = system.channel(2000)
    assert tasks.join(timeout=SECONDS)
    for worker in workers:
        worker.tell(Consumer.work, tasks, out, 1)
    for number in range(600):
        tasks.put(number)
    assert tasks.join(timeout=SECONDS)
    assert sorted(out.get(timeout=SECONDS) for _ in range(600)) == list(range(600))

    mine: Channel[str] = system.channel(5, joinable=True)
    mine.put("one")
    mine.put("two")
    assert [mine.get(), mine.get()] == ["one", "two"]
    assert mine.join(timeout=0.01) is False
    mine.task_done()
    done = threading.Thread(target=mine.task_done)
    done.start()
    assert mine.join()
    done.join()
    with pytest.raises(ValueError, match="more often"):
        mine.task_done()
    with pytest.raises(SpecError, match="joinable=True"):
        out.join()
    tasks.close()


def test_all_that_a_joinable_consumer_held_goes_to_another(hardy: ActorSystem) -> None:
    one = hardy.spawn(Consumer(), name="one", restart="temporary")
    other = hardy.spawn(Consumer(), name="other", restart="temporary")
    tasks: Channel[int] = hardy.channel(50, joinable=True)
    out: Channel[int] = hardy.channel(50)
    for number in range(5):
        tasks.put(number)
    one.tell(Consumer.work, tasks, out, 10)  # it gets five, and waits for more
    eventually(tasks.empty)
    kill(hardy, one)

    other.tell(Consumer.work, tasks, out, 1)
    assert tasks.join(timeout=SECONDS)
    assert sorted(out.get(timeout=SECONDS) for _ in range(5)) == list(range(5))
    assert hardy.channel(1).maxsize == 1
    tasks.close()


# --- deaths -----------------------------------------------------------------------------------------------------------------


def test_an_item_of_a_consumer_that_dies_goes_to_another(hardy: ActorSystem) -> None:
    first, second = spawn(hardy, 2, restart="temporary")
    tasks, told = hardy.channel(1), hardy.channel(10)
    first.tell(Consumer.hold, tasks, told)
    tasks.put("task")
    pid, item = told.get(timeout=SECONDS)
    tasks.close()
    second.tell(Consumer.hold, tasks, told)  # it waits, for the item may come back
    os.kill(pid, signal.SIGKILL)
    again, item_again = told.get(timeout=SECONDS)

    assert (item, item_again) == ("task", "task")
    assert pid != again
    kill(hardy, second)
    assert list(tasks) == ["task"]


def test_what_a_handler_got_is_done_with_when_it_returns(system: ActorSystem) -> None:
    letters: list[DeadLetter] = []
    system.subscribe_dead_letters(letters.append)
    worker = system.spawn(Consumer(), restart="temporary")
    tasks: Channel[str] = system.channel(1)
    tasks.put("task")
    assert worker.ask(Consumer.get, tasks, SECONDS).result(timeout=SECONDS) == "task"
    assert worker.ask(Consumer.echo, 1).result(timeout=SECONDS) == 1
    kill(system, worker)
    eventually(lambda: not worker.is_alive())

    tasks.close()
    assert list(tasks) == []


def test_an_item_that_kills_its_consumers_is_a_dead_letter(hardy: ActorSystem) -> None:
    letters: list[DeadLetter] = []
    hardy.subscribe_dead_letters(letters.append)
    workers = spawn(hardy, 4, restart="temporary")
    tasks: Channel[str] = hardy.channel(10, "tasks", max_deliveries=3)
    tasks.put("poison")
    for worker in workers[:3]:
        with pytest.raises(ActorDied):
            worker.ask(Consumer.die_of, tasks).result(timeout=SECONDS)
    eventually(lambda: [letter for letter in letters if letter.target == "tasks"], state=lambda: letters)
    tasks.put("harmless")

    assert workers[3].ask(Consumer.get, tasks, SECONDS).result(timeout=SECONDS) == "harmless"
    assert [letter.reason for letter in letters if letter.target == "tasks"] == ["poison"]


def test_a_storm_of_kills_loses_nothing(hardy: ActorSystem) -> None:
    count = 3000
    relays, workers = (
        [hardy.spawn(Consumer(), name=f"{name}-{number}", **HARDY) for number in range(2)]
        for name in ("relay", "worker")
    )
    source, middle = (hardy.channel(maxsize, max_deliveries=1000) for maxsize in (20, 3))
    target: Channel[Any] = hardy.channel(20)
    for relay in relays:
        relay.tell(Consumer.pass_on, source, middle)
    for worker in workers:
        worker.tell(Consumer.pass_on, middle, target)
    feeder = threading.Thread(target=lambda: put_all(source, range(count)))
    feeder.start()
    got: Counter[int] = Counter()
    kills = 0
    while len(got) < count:
        _pid, (_first, number) = target.get(timeout=SECONDS)
        got[number] += 1
        if got.total() % 100 == 0:
            kill(hardy, [*relays, *workers][kills % 4])
            kills += 1
    feeder.join()

    assert set(got) == set(range(count))
    assert got.total() - count <= kills
    host = hardy._life.host
    assert host is not None
    for ref in (*relays, *workers):
        ref.stop()
    eventually(lambda: not any(ref.is_alive() for ref in (*relays, *workers)), 10.0)
    eventually(lambda: not any(made.keeper.excess for made in host.channel_book._made.values()))
    for channel in (source, middle, target):
        while not channel.empty():  # what came twice
            channel.get_nowait()
        for number in range(channel.maxsize):
            channel.put_nowait(number)
        with pytest.raises(ChannelFullError):
            channel.put_nowait(0)
        channel.close()


@pytest.mark.parametrize("task", [Consumer.pass_on, Consumer.put_range], ids=["consumer", "producer"])
def test_one_that_is_stopped_holds_nobody_up(system: ActorSystem, task: Callable[..., Any]) -> None:
    stopped, other = spawn(system, 2)
    source, target = system.channel(10), system.channel(10)
    pid = stopped.ask(Consumer.pid_of).result(timeout=SECONDS)
    if task is Consumer.pass_on:
        stopped.tell(Consumer.pass_on, source, target)
        source.put(-1)
    else:
        stopped.tell(Consumer.put_range, target, -1, 1 << 30)
    assert target.get(timeout=SECONDS) in {-1, (pid, -1)}
    os.kill(pid, signal.SIGSTOP)
    try:
        other.tell(Consumer.pass_on, source, target)
        got = set()
        for number in range(200):
            source.put(number, timeout=SECONDS)
            while number not in got:
                item = target.get(timeout=SECONDS)
                got.add(item[1] if isinstance(item, tuple) else None)
    finally:
        os.kill(pid, signal.SIGCONT)
    target.close()
    source.close()


def test_who_writes_over_its_memory_spoils_that_channel_alone(hardy: ActorSystem) -> None:
    vandal = hardy.spawn(Consumer(), name="vandal", restart="temporary")
    spoiled, sound = hardy.channel(10), hardy.channel(10)
    for number in range(5):
        spoiled.put(number)
        sound.put(number)
    vandal.ask(Consumer.scribble, spoiled).result(timeout=SECONDS)
    kill(hardy, vandal)
    eventually(lambda: not vandal.is_alive())

    for use in (lambda: spoiled.get(timeout=0.1), lambda: spoiled.put(1, timeout=0.1), spoiled.qsize, spoiled.close):
        try:
            use()
        except (ActorsError, ValueError, TypeError):
            continue
    assert [sound.get(timeout=SECONDS) for _ in range(5)] == list(range(5))
