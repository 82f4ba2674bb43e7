from __future__ import annotations

import inspect
import math
import re
from typing import Any

import attrs
import pytest

from actors import ActorSystem
from actors.errors import SpecError
from actors.supervisor._check import check, check_child
from actors.supervisor._policy import Backoff
from actors.supervisor._spec import (
    _OF_THE_SYSTEM,
    OPTION_NAMES,
    Child,
    Options,
    Park,
    Recycle,
    Supervisor,
    child,
    child_names,
    default_name,
    free_name,
    named_children,
)
from tests.supervised import Worker


class Tuned(Worker):
    name = "tuned"
    restart = "transient"
    shutdown = None
    expected_exits = (0, 3)

    def after(self) -> None:
        """A handler that happens to be called like an option."""

    @property
    def backoff(self) -> int:
        return 1


class Quiet(Tuned):
    restart = "temporary"


def problems(tree: Any, **more: Any) -> tuple[str, ...]:
    with pytest.raises(SpecError) as caught:
        check(tree, **more)
    return caught.value.problems


def one_problem(**options: object) -> str:
    (problem,) = problems(Supervisor("app", children=(child(Worker(), name="w", **options),)))
    return problem


# ---------------------------------------------------------------- building


def test_the_defaults_are_the_documented_ones() -> None:
    assert Options() == Options(
        name=None,
        restart="permanent",
        expected_exits=(0,),
        backoff=Backoff(initial=0.01, factor=2.0, maximum=30.0, jitter=0.1, stable_after=None),
        max_start_failures=None,
        max_same_crashes=None,
        start_timeout=30.0,
        shutdown=5.0,
        term_grace=2.0,
        handler_timeout=None,
        hang_grace=1.0,
        cancel_grace=None,
        redeliver=0,
        max_open_asks=4096,
        mailbox_bytes=1024 * 1024,
        mailbox_messages=None,
        on_full="block",
        send_timeout=10.0,
        memory_soft=None,
        memory_hard=None,
        recycle=None,
        significant=False,
        after=(),
    )
    assert Supervisor("app") == Supervisor(
        "app",
        strategy="one_for_one",
        children=(),
        max_restarts=3,
        period=5.0,
        max_children=None,
        auto_shutdown="never",
        on_exhausted="escalate",
    )


def test_attributes_of_the_class_are_the_actors_own_defaults() -> None:
    options = Options.of(Tuned())

    assert ("tuned", "transient", None, (0, 3)) == (
        options.name,
        options.restart,
        options.shutdown,
        options.expected_exits,
    )


def test_methods_and_properties_of_the_class_are_no_options() -> None:
    options = Options.of(Tuned())

    assert ((), Backoff()) == (options.after, options.backoff)


def test_options_of_a_call_win_over_the_class() -> None:
    assert "permanent" == child(Tuned(), restart="permanent").options.restart
    assert "temporary" == child(Quiet()).options.restart


def test_an_unknown_option_names_the_closest_and_lists_all() -> None:
    with pytest.raises(SpecError, match=r"no option 'restarts'; did you mean 'restart'\?") as caught:
        child(Worker(), restarts=1, zzz=2)

    assert 2 == len(caught.value.problems)
    assert all(name in caught.value.problems[1] for name in OPTION_NAMES)
    assert "did you mean" not in caught.value.problems[1]
    assert "(options:" not in caught.value.problems[0]


@pytest.mark.parametrize("name", ["memory_limit", "max_memory", "memory"])
def test_who_limits_the_memory_is_told_of_the_limit_that_kills(name: str) -> None:
    with pytest.raises(SpecError, match=f"no option '{name}'; did you mean 'memory_hard'"):
        child(Worker(), **{name: 1})


