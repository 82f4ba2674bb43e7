"""
The judges of the pure supervisor are judged: each fault planted in it is found, and without one they find nothing.

The faults are in ``faults``, which can be run alone. Trials run side by side, each in a process of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import attrs
import pytest

from tests.histories import faults
from tests.histories.faults import FAULTS, Fault, JudgeName, Verdict

Word = tuple[Verdict, str]


@pytest.fixture(scope="module")
def words(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[Word]]]:
    """What its judge says of each fault that is to be tried in this run, as it comes."""
    tests = [item for item in request.session.items if isinstance(item, pytest.Function)]
    chosen = [item.callspec.params["fault"] for item in tests if item.originalname == "test_a_fault_is_found"]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield {fault.name: pool.submit(faults.ask, fault.judge, fault) for fault in chosen if isinstance(fault, Fault)}
        pool.shutdown(cancel_futures=True)


def see_that_it_is_found(fault: Fault, judge: JudgeName, word: Word) -> None:
    verdict, _ = word
    if verdict == "not planted":
        pytest.fail(
            f"the fault {fault.name!r} cannot be planted any more: write it anew. "
            f"in {faults.SUPERVISOR} this does not stand exactly once: {fault.snippet!r}"
        )
    assert verdict == "found", f"{fault.name!r} survives: {judge} finds nothing wrong with {fault.instead!r}"


@pytest.mark.timeout(240)  # of those that are tried side by side one may have to wait for the other
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
def test_a_fault_is_found(fault: Fault, words: dict[str, Future[Word]]) -> None:
    see_that_it_is_found(fault, fault.judge, words[fault.name].result())


@pytest.mark.timeout(240)
@pytest.mark.parametrize("judge", faults.JUDGES)
def test_without_a_fault_nothing_is_found(judge: JudgeName) -> None:
    assert faults.ask(judge, None) == ("survived", "")


@pytest.mark.soak
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
def test_a_fault_is_found_by_the_tables_too(fault: Fault) -> None:
    see_that_it_is_found(fault, "tables", faults.ask("tables", fault))


@pytest.mark.soak
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("judge", faults.JUDGES)
def test_without_a_fault_nothing_is_found_however_long_one_looks(judge: JudgeName) -> None:
    assert faults.ask(judge, None, thoroughness=20) == ("survived", "")


def test_no_two_faults_are_the_same() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 20
    assert len({(fault.snippet, fault.instead) for fault in FAULTS}) == len(FAULTS)


def test_a_fault_that_cannot_be_planted_says_so() -> None:
    old = attrs.evolve(FAULTS[0], snippet="is_not_there()")

    assert old.where() is None
    assert not faults.plant(old)
    with pytest.raises(pytest.fail.Exception, match=r"cannot be planted any more: write it anew.*'is_not_there\(\)'"):
        see_that_it_is_found(old, "otp", ("not planted", ""))


def test_a_fault_that_survives_is_named() -> None:
    with pytest.raises(AssertionError, match="'children stop in the order of their start' survives: otp"):
        see_that_it_is_found(FAULTS[0], "otp", ("survived", ""))


def test_a_judge_that_meets_an_accident_has_found_nothing() -> None:
    broken = attrs.evolve(FAULTS[0], name="no such fault")

    with pytest.raises(RuntimeError, match="otp met an accident"):
        faults.ask("otp", broken)


def test_a_fault_is_planted_in_a_new_process_only() -> None:
    with pytest.raises(RuntimeError, match="is imported already"):
        faults.plant(FAULTS[0])
