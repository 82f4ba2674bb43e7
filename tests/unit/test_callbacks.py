"""The thread that runs the callbacks of users."""

from __future__ import annotations

import errno
import sys
import weakref
from typing import Any

import pytest

from actors._callbacks import Callbacks
from tests.helpers import eventually


class Thing:
    """What a callback is called with."""


def test_what_a_callback_was_called_with_is_not_held_after_it() -> None:
    callbacks = Callbacks("test-callbacks")
    thing = Thing()
    seen = weakref.ref(thing)
    called: list[str] = []
    callbacks.run(lambda given: called.append(type(given).__name__), thing)
    del thing
    try:
        eventually(lambda: called == ["Thing"])
        eventually(lambda: seen() is None)
    finally:
        callbacks.close(5.0)


class Full:
    """A stream on a disk that is full."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    def flush(self) -> None: ...


@pytest.mark.parametrize("stderr", [Full(), None])
def test_callbacks_go_on_where_what_one_raised_cannot_be_shown(stderr: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stderr)
    callbacks = Callbacks("test-callbacks")
    called: list[str] = []
    callbacks.run(lambda: 1 / 0)
    callbacks.run(called.append, "second")
    try:
        eventually(lambda: called == ["second"])
    finally:
        callbacks.close(5.0)


def test_callbacks_go_on_where_what_raised_cannot_say_what_it_is() -> None:
    class Nameless:
        def __call__(self) -> None:
            raise ValueError

        def __repr__(self) -> str:
            raise ValueError

    callbacks = Callbacks("test-callbacks")
    called: list[str] = []
    callbacks.run(Nameless())
    callbacks.run(called.append, "second")
    try:
        eventually(lambda: called == ["second"])
    finally:
        callbacks.close(5.0)
