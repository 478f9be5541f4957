"""Self-attention with grouped queries, rotary positions, sliding windows and optional norms on queries and keys."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from torch import Tensor, nn

from bedplate.nn.attend import attend
from bedplate.nn.cache import Cache
from bedplate.nn.linear import Linear
from bedplate.nn.mask import Lowered
from bedplate.nn.norm import Norm
from bedplate.nn.rope import Rope, rotate


@dataclass
class Context:
    """What a forward pass hands to every layer beside its input.

    rotary: the tables of each distinct Rope in the stack. masks: the mask as lowered for each distinct window.
    """

    rotary: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    masks: dict[int | None, Lowered] = field(default_factory=dict)
    cache: Cache | None = None


@dataclass(frozen=True)
class Attention:
    """heads queries of head_dim each share kv_heads keys and values; window: positions seen, itself included.

    bias: on queries, keys and values. out_bias: on the output. qk_norm: applied to each head's query and key before
    the rotation. scale: of the scores, 1 / sqrt(head_dim) where None.
    """

    heads: int
    kv_heads: int
    head_dim: int
    position: Rope | None = None
    window: int | None = None
    bias: bool = False
    out_bias: bool = False
    qk_norm: Norm | None = None
    scale: float | None = None

    def build(self, width: int) -> AttentionLayer:
        return AttentionLayer(self, width)


class AttentionLayer(nn.Module):
    """x [B, T, width] -> [B, T, width]. `layer` and `rope` are given by the stack: its place in the cache and in
    the stack's list of distinct position tables."""

    def __init__(self, record: Attention, width: int) -> None:
        super().__init__()
        self.head_dim, self.window = record.head_dim, record.window
        self.scale = record.scale if record.scale is not None else 1 / math.sqrt(record.head_dim)
        self.position = record.position
        self.layer = 0
        self.rope: int | None = None
        queries, keys = record.heads * record.head_dim, record.kv_heads * record.head_dim
        self.q = Linear(width, queries, bias=record.bias, shard=0)
        self.k = Linear(width, keys, bias=record.bias, shard=0)
        self.v = Linear(width, keys, bias=record.bias, shard=0)
        self.o = Linear(queries, width, bias=record.out_bias, shard=1)
        self.q_norm = record.qk_norm.build(record.head_dim, per_head=True) if record.qk_norm else None
        self.k_norm = record.qk_norm.build(record.head_dim, per_head=True) if record.qk_norm else None

    def forward(self, x: Tensor, context: Context) -> Tensor:
        B, T, _ = x.shape
        # -1: under tensor parallelism a rank holds only its part of the heads.
        q, k, v = (f(x).view(B, T, -1, self.head_dim).transpose(1, 2) for f in (self.q, self.k, self.v))
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        if self.rope is not None:
            tables = context.rotary[self.rope]
            q, k = rotate(q, tables), rotate(k, tables)
        mask = context.masks[self.window]
        if context.cache is None:
            y = attend(q, k, v, mask, self.scale)
        else:
            y = context.cache.attend(self.layer, q, k, v, mask, self.scale)
        out: Tensor = self.o(y.transpose(1, 2).reshape(B, T, -1))
        return out
