"""Programs whose output goes where nothing can be written any more: it is lost, and nothing else is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests import scripts

SECONDS = 60.0

PROGRAM = """
    import concurrent.futures, os, sys
    from actors import Actor, ActorDied, ActorSystem, handler

    class Talker(Actor):
        restart = "transient"

        @handler
        def say(self, text: str) -> None:
            print(text)
            self.stop()

        @handler
        def die(self) -> None:
            os.kill(os.getpid(), 9)

        @handler
        def same(self, value: int) -> int:
            return value

    print("module", __name__)

    if __name__ == "__main__":
        kinds = []
        with ActorSystem(start_method=sys.argv[1], on_crash=lambda report: kinds.append(report.kind)) as system:
            talker, *_others = [system.spawn(Talker(), name=f"talker-{number}") for number in range(3)]
            print("in the middle")
            assert isinstance(talker.ask(Talker.die).exception(timeout=20), ActorDied)
            assert 3 == talker.ask(Talker.same, 3).result(timeout=20)
            ended = concurrent.futures.Future()
            system.watch(talker, lambda down: ended.set_result((down.reason.kind, down.reason.exit_code)))
            talker.ask(Talker.say, "last words").result(timeout=20)
            print(*ended.result(timeout=20), kinds, file=sys.stderr)
        if len(sys.argv) > 2:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
"""


def run(tmp_path: Path, output: str, *arguments: str) -> list[str]:
    """What the program says on standard error; its standard output is buffered, as it is where nobody says otherwise."""
    program = scripts.write(tmp_path, PROGRAM)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with open(output, "w") as stream:
        ended = subprocess.run(
            [sys.executable, str(program), *arguments],
            env={**environment, "PYTHONPATH": str(scripts.ROOT)},
            stdout=stream,
            stderr=subprocess.PIPE,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    assert ended.returncode == 0, ended.stderr
    return ended.stderr.splitlines()


def test_an_actor_starts_again_and_ends_normally_though_its_output_cannot_be_written(
    start_method: Any, tmp_path: Path
) -> None:
    said = run(tmp_path, "/dev/full", start_method, "full")

    assert ["normal 0 ['signal']"] == [line for line in said if not line.startswith((" ", "timestamp="))]
    (lost,) = [line for line in said if 'hook="flush of stdout"' in line and "incarnation=2" in line]
    assert "No space left on device" in lost


def test_what_a_module_prints_as_it_is_imported_stands_there_once_whoever_was_forked_after_that(
    start_method: Any, tmp_path: Path
) -> None:
    run(tmp_path, str(tmp_path / "output"), start_method)

    lines = (tmp_path / "output").read_text().splitlines()
    assert "module __main__" == lines[0]
    # Each under spawn, but the one that was killed before it had written anything; none where there is no import.
    imports = {"forkserver": 1, "spawn": 3, "fork": 0}[start_method]
    assert sorted(["in the middle", "last words", "module __main__", *["module __mp_main__"] * imports]) == sorted(
        lines
    )
