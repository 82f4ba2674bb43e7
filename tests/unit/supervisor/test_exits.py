from __future__ import annotations

import signal
from typing import Any

import pytest

from actors.errors import ProtocolError
from actors.supervisor._exits import (
    EXIT_KINDS,
    SUPERVISOR_LOST_EXIT_CODE,
    ExitKind,
    ExitReason,
    classify,
    describe,
    from_data,
    signal_name,
    to_data,
)

REPORT = {"type": "builtins.ValueError", "text": "x"}


def known(**facts: Any) -> dict[str, Any]:
    return {"exit_code": 0, "ready": True, **facts}


TABLE: list[tuple[dict[str, Any], ExitKind]] = [
    (known(exit_code=0), "normal"),
    (known(exit_code=3), "crash"),
    (known(exit_code=1, crash_report=REPORT), "crash"),
    (known(exit_code=0, crash_report=REPORT), "crash"),
    (known(exit_code=-11), "signal"),
    (known(exit_code=-9), "signal"),
    (known(exit_code=None), "unknown"),
    (known(exit_code=255, status_known=False), "unknown"),
    (known(exit_code=255, status_known=False, crash_report=REPORT), "crash"),
    (known(exit_code=0, ready=False), "boot_failure"),
    (known(exit_code=1, ready=False, crash_report=REPORT), "boot_failure"),
    (known(exit_code=-11, ready=False), "boot_failure"),
    (known(exit_code=None, ready=False), "boot_failure"),
    (known(exit_code=-9, ready=False, killed_for="boot_timeout"), "boot_timeout"),
    (known(exit_code=None, ready=False, killed_for="boot_timeout"), "boot_timeout"),
    (known(exit_code=1, ready=False, killed_for="boot_timeout"), "boot_failure"),
    (known(exit_code=-9, killed_for="hang"), "hang"),
    (known(exit_code=255, status_known=False, killed_for="hang"), "hang"),
    (known(exit_code=0, killed_for="hang"), "normal"),
    (known(exit_code=-9, killed_for="hang", oom_kills=1), "hang"),
    (known(exit_code=-9, killed_for="memory_limit"), "memory_limit"),
    (known(exit_code=-9, oom_kills=1), "oom_kernel"),
    (known(exit_code=-9, ready=False, oom_kills=1), "oom_kernel"),
    (known(exit_code=-11, oom_kills=1), "signal"),
    (known(exit_code=1, oom_kills=1), "crash"),
    (known(exit_code=-9, stop_requested=True, oom_kills=2), "oom_kernel"),
    (known(exit_code=0, stop_requested=True), "requested"),
    (known(exit_code=3, stop_requested=True), "requested"),
    (known(exit_code=-15, stop_requested=True), "requested"),
    (known(exit_code=-9, stop_requested=True, killed_for="shutdown"), "requested"),
    (known(exit_code=-9, killed_for="shutdown"), "requested"),
    (known(exit_code=255, status_known=False, stop_requested=True), "requested"),
    (known(exit_code=0, ready=False, stop_requested=True), "requested"),
    (known(exit_code=1, stop_requested=True, crash_report=REPORT), "crash"),
    (known(exit_code=-11, stop_requested=True), "signal"),
    (known(exit_code=-9, protocol_error="byte 7"), "protocol"),
    (known(exit_code=1, ready=False, crash_report=REPORT, protocol_error="byte 7"), "protocol"),
    (known(exit_code=-9, killed_for="protocol"), "protocol"),
    (known(exit_code=SUPERVISOR_LOST_EXIT_CODE), "supervisor_lost"),
    (known(exit_code=SUPERVISOR_LOST_EXIT_CODE, ready=False), "supervisor_lost"),
]


@pytest.mark.parametrize(
    ("facts", "kind"),
    TABLE,
    ids=[
        " ".join(f"{k}={v}" for k, v in f.items() if k != "crash_report")
        + f" -> {k}"
        + (" report" if "crash_report" in f else "")
        for f, k in TABLE
    ],
)
def test_every_death_has_one_kind(facts: dict[str, Any], kind: ExitKind) -> None:
    assert kind == classify(**facts).kind


def test_every_kind_can_happen() -> None:
    assert set(EXIT_KINDS) == {kind for _, kind in TABLE}
    assert len(EXIT_KINDS) == 12


def test_a_lost_status_is_no_exit_code() -> None:
    reason = classify(255, ready=True, status_known=False)

    assert (None, None) == (reason.exit_code, reason.signal)
    assert ("no status to be had", "its exit status is lost") == reason.evidence


def test_a_signal_is_named() -> None:
    assert "SIGSEGV" == classify(-11, ready=True).signal


def test_a_kill_that_came_too_late_is_evidence() -> None:
    assert "a kill for hang came too late" in classify(0, ready=True, killed_for="hang").evidence


@pytest.mark.parametrize(
    ("why", "text"),
    [
        ("hang", "was killed because it hung: add made no progress for 2 s (exit -9)"),
        ("memory_limit", "was killed at its memory limit: add made no progress for 2 s (exit -9)"),
        ("boot_timeout", "was killed because it was not ready in time: add made no progress for 2 s (exit -9)"),
    ],
)
def test_what_the_supervisor_saw_explains_its_kill(why: Any, text: str) -> None:
    reason = classify(-9, ready=True, killed_for=why, offence="add made no progress for 2 s")

    assert "add made no progress for 2 s" == reason.evidence[1]
    assert text == describe(reason)


