from __future__ import annotations

import pytest

from actors import Actor, SpecError, handler


class Closing:
    """A mix-in that means no actor."""

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("run", "override on_start for what comes first, and do the work in handlers"),
        ("start", "an actor is started by system.spawn"),
        ("stop", "self.stop.. ends the actor; override on_stop"),
        ("terminate", "belongs to multiprocessing.Process; override on_stop"),
        ("kill", "belongs to multiprocessing.Process; override on_stop"),
        ("join", "belongs to multiprocessing.Process; override on_stop"),
        ("spawn", "call yours something else"),
        ("log", "call yours something else"),
        ("pid", "call yours something else"),
        ("_context", "call yours something else"),
        ("_handlers", "call yours something else"),
        ("_bootstrap", "call yours something else"),
    ],
)
@pytest.mark.parametrize(
    "value", [lambda _self: None, property(lambda _self: None), None], ids=["method", "property", "value"]
)
def test_what_the_framework_calls_cannot_be_overridden(name: str, said: str, value: object) -> None:
    with pytest.raises(SpecError, match=rf"^Mine\.{name} cannot be overridden: .*{said}"):
        type("Mine", (Actor,), {name: value})


def test_a_mix_in_overrides_nothing_either() -> None:
    with pytest.raises(SpecError, match=r"^Closing\.close cannot be overridden"):
        type("Mine", (Closing, Actor), {})
    behind = type("Mine", (Actor, Closing), {})

    assert behind.close is Actor.close  # type: ignore[attr-defined]


def test_all_that_is_wrong_with_a_class_is_said_at_once() -> None:
    def mine(self: Actor) -> None: ...

    @handler
    def join(self: Actor) -> None: ...

    with pytest.raises(SpecError) as caught:
        type("Mine", (Actor,), {"run": mine, "kill": mine, "join": join})

    assert [problem.split()[0] for problem in caught.value.problems] == ["Mine.kill", "Mine.run", "handler"]


def test_hooks_options_and_what_is_ones_own_can_be_defined() -> None:
    class Base(Actor):
        name = "mine"
        restart = "transient"
        _own_thing = 1

        def on_start(self) -> None: ...

        def on_failure(self, error: BaseException) -> str:  # type: ignore[override]
            return "resume"

        def __repr__(self) -> str:
            return "mine"

        def shutdown(self) -> None:  # type: ignore[override]
            """No option, and nobody else's."""

    class Derived(Base):
        def on_stop(self, reason: object) -> None: ...

    assert repr(Derived()) == "mine"
