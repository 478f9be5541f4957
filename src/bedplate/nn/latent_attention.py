"""Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1; DeepSeek-V3, arXiv 2412.19437).

Keys and values of all heads are maps of one small latent vector a position, and what of a key is rotated is shared by
the heads, so that the cache keeps kv_rank + rope_dim numbers of a position whatever the number of heads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bedplate.nn.attend import attend
from bedplate.nn.cache import Cache
from bedplate.nn.context import Context, ContextLayer
from bedplate.nn.linear import Linear
from bedplate.nn.mask import Lowered
from bedplate.nn.norm import Norm
from bedplate.nn.parameters import ParameterInfo
from bedplate.nn.rope import Rope, rotate


@dataclass(frozen=True)
class LatentAttention:
    """Queries and keys of nope_dim numbers that aren't rotated and position.head_dim that are; values of value_dim.

    q_rank: the numbers that queries are made from, where they too come from a latent; straight from the input where
    None. kv_rank: of the latent of keys and values. norm: of the latents. interleaved: the weights give the numbers
    that are rotated against each other side by side (rope_interleave). bias: on what goes into the latents and on the
    output. scale: of the scores, 1 / sqrt(nope_dim + rotated) where None.
    """

    heads: int
    kv_rank: int
    nope_dim: int
    value_dim: int
    position: Rope
    norm: Norm
    q_rank: int | None = None
    interleaved: bool = False
    bias: bool = False
    scale: float | None = None

    def build(self, width: int) -> LatentAttentionLayer:
        return LatentAttentionLayer(self, width)


class Shrink(Linear):
    """The map into a latent: every rank of tensor parallelism has the whole of it, and its own heads' gradient."""

    def parameter_info(self) -> dict[str, ParameterInfo]:
        return {name: replace(info, partial_gradient=True) for name, info in super().parameter_info().items()}


