from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

import pytest

from actors.errors import ProtocolError
from actors.mailbox import _drops, _layout, _move, _queue, _recorder
from actors.mailbox._envelope import encode_tell
from actors.mailbox._frames import pack_frames
from actors.mailbox._inbox import write_frame
from actors.mailbox._layout import MOVE_FLIGHT, MOVING, PAGE_BYTES
from actors.mailbox._move import Move
from actors.mailbox._queue import buffer_bytes
from tests.unit.mailbox.dropping import Post, numbers
from tests.unit.mailbox.interrupts import interrupted_at

KIB = 1024
FILES = (_recorder.__file__, _queue.__file__, _move.__file__, _layout.__file__)


@pytest.fixture
def post() -> Iterator[Post]:
    made = Post.make(mailbox_bytes=24 * KIB)
    yield made
    made.close()


def test_an_actor_that_drops_has_room_for_what_it_keeps_twice() -> None:
    assert buffer_bytes(10_000, drops=False) == 10_000
    assert buffer_bytes(10_000, drops=True) == 20_000 + 4 * PAGE_BYTES


# ---- dropping between two messages ---------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6])
def test_the_oldest_are_dropped_and_the_others_handled_in_order(post: Post, count: int) -> None:
    for size in (3, 1, 2):
        post.send(size)
    post.read()
    before = post.view.flight().read_bytes

    assert post.drop(count)
    assert post.waiting == list(range(count, 6))
    assert (post.queue.dropped, post.view.flight().dropped, post.queue.dropping) == (count, count, False)
    post.serve()
    assert post.handled == list(range(count, 6))
    assert post.view.flight().handled == 6 - count
    assert post.view.flight().read_bytes == post.view.flight().handled_bytes == before


def test_drops_add_up_over_incarnations(post: Post) -> None:
    post.send(5)
    post.read()
    post.drop(2)
    post.die()
    post.drop(1)

    assert post.queue.dropped == 3
    assert post.waiting == [3, 4]


def test_what_waits_is_counted_in_bytes(post: Post) -> None:
    post.send(2)
    post.send(1)
    post.read()

    assert post.queue.waiting_bytes() == 16 + 10
    post.begin()
    assert post.queue.waiting_bytes(post.flight_stop) == 6 + 10


# ---- behind a message in flight ------------------------------------------------------------------------------------


@pytest.mark.parametrize("handled", [0, 1, 3, 4, 800, 1199])
def test_the_oldest_behind_a_message_in_flight_are_dropped(post: Post, handled: int) -> None:
    for size in (4, 596, 600, 600):
        post.send(size)
        post.read()
    post.serve(handled)
    flight = post.begin()
    assert flight == handled
    before = post.view.flight().read_bytes

    assert post.drop(1800 - handled - 1 - 50)
    assert post.waiting == list(range(1750, 1800))
    post.finish(handled)
    assert post.view.flight().handled_bytes > 0
    post.serve()
    assert post.handled == [*range(handled + 1), *range(1750, 1800)]
    flight_page = post.view.flight()
    assert (flight_page.dropped, flight_page.handled) == (1749 - handled, handled + 51)
    assert flight_page.read_bytes == flight_page.handled_bytes == before


def test_nothing_may_be_left_behind_a_message_in_flight(post: Post) -> None:
    post.send(3)
    post.read()
    flight = post.begin()

    assert flight == 0
    assert post.drop(2)
    post.finish(flight)
    assert post.begin() is None
    post.send(1)
    post.serve()
    assert post.handled == [0, 3]


def test_what_is_too_long_to_be_copied_in_front_of_itself_is_not_taken_out(post: Post) -> None:
    post.send(100)
    post.read()
    post.begin()

    assert not post.drop(10)
    assert not post.queue.dropping
    assert post.waiting == list(range(1, 100))


def test_a_message_in_flight_keeps_its_place_whatever_is_dropped_behind_it(post: Post) -> None:
    post.send(100)
    post.read()
    post.serve(10)
    flight = post.begin()
    place = post.view.settle().in_flight_place

    for _ in range(2):
        assert flight == 10
        assert post.drop(len(post.waiting) - 1)
        assert post.view.settle().in_flight_place == place
        post.send(100)
        post.read()
    post.die(again=True)
    assert post.recorder.handled_bytes == place
    assert not post.make_room(), "its place would be another"
    assert post.drop(3)
    assert post.recorder.handled_bytes > place


# ---- room ----------------------------------------------------------------------------------------------------------


def test_what_is_left_is_moved_when_there_is_no_room_for_a_read(post: Post) -> None:
    while post.recorder.has_room:
        post.send(600)
        post.read()
    post.serve(post.sent - 50)
    before = post.view.flight().read_bytes
    assert post.queue.can_make_room()

    assert post.make_room()
    assert post.recorder.room >= 4096
    assert post.view.flight().read_bytes == before
    post.send(5)
    post.serve()
    assert post.handled == list(range(post.sent))


