"""
The event loop of an actor that has ``async def`` handlers; made at the first one.

A handler runs to its end before the next message starts. Tasks it leaves behind run between messages and while the actor is idle,
and end with the actor.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Sequence
from typing import Any

__all__ = ["Coroutines"]


class Coroutines:
    """One event loop, driven by the actor's main thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run *coroutine* to its end and return its result."""
        return self._loop.run_until_complete(coroutine)

    def busy(self) -> bool:
        """Return whether tasks were left behind."""
        return bool(asyncio.all_tasks(self._loop))

    def turn(self) -> None:
        """Let the tasks that were left behind run one round."""
        if self.busy():
            self._loop.run_until_complete(asyncio.sleep(0))

    def wait(self, descriptors: Sequence[int], seconds: float | None) -> None:
        """Run the tasks until one of *descriptors* is readable, at most *seconds*."""
        self._loop.run_until_complete(self._readable(descriptors, seconds))

    async def _readable(self, descriptors: Sequence[int], seconds: float | None) -> None:
        ready = asyncio.Event()
        for descriptor in descriptors:
            self._loop.add_reader(descriptor, ready.set)
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ready.wait(), seconds)
        finally:
            for descriptor in descriptors:
                self._loop.remove_reader(descriptor)

    def close(self) -> None:
        """Cancel what was left behind, let it finish, and close the loop."""
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        asyncio.set_event_loop(None)
        self._loop.close()
