"""
Our supervisor and OTP's, told the same history, compared whenever both are quiet.

A history is a string of bytes: :class:`Dice` makes choices of it, so that a random number generator can write one as well as
hypothesis, and one with fewer or smaller bytes is the simpler one. Both sides have the same fate: the n-th start of a history fails
for both, and what a child does when it is asked to stop is drawn too.

Only events, effects and what an effect says are used of ours, beside whether a child runs; how it comes to them is not looked at.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import attrs

from actors.supervisor import _machine
from actors.supervisor import _state as s
from actors.supervisor._exits import ExitReason
from actors.supervisor._policy import RESTART_TYPES, STRATEGIES, RestartType, Strategy
from actors.supervisor._spec import AUTO_SHUTDOWNS, Supervisor
from tests.histories.otp import ChildSpec, OtpSupervisor, Pid, Reason
from tests.supervised import BOOT_FAILURE, CRASH, KILLED, NORMAL, REQUESTED, letter_of, rule

T = TypeVar("T")

EXPECTED_CODE = 3
SIGNAL = ExitReason("signal", -11, "SIGSEGV")
# How a child may die, and what OTP would call that of a child whose exit code 3 is declared expected.
DEATHS: tuple[tuple[str, ExitReason, Reason], ...] = (
    ("crashes", CRASH, "abnormal"),
    ("ends", NORMAL, "normal"),
    ("ends with 3", ExitReason("crash", EXPECTED_CODE), "shutdown"),
    ("was asked to end", REQUESTED, "shutdown"),
    ("dies of a signal", SIGNAL, "abnormal"),
    ("hangs", ExitReason("hang", -9, "SIGKILL"), "abnormal"),
)
FAILED_STARTS = (BOOT_FAILURE, NORMAL, CRASH, ExitReason("boot_timeout", -9, "SIGKILL"))
WHEN_STOPPED = (REQUESTED, CRASH, NORMAL, KILLED)
OUTCOMES = {"start failed": "failed", "intensity": "failed", "auto_shutdown": "ended", "stopped": "stopped"}
# The first is nothing much, so that a history that has been made simpler by zeros is a shorter one.
HAPPENINGS = ("look", *("die",) * 8, *("wait",) * 3, "stale", *("add",) * 2, "remove", *("restart",) * 2, "stop")


class Dice:
    """
    Choices out of bytes; the first of all options when there are no more.

    Args:
        data: One byte a choice.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_over(self) -> bool:
        """Whether every byte has been used."""
        return self._at >= len(self._data)

    def choose(self, options: Sequence[T]) -> T:
        """One of *options*."""
        byte = 0 if self.is_over else self._data[self._at]
        self._at += 1
        return options[byte % len(options)]

    def rarely(self) -> bool:
        """True once in six times."""
        return self.choose((False, False, False, False, False, True))


@attrs.frozen
class Fate:
    """How the starts go that follow an event: a reason for each that fails, None for one that does not; all others do not."""

    starts: tuple[ExitReason | None, ...] = ()
    stopped: ExitReason = REQUESTED

    def in_turn(self) -> Iterator[ExitReason | None]:
        """The fate of one start after the other."""
        yield from self.starts
        while True:
            yield None


class Ours:
    """
    Our supervisor with processes that answer at once.

    Args:
        rules: Of the static children.
        spec: The supervisor.
    """

    def __init__(self, rules: Sequence[s.ChildRule], spec: Supervisor) -> None:
        self.state = s.MachineState(spec, {number: s.ChildState(number, each) for number, each in enumerate(rules, 1)})
        self.now = 0
        self.starts: dict[int, int] = {}
        self.alive: dict[int, int] = {}
        self.log: list[tuple[str, int]] = []
        self.gone: list[int] = []
        self.finished: s.Finish | None = None
        self._asked: set[Pid] = set()

    def tell(self, event: s.MachineEvent, fate: Fate = Fate()) -> None:
        """Step, perform, and feed back what the processes do, until there is nothing more to do."""
        starts, events = fate.in_turn(), deque([event])
        while events:
            self.state, effects = _machine.step(self.state, events.popleft(), float(self.now))
            for effect in effects:
                events += self._perform(effect, starts, fate.stopped)

    def _perform(
        self, effect: s.MachineEffect, starts: Iterator[ExitReason | None], stopped: ExitReason
    ) -> Iterator[s.MachineEvent]:
        match effect:
            case s.StartChild(id=uid, incarnation=incarnation):
                assert uid not in self.alive, f"a second process of {letter_of(uid)}"
                self.log.append(("start", uid))
                self.starts[uid] = self.starts.get(uid, 0) + 1
                assert incarnation == self.starts[uid], "incarnations count starts"
                reason = next(starts)
                if reason is None:
                    self.alive[uid] = incarnation
                    yield s.ChildStarted(uid, incarnation)
                else:
                    yield s.ChildExited(uid, incarnation, reason)
            case s.StopChild(id=uid, incarnation=incarnation) | s.KillChild(id=uid, incarnation=incarnation):
                if (uid, incarnation) not in self._asked:
                    assert self.alive.pop(uid, None) == incarnation, f"{letter_of(uid)} is stopped and does not run"
                    self._asked.add((uid, incarnation))
                    self.log.append(("stop", uid))
                    yield s.ChildExited(uid, incarnation, stopped)
            case s.ChildGone(id=uid):
                assert uid not in self.gone, f"{letter_of(uid)} is gone twice"
                self.gone.append(uid)
            case s.Finish():
                assert self.finished is None, "it finishes twice"
                self.finished = effect
            case _:
                pass

    def begin(self, fate: Fate) -> None:
        """Another life."""
        self.finished = None
        self.tell(s.StartRequested(), fate)

    def exit(self, pid: Pid, reason: ExitReason, fate: Fate) -> None:
        """That process is dead."""
        if self.alive.get(pid[0]) == pid[1]:
            del self.alive[pid[0]]
        self.tell(s.ChildExited(*pid, reason), fate)


