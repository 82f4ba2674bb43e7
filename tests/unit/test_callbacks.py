"""The thread that runs the callbacks of users."""

from __future__ import annotations

import weakref

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
