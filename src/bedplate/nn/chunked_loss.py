"""A loss from hidden states and the readout, in chunks of positions: all logits never exist at once.

Gradients are computed while each chunk's logits are at hand, so that these are neither kept nor computed twice (the
idea of Cut Your Losses, arXiv 2411.09009, and Liger, arXiv 2410.10989).
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from bedplate.nn.head import Readout
from bedplate.nn.products import linear, product, summed_products

# About 4M logits a chunk: 16 MB in fp32, which a CPU's last-level cache holds and a GPU doesn't notice.
CHUNK_LOGITS = 1 << 22
MIN_CHUNK = 256
# Where no more of the positions than this are kept, they are picked out first.
WORTH_COPYING = 0.9
SHORTEST_CHUNK = 16


def chunk_rows(vocabulary: int) -> int:
    """How many positions are taken at once."""
    return max(MIN_CHUNK, CHUNK_LOGITS // vocabulary)


class Rule(Protocol):
    """The loss of each position of a chunk."""

    def __call__(self, logits: Tensor, at: slice, sloped: bool) -> tuple[Tensor, Tensor | None]:
        """logits [n, V] in the compute dtype, not capped yet; at: which positions they are of.

        Returns the losses [n, 1] fp32 and, where `sloped`, their derivatives by `logits` [n, V] in the logits' dtype.
        """
        ...


def chunked_loss(hidden: Tensor, readout: Readout, keep: Tensor, rule: Rule) -> Tensor:
    """Sum of the rule's losses over the kept positions, fp32 scalar.

    hidden [N, D] in the compute dtype; keep [N] bool. Gradients flow to hidden and to the readout's weight and bias,
    each where it wants one; what else the rule reads gets none.
    """
    weight, bias = readout.weight, readout.bias
    if not torch.is_grad_enabled():
        # autograd.Function asks only the tensors whether they want gradients: the head's would be computed for nothing.
        weight, bias = weight.detach(), None if bias is None else bias.detach()
    loss: Tensor = _ChunkedLoss.apply(hidden, weight, bias, keep, rule)
    return loss


def kept_rows(keep: Tensor, vocabulary: int) -> tuple[Tensor, Tensor] | None:
    """(rows [M] int64, counted [M] bool): which of the positions `keep` [N] bool has, None where nearly all.

    Filled up with position 0, not counted, so that the last chunk has one of a few lengths: what is compiled is
    compiled for each. Off the CPU it waits for the device.
    """
    rows, chunk = keep.nonzero()[:, 0], chunk_rows(vocabulary)
    rest = len(rows) % chunk
    if rest or not len(rows):
        rest = min(max(SHORTEST_CHUNK, 1 << (rest - 1).bit_length()), chunk)
    length = len(rows) // chunk * chunk + rest
    if length > WORTH_COPYING * len(keep):
        return None
    counted = torch.arange(length, device=keep.device) < len(rows)
    return F.pad(rows, (0, length - len(rows))), counted


class _ChunkedLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, keep: Tensor, rule: Rule) -> Tensor:
        w, b = weight.to(hidden.dtype), None if bias is None else bias.to(hidden.dtype)
        grad_hidden, grad_weight, grad_bias = _grounds(ctx.needs_input_grad, hidden, weight, bias)
        sloped = any(ctx.needs_input_grad)
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        size = chunk_rows(weight.shape[0])
        for a in range(0, hidden.shape[0], size):
            at = slice(a, a + size)
            h, kept = hidden[at], keep[at, None]
            losses, slope = rule(linear(h, w, b), at, sloped)
            total += (losses * kept).sum()
            if slope is None:
                continue
            # Where a position isn't kept, its row is dropped on the narrow side of each product, which is cheaper than
            # on the [rows, V] slope.
            if grad_hidden is not None:
                grad_hidden[at] = product(slope, w).mul_(kept)
            if grad_weight is not None:
                grad_weight += summed_products(slope, h * kept)
            if grad_bias is not None:
                grad_bias += (slope * kept).sum(0, dtype=torch.float32)
        ctx.save_for_backward(grad_hidden, grad_weight, grad_bias)
        ctx.dtypes = (hidden.dtype, weight.dtype, None if bias is None else bias.dtype)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        # In fp32: the factor (one over a count, say) rounded to bf16 would scale all gradients by up to 0.4%.
        scaled = (
            None if g is None else (g.float() * grad).to(dtype)
            for g, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        )
        return *scaled, None, None


def _grounds(
    needed: tuple[bool, ...], hidden: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Where gradients are gathered: the readout's in fp32, as every chunk adds to them."""
    sums = [
        torch.zeros(x.shape, dtype=torch.float32, device=x.device) if x is not None and need else None
        for x, need in zip((weight, bias), needed[1:3], strict=True)
    ]
    return torch.empty_like(hidden) if needed[0] else None, sums[0], sums[1]
