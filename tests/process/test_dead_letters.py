"""Whatever is not handled is counted once, under the reason that fits, and told to those who want to know."""

from __future__ import annotations

import os
import queue
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actors import (
    Actor,
    ActorNotRunningError,
    ActorRef,
    ActorSystem,
    AskTimeoutError,
    DeadLetter,
    EncodeError,
    SpecError,
    Supervisor,
    handler,
)
from actors.mailbox import _envelope
from actors.mailbox._frames import frame
from tests.helpers import eventually, kill
from tests.messengers import Echo
from tests.watchers import Watcher


class Teller(Actor):
    """Tells others what it is told to, from its own process."""

    @handler
    def tell(self, ref: ActorRef[Any], name: str, count: int, on_full: str | None, load: bytes) -> None:
        target = ref.options(on_full=on_full)  # type: ignore[arg-type]
        for _ in range(count):
            target.tell(name, load)

    @handler
    def ask_late(self, ref: ActorRef[Any], name: str, load: bytes) -> str:
        try:
            ref.options(timeout=0.05).ask(name, load).result()
        except AskTimeoutError:
            return "late"
        return "answered"

    @handler
    def try_to_tell(self, ref: ActorRef[Any], load: bytes) -> str:
        try:
            ref.tell("note", load)
        except (EncodeError, ActorNotRunningError) as error:
            return type(error).__name__
        return "told"

    @handler
    def claim(self, reason: str) -> None:
        self._context._process.attendant.notify("dead_letter", "/nobody", reason, 1)  # type: ignore[union-attr]
        threading.Event().wait(20)


class Here:
    """Sends from the host."""

    def tell(self, ref: ActorRef[Any], name: str, count: int, on_full: Any = None, load: bytes = b"x") -> None:
        for _ in range(count):
            ref.options(on_full=on_full).tell(name, load)

    def ask_late(self, ref: ActorRef[Any], name: str) -> None:
        with pytest.raises(AskTimeoutError):
            ref.options(timeout=0.05).ask(name, b"x").result()

    def junk(self, system: ActorSystem, ref: ActorRef[Any], data: bytes) -> None:
        host = system._life.host
        assert host is not None
        os.write(host.runner.cells[ref.uid].inbox_write, data)


class There(Here):
    """Sends from an actor."""

    def __init__(self, teller: ActorRef[Teller]) -> None:
        self.teller = teller

    def tell(self, ref: ActorRef[Any], name: str, count: int, on_full: Any = None, load: bytes = b"x") -> None:
        self.teller.ask(Teller.tell, ref, name, count, on_full, load).result(timeout=20)

    def ask_late(self, ref: ActorRef[Any], name: str) -> None:
        assert self.teller.ask(Teller.ask_late, ref, name, b"x").result(timeout=20) == "late"


@pytest.fixture(params=["host", "actor"])
def sender(request: pytest.FixtureRequest, system: ActorSystem) -> Here:
    return Here() if request.param == "host" else There(system.spawn(Teller()))


def subscribe(system: ActorSystem) -> list[DeadLetter]:
    letters: list[DeadLetter] = []
    system.subscribe_dead_letters(letters.append)
    return letters


def told(letters: list[DeadLetter]) -> Counter[tuple[str, str, str | None, int]]:
    found: Counter[tuple[str, str, str | None, int]] = Counter()
    for letter in list(letters):
        found[letter.target, letter.reason, letter.handler, letter.uid] += letter.count
    return found


def expect(
    system: ActorSystem, letters: list[DeadLetter], ref: ActorRef[Any], reason: str, count: int, name: str | None
) -> None:
    """Exactly these letters, in the count and as they were told."""
    eventually(lambda: system.dead_letters() == {reason: count}, state=system.dead_letters)
    eventually(lambda: told(letters) == {(ref.path, reason, name, ref.uid): count}, state=lambda: told(letters))


def busy_with(callee: ActorRef[Echo], gate: Path) -> Any:
    busy = callee.ask(Echo.wait_for, str(gate))
    eventually(lambda: callee.statistics().handler == "wait_for")
    return busy


def test_what_is_queued_when_the_last_incarnation_dies_is_dead(
    system: ActorSystem, sender: Here, tmp_path: Path
) -> None:
    letters, callee = subscribe(system), system.spawn(Echo(), restart="temporary")
    busy = busy_with(callee, tmp_path / "gate")
    sender.tell(callee, "note", 7)
    sender.tell(callee, "note", 3, load=bytes(20_000))
    callee.flush()
    kill(system, callee)
    busy.exception(timeout=5)

    expect(system, letters, callee, "dead", 10, "note")


