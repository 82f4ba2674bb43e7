"""The page of the command line shows what the command line says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs_runner import read_page
from tests.unit.cli.test_commands import actors

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "reference" / "cli.md").read_text()
SHOWN_HELP = re.findall(r"^```text\n(Usage: .*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SESSION = re.search(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"\$ actors ([^\n]*)\n(.*?)(?=\n\$ |\Z)", SESSION[1] if SESSION else "", re.DOTALL)


def words(text: str) -> list[str]:
    """What is said, however it is broken into lines: releases of click differ in that."""
    return text.split()


@pytest.mark.parametrize("shown", SHOWN_HELP, ids=lambda shown: shown.splitlines()[0])
def test_the_help_of_a_command_stands_on_the_page(shown: str, tmp_path: Path) -> None:
    command = re.findall(r"Usage: actors (run|tree|)", shown)[0]
    said = actors(*command.split(), "--help", cwd=tmp_path).stdout

    assert words(said) == words(shown)


def test_every_command_stands_on_the_page(tmp_path: Path) -> None:
    said = actors("--help", cwd=tmp_path).stdout
    commands = re.findall(r"^  (\w+)  ", said.partition("Commands:")[2], re.MULTILINE)

    assert [re.findall(r"Usage: actors (\w*)", shown)[0] for shown in SHOWN_HELP] == ["", *commands]


@pytest.mark.parametrize(("arguments", "shown"), COMMANDS)
def test_a_command_on_the_page_prints_what_the_page_says(arguments: str, shown: str, tmp_path: Path) -> None:
    page = read_page(PAGE)
    assert page is not None
    (tmp_path / "shop.py").write_text(page.script)
    ran = actors(*arguments.split(), cwd=tmp_path)

    assert words(shown) == words(ran.stdout), ran.stderr
    assert ran.returncode == 0


def test_the_page_shows_commands() -> None:
    assert len(COMMANDS) == 3
