"""The page of log events says what the code logs: every event, its levels and its fields, read from the source by ``ast``."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reference" / "log-events.md"
EVENT = re.compile(r"actors\.[a-z]+(?:_[a-z]+)*")
ROW = re.compile(r"^\| `(actors\.\w+)` \| ([\w, ]+) \| .* \| ([^|]*) \|$", re.MULTILINE)
LEVELS = frozenset(("debug", "info", "warning", "error"))
# The helper that logs the events of one incarnation, in whichever module.
SHARED = "log_incarnation"
# Its fields are those of the report, taken from it as a whole.
WHOLE_REPORT = "actors.crash_report"


@attrs.frozen
class Event:
    """One name of an event: at which levels it is logged, as far as they stand at the call, and with which fields."""

    levels: frozenset[str]
    fields: frozenset[str]


def logged_events(source: str) -> dict[str, Event]:
    """
    The events that *source* logs. A helper called ``_log`` in the same module adds what it gives to every event, and the one of all
    incarnations what it gives, in any module.
    """
    tree = ast.parse(source)
    found: dict[str, Event] = {}
    for call in _calls(tree):
        if _name(call) not in {"log", "_log", SHARED, "emit", *LEVELS}:
            continue
        texts = {text for argument in call.args for text in _texts(argument)}
        levels: set[str] = set(texts & LEVELS)
        fields = _fields(call)
        if _name(call) == "_log":
            fields |= _fields_of_helper(tree, "_log")
        if _name(call) in LEVELS:  # the logger of an actor, which is bound to these
            levels, fields = {_name(call)}, fields | {"path", "incarnation"}
        for name in texts - LEVELS:
            if EVENT.fullmatch(name):
                other = found.get(name, Event(frozenset(), frozenset()))
                found[name] = Event(other.levels | levels, other.fields | fields)
    return found


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _texts(argument: ast.expr) -> Iterator[str]:
    """The words that an argument may be: itself, or either side of an ``if``."""
    if isinstance(argument, ast.IfExp):
        yield from (*_texts(argument.body), *_texts(argument.orelse))
    elif isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        yield argument.value


def _fields(call: ast.Call) -> set[str]:
    own = {keyword.arg for keyword in call.keywords if keyword.arg is not None}
    return own | SHARED_FIELDS if _name(call) == SHARED else own


def _fields_of_helper(tree: ast.AST, name: str) -> set[str]:
    helpers = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == name]
    return {field for helper in helpers for call in _calls(helper) for field in _fields(call)}


def documented_events(page: str) -> dict[str, Event]:
    """The events that *page* has a row for."""
    return {
        name: Event(frozenset(levels.split(", ")), frozenset(re.findall(r"`(\w+)`", fields)))
        for name, levels, fields in ROW.findall(page)
    }


SHARED_FIELDS: set[str] = set()
SHARED_FIELDS |= _fields_of_helper(ast.parse((ROOT / "actors/supervisor/_chronicle.py").read_text()), SHARED)
LOGGED: dict[str, Event] = {}
for path in sorted((ROOT / "actors").rglob("*.py")):
    for event, said in logged_events(path.read_text()).items():
        before = LOGGED.get(event, Event(frozenset(), frozenset()))
        LOGGED[event] = Event(before.levels | said.levels, before.fields | said.fields)
DOCUMENTED = documented_events(PAGE.read_text())


def test_the_page_has_a_row_for_every_event_and_for_no_other() -> None:
    assert sorted(DOCUMENTED) == sorted(LOGGED)


@pytest.mark.parametrize("name", sorted(LOGGED))
def test_a_row_says_the_level_of_its_event(name: str) -> None:
    levels = LOGGED[name].levels
    if name == "actors.child_exited":
        levels |= {"info", "warning", "error"}  # by its kind, which the call does not show
    documented = DOCUMENTED[name].levels

    # One call may log either of two events, each at a level of its own.
    assert documented <= levels
    assert documented <= LEVELS


@pytest.mark.parametrize("name", sorted(set(LOGGED) - {WHOLE_REPORT}))
def test_a_row_names_the_fields_of_its_event(name: str) -> None:
    assert sorted(DOCUMENTED[name].fields) == sorted(LOGGED[name].fields)


def test_every_event_that_another_page_speaks_of_exists() -> None:
    pages = [path for path in (ROOT / "docs").rglob("*.md") if path != PAGE]
    spoken_of = {name for path in pages for name in re.findall(r"`(actors\.[a-z]+_[a-z_]+)`", path.read_text())}

    assert spoken_of - set(LOGGED) == set()


def test_events_are_found_wherever_they_are_logged() -> None:
    source = """
class A:
    def f(self):
        self._host.log("info", "actors.one", path=1, **more)
        self._log("warning", "actors.two_words", cell, x=1)
        self.actor.log.error("actors.three", reason="")
        self._host.log("debug" if a else "error", "actors.four" if a else "actors.five", rung=1)
        other("actors.errors", "not one", "actors.Not")

    def _log(self, level, event, cell, **keys):
        self._host.log(level, event, path=2, uid=3, **keys)
"""
    found = logged_events(source)

    assert found["actors.one"] == Event(frozenset({"info"}), frozenset({"path"}))
    assert found["actors.two_words"] == Event(frozenset({"warning"}), frozenset({"path", "uid", "x"}))
    assert found["actors.three"] == Event(frozenset({"error"}), frozenset({"reason", "path", "incarnation"}))
    assert found["actors.four"] == found["actors.five"] == Event(frozenset({"debug", "error"}), frozenset({"rung"}))
    assert set(found) == {"actors.one", "actors.two_words", "actors.three", "actors.four", "actors.five"}
