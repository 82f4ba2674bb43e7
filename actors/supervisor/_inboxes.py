"""
A new inbox for an actor into whose old one somebody wrote what is no frame.

Frames have no boundaries any more behind such bytes, so the pipe is given up: what stood in it is counted as undecodable, and the asks
among it fail at their callers. What had been read before is served by the next incarnation; the asks among *that* are spared. Whoever
held a way into the old pipe finds it broken (EPIPE, nothing delivered), asks for the new one and sends again.

Runs in the pump's thread, between two incarnations.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from actors import _descriptors
from actors.errors import ProtocolError
from actors.mailbox import _envelope
from actors.mailbox._frames import HEADER_BYTES, walk_sound
from actors.mailbox._inbox import make_inbox, pipe_capacity
from actors.mailbox._outbox import Outbox
from actors.supervisor import _exits

if TYPE_CHECKING:
    from actors.supervisor._arenas import ArenaBook
    from actors.supervisor._cells import Cell

__all__ = ["asks_in", "lost_news", "replace_inbox"]

# Ask ids of at most nine bytes each, so that a part fits a frame together with its reason.
_IDS_PER_PART = 200


def replace_inbox(cell: Cell, arenas: ArenaBook) -> int:
    """
    Give *cell* a new pipe for its inbox.

    Args:
        cell: Whose.
        arenas: What large messages in the old one lie in; their slots are given back.

    Returns:
        How many messages stood in the old one, as far as they can be told apart: at least 1.

    Raises:
        OSError: No descriptor is left; nothing has changed.
    """
    with _descriptors.fork_lock:
        read_end, write_end = make_inbox(pipe_capacity(cell.inbox_read))
        _descriptors.own(read_end, write_end)
    lost = _count(cell.inbox_read, arenas)
    before = (cell.inbox_read, cell.inbox_write)
    # Whoever sends from now on meets a closed outbox, and looks again until it finds the new one.
    cell.route.joinable = None
    waiting = cell.route.outbox.close()
    outbox = Outbox(write_end)
    for message in waiting:
        outbox.offer(message, time.monotonic(), hold=math.inf)
    cell.inbox_read, cell.inbox_write, cell.route.outbox = read_end, write_end, outbox
    _descriptors.close(*before)
    return lost


def _count(pipe: int, arenas: ArenaBook) -> int:
    """Read what stands in a pipe, and tell how many messages that may have been."""
    count = 1  # what was no frame
    with contextlib.suppress(BlockingIOError):
        while data := os.read(pipe, pipe_capacity(pipe)):
            whole, _broken = walk_sound(memoryview(data), 0, len(data))
            for body in _bodies(data[:whole]):
                for message in _messages(body):
                    count += 1
                    _release(message, arenas)
    return count


def _release(message: Any, arenas: ArenaBook) -> None:
    if isinstance(message, list) and message[0] == _envelope.LARGE:
        _kind, arena_id, slot, _length, generation, _offset = message
        with contextlib.suppress(ProtocolError):
            arenas.reader(arena_id).release(slot, generation)


def asks_in(bodies: list[bytes], arenas: ArenaBook) -> dict[int, list[int]]:
    """
    The ids of the asks among messages that were read and not handled, by caller.

    Args:
        bodies: Of their frames.
        arenas: What large ones lie in.
    """
    found: dict[int, list[int]] = {}
    for body in bodies:
        for message in _messages(body):
            whole = _whole(message, arenas)
            if isinstance(whole, _envelope.Undecodable):
                found.setdefault(whole.caller, []).append(whole.ask_id)
            elif whole[0] == _envelope.ASK:
                found.setdefault(whole[4], []).append(whole[5])
    return found


def lost_news(uid: int, reason: _exits.ExitReason, spared: list[int], below: int | None = None) -> Iterator[bytes]:
    """
    Say to one caller that mail of *uid* was destroyed, in parts that fit a frame each.

    Args:
        uid: The actor.
        reason: Why; only its kind and a line of evidence are said.
        spared: Ids of the caller's asks that will be answered.
        below: The id of the caller's next ask, where that is known: what it asks from now on is not lost.
    """
    told = _exits.to_data(_exits.ExitReason(reason.kind, evidence=tuple(text[:200] for text in reason.evidence[:2])))
    parts = max(1, -(-len(spared) // _IDS_PER_PART))
    for part in range(parts):
        ids = spared[part * _IDS_PER_PART : (part + 1) * _IDS_PER_PART]
        yield _envelope.encode_lost(uid, told, ids, part, parts, below)


def _bodies(data: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(data):
        stop = start + HEADER_BYTES + int.from_bytes(data[start : start + HEADER_BYTES], "big")
        yield data[start + HEADER_BYTES : stop]
        start = stop


def _messages(body: bytes) -> Iterator[Any]:
    """Give the messages of a frame, as far as they are any."""
    reader = _envelope.MessageReader(opaque=True)
    with contextlib.suppress(ProtocolError):
        reader.feed(body)
        yield from reader


def _whole(message: Any, arenas: ArenaBook) -> Any:
    if isinstance(message, list) and message[0] == _envelope.LARGE:
        _kind, arena_id, slot, length, generation, offset = message
        with contextlib.suppress(ProtocolError):
            return _envelope.read_message(arenas.reader(arena_id).get(slot, length, generation, offset), opaque=True)
    return message
