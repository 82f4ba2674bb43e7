"""
An actor's main thread without a process of its own, and the host that settles its deaths: for what is to be tried at every step of both.

The loop, the intake, the dispatcher, the recorder and the undertaker are the real ones; what stands around them answers at once.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections import Counter, deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from actors import Actor, handler
from actors._dispatch import Dispatcher
from actors._flow import Flow
from actors._intake import Intake
from actors._loop import Loop
from actors.errors import ProtocolError
from actors.mailbox import _envelope
from actors.mailbox._arena import ArenaReader, ArenaWriter, create_arena
from actors.mailbox._frames import MAX_BODY_BYTES, pack_frames
from actors.mailbox._holds import Holds
from actors.mailbox._inbox import make_inbox, pipe_capacity, write_frame
from actors.mailbox._queue import buffer_bytes
from actors.mailbox._reader import parse_answers
from actors.mailbox._recorder import Recorder, create_recorder
from actors.mailbox._recorder_view import RecorderView
from actors.supervisor._deaths import Deaths
from actors.supervisor._exits import ExitReason
from actors.supervisor._mail import Mail

ARENA = 7
_SLOT_BYTES = 8 * 1024
_KILLED = ExitReason("signal", -9)


class Worker(Actor):
    """Does, with each message in its hands, what the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.handled: list[int] = []
        self.at_work: Callable[[int], object] = lambda _number: None

    @handler
    def work(self, number: int, _load: bytes = b"") -> int:
        self.at_work(number)
        self.handled.append(number)
        return number


