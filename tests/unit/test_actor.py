from __future__ import annotations

import copy
import io
import multiprocessing
import multiprocessing.context
import pathlib
import pickle
import re
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from actors._actor import Actor
from actors._handlers import handler
from actors._ref import ActorRef, Down
from actors._snapshot import apply_snapshot, find_class, incarnate, read_snapshot, snapshot
from actors.errors import ArgumentsError, HandlerNotFoundError, ProtocolError, SpecError, StartError
from actors.mailbox import _codec


def double(value: int) -> int:
    return 2 * value


class Counter(Actor):
    restart = "transient"

    def __init__(self, start: int = 0, **more: Any) -> None:
        super().__init__()
        self.start_at = start
        for name, value in more.items():
            setattr(self, name, value)

    def on_start(self) -> None:
        self.total = self.start_at

    @handler
    def add(self, amount: int) -> int:
        self.total += amount
        return self.total

    @handler
    def on_down(self, down: Down) -> None: ...

    def helper(self) -> None: ...


class Fan(Actor):
    """Has no __init__ of its own."""

    class Inner(Actor):
        pass


class Forgetful(Actor):
    def __init__(self) -> None:
        self.start_at = 1


class Sink(Actor):
    @handler
    @abstractmethod
    def put(self, item: int) -> None: ...


class Strict(Actor, ABC):
    @handler
    @abstractmethod
    def put(self, item: int) -> None: ...


