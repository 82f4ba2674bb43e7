from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from actors.cli import main

ROOT = Path(__file__).parents[3]

TOPOLOGY = """
from actors import Supervisor

def tree(*, size: int = 1) -> Supervisor:
    \"\"\"
    Make a tree.

    Args:
        size: How large.
    \"\"\"
    return Supervisor(f"size-{size}")

def main(system, word: str = "none", *, code: int = 0) -> int:
    print("word", word)
    return code
"""


def actors(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, as a user does in *cwd*."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "actors", *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )


def test_what_main_returns_is_the_exit_code(tmp_path: Path) -> None:
    (tmp_path / "topo.py").write_text(TOPOLOGY)
    ran = actors("run", "topo.py", "hello", "--code", "7", "--size", "3", cwd=tmp_path)

    assert (ran.returncode, ran.stdout, ran.stderr) == (7, "word hello\n", "")


def test_help_behind_the_topology_is_the_topologys(tmp_path: Path) -> None:
    (tmp_path / "topo.py").write_text(TOPOLOGY)
    ran = actors("run", "topo.py", "--help", cwd=tmp_path)

    assert ran.returncode == 0
    assert "Usage: actors run topo.py [OPTIONS] [WORD]" in ran.stdout
    assert "How large." in ran.stdout
    assert "word" not in ran.stdout


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        pytest.param(["run", "topo.py", "--size", "x"], "'x' is not a valid integer", id="value"),
        pytest.param(["run", "topo.py", "--sise", "3"], "No such option", id="option"),
        pytest.param(["run", "topo.py", "one", "two"], "unexpected extra argument", id="argument"),
        pytest.param(["run", "--start-method", "spwan", "topo.py"], "'spwan' is not one of", id="start method"),
        pytest.param(["run", "empty.py"], "actors: 'tree' of module empty is missing", id="no tree"),
        pytest.param(["tree", "nowhere.py"], "actors: there is no file 'nowhere.py'", id="no file"),
        pytest.param(["run"], "Missing argument", id="no target"),
        pytest.param(["frob"], "No such command 'frob'", id="command"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_exit_code_2(tmp_path: Path, arguments: list[str], error: str) -> None:
    (tmp_path / "topo.py").write_text(TOPOLOGY)
    (tmp_path / "empty.py").write_text("")
    ran = actors(*arguments, cwd=tmp_path)

    assert ran.returncode == 2
    assert error in ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.stdout == ""


def test_an_error_in_the_topology_shows_where_in_the_users_file_alone(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("x = 1\ny = x / 0\n")
    ran = actors("run", "bad.py", cwd=tmp_path)

    assert ran.returncode == 2
    assert "y = x / 0" in ran.stderr
    assert "importlib" not in ran.stderr
    assert ran.stderr.endswith("actors: bad.py could not be imported: ZeroDivisionError: division by zero\n")


def test_the_tree_is_printed_and_not_started(tmp_path: Path) -> None:
    text = (
        "from actors import Actor, Supervisor, child\n"
        "class Pump(Actor): pass\n"
        "tree = Supervisor('plant', strategy='rest_for_one', children=[\n"
        "    child(Pump(), name='first'),\n"
        "    Supervisor('pumps', children=[Pump(), child(Pump(), restart='transient')], max_restarts=4, period=2.5),\n"
        "    child(Pump(), name='last'),\n"
        "])\n"
    )
    (tmp_path / "plant.py").write_text(text)
    ran = actors("tree", "plant.py", cwd=tmp_path)

    assert ran.stdout.splitlines() == [
        "plant         rest_for_one, at most 3 restarts in 5 s",
        "├─ first      Pump, permanent",
        "├─ pumps      one_for_one, at most 4 restarts in 2.5 s",
        "│  ├─ pump    Pump, permanent",
        "│  └─ pump-2  Pump, transient",
        "└─ last       Pump, permanent",
    ]


def test_without_click_the_error_says_what_to_type(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "click", None)  # what Python does where a module must not be found
    code = main(["run", "topo.py"])

    assert code == 2
    assert "pip install click rich (the extra 'cli')" in capsys.readouterr().err
