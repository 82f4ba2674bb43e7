"""Each example runs as a program of its own, and prints what it is about."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from actors import SpecError
from examples import wordcount
from tests.docs_runner import missing_promise

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted(path for path in (ROOT / "examples").glob("*.py") if path.name != "__init__.py")
OUTPUT = {
    "counter.py": ("total: 16", "after a kill: 11", "incarnation: 2"),
    "daemon_thread.py": ("'be' is in lines [1, 1]", "'question' is in lines [2]"),
    "service_asyncio.py": (
        "2147483647 = 2147483647",
        "360 = 2 * 2 * 2 * 3 * 3 * 5",
        "600851475143 = 71 * 839 * 1471 * 6857",
        "refused: 1 has no prime factors: give a whole number from 2 on",
    ),
}


def run(*command: str, timeout: float = 50.0) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default"}
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_is_run_by_a_test(path: Path) -> None:
    assert path.name in {*OUTPUT, "wordcount.py"}


@pytest.mark.parametrize("name", OUTPUT)
def test_an_example_prints_its_result_and_nothing_else(name: str) -> None:
    ran = run(f"examples/{name}")

    assert (ran.returncode, ran.stderr) == (0, "")
    assert missing_promise(OUTPUT[name], ran.stdout) is None, ran.stdout


# --- the word count -----------------------------------------------------------------------------------------------------


def test_words_are_letters_in_lower_case(texts: Path) -> None:
    expected = Counter(
        [
            "to",
            "be",
            "or",
            "not",
            "to",
            "be",
            "that",
            "is",
            "the",
            "question",
            "the",
            "café",
            "is",
            "the",
            "one",
            "x",
            "y",
        ]
    )

    assert wordcount.plain_count(str(texts)) == expected


def test_the_parts_of_a_split_are_the_whole_and_no_word_is_in_two() -> None:
    words = {f"w{n}": n for n in range(100)}
    parts = wordcount.split(words, 3)

    assert sum(map(len, parts)) == 100
    assert parts[0] | parts[1] | parts[2] == words
    assert all(parts)


@pytest.mark.parametrize(("folder", "error"), [("/no/such/folder", "does not exist"), (".", "holds no text")])
def test_a_folder_without_text_is_refused(
    folder: str, error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SpecError, match=error):
        wordcount.text_files(folder)


def test_the_command_prints_a_table_and_no_bar_where_there_is_no_terminal(texts: Path) -> None:
    ran = run("-m", "actors", "run", "examples/wordcount.py", str(texts), "--chaos", "--top", "2")

    assert (ran.returncode, ran.stderr) == (0, "")
    promises = ("word ... count", "the ... 3", "be ... 2", "files ... 2", "messages ...", "restarts ...", "seconds ...")
    assert missing_promise(promises, ran.stdout) is None, ran.stdout


def test_a_folder_that_does_not_exist_is_one_sentence_and_exit_code_2() -> None:
    ran = run("-m", "actors", "run", "examples/wordcount.py", "/no/such/folder")

    assert ran.returncode == 2
    assert ran.stdout == ""
    assert ran.stderr.startswith("actors: folder '/no/such/folder' does not exist: give a folder")
    assert ran.stderr.count("\n") == 1
