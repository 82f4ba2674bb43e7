"""Stacks for people: the user's lines first, and of everything else that it is there."""

from __future__ import annotations

import threading
from multiprocessing import process
from pathlib import Path

import pytest

import actors
from actors.supervisor._stack_text import fold, stack_text, top_frame

PACKAGE = Path(actors.__file__).parent
LIBRARY = Path(threading.__file__).parent
BELOW = (
    (f"{PACKAGE}/_loop.py", "run"),
    (f"{PACKAGE}/_child.py", "serve"),
    (process.__file__, "_bootstrap"),
    ("<string>", "<module>"),
)
THREAD = ((threading.__file__, "run"), (threading.__file__, "_bootstrap_inner"), (threading.__file__, "_bootstrap"))


def stack(head: str, *frames: tuple[str, str]) -> str:
    lines = [f'  File "{file}", line {number} in {name}' for number, (file, name) in enumerate(frames, 1)]
    return "\n".join([f"{head} (most recent call first):", *lines]) + "\n"


def names(text: str) -> list[str]:
    """Each line by its function, or itself where there is none."""
    return [line.rpartition(" in ")[2] if line.startswith("  File") else line.strip() for line in text.splitlines()]


CURRENT = "Current thread 0x2"
ATTENDANT = stack("Thread 0x1", (f"{PACKAGE}/_attendant.py", "_serve"), (f"{PACKAGE}/_attendant.py", "_run"), *THREAD)


def test_the_interrupted_thread_comes_first() -> None:
    written = f"{ATTENDANT}\n{stack(CURRENT, ('/app/b.py', 'b'))}"

    assert stack_text(written).startswith("Current thread 0x2")
    assert sorted(stack_text(written).split()) == sorted(written.split())
    assert stack_text(f"Fatal Python error: Segmentation fault\n\n{written}").startswith("Fatal Python error")
    assert stack_text(stack_text(written)) == stack_text(written)
    assert "" == stack_text("")


def test_what_leads_to_the_users_lines_is_one_line_and_our_own_threads_are_left_out() -> None:
    written = f"{stack(CURRENT, ('/app/shop.py', 'pick'), ('/app/shop.py', 'take'), *BELOW)}\n{ATTENDANT}"

    assert f"""\
{CURRENT} (most recent call first):
  File "/app/shop.py", line 1 in pick
  File "/app/shop.py", line 2 in take
  ... 4 frames of actors
""" == fold(written)


def test_a_frame_of_which_the_interpreter_knows_nothing_is_nobodys() -> None:
    known = stack(CURRENT, ("/app/shop.py", "take"), *BELOW)

    assert "  ... 5 frames of actors" in fold(known + '  File "__init__", line ??? in __init__\n')


def test_the_call_into_the_package_that_the_user_waits_in_is_kept() -> None:
    waiting = stack(
        CURRENT,
        (threading.__file__, "wait"),
        (f"{PACKAGE}/_reply.py", "_look"),
        (f"{PACKAGE}/_reply.py", "_wait"),
        (f"{PACKAGE}/_reply.py", "result"),
        ("/app/shop.py", "take"),
        *BELOW,
    )

    found = names(fold(waiting))[1:]

    assert ["wait", "... 2 frames of actors", "result", "take", "... 4 frames of actors"] == found


def test_threads_of_the_users_own_are_shown() -> None:
    own = stack("Thread 0x3", ("/app/shop.py", "watch"), *THREAD)
    pool = stack("Thread 0x4", (f"{LIBRARY}/concurrent/futures/thread.py", "_worker"), *THREAD)
    current = stack(CURRENT, (f"{LIBRARY}/site-packages/requests/api.py", "get"), *BELOW)

    found = fold(f"{current}\n{own}\n{pool}\n{ATTENDANT}")

    assert ["get", "... 4 frames of actors"] == names(found.split("\n\n")[0])[1:]
    assert ["watch", "... 3 frames of Python"] == names(found.split("\n\n")[1])[1:]
    assert "_worker" in found
    assert "_attendant" not in found


def test_an_interrupted_thread_without_a_line_of_the_users_shows_where_it_is() -> None:
    idle = stack(CURRENT, (f"{PACKAGE}/_loop.py", "_wait"), *BELOW)

    assert ["_wait", "run", "serve", "... 2 frames of Python"] == names(fold(idle))[1:]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "junk\n",
        "Current thread 0x2 (most recent call first):\n  <no Python frame>\n",
        stack(CURRENT, ("/app/a.py", "f"), (process.__file__, "run")),
        'Current thread 0x2\n  File "a.py", line\n\n\n\nExtension modules: x (total: 1)\n',
    ],
)
def test_what_has_nothing_to_fold_stays_as_it_is(text: str) -> None:
    assert text == fold(text)


@pytest.mark.parametrize(
    ("frames", "place"),
    [
        (((threading.__file__, "wait"), ("/app/shop.py", "take"), *BELOW), "/app/shop.py:2 in take"),
        (
            ((f"{LIBRARY}/site-packages/requests/api.py", "get"), ("/app/shop.py", "take"), *BELOW),
            "/app/shop.py:2 in take",
        ),
        (
            (("/x/dist-packages/requests/api.py", "get"), ("<frozen runpy>", "run"), *BELOW),
            "/x/dist-packages/requests/api.py:1 in get",
        ),
        (((threading.__file__, "wait"), *BELOW), f"{threading.__file__}:1 in wait"),
        (BELOW, f"{PACKAGE}/_loop.py:1 in run"),
    ],
    ids=["user", "user before others", "others", "library", "package"],
)
def test_where_it_is_is_told_by_the_users_own_line_if_there_is_one(
    frames: tuple[tuple[str, str], ...], place: str
) -> None:
    assert place == top_frame(f"Fatal Python error: Aborted\n\n{stack(CURRENT, *frames)}\n{ATTENDANT}")


@pytest.mark.parametrize("text", ["", "\n\n" * 30_000, "junk", "Current thread\n  <no Python frame>\n"])
def test_where_it_is_is_not_told_where_nothing_says_so(text: str) -> None:
    assert "" == top_frame(text)
