from __future__ import annotations

import contextlib
import math
import os
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

from actors.errors import InternalError, ProtocolError, SpecError
from actors.mailbox import _frames, _layout, _recorder
from actors.mailbox._frames import MAX_BODY_BYTES, frame, pack_frames
from actors.mailbox._inbox import make_inbox, pipe_capacity, queued_bytes, write_frame
from actors.mailbox._layout import PAGE_BYTES, FlightState, Layout, create_file
from actors.mailbox._recorder import Recorder, create_recorder
from actors.mailbox._recorder_view import RecorderView, split_frames
from tests.unit.mailbox.dropping import message, split
from tests.unit.mailbox.interrupts import interrupted_at

KIB = 1024
FILES = (_recorder.__file__, _layout.__file__, _frames.__file__)


def number_of(data: bytes) -> int:
    return int.from_bytes(data[2:6], "big")


@attrs.define
class Mailbox:
    """A recorder, its pipe, and what both sides hold of them."""

    fd: int
    read_fd: int
    write_fd: int
    recorder: Recorder
    view: RecorderView
    handled: list[int] = attrs.Factory(list)
    sent: int = 0

    @classmethod
    def make(cls, *, mailbox_bytes: int = 1, pipe_bytes: int = 4096, reply_bytes: int = 16 * KIB) -> Mailbox:
        read_fd, write_fd = make_inbox(pipe_bytes)
        fd = create_recorder(mailbox_bytes=mailbox_bytes, pipe_bytes=pipe_capacity(read_fd), reply_bytes=reply_bytes)
        return cls(fd, read_fd, write_fd, Recorder(fd), RecorderView(fd))

    def send(self, *batches: int, length: int = 6) -> None:
        """A frame for each batch, of so many messages."""
        for count in batches:
            numbers = range(self.sent, self.sent + count)
            (data,) = pack_frames([message(number, length) for number in numbers])
            assert write_frame(self.write_fd, data)
            self.sent += count

    def serve(self, handle: Callable[[int], object] | None = None) -> None:
        """What the loop of an actor does, until nothing is left."""
        recorder = self.recorder
        while True:
            found = recorder.next_frame()
            if found is None:
                recorder.reset_if_empty()
                if not recorder.fill(self.read_fd):
                    return
                continue
            offset, body = found
            for data in split(body):
                recorder.begin(offset)
                (handle or self.handled.append)(number_of(data))
                offset += len(data)
                recorder.finish(offset)

    def next_process(self) -> list[int]:
        """The process died and another one begins; which messages were in flight."""
        self.recorder.close()
        settled = self.view.settle()
        in_flight = []
        if settled.in_flight is not None:
            first = split(settled.in_flight)[0]
            in_flight.append(number_of(first))
            self.view.skip_in_flight(len(first))
        self.recorder = Recorder(self.fd)
        return in_flight

    def queued(self) -> list[int]:
        return [number_of(data) for body in self.view.queued_frames() for data in split(body)]

    def close(self) -> None:
        self.view.close()
        with contextlib.suppress(ValueError):  # released already
            self.recorder.close()
        for fd in (self.fd, self.read_fd, self.write_fd):
            with contextlib.suppress(OSError):
                os.close(fd)


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    made = Mailbox.make()
    yield made
    made.close()


@pytest.fixture
def eager_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_recorder, "RESET_ABOVE_BYTES", 1)


# ---- reading and handling ------------------------------------------------------------------------------------------


def test_messages_are_handled_once_and_in_order(mailbox: Mailbox) -> None:
    for _ in range(20):
        mailbox.send(1, 100, 3)
        mailbox.serve()

    assert list(range(mailbox.sent)) == mailbox.handled
    assert mailbox.recorder.empty


def test_a_frame_is_given_with_the_offset_of_its_first_message(mailbox: Mailbox) -> None:
    mailbox.send(2, 1)
    assert mailbox.recorder.fill(mailbox.read_fd)

    assert (4, message(0) + message(1)) == mailbox.recorder.next_frame()
    assert (4, message(0) + message(1)) == mailbox.recorder.next_frame()
    mailbox.recorder.finish(10)
    assert (10, message(1)) == mailbox.recorder.next_frame()
    mailbox.recorder.finish(16)
    assert (20, message(2)) == mailbox.recorder.next_frame()


