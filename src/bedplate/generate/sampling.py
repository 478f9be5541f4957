"""From logits to the next token: pure functions on a batch of rows, each row with its own parameters.

Everywhere logits are [B, V] fp32 and a parameter is [B, 1]; a forbidden token has the logit -inf. Definitions and
order are those of `transformers`' logits processors, which the tests hold them against.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bedplate.config.randomness import fold_in
from bedplate.generate.params import SamplingParams

NUCLEUS = (256, 4096)
"""top-p looks among so many likeliest tokens first: a full sort of a large vocabulary costs milliseconds."""
LEAST_TEMPERATURE = 1e-5
"""Below it nothing changes but the risk of an overflow."""


def penalise_repetition(logits: Tensor, seen: Tensor, penalty: Tensor) -> Tensor:
    """Where a token was `seen` [B, V] bool, divide its logit by the penalty if positive, multiply it if negative."""
    return torch.where(seen, torch.where(logits < 0, logits * penalty, logits / penalty), logits)


def apply_temperature(logits: Tensor, temperature: Tensor) -> Tensor:
    """temperature [B, 1] above 0."""
    return logits / temperature.clamp(min=LEAST_TEMPERATURE)


def keep_top_k(logits: Tensor, k: Tensor) -> Tensor:
    """Forbid what is less likely than a row's k-th likeliest; k [B, 1] int64, 0 keeps all. Ties with it stay."""
    most = min(int(k.max()), logits.shape[-1])
    if most == 0:
        return logits
    least = logits.topk(most).values.gather(-1, (k - 1).clamp(0, most - 1))
    return logits.masked_fill((logits < least) & (k > 0), float("-inf"))


def keep_top_p(logits: Tensor, p: Tensor) -> Tensor:
    """Keep each row's likeliest tokens up to and with the one that brings their probability to p; 1 keeps all."""
    probabilities = logits.softmax(-1)
    for count in (*(n for n in NUCLEUS if n < logits.shape[-1]), logits.shape[-1]):
        top, tokens = probabilities.topk(count)
        if bool(((top.sum(-1, keepdim=True) >= p) | (p >= 1)).all()):
            break
    before = top.cumsum(-1) - top
    kept = torch.zeros_like(logits, dtype=torch.bool).scatter_(-1, tokens, before < p)
    return logits.masked_fill(~(kept | (p >= 1)), float("-inf"))


def keep_min_p(logits: Tensor, share: Tensor) -> Tensor:
    """Forbid tokens less likely than `share` times the likeliest; 0 keeps all."""
    return logits.masked_fill(logits < logits.amax(-1, keepdim=True) + share.log(), float("-inf"))


def draw(logits: Tensor, uniforms: Tensor) -> Tensor:
    """One token of each row's distribution by its inverse, in order of token number: [B, V], [B] in [0, 1) -> [B].

    A forbidden token is never drawn. One number a row decides, so rows don't share a generator's state.
    """
    mass = logits.softmax(-1).cumsum(-1)
    total = mass[:, -1:]
    # Rounding must not lift the point to the total, where no token lies.
    point = torch.minimum(uniforms[:, None] * total, torch.nextafter(total, torch.zeros_like(total)))
    # The clamp is for logits that are NaN, where no index is right: the caller sees them in the log-probabilities.
    return torch.searchsorted(mass, point, right=True).squeeze(-1).clamp(max=logits.shape[-1] - 1)


def uniform(seed: int, step: int) -> float:
    """A number in [0, 1) of 24 bits, which fp32 holds exactly, for a row's token number `step`."""
    return (fold_in(seed, "token", step) >> 39) / 2**24


class Sampler:
    """The parameters of a batch's rows as tensors. Only what some row asks for is computed.

    params, seeds and histories (prompt and answer so far) are one for each row.
    """

    def __init__(
        self,
        params: Sequence[SamplingParams],
        seeds: Sequence[int],
        histories: Sequence[Sequence[int]],
        vocabulary: int,
        device: torch.device,
    ) -> None:
        def column(values: Sequence[float], dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.tensor(values, dtype=dtype, device=device)[:, None]

        self._seeds = seeds
        self._greedy = [p.temperature == 0 for p in params]
        self._greedy_rows = torch.tensor(self._greedy, device=device)
        self._temperature = column([p.temperature or 1.0 for p in params])
        self._top_k = column([p.top_k for p in params], torch.int64) if any(p.top_k for p in params) else None
        self._top_p = column([p.top_p for p in params]) if any(p.top_p < 1 for p in params) else None
        self._min_p = column([p.min_p for p in params]) if any(p.min_p for p in params) else None
        self._penalty = None
        if any(p.repetition_penalty != 1 for p in params):
            self._penalty = column([p.repetition_penalty for p in params])
            self._seen = torch.zeros(len(params), vocabulary, dtype=torch.bool, device=device)
            for row, history in enumerate(histories):
                self._seen[row, torch.tensor(history, dtype=torch.int64, device=device)] = True

    def __call__(self, logits: Tensor, steps: Sequence[int]) -> Tensor:
        """The next token of each row: [B, V] -> [B] int64. steps: how many tokens each row has generated."""
        if self._penalty is not None:
            logits = penalise_repetition(logits, self._seen, self._penalty)
        tokens = self._choose(logits, steps)
        if self._penalty is not None:
            self._seen.scatter_(-1, tokens[:, None], True)
        return tokens

    def _choose(self, logits: Tensor, steps: Sequence[int]) -> Tensor:
        if all(self._greedy):
            return logits.argmax(-1)
        filtered = apply_temperature(logits, self._temperature)
        if self._top_k is not None:
            filtered = keep_top_k(filtered, self._top_k)
        if self._top_p is not None:
            filtered = keep_top_p(filtered, self._top_p)
        if self._min_p is not None:
            filtered = keep_min_p(filtered, self._min_p)
        numbers = [uniform(seed, step) for seed, step in zip(self._seeds, steps, strict=True)]
        drawn = draw(filtered, torch.tensor(numbers, dtype=torch.float32, device=logits.device))
        return torch.where(self._greedy_rows, logits.argmax(-1), drawn) if any(self._greedy) else drawn