def test_a_message_in_flight_is_moved_with_what_is_behind_it(post: Post) -> None:
    while post.recorder.has_room:
        post.send(600)
        post.read()
    post.serve(post.sent - 50)
    flight = post.begin()
    assert flight is not None

    assert post.make_room()
    assert post.recorder.room >= 4096
    assert post.recorder.in_flight == 4
    post.finish(flight)
    post.serve()
    assert post.handled == list(range(post.sent))


def test_there_is_no_room_to_make_where_most_is_still_to_be_handled(post: Post) -> None:
    post.send(600)
    post.read()

    assert not post.queue.can_make_room()
    assert not post.make_room()


def test_nothing_is_moved_while_a_read_is_under_way_or_was_interrupted(post: Post) -> None:
    post.send(5)
    post.read()
    post.serve(5)
    post.recorder._busy = True
    assert not post.queue.can_make_room()
    post.recorder._busy = False
    assert post.queue.can_make_room()
    post.recorder.words[_layout.RESETTING] = 1
    assert not post.queue.can_make_room()
    post.recorder.words[_layout.RESETTING] = 0
    post.send(2)
    os.readv(post.read_fd, [post.recorder._inbox[post.queue.end :]])
    assert not post.queue.can_make_room()
    assert not post.queue.can_take_out(0, post.queue.last())
    post.serve()
    assert post.handled == list(range(7))


# ---- a death, or an exception out of a signal handler, at any moment -----------------------------------------------


def drop_and_move(post: Post) -> None:
    """Everything that a queue does: drops between messages and behind one, a move with and without one in flight."""
    post.drop(3)
    post.serve(2)
    number = post.begin()
    assert number is not None
    post.drop(len(post.waiting) - 2)
    post.finish(number)
    post.send(6)
    post.read()
    post.serve(3)
    number = post.begin()
    assert number is not None
    post.make_room()
    post.finish(number)
    post.make_room()
    post.drop(1)
    post.serve()


def filled() -> Post:
    post = Post.make(mailbox_bytes=1)
    post.send(4)
    post.send(30)
    post.read()
    return post


def test_a_death_at_any_moment_of_a_drop_loses_nothing_and_counts_nothing_twice() -> None:
    step = 1
    while True:
        post = filled()

        def work(post: Post = post) -> None:
            drop_and_move(post)

        died = interrupted_at(step, work, FILES, everywhere=True)
        in_flight = post.die()
        post.serve()
        post.send(2)
        post.serve()

        told = set(post.told)
        assert told.isdisjoint(in_flight), step
        assert told.isdisjoint(post.handled), step
        assert sorted({*told, *post.handled, *in_flight}) == list(range(post.sent)), step
        assert post.handled == sorted(set(post.handled)), step
        flight = post.view.flight()
        assert flight.dropped == len(told), step
        assert flight.read_bytes == flight.handled_bytes, step
        post.close()
        if not died:
            break
        step += 1

    assert step > 500


def test_a_death_while_the_supervisor_is_told_of_a_drop_is_finished_by_it(post: Post) -> None:
    post.send(3)
    post.send(3)
    post.read()
    post.serve(1)
    post.queue.begin_drop(post.queue.first(), post.place(3), 3)
    in_flight = post.die()

    assert (in_flight, post.told, post.waiting, post.queue.dropped) == ([], [1, 2, 3], [4, 5], 3)


@pytest.mark.parametrize("again", [False, True])
def test_a_death_in_the_middle_of_a_drop_behind_a_message_in_flight(post: Post, again: bool) -> None:
    post.send(3)
    post.send(3)
    post.read()
    post.begin()
    post.queue.begin_drop(post.queue.first(post.flight_stop), post.place(4), 4)
    in_flight = post.die(again=again)

    assert (in_flight, post.told, post.queue.dropped) == ([] if again else [0], [1, 2, 3, 4], 4)
    post.serve()
    assert post.handled == ([0, 5] if again else [5])


def test_a_drop_whose_message_in_flight_was_done_first_is_finished(post: Post) -> None:
    post.send(5)
    post.read()
    number = post.begin()
    assert number == 0
    post.queue.begin_drop(post.queue.first(post.flight_stop), post.place(2), 2)
    post.finish(number)

    assert post.queue.dropping
    post.queue.commit_drop()
    post.serve()
    assert (post.handled, post.queue.dropped) == ([0, 3, 4], 2)


def test_an_exception_of_a_signal_handler_at_any_moment_of_a_move_leaves_it_undone_or_done() -> None:
    step = 1
    while True:
        post = filled()
        post.serve(20)
        number = post.begin()
        assert number is not None
        post.queue.begin_drop(post.queue.first(post.flight_stop), post.place(11), 11)

        def commit(post: Post = post) -> None:
            post.queue.commit_drop(post.flight_stop)

        raised = interrupted_at(step, commit, FILES)
        assert not post.recorder.words[MOVING], step
        if post.queue.dropping:
            post.queue.commit_drop(post.flight_stop)
        post.finish(number)
        post.serve()

        assert post.handled == [*range(21), 32, 33], step
        assert post.queue.dropped == 11, step
        post.close()
        if not raised:
            break
        step += 1

    assert step > 5