def test_a_buffer_is_empty_once_the_last_message_is_handled(mailbox: Mailbox) -> None:
    mailbox.send(1)
    mailbox.recorder.fill(mailbox.read_fd)
    before = mailbox.recorder.empty
    mailbox.recorder.finish(10)

    assert (False, True) == (before, mailbox.recorder.empty)
    assert mailbox.recorder.next_frame() is None


def test_an_empty_pipe_fills_nothing(mailbox: Mailbox) -> None:
    assert not mailbox.recorder.fill(mailbox.read_fd)
    os.close(mailbox.write_fd)
    assert not mailbox.recorder.fill(mailbox.read_fd)


def test_nothing_is_read_unless_a_whole_pipe_fits(mailbox: Mailbox) -> None:
    mailbox.send(1, length=4092)
    assert mailbox.recorder.fill(mailbox.read_fd)
    mailbox.send(1)
    before = mailbox.recorder.has_room
    assert mailbox.recorder.fill(mailbox.read_fd)
    mailbox.send(1)

    assert (True, False) == (before, mailbox.recorder.has_room)
    assert not mailbox.recorder.fill(mailbox.read_fd)
    assert 10 == queued_bytes(mailbox.read_fd)
    mailbox.serve()
    assert [0, 1, 2] == mailbox.handled


def test_a_full_buffer_is_reset_once_all_of_it_is_handled(mailbox: Mailbox) -> None:
    mailbox.send(1, length=4092)
    mailbox.recorder.fill(mailbox.read_fd)
    mailbox.send(1, length=4092)
    mailbox.recorder.fill(mailbox.read_fd)
    assert not mailbox.recorder.reset_if_empty()
    assert 0 == mailbox.recorder.room
    mailbox.serve()

    assert 2 * 4096 == mailbox.recorder.room
    assert not any(mailbox.recorder._inbox)


def test_a_little_used_buffer_is_not_worth_a_reset() -> None:
    mailbox = Mailbox.make(mailbox_bytes=64 * KIB)
    mailbox.send(1)
    mailbox.serve()

    assert not mailbox.recorder.reset_if_empty()
    mailbox.close()


@pytest.mark.parametrize(
    "data",
    [bytes(8), b"\xff\xff\xff\xff", b"\0\0\x10\0xxxx", b"\0\0\0\x09short"],
    ids=["empty", "negative", "long", "torn"],
)
def test_bytes_that_are_no_frames_break_the_inbox_and_what_stood_before_them_is_served(
    mailbox: Mailbox, data: bytes
) -> None:
    mailbox.send(2)
    os.write(mailbox.write_fd, data)
    assert mailbox.recorder.fill(mailbox.read_fd)
    assert mailbox.recorder.broken is not None
    mailbox.serve()
    assert mailbox.handled == [0, 1]
    mailbox.send(1)
    assert not mailbox.recorder.fill(mailbox.read_fd), "nothing is read behind it"
    assert not mailbox.recorder.reset_if_empty()
    assert not mailbox.recorder.has_room


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff", b"\0\0\x10\0xxxx"], ids=["negative", "long"])
def test_a_dead_reader_leaves_the_whole_frames_before_what_is_no_frame(mailbox: Mailbox, data: bytes) -> None:
    mailbox.send(2)
    os.write(mailbox.write_fd, data)
    os.readv(mailbox.read_fd, [mailbox.recorder._inbox])
    settled = mailbox.view.settle()
    assert settled.broken is not None
    assert "no whole frame" in settled.broken
    assert mailbox.queued() == [0, 1]
    assert mailbox.view.settle().broken is None, "it was wiped away"


def test_a_fill_inside_a_fill_reads_nothing(mailbox: Mailbox, eager_reset: None) -> None:
    step = 1
    inner: list[bool] = []

    def round_trip() -> None:
        mailbox.send(3)
        mailbox.serve()

    while interrupted_at(step, round_trip, FILES, lambda: inner.append(mailbox.recorder.fill(mailbox.read_fd))):
        step += 1
    mailbox.serve()

    assert step > 10
    assert list(range(mailbox.sent)) == mailbox.handled


