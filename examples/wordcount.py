"""
Count the words of a folder with a supervised tree of processes, and get the right answer while its readers are being killed.

::

    wordcount                  rest_for_one: who comes later knows who came before
    ├─ counter-1 .. counter-n  each owns the words whose checksum falls to it; merges a file at most once
    ├─ reporter                hears of progress, gathers the result
    ├─ readers                 one_for_one, with an intensity that allows for the chaos
    │  └─ reader-1 .. reader-n counts one file at a time
    └─ coordinator             asks readers for a file's counts, and asks again when one died

A file may be counted more than once (a reader was killed with it), but a counter merges each file id once: at least once on the way,
exactly once in the result. ``actors run examples/wordcount.py [FOLDER] [--chaos]`` runs it; ``examples.wordcount:tree`` is the tree.
"""

from __future__ import annotations

import heapq
import os
import random
import re
import signal
import sysconfig
import time
import zlib
from collections import Counter, deque
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, wait
from contextlib import suppress
from pathlib import Path
from typing import Any

from actors import (
    Actor,
    ActorDied,
    ActorRef,
    ActorSystem,
    AskTimeoutError,
    Backoff,
    Reply,
    SpecError,
    Supervisor,
    child,
    handler,
)
from examples._screen import Tick, print_tables, progress_bar

STDLIB = sysconfig.get_path("stdlib")
TEXT_SUFFIXES = frozenset((".md", ".py", ".rst", ".txt"))
LEFT_OUT = frozenset(("__pycache__", "site-packages"))  # built, and not the standard library's
WORD = re.compile(r"[^\W\d_]+")

ASKS_PER_READER = 4  # one being counted, the others at hand when it is done
FILES_PER_BATCH = 16  # per merge: some hundred KiB
MERGES_PER_COUNTER = 2
TICK = 0.1  # seconds between two looks at the progress, and two kills of --chaos
RUNS = 3  # a coordinator that died is asked again so often

Words = dict[str, int]
Batch = dict[int, Words]  # file id -> the file's words that fall to one counter


# --- without any actor --------------------------------------------------------------------------------------------------


def text_files(folder: str) -> list[str]:
    """
    Paths of the readable text files below *folder*, sorted, so that a file's place in the list is its id.

    Raises:
        SpecError: There is no such folder, or no text in it.
    """
    if not Path(folder).is_dir():
        raise SpecError(f"folder {folder!r} does not exist: give a folder with text files, or none for {STDLIB}")
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in LEFT_OUT and not name.startswith(".")]
        paths = (Path(parent, name) for name in names)
        found += [
            str(path) for path in paths if path.suffix in TEXT_SUFFIXES and path.is_file() and os.access(path, os.R_OK)
        ]
    if not found:
        raise SpecError(f"folder {folder!r} holds no text: no file ends in one of {', '.join(sorted(TEXT_SUFFIXES))}")
    return sorted(found)


def count_words(path: str) -> Counter[str]:
    """The words of one file in lower case; bytes that are no UTF-8 separate words."""
    return Counter(WORD.findall(Path(path).read_text(encoding="utf-8", errors="replace").lower()))


def plain_count(folder: str) -> Counter[str]:
    """The same count in one process and one loop: what the tree must come to, whatever is killed."""
    total: Counter[str] = Counter()
    for path in text_files(folder):
        total.update(count_words(path))
    return total


def split(words: Words, parts: int) -> list[Words]:
    """*words* in *parts* dicts by checksum: the same word falls to the same part in every process, unlike by ``hash``."""
    found: list[Words] = [{} for _ in range(parts)]
    for word, count in words.items():
        found[zlib.crc32(word.encode()) % parts][word] = count
    return found


def commonest(rows: Iterable[tuple[str, int]], number: int) -> list[tuple[str, int]]:
    """The *number* words with the highest counts, equal counts by the alphabet: the same in whatever order they came."""
    return heapq.nsmallest(number, rows, key=lambda row: (-row[1], row[0]))


# --- the actors ---------------------------------------------------------------------------------------------------------


class FileReader(Actor):
    """Counts files, one per ask; knows nothing between two, so killing it costs no more than the file at hand."""

    @handler
    def count(self, path: str, parts: int) -> list[Words]:
        return split(count_words(path), parts)


class WordCounter(Actor):
    """Owns the totals of its part of all words."""

    def on_start(self) -> None:
        self.totals: Counter[str] = Counter()
        self.merged: set[int] = set()

    @handler
    def merge(self, batch: Batch) -> int:
        """Add the files of *batch* that were not added before; returns how many that were."""
        new = batch.keys() - self.merged
        for file_id in new:
            self.totals.update(batch[file_id])
        self.merged |= new
        return len(new)

    @handler
    def most_common(self, number: int) -> list[tuple[str, int]]:
        return commonest(self.totals.items(), number)

    @handler
    def size(self) -> tuple[int, int]:
        """How many words, and how many different ones."""
        return self.totals.total(), len(self.totals)

    @handler
    def words(self) -> Words:
        return dict(self.totals)


