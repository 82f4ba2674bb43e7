"""
Runs the code of a page as a reader would: all its ```python blocks in order, as one script in a process of its own.

What a block defines (imports, functions, classes, CONSTANTS) stands at the top level of the script, since the processes of its actors
import it; everything else is put behind ``if __name__ == "__main__":``, unless the block does so itself.

What a page promises is checked: the comment behind a ``print(...)`` and the lines of a ```text block that follows a ```python block must
come in the output in that order. ``...`` in a promise stands for anything.
"""

from __future__ import annotations

import ast
import io
import os
import re
import subprocess
import sys
import tokenize
from pathlib import Path

import attrs

DEFINITIONS = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```\s*$", re.MULTILINE | re.DOTALL)


@attrs.frozen
class Page:
    """The script of a page and the lines that it promises to print, in order."""

    script: str
    promises: tuple[str, ...]


def read_page(text: str) -> Page | None:
    """Return what a page holds, or None when it has no ```python block."""
    parts: list[ast.stmt] = []
    promises: list[str] = []
    end_of_python = -1
    for fence in FENCE.finditer(text):
        language, block = fence.groups()
        if language == "python":
            parts += [guarded(statement) for statement in ast.parse(block).body]
            promises += printed_comments(block)
            end_of_python = fence.end()
        elif language == "text" and end_of_python >= 0 and not text[end_of_python : fence.start()].strip():
            promises += [line.strip() for line in block.splitlines() if line.strip()]
    futures = [part for part in parts if isinstance(part, ast.ImportFrom) and part.module == "__future__"]
    body = [*futures[:1], *(part for part in parts if part not in futures)]
    script = "\n".join(ast.unparse(part) for part in body)
    return Page(script + "\n", tuple(promises)) if parts else None


def guarded(statement: ast.stmt) -> ast.stmt:
    """Return *statement*, behind a main guard if it does something instead of defining something."""
    if isinstance(statement, DEFINITIONS) or _is_constant(statement) or _is_main_guard(statement):
        return statement
    return ast.If(ast.parse("__name__ == '__main__'", mode="eval").body, [statement], [])


def _is_constant(statement: ast.stmt) -> bool:
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    return bool(targets) and all(isinstance(target, ast.Name) and target.id.isupper() for target in targets)


def _is_main_guard(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and ast.unparse(statement.test).startswith("__name__ ==")


def printed_comments(block: str) -> list[str]:
    """Return the comments that stand behind a ``print(...)`` on the same line."""
    lines = block.splitlines()
    tokens = tokenize.generate_tokens(io.StringIO(block).readline)
    comments = [(token.start[0], token.string) for token in tokens if token.type == tokenize.COMMENT]
    return [text.lstrip("# ") for line, text in comments if "print(" in lines[line - 1].partition(text)[0]]


def missing_promise(promises: tuple[str, ...], output: str) -> str | None:
    """Return the first promise that does not come in *output* after those before it, or None."""
    lines = iter(line.strip() for line in output.splitlines())
    for promise in promises:
        pattern = ".*".join(re.escape(part) for part in promise.split("..."))
        if not any(re.fullmatch(pattern, line) for line in lines):
            return promise
    return None


def run_page(page: Page, folder: Path, *, timeout: float = 50.0) -> None:
    """
    Run *page* in *folder* and check what it promises.

    Raises:
        AssertionError: It failed, wrote to standard error, or did not print what it promises; shows script and output.
    """
    script = folder / "page.py"
    script.write_text(page.script)
    root = str(Path(__file__).parent.parent)
    environment = {**os.environ, "PYTHONPATH": root, "PYTHONWARNINGS": "default"}
    ran = subprocess.run(
        [sys.executable, str(script)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    shown = f"\n--- script\n{page.script}\n--- output\n{ran.stdout}\n--- errors\n{ran.stderr}"
    assert ran.returncode == 0, f"exit code {ran.returncode}{shown}"
    missing = missing_promise(page.promises, ran.stdout)
    assert missing is None, f"promised and not printed: {missing!r}{shown}"
