"""Bad input: one clear error in the caller, with what to do next, in bounded time, and nothing left behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors import (
    Actor,
    ActorsError,
    ActorSystem,
    ArgumentsError,
    HandlerNotFoundError,
    SpecError,
    StartError,
    Supervisor,
    child,
    handler,
)
from tests import scripts
from tests.broken_import import Imported
from tests.helpers import eventually
from tests.troupe import Worker

pytestmark = pytest.mark.conformance


class Raises(Actor):
    def on_start(self) -> None:
        raise LookupError("no configuration for this actor")


class Exits(Actor):
    def on_start(self) -> None:
        os._exit(9)


class Leaves(Actor):
    def __init__(self, code: int | str | None) -> None:
        super().__init__()
        self.code = code

    def on_start(self) -> None:
        sys.exit(self.code)


class NeverReady(Actor):
    def on_start(self) -> None:
        threading.Event().wait()


class Holding(Actor):
    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


class Fails(Actor):
    """Starts when told so by a file."""

    def __init__(self, file: str) -> None:
        super().__init__()
        self.file = file

    def on_start(self) -> None:
        if Path(self.file).exists():
            raise RuntimeError("the file is there")

    @handler
    def hello(self) -> str:
        return "hello"


def test_a_handler_that_does_not_exist_is_named_with_what_there_is(system: ActorSystem) -> None:
    worker = system.spawn(Worker(), name="worker")

    for send in (worker.ask, worker.tell):
        with pytest.raises(HandlerNotFoundError, match=r"addd.*add"):
            send("addd", 1)


def test_arguments_that_do_not_fit_are_refused_with_the_signature(system: ActorSystem) -> None:
    worker = system.spawn(Worker(), name="worker")

    for arguments in ((), (1, 2)):
        with pytest.raises(ArgumentsError, match=r"add\(amount"):
            worker.ask("add", *arguments)


def test_what_cannot_be_sent_to_the_child_is_named_by_its_attribute(system: ActorSystem) -> None:
    with pytest.raises(SpecError, match="attribute 'lock' of Holding"):
        system.spawn(Holding())

    assert () == system.actors()


def test_an_import_error_in_the_child_comes_with_its_traceback(tmp_path: Path, start_method: str) -> None:
    if start_method == "fork":
        pytest.skip("a fork has imported what its host has")
    program = scripts.write(
        tmp_path,
        """
        import os, sys
        from actors import ActorSystem, StartError
        from tests.broken_import import Imported

        if __name__ == "__main__":
            os.environ["ACTORS_TEST_BREAKS_IMPORT"] = "1"
            with ActorSystem(start_method=sys.argv[1]) as system:
                try:
                    system.spawn(Imported())
                except StartError as error:
                    print(error)
                print(system.actors())
        """,
    )
    ended = scripts.run(program, start_method)

    assert ended.code == 0, ended.err
    assert "/system/imported did not start" in ended.out
    assert "ImportError: no such library on this machine" in ended.out
    assert "broken_import.py" in ended.out
    assert ended.out.endswith("()\n")
    assert Imported.__module__ == "tests.broken_import"


def test_on_start_that_raises_comes_with_its_traceback(system: ActorSystem) -> None:
    with pytest.raises(StartError, match=r"(?s)/system/raises did not start.*LookupError: no configuration.*on_start"):
        system.spawn(Raises())

    eventually(lambda: () == system.actors(), state=system.actors)


def test_on_start_that_ends_its_process_is_told_with_the_exit_code(system: ActorSystem) -> None:
    with pytest.raises(StartError, match=r"/system/exits did not start.*exit code 9"):
        system.spawn(Exits())


@pytest.mark.parametrize(
    ("code", "said"),
    [(4, "on_start left with code 4"), (None, "on_start left with code 0"), ("no disk", "with code 1: no disk")],
)
def test_on_start_that_leaves_by_sys_exit_is_told_with_its_code(
    system: ActorSystem, code: int | str | None, said: str
) -> None:
    with pytest.raises(StartError, match=rf"/system/leaves did not start: SystemExit: .*{said}"):
        system.spawn(Leaves(code))


def test_on_start_that_never_returns_ends_at_start_timeout(system: ActorSystem) -> None:
    other = system.spawn(Worker(), name="other")
    began = time.monotonic()

    with pytest.raises(StartError, match=r"not ready in time: start_timeout=0\.5 s is over"):
        system.spawn(NeverReady(), start_timeout=0.5)

    assert time.monotonic() - began < 3.0
    assert 1 == other.ask(Worker.add, 1).result(timeout=5)


def test_a_tree_below_which_an_actor_is_not_ready_says_at_which_line_it_waited(start_method: str) -> None:
    seconds = 5 if start_method == "spawn" else 1.5  # by then it waits, also where everything has to be imported first
    inner = Supervisor("inner", children=[child(NeverReady(), name="never", start_timeout=seconds)])
    said = f"/app/inner/never did not start: .*not ready in time: start_timeout={seconds} s is over"
    with pytest.raises(StartError, match=said) as caught:
        ActorSystem(Supervisor("app", children=[inner]), start_method=start_method).start()  # type: ignore[arg-type]

    assert "in on_start" in str(caught.value)
    assert "_attendant.py" not in str(caught.value)


def test_a_tree_of_which_one_actor_does_not_start_does_not_start(start_method: str) -> None:
    tree = Supervisor("app", children=[child(Worker(), name="first"), Raises(), child(Worker(), name="last")])
    system = ActorSystem(tree, start_method=start_method)  # type: ignore[arg-type]

    with pytest.raises(StartError, match=r"/app/raises did not start.*no configuration"):
        system.start()

    assert not system.is_running()
    system.stop()
    with pytest.raises(SpecError, match="started before"):
        system.start()


def test_an_actor_that_fails_to_restart_is_tried_again_until_it_starts(system: ActorSystem, tmp_path: Path) -> None:
    file = tmp_path / "in the way"
    actor = system.spawn(Fails(str(file)), name="fails", max_open_asks=10)
    file.touch()
    pid = system.actors()[0].pid
    assert pid is not None

    os.kill(pid, 9)
    reply = actor.ask(Fails.hello)
    eventually(lambda: actor.incarnation >= 2, state=system.actors)
    file.unlink()

    assert "hello" == reply.result(timeout=5)


def test_a_name_that_is_taken_is_refused(system: ActorSystem) -> None:
    system.spawn(Worker(), name="worker")

    with pytest.raises(SpecError, match="has a child named 'worker' already"):
        system.spawn(Worker(), name="worker")
    with pytest.raises(SpecError, match="twice"):
        ActorSystem(Supervisor("app", children=[child(Worker(), name="twice"), child(Worker(), name="twice")]))

    assert 1 == len(system.actors())


UNGUARDED = """
    import sys
    from actors import ActorSystem
    from tests.troupe import Worker

    with ActorSystem(start_method=sys.argv[1]) as system:
        print(system.spawn(Worker()).ask(Worker.add, 1).result(timeout=20))