@pytest.mark.parametrize(
    ("owner", "name", "text"),
    [
        (Supervisor, "max_restart", "Supervisor has no option 'max_restart'; did you mean 'max_restarts'?"),
        (Supervisor, "backoff", "it belongs to a child: child(actor, backoff=...)"),
        (Supervisor, "zzz", "Supervisor has no option 'zzz' (options: name, strategy, "),
        (ActorSystem, "crash_dir", "ActorSystem has no option 'crash_dir'; did you mean 'crash_directory'?"),
        (ActorSystem, "max_restarts", "it belongs to the supervisor: Supervisor(name, max_restarts=...)"),
        (ActorSystem, "memory_hard", "'memory_hard' is no option of ActorSystem; it belongs to a child: child("),
    ],
)
def test_a_supervisor_and_a_system_say_which_option_was_meant(owner: Any, name: str, text: str) -> None:
    with pytest.raises(SpecError, match=re.escape(text)):
        owner(**{name: 1})


def test_all_keywords_that_are_wrong_are_told_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        Supervisor("x", strategie="one_for_all", perod=5.0)  # type: ignore[call-arg]

    assert 2 == len(caught.value.problems)


def test_a_class_is_refused_where_it_is_given() -> None:
    with pytest.raises(SpecError, match=r"child\(\) takes an actor, and Worker is a class; write Worker\(\.\.\.\)"):
        child(Worker)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("max_restarts", r"the supervisor: Supervisor\(name, max_restarts=...\)"),
        ("strategy", r"the supervisor: Supervisor\(name, strategy=...\)"),
        ("stable_after", r"backoff=Backoff\(stable_after=...\)"),
        ("age", r"recycle=Recycle\(age=...\)"),
        ("crash_directory", r"the system: ActorSystem\(tree, crash_directory=...\)"),
        ("timeout", r"whoever asks: ref.options\(timeout=...\)"),
    ],
)
def test_an_option_of_something_else_says_where_it_belongs(name: str, place: str) -> None:
    with pytest.raises(SpecError, match=f"'{name}' is no option of a child; it belongs to {place}$"):
        child(Worker(), **{name: 1})


def test_every_option_of_a_system_is_known_as_one() -> None:
    options = set(inspect.signature(ActorSystem).parameters) - {"tree"}

    assert options == _OF_THE_SYSTEM


@pytest.mark.parametrize("item", [Supervisor("s"), Child(Worker(), Options())], ids=["supervisor", "child"])
def test_only_an_actor_can_be_given_options(item: object) -> None:
    with pytest.raises(SpecError, match="as it is"):
        child(item)


def test_specs_are_frozen() -> None:
    tree = Supervisor("app", children=[Worker()])

    assert isinstance(tree.children, tuple)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        tree.name = "other"  # type: ignore[misc]


def test_unnamed_children_are_called_by_their_class_with_a_suffix_where_that_is_taken() -> None:
    children = (Worker(), child(Worker(), name="worker-2"), Worker(), child(Quiet()), Supervisor("sub"))
    named = named_children(Supervisor("app", children=children))

    assert ["worker", "worker-2", "worker-3", "tuned", "sub"] == list(named)


def test_given_names_come_first() -> None:
    children = (child(Worker()), child(Worker(), name="worker"))

    assert ("worker-2", "worker") == child_names(children)


def test_a_name_that_is_free_stays() -> None:
    assert "worker" == default_name(Worker())
    assert "x" == free_name("x", ())
    assert "x-3" == free_name("x", ("x", "x-2"))


# ---------------------------------------------------------------- checking


