"""A crash report as plain data, and as text."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

from actors.supervisor._report import CrashReport, one_line, plain_error, render

LEAST = CrashReport(
    system="s", path="/app/a", uid=1, incarnation=2, class_name="m.A", kind="crash", reason="crashed (exit 3)"
)
FULL = attrs.evolve(
    LEAST,
    exit_code=1,
    status=256,
    error={"type": "ValueError", "text": "x", "traceback": "Traceback\n  File\nValueError: x\n"},
    stack="Current thread\n  File\n",
    handler="add",
    handler_seconds=0.25,
    recent=("add", "add"),
    queued_messages=3,
    queued_bytes=30,
    handled=7,
    uptime=12.34,
    restarts=1,
    rss=3 << 20,
    cpu_seconds=0.5,
    evidence=("wrote a crash report", "more"),
    ancestors=("/app",),
    host="h",
    pid=77,
    start_method="fork",
    python_version="3.12.1",
    attempts=2,
    then="restarted at once",
)


def test_a_report_is_plain_data_by_its_attributes() -> None:
    data = FULL.to_dict()

    assert data == json.loads(json.dumps(data, allow_nan=False))
    assert [field.name for field in attrs.fields(CrashReport)] == list(data)
    assert ["add", "add"] == data["recent"]


def test_text_that_no_encoding_can_write_is_replaced() -> None:
    odd = attrs.evolve(LEAST, path="/app/\udcff", error={"type": "E", "text": "\ud800!"}, evidence=("\udc80",))

    data = odd.to_dict()

    json.dumps(data, ensure_ascii=False).encode()
    assert ("/app/?", "?!", ["?"]) == (data["path"], data["error"]["text"], data["evidence"])


def test_a_report_can_be_compared_and_hashed() -> None:
    assert attrs.evolve(FULL) == FULL
    assert len({FULL, attrs.evolve(FULL), LEAST}) == 2


@pytest.mark.parametrize(
    ("error", "plain"),
    [
        (None, None),
        ({}, {"type": "", "text": "", "traceback": ""}),
        ({"type": 7, "text": b"x", "traceback": None, "more": 1}, {"type": "", "text": "", "traceback": ""}),
        ({"type": "E", "text": "t", "traceback": "T"}, {"type": "E", "text": "t", "traceback": "T"}),
    ],
)
def test_an_exception_is_three_texts(error: Any, plain: Any) -> None:
    assert plain == plain_error(error)


def test_what_a_hostile_process_describes_is_cut_to_its_bounds() -> None:
    plain = plain_error(dict.fromkeys(("type", "text", "traceback"), "x" * 1_000_000))

    assert plain is not None
    assert sum(map(len, plain.values())) < 100_000


@pytest.mark.parametrize(
    ("text", "line"),
    [("a", "a"), (" a\n  b\t", "a b"), ("x" * 501, "x" * 500 + "..."), ("x" * 500, "x" * 500), ("", "")],
)
def test_a_reason_is_one_line_of_the_log(text: str, line: str) -> None:
    assert line == one_line(text)


def test_a_full_report_reads_as_facts_traceback_and_stack() -> None:
    assert """\
handler   add, for 0.250 s, died of it 2 times; its last messages: add, add
mailbox   3 messages, 30 bytes queued; 7 handled
process   m.A; pid 77; up 12.3 s; 1 restarts before; 3.0 MiB resident; 0.50 s of CPU; fork, Python 3.12.1 on h
evidence  wrote a crash report; more
then      restarted at once

Traceback
  File
ValueError: x

Current thread
  File""" == render(FULL)


def test_what_nobody_knows_is_left_out() -> None:
    assert "process   m.A; never made; 0 restarts before; spawn, Python 3.12.1 on h" == render(
        attrs.evolve(LEAST, start_method="spawn", python_version="3.12.1", host="h")
    )
    assert "handler   add; " not in render(attrs.evolve(LEAST, handler="add"))
    assert "mailbox   9 bytes queued\n" in render(attrs.evolve(LEAST, queued_bytes=9))


def test_what_was_not_read_yet_and_so_not_counted_is_told() -> None:
    text = render(attrs.evolve(LEAST, queued_bytes=29, unread_bytes=20))

    assert "mailbox   29 bytes queued, 20 of them not read yet\n" in text


def test_the_last_messages_of_one_that_was_at_none_have_a_row_of_their_own() -> None:
    assert "messages  the last: add, sub\n" in render(attrs.evolve(LEAST, recent=("add", "sub")))
