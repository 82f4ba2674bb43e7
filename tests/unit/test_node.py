from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from actors._node import Node
from actors._ref import ActorRef
from actors._routes import Route, flush_held, gone_error, poll_milliseconds
from actors.errors import (
    ActorDied,
    ActorNotRunningError,
    AskTimeoutError,
    DeadlockError,
    EncodeError,
    HandlerError,
    MailboxFullError,
    ProtocolError,
)
from actors.mailbox import _envelope
from actors.mailbox._arena import ArenaReader, create_arena
from actors.mailbox._codec import pack_wrapped
from actors.mailbox._frames import MAX_BODY_BYTES, frame
from actors.mailbox._holds import Holds
from actors.mailbox._inbox import make_inbox, write_frame
from actors.mailbox._outbox import Outbox
from actors.mailbox._recorder_view import split_frames
from actors.supervisor._exits import ExitReason, to_data

CRASH = ExitReason("crash", 1)


class FakeDirectory:
    """A process with one neighbour, whose inbox the test reads."""

    def __init__(self) -> None:
        self.letters: Counter[str] = Counter()
        self.handlers: Counter[str | None] = Counter()
        self.woken: list[float] = []
        self.flushes: list[Route] = []
        self.retired: list[int] = []
        self.arenas: dict[int, ArenaReader] = {}
        self.at_find: Callable[[], object] = lambda: None
        self.at_wait: Callable[[], object] = lambda: None
        self.open: list[int] = []
        self.lent: list[Outbox] = []
        self.gone: ExitReason | None = None
        self.holds = Holds(0)
        self.later: list[Callable[[], object]] = []
        self.renew()

    def renew(self) -> None:
        self.reader, self.writer = make_inbox()
        self.open += [self.reader, self.writer]

    def find_route(self, ref: ActorRef[Any]) -> Route:
        gone = self.gone
        self.at_find()
        outbox = Outbox() if gone is not None else Outbox(os.dup(self.writer))
        self.lent.append(outbox)
        return Route(ref.uid, ref.path, outbox, gone=gone, send_timeout=0.1)

    def drop_route(self, route: Route) -> None:
        route.outbox.close()

    def answer_lane(self, ref: ActorRef[Any]) -> Any:
        return None

    def make_arena(self, slot_bytes: int, slots: int) -> tuple[int, int]:
        descriptor, number = create_arena(slot_bytes, slots), len(self.arenas) + 1
        self.arenas[number] = ArenaReader(descriptor)
        return number, descriptor

    def retire_arena(self, arena_id: int) -> None:
        self.retired.append(arena_id)

    def look_later(self, seconds: float, action: Callable[[], object]) -> None:
        self.later.append(action)

    def find_arena(self, arena_id: int, sender: int | None = None) -> ArenaReader:
        if arena_id not in self.arenas:
            raise ProtocolError(f"there is no arena {arena_id}")
        return self.arenas[arena_id]

    def flush_soon(self, route: Route) -> None:
        self.flushes.append(route)

    def wait_for_room(self, route: Route, seconds: float) -> None:
        self.at_wait()

    def pause(self, seconds: float) -> None:
        self.at_wait()

    def steer(self, uid: int, what: str, ask_id: int, count: int) -> None:
        raise AssertionError("no ask is steered here")

    def dead_letter(self, target: str, reason: str, count: int, *, handler: str | None = None, uid: int = 0) -> None:
        assert uid == TARGET.uid
        self.letters[reason] += count
        self.handlers[handler] += count

    def run_callback(self, function: Callable[..., object], *args: object) -> None:
        function(*args)

    def wake_for(self, deadline: float) -> None:
        self.woken.append(deadline)

    def arrived(self) -> list[Any]:
        """The messages that stand in the neighbour's inbox."""
        try:
            bodies = split_frames(os.read(self.reader, 1 << 20))
        except BlockingIOError:
            return []
        reader = _envelope.MessageReader()
        found: list[Any] = []
        for body in bodies:
            reader.feed(body)
            found += list(reader)
        return found

    def fill(self) -> None:
        for length in (MAX_BODY_BYTES, 1):
            while write_frame(self.writer, frame(bytes(length))):
                pass

    def in_use(self) -> int:
        return sum(arena.in_use() for arena in self.arenas.values())


