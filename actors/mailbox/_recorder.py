"""
The actor's side of its flight recorder: the buffer it reads its inbox into, and what it is doing, in memory that survives it.

Owns every change that the actor's process makes in the shared file. Must not know what stands in a frame, nor any actor.

The rules that let the supervisor go on after a SIGKILL at any moment, and this process after an exception that a signal
handler raised at any moment:

1. Each change of the header is one 8-byte store, in this order for a message: *handling*, then *next*.
2. A read begins only when the whole pipe fits into the free tail, so it ends on a frame boundary.
3. Everything behind what was read is zero. What was read and not published is found by walking frame headers; the number
   that ``readv`` returned is checked against that walk and never kept.
4. Emptying the buffer is marked before it begins and can be done again from the mark alone.
5. The pages that a read may touch are made present before it: a copy that the kernel breaks off in a page fault (it does so
   for a killed process) would leave bytes both here and in the pipe.

Of one thread, but for what says otherwise. The rules of the other side are in :mod:`actors.mailbox._recorder_view`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from struct import Struct

from actors.errors import InternalError, ProtocolError
from actors.mailbox import _layout as at
from actors.mailbox._frames import HEADER_BYTES, MAX_BODY_BYTES, walk, walk_sound
from actors.mailbox._layout import OFFSET_BITS, OFFSET_MASK, PAGE_BYTES, Layout

__all__ = ["REPLY_HEADER", "Recorder", "create_recorder"]

REPLY_HEADER = Struct("<QQ")
"""Before each reply: its lane; its length shifted left by one, the lowest bit set once it was sent. Stands on multiples of 8."""

RESET_ABOVE_BYTES = 16 * 1024
"""An empty buffer is reset only beyond this: a reset costs as much as a small message, four pages of memory cost nothing."""

_MAX_NAME_BYTES = 63
_unpack_length = Struct("!i").unpack_from
_pack_reply_header = REPLY_HEADER.pack_into

# Module constants under short names: each is read once per message.
_READ_END, _NEXT, _HANDLING, _HANDLED = at.READ_END, at.NEXT, at.HANDLING, at.HANDLED
_REPLIES, _STATE, _HANDLER, _SINCE, _RECENT = at.REPLIES, at.STATE, at.HANDLER, at.SINCE, at.RECENT
_RECENT_MASK = at.RECENT_WORDS - 1
_HANDLING_STATE = int(at.FlightState.HANDLING)


def create_recorder(*, mailbox_bytes: int, pipe_bytes: int, reply_bytes: int = 1024 * 1024) -> int:
    """
    Descriptor of a new recorder's file, sealed and empty, its sizes in its header. The caller closes it.

    Args:
        mailbox_bytes: How much may be read ahead of the handlers; at least 1.
        pipe_bytes: Capacity of the inbox's pipe, as :func:`~actors.mailbox._inbox.pipe_capacity` says.
        reply_bytes: Room for replies that have not left; half of it is in use at a time.

    Raises:
        SpecError: A size below 1 byte or beyond 1 GiB.
        OSError: No descriptor or memory left.
    """
    layout = Layout.plan(mailbox_bytes=mailbox_bytes, pipe_bytes=pipe_bytes, reply_bytes=reply_bytes)
    fd = at.create_file("actors-recorder", layout.file_bytes)
    try:
        with at.map_file(fd, inherit=False) as mapping, memoryview(mapping) as whole, whole.cast("Q") as words:
            layout.write(words)
    except BaseException:
        os.close(fd)
        raise
    return fd


class Recorder:
    """
    One process's hold on its recorder. Goes on where the process before it ended, once the supervisor has settled that.

    Args:
        fd: The file of :func:`create_recorder`; may be closed afterwards.

    Attributes:
        words: The header, for :mod:`actors._loop`, which notes the commonest messages by itself; as ``begin``, ``begin_handler`` and
            ``finish`` do.
        times: The same page as seconds.
        frame_bits: What is added to an offset in the word ``NEXT``.
        broken: What stood in the pipe that is no frame, once something did: somebody wrote around our interface. What was read
            before it can be handled; nothing more is read.

    Raises:
        ProtocolError: Not a recorder.
    """

    def __init__(self, fd: int) -> None:
        self._mapping = at.map_file(fd, inherit=True)
        whole = memoryview(self._mapping)
        page = whole[:PAGE_BYTES]
        self.words = page.cast("Q")
        self.times = page.cast("d")
        self._names = page[at.NAMES_OFFSET :]
        layout = self._layout = Layout.read(self.words, len(whole))
        self._inbox = whole[layout.inbox_offset : layout.inbox_offset + layout.inbox_bytes]
        self._replies = whole[layout.reply_offset : layout.reply_offset + layout.reply_bytes]
        self._pipe_bytes = layout.pipe_bytes
        self._half_bytes = layout.reply_bytes // 2
        self._present = 0  # inbox bytes up to here have pages in this process
        self._busy = False  # somebody is inside fill() or reset_if_empty()
        self.broken: str | None = None
        self.frame_bits = self.words[_NEXT] & ~OFFSET_MASK
        self._reply_end: int = self.words[_REPLIES]
        self._unsent: dict[int, tuple[int, int]] = {}  # position -> (offset in the region, size), in order
        self._sent_bytes = 0
        self._last_position = 0

    # ---- reading -------------------------------------------------------------------------------------------------

    def fill(self, pipe_fd: int) -> bool:
        """
        Read all that stands in the pipe, and publish it. Any thread; a call inside another one reads nothing.

        Args:
            pipe_fd: A non-blocking read end of the inbox, of the capacity that the recorder was made for.

        Returns:
            Whether there is more to handle than before. False also when the tail has no room for a whole pipe:
            handle what is there and call :meth:`reset_if_empty`; and, from then on, when what was read is not a run of whole
            frames: see :attr:`broken`.
        """
        # A try-lock. Between the look and the mark and in `finally` stands no call: CPython lets a signal handler, or another
        # thread, in at calls, at the ends of loops and where functions begin, so no exception can leave the mark behind.
        if self._busy or self.broken is not None:
            return False
        self._busy = True
        try:
            return self._fill(pipe_fd)
        finally:
            self._busy = False

    @property
    def room(self) -> int:
        """Bytes free at the tail. A read needs ``pipe_bytes`` of it."""
        return self._layout.inbox_bytes - int(self.words[_READ_END])

    @property
    def read_bytes(self) -> int:
        """Bytes of frames read, over all incarnations. For the thread that reads."""
        return at.count_at(self.words, self.words[_READ_END])

    @property
    def handled_bytes(self) -> int:
        """Bytes of frames handled, over all incarnations. For the thread that handles them, between two messages."""
        return at.count_at(self.words, self.words[_NEXT] & OFFSET_MASK)

    @property
    def has_room(self) -> bool:
        """Whether the tail has room for a whole pipe, so that :meth:`fill` can read."""
        return self.room >= self._pipe_bytes and self.broken is None

    @property
    def empty(self) -> bool:
        """Whether everything that was read and published is handled."""
        words = self.words
        return words[_NEXT] & OFFSET_MASK >= words[_READ_END]

    def reset_if_empty(self) -> bool:
        """
        Make all of the buffer free again, if everything in it is handled and it is worth it. Any thread.

        Call it before :meth:`fill`, between two messages.

        Returns:
            Whether it was emptied. False also while little of it is used (``RESET_ABOVE_BYTES``) and there is room
            for a read.
        """
        words = self.words
        used = words[_READ_END]
        if words[_NEXT] & OFFSET_MASK < used or self.broken is not None:
            return False
        if used < RESET_ABOVE_BYTES and self._layout.inbox_bytes - used >= self._pipe_bytes:
            return False
        if self._busy:  # as in fill()
            return False
        self._busy = True
        try:
            return self._reset()
        finally:
            self._busy = False

    def _fill(self, pipe_fd: int) -> bool:
        words, inbox = self.words, self._inbox
        if words[at.RESETTING]:
            self._finish_reset()
        size = self._layout.inbox_bytes
        end = words[_READ_END]
        stop = self._walk(end, size)  # beyond *end* only after a read that was interrupted before it was published
        if stop == end:
            if size - end < self._pipe_bytes:
                return False
            self._make_present(end, end + self._pipe_bytes)
            try:
                count = os.readv(pipe_fd, (inbox[end:],))
            except BlockingIOError:
                return False
            stop = self._walk(end, end + count)
            if stop != end + count:
                return self._break(end + count)
        elif stop < 0:
            return self._break(min(size, end + self._pipe_bytes))
        words[_READ_END] = stop
        return bool(stop > end)

    def _walk(self, start: int, stop: int) -> int:
        """Where the last whole frame ends; -1 where bytes are met that are none."""
        try:
            return walk(self._inbox, start, stop)
        except ProtocolError:
            return -1

    def _break(self, limit: int) -> bool:
        """Publish the whole frames before what is none, and wipe that; nothing is read behind it any more."""
        words = self.words
        end = words[_READ_END]
        stop, problem = walk_sound(self._inbox, end, limit)
        self.broken = problem or f"an empty frame at offset {stop}"
        at.clear(self._inbox, stop, limit)
        words[_READ_END] = stop
        return bool(stop > end)

    def _make_present(self, start: int, stop: int) -> None:
        start = max(start, self._present)
        if start < stop:
            pages = self._inbox[start:stop:PAGE_BYTES]  # a byte of each page, all behind what was read: zero over zero
            pages[:] = bytes(len(pages))
            self._inbox[stop - 1] = 0
            self._present = stop

    def _reset(self) -> bool:
        words = self.words
        if not words[at.RESETTING]:
            used = words[_READ_END]
            if words[_NEXT] & OFFSET_MASK < used:
                return False
            unpublished = walk(self._inbox, used, self._layout.inbox_bytes)
            if unpublished != used:
                words[_READ_END] = unpublished
                return False
            words[at.RESETTING] = at.count_at(words, used) + 1
        self._finish_reset()
        return True

    def _finish_reset(self) -> None:
        words = self.words
        at.clear(self._inbox, 0, words[_READ_END])
        at.finish_reset(words, words[at.RESETTING] - 1)
        self.frame_bits = 0

    # ---- handling ------------------------------------------------------------------------------------------------

    def next_frame(self) -> tuple[int, bytes] | None:
        """
        Where the next message that is not handled begins, and the rest of its frame from there; None when all is handled.

        The first message of the bytes stands at that inbox offset, the others behind it. Asking again without
        :meth:`finish` gives the same.
        """
        words = self.words
        word = words[_NEXT]
        offset = word & OFFSET_MASK
        if offset >= words[_READ_END]:
            return None
        inbox = self._inbox
        start = word >> OFFSET_BITS
        stop = start + HEADER_BYTES + _unpack_length(inbox, start)[0]
        if offset == stop:  # that frame is done: the next one begins here
            start = offset
            stop = start + HEADER_BYTES + _unpack_length(inbox, start)[0]
        if offset == start:
            offset += HEADER_BYTES
        self.frame_bits = start << OFFSET_BITS
        return offset, bytes(inbox[offset:stop])

    def begin(self, offset: int) -> None:
        """
        The message at inbox *offset* is about to be handled. If this process dies now, it is the one in flight.

        It also says that the messages before it in its frame are handled: :meth:`finish` may be left to the last.
        """
        self.words[_HANDLING] = offset + 1

    @property
    def in_flight(self) -> int:
        """The inbox offset of the message being handled; 0 if none is."""
        handling: int = self.words[_HANDLING]
        return handling - 1 if handling > self.words[_NEXT] & OFFSET_MASK else 0

    def finish(self, next_offset: int, count: int = 1) -> None:
        """
        Everything up to inbox offset *next_offset* is handled, and all that its handlers told others is written.

        Args:
            next_offset: Where the next message begins, or the end of the frame of the last :meth:`next_frame`.
            count: How many messages that were.
        """
        words = self.words
        words[_NEXT] = self.frame_bits + next_offset  # a sum: what was moved meanwhile is found there, see _queue
        words[_HANDLED] += count

    # ---- the flight page -----------------------------------------------------------------------------------------

    def name_handlers(self, names: Sequence[str]) -> None:
        """
        Put the names of the handlers into the file, once, before the first :meth:`begin_handler`.

        Args:
            names: In the order of their indices. Each is cut to 63 bytes; those that find no room have a number only.
        """
        table = bytearray()
        for name in names:
            entry = name.encode("utf-8", "replace")[:_MAX_NAME_BYTES]
            if len(table) + 1 + len(entry) >= len(self._names):
                break
            table += bytes((len(entry),)) + entry
        self._names[: len(table) + 1] = bytes(table) + b"\0"

    def begin_handler(self, index: int, now: float) -> None:
        """
        Handler number *index* begins at *now*, and the state is HANDLING.

        Args:
            index: Position in :meth:`name_handlers`, or -1 for none.
            now: Seconds of the monotonic clock.
        """
        self.times[_SINCE] = now  # progress is never before it, so it need not be written
        words = self.words
        words[_HANDLER] = words[_RECENT + (words[_HANDLED] & _RECENT_MASK)] = index + 1
        words[_STATE] = _HANDLING_STATE

    def note_progress(self, now: float) -> None:
        """The handler is getting on, at *now* (seconds of the monotonic clock). Any thread."""
        self.times[at.PROGRESS] = now

    def note_state(self, state: int) -> None:
        """What this process is doing from now on, as a :class:`FlightState`. Any thread."""
        self.words[_STATE] = state

    @property
    def state(self) -> int:
        """What :meth:`note_state` noted last; a number of :class:`FlightState`."""
        return int(self.words[_STATE])

    @property
    def handled(self) -> int:
        """Messages handled, over all incarnations. Any thread."""
        return int(self.words[_HANDLED])

    @property
    def incarnation(self) -> int:
        """Which process of its actor this is, as the supervisor noted it."""
        return int(self.words[at.INCARNATION])

    # ---- replies -------------------------------------------------------------------------------------------------

    def append_reply(self, lane: int, data: bytes) -> int | None:
        """
        Keep a reply where the supervisor finds it if this process dies before it was sent.

        Args:
            lane: Whose reply lane: 0 for the host, else a number that says the caller; 0 to 2**64 - 1.
            data: One encoded answer; 1 to ``MAX_BODY_BYTES`` bytes.

        Returns:
            A position for :meth:`mark_sent`, or None when the region is full of replies that have not left.

        Raises:
            InternalError: *data* does not fit a frame.
        """
        length = len(data)
        if not 1 <= length <= MAX_BODY_BYTES:
            raise InternalError(f"a reply is 1 to {MAX_BODY_BYTES} bytes long, got {length}")
        size = _record_bytes(length)
        if (self._reply_end & OFFSET_MASK) + size > self._half_bytes and not self._compact(size):
            return None
        word = self._reply_end
        offset = self._half_offset(word) + (word & OFFSET_MASK)
        region = self._replies
        start = offset + REPLY_HEADER.size
        _pack_reply_header(region, offset, lane, length << 1)
        region[start : start + length] = data
        self.words[_REPLIES] = self._reply_end = word + size
        self._last_position = position = self._last_position + 1
        self._unsent[position] = (offset, size)
        return position

    def mark_sent(self, position: int) -> None:
        """The reply at *position* was written to its lane. Once all are, the region is empty again."""
        offset, size = self._unsent.pop(position)
        self._sent_bytes += size
        if self._unsent:
            self._replies[offset + 8] |= 1  # the lowest bit of the length word: one store as well
        else:
            self._reply_end &= ~OFFSET_MASK
            self.words[_REPLIES] = self._reply_end
            self._sent_bytes = 0

    @property
    def unsent(self) -> int:
        """How many replies of this process have not been marked as sent."""
        return len(self._unsent)

    def _half_offset(self, word: int) -> int:
        return self._half_bytes if word >> OFFSET_BITS else 0

    def _compact(self, size: int) -> bool:
        # Copies what has not left into the other half and makes that the active one by one store. Not for little: with
        # a lane that never takes anything each append would copy the half again.
        end = self._reply_end & OFFSET_MASK
        if self._sent_bytes < self._half_bytes // 8 or end - self._sent_bytes + size > self._half_bytes:
            return False
        word = (self._reply_end & ~OFFSET_MASK) ^ (1 << OFFSET_BITS)
        target = self._half_offset(word)
        moved: dict[int, tuple[int, int]] = {}
        for position, (offset, length) in self._unsent.items():
            self._replies[target : target + length] = self._replies[offset : offset + length]
            moved[position] = (target, length)
            target += length
        word += target - self._half_offset(word)
        self.words[_REPLIES] = word
        self._reply_end, self._unsent, self._sent_bytes = word, moved, 0
        return True

    # ---- end -----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Give the memory back. The file lives on with the supervisor."""
        for view in (self._inbox, self._replies, self._names, self.words, self.times):
            view.release()
        self._mapping.close()


def _record_bytes(length: int) -> int:
    return at.round_up(REPLY_HEADER.size + length, 8)
