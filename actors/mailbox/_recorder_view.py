"""
The supervisor's side of an actor's flight recorder: what it did, what it was handling when it died, what is left to do.

Owns the judgement of a file that another process writes. Must not know what stands in a frame, nor any actor.

Whatever stands in the file is a claim: every number is range-checked, frames are copied before anything looks at them (a
grandchild may still write), and nonsense raises :class:`~actors.errors.ProtocolError` and nothing else. The sizes are read once,
when the file is mapped, and never believed again.

After a death, in this order: :meth:`RecorderView.settle`, :meth:`~RecorderView.finish_drop`, then :meth:`~RecorderView.skip_in_flight` or
:meth:`~RecorderView.redeliver_in_flight`, :meth:`~RecorderView.unsent_replies` and :meth:`~RecorderView.forget_replies`; then the
next process may be started with :meth:`~RecorderView.set_incarnation`.
"""

from __future__ import annotations

import contextlib
import math
import os
from struct import Struct

import attrs

from actors.errors import ProtocolError
from actors.mailbox import _drops
from actors.mailbox import _layout as at
from actors.mailbox._frames import HEADER_BYTES, MAX_BODY_BYTES, MAX_FRAME_BYTES, walk, walk_sound
from actors.mailbox._layout import OFFSET_BITS, OFFSET_MASK, PAGE_BYTES, FlightState, Layout
from actors.mailbox._move import Move
from actors.mailbox._overflow import count_waiting
from actors.mailbox._recorder import REPLY_HEADER

__all__ = ["Flight", "RecorderView", "Settled"]

_unpack_length = Struct("!i").unpack_from
_COUNTED_BYTES = 64 * 1024
_LOOKS = 20

_MAX_COUNT = 1 << 62
"""No honest counter comes near: 10 GiB a second for ten years."""


@attrs.frozen
class Settled:
    """
    What an actor's process left behind.

    Attributes:
        in_flight: The rest of the frame that begins with the message being handled, or None when none was.
        in_flight_offset: Its inbox offset, or None.
        recovered_bytes: Bytes that were read from the pipe and not yet published, and are now.
        queued_bytes: Bytes read and not handled, with the message in flight and without the header of the first frame.
        broken: What had been read behind them and is no frame, or None. It is wiped away.
        in_flight_place: Where the message in flight begins among all bytes that this recorder was ever given; no other message
            has that place. -1 when none was.
        dropping: The frames, or parts of them, with the messages that were being dropped: see :meth:`RecorderView.finish_drop`.
    """

    in_flight: bytes | None
    in_flight_offset: int | None
    recovered_bytes: int
    queued_bytes: int
    broken: str | None = None
    in_flight_place: int = -1
    dropping: tuple[bytes, ...] = ()


@attrs.frozen
class Flight:
    """
    What an actor's process says about itself. Claims, and of slightly different moments while it lives.

    Attributes:
        state: What it is doing.
        handler: Name of the handler that runs or ran last; ``"#7"`` if it had no room for the name; None before the first.
        since: When that handler began, in seconds of the monotonic clock; 0.0 before the first.
        progress: When it last reported progress; never before *since*.
        handled: Messages handled, over all incarnations.
        read_bytes: Bytes of frames read, over all incarnations.
        handled_bytes: Bytes of frames handled, over all incarnations; at most *read_bytes*.
        incarnation: Which process of its actor it is.
        dropped: Messages dropped to make room for newer ones, over all incarnations.
    """

    state: FlightState
    handler: str | None
    since: float
    progress: float
    handled: int
    read_bytes: int
    handled_bytes: int
    incarnation: int
    dropped: int = 0


