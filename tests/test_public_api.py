"""What ``import actors`` gives. A name that comes or goes is a change for users: it stands here, in the reference and in the changelog."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

import actors
from actors import errors

EXPORTS = [
    "Actor",
    "ActorDied",
    "ActorExecutor",
    "ActorInfo",
    "ActorNotRunningError",
    "ActorPool",
    "ActorRef",
    "ActorStatistics",
    "ActorSystem",
    "ActorsError",
    "ArgumentsError",
    "AskTimeoutError",
    "AsyncResult",
    "Autoscale",
    "Backoff",
    "Breaker",
    "Channel",
    "ChannelClosedError",
    "ChannelEmptyError",
    "ChannelFullError",
    "Child",
    "CircuitOpenError",
    "CodecError",
    "CrashReport",
    "DeadLetter",
    "DeadlockError",
    "Down",
    "EncodeError",
    "ExitReason",
    "HandlerError",
    "HandlerNotFoundError",
    "InternalError",
    "LimitedRef",
    "MailboxFullError",
    "Park",
    "Pool",
    "PoolRef",
    "ProtocolError",
    "RateLimitedError",
    "Recycle",
    "RemoteTraceback",
    "Reply",
    "RestartIntensityError",
    "SendError",
    "SharedArray",
    "SpecError",
    "SpecWarning",
    "StartError",
    "Supervisor",
    "SupervisorRef",
    "Tasks",
    "TooManyChildrenError",
    "WorkerDied",
    "child",
    "handler",
    "limit",
    "message",
    "pool",
]


def test_the_exports_are_these_and_no_others() -> None:
    assert sorted(actors.__all__) == EXPORTS


def test_each_name_is_exported_once_and_is_there() -> None:
    assert len(set(actors.__all__)) == len(actors.__all__)
    assert [name for name in actors.__all__ if not hasattr(actors, name)] == []


def test_every_error_is_exported() -> None:
    assert set(errors.__all__) <= set(actors.__all__)


def test_nothing_else_without_an_underscore_is_to_be_had_but_submodules() -> None:
    public = {name for name, value in vars(actors).items() if not name.startswith("_") and not inspect.ismodule(value)}

    assert public - set(actors.__all__) <= {"annotations"}


@pytest.mark.parametrize("name", EXPORTS)
def test_every_export_says_what_it_is(name: str) -> None:
    assert inspect.getdoc(getattr(actors, name))


def test_the_package_has_no_logic_in_its_init() -> None:
    tree = ast.parse(Path(actors.__file__).read_text())
    allowed = (ast.Import, ast.ImportFrom, ast.Assign, ast.Expr)

    assert [type(node).__name__ for node in tree.body if not isinstance(node, allowed)] == []