class Leaver(Echo):
    @handler
    def wait_for_both(self, path: str) -> None:
        """Return when this actor knows that it is to stop, and the file *path* is there."""
        self.wait_for_stop()
        self.wait_for(path)


def test_what_is_told_to_one_that_stops_is_stopping(system: ActorSystem, sender: Here, tmp_path: Path) -> None:
    letters, callee = subscribe(system), system.spawn(Leaver())
    busy = callee.ask(Leaver.wait_for_both, str(tmp_path / "gate"))
    eventually(lambda: callee.statistics().handler == "wait_for_both")
    sender.tell(callee, "note", 5)
    callee.flush()
    callee.stop()
    sender.tell(callee, "note", 4)
    (tmp_path / "gate").touch()
    busy.result(timeout=5)
    eventually(lambda: not callee.is_alive())

    expect(system, letters, callee, "stopping", 9, "note")


def test_what_finds_no_room_and_is_to_be_dropped_is_overflow(system: ActorSystem, sender: Here, tmp_path: Path) -> None:
    letters, callee = subscribe(system), system.spawn(Echo(), mailbox_bytes=4096)
    busy = busy_with(callee, tmp_path / "gate")
    # An actor's handler ends when the last of what was taken has left, so it goes on beside this one.
    sending = threading.Thread(target=sender.tell, args=(callee, "note", 200, "drop_newest", bytes(4000)))
    sending.start()
    eventually(lambda: system.dead_letters().get("overflow", 0) > 100, 20.0)
    (tmp_path / "gate").touch()
    sending.join()
    busy.result(timeout=5)
    accepted = len(callee.ask(Echo.noted).result(timeout=20))

    assert 0 < accepted < 200
    expect(system, letters, callee, "overflow", 200 - accepted, "note")


def test_an_ask_that_is_not_started_before_its_deadline_is_expired(
    system: ActorSystem, sender: Here, tmp_path: Path
) -> None:
    letters, callee = subscribe(system), system.spawn(Echo())
    busy = busy_with(callee, tmp_path / "gate")
    for _ in range(3):
        sender.ask_late(callee, "note")
    (tmp_path / "gate").touch()
    busy.result(timeout=5)

    expect(system, letters, callee, "expired", 3, "note")


def test_a_name_that_no_handler_has_is_undecodable(system: ActorSystem, sender: Here) -> None:
    letters, callee = subscribe(system), system.spawn(Echo())
    sender = sender if isinstance(sender, There) else There(system.spawn(Teller(), name="another"))
    sender.tell(callee, "nothing_of_the_kind", 2)

    expect(system, letters, callee, "undecodable", 2, "nothing_of_the_kind")


def test_bytes_that_are_no_message_are_undecodable(system: ActorSystem) -> None:
    letters, callee = subscribe(system), system.spawn(Echo())
    Here().junk(system, callee, frame(b"junk!"))

    expect(system, letters, callee, "undecodable", 1, None)


def test_a_message_that_is_too_large_is_an_error_in_its_sender_and_no_letter(start_method: Any) -> None:
    with ActorSystem(Supervisor("app"), start_method=start_method, max_message_bytes=10_000) as system:
        callee, teller = system.spawn(Echo()), system.spawn(Teller(), max_open_asks=4)
        with pytest.raises(EncodeError):
            callee.tell(Echo.note, bytes(10_001))
        assert teller.ask(Teller.try_to_tell, callee, bytes(9_900)).result(timeout=5) == "told"
        eventually(lambda: callee.ask(Echo.noted).result(timeout=5) == [bytes(9_900)])
        assert system.dead_letters() == {}


def test_one_that_was_written_around_the_bound_is_too_large(system: ActorSystem) -> None:
    letters, callee = subscribe(system), system.spawn(Echo())
    Here().junk(system, callee, frame(_envelope.encode_large(1, 0, 1 << 40, 1)))

    expect(system, letters, callee, "too_large", 1, None)
    assert callee.ask(Echo.echo, 1).result(timeout=5) == 1


def test_a_tell_during_which_its_actor_dies_is_crashed(system: ActorSystem, sender: Here) -> None:
    letters, callee = subscribe(system), system.spawn(Echo())
    sender.tell(callee, "crash", 1)

    expect(system, letters, callee, "crashed", 1, "crash")
    assert letters[0].attempts == 1
    assert [reason.kind for reason in letters[0].reasons] == ["crash"]


