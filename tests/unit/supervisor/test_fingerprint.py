from __future__ import annotations

import faulthandler
import tempfile
from typing import Any

import pytest

from actors.mailbox._failure import describe
from actors.supervisor._exits import EXIT_KINDS, ExitReason
from actors.supervisor._fingerprint import fingerprint

HERE = "supervisor/test_fingerprint.py"


def parse(text: str) -> int:
    return int(text)


def parse_carefully(text: str) -> int:
    if text.startswith("0"):
        return int("no " + text)
    return int(text)


def chained(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise LookupError(text) from error


def grouped(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise ExceptionGroup("several", [error]) from None


def shallow(depth: int) -> int:
    return parse("x") if depth == 0 else shallow(depth - 1)


def even(depth: int) -> int:
    return odd(depth - 1)


def odd(depth: int) -> int:
    return parse("x") if depth <= 0 else even(depth - 1)


def crash_in(function: Any, *args: object, **more: object) -> ExitReason:
    try:
        function(*args)
    except Exception as error:
        return ExitReason("crash", 1, error={**describe(error), **more})
    raise AssertionError("it did not raise")


# ---------------------------------------------------------------- one cause, one fingerprint


def test_it_names_kind_class_and_the_innermost_functions() -> None:
    assert f"crash ValueError in {HERE}:parse < {HERE}:shallow < {HERE}:shallow" == fingerprint(crash_in(shallow, 2))


def test_the_message_and_the_line_do_not_matter() -> None:
    assert fingerprint(crash_in(parse, "x")) == fingerprint(crash_in(parse, "y"))
    assert fingerprint(crash_in(parse_carefully, "x")) == fingerprint(crash_in(parse_carefully, "0x"))


def test_a_message_that_quotes_frames_does_not_matter() -> None:
    quoted = 'x\n  File "/other.py", line 3, in other'

    assert fingerprint(crash_in(parse, "x")) == fingerprint(crash_in(parse, quoted))


def test_the_depth_of_a_recursion_does_not_matter() -> None:
    assert fingerprint(crash_in(shallow, 20)) == fingerprint(crash_in(shallow, 40))


def test_frames_of_a_report_that_was_shortened_are_the_innermost() -> None:
    deep = crash_in(even, 800)

    assert deep.error is not None
    assert fingerprint(deep) == fingerprint(crash_in(even, 8))


def test_of_a_chain_the_last_exception_counts() -> None:
    found = fingerprint(crash_in(chained, "x"))

    assert found is not None
    assert found.startswith(f"crash LookupError in {HERE}:chained")


def test_of_a_group_a_member_shows_where() -> None:
    found = fingerprint(crash_in(grouped, "x"))

    assert found is not None
    assert found.startswith(f"crash ExceptionGroup in {HERE}:grouped")


# ---------------------------------------------------------------- another cause, another fingerprint


def test_other_functions_classes_kinds_handlers_codes_and_signals_differ() -> None:
    reasons = [
        crash_in(parse, "x"),
        crash_in(parse_carefully, "x"),
        crash_in(parse, None),
        ExitReason("boot_failure", 1, error=crash_in(parse, "x").error),
        crash_in(parse, "x", handler="add"),
        crash_in(parse, "x", handler="get"),
        ExitReason("crash", 1),
        ExitReason("crash", 2),
        ExitReason("boot_failure", 1),
        ExitReason("signal", -11, "SIGSEGV"),
        ExitReason("signal", -6, "SIGABRT"),
        ExitReason("signal", -11, "SIGSEGV", {"handler": "add"}),
        ExitReason("hang", -9, "SIGKILL"),
        ExitReason("memory_limit", -9, "SIGKILL"),
    ]

    assert len(reasons) == len({fingerprint(reason) for reason in reasons})


@pytest.mark.parametrize("kind", EXIT_KINDS)
def test_a_death_without_a_name_has_no_fingerprint(kind: Any) -> None:
    nameless = kind in {"normal", "requested", "supervisor_lost", "unknown"}

    assert nameless == (fingerprint(ExitReason(kind, 1)) is None)


# ---------------------------------------------------------------- stacks that were taken


STACK = """\
Thread 0x00007f0000000001 (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 324 in wait

Current thread 0x00007f0000000002 (most recent call first):
  File "/srv/app/fetch.py", line 12 in read
  File "/srv/app/fetch.py", line 40 in fetch
  File "/srv/app/actor.py", line 7 in get
  File "/srv/app/main.py", line 1 in main
"""


@pytest.mark.parametrize("stack", [STACK, STACK.splitlines(), tuple(STACK.splitlines())], ids=["text", "list", "tuple"])
def test_the_stack_of_the_running_thread_shows_where(stack: Any) -> None:
    reason = ExitReason("hang", -9, "SIGKILL", {"handler": "get", "stack": stack})

    assert "hang SIGKILL at get in app/fetch.py:read < app/fetch.py:fetch < app/actor.py:get" == fingerprint(reason)


def test_a_stack_of_one_thread_needs_no_mark() -> None:
    with tempfile.TemporaryFile() as file:
        faulthandler.dump_traceback(file, all_threads=False)
        file.seek(0)
        stack = file.read().decode()
    found = fingerprint(ExitReason("signal", -11, "SIGSEGV", {"stack": stack}))
    of_text = fingerprint(ExitReason("hang", error={"stack": 'File "a.py", line 3 in f'}))

    assert found is not None
    assert f"signal SIGSEGV in {HERE}:test_a_stack_of_one_thread_needs_no_mark" in found
    assert "hang in a.py:f" == of_text


def test_a_traceback_wins_over_a_stack() -> None:
    assert fingerprint(crash_in(parse, "x")) == fingerprint(crash_in(parse, "x", stack=STACK))


# ---------------------------------------------------------------- whatever a child writes


@pytest.mark.parametrize(
    "error",
    [
        {},
        {"type": 5, "traceback": None, "stack": {}, "handler": b"x", "text": 7},
        {"stack": [1, None]},
        {"traceback": "x" * 1_000_000},
        {"traceback": "\n" * 1_000_000},
        {"traceback": " |" * 500_000},
        {"traceback": ' File "' * 100_000},
        {"stack": "Current thread" * 100_000},
    ],
    ids=["empty", "types", "lines", "long", "lines of nothing", "borders", "quotes", "threads"],
)
def test_a_report_of_any_shape_and_size_is_read_in_no_time(error: dict[str, object]) -> None:
    assert "crash exit 1" == fingerprint(ExitReason("crash", 1, error=error))


def test_it_is_never_long() -> None:
    frames = "".join(f'  File "{"/a" * 5000}{"b" * 5000}.py", line 1, in {"f" * 5000}\n' for _ in range(9))
    error = {"type": "E" * 9999, "handler": "h" * 9999, "traceback": "Traceback (most recent call last):\n" + frames}
    found = fingerprint(ExitReason("crash", 1, error=error))

    assert found is not None
    assert len(found) < 1000
