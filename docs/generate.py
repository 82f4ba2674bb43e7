"""
Writes ``docs/reference/*.md`` from the docstrings of what ``actors`` exports, one page per topic, and the states of a child into
``docs/explanation/states.md``. ``--check`` only compares.

The pages are committed, so that they can be read without a build; ``make check`` fails when one is not what the code says.
"""

from __future__ import annotations

import argparse
import functools
import inspect
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

import actors
import state_diagram
from actors import errors
from actors._seams import Cancellable, Stream
from actors.supervisor._letter_office import Subscription
from actors.supervisor._spec import Options

DOCS = Path(__file__).parent
REFERENCE = DOCS / "reference"
STATES = DOCS / "explanation" / "states.md"

# Every export stands on exactly one page; one that is missing here fails the generation.
TOPICS = {
    "actors": (
        "Actors and refs",
        (
            "Actor",
            "handler",
            "ActorRef",
            "PoolRef",
            "limit",
            "LimitedRef",
            "Breaker",
            "Reply",
            "message",
            "SharedArray",
            "Channel",
        ),
    ),
    "system": (
        "The system",
        ("ActorSystem", "SupervisorRef", "Tasks", "ActorInfo", "ActorStatistics", "Down", "DeadLetter"),
    ),
    "pools": ("Function pools", ("ActorExecutor", "Pool", "AsyncResult", "WorkerDied")),
    "supervision": (
        "Supervision",
        (
            "Supervisor",
            "child",
            "Child",
            "pool",
            "ActorPool",
            "Autoscale",
            "Backoff",
            "Park",
            "Recycle",
            "ExitReason",
            "CrashReport",
        ),
    ),
    "errors": ("Errors", tuple(errors.__all__)),
}
# Written by hand, and compared with what they describe by tests.
BY_HAND = {
    "cli.md": "The command line",
    "log-events.md": "Log events",
    "values.md": "What can travel in a message",
}
LINE = 100  # characters; a longer signature has one parameter per line
# What users meet without importing it: shown under the export that takes or gives it.
UNNAMED = {"child": (Options,), "ActorRef": (Stream,), "Actor": (Cancellable,), "ActorSystem": (Subscription,)}
PROSE = ("Returns", "Source", "Yields")  # sections of sentences; the others are lists of names
SECTIONS = ("Args", "Attributes", "Raises", "Returns", "Source", "Warns", "Yields")


def pages() -> dict[str, str]:
    """
    Return the text of every page by file name.

    Raises:
        SystemExit: An export stands on no page, or on two.
    """
    placed = [name for _, names in TOPICS.values() for name in names]
    wrong = {name for name in {*placed, *actors.__all__} if placed.count(name) != 1 or name not in actors.__all__}
    if wrong:
        raise SystemExit(
            f"docs/generate.py: not on exactly one page of TOPICS, or no export: {', '.join(sorted(wrong))}"
        )
    found = {f"{topic}.md": "\n".join(_page(topic, title, names)) for topic, (title, names) in TOPICS.items()}
    return {"README.md": "\n".join(_index()), **found}


def _index() -> Iterator[str]:
    yield "# Reference\n"
    yield "Written by `make docs` from the docstrings; all of it is imported from `actors`.\n"
    for topic, (title, names) in TOPICS.items():
        yield f"- [{title}]({topic}.md): {', '.join(f'`{name}`' for name in names)}"
    yield "\nWritten by hand, and compared with the code by tests:\n"
    for page, title in BY_HAND.items():
        yield f"- [{title}]({page})"
    yield ""


@attrs.frozen
class _Place:
    """Where a docstring is shown: what it refers to is looked for in its class, and linked as seen from its page."""

    topic: str
    owner: str = ""

    def link(self, target: str) -> str:
        """Return *target* (``Class``, ``Class.member`` or a member of this class) as a link, if it stands on a page."""
        name = target.removeprefix("~").removeprefix("actors.").removeprefix("errors.")
        anchors = _anchors()
        for full in (f"{self.owner}.{name}", name):
            if full in anchors:
                topic, anchor = anchors[full]
                return f"[`{name}`]({'' if topic == self.topic else f'{topic}.md'}#{anchor})"
        return f"`{name.rpartition('.')[2]}`"


