"""Masked tokens as inputs that were dropped, and the others scaled up for them (ESM-2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

TRAINED = 0.15 * 0.8
"""The share of tokens that ESM-2's training masked: of the 15% chosen, 80% became the mask."""


@dataclass(frozen=True)
class TokenDropout:
    """The mask's own vector is zero, and a text's vectors are multiplied by (1 - trained) / (1 - its share of masks):
    dropout on whole tokens, which leaves their sum as large as it was (ESM-2, Lin et al. 2023,
    doi 10.1126/science.ade2574, in its published code).
    """

    mask: int
    trained: float = TRAINED

    def applied(self, x: Tensor, tokens: Tensor, valid: Tensor | None, segments: Tensor | None) -> Tensor:
        """x [B, T, D] of tokens [B, T]; valid, segments [B, T]: which tokens exist and whose text each is. A text of
        masks alone has no scale: its vectors are zero."""
        masked = tokens == self.mask
        there = torch.ones_like(masked) if valid is None else valid
        if segments is None:
            share = masked.sum(1, keepdim=True) / there.sum(1, keepdim=True)
        else:
            same = (segments[:, :, None] == segments[:, None, :]).float()
            counts = same @ torch.stack((masked & there, there), -1).float()
            share = counts[..., 0] / counts[..., 1].clamp(min=1)
        scale = (1 - self.trained) / (1 - share)
        return x.masked_fill(masked[..., None], 0) * scale.masked_fill(share >= 1, 0)[..., None].to(x.dtype)
