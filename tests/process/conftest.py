"""Every test in this folder starts processes, and must leave none of anything behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from actors import ActorSystem
from actors._zygote import zygote
from examples.counter import Counter
from tests.helpers import eventually
from tests.leaks import Snapshot


@pytest.fixture
def helpers_are_running() -> None:
    """See that the forkserver and whatever else serves all systems of this process runs, so that it is in each test's first picture."""
    if zygote.pid is not None:
        return
    with ActorSystem() as system:
        system.spawn(Counter())


@pytest.fixture(autouse=True)
def nothing_is_left(helpers_are_running: None) -> Iterator[None]:
    """No process, zombie, descriptor, shared memory or thread more than before, a few seconds after the test."""
    before = Snapshot.take()
    yield
    eventually(lambda: not before.leaks(), 5.0, state=before.leaks, what="everything of the test is gone")
