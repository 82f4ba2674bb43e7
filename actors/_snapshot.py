"""
How an actor that is not started becomes bytes, and one again in its own process.

One object is three things in its life, never copied between them: a *spec* in the program (``Counter(start=10)``: plain
configuration), its *snapshot* (bytes), and an *incarnation* (made by :func:`incarnate` and :func:`apply_snapshot` in its process).
"""

from __future__ import annotations

import inspect
import multiprocessing
import sys
from collections.abc import Mapping
from typing import Any, TypeVar

import attrs

from actors._actor import Actor, taken_names, who
from actors._doubts import warn_of_misspelt_options
from actors.errors import EncodeError, ProtocolError, SpecError, StartError
from actors.mailbox import _codec

__all__ = ["Snapshot", "apply_snapshot", "find_class", "incarnate", "read_snapshot", "snapshot"]

A = TypeVar("A", bound=Actor)


@attrs.frozen
class Snapshot:
    """
    An unstarted actor as it travels.

    Attributes:
        module: Module of its class.
        qualname: Qualified name of the class there.
        attributes: Its encoded attributes, not looked into: decoding them may import modules.
    """

    module: str
    qualname: str
    attributes: bytes


def snapshot(actor: Actor) -> bytes:
    """
    What an unstarted actor is, as bytes: its class by name, and its attributes less what ``Process`` put there. Warns of attributes of
    its class that look like a misspelt option.

    Raises:
        SpecError: All that keeps it from being started: a class that cannot be found by name, an abstract handler, a
            missing ``super().__init__()``, or an attribute that cannot travel; each named.
    """
    problems = _problems(actor)
    if problems:
        raise SpecError(*problems)
    warn_of_misspelt_options(type(actor))
    values = _configuration(actor)
    try:
        attributes = _codec.encode(values, what="attributes", references=True)
    except EncodeError as error:
        raise SpecError(*(_attribute_problems(actor, values) or [f"{who(actor)}: {error}"])) from error
    cls = type(actor)
    return _codec.encode({"module": cls.__module__, "qualname": cls.__qualname__, "vars": attributes})


def read_snapshot(data: bytes) -> Snapshot:
    """
    Read a snapshot without importing or making anything.

    Raises:
        ProtocolError: It is none.
    """
    match _codec.decode(data):
        case {"module": str(module), "qualname": str(qualname), "vars": bytes(attributes)}:
            return Snapshot(module, qualname, attributes)
    raise ProtocolError(f"no snapshot of an actor: {data[:16]!r}… ({len(data)} bytes)")


def find_class(module: str, qualname: str) -> type[Actor]:
    """
    The class of an actor, if this process has imported it.

    Raises:
        StartError: The module is not imported here, or has no such class. Says which module to import.
    """
    found: object = sys.modules.get(module)
    if found is None:
        raise StartError(f"the class {qualname} cannot be started: import its module {module!r} in the host first")
    for part in qualname.split("."):
        found = inspect.getattr_static(found, part, None)
    if isinstance(found, type) and issubclass(found, Actor):
        return found
    raise StartError(f"the class {qualname} cannot be started: module {module!r} has no actor of that name")


def incarnate(
    cls: type[A], *, name: str | None = None, parent_name: str | None = None, parent_pid: int | None = None
) -> A:
    """
    A new object of *cls* with what ``Process`` needs, and nothing else; ``__init__`` of *cls* does not run.

    Args:
        cls: The actor's class.
        name: Name of the process.
        parent_name: Name of the process that starts it, where that is another than this.
        parent_pid: Its pid.
    """
    actor = cls.__new__(cls)
    multiprocessing.Process.__init__(actor, name=name)
    actor.daemon = False  # a daemon's children would be daemons, which may have no children themselves
    if parent_name is not None:
        vars(actor)["_parent_name"] = parent_name
    if parent_pid is not None:
        vars(actor)["_parent_pid"] = parent_pid
    return actor


def apply_snapshot(actor: Actor, data: bytes) -> None:
    """
    Give an incarnation the attributes of its spec. May import modules: classes and functions are named by reference.

    Raises:
        ProtocolError: It is no snapshot.
        ImportError: And whatever else a module raises that is imported.
    """
    attributes = _codec.decode(read_snapshot(data).attributes, references=True)
    if not isinstance(attributes, dict):
        raise ProtocolError(f"the attributes of an actor are a {type(attributes).__name__}, no dict")
    vars(actor).update(attributes)


def _configuration(actor: Actor) -> dict[str, Any]:
    own = actor._own or {}
    return {name: value for name, value in vars(actor).items() if name not in own and name != "_own"}


def _problems(actor: Actor) -> list[str]:
    name, cls = who(actor), type(actor)
    if actor._boot is not None or actor._context is not None:
        return [f"{name} is started already: its ref is its address, and a new one is made from a new spec"]
    problems: list[str] = []
    if "<locals>" in cls.__qualname__:
        problems.append(
            f"{name}: the class is made inside a function, where no other process finds it; move it to its module"
        )
    abstract = [info.name for info in cls._handlers.values() if info.is_abstract]
    if abstract:
        problems.append(f"{name}: {', '.join(abstract)} is abstract; spawn a subclass that implements it")
    if actor._own is None:
        return [*problems, f"{name}: its __init__ does not call super().__init__(); let that be its first line"]
    taken = [key for key, value in actor._own.items() if vars(actor).get(key) is not value]
    if taken:
        problems.append(
            f"{name}: attribute {', '.join(map(repr, taken))} is Process's own or a handler's; call yours something else"
        )
    return problems + taken_names(actor, _configuration(actor))


def _attribute_problems(actor: Actor, values: Mapping[str, Any]) -> list[str]:
    problems: list[str] = []
    for name, value in values.items():
        try:
            _codec.encode(value, what=name, references=True)
        except EncodeError as error:
            problems.append(
                f"attribute {name!r} of {who(actor)} cannot travel to its process: {error}; "
                "keep plain configuration in __init__ and make the rest in on_start"
            )
    return problems
