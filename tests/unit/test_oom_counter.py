"""Where the counter of out-of-memory kills is found, under both versions of control groups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from actors._oom_counter import CounterFile, candidates, counter_of

V2 = "32 31 0:29 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
OTHER = "36 31 0:33 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n22 1 8:1 / / rw - ext4 /dev/sda1 rw\nshort\n"


@pytest.mark.parametrize(
    ("groups", "mounts", "found"),
    [
        pytest.param(
            "0::/app/web\n",
            V2,
            [
                f"/sys/fs/cgroup/{folder}{name}"
                for folder in ("app/web/", "app/", "")
                for name in ("memory.events.local", "memory.events")
            ],
            id="version 2, and the groups above",
        ),
        pytest.param(
            "4:memory:/app\n1:cpu:/x\n0::/\n",
            V1 + OTHER,
            ["/sys/fs/cgroup/memory/app/memory.oom_control"],
            id="version 1",
        ),
        pytest.param(
            "4:cpu,memory:/docker/a1/web\n",
            "35 31 0:32 /docker/a1 /cg\\040mem rw - cgroup cgroup rw,cpu,memory\n",
            ["/cg mem/web/memory.oom_control"],
            id="a mount that shows a part",
        ),
        pytest.param(
            "0::/\n",
            "35 31 0:32 /docker/a1 /cg rw - cgroup2 cgroup2 rw\n",
            ["/cg/memory.events.local", "/cg/memory.events"],
            id="a path as the container sees it",
        ),
        pytest.param(
            "0::/elsewhere\n", "35 31 0:32 /docker/a1 /cg rw - cgroup2 cgroup2 rw\n", [], id="a group that is not shown"
        ),
        pytest.param("1:cpu:/x\nnonsense\n", V1 + V2 + OTHER, [], id="no memory"),
        pytest.param("", "", [], id="nothing"),
    ],
)
def test_the_files_are_those_of_the_group_of_the_process(groups: str, mounts: str, found: list[str]) -> None:
    assert found == list(candidates(groups, mounts))


@pytest.mark.parametrize(
    ("text", "kills"),
    [
        ("low 0\nhigh 0\nmax 3\noom 3\noom_kill 2\noom_group_kill 0\n", 2),
        ("oom_kill_disable 0\nunder_oom 0\noom_kill 5\n", 5),
        ("oom_kill_disable 0\nunder_oom 0\n", None),
        ("oom_kill many\n", None),
        ("oom_kill\n", None),
    ],
)
def test_the_field_is_read_in_every_version(text: str, kills: int | None, tmp_path: Path) -> None:
    path = tmp_path / "memory.events"
    path.write_text(text)

    assert kills == CounterFile(str(path)).read()


def test_a_group_that_is_gone_counts_nothing(tmp_path: Path) -> None:
    assert CounterFile(str(tmp_path / "memory.events")).read() is None


def test_a_process_that_has_ended_has_no_counter() -> None:
    assert counter_of(1 << 22) is None


def test_what_is_found_for_this_process_can_be_read() -> None:
    found = counter_of(os.getpid())

    assert found is None or found.read() is not None
