"""Actors that put and get. A module of its own, so that a child process imports no test."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from actors import Actor, ActorsError, Channel, ChannelClosedError, ChannelEmptyError, handler
from actors.mailbox import _layout as at

__all__ = ["Consumer", "LastGetter", "get_until_refused"]


class Consumer(Actor):
    """Puts into one channel, gets from another."""

    def __init__(self, source: Channel[Any] | None = None) -> None:
        super().__init__()
        self.source = source

    def on_start(self) -> None:
        self.kept: list[Any] = []

    @handler
    def put_range(self, target: Channel[Any], start: int, stop: int) -> None:
        for number in range(start, stop):
            target.put(number)

    @handler
    def put(self, target: Channel[Any], item: Any) -> None:
        target.put(item)

    @handler
    def get(self, source: Channel[Any], timeout: float | None = None) -> Any:
        return source.get(timeout=timeout)

    @handler
    def get_own(self) -> Any:
        assert self.source is not None
        return self.source.get(timeout=20)

    @handler
    def hold(self, source: Channel[Any], told: Channel[Any]) -> None:
        """Get one, say which, and never be done with it."""
        told.put((os.getpid(), source.get()))
        threading.Event().wait()

    @handler
    def pass_on(self, source: Channel[Any], target: Channel[Any]) -> int:
        """Whatever comes, put it into another channel, with this process's pid."""
        count = 0
        for item in source:
            target.put((os.getpid(), item))
            count += 1
        return count

    @handler
    def sum_up(self, source: Channel[Any]) -> int:
        return sum(source)

    @handler
    def die_of(self, source: Channel[Any]) -> None:
        source.get()
        os.kill(os.getpid(), signal.SIGKILL)

    @handler
    def work(self, source: Channel[Any], target: Channel[Any], batch: int) -> None:
        """A joinable channel, so many items at a time."""
        while True:
            try:
                items = [source.get() for _ in range(batch)]
            except ChannelClosedError:
                return
            for item in items:
                target.put(item)
                source.task_done()

    @handler
    def make(self, maxsize: int, items: list[Any]) -> Channel[Any]:
        made: Channel[Any] = self.channel(maxsize, "made")
        for item in items:
            made.put(item)
        return made

    @handler
    def make_closed(self, items: list[Any]) -> Channel[Any]:
        made: Channel[Any] = self.make(len(items), items)
        made.close()
        return made

    @handler
    def hold_own(self, told: Channel[Any]) -> None:
        """As hold, with the channel that the constructor was given."""
        assert self.source is not None
        self.hold(self.source, told)

    @handler
    def leave(self, source: Channel[Any], how: str) -> None:
        """Get one, and be gone with it, with exit code 0; or stay, with a thread that holds it and does not end."""
        if how == "thread":
            got = threading.Event()

            def hold() -> None:
                source.get()
                got.set()
                threading.Event().wait()

            threading.Thread(target=hold, daemon=True).start()
            got.wait()
            return
        source.get()
        if how == "sys.exit":
            sys.exit(0)
        os._exit(0)

    @handler
    def get_until_refused(self, source: Channel[Any]) -> tuple[list[Any], str, str]:
        return get_until_refused(source)

    @handler
    def task_done(self, source: Channel[Any]) -> None:
        source.task_done()

    @handler
    def forget_channels(self) -> None:
        """Let go of those that linger, as time does."""
        process: Any = self._context._process  # type: ignore[union-attr]
        process.directory.channels._recent.clear()
        gc.collect()

    @handler
    def scribble(self, channel: Channel[Any]) -> None:
        """Write junk over everything that this channel has."""
        assert channel._end is not None
        channel.put("mine")
        end = channel._end
        os.write(end._full, b"\xee" * 1000)
        os.write(end._free, b"\xee" * 1001)
        size = end._layout.mapped_bytes
        end._memory[4096:size] = b"\xee" * (size - 4096)

    @handler
    def put_shared(self, target: Channel[Any], size: int, value: float) -> None:
        """Put an array in shared memory, and let go of it."""
        shared = self.shared_array(size)
        shared.array[:] = value
        target.put(shared)

    @handler
    def get_in_thread(self, source: Channel[Any]) -> Any:
        """Get one in a thread that ends."""
        got: list[Any] = []
        thread = threading.Thread(target=lambda: got.append(source.get(timeout=20)))
        thread.start()
        thread.join()
        return got.pop()

    @handler
    async def get_from_coroutines(self, source: Channel[Any], count: int) -> list[Any]:
        """Get some by way of another thread, and say of each that it is done with."""
        got = []
        for _ in range(count):
            got.append(await asyncio.to_thread(source.get, timeout=20))
            source.task_done()
        return got

    @handler
    def wait_in(self, what: str, channel: Channel[Any], told: Channel[Any]) -> None:
        """Say that it begins, and wait in a method of a channel for what does not come."""
        told.put(what)
        getattr(channel, what)(*((0,) if what == "put" else ()))

    @handler
    def note_progress(self, channel: Channel[Any]) -> list[bool]:
        """Whether the watchdog sees progress of: a put, a get, a get in another thread, a get that gets nothing."""
        process: Any = self._context._process  # type: ignore[union-attr]
        times = process.recorder.times

        def seen(action: Callable[[], object]) -> bool:
            times[at.PROGRESS] = 0.0
            action()
            return bool(times[at.PROGRESS])

        def get_in_thread() -> None:
            thread = threading.Thread(target=channel.get)
            thread.start()
            thread.join()

        def get_nothing() -> None:
            with contextlib.suppress(ChannelEmptyError):
                channel.get(block=False)

        found = [seen(lambda: channel.put(1)), seen(channel.get)]
        channel.put(2)
        return [*found, seen(get_in_thread), seen(get_nothing)]

    @handler
    def leave_room(self, kind: str, size: int) -> None:
        """From now on, have so much memory more, or so many descriptors more, and nothing beyond."""
        if kind == "descriptors":
            limit, used = resource.RLIMIT_NOFILE, max(map(int, os.listdir("/proc/self/fd"))) + 1
        else:
            limit, used = (
                resource.RLIMIT_AS,
                int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize(),
            )
        resource.setrlimit(limit, (used + size, used + size))

    @handler
    def echo(self, value: Any) -> Any:
        return value

    @handler
    def pid_of(self) -> int:
        return os.getpid()


def get_until_refused(source: Channel[Any]) -> tuple[list[Any], str, str]:
    """Get as many as one may hold, and say which, and what comes then."""
    got = []
    try:
        while True:
            got.append(source.get(timeout=20))
    except ActorsError as error:
        return got, type(error).__name__, str(error)


class LastGetter(Consumer):
    """Gets one more at its end."""

    def on_stop(self, reason: Any) -> None:
        assert self.source is not None
        self.kept.append((reason, self.source.get(timeout=20)))