@pytest.mark.parametrize("reason", ["lost", "", "crashed", "poison", "Dead"])
def test_an_actor_that_claims_another_reason_breaks_the_protocol(system: ActorSystem, reason: str) -> None:
    teller = system.spawn(Teller(), restart="temporary")
    claiming = teller.ask(Teller.claim, reason)
    error: Any = claiming.exception(timeout=5)

    assert error.reason.kind == "protocol"
    assert system.dead_letters() == {}


# --- subscribers


def test_a_busy_subscriber_gets_equal_letters_as_one_and_none_is_lost(system: ActorSystem, tmp_path: Path) -> None:
    entered, gate = threading.Event(), threading.Event()
    letters: list[DeadLetter] = []

    def take(letter: DeadLetter) -> None:
        letters.append(letter)
        entered.set()
        gate.wait(20)

    subscription = system.subscribe_dead_letters(take)
    host = system._life.host
    assert host is not None
    host.directory.dead_letter("/a", "dead", 1)
    assert entered.wait(5)
    for number in range(50_000):
        host.directory.dead_letter("/b", "dead", 1, handler=f"handler-{number % 3}")
    gate.set()
    eventually(lambda: sum(letter.count for letter in letters) == 50_001)

    assert len(letters) == 4
    assert system.dead_letters() == {"dead": 50_001}
    assert subscription.cancel()
    assert not subscription.cancel()
    host.directory.dead_letter("/c", "dead", 1)
    assert len(letters) == 4


def test_what_a_subscriber_has_no_room_for_is_counted(system: ActorSystem) -> None:
    entered, gate = threading.Event(), threading.Event()
    letters: list[DeadLetter] = []

    def take(letter: DeadLetter) -> None:
        entered.set()
        gate.wait(20)
        letters.append(letter)

    subscription = system.subscribe_dead_letters(take)
    host = system._life.host
    assert host is not None
    for number in range(12_000):
        host.directory.dead_letter(f"/{number}", "dead", 2)
        if not number:
            assert entered.wait(5)
    gate.set()
    eventually(lambda: sum(letter.count for letter in letters) + subscription.dropped == 24_000)

    assert subscription.dropped > 0
    assert system.dead_letters() == {"dead": 24_000}


def test_a_subscriber_that_raises_gets_the_next_letter(system: ActorSystem, capfd: pytest.CaptureFixture[str]) -> None:
    letters: queue.SimpleQueue[DeadLetter] = queue.SimpleQueue()

    def take(letter: DeadLetter) -> None:
        letters.put(letter)
        raise ValueError("not mine")

    system.subscribe_dead_letters(take)
    host = system._life.host
    assert host is not None
    for number in range(3):
        host.directory.dead_letter(f"/{number}", "dead", 1)

    assert [letters.get(timeout=5).target for _ in range(3)] == ["/0", "/1", "/2"]
    shown: list[str] = []

    def all_are_shown() -> bool:
        # On either stream: where it is shown depends on how logging is configured.
        shown.extend(capfd.readouterr())
        return "".join(shown).count("ValueError: not mine") >= 3

    eventually(all_are_shown)


def test_only_a_function_can_subscribe(system: ActorSystem) -> None:
    with pytest.raises(SpecError, match="subscribe_dead_letters"):
        system.subscribe_dead_letters(5)  # type: ignore[arg-type]


# --- the log


def logged(host: Any) -> tuple[list[dict[str, Any]], Callable[..., None]]:
    events: list[dict[str, Any]] = []

    def log(_level: str, event: str, **keys: Any) -> None:
        if event == "actors.dead_letters":
            events.append(keys)

    return events, log


def test_the_log_is_told_of_every_letter_at_most_once_a_second(
    start_method: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ActorSystem(start_method=start_method) as system:
        host: Any = system._life.host
        events, log = logged(host)
        monkeypatch.setattr(host, "log", log)
        for _ in range(1000):
            host.directory.dead_letter("/a", "dead", 1, handler="put")
        # No other letter comes, and what was held back is logged all the same.
        eventually(lambda: sum(event["count"] for event in events) == 1000)
        assert len(events) <= 3
        assert events[0] == {"path": "/a", "reason": "dead", "count": events[0]["count"], "handler": "put"}
        host.directory.dead_letter("/a", "dead", 5)
    assert sum(event["count"] for event in events) == 1005


def test_dead_letters_of_an_actor_that_ends_at_once_are_told(system: ActorSystem) -> None:
    letters, callee, teller = subscribe(system), system.spawn(Watcher()), system.spawn(Teller())
    teller.ask(Teller.tell, callee, "nothing", 1, None, b"").result(timeout=5)
    assert callee.ask(Watcher.pid_of).result(timeout=5)
    callee.stop()

    eventually(lambda: told(letters) == {(callee.path, "undecodable", "nothing", callee.uid): 1})
