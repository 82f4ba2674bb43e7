"""
The other side: the same work, written by hand with ``multiprocessing`` and msgpack, as a good programmer would.

Owns the bodies of its processes and how they start: under forkserver, with this module preloaded, and with a main module that costs
nothing to import. Must not know the package that is measured: its forkserver would have to load it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import pickle
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from multiprocessing.queues import Queue
from typing import Any

import msgpack

__all__ = [
    "Twin",
    "answer_each",
    "answer_lengths",
    "asks_in_turn",
    "count_each",
    "finish",
    "idle",
    "look_at_arrays",
    "passes",
    "ping_pong",
    "puts",
    "queue",
    "queue_crowd",
    "queue_twins",
    "run_once",
    "send_bytes",
    "sends",
    "square",
    "start",
    "start_ready",
    "tells",
    "twin",
    "twins",
]

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__])

_STOP = msgpack.packb(["stop"])


class Twin:
    """
    A process by hand, and this end of its pipe.

    Attributes:
        process: The process.
        pipe: Where to talk to it.
    """

    def __init__(self, process: ForkServerProcess, pipe: Connection) -> None:
        self.process = process
        self.pipe = pipe

    def stop(self) -> None:
        """End it, and wait for that."""
        self.pipe.send_bytes(_STOP)
        self.process.join()
        self.process.close()
        self.pipe.close()


def start(body: Callable[..., None], *args: object) -> Twin:
    """Start a process that runs ``body(pipe, *args)``."""
    ours, theirs = _CONTEXT.Pipe()
    process = _CONTEXT.Process(target=body, args=(theirs, *args))
    with _small_main():
        process.start()
    theirs.close()
    return Twin(process, ours)


def start_ready(body: Callable[..., None], *args: object) -> Twin:
    """Start a process that runs ``body(pipe, *args)``, and wait until it says that it is ready."""
    made = start(body, *args)
    made.pipe.recv_bytes()
    return made


def finish(made: Twin) -> Any:
    """Take the one result of a process that ends by itself, and wait for its end."""
    result = msgpack.unpackb(made.pipe.recv_bytes())
    made.process.join()
    made.process.close()
    made.pipe.close()
    return result


def run_once(body: Callable[..., None], *args: object) -> Any:
    """Start a process for one result."""
    return finish(start(body, *args))


@contextlib.contextmanager
def twin(body: Callable[..., None], *args: object) -> Iterator[Twin]:
    """A process that is ready, for the length of a ``with`` block."""
    made = start_ready(body, *args)
    try:
        yield made
    finally:
        made.stop()


@contextlib.contextmanager
def twins(count: int, body: Callable[..., None], *args: object) -> Iterator[list[Twin]]:
    """*count* processes that are ready, for the length of a ``with`` block."""
    with contextlib.ExitStack() as all_of_them:
        yield [all_of_them.enter_context(twin(body, *args)) for _ in range(count)]


@contextlib.contextmanager
def queue_twins(writers: int) -> Iterator[list[Twin]]:
    """One process that reads a queue, and then those that write it."""
    messages = queue()
    with twin(read_queue, messages) as reader, twins(writers, write_queue, messages) as others:
        yield [reader, *others]
    messages.close()


@contextlib.contextmanager
def queue_crowd(readers: int, writers: int, bound: int) -> Iterator[tuple[list[Twin], list[Twin]]]:
    """Processes that read a queue of so many places, and those that write it."""
    messages = _CONTEXT.Queue(bound)
    with twins(readers, read_queue, messages) as getting, twins(writers, write_queue, messages) as putting:
        yield getting, putting
    messages.close()


def queue() -> Queue[Any]:
    """A queue for processes of this module."""
    return _CONTEXT.Queue()


@contextlib.contextmanager
def _small_main() -> Iterator[None]:
    # multiprocessing has each child import the main module, here the benchmark with all it measures: no child would start within
    # 50 ms, and all would hold the memory of both sides.
    main: Any = sys.modules["__main__"]
    hidden = {name: vars(main).pop(name) for name in ("__spec__", "__file__") if name in vars(main)}
    main.__spec__ = None
    try:
        yield
    finally:
        vars(main).update(hidden)


# --- bodies ---------------------------------------------------------------------------------------------------------------


def answer_each(pipe: Connection) -> None:
    """Add up what comes, and answer each message with the sum."""
    pipe.send_bytes(b"ready")
    total = 0
    while (message := msgpack.unpackb(pipe.recv_bytes()))[0] != "stop":
        total += message[1]
        pipe.send_bytes(msgpack.packb(total))


def count_each(pipe: Connection) -> None:
    """Add up what comes, and say the sum where that is asked for."""
    pipe.send_bytes(b"ready")
    total = 0
    while (message := msgpack.unpackb(pipe.recv_bytes()))[0] != "stop":
        if message[0] == "add":
            total += message[1]
        else:
            pipe.send_bytes(msgpack.packb(total))


def answer_lengths(pipe: Connection) -> None:
    """Answer each message with the length of what is in it."""
    pipe.send_bytes(b"ready")
    while (message := msgpack.unpackb(pipe.recv_bytes()))[0] != "stop":
        pipe.send_bytes(msgpack.packb(len(message[1])))


def idle(pipe: Connection) -> None:
    """Be ready, and wait for the end."""
    pipe.send_bytes(b"ready")
    pipe.recv_bytes()


def square(pipe: Connection, number: int) -> None:
    """Give one result, and end."""
    pipe.send_bytes(msgpack.packb(number * number))


def look_at_arrays(pipe: Connection) -> None:
    """Look at each array that comes, and say what was seen."""
    pipe.send_bytes(b"ready")
    # What comes is either the word to stop or a pickle, and recv_bytes() takes both.
    while (data := pipe.recv_bytes()) != _STOP:
        what, array = pickle.loads(data)
        pipe.send(float(array.sum()) if what == "sum" else (float(array[0]), float(array[-1])))


def write_queue(pipe: Connection, messages: Queue[Any]) -> None:
    """Put as many messages as is asked for into a queue."""
    pipe.send_bytes(b"ready")
    while (message := msgpack.unpackb(pipe.recv_bytes()))[0] != "stop":
        item = ["add", bytes(message[2])] if message[2:] else ["add", 1]
        for _ in range(message[1]):
            messages.put(item)


def read_queue(pipe: Connection, messages: Queue[Any]) -> None:
    """Take as many messages as is asked for out of a queue, and say so."""
    pipe.send_bytes(b"ready")
    while (message := msgpack.unpackb(pipe.recv_bytes()))[0] != "stop":
        count = 0
        for _ in range(message[1]):
            _name, _amount = messages.get()
            count += 1
        pipe.send_bytes(msgpack.packb(count))


# --- measured here --------------------------------------------------------------------------------------------------------


def ping_pong(pipe: Connection, count: int) -> float:
    """Exchange *count* messages with :func:`answer_each`; microseconds each."""
    began = time.perf_counter()
    for _ in range(count):
        pipe.send_bytes(msgpack.packb(["add", 1]))
        msgpack.unpackb(pipe.recv_bytes())
    return (time.perf_counter() - began) / count * 1e6


def tells(pipe: Connection, count: int) -> float:
    """Send *count* messages to :func:`count_each` and wait until the last is counted; thousands a second."""
    began = time.perf_counter()
    for _ in range(count):
        pipe.send_bytes(msgpack.packb(["add", 1]))
    pipe.send_bytes(msgpack.packb(["total"]))
    msgpack.unpackb(pipe.recv_bytes())
    return count / (time.perf_counter() - began) / 1e3


def sends(pipe: Connection, what: str, array: Any, times: int) -> float:
    """Send *array* to :func:`look_at_arrays` and wait for the answer, *times* times; MiB a second."""
    began = time.perf_counter()
    for _ in range(times):
        pipe.send((what, array))
        pipe.recv()
    return float(array.nbytes * times / (time.perf_counter() - began) / 2**20)


def asks_in_turn(pipes: Sequence[Connection], count: int) -> float:
    """Exchange *count* messages with several :func:`answer_each`, one after the other; microseconds each."""
    began = time.perf_counter()
    for number in range(count):
        pipe = pipes[number % len(pipes)]
        pipe.send_bytes(msgpack.packb(["add", 1]))
        msgpack.unpackb(pipe.recv_bytes())
    return (time.perf_counter() - began) / count * 1e6


def send_bytes(pipe: Connection, payload: bytes, count: int) -> float:
    """Send *payload* *count* times to :func:`answer_lengths`, each after the answer to the one before; microseconds each."""
    began = time.perf_counter()
    for _ in range(count):
        pipe.send_bytes(msgpack.packb(["take", payload]))
        assert msgpack.unpackb(pipe.recv_bytes()) == len(payload)
    return (time.perf_counter() - began) / count * 1e6


def passes(readers: Sequence[Twin], writers: Sequence[Twin], count: int, size: int = 0) -> float:
    """Have each writer of :func:`queue_crowd` put *count* items, and wait until all are read; thousands a second."""
    began = time.perf_counter()
    for reader in readers:
        reader.pipe.send_bytes(msgpack.packb(["read", count * len(writers) // len(readers)]))
    for writer in writers:
        writer.pipe.send_bytes(msgpack.packb(["write", count, size] if size else ["write", count]))
    for reader in readers:
        msgpack.unpackb(reader.pipe.recv_bytes())
    return len(writers) * count / (time.perf_counter() - began) / 1e3


def puts(twins_of_queue: Sequence[Twin], count: int) -> float:
    """Have each writer of :func:`queue_twins` put *count* messages and wait until all are taken; thousands a second."""
    reader, *writers = twins_of_queue
    began = time.perf_counter()
    reader.pipe.send_bytes(msgpack.packb(["read", count * len(writers)]))
    for writer in writers:
        writer.pipe.send_bytes(msgpack.packb(["write", count]))
    msgpack.unpackb(reader.pipe.recv_bytes())
    return len(writers) * count / (time.perf_counter() - began) / 1e3
