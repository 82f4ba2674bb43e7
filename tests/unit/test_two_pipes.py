from __future__ import annotations

import errno
import os

import pytest

from actors import _descriptors


def test_two_pipes_are_made_both_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, int]] = []
    pipe = os.pipe

    def refuse_the_second() -> tuple[int, int]:
        if made:
            raise OSError(errno.EMFILE, "too many open files")
        made.append(pipe())
        return made[0]

    monkeypatch.setattr(os, "pipe", refuse_the_second)
    with pytest.raises(OSError, match="too many"):
        _descriptors.two_pipes()
    for descriptor in made[0]:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)

    monkeypatch.undo()
    first_r, first_w, second_r, second_w = _descriptors.two_pipes()
    os.write(first_w, b"1")
    os.write(second_w, b"2")
    assert (os.read(first_r, 9), os.read(second_r, 9)) == (b"1", b"2")
    for descriptor in (first_r, first_w, second_r, second_w):
        os.close(descriptor)
