"""Shared arrays: the same memory everywhere, sent at no cost, and free when its last user has let go or has died."""

from __future__ import annotations

import gc
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest

np: Any = pytest.importorskip("numpy")

from actors import (  # noqa: E402
    ActorDied,
    ActorNotRunningError,
    ActorsError,
    ActorSystem,
    EncodeError,
    SharedArray,
    SpecError,
    StartError,
    _shares,
)
from tests.helpers import eventually, kill  # noqa: E402
from tests.keepers import Keeper  # noqa: E402

MIB = 1024 * 1024


def shares(system: ActorSystem) -> int:
    """How many pieces of shared memory there are."""
    host = system._life.host
    assert host is not None
    return len(host.share_book)


def all_is_free(system: ActorSystem) -> None:
    eventually(lambda: shares(system) == 0, 15.0, state=lambda: shares(system), what="all shared memory is free")


def test_what_one_writes_all_see(system: ActorSystem) -> None:
    one, other = system.spawn(Keeper(), name="one"), system.spawn(Keeper(), name="other")
    with system.shared_array((100, 50), "f4") as shared:
        assert (shared.shape, shared.dtype, shared.nbytes) == ((100, 50), np.dtype("f4"), 20_000)
        assert not shared.array.any()
        assert one.ask(Keeper.fill, shared, 2.0).result(timeout=10) == 0.0
        assert other.ask(Keeper.fill, shared, 3.0).result(timeout=10) == 10_000.0
        assert (shared.array == 3.0).all()
        shared.array[0, 0] = 0.0
        assert one.ask(Keeper.fill, shared, 0.0).result(timeout=10) == 14_997.0
    all_is_free(system)


def test_one_made_in_an_actor_outlives_it(system: ActorSystem) -> None:
    maker, other = system.spawn(Keeper(), name="maker", restart="temporary"), system.spawn(Keeper(), name="other")
    shared = maker.ask(Keeper.make_shared, 1000, 7.0).result(timeout=10)
    assert type(shared) is SharedArray
    other.ask(Keeper.keep, shared).result(timeout=10)
    kill(system, maker)
    eventually(lambda: not maker.is_alive())

    assert other.ask(Keeper.fill, shared, 8.0).result(timeout=10) == 7000.0
    array = shared.array
    del shared
    other.ask(Keeper.drop).result(timeout=10)
    assert (array == 8.0).all()
    assert shares(system) == 1
    del array
    all_is_free(system)


def test_all_of_a_killed_process_is_free(system: ActorSystem) -> None:
    keeper = system.spawn(Keeper())
    for number in range(5):
        keeper.ask(Keeper.keep, keeper.ask(Keeper.make_shared, 1000, number).result(timeout=10)).result(timeout=10)
        with system.shared_array(10) as mine:
            keeper.ask(Keeper.keep_view, mine).result(timeout=10)
    gc.collect()
    assert shares(system) == 10
    kill(system, keeper)

    all_is_free(system)


def test_one_that_is_let_go_while_it_stands_in_an_inbox_arrives(system: ActorSystem, tmp_path: Path) -> None:
    keeper, maker = system.spawn(Keeper(), name="keeper"), system.spawn(Keeper(), name="maker")
    keeper.tell(Keeper.wait_for, str(tmp_path / "gate"))
    for _ in range(5):
        maker.ask(Keeper.make_and_pass_on, keeper, 100).result(timeout=10)
        with system.shared_array(100) as mine:
            mine.array[:] = 1.0
            keeper.tell(Keeper.keep_view, mine)
    host = system._life.host
    assert host is not None
    book = host.share_book
    eventually(lambda: not any(share.users for share in book._shares.values()), 10.0, what="nobody uses any of it")
    assert shares(system) == 10
    (tmp_path / "gate").touch()

    assert keeper.ask(Keeper.kept_sum).result(timeout=10) == 20.0
    keeper.ask(Keeper.drop).result(timeout=10)
    all_is_free(system)


