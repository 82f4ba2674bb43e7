from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.supervisor import _watchdog
from actors.supervisor._watchdog import Sample, Watch, begin, describe, look

START = 100.0
IDLE = Sample(state="idle", handler="add", progress=90.0, handled=5, read_bytes=50, handled_bytes=50)
BUSY = attrs.evolve(IDLE, state="handling", progress=100.5, read_bytes=60)


def looks(watch: Watch, *samples: tuple[Sample, float]) -> list[str]:
    """What each look in turn says."""
    found: list[str] = []
    for sample, now in samples:
        watch, action = look(watch, sample, now)
        found.append(action)
    return found


@pytest.fixture
def watch() -> Watch:
    return begin(1.0, 0.5, START)


def test_an_actor_is_looked_at_once_per_timeout(watch: Watch) -> None:
    assert watch.due == 101.0
    later, action = look(watch, IDLE, 101.0)

    assert ("none", 102.0) == (action, later.due)


def test_a_busy_one_is_suspect_exactly_at_its_deadline_and_killed_after_the_grace(watch: Watch) -> None:
    watch, first = look(watch, BUSY, 101.0)
    assert ("none", 101.5) == (first, watch.due)
    watch, second = look(watch, BUSY, 101.5)
    assert ("suspect", 102.0) == (second, watch.due)
    watch, early = look(watch, BUSY, 101.9)
    assert ("none", 102.0) == (early, watch.due)
    _watch, last = look(watch, BUSY, 102.0)

    assert "kill" == last


@pytest.mark.parametrize("state", ["handling", "waiting", "stopping"])
def test_work_that_begins_before_the_word_that_it_is_ready_counts_from_its_beginning(watch: Watch, state: str) -> None:
    early = attrs.evolve(BUSY, state=state, progress=99.9)

    assert ["suspect"] == looks(watch, (early, 101.0))


def test_progress_puts_the_deadline_off(watch: Watch) -> None:
    on = [(attrs.evolve(BUSY, progress=start), start + 0.9) for start in (100.5, 101.2, 101.9)]

    assert ["none"] * 3 == looks(watch, *on)


@pytest.mark.parametrize(
    "later",
    [
        pytest.param({"progress": 101.6}, id="progress"),
        pytest.param({"handled": 6}, id="the next message"),
        pytest.param({"state": "credit"}, id="it waits for its reader"),
        pytest.param({"state": "blocked"}, id="it waits for room"),
        pytest.param({"state": "idle", "handled": 6, "handled_bytes": 60}, id="it is done"),
    ],
)
def test_a_suspect_that_goes_on_has_recovered_and_may_be_suspected_again(
    watch: Watch, later: dict[str, object]
) -> None:
    watch, first = look(watch, BUSY, 101.0)
    watch, second = look(watch, BUSY, 101.5)
    watch, third = look(watch, attrs.evolve(BUSY, **later), 102.0)  # type: ignore[arg-type]

    assert ["none", "suspect", "recovered"] == [first, second, third]
    assert watch.suspected is None
    stuck = attrs.evolve(BUSY, handled=7, progress=102.1)
    assert ["none", "suspect", "kill"] == looks(watch, (stuck, 103.0), (stuck, 103.1), (stuck, 103.6))


@pytest.mark.parametrize("state", ["blocked", "credit"])
def test_waiting_for_others_never_counts_however_long(watch: Watch, state: str) -> None:
    sample = attrs.evolve(BUSY, state=state)

    assert ["none"] * 3 == looks(watch, (sample, 101.0), (sample, 500.0), (sample, 501.0))


def test_an_idle_one_with_mail_counts_from_the_first_look_that_saw_it(watch: Watch) -> None:
    stuck = attrs.evolve(IDLE, queued_bytes=10)
    watch, quiet = look(watch, IDLE, 101.0)
    assert ["none", "suspect", "kill"] == looks(watch, (stuck, 102.0), (stuck, 103.0), (stuck, 103.5))
    assert ["none", "none"] == looks(watch, (stuck, 102.0), (attrs.evolve(stuck, read_bytes=60), 103.0))
    assert "none" == quiet


