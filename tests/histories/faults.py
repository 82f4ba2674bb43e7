"""
Faults to plant in the pure supervisor, one at a time, and the judges that must find them.

A fault is a piece of the source and what stands there instead. It is planted while the module is imported, in a process of its own:
the files stay as they are. As a script this file tries one fault, or all of them::

    python -m tests.histories.faults                         # all, with the word of each judge
    python -m tests.histories.faults "edge of the window"    # one

Judges, quick enough to be asked often: ``otp`` (random histories against the model of OTP), ``histories`` (random histories of whole
trees against what must hold in any), ``tables`` (the tests in ``tests/unit/supervisor``).
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Literal, TypeAlias, cast

import attrs

ROOT = Path(__file__).parent.parent.parent
SUPERVISOR = ROOT / "actors" / "supervisor"
TABLES = ROOT / "tests" / "unit" / "supervisor"

JudgeName: TypeAlias = Literal["otp", "histories", "tables"]
Verdict: TypeAlias = Literal["survived", "found", "not planted"]

# What the process that tries a fault says by its exit code; any other code is an accident.
VERDICTS: dict[int, Verdict] = {0: "survived", 10: "found", 20: "not planted"}
CODES = {verdict: code for code, verdict in VERDICTS.items()}


@attrs.frozen
class Fault:
    """
    One fault.

    Attributes:
        name: What is wrong.
        judge: The one that must find it.
        snippet: Stands exactly once in the modules of ``actors.supervisor``, whichever it is.
        instead: What a mistake would have made of it.
    """

    name: str
    judge: JudgeName
    snippet: str
    instead: str

    def where(self) -> Path | None:
        """The module it is planted in; None if the snippet does not stand in exactly one, once."""
        counts = {path: path.read_text().count(self.snippet) for path in sorted(SUPERVISOR.glob("*.py"))}
        return next(path for path, count in counts.items() if count) if sum(counts.values()) == 1 else None


FAULTS = (
    # order
    Fault(
        "children stop in the order of their start",
        "otp",
        "for child in reversed(tuple(turn.children.values())):",
        "for child in tuple(turn.children.values()):",
    ),
    Fault(
        "a group stops all at once",
        "histories",
        "if in_order or child.wanted == ",
        "if child.wanted == ",
    ),
    Fault(
        "a group starts before it has stopped",
        "otp",
        "if in_order and any(_must_go_down(turn, child)",
        "if not in_order and any(_must_go_down(turn, child)",
    ),
    Fault(
        "the younger start before the elder are ready",
        "histories",
        "if in_order and not isinstance(child.phase, Running):",
        "if in_order and isinstance(child.phase, Down):",
    ),
    Fault(
        "nobody waits for those it starts after",
        "tables",
        "return all(e is None or e.wanted == ",
        "return True or all(e is None or e.wanted == ",
    ),
    Fault(
        "rest_for_one takes the elder",
        "otp",
        'range(0 if strategy == "one_for_all" else failed_index, count)',
        'range(0, count if strategy == "one_for_all" else failed_index + 1)',
    ),
    Fault(
        "one_for_all takes the younger only",
        "otp",
        'range(0 if strategy == "one_for_all" else failed_index, count)',
        "range(failed_index, count)",
    ),
    # who comes back
    Fault(
        "a temporary child comes back with its group",
        "otp",
        'elif sibling.rule.restart == "temporary":',
        'elif sibling.rule.restart == "transient" and sibling.wanted == "gone":',
    ),
    Fault(
        "a child that has ended stays down when its group comes back",
        "otp",
        '    if child.wanted != "parked":\n        return\n',
        "    return\n",
    ),
    Fault(
        "a child that is being removed comes back with its group",
        "tables",
        'elif sibling.wanted != "gone":',
        "else:",
    ),
    Fault(
        "expected exit codes are not looked at",
        "otp",
        "and reason.exit_code in expected_exits)",
        "and reason.exit_code == 0)",
    ),
    Fault(
        "a hang with an expected code is no failure",
        "tables",
        "reason.kind in _KINDS_WITH_A_MEANT_CODE and ",
        "",
    ),
    Fault(
        "a restart that fails with code 0 is a normal end",
        "otp",
        "    if not ran:",
        '    if child.rule.restart == "permanent":',
    ),
    Fault(
        "a sibling that crashes while it is stopped counts",
        "otp",
        'elif child.wanted == "restart":',
        'elif child.wanted == "restart" and event.reason.kind != "crash":',
    ),
    # how often, how late
    Fault(
        "one restart more than the limit",
        "otp",
        "return len(times) <= spec.max_restarts",
        "return len(times) <= spec.max_restarts + 1",
    ),
    Fault(
        "one restart less than the limit",
        "otp",
        "return len(times) <= spec.max_restarts",
        "return len(times) < spec.max_restarts",
    ),
    Fault(
        "edge of the window",
        "otp",
        "if t >= now - period",
        "if t > now - period",
    ),
    Fault(
        "a restart is forgotten when the next comes",
        "otp",
        "restarts_within((*turn.state.times, now), now, spec.period)",
        "restarts_within((*turn.state.times[-1:], now), now, spec.period)",
    ),
    Fault(
        "restarts of the last life count in the next",
        "otp",
        "ending=False, times=())",
        "ending=False)",
    ),
    Fault(
        "the backoff is not reset after a stable run",
        "tables",
        "attempt=1 if stable else child.attempt + 1",
        "attempt=child.attempt + 1",
    ),
    Fault(
        "a herd comes back at once",
        "tables",
        "backoff_delay(child.rule.backoff, child.attempt, event.jitter)",
        "backoff_delay(child.rule.backoff, child.attempt, 0.0)",
    ),
    # old news
    Fault(
        "the death of an old incarnation counts",
        "otp",
        "elif child.incarnation == event.incarnation and child.has_process:",
        "elif child.has_process:",
    ),
    Fault(
        "a death that is told twice counts twice",
        "tables",
        "elif child.incarnation == event.incarnation and child.has_process:",
        "elif child.incarnation == event.incarnation:",
    ),
    Fault(
        "an old incarnation can say that it is ready",
        "tables",
        "child.incarnation == event.incarnation and isinstance(child.phase, Starting)",
        "isinstance(child.phase, Starting)",
    ),
    # ladder and deadlines
    Fault(
        "a kill is said once",
        "histories",
        'return Stopping("kill", turn.now + KILL_AGAIN_AFTER, why)',
        'return Stopping("kill", None, why)',
    ),
    Fault(
        "from the request to the kill without SIGTERM",
        "tables",
        'turn.change(child, phase=Stopping("terminate", turn.now + child.rule.term_grace))',
        'turn.change(child, phase=killing(turn, child, child.incarnation, "shutdown"))',
    ),
    Fault(
        "a shutdown of 0 asks politely",
        "tables",
        "    if shutdown == 0:\n        return turn.change",
        "    if shutdown is None:\n        return turn.change",
    ),
    Fault(
        "the last of several deadlines holds",
        "tables",
        "turn.set(kill_at=min(deadlines, default=None))",
        "turn.set(kill_at=event.deadline)",
    ),
    Fault(
        "at the deadline of the stop nobody is killed",
        "histories",
        "if is_due(turn.state.kill_at, turn.now):",
        'if turn.state.mode == "serving" and is_due(turn.state.kill_at, turn.now):',
    ),
    Fault(
        "nobody wakes up for the next rung",
        "histories",
        "case Starting(at) | Stopping(_, at) if at is not None:",
        "case Starting(at) if at is not None:",
    ),
    # the end
    Fault(
        "any_significant means all, and all means none",
        "otp",
        'if turn.state.spec.auto_shutdown == "all_significant":',
        'if turn.state.spec.auto_shutdown == "any_significant":',
    ),
    Fault(
        "all_significant means all but the last",
        "otp",
        "return not any(child.rule.significant and",
        "return any(child.rule.significant and",
    ),
    Fault(
        "a failed boot leaves those that were started",
        "otp",
        'turn.set(mode="stopping", outcome="failed", reason=event.reason)',
        'turn.set(mode="finished", outcome="failed", reason=event.reason)',
    ),
    Fault(
        "an added child that fails to start is tried again",
        "otp",
        "if not child.booted and child.dynamic:",
        "if child.booted and child.dynamic:",
    ),
    Fault(
        "an added child lives on in the next life",
        "otp",
        "not child.is_alive and (turn.state.final or child.dynamic)",
        "not child.is_alive and turn.state.final",
    ),
    Fault(
        "gone is said twice",
        "histories",
        "self.emit(ChildGone(child.id, child.reason or _NEVER_RAN))",
        "self.effects += [ChildGone(child.id, child.reason or _NEVER_RAN)] * 2",
    ),
    Fault(
        "those that are down when the last life ends are forgotten",
        "histories",
        "not child.is_alive and (turn.state.final or child.dynamic)",
        "not child.is_alive and child.dynamic",
    ),
    Fault(
        "one that is disowned begins another life",
        "tables",
        '(mode == "finished" and not turn.state.final)',
        'mode == "finished"',
    ),
    Fault(
        "one child more than there may be",
        "tables",
        "len(state.children) >= limit",
        "len(state.children) > limit",
    ),
    Fault(
        "a supervisor that gave up is not restarted",
        "tables",
        'kind = "crash" if reason.kind in ("normal", "requested") else reason.kind',
        'kind = "requested"',
    ),
    Fault(
        "supervisors below one that leaves are not told",
        "tables",
        "turn.tell(below.path, Disown())",
        "below.machine",
    ),
    # giving up
    Fault(
        "a restart too many is not said",
        "tables",
        "if len(times) > spec.max_restarts:",
        "if len(times) > spec.max_restarts + 1:",
    ),
    Fault(
        "a parked supervisor never tries again",
        "tables",
        "None if park.retry_after is None else turn.now + park.retry_after",
        "None",
    ),
    Fault(
        "who is left alone comes back when its supervisor tries again",
        "tables",
        "        if not _breaker.is_open(child):",
        "        if child.wanted:",
    ),
    Fault(
        "one crash more before a child is left alone",
        "tables",
        "child.same_crashes >= crashes",
        "child.same_crashes > crashes",
    ),
    Fault(
        "crashes of different kinds are one kind",
        "tables",
        "if found == child.fingerprint and not stable else 0",
        "if not stable else 0",
    ),
    Fault(
        "one failed start more before a child is left alone",
        "tables",
        "child.failed_starts >= starts",
        "child.failed_starts > starts",
    ),
    # replacement
    Fault(
        "two children of a supervisor are replaced at a time",
        "tables",
        "            case _:\n                return\n",
        "            case _:\n                pass\n",
    ),
    Fault(
        "a child is gone while another process stands by for it",
        "tables",
        '    if child.is_alive:\n        return\n    if child.wanted == "gone":',
        '    if child.has_process:\n        return\n    if child.wanted == "gone":',
    ),
    Fault(
        "an incarnation is used twice",
        "histories",
        "turn.change(child, issued=incarnation, replacement=",
        "turn.change(child, replacement=",
    ),
    Fault(
        "whoever is to take over from a child that goes down is left alone",
        "tables",
        'return child.wanted == "replaced" or (child.wanted == "up" and isinstance(child.phase, Running))',
        'return child.wanted == "replaced" or child.has_process',
    ),
    Fault(
        "nobody tells the one that stands by to serve",
        "tables",
        "    turn.emit(PromoteChild(child.id, new.incarnation))\n",
        "",
    ),
)


# ---------------------------------------------------------------- planting


class _Loader(importlib.machinery.SourceFileLoader):
    """Compiles *source* instead of the file."""

    def __init__(self, fullname: str, path: str, source: str) -> None:
        super().__init__(fullname, path)
        self._source = source

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._source, self.get_filename(fullname), "exec")


class _Finder:
    """Finds one module, with its fault."""

    def __init__(self, name: str, path: str, source: str) -> None:
        self._name, self._path, self._source = name, path, source

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        loader = _Loader(fullname, self._path, self._source)
        return importlib.util.spec_from_file_location(fullname, self._path, loader=loader)


def plant(fault: Fault) -> bool:
    """From now on the module is imported with *fault*; False if it cannot be planted any more."""
    path = fault.where()
    if path is None:
        return False
    name = f"actors.supervisor.{path.stem}"
    if name in sys.modules:
        raise RuntimeError(f"{name} is imported already: plant the fault in a new process")
    source = path.read_text().replace(fault.snippet, fault.instead)
    sys.meta_path.insert(0, _Finder(name, str(path), source))
    return True


# ---------------------------------------------------------------- judges: None, or what they found


def _by_otp(thoroughness: int) -> str | None:
    from tests.histories import duel

    try:
        duel.play_many(400 * thoroughness)
    except AssertionError as error:
        return str(error).partition("\n")[0]
    return None


def _by_histories(thoroughness: int) -> str | None:
    from hypothesis import Phase, given, seed, settings
    from hypothesis import strategies as st

    from tests.histories import test_machine

    for name, test in vars(test_machine).items():
        if hasattr(test, "hypothesis"):
            inner: Any = given(st.data())(test.hypothesis.inner_test)
            quick = settings(
                max_examples=100 * thoroughness,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                print_blob=False,
            )
            try:
                seed(0)(quick(inner))()  # a seed, so that no edit of a test changes what the others see
            except Exception as error:  # whatever a broken machine raises, a judge has found it
                return f"{name}: {type(error).__name__} {error}".partition("\n")[0]
    return None


def _by_tables(_thoroughness: int) -> str | None:
    import pytest

    class First:
        """The first test that failed."""

        failed: str | None = None

        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            if report.failed and self.failed is None:
                self.failed = report.nodeid

    first = First()
    code = pytest.main(["-x", "-q", "--no-header", "--tb=no", "-p", "no:cacheprovider", str(TABLES)], plugins=[first])
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise RuntimeError(f"the tables could not be run: {code!r}")
    return first.failed


JUDGES: dict[JudgeName, Callable[[int], str | None]] = {
    "otp": _by_otp,
    "histories": _by_histories,
    "tables": _by_tables,
}


# ---------------------------------------------------------------- one trial


def ask(judge: JudgeName, fault: Fault | None, *, thoroughness: int = 1) -> tuple[Verdict, str]:
    """
    What *judge* says of the supervisor with *fault*, in a process of its own.

    Args:
        judge: Which.
        fault: None: of the supervisor as it is.
        thoroughness: How many times the usual number of histories.

    Returns:
        The verdict, and what was found.
    """
    # What is measured is the code as it is, so this process is not.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("COVERAGE", "COV_CORE"))}
    run = subprocess.run(
        [sys.executable, "-m", __spec__.name, "--judge", judge, fault.name if fault else "", str(thoroughness)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120 * thoroughness,
    )
    if run.returncode not in VERDICTS:
        raise RuntimeError(f"{judge} met an accident (exit code {run.returncode})\n{run.stdout}\n{run.stderr}")
    verdict = VERDICTS[run.returncode]
    return verdict, run.stdout.splitlines()[-1] if verdict == "found" else ""


def _judge(judge: JudgeName, name: str, thoroughness: str) -> int:
    """Try one fault in this very process; the exit code is the verdict."""
    if name and not plant(next(fault for fault in FAULTS if fault.name == name)):
        return CODES["not planted"]
    found = JUDGES[judge](int(thoroughness))
    print(f"\n{found}")
    return CODES["survived" if found is None else "found"]


def _report(names: Sequence[str]) -> int:
    """The word of every judge about each fault; the exit code is the number of those that survive all."""
    survivors = 0
    for fault in FAULTS:
        if names and fault.name not in names:
            continue
        words = {judge: ask(judge, fault) for judge in JUDGES}
        survivors += all(verdict != "found" for verdict, _ in words.values())
        print(
            f"{fault.name} ({fault.judge}): {', '.join(f'{judge} {word[0]}' for judge, word in words.items())}",
            flush=True,
        )
        if names:
            print("\n".join(f"  {judge}: {what}" for judge, (_, what) in words.items()))
    return survivors


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments[:1] == ["--judge"]:
        sys.exit(_judge(cast("JudgeName", arguments[1]), *arguments[2:]))
    sys.exit(_report(arguments))