# ---- deaths --------------------------------------------------------------------------------------------------------


def test_the_message_being_handled_is_named_and_the_next_process_goes_on_behind_it(mailbox: Mailbox) -> None:
    mailbox.send(3, 2)
    mailbox.recorder.fill(mailbox.read_fd)
    mailbox.recorder.begin(4)
    mailbox.recorder.finish(10)
    mailbox.recorder.begin(10)
    settled = mailbox.view.settle()

    assert message(1) + message(2) == settled.in_flight
    assert (10, 0, 28) == (settled.in_flight_offset, settled.recovered_bytes, settled.queued_bytes)
    assert settled == mailbox.view.settle()
    assert [1] == mailbox.next_process()
    assert mailbox.view.settle().in_flight is None
    assert [2, 3, 4] == mailbox.queued()
    mailbox.serve()
    assert [2, 3, 4] == mailbox.handled


def test_no_two_messages_in_flight_have_the_same_place(mailbox: Mailbox) -> None:
    places = []
    for _ in range(3):
        mailbox.send(3, 2)
        mailbox.recorder.fill(mailbox.read_fd)
        mailbox.recorder.next_frame()
        assert mailbox.view.settle().in_flight_place == -1
        mailbox.recorder.begin(10)
        places.append(mailbox.view.settle().in_flight_place)
        assert mailbox.recorder.read_bytes > mailbox.recorder.handled_bytes
        mailbox.view.discard_queued()
        assert mailbox.recorder.read_bytes == mailbox.recorder.handled_bytes

    assert places[0] == 10
    assert sorted(set(places)) == places


def test_beginning_a_message_says_that_those_before_it_in_its_frame_are_handled(mailbox: Mailbox) -> None:
    mailbox.send(3)
    mailbox.recorder.fill(mailbox.read_fd)
    mailbox.recorder.next_frame()
    mailbox.recorder.begin(4)
    mailbox.recorder.begin(10)

    assert [1] == mailbox.next_process()
    mailbox.serve()
    assert [2] == mailbox.handled


def test_the_last_message_of_a_frame_in_flight_leaves_the_next_frame(mailbox: Mailbox) -> None:
    mailbox.send(1, 1)
    mailbox.recorder.fill(mailbox.read_fd)
    mailbox.recorder.next_frame()
    mailbox.recorder.begin(4)

    assert [0] == mailbox.next_process()
    mailbox.serve()
    assert [1] == mailbox.handled


def test_a_message_can_be_handed_to_the_next_process_again(mailbox: Mailbox) -> None:
    mailbox.send(3)
    mailbox.recorder.fill(mailbox.read_fd)
    mailbox.recorder.next_frame()
    mailbox.recorder.begin(4)
    mailbox.recorder.begin(10)
    mailbox.view.settle()
    mailbox.view.redeliver_in_flight()

    assert [] == mailbox.next_process()
    mailbox.serve()
    assert [1, 2] == mailbox.handled


def test_redelivering_where_nothing_is_in_flight_changes_nothing(mailbox: Mailbox) -> None:
    mailbox.send(2)
    mailbox.recorder.fill(mailbox.read_fd)
    mailbox.view.settle()
    mailbox.view.redeliver_in_flight()

    assert [0, 1] == mailbox.queued()


@pytest.mark.parametrize("length", [0, -1, 13, 1 << 40])
def test_no_more_than_the_rest_of_the_frame_can_be_skipped(mailbox: Mailbox, length: int) -> None:
    mailbox.send(2)
    mailbox.recorder.fill(mailbox.read_fd)
    mailbox.recorder.begin(4)

    with pytest.raises(ProtocolError):
        mailbox.view.skip_in_flight(length)


def test_nothing_in_flight_cannot_be_skipped(mailbox: Mailbox) -> None:
    with pytest.raises(ProtocolError):
        mailbox.view.skip_in_flight(1)