class Reporter(Actor):
    """Hears how far the work is, and gathers the result from the counters."""

    def on_start(self) -> None:
        self.done = 0

    @handler
    def note_done(self, done: int) -> None:
        self.done = done

    @handler
    def files_done(self) -> int:
        return self.done

    @handler
    def top(self, counters: list[ActorRef[WordCounter]], number: int) -> list[tuple[str, int]]:
        asks = [counter.ask(WordCounter.most_common, number) for counter in counters]
        return commonest((row for ask in asks for row in ask.result()), number)


class Coordinator(Actor):
    """Hands files to readers and their counts to counters; asks again what a death left unanswered."""

    @handler
    def count_files(
        self,
        files: list[str],
        readers: list[ActorRef[FileReader]],
        counters: list[ActorRef[WordCounter]],
        reporter: ActorRef[Reporter],
    ) -> dict[str, int]:
        """Count *files* into *counters*; returns what it took. May be asked again after a death: nothing is merged twice."""
        work = _Work(files, readers, counters)
        while work.open_replies():
            work.take_answers()
            reporter.tell(Reporter.note_done, work.files_done)
            work.messages += 1
        return {"files": len(files), "messages": work.messages, "asked_again": work.asked_again}


class _Work:
    """One run of the coordinator: which files wait, which asks are open, what is to be merged."""

    def __init__(
        self, files: list[str], readers: list[ActorRef[FileReader]], counters: list[ActorRef[WordCounter]]
    ) -> None:
        self.files = files
        self.waiting = deque(range(len(files)))
        self.readers = readers
        self.counters = counters
        self.counting: dict[Reply[list[Words]], tuple[int, int]] = {}  # -> reader, file id
        self.merging: dict[Reply[int], tuple[int, Batch]] = {}  # -> counter, batch
        self.batches: list[Batch] = [{} for _ in counters]
        self.files_done = 0
        self.messages = 0
        self.asked_again = 0

    def open_replies(self) -> bool:
        """Ask whatever may be asked now; False when nothing is left to wait for."""
        self._ask_readers()
        self._ask_counters()
        return bool(self.counting or self.merging)

    def take_answers(self) -> None:
        """Wait until something is answered, and deal with all that is."""
        replies: list[Reply[Any]] = [*self.counting, *self.merging]
        wait(replies, return_when=FIRST_COMPLETED)
        for count in [reply for reply in self.counting if reply.done()]:
            self._counted(count)
        for merge in [reply for reply in self.merging if reply.done()]:
            self._merged(merge)

    def _ask_readers(self) -> None:
        if max(map(len, self.batches)) > 2 * FILES_PER_BATCH:
            return  # the counters are behind
        busy = Counter(reader for reader, _ in self.counting.values())
        for index, reader in enumerate(self.readers):
            for _ in range(min(ASKS_PER_READER - busy[index], len(self.waiting))):
                file_id = self.waiting.popleft()
                self.counting[reader.ask(FileReader.count, self.files[file_id], len(self.counters))] = index, file_id
                self.messages += 1

    def _ask_counters(self) -> None:
        all_counted = not self.waiting and not self.counting
        busy = Counter(counter for counter, _ in self.merging.values())
        for index, batch in enumerate(self.batches):
            if batch and busy[index] < MERGES_PER_COUNTER and (all_counted or len(batch) >= FILES_PER_BATCH):
                self._ask_merge(index, batch)
                self.batches[index] = {}

    def _ask_merge(self, index: int, batch: Batch) -> None:
        self.merging[self.counters[index].ask(WordCounter.merge, batch)] = index, batch
        self.messages += 1

    def _counted(self, reply: Reply[list[Words]]) -> None:
        _, file_id = self.counting.pop(reply)
        try:
            parts = reply.result()
        except ActorDied:  # killed with this file in hand: a reader's supervisor starts the next one, which may have it
            self.waiting.append(file_id)
            self.asked_again += 1
            return
        self.files_done += 1
        for batch, words in zip(self.batches, parts, strict=True):
            if words:
                batch[file_id] = words

    def _merged(self, reply: Reply[int]) -> None:
        index, batch = self.merging.pop(reply)
        try:
            reply.result()
        except ActorDied:
            self.asked_again += 1
            self._ask_merge(index, batch)


# --- the topology: what `actors run` looks for ----------------------------------------------------------------------------