def test_a_good_tree_passes() -> None:
    tree = Supervisor(
        "app",
        strategy="rest_for_one",
        auto_shutdown="any_significant",
        max_children=3,
        on_exhausted=print,
        children=[
            child(Worker(), name="db", backoff=Backoff(initial=0), recycle=Recycle(messages=10, age=60.0)),
            child(
                Worker(),
                name="job",
                restart="transient",
                significant=True,
                after=["db"],
                memory_soft=10,
                memory_hard=20,
            ),
            Supervisor(
                "readers", children=(Worker(), child(Worker(), restart="temporary", backoff=Backoff(initial=9)))
            ),
        ],
    )

    check(tree, is_actor=lambda thing: isinstance(thing, Worker))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"restart": "always"}, "restart='always' must be one of 'permanent', 'transient', 'temporary'"),
        ({"restart": []}, "restart=[] must be one of"),
        ({"on_full": "drop"}, "on_full='drop' must be one of 'block', 'reject', 'drop_newest', 'drop_oldest'"),
        ({"shutdown": -1}, "shutdown=-1 must be a finite number of at least 0, or None"),
        ({"shutdown": True}, "shutdown=True must be"),
        ({"shutdown": "5"}, "shutdown='5' must be"),
        ({"term_grace": None}, "term_grace=None must be a finite number of at least 0"),
        ({"term_grace": math.nan}, "term_grace=nan must be"),
        ({"start_timeout": math.inf}, "start_timeout=inf must be"),
        ({"start_timeout": 0}, "start_timeout=0 must be a finite number above 0"),
        ({"handler_timeout": 0.0}, "handler_timeout=0.0 must be a finite number above 0, or None"),
        ({"hang_grace": -0.1}, "hang_grace=-0.1"),
        ({"cancel_grace": -0.1}, "cancel_grace=-0.1 must be a finite number of at least 0, or None"),
        ({"cancel_grace": False}, "cancel_grace=False"),
        ({"max_start_failures": 0}, "max_start_failures=0 must be a whole number of at least 1, or None"),
        ({"max_start_failures": True}, "max_start_failures=True"),
        ({"max_same_crashes": 0}, "max_same_crashes=0 must be a whole number of at least 1, or None"),
        ({"max_same_crashes": 2.0}, "max_same_crashes=2.0"),
        ({"send_timeout": -1}, "send_timeout=-1"),
        ({"redeliver": 1.0}, "redeliver=1.0 must be a whole number of at least 0"),
        ({"max_open_asks": 0}, "max_open_asks=0"),
        ({"mailbox_bytes": 100}, "mailbox_bytes=100 must be a whole number of at least 4096"),
        ({"mailbox_messages": 0}, "mailbox_messages=0"),
        ({"memory_soft": -1}, "memory_soft=-1"),
        ({"memory_soft": 3, "memory_hard": 2}, "memory_soft=3 is above memory_hard=2"),
        ({"expected_exits": "0"}, "expected_exits='0' must be a tuple of exit codes from -64 to 255"),
        ({"expected_exits": (256,)}, "expected_exits=(256,)"),
        ({"expected_exits": (True,)}, "expected_exits=(True,)"),
        ({"significant": 1}, "significant=1 must be True or False"),
        ({"significant": True}, "significant=True does not go with restart='permanent'"),
        ({"significant": True, "restart": "transient"}, "means nothing under auto_shutdown='never' of app"),
        ({"after": "db"}, "after='db' must be a tuple of names of siblings"),
        ({"after": (1,)}, "after=(1,) must be a tuple of names of siblings"),
        ({"after": ("db",)}, "after names 'db', which is no sibling (siblings: w)"),
        ({"backoff": 1.0}, "backoff=1.0 must be a Backoff(...)"),
        ({"backoff": Backoff(initial=-1)}, "backoff.initial=-1"),
        ({"backoff": Backoff(factor=0.9)}, "backoff.factor=0.9 must be a finite number of at least 1"),
        ({"backoff": Backoff(jitter=1.5)}, "backoff.jitter=1.5 must be a finite number of at least 0 and at most 1"),
        ({"backoff": Backoff(stable_after=-1)}, "backoff.stable_after=-1"),
        ({"backoff": Backoff(initial=2, maximum=1)}, "backoff.initial=2 is above backoff.maximum=1"),
        ({"backoff": Backoff(initial=0.8)}, "3 restarts never fit into the period of 5 s of app"),
        ({"recycle": 5}, "recycle=5 must be a Recycle(...)"),
        ({"recycle": Recycle()}, "recycle has no limit; give messages, age or rss, or leave it out"),
        ({"recycle": Recycle(messages=0)}, "recycle.messages=0"),
        ({"recycle": Recycle(messages=True)}, "recycle.messages=True"),
        ({"recycle": Recycle(age=math.nan)}, "recycle.age=nan"),
        ({"recycle": Recycle(age=0)}, "recycle.age=0"),
        ({"recycle": Recycle(rss=1.5)}, "recycle.rss=1.5"),  # type: ignore[arg-type]
        ({"recycle": Recycle(age=1.0, jitter=2)}, "recycle.jitter=2"),
    ],
    ids=str,
)
def test_a_broken_option_is_named_with_its_place_value_and_rule(options: dict[str, object], text: str) -> None:
    problem = one_problem(**options)

    assert problem.startswith(("/app/w: ", "/app: "))
    assert text in problem


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"strategy": "all"}, "strategy='all' must be one of 'one_for_one', 'one_for_all', 'rest_for_one'"),
        ({"auto_shutdown": "any"}, "auto_shutdown='any' must be one of 'never', 'any_significant', 'all_significant'"),
        ({"on_exhausted": "retry"}, "must be one of 'escalate', 'shutdown', 'park', a Park(...) or a callable"),
        ({"on_exhausted": Park}, "on_exhausted=Park is a class; write Park(...)"),
        ({"on_exhausted": Park(0)}, "on_exhausted.retry_after=0 must be a finite number above 0, or None"),
        ({"on_exhausted": Park(-1.0)}, "on_exhausted.retry_after=-1.0"),
        ({"on_exhausted": Park(math.nan)}, "on_exhausted.retry_after=nan"),
        ({"on_exhausted": Park(True)}, "on_exhausted.retry_after=True"),
        ({"on_exhausted": Park("60")}, "on_exhausted.retry_after='60'"),  # type: ignore[arg-type]
        ({"max_restarts": -1}, "max_restarts=-1"),
        ({"max_restarts": 1_000_000}, "max_restarts=1000000"),
        ({"max_restarts": 1.0}, "max_restarts=1.0 must be a whole number"),
        ({"period": 0}, "period=0 must be a finite number above 0"),
        ({"max_children": True}, "max_children=True"),
        ({"max_children": 0}, "1 children are more than max_children=0"),
        ({"children": 5}, "children must be a tuple or a list, not int"),
    ],
    ids=str,
)
def test_a_broken_supervisor_is_named_with_its_place_value_and_rule(fields: dict[str, Any], text: str) -> None:
    (problem,) = problems(Supervisor("app", **{"children": (Worker(),), **fields}))

    assert problem.startswith("/app: ")
    assert text in problem


