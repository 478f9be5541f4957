"""What keeps a mixture of experts balanced: losses on what its routers did, a bias moved between steps, and figures.

All of it goes beside a loss that learns something: `Balanced(NextToken(), load=0.01)`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Literal, Protocol, TypeVar

import torch
from torch import Tensor, nn

from bedplate.errors import InternalError
from bedplate.nn.router import GroupLimitedLayer, RouterLayer, Routing
from bedplate.objectives.hooks import ActsAfterStep, Reports
from bedplate.objectives.term import Batch, Term

_Net = TypeVar("_Net", bound=nn.Module, contravariant=True)


class RoutedObjective(Protocol[_Net]):
    """An objective that passes a list on to the net, which notes in it what each layer's router did."""

    def weights(self, batch: Batch) -> dict[str, Tensor]:
        """As `Objective.weights`."""
        ...

    def __call__(self, net: _Net, batch: Batch, routing: list[Routing] | None = None) -> dict[str, Term]:
        """As `Objective.__call__`."""
        ...


def load_balance(probabilities: Tensor, chosen: Tensor, counted: Tensor) -> Tensor:
    """E * sum over the experts of f_e * P_e (Switch Transformer, arXiv 2101.03961, equations 4 to 6; with several
    experts a token as Mixtral has it). f_e: the choices of e for each token; P_e: its mean probability. It is k where
    all experts are busy alike.

    probabilities [..., T, E] fp32; chosen [..., T, k] int64; counted [..., T] bool: the tokens that count -> [...]
    fp32, over the T tokens of each; 0 where none counts.
    """
    tokens = counted.sum(-1).clamp(min=1)[..., None]
    share = (choices(chosen, probabilities.shape[-1]) * counted[..., None]).sum(-2) / tokens
    mean = (probabilities * counted[..., None]).sum(-2) / tokens
    return probabilities.shape[-1] * (share * mean).sum(-1)


def router_z(logits: Tensor, counted: Tensor) -> Tensor:
    """logsumexp(logits)^2, summed over the tokens that count: large logits round badly and learn slowly (ST-MoE, arXiv
    2202.08906, equation 5). logits [..., E] fp32; counted [...] bool -> scalar."""
    return (logits.logsumexp(-1).square() * counted).sum()


def choices(chosen: Tensor, experts: int) -> Tensor:
    """chosen [..., k] int64 -> [..., experts] fp32: 1 where an expert was chosen."""
    return torch.zeros(*chosen.shape[:-1], experts, device=chosen.device).scatter_(-1, chosen, 1.0)


