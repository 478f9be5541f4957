"""`ClassifierNet`: a body, one pooled state of each text, and a linear head; what is trained to tell classes apart."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, cast

import torch
from torch import Tensor, nn

from bedplate.nn.decoder import Decoder
from bedplate.nn.encoder import Encoder
from bedplate.nn.encoder_heads import pool
from bedplate.nn.linear import Linear

Pooling = Literal["last", "mean", "cls"]
"""The state that stands for a text: of its last token (as transformers' sequence classification of causal models), the
mean over its tokens, or of its first token."""


class ClassifierNet(nn.Module):
    """tokens [B, T], valid [B, T] -> logits [B, K] fp32. `body` and `head` are its parts; rows are right-padded.

    It has `blocks` and `compute_dtype`, as the training loop wants. The head begins with zeros.
    """

    def __init__(self, body: Decoder | Encoder, pooling: Pooling, classes: int) -> None:
        super().__init__()
        self.pooling = pooling
        self.body = body
        # An encoder's embedding may be narrower than its states (ALBERT).
        width = body.width if isinstance(body, Encoder) else body.head_weight.shape[1]
        self.head = Linear(width, classes, bias=True, role="head")
        self.head.to(body.embed.weight.device)
        nn.init.zeros_(self.head.weight)

    @property
    def blocks(self) -> Iterable[nn.Module]:
        return cast(Iterable[nn.Module], self.body.blocks)

    @property
    def compute_dtype(self) -> torch.dtype | None:
        return self.body.compute_dtype

    @compute_dtype.setter
    def compute_dtype(self, dtype: torch.dtype | None) -> None:
        self.body.compute_dtype = dtype

    @property
    def head_weight(self) -> Tensor:
        """[K, width]."""
        return self.head.weight

    def states(self, tokens: Tensor, valid: Tensor) -> Tensor:
        """The pooled state of each row, [B, width] fp32."""
        if self.pooling == "last":
            # Causal attention never looks at what comes after, so padding on the right needs no mask.
            hidden = self.body(tokens)
            last = valid.sum(1) - 1
            return hidden[torch.arange(len(hidden), device=hidden.device), last].float()
        return pool(self.body(tokens, valid=valid), valid, self.pooling)

    def forward(self, tokens: Tensor, valid: Tensor) -> Tensor:
        logits: Tensor = self.head(self.states(tokens, valid))
        return logits