@pytest.mark.parametrize("name", ["", "a/b", "x" * 256, "new\nline", 7, b"x"], ids=repr)
def test_a_name_is_short_and_printable_and_has_no_slash(name: Any) -> None:
    assert any("name=" in p for p in problems(Supervisor(name)))
    assert any("name=" in p for p in problems(Supervisor("app", children=(child(Worker(), name=name),))))


def test_a_supervisor_has_a_name() -> None:
    assert problems(Supervisor(None))  # type: ignore[arg-type]
    assert problems(Supervisor("app", children=(Supervisor(None),)))  # type: ignore[arg-type]


def test_names_are_unique_among_siblings() -> None:
    tree = Supervisor(
        "app",
        children=(child(Worker(), name="a"), Supervisor("a"), Supervisor("b", children=(child(Worker(), name="a"),))),
    )

    assert ("/app: 2 children are named 'a'; names are unique among siblings",) == problems(tree)


def test_a_circle_through_after_is_refused() -> None:
    tree = Supervisor(
        "app", children=(child(Worker(), name="a", after=("b",)), child(Worker(), name="b", after=("a",)), Worker())
    )

    assert ("/app: a, b wait for each other in a circle through after",) == problems(tree)


def test_a_class_is_not_an_actor_and_the_text_says_what_to_write() -> None:
    assert ("/app/worker: Worker is a class; write Worker(...)",) == problems(Supervisor("app", children=(Worker,)))


def test_what_the_predicate_refuses_is_no_actor() -> None:
    assert ("/app/int: int is no actor",) == problems(
        Supervisor("app", children=(5, Worker())), is_actor=lambda thing: isinstance(thing, Worker)
    )


def test_a_tree_is_a_supervisor() -> None:
    assert ("tree: must be a Supervisor(...), not Worker; write Supervisor(name, children=[...])",) == problems(
        Worker()
    )


def test_all_problems_come_at_once() -> None:
    tree = Supervisor(
        "app",
        strategy="none",  # type: ignore[arg-type]
        period=-1,
        children=(child(Worker(), name="a", shutdown=-1, restart="no"), Supervisor("b", max_restarts=-1)),
    )

    assert 5 == len(problems(tree))


