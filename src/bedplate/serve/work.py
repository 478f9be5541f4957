"""`Work`: what one request has under way and its place in the queue, which end together however it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Self

from bedplate.serve.answers import Choice
from bedplate.serve.continuation import Continuation, UnderWay


class Work:
    """A context: at its end everything is cancelled, and the place given back once nothing takes it up any more,
    unless a stream has taken it over."""

    def __init__(self, leave: Callable[[], None]) -> None:
        self.under_way: Sequence[UnderWay] = ()
        self._leave, self._handed_over = leave, False

    def hand_over(self) -> Callable[[], None]:
        """What ends it, for who goes on with it beyond the context."""
        self._handed_over = True
        return self.end

    def end(self) -> None:
        left = len(self.under_way)
        if not left:
            self._leave()

        def one_over() -> None:
            nonlocal left
            left -= 1
            if not left:
                self._leave()

        for each in self.under_way:
            each.cancel()
            each.when_over(one_over)

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
