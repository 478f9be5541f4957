"""How likely a model finds the prompt itself: what `echo` with `logprobs` tells, and evaluation harnesses ask for."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import torch

from bedplate.families.model import Model
from bedplate.generate.session import Token

PART = 256
"""Tokens whose logits are computed in one turn of the worker."""


def prompt_tokens(model: Model, prompt: Sequence[int], likeliest: int) -> Generator[None, None, list[Token]]:
    """Each token of a prompt with its log-probability given those before it (NaN for the first), and that many of the
    likeliest. A generator that does a part of the work at each `next`."""
    cache = model.new_cache(len(prompt))
    tokens = [Token(prompt[0], float("nan"))]
    for start in range(0, len(prompt) - 1, PART):
        part = prompt[start : min(start + PART, len(prompt) - 1)]
        with torch.inference_mode():
            hidden = model.hidden(torch.tensor([part], device=model.device), cache=cache)
            logprobs = model.logits(hidden[0]).log_softmax(-1)
            ids = torch.tensor(prompt[start + 1 : start + 1 + len(part)], device=model.device)
            own = logprobs.gather(-1, ids[:, None])[:, 0].tolist()
            top = logprobs.topk(min(likeliest, logprobs.shape[-1])) if likeliest else None
        for i, (token, logprob) in enumerate(zip(ids.tolist(), own, strict=True)):
            best = dict(zip(top.indices[i].tolist(), top.values[i].tolist(), strict=True)) if top is not None else None
            tokens.append(Token(token, logprob, best))
        yield
    return tokens
