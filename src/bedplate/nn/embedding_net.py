"""`EmbeddingNet`: a body and how its states become one vector; what is trained to tell texts' likeness."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from bedplate.nn.encoder import Encoder
from bedplate.nn.encoder_heads import Pooling, pool
from bedplate.nn.parameters import ParameterInfo


class EmbeddingNet(nn.Module):
    """tokens [B, T], valid [B, T] -> vectors [B, D] fp32, not normalised; rows are right-padded.

    learnt_scale: where similarities are to be multiplied by a learnt number, what it begins with (CLIP: 1 / 0.07); it
    is kept as its logarithm. It has `blocks` and `compute_dtype`, as the training loop wants.
    """

    def __init__(self, body: Encoder, pooling: Pooling = "mean", learnt_scale: float | None = None) -> None:
        super().__init__()
        self.body, self.pooling = body, pooling
        device = body.embed.weight.device
        self.log_scale = (
            None if learnt_scale is None else nn.Parameter(torch.tensor([math.log(learnt_scale)], device=device))
        )

    def parameter_info(self) -> dict[str, ParameterInfo]:
        return {} if self.log_scale is None else {"log_scale": ParameterInfo("bias", 1, 1)}

    @property
    def blocks(self) -> Iterable[nn.Module]:
        return cast(Iterable[nn.Module], self.body.blocks)

    @property
    def compute_dtype(self) -> torch.dtype | None:
        return self.body.compute_dtype

    @compute_dtype.setter
    def compute_dtype(self, dtype: torch.dtype | None) -> None:
        self.body.compute_dtype = dtype

    def forward(self, tokens: Tensor, valid: Tensor) -> Tensor:
        return pool(self.body(tokens, valid=valid), valid, self.pooling)
