"""
The promise under the mailbox: a reader that is killed at any moment loses nothing but the one message it was handling.

One process reads and is killed again and again, three write, and this one judges by a ledger in shared memory. No actor, no
supervisor. ``ACTORS_SOAK`` multiplies the number of kills.
"""

from __future__ import annotations

import mmap
import os
import random
import select
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator

import attrs
import pytest

from actors import _descriptors
from actors.errors import ProtocolError
from actors.mailbox._frames import MAX_BODY_BYTES, pack_frames
from actors.mailbox._inbox import make_inbox, pipe_capacity, queued_bytes, reopen_reader, reopen_writer, write_frame
from actors.mailbox._recorder import Recorder, create_recorder
from actors.mailbox._recorder_view import RecorderView, Settled

SOAK = max(1, int(os.environ.get("ACTORS_SOAK") or 1))
KILLS = 150 * SOAK
WRITERS = 3
MOST = 4_000_000  # messages of one writer; the ledger takes memory where it is written
PATIENCE = 30.0  # seconds that any single step may take
MAILBOX_BYTES = {"one-pipe": 1, "64-KiB": 64 * 1024, "1-MiB": 1024 * 1024}

# Words of the ledger: the next number of order, whether the writers shall stop, how many messages each writer got accepted.
ORDER, STOP, ACCEPTED = 0, 1, 2
HANDLED = 8
ANSWERED = HANDLED + WRITERS * MOST
LEDGER_WORDS = ANSWERED + WRITERS * MOST
ANSWER_EVERY = 7
"""Every so many messages are answered: published before the message counts as handled, and sent some time later."""


def message(writer: int, number: int, filler: int) -> bytes:
    """Length (2 bytes), writer (1), number (4), and *filler* bytes."""
    return (7 + filler).to_bytes(2, "big") + bytes((writer,)) + number.to_bytes(4, "big") + bytes(filler)


def where(data: bytes) -> int:
    """Which word of a table of the ledger belongs to a message or an answer."""
    return data[2] * MOST + int.from_bytes(data[3:7], "big")


def fork(work: Callable[[], object]) -> tuple[int, int]:
    """Pid and pidfd of a process that does *work* and leaves: with 0, or 1 and a traceback."""
    # As an actor, which keeps the shared memory of its host: any other fork loses it where a system has run before this test.
    with _descriptors.forking_an_actor(), warnings.catch_warnings():
        # The timer thread of a test's time limit holds no lock of ours.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    return pid, os.pidfd_open(pid)


def ready(fd: int, seconds: float) -> bool:
    """Whether the process of a pidfd ends, or a descriptor has something to read, within so many seconds."""
    return bool(select.select([fd], [], [], seconds)[0])


