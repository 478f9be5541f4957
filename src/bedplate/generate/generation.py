"""`Generation`: what generating gives back for one prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True)
class Usage:
    """Tokens read and tokens generated."""

    prompt_tokens: int
    completion_tokens: int

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True)
class Generation:
    """One continuation.

    text: without special tokens, end tokens and stop string; empty where the model has no tokenizer.
    tokens: all that were generated, the end token or those of the stop string included.
    logprobs: log-probability of each token, in nats, by the model's own distribution before penalties, temperature
    and filters. top_logprobs: for each step the likeliest tokens' log-probabilities, likeliest first, where asked for.
    finish_reason: "stop" (an end token or stop string) or "length" (max_tokens or the model's context).
    stopped_by: the end token or stop string; None where the length ended it.
    """

    text: str
    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish_reason: FinishReason
    usage: Usage
    stopped_by: int | str | None = None
    top_logprobs: tuple[dict[int, float], ...] | None = None
