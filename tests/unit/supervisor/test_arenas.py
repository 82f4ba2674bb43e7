"""The book of a system's arenas."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import actors
from actors.supervisor._arenas import ArenaBook
from actors.supervisor._shares import ShareBook
from tests.unit.mailbox.interrupts import interrupted_at

FILES = {str(Path(actors.__file__).parent / "supervisor" / name) for name in ("_arenas.py", "_shares.py")}
SECONDS = 20.0


def of_arenas() -> tuple[Any, Callable[[], object]]:
    book = ArenaBook(1 << 20, inherit=False)
    arena_id, _descriptor = book.make((0, 0), 1 << 16, 2)
    return book, lambda: book.reader(arena_id)


def of_shares() -> tuple[Any, Callable[[], object]]:
    book = ShareBook()
    number, _descriptor = book.make((0, 0), 1 << 16)
    return book, lambda: book.find(number, (0, 0))


@pytest.mark.parametrize("make", [of_arenas, of_shares])
def test_a_signal_handler_in_the_middle_of_a_look_may_look_as_well(
    make: Callable[[], tuple[Any, Callable[[], object]]],
) -> None:
    book, look = make()
    seen: list[object] = []

    def look_everywhere() -> None:
        step = 1
        while interrupted_at(step, look, FILES, lambda: seen.append(look())):
            step += 1

    # In a thread of its own: who waits for itself waits for ever.
    thread = threading.Thread(target=look_everywhere, daemon=True)
    thread.start()
    thread.join(SECONDS)

    assert not thread.is_alive()
    assert len(seen) > 1
    book.close()
