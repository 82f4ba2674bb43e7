"""Nothing outlives its host, however that ends; and what the host leaves to its children is what is theirs."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests import scripts
from tests.helpers import eventually

pytestmark = pytest.mark.conformance

TREE = """
    import sys
    from actors import ActorSystem, Supervisor, child
    from tests.troupe import Busy, Parent, Worker

    def tree():
        inner = Supervisor("inner", children=[Worker(), Supervisor("innermost", children=[child(Busy(), name="busy"), Worker()])])
        return Supervisor("app", children=[child(Parent(), name="parent"), inner])

    if __name__ == "__main__":
        with ActorSystem(tree(), start_method=sys.argv[1]) as system:
            busy = system.whereis("busy")
            system.whereis("parent").ask(Parent.start_one, "theirs").result(timeout=20)
            busy.tell(Busy.compute)
            while busy.statistics().handler != "compute":
                pass
            print("ready", flush=True)
            sys.stdin.read() if sys.argv[2] == "wait" else None
            import threading
            threading.Event().wait()
"""


def kill_a_host(folder: Path, start_method: str) -> float:
    """Start the tree, SIGKILL its host, and return how long anything of it lived on, in seconds."""
    program = scripts.start(scripts.write(folder, TREE), start_method, "wait")
    with program:
        assert program.stdout is not None
        line = program.stdout.readline()
        if line != "ready\n":
            program.kill()
            raise AssertionError(program.communicate()[1])
        assert len(scripts.family(program.pid)) >= 6
        program.kill()
        killed = time.monotonic()
        eventually(lambda: not scripts.family(program.pid), 2.0, state=lambda: scripts.family(program.pid))
        return time.monotonic() - killed


def test_no_process_of_a_killed_host_lives_on(start_method: str, tmp_path: Path) -> None:
    times = [kill_a_host(tmp_path, start_method) for _ in range(2)]

    print(f"{start_method}: gone {max(times) * 1000:.0f} ms after the host at the latest")


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_no_process_of_fifty_killed_hosts_lives_on(start_method: str, tmp_path: Path) -> None:
    times = [kill_a_host(tmp_path, start_method) for _ in range(50)]

    print(f"{start_method}: 50 hosts, gone {max(times) * 1000:.0f} ms after the host at the latest")


CHAIN = """
    import os, random, sys, threading
    from actors import ActorSystem, Backoff, Supervisor, child
    from tests.troupe import Busy, Chain

    if __name__ == "__main__":
        at_once = Backoff(initial=0.0, maximum=0.001, jitter=0.0)
        tree = Supervisor("app", max_restarts=100_000, period=100.0, children=[child(Busy(), name="busy", backoff=at_once)])
        print("up", flush=True)
        with ActorSystem(tree, start_method=sys.argv[1]) as system:
            system.whereis("busy").tell(Busy.compute)
            while True:
                top = system.spawn(Chain(), restart="temporary", name="top", wait=False)
                top.ask(Chain.grow, 3).exception(timeout=20)
                for info in system.actors():
                    if info.pid is not None and random.random() < 0.3:
                        os.kill(info.pid, 9)
                system.whereis("busy").tell(Busy.compute)
                top.stop()
                while [info for info in system.actors() if info.path == "/app/top"]:
                    threading.Event().wait(0.005)
"""


def kill_a_host_at_a_random_moment(folder: Path, start_method: str, chance: random.Random) -> float:
    """SIGKILL a host that is starting, restarting and stopping a chain of actors all the time; return as above."""
    program = scripts.start(scripts.write(folder, CHAIN), start_method)
    with program:
        assert program.stdout is not None
        assert program.stdout.readline() == "up\n"
        with contextlib.suppress(subprocess.TimeoutExpired):
            program.wait(chance.uniform(0.0, 2.0))
            raise AssertionError(program.communicate()[1])
        program.kill()
        killed = time.monotonic()
        eventually(lambda: not scripts.family(program.pid), 20.0, state=lambda: scripts.family(program.pid))
        return time.monotonic() - killed


def test_no_process_of_a_host_that_is_killed_at_a_random_moment_lives_on(start_method: str, tmp_path: Path) -> None:
    times = [kill_a_host_at_a_random_moment(tmp_path, start_method, random.Random(number)) for number in range(3)]

    print(f"{start_method}: gone {max(times) * 1000:.0f} ms after the host at the latest")


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_no_process_of_fifty_hosts_that_are_killed_at_random_moments_lives_on(
    start_method: str, tmp_path: Path
) -> None:
    times = [kill_a_host_at_a_random_moment(tmp_path, start_method, random.Random(number)) for number in range(50)]

    print(f"{start_method}: 50 hosts, gone {max(times) * 1000:.0f} ms after the host at the latest")


FORGETFUL = """
    import sys
    from actors import ActorSystem
    from tests.troupe import Worker

    if __name__ == "__main__":
        system = ActorSystem(start_method=sys.argv[1]).start()
        workers = [system.spawn(Worker(), name=f"w{n}") for n in range(3)]
        print(workers[0].ask(Worker.add, 1).result(timeout=20))
        if sys.argv[2] == "raise":
            raise SystemExit(4)
