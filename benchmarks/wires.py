"""
What one exchange of a small message costs on other wires, written by hand without a codec, beside the two ends of a ``Pipe``.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import mmap
import os
import select
import socket
import time
from collections.abc import Callable, Iterator

import attrs

from benchmarks._rounds import Row, arguments, report, take_turns

EXCHANGES = 5000
MESSAGE = b"\x00\x00\x00\x0cadd some one"
END = b"end"
LOOKS = 64
LARGE_PIPE_BYTES = 1 << 20


@attrs.frozen
class Wire:
    """
    One way to send a message and wait for the next, in either direction.

    Attributes:
        send: Sends one.
        receive: Waits for one and returns it.
    """

    send: Callable[[bytes], object]
    receive: Callable[[], bytes]


Ends = tuple[Wire, Wire]
"""The two ends of a wire."""


def pipes(wait: Callable[[int], Callable[[], object]] | None = None, size: int | None = None) -> Ends:
    """
    Two pipes, one each way.

    Args:
        wait: Makes what is called before a read of a descriptor; None: the read blocks.
        size: Of each pipe, in bytes; None: as the kernel makes them.
    """
    there, back = os.pipe(), os.pipe()
    return _ends(there[0], back[1], wait, size), _ends(back[0], there[1], wait, size)


def _ends(read: int, write: int, wait: Callable[[int], Callable[[], object]] | None, size: int | None) -> Wire:
    if size is not None:
        fcntl.fcntl(read, fcntl.F_SETPIPE_SZ, size)
    send, receive = functools.partial(os.write, write), functools.partial(os.read, read, 4096)
    if wait is None:
        return Wire(send, receive)
    waits = wait(read)

    def wait_and_receive() -> bytes:
        waits()
        return receive()

    return Wire(send, wait_and_receive)


def sockets(kind: int) -> Ends:
    """A pair of sockets, as a duplex ``multiprocessing.Pipe`` has them."""
    one, other = socket.socketpair(socket.AF_UNIX, kind)
    for each in (one, other):
        each.setblocking(True)
    return _socket_end(one), _socket_end(other)


def _socket_end(end: socket.socket) -> Wire:
    return Wire(end.send, functools.partial(end.recv, 4096))


def memory_and_eventfd() -> Ends:
    """Shared memory for the message, and a descriptor that does nothing but wake."""
    shared = mmap.mmap(-1, 2 * mmap.PAGESIZE)
    there, back = os.eventfd(0), os.eventfd(0)
    return _memory_end(shared, 0, there, mmap.PAGESIZE, back), _memory_end(shared, mmap.PAGESIZE, back, 0, there)


def _memory_end(shared: mmap.mmap, reads_at: int, woken: int, writes_at: int, wakes: int) -> Wire:
    def send(message: bytes) -> None:
        shared[writes_at : writes_at + len(message) + 1] = bytes([len(message)]) + message
        os.eventfd_write(wakes, 1)

    def receive() -> bytes:
        os.eventfd_read(woken)
        return shared[reads_at + 1 : reads_at + 1 + shared[reads_at]]

    return Wire(send, receive)


def poll_first(descriptor: int) -> Callable[[], object]:
    """Sleep in ``poll``."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return poller.poll


def epoll_first(descriptor: int) -> Callable[[], object]:
    """Sleep in ``epoll``."""
    poller = select.epoll()
    poller.register(descriptor, select.EPOLLIN)
    return poller.poll


def look_first(*, give_way: bool) -> Callable[[int], Callable[[], object]]:
    """Look some times before sleeping, and between two looks give way to whoever wants the core, or do not."""

    def wait(descriptor: int) -> Callable[[], object]:
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)

        def look() -> object:
            for _ in range(LOOKS):
                if poller.poll(0):
                    return None
                if give_way:
                    os.sched_yield()
            return poller.poll()

        return look

    return wait


@contextlib.contextmanager
def echoing(ends: Ends, core: int | None = None) -> Iterator[Wire]:
    """The near end of a wire whose far end a process of its own answers; on one *core* with this process if that is given."""
    near, far = ends
    allowed = os.sched_getaffinity(0)
    process = os.fork()
    if process == 0:
        if core is not None:
            os.sched_setaffinity(0, {core})
        while (message := far.receive()) != END:
            far.send(message)
        os._exit(0)
    try:
        yield near
    finally:
        os.sched_setaffinity(0, allowed)
        near.send(END)
        os.waitpid(process, 0)


def exchange(wire: Wire, count: int, core: int | None = None) -> float:
    """Send *count* messages, each after the answer to the one before; microseconds each."""
    allowed = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    began = time.perf_counter()
    for _ in range(count):
        wire.send(MESSAGE)
        wire.receive()
    passed = time.perf_counter() - began
    os.sched_setaffinity(0, allowed)
    return passed / count * 1e6


WIRES: dict[str, Callable[[], Ends]] = {
    "stream sockets, blocking reads (a duplex Pipe)": lambda: sockets(socket.SOCK_STREAM),
    "two pipes, blocking reads": pipes,
    "two pipes of 1 MiB, blocking reads": lambda: pipes(size=LARGE_PIPE_BYTES),
    "two pipes, poll before each read": lambda: pipes(poll_first),
    "two pipes, epoll before each read": lambda: pipes(epoll_first),
    "two pipes, 64 looks that give way, then poll": lambda: pipes(look_first(give_way=True)),
    "two pipes, 64 looks that do not, then poll": lambda: pipes(look_first(give_way=False)),
    "packet sockets, blocking reads": lambda: sockets(socket.SOCK_SEQPACKET),
    "shared memory, woken by eventfd": memory_and_eventfd,
}


def main() -> None:
    chosen = arguments(__doc__)
    count = chosen.scaled(EXCHANGES)
    core, *_, other_core = sorted(os.sched_getaffinity(0)) * 2
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(echoing(make())) for make in WIRES.values()]
        near = stack.enter_context(echoing(pipes(), core))
        far = stack.enter_context(echoing(pipes(), other_core))
        sides = [functools.partial(exchange, wire, count) for wire in wires]
        sides += [functools.partial(exchange, wire, count, core) for wire in (near, far)]
        first, *others = take_turns(chosen.rounds, *sides)
    names = [*WIRES, "two pipes, blocking reads, both on one core", "two pipes, blocking reads, on two cores"]
    rows = [Row(other, "sockets", "us", numbers, first) for other, numbers in zip(names[1:], others, strict=True)]
    report(chosen, [Row(names[0], None, "us", first), *rows])


if __name__ == "__main__":
    main()
