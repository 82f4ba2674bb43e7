"""The mark of an incarnation, as it is read from outside."""

from __future__ import annotations

import os

import pytest

from actors import _marks
from actors._subreaper import parse_stat

MARK = "0123456789abcdef:1:2:3"
OTHER = "fedcba9876543210:4:5:6"


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        (b"", set()),
        (b"HOME=/root\0PATH=/bin\0", set()),
        (b"HOME=/\0ACTORS_INCARNATION=" + MARK.encode() + b"\0PATH=/bin\0", {MARK}),
        (f"ACTORS_INCARNATION={OTHER} {MARK}\0".encode(), {MARK, OTHER}),
        (b"ACTORS_INCARNATION=\0", set()),
        (b"NOT_ACTORS_INCARNATION=" + MARK.encode() + b"\0", set()),
        (b"ACTORS_INCARNATION=\xff\0", {"\N{REPLACEMENT CHARACTER}"}),
        (b"TEXT=a\nACTORS_INCARNATION=no\0ACTORS_INCARNATION=yes", {"yes"}),
    ],
)
def test_marks_in_an_environment_are_words_of_one_variable(environ: bytes, found: set[str]) -> None:
    assert _marks.in_environ(environ) == found


@pytest.mark.parametrize(
    ("maps", "found"),
    [
        (b"", set()),
        (b"7f00-7f01 r--p 00000000 00:01 9  /usr/lib/libc.so\n", set()),
        (f"7f00-7f01 r--s 0 00:01 9   /memfd:actors-mark:{MARK} (deleted)\n".encode(), {MARK}),
        (f"a /memfd:actors-mark:{MARK} (deleted)\nb /memfd:actors-mark:{OTHER} (deleted)".encode(), {MARK, OTHER}),
        (b"7f00-7f01 rw-s 0 00:01 9   /memfd:actors-recorder (deleted)\n", set()),
    ],
)
def test_marks_among_mappings_are_names_of_memory_files(maps: bytes, found: set[str]) -> None:
    assert _marks.in_maps(maps) == found


def test_the_mark_of_one_incarnation_is_that_of_no_other() -> None:
    marks = {
        _marks.make_mark(f"app-{os.getpid()}-{system}", uid, incarnation)
        for system in (1, 12)
        for uid in (1, 2, 12)
        for incarnation in (1, 2, 12)
    }

    assert len(marks) == 18
    assert all(mark.startswith(_marks.token()) for mark in marks)
    assert " " not in "".join(marks)


def test_a_process_that_is_not_there_wears_nothing() -> None:
    assert _marks.worn(1 << 22, _marks.interpreters()) == frozenset()


def test_a_stat_line_is_read_behind_a_name_that_holds_anything() -> None:
    assert parse_stat(b"12 (a) R 3) Z 4 5 6 7") == ("Z", 4, 5)
    with pytest.raises(ValueError, match="unpack"):
        parse_stat(b"12 (a) Z")