class Mortal:
    """
    One actor, its mailbox, and the host behind it.

    Args:
        mailbox_bytes: Its bound; it drops the oldest.

    Attributes:
        worker: The actor, over all incarnations.
        process: What stands for the process of the incarnation at work.
        answers: How each ask ended at its caller, by its id: kinds, as often as they came.
        letters: The dead letters that the host counted, by reason.
        lost: How often the host found a recorder that it could not read.
        due: Whether it is time to look again, between two messages, what has come.
    """

    def __init__(self, *, mailbox_bytes: int, pipe_bytes: int = 4096, redeliver: int = 0) -> None:
        self._setup = {"mailbox_bytes": mailbox_bytes, "mailbox_messages": None, "on_full": "drop_oldest"}
        self._read_fd, self._write_fd = make_inbox(pipe_bytes)
        self._fd = create_recorder(
            mailbox_bytes=buffer_bytes(mailbox_bytes, drops=True),
            pipe_bytes=pipe_capacity(self._read_fd),
            reply_bytes=16384,
        )
        arena = create_arena(_SLOT_BYTES, 64)
        self.writer, self.reader = ArenaWriter(ARENA, arena), ArenaReader(arena)
        os.close(arena)
        self.worker = Worker()
        self.answers: dict[int, Counter[str]] = {}
        self.letters: Counter[str] = Counter()
        self.lost = 0
        self.sent = 0
        self.due = False
        self._cell = self._make_cell(redeliver)
        self._mail = Mail(self._make_host())
        self._begin()

    # --- the host ---------------------------------------------------------------------------------------------------------

    def _make_cell(self, redeliver: int) -> Any:
        return SimpleNamespace(
            view=RecorderView(self._fd),
            deaths=Deaths(),
            options=SimpleNamespace(redeliver=redeliver),
            path="/system/worker",
            uid=5,
            dropped=0,
            backlog=deque(),
            holders=(),
            answer=lambda frame: self._note(frame[4:]),
        )

    def _make_host(self) -> Any:
        def take(letter: Any) -> None:
            self.letters[letter.reason] += letter.count

        def find(_number: int, _sender: int | None = None) -> ArenaReader:
            return self.reader

        return SimpleNamespace(
            pump=None, arenas=SimpleNamespace(reader=find), letters=SimpleNamespace(take=take), log=self._log
        )

    def _log(self, _level: str, event: str, **_more: object) -> None:
        self.lost += event == "actors.recorder_lost"

    def _note(self, body: bytes) -> None:
        for answer in parse_answers(body):
            self.answers.setdefault(answer.ask_id, Counter())[type(answer).__name__] += 1  # type: ignore[union-attr]

    def die(self) -> None:
        """The process is killed, the host settles that, and another one begins."""
        self.process.recorder.close()
        self._mail.settle(self._cell, SimpleNamespace(spent=False, inbox_broken=False, broken=None), _KILLED)  # type: ignore[arg-type]
        self._begin()

    # --- the actor --------------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        recorder = Recorder(self._fd)
        process = self.process = SimpleNamespace(
            setup=self._setup,
            recorder=recorder,
            inbox=self._read_fd,
            actor=self.worker,
            node=SimpleNamespace(unsent=False, flush_all=lambda *_: None),
            timers=SimpleNamespace(first=math.inf),
            answering=self,
            attendant=SimpleNamespace(after=lambda *_: None, notify=lambda *_: None),
            directory=self,
            flow=Flow(),
            ref=SimpleNamespace(path="/system/worker", uid=5),
            max_bytes=1 << 20,
            coroutines=None,
            interrupted=False,
            busy=False,
            attempt=0,
            deadline=None,
            end_copy=lambda: None,
        )
        self.holds = Holds(1)
        process.look_up = lambda: setattr(process, "interrupted", True)
        process.dispatcher = Dispatcher(process)  # type: ignore[arg-type]
        process.intake = Intake(process)  # type: ignore[arg-type]
        self.loop = process.loop = Loop(process, (-1, 0), None)  # type: ignore[arg-type]

    def serve(self, messages: int = 1 << 30) -> None:
        """What the loop of an actor does, until so many more are handled or nothing is left."""
        process, recorder = self.process, self.process.recorder
        stop = recorder.handled + messages
        while recorder.handled < stop:
            process.interrupted = False
            if self.due or not process.intake.due:
                self.due = False
                process.intake.look()
            frame = recorder.next_frame()
            if frame is not None:
                self.loop._handle_frame(*frame)
                continue
            recorder.reset_if_empty()
            if not recorder.fill(self._read_fd):
                return
            process.intake.filled()

    def take(self) -> bool:
        """What an actor does while its handler waits for room elsewhere."""
        return bool(self.process.intake.take(self.loop.flight_stop()))

    # --- what its parts ask for -------------------------------------------------------------------------------------------

    def put(self, _caller: int, _ask_id: int, answer: bytes) -> bool:
        self._note(answer)
        return True

    def leave(self, *, more: bool) -> None:
        """Nothing waits: each has left at once."""

    def leave_at_once(self, *_: object) -> bool:
        return False

    def find_arena(self, arena_id: int, _sender: int | None = None) -> ArenaReader:
        if arena_id != ARENA:
            raise ProtocolError(f"there is no arena {arena_id}")
        return self.reader

    def dead_letter(self, _path: str, reason: str, count: int, **_more: object) -> None:
        self.letters[reason] += count

    # --- the sender -------------------------------------------------------------------------------------------------------

    def send(self, count: int, **kinds: int) -> None:
        """Send messages, see :meth:`pack`."""
        self.write(self.pack(count, **kinds))

    def pack(self, count: int, *, asks: int = 0, larges: int = 0, load: int = 0) -> list[bytes]:
        """
        Frames of so many messages.

        Args:
            count: How many.
            asks: Every so many is an ask; 0 for none.
            larges: Every so many lies in the arena; 0 for none.
            load: Bytes that the others carry.
        """
        messages = []
        for number in range(self.sent, self.sent + count):
            what = bytes(5000 if larges and number % larges == 0 else load)
            message = (
                _envelope.encode_ask("work", (number, what), {}, 0, number, None)
                if asks and number % asks == 0
                else _envelope.encode_tell("work", (number, what))
            )
            messages.append(message if len(message) <= MAX_BODY_BYTES else self._lay_down(message))
        self.sent += count
        return pack_frames(messages)

    def write(self, frames: list[bytes]) -> None:
        for frame in frames:
            assert write_frame(self._write_fd, frame)

    def _lay_down(self, message: bytes) -> bytes:
        slot = self.writer.put(message)
        assert slot is not None
        return _envelope.encode_large(slot.arena_id, slot.slot, slot.length, slot.generation, slot.offset)

    def close(self) -> None:
        self.writer.close()
        self.reader.close()
        self._cell.view.close()
        with contextlib.suppress(ValueError):  # released already
            self.process.recorder.close()
        for fd in (self._fd, self._read_fd, self._write_fd):
            os.close(fd)
