"""The one face of every adapted thing: a prompt, an index, an adapter, a probe, a set of weights, an endpoint.

What answers conversations has `generate(messages)`; what tells classes apart has `classify(texts)`. `bedplate.open`
gives either for the folder of an artefact, so that comparing and serving know nothing of how a thing was made.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from bedplate.generate.generation import FinishReason, Usage
from bedplate.generate.params import SamplingParams

Message = Mapping[str, Any]
"""`{"role": "user", "content": "..."}`, as the OpenAI API has it; JSON data only."""


@dataclass(frozen=True)
class Citation:
    """A span of a source that an answer rests on: `text` is characters [start, end) of the document `source`.

    number: as the answer cites it, from 1. title: the headings above the span. score: of the search that found it.
    """

    number: int
    source: str
    title: str
    start: int
    end: int
    text: str
    score: float


@dataclass(frozen=True)
class Answer:
    """What a conversation is answered with.

    usage: tokens that the base read and wrote; zero where it wasn't asked. abstained: the sources don't hold it.
    """

    text: str
    usage: Usage
    citations: tuple[Citation, ...] = ()
    finish_reason: FinishReason = "stop"
    abstained: bool = False


@dataclass(frozen=True)
class Classification:
    """A class for each text. labels: the likeliest. scores [N, K] float32: probabilities, a row sums to 1, columns as
    `classes`. prompt_tokens: tokens that a model read for each text (0 where there is none)."""

    classes: tuple[str, ...]
    labels: tuple[str, ...]
    scores: npt.NDArray[np.float32]
    prompt_tokens: tuple[int, ...]


@dataclass(frozen=True)
class Prepared:
    """What is put to the base in place of a conversation: `messages`, and `context`, which `finish` wants back.

    answer: given at once, without asking the base (nothing was found, say).
    """

    messages: Sequence[Message]
    context: Any = None
    answer: Answer | None = None


@runtime_checkable
class Base(Protocol):
    """What ways build on: a model on this machine or an OpenAI-compatible endpoint."""

    name: str

    def generate(self, messages: Sequence[Message], params: SamplingParams | None = None) -> Answer: ...

    def generate_many(
        self, conversations: Sequence[Sequence[Message]], params: SamplingParams | None = None
    ) -> list[Answer]: ...

    def stream(
        self, messages: Sequence[Message], params: SamplingParams | None = None
    ) -> Generator[str, None, Answer]: ...


@runtime_checkable
class Answerer(Protocol):
    """What answers conversations. `prepare` and `finish` are `generate`'s two halves, apart so that a server can batch
    what lies between them: generate(m) == finish(prepare(m), base.generate(prepare(m).messages))."""

    name: str
    base: Base

    def prepare(self, messages: Sequence[Message]) -> Prepared: ...

    def finish(self, prepared: Prepared, answer: Answer) -> Answer: ...

    def generate(self, messages: Sequence[Message], params: SamplingParams | None = None) -> Answer: ...


@runtime_checkable
class Classifier(Protocol):
    """What tells classes apart."""

    name: str
    classes: tuple[str, ...]

    def classify(self, texts: Sequence[str]) -> Classification: ...


Face = Answerer | Classifier