class RecorderView:
    """
    A supervisor's hold on one actor's recorder. Of one thread.

    A forked child has no memory behind it (``MADV_DONTFORK``): there nothing of it may be called.

    Args:
        fd: The file of :func:`~actors.mailbox._recorder.create_recorder`; may be closed afterwards. Map it before the
            first process of the actor has it.

    Raises:
        ProtocolError: Not a recorder.
    """

    def __init__(self, fd: int) -> None:
        self._mapping = at.map_file(fd, inherit=False)
        whole = memoryview(self._mapping)
        page = whole[:PAGE_BYTES]
        self._words = page.cast("Q")
        self._times = page.cast("d")
        self._names = page[at.NAMES_OFFSET :]
        layout = self._layout = Layout.read(self._words, len(whole))
        self._inbox = whole[layout.inbox_offset : layout.inbox_offset + layout.inbox_bytes]
        self._replies = whole[layout.reply_offset : layout.reply_offset + layout.reply_bytes]
        self._drained: list[bytes] = []
        self._rest = b""
        self._drained_to_end = False

    @property
    def pipe_bytes(self) -> int:
        """The capacity of the pipe that it was made for."""
        return self._layout.pipe_bytes

    # ---- after a death -------------------------------------------------------------------------------------------

    def settle(self) -> Settled:
        """
        Bring the file in order after the death of its process, so that the next one goes on behind the last.

        Finishes an emptying that was begun, finds what was read and not published, names the message in flight. Leaves
        the message in flight where it is: it stays in flight until :meth:`skip_in_flight` or
        :meth:`redeliver_in_flight`. May be called again, with the same answer but for *recovered_bytes*.

        Raises:
            ProtocolError: The file was written over. Its inbox and recorder cannot be used any more.
        """
        words = self._words
        self._layout.check(words)
        reset, *_ = (self._count(index) for index in (at.RESETTING, at.BASE, at.GAP, at.HANDLED, at.DROPPED, at.MOVING))
        if reset:
            at.clear(self._inbox, 0, self._read_end())
            at.finish_reset(words, reset - 1)
        if words[at.MOVING]:
            Move.read_back(words, len(self._inbox)).perform(words, self._inbox)
        end = self._read_end()
        self._locate(end)  # before anything is changed
        recovered, broken = self._recover(end)
        _, offset, stop = self._locate(end + recovered)
        handling = words[at.HANDLING] - 1
        queued = end + recovered - offset
        dropping = _drops.unfinished(words, self._inbox)
        if offset == stop or handling < offset:
            return Settled(None, None, recovered, queued, broken, dropping=dropping)
        if handling >= stop:
            raise ProtocolError(f"recorder: handles offset {handling} outside of its frame {offset} to {stop}")
        place = self._count_at(handling)
        return Settled(bytes(self._inbox[handling:stop]), handling, recovered, queued, broken, place, dropping)

    def finish_drop(self) -> None:
        """
        Take out and count the messages that were being dropped, once who waits for them was told. Harmless when there are none.

        Raises:
            ProtocolError: The file was written over.
        """
        _drops.finish(self._words, self._inbox)

    def skip_in_flight(self, length: int) -> None:
        """
        Count the message in flight as done: the next process begins behind it.

        Args:
            length: Its bytes, of those that :attr:`Settled.in_flight` gave.

        Raises:
            ProtocolError: None is in flight, or *length* is not 1 to the rest of its frame.
        """
        words = self._words
        start, offset, stop = self._locate(self._read_end())
        handling = words[at.HANDLING] - 1
        if not (offset <= handling < handling + length <= stop and length > 0):
            raise ProtocolError(f"recorder: cannot skip {length} bytes at {handling} of a frame {offset} to {stop}")
        words[at.NEXT] = start << OFFSET_BITS | (handling + length)
        words[at.HANDLED] = self._count(at.HANDLED) + 1

    def redeliver_in_flight(self) -> None:
        """Let the next process handle the message in flight again; what stands before it in its frame counts as handled."""
        words = self._words
        start, offset, stop = self._locate(self._read_end())
        handling = words[at.HANDLING] - 1
        if offset <= handling < stop:
            words[at.NEXT] = start << OFFSET_BITS | handling
        words[at.HANDLING] = 0

    def take_back_in_flight(self, place: int) -> bool:
        """
        Have the next message be in flight again, if it is the one at *place* that :meth:`redeliver_in_flight` has handed on.

        Args:
            place: Where it begins among all bytes that were ever given to this recorder; :attr:`Settled.in_flight_place`.

        Raises:
            ProtocolError: The file was written over.
        """
        words = self._words
        _start, offset, stop = self._locate(self._read_end())
        if offset == stop or self._count_at(offset) != place:
            return False
        words[at.HANDLING] = offset + 1
        return True

    def queued_frames(self) -> list[bytes]:
        """
        The bodies of the frames read and not handled, in order; the first may begin in the middle of its frame.

        Raises:
            ProtocolError: The file was written over.
        """
        end = self._read_end()
        _, offset, stop = self._locate(end)
        if offset == stop:
            return []
        return [bytes(self._inbox[offset:stop]), *split_frames(bytes(self._inbox[stop:end]))]

    def count_waiting(self) -> int:
        """
        How many messages are read and not handled, also while its process goes on; beyond 64 KiB of them reckoned from the first.

        0 where that cannot be told: in the middle of a move, or the file was written over.
        """
        for _ in range(_LOOKS):
            with contextlib.suppress(ProtocolError):  # its process was in the middle of something
                return self._count_waiting()
        return 0

    def _count_waiting(self) -> int:
        end = self._read_end()
        _, offset, stop = self._locate(end)
        if offset == stop:
            return 0
        limit = min(end, max(stop, offset + _COUNTED_BYTES))
        data = bytes(self._inbox[stop:limit])
        whole = walk(memoryview(data), 0, len(data))
        count = count_waiting([bytes(self._inbox[offset:stop]), *split_frames(data[:whole])])
        return count * (end - offset) // (stop + whole - offset)

    def discard_queued(self) -> None:
        """Count all that was read as handled, and empty the buffer: after its messages became dead letters."""
        words = self._words
        end = self._read_end()
        base = self._count_at(end)
        words[at.RESETTING] = base + 1
        at.clear(self._inbox, 0, end)
        at.finish_reset(words, base)

    def drain(self, pipe_fd: int, max_frames: int) -> list[bytes]:
        """
        Bodies of frames straight from the pipe, for an actor that has no process and is to have none.

        Args:
            pipe_fd: A non-blocking read end of the inbox.
            max_frames: At most so many; at least 1. What was read beyond them comes with the next call.

        Returns:
            Empty when nothing stands in the pipe; see :attr:`drained_to_end`.

        Raises:
            ProtocolError: What was read is not a run of whole frames.
        """
        if not self._drained:
            self._read_on(pipe_fd)
        bodies, self._drained = self._drained[:max_frames], self._drained[max_frames:]
        return bodies

    @property
    def drained_to_end(self) -> bool:
        """Whether :meth:`drain` met the end of the file, nobody holding a write end, and gave all there was."""
        return self._drained_to_end and not self._drained

    def unsent_replies(self) -> list[tuple[int, bytes]]:
        """
        Each reply that the process published and did not mark as sent, with its lane, in the order they were made.

        Raises:
            ProtocolError: The region was written over.
        """
        word = self._words[at.REPLIES]
        half_bytes, end = len(self._replies) // 2, word & OFFSET_MASK
        if word >> OFFSET_BITS > 1 or end > half_bytes or end % 8:
            raise ProtocolError(f"recorder: replies end at {word:#x} in a half of {half_bytes} bytes")
        start = half_bytes if word >> OFFSET_BITS else 0
        return _split_replies(bytes(self._replies[start : start + end]))

    def forget_replies(self) -> None:
        """Empty the reply region: its replies were written by somebody else."""
        self._words[at.REPLIES] = 0

    def _read_end(self) -> int:
        end = int(self._words[at.READ_END])
        if end > self._layout.inbox_bytes:
            raise ProtocolError(f"recorder: {end} bytes read into an inbox of {self._layout.inbox_bytes}")
        return end

    def _count(self, index: int) -> int:
        count = int(self._words[index])
        if count > _MAX_COUNT:
            raise ProtocolError(f"recorder: word {index} counts {count:#x}")
        return count

    def _count_at(self, offset: int) -> int:
        """How many bytes stood before *offset* since the beginning."""
        self._count(at.BASE)
        self._count(at.GAP)
        count = at.count_at(self._words, offset)
        if count < 0:
            raise ProtocolError(f"recorder: {count} bytes before offset {offset}")
        return count

    def _locate(self, end: int) -> tuple[int, int, int]:
        """Frame start, offset and frame stop of the first message not handled; the last two are *end* when all is."""
        word = self._words[at.NEXT]
        start, offset = word >> OFFSET_BITS, word & OFFSET_MASK
        if not start <= offset <= end or offset - start > MAX_FRAME_BYTES:
            raise ProtocolError(f"recorder: next message at {offset} of a frame at {start}, of {end} bytes read")
        if offset == end:
            return start, end, end
        stop = self._frame_stop(start, end)
        if offset == stop:
            start, stop = offset, self._frame_stop(offset, end)
        if offset == start:
            offset += HEADER_BYTES
        if not start + HEADER_BYTES <= offset < stop:
            raise ProtocolError(f"recorder: next message at {offset} outside of its frame {start} to {stop}")
        return start, offset, stop

    def _frame_stop(self, start: int, end: int) -> int:
        header = bytes(self._inbox[start : start + HEADER_BYTES])
        length = int.from_bytes(header, "big", signed=True)
        if not 1 <= length <= MAX_BODY_BYTES or start + HEADER_BYTES + length > end:
            raise ProtocolError(f"recorder: frame of {length} bytes at {start} does not end within {end} read")
        return start + HEADER_BYTES + length

    def _recover(self, end: int) -> tuple[int, str | None]:
        """Publish what was read behind *end*, at most one pipe, as a read takes; say how many bytes, and what else stands there."""
        limit = min(self._layout.inbox_bytes, end + self._layout.pipe_bytes)
        tail = bytes(self._inbox[end:limit])
        found, broken = walk_sound(memoryview(tail), 0, len(tail))
        if broken is not None:
            at.clear(self._inbox, end + found, limit)
        if found:
            self._words[at.READ_END] = end + found
        return found, broken

    def _read_on(self, pipe_fd: int) -> None:
        try:
            data = os.read(pipe_fd, self._layout.pipe_bytes)
        except BlockingIOError:
            return
        self._drained_to_end = not data
        data, self._rest = self._rest + data, b""  # what cannot be read is not kept: the next call goes on behind it
        stop = walk(memoryview(data), 0, len(data))
        self._drained = split_frames(data[:stop])
        if data[stop : stop + HEADER_BYTES] == bytes(HEADER_BYTES):
            raise ProtocolError(f"inbox: an empty frame, and {len(data) - stop} bytes behind it")
        self._rest = data[stop:]

    # ---- any time ------------------------------------------------------------------------------------------------

    def flight(self) -> Flight:
        """
        What the process says it is doing, at no cost to it and also while it hangs.

        Raises:
            ProtocolError: It says nonsense.
        """
        read, handled = self._counts()
        since, progress = self._time(at.SINCE), self._time(at.PROGRESS)
        return Flight(
            state=self._state(),
            handler=self._handler(),
            since=since,
            progress=max(since, progress),
            handled=self._count(at.HANDLED),
            read_bytes=read,
            handled_bytes=handled,
            incarnation=self._count(at.INCARNATION),
            dropped=self._count(at.DROPPED),
        )

    def _counts(self) -> tuple[int, int]:
        """Bytes read and bytes handled."""
        words = self._words
        reset, end = self._count(at.RESETTING), self._read_end()
        offset = words[at.NEXT] & OFFSET_MASK
        if offset > self._layout.inbox_bytes:
            raise ProtocolError(f"recorder: next message at {offset} of an inbox of {self._layout.inbox_bytes}")
        if words[at.MOVING]:
            return self._count(at.MOVE_READ), min(self._count(at.MOVE_HANDLED), self._count(at.MOVE_READ))
        if reset:  # in the middle of being emptied
            return reset - 1, reset - 1
        read = self._count_at(end)
        return read, min(self._count_at(offset), read)

    def recent(self) -> tuple[str, ...]:
        """The handlers of the last messages, the last one at the end; nonsense gives other names, and never an error."""
        words = self._words
        in_flight = words[at.HANDLING] > words[at.NEXT] & OFFSET_MASK
        oldest = words[at.HANDLED] + in_flight
        ring = [words[at.RECENT + (oldest + age) % at.RECENT_WORDS] for age in range(at.RECENT_WORDS)]
        return tuple(self._name(word - 1) for word in ring if word)

    def set_incarnation(self, incarnation: int) -> None:
        """A new process begins: number *incarnation*, starting, in no handler. Call it before that process has the file."""
        words = self._words
        words[at.HANDLER] = 0
        self._times[at.SINCE] = 0.0
        self._times[at.PROGRESS] = 0.0
        words[at.STATE] = FlightState.STARTING
        words[at.INCARNATION] = incarnation

    def close(self) -> None:
        """Give the memory back."""
        for view in (self._inbox, self._replies, self._names, self._words, self._times):
            view.release()
        self._mapping.close()

    def _state(self) -> FlightState:
        word = self._words[at.STATE]
        try:
            return FlightState(word)
        except ValueError:
            raise ProtocolError(f"recorder: state {word} is none of {[int(state) for state in FlightState]}") from None

    def _time(self, index: int) -> float:
        value = float(self._times[index])
        if not 0.0 <= value < math.inf:
            raise ProtocolError(f"recorder: {value} is no time")
        return value

    def _handler(self) -> str | None:
        index = self._words[at.HANDLER] - 1
        return None if index < 0 else self._name(index)

    def _name(self, index: int) -> str:
        table = bytes(self._names)
        start = 0
        for _ in range(min(index, len(table))):
            if not table[start] or start + 1 + table[start] >= len(table):
                return f"#{index}"
            start += 1 + table[start]
        name = table[start + 1 : start + 1 + table[start]]
        return name.decode("utf-8", "replace") or f"#{index}"


def split_frames(data: bytes) -> list[bytes]:
    """
    The bodies of a run of whole frames.

    Raises:
        ProtocolError: *data* is not that.
    """
    bodies = []
    start, size = 0, len(data)
    while start < size:
        length = _unpack_length(data, start)[0] if size - start >= HEADER_BYTES else 0
        stop = start + HEADER_BYTES + length
        if not 1 <= length <= MAX_BODY_BYTES or stop > size:
            raise ProtocolError(f"frame of {length} bytes at {start} of {size}: {data[start : start + 16].hex(' ')}")
        bodies.append(data[start + HEADER_BYTES : stop])
        start = stop
    return bodies


def _split_replies(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    start = 0
    while start < len(data):
        lane, word = REPLY_HEADER.unpack_from(data, start) if len(data) - start >= REPLY_HEADER.size else (0, 0)
        length, body = word >> 1, start + REPLY_HEADER.size
        if not 1 <= length <= MAX_BODY_BYTES or body + length > len(data):
            raise ProtocolError(f"recorder: reply of {length} bytes at {start} of {len(data)}")
        if not word & 1:
            found.append((lane, data[body : body + length]))
        start = at.round_up(body + length, 8)
    return found
