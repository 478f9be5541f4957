"""Attention itself: softmax(softcap(q k^T * scale + bias) + mask) v, by the fastest exact way each device has.

On CPU torch's fused kernel reaches a small part of the matrix rate in bf16, forward and backward; explicit matrix
products by blocks of queries reach most of it, so these are used there, with the probabilities computed again in the
backward pass so that they are never all in memory (the lowered mask is, once for all layers and heads). Elsewhere SDPA.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from bedplate.nn.mask import Lowered, Mask

QUERY_BLOCK = 128
# A megabyte in bf16: with all rows at once the softmax of long texts would read and write main memory.
PART_SCORES = 1 << 19


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Lowered,
    scale: float,
    *,
    softcap: float | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """q [B, H, T, D]; k [B, G, S, D], v [B, G, S, E] with H a multiple of G (grouped queries, arXiv 2305.13245)
    -> [B, H, T, E].

    bias [1, H, T, S]: added to the scores, with a gradient. softcap: bounds them, softcap * tanh(scores / softcap).
    """
    if softcap is not None or (q.device.type == "cpu" and not _fused_on_cpu(q, mask, bias)):
        return _blocked(q, k, v, mask, scale, softcap, bias)
    return _by_sdpa(q, k, v, mask, scale, bias)


def _by_sdpa(q: Tensor, k: Tensor, v: Tensor, mask: Lowered, scale: float, bias: Tensor | None) -> Tensor:
    """torch's own kernels."""
    if bias is not None:
        bias = bias if mask.bias is None and not mask.causal else bias + _dense_bias(mask, q, k)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=scale, enable_gqa=True)
    if mask.bias is None:
        return F.scaled_dot_product_attention(q, k, v, is_causal=mask.causal, scale=scale, enable_gqa=True)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask.bias, scale=scale, enable_gqa=True)


def _dense_bias(mask: Lowered, q: Tensor, k: Tensor) -> Tensor:
    """The mask as numbers, also where a lowered one leaves plain causality to the kernel."""
    if mask.bias is not None:
        return mask.bias
    allowed = Mask(causal=mask.causal).dense(q.shape[2], k.shape[2], q.device)
    return torch.zeros(allowed.shape, dtype=q.dtype, device=q.device).masked_fill_(~allowed, float("-inf"))


def _fused_on_cpu(q: Tensor, mask: Lowered, bias: Tensor | None) -> bool:
    """Where torch's fused kernel is the faster one on CPU: whole texts in fp32, without gradients."""
    plain = q.dtype == torch.float32 and not mask.causal and bias is None
    return plain and q.shape[2] > 1 and not torch.is_grad_enabled()


def reference_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Mask,
    scale: float,
    *,
    softcap: float | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """The definition, in fp32 with the dense mask: what every backend is tested against. Shapes as in `attend`."""
    groups = q.shape[1] // k.shape[1]
    k, v = (x.float().repeat_interleave(groups, dim=1) for x in (k, v))
    scores = q.float() @ k.transpose(-1, -2) * scale
    if bias is not None:
        scores = scores + bias.float()
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    scores = scores.masked_fill(~mask.dense(q.shape[2], k.shape[2], q.device), float("-inf"))
    return scores.softmax(-1) @ v


@dataclass(frozen=True)
class _Scores:
    """How scores become probabilities. forbidden [1 or B, 1, T or 1, S]: the mask as numbers; learned [1, G, R, T, S]:
    a bias that is learned."""

    forbidden: Tensor | None
    causal: bool
    softcap: float | None
    learned: Tensor | None

    def of_rows(self, first: int, last: int) -> _Scores:
        """For these rows of the batch."""
        if self.forbidden is None or self.forbidden.shape[0] == 1:
            return self
        return replace(self, forbidden=self.forbidden[first:last])

    def of_queries(self, a: int, b: int, end: int) -> _Scores:
        """For queries a to b and keys up to `end`; one row of the mask may stand for every query."""
        forbidden, learned = self.forbidden, self.learned
        if forbidden is not None:
            forbidden = forbidden[:, :, a:b, :end] if forbidden.shape[2] > 1 else forbidden[..., :end]
        if learned is not None:
            learned = learned[:, :, :, a:b, :end]
        return replace(self, forbidden=forbidden, learned=learned)

    def probabilities(self, rows: Tensor, k: Tensor, shape: tuple[int, int, int, int]) -> tuple[Tensor, Tensor | None]:
        """rows [B*G, R*t, D], k [B*G, s, D], shape (B, G, R, t) -> probabilities [B*G, R*t, s], and the slope of the
        softcap where there is one."""
        scores = torch.bmm(rows, k.transpose(1, 2))
        if self.learned is not None:
            scores.view(*shape, -1).add_(self.learned)
        slope = None
        if self.softcap is not None:
            bent = torch.tanh(scores / self.softcap)
            scores, slope = bent * self.softcap, 1 - bent.square()
        if self.forbidden is not None:
            scores.view(*shape, -1).add_(self.forbidden.unsqueeze(2))
        return scores.softmax(-1), slope


