"""x W^T + b by the fastest exact kernel that the machine has.

In fp32 on a CPU torch takes MKL, which on processors that aren't Intel's leaves the widest vector units idle; oneDNN,
which torch carries too and takes for bf16, is then about twice as fast. Both sum in fp32.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

# Below so many rows setting oneDNN up costs as much as it saves, unless the matrix is as large as a head.
ROWS = 16
LARGE = 1 << 22


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x [..., in], weight [out, in], bias [out], all of one dtype -> [..., out], with gradients."""
    # A compiler can't lower this product, and knows neither its derivative nor what to fuse with it.
    if torch.compiler.is_compiling() or not _faster(x, weight):
        return F.linear(x, weight, bias)
    if not torch.is_grad_enabled():
        return _onednn(x, weight, bias)
    out: Tensor = _Linear.apply(x, weight, bias)
    return out


def product(a: Tensor, b: Tensor) -> Tensor:
    """a [n, k] times b [k, m], without gradients."""
    return _onednn(a, b.t(), None) if _faster(a, b) else a @ b


def summed_products(a: Tensor, b: Tensor) -> Tensor:
    """a^T b: a [n, j], b [n, k] -> [j, k], without gradients: what the rows say of a matrix."""
    if not _faster(a, b):
        return a.t() @ b
    # One of them is turned round for it in memory: the narrower one.
    return _onednn(a.t(), b.t(), None) if a.shape[1] <= b.shape[1] else _onednn(b.t(), a.t(), None).t().contiguous()


def _faster(x: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN is the faster one for this product."""
    return (
        x.dtype == torch.float32
        and x.device.type == "cpu"
        and weight.numel() > 0
        and (x.numel() >= ROWS * x.shape[-1] or weight.numel() >= LARGE)
        and _has_onednn()
    )


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    # Of a bias it reads as many numbers as there are outputs, one after another, whatever the strides say.
    bias = None if bias is None else bias.contiguous()
    out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return out


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _onednn(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        rows, inputs = grad.reshape(-1, grad.shape[-1]), x.reshape(-1, x.shape[-1])
        wants_x, wants_weight, wants_bias = ctx.needs_input_grad
        for_x = product(rows, weight).view(x.shape) if wants_x else None
        for_weight = summed_products(rows, inputs) if wants_weight else None
        return for_x, for_weight, rows.sum(0) if wants_bias else None


@cache
def _has_onednn() -> bool:
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
