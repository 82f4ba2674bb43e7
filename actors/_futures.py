"""
Futures of ``concurrent.futures`` that may be resolved by more than one: the first counts.
"""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any, TypeVar

__all__ = ["resolve", "resolve_error"]

T = TypeVar("T")


def resolve(future: Future[T], value: T) -> None:
    """Give *future* its value, unless it has ended."""
    if not future.done():
        future.set_result(value)


def resolve_error(future: Future[Any], error: BaseException) -> None:
    """Give *future* an error, unless it has ended."""
    if not future.done():
        future.set_exception(error)
