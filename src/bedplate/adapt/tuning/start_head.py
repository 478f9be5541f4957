"""The head that fine-tuning starts from: logistic regression on the states of the untouched body.

A head that starts from nothing pulls the body's states about until it knows them; one that starts as a linear probe
leaves them in place, and needs a fraction of the steps (LP-FT: Kumar et al. 2022, arXiv 2202.10054).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

STRENGTH = 1.0
"""Weight of the examples' losses beside half the squared norm of the weights, for states of variance 1."""
FLOOR = 0.05
"""Least spread that a number is scaled up from, as a share of the root mean square of all: beside it a smaller one would
get weights so large that the first steps of tuning throw the logits about."""
EVALUATIONS = 200
"""Most evaluations of loss and gradient."""
METHOD = "logistic regression by L-BFGS: 6 * examples * width * classes an evaluation"


def probe(states: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor, float]:
    """states [N, D] fp32, labels [N] int64 -> weight [K, D], bias [K], and the operations that it took at most.

    Each of the D numbers is scaled to mean 0 and variance 1 first: in causal models a few are a hundred times larger
    than the others. The scaling is then put into weight and bias.
    """
    mean, spread = states.mean(0), states.std(0, correction=0)
    spread = spread.clamp(min=max(FLOOR * float(states.square().mean().sqrt()), 1e-6))
    scaled = (states - mean) / spread
    weight = torch.zeros(classes, states.shape[1], device=states.device, requires_grad=True)
    bias = torch.zeros(classes, device=states.device, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [weight, bias], max_iter=EVALUATIONS, max_eval=EVALUATIONS, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        nats = F.cross_entropy(F.linear(scaled, weight, bias), labels, reduction="sum")
        total = STRENGTH * nats + 0.5 * weight.square().sum()
        total.backward()
        return total

    with torch.enable_grad():
        optimiser.step(loss)
    weight, bias = weight.detach() / spread, bias.detach()
    return weight, bias - weight @ mean, probe_flops(len(states), states.shape[1], classes)


def probe_flops(examples: int, width: int, classes: int) -> float:
    """The most that `probe` may cost: what is counted, since a budget is planned before."""
    return 6.0 * examples * width * classes * EVALUATIONS
