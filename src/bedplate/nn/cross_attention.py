"""Attention from a decoder to an encoder's hidden states (Vaswani et al. 2017, arXiv 1706.03762, section 3.2.3)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from bedplate.errors import InternalError
from bedplate.nn.attend import attend
from bedplate.nn.context import Context, ContextLayer
from bedplate.nn.linear import Linear
from bedplate.nn.mask import Lowered


@dataclass(frozen=True)
class CrossAttention:
    """heads queries of head_dim, each with keys and values of the memory of its own.

    bias: on queries, keys and values; out_bias: on the output. scale: of the scores, 1 / sqrt(head_dim) where None.
    """

    heads: int
    head_dim: int
    bias: bool = False
    out_bias: bool = False
    scale: float | None = None

    def build(self, width: int) -> CrossAttentionLayer:
        return CrossAttentionLayer(self, width)


class CrossAttentionLayer(ContextLayer):
    """x [B, T, width] -> [B, T, width], reading the context's memory [B, M, width].

    Keys and values are computed when a cache is first seen and kept there: from then on no memory is needed.
    """

    attends = False

    def __init__(self, record: CrossAttention, width: int) -> None:
        super().__init__()
        self.head_dim = record.head_dim
        self.scale = record.scale if record.scale is not None else 1 / math.sqrt(record.head_dim)
        inner = record.heads * record.head_dim
        self.q = Linear(width, inner, bias=record.bias, shard=0)
        self.k = Linear(width, inner, bias=record.bias, shard=0)
        self.v = Linear(width, inner, bias=record.bias, shard=0)
        self.o = Linear(inner, width, bias=record.out_bias, shard=1)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        k, v = self._memory(context)
        mask = context.memory_mask or Lowered(bias=None, causal=False)
        y = attend(self._by_heads(self.q(x)), k, v, mask, self.scale)
        out: Tensor = self.o(y.transpose(1, 2).flatten(2))
        return out

    def _memory(self, context: Context) -> tuple[Tensor, Tensor]:
        """The memory's keys and values, [B, heads, M, head_dim] each."""
        kept = None if context.cache is None else context.cache.state(self.layer)
        if kept is not None:
            k, v = kept
            return k, v
        if context.memory is None:
            raise InternalError(
                "a decoder that reads an encoder was given neither its hidden states nor a cache of them"
            )
        k, v = self._by_heads(self.k(context.memory)), self._by_heads(self.v(context.memory))
        if context.cache is not None:
            context.cache.keep_state(self.layer, (k, v))
        return k, v

    def _by_heads(self, y: Tensor) -> Tensor:
        # -1: under tensor parallelism a rank holds only its part of the heads.
        return y.view(*y.shape[:2], -1, self.head_dim).transpose(1, 2)
