"""The encoder: a stack whose positions see each other both ways, with learned positions and no head."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bedplate.nn.attention import Context
from bedplate.nn.linear import Embedding
from bedplate.nn.mask import Mask
from bedplate.nn.norm import Norm
from bedplate.nn.stack import Block


class Encoder(nn.Module):
    """Embeddings of token, position and token type, summed and normed; then blocks.

    Maps tokens [B, T] to hidden states [B, T, width]. positions: the longest sequence. token_types: kinds of token
    that have a vector of their own (BERT's first and second sentence), none where 0. compute_dtype: what activations
    are in; None means the embedding's own dtype.
    """

    def __init__(
        self,
        width: int,
        vocabulary: int,
        blocks: Sequence[Block],
        *,
        positions: int,
        token_types: int = 0,
        embed_norm: Norm | None = None,
    ) -> None:
        super().__init__()
        self.compute_dtype: torch.dtype | None = None
        self.embed = Embedding(vocabulary, width)
        self.embed_position = Embedding(positions, width)
        self.embed_type = Embedding(token_types, width) if token_types else None
        self.embed_norm = embed_norm.build(width) if embed_norm else None
        self.blocks = nn.ModuleList(block.build(width) for block in blocks)

    def forward(
        self,
        tokens: Tensor,
        *,
        positions: Tensor | None = None,
        token_types: Tensor | None = None,
        valid: Tensor | None = None,
        segments: Tensor | None = None,
    ) -> Tensor:
        """tokens [B, T] int64; positions [B or 1, T] int64, 0 to T - 1 where None; token_types [B or 1, T] int64, 0
        where None; valid [B, T] bool, False for padding; segments [B, T] int64, texts packed in one row apart.

        What comes back for padding is finite and means nothing.
        """
        T = tokens.shape[1]
        if positions is None:
            positions = torch.arange(T, device=tokens.device)[None]
        x = self.embed(tokens) + self.embed_position(positions)
        if self.embed_type is not None:
            x = x + (self.embed_type.weight[0] if token_types is None else self.embed_type(token_types))
        if self.embed_norm is not None:
            x = self.embed_norm(x)
        if self.compute_dtype is not None:
            x = x.to(self.compute_dtype)
        mask = Mask(causal=False, segments=segments, valid=valid)
        context = Context(masks={None: mask.lower(T, T, x.device, x.dtype)})
        for block in self.blocks:
            x = block(x, context)
        return x
