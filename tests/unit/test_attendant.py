"""What the control thread does for the others, in no actor."""

from __future__ import annotations

import itertools
import os
from typing import Any

import pytest

from actors._attendant import Attendant
from actors.errors import StartError


@pytest.mark.parametrize("ends", [StartError, KeyboardInterrupt])
def test_descriptors_that_come_as_who_asked_for_them_gives_up_are_closed(ends: type[BaseException]) -> None:
    attendant: Any = object.__new__(Attendant)
    attendant._numbers, attendant._waiting, attendant._parked = itertools.count(1), {}, {}
    passed = os.pipe()

    def notify(_kind: str, number: int) -> None:
        attendant._answered((number, "ok"), passed)

    def wait_for(_parked: object, _timeout: float) -> bool:
        if ends is KeyboardInterrupt:
            raise KeyboardInterrupt
        return False

    attendant.notify, attendant._wait_for = notify, wait_for
    with pytest.raises(ends):
        attendant.request("reply_lane")

    assert (attendant._waiting, attendant._parked) == ({}, {})
    for descriptor in passed:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)