def test_what_was_read_and_not_published_is_found(mailbox: Mailbox) -> None:
    mailbox.send(3, 2)
    count = os.readv(mailbox.read_fd, [mailbox.recorder._inbox])
    settled = mailbox.view.settle()

    assert (count, count - 4) == (settled.recovered_bytes, settled.queued_bytes)
    assert 0 == mailbox.view.settle().recovered_bytes
    assert [0, 1, 2, 3, 4] == mailbox.queued()


def test_an_unpublished_frame_that_is_longer_than_a_read_is_none(mailbox: Mailbox) -> None:
    mailbox.recorder._inbox[:4096] = frame(bytes(2000)) + frame(bytes([1]) * 4000)[:2092]
    settled = mailbox.view.settle()
    assert "at offset 2004" in str(settled.broken)
    assert settled.recovered_bytes == 2004


def test_the_pages_of_a_read_are_present_before_it() -> None:
    mailbox = Mailbox.make(mailbox_bytes=256 * KIB, pipe_bytes=64 * KIB)
    mailbox.view.close()
    before = resident_kib()
    mailbox.recorder.fill(mailbox.read_fd)
    first = resident_kib() - before
    mailbox.send(*[1] * 5, length=4000)
    mailbox.recorder.fill(mailbox.read_fd)
    mailbox.recorder.fill(mailbox.read_fd)
    second = resident_kib() - before
    mailbox.close()

    assert first >= 64
    assert second - first >= 16


def test_a_death_at_any_moment_loses_nothing_and_handles_nothing_twice(eager_reset: None) -> None:
    step = 1
    while True:
        mailbox = Mailbox.make()
        mailbox.send(2)

        def round_trips(mailbox: Mailbox = mailbox) -> None:
            mailbox.serve()
            mailbox.send(1)
            mailbox.serve()

        died = interrupted_at(step, round_trips, FILES, everywhere=True)
        seen = Counter(mailbox.handled)
        in_flight = mailbox.next_process()
        mailbox.serve()
        mailbox.send(1)
        mailbox.serve()
        rest = Counter(mailbox.handled) - seen

        assert list(range(mailbox.sent)) == sorted({*mailbox.handled, *in_flight}), step
        assert mailbox.handled == sorted(set(mailbox.handled)), step
        assert set(in_flight).isdisjoint(rest), step
        assert mailbox.view.flight().handled_bytes == mailbox.view.flight().read_bytes, step
        mailbox.close()
        if not died:
            break
        step += 1

    assert step > 50


def test_an_exception_of_a_signal_handler_at_any_moment_leaves_the_recorder_usable(eager_reset: None) -> None:
    step = 1
    while True:
        mailbox = Mailbox.make()
        mailbox.send(3, 2)

        def round_trips(mailbox: Mailbox = mailbox) -> None:
            mailbox.serve()
            mailbox.send(1, 1)
            mailbox.serve()

        raised = interrupted_at(step, round_trips, FILES)
        mailbox.serve()
        mailbox.send(2)
        mailbox.serve()
        twice = [number for number, count in Counter(mailbox.handled).items() if count > 1]

        assert list(range(mailbox.sent)) == sorted(set(mailbox.handled)), step
        assert mailbox.handled == sorted(mailbox.handled), step
        assert len(twice) <= 1, step  # the one being handled: the loop above simply handles it again
        assert mailbox.recorder.empty, step
        mailbox.close()
        if not raised:
            break
        step += 1

    assert step > 50


def test_what_an_interrupted_read_left_is_not_lost_to_a_reset(mailbox: Mailbox, eager_reset: None) -> None:
    recorder = mailbox.recorder
    mailbox.send(1)
    recorder.fill(mailbox.read_fd)
    recorder.next_frame()
    recorder.finish(10)
    mailbox.send(1)
    os.readv(mailbox.read_fd, [recorder._inbox[10:]])

    assert not recorder.reset_if_empty()
    mailbox.serve()
    assert [1] == mailbox.handled