class LatentAttentionLayer(ContextLayer):
    """x [B, T, width] -> [B, T, width].

    q_a, q_norm, q_b make queries (q_b alone where they come straight from the input). kv_a gives the latent and the
    key that is rotated, kv_b [heads * (nope_dim + value_dim), kv_rank] makes each head's key and value of the latent.
    """

    def __init__(self, record: LatentAttention, width: int) -> None:
        super().__init__()
        self.position, self.interleaved = record.position, record.interleaved
        self.kv_rank, self.nope_dim, self.value_dim = record.kv_rank, record.nope_dim, record.value_dim
        self.rope_dim = record.position.head_dim
        self.query_dim = self.nope_dim + self.rope_dim
        self.scale = record.scale if record.scale is not None else 1 / math.sqrt(self.query_dim)
        self.q_a = self.q_norm = None
        if record.q_rank is not None:
            self.q_a = Shrink(width, record.q_rank, bias=record.bias)
            self.q_norm = record.norm.build(record.q_rank, per_head=True)
        self.q_b = Linear(record.q_rank or width, record.heads * self.query_dim, shard=0)
        self.kv_a = Shrink(width, self.kv_rank + self.rope_dim, bias=record.bias)
        self.kv_norm = record.norm.build(self.kv_rank, per_head=True)
        self.kv_b = Linear(self.kv_rank, record.heads * (self.nope_dim + self.value_dim), shard=0)
        self.o = Linear(record.heads * self.value_dim, width, bias=record.bias, shard=1)

    @property
    def cache_width(self) -> int:
        return self.kv_rank + self.rope_dim

    def forward(self, x: Tensor, context: Context) -> Tensor:
        B, T, _ = x.shape
        assert self.rope is not None
        tables, mask = context.rotary[self.rope], context.masks[self.window]
        # -1: under tensor parallelism a rank holds only its part of the heads.
        q = self.q_b(self._query_source(x)).view(B, T, -1, self.query_dim).transpose(1, 2)
        q_nope, q_rope = q.split([self.nope_dim, self.rope_dim], dim=-1)
        q_rope = self._rotated(q_rope, tables)
        latent, k_rope = self.kv_a(x)[:, None].split([self.kv_rank, self.rope_dim], dim=-1)
        latent, k_rope = self.kv_norm(latent), self._rotated(k_rope, tables)
        if context.cache is None:
            y = self._expanded(q_nope, q_rope, latent, k_rope, mask)
        else:
            y = self._cached(q_nope, q_rope, torch.cat((latent, k_rope), dim=-1), mask, context.cache)
        out: Tensor = self.o(y.transpose(1, 2).reshape(B, T, -1))
        return out

    def _query_source(self, x: Tensor) -> Tensor:
        return x if self.q_a is None or self.q_norm is None else self.q_norm(self.q_a(x))

    def _rotated(self, x: Tensor, tables: tuple[Tensor, Tensor]) -> Tensor:
        """x [B, H, T, rope_dim]; pairs that lie side by side are set as halves, of queries and keys alike, so that the
        scores don't notice."""
        if self.interleaved:
            x = x.unflatten(-1, (-1, 2)).transpose(-1, -2).flatten(-2)
        return rotate(x, tables)

    def _cached(self, q_nope: Tensor, q_rope: Tensor, new: Tensor, mask: Lowered, cache: Cache) -> Tensor:
        """new [B, 1, T, kv_rank + rope_dim]: what the cache keeps of these positions, in one tensor because the latent
        is read as a part of the keys."""
        (kept,) = cache.extend(self.layer, new)
        # Without numbers, causality is a matter of all queries and keys, as many of one as of the other.
        if self._absorbs(q_nope.shape[2], kept.shape[2]) and not (mask.causal and mask.bias is None):
            return self._absorbed(q_nope, q_rope, kept, mask)
        return self._expanded(q_nope, q_rope, kept[..., : self.kv_rank], kept[..., self.kv_rank :], mask)

    def _absorbs(self, queries: int, keys: int) -> bool:
        """Whether it takes fewer products to bring these queries into the latents' space than the keys out of it."""
        # A map that has become something else (LoRA's, a quantised one) is only known to map.
        if type(self.kv_b) is not Linear:
            return False
        wide = self.kv_rank * (self.nope_dim + self.value_dim)
        absorbed = queries * (wide + keys * (2 * self.kv_rank + self.rope_dim))
        return absorbed < keys * (wide + queries * (self.query_dim + self.value_dim))

    def _expanded(self, q_nope: Tensor, q_rope: Tensor, latent: Tensor, k_rope: Tensor, mask: Lowered) -> Tensor:
        """Each head's keys and values made of latent [B, 1, S, kv_rank], k_rope [B, 1, S, rope_dim]
        -> [B, H, T, value_dim]."""
        B, _, S, _ = latent.shape
        heads = self.kv_b(latent[:, 0]).view(B, S, -1, self.nope_dim + self.value_dim).transpose(1, 2)
        k_nope, v = heads.split([self.nope_dim, self.value_dim], dim=-1)
        k = torch.cat((k_nope, k_rope.expand(-1, k_nope.shape[1], -1, -1)), dim=-1)
        return attend(torch.cat((q_nope, q_rope), dim=-1), k, v, mask, self.scale)

    def _absorbed(self, q_nope: Tensor, q_rope: Tensor, kept: Tensor, mask: Lowered) -> Tensor:
        """The same with q W_k and W_v taken in before and after, so that all heads read one key, the latent itself, and
        nothing is made for each of kept [B, 1, S, kv_rank + rope_dim] (arXiv 2405.04434, section 2.1.2)."""
        maps = self.kv_b.weight.to(q_nope.dtype).unflatten(0, (-1, self.nope_dim + self.value_dim))
        to_key, to_value = maps.split([self.nope_dim, self.value_dim], dim=1)
        q = torch.cat((q_nope @ to_key, q_rope), dim=-1)
        B, H, T, _ = q.shape
        # Heads are set among the queries: as groups, some backends would make each head a copy of the keys.
        bias = mask.bias
        if bias is not None and bias.shape[2] > 1:
            bias = bias.expand(-1, H, -1, -1).flatten(1, 2)[:, None]
        rows = Lowered(bias=bias, causal=False)
        y = attend(q.flatten(1, 2)[:, None], kept, kept[..., : self.kv_rank], rows, self.scale)
        return y.view(B, H, T, -1) @ to_value.transpose(1, 2)