class FakeContext:
    """What an actor's process gives it, noting what it is asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.ref = ActorRef[Any]("here", 3, "/app/counter")
        self.parent = None
        self.log = "log"
        self.deadline = 5.0
        self.cancelled = False

    def __getattr__(self, name: str) -> Callable[..., str]:
        def method(*args: Any) -> str:
            self.calls.append((name, *args))
            return name

        return method


class FakeBoot:
    def __init__(self) -> None:
        self.ran: list[Any] = []

    def reduce(self) -> tuple[Any, ...]:
        return (Fan, ())

    def run(self, actor: Any) -> None:
        self.ran.append(actor)


@pytest.fixture
def inside() -> tuple[Counter, FakeContext]:
    actor, context = incarnate(Counter), FakeContext()
    actor._context = context  # type: ignore[assignment]
    return actor, context


# --- snapshots --------------------------------------------------------------------------------------------------------


def test_an_incarnation_has_the_class_and_the_attributes_of_its_spec_and_no_more() -> None:
    spec = Counter(10, label="x", path=pathlib.PurePosixPath("/tmp"), work=double, kind=dict)
    data = snapshot(spec)

    found = read_snapshot(data)
    actor = incarnate(find_class(found.module, found.qualname))
    before = set(vars(actor))
    apply_snapshot(actor, data)

    assert type(actor) is Counter
    assert {name: vars(actor)[name] for name in set(vars(actor)) - before} == {
        "start_at": 10,
        "label": "x",
        "path": pathlib.PurePosixPath("/tmp"),
        "work": double,
        "kind": dict,
    }


def test_handlers_of_an_incarnation_are_the_methods() -> None:
    actor = incarnate(Counter)
    apply_snapshot(actor, snapshot(Counter(10)))
    actor.on_start()

    assert actor.add(1) == 11


def test_the_same_spec_may_be_taken_twice() -> None:
    spec = Counter(10)

    assert snapshot(spec) == snapshot(spec)


def test_classes_inside_classes_are_found() -> None:
    found = read_snapshot(snapshot(Fan.Inner()))

    assert find_class(found.module, found.qualname) is Fan.Inner


@pytest.mark.parametrize("value", [threading.Lock(), lambda: 1, io.StringIO()], ids=lambda value: type(value).__name__)
def test_an_attribute_that_cannot_travel_is_named(value: object) -> None:
    with pytest.raises(SpecError, match="attribute 'held' of Counter cannot travel.*on_start"):
        snapshot(Counter(held=value, fine=1))


def test_all_attributes_that_cannot_travel_are_named() -> None:
    with pytest.raises(SpecError) as caught:
        snapshot(Counter(one=threading.Lock(), two=[threading.Lock()]))
    assert len(caught.value.problems) == 2


def test_a_missing_super_init_is_named() -> None:
    with pytest.raises(SpecError, match=r"Forgetful: its __init__ does not call super\(\).__init__\(\)"):
        snapshot(Forgetful())


@pytest.mark.parametrize("name", ["_name", "_config", "add"])
def test_an_attribute_that_takes_a_name_of_process_or_of_a_handler_is_named(name: str) -> None:
    taken: dict[str, Any] = {name: "mine"}
    with pytest.raises(SpecError, match=f"attribute '{name}' is Process's own or a handler's"):
        snapshot(Counter(**taken))


@pytest.mark.parametrize("option", ["memory_hard", "restart", "after"])
def test_an_option_that_is_set_on_the_object_is_refused(option: str) -> None:
    given: dict[str, Any] = {option: 1}
    with pytest.raises(
        SpecError,
        match=rf"Counter: option '{option}' is set on the object.*the class \({option} = 1\), or give it to child\(\.\.\.\)",
    ):
        snapshot(Counter(**given))


def test_an_object_of_a_class_with_a_name_sets_none() -> None:
    class Named(Actor):
        name = "mine"

        def __init__(self) -> None:
            super().__init__()
            self.name = "other"

    with pytest.raises(SpecError, match="Named: option 'name' is set on the object"):
        snapshot(Named())


@pytest.mark.parametrize(
    "name",
    [
        "log",
        "ref",
        "parent",
        "deadline",
        "cancelled",
        "attempt",
        "pid",
        "ident",
        "exitcode",
        "sentinel",
        "daemon",
        "authkey",
        "name",
        "stop",
        "spawn",
        "run",
        "watch",
        "_inside",
    ],
)
def test_an_attribute_with_a_name_of_the_frameworks_is_refused_in_one_way(name: str) -> None:
    taken: dict[str, Any] = {name: 3}
    with pytest.raises(SpecError, match=f"^Counter: attribute '{name}' cannot be set: .*call yours something else$"):
        snapshot(Counter(**taken))


def test_what_belongs_to_actors_cannot_be_set_in_their_own_process_either(
    inside: tuple[Counter, FakeContext],
) -> None:
    with pytest.raises(SpecError, match="Counter: attribute 'deadline' cannot be set"):
        inside[0].deadline = 3  # type: ignore[misc]


def test_a_process_that_is_an_actor_can_be_called_what_others_like(inside: tuple[Counter, FakeContext]) -> None:
    inside[0].name = "worker of a library"

    assert inside[0].name == "worker of a library"


def test_every_name_that_is_taken_stands_in_the_reference() -> None:
    hooks = {"on_start", "on_stop", "on_failure"}
    _before, _, listed = str(Actor.__doc__).partition("These names are taken")

    # Processes have had `interrupt` since Python 3.14.
    assert {*re.findall(r"``(\w+)``", listed)} == {name for name in dir(Actor) if name[0] != "_"} - hooks | {
        "interrupt"
    }


def test_properties_of_actors_keep_their_docs() -> None:
    assert str(Actor.ref.__doc__).startswith("This actor's own address")
    assert Actor.pid.__doc__ == multiprocessing.Process.pid.__doc__


def test_a_name_set_before_super_init_is_found_out() -> None:
    class Early(Actor):
        def __init__(self) -> None:
            self.name = "mine"
            super().__init__()

    with pytest.raises(SpecError, match=r"name was set before super\(\).__init__"):
        Early()


def test_a_class_made_in_a_function_is_refused() -> None:
    class Local(Actor):
        pass

    with pytest.raises(SpecError, match="made inside a function"):
        snapshot(Local())


def test_an_abstract_handler_is_refused_with_and_without_abc() -> None:
    with pytest.raises(SpecError, match="Sink: put is abstract"):
        snapshot(Sink())  # type: ignore[abstract]
    with pytest.raises(TypeError, match="abstract"):
        Strict()  # type: ignore[abstract]


def test_what_is_started_is_no_spec(inside: tuple[Counter, FakeContext]) -> None:
    with pytest.raises(SpecError, match="started already"):
        snapshot(inside[0])


@pytest.mark.parametrize(
    "data",
    [b"", b"junk", _codec.encode({"module": "m"}), _codec.encode({"module": "m", "qualname": "q", "vars": 1})],
    ids=["nothing", "junk", "a part", "a wrong type"],
)
def test_bytes_that_are_no_snapshot_are_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        read_snapshot(data)


def test_attributes_that_are_no_dict_are_refused() -> None:
    data = _codec.encode({"module": "m", "qualname": "q", "vars": _codec.encode([1])})
    with pytest.raises(ProtocolError, match="no dict"):
        apply_snapshot(incarnate(Counter), data)


def test_reading_a_snapshot_imports_nothing() -> None:
    data = _codec.encode({"module": "tabnanny", "qualname": "Nanny", "vars": b"never looked at"})
    sys.modules.pop("tabnanny", None)

    assert read_snapshot(data).module == "tabnanny"
    with pytest.raises(StartError, match="import its module 'tabnanny' in the host first"):
        find_class("tabnanny", "Nanny")
    assert "tabnanny" not in sys.modules


@pytest.mark.parametrize("qualname", ["Nobody", "double", "Fan.Outer", "Counter.add"])
def test_what_is_no_actor_of_the_module_cannot_be_started(qualname: str) -> None:
    with pytest.raises(StartError, match="has no actor of that name"):
        find_class(__name__, qualname)


# --- what an unstarted actor refuses ----------------------------------------------------------------------------------


def test_calling_a_handler_on_it_says_what_to_do_instead() -> None:
    with pytest.raises(SpecError, match=r"ref.ask\(Counter.add, \.\.\.\)"):
        Counter().add(5)


@pytest.mark.parametrize(
    "use",
    [
        Actor.start,
        Actor.run,
        copy.copy,
        copy.deepcopy,
        pickle.dumps,
        lambda actor: actor.ref,
        lambda actor: actor.parent,
        lambda actor: actor.log,
        lambda actor: actor.deadline,
        lambda actor: actor.cancelled,
        lambda actor: actor.stop(),
        lambda actor: actor.progress(),
        lambda actor: actor.spawn(Counter()),
        lambda actor: actor.watch(ActorRef("here", 1, "/x"), Counter.on_down),
        lambda actor: actor.call_later(1, Counter.add, 1),
        lambda actor: actor.call_every(1, Counter.add, 1),
    ],
    ids=[
        *(
            "start",
            "run",
            "copy",
            "deepcopy",
            "pickle",
            "ref",
            "parent",
            "log",
            "deadline",
            "cancelled",
            "stop",
            "progress",
        ),
        *("spawn", "watch", "call_later", "call_every"),
    ],
)
def test_it_can_be_spawned_and_nothing_else(use: Callable[[Any], object]) -> None:
    with pytest.raises(SpecError, match="spawn|send its ref"):
        use(Counter())


def test_its_text_says_what_it_is(inside: tuple[Counter, FakeContext]) -> None:
    starting = incarnate(Counter)
    starting._boot = FakeBoot()

    assert repr(Counter()) == "<Counter, not started>"
    assert repr(starting) == "<Counter, starting>"
    assert repr(inside[0]) == "<Counter /app/counter>"


# --- being started ----------------------------------------------------------------------------------------------------


def test_an_incarnation_knows_what_started_it() -> None:
    actor = incarnate(Counter, name="/app/counter", parent_name="MainProcess", parent_pid=4711)

    assert actor.name == "/app/counter"
    assert not actor.daemon
    assert (actor._parent_name, actor._parent_pid) == ("MainProcess", 4711)  # type: ignore[attr-defined]


def test_run_is_its_boots() -> None:
    actor, boot = incarnate(Counter), FakeBoot()
    actor._boot = boot
    actor.run()

    assert boot.ran == [actor]


def test_it_pickles_only_while_multiprocessing_starts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    actor = incarnate(Counter)
    actor._boot = FakeBoot()
    with pytest.raises(SpecError, match="neither copied nor pickled"):
        pickle.dumps(actor)

    multiprocessing.context.set_spawning_popen(object())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    try:
        data = pickle.dumps(actor)
        with pytest.raises(SpecError):
            pickle.dumps(Counter())
    finally:
        multiprocessing.context.set_spawning_popen(None)
    assert isinstance(pickle.loads(data), Fan)


def test_it_is_a_process() -> None:
    assert isinstance(Counter(), multiprocessing.Process)


# --- inside -----------------------------------------------------------------------------------------------------------


def test_what_it_knows_is_its_contexts(inside: tuple[Counter, FakeContext]) -> None:
    actor, context = inside

    assert (actor.ref, actor.parent, actor.log, actor.deadline, actor.cancelled) == (
        context.ref,
        None,
        "log",
        5.0,
        False,
    )


def test_what_it_does_is_its_contexts_with_handlers_by_name(inside: tuple[Counter, FakeContext]) -> None:
    actor, context = inside
    other, spec = ActorRef[Any]("here", 4, "/app/other"), Fan()
    actor.spawn(spec, name="fan", restart="temporary")
    actor.watch(other, Counter.on_down)
    actor.call_later(1.5, Counter.add, 3)
    actor.call_every(2, Counter.add, amount=3)
    actor.stop()
    actor.progress()

    assert context.calls == [
        ("spawn", spec, "fan", {"restart": "temporary"}),
        ("watch", other, "on_down"),
        ("call_later", 1.5, "add", (3,), {}),
        ("call_every", 2, "add", (), {"amount": 3}),
        ("stop",),
        ("progress",),
    ]


def test_a_handler_may_be_named_through_self(inside: tuple[Counter, FakeContext]) -> None:
    actor, context = inside
    actor.call_later(1, actor.add, 3)  # type: ignore[arg-type, call-arg]

    assert context.calls == [("call_later", 1, "add", (3,), {})]


@pytest.mark.parametrize(
    ("use", "error", "text"),
    [
        (lambda actor: actor.call_later(1, Counter.add), ArgumentsError, "missing a required argument"),
        (lambda actor: actor.call_later(1, Counter.helper), HandlerNotFoundError, "no handler"),
        (lambda actor: actor.call_later(-1, Counter.add, 1), SpecError, "delay=-1"),
        (lambda actor: actor.call_later(float("nan"), Counter.add, 1), SpecError, "delay=nan"),
        (lambda actor: actor.call_every(0, Counter.add, 1), SpecError, "period=0: must be above 0"),
        (lambda actor: actor.call_every(True, Counter.add, 1), SpecError, "period=True"),
        (lambda actor: actor.watch(ActorRef("here", 1, "/x"), "gone"), HandlerNotFoundError, "no handler 'gone'"),
    ],
    ids=["arguments", "no handler", "negative delay", "no delay", "no period", "a bool", "unknown name"],
)
def test_a_call_to_itself_that_cannot_be_is_refused_at_once(
    inside: tuple[Counter, FakeContext], use: Callable[[Any], object], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        use(inside[0])
    assert inside[1].calls == []


def test_hooks_do_nothing_and_a_failure_crashes_unless_overridden() -> None:
    actor = incarnate(Fan)
    actor.on_start()
    actor.on_stop(None)  # type: ignore[arg-type]

    assert actor.on_failure(ValueError()) == "crash"


def test_a_generator_handler_can_be_a_handler_of_an_actor() -> None:
    class Source(Actor):
        @handler
        def items(self) -> Iterator[int]:
            yield 1

    assert Source._handlers["items"].kind == "generator"
