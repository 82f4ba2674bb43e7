from __future__ import annotations

from collections import Counter

import pytest

from actors.errors import ProtocolError
from actors.mailbox._envelope import encode_ask, encode_dropped, encode_large, encode_tell, parse_answers
from actors.mailbox._overflow import Bounds, Dropped, asker, choose_oldest, count_waiting, sort_out
from actors.mailbox._shapes import Dropped as DroppedAnswer

TOLD = encode_tell("note", (1,))
ASKED = encode_ask("echo", ("x",), {"y": 2}, 7, (3 << 40) + 5, None)
LARGE = encode_large(9, 2, 100_000, 4, 64)
JUNK = b"\xc1\xc1\xc1"


def pieces(*bodies: bytes, begin: int = 0) -> tuple[list[tuple[int, int, bytes]], int]:
    """Whole frames of these bodies, one behind the other, and where the last one ends."""
    found = []
    for body in bodies:
        found.append((begin, begin + 4, body))
        begin += 4 + len(body)
    return found, begin


# ---- bounds --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bounds", "leave_room", "met"),
    [
        (Bounds(100), True, True),
        (Bounds(51), True, True),
        (Bounds(50), False, True),
        (Bounds(49), False, False),
        (Bounds(100, 11), True, True),
        (Bounds(100, 10), False, True),
        (Bounds(100, 9), False, False),
        (Bounds(49, 11), False, False),
    ],
)
def test_bounds_say_whether_more_may_be_read_and_whether_too_much_waits(
    bounds: Bounds, leave_room: bool, met: bool
) -> None:
    assert bounds.leave_room(50, 10) is leave_room
    assert bounds.are_met(50, 10) is met


def test_messages_are_counted_only_where_they_are_bounded() -> None:
    assert not Bounds(100).counts
    assert Bounds(100).excess(1_000_000) == 0
    assert Bounds(100, 5).counts
    assert [Bounds(100, 5).excess(waiting) for waiting in (0, 5, 6, 9)] == [0, 0, 1, 4]


# ---- the choice ----------------------------------------------------------------------------------------------------


def test_as_many_of_the_oldest_are_chosen_as_are_too_many() -> None:
    frames, end = pieces(TOLD * 3, TOLD * 2)
    size = len(TOLD)
    places = [0, 4 + size, 4 + 2 * size, 4 + 3 * size, 8 + 4 * size]
    second = places[3]
    expected = [places[0], places[1], places[2], second << 32 | second, second << 32 | places[4], end << 32 | end]

    for fewer, place in enumerate(expected):
        keep, dropped = choose_oldest(frames, end, end, fewer)
        assert (keep, dropped.count) == (place, fewer)
        assert dropped.handlers == Counter({"note": fewer} if fewer else {})
    assert choose_oldest(frames, end, end, 99) == choose_oldest(frames, end, end, 5)


def test_as_many_of_the_oldest_are_chosen_as_make_too_many_bytes() -> None:
    frames, end = pieces(TOLD * 3, TOLD * 2)
    size = len(TOLD)

    for most in range(end + 1):
        keep, dropped = choose_oldest(frames, end, most, 0)
        left = end - (keep & 0xFFFFFFFF)
        assert left <= most
        if dropped.count:
            assert left + size + 4 > most, "one less would not have been enough"


def test_the_rest_of_a_frame_and_the_ends_of_others_are_kept() -> None:
    size = len(TOLD)
    rest = [(100, 104 + size, TOLD * 2)]
    end = 104 + 3 * size

    keep, dropped = choose_oldest(rest, end, 1 << 20, 1)
    assert (keep, dropped.count) == (100 << 32 | 104 + 2 * size, 1)


def test_it_is_known_who_waits_for_what_is_dropped_and_where_the_large_ones_lie() -> None:
    frames, end = pieces(TOLD + ASKED + LARGE, TOLD + JUNK)
    _keep, dropped = choose_oldest(frames, end, 0, 0)

    assert dropped == Dropped(
        5, Counter({"note": 2, "echo": 1, None: 2}), [(7, (3 << 40) + 5)], [(9, 2, 100_000, 4, 64)]
    )
    assert sort_out([TOLD + ASKED + LARGE, TOLD + JUNK]) == dropped


def test_what_is_no_message_goes_as_one_with_the_rest_of_its_frame() -> None:
    frames, end = pieces(JUNK + TOLD * 5, TOLD)
    keep, dropped = choose_oldest(frames, end, end, 1)

    second = 4 + len(JUNK + TOLD * 5)
    assert (keep, dropped.count) == (second << 32 | second, 1)
    too_long, end = pieces(bytes(5000))
    assert choose_oldest(too_long, end, 0, 0)[1].count == 1


def test_messages_are_counted_and_what_is_none_counts_as_one() -> None:
    assert count_waiting([]) == 0
    assert count_waiting([TOLD * 3, ASKED + LARGE]) == 5
    assert count_waiting([TOLD * 3 + JUNK, TOLD]) == 5


def test_who_waits_for_a_large_message_is_read_from_it() -> None:
    assert asker(ASKED) == (7, (3 << 40) + 5)
    assert asker(memoryview(TOLD)) is None
    with pytest.raises(ProtocolError):
        asker(JUNK)


def test_the_news_of_a_drop_names_the_ask() -> None:
    assert parse_answers(encode_dropped(77)) == [DroppedAnswer(77)]
    with pytest.raises(ProtocolError):
        parse_answers(encode_dropped(77)[:-1] + b"\xc0")
