"""Programs whose main module no other process can import: what is said of what they define, and the way out."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests import scripts

SECONDS = 60.0

PROGRAM = textwrap.dedent(
    """
    import multiprocessing, sys
    from actors import Actor, ActorExecutor, ActorSystem, Pool, Supervisor, handler, pool

    sys.modules["cloudpickle"] = None
    method = sys.argv[1]

    class Echo(Actor):
        @handler
        def echo(self, value: int) -> int:
            return value

    def same(value):
        return value

    def tell(what, call):
        try:
            print(what, "=", call())
        except Exception as error:
            print(what, "=", type(error).__name__, error)

    context = multiprocessing.get_context(method)
    tell("tree", lambda: ActorSystem(Supervisor("x", children=[Echo()]), start_method=method).name[0])
    with ActorSystem(start_method=method) as system:
        tell("actor", lambda: system.spawn(Echo()).ask(Echo.echo, 3).result(timeout=20))
        tell("pool of actors", lambda: system.spawn_pool(pool(Echo(), 1)).ask(Echo.echo, 3).result(timeout=20))
        tell("task", lambda: system.tasks().run(same, 3).result(timeout=20))
        print("started =", len(system.actors()))
    with ActorExecutor(1, context) as executor:
        tell("call", lambda: executor.submit(same, 3).result(timeout=20))
        tell("calls", lambda: [*executor.map(same, [3])])
    with ActorExecutor(1, context, same, (3,)) as executor:
        tell("initializer", lambda: executor.submit(len, "abc").result(timeout=20))
    with Pool(1, context=context) as workers:
        tell("apply", lambda: workers.apply(same, (3,)))
        tell("map", lambda: workers.map(same, [3]))
        tell("imap", lambda: [*workers.imap(same, [3])])
    """
)


CALLS = ("actor", "pool of actors", "task", "call", "apply")
MAPS = ("calls", "map", "imap")


def _run(method: str, *, on_stdin: bool) -> dict[str, str]:
    """What the program says of each of its tries."""
    ended = subprocess.run(
        [sys.executable, *(["-"] if on_stdin else ["-c", PROGRAM]), method],
        input=PROGRAM if on_stdin else "",
        cwd=scripts.ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return dict(line.split(" = ", 1) for line in ended.stdout.splitlines())


@pytest.mark.parametrize("on_stdin", [False, True], ids=["-c", "stdin"])
def test_what_no_other_process_can_import_is_refused_before_anything_starts(start_method: str, on_stdin: bool) -> None:
    said = _run(start_method, on_stdin=on_stdin)

    started = said.pop("started")
    if start_method == "fork":
        whole = {"tree": "x", "initializer": "3"}
        assert said == whole | dict.fromkeys(CALLS, "3") | dict.fromkeys(MAPS, "[3]")
        return
    assert started == "0"
    assert all('start_method="fork" of an ActorSystem' in text for text in said.values())
    assert said["initializer"].startswith("BrokenProcessPool")
    assert said["tree"].startswith("SpecError /x/echo: ")
    for what, text in said.items():
        thing = "class Echo" if what in ("tree", "actor", "pool of actors") else "function same"
        assert f"{thing} of module __main__ is not to be found in another process" in text


def test_a_program_under_a_debugger_runs_as_it_does_without(start_method: str, tmp_path: Path) -> None:
    program = scripts.write(
        tmp_path,
        """
        import sys
        from actors import Actor, ActorSystem, handler

        class Echo(Actor):
            @handler
            def echo(self, value: int) -> int:
                return value

        if __name__ == "__main__":
            with ActorSystem(start_method=sys.argv[1]) as system:
                print("echo", system.spawn(Echo()).ask(Echo.echo, 3).result(timeout=20))
        """,
    )
    ended = subprocess.run(
        [sys.executable, "-m", "pdb", "-c", "continue", str(program), start_method],
        env={**os.environ, "PYTHONPATH": str(scripts.ROOT)},
        input="quit\n",
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert "echo 3\n" in ended.stdout, ended.stdout + ended.stderr
