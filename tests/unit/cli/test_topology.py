from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors import SpecError, Supervisor
from actors.cli._topology import TopologyImportError, load

SPEC = "from actors import Supervisor\ntree = Supervisor('t')\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working folder of a user; afterwards nothing that was imported from it is left."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def test_a_lone_file_is_imported_by_its_stem_from_its_folder(folder: Path) -> None:
    topology = load(write(folder / "below" / "lone_tree.py", SPEC))

    assert topology.name == "lone_tree"
    assert str(folder / "below") in sys.path
    assert topology.build({}) == Supervisor("t")


def test_a_file_of_a_package_is_imported_by_its_dotted_name_from_above_the_package(folder: Path) -> None:
    write(folder / "outer_pkg" / "__init__.py", "")
    write(folder / "outer_pkg" / "inner" / "__init__.py", "")
    topology = load(write(folder / "outer_pkg" / "inner" / "topo.py", SPEC))

    assert topology.name == "outer_pkg.inner.topo"
    assert str(folder) in sys.path
    assert "outer_pkg.inner.topo" in sys.modules


def test_a_dotted_module_is_found_from_the_working_folder(folder: Path) -> None:
    write(folder / "some_pkg" / "topo.py", SPEC)

    assert load("some_pkg.topo").name == "some_pkg.topo"


def test_the_same_file_may_be_loaded_twice(folder: Path) -> None:
    path = write(folder / "twice.py", SPEC)

    assert load(path) == load(path)


def test_another_tree_is_named_after_a_colon(folder: Path) -> None:
    path = write(folder / "two_trees.py", SPEC + "staging = Supervisor('s')\n")

    assert load(f"{path}:staging").build({}) == Supervisor("s")


def test_a_function_makes_the_tree_from_the_options_that_it_takes(folder: Path) -> None:
    text = (
        "from actors import Supervisor\n"
        "def tree(name: str, *, size: int = 1) -> Supervisor: return Supervisor(f'{name}-{size}')\n"
        "def main(system, *files: str, fast: bool = False, size: int = 1): return (system, files, fast, size) and 7\n"
    )
    topology = load(write(folder / "made.py", text))
    values = {"name": "n", "size": 4, "files": ("a",), "fast": True}

    assert [p.name for p in topology.parameters()] == ["name", "size", "fast", "files"]
    assert topology.build(values) == Supervisor("n-4")
    assert topology.main is not None


@pytest.mark.parametrize(
    ("name", "text", "target", "error"),
    [
        pytest.param("a1.py", "x = 1\n", "a1.py", "'tree' of module a1 is missing: a topology defines", id="no tree"),
        pytest.param("a2.py", "tree = 5\n", "a2.py", "'tree' of module a2 is of type int, no Supervisor", id="number"),
        pytest.param("a3.py", "class tree: pass\n", "a3.py", "is of type type, no Supervisor", id="class"),
        pytest.param("a4.py", SPEC.replace("tree", "app"), "a4.py", "it has app: name one as a4:app", id="other name"),
        pytest.param("my-tree.py", SPEC, "my-tree.py", "'my-tree' is no module name: rename it", id="no module name"),
        pytest.param("signal.py", SPEC, "signal.py", "of the standard library: rename it", id="standard library"),
        pytest.param("pytest.py", SPEC, "pytest.py", "module name 'pytest' of .* is taken by", id="taken"),
        pytest.param("a5.py", SPEC, "a6.py", "there is no file 'a6.py' below", id="no file"),
        pytest.param("a7.py", SPEC, "a7.b", "there is no module 'a7.b'", id="no module"),
        pytest.param("a8.py", SPEC, "a-8", "neither a .py file nor a dotted module", id="no name"),
    ],
)
def test_what_is_no_topology_is_refused_saying_what_to_do(
    folder: Path, name: str, text: str, target: str, error: str
) -> None:
    write(folder / name, text)

    with pytest.raises(SpecError, match=error):
        load(target)


def test_an_error_in_the_module_is_told_with_its_cause(folder: Path) -> None:
    path = write(folder / "divides.py", "1 / 0\n")

    with pytest.raises(TopologyImportError, match="ZeroDivisionError") as caught:
        load(path)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_module_that_imports_what_is_not_there_is_not_taken_for_a_missing_topology(folder: Path) -> None:
    path = write(folder / "needs.py", "import surely_not_installed\n")

    with pytest.raises(TopologyImportError, match="No module named 'surely_not_installed'"):
        load(path)


def test_a_function_that_makes_no_supervisor_is_refused(folder: Path) -> None:
    topology = load(write(folder / "three.py", "def tree(): return 3\n"))

    with pytest.raises(SpecError, match=r"tree\(\) of three returned 3"):
        topology.build({})