def test_a_read_after_an_interrupted_reset_is_not_lost_to_its_mark(eager_reset: None) -> None:
    step = 1
    while True:
        mailbox = Mailbox.make()
        mailbox.send(2)
        mailbox.serve(lambda _: None)
        mailbox.send(1)
        mailbox.recorder.fill(mailbox.read_fd)
        mailbox.recorder.next_frame()
        mailbox.recorder.finish(10)
        interrupted = interrupted_at(step, mailbox.recorder.reset_if_empty, FILES)
        mailbox.send(1)
        mailbox.recorder.fill(mailbox.read_fd)
        died = mailbox.next_process()
        mailbox.serve()

        assert ([], [3]) == (died, mailbox.handled), step
        mailbox.close()
        if not interrupted:
            break
        step += 1

    assert step > 3


def test_discarding_what_is_queued_empties_the_buffer_and_counts_it(mailbox: Mailbox) -> None:
    mailbox.send(3, 2)
    mailbox.recorder.fill(mailbox.read_fd)
    mailbox.view.settle()
    mailbox.view.discard_queued()

    assert [] == mailbox.queued()
    assert (38, 38) == (mailbox.view.flight().read_bytes, mailbox.view.flight().handled_bytes)
    assert [] == mailbox.next_process()
    mailbox.send(1)
    mailbox.serve()
    assert [5] == mailbox.handled


# ---- the tombstone -------------------------------------------------------------------------------------------------


def test_a_tombstone_reads_so_many_frames_at_a_time_until_the_end(mailbox: Mailbox) -> None:
    mailbox.send(1, 2, 3)
    first, second = mailbox.view.drain(mailbox.read_fd, 2), mailbox.view.drain(mailbox.read_fd, 2)

    assert [[0], [1, 2]] == [[number_of(data) for data in split(body)] for body in first]
    assert [[3, 4, 5]] == [[number_of(data) for data in split(body)] for body in second]
    assert [] == mailbox.view.drain(mailbox.read_fd, 2)
    assert not mailbox.view.drained_to_end
    mailbox.send(1, 1)
    os.close(mailbox.write_fd)
    assert 1 == len(mailbox.view.drain(mailbox.read_fd, 1))
    assert 1 == len(mailbox.view.drain(mailbox.read_fd, 1))
    assert [] == mailbox.view.drain(mailbox.read_fd, 1)
    assert mailbox.view.drained_to_end


def test_a_tombstone_puts_a_torn_frame_together(mailbox: Mailbox) -> None:
    data = frame(message(7))
    os.write(mailbox.write_fd, data[:5])
    assert [] == mailbox.view.drain(mailbox.read_fd, 1)
    os.write(mailbox.write_fd, data[5:])

    assert [message(7)] == mailbox.view.drain(mailbox.read_fd, 1)


def test_a_tombstone_goes_on_behind_what_it_cannot_read(mailbox: Mailbox) -> None:
    os.write(mailbox.write_fd, frame(message(1)) + bytes(8))
    with pytest.raises(ProtocolError):
        mailbox.view.drain(mailbox.read_fd, 9)
    os.write(mailbox.write_fd, b"\xff" * 8)

    assert [message(1)] == mailbox.view.drain(mailbox.read_fd, 9)
    with pytest.raises(ProtocolError):
        mailbox.view.drain(mailbox.read_fd, 9)
    os.close(mailbox.write_fd)
    assert [] == mailbox.view.drain(mailbox.read_fd, 9)
    assert mailbox.view.drained_to_end


def test_a_run_of_frames_that_does_not_end_with_one_is_a_protocol_error() -> None:
    assert [b"a", b"bc"] == split_frames(frame(b"a") + frame(b"bc"))
    for data in (b"\0", frame(b"abc")[:-1], frame(b"a") + b"\0\0"):
        with pytest.raises(ProtocolError):
            split_frames(data)


# ---- replies -------------------------------------------------------------------------------------------------------


def test_replies_that_did_not_leave_are_found_in_order(mailbox: Mailbox) -> None:
    recorder = mailbox.recorder
    positions = [recorder.append_reply(lane, b"reply to %d" % lane) for lane in (3, 0, 3, 1 << 40)]
    assert positions[1] is not None
    recorder.mark_sent(positions[1])

    assert 3 == recorder.unsent
    assert [3, 3, 1 << 40] == [lane for lane, _ in mailbox.view.unsent_replies()]
    assert (3, b"reply to 3") == mailbox.view.unsent_replies()[0]
    mailbox.view.forget_replies()
    assert [] == mailbox.view.unsent_replies()


