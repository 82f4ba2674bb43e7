"""What an actor that drops its oldest messages leaves behind, wherever it is killed: no slot in use, no ask open, nothing done twice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from actors import _dispatch, _intake, _loop
from actors.mailbox import _arena, _layout, _move, _queue, _recorder
from tests.unit.mailbox.interrupts import interrupted_at
from tests.unit.mortal import Mortal


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


FILES = tuple(module.__file__ for module in (_arena, _dispatch, _intake, _layout, _loop, _move, _queue, _recorder))


class Killed(SystemExit):
    """What nothing in an actor takes for its own."""


def kill() -> None:
    raise Killed


def drop_behind_one(mortal: Mortal, first: int, waiting: list[bytes]) -> None:
    """Drops between messages, and again and again behind one that is being handled."""

    def wait(number: int) -> None:
        if number == first:
            while waiting:
                mortal.write(waiting.pop(0))
                mortal.take()

    mortal.worker.at_work = wait
    mortal.serve()


def test_all(capsys) -> None:
    import time
    step = 1
    began = time.monotonic()
    bad = 0
    while True:
        mortal = Mortal(mailbox_bytes=256)
        mortal.send(100, asks=3, larges=10)
        mortal.send(45, asks=3, larges=10)
        waiting = [mortal.pack(60, asks=3, larges=10) for _ in range(3)]
        died = False
        try:
            died = interrupted_at(step, lambda: drop_behind_one(mortal, 140, waiting), FILES, kill, everywhere=True)
        except Killed:
            died = True
        mortal.worker.at_work = lambda _n: None
        mortal.die()
        mortal.serve()
        for frame in waiting:
            mortal.write(frame)
            mortal.serve()
        try:
            check(mortal, step)
        except AssertionError as e:
            bad += 1
            if bad < 5:
                print(step, e, mortal.reader.in_use(), mortal.lost, mortal.letters)
        mortal.close()
        if not died:
            break
        step += 53
    with capsys.disabled():
        print(step, bad, time.monotonic() - began)
    assert not bad

def check(mortal: Mortal, step: int) -> None:
    handled = mortal.worker.handled
    assert handled == sorted(set(handled)), step
    assert mortal.lost == 0, step
    assert mortal.letters["undecodable"] == 0, step
    told = {number: set(kinds) for number, kinds in mortal.answers.items()}
    assert set(told) == set(range(0, mortal.sent, 3)), step
    assert all(kinds != {"Result"} or number in handled for number, kinds in told.items()), step
    assert all(kinds != {"Dropped"} or number not in handled for number, kinds in told.items()), step
    assert mortal.reader.in_use() == 0, step