def test_who_looks_in_the_middle_of_a_move_sees_what_was_read_and_handled(post: Post) -> None:
    post.send(50)
    post.read()
    post.serve(40)
    post.begin()
    before = post.view.flight()
    post.queue.make_room(post.flight_stop)
    post.recorder.words[MOVING] = post.queue.end + 1

    flight = post.view.flight()
    assert (flight.read_bytes, flight.handled_bytes) == (before.read_bytes, before.handled_bytes)


# ---- claims --------------------------------------------------------------------------------------------------------

SOUND = Move(end=200, flight=104, flight_stop=110, queue=120, head=76, read=200, handled=104)


def test_a_move_that_adds_up_is_believed() -> None:
    assert SOUND.check(4096) is SOUND
    assert Move(200, 0, 0, 120, 76, 200, 120).check(4096).stop == 80
    assert Move(200, 0, 0, 200, 0, 200, 200).check(4096).stop == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"end": 5000},
        {"flight": 3},
        {"flight": 110},
        {"flight": 0, "handled": 110},
        {"flight_stop": 0},
        {"flight_stop": 125},
        {"queue": 90, "head": 106},
        {"queue": 90},
        {"head": 77},
        {"head": 0},
        {"head": 5000},
        {"read": 1 << 64},
        {"read": 120},
        {"handled": 3},
    ],
    ids=str,
)
def test_a_move_that_does_not_add_up_is_a_protocol_error(changes: dict[str, int]) -> None:
    values = {
        name: getattr(SOUND, name) for name in ("end", "flight", "flight_stop", "queue", "head", "read", "handled")
    }
    with pytest.raises(ProtocolError, match="no move within"):
        Move(**{**values, **changes}).check(4096)


def test_a_noted_move_is_checked_before_it_is_believed(post: Post) -> None:
    post.send(5)
    post.read()
    words = post.recorder.words
    words[MOVING] = 1 + post.queue.end
    words[MOVE_FLIGHT] = 1

    with pytest.raises(ProtocolError, match="no move"):
        post.view.settle()


@pytest.mark.parametrize(
    ("first", "keep", "next_word", "handling", "total"),
    [
        (4, 1 << 32, 0, 0, 1),  # ends outside of what was read
        (99 << 32 | 4, 10, 0, 0, 1),  # begins behind itself
        (16 << 32 | 18, 22, 0, 0, 1),  # within a header
        (1 << 32 | 5, 22, 0, 0, 1),  # where no frame is
        (16, 10, 0, 0, 1),  # ends before it begins
        (4, 10, 0, 0, 1 << 63),  # more than there can be
        (10, 16, 4, 0, 1),  # behind a message in flight, and none is
        (10, 16, 4, 12, 1),
    ],
)
def test_a_drop_that_does_not_add_up_is_a_protocol_error(
    post: Post, first: int, keep: int, next_word: int, handling: int, total: int
) -> None:
    post.send(2)
    post.send(2)
    post.read()
    words = post.recorder.words
    words[_layout.DROP_FROM], words[_layout.DROP_TO], words[_layout.DROP_TOTAL] = first, keep, total
    words[_layout.NEXT], words[_layout.HANDLING], words[_layout.DROPPING] = next_word, handling, 1

    with pytest.raises(ProtocolError):
        post.view.settle()
        post.view.finish_drop()


def test_a_drop_in_a_recorder_whose_end_was_overwritten_is_a_protocol_error(post: Post) -> None:
    post.recorder.words[_layout.DROPPING] = 1
    post.recorder.words[_layout.READ_END] = 1 << 40

    for look in (_drops.unfinished, _drops.finish):
        with pytest.raises(ProtocolError, match="bytes read into"):
            look(post.recorder.words, post.recorder._inbox)


def test_nothing_was_being_dropped_where_nothing_was(post: Post) -> None:
    post.send(2)
    post.read()
    post.view.finish_drop()

    assert post.view.settle().dropping == ()
    assert numbers(post.view.queued_frames()) == [0, 1]


# ---- how many wait -------------------------------------------------------------------------------------------------


def test_messages_that_wait_are_counted_over_all_frames_and_beyond_64_kib_reckoned() -> None:
    post = Post.make(mailbox_bytes=256 * KIB, pipe_bytes=64 * KIB)
    assert post.view.count_waiting() == 0
    (data,) = pack_frames([encode_tell("note", (7,))] * 400)
    for sent in range(10):
        assert write_frame(post.write_fd, data)
        post.read()
        assert post.view.count_waiting() == 400 * (sent + 1)
    for _ in range(30):
        assert write_frame(post.write_fd, data)
        post.read()
    assert abs(post.view.count_waiting() - 16_000) < 20
    post.recorder.words[_layout.NEXT] = 1 << 40
    assert post.view.count_waiting() == 0
    post.close()


def test_a_drop_never_shows_in_what_is_left(post: Post) -> None:
    post.send(10)
    post.read()
    post.drop(4)

    assert Counter(numbers(post.view.queued_frames())) == Counter(range(4, 10))