def test_the_reply_region_is_empty_once_all_have_left(mailbox: Mailbox) -> None:
    for _ in range(1000):
        positions = [mailbox.recorder.append_reply(1, bytes(100)) for _ in range(10)]
        for position in positions:
            assert position is not None
            mailbox.recorder.mark_sent(position)

    assert 0 == mailbox.recorder.unsent
    assert [] == mailbox.view.unsent_replies()


def test_a_region_full_of_replies_takes_no_more_until_some_have_left(mailbox: Mailbox) -> None:
    positions: list[int] = []
    while (position := mailbox.recorder.append_reply(1, b"%03d" % len(positions) + bytes(1000))) is not None:
        positions.append(position)
    count = len(positions)
    assert count == 8
    mailbox.recorder.mark_sent(positions[3])
    mailbox.recorder.mark_sent(positions[5])
    late = mailbox.recorder.append_reply(2, b"late")

    assert late is not None
    expected = [b"000", b"001", b"002", b"004", b"006", b"007", b"lat"]
    assert expected == [data[:3] for _, data in mailbox.view.unsent_replies()]
    for position in (*positions[:3], positions[4], *positions[6:]):
        mailbox.recorder.mark_sent(position)
    assert [(2, b"late")] == mailbox.view.unsent_replies()
    mailbox.recorder.mark_sent(late)
    assert [] == mailbox.view.unsent_replies()


def test_a_lane_that_takes_nothing_does_not_stop_the_others(mailbox: Mailbox) -> None:
    stuck = [mailbox.recorder.append_reply(1, b"stuck") for _ in range(10)]
    for number in range(2000):
        position = mailbox.recorder.append_reply(2, number.to_bytes(500, "big"))
        assert position is not None
        mailbox.recorder.mark_sent(position)

    assert None not in stuck
    assert [(1, b"stuck")] * 10 == mailbox.view.unsent_replies()


def test_the_longest_reply_fits_the_smallest_region() -> None:
    mailbox = Mailbox.make(reply_bytes=1)
    position = mailbox.recorder.append_reply(1, b"x" * MAX_BODY_BYTES)

    assert position is not None
    assert [(1, b"x" * MAX_BODY_BYTES)] == mailbox.view.unsent_replies()
    mailbox.close()


@pytest.mark.parametrize("length", [0, MAX_BODY_BYTES + 1])
def test_a_reply_that_does_not_fit_a_frame_is_refused(mailbox: Mailbox, length: int) -> None:
    with pytest.raises(InternalError):
        mailbox.recorder.append_reply(1, bytes(length))


def test_random_replies_are_all_found_and_none_is_found_after_it_left(mailbox: Mailbox) -> None:
    dice = random.Random(1)
    open_replies: dict[int, tuple[int, bytes]] = {}
    for _ in range(5000):
        if open_replies and dice.random() < 0.5:
            position = dice.choice(list(open_replies))
            mailbox.recorder.mark_sent(position)
            del open_replies[position]
        else:
            reply = (dice.randrange(5), dice.randbytes(dice.randrange(1, 900)))
            appended = mailbox.recorder.append_reply(*reply)
            if appended is not None:
                open_replies[appended] = reply

        assert list(open_replies.values()) == mailbox.view.unsent_replies()


# ---- the flight page -----------------------------------------------------------------------------------------------


def test_the_flight_page_says_what_the_process_does(mailbox: Mailbox) -> None:
    recorder = mailbox.recorder
    mailbox.view.set_incarnation(3)
    before = mailbox.view.flight()
    recorder.name_handlers(["add", "größe", "x" * 100])
    recorder.begin_handler(1, 12.5)
    recorder.note_progress(13.25)
    recorder.note_state(FlightState.HANDLING)
    mailbox.send(2)
    mailbox.serve()
    flight = mailbox.view.flight()

    assert (FlightState.STARTING, None, 0.0, 3) == (before.state, before.handler, before.since, before.incarnation)
    assert (FlightState.HANDLING, "größe", 12.5, 13.25) == (flight.state, flight.handler, flight.since, flight.progress)
    assert (2, 16, 16) == (flight.handled, flight.read_bytes, flight.handled_bytes)
    assert 3 == recorder.incarnation
    recorder.begin_handler(2, 14.0)
    assert ("x" * 63, 14.0) == (mailbox.view.flight().handler, mailbox.view.flight().progress)
    recorder.begin_handler(3, 14.0)
    assert "#3" == mailbox.view.flight().handler
    recorder.begin_handler(-1, 14.0)
    assert mailbox.view.flight().handler is None


