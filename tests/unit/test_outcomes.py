"""How calls ended, as told to those who made them."""

from __future__ import annotations

import pickle
from concurrent.futures import Future
from typing import Any

import pytest

from actors import _calls
from actors._executor import _FutureSink
from actors._jobs import Job
from actors._outcomes import Outcomes

FUNCTION: _calls.Function = (b"", False)


class _Sink:
    def __init__(self, *, wants: bool = True, error: BaseException | None = None) -> None:
        self.wants = wants
        self.error = error
        self.told: list[Any] = []

    def begin(self, index: int) -> bool:
        self.told.append(("begin", index))
        return self.wants

    def succeed(self, index: int, value: Any) -> None:
        self.told.append(("succeed", index, value))
        if self.error is not None:
            raise self.error

    def fail(self, index: int, error: BaseException) -> None:
        self.told.append(("fail", index, type(error)))

    def unsendable(self, index: int, error: BaseException, shown: str) -> None:
        self.told.append(("unsendable", index, type(error), shown))

    def flush(self) -> None:
        self.told.append("flush")


class _Worker:
    class ref:  # noqa: N801 - stands for an attribute
        path = "/pool/worker-1"


def _job(sink: _Sink, index: int) -> Job:
    return Job(sink, index, FUNCTION, _calls.CALL, [])


def _note(outcomes: Outcomes, sink: _Sink, index: int, coded: list[Any]) -> None:
    outcomes.note(_job(sink, index), coded, _Worker())  # type: ignore[arg-type]


def _large(value: object) -> list[Any]:
    _code, data = _calls.code_chunk([value])
    return [_calls.PICKLED, None, memoryview(data)]


def test_each_outcome_is_told_as_what_it_is() -> None:
    outcomes, sink = Outcomes(), _Sink()
    error = _calls.code_error(KeyError("k"))
    _note(outcomes, sink, 0, [_calls.PLAIN, 7])
    _note(outcomes, sink, 1, _calls.code_chunk([1, 2]))
    _note(outcomes, sink, 2, error)
    _note(outcomes, sink, 3, [_calls.UNSENDABLE, error, "<it>"])
    _note(outcomes, sink, 4, [_calls.PICKLED, b"no pickle"])
    outcomes.tell()

    assert sink.told[:4] == [
        ("succeed", 0, 7),
        ("succeed", 1, [1, 2]),
        ("fail", 2, KeyError),
        ("unsendable", 3, KeyError, "<it>"),
    ]
    assert sink.told[4][:2] == ("fail", 4)
    assert sink.told[5:] == ["flush"]


def test_a_call_that_nobody_wants_is_not_told_that_it_failed() -> None:
    outcomes, eager, gone = Outcomes(), _Sink(), _Sink(wants=False)
    begun = _job(eager, 0)
    begun.begun = True
    outcomes.fail(begun, OSError())
    outcomes.fail(_job(eager, 1), OSError())
    outcomes.fail(_job(gone, 2), OSError())
    outcomes.flush()

    assert eager.told == [("fail", 0, OSError), ("begin", 1), ("fail", 1, OSError), "flush"]
    assert gone.told == [("begin", 2)]


def test_between_large_results_others_come_first_and_nothing_is_told_twice() -> None:
    outcomes, sink = Outcomes(), _Sink()
    for index in range(3):
        _note(outcomes, sink, index, _large(index))
    outcomes.tell(lambda: True)
    assert sink.told == [("succeed", 0, [0]), "flush"]
    outcomes.tell(lambda: False)
    assert sink.told[2:] == [("succeed", 1, [1]), ("succeed", 2, [2]), "flush"]


def test_small_results_are_told_together() -> None:
    outcomes, sink = Outcomes(), _Sink()
    for index in range(3):
        _note(outcomes, sink, index, [_calls.PLAIN, index])
    outcomes.tell(lambda: pytest.fail("nobody asks"))

    assert len(sink.told) == 4


def test_what_a_callback_raises_is_shown_and_costs_nobody_else_anything(capsys: pytest.CaptureFixture[str]) -> None:
    outcomes, rude, other = Outcomes(), _Sink(error=SystemExit(3)), _Sink()
    _note(outcomes, rude, 0, [_calls.PLAIN, 7])
    _note(outcomes, other, 0, [_calls.PLAIN, 8])
    outcomes.tell()

    assert other.told == [("succeed", 0, 8), "flush"]
    assert "a callback of a pool raised" in capsys.readouterr().err


class Rude(BaseException):
    """Ends whoever shows it, or makes it anew."""

    def __str__(self) -> str:
        raise SystemExit(4)

    def __repr__(self) -> str:
        raise SystemExit(4)


class Ended:
    def __reduce__(self) -> Any:
        return _leave, ()


def _leave() -> None:
    raise Rude


def test_what_an_exception_raises_as_it_is_read_is_told_in_its_place() -> None:
    outcomes, sink = Outcomes(), _Sink()
    described = _calls.code_error(KeyError("k"))[2]
    assert "failed" in _calls.code_error(Rude())[2]["text"]
    unreadable = [_calls.FAILED, pickle.dumps(Ended()), described]
    _note(outcomes, sink, 0, unreadable)
    _note(outcomes, sink, 1, [_calls.UNSENDABLE, unreadable, "<it>"])
    _note(outcomes, sink, 2, [_calls.PLAIN, 7])
    outcomes.tell()

    assert sink.told == [("fail", 0, SystemExit), ("fail", 1, SystemExit), ("succeed", 2, 7), "flush"]


def test_a_sink_that_was_told_by_others_is_flushed_with_the_rest() -> None:
    outcomes, sink = Outcomes(), _Sink()
    outcomes.tell_later(sink)
    outcomes.tell()

    assert sink.told == ["flush"]


class _Hurried(Future[int]):
    """Its user gives it a result right behind the look whether it has one."""

    def done(self) -> bool:
        done = super().done()
        if not done:
            self.set_result(7)
        return done


def test_a_future_that_its_user_ends_between_a_look_and_the_next_step_is_not_wanted() -> None:
    future = _Hurried()

    assert not _FutureSink(future).begin(0)
    assert future.result(0) == 7
