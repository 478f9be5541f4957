"""Products by group: rows sorted by which matrix they are multiplied by, one product for each matrix.

Every sum runs in a fixed order, forward and backward: rows are gathered, never scattered and added. So the same input
gives the same bits, on GPUs too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from bedplate.nn.products import linear


@dataclass(frozen=True)
class Groups:
    """N * k assignments of tokens to groups, sorted by group.

    order [N * k]: the assignments in that order. tokens [N * k]: the token of each. places [N, k]: where each token's
    assignments went. counts [E] int64: assignments of each group.
    """

    order: Tensor
    tokens: Tensor
    places: Tensor
    counts: Tensor

    @classmethod
    def of(cls, chosen: Tensor, groups: int) -> Groups:
        """chosen [N, k] int64, each below `groups`."""
        flat = chosen.reshape(-1)
        order = flat.argsort(stable=True)
        places = torch.empty_like(order)
        places[order] = torch.arange(len(order), device=order.device)
        counts = torch.zeros(groups, dtype=torch.int64, device=flat.device).scatter_add_(0, flat, torch.ones_like(flat))
        return cls(order, order // chosen.shape[1], places.view_as(chosen), counts)


def spread(x: Tensor, groups: Groups) -> Tensor:
    """x [N, width] -> [N * k, width]: each token's row once for each of its groups, sorted by group."""
    out: Tensor = _Spread.apply(x, groups.tokens, groups.places)
    return out


def gathered(y: Tensor, weights: Tensor, groups: Groups) -> Tensor:
    """y [N * k, width] as `spread` sorts it, weights [N, k] fp32 -> [N, width]: each token's rows, weighted and summed
    in fp32, in y's dtype."""
    out: Tensor = _Gathered.apply(y, weights, groups.order, groups.tokens, groups.places)
    return out


def grouped_linear(x: Tensor, weight: Tensor, counts: Tensor) -> Tensor:
    """x [M, in], the first counts[0] rows of group 0, and so on; weight [E, out, in] in any dtype -> [M, out] in x's.

    A GPU does all groups in one kernel where it has one (bf16), which needs no look at the counts; a CPU is as fast
    with a product for each group that has rows, and so touches no other group's weights.
    """
    if x.is_cuda and x.dtype == torch.bfloat16:
        return grouped_kernel(x, weight, counts)
    return _each(x, weight, counts)


def grouped_kernel(x: Tensor, weight: Tensor, counts: Tensor) -> Tensor:
    """`grouped_linear` by torch's own kernel."""
    ends = counts.cumsum(0).to(torch.int32)
    return F.grouped_mm(x, weight.to(x.dtype).transpose(1, 2), offs=ends)


@torch.compiler.disable  # how many rows a group has is known only by looking
def _each(x: Tensor, weight: Tensor, counts: Tensor) -> Tensor:
    out: Tensor = _GroupedLinear.apply(x, weight, counts.tolist())
    return out


class _GroupedLinear(torch.autograd.Function):
    """Results are written where they belong: under autograd's own product each group's part, and each group's
    gradient, would be made apart and copied."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, counts: list[int]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.counts = counts
        y = x.new_empty(x.shape[0], weight.shape[1])
        for e, rows in _slices(counts):
            y[rows] = linear(x[rows], weight[e].to(x.dtype), None)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        for_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        for_weight = torch.empty_like(weight) if ctx.needs_input_grad[1] else None
        for e, rows in _slices(ctx.counts):
            if for_x is not None:
                for_x[rows] = linear(grad[rows], weight[e].to(x.dtype).t(), None)
            if for_weight is not None:
                for_weight[e] = linear(grad[rows].t(), x[rows].t(), None)
        if for_weight is not None:
            for e, count in enumerate(ctx.counts):
                if not count:
                    for_weight[e].zero_()
        return for_x, for_weight, None


def _slices(counts: list[int]) -> list[tuple[int, slice]]:
    """(group, its rows) of the groups that have any."""
    found, start = [], 0
    for e, count in enumerate(counts):
        if count:
            found.append((e, slice(start, start + count)))
        start += count
    return found


class _Spread(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, tokens: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(places)
        return x.index_select(0, tokens)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (places,) = ctx.saved_tensors
        first, *others = places.unbind(1)
        # bf16 parts are added in fp32, so that how many experts a token has doesn't round its gradient.
        total = grad.index_select(0, first).float()
        for other in others:
            total += grad.index_select(0, other)
        return total.to(grad.dtype), None, None


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, weights: Tensor, order: Tensor, tokens: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(y, weights, order, tokens, places)
        out = y.new_zeros(places.shape[0], y.shape[1], dtype=torch.float32)
        for place, weight in zip(places.unbind(1), weights.unbind(1), strict=True):
            out.addcmul_(y.index_select(0, place).float(), weight[:, None])
        return out.to(y.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        y, weights, order, tokens, places = ctx.saved_tensors
        spread_grad = grad.index_select(0, tokens)
        for_weights = torch.linalg.vecdot(spread_grad.float(), y.float())[places]
        return (spread_grad * weights.flatten()[order][:, None]).to(y.dtype), for_weights, None, None, None
