"""Self-attention with grouped queries, rotary or learned relative positions, windows and norms on queries and keys."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from bedplate.nn.attend import attend
from bedplate.nn.context import Context, ContextLayer
from bedplate.nn.linear import Linear
from bedplate.nn.norm import Norm
from bedplate.nn.rope import Rope, rotate


@dataclass(frozen=True)
class Attention:
    """heads queries of head_dim each share kv_heads keys and values; window: positions seen, itself included.

    relative: add the stack's learned relative positions (T5) to the scores. bias: on queries, keys and values.
    out_bias: on the output. qk_norm: on queries and keys before the rotation, of each head apart (qk_norm_over "head",
    Qwen 3) or of all together ("all", OLMo 2). scale: of the scores, 1 / sqrt(head_dim) where None. softcap: the scores
    become softcap * tanh(scores / softcap) (Gemma 2, arXiv 2408.00118).
    """

    heads: int
    kv_heads: int
    head_dim: int
    position: Rope | None = None
    window: int | None = None
    relative: bool = False
    bias: bool = False
    out_bias: bool = False
    qk_norm: Norm | None = None
    qk_norm_over: Literal["head", "all"] = "head"
    scale: float | None = None
    softcap: float | None = None

    def build(self, width: int) -> AttentionLayer:
        return AttentionLayer(self, width)


class AttentionLayer(ContextLayer):
    """x [B, T, width] -> [B, T, width]."""

    def __init__(self, record: Attention, width: int) -> None:
        super().__init__()
        self.head_dim, self.window, self.relative = record.head_dim, record.window, record.relative
        self.scale = record.scale if record.scale is not None else 1 / math.sqrt(record.head_dim)
        self.softcap = record.softcap
        self.position = record.position
        queries, keys = record.heads * record.head_dim, record.kv_heads * record.head_dim
        # A norm over all heads needs them all: then no rank of tensor parallelism has only some.
        rows, columns = (None, None) if record.qk_norm and record.qk_norm_over == "all" else (0, 1)
        self.q = Linear(width, queries, bias=record.bias, shard=rows)
        self.k = Linear(width, keys, bias=record.bias, shard=rows)
        self.v = Linear(width, keys, bias=record.bias, shard=rows)
        self.o = Linear(queries, width, bias=record.out_bias, shard=columns)
        self.norm_per_head = record.qk_norm_over == "head"
        self.q_norm = self.k_norm = None
        if record.qk_norm is not None:
            per_head = self.norm_per_head
            self.q_norm = record.qk_norm.build(record.head_dim if per_head else queries, per_head=per_head)
            self.k_norm = record.qk_norm.build(record.head_dim if per_head else keys, per_head=per_head)

    @property
    def cache_width(self) -> int:
        return self.k.out_features + self.v.out_features

    def forward(self, x: Tensor, context: Context) -> Tensor:
        B, T, _ = x.shape
        q, k = self.q(x), self.k(x)
        if self.q_norm is not None and self.k_norm is not None and not self.norm_per_head:
            q, k = self.q_norm(q), self.k_norm(k)
        # -1: under tensor parallelism a rank holds only its part of the heads.
        q, k, v = (y.view(B, T, -1, self.head_dim).transpose(1, 2) for y in (q, k, self.v(x)))
        if self.q_norm is not None and self.k_norm is not None and self.norm_per_head:
            q, k = self.q_norm(q), self.k_norm(k)
        if self.rope is not None:
            tables = context.rotary[self.rope]
            q, k = rotate(q, tables), rotate(k, tables)
        mask, bias = context.masks[self.window], context.bias if self.relative else None
        if context.cache is None:
            y = attend(q, k, v, mask, self.scale, softcap=self.softcap, bias=bias)
        else:
            y = context.cache.attend(self.layer, q, k, v, mask, self.scale, softcap=self.softcap, bias=bias)
        out: Tensor = self.o(y.transpose(1, 2).reshape(B, T, -1))
        return out
