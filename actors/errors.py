"""
Every exception of the package. Imports nothing of ours, so that nothing can import in a circle.

The class says whose fault it is, ``SendError.may_have_run`` whether a retry is safe, and the text says who, what, the numbers
and what to do next. Every error survives ``pickle`` and ``copy`` with its attributes.

::

    ActorsError
    ├─ SpecError(ValueError)                   a rule broken when a spec is built
    │  └─ TooManyChildrenError                 a supervisor has as many children as it may
    ├─ SendError                               a message or an ask did not come through
    │  ├─ ActorNotRunningError                 never accepted
    │  ├─ MailboxFullError                     never accepted
    │  ├─ RateLimitedError                     never sent: a limit of the sender's own
    │  ├─ CircuitOpenError                     never sent: the breaker is open
    │  ├─ HandlerNotFoundError(AttributeError) never accepted: the actor has no such handler
    │  ├─ ArgumentsError(TypeError)            never accepted: the arguments do not fit the handler
    │  ├─ AskTimeoutError(TimeoutError)        may have run
    │  ├─ ActorDied                            may have run only if it was the one being handled
    │  ├─ DeadlockError                        an ask that could never be answered
    │  └─ HandlerError                         ran, and raised
    ├─ CodecError
    │  ├─ EncodeError(TypeError)               yours: a value that cannot travel
    │  └─ ProtocolError                        theirs: bytes that are no message
    ├─ StartError                              not ready in time, or refused to start
    ├─ RestartIntensityError                   a supervisor gave up
    ├─ ChannelClosedError(ValueError)          nothing more can be put, or comes
    ├─ ChannelFullError(queue.Full)            a channel stayed full
    ├─ ChannelEmptyError(queue.Empty)          nothing came
    └─ InternalError                           a bug in this package

    UserWarning
    └─ SpecWarning                             allowed, and probably not meant
"""

from __future__ import annotations

import queue
from typing import Any

__all__ = [
    "ActorDied",
    "ActorNotRunningError",
    "ActorsError",
    "ArgumentsError",
    "AskTimeoutError",
    "ChannelClosedError",
    "ChannelEmptyError",
    "ChannelFullError",
    "CircuitOpenError",
    "CodecError",
    "DeadlockError",
    "EncodeError",
    "HandlerError",
    "HandlerNotFoundError",
    "InternalError",
    "MailboxFullError",
    "ProtocolError",
    "RateLimitedError",
    "RemoteTraceback",
    "RestartIntensityError",
    "SendError",
    "SpecError",
    "SpecWarning",
    "StartError",
    "TooManyChildrenError",
]


class ActorsError(Exception):
    """The root of every error this package raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, dict(vars(self)))


def _restore(cls: type[ActorsError], args: tuple[object, ...], attributes: dict[str, object]) -> ActorsError:
    """Rebuild an error for pickle and copy, without its ``__init__``, whose arguments it does not keep."""
    error = cls.__new__(cls, *args)
    error.args = args  # OSError, a base of TimeoutError, leaves that to its __init__
    vars(error).update(attributes)
    return error


class SpecError(ActorsError, ValueError):
    """
    A rule was broken when an actor, an option or a tree was described. Nothing was started.

    Attributes:
        problems: Every broken rule, one sentence each, naming field, value and rule; at least one.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems: tuple[str, ...] = problems


class SpecWarning(UserWarning):
    """
    An actor or a tree says something that is allowed and probably not meant: an attribute that looks like a misspelt option, an option
    that can hardly take effect. Shown once for each line, through :mod:`warnings`; ``-W error::actors.SpecWarning`` makes an error of it.
    """


class TooManyChildrenError(SpecError):
    """The supervisor has ``max_children`` children already. Nothing was started; once one of them is gone there is room again."""


class SendError(ActorsError):
    """
    A message or an ask did not come through.

    Attributes:
        target: Path of the actor that was addressed, or ``""``.
        may_have_run: Whether its handler may have begun. False means that sending again is safe.
    """

    may_have_run: bool = False

    def __init__(self, text: str, *, target: str = "", may_have_run: bool | None = None) -> None:
        super().__init__(text)
        self.target = target
        if may_have_run is not None:
            self.may_have_run = may_have_run


class ActorNotRunningError(SendError):
    """The actor is gone for good or stopping, and the message was never accepted: safe to send elsewhere."""


class MailboxFullError(SendError):
    """
    The inbox stayed full, or there was no memory for a large message, and the message was never accepted.

    Attributes:
        capacity: What the pipe of the inbox holds, in bytes.
    """

    def __init__(self, text: str, *, target: str = "", capacity: int = 0) -> None:
        super().__init__(text, target=target)
        self.capacity = capacity


class RateLimitedError(SendError):
    """
    A limit of the sender's own, given to ``actors.limit``, let it send no more for now. Nothing was sent.

    Attributes:
        limit: Which one: ``"rate"`` or ``"concurrency"``.
        retry_after: Seconds until there is room; None where that depends on when an open ask ends.
    """

    def __init__(self, text: str, *, target: str = "", limit: str = "", retry_after: float | None = None) -> None:
        super().__init__(text, target=target)
        self.limit = limit
        self.retry_after = retry_after


