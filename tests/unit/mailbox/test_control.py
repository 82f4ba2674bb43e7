"""Notices arrive whole and in order, whatever interrupts the thread that sends them."""

from __future__ import annotations

import errno
import os
import resource
import socket
import threading
from collections.abc import Iterator

import pytest

from actors.errors import ProtocolError
from actors.mailbox import _control
from actors.mailbox._control import ControlLane, Notice
from tests.unit.mailbox.interrupts import interrupted_at

FILE = _control.__file__


@pytest.fixture
def lanes() -> Iterator[tuple[ControlLane, ControlLane]]:
    ours, theirs = socket.socketpair()
    pair = ControlLane(ours.detach(), limit=1 << 24), ControlLane(theirs.detach(), limit=1 << 24)
    yield pair
    for lane in pair:
        lane.close()


def received(lane: ControlLane) -> list[Notice]:
    notices, closed = lane.receive()
    assert not closed
    return notices


def drain(ours: ControlLane, theirs: ControlLane) -> list[Notice]:
    """Let all out, and take it."""
    found: list[Notice] = []
    for _ in range(10_000):
        left = ours.flush()
        found += received(theirs)
        if left:
            return found
    raise AssertionError(f"never empty: {ours.pending_bytes} bytes wait")


def test_what_cannot_be_handed_over_altogether_leaves_nothing_open(
    lanes: tuple[ControlLane, ControlLane], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = lanes
    reader, writer = os.pipe()
    made: list[int] = []
    dup = os.dup

    def refuse_the_third(descriptor: int) -> int:
        if len(made) == 2:
            raise OSError(errno.EMFILE, "too many open files")
        made.append(dup(descriptor))
        return made[-1]

    monkeypatch.setattr(os, "dup", refuse_the_third)
    with pytest.raises(OSError, match="too many"):
        ours.send("take", descriptors=[reader, writer, writer])
    for descriptor in made:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)

    monkeypatch.undo()
    ours.send("next")
    assert [notice[0] for notice in drain(ours, theirs)] == ["next"]
    os.close(reader)
    os.close(writer)


def test_a_notice_arrives_with_its_fields_and_descriptors(lanes: tuple[ControlLane, ControlLane]) -> None:
    ours, theirs = lanes
    reader, writer = os.pipe()
    assert ours.send("take", 1, "x", [None], descriptors=[writer])
    os.close(writer)
    [(kind, fields, descriptors)] = received(theirs)

    assert (kind, fields) == ("take", (1, "x", [None]))
    os.write(descriptors[0], b"!")
    assert os.read(reader, 1) == b"!"
    for descriptor in (reader, *descriptors):
        os.close(descriptor)


def test_descriptors_that_find_no_room_on_this_side_are_said_to_be_lost(
    lanes: tuple[ControlLane, ControlLane],
) -> None:
    ours, theirs = lanes
    with open(os.devnull, "rb") as nothing:
        assert ours.send("take", descriptors=[nothing.fileno()])
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        with pytest.raises(ProtocolError, match="descriptors got lost"):
            theirs.receive()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_what_does_not_fit_waits_and_leaves_in_order(lanes: tuple[ControlLane, ControlLane]) -> None:
    ours, theirs = lanes
    sent = [ours.send("load", number, bytes(100_000)) for number in range(20)]

    assert not all(sent)
    assert ours.waits
    assert ours.pending_bytes > 0
    assert [fields[0] for _kind, fields, _passed in drain(ours, theirs)] == list(range(20))
    assert ours.pending_bytes == 0


def test_too_much_that_waits_is_refused(
    lanes: tuple[ControlLane, ControlLane], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = lanes
    monkeypatch.setattr(_control, "PENDING_BYTES", 1_000_000)
    with pytest.raises(ProtocolError, match="wait unread"):
        for number in range(100):
            ours.send("load", number, bytes(100_000))
    assert len(drain(ours, theirs)) > 5


@pytest.mark.parametrize("load", [b"", bytes(300_000)], ids=["small", "larger than the socket"])
def test_an_exception_of_a_signal_handler_at_any_point_breaks_no_frame(load: bytes) -> None:
    for step in range(1, 1000):
        ours_socket, theirs_socket = socket.socketpair()
        ours = ControlLane(ours_socket.detach(), limit=1 << 24)
        theirs = ControlLane(theirs_socket.detach(), limit=1 << 24)
        ours.send("first", 1, load)
        came = interrupted_at(step, lambda: ours.send("second", 2, load), [FILE])  # noqa: B023 - called at once
        ours.send("third", 3, load)
        kinds = [kind for kind, _fields, _passed in drain(ours, theirs)]
        ours.close()
        theirs.close()
        assert kinds in (["first", "second", "third"], ["first", "third"])
        if not came:
            assert kinds == ["first", "second", "third"]
            return
    raise AssertionError("the send never ends")


@pytest.mark.parametrize("load", [b"", bytes(300_000)], ids=["small", "larger than the socket"])
def test_a_send_from_within_a_send_breaks_neither(load: bytes) -> None:
    for step in range(1, 1000):
        ours_socket, theirs_socket = socket.socketpair()
        ours = ControlLane(ours_socket.detach(), limit=1 << 24)
        theirs = ControlLane(theirs_socket.detach(), limit=1 << 24)
        came = interrupted_at(
            step,
            lambda: ours.send("outer", 1, load),  # noqa: B023 - called at once
            [FILE],
            lambda: ours.send("inner", 2),  # noqa: B023 - called at once
        )
        kinds = sorted(kind for kind, _fields, _passed in drain(ours, theirs))
        ours.close()
        theirs.close()
        assert kinds == (["inner", "outer"] if came else ["outer"])
        if not came:
            return
    raise AssertionError("the send never ends")


def test_an_interrupted_send_hands_its_descriptor_over_at_most_once() -> None:
    reader, writer = os.pipe()
    for step in range(1, 1000):
        ours_socket, theirs_socket = socket.socketpair()
        ours = ControlLane(ours_socket.detach(), limit=1 << 24)
        theirs = ControlLane(theirs_socket.detach(), limit=1 << 24)
        came = interrupted_at(step, lambda: ours.send("take", descriptors=[writer]), [FILE])  # noqa: B023 - called at once
        notices = drain(ours, theirs)
        assert [len(passed) for _kind, _fields, passed in notices] in ([1], [])
        for _kind, _fields, passed in notices:
            os.close(passed[0])
        ours.close()
        theirs.close()
        if not came:
            break
    os.close(reader)
    os.close(writer)


def test_threads_that_send_at_the_same_time_do_not_mix(lanes: tuple[ControlLane, ControlLane]) -> None:
    ours, theirs = lanes
    threads = [
        threading.Thread(target=lambda who=who: [ours.send("load", who, number, bytes(1000)) for number in range(200)])
        for who in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [fields[:2] for _kind, fields, _passed in drain(ours, theirs)]

    assert all([number for who, number in found if who == one] == list(range(200)) for one in range(4))


def test_a_lane_whose_other_end_is_closed_takes_what_is_sent_and_forgets_it() -> None:
    ours_socket, theirs_socket = socket.socketpair()
    ours = ControlLane(ours_socket.detach(), limit=1 << 24)
    theirs_socket.close()

    assert ours.send("x")
    assert ours.send("y")
    assert not ours.waits
    ours.close()
