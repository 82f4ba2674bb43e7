"""What programs make of multiprocessing, made of actors: it does its work, also when a process is killed in the middle of it."""

from __future__ import annotations

import ast
import concurrent.futures
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from actors import ActorDied, ActorRef, ActorSystem, Channel, SharedArray
from tests.docs_runner import read_page, run_page
from tests.patterns import Count, Ledger, Partner, Settings, Words, name_of

pytestmark = pytest.mark.conformance

PAGE = Path(__file__).parent.parent.parent / "docs" / "how-to" / "come-from-multiprocessing.md"
SECONDS = 30.0


@pytest.fixture
def system(start_method: Any) -> Iterator[ActorSystem]:
    with ActorSystem(start_method=start_method, on_crash=lambda _report: None) as running:
        yield running


def partners(system: ActorSystem, count: int) -> list[ActorRef[Partner]]:
    return [system.spawn(Partner(), restart="temporary") for _ in range(count)]


def definitions(script: str) -> str:
    """What a script defines, without what it does."""
    return ast.unparse(ast.Module([part for part in ast.parse(script).body if not isinstance(part, ast.If)], [])) + "\n"


@pytest.mark.parametrize("part", range(5))
def test_every_counterpart_does_what_its_page_says(start_method: Any, tmp_path: Path, part: int) -> None:
    sections = PAGE.read_text().split("\n## ")[1:]
    size = -(-len(sections) // 5)
    page = read_page("\n## ".join(sections[part * size : (part + 1) * size]))
    assert page is not None
    before = read_page("\n## ".join(sections[: part * size]))
    script = (definitions(before.script) if before else "") + page.script
    script = script.replace("ActorSystem()", f"ActorSystem(start_method={start_method!r})")

    assert script.count("start_method=") >= 2
    run_page(attrs.evolve(page, script=script), tmp_path)


@pytest.mark.parametrize("joinable", [False, True], ids=["Queue", "JoinableQueue"])
def test_a_queue_whose_consumer_dies_loses_nothing_and_is_joined(system: ActorSystem, joinable: bool) -> None:
    tasks: Channel[int] = system.channel(20, joinable=joinable)
    results: Channel[int] = system.channel(20)
    fragile, sound = partners(system, 2)
    tasks.put(3)
    reply = fragile.ask(Partner.consume, tasks, results, 3)
    with pytest.raises(ActorDied):
        reply.result(timeout=SECONDS)
    for number in (0, 1, 2):
        tasks.put(number)
    sound.tell(Partner.consume, tasks, results, -1)
    if joinable:
        assert tasks.join(timeout=SECONDS)
    tasks.close()

    assert sorted(results.get(timeout=SECONDS) for _ in range(4)) == [0, 1, 4, 9]


def test_what_a_producer_has_put_is_there_when_it_dies(system: ActorSystem) -> None:
    tasks: Channel[int] = system.channel(100)
    (producer,) = partners(system, 1)
    with pytest.raises(ActorDied):
        producer.ask(Partner.produce, tasks, 100).result(timeout=SECONDS)
    tasks.close()

    assert list(tasks) == list(range(100))


def test_who_waits_for_the_other_end_of_a_pipe_is_told_of_its_death(system: ActorSystem) -> None:
    one, other, third = partners(system, 3)
    assert one.ask(Partner.answer, "yes", False).result(timeout=SECONDS) == "YES"
    with pytest.raises(ActorDied):
        one.ask(Partner.answer, "yes", True).result(timeout=SECONDS)
    received: list[str] = []
    with pytest.raises(ActorDied):
        received.extend(other.stream(Partner.letters, "ab?c"))
    tasks, results = system.channel(10), system.channel(10)
    talk = third.ask(Partner.consume, tasks, results, 2)
    talk.add_done_callback(lambda _reply: results.close())
    tasks.put(1)
    tasks.put(2)

    assert list(results) == [1]


def test_a_value_and_an_array_are_there_for_the_others_when_one_dies(system: ActorSystem) -> None:
    count = system.spawn(Count())
    fragile, sound = partners(system, 2)
    with pytest.raises(ActorDied):
        fragile.ask(Partner.click, count, 10, True).result(timeout=SECONDS)
    sound.ask(Partner.click, count, 10, False).result(timeout=SECONDS)
    assert count.ask(Count.add, 0).result(timeout=SECONDS) == 20

    numbers = system.shared_array(2)
    (another,) = partners(system, 1)
    with pytest.raises(ActorDied):
        another.ask(Partner.write, numbers, 0, True).result(timeout=SECONDS)
    sound.ask(Partner.write, numbers, 1, False).result(timeout=SECONDS)
    assert numbers.array.tolist() == [1.0, 2.0]


def test_an_object_of_a_manager_that_dies_begins_anew_and_who_had_asked_is_told(system: ActorSystem) -> None:
    words = system.spawn(Words())
    assert words.ask(Words.count, "to").result(timeout=SECONDS) == {"to": 1}
    with pytest.raises(ActorDied):
        words.ask(Words.count, "die").result(timeout=SECONDS)

    assert words.ask(Words.count, "be").result(timeout=SECONDS) == {"be": 1}


def test_shared_memory_and_settings_outlive_who_made_them(system: ActorSystem) -> None:
    told: Channel[tuple[SharedArray, Settings]] = system.channel(1)
    (maker,) = partners(system, 1)
    with pytest.raises(ActorDied):
        maker.ask(Partner.make_shared, told).result(timeout=SECONDS)
    made, settings = told.get(timeout=SECONDS)

    assert made.array.tolist() == [7.0, 7.0, 7.0]
    assert settings == Settings(3, "sevens")


def test_what_a_lock_would_keep_is_whole_for_the_next_when_its_holder_dies(system: ActorSystem) -> None:
    ledger = system.spawn(Ledger())
    replies = [ledger.ask(Ledger.transfer, amount) for amount in (4, 0, 3)]
    with pytest.raises(ActorDied):
        replies[1].result(timeout=SECONDS)

    assert [replies[number].result(timeout=SECONDS) for number in (0, 2)] == [10, 10]


def test_the_place_of_one_that_dies_is_free_as_no_semaphore_is(system: ActorSystem) -> None:
    tasks = system.tasks("tasks", max_children=1)
    names = list(tasks.map(name_of, range(4), on_error="return"))

    assert [name for name in names if isinstance(name, str)] == ["number 0", "number 2", "number 3"]
    assert isinstance(names[1], ActorDied)


def test_an_event_stays_set_when_who_has_set_it_dies(system: ActorSystem) -> None:
    start: Channel[None] = system.channel(1)
    results: Channel[str] = system.channel(10)
    *waiting, setter = partners(system, 3)
    for partner in waiting:
        partner.tell(Partner.wait_for, start, results)
    assert [results.get(timeout=SECONDS) for _ in waiting] == ["in place", "in place"]
    with pytest.raises(ActorDied):
        setter.ask(Partner.set_off, start).result(timeout=SECONDS)

    assert [results.get(timeout=SECONDS) for _ in waiting] == ["off", "off"]
    assert start.closed


def test_one_that_dies_before_a_barrier_is_an_error_and_holds_nobody_up(system: ActorSystem) -> None:
    parties = partners(system, 3)
    replies = [partner.ask(Partner.answer, "step", number == 1) for number, partner in enumerate(parties)]
    done, waiting = concurrent.futures.wait(replies, timeout=SECONDS)

    assert (len(done), len(waiting)) == (3, 0)
    assert isinstance(replies[1].exception(), ActorDied)
    assert [replies[number].result() for number in (0, 2)] == ["STEP", "STEP"]
