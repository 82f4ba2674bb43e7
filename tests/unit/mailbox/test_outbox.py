from __future__ import annotations

import functools
import os
import threading
from collections.abc import Iterator

import pytest

from actors.mailbox import _outbox
from actors.mailbox._frames import MAX_BODY_BYTES, frame
from actors.mailbox._inbox import make_inbox, write_frame
from actors.mailbox._outbox import Outbox
from actors.mailbox._recorder_view import split_frames
from tests.unit.mailbox.interrupts import interrupted_at

NEVER, AT_ONCE, SOON = 1e9, -1.0, 0.001


class Wire:
    """An outbox and the other end of its pipe."""

    def __init__(self) -> None:
        self.reader, self.writer = make_inbox(16384)
        self.outbox = Outbox(self.writer)

    def frames(self) -> list[bytes]:
        try:
            return split_frames(os.read(self.reader, 1 << 20))
        except BlockingIOError:
            return []

    def fill(self) -> None:
        for length in (MAX_BODY_BYTES, 1):
            while write_frame(self.writer, frame(bytes(length))):
                pass

    def close(self) -> None:
        for descriptor in (self.reader, self.writer):
            if descriptor >= 0:
                os.close(descriptor)


@pytest.fixture
def wire() -> Iterator[Wire]:
    wire = Wire()
    yield wire
    wire.close()


def test_the_first_message_of_a_quiet_outbox_leaves_at_once(wire: Wire) -> None:
    assert wire.outbox.offer(b"one", 100.0, hold=SOON)

    assert wire.frames() == [b"one"]
    assert not wire.outbox.waits


def test_messages_that_follow_wait_and_share_a_frame(wire: Wire) -> None:
    for message in (b"one", b"two", b"three"):
        assert wire.outbox.offer(message, 100.0, hold=SOON)
    assert wire.frames() == [b"one"]
    assert wire.outbox.waits
    assert wire.outbox.flush(100.0)

    assert wire.frames() == [b"twothree"]
    assert not wire.outbox.waits


def test_a_message_that_may_not_wait_takes_those_that_do_along(wire: Wire) -> None:
    for message in (b"one", b"two"):
        wire.outbox.offer(message, 100.0, hold=SOON)
    wire.outbox.offer(b"ask", 100.0, hold=AT_ONCE)

    assert wire.frames() == [b"one", b"twoask"]


