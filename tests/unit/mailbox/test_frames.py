"""Frames: headers, packing, walking, incremental parsing."""

from __future__ import annotations

import multiprocessing
import struct

import pytest

from actors.errors import ProtocolError
from actors.mailbox._frames import (
    HEADER_BYTES,
    MAX_BODY_BYTES,
    MAX_FRAME_BYTES,
    FrameParser,
    frame,
    pack_frames,
    walk,
)

BAD_LENGTHS = [
    pytest.param(-1, id="negative"),
    pytest.param(-(2**31), id="the most negative"),
    pytest.param(MAX_BODY_BYTES + 1, id="one too long"),
    pytest.param(2**31 - 1, id="the longest"),
]


def test_a_frame_is_what_a_plain_connection_reads() -> None:
    reader, writer = multiprocessing.Pipe(duplex=False)
    with reader, writer:
        writer._send(frame(b"hello"))  # type: ignore[attr-defined]

        assert reader.recv_bytes() == b"hello"


def test_an_empty_frame_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="at least 1 byte"):
        frame(b"")


def test_messages_share_a_frame_until_it_is_full() -> None:
    third = MAX_BODY_BYTES // 2

    frames = pack_frames([b"a" * third, b"b" * third, b"c", b"d" * MAX_BODY_BYTES, b"e"])

    assert [len(one) for one in frames] == [
        HEADER_BYTES + 2 * third,
        HEADER_BYTES + 1,
        MAX_FRAME_BYTES,
        HEADER_BYTES + 1,
    ]
    assert b"".join(one[HEADER_BYTES:] for one in frames) == b"".join(
        [b"a" * third, b"b" * third, b"c", b"d" * MAX_BODY_BYTES, b"e"]
    )


def test_no_messages_make_no_frames() -> None:
    assert pack_frames([]) == []


@pytest.mark.parametrize("length", [0, MAX_BODY_BYTES + 1])
def test_a_message_that_does_not_fit_a_frame_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match=f"got {length}"):
        pack_frames([b"x" * length])


def test_a_walk_ends_behind_the_last_whole_frame() -> None:
    data = frame(b"one") + frame(b"three") + frame(b"cut off")[:-1]

    assert walk(memoryview(data), 0, len(data)) == len(frame(b"one") + frame(b"three"))


def test_a_walk_ends_at_zeroes() -> None:
    data = frame(b"one") + bytes(64)

    assert walk(memoryview(data), 0, len(data)) == len(frame(b"one"))


@pytest.mark.parametrize("left", [0, 1, 3])
def test_a_walk_ends_where_no_header_fits(left: int) -> None:
    data = frame(b"one") + b"\0\0\0\x01"[:left]

    assert walk(memoryview(data), 0, len(data)) == len(frame(b"one"))


def test_a_walk_looks_no_further_than_it_is_told() -> None:
    data = frame(b"one") + frame(b"two")

    assert walk(memoryview(data), 0, len(data) - 1) == len(frame(b"one"))
    assert walk(memoryview(data), len(frame(b"one")), len(data)) == len(data)


@pytest.mark.parametrize("length", BAD_LENGTHS)
def test_a_walk_refuses_an_impossible_length_and_says_where(length: int) -> None:
    data = frame(b"one") + struct.pack("!i", length) + b"rest"

    with pytest.raises(ProtocolError, match=f"offset 7 claims {length} bytes.*72 65 73 74"):
        walk(memoryview(data), 0, len(data))


def test_a_parser_gives_the_same_bodies_however_the_stream_is_cut() -> None:
    data = frame(b"one") + frame(b"x" * 1000) + frame(b"three")
    for step in (1, 3, 5, 999, len(data)):
        parser = FrameParser(1000)

        bodies = [body for at in range(0, len(data), step) for body in parser.feed(data[at : at + step])]

        assert bodies == [b"one", b"x" * 1000, b"three"]
        assert parser.pending == 0


def test_a_parser_counts_the_bytes_of_an_unfinished_frame() -> None:
    parser = FrameParser(100)
    parser.feed(frame(b"one") + frame(b"three")[:6])

    assert parser.pending == 6


@pytest.mark.parametrize("length", [0, -1, 101, 2**31 - 1])
def test_a_parser_refuses_a_length_beyond_its_limit_now_and_ever_after(length: int) -> None:
    parser = FrameParser(100)
    with pytest.raises(ProtocolError, match=f"claims {length} bytes, allowed are 1 to 100"):
        parser.feed(frame(b"one") + struct.pack("!i", length))
    with pytest.raises(ProtocolError):
        parser.feed(b"x" * 1000)
    with pytest.raises(ProtocolError):
        parser.feed(b"y" * 1000)

    assert parser.pending <= 16  # what follows a broken header is not kept