@functools.cache
def _anchors() -> dict[str, tuple[str, str]]:
    """The topic and the anchor of everything that has a heading, by its name with its class."""
    found = {}
    for topic, (title, names) in TOPICS.items():
        taken = Counter([title.lower()])
        for name, heading in _headings(names):
            anchor = re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
            found[name] = (topic, f"{anchor}-{taken[anchor]}" if taken[anchor] else anchor)
            taken[anchor] += 1
    return found


def _headings(names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """What stands on a page, in its order, with its heading."""
    for name in names:
        thing = getattr(actors, name)
        yield name, name
        if inspect.isclass(thing):
            yield from _member_headings(thing)
        for unnamed in UNNAMED.get(name, ()):
            yield unnamed.__name__, f"{unnamed.__name__} (not imported)"
            if not attrs.has(unnamed):
                yield from _member_headings(unnamed)


def _member_headings(cls: type) -> Iterator[tuple[str, str]]:
    for member, value in _public_members(cls):
        yield f"{cls.__name__}.{member}", _heading(cls.__name__, member, value)


def _heading(owner: str, member: str, value: Any) -> str:
    return f"`{owner}.{member}`{' (property)' if isinstance(_plain(value), property) else ''}"


def _page(topic: str, title: str, names: tuple[str, ...]) -> Iterator[str]:
    yield f"# {title}\n"
    for name in names:
        yield from _entry(_Place(topic, name), getattr(actors, name))
        for thing in UNNAMED.get(name, ()):
            yield from _unnamed(_Place(topic, thing.__name__), thing)


def _entry(place: _Place, thing: Any) -> Iterator[str]:
    yield f"## `{place.owner}`\n"
    if inspect.isclass(thing):
        yield from _signature(place.owner, thing, is_class=True)
        yield from _docstring(place, thing)
        for member, value in _public_members(thing):
            yield from _member(place, member, value)
    elif callable(thing):
        yield from _signature(place.owner, thing)
        yield from _docstring(place, thing)
    else:
        yield f"`{thing!r}`\n"


def _unnamed(place: _Place, thing: type) -> Iterator[str]:
    """A class that is no export: what can be said or done with it, and not how one is made."""
    yield f"### `{thing.__name__}` (not imported)\n"
    yield from _docstring(place, thing)
    if attrs.has(thing):
        defaults = ", ".join(f"{field.name}={field.default!r}" for field in attrs.fields(thing))
        yield f"Defaults: `{defaults}`\n"
        return
    for member, value in _public_members(thing):
        yield from _member(place, member, value)


def _public_members(cls: type) -> list[tuple[str, Any]]:
    """What the package itself defines on *cls*, in the order of the source; attrs fields are in the Attributes of the class."""
    fields = {field.name for field in attrs.fields(cls)} if attrs.has(cls) else set()
    members: dict[str, Any] = {}
    for base in reversed([base for base in cls.__mro__ if base.__module__.partition(".")[0] == "actors"]):
        if base is cls or base.__name__.startswith("_"):
            members.update(vars(base))
    return [(name, value) for name, value in members.items() if _is_shown(name, value) and name not in fields]


def _plain(value: Any) -> Any:
    return value.__func__ if isinstance(value, classmethod | staticmethod) else value


def _is_shown(name: str, value: Any) -> bool:
    plain = _plain(value)
    if isinstance(plain, property) and getattr(plain.fget, "__module__", "").partition(".")[0] != "actors":
        return False  # of multiprocessing.Process
    documented = inspect.isfunction(plain) or isinstance(plain, property)
    return documented and not name.startswith("_") and bool(plain.__doc__)


def _member(place: _Place, name: str, value: Any) -> Iterator[str]:
    plain = _plain(value)
    yield f"### {_heading(place.owner, name, value)}\n"
    if not isinstance(plain, property):
        yield from _signature(name, plain)
    yield from _docstring(place, plain)


class _Raw:
    """An annotation that is shown as it is written."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _raw(annotation: Any) -> Any:
    return _Raw(annotation) if isinstance(annotation, str) else annotation


def _signature(name: str, thing: Any, *, is_class: bool = False) -> Iterator[str]:
    if _is_error(thing):  # how one is made is for those who raise it
        yield f"```text\nclass {name}({', '.join(base.__name__ for base in thing.__bases__)})\n```\n"
        return
    signature = inspect.signature(thing)
    parameters = [p.replace(annotation=_raw(p.annotation)) for p in signature.parameters.values()]
    shown = signature.replace(
        parameters=[p for p in parameters if p.name != "self"],
        return_annotation=inspect.Signature.empty if is_class else _raw(signature.return_annotation),
    )
    text = f"{'class ' if is_class else ''}{name}{shown}"
    if len(text) > LINE:
        text = text.replace("(", "(\n    ", 1)
        text = _break_at_commas(text)
    # Addresses differ from run to run; a default that is an object says its type.
    text = re.sub(r"<([\w.]+) object at 0x[0-9a-f]+>", r"<\1>", text)
    text = re.sub(r"<_?\w+\.(\w+): [^>]*>", r"\1", text)
    yield f"```text\n{text}\n```\n"


def _break_at_commas(text: str) -> str:
    """Each parameter on a line of its own; commas inside brackets stay."""
    depth = 0
    found = []
    for at, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 1:
            found.append(",\n   ")
        elif character == ")" and depth == 0 and "\n)" not in "".join(found):
            found.append(",\n)" + text[at + 1 :])
            break
        else:
            found.append(character)
    return "".join(found)


def _is_error(thing: Any) -> bool:
    return isinstance(thing, type) and issubclass(thing, BaseException)


def _docstring(place: _Place, thing: Any) -> Iterator[str]:
    """The docstring as Markdown: paragraphs, literal blocks, and the named sections."""
    section = ""
    block: list[str] | None = None
    for line in (inspect.getdoc(thing) or "").splitlines():
        if block is not None:
            if not line or line.startswith(" "):
                block.append(line)
                continue
            yield from _block(block)
            block = None
        if line.endswith("::"):
            block = []
            if line != "::":
                yield line.removesuffix(":") + "\n"
        elif line.removesuffix(":") in SECTIONS and line.endswith(":"):
            section = line.removesuffix(":")
            yield f"**{section}**\n"
        else:
            section = section if not line or line.startswith(" ") else ""
            yield _line(place, line, section)
    yield from _block(block or [])
    yield ""


def _block(lines: list[str]) -> Iterator[str]:
    text = inspect.cleandoc("\n".join(["", *lines]))
    if text:
        yield f"```text\n{text}\n```\n"


def _line(place: _Place, line: str, section: str) -> str:
    if not section or not line:
        return _inline(place, line)
    if section in PROSE:
        return _inline(place, line.strip())
    return _list_item(place, line.strip()) if re.match(r" {4}\S", line) else "  " + _inline(place, line.strip())


def _list_item(place: _Place, text: str) -> str:
    named = re.match(r"(\*{0,2}[\w., ]+?): +(.*)", text)
    return f"- `{named[1]}`: {_inline(place, named[2])}" if named else f"- {_inline(place, text)}"


def _inline(place: _Place, text: str) -> str:
    text = re.sub(r":\w+:`([\w.~]+)`", lambda role: place.link(role[1]), text)
    return text.replace("``", "`")


def main() -> int:
    """Write the pages, or compare them with what is there; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a page is not what the code says")
    check = parser.parse_args().check
    wanted = {REFERENCE / name: text for name, text in pages().items()} | {
        STATES: state_diagram.page(STATES.read_text())
    }
    there = {path: path.read_text() for path in (*REFERENCE.glob("*.md"), STATES) if path.name not in BY_HAND}
    stale = sorted(path for path in {*wanted, *there} if wanted.get(path) != there.get(path))
    if check:
        if stale:
            names = ", ".join(str(path.relative_to(DOCS)) for path in stale)
            print(f"docs is not what the code says: {names}; run: make docs", file=sys.stderr)
        return 1 if stale else 0
    REFERENCE.mkdir(exist_ok=True)
    for path in stale:
        if path in wanted:
            path.write_text(wanted[path])
        else:
            path.unlink()
        print(f"docs/{path.relative_to(DOCS)}: {'written' if path in wanted else 'removed'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
