"""Cross-entropy from hidden states and the head, in chunks of positions: all logits never exist at once.

The training loss computes its gradients while each chunk's logits are at hand, so that they are neither kept nor
computed twice (the idea of Cut Your Losses, arXiv 2411.09009, and Liger, arXiv 2410.10989).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

# About 4M logits a chunk: 16 MB in fp32, which a CPU's last-level cache holds and a GPU doesn't notice.
CHUNK_LOGITS = 1 << 22
MIN_CHUNK = 256
# Where no more of the positions than this are kept, they are picked out first.
WORTH_COPYING = 0.9
SHORTEST_CHUNK = 16


def chunk_rows(vocabulary: int) -> int:
    """How many positions are taken at once."""
    return max(MIN_CHUNK, CHUNK_LOGITS // vocabulary)


Softmax = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(logits [n, V], targets [n, 1]) -> (log p_t [n, 1] fp32, p [n, V] in the logits' dtype)."""


def softmax(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """`Softmax` in as few passes over the logits as separate operations allow."""
    log_p = F.log_softmax(logits, dim=-1, dtype=torch.float32)
    return log_p.gather(1, targets), torch.exp(log_p, out=torch.empty_like(log_p, dtype=logits.dtype))


def _fusible_softmax(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    wide = logits.float()
    largest = wide.amax(-1, keepdim=True)
    powers = (wide - largest).exp()
    total = powers.sum(-1, keepdim=True)
    return wide.gather(1, targets) - largest - total.log(), (powers * (1 / total)).to(logits.dtype)


@cache
def compiled_softmax() -> Softmax:
    """The same, compiled into two passes: less than half the time on CPU."""
    compiled: Softmax = torch.compile(_fusible_softmax, dynamic=False)
    return compiled


def chunked_cross_entropy(
    hidden: Tensor, weight: Tensor, targets: Tensor, keep: Tensor, softmax: Softmax = softmax
) -> Tensor:
    """Sum over kept positions of -log softmax(hidden W^T)[target], in nats, fp32 scalar.

    hidden [..., D] in the compute dtype; weight [V, D]; targets [...] int64; keep [...] bool; softmax: how a
    chunk is computed. Gradients flow to hidden and weight, each where it wants one.
    """
    hidden, targets, keep = hidden.flatten(0, -2), targets.flatten(), keep.flatten()
    # Elsewhere, looking which positions are kept would wait for the device.
    if hidden.device.type == "cpu":
        hidden, targets, keep = _kept(hidden, targets, keep, chunk_rows(weight.shape[0]))
    loss: Tensor = _ChunkedCrossEntropy.apply(hidden, weight, targets, keep, softmax)
    return loss


def _kept(hidden: Tensor, targets: Tensor, keep: Tensor, chunk: int) -> tuple[Tensor, Tensor, Tensor]:
    """The kept positions alone, where that is worth a copy. Filled up with positions that aren't, so that the last
    chunk has one of a few lengths: a compiled softmax is compiled for each."""
    rows = keep.nonzero()[:, 0]
    rest = len(rows) % chunk
    if rest or not len(rows):
        rest = min(max(SHORTEST_CHUNK, 1 << (rest - 1).bit_length()), chunk)
    length = len(rows) // chunk * chunk + rest
    if length > WORTH_COPYING * len(keep):
        return hidden, targets, keep
    rows = F.pad(rows, (0, length - len(rows)))
    counted = torch.arange(length) < keep.sum()
    return hidden.index_select(0, rows), targets.index_select(0, rows), counted


@torch.no_grad()
def token_cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """-log softmax(hidden W^T)[target] of each position, nats: [..., D], [V, D], [...] -> [...] fp32. No gradient."""
    flat, wanted, w = hidden.flatten(0, -2), targets.flatten(), weight.to(hidden.dtype)
    out = torch.empty(len(flat), dtype=torch.float32, device=hidden.device)
    rows = chunk_rows(weight.shape[0])
    for a in range(0, len(flat), rows):
        logits = F.linear(flat[a : a + rows], w).float()
        out[a : a + rows] = F.cross_entropy(logits, wanted[a : a + rows], reduction="none")
    return out.view(targets.shape)


class _ChunkedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, keep: Tensor, softmax: Softmax) -> Tensor:
        w = weight.to(hidden.dtype)
        need_hidden, need_weight = ctx.needs_input_grad[:2]
        grad_hidden = torch.empty_like(hidden) if need_hidden else None
        grad_weight = torch.zeros(weight.shape, dtype=torch.float32, device=weight.device) if need_weight else None
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        size = chunk_rows(weight.shape[0])
        for a in range(0, hidden.shape[0], size):
            h, t, kept = hidden[a : a + size], targets[a : a + size, None], keep[a : a + size, None]
            if grad_hidden is None and grad_weight is None:
                loss = -F.log_softmax(F.linear(h, w), dim=-1, dtype=torch.float32).gather(1, t)
                total += (loss * kept).sum()
                continue
            log_p, slope = softmax(F.linear(h, w), t)
            total -= (log_p * kept).sum()
            # d(-log p_t)/d logits = p - onehot(t). p_t - 1 comes from fp32: in bf16 any p_t above 0.998 is 1, and a
            # token that is nearly learnt would get no gradient. index_put_, since scatter_add_ in bf16 takes longer
            # than the softmax on CPU.
            one_each = torch.arange(len(t), device=t.device)
            slope.index_put_((one_each, t[:, 0]), log_p[:, 0].expm1().to(slope.dtype))
            # Where a position isn't kept, its row is dropped on the narrow side of each product, which is cheaper than
            # on the [rows, V] slope.
            if grad_hidden is not None:
                torch.mm(slope, w, out=grad_hidden[a : a + size])
                grad_hidden[a : a + size].mul_(kept)
            if grad_weight is not None:
                grad_weight += slope.t() @ (h * kept)
        ctx.save_for_backward(grad_hidden, grad_weight)
        ctx.weight_dtype = weight.dtype
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        grad_hidden, grad_weight = ctx.saved_tensors
        if grad_hidden is not None:
            # In fp32: the factor (one over a count, say) rounded to bf16 would scale all gradients by up to 0.4%.
            grad_hidden = (grad_hidden.float() * grad).to(grad_hidden.dtype)
        if grad_weight is not None:
            grad_weight = (grad_weight * grad).to(ctx.weight_dtype)
        return grad_hidden, grad_weight, None, None, None
