"""What is told arrives once and in order, however often its receiver is killed; and what is promised where it cannot arrive."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actors import (
    Actor,
    ActorDied,
    ActorInfo,
    ActorNotRunningError,
    ActorRef,
    ActorSystem,
    Backoff,
    HandlerError,
    MailboxFullError,
    Supervisor,
    handler,
)
from actors.mailbox._envelope import encode_result
from actors.mailbox._frames import frame
from tests.helpers import eventually
from tests.messengers import Echo, Log, Receiver, Sender


def tree() -> Supervisor:
    """A root that never gives up."""
    return Supervisor("app", max_restarts=100_000, period=1.0)


def look_at(system: ActorSystem, ref: ActorRef[Any]) -> ActorInfo | None:
    return next((info for info in system.actors() if info.uid == ref.uid), None)


def kill_at_random(system: ActorSystem, ref: ActorRef[Any], kills: int, over: Callable[[], bool], seed: int) -> int:
    """SIGKILL *ref* again and again, each new process up to 2 ms after it got ready, some before; return how often."""
    chance, pause = random.Random(seed), threading.Event()
    killed, last, patient = 0, None, True
    while killed < kills and not over():
        info = look_at(system, ref)
        if info is None or info.pid is None or info.pid == last or (patient and info.state not in {"idle", "handling"}):
            pause.wait(0.0002)
            continue
        pause.wait(0.002 * chance.random())
        with contextlib.suppress(ProcessLookupError):
            os.kill(info.pid, signal.SIGKILL)
            killed, last, patient = killed + 1, info.pid, chance.random() < 0.9
    return killed


def name_the_dead(system: ActorSystem) -> list[list[Any]]:
    """Return the list in which the arguments of each message that was in flight in a crash will stand."""
    host = system._life.host
    assert host is not None
    named: list[list[Any]] = []
    end = host.mail._end

    def spy(cell: Any, message: Any, reason: Any, **rest: Any) -> None:
        if isinstance(message, list) and message[0] == 0:
            named.append(message[2])
        end(cell, message, reason, **rest)

    host.mail._end = spy  # type: ignore[method-assign]
    return named


_ENOUGH_KILLS = 10


def bombard(folder: Path, start_method: Any, kills: int, each: int, load: bytes = b"", rounds: int = 20) -> None:
    """Tell a receiver *each* messages from each of three senders, and again until it was killed often enough."""
    logs = [Log.create(folder / f"log{number}", each * rounds) for number in range(3)]
    with ActorSystem(tree(), start_method=start_method) as system:
        receiver = system.spawn(Receiver(logs), name="receiver", send_timeout=60.0)
        senders = [system.spawn(Sender(), name=f"sender-{number}") for number in range(2)]
        named = name_the_dead(system)
        told = [0, 0, 0]
        # A fresh interpreter takes so long to start that the messages may be through after a kill or two.
        wanted = 1 if start_method == "spawn" else min(kills, _ENOUGH_KILLS)

        def tell_all(number: int) -> None:
            for _ in range(rounds):
                first = told[number]
                if number < len(senders):
                    assert senders[number].ask(Sender.send, receiver, number, first, each, load).result() == each
                else:
                    for count in range(first, first + each):
                        receiver.tell(Receiver.put, number, count, load)
                told[number] = first + each
                if receiver.incarnation > wanted:
                    break

        threads = [threading.Thread(target=tell_all, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        began = time.monotonic()

        def over() -> bool:
            seen = receiver.statistics()
            return not any(thread.is_alive() for thread in threads) and not seen.queued_bytes + seen.pipe_queued_bytes

        killed = kill_at_random(system, receiver, kills, over, kills)
        for thread in threads:
            thread.join()
        assert min(told) >= each
        receiver.flush()
        ends = [receiver.ask(Receiver.done) for _ in range(3)]
        assert "done" in [reply.result(timeout=60) for reply in ends if reply.exception(timeout=60) is None]
        print(f"{killed} kills, {sum(told)} messages, {len(named)} in flight, {time.monotonic() - began:.1f} s")
        judge(logs, named, told, killed)
        assert killed >= wanted
        assert set(system.dead_letters()) <= {"crashed"}


def judge(logs: list[str], named: list[list[Any]], told: list[int], killed: int) -> None:
    assert len(named) <= killed
    for sender, log in enumerate(logs):
        handled = Log.read(log)
        assert all(a < b for a, b in itertools.pairwise(handled)), "handled twice, or out of order"
        in_flight = {args[1] for args in named if args[0] == sender}
        missing = set(range(told[sender])) - set(handled)
        assert missing <= in_flight, f"lost: {sorted(missing - in_flight)[:10]}"


def test_each_message_is_handled_once_or_named_while_its_receiver_is_killed(tmp_path: Path, start_method: Any) -> None:
    bombard(tmp_path, start_method, 30, 20_000)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_million_messages_survive_a_thousand_kills(tmp_path: Path, start_method: Any) -> None:
    bombard(tmp_path, start_method, 1000, 333_334, rounds=1)


def test_large_messages_survive_kills_of_their_receiver(tmp_path: Path, start_method: Any) -> None:
    bombard(tmp_path, start_method, 15, 2_000, bytes(20_000))


# --- full inboxes


def shut(callee: ActorRef[Echo], gate: Path) -> Any:
    """Have *callee* busy until *gate* is there."""
    busy = callee.ask(Echo.wait_for, str(gate))
    eventually(lambda: (callee.statistics().state, callee.statistics().handler) == ("handling", "wait_for"))
    return busy


def test_a_full_inbox_rejects_drops_or_makes_wait(system: ActorSystem, tmp_path: Path) -> None:
    callee = system.spawn(Echo(), mailbox_bytes=4096)
    busy = shut(callee, tmp_path / "gate")
    accepted = 0
    with pytest.raises(MailboxFullError, match="inbox of /system/echo was full"):
        for accepted in range(1_000_000):
            callee.options(on_full="reject").tell(Echo.note, accepted)
    for _ in range(5):
        callee.options(on_full="drop_newest").tell(Echo.note, bytes(4000))
    began = time.monotonic()
    with pytest.raises(MailboxFullError, match=r"for 0\.2 s"):
        callee.options(on_full="block", send_timeout=0.2).tell(Echo.note, bytes(4000))
    assert 0.2 <= time.monotonic() - began < 2.0
    dropped = system.dead_letters()["overflow"]
    (tmp_path / "gate").touch()
    busy.result(timeout=5)
    noted = callee.ask(Echo.noted).result(timeout=5)
    assert noted[:accepted] == list(range(accepted))
    # What waited for company when it was full has moved up meanwhile: then there was room for one more.
    assert noted[accepted:] == [bytes(4000)] * (5 - dropped)
    assert dropped >= 4


def test_a_blocked_sender_goes_on_when_there_is_room(system: ActorSystem, tmp_path: Path) -> None:
    callee, sender = system.spawn(Echo(), mailbox_bytes=4096), system.spawn(Sender())
    busy = shut(callee, tmp_path / "gate")
    reply = sender.ask(Sender.flood, callee, "note", 500, bytes(3000))
    eventually(lambda: callee.statistics().pipe_queued_bytes > 30_000)
    assert not reply.done()
    (tmp_path / "gate").touch()
    busy.result(timeout=5)

    assert reply.result(timeout=10) == 500
    assert len(callee.ask(Echo.noted).result(timeout=10)) == 500


def test_two_actors_that_flood_each_other_end_by_their_send_timeout_and_serve_on(system: ActorSystem) -> None:
    one = system.spawn(Sender(), name="one", mailbox_bytes=4096, send_timeout=0.5)
    two = system.spawn(Sender(), name="two", mailbox_bytes=4096, send_timeout=0.5)
    began = time.monotonic()
    replies = [
        one.ask(Sender.flood, two, "sink", 10_000, bytes(2000)),
        two.ask(Sender.flood, one, "sink", 10_000, bytes(2000)),
    ]
    ends = [reply.exception(timeout=20) for reply in replies]
    seconds = time.monotonic() - began

    assert any(isinstance(end, HandlerError) and end.error_type.endswith("MailboxFullError") for end in ends)
    assert seconds < 10.0
    assert one.ask(Sender.pinged).result(timeout=10) is None
    assert two.ask(Sender.pinged).result(timeout=10) is None


def test_two_actors_with_room_for_it_flood_each_other_to_the_end(system: ActorSystem) -> None:
    one, two = system.spawn(Sender(), name="one"), system.spawn(Sender(), name="two")
    replies = [
        one.ask(Sender.flood, two, "sink", 3_000, bytes(100)),
        two.ask(Sender.flood, one, "sink", 3_000, bytes(100)),
    ]

    assert [reply.result(timeout=20) for reply in replies] == [3_000, 3_000]


def test_flush_returns_when_all_that_was_told_stands_in_the_inbox(system: ActorSystem, tmp_path: Path) -> None:
    callee = system.spawn(Echo())
    busy = shut(callee, tmp_path / "gate")
    for number in range(1000):
        callee.tell(Echo.note, number)
    callee.flush()
    assert not system._life.running().node.routes[callee.uid].outbox.waits
    assert callee.statistics().pipe_queued_bytes > 1000
    (tmp_path / "gate").touch()
    busy.result(timeout=5)
    assert callee.ask(Echo.noted).result(timeout=5) == list(range(1000))


def test_the_last_tell_of_a_burst_leaves_by_itself(system: ActorSystem, tmp_path: Path) -> None:
    log = Log.create(tmp_path / "log", 10)
    receiver, sender = system.spawn(Receiver([log])), system.spawn(Sender())
    for number in range(3):
        receiver.tell(Receiver.put, 0, number)
    eventually(lambda: Log.read(log) == [0, 1, 2])
    sender.ask(Sender.tell_through, [receiver, receiver], 7).result(timeout=5)
    eventually(lambda: Log.read(log) == [0, 1, 2, 7, 7])


# --- refs


def has_read(log: str, numbers: list[int]) -> bool:
    return Log.read(log) == numbers


def is_past(ref: ActorRef[Any], incarnation: int) -> bool:
    return ref.incarnation > incarnation


def is_gone(ref: ActorRef[Any]) -> bool:
    return not ref.is_alive()


def is_handling(ref: ActorRef[Any], name: str) -> bool:
    seen = ref.statistics()
    return (seen.state, seen.handler) == ("handling", name)


def has_dead(system: ActorSystem, letters: dict[str, int]) -> bool:
    return system.dead_letters() == letters


def test_refs_travel_inside_messages_and_outlive_restarts(system: ActorSystem, tmp_path: Path) -> None:
    log = Log.create(tmp_path / "log", 100)
    receiver, sender, keeper = system.spawn(Receiver([log])), system.spawn(Sender()), system.spawn(Echo())
    assert keeper.ask(Echo.echo, {"here": [receiver]}).result(timeout=5) == {"here": [receiver]}
    for number in range(3):
        assert sender.ask(Sender.tell_through, [receiver], number).result(timeout=5) == 1
        eventually(functools.partial(has_read, log, list(range(number + 1))))
        before = look_at(system, receiver)
        assert before is not None
        assert before.pid is not None
        os.kill(before.pid, signal.SIGKILL)
        eventually(functools.partial(is_past, receiver, before.incarnation))
    assert receiver.ask(Receiver.done).result(timeout=5) == "done"


def test_what_is_told_to_an_actor_that_is_gone_is_refused_or_counted(system: ActorSystem, tmp_path: Path) -> None:
    callee, sender = system.spawn(Echo()), system.spawn(Sender())
    assert sender.ask(Sender.flood, callee, "note", 1).result(timeout=5) == 1
    busy = shut(callee, tmp_path / "gate")
    callee.stop()
    callee.tell(Echo.note, 1)
    assert system.dead_letters() == {"stopping": 1}
    with pytest.raises(ActorNotRunningError, match="stopping"):
        callee.ask(Echo.echo, 1)
    (tmp_path / "gate").touch()
    busy.result(timeout=5)
    eventually(lambda: not callee.is_alive())
    with pytest.raises(ActorNotRunningError, match="gone for good"):
        callee.ask(Echo.echo, 1)
    reply = sender.ask(Sender.flood, callee, "note", 1)
    error = reply.exception(timeout=5)
    assert isinstance(error, HandlerError)
    assert error.error_type.endswith("ActorNotRunningError")
    again = system.spawn(Echo(), name="echo")
    assert again.ask(Echo.echo, 1).result(timeout=5) == 1
    with pytest.raises(ActorNotRunningError):
        callee.tell(Echo.note, 1)


def test_stopping_makes_dead_letters_and_draining_does_not(system: ActorSystem) -> None:
    for drain, dead in ((True, {}), (False, {"stopping": 50})):
        callee = system.spawn(Echo(), name=f"drain-{drain}")
        busy = callee.ask(Echo.wait_for_stop)
        eventually(functools.partial(is_handling, callee, "wait_for_stop"))
        for number in range(50):
            callee.tell(Echo.note, number)
        callee.flush()
        callee.stop(drain=drain)
        busy.result(timeout=20)
        eventually(functools.partial(is_gone, callee))
        eventually(functools.partial(has_dead, system, dead), state=system.dead_letters)


@pytest.mark.parametrize("whole", [False, True], ids=["actor", "system"])
def test_who_is_asked_to_stop_again_and_not_to_drain_leaves_what_is_queued(start_method: Any, whole: bool) -> None:
    with ActorSystem(start_method=start_method) as system:
        callee = system.spawn(Echo())
        stop: Callable[..., None] = system.request_stop if whole else callee.stop
        busy = callee.ask(Echo.wait_for_stop, True)
        eventually(functools.partial(is_handling, callee, "wait_for_stop"))
        for number in range(50):
            callee.tell(Echo.note, number)
        callee.flush()
        for drain in (True, False, True):
            stop(drain=drain)
        busy.result(timeout=20)
        eventually(functools.partial(is_gone, callee))
        eventually(functools.partial(has_dead, system, {"stopping": 50}), state=system.dead_letters)


# --- hostile actors


class Hostile(Echo):
    """Does to itself and to its lanes what no actor should."""

    restart = "temporary"

    def _process(self) -> Any:
        return self._context._process  # type: ignore[union-attr]

    @handler
    def junk_on_the_answer_pipe(self) -> None:
        os.write(self._process().answering._callers[0].descriptor, b"\x00\x00\x00\x05junk!" * 3)
        threading.Event().wait(20)

    @handler
    def half_a_frame_on_the_answer_pipe(self) -> None:
        os.write(self._process().answering._callers[0].descriptor, b"\x00\x00")
        threading.Event().wait(20)

    @handler
    def junk_on_the_control_lane(self) -> None:
        os.write(self._process().attendant.lane.fileno(), b"\xff" * 100)
        threading.Event().wait(20)

    @handler
    def wrong_notice_on_the_control_lane(self) -> None:
        self._process().attendant.notify("resolve", "one", 2, 3)
        threading.Event().wait(20)

    @handler
    def say(self, kind: str, fields: list[Any]) -> None:
        self._process().attendant.notify(kind, *fields)
        threading.Event().wait(0.005)

    @handler
    def foreign_arena_on_the_control_lane(self) -> None:
        self._process().attendant.notify("retire_arena", 1)
        threading.Event().wait(20)

    @handler
    def scribble_over_the_recorder(self) -> None:
        words = self._process().recorder.words
        for index in range(len(words)):
            words[index] = 0xDEADBEEF00000000 + index
        os.kill(os.getpid(), signal.SIGKILL)

    @handler
    def forge_an_answer_in_the_recorder(self) -> None:
        self._process().recorder.append_reply(0, b"junk")
        os.kill(os.getpid(), signal.SIGKILL)

    @handler
    def truncate_the_memory_file(self) -> None:
        lines = Path("/proc/self/maps").read_text().splitlines()
        path = next(line.split()[0] for line in lines if "actors-recorder" in line)
        os.truncate(f"/proc/self/map_files/{path}", 0)

    @handler
    def make_the_lanes_block(self) -> None:
        answers = self._process().answering._callers[0].descriptor
        os.set_blocking(answers, True)
        late = frame(encode_result(1 << 60, 1))  # of an ask that nobody made
        killer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGKILL))
        killer.start()
        while True:
            os.write(answers, late)


PROTOCOL = [
    "junk_on_the_answer_pipe",
    "half_a_frame_on_the_answer_pipe",
    "junk_on_the_control_lane",
    "wrong_notice_on_the_control_lane",
    "foreign_arena_on_the_control_lane",
]


CRASHING = ["scribble_over_the_recorder", "forge_an_answer_in_the_recorder", "make_the_lanes_block"]


@pytest.mark.parametrize("deed", [*PROTOCOL, *CRASHING])
def test_a_hostile_actor_ends_alone(system: ActorSystem, deed: str) -> None:
    hostile, sibling = system.spawn(Hostile()), system.spawn(Echo())
    hostile.tell(Hostile.note, 1)
    deadly, queued = hostile.ask(deed), hostile.ask(Hostile.echo, 1)
    slowest = 0.0
    while not (deadly.done() and queued.done()):
        began = time.monotonic()
        assert sibling.ask(Echo.echo, 1).result(timeout=5) == 1
        slowest = max(slowest, time.monotonic() - began)
    error, other = deadly.exception(timeout=5), queued.exception(timeout=5)

    assert isinstance(error, ActorDied)
    assert isinstance(other, ActorDied)
    assert error.may_have_run
    if deed in PROTOCOL:
        assert error.reason.kind == "protocol"
    assert slowest < 0.5
    eventually(lambda: not hostile.is_alive())


KINDS = [
    "hello",
    "ready",
    "start_failed",
    "crash",
    "hook_failed",
    "broken",
    "dead_letter",
    "lane_wanted",
    "worn",
    "resolve",
    "reply_lane",
    "new_arena",
    "arena",
    "retire_arena",
    "spawn",
    "stop_actor",
    "steer",
    "info",
    "watch",
    "unwatch",
    "link",
    "unlink",
    "trap",
    "junk",
]
FIELDS: list[list[Any]] = [
    [],
    [None],
    [-1],
    [1 << 70, 1 << 70],
    [[], {}],
    [{}, [], 1.5],
    [1, -1, -1],
    [1, 1 << 62, 1 << 62],
    ["x", "y", "z"],
    [1, b"junk", None, {}],
    [1, b"junk", ["x"], []],
    [1, 2, 3, 4, 5, 6],
    [math.nan, math.inf, -math.inf],
]


def say_nonsense(start_method: Any, notices: list[tuple[str, list[Any]]]) -> None:
    with ActorSystem(tree(), start_method=start_method) as system:
        hostile, sibling = system.spawn(Hostile(), restart="permanent"), system.spawn(Echo())
        for kind, fields in notices:
            hostile.options(timeout=5.0).ask(Hostile.say, kind, fields).exception()
            assert sibling.ask(Echo.echo, 1).result(timeout=5) == 1, (kind, fields)
        assert system.is_running()


@pytest.mark.timeout(180)  # a new interpreter for each, under spawn
def test_no_notice_of_an_actor_can_hurt_the_host(start_method: Any) -> None:
    say_nonsense(start_method, random.Random(7).sample(list(itertools.product(KINDS, FIELDS)), 40))


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_no_notice_of_an_actor_whatsoever_can_hurt_the_host(start_method: Any) -> None:
    say_nonsense(start_method, list(itertools.product(KINDS, FIELDS)))


def test_an_actor_whose_recorder_was_written_over_starts_with_a_new_one(system: ActorSystem) -> None:
    hostile = system.spawn(Hostile(), restart="permanent")
    hostile.tell(Hostile.scribble_over_the_recorder)
    eventually(lambda: hostile.incarnation == 2)

    assert hostile.ask(Hostile.echo, 5).result(timeout=5) == 5


def test_an_actor_whose_answer_pipe_held_junk_starts_with_a_new_one(system: ActorSystem) -> None:
    hostile = system.spawn(Hostile(), restart="permanent")
    with pytest.raises(ActorDied):
        hostile.ask(Hostile.junk_on_the_answer_pipe).result(timeout=5)

    assert hostile.ask(Hostile.echo, 5).result(timeout=5) == 5


def test_the_memory_file_of_an_actor_cannot_be_truncated(system: ActorSystem) -> None:
    hostile, sibling = system.spawn(Hostile()), system.spawn(Echo())
    with pytest.raises(OSError, match="not permitted"):
        hostile.ask(Hostile.truncate_the_memory_file).result(timeout=5)

    assert sibling.ask(Echo.echo, 1).result(timeout=5) == 1
    assert hostile.ask(Hostile.echo, 1).result(timeout=5) == 1


def test_junk_in_an_inbox_costs_its_frame_alone(system: ActorSystem) -> None:
    callee = system.spawn(Echo())
    host = system._life.host
    assert host is not None
    callee.ask(Echo.note, 1).result(timeout=5)
    os.write(host.runner.cells[callee.uid].inbox_write, b"\x00\x00\x00\x05junk!")
    callee.ask(Echo.note, 2).result(timeout=5)

    assert callee.ask(Echo.noted).result(timeout=5) == [1, 2]
    assert callee.incarnation == 1
    eventually(lambda: system.dead_letters() == {"undecodable": 1})


class Fragile(Actor):
    """Dies of its first messages, as often as it is told to."""

    def __init__(self, deaths_path: str) -> None:
        super().__init__()
        self.deaths_path = deaths_path

    @handler
    def survive(self, deaths: int) -> int:
        with open(self.deaths_path, "a+", encoding="ascii") as tally:
            tally.write("x")
            tally.flush()
            died = tally.tell() - 1
        if died < deaths:
            os.kill(os.getpid(), signal.SIGKILL)
        return died


@pytest.mark.parametrize(("deaths", "survives"), [(0, True), (2, True), (3, False)])
def test_a_message_is_handed_to_the_next_incarnation_as_often_as_redeliver_says(
    system: ActorSystem, tmp_path: Path, deaths: int, survives: bool
) -> None:
    fragile = system.spawn(Fragile(str(tmp_path / "tally")), redeliver=2, backoff=Backoff(initial=0.001, jitter=0.0))
    reply = fragile.ask(Fragile.survive, deaths)

    if survives:
        assert deaths == reply.result(timeout=30)
        return
    with pytest.raises(ActorDied) as caught:
        reply.result(timeout=30)
    assert caught.value.may_have_run
