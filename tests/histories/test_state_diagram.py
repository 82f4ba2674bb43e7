"""The picture of the states of a child is drawn from the machine, and is the one in the documentation."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import get_args

import attrs
import pytest

from actors.supervisor import _state as s

DOCS = Path(__file__).parent.parent.parent / "docs"
PAGE = DOCS / "explanation" / "states.md"


@pytest.fixture(scope="module")
def state_diagram() -> ModuleType:
    spec = importlib.util.spec_from_file_location("state_diagram", DOCS / "state_diagram.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_picture_is_what_the_machine_does(state_diagram: ModuleType) -> None:
    assert PAGE.read_text() == state_diagram.page(PAGE.read_text()), "run: make docs"


def test_every_phase_and_every_wish_is_in_it() -> None:
    text = PAGE.read_text()
    rungs = get_args(attrs.fields_dict(s.Stopping)["rung"].type) or ("stop", "terminate", "kill")
    phases = {kind.__name__.lower() for kind in get_args(s.Phase)}

    assert {word for word in {*phases, *rungs} if f" {word} " not in text} == set()
    assert {wish for wish in get_args(s.Wanted) if f"\n| {wish} |" not in text} == set()


def test_every_effect_on_a_child_is_in_it() -> None:
    about_a_child = [kind for kind in get_args(s.MachineEffect) if attrs.has(kind) and "id" in attrs.fields_dict(kind)]

    assert {kind.__name__ for kind in about_a_child if f"`{kind.__name__}`" not in PAGE.read_text()} == set()


def test_a_phase_without_words_has_the_name_of_its_class(state_diagram: ModuleType) -> None:
    @attrs.frozen
    class Dreaming:
        """A phase that does not exist."""

    state = s.MachineState(state_diagram.Supervisor("node"), {1: s.ChildState(1, s.ChildRule(), phase=Dreaming())})  # type: ignore[arg-type]

    assert state_diagram.World(state).node() == ("dreaming", "up")


@pytest.mark.parametrize("text", ["", "{begin}", "{end}", "{end}{begin}"])
def test_a_page_without_its_markers_is_refused(state_diagram: ModuleType, text: str) -> None:
    broken = text.format(begin=state_diagram.BEGIN, end=state_diagram.END)

    with pytest.raises(SystemExit, match="does not have"):
        state_diagram.page(broken)
