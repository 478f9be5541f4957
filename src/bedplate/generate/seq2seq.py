"""Decoding of encoder-decoders: sources are read together, and the rows of a batch write on until each has ended.

All rows start at the same place, so the cache needs no padding; what the decoder reads of a source is computed once and
kept in the cache beside its own keys and values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from bedplate.families.seq2seq_model import Seq2SeqModel
from bedplate.generate.batch import grouped
from bedplate.generate.request import Request
from bedplate.generate.session import ROOM, SLOTS, choose, not_a_number, sampler_of
from bedplate.nn.cache import KVCache


def answered(model: Seq2SeqModel, requests: Sequence[Request]) -> Iterator[tuple[Request, str]]:
    """Answer all requests; each token's request and the text that it made certain. Raises WeightsError where logits
    are NaN."""
    waiting = sorted(requests, key=lambda r: len(r.source), reverse=True)  # neighbours alike in length: little padding
    first = 0
    for group in grouped([request.source for request in waiting]):
        for start in range(first, first + len(group), SLOTS):
            yield from _answered_together(model, waiting[start : min(start + SLOTS, first + len(group))])
        first += len(group)


def _answered_together(model: Seq2SeqModel, requests: Sequence[Request]) -> Iterator[tuple[Request, str]]:
    batch = _Writing(model, requests)
    active, sampler = list(requests), None
    logits = batch.read()
    while active:
        sampler = sampler or sampler_of(model, active)
        tokens, chosen = choose(sampler, logits, active)
        for request, token in zip(active, chosen, strict=True):
            if token.logprob != token.logprob:
                raise not_a_number()
            yield request, request.accept(token.id, token.logprob, token.top)
        staying = [row for row, request in enumerate(active) if request.finish_reason is None]
        if len(staying) < len(active):
            active, sampler = [active[row] for row in staying], None
            batch.keep(staying)
            tokens = tokens[staying]
        if active:
            logits = batch.step(tokens)


class _Writing:
    """The sources' valid places [B, M], None where none is padding, and the cache of what is being written."""

    def __init__(self, model: Seq2SeqModel, requests: Sequence[Request]) -> None:
        self._model, self._requests = model, requests
        self._valid: Tensor | None = None
        self._cache: KVCache = model.new_cache(len(requests[0].prompt) + min(ROOM, max(r.room for r in requests)))

    @torch.inference_mode()
    def read(self) -> Tensor:
        """Encode the sources; the logits [B, V] of each row's first token."""
        device, sources = self._model.device, [request.source for request in self._requests]
        lengths = torch.tensor([len(source) for source in sources], device=device)
        longest = int(lengths.max())
        tokens = torch.tensor([source + [0] * (longest - len(source)) for source in sources], device=device)
        if int(lengths.min()) < longest:
            self._valid = torch.arange(longest, device=device) < lengths[:, None]
        memory = self._model.net.encode(tokens, valid=self._valid)
        prompts = torch.tensor([request.prompt for request in self._requests], device=device)
        return self._next(prompts, memory)

    @torch.inference_mode()
    def step(self, tokens: Tensor) -> Tensor:
        """Append a token to each row, [B] int64; the logits [B, V] of the ones after."""
        return self._next(tokens[:, None], None)

    def keep(self, rows: Sequence[int]) -> None:
        """Let go of all rows but these."""
        if rows:
            index = torch.tensor(rows, device=self._model.device)
            self._cache.select(index)
            self._valid = None if self._valid is None else self._valid[index]

    def _next(self, tokens: Tensor, memory: Tensor | None) -> Tensor:
        hidden = self._model.net.decode(tokens, memory=memory, memory_valid=self._valid, cache=self._cache)
        return self._model.logits(hidden[:, -1])
