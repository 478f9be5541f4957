"""`PoolJob`: a computation in a thread of a pool, in parts, so that it can be called off between two."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Generator
from concurrent.futures import CancelledError
from typing import Any, Generic, TypeVar

from bedplate.serve.daemon_pool import DaemonPool

T = TypeVar("T")


class PoolJob(Generic[T]):
    """Made in the event loop, and belongs to it. `parts` is run on from `yield` to `yield` while it is wanted."""

    def __init__(self, pool: DaemonPool, parts: Generator[Any, None, T]) -> None:
        self._parts, self._wanted = parts, True
        self._loop = asyncio.get_running_loop()
        self._future = pool.submit(self._run)

    async def result(self) -> T:
        """What the generator returns. Raises what it raises."""
        return await asyncio.wrap_future(self._future)

    def cancel(self) -> None:
        """Don't begin, or don't go on after the part that is under way. May be called at any time, and again."""
        self._wanted = False
        self._future.cancel()

    def when_over(self, call: Callable[[], None]) -> None:
        """Call back, in the event loop, once its thread is free again."""

        def over(_: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is there to hear
                self._loop.call_soon_threadsafe(call)

        self._future.add_done_callback(over)

    def _run(self) -> T:
        with contextlib.closing(self._parts):
            while self._wanted:
                try:
                    next(self._parts)
                except StopIteration as end:
                    result: T = end.value
                    return result
        raise CancelledError
