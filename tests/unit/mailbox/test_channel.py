"""Channels: the memory, the steps, and what is made of what the dead leave."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.errors import ProtocolError, SpecError
from actors.mailbox import _channel_layout as at
from actors.mailbox._channel_cells import Cell
from actors.mailbox._channel_layout import ChannelLayout
from tests.unit.mailbox.channel_world import Interrupted, Killed, Step, User, World

KIB = 1024


@settings(max_examples=int(__import__("os").environ.get("EX","150")), deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), maxsize=st.integers(1, 3))
def test_whoever_dies_at_any_step_nothing_is_lost_and_nothing_comes_twice(data: st.DataObject, maxsize: int) -> None:
    world = World(maxsize)
    users = [User(world) for _ in range(4)]
    dead: list[User] = []
    settling: list[Step] = []
    number = 0
    for _ in range(data.draw(st.integers(5, 25))):
        user = data.draw(st.sampled_from(users))
        what = data.draw(st.integers(0, 30))
        steps = data.draw(st.integers(1, 12))
        if what == 0 and settling:
            settling[0].go()
            settling = [step for step in settling if not step.over]
        elif user.step is not None and what in {1, 2, 3, 4}:
            if what == 4:
                user.step.go(Interrupted())
            else:
                user.step.go(Killed())
        else:
            if user.step is None:
                number += 1
                item = f"{number}".encode()
                user.step = Step((lambda u=user, i=item: u.put(i)) if what % 2 else user.get)  # type: ignore[misc]
            for _ in range(steps):
                if not user.step.over:
                    user.step.go()
        if user.step is not None and what in {1, 2, 3} and user.step.over and user not in dead:
            user.die()
            dead.append(user)
            users[users.index(user)] = User(world)
            settling.append(Step(lambda u=user: world.settle(u)))  # type: ignore[misc]
        elif user.step is not None and user.step.over:
            user.step = None
    for user in users:
        if user.step is not None:
            user.step.finish()
    for step in settling:
        step.finish()
    for user in users:
        user.release()
        world.keeper.settle([user.putting.number, user.getting.number], is_done=True)
    world.check()