class CircuitOpenError(SendError):
    """
    The breaker of a limited ref is open, or waits for its probes, because of what failed before. Nothing was sent.

    Attributes:
        retry_after: Seconds until a probe is let through; None where probes are on their way.
    """

    def __init__(self, text: str, *, target: str = "", retry_after: float | None = None) -> None:
        super().__init__(text, target=target)
        self.retry_after = retry_after


class HandlerNotFoundError(SendError, AttributeError):
    """The actor has no handler of that name; only methods marked ``@handler`` can be reached."""


class ArgumentsError(SendError, TypeError):
    """The arguments do not fit the handler's signature."""


class AskTimeoutError(SendError, TimeoutError):
    """
    No answer in time. Raised by an ask's own deadline, or by ``Reply.result(timeout)``, which leaves the ask open.

    Attributes:
        timeout: The time that was allowed, in seconds.
    """

    may_have_run = True

    def __init__(self, text: str, *, target: str = "", timeout: float = 0.0, may_have_run: bool | None = None) -> None:
        super().__init__(text, target=target, may_have_run=may_have_run)
        self.timeout = timeout


class ActorDied(SendError):  # noqa: N818 - the name is public and says what happened
    """
    The actor died with the ask open. ``may_have_run`` is True only for the one that was being handled.

    Attributes:
        reason: The :class:`~actors.ExitReason` of the death.
    """

    def __init__(self, text: str, *, target: str = "", reason: Any = None, may_have_run: bool = False) -> None:
        super().__init__(text, target=target, may_have_run=may_have_run)
        self.reason = reason


class DeadlockError(SendError):
    """
    An actor asks itself, or a process waits for what only it could bring: raised at once instead of hanging.

    A circle of several is not looked for: two actors that ask each other and wait in their handlers wait until a deadline ends one of
    the asks, and for ever without one. Give asks between actors a timeout.
    """


class RemoteTraceback(Exception):  # noqa: N818 - the word of concurrent.futures and multiprocessing
    """
    The traceback of an exception in another process, as text: the ``__cause__`` of a :class:`HandlerError`.

    Attributes:
        text: What ``traceback.format_exception`` gave there.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


class HandlerError(SendError):
    """
    The handler ran and raised. Its ``__cause__`` is the :class:`RemoteTraceback`.

    Where the handler raised a builtin exception, what is raised here is of a class that is both: ``HandlerValueError`` is a
    ``HandlerError`` and a ``ValueError``, ``HandlerFileNotFoundError`` a ``FileNotFoundError`` with its ``errno``, and so for each builtin
    ``Exception``. Catch it as either; these classes cannot be imported. A plain ``HandlerError`` comes of everything else: exceptions of
    other modules, since nothing that a message names is imported; ``UnicodeError``, exception groups, ``StopIteration`` and
    ``StopAsyncIteration``. ``str(error)`` says which actor raised what; the notes of the exception come along.

    Attributes:
        error_type: Dotted name of the exception's class in the actor.
        error_text: ``str()`` of the exception there.
        traceback: The formatted traceback there.
    """

    may_have_run = True

    def __init__(
        self, text: str, *, target: str = "", error_type: str = "", error_text: str = "", traceback: str = ""
    ) -> None:
        super().__init__(text, target=target)
        self.error_type = error_type
        self.error_text = error_text
        self.traceback = traceback


class CodecError(ActorsError):
    """A value or bytes that the codec refuses."""


class EncodeError(CodecError, TypeError):
    """
    A value that cannot travel between processes.

    Attributes:
        path: Where it stands in the message, such as ``"args[0].items[3]"``.
        target: Path of the actor that the message was for, or ``""``.
    """

    def __init__(self, text: str, *, path: str = "", target: str = "") -> None:
        super().__init__(text)
        self.path = path
        self.target = target


class ProtocolError(CodecError):
    """Bytes from another process that are no message of ours. Only that process is finished."""


class StartError(ActorsError):
    """
    An actor was not ready: its class cannot be imported there, ``on_start`` raised or took too long, or a limit is reached.

    Attributes:
        target: Path of the actor.
        reason: The :class:`~actors.ExitReason`, or None where no process was made.
    """

    def __init__(self, text: str, *, target: str = "", reason: Any = None) -> None:
        super().__init__(text)
        self.target = target
        self.reason = reason


class RestartIntensityError(ActorsError):
    """
    A supervisor saw more restarts than its intensity allows, and gave up.

    Attributes:
        restarts: How many restarts were allowed.
        period: Within how many seconds.
        last_reason: The :class:`~actors.ExitReason` that was one too many.
    """

    def __init__(self, text: str, *, restarts: int = 0, period: float = 0.0, last_reason: Any = None) -> None:
        super().__init__(text)
        self.restarts = restarts
        self.period = period
        self.last_reason = last_reason


class ChannelClosedError(ActorsError, ValueError):
    """
    The channel was closed: nothing more can be put, and everything that was put has been got and is done with.

    Attributes:
        stopping: Whether it is this actor that is to stop, and the channel open. A handler that lets such an error out of a ``tell`` ends by
            it as by a return: that is no crash.
    """

    stopping: bool = False


class ChannelFullError(ActorsError, queue.Full):
    """As many items as a channel may hold stood in it all the time. Nothing was put."""


class ChannelEmptyError(ActorsError, queue.Empty):
    """No item came in time."""


class InternalError(ActorsError):
    """A bug in this package. Please report it with the traceback."""
