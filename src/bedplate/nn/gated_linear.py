"""Gated linear attention: a recurrent state of constant size that is computed in chunks by matrix products.

Each head keeps S_t = a_t S_{t-1} + k_t v_t^T and gives q_t^T S_t, with a decay 0 < a_t < 1 that the input decides. This
is the scalar-gated form that Mamba-2 (arXiv 2405.21060, "state space duality") and gated retention share with gated
linear attention (Yang et al. 2023, arXiv 2312.06635), whose chunked computation is used here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bedplate.nn.context import Context, ContextLayer
from bedplate.nn.linear import Linear
from bedplate.nn.norm import RMSNorm

CHUNK = 64


@dataclass(frozen=True)
class GatedLinear:
    """heads of key_dim and value_dim numbers; the output of each is normed (eps) and gated by silu of a map of x.

    temper: the logarithm of the decay is logsigmoid(...) / temper, so that decays begin near one (16 in the paper).
    """

    heads: int
    key_dim: int
    value_dim: int
    eps: float = 1e-6
    temper: float = 16.0

    def build(self, width: int) -> GatedLinearLayer:
        return GatedLinearLayer(self, width)


class GatedLinearLayer(ContextLayer):
    """x [B, T, width] -> [B, T, width]. The state begins anew with every segment and passes over padding unchanged; in
    the cache it is S [B, heads, key_dim, value_dim] fp32."""

    attends = False

    def __init__(self, record: GatedLinear, width: int) -> None:
        super().__init__()
        self.record = record
        keys, values = record.heads * record.key_dim, record.heads * record.value_dim
        self.q = Linear(width, keys, shard=0)
        self.k = Linear(width, keys, shard=0)
        self.v = Linear(width, values, shard=0)
        self.decay = Linear(width, record.heads, bias=True, shard=0)
        self.gate = Linear(width, values, shard=0)
        self.value_norm = RMSNorm(record.eps).build(record.value_dim, per_head=True)
        self.o = Linear(values, width, shard=1)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        B, T, _ = x.shape
        sizes = self.record.key_dim, self.record.key_dim, self.record.value_dim
        # -1: under tensor parallelism a rank holds only its part of the heads.
        q, k, v = (
            f(x).view(B, T, -1, size).transpose(1, 2) for f, size in zip((self.q, self.k, self.v), sizes, strict=True)
        )
        log_decay = F.logsigmoid(self.decay(x).float()).transpose(1, 2) / self.record.temper
        if context.valid is not None:
            exists = context.valid[:, None, :]
            k, log_decay = k * exists[..., None].to(k.dtype), log_decay * exists
        found = None if context.cache is None else context.cache.state(self.layer)
        start = x.new_zeros(B, q.shape[1], *sizes[1:], dtype=torch.float32) if found is None else found[0]
        y, state = scan(q / math.sqrt(q.shape[-1]), k, v, log_decay, context.segments, start)
        if context.cache is not None:
            context.cache.keep_state(self.layer, (state,))
        y = self.value_norm(y).transpose(1, 2).reshape(B, T, -1)
        out: Tensor = self.o(y * F.silu(self.gate(x)))
        return out


def scan(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, segments: Tensor | None, state: Tensor
) -> tuple[Tensor, Tensor]:
    """q, k [B, H, T, K], v [B, H, T, V], log_decay [B, H, T] fp32 <= 0, segments [B, T] or None, state [B, H, K, V]
    fp32 -> y [B, H, T, V] in q's dtype, and the state after the last place.

    Within a chunk the decay from place j to i is exp of the sum of the logarithms between, added up for each j alone
    (Mamba-2's segment sum): a difference of two cumulated sums would lose it in the rounding of all that went before,
    another document's decays included. Between chunks the state is handed on in fp32.
    """
    B, _, T, _ = q.shape
    if segments is None:
        segments = torch.zeros(B, T, dtype=torch.int64, device=q.device)
    held = segments[:, :1]  # whose the state is
    parts = []
    for a in range(0, T, CHUNK):
        b = min(a + CHUNK, T)
        own = segments[:, a:b]
        seen = (own[:, :, None] == own[:, None, :]).tril()[:, None]
        between = log_decay[:, :, a:b, None].masked_fill(~seen.tril(-1), 0.0).cumsum(-2)
        weights = between.masked_fill(~seen, float("-inf")).exp()
        scores = torch.matmul(q[:, :, a:b], k[:, :, a:b].transpose(-1, -2)).float() * weights
        of_held = (own == held)[:, None, :]
        since = log_decay[:, :, a:b].masked_fill(~of_held, 0.0).cumsum(-1)
        carried = of_held * since.exp()
        inside = torch.matmul(scores.to(v.dtype), v[:, :, a:b]).float()
        before = torch.matmul(q[:, :, a:b].float() * carried[..., None], state)
        parts.append((inside + before).to(q.dtype))
        last = own[:, -1:]
        left = weights[..., -1, :]
        kept = ((held == last)[:, None, :] * since[..., -1:].exp())[..., None]
        weighted = (k[:, :, a:b].float() * left[..., None]).transpose(-1, -2)
        state = kept * state + torch.matmul(weighted, v[:, :, a:b].float())
        held = last
    return torch.cat(parts, dim=2), state