def test_handlers_without_room_for_their_names_have_numbers(mailbox: Mailbox) -> None:
    mailbox.recorder.name_handlers([f"handler-{number:03}" for number in range(500)])
    named = []
    for index in (0, 254, 255, 256, 499):
        mailbox.recorder.begin_handler(index, 1.0)
        named.append(mailbox.view.flight().handler)

    assert ["handler-000", "handler-254", "#255", "#256", "#499"] == named


def test_the_last_messages_are_named_over_incarnations(mailbox: Mailbox) -> None:
    recorder = mailbox.recorder
    recorder.name_handlers([f"h{number}" for number in range(40)])
    assert () == mailbox.view.recent()

    for number in range(20):
        mailbox.send(1)
        mailbox.serve(lambda _number, index=number: recorder.begin_handler(index, 1.0))  # type: ignore[misc]
        assert tuple(f"h{index}" for index in range(max(0, number - 15), number + 1)) == mailbox.view.recent()
    mailbox.send(2)
    recorder.fill(mailbox.read_fd)
    offset, _body = recorder.next_frame() or (0, b"")
    recorder.begin(offset)
    recorder.begin_handler(30, 1.0)
    in_flight = mailbox.view.recent()
    assert 1 == len(mailbox.next_process())

    assert (*(f"h{index}" for index in range(5, 20)), "h30") == in_flight == mailbox.view.recent()
    mailbox.recorder.fill(mailbox.read_fd)
    offset, _body = mailbox.recorder.next_frame() or (0, b"")
    mailbox.recorder.begin(offset)
    mailbox.recorder.begin_handler(31, 1.0)
    assert ("h30", "h31") == mailbox.view.recent()[-2:]
    assert 16 == len(mailbox.view.recent())


def test_counters_go_on_over_resets_and_incarnations(mailbox: Mailbox) -> None:
    for _ in range(5):
        mailbox.send(100)
        mailbox.serve()
        mailbox.next_process()
        mailbox.send(100)
        mailbox.serve()
    flight = mailbox.view.flight()

    assert (1000, 10 * 604, 10 * 604) == (flight.handled, flight.read_bytes, flight.handled_bytes)


# ---- what a child can do to it -------------------------------------------------------------------------------------


def ask_everything(view: RecorderView) -> None:
    """Call all that reads; nothing but ProtocolError may come out."""

    def skip() -> None:
        rest = view.settle().in_flight
        if rest is not None:
            view.skip_in_flight(min(6, len(rest)))

    calls: tuple[Callable[[], object], ...] = (
        view.flight,
        view.recent,
        view.queued_frames,
        view.unsent_replies,
        skip,
        view.settle,
        view.finish_drop,
        view.queued_frames,
        view.count_waiting,
        view.redeliver_in_flight,
        view.flight,
        view.discard_queued,
        view.settle,
    )
    for call in calls:
        with contextlib.suppress(ProtocolError):
            call()


def test_random_bytes_anywhere_raise_nothing_but_protocol_errors(mailbox: Mailbox) -> None:
    dice = random.Random(3)
    whole = memoryview(mailbox.recorder._mapping)
    for _ in range(300):
        start = dice.randrange(len(whole))
        data = dice.randbytes(min(dice.choice((1, 8, 300, 4096, 1 << 20)), len(whole) - start))
        whole[start : start + len(data)] = data
        ask_everything(mailbox.view)
        _restore(mailbox)
    whole.release()