"""


def test_a_missing_main_guard_is_one_clear_error(tmp_path: Path, start_method: str) -> None:
    program = scripts.start(scripts.write(tmp_path, UNGUARDED), start_method)
    out, err = program.communicate(timeout=20)

    if start_method == "fork":
        assert (0, "1\n", "") == (program.returncode, out, err)
    else:
        assert program.returncode == 1
        assert 'if __name__ == "__main__":' in err
        assert "StartError" in err
        assert "ActorsError" in err
        assert "" == out
        assert err.count("StartError") == 1, err
    eventually(lambda: not scripts.family(program.pid), 2.0, state=lambda: scripts.family(program.pid))


LIMITED = """
    import os, resource, sys, time
    from actors import ActorSystem, StartError
    from tests.troupe import Worker

    if __name__ == "__main__":
        if sys.argv[2] == "processes":
            import encodings.ascii
            os.setgid(54321)
            os.setuid(54321)
            resource.setrlimit(resource.RLIMIT_NPROC, (24, 24))
        else:
            resource.setrlimit(resource.RLIMIT_NOFILE, (128, 256))
        with ActorSystem(start_method=sys.argv[1]) as system:
            refs = []
            try:
                while len(refs) < 40:
                    refs.append(system.spawn(Worker(), name=f"w{len(refs)}"))
            except StartError as error:
                print(str(error))
            pids = [ref.ask(Worker.pid_of).result(timeout=20) for ref in refs]
            print(len(refs), len(set(pids)), len(system.actors()))
            os.kill(pids[0], 9)
            print(refs[0].ask(Worker.add, 3).result(timeout=20))
            refs.pop().stop()
            while len(system.actors()) > len(refs):
                time.sleep(0.01)
            refs.append(system.spawn(Worker(), name="again"))
            print(refs[-1].ask(Worker.add, 5).result(timeout=20))
