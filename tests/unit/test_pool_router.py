"""How one process finds a worker for each message: by a node, workers and a host that exist only here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest

from actors import Actor, ActorNotRunningError, ActorRef, DeadlockError, MailboxFullError, PoolRef, SpecError, handler
from actors._handlers import HandlerInfo
from actors._pool_loads import Loads
from actors._pool_order import MovingError
from actors._pool_router import Router, Routers
from actors._pool_table import Table
from actors.supervisor._slots import SLOTS

SYSTEM = "made-up"


class Worker(Actor):
    @handler
    def work(self, key: str, number: int = 0) -> None: ...

    @handler
    def by_default(self, number: int, key: str = "a") -> None: ...

    @handler
    def by_name(self, *numbers: int, key: str = "a") -> None: ...

    @handler
    def keyless(self, number: int) -> None: ...


WORK: HandlerInfo = Worker._handlers["work"]


def fields(*uids: int, version: int = 1, routing: str = "round_robin", key: str | None = None, **more: Any) -> Any:
    """A version of pool 7 with these workers; with keys, each of them has every so-manyth slot."""
    slots = bytes(slot % len(uids) for slot in range(SLOTS)) if routing == "key_hash" and uids else b""
    members = [(uid, f"/pool/{uid}") for uid in uids]
    return (7, version, "/pool", routing, key, members, slots, more.get("on_full", "block"), 5.0, more.get("gone", ""))


class Answer:
    """A reply that may be done already."""

    def __init__(self, *, done: bool = False) -> None:
        self.is_done = done
        self.listeners: list[Any] = []

    def done(self) -> bool:
        return self.is_done

    def cancelled(self) -> bool:
        return False

    def exception(self, _timeout: float) -> None:
        return None

    def listen(self, listener: Any) -> None:
        self.listeners.append(listener)

    def end(self) -> None:
        self.is_done = True
        for listener in self.listeners:
            listener.reply_done()


@attrs.define
class World:
    """Node and source: what was sent to whom, what was said and asked, and what is to be done later."""

    sent: list[int] = attrs.Factory(list)
    timeouts: list[float | None] = attrs.Factory(list)
    dead: set[int] = attrs.Factory(set)
    self_uid: int = 0
    answered: bool = False
    full: set[int] = attrs.Factory(set)
    here: dict[int, Any] = attrs.Factory(dict)
    unsent: set[int] = attrs.Factory(set)
    overflows: list[int] = attrs.Factory(list)
    left: list[tuple[int, int]] = attrs.Factory(list)
    later: list[Callable[[], object]] = attrs.Factory(list)
    found: int = 0
    at_send: Callable[[], object] = lambda: None
    barriers: list[Answer] = attrs.Factory(list)
    marker_done: bool = False

    def tell(self, ref: ActorRef[Any], _name: str, _args: object, _kwargs: object, _info: object) -> None:
        self._send(ref)

    def ask(self, ref: ActorRef[Any], _name: str, _args: object, _kwargs: object) -> Answer:
        if ref.uid == self.self_uid:
            raise DeadlockError("itself", target=ref.path)
        self._send(ref)
        return Answer(done=self.answered)

    def _send(self, ref: ActorRef[Any]) -> None:
        action, self.at_send = self.at_send, lambda: None
        action()
        if ref.uid in self.dead:
            raise ActorNotRunningError("gone", target=ref.path)
        if ref.uid in self.full:
            raise MailboxFullError("full", target=ref.path)
        self.sent.append(ref.uid)
        self.timeouts.append(ref.timeout)

    def barrier(self, _ref: ActorRef[Any]) -> Answer:
        self.barriers.append(Answer(done=self.marker_done))
        return self.barriers[-1]

    def has_left(self, uids: set[int]) -> bool:
        return not uids & self.unsent

    def note_overflow(self, uid: int, _path: str, _name: str) -> None:
        self.overflows.append(uid)

    def find_pool(self, number: int) -> Any:
        self.found += 1
        return self.here.get(number)

    def pool_left(self, number: int, version: int) -> None:
        self.left.append((number, version))

    def wait_reply(self, reply: Answer, _seconds: float) -> None:
        reply.is_done = False

    def look_later(self, _seconds: float, action: Callable[[], object]) -> None:
        self.later.append(action)

    def look(self) -> None:
        actions, self.later = self.later, []
        for action in actions:
            action()


REF: PoolRef[Any] = PoolRef(SYSTEM, 7, "/pool")


def make(*uids: int, **options: Any) -> tuple[Router, World]:
    world = World()
    world.here[7] = fields(*uids, **options)
    router = Router(world, world, SYSTEM, Table.of(SYSTEM, world.here[7]))  # type: ignore[arg-type]
    return router, world


def tell(router: Router, count: int = 1, ref: PoolRef[Any] = REF, key: str = "k") -> None:
    for _ in range(count):
        router.tell(ref, "work", (key,), {}, WORK)


def ask(router: Router, world: World, ref: PoolRef[Any] = REF, key: str = "k") -> Any:
    return router.ask(ref, "work", (key,), {}, WORK, world.ask)


def update(router: Router, world: World, *uids: int, **options: Any) -> None:
    world.here[7] = fields(*uids, **options)
    router.take(Table.of(SYSTEM, world.here[7]))


# --- in turn ----------------------------------------------------------------------------------------------------------------


def test_workers_are_taken_in_turn_whatever_the_options() -> None:
    router, world = make(1, 2, 3)
    tell(router, 3)
    tell(router, 3, REF.options(timeout=2.0))

    assert sorted(world.sent[:3]) == sorted(world.sent[3:]) == [1, 2, 3]
    assert world.timeouts == [None] * 3 + [2.0] * 3


def test_a_worker_that_has_left_is_passed_over_by_a_sender_that_has_not_heard_of_it() -> None:
    router, world = make(1, 2, 3)
    world.dead = {2}
    tell(router, 6)
    for _ in range(6):
        ask(router, world)

    assert len(world.sent) == 12
    assert set(world.sent) == {1, 3}


def test_who_is_told_by_nobody_of_a_resize_asks_when_all_it_knows_are_gone() -> None:
    router, world = make(1, 2)
    world.dead = {1, 2}
    world.here[7] = fields(3, 4, version=5)
    tell(router, 2)

    assert sorted(world.sent) == [3, 4]
    assert router.table.version == 5
    assert world.found == 1


def test_where_the_host_knows_no_better_the_last_error_is_raised() -> None:
    router, world = make(1, 2)
    world.dead = {1, 2}
    with pytest.raises(ActorNotRunningError, match="gone"):
        tell(router)
    with pytest.raises(ActorNotRunningError, match="gone"):
        ask(router, world)
    with pytest.raises(ActorNotRunningError, match="gone"):
        router.each(REF, lambda member: world.ask(member, "work", (), {}))

    assert router.table.active == []


def test_a_worker_asks_the_others_and_only_itself_where_it_is_alone() -> None:
    router, world = make(1, 2)
    world.self_uid = 1
    for _ in range(4):
        ask(router, world)
    assert world.sent == [2] * 4

    router, world = make(1)
    world.self_uid = 1
    with pytest.raises(DeadlockError):
        ask(router, world)


def test_a_full_inbox_is_an_error_and_no_reason_to_go_elsewhere() -> None:
    router, world = make(1, 2)
    world.full = {1, 2}
    with pytest.raises(MailboxFullError):
        tell(router)
    with pytest.raises(MailboxFullError):
        ask(router, world)
    assert world.found == 0


# --- nobody there -----------------------------------------------------------------------------------------------------------


def test_a_pool_whose_every_worker_is_parked_says_so_until_one_is_back() -> None:
    router, world = make(version=3)
    for send in (lambda: tell(router), lambda: ask(router, world), lambda: router.each(REF, lambda _member: None)):
        with pytest.raises(ActorNotRunningError, match="none of its workers runs: they are parked"):
            send()

    world.here[7] = fields(2, version=4)
    tell(router)
    assert world.sent == [2]


def test_a_pool_that_is_gone_says_so_and_is_not_asked_for_again() -> None:
    router, world = make(1)
    world.dead = {1}
    del world.here[7]
    with pytest.raises(ActorNotRunningError, match="it is gone"):
        tell(router)
    found = world.found
    with pytest.raises(ActorNotRunningError, match="it is gone"):
        tell(router)
    assert world.found == found
    assert router.table.gone


# --- all of them ------------------------------------------------------------------------------------------------------------


def test_everybody_is_told_but_those_that_are_parked_and_who_has_just_left() -> None:
    router, world = make(1, 2, 3)
    update(router, world, 1, 3, version=2)  # 2 is parked
    world.dead = {3}

    assert router.each(REF, lambda member: world.ask(member, "work", (), {})) != []
    assert world.sent == [1]


def test_a_full_inbox_ends_a_broadcast_with_the_rest_untold() -> None:
    router, world = make(1, 2, 3)
    world.full = {2}
    with pytest.raises(MailboxFullError):
        router.each(REF, lambda member: world.tell(member, "work", (), {}, None))
    assert world.sent == [1]
    assert router.table.active == []


# --- while the table changes ------------------------------------------------------------------------------------------------


class Entering(list[None]):
    """The entries of sends under way; the first one lets the table change."""

    def __init__(self, change: Callable[[], object]) -> None:
        super().__init__()
        self.change: Callable[[], object] | None = change

    def append(self, entry: None) -> None:
        super().append(entry)
        change, self.change = self.change, None
        if change is not None:
            change()


@pytest.mark.parametrize("routing", ["round_robin", "least_busy", "key_hash"])
def test_a_send_that_begins_as_the_table_changes_goes_by_the_new_one(routing: str) -> None:
    for send in (
        lambda router, _world: tell(router),
        ask,
        lambda router, world: router.each(REF, lambda member: world.tell(member, "work", (), {}, None)),
    ):
        router, world = make(1, routing=routing, key="key" if routing == "key_hash" else None)
        router.table.active = Entering(
            lambda router=router, world=world: update(  # type: ignore[misc]
                router, world, 2, version=2, routing=routing, key=router.table.key
            )
        )
        send(router, world)
        assert world.sent == [2]


def test_the_short_way_of_a_key_goes_by_the_new_table_too() -> None:
    router, world = make(1, routing="key_hash", key="key")
    tell(router, 2)
    world.marker_done = True
    router.table.active = Entering(lambda: update(router, world, 2, version=2, routing="key_hash", key="key"))
    tell(router)

    assert world.sent == [1, 1, 2]


def test_a_worker_that_leaves_while_it_is_sent_to_is_replaced_by_one_of_the_table_that_says_so() -> None:
    router, world = make(1)
    world.dead = {1}
    world.at_send = lambda: update(router, world, 2, version=2)
    ask(router, world)

    assert world.sent == [2]
    assert world.found == 0


def test_older_tables_change_nothing() -> None:
    router, world = make(1, version=5)
    update(router, world, 2, version=4)
    update(router, world, 3, version=5)

    assert [member.uid for member in router.table.members] == [1]
    assert world.left == []


def test_those_that_leave_are_let_go_when_the_sends_of_older_tables_are_over_and_written() -> None:
    router, world = make(1, 2, 3)
    world.unsent = {2}
    world.at_send = lambda: update(router, world, 1, 3, version=2)
    tell(router)
    assert world.left == []
    world.look()
    assert world.left == []
    world.unsent = set()
    world.look()

    assert world.left == [(7, 2)]
    update(router, world, 1, version=3)
    assert world.left == [(7, 2), (7, 3)]
    assert world.later == []


def test_letting_go_waits_for_a_send_that_is_under_way_and_is_said_once_for_several_versions() -> None:
    router, world = make(1, 2, 3)
    before = router.table
    before.active.append(None)
    update(router, world, 1, 2, version=2)
    update(router, world, 1, version=3)
    assert router.past[0] is before
    world.look()
    assert world.left == []
    before.active.pop()
    world.look()
    world.look()

    assert world.left[-1] == (7, 3)
    assert world.later == []


def test_a_table_in_which_all_stay_has_nobody_to_let_go() -> None:
    router, world = make(1, 2)
    update(router, world, 1, 2, 3, version=2)

    assert world.left == []
    assert world.later == []


# --- the least busy ---------------------------------------------------------------------------------------------------------


def test_the_least_busy_is_the_one_with_the_fewest_asks_and_tells_of_this_process() -> None:
    router, world = make(1, 2, routing="least_busy")
    replies = [ask(router, world) for _ in range(4)]
    assert sorted(world.sent) == [1, 1, 2, 2]
    mine = [reply for reply, uid in zip(replies, world.sent, strict=True) if uid == 1]
    for reply in mine:
        reply.end()
    world.sent.clear()
    tell(router, 2)

    assert world.sent == [1, 1]
    assert len(world.barriers) == 1
    world.barriers[0].end()
    ask(router, world)
    assert world.sent == [1, 1, 1]


def test_a_sign_that_is_there_at_once_counts_at_once() -> None:
    router, world = make(1, 2, routing="least_busy")
    world.marker_done = True
    tell(router, 4)

    assert [router.loads.of(member) for member in router.table.members] == [0, 0]


def test_an_ask_that_is_answered_at_once_is_no_load() -> None:
    router, world = make(1, 2, routing="least_busy")
    world.answered = True
    ask(router, world)

    assert [router.loads.of(member) for member in router.table.members] == [0, 0]


def test_the_loads_of_those_that_left_are_forgotten() -> None:
    router, world = make(1, 2, routing="least_busy")
    for _ in range(2):
        ask(router, world)
    two = router.table.members[1]
    update(router, world, 1, version=2, routing="least_busy")

    assert router.loads.of(two) == 0


# --- by key -----------------------------------------------------------------------------------------------------------------


def test_a_key_has_one_worker_by_position_by_name_and_by_option() -> None:
    router, world = make(1, 2, 3, routing="key_hash", key="key")
    tell(router, 3, key="a")
    router.tell(REF, "work", (), {"key": "a"}, WORK)
    tell(router, 1, REF.options(key="a"), key="z")
    ask(router, world, key="a")

    assert len(set(world.sent)) == 1
    assert len(world.sent) == 6
    assert world.barriers == []


def test_a_key_that_is_not_said_is_the_default_of_its_parameter_wherever_that_stands() -> None:
    router, world = make(1, 2, 3, routing="key_hash", key="key")
    tell(router, key="a")
    table = Worker._handlers
    for _ in range(2):
        router.tell(REF, "by_default", (5,), {}, table["by_default"])
        router.tell(REF, "by_name", ("z", "y", "x"), {}, table["by_name"])
    router.tell(REF, "by_name", (), {}, table["by_name"])

    assert len(set(world.sent)) == 1
    assert len(world.sent) == 6


def test_a_handler_that_has_no_key_and_one_that_is_not_known_need_the_option() -> None:
    router, world = make(1, routing="key_hash", key="key")
    with pytest.raises(SpecError, match="no parameter 'key'"):
        router.tell(REF, "keyless", (1,), {}, Worker._handlers["keyless"])
    with pytest.raises(SpecError, match="name the handler by its class"):
        router.tell(REF, "work", ("a",), {}, None)
    assert world.sent == []


def test_a_key_whose_worker_has_left_goes_to_the_one_that_the_host_names_or_nowhere() -> None:
    router, world = make(1, routing="key_hash", key="key")
    tell(router, 2)  # from the second on it is the short way
    world.dead = {1}
    with pytest.raises(ActorNotRunningError):
        tell(router)
    world.here[7] = fields(2, version=2, routing="key_hash", key="key")
    world.marker_done = True
    tell(router)

    assert world.sent == [1, 1, 2]


def test_a_key_that_moves_is_an_error_or_a_drop_while_the_old_worker_has_not_handled_it() -> None:
    router, world = make(1, routing="key_hash", key="key")
    tell(router, 2)
    update(router, world, 2, version=2, routing="key_hash", key="key")
    with pytest.raises(MovingError, match="earlier messages"):
        tell(router, 1, REF.options(on_full="reject"))
    assert world.overflows == []
    tell(router, 1, REF.options(on_full="drop_newest"))
    assert world.overflows == [2]
    world.barriers[-1].is_done = True
    tell(router)

    assert world.sent == [1, 1, 2]


@pytest.mark.parametrize("routing", ["round_robin", "least_busy"])
def test_a_key_for_a_pool_that_knows_none_is_an_error(routing: str) -> None:
    router, world = make(1, 2, routing=routing)
    with pytest.raises(SpecError, match="and not by key"):
        tell(router, 1, REF.options(key="a"))
    with pytest.raises(SpecError, match="and not by key"):
        ask(router, world, REF.options(key="a"))
    assert router.table.active == []


def test_a_pool_by_key_without_a_parameter_needs_the_option() -> None:
    router, world = make(1, routing="key_hash")
    with pytest.raises(SpecError, match="send through ref.options"):
        tell(router)
    tell(router, 1, REF.options(key="a"))
    assert world.sent == [1]


# --- which pools are known --------------------------------------------------------------------------------------------------


def test_a_pool_is_looked_for_once_and_one_that_is_gone_is_said() -> None:
    world = World()
    routers = Routers(world, world, SYSTEM)  # type: ignore[arg-type]
    with pytest.raises(ActorNotRunningError, match="pool /pool is gone"):
        routers.find(REF)
    world.here[7] = fields(1, 2)
    found = routers.find(REF)

    assert routers.find(REF) is found
    assert routers.update(fields(1, version=2)) is found
    assert [member.uid for member in found.table.members] == [1]
    assert world.found == 2


def test_a_process_whose_first_table_is_overtaken_by_the_next_has_let_go_of_who_left_with_that() -> None:
    world = World()
    routers = Routers(world, world, SYSTEM)  # type: ignore[arg-type]
    routers.update(fields(1, version=2))
    routers.update(fields(1, 2, version=1))

    assert world.left == [(7, 2)]
    assert [member.uid for member in routers.known[7].table.members] == [1]


def test_a_marker_that_an_interruption_kept_from_being_heard_of_is_followed_by_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    loads = Loads(world)  # type: ignore[arg-type]
    member: ActorRef[Any] = ActorRef(SYSTEM, 1, "/pool/1")

    def interrupt(_answer: Answer, _listener: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Answer, "listen", interrupt)
        loads.told(member)
    loads.told(member)
    assert (len(world.barriers), loads.of(member)) == (1, 2)
    world.barriers[0].end()
    loads.told(member)
    world.barriers[1].end()

    assert loads.of(member) == 0
