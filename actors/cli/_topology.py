"""
From ``MODULE_OR_PATH[:NAME]`` to a topology: the module is imported under the name that actors in other processes will use too.

Knows nothing of the command line's syntax beyond that one word, and starts nothing.
"""

from __future__ import annotations

import importlib
import importlib.util
import keyword
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs

from actors import ActorSystem, Supervisor
from actors.cli._parameters import Parameter, arguments_for, merge, read_parameters
from actors.errors import SpecError

__all__ = ["Topology", "TopologyImportError", "load"]


class TopologyImportError(SpecError):
    """The topology module raised while it was imported; the cause says what."""


@attrs.frozen
class Topology:
    """
    A topology module as it was found.

    Attributes:
        name: Dotted name of the module, as actors in other processes import it.
        tree: The spec, or the function that makes it.
        main: What drives the system; None: it runs until a signal.
    """

    name: str
    tree: Supervisor | Callable[..., Any]
    main: Callable[..., Any] | None

    def parameters(self) -> tuple[Parameter, ...]:
        """
        Return what the command line of this topology may hold.

        Raises:
            SpecError: A parameter that no command line can fill.
        """
        of_tree = () if isinstance(self.tree, Supervisor) else read_parameters(self.tree)
        # The first parameter of main is the running system.
        return merge(of_tree, () if self.main is None else read_parameters(self.main, skip=1))

    def build(self, values: dict[str, Any]) -> Supervisor:
        """
        Return the tree, made with those of *values* that concern it.

        Raises:
            SpecError: The function returned something else.
        """
        if isinstance(self.tree, Supervisor):
            return self.tree
        positional, keywords = arguments_for(self.tree, values)
        made = self.tree(*positional, **keywords)
        if not isinstance(made, Supervisor):
            raise SpecError(f"tree() of {self.name} returned {made!r}: it must return a Supervisor")
        return made

    def drive(self, system: ActorSystem, values: dict[str, Any]) -> int:
        """Run main, or wait for a signal; returns the exit code."""
        if self.main is None:
            system.run_forever()
            return 0
        positional, keywords = arguments_for(self.main, values, skip=1)
        return int(self.main(system, *positional, **keywords) or 0)


def load(target: str) -> Topology:
    """
    Import the topology that *target* names.

    Args:
        target: ``path/to/file.py`` or ``dotted.module``, with ``:NAME`` of the tree where it is not ``tree``.

    Raises:
        SpecError: There is no such module, it cannot be imported under that name elsewhere, or it has no tree.
        TopologyImportError: The module itself raised.
    """
    where, _, attribute = target.partition(":")
    is_path = where.endswith(".py") or "/" in where
    name = _name_of_file(Path(where)) if is_path else _name_on_path(where)
    module = _import(name, where)
    tree = _find_tree(module, attribute or "tree")
    main = getattr(module, "main", None)
    return Topology(name, tree, main if callable(main) else None)


def _name_of_file(path: Path) -> str:
    """The dotted name of *path*, with the folder above its outermost package put on ``sys.path``, as Python itself would."""
    file = path.resolve()
    if not file.is_file():
        raise SpecError(f"there is no file {str(path)!r} below {Path.cwd()}: give a .py file or a dotted module")
    parts = [file.stem]
    root = file.parent
    while (root / "__init__.py").is_file():
        parts.insert(0, root.name)
        root = root.parent
    for part in parts:
        if not part.isidentifier() or keyword.iskeyword(part):
            raise SpecError(
                f"{str(path)!r} cannot be imported by other processes: {part!r} is no module name: rename it"
            )
    name = ".".join(parts)
    if parts[0] in sys.stdlib_module_names:
        # On sys.path it would hide the library's own, also from the processes of the actors.
        raise SpecError(f"{str(path)!r} is named like the module {parts[0]!r} of the standard library: rename it")
    _put_on_path(root)
    _check_not_taken(name, file)
    return name


def _name_on_path(name: str) -> str:
    _put_on_path(Path.cwd())
    if not all(part.isidentifier() for part in name.split(".")):
        raise SpecError(f"{name!r} is neither a .py file nor a dotted module")
    return name


def _put_on_path(folder: Path) -> None:
    # Other processes get this path too, and find the module by its name.
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _check_not_taken(name: str, file: Path) -> None:
    """A file called like a module that Python finds first would give that module here and in every other process."""
    found = sys.modules.get(name)
    if found is not None:
        origin = getattr(found, "__file__", None)
    else:
        spec = importlib.util.find_spec(name)
        origin = spec.origin if spec is not None else None
    if origin is None or not Path(origin).exists() or not Path(origin).samefile(file):
        raise SpecError(
            f"module name {name!r} of {str(file)!r} is taken by {origin or 'a built-in module'}: rename the file"
        )


def _import(name: str, where: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise SpecError(
                f"there is no module {where!r}: give a .py file or a dotted module found from here"
            ) from None
        raise TopologyImportError(f"{where} could not be imported: {error}") from error
    except Exception as error:  # the user's module may raise anything; the traceback travels as the cause
        raise TopologyImportError(f"{where} could not be imported: {type(error).__name__}: {error}") from error


def _find_tree(module: ModuleType, attribute: str) -> Supervisor | Callable[..., Any]:
    found = getattr(module, attribute, None)
    if isinstance(found, Supervisor) or (callable(found) and not isinstance(found, type)):
        return found
    others = sorted(name for name, value in vars(module).items() if isinstance(value, Supervisor))
    hint = f"; it has {', '.join(others)}: name one as {module.__name__}:{others[0]}" if others else ""
    what = "is missing" if found is None else f"is of type {type(found).__name__}, no Supervisor"
    raise SpecError(
        f"{attribute!r} of module {module.__name__} {what}: a topology defines "
        f"`{attribute} = Supervisor(...)` or `def {attribute}(...) -> Supervisor`{hint}"
    )
