"""Attention itself: softmax(q k^T * scale + mask) v, by the fastest exact way each device has.

On CPU torch's fused kernel reaches a small part of the matrix rate in bf16, forward and backward; explicit matrix
products by blocks of queries reach most of it, so these are used there, with the probabilities computed again in the
backward pass so that they are never all in memory (the lowered mask is, once for all layers and heads). Elsewhere SDPA.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from bedplate.nn.mask import Lowered, Mask

QUERY_BLOCK = 128
# A megabyte in bf16: with all rows at once the softmax of long texts would read and write main memory.
PART_SCORES = 1 << 19


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Lowered, scale: float) -> Tensor:
    """q [B, H, T, D]; k, v [B, G, S, D] with H a multiple of G (grouped queries, arXiv 2305.13245) -> [B, H, T, D]."""
    if q.device.type == "cpu" and not _fused_on_cpu(q, mask):
        return _blocked(q, k, v, mask, scale)
    if mask.bias is None:
        return F.scaled_dot_product_attention(q, k, v, is_causal=mask.causal, scale=scale, enable_gqa=True)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask.bias, scale=scale, enable_gqa=True)


def _fused_on_cpu(q: Tensor, mask: Lowered) -> bool:
    """Where torch's fused kernel is the faster one on CPU: whole texts in fp32, without gradients."""
    return q.dtype == torch.float32 and not mask.causal and q.shape[2] > 1 and not torch.is_grad_enabled()


def reference_attention(q: Tensor, k: Tensor, v: Tensor, mask: Mask, scale: float) -> Tensor:
    """The definition, in fp32 with the dense mask: what every backend is tested against. Shapes as in `attend`."""
    groups = q.shape[1] // k.shape[1]
    k, v = (x.float().repeat_interleave(groups, dim=1) for x in (k, v))
    scores = q.float() @ k.transpose(-1, -2) * scale
    scores = scores.masked_fill(~mask.dense(q.shape[2], k.shape[2], q.device), float("-inf"))
    return scores.softmax(-1) @ v


def _blocked(q: Tensor, k: Tensor, v: Tensor, mask: Lowered, scale: float) -> Tensor:
    B, H, T, D = q.shape
    G, S = k.shape[1], k.shape[2]
    # The queries that share a key head are rows of one product: keys and values are never repeated.
    q = (q * scale).reshape(B, G, H // G, T, D)
    k, v = k.reshape(B * G, S, D), v.reshape(B * G, S, v.shape[-1])
    if torch.is_grad_enabled():
        out: Tensor = _BlockedAttention.apply(q, k, v, mask.bias, mask.causal)
    else:
        out = _in_parts(q, k, v, mask.bias, mask.causal)
    return out.reshape(B, H, T, v.shape[-1])


def _in_parts(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, causal: bool) -> Tensor:
    """`_by_blocks` for so many rows of the batch at once that their scores stay in a core's own cache."""
    B, G, R, T, _ = q.shape
    rows = max(1, PART_SCORES // (G * R * min(T, QUERY_BLOCK) * k.shape[1]))
    if rows >= B:
        return _by_blocks(q, k, v, bias, causal)
    parts = []
    for a in range(0, B, rows):
        own = slice(a * G, (a + rows) * G)
        part = bias if bias is None or bias.shape[0] == 1 else bias[a : a + rows]
        parts.append(_by_blocks(q[a : a + rows], k[own], v[own], part, causal))
    return torch.cat(parts)


def _by_blocks(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, causal: bool) -> Tensor:
    """q [B, G, R, T, D] already scaled; k, v [B*G, S, D] -> [B, G, R, T, D]."""
    B, G, R, T, D = q.shape
    S = k.shape[1]
    out = q.new_empty(B, G, R, T, v.shape[-1])
    for a in range(0, T, QUERY_BLOCK):
        b = min(a + QUERY_BLOCK, T)
        end = S - T + b if causal else S
        rows = q[:, :, :, a:b].reshape(B * G, R * (b - a), D)
        p = _probabilities(rows, k[:, :end], _rows(bias, a, b, end), (B, G, R, b - a))
        out[:, :, :, a:b] = torch.bmm(p, v[:, :end]).view(B, G, R, b - a, -1)
    return out


def _probabilities(rows: Tensor, k: Tensor, bias: Tensor | None, shape: tuple[int, int, int, int]) -> Tensor:
    """rows [B*G, R*t, D], k [B*G, s, D], bias [1 or B, 1, t or 1, s] -> [B*G, R*t, s]; shape is (B, G, R, t)."""
    scores = torch.bmm(rows, k.transpose(1, 2))
    if bias is not None:
        scores.view(*shape, -1).add_(bias.unsqueeze(2))
    return scores.softmax(-1)


def _rows(bias: Tensor | None, a: int, b: int, end: int) -> Tensor | None:
    """The part of a bias for queries a to b and keys up to `end`; one row may stand for every query."""
    if bias is None:
        return None
    return bias[:, :, a:b, :end] if bias.shape[2] > 1 else bias[..., :end]


class _BlockedAttention(torch.autograd.Function):
    """q [B, G, R, T, D] already scaled; k, v [B*G, S, D] -> [B, G, R, T, D]."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, causal: bool) -> Tensor:
        out = _by_blocks(q, k, v, bias, causal)
        ctx.save_for_backward(q, k, v, bias)
        ctx.causal = causal
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        q, k, v, bias = ctx.saved_tensors
        B, G, R, T, D = q.shape
        S = k.shape[1]
        grad_q = torch.empty_like(q)
        # Sums over blocks of queries, in fp32 at least: in bf16 they would lose more than the products do.
        wide = torch.promote_types(k.dtype, torch.float32)
        grad_k, grad_v = torch.zeros_like(k, dtype=wide), torch.zeros_like(v, dtype=wide)
        for a in range(0, T, QUERY_BLOCK):
            b = min(a + QUERY_BLOCK, T)
            end = S - T + b if ctx.causal else S
            rows = q[:, :, :, a:b].reshape(B * G, R * (b - a), D)
            grad_rows = grad[:, :, :, a:b].reshape(B * G, R * (b - a), -1)
            block = _rows(bias, a, b, end)
            p = _probabilities(rows, k[:, :end], block, (B, G, R, b - a))
            grad_v[:, :end] += torch.bmm(p.transpose(1, 2), grad_rows)
            grad_p = torch.bmm(grad_rows, v[:, :end].transpose(1, 2))
            grad_scores = torch.ops.aten._softmax_backward_data(grad_p, p, -1, p.dtype)
            grad_q[:, :, :, a:b] = torch.bmm(grad_scores, k[:, :end]).view(B, G, R, b - a, D)
            grad_k[:, :end] += torch.bmm(grad_scores.transpose(1, 2), rows)
        return grad_q, grad_k.to(k.dtype), grad_v.to(v.dtype), None, None
