"""
Fixtures that all tests share.

``ACTORS_START_METHODS`` (comma separated) says under which start methods the tests with a ``start_method`` run; those marked
``conformance`` run under every one. ``ACTORS_SOAK=1`` runs the tests marked ``soak`` too.

Histories are the same in each run, so that a test fails by what was changed; ``--hypothesis-profile=random`` looks for others.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from actors import ActorSystem
from actors._system import StartMethod
from tests import leaks

EVERY_START_METHOD = ("forkserver", "spawn", "fork")

leaks.mark_this_run()

hypothesis.settings.register_profile("random", hypothesis.settings())
hypothesis.settings.register_profile("fixed", derandomize=True)
hypothesis.settings.load_profile("fixed")


def chosen_start_methods() -> tuple[str, ...]:
    """The start methods named in the environment, else forkserver alone."""
    names = tuple(
        name for name in os.environ.get("ACTORS_START_METHODS", "forkserver").replace(",", " ").split() if name
    )
    unknown = set(names) - set(EVERY_START_METHOD)
    if unknown or not names:
        raise pytest.UsageError(f"ACTORS_START_METHODS={names}: name some of {', '.join(EVERY_START_METHOD)}")
    return names


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "start_method" in metafunc.fixturenames:
        everywhere = metafunc.definition.get_closest_marker("conformance") is not None
        metafunc.parametrize("start_method", EVERY_START_METHOD if everywhere else chosen_start_methods())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if os.environ.get("ACTORS_SOAK") == "1":
        return
    long_ones = [item for item in items if item.get_closest_marker("soak")]
    items[:] = [item for item in items if item not in long_ones]
    config.hook.pytest_deselected(items=long_ones)


@pytest.fixture
def system(start_method: StartMethod) -> Iterator[ActorSystem]:
    """A started system of *start_method*, stopped after the test."""
    with ActorSystem(start_method=start_method) as running:
        yield running


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """A small folder of text, with what is to be left out."""
    (tmp_path / "below" / "__pycache__").mkdir(parents=True)
    (tmp_path / "one.txt").write_text("To be, or not to be: that is the question\n")
    (tmp_path / "below" / "two.md").write_bytes(b"the \xff\xfe caf\xc3\xa9 is the_one x2y\n")
    (tmp_path / "below" / "__pycache__" / "built.py").write_text("the the the\n")
    (tmp_path / "picture.png").write_text("the the the\n")
    return tmp_path