def test_plausible_lies_in_the_header_raise_nothing_but_protocol_errors(mailbox: Mailbox) -> None:
    dice = random.Random(4)
    words = mailbox.recorder.words
    values = (
        0,
        1,
        3,
        4,
        5,
        10,
        26,
        4095,
        4096,
        8192,
        8193,
        1 << 32,
        (1 << 32) + 4,
        4 << 32 | 10,
        1 << 62,
        (1 << 64) - 1,
    )
    for _ in range(3000):
        mailbox.recorder._inbox[:26] = frame(message(0)) + frame(message(1) + message(2))
        for _ in range(dice.randrange(1, 5)):
            words[dice.randrange(16, 56)] = dice.choice(values)
        if dice.random() < 0.3:
            mailbox.recorder._inbox[dice.randrange(30)] = dice.randrange(256)
        ask_everything(mailbox.view)
        _restore(mailbox)


def _restore(mailbox: Mailbox) -> None:
    """A child's scribbles are repaired only as far as they would hide the next ones."""
    for index in range(16, 56):
        mailbox.recorder.words[index] = 0
    mailbox.view._layout.write(mailbox.recorder.words)


@pytest.mark.parametrize("index", range(9))
def test_sizes_that_were_overwritten_are_noticed_and_not_believed(mailbox: Mailbox, index: int) -> None:
    mailbox.recorder.words[index] += 4096

    with pytest.raises(ProtocolError):
        mailbox.view.settle()
    with pytest.raises(ProtocolError):
        RecorderView(mailbox.fd)
    with pytest.raises(ProtocolError):
        Recorder(mailbox.fd)


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_a_time_that_is_none_is_a_protocol_error(mailbox: Mailbox, value: float) -> None:
    mailbox.recorder.note_progress(value)

    with pytest.raises(ProtocolError):
        mailbox.view.flight()


def test_nobody_can_change_the_length_of_the_file(mailbox: Mailbox) -> None:
    for size in (0, 1 << 24):
        with pytest.raises(PermissionError):
            os.ftruncate(mailbox.fd, size)


def test_a_file_that_is_no_recorder_is_refused() -> None:
    for size in (1, PAGE_BYTES, 1 << 20):
        fd = create_file("no-recorder", size)
        with pytest.raises(ProtocolError):
            RecorderView(fd)
        os.close(fd)


@pytest.mark.parametrize("size", [0, -1, 1 << 40])
def test_sizes_out_of_range_are_named(size: int) -> None:
    with pytest.raises(SpecError, match="mailbox_bytes") as caught:
        create_recorder(mailbox_bytes=size, pipe_bytes=size)

    assert 2 == len(caught.value.problems)


# ---- layout --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mailbox_bytes", [1, 4096, 4097, 1 << 20])
@pytest.mark.parametrize("pipe_bytes", [4096, 65536, 1 << 20])
def test_a_layout_is_read_as_it_was_written(mailbox_bytes: int, pipe_bytes: int) -> None:
    layout = Layout.plan(mailbox_bytes=mailbox_bytes, pipe_bytes=pipe_bytes, reply_bytes=1 << 20)
    words = memoryview(bytearray(PAGE_BYTES)).cast("Q")
    layout.write(words)

    assert layout == Layout.read(words, layout.file_bytes)
    assert layout.inbox_bytes >= mailbox_bytes + pipe_bytes
    assert 0 == layout.inbox_offset % PAGE_BYTES


def mappings() -> list[str]:
    """What the kernel says of each mapped recorder."""
    entries: list[str] = []
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            entries.append("")
        entries[-1] += line + "\n"
    return [entry for entry in entries if "actors-recorder" in entry]


def resident_kib() -> int:
    return sum(int(size) for entry in mappings() for size in re.findall(r"^Rss: +(\d+) kB", entry, re.MULTILINE))


def test_a_forked_child_inherits_the_mapping_of_the_process_itself_alone(mailbox: Mailbox) -> None:
    flags = [re.findall(r"VmFlags:(.*)", entry)[0].split() for entry in mappings()]

    assert [False, True] == sorted("dc" in flag for flag in flags)


def test_closing_gives_back_every_descriptor_and_mapping() -> None:
    before = len(list(Path("/proc/self/fd").iterdir())), len(mappings())
    mailbox = Mailbox.make()
    mailbox.close()

    assert before == (len(list(Path("/proc/self/fd").iterdir())), len(mappings()))
