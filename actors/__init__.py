"""
Supervised process actors: each actor is a process with a mailbox, under a supervisor tree that restarts it.

A map of the package::

    you write            Actor, handler, message                _actor _handlers
    you hold             ActorRef, Reply, SharedArray, Channel  _ref _reply _shared_array _channel
    you describe         Supervisor, child, Backoff, Park...    supervisor/_spec _policy _check
    or many as one       pool, PoolRef, Autoscale               _pool supervisor/_pool_spec _pools
    sent with care       limit, LimitedRef, Breaker             _limited _gate mailbox/_bucket _circuit
    you run              ActorSystem, Tasks                     _system _tasks
    instead of those     ActorExecutor, Pool                    _executor _function_pool _workforce
    in the host          pump, decisions, processes             supervisor/_pump _tree _machine _runner
    in an actor          the loop, the control thread           _child _dispatch _attendant
    between them         frames, codec, lanes, shared memory    mailbox/
"""

from __future__ import annotations

from actors._actor import Actor
from actors._async_result import AsyncResult
from actors._channel import Channel
from actors._executor import ActorExecutor
from actors._function_pool import Pool
from actors._handlers import handler
from actors._jobs import WorkerDied
from actors._limited import LimitedRef, limit
from actors._pool import PoolRef
from actors._ref import ActorRef, Down
from actors._reply import Reply
from actors._seams import ActorInfo, ActorStatistics
from actors._shared_array import SharedArray
from actors._supervisor_ref import SupervisorRef
from actors._system import ActorSystem
from actors._tasks import Tasks
from actors.errors import (
    ActorDied,
    ActorNotRunningError,
    ActorsError,
    ArgumentsError,
    AskTimeoutError,
    ChannelClosedError,
    ChannelEmptyError,
    ChannelFullError,
    CircuitOpenError,
    CodecError,
    DeadlockError,
    EncodeError,
    HandlerError,
    HandlerNotFoundError,
    InternalError,
    MailboxFullError,
    ProtocolError,
    RateLimitedError,
    RemoteTraceback,
    RestartIntensityError,
    SendError,
    SpecError,
    SpecWarning,
    StartError,
    TooManyChildrenError,
)
from actors.mailbox._circuit import Breaker
from actors.mailbox._codec import message
from actors.supervisor._exits import ExitReason
from actors.supervisor._letters import DeadLetter
from actors.supervisor._policy import Backoff
from actors.supervisor._pool_spec import ActorPool, Autoscale, pool
from actors.supervisor._report import CrashReport
from actors.supervisor._spec import Child, Park, Recycle, Supervisor, child

__all__ = [
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

__version__ = "0.1.0"
