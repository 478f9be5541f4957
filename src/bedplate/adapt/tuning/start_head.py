"""The head that fine-tuning starts from: logistic regression on the states of the untouched body.

A head that starts from nothing pulls the body's states about until it knows them; one that starts as a linear probe
leaves them in place, and needs a fraction of the steps (LP-FT: Kumar et al. 2022, arXiv 2202.10054).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

STRENGTHS = (0.001, 0.01, 0.1, 1.0)
"""Weight of the examples' losses beside half the squared norm of the weights, for states of variance 1."""
FLOOR = 0.05
"""Least spread that a number is scaled up from, as a share of the root mean square of all: a smaller one would get
weights so large that the first steps of tuning throw the logits about."""
EVALUATIONS = 100
"""Most evaluations of loss and gradient at each strength."""


def probes(states: Tensor, labels: Tensor, classes: int) -> Iterator[tuple[Tensor, Tensor]]:
    """states [N, D] fp32, labels [N] int64 -> (weight [K, D], bias [K]) at each strength, the weakest first.

    Each of the D numbers is scaled to mean 0 and variance 1 first: in causal models a few are a hundred times larger
    than the others. The scaling is then put into weight and bias.
    """
    mean, spread = states.mean(0), states.std(0, correction=0)
    spread = spread.clamp(min=max(FLOOR * float(states.square().mean().sqrt()), 1e-6))
    scaled = (states - mean) / spread
    weight = torch.zeros(classes, states.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    for strength in STRENGTHS:  # each begins where the one before ended
        _fit(scaled, labels, weight, bias, strength)
        unscaled = weight.detach() / spread
        yield unscaled, bias.detach() - unscaled @ mean


def probe_flops(examples: int, width: int, classes: int) -> float:
    """The most that `probes` may cost, 6 operations a number of the weight, example and evaluation. It is what is
    counted, since a budget is planned before."""
    return 6.0 * examples * width * classes * EVALUATIONS * len(STRENGTHS)


def _fit(scaled: Tensor, labels: Tensor, weight: Tensor, bias: Tensor, strength: float) -> None:
    """Minimise by L-BFGS (Liu and Nocedal 1989), in place."""
    optimiser = torch.optim.LBFGS(
        [weight, bias], max_iter=EVALUATIONS, max_eval=EVALUATIONS, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        nats = F.cross_entropy(F.linear(scaled, weight, bias), labels, reduction="sum")
        total = strength * nats + 0.5 * weight.square().sum()
        total.backward()
        return total

    with torch.enable_grad():
        optimiser.step(loss)