"""


@pytest.mark.parametrize(("how", "code"), [("return", 0), ("raise", 4)])
def test_a_program_that_forgets_to_stop_leaves_nothing_and_is_quick(
    start_method: str, tmp_path: Path, how: str, code: int
) -> None:
    began = time.monotonic()
    program = scripts.start(scripts.write(tmp_path, FORGETFUL), start_method, how)
    out, err = program.communicate(timeout=30)

    assert (code, "1\n", "") == (program.returncode, out, err)
    assert time.monotonic() - began < 6.0
    eventually(lambda: not scripts.family(program.pid), 2.0, state=lambda: scripts.family(program.pid))


INTERRUPTED = """
    import signal, sys, threading
    from actors import ActorSystem
    from tests.troupe import Worker

    if __name__ == "__main__":
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's jobs in the background ignore it
        with ActorSystem(start_method=sys.argv[1]) as system:
            for number in range(4):
                system.spawn(Worker(), name=f"w{number}").ask(Worker.add, 1).result(timeout=20)
            print("ready", flush=True)
            threading.Event().wait()
"""


def test_ctrl_c_ends_a_program_with_one_traceback_its_own(start_method: str, tmp_path: Path) -> None:
    program = scripts.start(scripts.write(tmp_path, INTERRUPTED), start_method)
    assert program.stdout is not None
    assert "ready\n" == program.stdout.readline()

    os.killpg(program.pid, signal.SIGINT)
    _out, err = program.communicate(timeout=20)

    assert 1 == err.count("Traceback"), err
    assert 1 == err.count("KeyboardInterrupt"), err
    assert "Process " not in err
    assert program.returncode == -signal.SIGINT
    eventually(lambda: not scripts.family(program.pid), 2.0, state=lambda: scripts.family(program.pid))


FORKED = """
    import os, sys
    from actors import ActorsError, ActorSystem
    from tests.troupe import Worker

    if __name__ == "__main__":
        method = sys.argv[1]
        with ActorSystem(start_method=method) as system:
            worker = system.spawn(Worker(), name="worker")
            worker.ask(Worker.add, 1).result(timeout=20)
            pid = os.fork()
            if pid == 0:
                for use in (lambda: worker.tell(Worker.add, 1), lambda: system.actors(), lambda: system.spawn(Worker()),
                            lambda: system.stop(), lambda: system.whereis("worker")):
                    try:
                        use()
                    except ActorsError as error:
                        assert f"belongs to process {os.getppid()}" in str(error), error
                    else:
                        raise AssertionError("no error")
                ours = [os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{n}")]
                assert not any("memfd" in one or "anon_inode" in one for one in ours), ours
                with ActorSystem(start_method=method) as own:
                    assert own.spawn(Worker()).ask(Worker.add, 5).result(timeout=20) == 5
                print("child done", flush=True)
                if len(sys.argv) > 2:
                    sys.exit(0)
            else:
                assert os.waitpid(pid, 0)[1] == 0
                assert worker.ask(Worker.add, 1).result(timeout=20) == 2
                worker.ask(Worker.leave_at_once, 1).exception(timeout=20)
                assert worker.ask(Worker.add, 1).result(timeout=20) == 1
                print("parent done", flush=True)
"""


@pytest.mark.parametrize("leaves", [pytest.param((), id="falls through"), pytest.param(("exit",), id="exits")])
def test_a_fork_of_the_users_own_cannot_use_the_system_nor_hurt_it(
    start_method: str, tmp_path: Path, leaves: tuple[str, ...]
) -> None:
    ended = scripts.run(scripts.write(tmp_path, FORKED), start_method, *leaves)

    assert (0, "child done\nparent done\n") == (ended.code, ended.out), ended.err


OUTLIVING = """
    import os, sys, time
    from actors import ActorSystem
    from tests.troupe import Busy

    if __name__ == "__main__":
        with ActorSystem(start_method=sys.argv[1]) as system:
            busy = system.spawn(Busy(), name="busy")
            busy.tell(Busy.compute)
            while busy.statistics().handler != "compute":
                pass
            if os.fork() == 0:
                os.closerange(1, 3)
                time.sleep(5)
                os._exit(0)
            print("ready", flush=True)
            os.kill(os.getpid(), 9)
"""


def test_a_fork_of_the_users_own_keeps_no_actor_alive(start_method: str, tmp_path: Path) -> None:
    program = scripts.start(scripts.write(tmp_path, OUTLIVING), start_method)
    with program:
        assert program.stdout is not None
        assert "ready\n" == program.stdout.readline()
        program.wait(5)

        eventually(lambda: not scripts.family(program.pid, "busy"), 2.0, state=lambda: scripts.family(program.pid))
        assert scripts.family(program.pid)
    eventually(lambda: not scripts.family(program.pid), 8.0)
