"""`SamplingParams`: how one prompt's continuation is chosen and when it ends."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any

from bedplate.errors import UserError

MAX_SEED = 2**63


@dataclass(frozen=True, kw_only=True)
class SamplingParams:
    """How one continuation is sampled. Raises UserError naming the field that is out of bounds.

    The default is greedy. Filters apply in the order repetition penalty, temperature, top-k, top-p, min-p, which is
    `transformers`'; each sees what the one before it left, renormalised.
    """

    max_tokens: int = 256
    """Most tokens to generate; the model's context may end it sooner."""
    temperature: float = 0.0
    """Divides the logits; 0 takes the likeliest token."""
    top_k: int = 0
    """Only the k likeliest tokens (and those tied with the last of them); 0 is off."""
    top_p: float = 1.0
    """Only the fewest likeliest tokens whose probabilities reach p (Holtzman et al. 2019, arXiv 1904.09751)."""
    min_p: float = 0.0
    """Only tokens at least this share as likely as the likeliest (Nguyen et al. 2024, arXiv 2407.01082)."""
    repetition_penalty: float = 1.0
    """Divides positive and multiplies negative logits of tokens in prompt or answer (Keskar et al. 2019,
    arXiv 1909.05858)."""
    seed: int | None = None
    """What is drawn depends on this, the number of the token and its distribution alone, never on the rest of the
    batch: equal prompts with equal seeds get equal answers. None: fresh every time."""
    stop: tuple[str, ...] = ()
    """Texts that end the answer and aren't part of it; one string may stand alone."""
    stop_token_ids: tuple[int, ...] = ()
    """Tokens that end the answer, beside the model's own end tokens."""
    ignore_eos: bool = False
    """Whether the model's own end tokens don't end the answer."""
    top_logprobs: int = 0
    """How many of the likeliest tokens' log-probabilities to report at each step."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "stop", _texts("stop", self.stop))
        object.__setattr__(self, "stop_token_ids", _tokens("stop_token_ids", self.stop_token_ids))
        _whole("max_tokens", self.max_tokens, least=1)
        _real("temperature", self.temperature, 0, math.inf)
        _whole("top_k", self.top_k, least=0)
        _real("top_p", self.top_p, 0, 1, above=True)
        _real("min_p", self.min_p, 0, 1)
        _real("repetition_penalty", self.repetition_penalty, 0, math.inf, above=True)
        _whole("top_logprobs", self.top_logprobs, least=0)
        if self.seed is not None:
            check_seed("seed", self.seed)
        if not isinstance(self.ignore_eos, bool):
            raise UserError(f"ignore_eos={self.ignore_eos!r} is neither true nor false")


def params_from(options: Mapping[str, Any]) -> SamplingParams:
    """The params of keyword arguments. Raises UserError for a name that isn't a field, with the nearest that is."""
    known = [f.name for f in fields(SamplingParams)]
    for name in options:
        if name not in known:
            near = get_close_matches(name, known, 1)
            raise UserError(
                f"{name}: no such sampling parameter" + (f"; nearest: {near[0]}" if near else ""),
                f"Known: {', '.join(known)}.",
            )
    return SamplingParams(**options)


def check_seed(name: str, seed: object) -> None:
    """Raises UserError unless it is a whole number in [0, 2**63)."""
    _whole(name, seed, least=0)
    if seed >= MAX_SEED:  # type: ignore[operator]
        raise UserError(f"{name}={seed} is too large", "Seeds are below 2**63.")


def _whole(name: str, value: object, *, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UserError(f"{name}={value!r} is no whole number from {least} on")


def _real(name: str, value: object, low: float, high: float, *, above: bool = False) -> None:
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not good or not (low <= value <= high) or (above and value == low):  # type: ignore[operator]
        bounds = f"above {low}" if above else f"from {low} on"
        upper = "" if high == math.inf else f" and up to {high}"
        raise UserError(f"{name}={value!r} is no number {bounds}{upper}")


def _texts(name: str, value: object) -> tuple[str, ...]:
    texts = (value,) if isinstance(value, str) else value
    if not isinstance(texts, Sequence) or not all(isinstance(t, str) and t for t in texts):
        raise UserError(f"{name}={value!r} must be a text or several, none of them empty")
    return tuple(texts)


def _tokens(name: str, value: object) -> tuple[int, ...]:
    good = isinstance(value, Sequence) and not isinstance(value, str)
    if not good or not all(isinstance(t, int) and not isinstance(t, bool) and t >= 0 for t in value):  # type: ignore[attr-defined]
        raise UserError(f"{name}={value!r} must be token numbers")
    return tuple(value)  # type: ignore[arg-type]
