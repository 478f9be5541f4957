"""The contrastive objective: which text belongs to which, told among all pairs of the batch."""

from __future__ import annotations

from typing import Literal, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bedplate.errors import RecipeError
from bedplate.objectives.term import Batch, Term


class Embeds(Protocol):
    """A net that makes vectors: tokens [B, T] int64, valid [B, T] bool -> [B, D] fp32. log_scale [1]: the logarithm of
    what similarities are multiplied by, where it is learnt."""

    log_scale: nn.Parameter | None

    def __call__(self, tokens: Tensor, valid: Tensor) -> Tensor: ...


class InfoNCE:
    """-log softmax over all pairs j of the global batch of (s * cosine(text i, pair j))[i], in nats, summed over the
    texts i (InfoNCE, van den Oord et al., arXiv 1807.03748, with the batch's other pairs as negatives).

    Batch: tokens [B, T], valid [B, T] and pair_tokens [B, U], pair_valid [B, U]; row i of both belong together. The
    net maps (tokens, valid) to vectors. s is 1 / temperature, or exp(net.log_scale) where the net has one to learn.
    both_ways: the mean of finding pairs by texts and texts by pairs (CLIP, arXiv 2103.00020). What stands in the
    batch twice counts as a negative of itself.
    """

    couples: Literal[True] = True

    def __init__(self, temperature: float = 0.05, *, both_ways: bool = False) -> None:
        if not temperature > 0:
            raise RecipeError(f"contrastive: a temperature of {temperature}", "Use a positive one, such as 0.05.")
        self.temperature, self.both_ways = temperature, both_ways

    def weights(self, batch: Batch) -> dict[str, Tensor]:
        return {"contrastive": torch.tensor(len(batch["tokens"]), device=batch["tokens"].device)}

    def features(self, net: nn.Module, batch: Batch) -> Tensor:
        """[B, 2, D] fp32: the vectors of texts and pairs, of length s and 1. The scale is part of the features, so
        that a learnt one has its gradient from them, wherever the net's parameters lie."""
        embeds = cast(Embeds, net)
        texts = F.normalize(embeds(batch["tokens"], batch["valid"]).float(), dim=-1)
        pairs = F.normalize(embeds(batch["pair_tokens"], batch["pair_valid"]).float(), dim=-1)
        learnt = embeds.log_scale
        texts = texts / self.temperature if learnt is None else texts * learnt.float().exp()
        return torch.stack([texts, pairs], dim=1)

    def loss(self, features: Tensor) -> dict[str, Term]:
        """features [N, 2, D] of the whole global batch."""
        texts, pairs = features.unbind(1)
        scores = texts @ pairs.t()
        own = torch.arange(len(scores), device=scores.device)
        loss = F.cross_entropy(scores, own, reduction="sum")
        if self.both_ways:
            loss = (loss + F.cross_entropy(scores.t(), own, reduction="sum")) / 2
        return {"contrastive": Term(loss)}

    def __call__(self, net: nn.Module, batch: Batch) -> dict[str, Term]:
        """The loss of this batch by itself."""
        return self.loss(self.features(net, batch))
