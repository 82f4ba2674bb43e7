from __future__ import annotations

import pytest

from actors.supervisor._release import NOT_BUILT, not_built
from actors.supervisor._spec import Options, Recycle

VALUES = {"mailbox_messages": 10}


def test_the_defaults_ask_for_nothing_that_is_not_built() -> None:
    assert list(not_built("/app/a", Options())) == []


@pytest.mark.parametrize("name", NOT_BUILT)
def test_an_option_that_is_not_built_is_refused_by_name(name: str) -> None:
    (problem,) = not_built("/app/a", Options(**{name: VALUES[name]}))  # type: ignore[arg-type]

    assert problem.startswith(f"/app/a: {name}=")


def test_dropping_the_oldest_is_refused_with_what_to_use_instead() -> None:
    (problem,) = not_built("/app/a", Options(on_full="drop_oldest"))

    assert "'drop_newest'" in problem


def test_what_is_built_passes() -> None:
    options = Options(handler_timeout=1.0, memory_soft=1 << 30, memory_hard=2 << 30, recycle=Recycle(messages=3))

    assert [] == list(not_built("/app/a", options))
