"""Functions for pools, which their workers import."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

PRIMES = [112272535095293, 112582705942171, 115280095190773, 115797848077099]


def square(number: int) -> int:
    return number * number


def multiply(left: int, right: int = 2) -> int:
    return left * right


def is_prime(number: int) -> bool:
    """The function of the documentation of ``ProcessPoolExecutor``, with a smaller end."""
    if number % 2 == 0:
        return False
    return all(number % divisor for divisor in range(3, min(math.isqrt(number), 2000) + 1, 2))


def own_pid(_item: object = None) -> int:
    return os.getpid()


def refuse(text: str) -> NoReturn:
    raise ValueError(text)


def refuse_odd(number: int) -> int:
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number


def die_of(number: int, deadly: int) -> int:
    if number == deadly:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def die_of_three(number: int) -> int:
    return die_of(number, 3)


def die_once(path: str) -> str:
    """Die the first time."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return "the second time"
    os.kill(os.getpid(), signal.SIGKILL)
    return "never"


def leave(code: int) -> None:
    sys.exit(code)


def wait_for_ever() -> None:
    threading.Event().wait()


def read(path: str) -> str:
    """Return what somebody writes into the fifo *path*."""
    return Path(path).read_text()


def read_or(path: str | None) -> str:
    return "" if path is None else read(path)


def lock() -> Any:
    return threading.Lock()


def read_beside(path: str, data: bytes) -> int:
    """Wait for what somebody writes into the fifo *path*; how much *data* there is."""
    Path(path).read_text()
    return len(data)


def zeros(size: int) -> bytes:
    return bytes(size)


def note(folder: str, number: int) -> int:
    """Leave a mark for each time that this is called with *number*."""
    with Path(folder, str(number)).open("ab") as file:
        file.write(b"x")
    return number


def note_slowly(folder: str, number: int) -> int:
    """The same, and be at it for about two milliseconds."""
    note(folder, number)
    until = time.monotonic() + 0.002
    while time.monotonic() < until:
        pass
    return number


class LostError(Exception):
    """Cannot be made again: its arguments are not those of its ``__init__``."""

    def __init__(self, left: int, right: int) -> None:
        super().__init__(f"{left} and {right}")


class OwnError(Exception):
    pass


class FrozenError(Exception):
    """Refuses every attribute, as the exceptions of frozen classes do."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name} cannot be set")


def raise_frozen() -> NoReturn:
    raise FrozenError("all", "of it")


def raise_because_frozen() -> NoReturn:
    try:
        raise_frozen()
    except FrozenError as error:
        raise OwnError("in consequence") from error


class Shy:
    """Neither travels nor is shown."""

    def __reduce__(self) -> NoReturn:
        raise FrozenError("no")

    def __repr__(self) -> str:
        raise SystemExit(5)


def shy() -> Shy:
    return Shy()


def raise_lost() -> NoReturn:
    raise LostError(1, 2)


def raise_own() -> NoReturn:
    raise OwnError("mine", 7)


class Unreadable:
    def __reduce__(self) -> Any:
        return refuse, ("cannot be read",)


def unreadable() -> Unreadable:
    return Unreadable()


def double(array: Any) -> Any:
    array *= 2
    return array


SHARED: list[Any] = []


def share(*things: Any) -> None:
    SHARED[:] = things


def use_shared(number: int) -> int:
    gate, counter = SHARED
    with gate:
        counter.value += number
    return number


def shared() -> list[Any]:
    return SHARED


def shared_size(_item: object = None) -> int:
    return len(SHARED[0])


def fail_to_begin() -> NoReturn:
    raise RuntimeError("no licence")


def exit_to_begin() -> NoReturn:
    os._exit(3)


def squares_in_a_pool(numbers: list[int]) -> list[int]:
    from actors import ActorExecutor

    with ActorExecutor(1) as executor:
        return list(executor.map(square, numbers))


def use(executor: Any) -> Any:
    return executor.submit(own_pid).result()


def use_what_is_shared() -> Any:
    return use(SHARED[0])


class Leaving(Exception):
    """Ends whoever reads it, or tries to."""

    def __reduce__(self) -> Any:
        return sys.exit, (4,)


def leaving() -> Leaving:
    return Leaving()


def raise_leaving() -> NoReturn:
    raise Leaving


def raise_chained() -> NoReturn:
    try:
        divmod(1, 0)
    except ZeroDivisionError as error:
        found = ValueError("in consequence")
        found.add_note("a note")
        raise found from error
    raise AssertionError


def raise_of_kind(kind: type[BaseException]) -> NoReturn:
    raise kind("whatever")


def fork_and_come_back() -> str:
    """Return twice: in a fork, too."""
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
    return "parent" if pid else "child"


def children_of_all_kinds() -> tuple[int | None, list[int]]:
    import multiprocessing

    process = multiprocessing.get_context("fork").Process(target=own_pid)
    process.start()
    process.join()
    found: list[int] = []
    thread = threading.Thread(target=found.append, args=(7,))
    thread.start()
    thread.join()
    return process.exitcode, found


class Adder:
    """Has a method and is callable."""

    def __init__(self, number: int) -> None:
        self.number = number

    def add(self, other: int) -> int:
        return self.number + other

    __call__ = add