def _blocked(
    q: Tensor, k: Tensor, v: Tensor, mask: Lowered, scale: float, softcap: float | None, bias: Tensor | None
) -> Tensor:
    B, H, T, D = q.shape
    G, S = k.shape[1], k.shape[2]
    forbidden = _dense_bias(mask, q, k) if mask.causal else mask.bias
    # The queries that share a key head are rows of one product: keys and values are never repeated.
    q = (q * scale).reshape(B, G, H // G, T, D)
    k, v = k.reshape(B * G, S, D), v.reshape(B * G, S, v.shape[-1])
    learned = None if bias is None else bias.to(q.dtype).view(1, G, H // G, T, S)
    if torch.is_grad_enabled():
        out: Tensor = _BlockedAttention.apply(q, k, v, learned, forbidden, mask.causal, softcap)
    else:
        out = _in_parts(q, k, v, _Scores(forbidden, mask.causal, softcap, learned))
    return out.reshape(B, H, T, v.shape[-1])


def _in_parts(q: Tensor, k: Tensor, v: Tensor, scores: _Scores) -> Tensor:
    """`_by_blocks` for so many rows of the batch at once that their scores stay in a core's own cache."""
    B, G, R, T, _ = q.shape
    rows = max(1, PART_SCORES // (G * R * min(T, QUERY_BLOCK) * k.shape[1]))
    if rows >= B:
        return _by_blocks(q, k, v, scores)
    parts = []
    for a in range(0, B, rows):
        own = slice(a * G, (a + rows) * G)
        parts.append(_by_blocks(q[a : a + rows], k[own], v[own], scores.of_rows(a, a + rows)))
    return torch.cat(parts)


def _by_blocks(q: Tensor, k: Tensor, v: Tensor, scores: _Scores) -> Tensor:
    """q [B, G, R, T, D] already scaled; k, v [B*G, S, D] -> [B, G, R, T, D]."""
    B, G, R, T, D = q.shape
    S = k.shape[1]
    out = q.new_empty(B, G, R, T, v.shape[-1])
    for a in range(0, T, QUERY_BLOCK):
        b = min(a + QUERY_BLOCK, T)
        end = S - T + b if scores.causal else S
        rows = q[:, :, :, a:b].reshape(B * G, R * (b - a), D)
        p, _ = scores.of_queries(a, b, end).probabilities(rows, k[:, :end], (B, G, R, b - a))
        out[:, :, :, a:b] = torch.bmm(p, v[:, :end]).view(B, G, R, b - a, -1)
    return out


class _BlockedAttention(torch.autograd.Function):
    """q [B, G, R, T, D] already scaled; k, v [B*G, S, D]; learned [1, G, R, T, S] -> [B, G, R, T, D]."""

    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        learned: Tensor | None,
        forbidden: Tensor | None,
        causal: bool,
        softcap: float | None,
    ) -> Tensor:
        out = _by_blocks(q, k, v, _Scores(forbidden, causal, softcap, learned))
        ctx.save_for_backward(q, k, v, learned, forbidden)
        ctx.causal, ctx.softcap = causal, softcap
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None, None, None, None]:
        q, k, v, learned, forbidden = ctx.saved_tensors
        scores = _Scores(forbidden, ctx.causal, ctx.softcap, learned)
        B, G, R, T, D = q.shape
        S = k.shape[1]
        grad_q = torch.empty_like(q)
        # Sums over blocks of queries, in fp32 at least: in bf16 they would lose more than the products do.
        wide = torch.promote_types(k.dtype, torch.float32)
        grad_k, grad_v = torch.zeros_like(k, dtype=wide), torch.zeros_like(v, dtype=wide)
        grad_learned = None if learned is None else torch.zeros_like(learned)
        for a in range(0, T, QUERY_BLOCK):
            b = min(a + QUERY_BLOCK, T)
            end = S - T + b if ctx.causal else S
            rows = q[:, :, :, a:b].reshape(B * G, R * (b - a), D)
            grad_rows = grad[:, :, :, a:b].reshape(B * G, R * (b - a), -1)
            p, slope = scores.of_queries(a, b, end).probabilities(rows, k[:, :end], (B, G, R, b - a))
            grad_v[:, :end] += torch.bmm(p.transpose(1, 2), grad_rows)
            grad_p = torch.bmm(grad_rows, v[:, :end].transpose(1, 2))
            grad_scores = torch.ops.aten._softmax_backward_data(grad_p, p, -1, p.dtype)
            if slope is not None:
                grad_scores = grad_scores * slope
            if grad_learned is not None:
                grad_learned[0, :, :, a:b, :end] = grad_scores.view(B, G, R, b - a, end).sum(0)
            grad_q[:, :, :, a:b] = torch.bmm(grad_scores, k[:, :end]).view(B, G, R, b - a, D)
            grad_k[:, :end] += torch.bmm(grad_scores.transpose(1, 2), rows)
        return grad_q, grad_k.to(k.dtype), grad_v.to(v.dtype), grad_learned, None, None, None
