"""`Continuation`: an answer under way, whoever writes it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from bedplate.adapt.face import Answer, Message, Prepared
from bedplate.generate.params import SamplingParams
from bedplate.generate.session import Token
from bedplate.serve.admission import Admission
from bedplate.serve.sampling_fields import Sampling

OffLoop = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Runs a blocking call in a thread, and gives its result to the event loop."""


@dataclass(frozen=True)
class Piece:
    """More of an answer. token: the one that it came with, None for an end token. The last piece has the whole
    `answer`."""

    text: str
    token: Token | None = None
    answer: Answer | None = None


class UnderWay(Protocol):
    """What a request takes up. Belongs to the event loop. `cancel` may be called at any time, and again."""

    def cancel(self) -> None: ...

    def when_over(self, call: Callable[[], None]) -> None:
        """Call back, in the event loop, once it takes up nothing any more; after `cancel`."""
        ...


class Continuation(UnderWay, Protocol):
    """An answer under way."""

    def pieces(self) -> AsyncIterator[Piece]: ...


class Given:
    """An answer that is there already."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def pieces(self) -> AsyncIterator[Piece]:
        yield Piece(self._answer.text, None, self._answer)

    def cancel(self) -> None:
        pass

    def when_over(self, call: Callable[[], None]) -> None:
        call()


@dataclass(frozen=True)
class Ready:
    """A conversation as it will be put: what the face made of it, and its tokens (none for an endpoint)."""

    prepared: Prepared
    prompt: list[int]


class Writer(Protocol):
    """What a served name answers conversations with."""

    name: str
    admission: Admission
    holds: bool
    """Whether answers come whole, once a face has finished them."""
    tells_tokens: bool
    """Whether it can say its tokens' log-probabilities."""

    def ready(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None) -> Ready:
        """Computes and blocks: called off the event loop. Raises a `ApiError`."""
        ...

    def params(self, sampling: Sampling) -> SamplingParams: ...

    def begin(self, ready: Ready, params: SamplingParams, seed: int | None, off_loop: OffLoop) -> Continuation:
        """In the event loop. off_loop: for what it computes itself."""
        ...
