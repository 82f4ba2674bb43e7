from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import io
import multiprocessing
import queue
import socket
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actors import ActorSystem, EncodeError, Reply
from actors.mailbox._codec import encode
from tests.troupe import Worker


class Holder:
    def method(self) -> None: ...


ADVICE: list[tuple[object, bool, str]] = [
    (lambda: 1, False, "function .* no code; send what the code is to work on, and have a handler do it.*tasks.run"),
    (functools.partial(print, 1), False, "functools.partial .* no code; send what the code is to work on"),
    (Holder().method, False, "method .* no code; send what the code is to work on"),
    (len, False, "builtin_function_or_method .* no code; send what the code"),
    (lambda: 1, True, "no name at the top of a module, but .*<lambda>'; define it there, with def or class"),
    (functools.partial(print, 1), True, "keep the function, which goes by its name, and its arguments apart"),
    (Holder().method, True, "it would take its object along; give a function at the top level"),
    (functools.partialmethod(print), True, "no code; send what the code is to work on"),
    (Holder, False, "no classes; send its name, or a member of an Enum"),
    ((number for number in range(1)), False, "its items are not there yet; send a list of them, or stream them"),
    (ValueError("x"), False, "send its text; what a handler raises reaches whoever asked as a HandlerError"),
    (Worker(), False, "an actor is reached by its ref: send that"),
    (io.BytesIO, False, "no classes; send its name"),
    (io.StringIO(), False, "the codec does not know this type; send plain values"),
    (Holder(), False, "the codec does not know this type; send plain values, or mark"),
]


async def nothing() -> None: ...


def test_a_coroutine_is_to_be_awaited_first() -> None:
    coroutine = nothing()

    with pytest.raises(EncodeError, match="coroutine .* it has not run yet; await it, and send what it returns"):
        encode(coroutine)
    coroutine.close()


def test_a_file_of_the_disk_belongs_to_its_process(tmp_path: Path) -> None:
    with (tmp_path / "x").open("w") as file, pytest.raises(EncodeError, match=r"held\[0\].*TextIOWrapper.* on_start"):
        encode([file], what="held")


# With "fork" a lock needs no process that keeps track of it.
FORK = multiprocessing.get_context("fork")
OF_A_PROCESS: list[tuple[Callable[[], Any], str]] = [
    (threading.Lock, "lock .* belongs to the process that made it; make it where it is used, in on_start"),
    (threading.RLock, "RLock .* make it where it is used, in on_start"),
    (threading.Event, "Event .* make it where it is used, in on_start"),
    (threading.Thread, "Thread .* make it where it is used, in on_start"),
    (FORK.Lock, "Lock .* make it where it is used, in on_start"),
    (multiprocessing.Process, "Process .* make it where it is used, in on_start"),
    (socket.socket, "socket .* make it where it is used, in on_start"),
    (lambda: sqlite3.connect(":memory:"), "Connection .* make it where it is used, in on_start"),
    (queue.Queue, r"Queue .* a queue that travels is a channel: system.channel\(\)"),
    (queue.SimpleQueue, "SimpleQueue .* a queue that travels is a channel"),
    (asyncio.Queue, "Queue .* a queue that travels is a channel"),
    (FORK.SimpleQueue, "SimpleQueue .* has its ends in one process; a queue that travels is a channel"),
    (lambda: multiprocessing.Pipe()[0], "Connection .* send through a channel, which travels"),
    (concurrent.futures.Future, r"Future .* wait for it and send what came: reply.result\(\)"),
    (lambda: Reply(1, *[None] * 4), r"Reply .* wait for it and send what came: reply.result\(\)"),  # type: ignore[arg-type]
    (ActorSystem, "ActorSystem .* it stays in the process that made it; send the refs of actors"),
]


@pytest.mark.parametrize(("make", "said"), OF_A_PROCESS)
def test_what_belongs_to_its_process_is_refused_with_advice(make: Callable[[], Any], said: str) -> None:
    value = make()
    with pytest.raises(EncodeError, match=said):
        encode(value)
    getattr(value, "close", int)()


@pytest.mark.parametrize(("value", "references", "said"), ADVICE)
def test_a_value_that_cannot_travel_is_refused_with_advice(value: object, references: bool, said: str) -> None:
    with pytest.raises(EncodeError, match=said):
        encode(value, references=references)
