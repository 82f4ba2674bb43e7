"""The types of the public API are a promise: what is inferred and what is refused, by mypy and by pyright."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests" / "typing"
API, WRONG = FOLDER / "api.py", FOLDER / "wrong.py"

needs_mypy = pytest.mark.skipif(find_spec("mypy") is None, reason="mypy is not installed")
needs_pyright = pytest.mark.skipif(
    find_spec("pyright") is None and shutil.which("pyright") is None, reason="pyright is not installed"
)


def mypy(file: Path) -> set[int]:
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--no-error-summary", "--no-pretty"]
    done = subprocess.run([*command, str(file)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert not done.stderr, done.stderr
    return {int(line.split(":")[1]) for line in done.stdout.splitlines() if ": error:" in line}


def pyright(file: Path, folder: Path) -> set[int]:
    """Checks a copy with a configuration of its own: that of the project leaves out what is meant to be wrong."""
    shutil.copy(file, folder)
    options = {"include": [file.name], "extraPaths": [str(ROOT)], "pythonVersion": "3.11", "pythonPlatform": "Linux"}
    (folder / "pyrightconfig.json").write_text(json.dumps(options))
    command = [sys.executable, "-m", "pyright"] if find_spec("pyright") else ["pyright"]
    done = subprocess.run(
        [*command, "--pythonpath", sys.executable, "--outputjson", "--project", str(folder)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    report = json.loads(done.stdout[done.stdout.index("{") :])
    assert report["summary"]["filesAnalyzed"] == 1, done.stdout
    found = report["generalDiagnostics"]
    return {entry["range"]["start"]["line"] + 1 for entry in found if entry["severity"] == "error"}


def refused_lines() -> set[int]:
    return {number for number, line in enumerate(WRONG.read_text().splitlines(), 1) if line.endswith("# refused")}


@needs_mypy
def test_mypy_infers_what_the_api_promises() -> None:
    assert mypy(API) == set()


@needs_mypy
def test_mypy_refuses_every_wrong_use_and_nothing_else() -> None:
    assert mypy(WRONG) == refused_lines()


@needs_pyright
def test_pyright_infers_what_the_api_promises(tmp_path: Path) -> None:
    assert pyright(API, tmp_path) == set()


@needs_pyright
def test_pyright_refuses_every_wrong_use_and_nothing_else(tmp_path: Path) -> None:
    assert pyright(WRONG, tmp_path) == refused_lines()
