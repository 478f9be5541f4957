"""Optimisers and their groups, from the parameter table."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from bedplate.nn.parameters import ParameterInfo
from bedplate.train.config import OptimiserConfig

Gather = Callable[[Tensor, Tensor], Tensor]
"""(a rank's part of a tensor, the parameter that it belongs to) -> the whole."""
Scatter = Callable[[Tensor, Tensor], Tensor]
"""(the whole, the parameter that it belongs to) -> a rank's part."""


def build(
    parameters: dict[str, nn.Parameter],
    table: dict[str, ParameterInfo],
    config: OptimiserConfig,
    gather: Gather,
    scatter: Scatter,
    dtype: torch.dtype = torch.float32,
) -> list[Optimizer]:
    """The optimisers of a run. Each group carries `peak`, its own peak learning rate. dtype: of Muon's products.

    Weight decay falls on hidden matrices and an untied head; embeddings, norms and biases have none.
    """

    def adamw(names: Iterable[str]) -> AdamW:
        decayed = [parameters[n] for n in names if table[n].role in ("hidden", "head")]
        plain = [parameters[n] for n in names if table[n].role not in ("hidden", "head")]
        groups = [
            {"params": p, "weight_decay": w, "peak": config.learning_rate}
            for p, w in ((decayed, config.weight_decay), (plain, 0.0))
            if p
        ]
        return AdamW(groups, lr=config.learning_rate, betas=(config.beta1, config.beta2), eps=config.eps, fused=True)

    if config.name == "adamw":
        return [adamw(list(parameters))]
    hidden = [n for n in parameters if table[n].role == "hidden"]
    rest = [n for n in parameters if table[n].role != "hidden"]
    muon = Muon([parameters[n] for n in hidden], config, gather, scatter, dtype)
    return [muon, adamw(rest)]


def set_learning_rate(optimisers: Iterable[Optimizer], share: float) -> float:
    """Every group at this share of its peak; returns the first group's rate."""
    groups = [group for o in optimisers for group in o.param_groups]
    for group in groups:
        group["lr"] = group["peak"] * share
    return float(groups[0]["lr"])


class Muon(Optimizer):
    """Momentum whose update is made orthogonal by Newton-Schulz (Jordan 2024).

    The update is scaled by 0.2 * sqrt(max(rows, columns)), so that AdamW's learning rate and weight decay carry over
    (Liu et al., arXiv 2502.16982). A stack of matrices is taken one by one. A matrix that ranks share is gathered for
    the iteration, since its singular values are the whole matrix's.
    """

    def __init__(
        self,
        params: list[nn.Parameter],
        config: OptimiserConfig,
        gather: Gather,
        scatter: Scatter,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        defaults: dict[str, Any] = {
            "lr": config.learning_rate, "peak": config.learning_rate,
            "momentum": config.momentum, "weight_decay": config.weight_decay,
        }  # fmt: skip
        super().__init__(params, defaults)
        self._gather, self._scatter, self._dtype = gather, scatter, dtype

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                momentum = state["momentum"]
                momentum.lerp_(p.grad, 1 - group["momentum"])
                nesterov = p.grad.lerp(momentum, group["momentum"])
                whole = orthogonalised(self._gather(nesterov, p).to(self._dtype)).float()
                update = self._scatter(whole * (0.2 * math.sqrt(max(whole.shape[-2:]))), p)
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update, alpha=-group["lr"])


def orthogonalised(matrix: Tensor, steps: int = 5, eps: float = 1e-7) -> Tensor:
    """The nearest semi-orthogonal matrix, roughly: singular values come to lie about 1. [rows, columns], or
    [E, rows, columns]: each of a stack (of experts) by itself.

    The quintic iteration X <- a X + (b X X^T + c (X X^T)^2) X with coefficients chosen for speed over exactness.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    wide = matrix.shape[-2] <= matrix.shape[-1]
    x = matrix if wide else matrix.mT
    # addmm rounds once where the same in separate operations rounds three times: it matters in bf16.
    added = torch.addmm if x.ndim == 2 else torch.baddbmm
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + eps)
    for _ in range(steps):
        square = x @ x.mT
        x = added(x, added(square, square, square, beta=b, alpha=c), x, beta=a)
    return x if wide else x.mT
