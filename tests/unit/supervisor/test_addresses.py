from __future__ import annotations

import pytest

from actors.errors import ActorNotRunningError
from actors.supervisor._addresses import find_by_name

TREE = {
    path: path
    for path in ("/app/db", "/app/readers/reader", "/app/readers/db", "/app/readers/deep/one", "/app/writers/reader")
}


@pytest.mark.parametrize(
    ("name", "places", "found"),
    [
        pytest.param("/app/db", ("/app/readers", "/app"), "/app/db", id="a whole path"),
        pytest.param("db", ("/app/readers", "/app"), "/app/readers/db", id="a sibling before one further up"),
        pytest.param("db", ("/app",), "/app/db", id="below the root"),
        pytest.param("deep/one", ("/app/readers", "/app"), "/app/readers/deep/one", id="a path below a sibling"),
        pytest.param("/readers/reader", ("/app",), "/app/readers/reader", id="a path without the root"),
        pytest.param("one", ("/app",), "/app/readers/deep/one", id="a name that only one has"),
        pytest.param("reader", ("/app/writers", "/app"), "/app/writers/reader", id="one of two, the nearer"),
    ],
)
def test_a_name_finds_an_actor(name: str, places: tuple[str, ...], found: str) -> None:
    assert find_by_name(name, TREE, places) == found


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nobody", "no actor is called 'nobody'; there are: /app/db, /app/readers/reader, "),
        ("reader", "2 actors are called 'reader'; there are: /app/readers/reader, /app/writers/reader$"),
        ("/app/readers", "no actor is called '/app/readers'"),
        ("", "no actor is called ''"),
    ],
)
def test_a_name_of_none_or_of_several_is_refused_with_what_there_is(name: str, said: str) -> None:
    with pytest.raises(ActorNotRunningError, match=said) as caught:
        find_by_name(name, TREE, ("/app",))

    assert caught.value.target == name


def test_who_takes_a_pool_for_an_actor_is_told_how_it_is_found() -> None:
    with pytest.raises(ActorNotRunningError, match=r"^/app/parsers is a pool: use find_pool\('parsers'\)$"):
        find_by_name("parsers", TREE, ("/app",), others=["/app/parsers"])
    with pytest.raises(ActorNotRunningError, match=r"^/app/db is an actor: use whereis\('/app/db'\)$"):
        find_by_name("/app/db", {}, ("/app",), kind="pool", others=TREE)
    with pytest.raises(ActorNotRunningError, match="^no pool is called 'readers'; there are: /app/parsers$"):
        find_by_name("readers", {"/app/parsers": 1}, ("/app",), kind="pool", others=TREE)
    assert find_by_name("parsers", {"/app/parsers": 1}, ("/app",), kind="pool", others=["/app/x/parsers"]) == 1


def test_of_very_many_some_are_named() -> None:
    with pytest.raises(ActorNotRunningError, match="/app/19 and 80 more$"):
        find_by_name("x", {f"/app/{number}": number for number in range(100)}, ("/app",))
    with pytest.raises(ActorNotRunningError, match="there are: none$"):
        find_by_name("x", {}, ("/app",))
