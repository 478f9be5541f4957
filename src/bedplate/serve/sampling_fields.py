"""What chat and completion requests say about sampling -> `SamplingParams`, and the fields that neither supports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bedplate.config.randomness import fold_in
from bedplate.errors import UserError
from bedplate.generate.params import MAX_SEED, SamplingParams
from bedplate.serve.api_error import refused
from bedplate.serve.fields import Fields

MAX_CHOICES = 8
MAX_STOPS = 4
MAX_STOP_LENGTH = 256
MAX_TOKENS = 2**31 - 1
"""Beyond any context; the model's own is checked later."""

IGNORED: Mapping[str, tuple[type, ...]] = {
    "user": (str,),
    "safety_identifier": (str,),
    "prompt_cache_key": (str,),
    "metadata": (dict,),
}
"""Fields that say something about the request and nothing about the answer."""

OWN = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
"""What a model's generation_config.json may say about sampling."""


@dataclass(frozen=True)
class Sampling:
    """given: SamplingParams' fields that the request says. choices: how many answers to each prompt."""

    given: dict[str, Any]
    choices: int
    seed: int | None

    def params(self, defaults: Mapping[str, Any], most: int) -> SamplingParams:
        """defaults: for what the request leaves open. most: tokens that may be asked for. Raises a 400 beyond."""
        wanted = self.given.get("max_tokens")
        if wanted is not None and wanted > most:
            raise refused(f"max_tokens is {wanted}, and the model's context is {most}", "max_tokens", "invalid_value")
        try:
            return SamplingParams(**{"max_tokens": most, **defaults, **self.given})
        except UserError as error:
            raise refused(error.problem) from None

    def seeds(self, prompts: int = 1) -> list[int | None]:
        """One for each choice of each prompt: given one seed the first is that seed, and the others follow from it."""
        count = prompts * self.choices
        if self.seed is None:
            return [None] * count
        return [self.seed, *(fold_in(self.seed, "choice", i) for i in range(1, count))]


def read_sampling(fields: Fields) -> Sampling:
    """Take the fields that chat and completions have in common."""
    given: dict[str, Any] = {
        "temperature": fields.number("temperature", 0, 2),
        "top_p": _positive(fields, "top_p", 1),
        "top_k": fields.whole("top_k", 0, 2**31 - 1),
        "min_p": fields.number("min_p", 0, 1),
        "repetition_penalty": _positive(fields, "repetition_penalty", 100),
        "stop": _stops(fields),
        "stop_token_ids": _tokens(fields),
        "ignore_eos": fields.flag("ignore_eos") or None,
    }
    choices = fields.whole("n", 1, MAX_CHOICES) or 1
    seed = fields.whole("seed", 0, MAX_SEED - 1)
    fields.neutral("frequency_penalty", 0)
    fields.neutral("presence_penalty", 0)
    fields.neutral("logit_bias", {})
    for name, kinds in IGNORED.items():
        fields.ignore(name, kinds)
    return Sampling({k: v for k, v in given.items() if v is not None}, choices, seed)


def model_defaults(generation: Mapping[str, Any]) -> dict[str, Any]:
    """What a model's generation_config.json says, else what the OpenAI API does: temperature 1."""
    own = {name: generation[name] for name in OWN if generation.get(name) is not None}
    if generation.get("do_sample") is False:
        own["temperature"] = 0.0
    return {"temperature": 1.0} | own


def _positive(fields: Fields, field: str, high: float) -> float | None:
    value = fields.number(field, 0, high)
    if value == 0:
        raise fields.wrong(field, 0, f"above 0 and up to {high:g}")
    return value


def _tokens(fields: Fields) -> tuple[int, ...] | None:
    value = fields.take("stop_token_ids")
    if value is None:
        return None
    good = isinstance(value, list) and len(value) <= MAX_STOPS
    if not good or not all(type(t) is int and 0 <= t < 2**31 for t in value):
        raise fields.wrong("stop_token_ids", value, f"an array of at most {MAX_STOPS} token numbers")
    return tuple(value)


def _stops(fields: Fields) -> tuple[str, ...] | None:
    value = fields.take("stop")
    if value is None:
        return None
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(t, str) and t for t in texts):
        raise fields.wrong("stop", value, "a string or an array of strings, none of them empty")
    if len(texts) > MAX_STOPS or any(len(t) > MAX_STOP_LENGTH for t in texts):
        raise fields.wrong("stop", value, f"at most {MAX_STOPS} strings of at most {MAX_STOP_LENGTH} characters")
    return tuple(texts)
