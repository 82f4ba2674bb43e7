"""
The rate of small messages in one direction, written by hand: one by one, read all at once, and many to a frame.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pickle
import struct
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection

import attrs
import msgpack

from benchmarks._rounds import Row, arguments, report, take_turns

MESSAGES = 50_000
MESSAGE = ["add", 1]
TO_A_FRAME = 250
READ_BYTES = 1 << 16
HEADER = struct.Struct("!i")

Send = Callable[[Connection, int], object]
Receive = Callable[[Connection, int], object]


@attrs.frozen
class Stream:
    """
    One way to send so many messages, and to receive them.

    Attributes:
        send: Writes them.
        receive: Returns when it has decoded all of them.
    """

    send: Send
    receive: Receive


def send_each(dumps: Callable[[object], bytes], pipe: Connection, count: int) -> None:
    """One ``send_bytes`` for each message."""
    for _ in range(count):
        pipe.send_bytes(dumps(MESSAGE))


def receive_each(loads: Callable[[bytes], object], pipe: Connection, count: int) -> None:
    """One ``recv_bytes`` for each message."""
    for _ in range(count):
        loads(pipe.recv_bytes())


def send_frames(pipe: Connection, count: int) -> None:
    """One ``send_bytes`` for many messages."""
    for start in range(0, count, TO_A_FRAME):
        pipe.send_bytes(b"".join([msgpack.packb(MESSAGE) for _ in range(min(TO_A_FRAME, count - start))]))


def receive_frames(pipe: Connection, count: int) -> None:
    """One ``recv_bytes`` for many messages."""
    unpacker = msgpack.Unpacker()
    while count:
        unpacker.feed(pipe.recv_bytes())
        count -= sum(1 for _ in unpacker)


def receive_all_there_is(pipe: Connection, count: int) -> None:
    """One read for all that is there, whole frames or parts of them."""
    rest = b""
    while count:
        data, place = rest + os.read(pipe.fileno(), READ_BYTES), 0
        while place + HEADER.size <= len(data):
            end = place + HEADER.size + HEADER.unpack_from(data, place)[0]
            if end > len(data):
                break
            msgpack.unpackb(data[place + HEADER.size : end])
            place, count = end, count - 1
        rest = data[place:]


_each_packed = functools.partial(send_each, msgpack.packb)

STREAMS = {
    "msgpack, send_bytes and recv_bytes": Stream(_each_packed, functools.partial(receive_each, msgpack.unpackb)),
    "pickle, send_bytes and recv_bytes": Stream(
        functools.partial(send_each, pickle.dumps), functools.partial(receive_each, pickle.loads)
    ),
    "msgpack, send_bytes, and a reader that takes all that is there": Stream(_each_packed, receive_all_there_is),
    f"msgpack, {TO_A_FRAME} messages to a send_bytes": Stream(send_frames, receive_frames),
}


@contextlib.contextmanager
def receiving(stream: Stream) -> Iterator[tuple[Connection, Connection]]:
    """A process that receives as many messages as it is told to and says when it has: where to send to, and where it says so."""
    there, back = os.pipe(), os.pipe()
    process = os.fork()
    if process == 0:
        source, answers = Connection(there[0]), Connection(back[1])
        while count := int(source.recv_bytes()):
            stream.receive(source, count)
            answers.send_bytes(b"all")
        os._exit(0)
    target, answers = Connection(there[1]), Connection(back[0])
    try:
        yield target, answers
    finally:
        target.send_bytes(b"0")
        os.waitpid(process, 0)


def rate(stream: Stream, ends: tuple[Connection, Connection], count: int) -> float:
    """Send *count* messages and wait until all are decoded; thousands a second."""
    target, answers = ends
    began = time.perf_counter()
    target.send_bytes(b"%d" % count)
    stream.send(target, count)
    answers.recv_bytes()
    return count / (time.perf_counter() - began) / 1e3


def main() -> None:
    chosen = arguments(__doc__)
    count = chosen.scaled(MESSAGES)
    with contextlib.ExitStack() as stack:
        ends = [stack.enter_context(receiving(stream)) for stream in STREAMS.values()]
        sides = [
            functools.partial(rate, stream, end, count) for stream, end in zip(STREAMS.values(), ends, strict=True)
        ]
        first, *others = take_turns(chosen.rounds, *sides)
    name, *names = STREAMS
    rows = [Row(other, "one by one", "k/s", numbers, first) for other, numbers in zip(names, others, strict=True)]
    report(chosen, [Row(name, None, "k/s", first), *rows])


if __name__ == "__main__":
    main()