def reap(process: tuple[int, int]) -> int:
    """The exit code of a process that ends by itself; negative for a signal."""
    pid, pidfd = process
    if not ready(pidfd, PATIENCE):
        os.kill(pid, signal.SIGKILL)
    os.close(pidfd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@attrs.define
class Scene:
    """What the processes share, and what the judge notes."""

    ledger: memoryview
    recorder_fd: int
    read_fd: int
    write_fd: int
    view: RecorderView
    dice: random.Random
    in_flight: list[int] = attrs.Factory(list)
    recovered_bytes: int = 0
    replies_found: int = 0

    # ---- the writers ----

    def write(self, writer: int) -> None:
        """Write numbered messages in frames of every size, until told to stop."""
        dice = random.Random(writer)
        fd = reopen_writer(self.write_fd)
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        number = 0
        while not self.ledger[STOP] and number < MOST - 300:
            count = dice.choice((1, 1, 3, 40, 250))
            batch = [message(writer, number + i, dice.choice((0, 0, 5, 90))) for i in range(count)]
            for data in pack_frames(batch):
                while not write_frame(fd, data):
                    poll.poll(10)
            number += count
            self.ledger[ACCEPTED + writer] = number

    # ---- the reader ----

    def read(self, *, until_empty: bool) -> None:
        """Handle messages as an actor does; for ever, or until nothing stands in the pipe."""
        recorder = Recorder(self.recorder_fd)
        fd = reopen_reader(self.read_fd)
        answers: list[tuple[int, bytes]] = []
        while True:
            found = recorder.next_frame()
            if found is None:
                recorder.reset_if_empty()
                if not recorder.fill(fd):
                    self._send(recorder, answers)
                    if until_empty:
                        return
                    ready(fd, 1.0)
                continue
            offset, body = found
            stop = len(body)
            start = 0
            while start < stop:
                end = start + int.from_bytes(body[start : start + 2], "big")
                recorder.begin(offset + start)
                self._handle(recorder, body[start : start + 7], answers)
                recorder.finish(offset + end)
                start = end
            if len(answers) > 20:
                self._send(recorder, answers)

    def _handle(self, recorder: Recorder, data: bytes, answers: list[tuple[int, bytes]]) -> None:
        ledger, index = self.ledger, where(data)
        if ledger[HANDLED + index]:
            raise AssertionError(f"message {index} is handled a second time")
        order = ledger[ORDER] + 1
        ledger[ORDER] = order
        ledger[HANDLED + index] = order
        if index % ANSWER_EVERY == 0:
            position = recorder.append_reply(data[2], data)
            if position is None:
                raise AssertionError("the reply region is full")
            answers.append((position, data))

    def _send(self, recorder: Recorder, answers: list[tuple[int, bytes]]) -> None:
        for position, data in answers:
            self.ledger[ANSWERED + where(data)] = 1
            recorder.mark_sent(position)
        answers.clear()

    # ---- the judge ----

    def kill_a_reader(self) -> None:
        """One incarnation: start a reader, kill it at some moment, settle what it left."""
        pid, pidfd = process = fork(lambda: self.read(until_empty=False))
        ended = ready(pidfd, self.dice.uniform(0.0, self.dice.choice((0.003, 0.006, 0.02))))
        if not ended:
            os.kill(pid, signal.SIGKILL)
        code = reap(process)
        assert code == -signal.SIGKILL, f"the reader left by itself with exit code {code}"
        self.settle()

    def settle(self) -> Settled:
        settled = self.view.settle()
        self.recovered_bytes += settled.recovered_bytes
        for lane, data in self.view.unsent_replies():
            assert lane == data[2]
            self.replies_found += 1
            self.ledger[ANSWERED + where(data)] = 1
        self.view.forget_replies()
        if settled.in_flight is not None:
            self.in_flight.append(where(settled.in_flight))
            self.view.skip_in_flight(int.from_bytes(settled.in_flight[:2], "big"))
        self.view.flight()
        return settled

    def judge(self) -> int:
        """Check every accepted message against the ledger; how many there were."""
        excused = set(self.in_flight)
        assert len(excused) == len(self.in_flight), "a message was in flight twice"
        total = 0
        for writer in range(WRITERS):
            accepted = self.ledger[ACCEPTED + writer]
            base = writer * MOST
            orders = self.ledger[HANDLED + base : HANDLED + base + accepted].tolist()
            lost = [n for n, order in enumerate(orders) if not order and base + n not in excused]
            assert lost == [], f"writer {writer}: {len(lost)} of {accepted} messages lost, first {lost[:5]}"
            kept = [order for order in orders if order]
            assert kept == sorted(kept), f"writer {writer}: handled out of order"
            beyond = self.ledger[HANDLED + base + accepted : HANDLED + base + accepted + 300]
            assert not any(beyond), f"writer {writer}: a message was handled that was never written"
            answered = self.ledger[ANSWERED + base : ANSWERED + base + accepted].tolist()
            silent = [
                n
                for n, order in enumerate(orders)
                if order and (base + n) % ANSWER_EVERY == 0 and not answered[n] and base + n not in excused
            ]
            assert silent == [], f"writer {writer}: {len(silent)} answers lost, first {silent[:5]}"
            total += accepted
        return total


@pytest.fixture(params=list(MAILBOX_BYTES.values()), ids=list(MAILBOX_BYTES))
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    shared = mmap.mmap(-1, LEDGER_WORDS * 8)
    read_fd, write_fd = make_inbox()
    recorder_fd = create_recorder(mailbox_bytes=request.param, pipe_bytes=pipe_capacity(read_fd))
    made = Scene(
        memoryview(shared).cast("Q"),
        recorder_fd,
        read_fd,
        write_fd,
        RecorderView(recorder_fd),
        random.Random(request.param),
    )
    yield made
    made.view.close()
    made.ledger.release()
    shared.close()
    for fd in (recorder_fd, read_fd, write_fd):
        os.close(fd)


@pytest.mark.timeout(60 * SOAK)
def test_a_reader_killed_at_random_moments_loses_only_what_it_was_handling(scene: Scene) -> None:
    writers = [fork(lambda writer=writer: scene.write(writer)) for writer in range(WRITERS)]  # type: ignore[misc]
    try:
        for _ in range(KILLS // len(MAILBOX_BYTES)):
            scene.kill_a_reader()
    finally:
        scene.ledger[STOP] = 1
        last = fork(lambda: scene.read(until_empty=False))
        codes = [reap(writer) for writer in writers]
        os.kill(last[0], signal.SIGKILL)
        reap(last)
    scene.settle()
    assert reap(fork(lambda: scene.read(until_empty=True))) == 0
    settled = scene.settle()
    total = scene.judge()

    assert [0] * WRITERS == codes
    assert (None, 0, 0) == (settled.in_flight, settled.recovered_bytes, settled.queued_bytes)
    assert 0 == queued_bytes(scene.read_fd)
    assert total > KILLS
    if os.environ.get("ACTORS_SOAK"):
        print(
            f"{KILLS // len(MAILBOX_BYTES)} kills, {total} messages, {len(scene.in_flight)} in flight, "
            f"{scene.recovered_bytes} bytes found unpublished, {scene.replies_found} replies found"
        )


def test_a_process_that_scribbles_over_its_recorder_never_disturbs_who_looks_at_it(scene: Scene) -> None:
    def scribble() -> None:
        dice = random.Random(5)
        recorder = Recorder(scene.recorder_fd)
        whole = memoryview(recorder._mapping)
        while True:
            start = dice.choice((dice.randrange(16, 28) * 8, dice.randrange(len(whole) - 64)))
            whole[start : start + 8] = dice.choice(
                (dice.randbytes(8), bytes(8), dice.randrange(8192).to_bytes(8, "little"))
            )

    pid, _ = process = fork(scribble)
    raised = looked = 0
    looks: tuple[Callable[[], object], ...] = (
        scene.view.flight,
        scene.view.settle,
        scene.view.queued_frames,
        scene.view.unsent_replies,
        lambda: scene.view.skip_in_flight(7),
        scene.view.redeliver_in_flight,
        scene.view.discard_queued,
    )
    try:
        for _ in range(500):
            for look in looks:
                looked += 1
                try:
                    look()
                except ProtocolError:
                    raised += 1
    finally:
        os.kill(pid, signal.SIGKILL)
        reap(process)

    assert 0 < raised <= looked  # all of them, where the scribbling hits early what is never written again


def test_a_child_cannot_shorten_or_lengthen_its_recorder(scene: Scene) -> None:
    def truncate() -> None:
        for size in (0, 1 << 30):
            with pytest.raises(PermissionError):
                os.ftruncate(scene.recorder_fd, size)

    assert reap(fork(truncate)) == 0
    assert scene.view.settle().in_flight is None


def test_a_writer_killed_at_random_moments_leaves_no_half_frame(scene: Scene) -> None:
    reader = reopen_reader(scene.read_fd)
    bodies = 0
    for round_number in range(20):
        pid, pidfd = process = fork(lambda: scene.write(0))
        assert ready(reader, 20.0), "the writer writes"
        ready(pidfd, scene.dice.uniform(0.0, 0.01))
        os.kill(pid, signal.SIGKILL)
        assert reap(process) == -signal.SIGKILL, round_number
        while frames := scene.view.drain(reader, 100):
            bodies += len(frames)
            assert all(len(body) <= MAX_BODY_BYTES for body in frames)
            assert all(_is_whole(body) for body in frames)
    os.close(reader)

    assert bodies > 20


def _is_whole(body: bytes) -> bool:
    start = 0
    while start < len(body):
        start += int.from_bytes(body[start : start + 2], "big")
    return start == len(body)
