from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.helpers import eventually
from tests.leaks import Snapshot


def test_a_quiet_process_leaks_nothing() -> None:
    before = Snapshot.take()

    assert before.leaks() == []


def test_a_living_child_is_a_leak_until_it_is_reaped() -> None:
    before = Snapshot.take()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    alive = before.leaks()
    assert child.stdin is not None
    child.stdin.close()
    eventually(lambda: any("state Z" in line for line in before.leaks()), what="the unreaped child is seen as a zombie")
    child.wait()

    assert any(f"process {child.pid}" in line for line in alive)
    assert before.leaks() == []


def test_an_orphan_is_found_by_its_mark(tmp_path: Path) -> None:
    before = Snapshot.take()
    fifo = tmp_path / "end"
    os.mkfifo(fifo)
    waiting = f"open({str(fifo)!r}).read()"
    program = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {waiting!r}])"
    subprocess.run([sys.executable, "-c", program], check=True)
    eventually(lambda: len(before.leaks()) == 1, what="the orphan is seen")
    fifo.write_text("")

    eventually(lambda: before.leaks() == [], what="the orphan is gone")


def test_a_descriptor_a_thread_and_a_shared_memory_file_are_leaks() -> None:
    before = Snapshot.take()
    descriptor = os.open("/dev/null", os.O_RDONLY)
    release = threading.Event()
    thread = threading.Thread(target=release.wait, name="left-behind")
    thread.start()
    name = Path("/dev/shm") / f"actors-test-{os.getpid()}"
    name.touch()
    found = "\n".join(before.leaks())
    os.close(descriptor)
    release.set()
    thread.join()
    name.unlink()

    assert "1 more descriptors" in found
    assert "/dev/null" in found
    assert "thread left-behind" in found
    assert str(name) in found
    assert before.leaks() == []


def test_eventually_fails_with_the_state_printed() -> None:
    with pytest.raises(AssertionError, match=r"not within 0.03 s: the moon; state: 'half'"):
        eventually(lambda: False, 0.03, state=lambda: "half", what="the moon")
