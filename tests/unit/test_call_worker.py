"""What the worker of a pool does with a message of calls, in no process of its own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from actors import _calls
from actors._call_worker import CallWorker

FUNCTION = [*_calls.code_function(len, finds_main=True)]
LARGE = _calls.code_call((bytes(1 << 20),))
BUFFERS = LARGE[2:]


class Life(CallWorker):
    """One process of a worker that exists only here."""

    def __init__(self, *, needs_greeting: bool = False) -> None:
        super().__init__(False, needs_greeting)
        self.given: list[Any] = []
        dispatcher = SimpleNamespace(give=lambda _asked, item: self.given.append(item))
        process = SimpleNamespace(
            flow=SimpleNamespace(asked=lambda: (0, 1)),
            dispatcher=dispatcher,
            attendant=SimpleNamespace(handlers={}),
            is_copy=False,
        )
        self._context: Any = SimpleNamespace(_process=process)
        self.on_start()

    def do(self, name: str, *args: Any) -> Any:
        """Have it handle a message."""
        return type(self)._handlers[name].function(self, *args)


def call_of(coded: list[Any]) -> list[Any]:
    code, data, *beside = coded
    return [0, _calls.CALL, code, data, len(beside)]


def test_what_was_loaded_is_what_the_next_calls_get() -> None:
    life = Life()
    life.do("load", *BUFFERS)
    took = life.do("make", [FUNCTION], [call_of(LARGE)])

    assert took is not None
    assert life.given == [[0, _calls.PLAIN, 1 << 20]]
    assert life.loaded == []


def test_calls_whose_arguments_were_loaded_into_the_process_before_are_not_begun() -> None:
    life = Life()

    assert life.do("make", [FUNCTION], [call_of(_calls.code_call(("",))), call_of(LARGE)]) is None
    assert life.given == []


def test_a_process_that_was_not_greeted_begins_no_call_and_keeps_nothing() -> None:
    life = Life(needs_greeting=True)
    life.do("load", *BUFFERS)

    assert life.do("make", [FUNCTION], [call_of(LARGE)]) is None
    assert (life.given, life.loaded) == ([], [])