"""


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        pytest.param(
            "descriptors", r"it needs \d+ descriptors, \d+ of at most 256 are in use.*ulimit -Hn", id="ulimit -n"
        ),
        pytest.param(
            "processes",
            r"needs 2 processes and threads, and user 54321 has \d+ of at most 24.*ulimit -u",
            id="ulimit -u",
        ),
    ],
)
def test_a_limit_of_the_machine_is_named_and_hurts_nobody_who_runs(
    open_folder: Path, start_method: str, limit: str, expected: str
) -> None:
    if limit == "processes":
        _needs_another_user()
    ended = scripts.run(scripts.write(open_folder, LIMITED), start_method, limit)

    assert ended.code == 0, ended.err + ended.out
    error, figures, third, again = ended.out.split("\n")[:4]

    assert re.search(expected, error), error
    started, alive, known = map(int, figures.split())
    assert 4 <= started == alive == known
    assert ("3", "5") == (third, again)
    print(f"{start_method}, {limit}: {started} actors")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can read."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def _needs_another_user() -> None:
    """Skip where this process cannot become somebody else, or that user cannot run this interpreter."""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    command = [sys.executable, "-c", "import actors"]
    try:
        works = subprocess.run(command, user=54321, cwd=scripts.ROOT, check=False, capture_output=True).returncode == 0
    except OSError:
        works = False
    if not works:
        pytest.skip("this interpreter is for root alone")


NOBODY = """
    import os, sys
    from actors import ActorSystem
    from tests.troupe import Worker

    if __name__ == "__main__":
        os.setgid(54322)
        os.setuid(54322)
        kept = [os.pipe() for _ in range(1100)] if sys.argv[2] == "small" else []
        with ActorSystem(start_method=sys.argv[1]) as system:
            worker = system.spawn(Worker(), name="worker")
            for _ in range(3000):
                worker.tell(Worker.add, 1)
            replies = [worker.ask(Worker.add, 1) for _ in range(1000)]
            print([reply.result(timeout=20) for reply in replies][-1], worker.statistics().pipe_bytes)
"""


@pytest.mark.parametrize("pipes", ["large", "small"])
def test_a_user_who_is_not_root_has_all_of_it_with_pipes_as_small_as_they_come(
    open_folder: Path, start_method: str, pipes: str
) -> None:
    _needs_another_user()
    ended = scripts.run(scripts.write(open_folder, NOBODY), start_method, pipes)

    assert ended.code == 0, ended.err
    last, size = map(int, ended.out.split())
    assert last == 4000
    assert (size < 65536) == (pipes == "small")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("x = 1\n", r"tree", id="no tree"),
        pytest.param(None, r"no.*file|not found|does not exist", id="no file"),
        pytest.param("raise RuntimeError('broken topology')\n", r"broken topology", id="raises"),
    ],
)
def test_a_topology_that_cannot_be_run_is_one_line_for_people(tmp_path: Path, text: str | None, expected: str) -> None:

    path = tmp_path / "topology.py"
    if text is not None:
        path.write_text(text)
    ended = subprocess.run(
        [sys.executable, "-m", "actors", "run", str(path)], capture_output=True, text=True, timeout=20, check=False
    )

    assert ended.returncode not in {0, 1}
    assert re.search(expected, ended.stderr), ended.stderr
    assert ended.stderr.strip().split("\n")[-1].startswith("actors: ")


def test_a_folder_that_does_not_exist_is_one_line_for_people(tmp_path: Path) -> None:

    missing = tmp_path / "nowhere"
    ended = subprocess.run(
        [sys.executable, "-m", "actors", "run", "examples/wordcount.py", str(missing)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )

    assert ended.returncode != 0
    assert str(missing) in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_system_that_is_made_in_a_child_of_its_own_program_says_so() -> None:
    from multiprocessing import process

    current = process.current_process()
    current._inheriting = True  # type: ignore[attr-defined]
    try:
        with pytest.raises(ActorsError, match="__main__"):
            ActorSystem()
    finally:
        del current._inheriting  # type: ignore[attr-defined]