def test_everything_known_stands_in_the_evidence() -> None:
    reason = classify(-9, ready=True, stop_requested=True, protocol_error="frame of 9 bytes", oom_kills=2)

    assert (
        "its bytes were no messages",
        "frame of 9 bytes",
        "it was asked to stop",
        "2 out-of-memory kills in its group",
    ) == reason.evidence


def test_one_kill_is_no_kills() -> None:
    assert "1 out-of-memory kill in its group" in classify(-9, ready=True, oom_kills=1).evidence


def test_status_memory_and_notes_are_kept_beside_the_verdict() -> None:
    reason = classify(-9, ready=True, status=9, rss=4096, notes=("seen", "heard"))

    assert (9, 4096, ("ended by a signal", "seen", "heard")) == (reason.status, reason.rss, reason.evidence)


def test_a_status_of_a_process_whose_status_is_lost_is_none() -> None:
    assert classify(255, ready=True, status=0xFF00, status_known=False).status is None


def test_evidence_without_end_is_cut() -> None:
    reason = classify(1, ready=True, notes=map(str, range(1000)))

    assert reason == from_data(to_data(reason))


@pytest.mark.parametrize("number", [s.value for s in signal.Signals if 1 <= s.value <= 31])
def test_signals_have_the_names_of_the_platform(number: int) -> None:
    ours = signal_name(number)

    assert signal.Signals(number) is getattr(signal, ours)


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (0, "signal 0"),
        (-4, "signal -4"),
        (32, "signal 32"),
        (34, "SIGRTMIN"),
        (35, "SIGRTMIN+1"),
        (64, "SIGRTMIN+30"),
        (65, "signal 65"),
    ],
)
def test_other_signals_have_a_name_too(number: int, name: str) -> None:
    assert name == signal_name(number)


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (ExitReason("signal", -11, "SIGSEGV"), "was killed by SIGSEGV (exit -11)"),
        (ExitReason("signal"), "was killed by a signal"),
        (ExitReason("crash", 1, error=REPORT), "crashed: ValueError: x (exit 1)"),
        (ExitReason("crash", 1, error={"type": "app.Broken", "text": ""}), "crashed: app.Broken (exit 1)"),
        (ExitReason("crash", 3, error={"type": 7}), "crashed (exit 3)"),
        (
            ExitReason("crash", 3),
            "left with exit code 3 and no exception (sys.exit, os._exit, or C code that calls exit)",
        ),
        (
            ExitReason("boot_failure", 9),
            "failed to start: left with exit code 9 and no exception (sys.exit, os._exit, or C code that calls exit)",
        ),
        (ExitReason("boot_failure", 0), "failed to start (exit 0)"),
        (ExitReason("crash"), "crashed"),
        (
            ExitReason("protocol", -9, evidence=("its bytes were no messages", "a frame of -1 bytes")),
            "was killed because its bytes were no messages: a frame of -1 bytes (exit -9)",
        ),
        (ExitReason("boot_failure", -11, "SIGSEGV"), "failed to start: was killed by SIGSEGV (exit -11)"),
        (ExitReason("boot_failure", 1, error=REPORT), "failed to start: ValueError: x (exit 1)"),
        (ExitReason("normal", 0), "ended normally (exit 0)"),
        (ExitReason("requested"), "stopped as requested"),
    ],
)
def test_a_reason_reads_as_one_line(reason: ExitReason, text: str) -> None:
    assert text == describe(reason)
    assert text == str(reason)


@pytest.mark.parametrize("kind", EXIT_KINDS)
def test_every_kind_can_be_described_and_comes_back_from_its_data(kind: ExitKind) -> None:
    reason = ExitReason(kind, -9, "SIGKILL", {"type": "x"}, ("a", "b"))

    assert describe(reason).endswith("(exit -9)")
    assert reason == from_data(to_data(reason))
    assert ExitReason(kind) == from_data(to_data(ExitReason(kind)))


def test_reasons_can_be_hashed() -> None:
    assert 1 == len({ExitReason("crash", 1, error={"a": []}), ExitReason("crash", 1, error={"a": []})})


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        {"kind": "dead"},
        {"kind": ["normal"]},
        {"kind": "normal", "exit_code": True},
        {"kind": "normal", "exit_code": 2**40},
        {"kind": "normal", "exit_code": "0"},
        {"kind": "normal", "signal": 9},
        {"kind": "normal", "error": "x"},
        {"kind": "normal", "status": "256"},
        {"kind": "normal", "status": True},
        {"kind": "normal", "status": -1},
        {"kind": "normal", "status": 1 << 16},
        {"kind": "normal", "rss": 1.5},
        {"kind": "normal", "rss": True},
        {"kind": "normal", "rss": -1},
        {"kind": "normal", "rss": 1 << 62},
        {"kind": "normal", "evidence": None},
        {"kind": "normal", "evidence": "text"},
        {"kind": "normal", "evidence": [1]},
        {"kind": "normal", "evidence": [""] * 1000},
    ],
    ids=repr,
)
def test_what_is_no_reason_is_a_protocol_error(data: object) -> None:
    with pytest.raises(ProtocolError, match="exit reason"):
        from_data(data)