def test_a_frame_that_is_full_leaves(wire: Wire) -> None:
    wire.outbox.offer(b"x", 100.0, hold=SOON)
    for _ in range(3):
        wire.outbox.offer(bytes(MAX_BODY_BYTES // 2), 100.0, hold=SOON)

    assert [len(body) for body in wire.frames()] == [1, MAX_BODY_BYTES]
    assert wire.outbox.size == MAX_BODY_BYTES // 2


def test_what_finds_no_room_is_not_taken(wire: Wire) -> None:
    wire.fill()
    receipt = [False]

    assert not wire.outbox.offer(b"late", 100.0, hold=AT_ONCE, receipt=receipt)
    assert receipt == [False]
    assert b"late" not in b"".join(wire.frames())
    assert not wire.outbox.waits
    assert wire.outbox.offer(b"later", 100.0, hold=AT_ONCE, receipt=receipt)
    assert receipt == [True]
    assert wire.frames() == [b"later"]


def test_what_waits_stays_when_there_is_no_room(wire: Wire) -> None:
    wire.outbox.offer(b"one", 100.0, hold=SOON)
    wire.outbox.offer(b"two", 100.0, hold=NEVER)
    wire.fill()

    assert not wire.outbox.flush(100.0)
    assert wire.outbox.waits
    wire.frames()
    assert wire.outbox.flush(100.0)
    assert wire.frames() == [b"two"]


def test_a_pipe_that_nobody_reads_is_said_to_be_broken_and_gives_back_what_waited(wire: Wire) -> None:
    wire.outbox.offer(b"one", 100.0, hold=SOON)
    wire.outbox.offer(b"two", 100.0, hold=SOON)
    os.close(wire.reader)
    wire.reader = -1
    with pytest.raises(BrokenPipeError):
        wire.outbox.offer(b"three", 100.0, hold=AT_ONCE)

    assert wire.outbox.take_back() == [b"two"]
    assert not wire.outbox.waits


def test_a_closed_outbox_takes_nothing(wire: Wire) -> None:
    wire.outbox.offer(b"one", 100.0, hold=SOON)
    wire.outbox.offer(b"two", 100.0, hold=SOON)

    assert wire.outbox.close() == [b"two"]
    with pytest.raises(BrokenPipeError):
        wire.outbox.offer(b"three", 200.0, hold=SOON)
    with pytest.raises(BrokenPipeError):
        wire.outbox.offer(b"three", 200.0, hold=AT_ONCE)


def test_a_flush_that_may_not_wait_leaves_a_busy_outbox_alone(wire: Wire) -> None:
    wire.outbox.offer(b"one", 100.0, hold=SOON)
    wire.outbox.offer(b"two", 100.0, hold=SOON)
    done: list[bool] = []
    with wire.outbox._lock:
        thread = threading.Thread(target=lambda: done.append(wire.outbox.try_flush(100.0)))
        thread.start()
        thread.join()

    assert done == [False]
    assert wire.outbox.try_flush(100.0)


def test_a_send_from_inside_of_a_send_goes_behind_it_and_leaves_with_it(wire: Wire) -> None:
    wire.outbox._busy = True  # as a signal handler finds it
    receipt = [False]
    assert wire.outbox.offer(b"inner", 100.0, hold=AT_ONCE, receipt=receipt)
    assert receipt == [True]
    assert wire.outbox.waits
    assert not wire.outbox.flush(100.0)
    wire.outbox._busy = False
    assert wire.outbox.offer(b"next", 100.0, hold=AT_ONCE)

    assert b"".join(wire.frames()) == b"innernext"


@pytest.mark.parametrize("hold", [AT_ONCE, NEVER], ids=["at-once", "held"])
def test_an_exception_at_any_place_of_an_offer_leaves_it_taken_or_not(hold: float) -> None:
    step, seen = 1, set()
    while True:
        wire, receipt = Wire(), [False]
        wire.outbox.offer(b"[zero]", 100.0, hold=AT_ONCE)
        wire.outbox.offer(b"[one]", 100.0, hold=NEVER)
        offer = functools.partial(wire.outbox.offer, b"[two]", 100.0, hold=hold, receipt=receipt)
        raised = interrupted_at(step, offer, {_outbox.__file__})
        assert wire.outbox.offer(b"[three]", 100.0, hold=AT_ONCE)
        wire.outbox.flush(100.0)
        two = b"[two]" if receipt[0] else b""
        assert b"".join(wire.frames()) == b"[zero][one]" + two + b"[three]", step
        seen.add(receipt[0])
        wire.close()
        if not raised:
            break
        step += 1
    assert seen == {False, True}
    assert step > 5


@pytest.mark.parametrize("hold", [AT_ONCE, NEVER], ids=["at-once", "held"])
def test_a_send_at_any_place_of_an_offer_arrives_once(hold: float) -> None:
    step = 1
    while True:
        wire = Wire()
        wire.outbox.offer(b"[zero]", 100.0, hold=AT_ONCE)
        wire.outbox.offer(b"[one]", 100.0, hold=NEVER)

        def inner(outbox: Outbox = wire.outbox) -> None:
            assert outbox.offer(b"[inner]", 100.0, hold=AT_ONCE)

        offer = functools.partial(wire.outbox.offer, b"[two]", 100.0, hold=hold)
        came = interrupted_at(step, offer, {_outbox.__file__}, inner)
        wire.outbox.flush(100.0)
        whole = b"".join(wire.frames())
        assert whole.replace(b"[inner]", b"") == b"[zero][one][two]", step
        assert whole.count(b"[inner]") == came
        wire.close()
        if not came:
            break
        step += 1
    assert step > 5


def test_an_exception_at_any_place_of_a_flush_doubles_and_loses_nothing() -> None:
    step = 1
    while True:
        wire = Wire()
        wire.outbox.offer(b"[one]", 100.0, hold=NEVER)
        wire.outbox._later.extend([b"[two]", bytes(4000), b"[three]"])
        raised = interrupted_at(step, functools.partial(wire.outbox.flush, 100.0), {_outbox.__file__})
        assert wire.outbox.flush(100.0)
        assert b"".join(wire.frames()) == b"[one][two]" + bytes(4000) + b"[three]", step
        assert not wire.outbox.waits
        wire.close()
        if not raised:
            break
        step += 1
    assert step > 5


def test_what_joins_leaves_with_the_next_flush_behind_what_waits(wire: Wire) -> None:
    wire.outbox.offer(b"one", 100.0, hold=SOON)
    wire.outbox.offer(b"two", 100.0, hold=SOON)
    for message in (b"three", b"four"):
        assert wire.outbox.join(message)
    assert wire.outbox.waits
    assert wire.outbox.offer(b"five", 100.0, hold=AT_ONCE)

    assert wire.frames() == [b"one", b"twothreefourfive"]
    assert not wire.outbox.waits


def test_no_more_than_a_frame_joins(wire: Wire) -> None:
    assert wire.outbox.join(bytes(MAX_BODY_BYTES))
    assert not wire.outbox.join(b"x")
    assert wire.outbox.offer(b"y", 100.0, hold=AT_ONCE)

    assert [len(body) for body in wire.frames()] == [MAX_BODY_BYTES, 1]
    assert wire.outbox.join(bytes(MAX_BODY_BYTES)), "there is room again"


def test_what_joined_is_given_back_with_the_rest(wire: Wire) -> None:
    wire.outbox.offer(b"one", 100.0, hold=NEVER)
    wire.outbox.join(b"two")

    assert wire.outbox.take_back() == [b"one", b"two"]
    assert not wire.outbox.waits


def test_what_many_threads_have_join_while_others_flush_leaves_once_and_in_their_order() -> None:
    wire, arrived, over = Wire(), bytearray(), threading.Event()

    def tell(number: int) -> None:
        for count in range(3000):
            message = b"%d:%d;" % (number, count)
            while not wire.outbox.join(message):
                wire.outbox.flush(100.0)

    def read() -> None:
        while not over.is_set() or wire.outbox.waits:
            wire.outbox.try_flush(100.0)
            arrived.extend(b"".join(wire.frames()))

    threads = [threading.Thread(target=tell, args=(number,)) for number in range(4)]
    reader = threading.Thread(target=read)
    for thread in (reader, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    over.set()
    reader.join()
    arrived.extend(b"".join(wire.frames()))
    wire.close()

    found = [tuple(map(int, one.split(b":"))) for one in bytes(arrived).split(b";") if one]
    for number in range(4):
        assert [count for who, count in found if who == number] == list(range(3000))