@pytest.fixture(autouse=True)
def busy_senders(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine, a second message follows its first one soon."""
    monkeypatch.setattr("actors._node.HOLD_SECONDS", 60.0)


@pytest.fixture
def directory() -> Iterator[FakeDirectory]:
    directory = FakeDirectory()
    yield directory
    for descriptor in directory.open:
        os.close(descriptor)
    for outbox in directory.lent:
        if outbox.descriptor >= 0:
            os.close(outbox.descriptor)


@pytest.fixture
def node(directory: FakeDirectory) -> Node:
    return Node(directory, uid=7, incarnation=2, max_bytes=1 << 20, max_open_asks=10)


TARGET: ActorRef[Any] = ActorRef("here", 1, "/app/target")


def test_an_ask_carries_who_asks_and_a_number_of_its_incarnation(node: Node, directory: FakeDirectory) -> None:
    reply = node.ask(TARGET, "add", (1,), {})

    assert directory.arrived() == [[_envelope.ASK, "add", [1], None, 7, (2 << 40) + 1, None]]
    assert node.asks == {(2 << 40) + 1: reply}


def test_what_cannot_be_encoded_leaves_nothing_open(node: Node, directory: FakeDirectory) -> None:
    with pytest.raises(EncodeError):
        node.ask(TARGET, "add", (object(),), {})
    with pytest.raises(EncodeError):
        node.ask(TARGET, "add", (bytes(2 << 20),), {})

    assert node.asks == {}
    assert directory.arrived() == []
    assert directory.in_use() == 0


@pytest.mark.parametrize("send", ["tell", "ask"])
def test_what_cannot_be_encoded_is_refused_by_the_name_of_whom_it_was_for(node: Node, send: str) -> None:
    with pytest.raises(EncodeError, match=rf"^add of {TARGET.path}: args\[0\]: object cannot travel") as caught:
        getattr(node, send)(TARGET, "add", (object(),), {})

    assert (caught.value.target, caught.value.path) == (TARGET.path, "args[0]")


def test_an_ask_of_itself_is_a_deadlock(node: Node) -> None:
    with pytest.raises(DeadlockError):
        node.ask(ActorRef("here", 7, "/app/me"), "add", (), {})


def test_open_asks_are_bounded(node: Node) -> None:
    for _ in range(10):
        node.ask(TARGET, "add", (), {})
    with pytest.raises(MailboxFullError, match="max_open_asks"):
        node.ask(TARGET, "add", (), {})

    assert len(node.asks) == 10


def test_nothing_is_sent_to_an_actor_that_is_gone(node: Node, directory: FakeDirectory) -> None:
    directory.gone = CRASH
    with pytest.raises(ActorNotRunningError, match="left with exit code 1"):
        node.tell(TARGET, "add", (), {})
    with pytest.raises(ActorNotRunningError):
        node.ask(TARGET, "add", (), {})

    assert node.asks == {}


def test_news_of_a_death_that_overtakes_the_way_there_counts(node: Node, directory: FakeDirectory) -> None:
    directory.at_find = lambda: node.mark_gone(1, CRASH)
    with pytest.raises(ActorNotRunningError, match="/app/target is gone for good, or parked"):
        node.ask(TARGET, "add", (), {})

    assert node.asks == {}


@pytest.mark.parametrize(
    ("reason", "parked", "said"),
    [
        (None, False, "/app/a is gone for good; spawn it anew, or send elsewhere"),
        (
            CRASH,
            True,
            "C code that calls exit); spawn it anew, have its supervisor restart it if it is parked, or",
        ),
        (ExitReason("requested"), False, "somebody stopped it, or a supervisor above it that gave up: see the log; "),
    ],
    ids=["forgotten", "crashed", "stopped"],
)
def test_who_sends_to_nobody_is_told_why_and_what_to_do(reason: ExitReason | None, parked: bool, said: str) -> None:
    assert said in str(gone_error("/app/a", reason, parked=parked))


def test_tells_that_follow_each_other_are_flushed_together(node: Node, directory: FakeDirectory) -> None:
    for number in range(3):
        node.tell(TARGET, "add", (number,), {})
    assert len(directory.arrived()) == 1
    assert len(directory.flushes) == 1
    node.flush_all()

    assert [message[2] for message in directory.arrived()] == [[1], [2]]


def joining(node: Node, meanwhile: Callable[[Route], object]) -> Route:
    """Tell something whose flush is overtaken by *meanwhile*, just before it joins those that wait for it."""
    for number in range(2):
        node.tell(TARGET, "add", (number,), {})
    route = node.routes[TARGET.uid]
    join = Outbox.join

    def late(outbox: Outbox, message: bytes) -> bool:
        meanwhile(route)
        return join(outbox, message)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Outbox, "join", late)
        node.tell(TARGET, "add", (2,), {})
    return route


def test_a_tell_that_just_misses_the_flush_gets_another_one(node: Node, directory: FakeDirectory) -> None:
    route = joining(node, lambda route: flush_held(route, lambda _seconds, _action: None))

    assert directory.flushes == [route, route]
    flush_held(route, lambda _seconds, _action: None)
    assert [message[2] for message in directory.arrived()] == [[0], [1], [2]]


def test_a_tell_that_just_misses_the_news_of_the_end_is_counted(node: Node, directory: FakeDirectory) -> None:
    joining(node, lambda _route: node.mark_gone(TARGET.uid, CRASH))

    assert directory.letters == {"dead": 2}


def test_a_tell_that_just_misses_that_the_inbox_is_replaced_goes_to_the_new_one(
    node: Node, directory: FakeDirectory
) -> None:
    def replace(route: Route) -> None:
        route.joinable = None
        before, route.outbox = route.outbox, Outbox(os.dup(directory.writer))
        directory.lent.append(route.outbox)
        route.outbox.offer(b"".join(before.take_back()), 0.0, hold=math.inf)

    route = joining(node, replace)

    assert directory.flushes == [route, route]
    node.flush_all()
    assert [message[2] for message in directory.arrived()] == [[0], [1], [2]]


def test_a_flush_that_cannot_be_arranged_is_arranged_by_the_next_tell(node: Node, directory: FakeDirectory) -> None:
    def fail(route: Route) -> None:
        raise InterruptedError

    node.tell(TARGET, "add", (0,), {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(directory, "flush_soon", fail)
        with pytest.raises(InterruptedError):
            node.tell(TARGET, "add", (1,), {})
    assert node.routes[TARGET.uid].joinable is None
    node.tell(TARGET, "add", (2,), {})

    assert directory.flushes == [node.routes[TARGET.uid]]


def test_an_answer_ends_its_ask_once_and_only_from_whom_was_asked(node: Node) -> None:
    reply = node.ask(TARGET, "add", (), {})
    ask_id = next(iter(node.asks))
    node.deliver(_envelope.encode_result(ask_id, "forged"), 2)
    assert not reply.done()
    node.deliver(_envelope.encode_result(ask_id, 5), 1)
    node.deliver(_envelope.encode_result(ask_id, 6), 1)

    assert reply.result() == 5
    assert node.asks == {}
    assert node.late_replies == 2


def test_a_failure_is_raised_where_it_was_asked(node: Node) -> None:
    reply = node.ask(TARGET, "add", (), {})
    node.deliver(_envelope.encode_failure(next(iter(node.asks)), {"type": "ValueError", "text": "no"}), 1)
    with pytest.raises(ValueError, match="no") as caught:
        reply.result()

    assert isinstance(caught.value, HandlerError)


def test_a_failure_that_comes_at_the_deadline_is_that_the_time_is_over(node: Node) -> None:
    # What its handler waited for had the same deadline, and that is why it failed.
    late, soon = (node.ask(TARGET.options(timeout=timeout), "add", (), {}) for timeout in (0.0, 60.0))
    for reply in (late, soon):
        node.deliver(_envelope.encode_failure(reply.ask_id, {"type": "ValueError", "text": "nested"}), TARGET.uid)

    with pytest.raises(AskTimeoutError, match="ask to .* timed out at its deadline") as caught:
        late.result()
    assert not isinstance(caught.value, HandlerError)
    with pytest.raises(HandlerError, match="nested"):
        soon.result()
    assert not node.asks


def test_news_of_a_death_ends_the_asks_of_that_actor(node: Node) -> None:
    mine, other = node.ask(TARGET, "add", (), {}), node.ask(ActorRef("here", 2, "/app/other"), "add", (), {})
    node.deliver(_envelope.encode_died(next(iter(node.asks)), to_data(CRASH), may_have_run=True), None)
    queued = node.ask(TARGET, "add", (), {})
    node.deliver(_envelope.encode_down(1, to_data(CRASH), 0), 1)
    node.deliver(_envelope.encode_down(2, to_data(CRASH), 0), 1)

    ends = [mine.exception(), queued.exception()]
    assert all(isinstance(end, ActorDied) and end.reason == CRASH for end in ends)
    assert [end.may_have_run for end in ends if isinstance(end, ActorDied)] == [True, False]
    assert not other.done(), "an actor can say of itself alone that it is gone"


def test_old_news_that_an_actor_was_given_up_does_not_concern_what_is_asked_since_it_came_back(node: Node) -> None:
    before = node.ask(TARGET, "add", (), {})
    node.came_back(1, 1)
    since = node.ask(TARGET, "add", (), {})
    for _again in range(2):
        node.deliver(_envelope.encode_down(1, to_data(CRASH), 0), 1)

    end = before.exception()
    assert isinstance(end, ActorDied)
    assert end.may_have_run, "it can have been sent to the one that came back"
    assert not since.done()
    node.tell(TARGET, "add", (), {})
    node.deliver(_envelope.encode_down(1, to_data(CRASH), 1), 1)
    assert since.done()
    with pytest.raises(ActorNotRunningError):
        node.tell(TARGET, "add", (), {})
    node.came_back(1, 2)
    node.tell(TARGET, "add", (), {})


def test_an_actor_that_comes_back_while_a_sender_hears_that_it_is_gone_is_reached(
    node: Node, directory: FakeDirectory
) -> None:
    directory.gone = CRASH

    def come_back() -> None:
        if directory.gone is not None:
            directory.gone = None
            node.came_back(1, 1)

    directory.at_find = come_back
    node.tell(TARGET, "add", (1,), {})
    node.flush_all()

    assert [message[2] for message in directory.arrived()] == [[1]]


def test_of_the_asks_to_an_actor_whose_mail_was_destroyed_only_the_spared_ones_stay_open(node: Node) -> None:
    first, second, third = (node.ask(TARGET, "add", (), {}) for _ in range(3))
    other = node.ask(ActorRef("here", 2, "/app/other"), "add", (), {})
    ids = list(node.asks)
    parts = [_envelope.encode_lost(1, to_data(CRASH), [ids[part]], part, 2, None) for part in range(2)]
    node.deliver(parts[0], 1)
    assert not third.done(), "there is more to come"
    for _again in range(2):
        node.deliver(parts[1], 1)

    end = third.exception()
    assert isinstance(end, ActorDied)
    assert end.may_have_run
    assert not any(reply.done() for reply in (first, second, other))
    node.deliver(_envelope.encode_lost(1, to_data(CRASH), [], 0, 1, ids[1]), 1)
    assert first.done()
    assert not second.done(), "it was asked later"
    node.deliver(_envelope.encode_lost(1, to_data(CRASH), [], 0, 1, None), 1)
    assert second.done()
    assert not other.done()


def test_deadlines_end_asks_in_their_order(node: Node, directory: FakeDirectory) -> None:
    late, soon, never = (node.ask(TARGET.options(timeout=seconds), "add", (), {}) for seconds in (20.0, 10.0, None))
    now = time.monotonic()

    assert directory.woken == [late.deadline, soon.deadline]
    assert node.expire_due(now) == soon.deadline
    assert node.expire_due(now + 11) == late.deadline
    assert node.expire_due(now + 21) is None
    for reply in (late, soon):
        with pytest.raises(AskTimeoutError):
            reply.result()
    assert list(node.asks.values()) == [never]


def test_the_deadline_of_the_message_being_handled_is_inherited(node: Node) -> None:
    node.inherited_deadline = lambda: 5.0
    assert node.ask(TARGET, "add", (), {}).deadline == 5.0
    assert node.ask(TARGET.options(timeout=1e6), "add", (), {}).deadline == 5.0
    node.inherited_deadline = lambda: math.inf
    reply = node.ask(TARGET.options(timeout=1.0), "add", (), {})
    assert reply.deadline is not None
    assert reply.deadline < time.monotonic() + 2


def test_deadlines_of_asks_that_were_answered_are_forgotten(node: Node, directory: FakeDirectory) -> None:
    for _ in range(10_000):
        reply = node.ask(TARGET.options(timeout=60.0), "add", (), {})
        directory.arrived()
        node.deliver(_envelope.encode_result(reply.ask_id, None), 1)
    assert -math.inf in directory.woken
    node.expire_due(time.monotonic())

    assert not node._deadlines
    assert not node._armed


@pytest.mark.parametrize(
    ("policy", "ends"), [("block", "for 0.1 s"), ("reject", "was full; the message")], ids=["block", "reject"]
)
def test_a_full_inbox_is_said_to_be_full(node: Node, directory: FakeDirectory, policy: Any, ends: str) -> None:
    directory.fill()
    with pytest.raises(MailboxFullError, match=ends):
        node.tell(TARGET.options(on_full=policy), "add", (1,), {})
    with pytest.raises(MailboxFullError, match=ends):
        node.tell(TARGET.options(on_full=policy), "add", (bytes(10_000),), {})

    assert directory.in_use() == 0


def test_what_is_dropped_is_counted_and_an_ask_of_it_ends(node: Node, directory: FakeDirectory) -> None:
    directory.fill()
    dropping = TARGET.options(on_full="drop_newest")
    node.tell(dropping, "add", (1,), {})
    reply = node.ask(dropping, "add", (bytes(10_000),), {})

    assert isinstance(reply.exception(), MailboxFullError)
    assert node.asks == {}
    assert directory.letters == {"overflow": 2}
    assert directory.in_use() == 0


def test_a_sender_that_waited_for_room_goes_on(node: Node, directory: FakeDirectory) -> None:
    directory.fill()
    directory.at_wait = lambda: os.read(directory.reader, 1 << 20)
    node.tell(TARGET, "add", (1,), {})

    assert [message[2] for message in directory.arrived()] == [[1]]


def test_an_inbox_that_was_replaced_gets_what_waited_and_then_the_rest(node: Node, directory: FakeDirectory) -> None:
    for number in range(3):
        node.tell(TARGET, "add", (number,), {})
    assert len(directory.arrived()) == 1
    os.close(directory.reader)
    directory.open.remove(directory.reader)
    directory.open.remove(directory.writer)
    directory.renew()
    node.ask(TARGET, "add", (3,), {})

    assert [message[2] for message in directory.arrived()] == [[1], [2], [3]]


def test_what_waits_for_an_actor_that_is_gone_is_counted_and_its_memory_freed(
    node: Node, directory: FakeDirectory
) -> None:
    for _ in range(3):
        node.tell(TARGET, "add", (bytes(10_000),), {})
    directory.arrived()
    assert directory.in_use() == 3
    node.mark_gone(1, CRASH)

    assert directory.letters == {"dead": 2}
    assert directory.in_use() == 1, "that of the first, which has left, is the receiver's to free"


def test_a_large_message_that_was_interrupted_stays_if_it_has_left(
    node: Node, directory: FakeDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interruption(Exception):
        pass

    def interrupt(*_: object) -> None:
        raise Interruption

    node.tell(TARGET, "add", (1,), {})
    monkeypatch.setattr(directory, "flush_soon", interrupt)
    with pytest.raises(Interruption):
        node.tell(TARGET, "add", (bytes(10_000),), {})
    assert directory.in_use() == 1
    monkeypatch.undo()
    node.tell(TARGET, "add", (2,), {})

    # On a machine that was busy for a moment the last one has not waited for company, and took the others with it.
    (route,) = node.routes.values()
    assert directory.flushes or not route.outbox.waits, "the one that was interrupted keeps others from being arranged"


def test_a_large_answer_is_read_once_and_released(node: Node, directory: FakeDirectory) -> None:
    reply = node.ask(TARGET, "add", (), {})
    stored = node.store_answer(_envelope.encode_result(reply.ask_id, bytes(9_000)), 0)
    assert stored is not None
    node.deliver(stored, 1)
    node.deliver(stored, 1)

    assert reply.result() == bytes(9_000)
    assert directory.in_use() == 0
    with pytest.raises(EncodeError):
        node.store_answer(bytes(2 << 20), 0)


def test_an_answer_in_memory_that_is_not_there_is_a_protocol_error(node: Node) -> None:
    with pytest.raises(ProtocolError):
        node.deliver(_envelope.encode_large(99, 0, 10, 1), 1)


@pytest.mark.parametrize(("seconds", "expected"), [(-1.0, 0), (0.0001, 1), (2.0, 2000), (math.inf, 2**31 - 1)])
def test_waits_are_rounded_up_into_the_range_of_poll(seconds: float, expected: int) -> None:
    assert poll_milliseconds(seconds) == expected


def test_only_some_thousand_of_those_that_are_gone_are_remembered(
    node: Node, directory: FakeDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors._node._MOST_GONE", 10)
    node.tell(TARGET, "put", (1,), {})
    for uid in range(100, 150):
        node.mark_gone(uid, CRASH)
    directory.gone, directory.writer = CRASH, -1
    for uid in range(200, 250):
        with pytest.raises(ActorNotRunningError):
            node.tell(ActorRef("here", uid, f"/app/{uid}"), "put", (), {})

    assert sorted(node.routes) == [TARGET.uid, *range(240, 250)]


def test_what_waits_for_one_that_is_gone_is_counted_by_its_handlers(node: Node, directory: FakeDirectory) -> None:
    node.tell(TARGET, "put", (1,), {})
    for number in range(3):
        node.tell(TARGET, "put", (number,), {})
    node.tell(TARGET, "take", (bytes(20_000),), {})
    node.mark_gone(TARGET.uid, CRASH)

    assert directory.handlers == {"put": 3, None: 1}
    assert directory.in_use() == 0


# --- what waits for an actor that has no room


def held_back(node: Node, directory: FakeDirectory, ref: ActorRef[Any]) -> Route:
    """Have two tells wait for company, and then no room for them."""
    for number in range(3):
        node.tell(ref, "add", (number,), {})
    assert len(directory.arrived()) == 1
    directory.fill()
    return node.routes[TARGET.uid]


def test_what_has_no_room_in_time_fails_its_handler_once_and_is_counted(node: Node, directory: FakeDirectory) -> None:
    route = held_back(node, directory, TARGET)
    with pytest.raises(MailboxFullError, match=r"/app/target was full for 0\.1 s"):
        node.flush_all()

    assert directory.letters == {"overflow": 2}
    assert directory.handlers == {"add": 2}
    assert not route.outbox.waits
    node.flush_all()


def test_who_has_waited_for_room_in_vain_waits_no_more(node: Node, directory: FakeDirectory) -> None:
    held_back(node, directory, TARGET)
    waited: list[int] = []
    directory.at_wait = lambda: waited.append(1)
    with pytest.raises(MailboxFullError):
        node.flush_all(0.0)

    assert waited == []
    assert directory.letters == {"overflow": 2}


def test_what_may_be_dropped_is_not_waited_for(node: Node, directory: FakeDirectory) -> None:
    held_back(node, directory, TARGET.options(on_full="drop_newest"))
    directory.at_wait = lambda: pytest.fail("it waits")
    node.flush_all()

    assert directory.letters == {"overflow": 2}


@pytest.mark.parametrize("order", [("drop_newest", "block"), ("block", "drop_newest")])
def test_what_was_told_with_patience_is_waited_for_whatever_waits_beside_it(
    node: Node, directory: FakeDirectory, order: tuple[Any, Any]
) -> None:
    for policy in (order[0], order[0], order[1]):
        node.tell(TARGET.options(on_full=policy), "add", (1,), {})
    directory.arrived()
    directory.fill()
    with pytest.raises(MailboxFullError):
        node.flush_all()

    assert directory.letters == {"overflow": 2}


def test_one_that_has_no_room_keeps_nothing_from_the_others(node: Node, directory: FakeDirectory) -> None:
    held_back(node, directory, TARGET)
    other = FakeDirectory()
    route = Route(2, "/app/other", Outbox(os.dup(other.writer)), send_timeout=0.1)
    node.routes[2] = route
    for number in range(3):
        node.tell(ActorRef("here", 2, "/app/other"), "add", (number,), {})
    with pytest.raises(MailboxFullError, match="/app/target"):
        node.flush_all()

    assert [message[2] for message in other.arrived()] == [[0], [1], [2]]
    for descriptor in (*other.open, route.outbox.descriptor):
        os.close(descriptor)


@pytest.mark.parametrize("load", [b"", bytes(20_000)], ids=["small", "large"])
def test_an_ask_that_waits_where_there_is_no_room_ends(node: Node, directory: FakeDirectory, load: bytes) -> None:
    reply = node.ask(TARGET, "add", (load,), {})
    (message,) = directory.arrived()
    route = node.routes[TARGET.uid]
    assert route.outbox.join(pack_wrapped(message)), "as a signal handler's in the middle of a send"
    directory.fill()
    node.abandon(route, "overflow")

    with pytest.raises(MailboxFullError) as caught:
        reply.result()
    assert (caught.value.target, caught.value.may_have_run) == ("/app/target", False)
    assert node.asks == {}
    assert directory.in_use() == 0


def test_an_ask_that_its_target_has_dropped_was_not_handled(node: Node) -> None:
    reply = node.ask(TARGET, "add", (), {})
    for _again in range(2):
        node.deliver(_envelope.encode_dropped(reply.ask_id), TARGET.uid)

    with pytest.raises(MailboxFullError, match="dropped for newer ones") as caught:
        reply.result()
    assert (caught.value.target, caught.value.may_have_run) == ("/app/target", False)
    assert node.late_replies == 1
