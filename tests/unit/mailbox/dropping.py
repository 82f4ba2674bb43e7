"""A mailbox whose process drops, moves, dies and is settled: for the tests of the queue and of its model."""

from __future__ import annotations

import contextlib
import os

import attrs

from actors.mailbox._frames import pack_frames
from actors.mailbox._inbox import make_inbox, pipe_capacity, write_frame
from actors.mailbox._layout import OFFSET_MASK
from actors.mailbox._queue import Queue
from actors.mailbox._recorder import Recorder, create_recorder
from actors.mailbox._recorder_view import RecorderView

_NUMBER = slice(2, 6)


def message(number: int, length: int = 6) -> bytes:
    """A message that says its own length (2 bytes) and number (4 bytes)."""
    return length.to_bytes(2, "big") + number.to_bytes(4, "big") + bytes(length - 6)


def split(body: bytes) -> list[bytes]:
    found = []
    while body:
        length = int.from_bytes(body[:2], "big")
        found.append(body[:length])
        body = body[length:]
    return found


def numbers(bodies: list[bytes] | tuple[bytes, ...]) -> list[int]:
    return [int.from_bytes(data[_NUMBER], "big") for body in bodies for data in split(body)]


@attrs.define
class Post:
    """
    One actor's mailbox and both sides of it.

    Attributes:
        handled: What was handled, in order.
        told: Of which it was told that they were dropped.
        flight: Where the message in flight began and ended when it was begun, or None.
    """

    fd: int
    read_fd: int
    write_fd: int
    recorder: Recorder
    queue: Queue
    view: RecorderView
    handled: list[int] = attrs.Factory(list)
    told: list[int] = attrs.Factory(list)
    flight: tuple[int, int] | None = None
    sent: int = 0

    @classmethod
    def make(cls, *, mailbox_bytes: int = 1, pipe_bytes: int = 4096) -> Post:
        read_fd, write_fd = make_inbox(pipe_bytes)
        fd = create_recorder(mailbox_bytes=mailbox_bytes, pipe_bytes=pipe_capacity(read_fd), reply_bytes=16384)
        recorder = Recorder(fd)
        return cls(fd, read_fd, write_fd, recorder, Queue(recorder), RecorderView(fd))

    def send(self, count: int, length: int = 6) -> bool:
        """One frame of so many messages; False if the pipe has no room for it."""
        (data,) = pack_frames([message(number, length) for number in range(self.sent, self.sent + count)])
        if not write_frame(self.write_fd, data):
            return False
        self.sent += count
        return True

    def read(self) -> bool:
        return self.recorder.fill(self.read_fd)

    def begin(self) -> int | None:
        """Begin with the next message and return its number; None where none waits."""
        found = self.recorder.next_frame()
        if found is None:
            return None
        offset, body = found
        data = split(body)[0]
        self.recorder.begin(offset)
        self.flight = offset, offset + len(data)
        return numbers([data])[0]

    def finish(self, number: int) -> None:
        assert self.flight is not None
        self.handled.append(number)
        stop, self.flight = self.flight[1], None
        self.recorder.finish(stop)

    def serve(self, count: int = 1 << 30) -> None:
        """What the loop of an actor does, until so many are handled or nothing is left."""
        while count > 0:
            number = self.begin()
            if number is not None:
                self.finish(number)
                count -= 1
                continue
            self.recorder.reset_if_empty()
            if not self.read():
                return

    @property
    def flight_stop(self) -> int:
        if self.flight is None:
            return 0
        # An actor knows where the message in flight ends by where it stood when it was begun.
        stop = self.recorder.frame_bits + self.flight[1] & OFFSET_MASK
        assert stop - self.recorder.in_flight == self.flight[1] - self.flight[0]
        return stop

    @property
    def waiting(self) -> list[int]:
        return numbers([body for _, _, body in self.queue.pieces(self.queue.first(self.flight_stop))])

    def place(self, skip: int) -> int:
        """Where the message stands that has so many waiting before it."""
        for start, offset, body in list(self.queue.pieces(self.queue.first(self.flight_stop))):
            at = offset
            for data in split(body):
                if not skip:
                    return start << 32 | at
                skip -= 1
                at += len(data)
        return self.queue.last()

    def drop(self, count: int) -> bool:
        """Drop the oldest, as an actor does; False where they cannot be taken out behind the message in flight."""
        keep, stop = self.place(count), self.flight_stop
        if stop and not self.queue.can_take_out(stop, keep):
            return False
        doomed = self.waiting[:count]
        self.queue.begin_drop(self.queue.first(stop), keep, len(doomed))
        self.told += doomed
        self.queue.commit_drop(stop)
        return True

    def make_room(self) -> bool:
        return self.queue.make_room(self.flight_stop)

    def die(self, *, again: bool = False) -> list[int]:
        """The process is killed and another one begins; which message was in flight, if it is not handled again."""
        self.recorder.close()
        settled = self.view.settle()
        if settled.dropping:
            self.told += numbers(settled.dropping)
            self.view.finish_drop()
            settled = self.view.settle()
        flight = []
        if settled.in_flight is not None:
            first = split(settled.in_flight)[0]
            if again:
                self.view.redeliver_in_flight()
            else:
                flight = numbers([first])
                self.view.skip_in_flight(len(first))
        self.recorder = Recorder(self.fd)
        self.queue, self.flight = Queue(self.recorder), None
        return flight

    def close(self) -> None:
        self.view.close()
        with contextlib.suppress(ValueError):  # released already
            self.recorder.close()
        for fd in (self.fd, self.read_fd, self.write_fd):
            os.close(fd)