class Balanced(Generic[_Net]):
    """An objective, and what keeps the experts balanced beside it while the net trains.

    load: the coefficient of `load_balance`, averaged over the layers; each is balanced by itself, since an average over
    layers first would let one hide what another lacks. per: over which tokens: "batch", all of one forward pass, the
    usual one, whose value depends on how many rows a micro-batch has; or "row", each sequence by itself, the same
    however a batch is cut, and divided by k, so that an even load costs 1 (DeepSeek-V3's complementary loss, arXiv
    2412.19437, equations 17 to 20).
    z: the coefficient of `router_z`, averaged over tokens and layers.
    bias_rate: after each step the bias of every `GroupLimited` router goes down by this for each expert that the step
    overloaded, and up for each that it neglected (DeepSeek-V3's auxiliary-loss-free balancing, arXiv 2412.19437,
    section 2.1.2; 0.001 there).

    Batch: as the objective's; `valid` [B, T] bool, where it has one, says which tokens count; else all do.
    Figures for metrics.jsonl, over layers, experts and steps: `expert_load_most` and `expert_load_least`, times an even
    share (1 is balanced); `router_entropy`, nats a token; `tokens_dropped`, always 0 here.
    """

    def __init__(
        self,
        objective: RoutedObjective[_Net],
        *,
        load: float = 0.0,
        z: float = 0.0,
        bias_rate: float = 0.0,
        per: Literal["batch", "row"] = "batch",
    ) -> None:
        self.objective, self.load, self.z, self.bias_rate, self.per = objective, load, z, bias_rate, per
        self._step: dict[RouterLayer, Tensor] = {}
        """Of this step on this rank, of each router [E + 2]: choices of each expert, sum of entropies, tokens."""
        self._unreported: dict[RouterLayer, Tensor] = {}
        """The same of the steps since the last line, of all ranks."""
        self._resumed: list[Tensor] = []
        """The same from a checkpoint, in the order of the routers, until the first step after it."""

    def weights(self, batch: Batch) -> dict[str, Tensor]:
        count = _counted(batch).sum()
        own = {name: count for name, coefficient in self._coefficients.items() if coefficient}
        return self.objective.weights(batch) | own

    @property
    def _coefficients(self) -> dict[str, float]:
        return {"load_balance": self.load, "router_z": self.z}

    def __call__(self, net: _Net, batch: Batch) -> dict[str, Term]:
        """The objective's terms, and in training `load_balance` and `router_z` where they have a coefficient. Raises
        InternalError where the net has no experts."""
        if not net.training:
            return self.objective(net, batch)
        routing: list[Routing] = []
        terms = self.objective(net, batch, routing)
        if not routing:
            raise InternalError("nothing to balance: the net noted no routing", "Take the objective without balancing.")
        counted = _counted(batch)
        with torch.no_grad():
            for r in routing:
                self._count(r, counted)
        sums = {"load_balance": self._load_sum, "router_z": lambda r, c: router_z(r.logits, c)}
        for name, coefficient in self._coefficients.items():
            if coefficient:
                layers = torch.stack([sums[name](r, counted) for r in routing])
                terms[name] = Term(layers.mean(), coefficient)
        return terms

    def _load_sum(self, r: Routing, counted: Tensor) -> Tensor:
        """One layer's loss times the tokens that it is the mean of."""
        probabilities, chosen = r.probabilities, r.chosen
        if self.per == "batch":
            probabilities, chosen, counted = probabilities.flatten(0, -2), chosen.flatten(0, -2), counted.flatten()
        summed = (load_balance(probabilities, chosen, counted) * counted.sum(-1)).sum()
        return summed / r.chosen.shape[-1] if self.per == "row" else summed

    def _count(self, r: Routing, counted: Tensor) -> None:
        load = (choices(r.chosen, r.router.experts) * counted[..., None]).flatten(0, -2).sum(0)
        entropy = (torch.special.entr(r.probabilities).sum(-1) * counted).sum()
        found = torch.cat([load, entropy[None], counted.sum()[None].float()])
        self._step[r.router] = found if r.router not in self._step else self._step[r.router] + found

    def after_step(self, net: _Net, sum_over_data: Callable[[Tensor], Tensor]) -> None:
        """Moves the biases."""
        step, self._step = self._step, {}
        for router, here in step.items():
            found = sum_over_data(here)
            if self.bias_rate and isinstance(router, GroupLimitedLayer):
                load = found[:-2]
                # Whole on every rank: nothing that an objective sets is divided (train/parallel.py).
                router.bias.add_(self.bias_rate * (load.mean() - load).sign())
            before = self._unreported.get(router)
            if before is None and self._resumed:
                before = self._resumed.pop(0).to(found)
            self._unreported[router] = found if before is None else before + found
        if isinstance(self.objective, ActsAfterStep):
            self.objective.after_step(net, sum_over_data)

    def gathered(self) -> list[list[float]]:
        """What `report` would make figures of, by router."""
        return [found.tolist() for found in self._unreported.values()]

    def resume(self, gathered: list[list[float]]) -> None:
        """Go on from what `gathered` gave."""
        self._resumed = [torch.tensor(found) for found in gathered]

    def report(self) -> dict[str, float]:
        """The figures of the steps since the last report."""
        figures = self.objective.report() if isinstance(self.objective, Reports) else {}
        layers, self._unreported = list(self._unreported.values()), {}
        if not layers:
            return figures
        loads = [found[:-2] / found[:-2].mean().clamp(min=1e-9) for found in layers]
        entropy = sum(float(found[-2]) for found in layers) / max(sum(float(found[-1]) for found in layers), 1.0)
        return figures | {
            "expert_load_most": max(float(load.max()) for load in loads),
            "expert_load_least": min(float(load.min()) for load in loads),
            "router_entropy": entropy,
            "tokens_dropped": 0.0,
        }


def _counted(batch: Batch) -> Tensor:
    """[B, T] bool: the tokens that exist."""
    return batch["valid"] if "valid" in batch else torch.ones_like(batch["tokens"], dtype=torch.bool)
