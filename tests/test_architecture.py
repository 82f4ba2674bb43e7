"""
The import arrows, read from the source by ``ast``: what decides is pure, what performs is shell, and nothing goes in a circle.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = "actors"

# What acts on the world in the two packages that decide and encode. All else in them is pure, and so are a few modules outside.
SHELL = (
    "actors.mailbox._answers",
    "actors.mailbox._arena",
    "actors.mailbox._arenas",
    "actors.mailbox._control",
    "actors.mailbox._drops",
    "actors.mailbox._holds",
    "actors.mailbox._inbox",
    "actors.mailbox._layout",
    "actors.mailbox._lock",
    "actors.mailbox._move",
    "actors.mailbox._outbox",
    "actors.mailbox._queue",
    "actors.mailbox._recorder",
    "actors.mailbox._recorder_view",
    "actors.supervisor._arenas",
    "actors.supervisor._autopsies",
    "actors.supervisor._births",
    "actors.supervisor._burials",
    "actors.supervisor._cells",
    "actors.supervisor._channels",
    "actors.supervisor._chronicle",
    "actors.supervisor._claims",
    "actors.supervisor._inboxes",
    "actors.supervisor._letter_office",
    "actors.supervisor._loans",
    "actors.supervisor._mail",
    "actors.supervisor._memory",
    "actors.supervisor._oom_watch",
    "actors.supervisor._orders",
    "actors.supervisor._pool_heirs",
    "actors.supervisor._pool_leaving",
    "actors.supervisor._pool_scaler",
    "actors.supervisor._pools",
    "actors.supervisor._pump",
    "actors.supervisor._meters",
    "actors.supervisor._replacing",
    "actors.supervisor._obituaries",
    "actors.supervisor._requests",
    "actors.supervisor._runner",
    "actors.supervisor._shares",
    "actors.supervisor._stacks",
    "actors.supervisor._starter",
    "actors.supervisor._watchers",
)
PURE_ELSEWHERE = (
    "actors.errors",
    "actors._handlers",
    "actors._pool_keys",
    "actors.cli._parameters",
    "actors.cli._render",
)
IMPURE = frozenset(
    ("os", "time", "random", "threading", "multiprocessing", "signal", "selectors", "socket", "structlog")
)


@attrs.frozen
class Import:
    """One imported module and whether it is imported when the importing module is (not later, in a function)."""

    module: str
    at_once: bool


def _module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _is_for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def _statements(node: ast.AST, *, at_once: bool = True) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, at_once
        elif not _is_for_type_checkers(child):
            later = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _statements(child, at_once=at_once and not later)


def _targets(
    node: ast.Import | ast.ImportFrom, module: str, *, is_package: bool, known: frozenset[str]
) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    base = node.module or ""
    if node.level:
        parts = module.split(".")
        up = node.level - 1 if is_package else node.level
        base = ".".join([*parts[: len(parts) - up], *([node.module] if node.module else [])])
    for alias in node.names:
        submodule = f"{base}.{alias.name}"
        yield submodule if submodule in known else base


def read_imports(root: Path, package: str) -> dict[str, set[Import]]:
    """Each module of *package* with what it imports at run time; imports for type checkers alone are left out."""
    paths = {_module_name(path, root): path for path in sorted((root / package).rglob("*.py"))}
    known = frozenset(paths)
    found: dict[str, set[Import]] = {}
    for module, path in paths.items():
        tree = ast.parse(path.read_text())
        found[module] = {
            Import(target, at_once)
            for node, at_once in _statements(tree)
            for target in _targets(node, module, is_package=path.name == "__init__.py", known=known)
        }
    return found


def find_cycle(graph: dict[str, set[str]]) -> list[str]:
    """One circle of *graph* as the list of its nodes, the first repeated at the end; empty when there is none."""
    done: set[str] = set()

    def visit(node: str, trail: list[str]) -> list[str]:
        if node in trail:
            return [*trail[trail.index(node) :], node]
        if node in done:
            return []
        for target in sorted(graph.get(node, ())):
            cycle = visit(target, [*trail, node])
            if cycle:
                return cycle
        done.add(node)
        return []

    for start in sorted(graph):
        cycle = visit(start, [])
        if cycle:
            return cycle
    return []


IMPORTS = read_imports(ROOT, PACKAGE)


def _modules_below(package: str) -> list[str]:
    return [module for module in IMPORTS if module == package or module.startswith(f"{package}.")]


def _is(module: str, *names: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in names)


PURE = sorted(
    {*_modules_below("actors.mailbox"), *_modules_below("actors.supervisor"), *PURE_ELSEWHERE}
    - {*SHELL, "actors.mailbox", "actors.supervisor"}
)


def test_the_modules_named_here_exist() -> None:
    assert [module for module in (*SHELL, *PURE_ELSEWHERE) if module not in IMPORTS] == []


@pytest.mark.parametrize("module", PURE)
def test_a_pure_module_imports_nothing_that_acts_or_tells_the_time(module: str) -> None:
    offending = sorted(i.module for i in IMPORTS[module] if i.module.partition(".")[0] in IMPURE)

    assert offending == []


@pytest.mark.parametrize("module", PURE)
def test_a_pure_module_imports_only_pure_modules_of_the_package(module: str) -> None:
    offending = sorted(i.module for i in IMPORTS[module] if _is(i.module, PACKAGE) and i.module not in PURE)

    assert offending == []


def test_the_mailbox_never_imports_the_supervisor() -> None:
    offending = [
        (module, i.module)
        for module in _modules_below("actors.mailbox")
        for i in IMPORTS[module]
        if _is(i.module, "actors.supervisor")
    ]

    assert offending == []


@pytest.mark.parametrize(
    ("library", "owner"),
    [("msgpack", "actors.mailbox._codec"), ("structlog", "actors._log"), ("click", "actors.cli._commands")],
)
def test_a_library_is_imported_by_one_module_alone(library: str, owner: str) -> None:
    importers = {module for module, imports in IMPORTS.items() for i in imports if _is(i.module, library)}

    assert importers <= {owner}


def test_errors_import_nothing_of_the_package() -> None:
    assert [i.module for i in IMPORTS["actors.errors"] if _is(i.module, PACKAGE)] == []


def test_only_the_command_line_imports_the_command_line() -> None:
    importers = [
        module
        for module, imports in IMPORTS.items()
        for i in imports
        if _is(i.module, "actors.cli") and not _is(module, "actors.cli", "actors.__main__")
    ]

    assert importers == []


def test_no_imports_go_in_a_circle() -> None:
    graph = {
        module: {i.module for i in imports if i.at_once and i.module in IMPORTS and i.module != module}
        for module, imports in IMPORTS.items()
    }

    assert find_cycle(graph) == []


def test_a_circle_is_found() -> None:
    assert find_cycle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == ["a", "b", "c", "a"]
    assert find_cycle({"a": {"b", "c"}, "b": {"d"}, "c": {"d"}, "d": set()}) == []


def test_imports_are_read_as_python_resolves_them(tmp_path: Path) -> None:
    (tmp_path / "p" / "sub").mkdir(parents=True)
    (tmp_path / "p" / "__init__.py").write_text("from . import a\n")
    (tmp_path / "p" / "a.py").write_text(
        "import os.path\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import time\n"
        "def f():\n    import socket\nclass C:\n    import random\n"
    )
    (tmp_path / "p" / "sub" / "__init__.py").write_text("")
    (tmp_path / "p" / "sub" / "b.py").write_text("from ..a import f\nfrom p.sub import c\nfrom .c import x\n")
    (tmp_path / "p" / "sub" / "c.py").write_text("x = 1\n")
    found = read_imports(tmp_path, "p")

    assert found["p"] == {Import("p.a", at_once=True)}
    assert found["p.a"] == {
        Import("os.path", at_once=True),
        Import("typing", at_once=True),
        Import("socket", at_once=False),
        Import("random", at_once=True),
    }
    assert found["p.sub.b"] == {Import("p.a", at_once=True), Import("p.sub.c", at_once=True)}
