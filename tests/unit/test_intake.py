"""What an actor that drops its oldest messages leaves behind, wherever it is killed: no slot in use, no ask open, nothing done twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from actors import _dispatch, _intake, _loop
from actors.mailbox import _arena, _layout, _move, _queue, _recorder
from tests.unit.mailbox.interrupts import interrupted_at
from tests.unit.mortal import Mortal

# What is raised while a generator is being closed is shown by the interpreter, and goes no further.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

FILES = (
    _arena.__file__,
    _dispatch.__file__,
    _intake.__file__,
    _layout.__file__,
    _loop.__file__,
    _move.__file__,
    _queue.__file__,
    _recorder.__file__,
)


@pytest.fixture
def mortal() -> Iterator[Mortal]:
    made = Mortal(mailbox_bytes=1024)
    yield made
    made.close()


def test_an_actor_knows_where_its_message_in_flight_ends_however_often_it_is_moved(mortal: Mortal) -> None:
    stops: list[tuple[int, int]] = []

    def wait(number: int) -> None:
        if number == 20:
            for _ in range(4):
                stops.append((mortal.process.recorder.in_flight, mortal.loop.flight_stop()))
                mortal.send(200, larges=20)
                mortal.take()
            stops.append((mortal.process.recorder.in_flight, mortal.loop.flight_stop()))

    mortal.worker.at_work = wait
    mortal.send(40)
    mortal.serve()

    lengths = {stop - begin for begin, stop in stops}
    assert len(lengths) == 1
    assert stops[0][0] > stops[-1][0], "it was moved"
    assert mortal.reader.in_use() == 0


class Killed(SystemExit):
    """What nothing in an actor takes for its own."""


def kill() -> None:
    raise Killed


class History:
    """
    An actor that drops its oldest messages, between two of them and again and again behind one, and is killed somewhere.

    Args:
        first: The message behind which it drops.
        redeliver: How often the message that it was killed with comes again.
        tight: Whether each read needs what is left to be moved before.
    """

    def __init__(self, first: int, redeliver: int, *, tight: bool) -> None:
        self.first, self.redeliver = first, redeliver
        self.mortal = (
            Mortal(mailbox_bytes=3072, pipe_bytes=32768, redeliver=redeliver)
            if tight
            else Mortal(mailbox_bytes=256, redeliver=redeliver)
        )
        self.mortal.worker.at_work = self.wait
        load = 500 if tight else 0
        self.mortal.send(40, asks=3, larges=4, load=load)
        self.soon = [self.mortal.pack(26, asks=3, larges=4, load=load)]
        self.waiting = [self.mortal.pack(count, asks=3, larges=4, load=load) for count in (72, 30, 30)]

    def wait(self, number: int) -> None:
        if self.soon:
            self.mortal.write(self.soon.pop())
            self.mortal.due = True
            self.mortal.process.look_up()
        while number == self.first and self.waiting:
            self.mortal.write(self.waiting.pop(0))
            self.mortal.take()

    def run(self, step: int) -> bool:
        """Kill it at place number *step*, and have the next one go on; False if it never came so far."""
        try:
            died = interrupted_at(step, self.mortal.serve, FILES, kill, everywhere=True)
        except Killed:
            died = True
        self.mortal.die()
        self.mortal.serve()
        self.waiting = self.soon + self.waiting
        self.soon = []
        while self.waiting:
            self.mortal.write(self.waiting.pop(0))
            self.mortal.serve()
        self.mortal.die()  # what was dropped is counted
        return died

    def check(self) -> None:
        mortal = self.mortal
        handled = Counter(mortal.worker.handled)
        assert mortal.worker.handled == sorted(handled.elements())
        assert sum(times - 1 for times in handled.values()) <= self.redeliver
        told = {number: set(kinds) for number, kinds in mortal.answers.items()}
        assert set(told) == set(range(0, mortal.sent, 3)), "each ask has ended"
        assert {number for number, kinds in told.items() if "Result" in kinds} <= set(handled)
        # One that comes again may have been handled to its last step before.
        dropped = {number for number, kinds in told.items() if "Dropped" in kinds}
        assert len(dropped & set(handled)) <= self.redeliver
        crashed = sum("Died" in kinds for kinds in told.values()) + mortal.letters["crashed"]
        assert crashed <= 1
        assert mortal.sent - crashed <= len(handled) + mortal.letters["overflow"] <= mortal.sent + self.redeliver
        assert set(mortal.letters) <= {"overflow", "crashed"}
        assert mortal.lost == 0
        assert mortal.reader.in_use() == 0


def kill_at_every(stride: int, first: int, redeliver: int, *, tight: bool) -> None:
    step, died = 1, True
    while died:
        history = History(first, redeliver, tight=tight)
        died = history.run(step)
        try:
            history.check()
        except AssertionError as error:
            raise AssertionError(f"killed at place {step}: {error}") from error
        history.mortal.close()
        step += stride
    assert step > 10_000


def test_a_signal_handler_that_raises_as_messages_are_dropped_loses_none_where_the_handler_goes_on() -> None:
    step, raised = 1, True
    while raised:
        history = History(64, 0, tight=True)
        mortal, take = history.mortal, history.mortal.take

        def take_interrupted(mortal: Mortal = mortal, take: Callable[[], bool] = take, step: int = step) -> bool:
            nonlocal raised
            mortal.take = take  # type: ignore[method-assign]
            raised = interrupted_at(step, take, FILES)
            return take()

        mortal.take = take_interrupted  # type: ignore[method-assign]
        mortal.serve()
        mortal.die()
        try:
            history.check()
        except AssertionError as error:
            raise AssertionError(f"interrupted at place {step}: {error}") from error
        mortal.close()
        step += 3

    assert step > 300


# A tell and an ask, and both where they lie in the arena.
FIRST = [65, 63, 64, 60]


@pytest.mark.parametrize("tight", [False, True], ids=["", "tight"])
@pytest.mark.parametrize(("first", "redeliver"), [(first, first % 2) for first in FIRST])
def test_an_actor_that_is_killed_as_it_drops_leaves_no_slot_in_use_and_no_ask_open(
    first: int, redeliver: int, *, tight: bool
) -> None:
    kill_at_every(389, first, redeliver, tight=tight)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("tight", [False, True], ids=["", "tight"])
@pytest.mark.parametrize("redeliver", [0, 1])
@pytest.mark.parametrize("first", FIRST)
def test_the_same_wherever_it_is_killed(first: int, redeliver: int, *, tight: bool) -> None:
    kill_at_every(7, first, redeliver, tight=tight)
