"""Routers: which experts each token goes to, and how much each of them counts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bedplate.nn.parameters import ParameterInfo


@dataclass(frozen=True)
class Routing:
    """What a router did, as a forward pass that is asked for it notes it down.

    logits [B, T, E] fp32: the router's product. probabilities [B, T, E] fp32: what it makes of them, a distribution
    over the experts. chosen [B, T, k] int64: the experts that were taken. Gradients flow through the first two.
    """

    router: RouterLayer
    logits: Tensor
    probabilities: Tensor
    chosen: Tensor


class RoutingNotes:
    """Where layers note their routing. A list alone would do, but FSDP2 copies lists that a block is given when there
    are tensors with gradients in them, and then what later blocks note is lost; it doesn't look into this."""

    def __init__(self, routing: list[Routing]) -> None:
        self._routing = routing

    def append(self, routing: Routing) -> None:
        self._routing.append(routing)


@dataclass(frozen=True)
class TopK:
    """The `active` likeliest of softmax(W x) (Shazeer et al. 2017, arXiv 1701.06538), weighted by their probabilities.

    normalised: these are made to sum to 1, as in Mixtral (arXiv 2401.04088), which takes the softmax of the chosen
    logits alone: the same.
    """

    experts: int
    active: int
    normalised: bool = True

    def build(self, width: int) -> TopKLayer:
        return TopKLayer(self, width)


@dataclass(frozen=True)
class GroupLimited:
    """DeepSeek-V3's router (arXiv 2412.19437, section 2.1.2): scores s = sigmoid(W x), experts chosen by s + bias, and
    weighted by s.

    groups: the experts in turn fall into so many groups of equal size; only those of the `active_groups` with the
    greatest sum of their two best scores may be chosen. bias: one number an expert that no gradient reaches;
    `objectives.load_balance` moves it so that all are busy alike. normalised: weights are made to sum to 1; scale: they
    are then multiplied by this.
    """

    experts: int
    active: int
    groups: int = 1
    active_groups: int = 1
    normalised: bool = True
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.experts % self.groups or (self.groups > 1 and self.experts < 2 * self.groups):
            raise ValueError(f"{self.experts} experts don't make {self.groups} groups of at least two each")
        if not 1 <= self.active_groups <= self.groups:
            raise ValueError(f"{self.active_groups} of {self.groups} groups can't be chosen")
        if self.active > self.active_groups * (self.experts // self.groups):
            raise ValueError(f"{self.active_groups} groups of {self.experts} experts have fewer than {self.active}")

    def build(self, width: int) -> GroupLimitedLayer:
        return GroupLimitedLayer(self, width)


Router = TopK | GroupLimited


class RouterLayer(nn.Module):
    """x [B, T, width] -> chosen experts [B, T, k] int64, their weights [B, T, k] fp32, and what it did.

    Computed in fp32 whatever x is in, since a rounded logit sends a token elsewhere (Switch Transformer, arXiv
    2101.03961, section 2.4). weight [E, width].
    """

    def __init__(self, record: Router, width: int) -> None:
        super().__init__()
        if not 1 <= record.active <= record.experts:
            raise ValueError(f"{record.active} of {record.experts} experts can't be chosen")
        self.experts, self.active = record.experts, record.active
        self.weight = nn.Parameter(torch.empty(record.experts, width))

    def parameter_info(self) -> dict[str, ParameterInfo]:
        experts, width = self.weight.shape
        return {"weight": ParameterInfo("hidden", width, experts)}

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Routing]:
        logits = F.linear(x.float(), self.weight.float())
        chosen, weights, probabilities = self.choose(logits)
        return chosen, weights, Routing(self, logits, probabilities, chosen)

    def choose(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """logits [..., E] -> chosen [..., k], weights [..., k], probabilities [..., E]."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        return f"{self.active} of {self.experts}"


class TopKLayer(RouterLayer):
    def __init__(self, record: TopK, width: int) -> None:
        super().__init__(record, width)
        self.normalised = record.normalised

    def choose(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        probabilities = logits.softmax(-1)
        weights, chosen = probabilities.topk(self.active, dim=-1)
        if self.normalised:
            weights = weights / weights.sum(-1, keepdim=True)
        return chosen, weights, probabilities


class GroupLimitedLayer(RouterLayer):
    """bias [E]: a parameter of role "state"."""

    def __init__(self, record: GroupLimited, width: int) -> None:
        super().__init__(record, width)
        self.groups, self.active_groups = record.groups, record.active_groups
        self.normalised, self.scale = record.normalised, record.scale
        self.bias = nn.Parameter(torch.zeros(record.experts), requires_grad=False)

    def parameter_info(self) -> dict[str, ParameterInfo]:
        return super().parameter_info() | {"bias": ParameterInfo("state", 1, self.experts)}

    def choose(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        scores = logits.sigmoid()
        chosen = self._allowed(scores.detach() + self.bias.detach().float()).topk(self.active, dim=-1).indices
        weights = scores.gather(-1, chosen)
        if self.normalised:
            weights = weights / (weights.sum(-1, keepdim=True) + 1e-20)
        return chosen, weights * self.scale, scores / (scores.sum(-1, keepdim=True) + 1e-20)

    def _allowed(self, scores: Tensor) -> Tensor:
        """Scores [..., E], -inf in all but the best groups."""
        if self.groups == self.active_groups:
            return scores
        grouped = scores.unflatten(-1, (self.groups, -1))
        best = grouped.topk(2, dim=-1).values.sum(-1).topk(self.active_groups, dim=-1).indices
        outside = torch.ones(grouped.shape[:-1], dtype=torch.bool, device=scores.device).scatter_(-1, best, False)
        return grouped.masked_fill(outside[..., None], -torch.inf).flatten(-2)
