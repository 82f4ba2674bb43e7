"""A mailbox that drops, moves, empties itself and survives deaths is a plain queue, whatever happens in which order."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.unit.mailbox.dropping import Post, numbers

SOME = st.integers(1, 60)


class MailboxHistory(RuleBasedStateMachine):
    """The model: four lists of numbers, and the number in flight."""

    def __init__(self) -> None:
        super().__init__()
        self.post = Post.make(mailbox_bytes=6000)
        self.piped: list[int] = []
        self.waiting: list[int] = []
        self.handled: list[int] = []
        self.dropped: list[int] = []
        self.flight: int | None = None
        self.read_bytes = self.handled_bytes = 0

    def teardown(self) -> None:
        self.post.close()

    @rule(count=st.integers(1, 40), length=st.integers(6, 100))
    def send(self, count: int, length: int) -> None:
        first = self.post.sent
        if self.post.send(count, length):
            self.piped += range(first, first + count)

    @rule()
    def read(self) -> None:
        room = self.post.recorder.has_room
        assert self.post.read() is bool(room and self.piped)
        if room:
            self.waiting += self.piped
            self.piped = []

    @precondition(lambda self: self.flight is None)
    @rule(count=SOME)
    def handle(self, count: int) -> None:
        for _ in range(min(count, len(self.waiting))):
            self.begin()
            self.finish()

    @precondition(lambda self: self.flight is None and self.waiting)
    @rule()
    def begin(self) -> None:
        self.flight = self.waiting.pop(0)
        assert self.post.begin() == self.flight

    @precondition(lambda self: self.flight is not None)
    @rule()
    def finish(self) -> None:
        assert self.flight is not None
        self.post.finish(self.flight)
        self.handled.append(self.flight)
        self.flight = None

    @precondition(lambda self: self.flight is None)
    @rule()
    def empty(self) -> None:
        assert not (self.post.recorder.reset_if_empty() and self.waiting)

    @rule()
    def make_room(self) -> None:
        could = self.post.queue.can_make_room(self.post.flight_stop)
        assert self.post.make_room() is could
        assert self.post.recorder.has_room or not could

    @precondition(lambda self: self.waiting)
    @rule(count=SOME)
    def drop(self, count: int) -> None:
        count = min(count, len(self.waiting))
        if self.post.drop(count):
            self._drop(count)
        else:
            assert self.flight is not None

    def _drop(self, count: int) -> None:
        self.dropped += self.waiting[:count]
        del self.waiting[:count]

    @rule(again=st.booleans())
    def die(self, again: bool) -> None:
        lost = self.post.die(again=again)
        self._after_death(lost, again)

    def _after_death(self, lost: list[int], again: bool) -> None:
        if self.flight is not None and again:
            self.waiting.insert(0, self.flight)
            assert lost == []
        else:
            assert lost == ([] if self.flight is None else [self.flight])
            self.handled += lost
            self.post.handled += lost
        self.flight = None

    @precondition(lambda self: self.waiting)
    @rule(count=SOME, again=st.booleans())
    def die_in_the_middle_of_a_drop(self, count: int, again: bool) -> None:
        count, stop = min(count, len(self.waiting)), self.post.flight_stop
        keep = self.post.place(count)
        if stop and not self.post.queue.can_take_out(stop, keep):
            return
        self.post.queue.begin_drop(self.post.queue.first(stop), keep, count)
        self._drop(count)
        self._after_death(self.post.die(again=again), again)

    @invariant()
    def it_holds_what_the_model_holds(self) -> None:
        assert self.post.waiting == self.waiting
        assert self.post.handled == self.handled
        assert self.post.told == self.dropped
        assert self.post.queue.dropped == self.post.view.flight().dropped == len(self.dropped)
        if self.flight is None:
            assert numbers(self.post.view.queued_frames()) == self.waiting

    @invariant()
    def it_counts_bytes_upwards(self) -> None:
        flight = self.post.view.flight()
        assert self.read_bytes <= flight.read_bytes
        assert self.handled_bytes <= flight.handled_bytes + 4  # a header may come with the next message
        assert (flight.read_bytes == flight.handled_bytes) is (not self.waiting and self.flight is None)
        self.read_bytes, self.handled_bytes = flight.read_bytes, flight.handled_bytes


TestMailboxHistory = MailboxHistory.TestCase
TestMailboxHistory.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
