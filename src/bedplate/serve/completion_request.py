"""`/v1/completions`: what is asked, checked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from bedplate.serve.api_error import refused
from bedplate.serve.chat_request import read_stream
from bedplate.serve.fields import Fields
from bedplate.serve.sampling_fields import MAX_TOKENS, Sampling, read_sampling

MAX_PROMPTS = 64
"""Prompts times choices."""
MAX_LOGPROBS = 20
DEFAULT_TOKENS = 16
"""As the OpenAI API has it."""


@dataclass(frozen=True)
class CompletionRequest:
    """prompts: texts or token ids. logprobs: how many of the likeliest tokens' to tell at each step; None: nothing.
    echo: the prompt stands before each answer. score: no token is wanted but the prompts' own log-probabilities."""

    model: str
    prompts: list[str | list[int]]
    sampling: Sampling
    logprobs: int | None
    echo: bool
    score: bool
    stream: bool
    usage: bool


def read_completion(fields: Fields) -> CompletionRequest:
    """Raises a 400 naming the field that is wrong or not supported."""
    fields.need("model")
    model = str(fields.text("model"))
    prompts = _prompts(fields)
    stream, usage = read_stream(fields)
    logprobs = fields.whole("logprobs", 0, MAX_LOGPROBS)
    echo = fields.flag("echo")
    most = fields.whole("max_tokens", 0, MAX_TOKENS)
    if most == 0 and not echo:
        raise fields.wrong("max_tokens", 0, "at least 1 (0 only with echo)")
    if echo and stream:
        raise refused("echo isn't supported in a stream", "echo", "unsupported_parameter")
    sampling = read_sampling(fields)
    fields.neutral("best_of", 1, sampling.choices)
    fields.neutral("suffix", "")
    fields.close()
    if len(prompts) * sampling.choices > MAX_PROMPTS:
        raise refused(
            f"{len(prompts)} prompts with n={sampling.choices}: at most {MAX_PROMPTS} answers in a request", "prompt"
        )
    given = sampling.given | {"max_tokens": DEFAULT_TOKENS if most is None else max(most, 1)}
    if logprobs:
        given["top_logprobs"] = logprobs
    return CompletionRequest(model, prompts, replace(sampling, given=given), logprobs, echo, most == 0, stream, usage)


def _prompts(fields: Fields) -> list[str | list[int]]:
    given = fields.need("prompt")
    prompts: list[Any] = given if isinstance(given, list) and not _is_tokens(given) else [given]
    if not prompts:
        raise fields.wrong("prompt", given, "a string, token ids, or an array of either")
    for prompt in prompts:
        if not isinstance(prompt, str) and not _is_tokens(prompt):
            raise fields.wrong("prompt", prompt, "a string, token ids, or an array of either")
    return prompts


def _is_tokens(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(t) is int for t in value)