def test_a_storm_of_kills_leaves_no_shared_memory(system: ActorSystem) -> None:
    keepers = [system.spawn(Keeper(), name=f"keeper-{number}", max_same_crashes=None) for number in range(3)]
    for number in range(30):
        for one, other in zip(keepers, [*keepers[1:], keepers[0]], strict=True):
            one.tell(Keeper.make_and_pass_on, other, 1000)
            one.tell(Keeper.keep_view, system.shared_array(1000))
        if number % 10 == 9:
            kill(system, keepers[number // 10])
    for one in keepers * 2:
        one.ask(Keeper.drop).result(timeout=20)
    gc.collect()
    all_is_free(system)


def test_it_is_found_once_and_then_at_hand(system: ActorSystem) -> None:
    keeper = system.spawn(Keeper())
    shared = system.shared_array(1000)
    addresses = {keeper.ask(Keeper.address, shared).result(timeout=10) for _ in range(50)}

    assert len(addresses) == 1
    assert keeper.ask(Keeper.echo, [shared, (shared, 1)]).result(timeout=10)[1][0].array.base is not None


def test_zero_and_odd_shapes_and_types(system: ActorSystem) -> None:
    keeper = system.spawn(Keeper())
    cases: list[tuple[Any, Any]] = [
        (0, "f8"),
        ((), "i2"),
        ((3, 0, 2), "?"),
        (5, [("a", "f8"), ("b", "U3")]),
        ((2, 3), ">c16"),
    ]
    for shape, dtype in cases:
        shared = system.shared_array(shape, dtype)
        back = keeper.ask(Keeper.echo, shared).result(timeout=10)
        assert (back.shape, back.dtype) == (shared.shape, shared.dtype) == (shared.array.shape, np.dtype(dtype))


@pytest.mark.parametrize(
    ("shape", "dtype", "says"),
    [
        (-1, "f8", "at least 0"),
        ((2, "3"), "f8", "at least 0"),
        (2.5, "f8", "at least 0"),
        (3, object, "Python objects"),
        (3, "no type", "no type"),
        (1 << 60, "f8", "out of range"),
    ],
)
def test_what_cannot_be_made_is_said(system: ActorSystem, shape: Any, dtype: Any, says: str) -> None:
    with pytest.raises(ActorsError, match=says):
        system.shared_array(shape, dtype)
    assert shares(system) == 0


def test_a_closed_one_is_no_array_and_does_not_travel(system: ActorSystem) -> None:
    keeper = system.spawn(Keeper())
    shared = system.shared_array(10)
    array = shared.array
    with pytest.raises(TypeError, match="send it in a message"):
        pickle.dumps(shared)
    shared.close()
    shared.close()

    assert "closed" in repr(shared)
    array[:] = 1.0
    with pytest.raises(ValueError, match="was closed"):
        _ = shared.array
    with pytest.raises(EncodeError, match=r"args\[0\]: .*it was closed"):
        keeper.tell(Keeper.keep, shared)


def test_one_that_is_gone_or_anothers_is_an_error_of_its_message_alone(system: ActorSystem) -> None:
    keeper = system.spawn(Keeper())
    for name, number in ((system.name, 999), ("another", 1)):
        with pytest.raises(ActorsError, match="not there any more"):
            keeper.ask(Keeper.name_of, name, number, 10).result(timeout=10)
    assert keeper.ask(Keeper.echo, 1).result(timeout=10) == 1
    assert keeper.incarnation == 1


def test_a_child_that_lies_about_shared_memory_fails_alone(system: ActorSystem) -> None:
    shared = system.shared_array(10)
    for claim, arguments in (
        ("claim", ("drop_share", shared._number)),
        ("claim", ("drop_share", 999)),
        ("claim", ("new_share", 0)),
        ("claim", ("new_share", 1 << 50)),
        ("name_of", (system.name, shared._number, 1000)),
    ):
        liar = system.spawn(Keeper(), restart="temporary")
        with pytest.raises(ActorDied) as caught:
            liar.ask(claim, *arguments).result(timeout=10)
        assert caught.value.reason.kind == "protocol"
    shared.array[:] = 1.0
    assert system.spawn(Keeper()).ask(Keeper.fill, shared, 0.0).result(timeout=10) == 10.0
    del shared  # else the traceback of what was caught keeps it
    all_is_free(system)


def test_a_machine_without_memory_says_so_and_keeps_nothing(
    system: ActorSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **_more: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(_shares, "_populate", refuse)
    with pytest.raises(StartError, match="no shared memory of 80 bytes.*Cannot allocate"):
        system.shared_array(10)
    monkeypatch.setattr(_shares, "map_file", refuse)
    with pytest.raises(StartError, match="Cannot allocate"):
        system.shared_array(10)
    monkeypatch.undo()
    gc.collect()
    all_is_free(system)


def test_without_numpy_it_says_what_to_install(system: ActorSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(SpecError, match=r"pip install numpy \(the extra 'numpy'\)"):
        system.shared_array(10)


def test_a_system_that_does_not_run_shares_nothing() -> None:
    system = ActorSystem()
    with pytest.raises(ActorsError):
        system.shared_array(10)
    with system:
        shared = system.shared_array(10)
        keeper = system.spawn(Keeper())
    shared.array[:] = 1.0
    assert shared.array.sum() == 10.0
    with pytest.raises(ActorNotRunningError):
        keeper.ask(Keeper.keep, shared)


def test_nothing_has_a_name(system: ActorSystem) -> None:
    before = set(os.listdir("/dev/shm"))
    shared = system.shared_array(MIB)
    system.spawn(Keeper()).ask(Keeper.fill, shared, 1.0).result(timeout=10)

    assert set(os.listdir("/dev/shm")) == before
