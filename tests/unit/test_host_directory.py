"""What the host finds for its own sends, and what it says of an actor that is gone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from actors._actor import Actor
from actors._host_directory import HostDirectory
from actors._ref import ActorRef
from actors.errors import ActorNotRunningError
from actors.supervisor._exits import ExitReason

REF: ActorRef[Actor] = ActorRef(system="s", uid=7, path="/app/shop")


@pytest.mark.parametrize("find", ["find_route", "answer_lane"])
def test_an_actor_that_is_gone_is_named_by_its_path_and_with_its_reason(find: str) -> None:
    reason = ExitReason("signal", -9, "SIGKILL")
    host: Any = SimpleNamespace(holds=None, runner=SimpleNamespace(cells={}), reason_of={7: reason}.get)

    with pytest.raises(ActorNotRunningError, match="/app/shop is gone for good: it was killed by SIGKILL") as caught:
        getattr(HostDirectory(cast(Any, host)), find)(REF)

    assert REF.path == caught.value.target
