"""Exceptions as data: what is told of them, and what is raised from it."""

from __future__ import annotations

import builtins
import copy
import errno
import pickle
from typing import Any

import pytest

from actors.errors import HandlerError, RemoteTraceback
from actors.mailbox._codec import decode, encode
from actors.mailbox._failure import describe, rebuild

BUILTINS = sorted(
    {
        cls.__name__
        for cls in vars(builtins).values()
        if isinstance(cls, type)
        and issubclass(cls, Exception)
        and not issubclass(cls, UnicodeError | BaseExceptionGroup | StopIteration | StopAsyncIteration)
    }
)


class Exotic(Exception):
    """Breaks whatever asks it for something."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    @property
    def __notes__(self) -> list[str]:  # type: ignore[override]  # pyright: ignore[reportIncompatibleVariableOverride]
        raise RuntimeError("no notes")


def caught(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as raised:
        return raised


def there_and_back(error: BaseException) -> HandlerError:
    return rebuild(decode(encode(describe(error))), target="/app/worker")


def test_a_failure_says_type_text_and_traceback() -> None:
    data = describe(caught(ValueError("bad amount")))

    assert (data["type"], data["text"], data["notes"]) == ("ValueError", "bad amount", [])
    assert "in caught" in data["traceback"]


def test_a_class_that_is_not_builtin_is_named_by_its_module() -> None:
    assert describe(Exotic())["type"] == f"{__name__}.Exotic"


def test_an_exception_whose_methods_raise_is_described_nevertheless() -> None:
    data = describe(caught(Exotic()))

    assert data["text"] == "<str() of the exception failed>"
    assert data["notes"] == []
    assert isinstance(rebuild(data, target=""), HandlerError)


def test_notes_travel() -> None:
    error = ValueError("x")
    error.add_note("while counting")

    assert there_and_back(error).__notes__ == ["while counting"]


def test_the_chain_of_causes_is_told_and_bounded() -> None:
    error = ValueError("0")
    for number in range(1, 20):
        following = KeyError(str(number))
        following.__cause__ = error
        error = following  # type: ignore[assignment]
    data: Any = describe(error)
    length = 0
    while "cause" in data:
        data, length = data["cause"], length + 1

    assert length == 8


def test_a_suppressed_context_is_no_cause() -> None:
    error = ValueError("x")
    error.__context__ = KeyError("y")

    assert describe(error)["cause"]["type"] == "KeyError"

    error.__suppress_context__ = True

    assert "cause" not in describe(error)


def test_members_of_a_group_are_told_and_bounded() -> None:
    group: ExceptionGroup[Exception] = ExceptionGroup("0", [ValueError(str(n)) for n in range(50)])
    for depth in range(1, 10):
        group = ExceptionGroup(str(depth), [group])
    data: Any = describe(group)
    depth = 0
    while data.get("members"):
        data, depth = data["members"][0], depth + 1

    assert depth == 4
    assert len(describe(ExceptionGroup("g", [ValueError()] * 50))["members"]) == 16


def test_text_and_traceback_are_bounded() -> None:
    data = describe(ValueError("x" * 1_000_000))

    assert len(data["text"]) < 17 * 1024
    assert len(data["traceback"]) < 65 * 1024
    assert "characters left out" in data["text"]


@pytest.mark.parametrize("name", BUILTINS)
def test_a_builtin_exception_arrives_as_itself_and_a_handler_error_and_survives_pickle_and_copy(name: str) -> None:
    data = {"type": name, "text": "why", "traceback": "Traceback: here", "notes": ["n"]}
    error = rebuild(data, target="/app/worker")
    for one in (error, pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert isinstance(one, HandlerError)
        assert isinstance(one, getattr(builtins, name))
        assert str(one) == f"/app/worker raised {name}: why"
        assert (one.target, one.error_type, one.error_text, one.traceback) == (
            "/app/worker",
            name,
            "why",
            "Traceback: here",
        )
        assert one.may_have_run


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), id="unicode"),
        pytest.param(ExceptionGroup("g", [ValueError()]), id="group"),
        pytest.param(StopIteration(5), id="stop iteration"),
        pytest.param(SystemExit(3), id="system exit"),
        pytest.param(KeyboardInterrupt(), id="keyboard interrupt"),
        pytest.param(Exotic(), id="a class of the user"),
    ],
)
def test_any_other_exception_arrives_as_a_plain_handler_error(error: BaseException) -> None:
    assert type(there_and_back(error)) is HandlerError


def test_the_cause_is_the_remote_traceback() -> None:
    cause = there_and_back(caught(ValueError("x"))).__cause__

    assert isinstance(cause, RemoteTraceback)
    assert "in caught" in cause.text


def test_the_number_of_an_os_error_travels() -> None:
    error = there_and_back(FileNotFoundError(errno.ENOENT, "gone", "/tmp/x"))

    assert isinstance(error, FileNotFoundError)
    assert error.errno == errno.ENOENT
    assert "gone" in str(error)


def test_one_builtin_gives_one_class_whatever_its_alias() -> None:
    assert type(rebuild({"type": "IOError"}, target="")) is type(rebuild({"type": "OSError"}, target=""))


def test_a_failure_of_a_nested_ask_keeps_its_first_type_and_text() -> None:
    inner = there_and_back(ValueError("bad amount"))

    data = describe(caught(inner))

    assert (data["type"], data["text"]) == ("ValueError", "bad amount")
    assert "cause" not in data


@pytest.mark.parametrize(
    "data",
    [
        None,
        5,
        [],
        {},
        {"type": 7, "text": []},
        {"type": "len"},
        {"type": "BaseException"},
        {"notes": 5},
        {"notes": [1, "a"]},
    ],
    ids=repr,
)
def test_hostile_data_still_makes_a_handler_error(data: object) -> None:
    error = rebuild(data, target="/app/worker")

    assert isinstance(error, HandlerError)
    assert "/app/worker raised" in str(error)
    assert isinstance(error.__cause__, RemoteTraceback)


def test_hostile_data_cannot_make_the_error_large() -> None:
    error = rebuild({"type": "x" * 10**6, "text": "y" * 10**6, "traceback": "z" * 10**6}, target="")

    assert len(str(error)) < 20_000
    assert len(error.traceback) <= 128 * 1024