def tree(*, readers: int = max(2, os.cpu_count() or 2), counters: int = 2) -> Supervisor:
    """
    The tree of processes.

    Args:
        readers: Processes that count files.
        counters: Processes that add the counts up, each its part of the words.
    """
    if readers < 1 or counters < 1:
        raise SpecError(f"readers={readers}, counters={counters}: at least one of each is needed")
    # One kill every 0.1 s is 50 in 5 s; a file that kills every reader comes to 100 in little more than one second.
    quick = Backoff(initial=0.01, factor=1.0, maximum=0.01)
    return Supervisor(
        "wordcount",
        strategy="rest_for_one",
        children=[
            *(child(WordCounter(), name=f"counter-{number + 1}") for number in range(counters)),
            child(Reporter(), name="reporter"),
            Supervisor(
                "readers",
                children=[child(FileReader(), name=f"reader-{number + 1}", backoff=quick) for number in range(readers)],
                max_restarts=100,
                period=5.0,
            ),
            child(Coordinator(), name="coordinator", shutdown=0.5),  # its run is long, and safe to break off
        ],
    )


def main(system: ActorSystem, folder: str = STDLIB, *, top: int = 15, chaos: bool = False) -> int:
    """
    Count the words of a folder and print the commonest.

    Args:
        system: Runs :func:`tree`.
        folder: Any folder with text; without it the source of the standard library.
        top: How many words the table shows.
        chaos: Kill a reader every 100 ms meanwhile; the result is the same.
    """
    started = time.monotonic()
    with progress_bar() as on_tick:
        figures = count_folder(system, folder, chaos=chaos, on_tick=on_tick)
    commonest_words = _reporter(system).ask(Reporter.top, _counters(system), top).result(timeout=60)
    sizes = [counter.ask(WordCounter.size).result(timeout=60) for counter in _counters(system)]
    facts = [
        ("words", f"{sum(total for total, _ in sizes):,}", f"({sum(kinds for _, kinds in sizes):,} different)"),
        ("files", f"{figures['files']:,}", ""),
        ("messages", f"{figures['messages']:,}", f"({figures['asked_again']:,} asked again)"),
        ("restarts", f"{restarts(system):,}", ""),
        ("seconds", f"{time.monotonic() - started:.2f}", ""),
    ]
    print_tables(commonest_words, facts)
    return 0


# --- the host's side of it ------------------------------------------------------------------------------------------------


def count_folder(
    system: ActorSystem, folder: str, *, chaos: bool = False, on_tick: Tick | None = None
) -> dict[str, int]:
    """
    Have the tree of *system* count *folder*; the totals are then in its counters.

    Args:
        system: Runs :func:`tree`.
        folder: A folder with text files.
        chaos: SIGKILL a random reader every 100 ms meanwhile.
        on_tick: Called every 100 ms with the files done, all files, and the restarts so far.

    Returns:
        ``files``, ``messages`` (of the coordinator to others) and ``asked_again`` (those that a death left unanswered).
    """
    files = text_files(folder)
    reply = _ask_run(system, files)
    died = 0
    while True:
        try:
            figures = reply.result(timeout=TICK)
        except AskTimeoutError:
            _tick(system, len(files), on_tick)
            if chaos:
                kill_a_reader(system)
        except ActorDied:
            died += 1
            if died >= RUNS:
                raise
            reply = _ask_run(system, files)
        else:
            return figures


def counted_words(system: ActorSystem) -> Counter[str]:
    """Every word that the counters of *system* hold."""
    total: Counter[str] = Counter()
    for counter in _counters(system):
        total.update(counter.ask(WordCounter.words).result(timeout=60))
    return total


def kill_a_reader(system: ActorSystem) -> None:
    """SIGKILL one of the readers that are ready: one that starts anew after each kill would never come to count."""
    pids = [info.pid for info in system.actors() if "/readers/" in info.path and info.pid and info.state != "starting"]
    if pids:
        with suppress(ProcessLookupError):  # it died since we looked
            os.kill(random.choice(pids), signal.SIGKILL)


def restarts(system: ActorSystem) -> int:
    """How often actors of *system* were started again."""
    return sum(info.restarts for info in system.actors())


def _tick(system: ActorSystem, files: int, on_tick: Tick | None) -> None:
    if on_tick is not None:
        done = _reporter(system).ask(Reporter.files_done).result(timeout=60)
        on_tick(done, files, restarts(system))


def _ask_run(system: ActorSystem, files: list[str]) -> Reply[dict[str, int]]:
    coordinator: ActorRef[Coordinator] = system.whereis("/wordcount/coordinator")
    return coordinator.ask(Coordinator.count_files, files, _readers(system), _counters(system), _reporter(system))


def _paths(system: ActorSystem, beginning: str) -> Iterable[str]:
    return (info.path for info in system.actors() if info.path.startswith(beginning))


def _readers(system: ActorSystem) -> list[ActorRef[FileReader]]:
    return [system.whereis(path) for path in _paths(system, "/wordcount/readers/")]


def _counters(system: ActorSystem) -> list[ActorRef[WordCounter]]:
    return [system.whereis(path) for path in _paths(system, "/wordcount/counter-")]


def _reporter(system: ActorSystem) -> ActorRef[Reporter]:
    return system.whereis("/wordcount/reporter")