def test_mail_that_was_read_and_not_handled_counts_as_well_and_more_mail_is_no_progress(watch: Watch) -> None:
    stuck = attrs.evolve(IDLE, read_bytes=60)
    more = attrs.evolve(stuck, queued_bytes=4096)

    assert ["none", "suspect", "kill"] == looks(watch, (stuck, 101.0), (more, 102.0), (more, 102.5))


def test_messages_that_are_passed_over_without_a_handler_are_progress(watch: Watch) -> None:
    over = [attrs.evolve(BUSY, handled=number) for number in range(4)]

    assert ["none"] * 4 == looks(watch, *((sample, 101.4 + number) for number, sample in enumerate(over)))


def test_a_time_from_the_future_is_no_more_than_now(watch: Watch) -> None:
    liar = attrs.evolve(BUSY, progress=1e9)

    assert ["none", "suspect"] == looks(watch, (liar, 101.0), (liar, 102.0))


def test_time_in_which_whoever_looks_stood_still_itself_does_not_count(watch: Watch) -> None:
    watch, first = look(watch, BUSY, 101.0)
    watch, thawed = look(watch, BUSY, 161.0)
    assert ("none", "none") == (first, thawed)
    assert 162.0 == watch.due

    assert ["suspect", "kill"] == looks(watch, (BUSY, 162.0), (BUSY, 162.5))
    fresh, _ = look(begin(1.0, 0.5, START), attrs.evolve(BUSY, progress=120.0), 160.0)
    assert fresh.due == 161.0


def test_a_suspect_has_its_grace_also_after_a_standstill(watch: Watch) -> None:
    watch, _ = look(watch, BUSY, 101.0)
    watch, _ = look(watch, BUSY, 101.5)
    watch, thawed = look(watch, BUSY, 161.5)

    assert "none" == thawed
    assert ["kill"] == looks(watch, (BUSY, watch.due))


@given(begins=st.floats(0.0, 50.0), timeout=st.floats(0.1, 10.0), grace=st.floats(0.0, 5.0), lag=st.floats(0.0, 0.5))
def test_whenever_a_handler_begins_its_hang_is_seen_at_its_deadline(
    begins: float, timeout: float, grace: float, lag: float
) -> None:
    began = START + begins
    watch = begin(timeout, grace, START)
    now, sample, action = START, IDLE, "none"
    while action == "none":
        now = watch.due + (lag if watch.due > began else 0.0)
        sample = attrs.evolve(BUSY, progress=began) if now >= began else IDLE
        watch, action = look(watch, sample, now)
    assert "suspect" == action
    assert began + timeout <= now <= began + timeout + 2 * lag + 1e-6
    _, action = look(watch, sample, watch.due)

    assert "kill" == action


@pytest.mark.parametrize(
    ("sample", "text"),
    [
        (BUSY, "add made no progress for 1.23 s"),
        (attrs.evolve(BUSY, handler=None), "its handler made no progress for 1.23 s"),
        (attrs.evolve(BUSY, state="waiting"), "add made no progress for 1.23 s, waiting for a reply"),
        (attrs.evolve(BUSY, state="stopping"), "on_stop made no progress for 1.23 s"),
        (IDLE, "its loop stood still for 1.23 s while mail waited (idle; the last handler was add)"),
        (
            attrs.evolve(IDLE, state="starting", handler=None),
            "its loop stood still for 1.23 s while mail waited (starting)",
        ),
    ],
)
def test_how_it_stands_still_is_said_in_a_sentence(sample: Sample, text: str) -> None:
    assert text == describe(sample, 1.234)


def test_lateness_of_less_than_a_second_is_no_standstill() -> None:
    assert _watchdog.LATE_SECONDS == 1.0
