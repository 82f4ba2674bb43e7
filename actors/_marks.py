"""
The mark of an incarnation: how a process wears it, and how it is read from outside.

Whatever an actor starts wears it too, however far it goes. What executes a program inherits it in its environment. What is a plain fork
shows the environment of whoever executed last, so the mark is also the name of a memory file that the actor maps and every fork of it
inherits: no ``setsid``, no closing of descriptors and no parent that is gone takes a mapping away. Only a program that is started with
an environment emptied by hand, or under another user, leaves it behind.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import secrets
from collections.abc import Collection

from actors._internals import spawn

__all__ = ["EXHAUSTED", "VARIABLE", "in_environ", "in_maps", "interpreters", "make_mark", "token", "wear", "worn"]

# A process that was started by an actor of a system inside an actor wears both marks, apart by a space.
VARIABLE = "ACTORS_INCARNATION"
_ENTRY = f"{VARIABLE}=".encode()
_FILE = "actors-mark:"
_MAPPED = f"/memfd:{_FILE}".encode()
_DELETED = b" (deleted)"

_CHUNK_BYTES = 1 << 17
# What is said of this process, and not of the one that is looked at.
EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM))

_mapped: list[mmap.mmap] = []
_token = ""


def token() -> str:
    """Return what all marks of this process's actors begin with; nobody else's do, and nobody can guess it."""
    global _token  # noqa: PLW0603 - a fact of the process
    _token = _token or f"{secrets.token_hex(8)}:"
    return _token


def _forget_token() -> None:
    global _token  # noqa: PLW0603 - a fork of this process is another host
    _token = ""


os.register_at_fork(after_in_child=_forget_token)


def make_mark(system: str, uid: int, incarnation: int) -> str:
    """Return the mark of one incarnation of an actor of one of this process's systems."""
    return f"{token()}{system.rsplit('-', 1)[-1]}:{uid}:{incarnation}"


def wear(mark: str) -> None:
    """In the actor's process, before any code of the user's runs: put *mark* on, for all that this process starts."""
    outer = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = f"{outer} {mark}" if outer else mark
    # No descriptor or memory left for it: then the environment has to do.
    with contextlib.suppress(OSError):
        file = os.memfd_create(_FILE + mark)
        try:
            os.ftruncate(file, mmap.PAGESIZE)
            # Never touched, so it costs no page; kept in a list, so that nothing unmaps it.
            _mapped.append(mmap.mmap(file, mmap.PAGESIZE, prot=mmap.PROT_READ))
        finally:
            os.close(file)


def in_environ(environ: bytes) -> frozenset[str]:
    """
    Return the marks in a process's environment.

    Args:
        environ: What ``/proc/PID/environ`` says.
    """
    if _ENTRY not in environ:
        return frozenset()
    entries = (entry for entry in environ.split(b"\0") if entry.startswith(_ENTRY))
    return frozenset(word for entry in entries for word in entry[len(_ENTRY) :].decode(errors="replace").split())


def in_maps(maps: bytes) -> frozenset[str]:
    """
    Return the marks among a process's mappings.

    Args:
        maps: What ``/proc/PID/maps`` says.
    """
    names = (line.partition(_MAPPED)[2] for line in maps.split(b"\n") if _MAPPED in line)
    return frozenset(name.removesuffix(_DELETED).decode(errors="replace") for name in names)


def interpreters() -> frozenset[str]:
    """Return the programs whose plain forks are looked at more closely: those that actors run."""
    return frozenset((os.path.realpath("/proc/self/exe"), os.path.realpath(os.fsdecode(spawn.get_executable()))))


def worn(pid: int, programs: Collection[str]) -> frozenset[str]:
    """
    Return the marks that a process wears; none if it has ended or is another user's.

    Args:
        pid: The process.
        programs: What it has to run to be a plain fork of an actor: :func:`interpreters`.

    Raises:
        OSError: This process has no descriptor or memory left to look.
    """
    return look(pid, programs)[0]


def look(pid: int, programs: Collection[str]) -> tuple[frozenset[str], bool]:
    """
    Return the marks that a process wears, as :func:`worn`, and whether that is certain.

    In the middle of ``execve`` a process has its new program and not yet its environment: for that moment, which a busy machine can make
    long, nobody can see what it wears. One that was started without any environment looks the same for ever.
    """
    environ = _read(f"/proc/{pid}/environ")
    marks = in_environ(environ)
    try:
        program = os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return marks, True
    if program in programs:
        marks |= in_maps(_read(f"/proc/{pid}/maps"))
    return marks, bool(environ)


def _read(path: str) -> bytes:
    # As few calls as can be: this is read for every process of the machine.
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in EXHAUSTED:
            raise
        return b""
    chunks = []
    try:
        while chunk := os.read(file, _CHUNK_BYTES):
            chunks.append(chunk)
    except OSError:  # it has ended meanwhile
        return b""
    finally:
        os.close(file)
    return b"".join(chunks)
