"""What an actor has started ends with it, however it ends and wherever that went."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from actors import Actor, ActorRef, ActorSystem, Backoff, StartError, _marks, _sweep
from tests import scripts
from tests.helpers import eventually
from tests.litter import COPIES, WAYS, Litterer

SECONDS = 10.0
# Ten times what is promised.
GONE_SECONDS = 20.0
AT_ONCE = Backoff(initial=0.0, maximum=0.001, jitter=0.0)


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def living(litter: dict[str, int]) -> list[str]:
    return [way for way, pid in litter.items() if not is_gone(pid)]


def pid_of(ref: ActorRef[Any]) -> int:
    return int(ref.ask("pid_of").result(timeout=SECONDS))


def leave(ref: ActorRef[Litterer], *ways: str) -> dict[str, int]:
    litter: dict[str, int] = ref.ask(Litterer.leave, list(ways or WAYS)).result(timeout=60)
    assert living(litter) == list(litter)
    return litter


def stop_politely(ref: ActorRef[Litterer]) -> None:
    ref.stop()


def stop_by_the_ladder(ref: ActorRef[Litterer]) -> None:
    ref.tell(Litterer.hang)
    eventually(lambda: ref.statistics().handler == "hang", SECONDS)
    ref.stop()


def segfault(ref: ActorRef[Litterer]) -> None:
    ref.tell(Litterer.segfault)


def kill(ref: ActorRef[Litterer]) -> None:
    os.kill(pid_of(ref), signal.SIGKILL)


@pytest.mark.parametrize("end", [stop_politely, stop_by_the_ladder, segfault, kill], ids=lambda end: end.__name__)
def test_nothing_that_an_actor_started_outlives_it(
    start_method: Any, end: Callable[[ActorRef[Litterer]], None]
) -> None:
    with ActorSystem(start_method=start_method) as system:
        litterer = system.spawn(Litterer(), name="litterer", restart="transient", shutdown=0.2, term_grace=0.2)
        sibling = system.spawn(Litterer(), name="sibling")
        kept = leave(sibling, "a program in a session", "a copy in a session")
        litter, pid = leave(litterer), pid_of(litterer)

        end(litterer)
        eventually(lambda: is_gone(pid), SECONDS)
        ended = time.monotonic()
        eventually(lambda: not living(litter), GONE_SECONDS, state=lambda: living(litter))

        print(f"{start_method}, {end.__name__}: gone {(time.monotonic() - ended) * 1000:.0f} ms after the actor")
        assert living(kept) == list(kept)
        assert pid_of(sibling)
    assert living(kept) == []


def test_what_the_next_incarnation_starts_is_not_taken_for_the_last_ones(start_method: Any) -> None:
    with ActorSystem(start_method=start_method) as system:
        litterer = system.spawn(Litterer(), name="litterer", backoff=AT_ONCE)
        first, pid = leave(litterer, "a program in a session"), pid_of(litterer)
        os.kill(pid, signal.SIGKILL)
        second = leave(litterer, "a program in a session", "a copy in a session")
        eventually(lambda: not living(first), GONE_SECONDS)

        os.kill(pid_of(system.spawn(Litterer(), name="other", restart="temporary")), signal.SIGKILL)
        swept = leave(system.spawn(Litterer(), name="another", restart="temporary"), "a program in a session")
        system.whereis("another").stop()
        eventually(lambda: not living(swept), GONE_SECONDS)

        assert living(second) == list(second)


def test_a_start_that_fails_leaves_nothing(start_method: Any) -> None:
    with ActorSystem(start_method=start_method) as system:
        with pytest.raises(StartError, match=r"\d+ was started") as caught:
            system.spawn(StartsAndFails())
        pid = int(str(caught.value).partition(" was started")[0].rpartition(" ")[2])

        eventually(lambda: is_gone(pid), GONE_SECONDS)


class StartsAndFails(Actor):
    """Leaves a program behind before it is ready."""

    def on_start(self) -> None:
        raise LookupError(f"{WAYS['a program in a session']()} was started")


def test_a_stop_of_the_system_leaves_nothing(start_method: Any) -> None:
    with ActorSystem(start_method=start_method) as system:
        litterers = [system.spawn(Litterer(), name=f"l{n}", shutdown=0.2, term_grace=0.2) for n in range(3)]
        litter = {f"{n}: {way}": pid for n, ref in enumerate(litterers) for way, pid in leave(ref).items()}

    # At once, and not a moment later: the block is left when all of it is gone.
    assert living(litter) == []


HOST = """
    import sys, threading
    from actors import ActorSystem
    from tests.litter import Litterer

    if __name__ == "__main__":
        with ActorSystem(start_method=sys.argv[1]) as system:
            litter = system.spawn(Litterer()).ask(Litterer.leave, sys.argv[2].split("|")).result(timeout=60)
            print(repr(litter), flush=True)
            threading.Event().wait()
