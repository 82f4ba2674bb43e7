"""
A tree as lines of text, as it would be started. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from actors.supervisor._spec import Child, Supervisor, named_children

__all__ = ["lines"]


def lines(tree: Supervisor) -> Iterator[str]:
    """
    Yield one line per node, children below their supervisor in the order written.

    Args:
        tree: A spec that has been checked.
    """
    rows = [(tree.name, _describe(tree)), *_below(tree, "")]
    width = max(len(label) for label, _ in rows)
    for label, description in rows:
        yield f"{label:<{width}}  {description}"


def _below(tree: Supervisor, indent: str) -> Iterator[tuple[str, str]]:
    children = named_children(tree)
    for position, (name, node) in enumerate(children.items(), start=1):
        is_last = position == len(children)
        yield f"{indent}{'└─ ' if is_last else '├─ '}{name}", _describe(node)
        if isinstance(node, Supervisor):
            yield from _below(node, indent + ("   " if is_last else "│  "))


def _describe(node: Child | Supervisor) -> str:
    if isinstance(node, Supervisor):
        return f"{node.strategy}, at most {node.max_restarts} restarts in {node.period:g} s"
    return f"{type(node.actor).__qualname__}, {node.options.restart}"
