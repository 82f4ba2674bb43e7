from __future__ import annotations

import copy
import math
import os
import pickle
from collections.abc import Iterator
from typing import Any, cast

import pytest

from actors import _seams
from actors._actor import Actor
from actors._handlers import handler, info_of
from actors._ref import ActorRef, Down, handler_name
from actors._seams import find_node, register_node, unregister_node
from actors.errors import (
    ActorNotRunningError,
    ActorsError,
    ArgumentsError,
    HandlerNotFoundError,
    ProtocolError,
    SpecError,
)
from actors.mailbox import _codec


class Counter(Actor):
    @handler
    def add(self, amount: int) -> int:
        return amount

    @handler
    def items(self) -> Iterator[int]:
        yield 1

    def helper(self) -> None: ...


def test_calling_a_handler_on_a_ref_says_how_messages_are_sent() -> None:
    ref: Any = ActorRef("here", 1, "/app/counter")
    with pytest.raises(
        AttributeError, match=r"'add'.*/app/counter lives in another process.*ref\.ask\(Class\.add, \.\.\.\)"
    ):
        ref.add(1)
    assert not hasattr(ref, "__getstate_of_nobody__")
    assert copy.deepcopy(ref) == ref


class FakeNode:
    """Notes what it is asked, and answers with the name of the question."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        def method(*args: Any) -> str:
            self.calls.append((name, *args))
            return name

        return method


@pytest.fixture
def node() -> Iterator[FakeNode]:
    fake = FakeNode()
    register_node("here", cast("Any", fake))
    yield fake
    unregister_node("here")


@pytest.fixture
def ref() -> ActorRef[Counter]:
    return ActorRef("here", 3, "/app/counter")


# --- sending ----------------------------------------------------------------------------------------------------------


def test_tell_hands_the_name_and_the_arguments_to_the_node(node: FakeNode, ref: ActorRef[Counter]) -> None:
    ref.tell(Counter.add, 5)
    ref.tell(Counter.add, amount=5)
    ref.tell("anything", 1, b=2)

    assert node.calls == [
        ("tell", ref, "add", (5,), {}, info_of(Counter.add)),
        ("tell", ref, "add", (), {"amount": 5}, info_of(Counter.add)),
        ("tell", ref, "anything", (1,), {"b": 2}),
    ]


def test_ask_and_stream_do_the_same(node: FakeNode, ref: ActorRef[Counter]) -> None:
    answers: list[object] = [ref.ask(Counter.add, 5), ref.ask("add", 5), ref.stream(Counter.items), ref.stream("items")]

    assert answers == ["ask", "ask", "stream", "stream"]
    assert [call[2] for call in node.calls] == ["add", "add", "items", "items"]


def test_everything_else_is_the_nodes_too(node: FakeNode, ref: ActorRef[Counter]) -> None:
    ref.flush()
    ref.stop()
    ref.stop(drain=True)

    answers: list[object] = [ref.is_alive(), ref.incarnation, ref.statistics()]

    assert answers == ["is_alive", "incarnation", "statistics"]
    assert node.calls == [
        ("flush", ref),
        ("stop", ref, False),
        ("stop", ref, True),
        ("is_alive", ref),
        ("incarnation", ref),
        ("statistics", ref),
    ]


def test_the_node_sees_the_options_of_the_ref(node: FakeNode, ref: ActorRef[Counter]) -> None:
    ref.options(timeout=2.0, on_full="reject").tell(Counter.add, 1)

    assert node.calls[0][1].timeout == 2.0
    assert node.calls[0][1].on_full == "reject"


@pytest.mark.parametrize("args", [(), (1, 2)], ids=["too few", "too many"])
@pytest.mark.parametrize("method", ["tell", "ask"])
def test_arguments_that_do_not_fit_are_refused_before_anything_is_sent(
    node: FakeNode, ref: ActorRef[Counter], method: str, args: tuple[int, ...]
) -> None:
    with pytest.raises(ArgumentsError, match="Counter.add"):
        getattr(ref, method)(Counter.add, *args)
    assert node.calls == []


def test_a_generator_is_not_asked_and_an_answer_not_streamed(node: FakeNode, ref: ActorRef[Counter]) -> None:
    with pytest.raises(ArgumentsError, match="ref.stream"):
        ref.ask(Counter.items)
    with pytest.raises(ArgumentsError, match="ref.ask"):
        ref.stream(Counter.add, 1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    assert node.calls == []


@pytest.mark.parametrize("method", ["tell", "ask", "stream"])
def test_a_method_that_is_not_marked_is_refused(node: FakeNode, ref: ActorRef[Counter], method: str) -> None:
    with pytest.raises(HandlerNotFoundError, match="Counter.helper is no handler: mark the method"):
        getattr(ref, method)(Counter.helper)
    assert node.calls == []


@pytest.mark.parametrize("message", [5, None, b"add"], ids=repr)
def test_what_is_neither_a_handler_nor_a_name_is_refused(node: FakeNode, ref: ActorRef[Counter], message: Any) -> None:
    with pytest.raises(
        SpecError, match="a message is a method marked @handler.*the handler itself, and not a call of it: ref.ask"
    ):
        ref.tell(message)
    assert node.calls == []


def test_a_handlers_name_is_that_of_the_method_or_the_text() -> None:
    assert [handler_name(Counter.add), handler_name("add")] == ["add", "add"]


# --- the value --------------------------------------------------------------------------------------------------------


def test_a_ref_is_its_system_and_number_whatever_its_path_and_options() -> None:
    first = ActorRef[Any]("here", 3, "/a")

    assert first == ActorRef("here", 3, "/b").options(timeout=1.0)
    assert hash(first) == hash(first.options(on_full="reject"))
    assert first != ActorRef("here", 4, "/a")
    assert first != ActorRef("there", 3, "/a")


def test_a_ref_is_frozen(ref: ActorRef[Counter]) -> None:
    with pytest.raises(AttributeError):
        ref.uid = 5  # type: ignore[misc]


def test_a_ref_crosses_processes_without_its_options(ref: ActorRef[Counter]) -> None:
    back = _codec.decode(_codec.encode(ref.options(timeout=1.0)))

    assert back == ref
    assert isinstance(back, ActorRef)
    assert (back.path, back.timeout) == ("/app/counter", None)


def test_bytes_that_claim_to_be_a_ref_are_checked() -> None:
    good = _codec.encode(ActorRef("here", 3, "/app/counter"))
    bad = good.replace(b"\x03", b"\x00")

    assert bad != good
    with pytest.raises(ProtocolError):
        _codec.decode(bad)


def test_a_ref_can_be_copied_and_pickled(ref: ActorRef[Counter]) -> None:
    assert copy.deepcopy(ref) == ref
    assert pickle.loads(pickle.dumps(ref)).path == ref.path


def test_the_text_of_a_ref_names_the_actor(ref: ActorRef[Counter]) -> None:
    assert repr(ref) == "<ActorRef /app/counter uid=3>"
    assert "/app/counter" in repr(Down(ref, 1, "normal"))


# --- options ----------------------------------------------------------------------------------------------------------


def test_options_are_added_to_those_given_before(ref: ActorRef[Counter]) -> None:
    changed = ref.options(timeout=1.0, on_full="drop_newest").options(send_timeout=math.inf, timeout=None)

    assert (changed.timeout, changed.on_full, changed.send_timeout) == (None, "drop_newest", math.inf)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"timeout": -1}, "timeout=-1: must be None or seconds"),
        ({"timeout": math.nan}, "timeout=nan"),
        ({"timeout": True}, "timeout=True"),
        ({"send_timeout": "5"}, "send_timeout='5'"),
        ({"on_full": "rejet"}, "did you mean 'reject'"),
        ({"on_full": "drop_oldest"}, "the receiver's to choose"),
        ({"on_full": 7}, "must be one of 'block', 'reject', 'drop_newest'"),
    ],
    ids=str,
)
def test_an_option_that_cannot_be_is_refused(ref: ActorRef[Counter], options: dict[str, Any], text: str) -> None:
    with pytest.raises(SpecError, match=text):
        ref.options(**options)


def test_all_problems_of_options_are_told_at_once(ref: ActorRef[Counter]) -> None:
    with pytest.raises(SpecError) as caught:
        ref.options(timeout=-1, send_timeout=-1)
    assert len(caught.value.problems) == 2


# --- nodes ------------------------------------------------------------------------------------------------------------


def test_a_ref_of_another_system_says_whose_it_is(node: FakeNode) -> None:
    with pytest.raises(SpecError, match="/x/y belongs to system 'other'.*here is: 'here'"):
        ActorRef[Any]("other", 1, "/x/y").tell("put")


def test_a_ref_of_a_system_that_has_stopped_says_so(node: FakeNode, ref: ActorRef[Counter]) -> None:
    unregister_node("here")

    with pytest.raises(ActorNotRunningError, match="system 'here' has stopped") as caught:
        ref.ask(Counter.add, 1)
    assert caught.value.target == "/app/counter"
    assert not caught.value.may_have_run


def test_a_system_that_is_registered_again_is_there_again(node: FakeNode) -> None:
    unregister_node("here")
    unregister_node("here")
    register_node("here", cast("Any", node))

    assert find_node("here") is node


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_in_a_fork_every_use_says_which_process_the_system_belongs_to(node: FakeNode, ref: ActorRef[Counter]) -> None:
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            ref.tell(Counter.add, 1)
            text = "no error"
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
        os.write(write_fd, text.encode())
        os._exit(0)
    os.close(write_fd)
    with open(read_fd) as stream:
        text = stream.read()
    os.waitpid(pid, 0)

    assert text.startswith(f"{ActorsError.__name__}: system 'here' belongs to process {os.getpid()}")
    assert node.calls == []


def test_a_process_that_was_forked_may_take_part_again(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_seams, "nodes", {})
    monkeypatch.setitem(_seams._forked, "here", 1)
    with pytest.raises(ActorsError, match="process 1"):
        find_node("here")

    register_node("here", cast("Any", node))
    assert find_node("here") is node