"""


@pytest.mark.parametrize("stopped", [False, True], ids=["", "its forkserver is stopped"])
def test_what_is_left_when_the_host_itself_is_killed(start_method: Any, tmp_path: Path, stopped: bool) -> None:
    if stopped and start_method != "forkserver":
        pytest.skip("there is none")
    program = scripts.start(scripts.write(tmp_path, HOST), start_method, "|".join(WAYS))
    with program:
        assert program.stdout is not None
        litter: dict[str, int] = eval(program.stdout.readline())
        assert living(litter) == list(litter)
        if stopped:
            os.kill(_forkserver_of(program.pid), signal.SIGSTOP)
        program.kill()
        # The forkserver sweeps behind its actors. Under the other methods nobody is left who could: what is told to die by the kernel does.
        swept = litter if start_method == "forkserver" else {way: litter[way] for way in COPIES}
        try:
            eventually(lambda: not living(swept), GONE_SECONDS, state=lambda: living(swept))
        finally:
            for way in living(litter):
                os.kill(litter[way], signal.SIGKILL)


def _forkserver_of(host: int) -> int:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == host and b"actors._zygote_main" in (folder / "cmdline").read_bytes():
                    return int(folder.name)
            except OSError:
                continue
    raise AssertionError("no forkserver")


def test_an_actor_that_starts_programs_while_it_is_killed_leaves_none(start_method: Any) -> None:
    with ActorSystem(start_method=start_method) as system:
        for number in range(3):
            litterer = system.spawn(Litterer(), name=f"l{number}", restart="temporary")
            stream = iter(litterer.stream(Litterer.starts))
            pids = [next(stream) for _ in range(20)]
            os.kill(pid_of_busy(system, f"l{number}"), signal.SIGKILL)
            with pytest.raises(Exception, match="l"):
                pids += list(stream)
            eventually(lambda pids=pids: all(map(is_gone, pids)), GONE_SECONDS)  # type: ignore[misc]
        mark = _marks.token()
        assert _wearing(mark) == []


def test_who_is_just_becoming_another_program_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    # For a moment of execve a process has its program and not yet its environment, so that nobody sees its mark.
    mark = _marks.make_mark("here", 1, 1)
    look, unseen = _marks.look, [2]
    with subprocess.Popen(["sleep", "1000"], env={**os.environ, _marks.VARIABLE: mark}) as program:

        def at_first_unseen(pid: int, programs: Any) -> tuple[frozenset[str], bool]:
            if pid == program.pid and unseen[0]:
                unseen[0] -= 1
                return frozenset(), False
            return look(pid, programs)

        monkeypatch.setattr(_marks, "look", at_first_unseen)
        assert _sweep.sweep(lambda worn: mark in worn, tuple) == 1
        assert is_gone(program.pid)
    assert unseen == [0]


def test_a_program_without_an_environment_is_not_looked_at_for_ever() -> None:
    with subprocess.Popen(["sleep", "1000"], env={}) as program:
        eventually(lambda: os.readlink(f"/proc/{program.pid}/exe").endswith(("sleep", "coreutils", "busybox")))
        assert _marks.look(program.pid, _marks.interpreters()) == (frozenset(), False)
        assert _sweep.sweep(lambda worn: False, tuple) == 0
        program.kill()


def pid_of_busy(system: ActorSystem, name: str) -> int:
    pids = [info.pid for info in system.actors() if info.path.endswith(name)]
    assert pids[0] is not None
    return pids[0]


def _wearing(token: str) -> list[int]:
    programs = _marks.interpreters()
    pids = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
    return [pid for pid in pids if any(mark.startswith(token) for mark in _marks.worn(pid, programs))]


# --- the subreaper ----------------------------------------------------------------------------------------------------------


def zombies() -> list[int]:
    found = []
    for task in os.listdir("/proc/self/task"):
        with suppress(FileNotFoundError):  # a thread that has ended meanwhile: its children are another one's
            children = Path(f"/proc/self/task/{task}/children").read_text().split()
            found += [pid for pid in map(int, children) if is_gone(pid)]
    return found


def is_held(system: ActorSystem, pid: int) -> bool:
    """Whether the system has seen that it has adopted this process: it looks once a second."""
    host = system._life.host
    assert host is not None
    assert host.sweeper._adopted is not None
    return pid in host.sweeper._adopted._held


def test_a_subreaper_reaps_what_actors_leave_and_nobody_elses_children(start_method: Any) -> None:
    before = zombies()
    mine = os.fork()
    if mine == 0:
        os._exit(7)
    with ActorSystem(start_method=start_method, subreaper=True) as system:
        litterer = system.spawn(Litterer(), name="litterer", restart="temporary", shutdown=0.2, term_grace=0.2)
        litterer.ask(Litterer.leave_short_lived, 5).result(timeout=SECONDS)
        litter = leave(litterer, *(way for way in WAYS if "process" not in way))

        # Adopted while their actor lives, they are reaped when they end.
        eventually(lambda: zombies() == [*before, mine] or zombies() == [mine, *before], GONE_SECONDS, state=zombies)
        orphan = litter["a program whose parent is gone"]
        eventually(lambda: is_held(system, orphan), GONE_SECONDS)
        os.kill(orphan, signal.SIGKILL)
        eventually(lambda: not Path(f"/proc/{orphan}").exists(), GONE_SECONDS)

        os.kill(pid_of(litterer), signal.SIGKILL)
        eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in litter.values()), GONE_SECONDS)
        assert pid_of(system.spawn(Litterer(), name="another"))

    assert os.waitstatus_to_exitcode(os.waitpid(mine, 0)[1]) == 7
    assert set(zombies()) <= set(before)


# --- what it costs ----------------------------------------------------------------------------------------------------------


def test_a_sweep_costs_little() -> None:
    count = sum(entry.isdigit() for entry in os.listdir("/proc"))
    began = time.perf_counter()
    for _ in range(20):
        assert _sweep.sweep(lambda worn: "nobody" in worn, tuple) == 0
    seconds = (time.perf_counter() - began) / 20

    print(f"one pass over {count} processes: {seconds * 1000:.2f} ms, {seconds * 1e5 / count:.2f} ms for each hundred")


def test_many_ends_are_few_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[float] = []
    over = threading.Event()

    def swept(*_: object) -> int:
        passes.append(time.monotonic())
        over.set()
        return 0

    monkeypatch.setattr(_sweep, "sweep", swept)
    sweeper = _sweep.Sweeper("test-sweeper")
    for number in range(500):
        sweeper.note_start(f"mark:{number}", number)
        sweeper.note_end(f"mark:{number}")
    assert over.wait(SECONDS)
    sweeper.stop(SECONDS)

    assert len(passes) <= 5
