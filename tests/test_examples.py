"""Each example runs as a program of its own, and prints what it is about."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from actors import SpecError
from examples import wordcount
from tests.docs_runner import missing_promise

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted(path for path in (ROOT / "examples").glob("*.py") if not path.name.startswith("_"))
OUTPUT = {
    "counter.py": ("total: 16", "after a kill: 11", "incarnation: 2"),
    "daemon_thread.py": ("'be' is in lines [1, 1]", "'question' is in lines [2]"),
    "tasks.py": (
        "a factor: 6857",
        "in order: [5, 2147483647, 13]",
        "1 is fine",
        "2 is fine",
        "died: SIGKILL",
        "killed after 5.0 s",
        "5 is fine",
    ),
    "limits.py": (
        "pages read: 40",
        "no faster than the rate: True",
        "refused by the rate after 3 sends",
        "the site has seen: 43",
        "the site is down: SIGKILL",
        "left alone for half a second: True",
        "page 1 again",
        "breaker: closed",
    ),
    "channel.py": ("pages read: 300", "read twice, at most the one that the dead reader held: True"),
    "pool.py": (
        "workers: 3",
        "every account is somebody's: True",
        "out of order: 0",
        "lost with the one that was killed, at most one: True",
    ),
    "function_pool.py": (
        "factors: [6857, 2147483647, 5]",
        "1: 1 came back",
        "3: its worker was killed by SIGKILL",
        "5: took too long, and its worker was killed",
        "6: 6 came back",
        "of an endless row: [5, 101, 17, 103, 13]",
    ),
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


def besides_kills(errors: str) -> list[str]:
    """The lines of standard error without the log of the kills that an example is about."""
    kills = re.compile(
        r"event=actors\.(child_exited|crash_report) .*kind=(signal|hang .*a call of \w+ was not done within)"
        r"|event=actors\.task_timed_out "
        r"|event=actors\.breaker_opened "
        r"|event=actors\.dead_letters .*reason=crashed"
    )
    return [
        line for line in errors.splitlines() if line.strip() and not line.startswith("    ") and not kills.search(line)
    ]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_is_run_by_a_test(path: Path) -> None:
    assert path.name in {*OUTPUT, "wordcount.py", "daemon.py"}  # the daemon: test_daemon.py


@pytest.mark.parametrize("name", OUTPUT)
def test_an_example_prints_its_result_and_nothing_else(name: str) -> None:
    ran = run(f"examples/{name}")

    assert ran.returncode == 0, ran.stderr
    assert besides_kills(ran.stderr) == []
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

    assert ran.returncode == 0, ran.stderr
    assert besides_kills(ran.stderr) == []
    promises = ("word ... count", "the ... 3", "be ... 2", "files ... 2", "messages ...", "restarts ...", "seconds ...")
    assert missing_promise(promises, ran.stdout) is None, ran.stdout


def test_on_a_terminal_there_is_a_bar_and_the_tables_are_drawn(texts: Path) -> None:
    shown = run_on_a_terminal("-m", "actors", "run", "examples/wordcount.py", str(texts), "--top", "2")

    assert "files" in shown.partition("word")[0]
    assert re.search(r"│ the +│ +3 │", shown), shown
    assert re.search(r"│ restarts +│ +0 │", shown), shown


def run_on_a_terminal(*command: str) -> str:
    """Run it with a terminal of its own for both outputs; returns what came there."""
    ours, theirs = os.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "100"}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # EIO: nobody has the other end any more
            while chunk := os.read(ours, 1 << 16):
                shown += chunk
    os.close(ours)
    assert process.returncode == 0, shown.decode()
    return shown.decode()


def test_a_folder_that_does_not_exist_is_one_sentence_and_exit_code_2() -> None:
    ran = run("-m", "actors", "run", "examples/wordcount.py", "/no/such/folder")

    assert ran.returncode == 2
    assert ran.stdout == ""
    assert ran.stderr.startswith("actors: folder '/no/such/folder' does not exist: give a folder")
    assert ran.stderr.count("\n") == 1
