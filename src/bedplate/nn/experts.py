"""Mixture of experts: a feed-forward that is many, of which each token takes a few (Shazeer et al. 2017, arXiv
1701.06538; Mixtral, arXiv 2401.04088; DeepSeekMoE, arXiv 2401.06066).

No token is dropped and no expert has a capacity: the result equals every expert computed for every token.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bedplate.nn.context import Context
from bedplate.nn.feedforward import ACTIVATIONS, Activation, Gated
from bedplate.nn.grouped import Groups, gathered, grouped_linear, spread
from bedplate.nn.parameters import ParameterInfo
from bedplate.nn.router import Router


@dataclass(frozen=True)
class Experts:
    """sum over the chosen experts of weight_e * down_e(activation(gate_e(x)) * up_e(x)), `hidden` inner features each.

    router: which are chosen, and their weights. shared: one more that every token takes, with weight 1 (DeepSeekMoE's
    shared experts: n of them of one size are one n times as wide).
    """

    router: Router
    hidden: int
    activation: Activation = "silu"
    shared: Gated | None = None

    def build(self, width: int) -> ExpertsLayer:
        return ExpertsLayer(self, width)


class ExpertsLayer(nn.Module):
    """x [B, T, width] -> [B, T, width]; notes what the router did in `context.routing`, where that is wanted."""

    def __init__(self, record: Experts, width: int) -> None:
        super().__init__()
        self.activation: Callable[[Tensor], Tensor] = ACTIVATIONS[record.activation]
        experts, active = record.router.experts, record.router.active
        self.router = record.router.build(width)
        self.expert_gate = GroupedLinear(experts, width, record.hidden, active)
        self.expert_up = GroupedLinear(experts, width, record.hidden, active)
        self.expert_down = GroupedLinear(experts, record.hidden, width, active, residual=True)
        self.shared = None if record.shared is None else record.shared.build(width)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        chosen, weights, routing = self.router(x)
        if context.routing is not None:
            context.routing.append(routing)
        groups = Groups.of(chosen.flatten(0, -2), self.router.experts)
        rows = spread(x.flatten(0, -2), groups)
        inner = self.activation(self.expert_gate(rows, groups)) * self.expert_up(rows, groups)
        out = gathered(self.expert_down(inner, groups), weights.flatten(0, -2), groups).view_as(x)
        return out if self.shared is None else out + self.shared(x, context)


class GroupedLinear(nn.Module):
    """One matrix for each expert, weight [experts, out, in]: rows sorted by expert -> what each one's makes of them.

    active: how many experts a token takes. Like `Linear` it keeps its own dtype and computes in its input's.
    """

    def __init__(
        self, experts: int, in_features: int, out_features: int, active: int, *, residual: bool = False
    ) -> None:
        super().__init__()
        self.share, self.residual = active / experts, residual
        self.weight = nn.Parameter(torch.empty(experts, out_features, in_features))

    def parameter_info(self) -> dict[str, ParameterInfo]:
        _, out_features, in_features = self.weight.shape
        return {"weight": ParameterInfo("hidden", in_features, out_features, active=self.share, residual=self.residual)}

    def forward(self, x: Tensor, groups: Groups) -> Tensor:
        return grouped_linear(x, self.weight, groups.counts)

    def extra_repr(self) -> str:
        experts, out_features, in_features = self.weight.shape
        return f"{experts} x ({in_features} -> {out_features})"