def test_every_contradiction_comes_at_once() -> None:
    def one(name: str, **options: object) -> Child:
        return child(Worker(), name=name, **options)

    tree = Supervisor(
        "app",
        children=(
            one("permanent", significant=True),
            one("insignificant", significant=True, restart="transient"),
            one("slow", backoff=Backoff(initial=0.8)),
            one("egg", after=("hen",)),
            one("hen", after=("egg",)),
            one("lost", after=("nobody",)),
            one("negative", shutdown=-1, term_grace=-1, send_timeout=-1),
            one("nan", start_timeout=math.nan),
            one("bool", redeliver=True),
            one("twice"),
            one("twice"),
            one("memory", memory_soft=2, memory_hard=1),
            one("endless", recycle=Recycle()),
            one("impatient", handler_timeout=0),
            one(""),
            one("a/b"),
            Supervisor("", period=-1),
        ),
    )
    found = "\n".join(problems(tree))

    for text in (
        "/app/permanent: significant=True does not go with restart='permanent'",
        "/app/insignificant: significant=True means nothing under auto_shutdown='never'",
        "/app/slow: with this backoff 3 restarts never fit",
        "/app: egg, hen wait for each other in a circle",
        "/app/lost: after names 'nobody', which is no sibling",
        "/app/negative: shutdown=-1",
        "/app/negative: term_grace=-1",
        "/app/negative: send_timeout=-1",
        "/app/nan: start_timeout=nan",
        "/app/bool: redeliver=True",
        "/app: 2 children are named 'twice'",
        "/app/memory: memory_soft=2 is above memory_hard=1",
        "/app/endless: recycle has no limit",
        "/app/impatient: handler_timeout=0 must be a finite number above 0",
        "name='' must be 1 to 255",
        "name='a/b' must be 1 to 255",
        "period=-1",
    ):
        assert text in found


def test_a_backoff_that_many_children_have_is_told_once_with_their_names() -> None:
    slow, slower = Backoff(initial=0.8), Backoff(initial=0.9)
    tree = Supervisor(
        "app",
        children=(
            child(Worker(), name="a", backoff=slow),
            child(Worker(), name="b", backoff=slow),
            child(Worker(), name="c", backoff=slower),
            child(Worker(), name="once", backoff=slow, restart="temporary"),
        ),
    )
    first, second = problems(tree)

    assert first.startswith("/app: with the backoff of a, b, 3 restarts never fit into the period of 5 s of app")
    assert second.startswith("/app/c: with this backoff 3 restarts never fit")


def test_of_very_many_children_some_are_named() -> None:
    children = tuple(child(Worker(), name=f"w{n}", backoff=Backoff(initial=0.8)) for n in range(20))
    (problem,) = problems(Supervisor("app", children=children))

    assert "the backoff of w0, w1, w2, w3, w4, w5, w6, w7 and 12 more, 3 restarts" in problem


@pytest.mark.parametrize(
    "on_exhausted", ["escalate", "shutdown", "park", Park(), Park(60), Park(retry_after=0.5), print]
)
def test_what_giving_up_may_mean(on_exhausted: Any) -> None:
    check(Supervisor("app", on_exhausted=on_exhausted))


def test_a_child_added_at_run_time_keeps_the_same_rules() -> None:
    parent = Supervisor("app")
    check_child(child(Worker(), name="w"), parent, "/app")
    with pytest.raises(SpecError) as caught:
        check_child(
            child(Worker(), name="a/b", shutdown=-1, backoff=Backoff(initial=1)),
            parent,
            "/above/app",
            is_actor=lambda _: False,
        )

    assert 4 == len(caught.value.problems)
    assert all(problem.startswith("/above/app/a/b: ") for problem in caught.value.problems)


def test_a_subtree_added_at_run_time_is_named_by_its_whole_path() -> None:
    with pytest.raises(SpecError, match=r"^/app/readers: max_children=-1 must be"):
        check(Supervisor("readers", max_children=-1), parent="/app")
