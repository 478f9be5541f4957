"""`Work`: the continuations of one request and its place in the queue, which end together however it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Self

from bedplate.serve.answers import Choice
from bedplate.serve.continuation import Continuation


class Work:
    """A context: at its end everything is cancelled and the place given back, unless a stream has taken it over."""

    def __init__(self, leave: Callable[[], None]) -> None:
        self.continuations: list[Continuation] = []
        self._leave, self._handed_over = leave, False

    def hand_over(self) -> Callable[[], None]:
        """What ends it, for who goes on with it beyond the context."""
        self._handed_over = True
        return self.end

    def end(self) -> None:
        for continuation in self.continuations:
            continuation.cancel()
        self._leave()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._handed_over:
            self.end()


async def collected(continuations: Sequence[Continuation]) -> list[Choice]:
    """The whole answers, in order."""

    async def collect(continuation: Continuation) -> Choice:
        choice = Choice()
        async for piece in continuation.pieces():
            choice.take(piece)
        return choice

    return list(await asyncio.gather(*map(collect, continuations)))
