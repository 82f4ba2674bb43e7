"""
What the word count shows: a bar while it runs, tables at the end.

On a terminal rich draws them, where the extra ``cli`` is installed; elsewhere there is no bar, and the tables are plain text.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

Tick = Callable[[int, int, int], None]  # files done, all files, restarts so far
Fact = tuple[str, str, str]  # name, number, remark


@contextmanager
def progress_bar() -> Iterator[Tick | None]:
    """Show a bar on standard error meanwhile; yields what moves it, or None where standard error is no terminal."""
    if not _is_drawn(sys.stderr):
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("files"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[restarts]} restarts"))
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("files", total=None, restarts=0)
        yield lambda done, files, restarts: progress.update(task, completed=done, total=files, restarts=restarts)


def print_tables(words: Sequence[tuple[str, int]], facts: Sequence[Fact]) -> None:
    """
    Print the words with their counts, then the facts, to standard output.

    Args:
        words: In the order in which they are shown.
        facts: What it took.
    """
    if _is_drawn(sys.stdout):
        _draw_tables(words, facts)
        return
    print(f"{'word':<16}{'count':>12}")
    for word, count in words:
        print(f"{word:<16}{count:>12,}")
    print()
    for name, number, remark in facts:
        print(f"{name:<10}{number:>12}  {remark}".rstrip())


def _draw_tables(words: Sequence[tuple[str, int]], facts: Sequence[Fact]) -> None:
    from rich.console import Console
    from rich.table import Table

    commonest = Table("word", "count")
    summary = Table("", "", "", show_header=False)
    for table in (commonest, summary):
        table.columns[1].justify = "right"
    for word, count in words:
        commonest.add_row(word, f"{count:,}")
    for fact in facts:
        summary.add_row(*fact)
    console = Console()
    console.print(commonest, summary)


def _is_drawn(stream: TextIO) -> bool:
    return stream.isatty() and importlib.util.find_spec("rich") is not None
