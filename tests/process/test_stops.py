"""Who may stop a system, when, and how often: signal handlers and other threads in the middle of a stop, or of a start."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from actors import ActorRef, ActorSystem, DeadLetter, MailboxFullError, SpecError, StartError, Supervisor, child
from tests.helpers import eventually, wait_for_file
from tests.troupe import Worker

SECONDS = 20.0


def tree(count: int = 1, **options: Any) -> Supervisor:
    children = [child(Worker(), name=f"w{number}", **{"shutdown": SECONDS, **options}) for number in range(count)]
    return Supervisor("app", children=children)


def is_stopping(system: ActorSystem) -> bool:
    return any(actor.state == "stopping" for actor in system.actors())


def handlers() -> list[Any]:
    return [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]


@contextmanager
def handling(number: signal.Signals, action: Callable[[], object]) -> Iterator[None]:
    """A program with a signal handler of its own."""
    before = signal.signal(number, lambda *_: action())
    try:
        yield
    finally:
        signal.signal(number, before)


@contextmanager
def meanwhile(action: Callable[[], object]) -> Iterator[None]:
    """Do something in another thread."""
    thread = threading.Thread(target=action)
    thread.start()
    try:
        yield
    finally:
        thread.join(SECONDS)
    assert not thread.is_alive()


def test_a_signal_handler_stops_the_system_in_the_middle_of_its_stop(start_method: Any) -> None:
    system = ActorSystem(tree(), start_method=start_method)
    letters: list[DeadLetter] = []

    def interrupt() -> None:
        eventually(lambda: is_stopping(system), SECONDS)
        os.kill(os.getpid(), signal.SIGUSR1)

    with handling(signal.SIGUSR1, system.stop), system:
        system.subscribe_dead_letters(letters.append)
        for _ in range(10):
            system.whereis("w0").tell(Worker.wait, 0.2)
        with meanwhile(interrupt):
            system.stop(drain=True)

    assert {"stopping"} == {letter.reason for letter in letters}
    assert not system.is_running()


def test_a_stop_at_once_is_heard_while_another_thread_drains(start_method: Any) -> None:
    letters: list[DeadLetter] = []
    with ActorSystem(tree(), start_method=start_method) as system:
        system.subscribe_dead_letters(letters.append)
        for _ in range(10):
            system.whereis("w0").tell(Worker.wait, 0.2)
        with meanwhile(lambda: system.stop(drain=True)):
            eventually(lambda: is_stopping(system), SECONDS)
            system.stop()
            assert not system.is_running()

    assert {"stopping"} == {letter.reason for letter in letters}


# --- signals=True -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_drains_and_a_second_one_of_either_kind_stops_at_once(
    first: signal.Signals, second: signal.Signals, start_method: Any
) -> None:
    letters: list[DeadLetter] = []
    with ActorSystem(tree(), start_method=start_method, signals=True) as system:
        system.subscribe_dead_letters(letters.append)
        for _ in range(10):
            system.whereis("w0").tell(Worker.wait, 0.2)
        os.kill(os.getpid(), first)
        eventually(lambda: is_stopping(system), SECONDS)
        os.kill(os.getpid(), second)
        eventually(lambda: not system.is_running(), SECONDS)

    assert {"stopping"} == {letter.reason for letter in letters}


def test_the_handlers_of_before_are_back_when_it_has_stopped(start_method: Any) -> None:
    before = handlers()
    with ActorSystem(tree(), start_method=start_method, signals=True):
        during = handlers()
        assert before != during
    assert before == handlers()


@pytest.mark.parametrize("signals", [False, True])
def test_the_handlers_of_before_are_back_when_run_forever_returns(signals: bool, start_method: Any) -> None:
    before = handlers()
    system = ActorSystem(tree(), start_method=start_method, signals=signals)

    def end() -> None:
        eventually(lambda: system._signals.is_ready, SECONDS)
        assert handlers() == [system._signals.handle, system._signals.handle]
        os.kill(os.getpid(), signal.SIGTERM)

    with meanwhile(end):
        system.run_forever()
    assert before == handlers()


def test_a_signal_goes_to_the_handler_of_before_where_another_thread_has_stopped_the_system(start_method: Any) -> None:
    seen: list[str] = []
    before = signal.getsignal(signal.SIGINT)
    with handling(signal.SIGTERM, lambda: seen.append("the program's")):
        first = ActorSystem(tree(), start_method=start_method, signals=True).start()
        second = ActorSystem(tree(), start_method=start_method, signals=True).start()
        for system in (first, second):
            with meanwhile(system.stop):
                pass
        os.kill(os.getpid(), signal.SIGTERM)
        eventually(lambda: seen, SECONDS)
    assert ["the program's"] == seen
    assert before == signal.getsignal(signal.SIGINT)


def _hold(place: str) -> None:
    Path(place).touch()
    threading.Event().wait()


def test_a_fork_of_the_program_is_ended_by_signals_as_if_the_system_were_not_there(
    tmp_path: Path, start_method: Any
) -> None:
    place = str(tmp_path / "begun")
    with ActorSystem(tree(), start_method=start_method, signals=True) as system:
        forked = multiprocessing.get_context("fork").Process(target=_hold, args=(place,))
        forked.start()
        wait_for_file(place)
        forked.terminate()
        forked.join(SECONDS)
        code = forked.exitcode
        forked.kill()
        forked.join()
        assert system.is_running()
    assert -signal.SIGTERM == code


class Slow(Worker):
    """Is never ready, and says in a file that it has begun."""

    def __init__(self, place: str) -> None:
        super().__init__()
        self.place = place

    def on_start(self) -> None:
        _hold(self.place)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_it_starts_makes_the_start_fail(
    number: signal.Signals, tmp_path: Path, start_method: Any
) -> None:
    place = str(tmp_path / "begun")
    before = handlers()
    slow = Supervisor("app", children=[Worker(), child(Slow(place), shutdown=SECONDS)])

    def interrupt() -> None:
        wait_for_file(place)
        os.unlink(place)
        os.kill(os.getpid(), number)

    with meanwhile(interrupt), pytest.raises(StartError, match="was stopped before it was ready"):
        ActorSystem(slow, start_method=start_method, signals=True).start()
    with meanwhile(interrupt):
        ActorSystem(slow, start_method=start_method).run_forever()

    assert before == handlers()


def test_a_signal_before_there_is_anything_to_start_makes_the_start_fail(
    start_method: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = ActorSystem(tree(), start_method=start_method, signals=True)
    make_host = system._make_host

    def interrupted() -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return make_host()

    monkeypatch.setattr(system, "_make_host", interrupted)
    with pytest.raises(StartError, match="was stopped before it was ready"):
        system.start()


def test_no_system_is_left_running_where_its_thread_can_install_no_handlers(start_method: Any) -> None:
    system = ActorSystem(tree(), start_method=start_method, signals=True)
    errors: list[BaseException] = []

    def enter() -> None:
        try:
            system.start()
        except SpecError as error:
            errors.append(error)

    with meanwhile(enter):
        pass
    assert ["signals=True: signal handlers can be installed by the main thread only"] == list(map(str, errors))
    assert not system.is_running()


def test_a_system_that_is_stopped_before_its_threads_run_is_not_started(start_method: Any) -> None:
    system = ActorSystem(tree(), start_method=start_method)
    furnish = system._furnish

    def interrupted(host: Any) -> None:
        furnish(host)
        system.stop()

    system._furnish = interrupted  # type: ignore[method-assign]
    with pytest.raises(StartError, match="was stopped before it was ready"):
        system.start()
    assert not system.is_running()


@pytest.mark.parametrize("deadline", [math.inf, 1e11])
def test_a_deadline_beyond_what_a_clock_counts_is_none(deadline: float, start_method: Any) -> None:
    with ActorSystem(tree(), start_method=start_method, shutdown_deadline=deadline) as system:
        assert 1 == system.whereis("w0").ask(Worker.add, 1).result(timeout=SECONDS)
    assert not system.is_running()


def test_last_messages_that_find_no_room_keep_no_stop_from_its_deadline(start_method: Any) -> None:
    deadline = 1.0
    actors = tree(3, send_timeout=60.0, mailbox_messages=10, shutdown=0.5, term_grace=0.1)
    with ActorSystem(actors, start_method=start_method, shutdown_deadline=deadline) as system:
        for number in range(3):
            _fill(system.whereis(f"w{number}"))
        began = time.monotonic()
    assert time.monotonic() - began < 10 * deadline


def _fill(ref: ActorRef[Any]) -> None:
    """Stop the actor's process, and tell it more than there is room for."""
    os.kill(ref.ask(Worker.pid_of).result(timeout=SECONDS), signal.SIGSTOP)
    impatient = ref.options(send_timeout=0.01)
    with suppress(MailboxFullError):
        while True:
            impatient.tell(Worker.fail, "x" * 2000)
    with suppress(MailboxFullError):
        ref.options(on_full="reject").tell(Worker.add, 1)
