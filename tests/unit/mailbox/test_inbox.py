from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from actors.errors import InternalError
from actors.mailbox._frames import MAX_BODY_BYTES, frame
from actors.mailbox._inbox import make_inbox, pipe_capacity, queued_bytes, reopen_reader, reopen_writer, write_frame


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read_fd, write_fd = make_inbox(4096)
    yield read_fd, write_fd
    for fd in (read_fd, write_fd):
        try:
            os.close(fd)
        except OSError:  # the test closed it
            continue


def test_an_inbox_has_the_capacity_that_was_wanted(pipe: tuple[int, int]) -> None:
    assert (4096, 4096) == (pipe_capacity(pipe[0]), pipe_capacity(pipe[1]))


def test_an_inbox_of_an_impossible_capacity_is_a_pipe_as_the_kernel_gives_it() -> None:
    read_fd, write_fd = make_inbox(1 << 40)
    capacity = pipe_capacity(read_fd)
    os.close(read_fd)
    os.close(write_fd)

    assert capacity >= 4096


def test_both_ends_are_non_blocking_and_closed_on_exec(pipe: tuple[int, int]) -> None:
    assert [(False, False)] * 2 == [(os.get_blocking(fd), os.get_inheritable(fd)) for fd in pipe]


def test_a_full_pipe_takes_all_of_a_frame_or_nothing(pipe: tuple[int, int]) -> None:
    read_fd, write_fd = pipe
    body = bytes(range(256)) * 10

    assert write_frame(write_fd, frame(body))
    assert not write_frame(write_fd, frame(body))
    assert queued_bytes(read_fd) == len(frame(body))
    assert os.read(read_fd, 8192) == frame(body)
    assert queued_bytes(write_fd) == 0


def test_the_longest_frame_passes_and_a_longer_one_is_refused(pipe: tuple[int, int]) -> None:
    assert write_frame(pipe[1], frame(bytes(MAX_BODY_BYTES)))

    with pytest.raises(InternalError, match="4097"):
        write_frame(pipe[1], frame(bytes(MAX_BODY_BYTES + 1)))


def test_a_reopened_end_has_a_blocking_mode_of_its_own(pipe: tuple[int, int]) -> None:
    reader, writer = reopen_reader(pipe[0]), reopen_writer(pipe[1])
    os.set_blocking(pipe[0], True)
    os.set_blocking(pipe[1], True)
    modes = os.get_blocking(reader), os.get_blocking(writer)
    sent = write_frame(writer, frame(b"x"))
    received = os.read(reader, 100)
    os.close(reader)
    os.close(writer)

    assert (False, False) == modes
    assert sent
    assert frame(b"x") == received


def test_writing_where_nobody_reads_raises_broken_pipe(pipe: tuple[int, int]) -> None:
    os.close(pipe[0])

    with pytest.raises(BrokenPipeError):
        write_frame(pipe[1], frame(b"x"))


def test_a_reopened_writer_raises_broken_pipe_where_nobody_reads(pipe: tuple[int, int]) -> None:
    os.close(pipe[0])
    writer = reopen_writer(pipe[1])
    with pytest.raises(BrokenPipeError):
        write_frame(writer, frame(b"x"))
    os.close(writer)


def test_reopening_what_is_no_descriptor_raises_what_the_kernel_says(pipe: tuple[int, int]) -> None:
    with pytest.raises(FileNotFoundError):
        reopen_writer(1 << 20)
