"""The objective of discriminators: which tokens of a text were replaced."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from bedplate.objectives.prediction import predicted
from bedplate.objectives.term import Batch, Term


class ReplacedTokens:
    """Binary cross-entropy, in nats, of whether each token was replaced, summed over all tokens that exist (ELECTRA,
    arXiv 2003.10555, section 2, without the generator's own loss: whoever makes the batch replaces the tokens, by a
    model or at random).

    Batch: tokens, some replaced, and targets (the originals) [B, T] int64, right-padded; valid [B, T] bool, False for
    padding. A token put in its own place counts as original. The net is an encoder with a head for one class of
    tokens, or maps (tokens, valid) to logits [B, T, 1], positive for replaced.
    """

    def weights(self, batch: Batch) -> dict[str, Tensor]:
        return {"replaced_tokens": batch["valid"].sum()}

    def __call__(self, net: nn.Module, batch: Batch) -> dict[str, Term]:
        replaced = (batch["tokens"] != batch["targets"]).float()
        each = F.binary_cross_entropy_with_logits(predicted(net, batch)[..., 0], replaced, reduction="none")
        return {"replaced_tokens": Term(each.where(batch["valid"], 0.0).sum())}
