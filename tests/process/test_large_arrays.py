"""Arrays and views: one copy, as long as somebody looks at them, whoever dies; and no memory kept that nobody looks at."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

np: Any = pytest.importorskip("numpy")

from actors import ActorDied, ActorSystem, EncodeError, HandlerError, MailboxFullError  # noqa: E402
from actors.mailbox import _arenas  # noqa: E402
from actors.supervisor import _arenas as _book  # noqa: E402
from tests.helpers import eventually, kill  # noqa: E402
from tests.keepers import DOUBLES, Keeper  # noqa: E402

KIB, MIB = 1024, 1024 * 1024


def in_use(system: ActorSystem) -> int:
    """How many slots hold a message, or are held."""
    host = system._life.host
    assert host is not None
    return host.arenas.in_use()


def arenas(system: ActorSystem) -> int:
    host = system._life.host
    assert host is not None
    return len(host.arenas)


def nothing_in_use(system: ActorSystem) -> None:
    eventually(lambda: in_use(system) == 0, 10.0, state=lambda: in_use(system), what="every slot is free")


LAYOUTS = [
    pytest.param(np.arange(50_000.0).reshape(100, 500), id="c-order"),
    pytest.param(np.asfortranarray(np.arange(50_000).reshape(100, 500)), id="fortran-order"),
    pytest.param(np.arange(120_000, dtype="f4").reshape(300, 400)[::2, ::3], id="strided"),
    pytest.param(np.arange(90_000, dtype="i2")[::-1], id="reversed"),
    pytest.param(np.zeros(4_000, dtype=[("time", "f8"), ("name", "U8"), ("at", "i4", (2,))]), id="structured"),
    pytest.param(np.arange(30_000).astype("datetime64[s]"), id="dates"),
    pytest.param(np.full((20, 30, 40), 1 + 2j), id="three-dimensions"),
    pytest.param(np.broadcast_to(np.arange(300.0), (200, 300)), id="broadcast"),
]


@pytest.mark.parametrize("array", LAYOUTS)
def test_an_array_of_any_layout_arrives_equal_and_read_only(system: ActorSystem, array: Any) -> None:
    keeper = system.spawn(Keeper())
    back = keeper.ask(Keeper.echo, array).result(timeout=10)

    assert type(back) is np.ndarray
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert (back == array).all()
    assert not back.flags.writeable
    del back
    nothing_in_use(system)


def test_buffers_of_every_type_arrive_as_they_were_sent_wherever_they_stand(system: ActorSystem) -> None:
    keeper = system.spawn(Keeper())
    large = os.urandom(70_000)
    values: list[Any] = [
        large,
        bytearray(large),
        memoryview(large),
        memoryview(large).cast("H"),
        memoryview(large).cast("B", (700, 100)),
        memoryview(large)[::2],
        [large, {"deep": (bytearray(large), [memoryview(large)])}],
        {"one": large, "two": large[:20_000], "small": b"x"},
        (large, large, b""),
    ]
    for value in values:
        back = keeper.ask(Keeper.echo, value).result(timeout=10)
        assert back == value
        assert type(back) is type(value)
        del back
    nothing_in_use(system)


def test_a_view_outlives_its_handler_and_what_is_sent_after_it(system: ActorSystem) -> None:
    keeper = system.spawn(Keeper())
    for number in range(10):
        keeper.ask(Keeper.keep, np.full(DOUBLES, float(number))).result(timeout=10)
    for _ in range(50):
        keeper.ask(Keeper.look, np.full(DOUBLES, -1.0)).result(timeout=10)

    assert keeper.ask(Keeper.holds).result(timeout=10) == 10
    assert keeper.ask(Keeper.is_whole, 0).result(timeout=10)
    assert keeper.ask(Keeper.writes, np.ones(DOUBLES)).result(timeout=10) == "assignment destination is read-only"
    eventually(lambda: in_use(system) == 10)
    keeper.ask(Keeper.drop).result(timeout=10)
    nothing_in_use(system)


def test_a_view_of_a_part_keeps_the_whole(system: ActorSystem) -> None:
    keeper = system.spawn(Keeper())
    part = keeper.ask(Keeper.give, DOUBLES, 7.0).result(timeout=10)[100:110]
    for _ in range(20):
        keeper.ask(Keeper.give, DOUBLES, 8.0).result(timeout=10)

    assert part.tolist() == [7.0] * 10
    view = memoryview(part)
    del part
    assert view.tolist() == [7.0] * 10
    eventually(lambda: in_use(system) == 1)
    del view
    nothing_in_use(system)


def test_views_outlive_who_sent_them(system: ActorSystem) -> None:
    keeper, sender = system.spawn(Keeper(), name="keeper"), system.spawn(Keeper(), name="sender", restart="temporary")
    sender.ask(Keeper.pass_on, keeper, DOUBLES, 0, 5).result(timeout=10)
    mine = sender.ask(Keeper.give, DOUBLES, 7.0).result(timeout=10)
    eventually(lambda: keeper.ask(Keeper.holds).result(timeout=10) == 5)
    kill(system, sender)
    eventually(lambda: not sender.is_alive())

    assert keeper.ask(Keeper.is_whole, 0).result(timeout=10)
    assert (mine == 7.0).all()
    keeper.ask(Keeper.drop).result(timeout=10)
    del mine
    eventually(lambda: arenas(system) == 0, 10.0)


def test_slots_that_a_killed_receiver_held_are_free(system: ActorSystem) -> None:
    keeper, sender = system.spawn(Keeper(), name="keeper"), system.spawn(Keeper(), name="sender")
    sender.ask(Keeper.pass_on, keeper, DOUBLES, 0, 5).result(timeout=10)
    for number in range(5):
        keeper.ask(Keeper.keep, np.full(DOUBLES, float(number))).result(timeout=10)
        keeper.ask(Keeper.ask_for, sender, DOUBLES, 1.0).result(timeout=10)
    eventually(lambda: in_use(system) == 15)
    kill(system, keeper)

    nothing_in_use(system)
    assert keeper.ask(Keeper.keep, np.ones(DOUBLES)).result(timeout=10) == 1


def test_answers_that_nobody_will_read_are_free(system: ActorSystem) -> None:
    asker, giver = system.spawn(Keeper(), name="asker"), system.spawn(Keeper(), name="giver")
    asker.ask(Keeper.ask_and_forget, giver, DOUBLES, 20).result(timeout=10)
    kill(system, asker)

    assert giver.ask(Keeper.give, 1, 1.0).result(timeout=10).tolist() == [1.0]
    nothing_in_use(system)


def test_a_message_that_its_receiver_dies_of_comes_again_whole(system: ActorSystem) -> None:
    keeper = system.spawn(Keeper(), redeliver=2)
    reply = keeper.ask(Keeper.keep_and_die, np.ones(DOUBLES))
    with pytest.raises(ActorDied):
        reply.result(timeout=20)

    eventually(lambda: system.dead_letters().get("poison") == 1)
    nothing_in_use(system)


def test_a_storm_of_kills_with_arrays_in_flight_and_held_leaves_nothing(system: ActorSystem) -> None:
    giver = system.spawn(Keeper(), name="giver")
    keepers = [system.spawn(Keeper(), name=f"keeper-{number}", max_same_crashes=None) for number in range(3)]
    for number in range(30):
        for one, other in zip(keepers, [*keepers[1:], keepers[0]], strict=True):
            one.tell(Keeper.pass_on, other, DOUBLES, 0, 3)
            one.tell(Keeper.ask_for, giver, DOUBLES, 1.0)
            one.tell(Keeper.keep, np.ones(DOUBLES))
        if number % 10 == 9:
            kill(system, keepers[number // 10])
    # Twice: what the others told it before they dropped may come behind its own.
    for one in keepers * 2:
        one.ask(Keeper.drop).result(timeout=20)
    nothing_in_use(system)


def test_a_receiver_that_collects_does_not_stall_its_sender(system: ActorSystem) -> None:
    keeper = system.spawn(Keeper())
    for number in range(40):  # more than a sender's memory for large messages
        keeper.ask(Keeper.keep, np.full(MIB, float(number))).result(timeout=10)

    assert keeper.ask(Keeper.is_whole, 0).result(timeout=10)
    eventually(lambda: in_use(system) * 8 * MIB <= 128 * MIB)


def test_a_sender_whose_memory_is_held_by_many_is_told(system: ActorSystem) -> None:
    keepers = [system.spawn(Keeper(), name=f"keeper-{number}") for number in range(3)]
    array = np.ones(4 * MIB)
    with pytest.raises(MailboxFullError, match="copy what is kept"):
        for _ in range(4):
            for keeper in keepers:
                keeper.options(on_full="reject").ask(Keeper.keep, array).result(timeout=10)
    keepers[0].ask(Keeper.drop).result(timeout=10)
    assert keepers[0].ask(Keeper.keep, array).result(timeout=10) == 1


def test_memory_goes_back_when_a_burst_is_over(system: ActorSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_arenas, "IDLE_SECONDS", 0.2)
    keeper = system.spawn(Keeper())
    for size in (3 * KIB, 30 * KIB, 300 * KIB, 3 * MIB):
        for _ in range(20):
            keeper.tell(Keeper.look, np.ones(size))
    host = system._life.host
    assert host is not None
    eventually(lambda: host.node._arenas.held_bytes == 0)
    eventually(lambda: arenas(system) == 0)

    assert keeper.ask(Keeper.look, np.ones(DOUBLES)).result(timeout=10) == ("ndarray", 8 * DOUBLES)


def test_the_largest_array_is_exactly_the_bound(start_method: Any) -> None:
    with ActorSystem(start_method=start_method, max_message_bytes=MIB) as system:
        keeper = system.spawn(Keeper())
        assert keeper.ask(Keeper.look, np.ones(MIB, dtype="u1")).result(timeout=10) == ("ndarray", MIB)
        assert keeper.ask(Keeper.give, MIB // 8, 1.0).result(timeout=10).nbytes == MIB
        with pytest.raises(EncodeError, match="max_message_bytes=1048576"):
            keeper.ask(Keeper.look, np.ones(MIB + 1, dtype="u1"))
        with pytest.raises(HandlerError, match="max_message_bytes=1048576"):
            keeper.ask(Keeper.give, MIB // 8 + 1, 1.0).result(timeout=10)
        with pytest.raises(EncodeError):
            keeper.tell(Keeper.look, [np.ones(MIB // 2, dtype="u1")] * 3)
        nothing_in_use(system)


def test_what_holds_objects_is_refused_with_its_path(system: ActorSystem) -> None:
    keeper = system.spawn(Keeper())
    with pytest.raises(EncodeError, match=r'args\[0\]\["x"\]\[1\].*holds Python objects') as caught:
        keeper.tell(Keeper.keep, {"x": [np.ones(DOUBLES), np.full(DOUBLES, None)]})

    assert caught.value.path == 'args[0]["x"][1]'
    eventually(lambda: in_use(system) == 0)


def test_a_machine_without_memory_is_one_error_in_the_sender(
    system: ActorSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper, sender = system.spawn(Keeper(), name="keeper"), system.spawn(Keeper(), name="sender")
    told = sender.ask(Keeper.send_with_no_memory, keeper, 32 * MIB).result(timeout=10)
    assert told.startswith("MailboxFullError: message of 33"), told
    assert "no memory" in told

    def refuse(_slot_bytes: int, _slots: int) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_book, "create_arena", refuse)
    with pytest.raises(MailboxFullError, match="No space left") as caught:
        keeper.tell(Keeper.keep, np.ones(DOUBLES))
    assert not caught.value.may_have_run
    with pytest.raises(HandlerError, match="MailboxFullError.*No space left"):
        keeper.ask(Keeper.give, DOUBLES, 1.0).result(timeout=10)
    monkeypatch.undo()
    assert keeper.ask(Keeper.keep, np.ones(DOUBLES)).result(timeout=10) == 1


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"arena_id": 999}, id="no-such-arena"),
        pytest.param({"arena_id": -1}, id="the-hosts-arena"),
        pytest.param({"arena_id": -2}, id="anothers-arena"),
        pytest.param({"slot": 64}, id="no-such-slot"),
        pytest.param({"slot": 3}, id="a-slot-that-was-never-used"),
        pytest.param({"length": 1 << 40}, id="too-long"),
        pytest.param({"offset": 1 << 40}, id="too-far"),
        pytest.param({"generation": 1 << 40}, id="a-generation-to-come"),
        pytest.param({"generation": 0}, id="no-generation"),
        pytest.param({}, id="no-answer-lies-there"),
        pytest.param({"offset": 64}, id="no-buffers-lie-there"),
    ],
)
def test_a_child_that_lies_about_an_answer_fails_alone(system: ActorSystem, changes: dict[str, int]) -> None:
    liar, other = system.spawn(Keeper(), name="liar"), system.spawn(Keeper(), name="other")
    held = [one.ask(Keeper.give, DOUBLES, 7.0).result(timeout=10) for one in (liar, other)]
    other.ask(Keeper.keep, np.full(DOUBLES, 0.0)).result(timeout=10)
    host = system._life.host
    assert host is not None
    owned = {entry.owner[0]: number for number, entry in host.arenas._entries.items()}
    named = {-1: owned[0], -2: owned[other.uid]}
    reply = liar.ask(Keeper.lie, {name: named.get(number, number) for name, number in changes.items()})
    with pytest.raises(ActorDied) as caught:
        reply.result(timeout=20)

    assert caught.value.reason.kind == "protocol"
    assert liar.ask(Keeper.give, 2, 1.0).result(timeout=10).tolist() == [1.0, 1.0]
    assert all((array == 7.0).all() for array in held)
    del held
    assert other.incarnation == 1
    assert other.ask(Keeper.is_whole, 0).result(timeout=10)


def test_a_child_that_writes_over_the_header_of_its_arena_hurts_nobody(system: ActorSystem) -> None:
    for number in (0, 1, 255):
        keeper = system.spawn(Keeper(), name=f"scribbler-{number}", restart="temporary")
        array = keeper.ask(Keeper.give, DOUBLES, 7.0).result(timeout=10)
        with pytest.raises(ActorDied):
            keeper.ask(Keeper.scribble, number).result(timeout=10)
        assert (array == 7.0).all()
        del array
    eventually(lambda: arenas(system) == 0, 10.0)


def test_what_a_handler_forks_sees_what_the_handler_was_given(system: ActorSystem) -> None:
    keeper = system.spawn(Keeper())
    array = np.zeros(DOUBLES)
    array[-1] = 77

    assert keeper.ask(Keeper.fork_and_look, array).result(timeout=10) == 77
    nothing_in_use(system)


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_what_the_host_forks_sees_what_the_host_was_given(method: Any) -> None:
    with ActorSystem(start_method=method) as system:
        array = system.spawn(Keeper()).ask(Keeper.give, DOUBLES, 7.0).result(timeout=10)
        pid = os.fork()
        if pid == 0:
            os._exit(int(array[-1]))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        eventually(lambda: in_use(system) == 1)


def test_what_the_host_holds_stays_after_its_system(start_method: Any) -> None:
    with ActorSystem(start_method=start_method) as system:
        array = system.spawn(Keeper()).ask(Keeper.give, DOUBLES, 7.0).result(timeout=10)
    assert (array == 7.0).all()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_in_the_middle_of_a_wait_loses_no_slot(system: ActorSystem) -> None:
    class Interruption(Exception):
        pass

    armed = [False]

    def interrupt(*_: object) -> None:
        if armed[0]:
            armed[0] = False
            raise Interruption

    keeper = system.spawn(Keeper())
    before = signal.signal(signal.SIGALRM, interrupt)
    array = reply = None
    try:
        for number in range(100):
            reply = keeper.ask(Keeper.give, DOUBLES, float(number))
            try:
                armed[0] = True
                signal.setitimer(signal.ITIMER_REAL, 0.0001 + number % 50 * 0.00002)
                array = reply.result(timeout=10)
                armed[0] = False
            except Interruption:
                array = reply.result(timeout=10)
            assert (array == number).all()
    finally:
        armed[0] = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    del array, reply
    # What an interruption has left is looked after by the next answer.
    keeper.ask(Keeper.give, DOUBLES, 0.0).result(timeout=10)
    nothing_in_use(system)
