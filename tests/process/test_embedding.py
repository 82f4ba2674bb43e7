"""A system is made and used wherever a program is: in its main thread, in a helper thread, inside an event loop, and twice at a time."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from actors import ActorDied, ActorRef, ActorSystem, Backoff, RestartIntensityError, Supervisor, child
from tests import scripts
from tests.helpers import eventually
from tests.troupe import Worker

SECONDS = 20.0
AT_ONCE = Backoff(initial=0.0, maximum=0.0, jitter=0.0)

Life = list[tuple[str, object]]
"""What happened, in order."""

THE_SAME_EVERYWHERE: Life = [
    ("asked", 6),
    ("died with", "signal"),
    ("asked again", 5),
    ("incarnation", 2),
    ("added", 9),
    ("listed", ["/app/added", "/app/worker"]),
    ("stopped", True),
]


def tree() -> Supervisor:
    return Supervisor("app", children=[child(Worker(5), name="worker", backoff=AT_ONCE)])


def live_in_a_thread(start_method: Any) -> Life:
    """Start, ask, crash and come back, add, stop; from whichever thread calls it."""
    life: Life = []
    system = ActorSystem(tree(), start_method=start_method).start()
    try:
        worker: ActorRef[Worker] = system.whereis("worker")
        life.append(("asked", worker.ask(Worker.add, 1).result(timeout=SECONDS)))
        error = worker.ask(Worker.die_by, int(signal.SIGKILL)).exception(timeout=SECONDS)
        assert isinstance(error, ActorDied)
        life.append(("died with", error.reason.kind))
        life.append(("asked again", worker.ask(Worker.add, 0).result(timeout=SECONDS)))
        life.append(("incarnation", worker.incarnation))
        added = system.spawn(Worker(9), name="added")
        life.append(("added", added.ask(Worker.add, 0).result(timeout=SECONDS)))
        life.append(("listed", sorted(actor.path for actor in system.actors())))
    finally:
        system.stop()
    life.append(("stopped", not system.is_running()))
    return life


async def live_in_a_loop(start_method: Any) -> Life:
    """The same inside an event loop, which is never blocked: what waits for processes runs in threads of asyncio."""
    life: Life = []
    system = ActorSystem(tree(), start_method=start_method)
    await asyncio.to_thread(system.start)
    try:
        worker: ActorRef[Worker] = system.whereis("worker")
        life.append(("asked", await worker.ask(Worker.add, 1)))
        with pytest.raises(ActorDied) as caught:
            await worker.ask(Worker.die_by, int(signal.SIGKILL))
        life.append(("died with", caught.value.reason.kind))
        life.append(("asked again", await worker.ask(Worker.add, 0)))
        life.append(("incarnation", worker.incarnation))
        added = await asyncio.to_thread(system.spawn, Worker(9), name="added")
        life.append(("added", await added.ask(Worker.add, 0)))
        life.append(("listed", sorted(actor.path for actor in system.actors())))
    finally:
        await asyncio.to_thread(system.stop)
    life.append(("stopped", not system.is_running()))
    return life


def in_a_thread(use: Callable[[], Life]) -> Life:
    """Run *use* in a helper thread that is gone before the result is looked at."""
    found: list[Life] = []
    thread = threading.Thread(target=lambda: found.append(use()))
    thread.start()
    thread.join(3 * SECONDS)
    assert not thread.is_alive()
    return found[0]


def test_a_system_lives_in_the_main_thread(start_method: Any) -> None:
    assert THE_SAME_EVERYWHERE == live_in_a_thread(start_method)


def test_a_system_lives_in_a_helper_thread(start_method: Any) -> None:
    assert THE_SAME_EVERYWHERE == in_a_thread(lambda: live_in_a_thread(start_method))


def test_a_system_lives_in_an_event_loop(start_method: Any) -> None:
    assert THE_SAME_EVERYWHERE == asyncio.run(live_in_a_loop(start_method))


def test_a_system_lives_in_an_event_loop_of_a_helper_thread(start_method: Any) -> None:
    assert THE_SAME_EVERYWHERE == in_a_thread(lambda: asyncio.run(live_in_a_loop(start_method)))


def test_a_system_outlives_the_thread_that_made_it(start_method: Any) -> None:
    systems: list[ActorSystem] = []
    thread = threading.Thread(target=lambda: systems.append(ActorSystem(tree(), start_method=start_method).start()))
    thread.start()
    thread.join(SECONDS)
    (system,) = systems

    worker = system.whereis("worker")
    assert isinstance(worker.ask(Worker.die_by, int(signal.SIGKILL)).exception(timeout=SECONDS), ActorDied)
    assert 6 == worker.ask(Worker.add, 1).result(timeout=SECONDS)
    system.stop()


def test_a_loop_is_served_while_a_system_starts_in_it(start_method: Any) -> None:
    async def use() -> int:
        turns = 0
        with_children = Supervisor("app", children=[child(Worker(), name=f"w{number}") for number in range(3)])
        system = ActorSystem(with_children, start_method=start_method)
        starting = asyncio.ensure_future(asyncio.to_thread(system.start))
        while not starting.done():
            turns += 1
            await asyncio.sleep(0)
        await starting
        await asyncio.to_thread(system.stop)
        return turns

    assert asyncio.run(use()) > 3


def test_no_signal_handler_is_installed_unless_asked(start_method: Any) -> None:
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    wakeup = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())

    with ActorSystem(tree(), start_method=start_method) as system:
        system.whereis("worker").ask(Worker.add, 1).result(timeout=SECONDS)
        during = {number: signal.getsignal(number) for number in signal.valid_signals()}
        assert mask == signal.pthread_sigmask(signal.SIG_BLOCK, ())
        assert wakeup == signal.set_wakeup_fd(wakeup)

    assert before == during
    assert before == {number: signal.getsignal(number) for number in signal.valid_signals()}


def test_a_program_keeps_its_own_way_with_signals(tmp_path: Any, start_method: Any) -> None:
    program = scripts.write(
        tmp_path,
        """
        import os, signal, sys
        from actors import ActorSystem
        from tests.troupe import Worker

        if __name__ == "__main__":
            seen = []
            signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
            with ActorSystem(start_method=sys.argv[1]) as system:
                worker = system.spawn(Worker(3))
                os.kill(os.getpid(), signal.SIGTERM)
                print(worker.ask(Worker.add, 1).result(timeout=20), [signal.Signals(number).name for number in seen])
        """,
    )
    ended = scripts.run(program, start_method)

    assert (0, "4 ['SIGTERM']\n") == (ended.code, ended.out), ended.err


# --- two trees in one process -----------------------------------------------------------------------------------------------


def test_a_tree_that_gives_up_does_not_touch_the_other(start_method: Any) -> None:
    fragile = Supervisor("fragile", max_restarts=1, period=60.0, children=[child(Worker(), name="w", backoff=AT_ONCE)])
    other = ActorSystem(tree(), start_method=start_method).start()
    dying = ActorSystem(fragile, start_method=start_method).start()
    try:
        worker: ActorRef[Worker] = other.whereis("worker")
        pid = worker.ask(Worker.pid_of).result(timeout=SECONDS)
        open_ask = worker.ask(Worker.wait, 0.2)
        doomed: ActorRef[Worker] = dying.whereis("w")
        for _ in range(2):
            assert isinstance(doomed.ask(Worker.leave_at_once, 7).exception(timeout=SECONDS), ActorDied)
        eventually(lambda: not dying.is_running(), SECONDS)

        with pytest.raises(RestartIntensityError, match="supervisor /fragile gave up"):
            dying.stop()
        assert open_ask.result(timeout=SECONDS) is None
        assert (pid, 1) == (worker.ask(Worker.pid_of).result(timeout=SECONDS), worker.incarnation)
        assert isinstance(worker.ask(Worker.leave_at_once, 7).exception(timeout=SECONDS), ActorDied)
        assert 6 == worker.ask(Worker.add, 1).result(timeout=SECONDS)
        assert 8 == other.spawn(Worker(8), name="added").ask(Worker.add, 0).result(timeout=SECONDS)
    finally:
        other.stop()


def test_two_systems_in_two_threads_live_and_end_as_one_alone(start_method: Any) -> None:
    found: dict[int, Life] = {}

    def live(number: int) -> None:
        found[number] = live_in_a_thread(start_method)

    threads = [threading.Thread(target=live, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(3 * SECONDS)

    assert {0: THE_SAME_EVERYWHERE, 1: THE_SAME_EVERYWHERE} == found
