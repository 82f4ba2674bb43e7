"""Answers that lie in an arena: a slot is given back wherever a signal handler has interrupted who takes them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from actors import _asks, _reply
from actors._asks import OpenAsks
from actors._ref import ActorRef
from actors._reply import Reply
from actors.mailbox import _arena, _envelope, _holds
from actors.mailbox._arena import ArenaReader, ArenaWriter, create_arena
from actors.mailbox._holds import ANSWER_MARK, Holds
from tests.unit.mailbox.interrupts import interrupted_at

CALLEE: ActorRef[Any] = ActorRef(system="test", uid=5, path="/system/callee")
FILES = (_asks.__file__, _reply.__file__, _arena.__file__, _holds.__file__)
LOAD = bytes(range(256)) * 128


class Host:
    """A process that has asked one actor."""

    def __init__(self) -> None:
        fd = create_arena(64 * 1024, 8)
        self.writer, self.reader = ArenaWriter(7, fd), ArenaReader(fd)
        os.close(fd)
        self.holds = Holds(0)
        self.asks = OpenAsks(self, lambda *_: None)  # type: ignore[arg-type]
        self.ids = 0

    def find_arena(self, _arena_id: int, _sender: int | None = None) -> ArenaReader:
        return self.reader

    def ask(self, load: object) -> tuple[Reply[Any], bytes]:
        """An open ask, and the frame that answers it."""
        self.ids += 1
        reply: Reply[Any] = Reply(self.ids, CALLEE, self.asks, None, None)
        self.asks.asks[self.ids] = reply
        slot = self.writer.put(_envelope.encode_result(self.ids, load), mark=ANSWER_MARK)
        assert slot is not None
        return reply, _envelope.encode_large(slot.arena_id, slot.slot, slot.length, slot.generation, slot.offset)

    def close(self) -> None:
        self.writer.close()
        self.reader.close()


def deliver(host: Host, step: int, reply: Reply[Any], frame: bytes) -> bool:
    """What a lane does with a frame: interrupted, it delivers it again."""
    if not interrupted_at(step, lambda: host.asks.deliver(frame, CALLEE.uid), FILES):
        return False
    host.asks.deliver(frame, CALLEE.uid)
    return True


def let_go(host: Host, step: int, reply: Reply[Any], frame: bytes) -> bool:
    """Its last view ends."""
    host.asks.deliver(frame, CALLEE.uid)
    held = [reply.result()]
    reply._outcomes.clear()
    return interrupted_at(step, held.clear, FILES)


def next_one(host: Host, step: int, reply: Reply[Any], frame: bytes) -> bool:
    """Its last view ends, which is interrupted, and the next answer is, too."""
    let_go(host, 3, reply, frame)
    return deliver(host, step, *host.ask(memoryview(LOAD)))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("load", [memoryview(LOAD), "x" * 10_000], ids=["a view", "a text"])
@pytest.mark.parametrize("act", [deliver, let_go, next_one])
def test_a_slot_is_given_back_wherever_that_is_interrupted(
    act: Callable[[Host, int, Reply[Any], bytes], bool], load: object
) -> None:
    step, raised = 1, True
    while raised:
        host = Host()
        reply, frame = host.ask(load)
        raised = act(host, step, reply, frame)
        if act is deliver:
            assert reply.result() == load
        del reply
        # What an interruption has left is looked after by the next answer.
        last, frame = host.ask(memoryview(LOAD))
        host.asks.deliver(frame, CALLEE.uid)
        assert last.result() == LOAD
        del last
        assert (host.reader.in_use(), len(host.holds)) == (0, 0), step
        assert host.holds._held + sum(host.holds.changes) == 0, step
        host.close()
        step += 1

    assert step > 1