class Duel:
    """
    One history of both.

    Args:
        data: The history.
        strategy: Of both; None: as the history says.

    Attributes:
        story: What has happened, a sentence each.
    """

    def __init__(self, data: bytes, strategy: Strategy | None = None) -> None:
        self.dice = dice = Dice(data)
        self.story: list[str] = []
        self.flags: dict[str, Any] = {
            "strategy": strategy or dice.choose(STRATEGIES),
            "intensity": dice.choose((0, 1, 3, 8, 30)),
            "period": dice.choose((1, 2, 5)),
            "auto_shutdown": dice.choose(AUTO_SHUTDOWNS),
        }
        rules = [self._rule() for _ in range(dice.choose((1, 2, 3, 4, 5)))]
        self.rules = dict(enumerate(rules, 1))
        self.dynamic: set[int] = set()
        flags = {"max_restarts" if name == "intensity" else name: value for name, value in self.flags.items()}
        self.ours = Ours(rules, Supervisor("node", **flags))
        self.starts: dict[int, int] = {}
        self.told: list[tuple[str, int]] = []  # what the lives of OTP's supervisor before this one did
        self.otp = self._new_otp()
        self.story.append(f"{self.flags}; " + "; ".join(self._name(uid) for uid in self.rules))

    def _rule(self) -> s.ChildRule:
        restart: RestartType = self.dice.choose(RESTART_TYPES)
        can_be_significant = self.flags["auto_shutdown"] != "never" and restart != "permanent"
        return rule(
            restart=restart,
            expected_exits=(0, EXPECTED_CODE),
            shutdown=self.dice.choose((5.0, 0)),
            significant=can_be_significant and self.dice.choose((True, False)),
        )

    def _name(self, uid: int) -> str:
        each = self.rules[uid]
        return f"{letter_of(uid)} {each.restart}{' significant' if each.significant else ''}"

    def _new_otp(self) -> OtpSupervisor:
        fresh = OtpSupervisor(self._spawn, **self.flags)
        fresh.starts = self.starts
        fresh.now = self.ours.now
        return fresh

    def _spawn(self, _uid: int) -> bool:
        return next(self._fates) is None

    # ---------------------------------------------------------------- what happens

    def play(self) -> None:
        """The whole history; raises AssertionError where the two differ, with the story."""
        self._happen(self._boot)
        while not self.dice.is_over:
            self._happen(self._again if self.otp.ended else getattr(self, f"_{self.dice.choose(HAPPENINGS)}"))

    def _happen(self, what: Any) -> None:
        mark = len(self.story)
        try:
            what()
            self._compare()
        except Exception as error:  # whatever a broken supervisor raises: the reader wants the history that led to it
            now = "; ".join(self.story[mark:]) or what.__name__
            story = "\n  ".join(self.story)
            raise AssertionError(f"{error}\nafter: {now}\nhistory:\n  {story}") from error

    def _fate(self, *, of_starts: bool = True) -> Fate:
        starts: list[ExitReason | None] = []
        while of_starts and len(starts) < 6 and self.dice.rarely():
            starts += [None] * self.dice.choose((0, 0, 1, 2)) + [self.dice.choose(FAILED_STARTS)]
        fate = Fate(tuple(starts), self.dice.choose(WHEN_STOPPED))
        self._fates = fate.in_turn()
        if starts:
            self.story.append(f"the next starts: {[each.kind if each else 'ready' for each in starts]}")
        return fate

    def _boot(self) -> None:
        fate = self._fate()
        self.story.append("starts")
        # Ours keeps its children from life to life, less those that were removed and those that may run once only and have.
        kept = [uid for uid in self.rules if uid not in self.ours.gone]
        self.ours.begin(fate)
        self.otp.init([ChildSpec(uid, self.rules[uid].restart, self.rules[uid].significant) for uid in kept])

    def _again(self) -> None:
        self.told += self.otp.log
        self.otp = self._new_otp()
        self._boot()

    def _some(self, uids: Sequence[int]) -> int | None:
        return self.dice.choose(uids) if uids else None

    def _look(self) -> None:
        self.ours.tell(s.Tick())

    def _die(self) -> None:
        uid = self._some(sorted(self.ours.alive))
        if uid is None:
            return
        how, reason, otp_reason = self.dice.choose(DEATHS)
        fate = self._fate()
        self.story.append(f"{letter_of(uid)} {how}")
        pid = uid, self.ours.alive[uid]
        self.ours.exit(pid, reason, fate)
        self.otp.exit(pid, otp_reason)
        if uid in self.dynamic and self.otp.ended is None:
            self.otp.delete_child(
                uid
            )  # ours keeps no spec of an added child that has ended; of one that runs this does nothing

    def _stale(self) -> None:
        uid = self._some(sorted(self.ours.starts))
        if uid is not None:
            pid = uid, self.ours.starts[uid] - (uid in self.ours.alive)
            self.story.append(f"the death of {letter_of(uid)}{pid[1]} is told again")
            self.ours.exit(pid, CRASH, self._fate(of_starts=False))
            self.otp.exit(pid, "abnormal")

    def _wait(self) -> None:
        seconds = self.dice.choose((1, 2, 5, 6))
        self.story.append(f"{seconds} s pass")
        self.ours.now += seconds
        self.otp.now += seconds
        self.ours.tell(s.Tick())

    def _add(self) -> None:
        uid = max(self.rules) + 1
        if uid > 12:
            return
        self.rules[uid] = self._rule()
        self.dynamic.add(uid)
        fate = self._fate()
        self.story.append(f"{self._name(uid)} is added")
        self.ours.tell(s.AddChild(uid, self.rules[uid]), fate)
        self.otp.start_child(ChildSpec(uid, self.rules[uid].restart, self.rules[uid].significant))

    def _remove(self) -> None:
        uid = self._some(sorted(self.otp.which_children()))
        if uid is not None:
            fate = self._fate(of_starts=False)
            self.story.append(f"{letter_of(uid)} is removed")
            self.ours.tell(s.RemoveChild(uid), fate)
            self.otp.terminate_child(uid)
            self.otp.delete_child(uid)

    def _restart(self) -> None:
        """By hand: only of what OTP lets be restarted, and only when it comes up (the table says what differs)."""
        uid = self._some([uid for uid in sorted(self.otp.which_children()) if self.rules[uid].restart != "temporary"])
        if uid is not None:
            fate = self._fate(of_starts=False)
            self.story.append(f"{letter_of(uid)} is restarted by hand")
            self.ours.tell(s.RestartChild(uid), fate)
            self.otp.terminate_child(uid)
            self.otp.restart_child(uid)

    def _stop(self) -> None:
        fate = self._fate(of_starts=False)
        self.story.append("the supervisor is stopped")
        self.ours.tell(s.StopRequested(), fate)
        self.otp.terminate()

    # ---------------------------------------------------------------- whether it is the same

    def _compare(self) -> None:
        assert self.ours.log == self.told + self.otp.log, (
            f"ours did {self.ours.log}, OTP {self.told + self.otp.log}"  # starts and stops, in order
        )
        pids = self.otp.which_children() if self.otp.ended is None else {}
        running = {uid: pid[1] for uid, pid in pids.items() if isinstance(pid, tuple)}
        assert self.ours.alive == running, f"in ours {self.ours.alive} run, in OTP {running}"
        assert self.ours.starts == self.otp.starts
        outcome = None if self.ours.finished is None else self.ours.finished.outcome
        assert outcome == (OUTCOMES[self.otp.ended] if self.otp.ended else None), (
            f"ours has ended: {outcome}; OTP: {self.otp.ended}"
        )
        self._compare_books(pids)

    def _compare_books(self, pids: dict[int, Pid | str]) -> None:
        """Who is known, who is down, and that ours waits for nothing."""
        known = self.ours.state.children
        assert not set(known) & set(self.ours.gone), "gone, and still there"
        assert set(known) | set(self.ours.gone) == set(self.rules), "lost without a word"
        assert _machine.next_deadline(self.ours.state) is None
        if self.otp.ended is None:
            assert list(known) == list(pids), f"ours knows {list(known)}, OTP {list(pids)}"
            running = [uid for uid, child in known.items() if isinstance(child.phase, s.Running)]
            assert running == [uid for uid, pid in pids.items() if isinstance(pid, tuple)]
            assert {uid for uid, child in known.items() if child.wanted == "parked"} == set(pids) - set(running)


def play(data: bytes, strategy: Strategy | None = None) -> None:
    """One history of both; raises AssertionError where they differ."""
    Duel(data, strategy).play()


def play_many(count: int, seed: int = 0) -> None:
    """
    Histories from a random number generator.

    Args:
        count: How many.
        seed: The same seed, the same histories.
    """
    source = random.Random(seed)
    for _ in range(count):
        play(source.randbytes(source.randint(60, 160)))
