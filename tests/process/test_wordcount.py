"""The main job: the count is right, whatever is killed meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors import ActorSystem
from actors._system import StartMethod
from examples import wordcount


def test_the_tree_counts_what_a_plain_loop_counts(start_method: StartMethod, texts: Path) -> None:
    with ActorSystem(wordcount.tree(readers=2, counters=3), start_method=start_method) as system:
        figures = wordcount.count_folder(system, str(texts))
        counted = wordcount.counted_words(system)

    assert counted == wordcount.plain_count(str(texts))
    assert figures["files"] == 2
    assert figures["asked_again"] == 0


@pytest.mark.timeout(240)  # under spawn a reader takes longer to start than it then lives
def test_the_count_of_the_standard_library_is_right_while_readers_are_killed(start_method: StartMethod) -> None:
    with ActorSystem(wordcount.tree(), start_method=start_method) as system:
        wordcount.count_folder(system, wordcount.STDLIB, chaos=True)
        counted = wordcount.counted_words(system)
        restarts = wordcount.restarts(system)

    assert counted == wordcount.plain_count(wordcount.STDLIB)
    assert restarts > 0


def test_counting_again_into_the_same_counters_changes_nothing(start_method: StartMethod, texts: Path) -> None:
    with ActorSystem(wordcount.tree(readers=1), start_method=start_method) as system:
        wordcount.count_folder(system, str(texts))
        wordcount.count_folder(system, str(texts))
        counted = wordcount.counted_words(system)

    assert counted == wordcount.plain_count(str(texts))
