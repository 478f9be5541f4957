"""How likely whole answers are on models with recurrent layers, whose past is one state: no tree of labels can be read
in one row, so that each label is read by itself from a copy of the state after the prompt."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bedplate.families.model import Model
from bedplate.nn.cache import KVCache
from bedplate.nn.context import ContextLayer

HEAD_ROWS = 256
"""Positions whose logits exist at once: 50 MB in fp32 for a vocabulary of 49,152."""


def is_recurrent(model: Model) -> bool:
    """Whether a layer keeps a state instead of the positions that it has seen."""
    return any(isinstance(m, ContextLayer) and not m.attends for m in model.net.modules())


class LabelReader:
    """The labels after many prompts that begin with `shared`, which is computed once. computed, predicted: positions
    that were put through the blocks, and through the head."""

    def __init__(self, model: Model, labels: Sequence[Sequence[int]], shared: Sequence[int]) -> None:
        """labels: their tokens, the end among them. The last token of each is predicted and never read."""
        self.model, self.labels, self.shared = model, labels, list(shared)
        self.computed, self.predicted = len(self.shared), 0
        longest = max((len(label) for label in labels), default=0)
        self._tokens = torch.zeros(len(labels), longest, dtype=torch.int64, device=model.device)
        self._there = torch.zeros(len(labels), longest, dtype=torch.bool, device=model.device)
        for row, label in enumerate(labels):
            self._tokens[row, : len(label)] = torch.tensor(label, device=model.device)
            self._there[row, : len(label)] = True
        self._past = model.new_cache(len(self.shared))
        if self.shared:
            model.hidden(torch.tensor([self.shared], device=model.device), cache=self._past)

    def score(self, prompts: Sequence[Sequence[int]]) -> npt.NDArray[np.float64]:
        """[n, K]: the log-likelihood of each label, in nats."""
        return np.stack([self._of(prompt) for prompt in prompts])

    def _of(self, prompt: Sequence[int]) -> npt.NDArray[np.float64]:
        rows, longest = self._tokens.shape
        rest = torch.tensor([prompt[len(self.shared) :]], device=self.model.device)
        past = _copied(self._past, 1)
        last = self.model.hidden(rest, cache=past)[:, -1:]
        states = last.expand(rows, -1, -1)
        self.computed += rest.shape[1]
        if longest > 1:
            # What fills up the shorter labels comes after them, and is seen by nothing that counts.
            read = self.model.hidden(self._tokens[:, :-1], cache=_copied(past, rows))
            states = torch.cat((states, read), dim=1)
            self.computed += rows * (longest - 1)
        self.predicted += 1 + rows * (longest - 1)
        return self._logp(states).masked_fill(~self._there, 0.0).sum(1).double().cpu().numpy()

    def _logp(self, states: Tensor) -> Tensor:
        """states [K, L, D] -> [K, L] fp32: of each label's token after what stands before it."""
        told, flat = self._tokens.flatten(), states.flatten(0, 1)
        readout = self.model.net.readout
        # As in `label_scoring`: the token's own logit in fp32, where the normaliser may be rounded.
        chosen = (flat.float() * readout.weight[told].float()).sum(-1)
        if readout.bias is not None:
            chosen = chosen + readout.bias[told].float()
        normalisers = torch.cat([self.model.logits(part).logsumexp(-1) for part in flat.split(HEAD_ROWS)])
        return (readout.capped(chosen) - normalisers).view(states.shape[:2])


def _copied(cache: KVCache, rows: int) -> KVCache:
    """`rows` copies of a cache of one row, which stays as it is."""
    other = copy.copy(cache)
    other.select(torch.zeros(rows, dtype=torch.int64))
    return other
